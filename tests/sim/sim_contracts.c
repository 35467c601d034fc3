/* sim_contracts [SEED [N]]: contracts in admission, in a simulated world, for N seeds from SEED on.
 *
 * Tenants with contracts of every spillover rule, and one without, ask for work at four suppliers,
 * three of them at sites; sites are derated and opened, tranches begin and end as their days come,
 * contracts are amended at once and for later, the process ends and starts again. Clock, random
 * numbers and disk are the simulation's, all else is the production code.
 *
 * What must hold, whatever happens, by a reckoning of the simulation's own: a request for which a
 * tranche has room at an open site is within its contract, and one for which none has is not; what
 * is within costs nothing, what is above costs what the contract says, or is refused; the ledger
 * has of each contract and tranche the tokens that were served; and whoever ends gives back all. */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/disk.h"
#include "base/log.h"
#include "base/rand.h"
#include "cloud/accounts.h"
#include "cloud/cloud.h"
#include "fakes.h"

#define S       INT64_C(1000000)
#define START_S INT64_C(1798761600) /* 2027-01-01 */
#define DAY_S   86400
#define WINDOW  60.0 /* seconds that a tranche saves up */
#define SLACK   0.01 /* tokens that both reckonings may differ by */

enum {
    SITES = 3,
    SUPPLIERS = 4,
    CONTRACTS = 3,
    TENANTS = 4,
    TRANCHES = 3,
    REQUESTS = 12,
    STEPS = 1500
};

static uint64_t seed, n_drawn;
static int64_t n_within, n_above, n_refused; /* in all worlds */

static int64_t below(int64_t n)
{
    uint32_t r[4];

    rand_philox(seed, n_drawn++, 91, r);
    return (int64_t)(((uint64_t)r[0] << 32 | r[1]) % (uint64_t)n);
}

static int64_t wall_s(void)
{
    return clock_wall_us() / 1000000;
}

static void fail(const char *what)
{
    printf("not ok - seed %llu, %.3f s: %s\n", (unsigned long long)seed,
           (double)clock_now_us() / 1e6, what);
    exit(1);
}

static void must(int r, const struct err *e)
{
    if (r)
        fail(e->text);
}

/* ---- sites and suppliers --------------------------------------------------------------------- */

static const struct power_row power[SITES] = {{POWER_ALWAYS, POWER_UNKNOWN, 4000000, 0},
                                              {POWER_ALWAYS, POWER_UNKNOWN, 2000000, 0},
                                              {POWER_ALWAYS, POWER_UNKNOWN, 1000000, 0}};
#define SITE(i, its_name, its_region)                                                              \
    {                                                                                              \
        .name = its_name, .region = its_region, .state = LIFECYCLE_ACTIVE, .factor_ppm = 1000000,  \
        .has_factor_file = 1, .power = &power[i], .n_power = 1, .carbon_mg = {                     \
            -1,                                                                                    \
            -1                                                                                     \
        }                                                                                          \
    }
static const struct site_terms terms[SITES] = {SITE(0, "s0", "r0"), SITE(1, "s1", "r0"),
                                               SITE(2, "s2", "r1")};
static const struct cloud_sites sites = {terms, SITES};
static int32_t factor[SITES];

static void ready(const struct supplier *s, struct load *ret)
{
    (void)s;
    *ret = (struct load){.state = SUPPLIER_READY, .capacity = 8};
}

static const struct supplier_ops ops = {.load = ready};
static struct supplier supplier[SUPPLIERS] = {{.ops = &ops, .id = "a/m", .terms = {.site = "s0"}},
                                              {.ops = &ops, .id = "b/m", .terms = {.site = "s1"}},
                                              {.ops = &ops, .id = "c/m", .terms = {.site = "s2"}},
                                              {.ops = &ops, .id = "d/m"}};

/* ---- contracts, as they are reckoned here ---------------------------------------------------- */

