#include "cloud/stored_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/disk.h"
#include "base/log.h"

#define TENANT_PART 4 /* of everything, a tenant's part */

/* ---- the table: under the lock ----------------------------------------------------------------
 */

static int64_t *sum_of(struct stored *s)
{
    return s->state == IS_ELSEWHERE ? &s->all->bytes_elsewhere : &s->all->bytes;
}

void stored_count(struct stored *s)
{
    *sum_of(s) += (int64_t)s->image.cap - (int64_t)s->n_counted;
    s->n_counted = s->image.cap;
}

void stored_link(struct stored *s)
{
    struct stored_all *a = s->all;

    s->next = a->newest;
    if (a->newest)
        a->newest->prev = s;
    else
        a->oldest = s;
    a->newest = s;
    a->n += s->state != IS_ELSEWHERE;
    stored_count(s);
}

static void unlink_one(struct stored *s)
{
    struct stored_all *a = s->all;

    *sum_of(s) -= (int64_t)s->n_counted;
    a->n -= s->state != IS_ELSEWHERE;
    if (s->next)
        s->next->prev = s->prev;
    else
        a->oldest = s->prev;
    if (s->prev)
        s->prev->next = s->next;
    else
        a->newest = s->next;
}

/* Its owner hears only of its end by others. */
void stored_tell(struct stored *s)
{
    for (struct stored_follower *f = s->followers; f; f = f->next) {
        if ((!f->is_owner || s->state == IS_GONE) && mbox_post(f->box, &f->item))
            mbox_wake(f->box);
    }
}

void stored_free(struct stored *s)
{
    if (s->fd >= 0)
        disk_close(s->fd);
    buf_done(&s->image);
    free(s->tenant);
    free(s->request_id);
    free(s->moves_to);
    free(s);
}

/* Out of the table, and its file goes. It lives on while somebody has it. */
void stored_take_out(struct stored *s)
{
    struct stored_all *a = s->all;

    if (s->state == IS_GONE)
        return;
    unlink_one(s);
    if (s->state == IS_ELSEWHERE)
        stored_remove_beside(s);
    else if (*a->folder.path)
        stored_file_remove(&a->folder, s->id);
    s->state = IS_GONE;
    stored_tell(s);
    if (!s->n_holders)
        stored_free(s);
}

struct stored *stored_by_id(struct stored_all *a, const char *id)
{
    struct stored *s = a->newest;

    while (s && strcmp(s->id, id) != 0)
        s = s->next;
    return s;
}

/* The oldest that has ended, of that tenant or of all (NULL). */
static struct stored *oldest_ended(const struct stored_all *a, const char *tenant)
{
    struct stored *s = a->oldest;

    while (s && (s->state != IS_ENDED || (tenant && strcmp(s->tenant, tenant))))
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
            if (s->state != IS_ELSEWHERE && !strcmp(s->tenant, tenant)) {
                have += (int64_t)s->n_counted;
                have_n++;
            }
        }
    }
    return have + (int64_t)bytes <= most && have_n + n <= most_n;
}

int stored_make_room(struct stored_all *a, const char *tenant, size_t bytes, int n)
{
    const char *of[] = {tenant, NULL};
    struct stored *s;

    for (int i = 0; i < 2; i++) {
        while (!has_room(a, of[i], bytes, n)) {
            if (!(s = oldest_ended(a, of[i])))
                return -1;
            stored_take_out(s);
        }
    }
    return 0;
}

/* ---- opening ----------------------------------------------------------------------------------
 */

struct stored *stored_make(struct stored_all *a, const struct stored_head *h)
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
    stored_free(s);
    return NULL;
}

/* What is not whole at the end of a file is cut. */
int stored_cut(struct stored *s, size_t n)
{
    int fd = stored_file_open(&s->all->folder, s->id);
    int r = fd < 0 ? -1 : disk_cut(fd, (int64_t)n);

    s->image.len = s->n_public = n;
    if (fd >= 0)
        disk_close(fd);
    return r;
}

/* How long one is kept that ended when its file was written last. */
int64_t stored_until(const struct stored_all *a, int64_t written_us, int64_t wall_us)
{
    return (written_us < wall_us ? written_us : wall_us) + a->config.window_us;
}

struct loading {
    struct stored_all *all;
    int64_t wall_us;
    int n_bad, n_moving;
};

