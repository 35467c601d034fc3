#include "cloud/replay.h"

#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "cloud/cloud.h"

#define BUCKETS     32768 /* a power of two */
#define NAME_BYTES  16
#define SEED_BYTES  32
#define BODY_FIRST  1024 /* bytes claimed for a body that grows */
#define TENANT_PART 4    /* of the memory, a tenant's part */

/* A ring; its head is a link as well. */
struct link {
    struct link *before, *after;
};

enum state { RUNNING, KEPT, LOST };

struct replay {
    struct replay *next; /* of its bucket */
    struct link of_all;  /* of those that have ended, the oldest first */
    struct link of_tenant;
    unsigned char name[NAME_BYTES], print[REPLAY_PRINT_BYTES];
    int i_tenant;
    enum state state;
    int n_holders;
    int is_out; /* of the table: freed by its last holder */
    int64_t until_us;
    char *body;
    size_t cap; /* of body */
    struct replay_answer answer;
};

struct share {
    struct link ended; /* zeroed: none yet */
    size_t bytes;
};

struct replays {
    pthread_mutex_t lock; /* of all below; rank: a leaf */
    unsigned char seed[SEED_BYTES];
    size_t memory, bytes;
    int64_t window_us;
    struct link ended;
    struct replays_stats stats;
    struct replay *bucket[BUCKETS];
    struct share share[CLOUD_TENANTS_MAX];
};

/* ---- rings ----------------------------------------------------------------------------------- */

static void ring_init(struct link *head)
{
    head->before = head->after = head;
}

static void ring_add_last(struct link *head, struct link *l)
{
    l->before = head->before;
    l->after = head;
    head->before->after = l;
    head->before = l;
}

static void ring_remove(struct link *l)
{
    l->before->after = l->after;
    l->after->before = l->before;
}

static struct replay *oldest_of_all(struct replays *r)
{
    return r->ended.after == &r->ended ? NULL
                                       : (struct replay *)(void *)((char *)r->ended.after -
                                                                   offsetof(struct replay, of_all));
}

static struct replay *oldest_of_tenant(struct share *s)
{
    return !s->ended.after || s->ended.after == &s->ended
               ? NULL
               : (struct replay *)(void *)((char *)s->ended.after -
                                           offsetof(struct replay, of_tenant));
}

/* ---- entries --------------------------------------------------------------------------------- */

int replays_new(struct replays **ret, size_t memory, int64_t window_us, struct err *e)
{
    struct replays *r;

    if (sodium_init() < 0)
        return err_set(e, ERR_IO, "no random bytes from the system");
    r = calloc(1, sizeof *r);
    if (!r)
        return err_set(e, ERR_NOMEM, "out of memory");
    pthread_mutex_init(&r->lock, NULL);
    randombytes_buf(r->seed, sizeof r->seed);
    r->memory = memory;
    r->window_us = window_us;
    ring_init(&r->ended);
    *ret = r;
    return 0;
}

static struct replay **place_of(struct replays *r, const unsigned char name[NAME_BYTES])
{
    size_t i = (name[0] | (size_t)name[1] << 8) % BUCKETS;
    struct replay **at = &r->bucket[i];

    while (*at && memcmp((*at)->name, name, NAME_BYTES))
        at = &(*at)->next;
    return at;
}

static void count(struct replays *r, const struct replay *p, size_t more, size_t less)
{
    r->bytes += more - less;
    r->share[p->i_tenant].bytes += more - less;
}

static void entry_free(struct replay *p)
{
    free(p->body);
    free(p);
}

/* Out of the table; it lives on while somebody reads it. */
static void take_out(struct replays *r, struct replay *p)
{
    *place_of(r, p->name) = p->next;
    if (p->state != RUNNING) {
        ring_remove(&p->of_all);
        ring_remove(&p->of_tenant);
    }
    count(r, p, 0, sizeof *p + p->cap);
    p->is_out = 1;
    if (!p->n_holders)
        entry_free(p);
}

