/* The disk, as the ledger and the file of API keys use it. These are few functions, so that a
 * simulation can link its own in their place (tests/sim/fake_disk.c). Any thread. */
#ifndef BASE_DISK_H
#define BASE_DISK_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/* open(2) with O_CLOEXEC, for files that only their owner may read: the ledger says who asked for
 * what, the keys file is what keys are checked against. A file that is made gets mode 0600,
 * whatever the umask; one that others may read, as an open umask leaves it, is tightened to that. A
 * mode set for a group stays. -1 and errno. */
int disk_open_private(const char *path, int flags);
/* The database at that path, made empty where missing, and the files that SQLite keeps beside it
 * are their owner's alone, as above. -1 and errno. */
int disk_make_private(const char *path);
/* The whole file at the end of `out`: 0, ERR_NOTFOUND, ERR_IO (both with errno) or ERR_LIMIT. */
int disk_read(const char *path, struct buf *out);

/* A file that one process has for itself, read and written at places; descriptors are of these
 * functions only. All return -1 and errno where they fail. */
enum disk_mode { DISK_LOOK, DISK_PLAIN, DISK_HAVE, DISK_MAKE };
/* To read (DISK_LOOK; DISK_PLAIN: only what is a plain file and no link); or to write too, as a
 * private file, and locked against all others that open it so: EWOULDBLOCK where one has it.
 * DISK_MAKE: made where missing, and its name is on the disk.
 */
int disk_open(const char *path, enum disk_mode mode);
void disk_close(int fd);
int64_t disk_size(int fd);
/* How many bytes, fewer at the end. */
int64_t disk_read_at(int fd, void *p, size_t n, int64_t at);
int disk_write_at(int fd, const void *p, size_t n, int64_t at); /* all of them, or -1 */
int disk_cut(int fd, int64_t size);
int disk_sync(int fd); /* what was written and cut survives the power */
/* Of a file that is open: has its name been removed since? When was it written last, by the wall
 * clock in microseconds? */
int disk_is_removed(int fd);
int64_t disk_written_us(int fd);
/* When it was read last, as disk_touch said, or a reader whose file system notes it. */
int64_t disk_read_us(int fd);
void disk_touch(int fd, int64_t wall_us);

/* Folders and names. They return -1 and errno where they fail. */
int disk_make_folder(const char *path); /* its owner's alone; one that is there will do */
/* Each name in a folder, but those that begin with a point; what `take` returned where that is not
 * 0. Names that come or go meanwhile may be told or not. */
int disk_list(const char *folder, int (*take)(void *arg, const char *name), void *arg);
int disk_exists(const char *path);
int disk_remove(const char *path);
int disk_rename(const char *from, const char *to); /* in place of what has that name */

/* Name of the SQLite file system (VFS) for databases; NULL: the system's own. */
const char *disk_vfs(void);

#endif