struct tranche_of {
    unsigned sites; /* bits */
    int64_t rate;   /* tokens a second at full power */
    int64_t seats;  /* 0: any number */
    int64_t from_s, until_s;
    /* What is counted: */
    double owed_s; /* so long it takes until it has saved up all it can */
    double limit;  /* tokens a second, as it was when it had any */
    int64_t inside, tokens;
};

static struct contract_of {
    int rule; /* an enum contract_spillover */
    int n;
    struct tranche_of tranche[TRANCHES];
    int64_t later_s, later_rate[TRANCHES]; /* an amendment that is not in force yet; 0: none */
    double mean;                           /* of its answers */
    int64_t paid, borrowed, refused;
} contract[CONTRACTS];
static char key[TENANTS][ACCOUNTS_KEY_MAX];
static int64_t reckoned_us;

static int is_active(const struct tranche_of *t)
{
    return wall_s() >= t->from_s && wall_s() < t->until_s;
}

/* A contract takes part while a tranche of it is active. */
static int takes_part(const struct contract_of *c)
{
    for (int i = 0; i < c->n; i++) {
        if (is_active(&c->tranche[i]))
            return 1;
    }
    return 0;
}

/* By the factors of its sites, each with the weight of its power; to a thousandth of a token. */
static double rate_now(const struct tranche_of *t)
{
    int64_t sum = 0, all = 0;

    for (int i = 0; i < SITES; i++) {
        if (t->sites >> i & 1) {
            sum += power[i].energised_w * factor[i];
            all += power[i].energised_w;
        }
    }
    return (double)(t->rate * 1000 * (sum / all) / 1000000) / 1000;
}

/* Time has passed, or something has changed. What is owed in tokens stays when there is more a
 * second, and what is owed in time when there is less. */
static void reckon(void)
{
    double dt = (double)(clock_now_us() - reckoned_us) / 1e6;

    reckoned_us = clock_now_us();
    for (int k = 0; k < CONTRACTS; k++) {
        struct contract_of *c = &contract[k];
        if (c->later_s && wall_s() >= c->later_s) {
            for (int i = 0; i < c->n; i++)
                c->tranche[i].rate = c->later_rate[i];
            c->later_s = 0;
        }
        for (int i = 0; i < c->n; i++) {
            struct tranche_of *t = &c->tranche[i];
            /* The limit is in whole tokens of a window. */
            double now = (double)(int64_t)(rate_now(t) * WINDOW + 1e-7) / WINDOW;
            t->owed_s = t->owed_s > dt ? t->owed_s - dt : 0;
            if (!is_active(t) || now <= 0)
                continue;
            if (t->limit > 0 && now > t->limit)
                t->owed_s *= t->limit / now;
            t->limit = now;
        }
    }
}

static void write_contract(int k, const int64_t rate[TRANCHES], char *text, size_t cap)
{
    static const char *const rules[] = {"reject", "pay", "borrow"};
    const struct contract_of *c = &contract[k];
    int n = snprintf(text, cap,
                     "contract: c%d\nsigned: 2026-01-01\nfrom: 2026-02-01\nuntil: 2030-01-01\n"
                     "currency: EUR\nsupplier: {name: us}\ncustomer: {name: k%d, tenants: [t%d]}\n"
                     "spillover: %s\n%stranches:\n",
                     k, k, k, rules[c->rule],
                     c->rule == SPILL_PAY ? "spillover_input: 3\nspillover_output: 7\n" : "");

    for (int i = 0; i < c->n; i++) {
        const struct tranche_of *t = &c->tranche[i];
        int64_t from = (t->from_s - START_S) / DAY_S, until = (t->until_s - START_S) / DAY_S;
        n += snprintf(text + n, cap - (size_t)n,
                      "  - {name: p%d, mw: 0.5, %s, target: 2026-02-01, delivered: 2027-01-%02lld,"
                      " until: 2027-01-%02lld, tokens_per_second: %lld, concurrency: %lld,"
                      " price: 5}\n",
                      i,
                      t->sites == 1   ? "site: s0"
                      : t->sites == 2 ? "site: s1"
                      : t->sites == 4 ? "site: s2"
                                      : "region: r0",
                      (long long)from + 1, (long long)until + 1, (long long)rate[i],
                      (long long)t->seats);
    }
}

