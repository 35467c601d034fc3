/* One file by HTTP into tmp/NAME.part, going on where an earlier pull was cut. */
#include "hub/hub_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/fetch.h"

#define HF_DEFAULT "https://huggingface.co"

/* tmp/NAME.from: where the bytes in .part come from, and the ETag they had. */
struct from {
    char url[2048], etag[128];
};

static void from_read(const struct pull *p, struct from *ret)
{
    char *path = home_path(p->h, "tmp", p->name, ".from");
    FILE *f = path ? fopen(path, "re") : NULL;

    *ret = (struct from){0};
    if (f && fgets(ret->url, sizeof ret->url, f) && fgets(ret->etag, sizeof ret->etag, f)) {
        ret->url[strcspn(ret->url, "\n")] = 0;
        ret->etag[strcspn(ret->etag, "\n")] = 0;
    }
    if (f)
        fclose(f);
    free(path);
}

static void from_write(const struct pull *p, const char *url, const char *etag)
{
    char *path = home_path(p->h, "tmp", p->name, ".from");
    FILE *f = path ? fopen(path, "we") : NULL;

    /* Only an aid to resume: when it cannot be written the next pull begins anew. */
    if (f) {
        fprintf(f, "%s\n%s\n", url, etag);
        fclose(f);
    }
    free(path);
}

struct watch {
    struct pull *p;
    const char *label;
    struct err *e;
    int checked_room;
    int err;
};

static int on_progress(void *ctx, int64_t bytes, int64_t total)
{
    struct watch *w = ctx;

    if (total > 0 && !w->checked_room) {
        w->checked_room = 1;
        w->err = pull_check_room(w->p, bytes < total ? (uint64_t)(total - bytes) : 0, w->e);
        if (w->err)
            return 1;
    }
    return pull_tell(w->p, HUB_DOWNLOAD, w->label, (uint64_t)bytes,
                     total > 0 ? (uint64_t)total : 0);
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

/* How much of .part can be kept: all of it where the final hash will judge, else only bytes of the
 * same URL whose version the server can compare. */
static int64_t keepable(const struct pull *p, const struct from *from, const char *url)
{
    struct stat st;

    if (fstat(p->fd, &st) || st.st_size == 0)
        return 0;
    if (p->entry->sha256 && p->entry->bytes && (uint64_t)st.st_size <= p->entry->bytes)
        return st.st_size;
    if (!strcmp(from->url, url) && from->etag[0])
        return st.st_size;
    return 0;
}

/* One request, from what is there on. `have` bytes can be kept. */
static int fetch_once(struct pull *p, const struct source *s, const char *url, int64_t have,
                      struct watch *w, struct fetch_result *r)
{
    char auth[512];
    const char *list[2];
    struct fetch_options o;
    struct from from;
    int err;

    from_read(p, &from);
    fetch_options_init(&o, url);
    o.fd = p->fd;
    o.resume_from = have;
    o.etag = !strcmp(from.url, url) && from.etag[0] ? from.etag : NULL;
    o.size_expected = p->entry->bytes ? (int64_t)p->entry->bytes : -1;
    o.headers = make_headers(s, auth, sizeof auth, list);
    o.progress = on_progress;
    o.ctx = w;
    *r = (struct fetch_result){0};
    err = fetch_get(&o, r, w->e);
    if (w->err)
        err = w->err; /* its sentence says more than "cancelled" */
    if (err && r->bytes > 0)
        from_write(p, url, r->etag);
    return err;
}

int pull_from_url(struct pull *p, const struct source *s, struct err *e)
{
    char url[2048];
    const char *label;
    struct watch w = {.p = p, .e = e};
    struct fetch_result r;
    struct from from;
    int64_t have;
    int err = make_url(s, url, sizeof url, e);

    if (err)
        return err;
    label = strrchr(s->kind == SOURCE_HF ? s->file : url, '/');
    w.label = label ? label + 1 : s->kind == SOURCE_HF ? s->file : url;
    from_read(p, &from);
    have = keepable(p, &from, url);
    p->resumed = (uint64_t)have;
    if (have && (uint64_t)have == p->entry->bytes)
        return 0; /* whole already, the check decides */
    if (p->entry->bytes && (err = pull_check_room(p, p->entry->bytes - (uint64_t)have, e)))
        return err;
    if (!have && ftruncate(p->fd, 0))
        return err_set(e, ERR_IO, "cannot empty the download");
    for (;;) {
        err = fetch_once(p, s, url, have, &w, &r);
        if (err != ERR_IO && err != ERR_TIMEOUT)
            break;
        /* A line that was cut: go on as long as each try brings something. */
        from_read(p, &from);
        if (r.bytes <= have || keepable(p, &from, url) != r.bytes)
            break;
        have = r.bytes;
    }
    if (!err && r.resumed_from == 0)
        p->resumed = 0;
    return err;
}
