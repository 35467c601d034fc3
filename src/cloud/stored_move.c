/* Stored answers that go over to another server, and those that come from one. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/disk.h"
#include "base/log.h"
#include "cloud/stored_int.h"

#define MARK_MAX         4096 /* bytes of the record that says where to */
#define REQUEST_ID_CHARS 36

/* ---- to another server -----------------------------------------------------------------------
 */

int stored_move(struct stored *s, const char *to, struct err *e)
{
    struct buf mark;
    char *copy = strdup(to);
    int r;

    buf_init(&mark, MARK_MAX);
    r = copy ? stored_put_move(&mark, to) : ERR_NOMEM;
    if (r)
        err_set(e, r, "%s", err_text(r));
    else if (s->fd >= 0 && disk_write_at(s->fd, mark.data, mark.len, (int64_t)s->n_public))
        r = err_set(e, ERR_IO, "%s", strerror(errno));
    buf_done(&mark);
    if (r) {
        free(copy);
        return r;
    }
    pthread_mutex_lock(&s->all->lock);
    free(s->moves_to);
    s->moves_to = copy;
    pthread_mutex_unlock(&s->all->lock);
    return 0;
}

int stored_moves(struct stored *s)
{
    int is;

    pthread_mutex_lock(&s->all->lock);
    is = s->moves_to != NULL;
    pthread_mutex_unlock(&s->all->lock);
    return is;
}

void stored_moved(struct stored *s)
{
    pthread_mutex_lock(&s->all->lock);
    s->is_moved = 1;
    s->all->stats.moved++;
    stored_take_out(s);
    pthread_mutex_unlock(&s->all->lock);
}

int stored_is_moved(struct stored *s)
{
    int is;

    pthread_mutex_lock(&s->all->lock);
    is = s->is_moved;
    pthread_mutex_unlock(&s->all->lock);
    return is;
}

/* Its file says no more that it is on its way. */
static void unmark(struct stored *s)
{
    if (s->fd >= 0 && disk_cut(s->fd, (int64_t)s->n_public))
        LOG_EVENT(LOG_WARN, "stored answer not cut", LOG_STR("id", s->id),
                  LOG_STR("why", strerror(errno)));
}

void stored_stays(struct stored *s, int round)
{
    unmark(s);
    pthread_mutex_lock(&s->all->lock);
    free(s->moves_to);
    s->moves_to = NULL;
    s->stays = round;
    pthread_mutex_unlock(&s->all->lock);
}

static int is_left(const struct stored *s, int round, const char *to)
{
    return (s->state == IS_RUNNING || s->state == IS_PENDING) && s->stays != round &&
           (!to || !s->moves_to || !strcmp(s->moves_to, to));
}

int stored_is_left(struct stored *s, int round)
{
    int is;

    pthread_mutex_lock(&s->all->lock);
    is = is_left(s, round, NULL);
    pthread_mutex_unlock(&s->all->lock);
    return is;
}

void stored_left(struct stored_all *a, int round, const char *to, int64_t *ret_left,
                 int64_t *ret_moving)
{
    *ret_left = *ret_moving = 0;
    pthread_mutex_lock(&a->lock);
    for (const struct stored *s = a->newest; s; s = s->next) {
        *ret_left += is_left(s, round, to);
        *ret_moving += s->moves_to != NULL;
    }
    pthread_mutex_unlock(&a->lock);
}

struct stored *stored_take_left(struct stored_all *a, int round, const char *to)
{
    struct stored *s, *before;

    pthread_mutex_lock(&a->lock);
    for (s = a->oldest; s; s = before) {
        before = s->prev;
        if (s->state == IS_PENDING && is_left(s, round, to) && stored_take_over(s))
            break;
    }
    pthread_mutex_unlock(&a->lock);
    return s;
}

int stored_keep(struct stored_all *a)
{
    struct stored *s, *before;
    int n = 0;

    pthread_mutex_lock(&a->lock);
    for (s = a->oldest; s; s = before) {
        before = s->prev;
        if (s->state != IS_PENDING || !s->moves_to)
            continue;
        stored_cut(s, s->n_public);
        free(s->moves_to);
        s->moves_to = NULL;
        n++;
    }
    pthread_mutex_unlock(&a->lock);
    return n;
}

/* ---- from one --------------------------------------------------------------------------------
 */

/* Is it a name that a request has: "req_" and hexadecimal digits? It is one in the books. */
static int is_request(const char *id)
{
    return strlen(id) == REQUEST_ID_CHARS && !strncmp(id, "req_", 4) &&
           strspn(id + 4, "0123456789abcdef") == REQUEST_ID_CHARS - 4;
}

/* Is it the answer whose records these are, or what became of it? */
static int is_same(const struct stored *s, const char *records, size_t n_records)
{
    struct stored_head h;
    size_t n = stored_read_head(s->image.data, s->image.len, &h);

    return n && n == stored_read_head(records, n_records, &h) && !memcmp(s->image.data, records, n);
}

/* One that is this process's own, and not on its way elsewhere. */
static int is_here(const struct stored *s)
{
    return s->state != IS_ELSEWHERE && !s->moves_to;
}

int stored_has(struct stored_all *a, const char *records, size_t n)
{
    const struct stored *s;
    struct stored_head h;
    int has;

    if (!stored_read_head(records, n, &h))
        return 0;
    pthread_mutex_lock(&a->lock);
    s = stored_by_id(a, h.text[STORED_ID]);
    has = s && is_here(s) && is_same(s, records, n);
    pthread_mutex_unlock(&a->lock);
    return has;
}

/* Into the table and its file, unless it is there: 1. Under the lock. */
static int add(struct stored_all *a, struct stored *s, struct err *e)
{
    const struct stored *o = stored_by_id(a, s->id);

    if (o)
        return is_here(o) && is_same(o, s->image.data, s->image.len)
                   ? 1
                   : err_set(e, ERR_EXISTS, "An answer with the id '%.80s' is here already.",
                             s->id);
    if (stored_make_room(a, s->tenant, s->image.cap, 1))
        return err_set(e, ERR_AGAIN, "There is no room for more of this account's answers.");
    if (stored_begin_file(s, e)) {
        if (s->fd >= 0)
            stored_file_remove(&a->folder, s->id);
        return e->code;
    }
    if (s->fd >= 0)
        disk_close(s->fd);
    s->fd = -1;
    s->n_public = s->image.len;
    stored_link(s);
    a->stats.taken++;
    return 0;
}

int stored_take_in(struct stored_all *a, const char *records, size_t n, int64_t wall_us,
                   struct err *e)
{
    struct stored_story story;
    struct stored_head h;
    struct stored *s;
    size_t end;
    int r;

    if (stored_story_read(records, n, &h, &story, &end) || end != n)
        return err_set(e, ERR_FORMAT,
                       "These are not the records of a stored answer, as this version has them.");
    if (story.is_done)
        return err_set(e, ERR_FORMAT, "This answer has ended.");
    if (!stored_is_id(h.text[STORED_ID]) || !is_request(h.text[STORED_REQUEST_ID]))
        return err_set(e, ERR_FORMAT, "An answer or its request cannot be called so.");
    s = stored_make(a, &h);
    if (!s || buf_add(&s->image, records, n)) {
        if (s)
            stored_free(s);
        return err_set(e, ERR_NOMEM, "No memory for one more answer.");
    }
    s->state = IS_PENDING;
    s->alone_since_us = wall_us;
    pthread_mutex_lock(&a->lock);
    r = add(a, s, e);
    pthread_mutex_unlock(&a->lock);
    if (r)
        stored_free(s);
    return r;
}
