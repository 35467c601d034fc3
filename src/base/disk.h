/* The disk, as the ledger and the file of API keys use it. These are few functions, so that a
 * simulation can link its own in their place (tests/sim/fake_disk.c). Any thread. */
#ifndef BASE_DISK_H
#define BASE_DISK_H

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
/* Name of the SQLite file system (VFS) for databases; NULL: the system's own. */
const char *disk_vfs(void);

#endif
