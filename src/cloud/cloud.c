/* The request's way through keys, tenants, limits, offers and books. */
#include "cloud/cloud.h"

#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "cloud/keyring.h"
#include "cloud/offers.h"
#include "cloud/quota.h"
#include "policy/admit.h"

#define TIERS_UNSAID (1u << TIER_DEFAULT | 1u << TIER_FLEX)
#define TIERS_ALL    (TIERS_UNSAID | 1u << TIER_PRIORITY)

/* A tenant's slot is never given back while the process runs: tickets point to it. */
struct tenant {
    char name[CLOUD_NAME_MAX];
    struct quota_bucket requests, tokens;
    _Atomic int64_t concurrency_max, n_inside;
    _Atomic int64_t n_there[CLOUD_OFFERS_MAX]; /* sequences admitted, of each offer */
};

struct cloud {
    struct cloud_config config;
    pthread_rwlock_t lock; /* keys and the making of tenants; rank: a leaf */
    struct key_table *keys;
    struct tenant tenants[CLOUD_TENANTS_MAX];
    int n_tenants;
    int tenant_of[CLOUD_TENANTS_MAX]; /* index in keys->tenants -> index here */
    struct books *books;
    struct offers offers;
    _Atomic int64_t refused_auth, refused_requests, refused_tokens, refused_concurrency,
        refused_queue;
};

/* ---- keys and tenants ------------------------------------------------------------------------ */

/* Index of the tenant of that name, made where missing; -1: no room. Under the write lock. */
static int tenant_slot(struct cloud *c, const char *name)
{
    for (int i = 0; i < c->n_tenants; i++) {
        if (!strcmp(c->tenants[i].name, name))
            return i;
    }
    if (c->n_tenants >= CLOUD_TENANTS_MAX)
        return -1;
    snprintf(c->tenants[c->n_tenants].name, CLOUD_NAME_MAX, "%s", name);
    return c->n_tenants++;
}

static void tenant_limits(struct cloud *c, int i, const struct cloud_limits *own, int64_t now)
{
    static const struct cloud_limits none = {-1, -1, -1};
    const struct cloud_limits *d = &c->config.limits;
    struct tenant *t = &c->tenants[i];

    if (!own)
        own = &none;
    quota_limit(&t->requests,
                own->requests_per_minute >= 0 ? own->requests_per_minute : d->requests_per_minute,
                now);
    quota_limit(&t->tokens,
                own->tokens_per_minute >= 0 ? own->tokens_per_minute : d->tokens_per_minute, now);
    atomic_store(&t->concurrency_max, own->concurrency >= 0 ? own->concurrency : d->concurrency);
}

/* Use the table of keys that was loaded in place of the old one. */
static int use_keys(struct cloud *c, int64_t now, struct key_table *t, struct err *e)
{
    struct key_table *old;
    int map[CLOUD_TENANTS_MAX] = {0}, slot;

    pthread_rwlock_wrlock(&c->lock);
    for (int i = 0; i < t->n_tenants; i++) {
        slot = tenant_slot(c, t->tenants[i].name);
        if (slot < 0) {
            pthread_rwlock_unlock(&c->lock);
            return err_set(e, ERR_LIMIT,
                           "more than %d tenants since the start: restart to drop "
                           "the old ones",
                           CLOUD_TENANTS_MAX);
        }
        map[i] = slot;
    }
    for (int i = 0; i < t->n_tenants; i++)
        tenant_limits(c, map[i], &t->tenants[i].limits, now);
    memcpy(c->tenant_of, map, sizeof map);
    old = c->keys;
    c->keys = t;
    pthread_rwlock_unlock(&c->lock);
    key_table_free(old);
    return 0;
}

int cloud_reload_keys(struct cloud *c, int64_t now_us, struct err *e)
{
    struct key_table *t = NULL;
    int r;

    if (!c->config.keys_path)
        return 0;
    r = key_table_load(&t, c->config.keys_path, e);
    if (!r)
        r = use_keys(c, now_us, t, e);
    if (r)
        key_table_free(t);
    return r;
}

