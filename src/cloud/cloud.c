/* The request's way through keys, tenants, limits, offers and books. */
#include "cloud/cloud_int.h"

#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "base/put.h"
#include "cloud/asked_energy.h"
#include "cloud/asked_price.h"
#include "cloud/replay.h"
#include "cloud/stored.h"
#include "policy/admit.h"

#define TIERS_ALL (1u << TIER_AUTO) - 1

int64_t cloud_wall_s(const struct cloud *c, int64_t now_us)
{
    return (now_us + atomic_load(&c->wall_us)) / 1000000;
}

void cloud_set_prices(struct cloud *c, const struct cloud_prices *p)
{
    atomic_store(&c->prices, p);
}

void cloud_set_rules(struct cloud *c, const struct cloud_rules *r)
{
    atomic_store(&c->rules, r);
}

/* ---- lifecycle ------------------------------------------------------------------------------- */

int cloud_open(struct cloud **ret, const struct cloud_config *config, struct err *e)
{
    struct err none = {0};
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
    pthread_mutex_init(&c->hedge_lock, NULL);
    r = sites_init(&c->sites) ? err_set(e, ERR_NOMEM, "out of memory") : 0;
    if (contracts_init(&c->contracts) && !r)
        r = err_set(e, ERR_NOMEM, "out of memory");
    offers_init(&c->offers, &c->sites, &config->retry);
    pthread_mutex_init(&c->obey_lock, NULL);
    pthread_mutex_init(&c->proofs_lock, NULL);
    sites_tick(&c->sites, config->wall_us);
    if (!r)
        r = sites_swap(&c->sites, config->sites, e);
    cloud_tell_wall(c, config->now_us, config->wall_us);
    if (notices_init(&c->notices, config->notices_box, config->notices_mail, e) && !r)
        r = e->code;
    c->used = calloc(CLOUD_TENANTS_MAX, sizeof *c->used);
    if (!c->used && !r)
        r = err_set(e, ERR_NOMEM, "out of memory");
    if (estimates_init(&c->estimates, CLOUD_TENANTS_MAX) && !r)
        r = err_set(e, ERR_NOMEM, "out of memory");
    if (!r && config->tally_fd && tally_open(&c->tally, config->tally_fd, &none))
        LOG_EVENT(LOG_WARN, "limits not shared", LOG_STR("why", none.text));
    if (!r && config->replay_memory)
        r = replays_new(&c->replays, config->replay_memory, config->replay_window_us, e);
    if (!r && config->ledger_path)
        r = books_open(&c->books, config->ledger_path, config->ledger_sync_normal, e);
    if (!r && c->books && config->tree_key)
        r = books_sign_with(c->books, config->tree_key, e);
    if (!r)
        r = cloud_accounts_open(c, config->now_us, e);
    if (!r && config->stored_memory)
        r = cloud_stored_open(c, e);
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

int cloud_tally_fd(const struct cloud *c)
{
    return c->tally ? tally_fd(c->tally) : -1;
}

void cloud_tidy(struct cloud *c)
{
    if (c->tally)
        tally_tidy(c->tally);
}

struct replays *cloud_replays(const struct cloud *c)
{
    return c->replays;
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
    n_lost = books_close(c->books);
    cloud_accounts_close(c);
    tally_close(c->tally);
    notices_done(&c->notices);
    estimates_done(&c->estimates);
    replays_free(c->replays);
    stored_close(c->stored);
    offers_done(&c->offers);
    contracts_done(&c->contracts);
    sites_done(&c->sites);
    pthread_mutex_destroy(&c->obey_lock);
    books_reader_close(c->proofs);
    pthread_mutex_destroy(&c->proofs_lock);
    pthread_mutex_destroy(&c->hedge_lock);
    free(c->used);
    free(c);
    return n_lost;
}

/* ---- a request ------------------------------------------------------------------------------- */

void cloud_tell_wall(struct cloud *c, int64_t now_us, int64_t wall_us)
{
    atomic_store(&c->wall_us, wall_us - now_us);
    atomic_store(&c->seen_us, now_us);
}

/* Note a refusal, and why. */
static int refuse(struct cloud *c, struct cloud_ticket *t, const struct holds_refusal *why,
                  int code)
{
    _Atomic int64_t *n = code == ERR_RATE_REQUESTS ? &c->refused_requests
                         : code == ERR_QUEUE_FULL  ? &c->refused_concurrency
                         : code == ERR_BUDGET      ? &c->refused_budget
                                                   : &c->refused_tokens;

    if (code != ERR_LIMIT && t->exceed == EXCEED_REJECT) /* else it was counted before */
        atomic_fetch_add(n, 1);
    t->retry_us = why->retry_us;
    return code;
}

static void put_name(char *to, size_t cap, const char *from)
{
    put_text(to, cap, from ? from : "");
}

/* A key that is used ends soon: told once. */
static void tell_expiry(struct cloud *c, const struct grant *g, int64_t now_s)
{
    struct notice n = {
        .type = NOTICE_KEY_EXPIRING, .kind = ACCOUNT_KEY, .at_s = now_s, .until_s = g->expires_s};

    if (!g->expires_s || g->expires_s - now_s > NOTICE_EXPIRING_S || !g->key ||
        atomic_exchange(&g->key->told_s, g->expires_s) == g->expires_s)
        return;
    put_name(n.account, sizeof n.account, g->key_id);
    notices_put(&c->notices, &n);
}

/* Whose ticket it is, and on which accounts it counts. */
static void fill(struct cloud *c, struct cloud_ticket *t, struct grant *g)
{
    struct account *all = c->directory.tenants[0]; /* without keys there is one tenant */

    t->grant = g;
    t->i_rate = g ? g->i_tenant : 0;
    t->tenant = g ? g->tenant : all->id;
    t->tiers = g ? g->tiers : TIERS_ALL; /* it delays no other */
    put_name(t->key_id, sizeof t->key_id, g ? g->key_id : NULL);
    if (!g)
        t->holds.path[t->holds.n_path++] = all->counts;
    for (int i = 0; g && i < g->n_path; i++)
        t->holds.path[t->holds.n_path++] = g->path[i];
}

int cloud_enter(struct cloud *c, int64_t now_us, const struct cloud_caller *who,
                struct cloud_ticket *t, struct err *e)
{
    struct holds_refusal why = {.e = e};
    struct grant *g = NULL;
    int r;

    *t = (struct cloud_ticket){
        .i_tenant = -1, .i_rate = -1, .tenant = "", .prices = atomic_load(&c->prices)};
    r = cloud_key_grant(c, now_us, who, &g, e);
    if (r)
        return r;
    fill(c, t, g);
    if (g)
        tell_expiry(c, g, cloud_wall_s(c, now_us));
    r = holds_enter(&t->holds, now_us, &why);
    if (r) {
        refuse(c, t, &why, r);
    } else if (c->books && !(t->row = books_take(c->books))) {
        holds_leave(&t->holds);
        t->retry_us = 1000000;
        r = err_set(e, ERR_AGAIN, "The books cannot keep up; please try again shortly.");
    }
    if (r) {
        grant_put(t->grant);
        t->grant = NULL;
        return r;
    }
    t->i_tenant = t->i_rate;
    cloud_claim_begin(c, t);
    return 0;
}

int cloud_check_over(struct cloud *c, int64_t now_us, const struct cloud_ticket *t, struct err *e)
{
    if (!t->grant || !grant_is_over(t->grant, cloud_wall_s(c, now_us)))
        return 0;
    return err_set_param(e, ERR_AUTH, "api_key", "The API key was revoked or has expired.");
}

int cloud_key_models(struct cloud *c, int64_t now_us, const struct cloud_caller *who,
                     const char *ret[CLOUD_MODELS_MAX], struct err *e)
{
    struct offers *o = &c->offers;
    struct grant *g = NULL;
    int r = who ? cloud_key_grant(c, now_us, who, &g, e) : 0, n;

    if (r)
        return r;
    pthread_rwlock_rdlock(&o->lock);
    for (int i = 0; i < o->n_models; i++) {
        ret[i] = NULL;
        n = offers_are_for(o, i, g) ? o->models[i].n_names : 0;
        for (int k = 0; !ret[i] && k < n; k++) {
            if (!g || grant_has_model(g, o->models[i].names[k]))
                ret[i] = o->models[i].names[k];
        }
    }
    pthread_rwlock_unlock(&o->lock);
    grant_put(g);
    return 0;
}

int cloud_key_sees(struct cloud *c, int64_t now_us, const struct cloud_caller *who,
                   const char *name, struct err *e)
{
    struct grant *g = NULL;
    int r = cloud_key_grant(c, now_us, who, &g, e);

    if (!r && g && !grant_has_model(g, name))
        r = api_err_model(e, name);
    grant_put(g);
    return r;
}

int cloud_may_go_on(struct cloud *c, int64_t now_us, const struct cloud_caller *who,
                    const char *model, const char *fingerprint, int64_t n_tokens, struct err *e)
{
    struct grant *g = NULL;
    int r = cloud_key_grant(c, now_us, who, &g, e);

    if (r)
        return err_prefix(e, "the key '%.60s' of tenant '%.60s'", who->again_key_id,
                          who->again_tenant);
    if (strcmp(g ? g->tenant : c->directory.tenants[0]->id, who->again_tenant) != 0)
        r = err_set(e, ERR_FORBIDDEN, "The tenant '%.60s' is not here.", who->again_tenant);
    else if (g && !grant_has_model(g, model))
        r = api_err_model(e, model);
    grant_put(g);
    return r ? r : offers_check_print(&c->offers, model, fingerprint, n_tokens, e);
}

enum tier cloud_tier(const struct cloud_ticket *t, enum tier asked)
{
    if (asked == TIER_BATCH)
        return TIER_BATCH;
    for (int rank = tier_rank(asked == TIER_AUTO ? TIER_PRIORITY : asked); rank >= 0; rank--) {
        if (t->tiers >> tier_of_rank(rank) & 1)
            return tier_of_rank(rank);
    }
    return TIER_FLEX;
}

int cloud_may_use(const struct cloud_ticket *t, const char *model, struct err *e)
{
    return !t->grant || grant_has_model(t->grant, model)
               ? 0
               : err_set_param(e, ERR_FORBIDDEN, "model",
                               "This API key has no right to use the model %.200s.", model);
}

int cloud_route(struct cloud *c, int64_t now_us, const struct cloud_want *w, struct cloud_ticket *t,
                struct err *e)
{
    const struct offers_by by = {
        .rules = atomic_load(&c->rules), .now_us = now_us, .wall_s = cloud_wall_s(c, now_us)};

    if (cloud_may_use(t, w->model, e))
        return e->code;
    return cloud_claim_route(c, &by, w, t, e);
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

/* Those of its tenant at its offer. */
static _Atomic int64_t *there_of(struct cloud *c, const struct cloud_ticket *t)
{
    CHECK(t->offer && t->i_tenant >= 0 && !t->n_there);
    return &c->there[t->i_tenant][t->offer->slot];
}

int cloud_may_wait(struct cloud *c, int32_t n_seqs, int64_t queue_threshold_us,
                   struct cloud_ticket *t, struct err *e)
{
    struct cloud_offer *of = t->offer;
    _Atomic int64_t *there = there_of(c, t);
    struct load load;
    struct admit_state st;
    struct admit_decision d;

    if (!sites_factor(&c->sites, of->i_site)) /* since it was routed there */
        return err_set_param(e, ERR_SITE_CLOSED, "model",
                             "The site takes no new requests now; please try again.");
    offers_load(&c->offers, of, &load);
    st = (struct admit_state){.n_inside = load.n_inside,
                              .n_own = c->is_closed ? atomic_load(there) : load.n_inside,
                              .is_alone = !c->is_closed,
                              .is_entitled = t->claim.how == ENTITLED_WITHIN,
                              .capacity = load.capacity,
                              .waiting_max = c->config.waiting_max,
                              .fills = tier_fills((enum tier)t->asked.tier),
                              .job_us = atomic_load(&of->job_us)};
    admit_decide(&st, n_seqs, queue_threshold_us, &d);
    if (d.admit)
        return 0;
    atomic_fetch_add(&c->refused_queue, 1);
    t->offer_is_full = 1;
    t->retry_us = d.retry_us;
    return err_set_param(e, ERR_QUEUE_FULL, "queue",
                         "We're experiencing high traffic right now! Please try again soon (%d "
                         "requests are waiting).",
                         load.n_waiting);
}

int cloud_admit(struct cloud *c, int32_t n_jobs, int32_t n_choices, int64_t queue_threshold_us,
                struct cloud_ticket *t, int32_t *ret_at_once, struct err *e)
{
    _Atomic int64_t *there = there_of(c, t);
    struct holds_refusal why = {.e = e};
    int r = holds_widen(&t->holds, n_jobs, n_choices, ret_at_once, &why);

    if (r)
        return refuse(c, t, &why, r);
    r = cloud_may_wait(c, (int32_t)t->holds.n_seqs, queue_threshold_us, t, e);
    if (r)
        return r;
    r = cloud_claim_admit(c, t, e);
    if (r)
        return r;
    atomic_fetch_add(there, t->holds.n_seqs);
    t->n_there = there;
    return 0;
}

static const struct price *ask_price(const struct cloud *c, int64_t now_us,
                                     const struct cloud_ticket *t, const struct cloud_ask *a)
{
    return cloud_sell_price(t, a->model, t->offer ? t->offer->sup->id : "", a->tier,
                            cloud_wall_s(c, now_us));
}

int64_t cloud_wait_us(const struct cloud_ticket *t)
{
    struct load load;

    t->offer->sup->ops->load(t->offer->sup, &load);
    return admit_wait_us(load.n_inside, load.capacity, atomic_load(&t->offer->job_us));
}

int64_t cloud_output_max(const struct cloud_ticket *t)
{
    return holds_output_max(&t->holds);
}

/* Of two rooms the smaller one; 0: any number. */
static int64_t smaller(int64_t room, int64_t n)
{
    n = n > 0 ? n : 1;
    return room && room < n ? room : n;
}

int64_t cloud_room(const struct cloud *c, int64_t now_us, const struct cloud_ticket *t,
                   const struct cloud_ask *a)
{
    int64_t now_s = cloud_wall_s(c, now_us), room = holds_room(&t->holds, now_s);
    int64_t money = holds_budget(&t->holds, OF_MONEY, now_s);
    int64_t uj = holds_budget(&t->holds, OF_ENERGY, now_s);
    struct energy_rates energy = asked_energy(t->offer);
    const struct price *p;

    if (money < INT64_MAX && (p = ask_price(c, now_us, t, a)))
        room = smaller(room, a->n_prompt + price_affords(p, &energy, a->n_prompt, money));
    if (uj < INT64_MAX && energy.input_nj >= 0)
        room = smaller(room, a->n_prompt + energy_rates_afford(&energy, a->n_prompt, uj));
    return room;
}

int64_t cloud_left(int64_t now_us, const struct cloud_ticket *t)
{
    return holds_left(&t->holds, now_us);
}

/* Of so many tokens of answers, those that it probably does not need. */
static int64_t spare(struct cloud *c, const struct cloud_ticket *t, int64_t answers)
{
    return t->n_choices && holds_may_risk(&t->holds)
               ? estimates_spare(&c->estimates, t->i_tenant, t->offer->i_model, t->is_capped,
                                 t->n_choices, answers)
               : 0;
}

/* Remember how long its answers were. */
static void learn(struct cloud *c, const struct cloud_ticket *t, int64_t answers)
{
    if (t->n_choices && !t->n_hedged && answers > 0 && holds_may_risk(&t->holds))
        estimates_add(&c->estimates, t->i_tenant, t->offer->i_model, t->is_capped,
                      (answers + t->n_choices - 1) / t->n_choices);
}

int cloud_reserve(struct cloud *c, int64_t now_us, struct cloud_ticket *t,
                  const struct cloud_ask *a, int64_t tokens, struct err *e)
{
    const struct price *p = a->model ? ask_price(c, now_us, t, a) : NULL;
    struct holds_refusal why = {.e = e};
    int64_t of[N_KINDS] = {0};
    struct energy_rates energy;
    int r;

    CHECK(t->i_tenant >= 0 && !t->n_held);
    t->n_choices = a->n_choices;
    t->is_capped = a->is_capped;
    tokens -= holds_risk(&t->holds, spare(c, t, tokens - a->n_prompt));
    of[OF_TOKENS] = tokens;
    if (a->model) {
        energy = asked_energy(t->offer);
        of[OF_MONEY] = p ? price_most(p, &energy, a->n_prompt, tokens - a->n_prompt) : -1;
        of[OF_ENERGY] = energy_rates_uj(&energy, a->n_prompt, tokens - a->n_prompt);
    }
    r = holds_reserve(&t->holds, now_us, cloud_wall_s(c, now_us), of, &why);
    if (r)
        return refuse(c, t, &why, r);
    t->n_held = tokens;
    t->money_held = of[OF_MONEY];
    t->energy_held = of[OF_ENERGY];
    if (t->exceed != EXCEED_REJECT)
        atomic_fetch_add(&c->exceeded[t->exceed], 1);
    atomic_fetch_add(&c->n_held, tokens);
    return 0;
}

void cloud_note_energy(struct cloud_ticket *t, int64_t uj)
{
    int64_t more = uj + uj / 8 - t->energy_held;

    if (!t->n_held || t->energy_held < 0 || uj <= t->energy_held)
        return;
    holds_more(&t->holds, OF_ENERGY, more);
    t->energy_held += more;
}

/* Charge what was used in place of what is held, and give back the sequences at the offer and the
 * offer itself. */
static void let_go(struct cloud *c, int64_t now_us, struct cloud_ticket *t,
                   const struct holds_use *used)
{
    if (!t->n_hedged) /* else it holds only sequences */
        holds_settle(&t->holds, now_us, cloud_wall_s(c, now_us), used);
    atomic_fetch_sub(&c->n_held, t->n_held);
    t->n_held = t->money_held = t->energy_held = 0;
    if (t->n_there)
        quota_leave(t->n_there, t->holds.n_seqs);
    t->n_there = NULL;
    cloud_claim_leave(t, 0, 0, now_us);
    offers_note(&c->offers, t, BREAKER_NOTHING, 0, 0, now_us);
    offers_put(&c->offers, t->offer);
    t->offer = NULL;
}

int cloud_may_exceed(const struct cloud_ticket *t)
{
    const struct grant *g = t->grant;

    return g && t->exceed == EXCEED_REJECT && g->exceed != EXCEED_REJECT &&
           (g->exceed != EXCEED_FALLBACK || g->fallback);
}

enum exceed cloud_exceed(struct cloud_ticket *t, int code)
{
    if (!cloud_may_exceed(t) ||
        (code != ERR_RATE_TOKENS && code != ERR_QUOTA && code != ERR_BUDGET))
        return EXCEED_REJECT;
    t->exceed = t->grant->exceed;
    return t->exceed;
}

int64_t cloud_texts_days(const struct cloud_ticket *t)
{
    return t->grant ? t->grant->texts_days : 0;
}

const char *cloud_fallback(const struct cloud_ticket *t)
{
    return t->grant->fallback;
}

void cloud_give_back(struct cloud *c, int64_t now_us, struct cloud_ticket *t)
{
    CHECK(t->i_tenant >= 0 && t->offer);
    let_go(c, now_us, t, &(struct holds_use){0});
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
    cloud_claim_end(t);
    holds_leave(&t->holds);
    grant_put(t->grant);
    t->grant = NULL;
    t->i_tenant = -1;
}

/* What budgets of energy count of it: what its row says, or where nobody told what was held. */
static int64_t energy(const struct cloud_ticket *t, const struct cloud_use *u)
{
    return u->energy.method ? u->energy.uj : t->energy_held > 0 ? t->energy_held : 0;
}

/* What its tenant is charged, as its row says; what has no price any more costs what was held. */
static int64_t charge(const struct cloud_ticket *t, const struct cloud_use *u)
{
    const struct price *p;
    int64_t n = cloud_price_side(t, PRICE_SELL, u, &p);

    return n >= 0 ? n : t->money_held > 0 ? t->money_held : 0;
}

/* What its supplier is owed, in the cloud's currency; -1: it has no price, or there is no rate. */
static int64_t cost(const struct cloud_ticket *t, const struct cloud_use *u)
{
    const struct price *p;
    int64_t own = cloud_price_side(t, PRICE_BUY, u, &p);

    return own >= 0 && p ? asked_exchange(t->prices, p, own, u->at_us / 1000000) : own;
}

void cloud_settle(struct cloud *c, int64_t now_us, struct cloud_ticket *t,
                  const struct cloud_use *u)
{
    struct books_row *r = t->row;
    int64_t n = u->prompt_tokens + u->completion_tokens;
    struct usage owed = cloud_used(u, PRICE_BUY);
    struct holds_use hold;
    const struct price *p;

    CHECK(t->i_tenant >= 0);
    atomic_fetch_add(&c->n_lost, owed.prompt_tokens + owed.completion_tokens - n);
    if (t->n_hedged) {
        cloud_settle_hedge(c, t->n_hedged, n, 1);
    } else if (c->config.hedge.tiers >> u->tier & 1) {
        pthread_mutex_lock(&c->hedge_lock);
        hedge_earn(&c->hedge, n, c->config.hedge.percent);
        pthread_mutex_unlock(&c->hedge_lock);
    }
    if (r)
        cloud_put_row(c, t, u, &owed, r);
    if (!t->n_hedged)
        cloud_note_used(c, t->i_tenant, u,
                        r ? r->charge_nano : cloud_price_side(t, PRICE_SELL, u, &p));
    if (t->offer)
        sites_count(&c->sites, t->offer->i_site, &u->energy);
    learn(c, t, u->completion_tokens);
    asked_energy_learn(t->offer, u);
    offers_spent(&c->offers, t->offer, r ? r->cost_nano : cost(t, u), now_us);
    hold = (struct holds_use){
        .tokens = n,
        .uncached = n - u->cached_tokens,
        .booked = {[OF_TOKENS] = n, [OF_MONEY] = charge(t, u), [OF_ENERGY] = energy(t, u)}};
    cloud_claim_leave(t, u->prompt_tokens, u->completion_tokens, now_us);
    leave(c, now_us, t, &hold);
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
    if (t->n_hedged)
        cloud_settle_hedge(c, t->n_hedged, 0, 0);
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
    return holds_warning(&t->holds, cloud_wall_s(c, now_us), ret, cap);
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
    int r = offers_add(&c->offers, i_model, s, e);

    if (!r)
        contracts_note_sites(&c->contracts);
    if (!r)
        cloud_obey(c);
    return r;
}

void cloud_place_offer(struct cloud *c, const struct supplier *s)
{
    offers_place(&c->offers, s);
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
    return offers_view(&c->offers, now_us, 0, ret);
}

int cloud_view_all_offers(struct cloud *c, int64_t now_us,
                          struct cloud_offer_view ret[CLOUD_OFFERS_MAX])
{
    return offers_view(&c->offers, now_us, 1, ret);
}

void cloud_look_done(struct cloud *c, struct cloud_look *l)
{
    offers_put(&c->offers, l->offer);
    l->offer = NULL;
}

static void put_replays(const struct cloud *c, struct cloud_stats *ret)
{
    struct replays_stats s = {0};

    if (c->replays)
        replays_stats(c->replays, &s);
    ret->replayed = s.replayed;
    ret->replays_in_use = s.in_use;
    ret->replays_reused = s.reused;
    ret->replays_too_long = s.too_long;
    ret->replay_bytes = s.bytes;
}

void cloud_stats(struct cloud *c, struct cloud_stats *ret)
{
    *ret = (struct cloud_stats){.refused_auth = atomic_load(&c->refused_auth),
                                .refused_requests = atomic_load(&c->refused_requests),
                                .refused_tokens = atomic_load(&c->refused_tokens),
                                .refused_concurrency = atomic_load(&c->refused_concurrency),
                                .refused_queue = atomic_load(&c->refused_queue),
                                .refused_budget = atomic_load(&c->refused_budget),
                                .refused_borrow = atomic_load(&c->refused_borrow),
                                .tokens_held = atomic_load(&c->n_held),
                                .tokens_lost = atomic_load(&c->n_lost)};
    for (int i = 0; i < EXCEEDS; i++)
        ret->exceeded[i] = atomic_load(&c->exceeded[i]);
    for (int i = 0; i < N_TOLD; i++)
        ret->notices[i] = atomic_load(&c->told[i]);
    ret->notices[TOLD_DROPPED] += notices_lost(&c->notices);
    pthread_mutex_lock(&c->hedge_lock);
    ret->hedges = c->n_hedges;
    ret->tokens_hedged = c->tokens_hedged;
    pthread_mutex_unlock(&c->hedge_lock);
    offers_retries(&c->offers, &ret->retries, &ret->retries_refused);
    put_replays(c, ret);
    put_name(ret->currency, sizeof ret->currency, c->config.currency);
    ret->has_ledger = c->books != NULL;
    cloud_stored_stats(c, ret);
    if (c->books) {
        books_stats(c->books, &ret->rows_written, &ret->rows_pending, &ret->write_failures);
        ret->rows_in_journal = books_in_journal(c->books);
        books_log_state(c->books, &ret->log);
        ret->oldest_row_us = books_oldest_us(c->books);
    }
}