/* One that was read from a file: as far as it is whole. */
static int load(void *arg, const struct stored_found *found)
{
    struct loading *l = arg;
    struct buf *image = found->image;
    struct stored_all *a = l->all;
    struct stored_head h;
    struct stored_story story;
    struct stored *s;
    const char *to;
    size_t end;

    if (stored_story_read(image->data, image->len, &h, &story, &end) ||
        strcmp(h.text[STORED_ID], found->id) ||
        stored_make_room(a, h.text[STORED_TENANT], image->cap, 1)) {
        l->n_bad++;
        stored_file_remove(&a->folder, found->id);
        return 0;
    }
    if (!(s = stored_make(a, &h)))
        return ERR_NOMEM;
    if ((to = stored_read_move(image->data, image->len, end)) && !(s->moves_to = strdup(to))) {
        stored_free(s);
        return ERR_NOMEM;
    }
    s->n_public = image->len;
    buf_take(&s->image, image);
    s->image.max = STORED_ANSWER_MAX;
    if (to) { /* what its file says of that stays there */
        s->image.len = s->n_public = end;
        l->n_moving++;
    } else if (end < s->n_public) {
        stored_cut(s, end);
    }
    s->state = story.is_done ? IS_ENDED : IS_PENDING;
    s->until_us = story.is_done ? stored_until(a, found->written_us, l->wall_us) : 0;
    s->alone_since_us = l->wall_us;
    stored_link(s);
    return 0;
}

/* Where the newest goes that is on its way. */
static const char *moving_to(const struct stored_all *a)
{
    const struct stored *s = a->newest;

    while (s && !s->moves_to)
        s = s->next;
    return s ? s->moves_to : "";
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
    if (l.n_moving)
        LOG_EVENT(LOG_WARN, "stored answers are on their way", LOG_INT("n", l.n_moving),
                  LOG_STR("to", moving_to(a)),
                  LOG_STR("why", "the server was ended while it sent them; they wait for 'gaufre "
                                 "drain --to'"));
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
        stored_free(s);
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
        if (r || s->state != IS_ENDED || s->is_booked)
            continue;
        stored_cut(s, stored_ends_at(s->image.data, s->image.len));
        s->state = IS_PENDING;
        s->until_us = 0;
    }
    return r;
}

void stored_expire(struct stored_all *a, int64_t wall_us)
{
    struct stored *before;

    pthread_mutex_lock(&a->lock);
    for (struct stored *s = a->oldest; s; s = before) {
        int is_deleted = s->state == IS_RUNNING && s->fd >= 0 && disk_is_removed(s->fd);
        int is_old = s->state == IS_PENDING && wall_us - s->alone_since_us > a->config.window_us;
        before = s->prev;
        if ((s->state == IS_ENDED && s->until_us <= wall_us) || is_old || is_deleted)
            stored_take_out(s);
    }
    pthread_mutex_unlock(&a->lock);
}

/* ---- the owner --------------------------------------------------------------------------------
 */

/* Make room for what its image takes now. It is looked for only when that has grown, which is
 * seldom: each look goes through the whole table. */
static int fit(struct stored *s)
{
    size_t before = s->n_counted;

    stored_count(s);
    return s->n_counted > before ? stored_make_room(s->all, s->tenant, 0, 0) : 0;
}

static int write_out(struct stored *s)
{
    size_t n = s->image.len - s->n_public;

    return s->fd < 0 || !n
               ? 0
               : disk_write_at(s->fd, s->image.data + s->n_public, n, (int64_t)s->n_public);
}

int stored_begin_file(struct stored *s, struct err *e)
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
    if (!(s = stored_make(a, h)))
        return err_set(e, ERR_NOMEM, "no memory");
    r = stored_put_head(&s->image, h);
    if (r)
        err_set(e, r, "%s", err_text(r));
    else
        r = stored_begin_file(s, e);
    s->n_public = s->image.len;
    s->alone_since_us = wall_us;
    s->n_holders = 1;
    pthread_mutex_lock(&a->lock);
    if (!r && stored_make_room(a, s->tenant, s->image.cap, 1))
        r = err_set(e, ERR_AGAIN, "there is no room for more of this account's answers");
    if (!r) {
        stored_link(s);
        a->stats.stored++;
    }
    pthread_mutex_unlock(&a->lock);
    if (!r) {
        *ret = s;
        return 0;
    }
    if (s->fd >= 0)
        stored_file_remove(&a->folder, s->id);
    stored_free(s);
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
    if (!r && (s->state == IS_GONE || (s->fd >= 0 && disk_is_removed(s->fd))))
        r = err_set(e, ERR_NOTFOUND, "it was deleted");
    else if (!r && fit(s))
        r = err_set(e, ERR_AGAIN, "there is no room for more of this account's answers");
    if (r) {
        a->stats.lost += r != ERR_NOTFOUND && s->state != IS_GONE;
        stored_take_out(s);
    } else {
        if (has_done(s, s->n_public)) {
            s->state = IS_ENDED;
            s->until_us = wall_us + a->config.window_us;
        }
        s->n_public = s->image.len;
        stored_tell(s);
    }
    pthread_mutex_unlock(&a->lock);
    return r;
}