int cloud_n_keys(const struct cloud *c)
{
    struct cloud *w = (struct cloud *)(uintptr_t)c;
    int n;

    pthread_rwlock_rdlock(&w->lock);
    n = c->keys ? c->keys->n_lines : 0;
    pthread_rwlock_unlock(&w->lock);
    return n;
}

/* The key's tenant, or -1. A configured keys file without a key lets nobody in. */
static int key_tenant(struct cloud *c, const char *key, size_t n, char id[CLOUD_NAME_MAX],
                      unsigned *ret_tiers)
{
    const struct key_line *k;
    int i = -1;

    id[0] = 0;
    *ret_tiers = TIERS_ALL; /* without keys there is one tenant, which delays no other */
    if (!c->config.keys_path)
        return 0;
    *ret_tiers = 0;
    if (!key)
        return -1;
    pthread_rwlock_rdlock(&c->lock);
    k = key_find(c->keys, key, n);
    if (k) {
        memcpy(id, k->id, CLOUD_NAME_MAX);
        i = c->tenant_of[k->i_tenant];
        *ret_tiers = k->tiers                              ? k->tiers
                     : c->keys->tenants[k->i_tenant].tiers ? c->keys->tenants[k->i_tenant].tiers
                                                           : TIERS_UNSAID;
    }
    pthread_rwlock_unlock(&c->lock);
    return i;
}

static int refuse_key(struct cloud *c, const char *key, struct err *e)
{
    atomic_fetch_add(&c->refused_auth, 1);
    return err_set_param(e, ERR_AUTH, "api_key",
                         key ? "Wrong API key."
                             : "No API key was sent: use the header 'Authorization: Bearer KEY'.");
}

int cloud_find_tenant(struct cloud *c, const char *key, size_t n_key, int *ret_tenant,
                      struct err *e)
{
    char id[CLOUD_NAME_MAX];
    unsigned tiers;
    int i = key_tenant(c, key, n_key, id, &tiers);

    if (i < 0)
        return refuse_key(c, key, e);
    *ret_tenant = i;
    return 0;
}

int cloud_check_key(struct cloud *c, const char *key, size_t n_key, struct err *e)
{
    int i;

    return cloud_find_tenant(c, key, n_key, &i, e);
}

/* ---- lifecycle ------------------------------------------------------------------------------- */

int cloud_open(struct cloud **ret, const struct cloud_config *config, struct err *e)
{
    struct cloud *c;
    int r = 0;

    if (sodium_init() < 0)
        return err_set(e, ERR_IO, "no random bytes from the system");
    c = calloc(1, sizeof *c);
    if (!c)
        return err_set(e, ERR_NOMEM, "out of memory");
    c->config = *config;
    pthread_rwlock_init(&c->lock, NULL);
    offers_init(&c->offers);
    tenant_slot(c, CLOUD_DEFAULT_TENANT);
    tenant_limits(c, 0, NULL, 0); /* of full buckets, which know no time */
    if (config->keys_path)
        r = cloud_reload_keys(c, 0, e);
    if (!r && config->ledger_path)
        r = books_open(&c->books, config->ledger_path, config->ledger_sync_normal, e);
    if (r) {
        cloud_close(c);
        return r;
    }
    *ret = c;
    return 0;
}

int cloud_start(struct cloud *c, struct err *e)
{
    return c->books ? books_start(c->books, e) : 0;
}

int64_t cloud_step(struct cloud *c, int64_t now_us)
{
    return c->books ? books_step(c->books, now_us) : -1;
}

int64_t cloud_close(struct cloud *c)
{
    int64_t n_lost;

    if (!c)
        return 0;
    for (int i = 0; i < c->n_tenants; i++)
        CHECK(atomic_load(&c->tenants[i].n_inside) == 0);
    n_lost = books_close(c->books);
    key_table_free(c->keys);
    offers_done(&c->offers);
    pthread_rwlock_destroy(&c->lock);
    free(c);
    return n_lost;
}

