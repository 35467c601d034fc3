/* sim_cloud [SEED [N]]: the cloud at work in a simulated world, for N seeds from SEED on.
 *
 * Tenants send requests at random times to models that suppliers offer; suppliers come, go, fill
 * up, fail before and in the middle of answers; clients leave; the disk fails and heals; the
 * process dies and power is lost. Clock, random numbers, disk and suppliers are the simulation's,
 * all else is the production code. A seed decides everything, so one that fails is replayed by its
 * number.
 *
 * What must hold, whatever happens: every request that was settled and written is in the ledger
 * once, with its tokens; nothing else is; balances are sums of rows; no tenant is ever beyond its
 * limits; whoever ends has given everything back. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/rand.h"
#include "sim_cloud.h"

#define S             INT64_C(1000000)
#define START         (INT64_C(1800000000) * S) /* 15 January 2027, 8:00 UTC */
#define MIDNIGHT      (15 * 3600 * S)           /* later it is in Berlin */
#define WORLD_US      (20 * 60 * S)
#define REQUESTS      48 /* under way at most */
#define MODELS        2
#define SUPPLIERS     5
#define SITES         3
#define HEDGE_PERCENT 20

static const char *const model_name[MODELS] = {SIM_FALLBACK, "large"};

/* ---- random choices -------------------------------------------------------------------------- */

static uint64_t seed, n_drawn;

static int64_t below(int64_t n)
{
    uint32_t r[4];

    rand_philox(seed, n_drawn++, 77, r);
    return (int64_t)(((uint64_t)r[0] << 32 | r[1]) % (uint64_t)n);
}

static int chance(int percent)
{
    return below(100) < percent;
}

void sim_fail(const char *what)
{
    printf("not ok - seed %llu, %.3f s: %s\n# again: make sim SEED=%llu\n",
           (unsigned long long)seed, (double)(clock_wall_us() - START) / 1e6, what,
           (unsigned long long)seed);
    exit(1);
}

/* ---- sites ----------------------------------------------------------------------------------- */

/* At which site a supplier is; the last site is dedicated. */
static const int site_of[SUPPLIERS] = {0, 1, 0, 1, 2};
static const char *const dedicated_to[] = {SIM_DEDICATED};
/* The first one is offline for two minutes of each world: by dates, of which the way back is a
 * fact, and was planned for earlier. */
#define DOWN_S(world) ((START + (world)) / S + 600)
#define LIFE(world)                                                                                \
    {LIFECYCLE_OFFLINE, DOWN_S(world), LIFECYCLE_NO_DATE, 0},                                      \
    {                                                                                              \
        LIFECYCLE_ACTIVE, DOWN_S(world) + 60, DOWN_S(world) + 120, 0                               \
    }
static const struct lifecycle_step life[] = {
    {LIFECYCLE_ACTIVE, 1, 1, 0}, LIFE(0), LIFE(MIDNIGHT - WORLD_US / 2)};
/* The second one is curtailed to nothing in each hour, from its fifth minute to its eighth. */
#define RAMP_US (60 * S)
#define HOUR(h)                                                                                    \
    {                                                                                              \
        .from_minute = (h)*60 + 5, .n_minutes = 3, .days = 0x7f, .ramp_us = RAMP_US, .target = {   \
            -1,                                                                                    \
            0                                                                                      \
        }                                                                                          \
    }
#define SIX_HOURS(h)                                                                               \
    HOUR(h), HOUR((h) + 1), HOUR((h) + 2), HOUR((h) + 3), HOUR((h) + 4), HOUR((h) + 5)
static const struct site_schedule hourly[] = {SIX_HOURS(0), SIX_HOURS(6), SIX_HOURS(12),
                                              SIX_HOURS(18)};
