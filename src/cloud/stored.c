#include "cloud/stored.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/disk.h"
#include "base/log.h"
#include "cloud/stored_file.h"

#define TENANT_PART 4 /* of everything, a tenant's part */

enum state { RUNNING, PENDING, ENDED, GONE };

struct stored {
    struct stored_all *all;
    struct stored *next, *prev; /* by age, the newest first */
    char id[STORED_ID_MAX];
    char *tenant, *request_id;
    enum state state;
    int is_booked;
    int n_holders;
    int64_t until_us;       /* ENDED: kept so long; PENDING: tried from then on */
    int64_t alone_since_us; /* without followers */
    struct buf image;       /* its file's bytes */
    size_t n_public;        /* of these, written: followers read so far */
    size_t n_counted;       /* of its memory, in `bytes` */
    int fd;                 /* while it has an owner; -1: none */
    int n_followers;        /* but its owner */
    struct stored_follower *followers;
};

struct stored_all {
    pthread_mutex_t lock; /* of all below but the files; rank: a leaf */
    struct stored_config config;
    struct stored_folder folder;
    struct stored *newest, *oldest;
    int64_t n, bytes;
    struct stored_stats stats;
};

/* ---- the table: under the lock ----------------------------------------------------------------
 */

static void count(struct stored *s)
{
    s->all->bytes += (int64_t)s->image.cap - (int64_t)s->n_counted;
    s->n_counted = s->image.cap;
}

static void link_in(struct stored_all *a, struct stored *s)
{
    s->next = a->newest;
    if (a->newest)
        a->newest->prev = s;
    else
        a->oldest = s;
    a->newest = s;
    a->n++;
    count(s);
}

/* Its owner hears only of its end by others. */
static void tell_followers(struct stored *s)
{
    for (struct stored_follower *f = s->followers; f; f = f->next) {
        if ((!f->is_owner || s->state == GONE) && mbox_post(f->box, &f->item))
            mbox_wake(f->box);
    }
}

static void free_one(struct stored *s)
{
    buf_done(&s->image);
    free(s->tenant);
    free(s->request_id);
    free(s);
}

/* Out of the table, and its file goes. It lives on while somebody has it. */
static void take_out(struct stored *s)
{
    struct stored_all *a = s->all;

    if (s->state == GONE)
        return;
    s->state = GONE;
    if (s->next)
        s->next->prev = s->prev;
    else
        a->oldest = s->prev;
    if (s->prev)
        s->prev->next = s->next;
    else
        a->newest = s->next;
    a->n--;
    a->bytes -= (int64_t)s->n_counted;
    if (*a->folder.path)
        stored_file_remove(&a->folder, s->id);
    tell_followers(s);
    if (!s->n_holders)
        free_one(s);
}

/* The oldest that has ended, of that tenant or of all (NULL). */
static struct stored *oldest_ended(const struct stored_all *a, const char *tenant)
{
    struct stored *s = a->oldest;

    while (s && (s->state != ENDED || (tenant && strcmp(s->tenant, tenant))))
        s = s->prev;
    return s;
}

static int has_room(const struct stored_all *a, const char *tenant, size_t bytes, int n)
{
    int64_t most = (int64_t)a->config.memory, most_n = STORED_MAX;
    int64_t have = a->bytes, have_n = a->n;

    if (tenant) {
        most /= TENANT_PART;
        most_n /= TENANT_PART;
        have = have_n = 0;
        for (const struct stored *s = a->newest; s; s = s->next) {
            if (!strcmp(s->tenant, tenant)) {
                have += (int64_t)s->n_counted;
                have_n++;
            }
        }
    }
    return have + (int64_t)bytes <= most && have_n + n <= most_n;
}

static int make_room(struct stored_all *a, const char *tenant, size_t bytes, int n)
{
    const char *of[] = {tenant, NULL};
    struct stored *s;

    for (int i = 0; i < 2; i++) {
        while (!has_room(a, of[i], bytes, n)) {
            if (!(s = oldest_ended(a, of[i])))
                return -1;
            take_out(s);
        }
    }
    return 0;
}

