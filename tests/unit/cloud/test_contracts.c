/* Contracts in admission: whose requests are within one, where, until when, and what becomes of the
 * others. The clock is the test's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cloud/accounts.h"
#include "cloud/cloud.h"

#define S      INT64_C(1000000)
#define WALL_S INT64_C(1798761600) /* 2027-01-01 */
#define DAY_S  86400

static char dir[64], store[96], books[96], key[2][ACCOUNTS_KEY_MAX];
static struct cloud *cloud;
static int64_t now_us;

static struct {
    int32_t inside;
} busy[3];

static int index_of(const struct supplier *s);

static void ready(const struct supplier *s, struct load *ret)
{
    *ret =
        (struct load){.state = SUPPLIER_READY, .capacity = 4, .n_inside = busy[index_of(s)].inside};
}

static struct {
    int32_t n, unlent_ppm;
} at_fra; /* what it was told to keep */

static void keep(struct supplier *s, int32_t n, int32_t unlent_ppm)
{
    if (index_of(s))
        return;
    at_fra.n = n;
    at_fra.unlent_ppm = unlent_ppm;
}

static const struct supplier_ops ops = {.load = ready, .keep = keep};
static struct supplier at[3] = {{.ops = &ops, .id = "a/m", .terms = {.site = "fra"}},
                                {.ops = &ops, .id = "b/m", .terms = {.site = "osl"}},
                                {.ops = &ops, .id = "c/m"}};

static int index_of(const struct supplier *s)
{
    return (int)(s - at);
}

static const struct power_row power[] = {{POWER_ALWAYS, POWER_UNKNOWN, 1000000, 0},
                                         {WALL_S + DAY_S, POWER_UNKNOWN, 4000000, 0}};
static const struct site_terms terms[] = {{.name = "fra",
                                           .region = "eu",
                                           .state = LIFECYCLE_ACTIVE,
                                           .factor_ppm = 1000000,
                                           .power = power,
                                           .n_power = 2,
                                           .carbon_mg = {-1, -1}},
                                          {.name = "osl",
                                           .region = "no",
                                           .state = LIFECYCLE_ACTIVE,
                                           .factor_ppm = 1000000,
                                           .carbon_mg = {-1, -1}}};
static const struct cloud_sites sites = {terms, 2};
static const struct price list[] = {{.side = PRICE_SELL,
                                     .tier = -1,
                                     .uncached = 1000000,
                                     .cache_read = -1,
                                     .cache_write = -1,
                                     .output = 2000000,
                                     .reasoning = -1}};
static const struct cloud_prices prices = {.list = list, .n = 1};

/* 10 tokens a second at fra, 5 at osl: buckets of 600 and 300. */
static const char *const plain =
    "contract: c1\nsigned: 2026-01-01\nfrom: 2026-02-01\n"
    "until: 2030-01-01\ncurrency: EUR\nsupplier: {name: us}\n"
    "customer: {name: acme, tenants: [acme]}\nspillover: %s\n%s"
    "tranches:\n  - {name: big, mw: 0.75, site: fra, target: 2026-02-01,"
    " delivered: 2026-02-01, tokens_per_second: 10, price: 5}\n"
    "  - {name: small, mw: 0.25, region: no, target: 2026-02-01,"
    " delivered: %s, tokens_per_second: 5, concurrency: 2, price: 5}\n";
#define PAID "spillover_input: 3\nspillover_output: 7\n"

static void make_tenant(struct accounts *a, int i, const char *name)
{
    const struct account_who who = {"test", WALL_S};
    struct err e = {0};

    assert_int_equal(accounts_new(a, &who, ACCOUNT_TENANT, name, NULL, 0, &e), 0);
    assert_int_equal(accounts_new_key(a, &who, name, name, NULL, NULL, 0, key[i], &e), 0);
}

struct amendment {
    const char *text;
    int64_t effective_s;
};

static int amend(void *arg, struct accounts *a, struct err *e)
{
    const struct amendment *m = arg;
    const struct account_who who = {"test", WALL_S};
    struct contract_version v = {
        .name = "text", .text = m->text, .reason = "", .effective_s = m->effective_s};

    return accounts_amend(a, &who, &v, e);
}