static const struct site_terms site_terms[SITES] = {
    {.name = "all",
     .step = life,
     .n_steps = ARRAY_LEN(life),
     .factor_ppm = 1000000,
     .has_factor_file = 1,
     .carbon_mg = {300000, 0}},
    {.name = "far",
     .state = LIFECYCLE_ACTIVE,
     .curtail = {.schedule = hourly, .n_schedules = ARRAY_LEN(hourly)},
     .factor_ppm = 1000000,
     .has_factor_file = 1,
     .carbon_mg = {-1, -1}},
    {.name = "own",
     .tenants = dedicated_to,
     .n_tenants = 1,
     .state = LIFECYCLE_ACTIVE,
     .factor_ppm = 1000000,
     .has_factor_file = 1,
     .carbon_mg = {-1, -1}},
};
static const struct cloud_sites sites = {.list = site_terms, .n = SITES};
static int32_t site_factor[SITES];
static int64_t n_dedicated; /* requests at the site of one tenant */
static int64_t n_closed;    /* times that a site was closed */
static int64_t ticked_us;   /* what time sites were told that it is */
static int64_t n_offline, n_curtailed;

/* What is left of a site by the time: computed once more, in another way. */
static int32_t left_by_time(int i)
{
    static const int64_t worlds[] = {0, MIDNIGHT - WORLD_US / 2};
    int64_t in_hour = ticked_us % (3600 * S) - 300 * S, lasts = 180 * S, gone = 0;

    for (int w = 0; i == 0 && w < 2; w++) {
        int64_t since_s = ticked_us / S - DOWN_S(worlds[w]);
        if (since_s >= 0 && since_s < 120)
            return 0;
    }
    if (i != 1 || in_hour < 0 || in_hour >= lasts + RAMP_US)
        return 1000000;
    if (in_hour < RAMP_US)
        gone = (in_hour * 1000000 + RAMP_US - 1) / RAMP_US; /* never more than the line leaves */
    else if (in_hour < lasts)
        gone = 1000000;
    else
        gone = 1000000 - (in_hour - lasts) * 1000000 / RAMP_US;
    return (int32_t)(1000000 - gone);
}

static int32_t factor_of(int i)
{
    int32_t by_time = left_by_time(i);

    return site_factor[i] < by_time ? site_factor[i] : by_time;
}

/* ---- suppliers ------------------------------------------------------------------------------- */

struct sim_supplier {
    struct supplier s;
    struct load load;
    int is_offered, i_model;
    int64_t asked_until_us; /* it asked for no work before that */
    uint64_t serial;        /* of its offer, as it was chosen last */
    char id[16];
};

static struct sim_supplier supplier[SUPPLIERS];

static void tell_load(const struct supplier *s, struct load *ret)
{
    *ret = ((const struct sim_supplier *)s)->load;
}

static const struct supplier_facts *tell_facts(const struct supplier *s)
{
    static const struct supplier_facts facts = {.context = 4096, .chat = 1};
    (void)s;
    return &facts;
}

static const struct supplier_ops ops = {.load = tell_load, .facts = tell_facts};

static void make_suppliers(void)
{
    for (int i = 0; i < SUPPLIERS; i++) {
        struct sim_supplier *s = &supplier[i];
        *s = (struct sim_supplier){.i_model = i % MODELS};
        snprintf(s->id, sizeof s->id, "site-%d/m", i);
        s->s = (struct supplier){.ops = &ops, .id = s->id, .model = model_name[s->i_model]};
        s->s.terms.site = site_terms[site_of[i]].name;
        if (i % 2) /* of the others nobody knows, until they say it */
            s->s.terms.energy =
                (struct supplier_energy){.is_agreed = 1, .input_nj = 10000, .output_nj = 80000};
        s->load = (struct load){.state = SUPPLIER_READY, .capacity = 1 + (int32_t)below(6)};
    }
}

/* ---- requests -------------------------------------------------------------------------------- */

struct request {
    struct cloud_ticket t;
    struct sim_supplier *at; /* NULL: the place is free */
    int64_t end_us;
    int32_t n_seqs;
    int is_hedged; /* once at most: the row of its hedge has its id */
    struct sim_use use;
};