/* ---- opening ----------------------------------------------------------------------------------
 */

static struct stored *make(struct stored_all *a, const struct stored_head *h)
{
    struct stored *s = calloc(1, sizeof *s);

    if (!s)
        return NULL;
    s->all = a;
    s->fd = -1;
    memcpy(s->id, h->text[STORED_ID], strnlen(h->text[STORED_ID], sizeof s->id - 1));
    s->tenant = strdup(h->text[STORED_TENANT]);
    s->request_id = strdup(h->text[STORED_REQUEST_ID]);
    buf_init(&s->image, STORED_ANSWER_MAX);
    if (s->tenant && s->request_id)
        return s;
    free_one(s);
    return NULL;
}

/* What is not whole at the end of a file is cut. */
static int cut(struct stored *s, size_t n)
{
    int fd = stored_file_open(&s->all->folder, s->id);
    int r = fd < 0 ? -1 : disk_cut(fd, (int64_t)n);

    s->image.len = s->n_public = n;
    if (fd >= 0)
        disk_close(fd);
    return r;
}

struct loading {
    struct stored_all *all;
    int64_t wall_us;
    int n_bad;
};

/* One that was read from a file: as far as it is whole. */
static int load(void *arg, const char *id, struct buf *image)
{
    struct loading *l = arg;
    struct stored_all *a = l->all;
    struct stored_head h;
    struct stored_story story;
    struct stored *s;
    size_t end;

    if (stored_story_read(image->data, image->len, &h, &story, &end) ||
        strcmp(h.text[STORED_ID], id) || make_room(a, h.text[STORED_TENANT], image->cap, 1)) {
        l->n_bad++;
        stored_file_remove(&a->folder, id);
        return 0;
    }
    if (!(s = make(a, &h)))
        return ERR_NOMEM;
    s->n_public = image->len;
    buf_take(&s->image, image);
    s->image.max = STORED_ANSWER_MAX;
    if (end < s->n_public)
        cut(s, end);
    s->state = story.is_done ? ENDED : PENDING;
    s->until_us = story.is_done ? l->wall_us + a->config.window_us : 0;
    s->alone_since_us = l->wall_us;
    link_in(a, s);
    return 0;
}

int stored_open(struct stored_all **ret, const struct stored_config *c, int64_t wall_us,
                struct err *e)
{
    struct stored_all *a = calloc(1, sizeof *a);
    struct loading l = {.all = a, .wall_us = wall_us};
    int r = 0;

    if (!a)
        return err_set(e, ERR_NOMEM, "out of memory");
    pthread_mutex_init(&a->lock, NULL);
    a->config = *c;
    if (c->folder)
        r = stored_folder_open(&a->folder, c->folder, e);
    if (!r && c->folder)
        r = stored_folder_each(&a->folder, load, &l, e);
    if (r == ERR_NOMEM)
        err_set(e, r, "stored answers: out of memory");
    if (l.n_bad)
        LOG_EVENT(LOG_WARN, "stored answers removed", LOG_INT("n", l.n_bad),
                  LOG_STR("why", "damaged, of another version, or no room"));
    if (r)
        stored_close(a);
    else
        *ret = a;
    return r;
}

void stored_close(struct stored_all *a)
{
    struct stored *next;

    if (!a)
        return;
    for (struct stored *s = a->newest; s; s = next) {
        next = s->next;
        CHECK(!s->n_holders);
        free_one(s);
    }
    stored_folder_close(&a->folder);
    pthread_mutex_destroy(&a->lock);
    free(a);
}

