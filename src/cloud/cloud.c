/* The request's way through keys, tenants, limits, offers and books. */
#include "cloud/cloud.h"

#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "cloud/asked_price.h"
#include "cloud/holds.h"
#include "cloud/keyring.h"
#include "cloud/offers.h"
#include "policy/admit.h"

#define TIERS_UNSAID (1u << TIER_DEFAULT | 1u << TIER_FLEX)
#define TIERS_ALL    (TIERS_UNSAID | 1u << TIER_PRIORITY)

/* A tenant's slot is never given back while the process runs: tickets point to it. */
struct tenant {
    char name[CLOUD_NAME_MAX];
    struct holds_account account;
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
    _Atomic(const struct cloud_prices *) prices; /* NULL: none */
    _Atomic(const struct cloud_rules *) rules;   /* NULL: none */
    struct offers offers;
    _Atomic int64_t wall_us; /* what the wall clock is ahead of the monotonic one */
    _Atomic int64_t n_held;  /* tokens, by all open tickets */
    _Atomic int64_t refused_budget;
    _Atomic int64_t refused_auth, refused_requests, refused_tokens, refused_concurrency,
        refused_queue;
};

/* ---- keys and tenants ------------------------------------------------------------------------ */

/* Index of the tenant of that name, made where missing; -1: no room. Under the write lock. */
static int tenant_slot(struct cloud *c, const char *name)
{
    struct tenant *t;

    for (int i = 0; i < c->n_tenants; i++) {
        if (!strcmp(c->tenants[i].name, name))
            return i;
    }
    if (c->n_tenants >= CLOUD_TENANTS_MAX)
        return -1;
    t = &c->tenants[c->n_tenants];
    snprintf(t->name, CLOUD_NAME_MAX, "%s", name);
    holds_account_init(&t->account, t->name, c->config.currency);
    return c->n_tenants++;
}

static int64_t wall_s(const struct cloud *c, int64_t now_us)
{
    return (now_us + atomic_load(&c->wall_us)) / 1000000;
}

/* What a tenant used before, by the ledger. */
static int past_used(void *ctx, const char *name, int64_t from_s, int64_t until_s,
                     int64_t ret[N_KINDS], struct err *e)
{
    const struct cloud *c = ctx;

    return books_used(c->config.ledger_path, BOOKS_BY_TENANT, name, from_s * 1000000,
                      until_s < INT64_MAX / 1000000 ? until_s * 1000000 : INT64_MAX,
                      &ret[OF_TOKENS], &ret[OF_MONEY], e);
}

static int tenant_limits(struct cloud *c, int i, const struct account_settings *own, int64_t now_us,
                         struct err *e)
{
    const struct cloud_limits *d = &c->config.limits;
    const struct holds_past past = {past_used, c};
    struct account_settings s = own ? *own : account_unsaid();

    if (s.requests_per_minute < 0)
        s.requests_per_minute = d->requests_per_minute;
    if (s.tokens_per_minute < 0)
        s.tokens_per_minute = d->tokens_per_minute;
    if (s.concurrency < 0)
        s.concurrency = d->concurrency;
    return holds_set(&c->tenants[i].account, &s, c->books ? &past : NULL, now_us, wall_s(c, now_us),
                     e);
}

/* Budgets of money count what the configured prices charge. */
static int check_currency(const struct cloud *c, const struct key_tenant *t, struct err *e)
{
    const char *of = c->config.currency ? c->config.currency : "";

    if (!t->currency[0] || !strcmp(t->currency, of))
        return 0;
    return err_set(e, ERR_FORMAT, "tenant %s: its budget is in %s, and %s%s", t->name, t->currency,
                   *of ? "prices are in " : "there are no prices", of);
}

/* Use the table of keys that was loaded in place of the old one. Its tenants' limits come first, as
 * they may ask the ledger; where one fails, those before it are in force already. */