static struct cloud *cloud;
static int64_t n_used;              /* tokens, in this life of the process */
static int64_t n_exceeded[EXCEEDS]; /* let in, in all worlds: at once, or otherwise */
static int64_t n_risked;            /* and with less held than they may use */
static struct request request[REQUESTS];
static int i_model_of[MODELS];

static void free_place(struct request *r)
{
    r->at->load.n_inside -= r->n_seqs;
    r->at->load.n_running = r->at->load.n_inside;
    r->at = NULL;
}

/* It ends without a row. */
static void leave(struct request *r)
{
    sim_ended(&r->use, 0);
    cloud_leave(cloud, clock_now_us(), &r->t, 0);
    if (r->at)
        free_place(r);
}

/* What was measured of a request: mostly near what its work takes, or nothing. */
static struct energy measure(int64_t prompt, int64_t completion)
{
    int64_t draw =
        (prompt * 37 + completion * 101) % 100; /* the world's own are for other things */

    if (draw < 20)
        return (struct energy){0};
    return (struct energy){.uj = (prompt + 8 * completion) * (50 + draw) / 10,
                           .method = ENERGY_STATED};
}

static void settle(struct request *r)
{
    const struct sim_use *u = &r->use;
    struct energy energy = measure(u->prompt, u->completion);
    struct usage owed;

    r->use.lost = below(4) ? 0 : below(50); /* its client had left */
    owed = (struct usage){.prompt_tokens = u->prompt,
                          .cached_tokens = u->cached,
                          .completion_tokens = u->completion + u->lost};
    r->use.uj = energy.method ? energy.uj : -1;
    sim_ended(&r->use, 1);
    n_used += u->prompt + u->completion;
    cloud_settle(cloud, clock_now_us(), &r->t,
                 &(struct cloud_use){.request_id = u->id,
                                     .model = model_name[r->at->i_model],
                                     .supplier = r->at->id,
                                     .prompt_tokens = u->prompt,
                                     .cached_tokens = u->cached,
                                     .completion_tokens = u->completion,
                                     .owed = &owed,
                                     .energy = energy,
                                     .status = 200,
                                     .at_us = clock_wall_us()});
    free_place(r);
}

/* May it be tried at another supplier? */
static int may_turn(const struct request *r, int was_sent)
{
    return cloud_has_other(cloud, clock_now_us(), &r->t) &&
           (!was_sent || cloud_take_retry(cloud, clock_now_us(), &r->t));
}

static void note_choice(struct request *r)
{
    struct sim_supplier *s = (struct sim_supplier *)r->t.offer->sup;
    int i_site = site_of[s - supplier];

    if (!factor_of(i_site))
        sim_fail("something new is sent to a site that takes nothing");
    if (site_terms[i_site].n_tenants && strcmp(r->t.tenant, SIM_DEDICATED))
        sim_fail("a dedicated site serves another tenant");
    n_dedicated += site_terms[i_site].n_tenants;
    if (clock_now_us() < s->asked_until_us)
        sim_fail("a supplier is asked before the time that it named");
    s->serial = r->t.offer->serial;
}

/* How it went there, as the supplier tells. A wish is kept by all requests. */
static void tell_result(struct request *r)
{
    static const int codes[] = {ERR_RESET, ERR_SUPPLIER, ERR_SILENT, ERR_SUPPLIER_BUSY};
    struct sim_supplier *s = (struct sim_supplier *)r->t.offer->sup;
    int code = codes[below(ARRAY_LEN(codes))];
    int64_t retry_us = code == ERR_SUPPLIER_BUSY ? (int64_t)(1 + below(20)) * S : 0;

    cloud_note_result(cloud, clock_now_us(), &r->t, code, -1, retry_us);
    if (r->t.offer->serial == s->serial && clock_now_us() + retry_us > s->asked_until_us)
        s->asked_until_us = clock_now_us() + retry_us;
}