int stored_check_booked(struct stored_all *a,
                        int (*is_booked)(void *arg, const char *request_id, int *ret,
                                         struct err *e),
                        void *arg, struct err *e)
{
    int r = 0;

    for (struct stored *s = a->newest; s && !r; s = s->next) {
        r = is_booked(arg, s->request_id, &s->is_booked, e);
        if (r || s->state != ENDED || s->is_booked)
            continue;
        cut(s, stored_ends_at(s->image.data, s->image.len));
        s->state = PENDING;
        s->until_us = 0;
    }
    return r;
}

void stored_expire(struct stored_all *a, int64_t wall_us)
{
    struct stored *before;

    pthread_mutex_lock(&a->lock);
    for (struct stored *s = a->oldest; s; s = before) {
        int is_old = s->state == PENDING && wall_us - s->alone_since_us > a->config.window_us;
        before = s->prev;
        if ((s->state == ENDED && s->until_us <= wall_us) || is_old)
            take_out(s);
    }
    pthread_mutex_unlock(&a->lock);
}

/* ---- the owner --------------------------------------------------------------------------------
 */

/* Make room for what its image takes now. */
static int fit(struct stored *s)
{
    struct stored_all *a = s->all;

    count(s);
    return has_room(a, s->tenant, 0, 0) && has_room(a, NULL, 0, 0) ? 0
                                                                   : make_room(a, s->tenant, 0, 0);
}

static int write_out(struct stored *s)
{
    size_t n = s->image.len - s->n_public;

    return s->fd < 0 || !n
               ? 0
               : disk_write_at(s->fd, s->image.data + s->n_public, n, (int64_t)s->n_public);
}

static int begin_file(struct stored *s, struct err *e)
{
    if (!*s->all->folder.path)
        return 0;
    s->fd = stored_file_make(&s->all->folder, s->id);
    if (s->fd >= 0 && !write_out(s))
        return 0;
    return err_set(e, ERR_IO, "%s", strerror(errno));
}

int stored_begin(struct stored_all *a, const struct stored_head *h, int64_t wall_us,
                 struct stored **ret, struct err *e)
{
    struct stored *s;
    int r;

    if (h->n_body > STORED_BODY_MAX)
        return err_set(e, ERR_LIMIT, "the request is larger than %zu bytes", STORED_BODY_MAX);
    if (!(s = make(a, h)))
        return err_set(e, ERR_NOMEM, "no memory");
    r = stored_put_head(&s->image, h);
    if (r)
        err_set(e, r, "%s", err_text(r));
    else
        r = begin_file(s, e);
    s->n_public = s->image.len;
    s->alone_since_us = wall_us;
    s->n_holders = 1;
    pthread_mutex_lock(&a->lock);
    if (!r && make_room(a, s->tenant, s->image.cap, 1))
        r = err_set(e, ERR_AGAIN, "there is no room for more of this account's answers");
    if (!r) {
        link_in(a, s);
        a->stats.stored++;
    }
    pthread_mutex_unlock(&a->lock);
    if (!r) {
        *ret = s;
        return 0;
    }
    if (s->fd >= 0) {
        stored_file_remove(&a->folder, s->id);
        disk_close(s->fd);
    }
    free_one(s);
    return r;
}

void stored_add(struct stored *s, const struct event *ev)
{
    pthread_mutex_lock(&s->all->lock);
    stored_put_event(&s->image, ev);
    pthread_mutex_unlock(&s->all->lock);
}

static int has_done(const struct stored *s, size_t from)
{
    struct stored_event ev;
    size_t n;

    while ((n = stored_read_event(s->image.data, s->image.len, from, &ev))) {
        if (ev.ev.kind == EVENT_DONE)
            return 1;
        from += n;
    }
    return 0;
}