static void draw_contracts(void)
{
    static const unsigned places[] = {1, 2, 4, 3};

    memset(contract, 0, sizeof contract);
    for (int k = 0; k < CONTRACTS; k++) {
        struct contract_of *c = &contract[k];
        c->rule = k;
        c->n = 1 + (int)below(TRANCHES);
        for (int i = 0; i < c->n; i++) {
            struct tranche_of *t = &c->tranche[i];
            t->sites = places[below(4)];
            t->rate = 1 + below(below(2) ? 5 : 60);
            t->seats = below(3) ? 0 : 1 + below(4);
            t->from_s = START_S + below(4) * DAY_S;
            t->until_s = t->from_s + (1 + below(20)) * DAY_S;
        }
    }
}

/* ---- the cloud ------------------------------------------------------------------------------- */

static struct cloud *cloud;

static struct request {
    struct cloud_ticket t;
    int is_there, i_contract, n_seqs;
    struct tranche_of *tranche; /* NULL: none serves it */
    double held, limit;         /* tokens, by the limit of that time */
    int64_t prompt, most;
} request[REQUESTS];
static int64_t n_ids;

struct amendment {
    const char *text;
    int64_t effective_s;
};

static int amend(void *arg, struct accounts *a, struct err *e)
{
    const struct amendment *m = arg;
    const struct account_who who = {"sim", wall_s()};
    struct contract_version v = {
        .name = "text", .text = m->text, .reason = "", .effective_s = m->effective_s};

    return accounts_amend(a, &who, &v, e);
}

static void put_contract(int k, const int64_t rate[TRANCHES], int64_t effective_s)
{
    char text[4096];
    struct amendment m = {text, effective_s};
    struct err e = {0};

    write_contract(k, rate, text, sizeof text);
    must(cloud_with_accounts(cloud, clock_now_us(), amend, &m, &e), &e);
}

static void open_cloud(void)
{
    static const char *const model = "m";
    static const struct price list[] = {{.side = PRICE_SELL,
                                         .tier = -1,
                                         .uncached = 1000000,
                                         .cache_read = -1,
                                         .cache_write = -1,
                                         .output = 2000000,
                                         .reasoning = -1}};
    static const struct cloud_prices prices = {.list = list, .n = 1};
    const struct cloud_config config = {.accounts_path = "accounts.db",
                                        .ledger_path = "ledger.db",
                                        .sites = &sites,
                                        .prices = &prices,
                                        .currency = "EUR",
                                        .waiting_max = 100,
                                        .now_us = clock_now_us(),
                                        .wall_us = clock_wall_us()};
    struct err e = {0};
    int m;

    must(cloud_open(&cloud, &config, &e), &e);
    must(cloud_add_model(cloud, &model, 1, &m, &e), &e);
    for (int i = 0; i < SITES; i++)
        cloud_tell_site_factor(cloud, terms[i].name, factor[i], NULL);
    for (int i = 0; i < SUPPLIERS; i++)
        must(cloud_add_offer(cloud, m, &supplier[i], &e), &e);
    for (int k = 0; k < CONTRACTS; k++) { /* a process begins with all saved up */
        for (int i = 0; i < contract[k].n; i++)
            contract[k].tranche[i].owed_s = contract[k].tranche[i].limit = 0;
        contract[k].mean = 0;
    }
    cloud_sync_accounts(cloud, clock_now_us());
    reckon();
}

static void tick(void)
{
    cloud_tell_wall(cloud, clock_now_us(), clock_wall_us());
    cloud_sync_accounts(cloud, clock_now_us());
    for (int64_t wait; (wait = cloud_step(cloud, clock_now_us())) == 0;)
        ;
    reckon();
}

/* ---- requests -------------------------------------------------------------------------------- */

/* How much room it has, in tokens: what is beyond that waits. One that has saved up all it can has
 * any. */