/* Room for so many bytes more of that tenant. */
static int make_room(struct replays *r, int i_tenant, size_t n)
{
    struct share *s = &r->share[i_tenant];
    struct replay *p;

    while (s->bytes + n > r->memory / TENANT_PART) {
        if (!(p = oldest_of_tenant(s)))
            return -1;
        take_out(r, p);
    }
    while (r->bytes + n > r->memory) {
        if (!(p = oldest_of_all(r)))
            return -1;
        take_out(r, p);
    }
    return 0;
}

static void expire(struct replays *r, int64_t now_us)
{
    struct replay *p;

    while ((p = oldest_of_all(r)) && p->until_us <= now_us)
        take_out(r, p);
}

void replays_expire(struct replays *r, int64_t now_us)
{
    pthread_mutex_lock(&r->lock);
    expire(r, now_us);
    pthread_mutex_unlock(&r->lock);
}

void replays_free(struct replays *r)
{
    if (!r)
        return;
    replays_expire(r, INT64_MAX);
    CHECK(!r->bytes);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

/* ---- a request ------------------------------------------------------------------------------- */

int replay_check_key(const char *key, struct err *e)
{
    size_t n = 0;

    while (n <= REPLAY_KEY_MAX && key[n] >= ' ' && key[n] <= '~')
        n++;
    if (n && n <= REPLAY_KEY_MAX && !key[n])
        return 0;
    return err_set_param(e, ERR_ARG, "idempotency-key",
                         "header Idempotency-Key: must have 1 to %d printable ASCII bytes",
                         REPLAY_KEY_MAX);
}

void replay_print(int endpoint, const void *body, size_t n, unsigned char ret[REPLAY_PRINT_BYTES])
{
    crypto_generichash_state h;

    crypto_generichash_init(&h, NULL, 0, REPLAY_PRINT_BYTES);
    crypto_generichash_update(&h, (const unsigned char *)&endpoint, sizeof endpoint);
    crypto_generichash_update(&h, body, n);
    crypto_generichash_final(&h, ret, REPLAY_PRINT_BYTES);
}

static void name_of(const struct replays *r, const struct replay_ask *a,
                    unsigned char ret[NAME_BYTES])
{
    crypto_generichash_state h;

    crypto_generichash_init(&h, r->seed, sizeof r->seed, NAME_BYTES);
    crypto_generichash_update(&h, (const unsigned char *)&a->i_tenant, sizeof a->i_tenant);
    crypto_generichash_update(&h, (const unsigned char *)a->key, strlen(a->key));
    crypto_generichash_final(&h, ret, NAME_BYTES);
}

/* The key is known: is its answer for this request? */
static int judge(struct replays *r, struct replay *p, const struct replay_ask *a, struct err *e)
{
    static const char param[] = "idempotency-key";

    if (memcmp(p->print, a->print, sizeof p->print)) {
        r->stats.reused++;
        return err_set_param(e, ERR_KEY_REUSED, param,
                             "header Idempotency-Key: another request was sent with this key");
    }
    if (p->state == RUNNING) {
        r->stats.in_use++;
        return err_set_param(e, ERR_KEY_IN_USE, param,
                             "header Idempotency-Key: the request with this key is under way; "
                             "please ask for its answer again shortly");
    }
    if (p->state == LOST) {
        r->stats.too_long++;
        return err_set_param(e, ERR_KEY_LOST, param,
                             "header Idempotency-Key: the request with this key was answered, and "
                             "the answer was too long to be kept (limit %zu bytes)",
                             REPLAY_ANSWER_MAX);
    }
    r->stats.replayed++;
    return 0;
}

/* The first one with that key. */
static int claim(struct replays *r, const struct replay_ask *a,
                 const unsigned char name[NAME_BYTES], struct replay **ret, struct err *e)
{
    struct replay *p;

    if (make_room(r, a->i_tenant, sizeof *p))
        return err_set(e, ERR_AGAIN,
                       "Too many requests with the header Idempotency-Key are under way; please "
                       "try again shortly.");
    if (!(p = calloc(1, sizeof *p)))
        return err_set(e, ERR_NOMEM, "No memory for one more request.");
    memcpy(p->name, name, NAME_BYTES);
    memcpy(p->print, a->print, sizeof p->print);
    p->i_tenant = a->i_tenant;
    *place_of(r, name) = p;
    count(r, p, sizeof *p, 0);
    *ret = p;
    return 0;
}

int replays_begin(struct replays *r, int64_t now_us, const struct replay_ask *a,
                  struct replay **ret, struct err *e)
{
    unsigned char name[NAME_BYTES];
    struct replay *p;
    int code;

    CHECK(a->i_tenant >= 0 && a->i_tenant < CLOUD_TENANTS_MAX);
    name_of(r, a, name);
    pthread_mutex_lock(&r->lock);
    expire(r, now_us);
    p = *place_of(r, name);
    code = p ? judge(r, p, a, e) : claim(r, a, name, &p, e);
    if (!code) {
        p->n_holders++;
        *ret = p;
    }
    pthread_mutex_unlock(&r->lock);
    return code;
}

const struct replay_answer *replay_answer(const struct replay *p)
{
    return p->state == KEPT ? &p->answer : NULL;
}

/* A body of at least n bytes. */
static int grow(struct replays *r, struct replay *p, size_t n)
{
    size_t cap = p->cap ? p->cap : BODY_FIRST;
    char *body;

    while (cap < n)
        cap *= 2;
    if (n > REPLAY_ANSWER_MAX || make_room(r, p->i_tenant, cap - p->cap))
        return -1;
    body = realloc(p->body, cap);
    if (!body)
        return -1;
    count(r, p, cap, p->cap);
    p->body = body;
    p->cap = cap;
    return 0;
}

/* Its answer will not be kept. */
static void lose(struct replays *r, struct replay *p)
{
    count(r, p, 0, p->cap);
    free(p->body);
    p->body = NULL;
    p->cap = p->answer.n = 0;
    p->until_us = -1;
}

void replay_add(struct replays *r, struct replay *p, const void *data, size_t n)
{
    CHECK(p->state == RUNNING);
    if (p->until_us < 0 || !n)
        return;
    if (p->answer.n + n > p->cap) {
        pthread_mutex_lock(&r->lock);
        if (grow(r, p, p->answer.n + n))
            lose(r, p);
        pthread_mutex_unlock(&r->lock);
        if (p->until_us < 0)
            return;
    }
    memcpy(p->body + p->answer.n, data, n);
    p->answer.n += n;
}

/* Give back what the body has too much. */
static void fit(struct replays *r, struct replay *p)
{
    char *body = p->answer.n ? realloc(p->body, p->answer.n) : NULL;

    if (!body)
        return;
    count(r, p, p->answer.n, p->cap);
    p->cap = p->answer.n;
    p->body = body;
}

int replay_keep(struct replays *r, struct replay *p, int64_t now_us, const struct api_frame *frame,
                const char *request_id)
{
    struct share *s = &r->share[p->i_tenant];

    CHECK(p->state == RUNNING);
    pthread_mutex_lock(&r->lock);
    fit(r, p);
    p->state = p->until_us < 0 ? LOST : KEPT;
    p->until_us = now_us + r->window_us;
    p->answer.body = p->body ? p->body : "";
    p->answer.frame = frame;
    snprintf(p->answer.request_id, sizeof p->answer.request_id, "%s", request_id);
    if (!s->ended.after)
        ring_init(&s->ended);
    ring_add_last(&r->ended, &p->of_all);
    ring_add_last(&s->ended, &p->of_tenant);
    pthread_mutex_unlock(&r->lock);
    return p->state == KEPT;
}

void replay_put(struct replays *r, struct replay *p)
{
    pthread_mutex_lock(&r->lock);
    CHECK(p->n_holders > 0);
    p->n_holders--;
    if (p->is_out) {
        if (!p->n_holders)
            entry_free(p);
    } else if (p->state == RUNNING) {
        take_out(r, p);
    }
    pthread_mutex_unlock(&r->lock);
}

void replays_stats(struct replays *r, struct replays_stats *ret)
{
    pthread_mutex_lock(&r->lock);
    *ret = r->stats;
    ret->bytes = (int64_t)r->bytes;
    pthread_mutex_unlock(&r->lock);
}