static void put_contract(const char *text, int64_t effective_s)
{
    struct amendment m = {text, effective_s};
    struct err e = {0};

    if (cloud_with_accounts(cloud, now_us, amend, &m, &e))
        fail_msg("%s", e.text);
}

static const char *text_of(const char *spillover, const char *more, const char *delivered)
{
    static char text[2000];

    snprintf(text, sizeof text, plain, spillover, more, delivered);
    return text;
}

static void at_time(int64_t us)
{
    now_us = us;
    cloud_tell_wall(cloud, us, WALL_S * S + us);
    cloud_sync_accounts(cloud, us);
}

static int setup_with(const struct cloud_borrow *borrow)
{
    const struct cloud_config config = {.accounts_path = store,
                                        .borrow = *borrow,
                                        .ledger_path = books,
                                        .sites = &sites,
                                        .prices = &prices,
                                        .currency = "EUR",
                                        .waiting_max = 4,
                                        .now_us = S,
                                        .wall_us = WALL_S * S + S};
    static const char *const name = "m", *const other = "elsewhere";
    struct accounts *a;
    struct err e = {0};
    int m;

    now_us = S;
    memset(busy, 0, sizeof busy);
    strcpy(dir, "/tmp/gaufre-contracts-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(store, sizeof store, "%s/accounts.db", dir);
    snprintf(books, sizeof books, "%s/ledger.db", dir);
    assert_int_equal(accounts_open(&a, store, &e), 0);
    make_tenant(a, 0, "acme");
    make_tenant(a, 1, "other");
    accounts_close(a);
    assert_int_equal(cloud_open(&cloud, &config, &e), 0);
    assert_int_equal(cloud_add_model(cloud, &name, 1, &m, &e), 0);
    assert_int_equal(cloud_add_model(cloud, &other, 1, &m, &e), 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(cloud_add_offer(cloud, 0, &at[i], &e), 0);
    assert_int_equal(cloud_add_offer(cloud, 1, &at[2], &e), 0);
    return 0;
}

static int setup(void **state)
{
    (void)state;
    return setup_with(&(struct cloud_borrow){0});
}

static int setup_borrow(void **state)
{
    (void)state;
    return setup_with(&(struct cloud_borrow){1u << TIER_DEFAULT, {[TIER_DEFAULT] = 500000}});
}

static int teardown(void **state)
{
    char cmd[128];

    (void)state;
    cloud_close(cloud);
    snprintf(cmd, sizeof cmd, "rm -r %s", dir);
    return system(cmd);
}

static int enter(int who, struct cloud_ticket *t)
{
    struct err e = {0};

    return cloud_enter(cloud, now_us,
                       &(struct cloud_caller){.key = key[who], .n_key = strlen(key[who])}, t, &e);
}

/* One that needs so many tokens of output; it stays. */
static int begin(int who, const char *model, int64_t n, struct cloud_ticket *t, struct err *e)
{
    const struct cloud_want w = {
        .model = model, .tier = TIER_DEFAULT, .n_prompt = 1, .n_output = n};
    const struct cloud_ask ask = {.model = model, .tier = TIER_DEFAULT, .n_prompt = 1};
    int32_t at_once;
    int r;

    *e = (struct err){0};
    assert_int_equal(enter(who, t), 0);
    r = cloud_route(cloud, now_us, &w, t, e);
    if (!r)
        r = cloud_admit(cloud, 1, 1, 0, t, &at_once, e);
    return r ? r : cloud_reserve(cloud, now_us, t, &ask, n + 1, e);
}

static void end(struct cloud_ticket *t, int64_t n_output)
{
    static int n;
    char id[32];

    snprintf(id, sizeof id, "r%d", n++);
    cloud_settle(cloud, now_us, t,
                 &(struct cloud_use){.request_id = id,
                                     .model = "m",
                                     .supplier = t->offer->sup->id,
                                     .tier = (enum tier)t->asked.tier,
                                     .prompt_tokens = 1,
                                     .completion_tokens = n_output,
                                     .status = 200,
                                     .at_us = WALL_S * S + now_us});
}

/* One from its beginning to its end: what its client is told; NULL: it was refused. */
static const char *one(int who, int64_t n)
{
    static char text[CLOUD_CLAIM_MAX];
    struct cloud_ticket t;
    struct err e;
    int r = begin(who, "m", n, &t, &e);

    cloud_claim_text(&t, text);
    if (!r)
        end(&t, n);
    else
        cloud_leave(cloud, now_us, &t, 0);
    return r ? NULL : text;
}

static void refused_above(void **state)
{
    struct cloud_ticket t;
    struct err e;
    char text[CLOUD_CLAIM_MAX];

    (void)state;
    put_contract(text_of("reject", "", "2026-02-01"), 0);
    assert_string_equal(one(0, 600), "c1/big"); /* all that is saved up */
    assert_string_equal(one(0, 300), "c1/small");
    assert_int_equal(begin(0, "m", 10, &t, &e), ERR_ABOVE_CONTRACT);
    assert_non_null(strstr(e.text, "c1"));
    assert_in_range(t.retry_us, 1, S + 1); /* ten tokens are there again in a second */
    assert_string_equal(cloud_claim_text(&t, text), "c1; spillover=reject");
    cloud_leave(cloud, now_us, &t, 0);
    assert_string_equal(one(1, 600), ""); /* others are not concerned */
    at_time(now_us + 10 * S);
    assert_string_equal(one(0, 100), "c1/big");
    at_time(now_us + 600 * S);
    assert_string_equal(one(0, 5000), "c1/big"); /* what is larger than all waits till it is full */
    assert_string_equal(one(0, 300), "c1/small");
    assert_null(one(0, 1));
    /* A model that none of its sites offers it does not cover. */
    assert_int_equal(begin(0, "elsewhere", 9, &t, &e), 0);
    assert_string_equal(cloud_claim_text(&t, text), "");
    assert_false(cloud_goes_first(&t));
    end(&t, 9);
}

static int64_t charged(const char *tenant)
{
    struct cloud_tenant_view v[8];
    int n_all, n = cloud_view_tenants(cloud, now_us, v, 8, &n_all);

    for (int i = 0; i < n; i++) {
        if (!strcmp(v[i].id, tenant))
            return v[i].charge_nano;
    }
    return 0;
}

static void paid_above(void **state)
{
    struct cloud_contract_view v;
    struct cloud_ticket t;
    struct err e;

    (void)state;
    put_contract(text_of("pay", PAID, "2026-02-01"), 0);
    assert_string_equal(one(0, 600), "c1/big");
    assert_string_equal(one(0, 300), "c1/small");
    assert_int_equal(charged("acme"), 0); /* the fee pays for it */
    assert_string_equal(one(0, 100), "c1; spillover=pay");
    assert_int_equal(charged("acme"), 3 * 1000 + 100 * 7 * 1000); /* a token: 3000 and 7000 nano */
    assert_string_equal(one(1, 100), "");
    assert_int_equal(charged("other"), 1 + 100 * 2);
    assert_int_equal(begin(0, "m", 50, &t, &e), 0);
    assert_int_equal(t.asked.tier, TIER_DEFAULT);
    assert_false(cloud_goes_first(&t));
    cloud_leave(cloud, now_us, &t, 0);
    assert_int_equal(cloud_view_contract(cloud, "c1", &v), 0);
    assert_int_equal(v.tokens, 902);
    assert_int_equal(v.tokens_paid, 101);
    assert_int_equal(v.n_requests, 2);
    assert_int_equal(v.rate, 15000);
    assert_string_equal(v.basis, "declared");
    assert_int_equal(cloud_view_contract(cloud, "c2", &v), ERR_NOTFOUND);
}

static void borrowed_above(void **state)
{
    struct cloud_ticket t;
    struct err e;
    char text[CLOUD_CLAIM_MAX];

    (void)state;
    put_contract(text_of("borrow", "", "2026-02-01"), 0);
    assert_int_equal(begin(0, "m", 600, &t, &e), 0);
    assert_true(cloud_goes_first(&t));
    end(&t, 600);
    assert_string_equal(one(0, 300), "c1/small");
    assert_int_equal(begin(0, "m", 100, &t, &e), 0);
    assert_string_equal(cloud_claim_text(&t, text), "c1; spillover=borrow");
    assert_int_equal(t.asked.tier, TIER_FLEX);
    assert_true(t.claim.is_lent);
    end(&t, 100);
}

/* A tranche has a number of sequences. */
static void seats(void **state)
{
    struct cloud_ticket big, t[3];
    struct err e;
    char text[CLOUD_CLAIM_MAX];

    (void)state;
    put_contract(text_of("reject", "", "2026-02-01"), 0);
    assert_int_equal(begin(0, "m", 600, &big, &e), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(begin(0, "m", 10, &t[i], &e), 0);
        assert_string_equal(cloud_claim_text(&t[i], text), "c1/small");
    }
    assert_int_equal(begin(0, "m", 10, &t[2], &e), ERR_ABOVE_CONTRACT);
    cloud_leave(cloud, now_us, &t[2], 0);
    end(&t[0], 10);
    assert_int_equal(begin(0, "m", 10, &t[2], &e), 0);
    end(&t[2], 10);
    end(&t[1], 10);
    end(&big, 3); /* what it did not need comes back */
    assert_string_equal(one(0, 590), "c1/big");
}

/* What one site has no place for goes to the other; of none is left what is above. */
static void derated_sites(void **state)
{
    struct cloud_contract_view v;
    struct cloud_ticket t;
    struct err e;

    (void)state;
    put_contract(text_of("reject", "", "2026-02-01"), 0);
    cloud_tell_site_factor(cloud, "fra", 500000, NULL); /* it has no factor file: nothing happens */
    assert_int_equal(cloud_view_contract(cloud, "c1", &v), 0);
    assert_int_equal(v.rate, 15000);
    assert_int_equal(cloud_order_site(cloud, now_us, &(struct account_who){"test", WALL_S}, "fra",
                                      &(struct site_order){SITE_KEEP, 500000}, &e),
                     0);
    assert_int_equal(cloud_view_contract(cloud, "c1", &v), 0);
    assert_int_equal(v.rate, 10000);
    assert_int_equal(v.full, 15000);
    assert_int_equal(cloud_order_site(cloud, now_us, &(struct account_who){"test", WALL_S}, "fra",
                                      &(struct site_order){SITE_KEEP, 0}, &e),
                     0);
    assert_string_equal(one(0, 300), "c1/small");
    assert_int_equal(begin(0, "m", 10, &t, &e), ERR_ABOVE_CONTRACT);
    cloud_leave(cloud, now_us, &t, 0);
    assert_int_equal(cloud_order_site(cloud, now_us, &(struct account_who){"test", WALL_S}, "fra",
                                      &(struct site_order){SITE_KEEP, -1}, &e),
                     0);
    assert_string_equal(one(0, 10), "c1/big");
}

/* Amendments and dates take effect as they come. */
static void time_passes(void **state)
{
    struct cloud_contract_view v;

    (void)state;
    assert_string_equal(one(0, 10), "");
    put_contract(text_of("reject", "", "2027-01-03"), 0);
    assert_int_equal(cloud_view_contract(cloud, "c1", &v), 0);
    assert_int_equal(v.rate, 10000);
    put_contract(text_of("pay", PAID, "2027-01-03"), WALL_S + DAY_S); /* tomorrow */
    assert_string_equal(one(0, 600), "c1/big");
    assert_null(one(0, 5));
    at_time(DAY_S * S - 1);
    assert_string_equal(one(0, 600), "c1/big");
    assert_null(one(0, 5));
    at_time(DAY_S * S);
    assert_string_equal(one(0, 5), "c1; spillover=pay");
    at_time(2 * DAY_S * S); /* the second tranche is delivered */
    assert_int_equal(cloud_view_contract(cloud, "c1", &v), 0);
    assert_int_equal(v.rate, 15000);
    at_time((WALL_S + 4 * 365 * DAY_S - WALL_S) * S); /* the contract is over */
    assert_int_equal(cloud_view_contract(cloud, "c1", &v), ERR_NOTFOUND);
    assert_string_equal(one(0, 5), "");
}

/* A tenant of two contracts is of the older one; one without a rate takes no part. */
static void two_contracts(void **state)
{
    char text[2000], *from;

    (void)state;
    put_contract(text_of("reject", "", "2026-02-01"), 0);
    snprintf(text, sizeof text, "%s", text_of("pay", PAID, "2026-02-01"));
    memcpy(strstr(text, "c1"), "a0", 2);
    from = strstr(text, "from: 2026-02-01");
    memcpy(from, "from: 2026-01-15", 16);
    put_contract(text, 0);
    assert_string_equal(one(0, 5), "a0/big");
    for (char *p; (p = strstr(text, "tokens_per_second: "));)
        memcpy(p, "concurrency:       ", 19);
    /* Named twice now in the second tranche: leave one. */
    assert_non_null(strstr(text, "concurrency: 2, "));
    memcpy(strstr(text, "concurrency: 2, "), "                ", 16);
    put_contract(text, 0);
    assert_string_equal(one(0, 5), "c1/big");
}

/* Three quarters of fra's power is sold: one of its four places is others' own. */
static void lending(void **state)
{
    struct cloud_ticket t[2], mine;
    struct cloud_contract_view v;
    struct err e;

    (void)state;
    put_contract(text_of("reject", "", "2026-02-01"), 0);
    assert_int_equal(begin(1, "m", 10, &t[0], &e), 0);
    assert_ptr_equal(t[0].offer->sup, &at[0]);
    assert_false(t[0].claim.is_lent);
    busy[0].inside = 1;
    busy[1].inside = 4;
    assert_int_equal(begin(1, "m", 10, &t[1], &e), 0);
    assert_ptr_equal(t[1].offer->sup, &at[0]);
    assert_true(t[1].claim.is_lent);
    end(&t[1], 10);
    end(&t[0], 10);
    assert_int_equal(cloud_view_contract(cloud, "c1", &v), 0);
    assert_int_equal(v.tokens_lent, 11);
    /* A contract's own work is none of the others'. */
    assert_int_equal(begin(0, "m", 10, &mine, &e), 0);
    assert_ptr_equal(mine.offer->sup, &at[0]);
    assert_int_equal(begin(1, "m", 10, &t[0], &e), 0);
    assert_false(t[0].claim.is_lent);
    end(&t[0], 10);
    end(&mine, 10);
    /* A day later there is four times the power, and three of four places are others'. */
    busy[0].inside = 2;
    assert_int_equal(begin(1, "m", 10, &t[0], &e), 0);
    assert_true(t[0].claim.is_lent);
    end(&t[0], 10);
    at_time(DAY_S * S);
    assert_int_equal(begin(1, "m", 10, &t[0], &e), 0);
    assert_false(t[0].claim.is_lent);
    end(&t[0], 10);
}

/* A contract that may borrow a tenth of its 10 + 5 tokens a second more: 90 of a minute. */
static void borrow_has_a_limit(void **state)
{
    struct cloud_ticket t;
    struct err e;

    (void)state;
    put_contract(text_of("borrow", "borrow: 0.1\n", "2026-02-01"), 0);
    assert_string_equal(one(0, 600), "c1/big");
    assert_string_equal(one(0, 300), "c1/small");
    assert_int_equal(begin(0, "m", 50, &t, &e), 0);
    assert_int_equal(t.claim.n_borrowed, 50);
    end(&t, 30); /* what it did not need comes back */
    assert_string_equal(one(0, 60), "c1; spillover=borrow");
    assert_int_equal(begin(0, "m", 20, &t, &e), ERR_ABOVE_CONTRACT);
    assert_in_range(t.retry_us, 1, 15 * S);
    cloud_leave(cloud, now_us, &t, 0);
    assert_string_equal(one(1, 20), ""); /* others are not concerned */
    put_contract(text_of("borrow", "", "2026-02-01"), 0);
    assert_string_equal(one(0, 500), "c1; spillover=borrow");
}

/* Who is on whose power when two of the four places of a site are not lent. */
static void lending_has_a_limit(void **state)
{
    struct cloud_ticket t[3];
    struct cloud_contract_view v;
    struct err e;

    (void)state;
    busy[1].inside = 4;
    put_contract(text_of("reject", "lend: 0.4\n", "2026-02-01"), 0);
    assert_int_equal(at_fra.unlent_ppm, 450000); /* 0.6 of three quarters of its power */
    assert_int_equal(begin(1, "m", 10, &t[0], &e), 0);
    busy[0].inside = 1;
    assert_int_equal(begin(1, "m", 10, &t[1], &e), 0);
    assert_true(t[1].claim.is_lent);
    assert_non_null(t[1].claim.lender);
    end(&t[1], 10);
    put_contract(text_of("reject", "lend: 0\n", "2026-02-01"), 0);
    assert_int_equal(at_fra.unlent_ppm, 750000);
    assert_int_equal(begin(1, "m", 10, &t[1], &e), 0);
    assert_null(t[1].claim.lender); /* who lends nothing is nobody's lender */
    end(&t[1], 10);
    end(&t[0], 10);
    assert_int_equal(cloud_view_contract(cloud, "c1", &v), 0);
    assert_int_equal(v.tokens_lent, 11);
    put_contract(text_of("reject", "", "2026-02-01"), 0);
    assert_int_equal(at_fra.unlent_ppm, 0);
}

static const char *const last_resort =
    "contract: last\nsigned: 2026-01-01\nfrom: 2026-02-01\nuntil: 2030-01-01\ncurrency: EUR\n"
    "supplier: {name: us}\ncustomer: {name: acme, tenants: [acme]}\nbackstop: {yearly_mwh: 5}\n"
    "tranches:\n  - {name: a, mw: 2, site: fra, target: 2026-02-01, delivered: 2026-02-01,"
    " price: 5}\n";

/* A buyer of last resort: its work is served last and for nothing, until its caps are reached. */
static void last_of_all(void **state)
{
    struct cloud_contract_view v;
    struct cloud_ticket t;
    struct err e;

    (void)state;
    put_contract(last_resort, 0);
    assert_int_equal(begin(0, "m", 10, &t, &e), 0);
    assert_ptr_equal(t.offer->sup, &at[0]);
    assert_int_equal(t.asked.tier, TIER_BATCH);
    assert_false(cloud_goes_first(&t) || t.claim.is_lent);
    end(&t, 10);
    assert_int_equal(charged("acme"), 0);
    assert_string_equal(one(0, 10), "last/a");
    assert_int_equal(at_fra.unlent_ppm, 0);                /* it has sold nothing */
    assert_int_equal(begin(0, "elsewhere", 9, &t, &e), 0); /* a model that none of its sites has */
    assert_int_equal(t.asked.tier, TIER_DEFAULT);
    end(&t, 9);
    assert_int_equal(charged("acme"), 1 + 2 * 9);
    assert_int_equal(cloud_view_contract(cloud, "last", &v), 0);
    assert_int_equal(v.n_requests, 2);
    cloud_note_spent(cloud, "last", WALL_S + DAY_S);
    assert_null(one(0, 10));
    assert_string_equal(one(1, 10), ""); /* others are not concerned */
    at_time(DAY_S * S);                  /* the next year */
    assert_string_equal(one(0, 10), "last/a");
}

/* A tier has half of the three places that are lent at fra, rounded up. */
static void tiers_have_a_limit(void **state)
{
    struct cloud_ticket t[3];
    struct cloud_stats s;
    struct err e;

    (void)state;
    put_contract(text_of("reject", "", "2026-02-01"), 0);
    busy[0].inside = 1;
    busy[1].inside = 4;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(begin(1, "m", 10, &t[i], &e), 0);
        assert_true(t[i].claim.is_lent);
    }
    assert_int_equal(begin(1, "m", 10, &t[2], &e), ERR_QUEUE_FULL);
    assert_non_null(strstr(e.text, "tier default"));
    cloud_leave(cloud, now_us, &t[2], 0);
    end(&t[0], 10);
    assert_int_equal(begin(1, "m", 10, &t[0], &e), 0);
    assert_int_equal(begin(0, "m", 10, &t[2], &e), 0); /* within its contract none is borrowed */
    for (int i = 0; i < 3; i++)
        end(&t[i], 10);
    cloud_stats(cloud, &s);
    assert_int_equal(s.refused_borrow, 1);
}

/* Within a contract nobody's queue keeps a request out. */
static void full_queue(void **state)
{
    struct cloud_ticket t, first;
    struct err e;

    (void)state;
    put_contract(text_of("reject", "", "2026-02-01"), 0);
    assert_int_equal(begin(0, "m", 10, &first, &e), 0);
    busy[0].inside = busy[1].inside = 1000;
    assert_int_equal(begin(0, "m", 10, &t, &e), 0);
    assert_true(cloud_goes_first(&t));
    end(&t, 10);
    end(&first, 10);
}

static int measure(void *arg, struct accounts *a, struct err *e)
{
    const struct account_who who = {"test", WALL_S};
    struct measured_row row = {.signature = "", .public_key = ""};

    return accounts_measure(a, &who, arg, &row, e);
}

/* What was measured goes before what is declared: 30 J a token, so 0.75 MW make 25,000 a second. */
static void measured(void **state)
{
    struct measurement m = {.contract = "c1",
                            .site = "fra",
                            .engine = "another",
                            .from_s = 1000,
                            .until_s = 1060,
                            .method = ENERGY_RAPL,
                            .boundary = ENERGY_IT,
                            .n_rows = 1,
                            .n_levels = 1,
                            .concurrency = {4},
                            .row[0] = {.model = "m", .input = 100, .output = 20, .weight = 1}};
    struct cloud_contract_view v;
    struct err e = {0};
    char text[2100];

    (void)state;
    m.point[0][0] = (struct measurement_point){.requests = 5,
                                               .output_tokens = 100,
                                               .window_us = 10 * S,
                                               .window_tokens = 100,
                                               .energy_uj = 3000 * S,
                                               .uncertainty_permille = 50};
    snprintf(text, sizeof text, "%sbasket:\n  - {model: m, input: 100, output: 20}\n",
             text_of("reject", "", "2026-02-01"));
    put_contract(text, 0);
    assert_int_equal(cloud_with_accounts(cloud, now_us, measure, &m, &e), 0);
    assert_int_equal(cloud_view_contract(cloud, "c1", &v), 0);
    assert_int_equal(v.full, 25000000 + 5000); /* the other tranche has its own */
    assert_string_equal(v.basis, "measured");
    /* Where this process computes, only what this version makes counts. */
    at[0].id = "local/m";
    assert_int_equal(cloud_remove_offer(cloud, &at[0]), 0);
    assert_int_equal(cloud_add_offer(cloud, 0, &at[0], &e), 0);
    at_time(now_us + S);
    assert_int_equal(cloud_view_contract(cloud, "c1", &v), 0);
    assert_int_equal(v.full, 15000);
    assert_string_equal(v.basis, "declared");
    m.engine = GAUFRE_VERSION;
    m.from_s = 2000;
    m.until_s = 2060;
    assert_int_equal(cloud_with_accounts(cloud, now_us, measure, &m, &e), 0);
    assert_int_equal(cloud_view_contract(cloud, "c1", &v), 0);
    assert_int_equal(v.full, 25005000);
    at[0].id = "a/m";
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(refused_above, setup, teardown),
        cmocka_unit_test_setup_teardown(paid_above, setup, teardown),
        cmocka_unit_test_setup_teardown(borrowed_above, setup, teardown),
        cmocka_unit_test_setup_teardown(seats, setup, teardown),
        cmocka_unit_test_setup_teardown(derated_sites, setup, teardown),
        cmocka_unit_test_setup_teardown(time_passes, setup, teardown),
        cmocka_unit_test_setup_teardown(two_contracts, setup, teardown),
        cmocka_unit_test_setup_teardown(lending, setup, teardown),
        cmocka_unit_test_setup_teardown(borrow_has_a_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(lending_has_a_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(last_of_all, setup, teardown),
        cmocka_unit_test_setup_teardown(tiers_have_a_limit, setup_borrow, teardown),
        cmocka_unit_test_setup_teardown(measured, setup, teardown),
        cmocka_unit_test_setup_teardown(full_queue, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
