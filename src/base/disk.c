#include "base/disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
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

/* ---- a file of one process ------------------------------------------------------------------- */

/* A new file's name is an entry of its folder. */
static int sync_folder(const char *path)
{
    char folder[4096];
    const char *slash = strrchr(path, '/');
    int fd, r;

    snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path) + 1 : 1,
             slash ? path : ".");
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    r = fsync(fd);
    close(fd);
    return r;
}

static int lock(int fd, const char *path, enum disk_mode mode)
{
    if (flock(fd, LOCK_EX | LOCK_NB))
        return -1;
    return mode == DISK_MAKE ? sync_folder(path) : 0;
}

static int open_plain(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat st;

    if (fd >= 0 && (fstat(fd, &st) || !S_ISREG(st.st_mode))) {
        close(fd);
        errno = EINVAL;
        return -1;
    }
    return fd;
}

int disk_open(const char *path, enum disk_mode mode)
{
    int fd, why;

    if (mode == DISK_LOOK)
        return open(path, O_RDONLY | O_CLOEXEC);
    if (mode == DISK_PLAIN)
        return open_plain(path);
    fd = disk_open_private(path, O_RDWR | (mode == DISK_MAKE ? O_CREAT : 0));
    if (fd >= 0 && lock(fd, path, mode)) {
        why = errno;
        close(fd);
        errno = why;
        return -1;
    }
    return fd;
}

void disk_close(int fd)
{
    close(fd);
}

int64_t disk_size(int fd)
{
    struct stat st;

    return fstat(fd, &st) ? -1 : (int64_t)st.st_size;
}

int64_t disk_read_at(int fd, void *p, size_t n, int64_t at)
{
    size_t done = 0;

    while (done < n) {
        ssize_t r = pread(fd, (char *)p + done, n - done, at + (int64_t)done);
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return -1;
        if (!r)
            break;
        done += (size_t)r;
    }
    return (int64_t)done;
}

int disk_write_at(int fd, const void *p, size_t n, int64_t at)
{
    size_t done = 0;

    while (done < n) {
        ssize_t r = pwrite(fd, (const char *)p + done, n - done, at + (int64_t)done);
        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0) {
            errno = r ? errno : ENOSPC;
            return -1;
        }
        done += (size_t)r;
    }
    return 0;
}

int disk_cut(int fd, int64_t size)
{
    return ftruncate(fd, size);
}

int disk_sync(int fd)
{
    return fdatasync(fd);
}

int disk_is_removed(int fd)
{
    struct stat st;

    return !fstat(fd, &st) && !st.st_nlink;
}

int64_t disk_written_us(int fd)
{
    struct stat st;

    return fstat(fd, &st) ? -1 : st.st_mtim.tv_sec * INT64_C(1000000) + st.st_mtim.tv_nsec / 1000;
}

int64_t disk_read_us(int fd)
{
    struct stat st;

    return fstat(fd, &st) ? -1 : st.st_atim.tv_sec * INT64_C(1000000) + st.st_atim.tv_nsec / 1000;
}

void disk_touch(int fd, int64_t wall_us)
{
    const struct timespec times[] = {{wall_us / 1000000, wall_us % 1000000 * 1000},
                                     {.tv_nsec = UTIME_OMIT}};

    (void)!futimens(fd, times);
}

/* ---- folders --------------------------------------------------------------------------------- */

int disk_make_folder(const char *path)
{
    return mkdir(path, 0700) && errno != EEXIST ? -1 : 0;
}

int disk_list(const char *folder, int (*take)(void *arg, const char *name), void *arg)
{
    DIR *d = opendir(folder);
    const struct dirent *entry;
    int r = 0;

    if (!d)
        return -1;
    while (!r && (entry = readdir(d))) {
        if (entry->d_name[0] != '.')
            r = take(arg, entry->d_name);
    }
    closedir(d);
    return r;
}

int disk_exists(const char *path)
{
    return !access(path, F_OK);
}

int disk_remove(const char *path)
{
    return unlink(path);
}

int disk_rename(const char *from, const char *to)
{
    return rename(from, to);
}

const char *disk_vfs(void)
{
    return NULL;
}
