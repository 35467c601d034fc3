#include "cloud/stored_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/disk.h"
#include "base/log.h"

#define LOCK_NAME "lock"

static int failed(const char *path, struct err *e)
{
    return err_set(e, ERR_IO, "stored answers %s: %s", path, strerror(errno));
}

static int path_of(const struct stored_folder *f, const char *name, char *ret, size_t cap)
{
    if (snprintf(ret, cap, "%s/%s", f->path, name) < (int)cap)
        return 0;
    errno = ENAMETOOLONG;
    return -1;
}

int stored_folder_open(struct stored_folder *f, const char *folder, struct err *e)
{
    char path[4096 + 16];

    f->lock_fd = -1;
    for (int i = 1; i <= STORED_SLOTS && f->lock_fd < 0; i++) {
        char number[12] = "";
        if (i > 1)
            snprintf(number, sizeof number, "%d", i);
        if (snprintf(f->path, sizeof f->path, "%s%s", folder, number) >= (int)sizeof f->path) {
            errno = ENAMETOOLONG;
            return failed(folder, e);
        }
        if (mkdir(f->path, 0700) && errno != EEXIST)
            return failed(f->path, e);
        if (path_of(f, LOCK_NAME, path, sizeof path))
            return failed(f->path, e);
        f->lock_fd = disk_open(path, DISK_MAKE);
        if (f->lock_fd < 0 && errno != EWOULDBLOCK)
            return failed(path, e);
    }
    return f->lock_fd < 0
               ? err_set(e, ERR_AGAIN, "stored answers %s: all folders are in use", folder)
               : 0;
}

void stored_folder_close(struct stored_folder *f)
{
    if (*f->path && f->lock_fd >= 0)
        disk_close(f->lock_fd);
    *f = (struct stored_folder){.lock_fd = -1};
}

/* Is it a name that this program gives: "chatcmpl-" and hexadecimal digits in groups? */
static int is_id(const char *name)
{
    size_t n = strlen(name);

    return n > 16 && n < STORED_ID_MAX && name[0] >= 'a' && name[0] <= 'z' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == n;
}

static int read_file(const char *path, struct buf *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK), r = -1;
    struct stat st;
    int64_t n;

    if (fd < 0)
        return -1;
    if (!fstat(fd, &st) && S_ISREG(st.st_mode)) {
        n = st.st_size < (int64_t)STORED_ANSWER_MAX ? st.st_size : (int64_t)STORED_ANSWER_MAX;
        if (n > 0 && !buf_reserve(out, (size_t)n) &&
            (n = disk_read_at(fd, out->data, (size_t)n, 0)) >= 0) {
            out->len = (size_t)n;
            r = 0;
        }
    }
    close(fd);
    return r;
}

int stored_folder_each(const struct stored_folder *f,
                       int (*take)(void *arg, const char *id, struct buf *image), void *arg,
                       struct err *e)
{
    DIR *d = opendir(f->path);
    char path[4096 + 300];
    struct dirent *entry;
    int r = 0;

    if (!d)
        return failed(f->path, e);
    while (!r && (entry = readdir(d))) {
        struct buf image;
        if (!is_id(entry->d_name) || path_of(f, entry->d_name, path, sizeof path))
            continue;
        buf_init(&image, STORED_ANSWER_MAX + 1);
        if (read_file(path, &image))
            LOG_EVENT(LOG_WARN, "stored answer not read", LOG_STR("file", path));
        else
            r = take(arg, entry->d_name, &image);
        buf_done(&image);
    }
    closedir(d);
    return r;
}

int stored_file_make(const struct stored_folder *f, const char *id)
{
    char path[4096 + 300];

    return path_of(f, id, path, sizeof path)
               ? -1
               : disk_open_private(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW);
}

int stored_file_open(const struct stored_folder *f, const char *id)
{
    char path[4096 + 300];

    return path_of(f, id, path, sizeof path) ? -1 : disk_open_private(path, O_WRONLY | O_NOFOLLOW);
}

void stored_file_remove(const struct stored_folder *f, const char *id)
{
    char path[4096 + 300];

    if (!path_of(f, id, path, sizeof path))
        unlink(path);
}