/* ---- a request ------------------------------------------------------------------------------- */

static int refuse_concurrency(struct cloud *c, struct cloud_ticket *t, struct err *e)
{
    atomic_fetch_add(&c->refused_concurrency, 1);
    t->retry_us = 1000000;
    return err_set_param(e, ERR_QUEUE_FULL, "quota",
                         "Too many sequences of this tenant are under way (limit %lld).",
                         (long long)atomic_load(&c->tenants[t->i_rate].concurrency_max));
}

int cloud_enter(struct cloud *c, int64_t now_us, const char *key, size_t n_key,
                struct cloud_ticket *t, struct err *e)
{
    struct tenant *te;
    struct quota_held held;

    *t = (struct cloud_ticket){.i_tenant = -1, .i_rate = -1, .tenant = ""};
    t->i_rate = key_tenant(c, key, n_key, t->key_id, &t->tiers);
    if (t->i_rate < 0)
        return refuse_key(c, key, e);
    te = &c->tenants[t->i_rate];
    t->tenant = te->name;
    if (quota_hold(&te->requests, 1, now_us, &held, &t->retry_us)) {
        atomic_fetch_add(&c->refused_requests, 1);
        return err_set_param(e, ERR_RATE_REQUESTS, "quota",
                             "Requests per minute limit exceeded (%lld) - too many requests sent.",
                             (long long)atomic_load(&te->requests.limit));
    }
    if (quota_enter(&te->n_inside, atomic_load(&te->concurrency_max)))
        return refuse_concurrency(c, t, e);
    if (c->books && !(t->row = books_take(c->books))) {
        quota_leave(&te->n_inside, 1);
        t->retry_us = 1000000;
        return err_set(e, ERR_AGAIN, "The books cannot keep up; please try again shortly.");
    }
    t->i_tenant = t->i_rate;
    t->n_held = 1;
    t->held.limit = atomic_load(&te->tokens.limit); /* of one that never holds any */
    return 0;
}

enum tier cloud_tier(const struct cloud_ticket *t, enum tier asked)
{
    if (asked == TIER_AUTO)
        asked = TIER_PRIORITY;
    if (asked == TIER_PRIORITY && t->tiers & 1u << TIER_PRIORITY)
        return TIER_PRIORITY;
    if (asked != TIER_FLEX && t->tiers & 1u << TIER_DEFAULT)
        return TIER_DEFAULT;
    return TIER_FLEX;
}

int cloud_route(struct cloud *c, int64_t now_us, const char *model, enum tier tier,
                struct cloud_ticket *t, struct err *e)
{
    return offers_route(&c->offers, model, tier, now_us, t, e);
}

int cloud_has_other(struct cloud *c, const struct cloud_ticket *t)
{
    return offers_has_other(&c->offers, t);
}

/* Count the request's sequences in its tenant's concurrency, in place of the one that each request
 * counts from its start. */
static int widen(struct cloud *c, struct cloud_ticket *t, int32_t n_jobs, int32_t n_choices,
                 int32_t *ret_at_once, struct err *e)
{
    struct tenant *te = &c->tenants[t->i_tenant];
    int64_t max = atomic_load(&te->concurrency_max), n;

    if (max > 0 && n_choices > max)
        return err_set_param(e, ERR_LIMIT, "n",
                             "n: %d choices are more than this tenant may have under way together "
                             "(limit %lld).",
                             n_choices, (long long)max);
    n = quota_widen(&te->n_inside, max, t->n_held, n_jobs, n_choices);
    if (!n)
        return refuse_concurrency(c, t, e);
    t->n_held = n * n_choices;
    *ret_at_once = (int32_t)n;
    return 0;
}