static void move_to(struct request *r, struct supplier *s)
{
    if (r->at)
        free_place(r);
    r->at = (struct sim_supplier *)s;
    r->at->load.n_inside += r->n_seqs;
    r->at->load.n_running = r->at->load.n_inside;
}

/* It is late there, and tried at a second supplier; one of the two loses. */
static void hedge(struct request *r, int i_model)
{
    const struct cloud_want w = {.model = model_name[i_model], .tier = TIER_DEFAULT};
    struct cloud_use use = {.prompt_tokens = 1 + below(50), .completion_tokens = below(5)};
    struct cloud_stats stats;
    struct cloud_ticket h;
    char id[40];

    if (cloud_hedge(cloud, clock_now_us(), &w, &r->t, 50, &h))
        return;
    if (h.offer == r->t.offer)
        sim_fail("a request is hedged where it is");
    if (!factor_of(site_of[(struct sim_supplier *)h.offer->sup - supplier]))
        sim_fail("a hedge is sent to a site that takes nothing");
    r->is_hedged = 1;
    if (chance(50)) {
        cloud_hedge_swap(&r->t, &h, 1000);
        move_to(r, r->t.offer->sup);
    }
    snprintf(id, sizeof id, "%s-hedge", r->use.id);
    use.request_id = id;
    use.model = w.model;
    use.supplier = h.offer->sup->id;
    use.status = 499;
    use.at_us = clock_wall_us();
    use.energy = measure(use.prompt_tokens, use.completion_tokens);
    sim_hedged(id, use.prompt_tokens, use.completion_tokens,
               use.energy.method ? use.energy.uj : -1);
    cloud_settle(cloud, clock_now_us(), &h, &use);
    cloud_stats(cloud, &stats);
    if (stats.tokens_hedged * 100 > n_used * HEDGE_PERCENT + 100 * 60)
        sim_fail("hedges have lost more than their share");
}

/* Its limits refused it: does it go on as its tenant wants it then? With as many tokens as are
 * left, or with the other model; what it may use it holds, also then. */
static int goes_on(struct request *r, const struct cloud_ask *ask, int code, int *i_model)
{
    enum exceed how = cloud_exceed(&r->t, code);
    int64_t left = cloud_left(clock_now_us(), &r->t);
    int64_t room = cloud_room(cloud, clock_now_us(), &r->t, ask), least;

    if (how == EXCEED_REJECT)
        return 0;
    if (how == EXCEED_FALLBACK) {
        *i_model = 0;
    } else {
        least = r->use.prompt + r->n_seqs;
        left = room > 0 && room < left ? room : left;
        r->use.most = left < least ? least : left < r->use.most ? left : r->use.most;
    }
    cloud_give_back(cloud, clock_now_us(), &r->t);
    return 1;
}

/* From the choice of a supplier to its work, or to the end. */
static void send(struct request *r, int i_model)
{
    struct err e = {0};
    int32_t at_once = 0;
    int full;

    for (;;) {
        const struct cloud_ask ask = {.model = model_name[i_model],
                                      .tier = TIER_DEFAULT,
                                      .n_prompt = r->use.prompt,
                                      .n_choices = r->n_seqs,
                                      .is_capped = 1};
        if (cloud_route(cloud, clock_now_us(),
                        &(struct cloud_want){.model = model_name[i_model], .tier = TIER_DEFAULT},
                        &r->t, &e))
            break;
        note_choice(r);
        full = cloud_admit(cloud, 1, r->n_seqs, chance(20) ? 500000 : 0, &r->t, &at_once, &e);
        if (!full && cloud_reserve(cloud, clock_now_us(), &r->t, &ask, r->use.most, &e)) {
            if (goes_on(r, &ask, e.code, &i_model))
                continue;
            break;
        }
        r->use.held = r->t.n_held;
        r->use.uj_held = r->t.energy_held;
        n_risked += !full && r->use.held < r->use.most;
        if (!full)
            sim_held(&r->use);
        n_exceeded[r->t.exceed] += !full;
        if (!full && !chance(15)) { /* else it fails at once */
            move_to(r, r->t.offer->sup);
            if (!r->is_hedged && chance(10))
                hedge(r, i_model);
            r->end_us = clock_now_us() + 1000 + below(30 * S);
            return;
        }
        if (!full)
            tell_result(r);
        if (!may_turn(r, !full))
            break;
        sim_back(&r->use, 0);
        cloud_turn_back(cloud, clock_now_us(), &r->t);
    }
    leave(r);
}

