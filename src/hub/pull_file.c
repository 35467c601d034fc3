/* One file by HTTP into tmp/NAME.part, going on where an earlier pull was cut. */
#include "hub/hub_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/fetch.h"

#define HF_DEFAULT "https://huggingface.co"

/* tmp/NAME.from: which version of which file .part began with. It is written before the first byte
 * of it, so that whatever ends a pull, the next one knows. */
struct from {
    char url[2048], etag[128]; /* etag: a strong one, never "" */
    int64_t total;             /* size of the file, -1 unknown */
};

/* 0, or ERR_NOTFOUND when there is none or it makes no sense. */
static int from_read(const struct pull *p, struct from *ret)
{
    char *path = home_path(p->h, "tmp", p->name, ".from");
    struct buf text = {0};
    long long total = -1;
    int n = 0, err = path ? home_read_file(path, 4096, &text) : ERR_NOMEM;

    /* the last character shows that all of it was written */
    if (!err && text.len && text.data[text.len - 1] == '\n')
        n = sscanf(text.data, "%2047[^\n]\n%127[^\n]\n%lld\n", ret->url, ret->etag, &total);
    ret->total = total;
    buf_done(&text);
    free(path);
    return n == 3 ? 0 : ERR_NOTFOUND;
}

/* Only an aid to resume: where it cannot be written the next pull begins anew. */
static void from_write(const struct pull *p, const char *url, const char *etag, int64_t total)
{
    char *path = home_path(p->h, "tmp", p->name, ".from");
    int fd;

    if (path)
        unlink(path); /* an old note must never be taken for one about the new bytes */
    if (path && *etag && !home_open_own(path, &fd, NULL)) {
        dprintf(fd, "%s\n%s\n%lld\n", url, etag, (long long)total);
        close(fd);
    }
    free(path);
}

struct watch {
    struct pull *p;
    const char *url, *label;
    int64_t room_for; /* bytes that there was room for, last time we looked */
    int err;          /* the code with which a callback here ended the transfer; 0: none did */
    struct err why;
};

static int on_begun(void *ctx, const struct fetch_result *r, int64_t total)
{
    struct watch *w = ctx;

    if (r->resumed_from == 0)
        from_write(w->p, w->url, r->etag, total);
    w->room_for = total;
    if (total > r->resumed_from)
        w->err = pull_check_room(w->p, (uint64_t)(total - r->resumed_from), &w->why);
    return w->err;
}

static int on_progress(void *ctx, int64_t bytes, int64_t total)
{
    struct watch *w = ctx;

    if (bytes >= 4)
        w->err =
            pull_check_magic(w->p, &w->why); /* so a login page is noticed at its first bytes */
    if (!w->err && total < 0 && bytes > w->room_for) {
        w->err = pull_check_room(w->p, 0, &w->why);
        w->room_for = bytes + ((int64_t)16 << 20);
    }
    if (!w->err &&
        pull_tell(w->p, HUB_DOWNLOAD, w->label, (uint64_t)bytes, total > 0 ? (uint64_t)total : 0))
        w->err = err_set(&w->why, ERR_CANCELLED, "cancelled");
    return w->err;
}

static int make_url(const struct source *s, char *out, size_t cap, struct err *e)
{
    const char *hub = getenv("HF_ENDPOINT");
    int n;

    if (s->kind == SOURCE_URL)
        n = snprintf(out, cap, "%s", s->url);
    else
        n = snprintf(out, cap, "%s/%s/resolve/%s/%s", hub && *hub ? hub : HF_DEFAULT, s->repo,
                     s->revision, s->file);
    return n < (int)cap ? 0 : err_set(e, ERR_LIMIT, "the URL is too long");
}

/* A token opens gated and private repositories; it is sent to the hub alone. */
static const char *const *make_headers(const struct source *s, char *line, size_t cap,
                                       const char *list[2])
{
    const char *token = getenv("HF_TOKEN");

    if (s->kind != SOURCE_HF || !token || !*token)
        return NULL;
    if (snprintf(line, cap, "Authorization: Bearer %s", token) >= (int)cap)
        return NULL;
    list[0] = line;
    list[1] = NULL;
    return list;
}

/* How many bytes of .part can be kept: all where the final SHA-256 will be checked, else only bytes
 * of this URL whose version is known by its ETag. */
static int64_t keepable(const struct pull *p, const char *url, struct from *from)
{
    struct stat st;

    if (from_read(p, from) || strcmp(from->url, url))
        *from = (struct from){.total = -1};
    if (fstat(p->fd, &st) || (p->entry->bytes && (uint64_t)st.st_size > p->entry->bytes) ||
        pull_check_magic(p, NULL))
        return 0;
    return p->entry->sha256 || from->etag[0] ? st.st_size : 0;
}

/* One request for the rest of the file; the first `have` bytes are in .part already. */
static int fetch_once(const struct source *s, int64_t have, const struct from *from,
                      struct watch *w, struct fetch_result *r, struct err *e)
{
    const struct pull *p = w->p;
    char auth[512];
    const char *list[2];
    struct fetch_options o;
    int err;

    fetch_options_init(&o, w->url);
    o.fd = p->fd;
    o.resume_from = have;
    o.etag = from->etag[0] ? from->etag : NULL;
    o.size_before = from->total;
    o.size_expected = p->entry->bytes ? (int64_t)p->entry->bytes : -1;
    o.size_max = p->o->bytes_max <= INT64_MAX ? (int64_t)p->o->bytes_max : INT64_MAX;
    o.unsized_max = o.size_max ? 0 : PULL_UNSIZED_MAX;
    o.headers = make_headers(s, auth, sizeof auth, list);
    o.progress = on_progress;
    o.begun = on_begun;
    o.ctx = w;
    *r = (struct fetch_result){0};
    err = fetch_get(&o, r, e);
    if (!w->err)
        return err;
    *e = w->why;
    return w->err;
}

int pull_from_url(struct pull *p, const struct source *s, struct err *e)
{
    char url[2048];
    const char *label;
    struct watch w = {.p = p, .url = url};
    struct fetch_result r;
    struct from from;
    int64_t have;
    int err = make_url(s, url, sizeof url, e);

    if (err)
        return err;
    label = strrchr(s->kind == SOURCE_HF ? s->file : url, '/');
    w.label = label ? label + 1 : s->kind == SOURCE_HF ? s->file : url;
    have = keepable(p, url, &from);
    p->resumed = (uint64_t)have;
    if (have && (have == (int64_t)p->entry->bytes || have == from.total))
        return 0; /* whole already, the check decides */
    if (p->entry->bytes && (err = pull_check_room(p, p->entry->bytes - (uint64_t)have, e)))
        return err;
    if (!have && ftruncate(p->fd, 0))
        return err_set(e, ERR_IO, "cannot empty the download");
    for (;;) {
        err = fetch_once(s, have, &from, &w, &r, e);
        if (err != ERR_IO && err != ERR_TIMEOUT)
            break;
        /* A line that was cut: go on as long as each try brings something. */
        if (r.bytes <= have || keepable(p, url, &from) != r.bytes)
            break;
        have = r.bytes;
    }
    if (err == ERR_TOO_LARGE && ftruncate(p->fd, 0))
        return err_set(e, ERR_IO, "cannot empty the download");
    if (!err && r.resumed_from == 0)
        p->resumed = 0;
    return err;
}