int cloud_admit(struct cloud *c, int32_t n_jobs, int32_t n_choices, int64_t queue_threshold_us,
                struct cloud_ticket *t, int32_t *ret_at_once, struct err *e)
{
    struct cloud_offer *of = t->offer;
    _Atomic int64_t *there;
    struct load load;
    struct admit_state st;
    struct admit_decision d;
    int r;

    CHECK(of && t->i_tenant >= 0 && !t->n_there);
    there = &c->tenants[t->i_tenant].n_there[of->slot];
    r = widen(c, t, n_jobs, n_choices, ret_at_once, e);
    if (r)
        return r;
    of->sup->ops->load(of->sup, &load);
    st = (struct admit_state){.n_inside = load.n_inside,
                              .n_own = c->config.keys_path ? atomic_load(there) : load.n_inside,
                              .is_alone = !c->config.keys_path,
                              .capacity = load.capacity,
                              .waiting_max = c->config.waiting_max,
                              .job_us = atomic_load(&of->job_us)};
    admit_decide(&st, (int32_t)t->n_held, queue_threshold_us, &d);
    if (d.admit) {
        atomic_fetch_add(there, t->n_held);
        t->n_there = there;
        return 0;
    }
    atomic_fetch_add(&c->refused_queue, 1);
    t->offer_is_full = 1;
    t->retry_us = d.retry_us;
    return err_set_param(e, ERR_QUEUE_FULL, "queue",
                         "We're experiencing high traffic right now! Please try again soon (%d "
                         "requests are waiting).",
                         load.n_waiting);
}

int cloud_reserve(struct cloud *c, int64_t now_us, struct cloud_ticket *t, int64_t tokens,
                  struct err *e)
{
    struct tenant *te;
    long long limit;
    int r;

    CHECK(t->i_tenant >= 0 && !t->held.ns);
    te = &c->tenants[t->i_tenant];
    limit = (long long)atomic_load(&te->tokens.limit);
    r = quota_hold(&te->tokens, tokens, now_us, &t->held, &t->retry_us);
    if (!r)
        return 0;
    atomic_fetch_add(&c->refused_tokens, 1);
    if (r == QUOTA_NEVER)
        return err_set_param(
            e, ERR_QUOTA, "quota",
            "Tokens per minute limit exceeded (%lld) - this request may use %lld "
            "tokens, more than that limit ever allows. Please reduce the length of "
            "the messages or of the completion.",
            limit, (long long)tokens);
    return err_set_param(e, ERR_RATE_TOKENS, "quota",
                         "Tokens per minute limit exceeded (%lld) - too many tokens processed.",
                         limit);
}

/* Charge `used` tokens in place of those held, and give back the sequences at the offer and the
 * offer itself. */
static void let_go(struct cloud *c, int64_t now_us, struct cloud_ticket *t, int64_t used)
{
    quota_settle(&c->tenants[t->i_tenant].tokens, t->held, used, now_us);
    t->held.ns = 0;
    if (t->n_there)
        quota_leave(t->n_there, t->n_held);
    t->n_there = NULL;
    offers_put(&c->offers, t->offer);
    t->offer = NULL;
}

void cloud_turn_back(struct cloud *c, int64_t now_us, struct cloud_ticket *t)
{
    CHECK(t->i_tenant >= 0 && t->offer && t->n_tried < CLOUD_TRIES_MAX);
    t->tried[t->n_tried++] = t->offer->serial;
    t->offer_is_full = 0;
    let_go(c, now_us, t, 0);
}

static void leave(struct cloud *c, int64_t now_us, struct cloud_ticket *t, int64_t used)
{
    let_go(c, now_us, t, used);
    quota_leave(&c->tenants[t->i_tenant].n_inside, t->n_held);
    t->n_held = 0;
    t->i_tenant = -1;
}

static void put_name(char *to, size_t cap, const char *from)
{
    snprintf(to, cap, "%s", from ? from : "");
}

