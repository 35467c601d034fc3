#include "serve/site_watch.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/put.h"
#include "net/fetch.h"
#include "serve/server.h"
#include "serve/told_file.h"

#define LOOK_MS       250
#define FEED_MS       10000 /* to connect, and without a byte */
#define FEED_RETRY_US INT64_C(60000000)
#define HEADER_MAX    2048

/* What was seen of one site last. */
struct seen {
    const struct serve_site *site;
    char why[2][160]; /* of its factor and its carbon; "": all was well */
    struct stat file; /* its hours, as they were read */
    int64_t feed_us;  /* when the feed is due */
};

struct site_watch {
    struct server *s;
    pthread_t thread;
    pthread_mutex_t lock; /* of what follows; rank: before the cloud's */
    pthread_cond_t wake;
    const struct serve_config *config; /* of which `seen` is */
    struct seen seen[SITES_MAX];
    int has_thread;
    _Atomic int stop;
};

/* ---- files ---------------------------------------------------------------------------------- */

/* Log it where it is not what was wrong before. */
static void note(struct seen *v, int what, const struct err *e)
{
    static const char *const names[] = {"capacity factor", "carbon"};
    const char *why = e->code ? e->text : "";

    if (!strncmp(v->why[what], why, sizeof v->why[what] - 1))
        return;
    put_text(v->why[what], sizeof v->why[what], why);
    if (*why)
        LOG_EVENT(LOG_WARN, "site not read", LOG_STR("site", v->site->name),
                  LOG_STR("what", names[what]), LOG_STR("why", why));
}

static void look_at_factor(struct cloud *cloud, struct seen *v)
{
    struct err e = {0};
    struct stat st;
    struct buf text;
    int32_t ppm = -1;

    buf_init(&text, SITE_FILE_MAX);
    if (!told_file_read(v->site->capacity_file, &text, &st, &e)) {
        const char *all = text.data ? text.data : "";
        char word[SITE_FILE_MAX + 1];
        size_t n = strcspn(all, " \t\r\n");
        snprintf(word, sizeof word, "%.*s", (int)n, all);
        if (strlen(all) != text.len || all[n + strspn(all + n, " \t\r\n")])
            err_set(&e, ERR_FORMAT, "wants one number");
        else
            site_factor_parse(word, &ppm, &e);
        if (e.code)
            err_prefix(&e, "%.80s", v->site->capacity_file);
    }
    buf_done(&text);
    note(v, 0, &e);
    cloud_tell_site_factor(cloud, v->site->name, ppm, e.code ? e.text : NULL);
}

static void take_hours(struct cloud *cloud, struct seen *v, const char *name,
                       const struct buf *text, struct err *e)
{
    struct carbon_hours *h = NULL;

    if (!e->code)
        carbon_parse(&h, name, text->data ? text->data : "", text->len, e);
    note(v, 1, e);
    cloud_tell_site_carbon(cloud, v->site->name, h, e->code ? e->text : NULL);
    if (!e->code)
        LOG_EVENT(LOG_INFO, "site's carbon", LOG_STR("site", v->site->name),
                  LOG_INT("hours", carbon_n_hours(h)));
}