static double room(const struct tranche_of *t, int n_seqs)
{
    if (!is_active(t) || rate_now(t) <= 0 || (t->seats && t->inside + n_seqs > t->seats))
        return -1;
    return t->owed_s <= 0 ? 1e18 : (WINDOW - t->owed_s) * t->limit;
}

/* The most that any tranche has at an open site; < 0: none has any. */
static double best_room(const struct contract_of *c, int n_seqs)
{
    double best = -1;

    for (int i = 0; i < c->n; i++) {
        for (int k = 0; k < SITES; k++) {
            double r =
                c->tranche[i].sites >> k & 1 && factor[k] ? room(&c->tranche[i], n_seqs) : -1;
            best = r > best ? r : best;
        }
    }
    return best;
}

static struct tranche_of *used(const struct request *r, struct contract_of *c)
{
    char text[CLOUD_CLAIM_MAX];
    const char *at = strchr(cloud_claim_text(&r->t, text), '/');

    return at && at[1] == 'p' ? &c->tranche[at[2] - '0'] : NULL;
}

static void check_above(const struct contract_of *c, const struct request *r, int code)
{
    if (c->rule == SPILL_REJECT && code != ERR_ABOVE_CONTRACT && code != ERR_SITE_CLOSED)
        fail("what is above the contract is not refused");
    if (c->rule != SPILL_REJECT && code)
        fail("what is above the contract is refused");
    if (c->rule == SPILL_BORROW && r->t.asked.tier != TIER_FLEX)
        fail("what is borrowed is not flex");
}

static void begin(void)
{
    struct request *r = &request[below(REQUESTS)];
    int i_tenant = (int)below(TENANTS), code;
    struct contract_of *c = i_tenant < CONTRACTS ? &contract[i_tenant] : NULL;
    struct cloud_want w = {.model = "m", .tier = TIER_DEFAULT};
    double best, n;
    int32_t at_once;
    struct err e = {0};

    if (r->is_there)
        return;
    *r = (struct request){.i_contract = c ? i_tenant : -1, .n_seqs = 1 + (int)below(2)};
    r->prompt = 1 + below(100);
    r->most = 1 + below(below(8) ? 200 : 5000);
    w.n_prompt = r->prompt;
    w.n_output = r->most;
    w.n_seqs = r->n_seqs;
    must(cloud_enter(cloud, clock_now_us(),
                     &(struct cloud_caller){.key = key[i_tenant], .n_key = strlen(key[i_tenant])},
                     &r->t, &e),
         &e);
    code = cloud_route(cloud, clock_now_us(), &w, &r->t, &e);
    if (c && takes_part(c)) { /* each of its sites offers the model */
        n = c->mean > 0 && c->mean < (double)r->most ? c->mean : (double)r->most;
        n = (double)r->prompt > n ? (double)r->prompt : n;
        best = best_room(c, r->n_seqs);
        r->tranche = used(r, c);
        if (best >= n + SLACK && (code || !r->tranche))
            fail("there is room in the contract, and it is not used");
        if (r->tranche && room(r->tranche, r->n_seqs) < n - SLACK)
            fail("a tranche serves more than it entitles to");
        if (!r->tranche)
            check_above(c, r, code);
        c->refused += code == ERR_ABOVE_CONTRACT;
        if (r->tranche) {
            r->held = n;
            r->limit = r->tranche->limit;
            r->tranche->owed_s += n / r->tranche->limit;
            r->tranche->inside += r->n_seqs;
        }
    } else if (r->t.claim.how != ENTITLED_NOT) {
        fail("a contract that takes no part does something");
    }
    if (!code)
        code = cloud_admit(cloud, 1, r->n_seqs, 0, &r->t, &at_once, &e);
    n_within += r->tranche != NULL;
    n_above += c && !r->tranche && !code;
    n_refused += code != 0;
    r->is_there = !code;
    if (code)
        cloud_leave(cloud, clock_now_us(), &r->t, 0);
}

static void give_back(struct request *r, double n)
{
    if (!r->tranche)
        return;
    if (r->tranche->limit > r->limit) /* what is owed has become less time */
        r->limit = r->tranche->limit;
    r->tranche->owed_s += (n - r->held) / r->limit;
    r->tranche->owed_s = r->tranche->owed_s > 0 ? r->tranche->owed_s : 0;
    r->tranche->inside -= r->n_seqs;
}

