/* A file mapped for reading, where losing it is an error and not the end of the process.
 *
 * When a mapped file becomes shorter, or its disk fails, the next read of a lost page raises
 * SIGBUS. Here the mapping then becomes zeros from that page to its end, and filemap_is_lost
 * returns 1: code that read the bytes asks it before it uses a result. A SIGBUS anywhere else does
 * what it did before. Any thread; at most 1,024 mappings of a process. */
#ifndef BASE_FILEMAP_H
#define BASE_FILEMAP_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct filemap {
    uint8_t *data; /* NULL: none */
    size_t size;
    int i_guard;
};

/* A regular file of at least size_min bytes (> 0). ERR_NOTFOUND, ERR_IO, ERR_FORMAT ("not a file",
 * or `too_short`), ERR_LIMIT. */
int filemap_open(struct filemap *f, const char *path, size_t size_min, const char *too_short,
                 struct err *e);
void filemap_close(struct filemap *f); /* accepts a zeroed one */
int filemap_is_lost(const struct filemap *f);
/* ERR_IO and a sentence when bytes were lost, else rc. To be called before a result made from the
 * bytes is used, and before an error that may come from lost bytes is reported. */
int filemap_check(const struct filemap *f, const char *path, int rc, struct err *e);

#endif
