#include "cloud/stored_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/disk.h"
#include "base/log.h"

#define LOCK_NAME "lock"
#define PATH_SIZE (4096 + 300)

/* ---- folders --------------------------------------------------------------------------------- */

static int failed(const char *path, struct err *e)
{
    return err_set(e, ERR_IO, "stored answers %s: %s", path, strerror(errno));
}

static int path_of(const struct stored_folder *f, const char *name, char ret[PATH_SIZE])
{
    if (snprintf(ret, PATH_SIZE, "%s/%s", f->path, name) < PATH_SIZE)
        return 0;
    errno = ENAMETOOLONG;
    return -1;
}

int stored_folder_name(struct stored_folder *f, const char *folder, int slot)
{
    char number[12] = "";

    f->lock_fd = -1;
    if (slot)
        snprintf(number, sizeof number, "%d", slot + 1);
    if (snprintf(f->path, sizeof f->path, "%s%s", folder, number) < (int)sizeof f->path)
        return 0;
    errno = ENAMETOOLONG;
    return -1;
}

static int take_lock(struct stored_folder *f, enum disk_mode mode)
{
    char path[PATH_SIZE];

    f->lock_fd = path_of(f, LOCK_NAME, path) ? -1 : disk_open(path, mode);
    return f->lock_fd < 0 ? -1 : 0;
}

int stored_folder_open(struct stored_folder *f, const char *folder, struct err *e)
{
    for (int i = 0; i < STORED_SLOTS; i++) {
        if (stored_folder_name(f, folder, i) || disk_make_folder(f->path))
            return failed(folder, e);
        if (!take_lock(f, DISK_MAKE))
            return 0;
        if (errno != EWOULDBLOCK)
            return failed(f->path, e);
    }
    return err_set(e, ERR_AGAIN, "stored answers %s: all folders are in use", folder);
}

int stored_folder_have(struct stored_folder *f, const char *folder, int slot)
{
    return stored_folder_name(f, folder, slot) || take_lock(f, DISK_HAVE) ? -1 : 0;
}

void stored_folder_close(struct stored_folder *f)
{
    if (*f->path && f->lock_fd >= 0)
        disk_close(f->lock_fd);
    *f = (struct stored_folder){.lock_fd = -1};
}

/* "chatcmpl-" and hexadecimal digits in groups, or the like. */
int stored_is_id(const char *name)
{
    size_t n = strlen(name);

    return n > 16 && n < STORED_ID_MAX && name[0] >= 'a' && name[0] <= 'z' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == n;
}

/* ---- files ----------------------------------------------------------------------------------- */

static int read_file(int fd, struct buf *out)
{
    int64_t n = disk_size(fd);

    n = n < (int64_t)STORED_ANSWER_MAX ? n : (int64_t)STORED_ANSWER_MAX;
    if (n <= 0)
        return n ? -1 : 0;
    if (buf_reserve(out, (size_t)n) || (n = disk_read_at(fd, out->data, (size_t)n, 0)) < 0)
        return -1;
    out->len = (size_t)n;
    return 0;
}

struct each {
    int r;
    const struct stored_folder *f;
    int (*take)(void *arg, const struct stored_found *found);
    void *arg;
};

static int take_file(void *arg, const char *name)
{
    struct each *each = arg;
    struct buf image;
    int fd;

    if (!stored_is_id(name))
        return 0;
    buf_init(&image, STORED_ANSWER_MAX + 1);
    fd = stored_file_look(each->f, name);
    if (fd < 0 || read_file(fd, &image)) {
        LOG_EVENT(LOG_WARN, "stored answer not read", LOG_STR("id", name));
    } else {
        const struct stored_found found = {name, &image, disk_written_us(fd)};
        each->r = each->take(each->arg, &found);
    }
    if (fd >= 0)
        disk_close(fd);
    buf_done(&image);
    return each->r != 0;
}

int stored_folder_each(const struct stored_folder *f,
                       int (*take)(void *arg, const struct stored_found *found), void *arg,
                       struct err *e)
{
    struct each each = {.f = f, .take = take, .arg = arg};

    return disk_list(f->path, take_file, &each) < 0 ? failed(f->path, e) : each.r;
}

int stored_file_make(const struct stored_folder *f, const char *id)
{
    char path[PATH_SIZE];

    return path_of(f, id, path) ? -1
                                : disk_open_private(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW);
}

int stored_file_open(const struct stored_folder *f, const char *id)
{
    char path[PATH_SIZE];

    return path_of(f, id, path) ? -1 : disk_open_private(path, O_WRONLY | O_NOFOLLOW);
}

int stored_file_look(const struct stored_folder *f, const char *id)
{
    char path[PATH_SIZE];

    return path_of(f, id, path) ? -1 : disk_open(path, DISK_PLAIN);
}

int stored_file_exists(const struct stored_folder *f, const char *id)
{
    char path[PATH_SIZE];

    return !path_of(f, id, path) && disk_exists(path);
}

int stored_file_remove(const struct stored_folder *f, const char *id)
{
    char path[PATH_SIZE];

    return path_of(f, id, path) ? -1 : disk_remove(path);
}

int stored_file_move(const struct stored_folder *from, const struct stored_folder *to,
                     const char *id)
{
    char path[PATH_SIZE], there[PATH_SIZE];

    return path_of(from, id, path) || path_of(to, id, there) ? -1 : disk_rename(path, there);
}