void cloud_settle(struct cloud *c, int64_t now_us, struct cloud_ticket *t,
                  const struct cloud_use *u)
{
    struct books_row *r = t->row;

    CHECK(t->i_tenant >= 0);
    if (r) {
        r->at_us = u->at_us;
        r->prompt_tokens = u->prompt_tokens;
        r->cached_tokens = u->cached_tokens;
        r->completion_tokens = u->completion_tokens;
        r->energy_uj = u->energy_uj;
        r->status = u->status;
        put_name(r->request_id, sizeof r->request_id, u->request_id);
        put_name(r->tenant, sizeof r->tenant, t->tenant);
        put_name(r->key_id, sizeof r->key_id, t->key_id);
        put_name(r->model, sizeof r->model, u->model);
        put_name(r->supplier, sizeof r->supplier, u->supplier);
    }
    leave(c, now_us, t, u->prompt_tokens + u->completion_tokens);
    if (r) /* last, so that a reader of the row finds everything else done */
        books_post(c->books, r);
    t->row = NULL;
}

void cloud_leave(struct cloud *c, int64_t now_us, struct cloud_ticket *t, int64_t tokens)
{
    if (t->i_tenant < 0)
        return;
    if (t->row)
        books_give(c->books, t->row);
    t->row = NULL;
    leave(c, now_us, t, tokens);
}

void cloud_note_job(struct cloud_offer *of, int64_t run_us)
{
    atomic_store(&of->job_us, admit_mean(atomic_load(&of->job_us), run_us));
}

static struct api_rate_window window(const struct quota_bucket *b, int64_t now)
{
    struct api_rate_window w = {.limit = atomic_load(&b->limit)};

    if (w.limit <= 0)
        return (struct api_rate_window){.limit = -1};
    quota_look(b, now, &w.remaining, &w.reset_us);
    return w;
}

int cloud_rate(struct cloud *c, int64_t now_us, int i_tenant, struct api_rate *ret)
{
    static const struct api_rate_window none = {.limit = -1};

    *ret = (struct api_rate){none, none, none, none, none, none};
    if (i_tenant < 0)
        return 0;
    ret->requests_minute = window(&c->tenants[i_tenant].requests, now_us);
    ret->tokens_minute = window(&c->tenants[i_tenant].tokens, now_us);
    return ret->requests_minute.limit >= 0 || ret->tokens_minute.limit >= 0;
}

/* ---- models and offers ----------------------------------------------------------------------- */

int cloud_add_model(struct cloud *c, const char *const *names, int n_names, int *ret_model,
                    struct err *e)
{
    return offers_add_model(&c->offers, names, n_names, ret_model, e);
}

int cloud_find_model(struct cloud *c, const char *name, int *ret_model, struct err *e)
{
    return offers_find_model(&c->offers, name, ret_model, e);
}

int cloud_add_offer(struct cloud *c, int i_model, struct supplier *s, struct err *e)
{
    return offers_add(&c->offers, i_model, s, e);
}

int cloud_remove_offer(struct cloud *c, const struct supplier *s)
{
    return offers_remove(&c->offers, s);
}

void cloud_look(struct cloud *c, int i_model, struct cloud_look *ret)
{
    offers_look(&c->offers, i_model, ret);
}

void cloud_look_done(struct cloud *c, struct cloud_look *l)
{
    offers_put(&c->offers, l->offer);
    l->offer = NULL;
}

void cloud_stats(const struct cloud *c, struct cloud_stats *ret)
{
    *ret = (struct cloud_stats){.refused_auth = atomic_load(&c->refused_auth),
                                .refused_requests = atomic_load(&c->refused_requests),
                                .refused_tokens = atomic_load(&c->refused_tokens),
                                .refused_concurrency = atomic_load(&c->refused_concurrency),
                                .refused_queue = atomic_load(&c->refused_queue)};
    if (c->books)
        books_stats(c->books, &ret->rows_written, &ret->rows_pending, &ret->write_failures);
}