static void check_charge(const struct request *r, const struct cloud_use *u)
{
    int64_t want = u->prompt_tokens + u->completion_tokens * 2;
    struct receipt got;

    if (r->t.claim.how == ENTITLED_WITHIN)
        want = 0;
    else if (r->t.claim.how == ENTITLED_PAID)
        want = u->prompt_tokens * 3000 + u->completion_tokens * 7000;
    cloud_receipt(cloud, &r->t, u, &got);
    if (got.charge_nano != want)
        fail("it costs something else than it should");
}

static void end(struct request *r)
{
    struct contract_of *c = r->i_contract >= 0 ? &contract[r->i_contract] : NULL;
    int64_t n = 1 + below(r->most), all = r->prompt + n;
    char id[32];
    struct cloud_use u = {.request_id = id,
                          .model = "m",
                          .supplier = r->t.offer->sup->id,
                          .tier = (enum tier)r->t.asked.tier,
                          .prompt_tokens = r->prompt,
                          .completion_tokens = n,
                          .status = 200,
                          .at_us = clock_wall_us()};

    r->is_there = 0;
    if (!below(5)) { /* its client leaves before anything came */
        give_back(r, 0);
        cloud_leave(cloud, clock_now_us(), &r->t, 0);
        return;
    }
    snprintf(id, sizeof id, "r%lld", (long long)n_ids++);
    check_charge(r, &u);
    give_back(r, n > r->prompt ? (double)n : (double)r->prompt);
    if (r->tranche)
        r->tranche->tokens += all;
    if (c && r->t.claim.how == ENTITLED_PAID)
        c->paid += all;
    if (c && r->t.claim.how == ENTITLED_BORROWED)
        c->borrowed += all;
    if (c && r->t.claim.of) /* as the cloud rounds it */
        c->mean =
            c->mean > 0 ? (double)((int64_t)c->mean + (n - (int64_t)c->mean) / 16) : (double)n;
    if (c && c->mean < 1 && r->t.claim.of)
        c->mean = 1;
    cloud_settle(cloud, clock_now_us(), &r->t, &u);
}

/* ---- what happens ---------------------------------------------------------------------------- */

static void change_a_site(void)
{
    int i = (int)below(SITES);
    static const int32_t to[] = {0, 250000, 500000, 1000000};

    factor[i] = to[below(4)];
    cloud_tell_site_factor(cloud, terms[i].name, factor[i], NULL);
    reckon();
}

static void amend_one(void)
{
    int k = (int)below(CONTRACTS);
    struct contract_of *c = &contract[k];
    int64_t rate[TRANCHES] = {0};

    if (c->later_s) /* amendments follow each other */
        return;
    for (int i = 0; i < c->n; i++)
        rate[i] = 1 + below(60);
    if (below(2)) {
        c->later_s = wall_s() + 1 + below(DAY_S);
        memcpy(c->later_rate, rate, sizeof rate);
        put_contract(k, rate, c->later_s);
        return;
    }
    for (int i = 0; i < c->n; i++)
        c->tranche[i].rate = rate[i];
    put_contract(k, rate, 0);
    reckon();
}

static void end_all(void)
{
    for (int i = 0; i < REQUESTS; i++) {
        if (request[i].is_there)
            end(&request[i]);
    }
}

static void restart(void)
{
    end_all();
    for (int k = 0; k < CONTRACTS; k++) {
        struct cloud_contract_view v;
        if (cloud_view_contract(cloud, k == 0 ? "c0" : k == 1 ? "c1" : "c2", &v))
            continue;
        if (v.n_inside)
            fail("somebody has not given back a place");
    }
    if (cloud_close(cloud))
        fail("rows are lost");
    open_cloud();
}