static void arrive(void)
{
    struct request *r = request;
    int i_tenant = (int)below(SIM_TENANTS);
    const char *key = sim_key(i_tenant);
    struct err e = {0};

    while (r < request + REQUESTS && r->at)
        r++;
    if (r == request + REQUESTS)
        return;
    *r = (struct request){.n_seqs = 1 + (int32_t)below(3)};
    if (cloud_enter(cloud, clock_now_us(), &(struct cloud_caller){.key = key, .n_key = strlen(key)},
                    &r->t, &e)) {
        if (e.code == ERR_AUTH)
            sim_fail("a key was refused");
        return;
    }
    r->use = (struct sim_use){.i_tenant = i_tenant,
                              .n_seqs = r->n_seqs,
                              .entered_us = clock_now_us(),
                              .prompt = 1 + below(200),
                              .held = 0};
    r->use.most = r->use.prompt + r->n_seqs * (1 + below(100));
    sim_began(&r->use);
    send(r, (int)below(MODELS));
}

/* What became of one: whole, cut in the middle, left by its client, or failed before a byte. */
static void end(struct request *r)
{
    int how = (int)below(10);

    if (how == 0) {
        int i_model = r->at->i_model;
        tell_result(r);
        if (!may_turn(r, 1)) {
            leave(r);
            return;
        }
        free_place(r);
        sim_back(&r->use, 0);
        cloud_turn_back(cloud, clock_now_us(), &r->t);
        send(r, i_model);
        return;
    }
    if (how == 1) { /* it goes on, and has used much of its energy, or more than it holds */
        cloud_note_energy(&r->t, r->t.energy_held / 2 + below(20000));
        sim_holds_energy(&r->use, r->t.energy_held);
        r->end_us = clock_now_us() + 1 + below(10 * S);
        return;
    }
    cloud_note_result(cloud, clock_now_us(), &r->t, 0, -1, 0);
    r->use.completion = r->use.most - r->use.prompt;
    if (r->use.i_tenant >= SIM_SHORT && chance(80)) /* theirs are mostly short, by far not all */
        r->use.completion /= 8;
    r->use.completion = below(r->use.completion + 1);
    r->use.cached = below(r->use.prompt + 1);
    settle(r);
}

/* ---- what goes wrong ------------------------------------------------------------------------- */

static void change_a_supplier(void)
{
    static const enum supplier_state states[] = {SUPPLIER_READY, SUPPLIER_READY, SUPPLIER_LOADING,
                                                 SUPPLIER_FAILED};
    struct sim_supplier *s = &supplier[below(SUPPLIERS)];
    struct err e = {0};

    s->load.state = states[below(ARRAY_LEN(states))];
    s->load.frozen = chance(10);
    if (!chance(30))
        return;
    if (s->is_offered ? cloud_remove_offer(cloud, &s->s)
                      : cloud_add_offer(cloud, i_model_of[s->i_model], &s->s, &e))
        sim_fail("an offer could not come or go");
    s->is_offered = !s->is_offered;
    s->asked_until_us = 0; /* a new offer knows nothing of the one before */
    s->serial = 0;
}

/* A sensor's file says another factor. */
static void change_a_site(void)
{
    static const int32_t factors[] = {0, 500000, 1000000, 1000000, 1000000};
    int i = (int)below(SITES);

    site_factor[i] = factors[below(ARRAY_LEN(factors))];
    n_closed += !site_factor[i];
    cloud_tell_site_factor(cloud, site_terms[i].name, site_factor[i], NULL);
}