static int is_same_file(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static void look_at_hours(struct cloud *cloud, struct seen *v)
{
    struct err e = {0};
    struct stat st = {0};
    struct buf text;

    if (!stat(v->site->carbon_file, &st) && is_same_file(&st, &v->file))
        return;
    buf_init(&text, CARBON_BYTES_MAX);
    if (told_file_read(v->site->carbon_file, &text, &st, &e))
        st = (struct stat){0}; /* it is tried again */
    v->file = st;
    take_hours(cloud, v, v->site->carbon_file, &text, &e);
    buf_done(&text);
}

/* With the lock held: all files of the configuration in force. */
static void look_at_files(struct site_watch *w)
{
    const struct serve_config *c = w->s->config;

    if (c != w->config) {
        memset(w->seen, 0, sizeof w->seen);
        for (int i = 0; i < c->n_sites; i++)
            w->seen[i].site = &c->sites[i];
        w->config = c;
    }
    for (int i = 0; i < c->n_sites; i++) {
        if (c->sites[i].capacity_file)
            look_at_factor(w->s->cloud, &w->seen[i]);
        if (c->sites[i].carbon_file)
            look_at_hours(w->s->cloud, &w->seen[i]);
    }
}

/* ---- feeds ----------------------------------------------------------------------------------- */

static int is_over(void *ctx, int64_t bytes, int64_t total)
{
    const struct site_watch *w = ctx;

    (void)bytes;
    (void)total;
    return atomic_load(&w->stop);
}

/* Without the lock: it may take long. What a URL says beside its host may be secret: it is told to
 * nobody. */
static int ask_feed(struct site_watch *w, const struct serve_site *site, struct buf *text,
                    struct err *e)
{
    const char *headers[2] = {NULL};
    struct fetch_result got;
    struct fetch_options f;
    char header[HEADER_MAX];

    if (site->carbon_key) {
        snprintf(header, sizeof header, "Authorization: Bearer %s", site->carbon_key);
        headers[0] = header;
    }
    fetch_options_init(&f, site->carbon_url);
    f.body = text;
    f.headers = headers;
    f.ca_file = site->carbon_ca_file;
    f.connect_timeout_ms = f.stall_timeout_ms = FEED_MS;
    f.size_max = (int64_t)CARBON_BYTES_MAX;
    f.progress = is_over;
    f.ctx = w;
    if (fetch_get(&f, &got, e))
        err_set(e, e->code, "its feed: %s (HTTP %d)", err_text(e->code), got.status);
    explicit_bzero(header, sizeof header);
    return e->code;
}

/* With the lock held, but while one is asked. */
static void look_at_feeds(struct site_watch *w)
{
    const struct serve_config *c = w->config;

    for (int i = 0; i < c->n_sites && w->config == c && !atomic_load(&w->stop); i++) {
        struct seen *v = &w->seen[i];
        struct err e = {0};
        struct buf text;
        if (!v->site->carbon_url || clock_now_us() < v->feed_us)
            continue;
        buf_init(&text, CARBON_BYTES_MAX);
        pthread_mutex_unlock(&w->lock);
        ask_feed(w, &c->sites[i], &text, &e);
        pthread_mutex_lock(&w->lock);
        if (w->config == c && !atomic_load(&w->stop)) { /* else it is another's */
            take_hours(w->s->cloud, v, "its feed", &text, &e);
            v->feed_us = clock_now_us() + v->site->carbon_refresh * 1000;
            if (e.code && v->feed_us > clock_now_us() + FEED_RETRY_US)
                v->feed_us = clock_now_us() + FEED_RETRY_US;
        }
        buf_done(&text);
    }
}

/* ---- the thread ------------------------------------------------------------------------------ */

static void *watch_main(void *arg)
{
    struct site_watch *w = arg;
    struct timespec until;

    pthread_setname_np(pthread_self(), "sites");
    pthread_mutex_lock(&w->lock);
    while (!atomic_load(&w->stop)) {
        look_at_files(w);
        look_at_feeds(w);
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += LOOK_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        if (!atomic_load(&w->stop))
            pthread_cond_timedwait(&w->wake, &w->lock, &until);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

static int has_any(const struct serve_config *c)
{
    for (int i = 0; i < c->n_sites; i++) {
        if (c->sites[i].capacity_file || c->sites[i].carbon_file || c->sites[i].carbon_url)
            return 1;
    }
    return 0;
}

int site_watch_start(struct server *s, struct err *e)
{
    s->site_watch = calloc(1, sizeof *s->site_watch);
    if (!s->site_watch)
        return err_set(e, ERR_NOMEM, "out of memory");
    s->site_watch->s = s;
    pthread_mutex_init(&s->site_watch->lock, NULL);
    pthread_cond_init(&s->site_watch->wake, NULL);
    return site_watch_swap(s, e);
}

int site_watch_swap(struct server *s, struct err *e)
{
    struct site_watch *w = s->site_watch;
    int r = 0;

    pthread_mutex_lock(&w->lock);
    look_at_files(w);
    if (!w->has_thread && has_any(s->config)) {
        w->has_thread = !pthread_create(&w->thread, NULL, watch_main, w);
        r = w->has_thread ? 0 : err_set(e, ERR_NOMEM, "no thread for the files of sites");
    }
    pthread_mutex_unlock(&w->lock);
    return r;
}

void site_watch_stop(struct server *s)
{
    struct site_watch *w = s->site_watch;

    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    atomic_store(&w->stop, 1);
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
    if (w->has_thread)
        pthread_join(w->thread, NULL);
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->wake);
    free(w);
    s->site_watch = NULL;
}