static int use_keys(struct cloud *c, int64_t now, struct key_table *t, struct err *e)
{
    struct key_table *old;
    int map[CLOUD_TENANTS_MAX] = {0}, slot, r = 0;

    pthread_rwlock_wrlock(&c->lock);
    for (int i = 0; !r && i < t->n_tenants; i++) {
        slot = map[i] = tenant_slot(c, t->tenants[i].name);
        if (slot < 0)
            r = err_set(e, ERR_LIMIT,
                        "more than %d tenants since the start: restart to drop the old ones",
                        CLOUD_TENANTS_MAX);
    }
    pthread_rwlock_unlock(&c->lock);
    for (int i = 0; !r && i < t->n_tenants; i++)
        r = check_currency(c, &t->tenants[i], e);
    for (int i = 0; !r && i < t->n_tenants; i++)
        r = tenant_limits(c, map[i], &t->tenants[i].limits, now, e);
    if (r)
        return r;
    pthread_rwlock_wrlock(&c->lock);
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

void cloud_set_prices(struct cloud *c, const struct cloud_prices *p)
{
    atomic_store(&c->prices, p);
}

void cloud_set_rules(struct cloud *c, const struct cloud_rules *r)
{
    atomic_store(&c->rules, r);
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
    atomic_store(&c->prices, config->prices);
    atomic_store(&c->rules, config->rules);
    pthread_rwlock_init(&c->lock, NULL);
    offers_init(&c->offers, &config->retry);
    tenant_slot(c, CLOUD_DEFAULT_TENANT);
    cloud_tell_wall(c, config->now_us, config->wall_us);
    if (config->ledger_path)
        r = books_open(&c->books, config->ledger_path, config->ledger_sync_normal, e);
    if (!r)
        r = tenant_limits(c, 0, NULL, config->now_us, e);
    if (!r && config->keys_path)
        r = cloud_reload_keys(c, config->now_us, e);
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
        CHECK(atomic_load(&c->tenants[i].account.n_inside) == 0);
    n_lost = books_close(c->books);
    for (int i = 0; i < c->n_tenants; i++)
        holds_account_done(&c->tenants[i].account);
    key_table_free(c->keys);
    offers_done(&c->offers);
    pthread_rwlock_destroy(&c->lock);
    free(c);
    return n_lost;
}

/* ---- a request ------------------------------------------------------------------------------- */

void cloud_tell_wall(struct cloud *c, int64_t now_us, int64_t wall_us)
{
    atomic_store(&c->wall_us, wall_us - now_us);
}

/* Note a refusal, and why. */
static int refuse(struct cloud *c, struct cloud_ticket *t, const struct holds_refusal *why,
                  int code)
{
    _Atomic int64_t *n = code == ERR_RATE_REQUESTS ? &c->refused_requests
                         : code == ERR_QUEUE_FULL  ? &c->refused_concurrency
                         : code == ERR_BUDGET      ? &c->refused_budget
                                                   : &c->refused_tokens;

    if (code != ERR_LIMIT)
        atomic_fetch_add(n, 1);
    t->retry_us = why->retry_us;
    return code;
}

int cloud_enter(struct cloud *c, int64_t now_us, const char *key, size_t n_key,
                struct cloud_ticket *t, struct err *e)
{
    struct holds_refusal why = {.e = e};
    int i_tenant, r;

    *t = (struct cloud_ticket){
        .i_tenant = -1, .i_rate = -1, .tenant = "", .prices = atomic_load(&c->prices)};
    i_tenant = key_tenant(c, key, n_key, t->key_id, &t->tiers);
    if (i_tenant < 0)
        return refuse_key(c, key, e);
    t->i_rate = i_tenant;
    t->tenant = c->tenants[i_tenant].name;
    t->holds.path[t->holds.n_path++] = &c->tenants[i_tenant].account;
    r = holds_enter(&t->holds, now_us, &why);
    if (r)
        return refuse(c, t, &why, r);
    if (c->books && !(t->row = books_take(c->books))) {
        holds_leave(&t->holds);
        t->retry_us = 1000000;
        return err_set(e, ERR_AGAIN, "The books cannot keep up; please try again shortly.");
    }
    t->i_tenant = i_tenant;
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

int cloud_route(struct cloud *c, int64_t now_us, const struct cloud_want *w, struct cloud_ticket *t,
                struct err *e)
{
    const struct offers_by by = {
        .rules = atomic_load(&c->rules), .now_us = now_us, .wall_s = wall_s(c, now_us)};

    return offers_route(&c->offers, w, &by, t, e);
}

int cloud_has_other(struct cloud *c, int64_t now_us, const struct cloud_ticket *t)
{
    return offers_has_other(&c->offers, t, now_us);
}

int64_t cloud_come_back(struct cloud *c, int64_t now_us, const struct cloud_ticket *t,
                        int64_t retry_us)
{
    return offers_come_back(&c->offers, t, retry_us, now_us);
}

int cloud_take_retry(struct cloud *c, int64_t now_us, const struct cloud_ticket *t)
{
    return offers_take_retry(&c->offers, t, now_us);
}

void cloud_note_result(struct cloud *c, int64_t now_us, struct cloud_ticket *t, int code,
                       int64_t first_us, int64_t retry_us)
{
    static const struct {
        int code;
        enum breaker_end end;
    } ends[] = {{0, BREAKER_PASSED},
                {ERR_SUPPLIER_BUSY, BREAKER_BUSY},
                {ERR_SUPPLIER_AUTH, BREAKER_KEYLESS},
                {ERR_CONNECT, BREAKER_FAILED},
                {ERR_SILENT, BREAKER_FAILED},
                {ERR_TIMEOUT, BREAKER_FAILED},
                {ERR_RESET, BREAKER_FAILED},
                {ERR_FORMAT, BREAKER_FAILED},
                {ERR_SUPPLIER, BREAKER_FAILED}};

    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        if (ends[i].code == code)
            offers_note(&c->offers, t, ends[i].end, first_us, retry_us, now_us);
    }
}

int cloud_admit(struct cloud *c, int32_t n_jobs, int32_t n_choices, int64_t queue_threshold_us,
                struct cloud_ticket *t, int32_t *ret_at_once, struct err *e)
{
    struct cloud_offer *of = t->offer;
    _Atomic int64_t *there;
    struct load load;
    struct admit_state st;
    struct admit_decision d;
    struct holds_refusal why = {.e = e};
    int r;

    CHECK(of && t->i_tenant >= 0 && !t->n_there);
    there = &c->tenants[t->i_tenant].n_there[of->slot];
    r = holds_widen(&t->holds, n_jobs, n_choices, ret_at_once, &why);
    if (r)
        return refuse(c, t, &why, r);
    of->sup->ops->load(of->sup, &load);
    st = (struct admit_state){.n_inside = load.n_inside,
                              .n_own = c->config.keys_path ? atomic_load(there) : load.n_inside,
                              .is_alone = !c->config.keys_path,
                              .capacity = load.capacity,
                              .waiting_max = c->config.waiting_max,
                              .job_us = atomic_load(&of->job_us)};
    admit_decide(&st, (int32_t)t->holds.n_seqs, queue_threshold_us, &d);
    if (d.admit) {
        atomic_fetch_add(there, t->holds.n_seqs);
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

static const struct price *ask_price(const struct cloud *c, int64_t now_us,
                                     const struct cloud_ticket *t, const struct cloud_ask *a)
{
    return asked_price(t->prices, PRICE_SELL, a->model, t->offer ? t->offer->sup->id : "", a->tier,
                       wall_s(c, now_us));
}

int64_t cloud_output_max(const struct cloud_ticket *t)
{
    return holds_output_max(&t->holds);
}

int64_t cloud_room(const struct cloud *c, int64_t now_us, const struct cloud_ticket *t,
                   const struct cloud_ask *a)
{
    int64_t room = holds_room(&t->holds, wall_s(c, now_us));
    int64_t money = holds_money(&t->holds, wall_s(c, now_us)), n;
    const struct price *p;

    if (money == INT64_MAX || !(p = ask_price(c, now_us, t, a)))
        return room;
    n = a->n_prompt + price_affords(p, a->n_prompt, money);
    return room && room < n ? room : n > 0 ? n : 1;
}

int cloud_reserve(struct cloud *c, int64_t now_us, struct cloud_ticket *t,
                  const struct cloud_ask *a, int64_t tokens, struct err *e)
{
    const struct price *p = a->model ? ask_price(c, now_us, t, a) : NULL;
    int64_t money = p ? price_most(p, a->n_prompt, tokens - a->n_prompt) : a->model ? -1 : 0;
    struct holds_refusal why = {.e = e};
    int r;

    CHECK(t->i_tenant >= 0 && !t->n_held);
    r = holds_reserve(&t->holds, now_us, wall_s(c, now_us), tokens, money, &why);
    if (r)
        return refuse(c, t, &why, r);
    t->n_held = tokens;
    t->money_held = money;
    atomic_fetch_add(&c->n_held, tokens);
    return 0;
}

/* Charge what was used in place of what is held, and give back the sequences at the offer and the
 * offer itself. */
static void let_go(struct cloud *c, int64_t now_us, struct cloud_ticket *t,
                   const struct holds_use *used)
{
    holds_settle(&t->holds, now_us, wall_s(c, now_us), used);
    atomic_fetch_sub(&c->n_held, t->n_held);
    t->n_held = t->money_held = 0;
    if (t->n_there)
        quota_leave(t->n_there, t->holds.n_seqs);
    t->n_there = NULL;
    offers_note(&c->offers, t, BREAKER_NOTHING, 0, 0, now_us);
    offers_put(&c->offers, t->offer);
    t->offer = NULL;
}

void cloud_turn_back(struct cloud *c, int64_t now_us, struct cloud_ticket *t)
{
    CHECK(t->i_tenant >= 0 && t->offer && t->n_tried < CLOUD_TRIES_MAX);
    t->tried[t->n_tried++] = t->is_keys_fault ? 0 : t->offer->serial;
    t->offer_is_full = 0;
    let_go(c, now_us, t, &(struct holds_use){0});
}

static void leave(struct cloud *c, int64_t now_us, struct cloud_ticket *t,
                  const struct holds_use *used)
{
    let_go(c, now_us, t, used);
    holds_leave(&t->holds);
    t->i_tenant = -1;
}

static void put_name(char *to, size_t cap, const char *from)
{
    snprintf(to, cap, "%s", from ? from : "");
}

/* What one side of it costs; -1: there is no price. */
static int64_t price_side(const struct cloud_prices *l, enum price_side side,
                          const struct cloud_use *u)
{
    const char *id = u->supplier ? u->supplier : "";
    struct usage use = {.prompt_tokens = u->prompt_tokens,
                        .cached_tokens = u->cached_tokens,
                        .cache_write_tokens = u->cache_write_tokens,
                        .completion_tokens = u->completion_tokens,
                        .reasoning_tokens = u->reasoning_tokens};
    struct usage_buckets b = usage_buckets(&use);
    const struct price *p =
        asked_price(l, side, u->model ? u->model : "", id, u->tier, u->at_us / 1000000);

    if (!p && side == PRICE_BUY && asked_is_local(id))
        return 0;
    return p ? price_amount(p, &b) : -1;
}

/* What its tenant is charged, as its row says; what has no price any more costs what was held. */
static int64_t charge(const struct cloud_ticket *t, const struct cloud_use *u)
{
    int64_t n = u->prompt_tokens + u->completion_tokens ? price_side(t->prices, PRICE_SELL, u) : 0;

    return n >= 0 ? n : t->money_held > 0 ? t->money_held : 0;
}

static void put_price(const struct cloud *c, const struct cloud_ticket *t,
                      const struct cloud_use *u, struct books_row *r)
{
    int is_free =
        !u->prompt_tokens && !u->completion_tokens; /* nothing was used: nothing is owed */

    r->charge_nano = is_free ? 0 : price_side(t->prices, PRICE_SELL, u);
    r->cost_nano = is_free ? 0 : price_side(t->prices, PRICE_BUY, u);
    put_name(r->currency, sizeof r->currency, c->config.currency);
}

void cloud_settle(struct cloud *c, int64_t now_us, struct cloud_ticket *t,
                  const struct cloud_use *u)
{
    struct books_row *r = t->row;
    int64_t n = u->prompt_tokens + u->completion_tokens;

    CHECK(t->i_tenant >= 0);
    if (r) {
        r->at_us = u->at_us;
        r->prompt_tokens = u->prompt_tokens;
        r->cached_tokens = u->cached_tokens;
        r->completion_tokens = u->completion_tokens;
        r->cache_write_tokens = u->cache_write_tokens;
        r->reasoning_tokens = u->reasoning_tokens;
        r->usage_state = (int)u->usage_state;
        r->tier = (int)u->tier;
        r->energy_uj = u->energy_uj;
        put_price(c, t, u, r);
        r->status = u->status;
        put_name(r->request_id, sizeof r->request_id, u->request_id);
        put_name(r->tenant, sizeof r->tenant, t->tenant);
        put_name(r->key_id, sizeof r->key_id, t->key_id);
        put_name(r->team, sizeof r->team, NULL);
        put_name(r->labels, sizeof r->labels, NULL);
        put_name(r->model, sizeof r->model, u->model);
        put_name(r->supplier, sizeof r->supplier, u->supplier);
    }
    leave(c, now_us, t,
          &(struct holds_use){
              .tokens = n, .uncached = n - u->cached_tokens, .booked = {n, charge(t, u)}});
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
    leave(c, now_us, t, &(struct holds_use){.tokens = tokens, .uncached = tokens});
}

void cloud_note_job(struct cloud_offer *of, int64_t now_us, int64_t run_us)
{
    atomic_store(&of->measured_us, now_us);
    atomic_store(&of->job_us, admit_mean(atomic_load(&of->job_us), run_us));
}

static struct api_rate_window window(struct holds_rate r)
{
    return (struct api_rate_window){.limit = r.limit, .remaining = r.left, .reset_us = r.full_us};
}

int cloud_rate(struct cloud *c, int64_t now_us, const struct cloud_ticket *t, int64_t used,
               struct api_rate *ret)
{
    const struct holds *h = &t->holds;
    struct api_rate_window *const w[2][N_PERIODS] = {
        {&ret->requests_minute, &ret->requests_hour, &ret->requests_day},
        {&ret->tokens_minute, &ret->tokens_hour, &ret->tokens_day}};
    int any = 0;

    (void)c;
    for (int p = 0; p < N_PERIODS; p++) {
        *w[0][p] = window(holds_look_requests(h, p, now_us));
        *w[1][p] = window(holds_look_tokens(h, p, used, now_us));
        any |= w[0][p]->limit >= 0 || w[1][p]->limit >= 0;
    }
    return any;
}

int cloud_warning(struct cloud *c, int64_t now_us, const struct cloud_ticket *t, char *ret,
                  size_t cap)
{
    return holds_warning(&t->holds, wall_s(c, now_us), ret, cap);
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

int cloud_view_offers(struct cloud *c, int64_t now_us,
                      struct cloud_offer_view ret[CLOUD_OFFERS_MAX])
{
    return offers_view(&c->offers, now_us, ret);
}

void cloud_look_done(struct cloud *c, struct cloud_look *l)
{
    offers_put(&c->offers, l->offer);
    l->offer = NULL;
}

void cloud_enforced(struct cloud *c, int kind, int64_t now_us, int64_t *ret_settled,
                    int64_t *ret_held)
{
    int n;

    *ret_settled = *ret_held = 0;
    pthread_rwlock_rdlock(&c->lock);
    n = c->n_tenants;
    pthread_rwlock_unlock(&c->lock);
    for (int i = 0; i < n; i++)
        holds_sum(&c->tenants[i].account, kind, wall_s(c, now_us), ret_settled, ret_held);
}

void cloud_stats(struct cloud *c, struct cloud_stats *ret)
{
    *ret = (struct cloud_stats){.refused_auth = atomic_load(&c->refused_auth),
                                .refused_requests = atomic_load(&c->refused_requests),
                                .refused_tokens = atomic_load(&c->refused_tokens),
                                .refused_concurrency = atomic_load(&c->refused_concurrency),
                                .refused_queue = atomic_load(&c->refused_queue),
                                .refused_budget = atomic_load(&c->refused_budget),
                                .tokens_held = atomic_load(&c->n_held)};
    offers_retries(&c->offers, &ret->retries, &ret->retries_refused);
    if (c->books)
        books_stats(c->books, &ret->rows_written, &ret->rows_pending, &ret->write_failures);
}