static void open_cloud(void)
{
    static const struct price prices[] = {{.side = PRICE_SELL,
                                           .tier = -1,
                                           .uncached = 100000001,
                                           .cache_read = 10000000,
                                           .cache_write = -1,
                                           .output = 400000000,
                                           .reasoning = -1,
                                           .per_request = 3},
                                          {.side = PRICE_SELL,
                                           .tier = -1,
                                           .model = SIM_FALLBACK,
                                           .uncached = 10000000,
                                           .cache_read = -1,
                                           .cache_write = -1,
                                           .output = 40000000,
                                           .reasoning = -1},
                                          {.side = PRICE_BUY,
                                           .tier = -1,
                                           .supplier = "site-1",
                                           .uncached = 70000000,
                                           .cache_read = -1,
                                           .cache_write = -1,
                                           .output = 300000000,
                                           .reasoning = -1}};
    static const struct cloud_prices book = {.list = prices, .n = ARRAY_LEN(prices)};
    struct cloud_config config = {.prices = &book,
                                  .currency = "EUR",
                                  .sites = &sites,
                                  .keys_path = "keys",
                                  .ledger_path = "ledger.db",
                                  .waiting_max = 4,
                                  .retry = {.percent = 50, .min = 2},
                                  .hedge = {.tiers = ~0u, .percent = HEDGE_PERCENT},
                                  .now_us = clock_now_us(),
                                  .wall_us = clock_wall_us()};
    struct err e = {0};

    n_used = 0;
    ticked_us = clock_wall_us();
    for (int i = 0; i < SITES; i++)
        site_factor[i] = site_terms[i].factor_ppm;
    if (cloud_open(&cloud, &config, &e))
        sim_fail(e.text);
    for (int i = 0; i < MODELS; i++)
        CHECK(!cloud_add_model(cloud, &model_name[i], 1, &i_model_of[i], &e));
    for (int i = 0; i < SUPPLIERS; i++) {
        struct sim_supplier *s = &supplier[i];
        CHECK(!cloud_add_offer(cloud, i_model_of[s->i_model], &s->s, &e));
        s->is_offered = 1;
        s->asked_until_us = 0; /* nobody remembers */
        s->serial = 0;
    }
}

/* The process ends: those under way are lost, and what was not written may be. */
static void die(int with_power)
{
    int64_t n_lost;

    for (struct request *r = request; r < request + REQUESTS; r++) {
        if (r->at)
            leave(r);
    }
    if (with_power) {
        fake_disk_crash(seed + n_drawn);
        fake_disk_fail(FAKE_DEAD, 0, -1); /* nothing more of this life reaches it */
    }
    n_lost = cloud_close(cloud);
    fake_disk_heal();
    cloud = NULL;
    sim_judge(with_power ? -1 : n_lost);
}

/* Time passes for sites. */
static void tick_sites(void)
{
    struct site_view v;

    ticked_us = clock_wall_us();
    cloud_tick_sites(cloud, ticked_us);
    for (int i = 0; i < SITES; i++) {
        CHECK(!cloud_view_site(cloud, ticked_us / S, site_terms[i].name, &v));
        if (v.factor_ppm != factor_of(i))
            sim_fail("the factor of a site is not the lowest of what is said");
        n_offline += v.state == LIFECYCLE_OFFLINE;
        n_curtailed += v.curtailed.now.phase != CURTAIL_NONE;
    }
}