void stored_drop(struct stored *s)
{
    pthread_mutex_lock(&s->all->lock);
    stored_take_out(s);
    pthread_mutex_unlock(&s->all->lock);
}

int stored_is_gone(struct stored *s)
{
    int is;

    pthread_mutex_lock(&s->all->lock);
    is = s->state == IS_GONE;
    pthread_mutex_unlock(&s->all->lock);
    return is;
}

int64_t stored_alone_us(struct stored *s, int64_t wall_us)
{
    int64_t us, since;

    pthread_mutex_lock(&s->all->lock);
    since = s->fd < 0 ? -1 : disk_read_us(s->fd); /* by another process */
    since = since > s->alone_since_us && since <= wall_us ? since : s->alone_since_us;
    us = s->n_followers ? 0 : wall_us - since;
    pthread_mutex_unlock(&s->all->lock);
    return us;
}

int stored_is_booked(const struct stored *s)
{
    return s->is_booked;
}

/* ---- one that goes on -------------------------------------------------------------------------
 */

int stored_take_over(struct stored *s)
{
    struct stored_all *a = s->all;

    if (*a->folder.path && (s->fd = stored_file_open(&a->folder, s->id)) < 0) {
        LOG_EVENT(LOG_WARN, "stored answer not opened", LOG_STR("id", s->id),
                  LOG_STR("why", strerror(errno)));
        if (errno == ENOENT) {
            stored_take_out(s);
            return 0;
        }
    }
    s->state = IS_RUNNING;
    s->n_holders++;
    return 1;
}

struct stored *stored_take_pending(struct stored_all *a, int64_t wall_us)
{
    struct stored *s, *before;

    pthread_mutex_lock(&a->lock);
    for (s = a->oldest; s; s = before) {
        before = s->prev;
        if (s->state == IS_PENDING && !s->moves_to && s->until_us <= wall_us && stored_take_over(s))
            break;
    }
    a->stats.resumed += s != NULL;
    pthread_mutex_unlock(&a->lock);
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

/* This process's own, held. One whose file another process has removed is no more. */
static struct stored *find_own(struct stored_all *a, const char *tenant, const char *id)
{
    struct stored *s;

    pthread_mutex_lock(&a->lock);
    s = stored_by_id(a, id);
    if (s && s->state != IS_ELSEWHERE && *a->folder.path &&
        !stored_file_exists(&a->folder, s->id)) {
        stored_take_out(s);
        s = NULL;
    }
    if (s && tenant && strcmp(s->tenant, tenant) != 0)
        s = NULL;
    if (s)
        s->n_holders++;
    pthread_mutex_unlock(&a->lock);
    return s;
}

void stored_hold(struct stored *s)
{
    pthread_mutex_lock(&s->all->lock);
    s->n_holders++;
    pthread_mutex_unlock(&s->all->lock);
}

int stored_find(struct stored_all *a, const char *tenant, const char *id, struct stored **ret,
                struct err *e)
{
    struct stored *s = find_own(a, tenant, id);

    if (!s && *a->folder.path)
        s = stored_find_beside(a, tenant, id);
    if (!s)
        return err_set(e, ERR_NOTFOUND, "No stored answer has the id '%.80s'.", id);
    pthread_mutex_lock(&a->lock);
    a->stats.followed++;
    pthread_mutex_unlock(&a->lock);
    *ret = s;
    return 0;
}

static void put(struct stored *s)
{
    CHECK(s->n_holders > 0);
    if (--s->n_holders)
        return;
    if (s->state == IS_ELSEWHERE)
        unlink_one(s);
    if (s->state == IS_ELSEWHERE || s->state == IS_GONE)
        stored_free(s);
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

    pthread_mutex_lock(&a->lock);
    if (s->fd >= 0)
        disk_close(s->fd);
    s->fd = -1;
    s->image.len = s->state == IS_GONE ? s->image.len : s->n_public;
    if (s->state == IS_RUNNING)
        s->state = IS_PENDING;
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
    int has_ended;

    pthread_mutex_lock(&s->all->lock);
    if (s->state == IS_ELSEWHERE)
        stored_read_beside(s);
    has_ended = s->state == IS_ENDED || (s->state == IS_ELSEWHERE && s->story.is_done);
    to = records_end(s, *at, max);
    buf_add(out, s->image.data + *at, to - *at);
    *at = to;
    *ret_state = s->state == IS_GONE              ? STORED_GONE
                 : has_ended && to == s->n_public ? STORED_ENDED
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
        ret->n_pending += s->state == IS_PENDING;
    pthread_mutex_unlock(&a->lock);
}
