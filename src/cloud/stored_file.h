/* The folder of stored answers (stored.h): one file each, under its id. Errors are errno's. One
 * thread at a time for each file. */
#ifndef CLOUD_STORED_FILE_H
#define CLOUD_STORED_FILE_H

#include "base/buf.h"
#include "base/err.h"
#include "cloud/stored.h"

struct stored_folder {
    char path[4096]; /* "": none, all is in memory only */
    int lock_fd;
};

/* The first of FOLDER, FOLDER2 ... that no process has, made where missing. ERR_IO, ERR_AGAIN. */
int stored_folder_open(struct stored_folder *f, const char *folder, struct err *e);
/* That of a slot, 0 to STORED_SLOTS - 1, whose process is gone: 0; -1: there is none, or it is in
 * use. */
int stored_folder_have(struct stored_folder *f, const char *folder, int slot);
/* The name of that of a slot, whoever has it: then only what is in it may be looked at. */
int stored_folder_name(struct stored_folder *f, const char *folder, int slot);
void stored_folder_close(struct stored_folder *f);

/* Each file that can be an answer's, with its bytes, of which `take` may take the memory; what is
 * larger than an answer can be is cut. 0 or what `take` returned; ERR_IO. */
struct stored_found {
    const char *id;
    struct buf *image;
    int64_t written_us; /* last, by the wall clock */
};
int stored_folder_each(const struct stored_folder *f,
                       int (*take)(void *arg, const struct stored_found *found), void *arg,
                       struct err *e);

/* A descriptor to write by, or to read by; or -1. */
int stored_file_make(const struct stored_folder *f, const char *id);
int stored_file_open(const struct stored_folder *f, const char *id);
int stored_file_look(const struct stored_folder *f, const char *id);
int stored_file_exists(const struct stored_folder *f, const char *id);
int stored_file_remove(const struct stored_folder *f, const char *id);
int stored_file_move(const struct stored_folder *from, const struct stored_folder *to,
                     const char *id);
/* Is it a name that this program gives? Others are never looked for. */
int stored_is_id(const char *name);

#endif