int stored_publish(struct stored *s, int64_t wall_us, struct err *e)
{
    struct stored_all *a = s->all;
    int r = 0;

    if (s->image.failed)
        r = err_set(e, ERR_LIMIT, "it is too long");
    else if (write_out(s)) /* only its owner changes its image */
        r = err_set(e, ERR_IO, "%s", strerror(errno));
    pthread_mutex_lock(&a->lock);
    if (!r && s->state == GONE)
        r = err_set(e, ERR_NOTFOUND, "it was deleted");
    else if (!r && fit(s))
        r = err_set(e, ERR_AGAIN, "there is no room for more of this account's answers");
    if (r) {
        a->stats.lost += s->state != GONE;
        take_out(s);
    } else {
        if (has_done(s, s->n_public)) {
            s->state = ENDED;
            s->until_us = wall_us + a->config.window_us;
        }
        s->n_public = s->image.len;
        tell_followers(s);
    }
    pthread_mutex_unlock(&a->lock);
    return r;
}

void stored_drop(struct stored *s)
{
    pthread_mutex_lock(&s->all->lock);
    take_out(s);
    pthread_mutex_unlock(&s->all->lock);
}

int stored_is_gone(struct stored *s)
{
    int is;

    pthread_mutex_lock(&s->all->lock);
    is = s->state == GONE;
    pthread_mutex_unlock(&s->all->lock);
    return is;
}

int64_t stored_alone_us(struct stored *s, int64_t wall_us)
{
    int64_t us;

    pthread_mutex_lock(&s->all->lock);
    us = s->n_followers ? 0 : wall_us - s->alone_since_us;
    pthread_mutex_unlock(&s->all->lock);
    return us;
}

int stored_is_booked(const struct stored *s)
{
    return s->is_booked;
}

/* ---- one that goes on -------------------------------------------------------------------------
 */

struct stored *stored_take_pending(struct stored_all *a, int64_t wall_us)
{
    struct stored *s;

    pthread_mutex_lock(&a->lock);
    for (s = a->oldest; s; s = s->prev) {
        if (s->state == PENDING && s->until_us <= wall_us)
            break;
    }
    if (s) {
        s->state = RUNNING;
        s->n_holders++;
        a->stats.resumed++;
    }
    pthread_mutex_unlock(&a->lock);
    if (s && *a->folder.path && (s->fd = stored_file_open(&a->folder, s->id)) < 0)
        LOG_EVENT(LOG_WARN, "stored answer not opened", LOG_STR("id", s->id),
                  LOG_STR("why", strerror(errno)));
    return s;
}

int stored_read_past(struct stored *s, struct stored_past *ret)
{
    int32_t n[JOB_CHOICES_MAX] = {0};
    struct stored_event ev;
    size_t at, size, end;
    int r = 0;

    *ret = (struct stored_past){.story.n_choices = 0};
    buf_init(&ret->bytes, STORED_ANSWER_MAX);
    if (stored_story_read(s->image.data, s->image.len, &ret->head, &ret->story, &end))
        return ERR_FORMAT;
    at = stored_read_head(s->image.data, s->image.len, &ret->head);
    r = buf_add(&ret->bytes, s->image.data, at);
    for (int32_t c = 0; c < ret->story.n_choices && !r; c++) {
        ret->token[c] = malloc(((size_t)ret->story.n_told[c] + 1) * sizeof(int32_t));
        r = ret->token[c] ? 0 : ERR_NOMEM;
    }
    if (!r)
        stored_read_head(ret->bytes.data, ret->bytes.len, &ret->head);
    for (; !r && (size = stored_read_event(s->image.data, s->image.len, at, &ev)); at += size) {
        if (ev.ev.kind == EVENT_TEXT)
            ret->token[ev.ev.choice][n[ev.ev.choice]++] = ev.ev.token;
    }
    if (r)
        stored_past_done(ret);
    return r;
}

void stored_past_done(struct stored_past *p)
{
    for (int c = 0; c < JOB_CHOICES_MAX; c++)
        free(p->token[c]);
    buf_done(&p->bytes);
    *p = (struct stored_past){.story.n_choices = 0};
}

void stored_postpone(struct stored *s, int64_t wall_us)
{
    pthread_mutex_lock(&s->all->lock);
    s->until_us = wall_us;
    pthread_mutex_unlock(&s->all->lock);
}