static void live_on(void)
{
    int64_t written, settled, held, own_settled, own_held;
    struct cloud_stats st;

    cloud_step(cloud, clock_now_us());
    cloud_stats(cloud, &st);
    written = st.rows_written;
    sim_written(written);
    cloud_tell_wall(cloud, clock_now_us(), clock_wall_us());
    tick_sites();
    cloud_enforced(cloud, OF_TOKENS, clock_now_us(), &settled, &held);
    sim_enforced(&own_settled, &own_held);
    if (settled != own_settled || held != own_held)
        sim_fail("what budgets count is not what was settled and is held");
    cloud_enforced(cloud, OF_MONEY, clock_now_us(), &settled, &held);
    if (settled + held > SIM_MONEY)
        sim_fail("a budget of money is overshot");
    cloud_enforced(cloud, OF_ENERGY, clock_now_us(), &settled, &held);
    sim_enforced_energy(&own_settled, &own_held);
    if (settled != own_settled || held != own_held)
        sim_fail("what budgets of energy count is not what was settled and is held");
}

static void go_wrong(void)
{
    switch (below(10)) {
    case 0:
        fake_disk_fail((enum fake_fault)below(FAKE_DEAD), below(20), 1 + below(6));
        break;
    case 1:
        fake_disk_heal();
        break;
    case 2:
        if (chance(80))
            break;
        die(chance(70));
        open_cloud();
        break;
    case 3: /* somebody sets the clock */
        if (chance(10))
            fake_clock_set(clock_now_us(), clock_wall_us() + (below(7200) - 3600) * S);
        break;
    case 4:
        sim_correct(below(1 << 20), below(1000000), below(1000000));
        break;
    case 5:
        sim_prune(below(1 << 20), chance(50));
        break;
    case 6:
        change_a_site();
        break;
    default:
        change_a_supplier();
    }
}

/* ---- the world ------------------------------------------------------------------------------- */

static struct request *next_to_end(void)
{
    struct request *first = NULL;

    for (struct request *r = request; r < request + REQUESTS; r++) {
        if (r->at && (!first || r->end_us < first->end_us))
            first = r;
    }
    return first;
}

static void pass_until(int64_t us)
{
    if (us > clock_now_us())
        fake_clock_pass(us - clock_now_us());
}

static uint64_t live(uint64_t s)
{
    int64_t arrival, trouble, end_us;

    seed = s;
    n_drawn = 0;
    memset(request, 0, sizeof request);
    fake_disk_reset();
    fake_rand_seed(s);
    fake_clock_set(5 * S, START + (s % 2 ? MIDNIGHT - WORLD_US / 2 : 0));
    sim_begin();
    make_suppliers();
    open_cloud();
    arrival = trouble = clock_now_us();
    end_us = clock_now_us() + WORLD_US;
    while (clock_now_us() < end_us) {
        struct request *r = next_to_end();
        int64_t first = arrival < trouble ? arrival : trouble;
        if (r && r->end_us <= first) {
            pass_until(r->end_us);
            end(r);
        } else if (arrival <= trouble) {
            pass_until(arrival);
            arrive();
            arrival = clock_now_us() + below(chance(30) ? 50000 : 3 * S);
        } else {
            pass_until(trouble);
            go_wrong();
            trouble = clock_now_us() + below(20 * S);
        }
        live_on();
    }
    fake_disk_heal();
    die(0);
    return sim_sum();
}

int main(int argc, char **argv)
{
    uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    uint64_t n = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;

    log_setup(LOG_OFF, 0);
    for (uint64_t s = first; s < first + n; s++) {
        uint64_t sum = live(s);
        if (s == first && live(s) != sum)
            sim_fail("the same seed led to another world");
    }
    for (int i = 0; n >= 10 && i < EXCEEDS; i++) {
        if (!n_exceeded[i])
            sim_fail("nothing went on after its limits refused it");
    }
    if (n >= 10 && (!n_dedicated || !n_closed))
        sim_fail("no dedicated site served, or none was closed");
    if (n >= 10 && (!n_offline || !n_curtailed))
        sim_fail("no site was offline by its dates, or none was curtailed");
    if (n >= 10 && !n_risked)
        sim_fail("no estimate was learned");
    printf("ok 1 - the cloud, seeds %llu to %llu\n1..1\n", (unsigned long long)first,
           (unsigned long long)(first + n - 1));
    return 0;
}
