/* What admission costs a request with a store full of contracts: 1,000 contracts of 10 tranches
 * each at 100 sites, 64 suppliers of one model. Tenants ask by turns; each request enters, is
 * routed, admitted and left, first without contracts, then with them, then so that others borrow.
 *
 *     build/release/bench/admission/admission_bench [REQUESTS]
 *
 * It prints microseconds for a request, the median and the best of several rounds, and how long the
 * reading of the contracts took. Nothing is asserted: it is no test. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "cloud/accounts.h"
#include "cloud/cloud_int.h"

enum {
    SITES = 100,
    CONTRACTS = 1000,
    TRANCHES = 10,
    OFFERS = 64,
    TENANTS = CONTRACTS + 1,
    ROUNDS = 9
};
#define WALL_S INT64_C(1798761600)

static char names[SITES][16], ids[OFFERS][16], keys[TENANTS][ACCOUNTS_KEY_MAX];
static struct site_terms terms[SITES];
static const struct power_row power = {POWER_ALWAYS, POWER_UNKNOWN, 100000000, 0};
static struct supplier suppliers[OFFERS];

static void fail(const char *what, const struct err *e)
{
    fprintf(stderr, "%s: %s\n", what, e->text);
    exit(1);
}

static void ready(const struct supplier *s, struct load *ret)
{
    (void)s;
    *ret = (struct load){.state = SUPPLIER_READY, .capacity = 64, .n_inside = 8, .n_running = 8};
}

static const struct supplier_ops ops = {.load = ready};

static void make_tenants(struct accounts *a)
{
    const struct account_who who = {"bench", WALL_S};
    struct err e = {0};
    char name[32];

    for (int i = 0; i < TENANTS; i++) {
        snprintf(name, sizeof name, "t%d", i);
        if (accounts_new(a, &who, ACCOUNT_TENANT, name, NULL, 0, &e) ||
            accounts_new_key(a, &who, name, name, NULL, NULL, 0, keys[i], &e))
            fail("tenants", &e);
    }
}

static int make_contracts(void *arg, struct accounts *a, struct err *e)
{
    const struct account_who who = {"bench", WALL_S};
    static char text[8192];
    int r = 0;

    (void)arg;
    for (int i = 0; i < CONTRACTS && !r; i++) {
        struct contract_version v = {.name = "text", .text = text, .reason = ""};
        int n =
            snprintf(text, sizeof text,
                     "contract: c%d\nsigned: 2026-01-01\nfrom: 2026-02-01\nuntil: 2030-01-01\n"
                     "currency: EUR\nsupplier: {name: us}\ncustomer: {name: k, tenants: [t%d]}\n"
                     "tranches:\n",
                     i, i);
        for (int k = 0; k < TRANCHES; k++)
            n += snprintf(text + n, sizeof text - (size_t)n,
                          "  - {name: p%d, mw: 1, site: s%d, target: 2026-02-01,"
                          " delivered: 2026-02-01, tokens_per_second: 900000000, price: 5}\n",
                          k, (i + 7 * k) % SITES);
        r = accounts_amend(a, &who, &v, e);
    }
    return r;
}

/* A request's way; *n_within counts those within a contract. */
static void one(struct cloud *c, int i_tenant, int64_t now_us, int *n_within)
{
    static const struct cloud_want want = {
        .model = "m", .tier = TIER_DEFAULT, .n_prompt = 100, .n_output = 100};
    struct cloud_ticket t;
    struct err e = {0};
    int32_t at_once;

    if (cloud_enter(c, now_us,
                    &(struct cloud_caller){.key = keys[i_tenant], .n_key = strlen(keys[i_tenant])},
                    &t, &e) ||
        cloud_route(c, now_us, &want, &t, &e) || cloud_admit(c, 1, 1, 0, &t, &at_once, &e))
        fail("a request", &e);
    *n_within += t.claim.how == ENTITLED_WITHIN;
    cloud_leave(c, now_us, &t, 0);
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* i_tenant < 0: all of them by turns. */
static void measure(struct cloud *c, const char *what, int i_tenant, int n)
{
    double us[ROUNDS];
    int n_within = 0;

    for (int k = 0; k < ROUNDS; k++) {
        int64_t from = clock_now_us();
        for (int i = 0; i < n; i++)
            one(c, i_tenant < 0 ? i % CONTRACTS : i_tenant, from, &n_within);
        us[k] = (double)(clock_now_us() - from) / n;
    }
    qsort(us, ROUNDS, sizeof us[0], by_size);
    printf("%-48s %8.3f us a request, best %8.3f; %3.0f%% within a contract\n", what,
           us[ROUNDS / 2], us[0], 100.0 * n_within / ((double)n * ROUNDS));
}

/* What is done for contracts alone: to find the tenant's, to look at it for each of the offers, to
 * take a part of a tranche and to settle it. */
static void measure_alone(struct cloud *c, int n)
{
    double us[ROUNDS];

    for (int k = 0; k < ROUNDS; k++) {
        int64_t from = clock_now_us();
        for (int i = 0; i < n; i++) {
            struct contract_need need = {.n_tokens = 100, .n_seqs = 1, .now_us = from};
            char name[32];
            struct live_contract *l;
            struct tranche_use *u = NULL;
            struct quota_held held;
            int at = -1;
            snprintf(name, sizeof name, "t%d", i % CONTRACTS);
            l = contracts_find(&c->contracts, name);
            for (int s = 0; s < OFFERS; s++)
                at = contract_look(l, s, &need) == ROOM_THERE ? s : at;
            if (at >= 0)
                u = contract_take(l, at, &need, &held);
            if (u) {
                quota_settle(&u->tokens, held, 50, from);
                quota_leave(&u->n_inside, 1);
            }
            contracts_put(l);
        }
        us[k] = (double)(clock_now_us() - from) / n;
    }
    qsort(us, ROUNDS, sizeof us[0], by_size);
    printf("%-48s %8.3f us a request, best %8.3f\n", "of that for contracts, 64 offers looked at",
           us[ROUNDS / 2], us[0]);
}

static void make_sites(struct cloud_config *config, struct cloud_sites *sites)
{
    for (int i = 0; i < SITES; i++) {
        snprintf(names[i], sizeof names[i], "s%d", i);
        terms[i] = (struct site_terms){.name = names[i],
                                       .state = LIFECYCLE_ACTIVE,
                                       .factor_ppm = 1000000,
                                       .power = &power,
                                       .n_power = 1,
                                       .carbon_mg = {-1, -1}};
    }
    *sites = (struct cloud_sites){terms, SITES};
    config->sites = sites;
}

int main(int argc, char **argv)
{
    int n = argc > 1 ? atoi(argv[1]) : 20000;
    struct cloud_config config = {
        .waiting_max = 1000, .now_us = clock_now_us(), .wall_us = WALL_S * 1000000};
    static const char *const model = "m";
    char dir[] = "/tmp/gaufre-admission-XXXXXX", path[64];
    struct cloud_sites sites;
    struct cloud *c = NULL;
    struct accounts *a;
    struct err e = {0};
    int64_t from;
    int m;

    if (n < 1 || !mkdtemp(dir))
        return 2;
    snprintf(path, sizeof path, "%s/accounts.db", dir);
    config.accounts_path = path;
    make_sites(&config, &sites);
    if (accounts_open(&a, path, &e))
        fail("accounts", &e);
    make_tenants(a);
    accounts_close(a);
    if (cloud_open(&c, &config, &e) || cloud_add_model(c, &model, 1, &m, &e))
        fail("cloud", &e);
    for (int i = 0; i < OFFERS; i++) {
        snprintf(ids[i], sizeof ids[i], "f%d/m", i);
        suppliers[i] = (struct supplier){.ops = &ops, .id = ids[i], .terms = {.site = names[i]}};
        if (cloud_add_offer(c, m, &suppliers[i], &e))
            fail("offers", &e);
    }
    measure(c, "no contract", -1, n);
    from = clock_now_us();
    if (cloud_with_accounts(c, from, make_contracts, NULL, &e))
        fail("contracts", &e);
    printf("recording and reading %d contracts: %.1f s\n", CONTRACTS,
           (double)(clock_now_us() - from) / 1e6);
    measure(c, "1,000 contracts, all tenants by turns", -1, n);
    measure_alone(c, n);
    measure(c, "a tenant without one, on borrowed power", TENANTS - 1, n);
    for (int i = 0; i < OFFERS; i++)
        cloud_remove_offer(c, &suppliers[i]);
    cloud_close(c);
    unlink(path);
    snprintf(path, sizeof path, "rm -r %s", dir);
    return system(path) ? 1 : 0;
}