/* ---- followers --------------------------------------------------------------------------------
 */

int stored_find(struct stored_all *a, const char *tenant, const char *id, struct stored **ret,
                struct err *e)
{
    struct stored *s;

    pthread_mutex_lock(&a->lock);
    for (s = a->newest; s; s = s->next) {
        if (!strcmp(s->id, id) && !strcmp(s->tenant, tenant))
            break;
    }
    if (s) {
        s->n_holders++;
        a->stats.followed++;
    }
    pthread_mutex_unlock(&a->lock);
    if (!s)
        return err_set(e, ERR_NOTFOUND, "No stored answer has the id '%.80s'.", id);
    *ret = s;
    return 0;
}

static void put(struct stored *s)
{
    CHECK(s->n_holders > 0);
    if (!--s->n_holders && s->state == GONE)
        free_one(s);
}

void stored_put(struct stored *s)
{
    struct stored_all *a = s->all;

    pthread_mutex_lock(&a->lock);
    put(s);
    pthread_mutex_unlock(&a->lock);
}

void stored_leave(struct stored *s, int64_t wall_us)
{
    struct stored_all *a = s->all;

    if (s->fd >= 0)
        disk_close(s->fd);
    s->fd = -1;
    pthread_mutex_lock(&a->lock);
    s->image.len = s->state == GONE ? s->image.len : s->n_public;
    if (s->state == RUNNING)
        s->state = PENDING;
    s->alone_since_us = wall_us;
    put(s);
    pthread_mutex_unlock(&a->lock);
}

int stored_outlives(const struct stored_all *a)
{
    return *a->folder.path != 0;
}

void stored_follow(struct stored *s, struct stored_follower *f)
{
    pthread_mutex_lock(&s->all->lock);
    f->prev = NULL;
    f->next = s->followers;
    if (f->next)
        f->next->prev = f;
    s->followers = f;
    s->n_followers += !f->is_owner;
    pthread_mutex_unlock(&s->all->lock);
}

void stored_unfollow(struct stored *s, struct stored_follower *f, int64_t wall_us)
{
    pthread_mutex_lock(&s->all->lock);
    if (f->prev)
        f->prev->next = f->next;
    else
        s->followers = f->next;
    if (f->next)
        f->next->prev = f->prev;
    s->n_followers -= !f->is_owner;
    if (!f->is_owner)
        s->alone_since_us = wall_us;
    pthread_mutex_unlock(&s->all->lock);
}

/* Where the last whole record ends within max bytes from `at`; at least one record. */
static size_t records_end(const struct stored *s, size_t at, size_t max)
{
    struct stored_head h;
    struct stored_event ev;
    size_t to = at, n;

    while (to < s->n_public && to - at < max) {
        n = to ? stored_read_event(s->image.data, s->n_public, to, &ev)
               : stored_read_head(s->image.data, s->n_public, &h);
        if (!n)
            break;
        to += n;
    }
    return to;
}

int stored_read(struct stored *s, size_t *at, size_t max, struct buf *out,
                enum stored_state *ret_state)
{
    size_t to;

    pthread_mutex_lock(&s->all->lock);
    to = records_end(s, *at, max);
    buf_add(out, s->image.data + *at, to - *at);
    *at = to;
    *ret_state = s->state == GONE                         ? STORED_GONE
                 : s->state == ENDED && to == s->n_public ? STORED_ENDED
                                                          : STORED_RUNS;
    pthread_mutex_unlock(&s->all->lock);
    return out->failed;
}

void stored_stats(struct stored_all *a, struct stored_stats *ret)
{
    pthread_mutex_lock(&a->lock);
    *ret = a->stats;
    ret->n = a->n;
    ret->bytes = a->bytes;
    for (const struct stored *s = a->newest; s; s = s->next)
        ret->n_pending += s->state == PENDING;
    pthread_mutex_unlock(&a->lock);
}
