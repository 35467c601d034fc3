/* Small files that others write while a server runs: a factor, hours of carbon, a reading. Any
 * thread. */
#ifndef SERVE_TOLD_FILE_H
#define SERVE_TOLD_FILE_H

#include <sys/stat.h>

#include "base/buf.h"
#include "base/err.h"

/* All of a regular file, at most the buffer's maximum. Links to pipes and devices are none. ERR_IO,
 * ERR_LIMIT, with a sentence. */
int told_file_read(const char *path, struct buf *out, struct stat *ret, struct err *e);

#endif
