/* A copy of a database that is whole and looked at before it has its name. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/disk.h"
#include "base/sql.h"

#define PATH_BYTES 4096

/* What was written survives the power. */
static int sync_file(const char *path, struct err *e)
{
    int fd = open(path, O_RDWR | O_CLOEXEC), r = 0;

    if (fd < 0 || fsync(fd))
        r = err_set(e, ERR_IO, "%s: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return r;
}

int sql_backup(struct sql *s, const char *to,
               int (*check)(void *arg, const char *path, struct err *e), void *arg, struct err *e)
{
    char part[PATH_BYTES];
    int fd, r;

    if (snprintf(part, sizeof part, "%s.part", to) >= (int)sizeof part)
        return err_set(e, ERR_ARG, "%.80s...: too long a name", to);
    if (!access(to, F_OK))
        return err_set(e, ERR_EXISTS, "%s is there already", to);
    unlink(part); /* of one that was cut short */
    fd = disk_open_private(part, O_RDWR | O_CREAT | O_EXCL);
    if (fd < 0)
        return err_set(e, ERR_IO, "%s: %s", part, strerror(errno));
    close(fd);
    r = sql_copy(s, part, e);
    if (!r)
        r = check(arg, part, e);
    if (!r)
        r = sync_file(part, e);
    if (!r && (link(part, to) || unlink(part))) /* never over another file */
        r = err_set(e, errno == EEXIST ? ERR_EXISTS : ERR_IO, "%s: %s", to, strerror(errno));
    if (r)
        unlink(part);
    return r;
}
