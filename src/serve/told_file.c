#include "serve/told_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

int told_file_read(const char *path, struct buf *out, struct stat *ret, struct err *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), r = 0;
    char piece[16384];
    ssize_t n = 1;

    if (fd < 0)
        return err_set(e, ERR_IO, "%.80s: %s", path, strerror(errno));
    if (fstat(fd, ret) || !S_ISREG(ret->st_mode))
        r = err_set(e, ERR_IO, "%.80s: is no file", path);
    while (!r && n > 0) {
        n = read(fd, piece, sizeof piece);
        if (n < 0 && errno == EINTR)
            n = 1;
        else if (n < 0)
            r = err_set(e, ERR_IO, "%.80s: %s", path, strerror(errno));
        else if (buf_add(out, piece, (size_t)n))
            r = err_set(e, ERR_LIMIT, "%.80s: is too large", path);
    }
    close(fd);
    return r;
}