static int64_t tokens_of(sqlite3 *db, int k, const char *tranche, int lent)
{
    char sql[256];
    sqlite3_stmt *st = NULL;
    int64_t n;

    snprintf(sql, sizeof sql,
             "SELECT COALESCE(SUM(prompt_tokens + completion_tokens), 0) FROM usage WHERE tenant ="
             " 't%d' AND lent = %d AND (%s)",
             k, lent, tranche);
    if (sqlite3_prepare_v2(db, sql, -1, &st, NULL) || sqlite3_step(st) != SQLITE_ROW)
        fail(sqlite3_errmsg(db));
    n = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    return n;
}

/* The ledger has what was served, by contract and tranche. */
static void check_ledger(void)
{
    sqlite3 *db = NULL;
    char where[96];

    if (sqlite3_open_v2("ledger.db", &db, SQLITE_OPEN_READWRITE, disk_vfs()))
        fail("the ledger cannot be read");
    for (int k = 0; k < CONTRACTS; k++) {
        for (int i = 0; i < contract[k].n; i++) {
            snprintf(where, sizeof where, "contract = 'c%d' AND tranche = 'p%d'", k, i);
            if (tokens_of(db, k, where, BOOKS_LENT_OWN) != contract[k].tranche[i].tokens)
                fail("the ledger has other tokens of a tranche than were served");
        }
        snprintf(where, sizeof where, "contract = 'c%d' AND tranche = ''", k);
        if (tokens_of(db, k, where, BOOKS_LENT_PAID) != contract[k].paid)
            fail("the ledger has other tokens above a contract than were paid");
        if (contract[k].rule == SPILL_BORROW &&
            tokens_of(db, k, "1", BOOKS_LENT_BORROWED) < contract[k].borrowed)
            fail("the ledger has fewer borrowed tokens than were");
    }
    sqlite3_close(db);
}

static void make_tenants(void)
{
    const struct account_who who = {"sim", wall_s()};
    struct accounts *a;
    struct err e = {0};
    char name[8];

    must(accounts_open(&a, "accounts.db", &e), &e);
    for (int i = 0; i < TENANTS; i++) {
        snprintf(name, sizeof name, "t%d", i);
        must(accounts_new(a, &who, ACCOUNT_TENANT, name, NULL, 0, &e), &e);
        must(accounts_new_key(a, &who, name, name, NULL, NULL, 0, key[i], &e), &e);
    }
    accounts_close(a);
}

static void world(void)
{
    n_drawn = 0;
    fake_disk_reset();
    fake_rand_seed(seed);
    fake_clock_set(5 * S, START_S * S);
    reckoned_us = clock_now_us();
    memset(request, 0, sizeof request);
    for (int i = 0; i < SITES; i++)
        factor[i] = 1000000;
    draw_contracts();
    make_tenants();
    open_cloud();
    for (int k = 0; k < CONTRACTS; k++) {
        int64_t rate[TRANCHES];
        for (int i = 0; i < TRANCHES; i++)
            rate[i] = contract[k].tranche[i].rate;
        put_contract(k, rate, 0);
    }
    reckon();
    for (int i = 0; i < STEPS; i++) {
        int what = (int)below(100);
        fake_clock_pass(below(50) ? below(below(4) ? 3 * S : 40 * S) : below(DAY_S) * S);
        tick();
        if (what < 60)
            begin();
        else if (what < 90 && request[what % REQUESTS].is_there)
            end(&request[what % REQUESTS]);
        else if (what < 95)
            change_a_site();
        else if (what < 98)
            amend_one();
        else if (what == 99 && !below(4))
            restart();
    }
    restart();
    cloud_close(cloud);
    check_ledger();
}

int main(int argc, char **argv)
{
    uint64_t from = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    uint64_t n = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;

    log_setup(LOG_OFF, 0);
    printf("1..1\n");
    for (seed = from; seed < from + n; seed++)
        world();
    if (n >= 10 && (!n_within || !n_above || !n_refused))
        fail("the worlds were too quiet");
    printf("ok 1 - %llu worlds: %lld requests within contracts, %lld above, %lld refused\n",
           (unsigned long long)n, (long long)n_within, (long long)n_above, (long long)n_refused);
    return 0;
}
