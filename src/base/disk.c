#include "base/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"

int disk_open_private(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC, 0600);
    struct stat st;

    if (fd < 0)
        return -1;
    /* Somebody else's file cannot be changed; it may be used all the same. */
    if (!fstat(fd, &st) && S_ISREG(st.st_mode) && (st.st_mode & 07))
        (void)!fchmod(fd, 0600);
    return fd;
}

/* SQLite gives the files beside it the mode that the database has when they are made. */
int disk_make_private(const char *path)
{
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    char name[4096];

    for (int i = 0; i < 3; i++) {
        int fd = -1;
        if (snprintf(name, sizeof name, "%s%s", path, suffixes[i]) < (int)sizeof name)
            fd = disk_open_private(name, i ? O_RDWR : O_RDWR | O_CREAT);
        else
            errno = ENAMETOOLONG;
        if (fd < 0 && !i)
            return -1;
        if (fd >= 0)
            close(fd);
    }
    return 0;
}

int disk_read(const char *path, struct buf *out)
{
    char chunk[4096];
    size_t n;
    int failed, why;
    FILE *f = fopen(path, "re");

    if (!f)
        return errno == ENOENT ? ERR_NOTFOUND : ERR_IO;
    while ((n = fread(chunk, 1, sizeof chunk, f)) > 0 && !buf_add(out, chunk, n))
        ;
    failed = ferror(f);
    why = errno;
    fclose(f);
    errno = why;
    if (failed)
        return ERR_IO;
    return out->failed ? ERR_LIMIT : 0;
}

const char *disk_vfs(void)
{
    return NULL;
}
