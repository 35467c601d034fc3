#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "cloud/cloud.h"

static char dir[64], keys[128], books[128];
static const struct cloud_ask no_price;

static int setup(void **state)
{
    strcpy(dir, "/tmp/gaufre-cloud-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(keys, sizeof keys, "%s/keys", dir);
    snprintf(books, sizeof books, "%s/ledger.db", dir);
    return 0;
}

static int teardown(void **state)
{
    char cmd[128];

    snprintf(cmd, sizeof cmd, "rm -r %s", dir);
    return system(cmd);
}

static int keep(void *arg, const struct books_balance *b)
{
    struct books_balance **at = arg;
    *(*at)++ = *b;
    return 0;
}

static int balances(struct books_balance out[8])
{
    struct books_balance *at = out;
    struct err e = {0};

    assert_int_equal(books_balances(books, keep, &at, &e), 0);
    return (int)(at - out);
}

static void settled_is_booked(void **state)
{
    struct cloud_config config = {.keys_path = NULL, .ledger_path = books};
    struct books_balance b[8];
    struct cloud_ticket t;
    struct cloud *c = NULL;
    struct err e = {0};
    char id[32];

    assert_int_equal(cloud_open(&c, &config, &e), 0);
    for (int i = 0; i < 250; i++) { /* more than one group */
        struct cloud_use u = {.request_id = id,
                              .model = "m",
                              .supplier = "local",
                              .prompt_tokens = 10,
                              .cached_tokens = 4,
                              .completion_tokens = i,
                              .status = 200};
        snprintf(id, sizeof id, "req-%d", i);
        /* Without keys a header does not matter. */
        assert_int_equal(
            cloud_enter(c, clock_now_us(),
                        &(struct cloud_caller){.key = i & 1 ? "some key" : NULL, .n_key = 8}, &t,
                        &e),
            0);
        assert_string_equal(t.tenant, "default");
        assert_int_equal(cloud_reserve(c, clock_now_us(), &t, &no_price, 1000, &e), 0);
        cloud_settle(c, clock_now_us(), &t, &u);
        assert_int_equal(t.i_tenant, -1);
    }
    assert_int_equal(cloud_enter(c, clock_now_us(), &(struct cloud_caller){.key = NULL}, &t, &e),
                     0);
    cloud_leave(c, clock_now_us(), &t, 0); /* costs nothing, books nothing */
    cloud_leave(c, clock_now_us(), &t, 0);
    cloud_close(c); /* writes what is left */
    assert_int_equal(balances(b), 1);
    assert_string_equal(b[0].tenant, "default");
    assert_int_equal(b[0].n_requests, 250);
    assert_int_equal(b[0].prompt_tokens, 2500);
    assert_int_equal(b[0].cached_tokens, 1000);
    assert_int_equal(b[0].completion_tokens, 249 * 250 / 2);

    /* And on it goes after a restart. */
    assert_int_equal(cloud_open(&c, &config, &e), 0);
    assert_int_equal(cloud_enter(c, clock_now_us(), &(struct cloud_caller){.key = NULL}, &t, &e),
                     0);
    cloud_settle(c, clock_now_us(), &t,
                 &(struct cloud_use){.request_id = "x", .model = "m", .prompt_tokens = 1});
    cloud_close(c);
    balances(b);
    assert_int_equal(b[0].n_requests, 251);
    assert_int_equal(b[0].prompt_tokens, 2501);
}

static void not_a_ledger(void **state)
{
    struct cloud_config config = {.ledger_path = books};
    struct cloud *c = NULL;
    struct err e = {0};
    FILE *f = fopen(books, "w");

    fputs("this is not a database, and long enough to be noticed as such by anybody who reads", f);
    fclose(f);
    assert_int_equal(cloud_open(&c, &config, &e), ERR_IO);
    assert_null(c);
    assert_non_null(strstr(e.text, "ledger"));
}

static void append(const char *text)
{
    FILE *f = fopen(keys, "a");

    fputs(text, f);
    fclose(f);
}

static void keys_and_limits(void **state)
{
    struct cloud_config config = {
        .keys_path = keys, .ledger_path = NULL, .limits = {.requests_per_minute = 1000}};
    char a[CLOUD_KEY_TEXT_MAX], b[CLOUD_KEY_TEXT_MAX], d[CLOUD_KEY_TEXT_MAX];
    struct cloud_ticket t, t2;
    struct api_rate rate;
    struct cloud *c = NULL;
    struct err e = {0};

    assert_int_equal(cloud_open(&c, &config, &e), ERR_NOTFOUND);
    assert_int_equal(cloud_key_new(keys, "a", "acme", a, &e), 0);
    assert_int_equal(cloud_key_new(keys, "b", NULL, b, &e), 0);
    append("tenant acme requests_per_minute=3 tokens_per_minute=100 concurrency=1\n");
    assert_int_equal(cloud_open(&c, &config, &e), 0);
    assert_int_equal(cloud_n_keys(c), 2);

    assert_int_equal(cloud_enter(c, clock_now_us(), &(struct cloud_caller){.key = NULL}, &t, &e),
                     ERR_AUTH);
    assert_non_null(strstr(e.text, "No API key"));
    assert_int_equal(t.i_rate, -1);
    assert_int_equal(
        cloud_enter(c, clock_now_us(), &(struct cloud_caller){.key = "wrong", .n_key = 5}, &t, &e),
        ERR_AUTH);
    assert_int_equal(cloud_rate(c, clock_now_us(), &t, -1, &rate), 0);
    assert_int_equal(cloud_check_key(c, clock_now_us(),
                                     &(struct cloud_caller){.key = a, .n_key = strlen(a)}, &e),
                     0);
    assert_int_equal(cloud_check_key(c, clock_now_us(),
                                     &(struct cloud_caller){.key = a, .n_key = strlen(a) - 1}, &e),
                     ERR_AUTH);

    assert_int_equal(cloud_enter(c, clock_now_us(),
                                 &(struct cloud_caller){.key = a, .n_key = strlen(a)}, &t, &e),
                     0);
    assert_string_equal(t.tenant, "acme");
    assert_string_equal(t.key_id, "a");
    assert_int_equal(cloud_enter(c, clock_now_us(),
                                 &(struct cloud_caller){.key = a, .n_key = strlen(a)}, &t2, &e),
                     ERR_QUEUE_FULL); /* concurrency */
    assert_true(t2.retry_us > 0);
    assert_int_equal(cloud_reserve(c, clock_now_us(), &t, &no_price, 80, &e), 0);
    cloud_settle(c, clock_now_us(), &t,
                 &(struct cloud_use){.prompt_tokens = 20, .completion_tokens = 10});
    assert_int_equal(cloud_rate(c, clock_now_us(), &t, -1, &rate), 1);
    assert_int_equal(rate.tokens_minute.limit, 100);
    assert_in_range(rate.tokens_minute.remaining, 70, 95); /* 50 of 80 came back, and some since */
    assert_int_equal(rate.requests_minute.limit, 3);
    assert_int_equal(rate.requests_minute.remaining, 1);
    assert_int_equal(rate.requests_hour.limit, -1);

    assert_int_equal(cloud_enter(c, clock_now_us(),
                                 &(struct cloud_caller){.key = a, .n_key = strlen(a)}, &t, &e),
                     0);
    assert_int_equal(cloud_reserve(c, clock_now_us(), &t, &no_price, 90, &e), ERR_RATE_TOKENS);
    assert_true(t.retry_us > 0);
    cloud_leave(c, clock_now_us(), &t, 0);
    assert_int_equal(cloud_enter(c, clock_now_us(),
                                 &(struct cloud_caller){.key = a, .n_key = strlen(a)}, &t, &e),
                     ERR_RATE_REQUESTS);
    assert_in_range(t.retry_us, 1, 20000000);
    assert_int_equal(cloud_rate(c, clock_now_us(), &t, -1, &rate), 1);
    assert_int_equal(rate.requests_minute.remaining, 0);

    /* The other tenant has limits of its own. */
    assert_int_equal(cloud_enter(c, clock_now_us(),
                                 &(struct cloud_caller){.key = b, .n_key = strlen(b)}, &t, &e),
                     0);
    assert_string_equal(t.tenant, "default");
    assert_int_equal(cloud_rate(c, clock_now_us(), &t, -1, &rate), 1);
    assert_int_equal(rate.requests_minute.limit, 1000);
    assert_int_equal(rate.tokens_minute.limit, -1);
    cloud_leave(c, clock_now_us(), &t, 0);

    /* A new key works after a reload; a broken file changes nothing. */
    assert_int_equal(cloud_key_new(keys, "d", NULL, d, &e), 0);
    assert_int_equal(cloud_check_key(c, clock_now_us(),
                                     &(struct cloud_caller){.key = d, .n_key = strlen(d)}, &e),
                     ERR_AUTH);
    assert_int_equal(cloud_reload_keys(c, clock_now_us(), &e), 0);
    assert_int_equal(cloud_check_key(c, clock_now_us(),
                                     &(struct cloud_caller){.key = d, .n_key = strlen(d)}, &e),
                     0);
    append("nonsense\n");
    assert_int_equal(cloud_reload_keys(c, clock_now_us(), &e), ERR_FORMAT);
    assert_int_equal(cloud_check_key(c, clock_now_us(),
                                     &(struct cloud_caller){.key = d, .n_key = strlen(d)}, &e),
                     0);
    cloud_close(c);
}

/* What is really used is charged, also beyond what was held; what is owed keeps the door shut. */
static void overdraft(void **state)
{
    struct cloud_config config = {.limits = {.tokens_per_minute = 100}};
    struct cloud_ticket t;
    struct api_rate rate;
    struct cloud *c = NULL;
    struct err e = {0};

    assert_int_equal(cloud_open(&c, &config, &e), 0);
    /* More than the bucket ever holds is refused for good, with both numbers. */
    assert_int_equal(cloud_enter(c, clock_now_us(), &(struct cloud_caller){.key = NULL}, &t, &e),
                     0);
    assert_int_equal(cloud_reserve(c, clock_now_us(), &t, &no_price, 101, &e), ERR_QUOTA);
    assert_non_null(strstr(e.text, "(100)"));
    assert_non_null(strstr(e.text, "101 tokens"));
    assert_int_equal(t.retry_us, 0);
    cloud_leave(c, clock_now_us(), &t, 0);
    /* One that holds what there is ... */
    assert_int_equal(cloud_enter(c, clock_now_us(), &(struct cloud_caller){.key = NULL}, &t, &e),
                     0);
    assert_int_equal(cloud_reserve(c, clock_now_us(), &t, &no_price, 100, &e), 0);
    cloud_rate(c, clock_now_us(), &t, -1, &rate);
    assert_int_equal(rate.tokens_minute.remaining, 0);
    /* ... and uses more, as a supplier of elsewhere may say, owes the rest: 3,208 tokens are 31
     * minutes more than the one that was there. */
    cloud_settle(c, clock_now_us(), &t,
                 &(struct cloud_use){.prompt_tokens = 20, .completion_tokens = 3188});
    assert_int_equal(cloud_enter(c, clock_now_us(), &(struct cloud_caller){.key = NULL}, &t, &e),
                     0);
    assert_int_equal(cloud_reserve(c, clock_now_us(), &t, &no_price, 1, &e), ERR_RATE_TOKENS);
    assert_in_range(t.retry_us, INT64_C(31) * 60000000, INT64_C(32) * 60000000);
    cloud_rate(c, clock_now_us(), &t, -1, &rate);
    assert_int_equal(rate.tokens_minute.remaining, 0);
    assert_true(rate.tokens_minute.reset_us > INT64_C(31) * 60000000);
    cloud_leave(c, clock_now_us(), &t, 0);
    cloud_close(c);
}

static enum tier granted(struct cloud *c, const char *key, enum tier asked)
{
    struct cloud_ticket t;
    struct err e = {0};
    enum tier tier;

    assert_int_equal(cloud_enter(c, clock_now_us(),
                                 &(struct cloud_caller){.key = key, .n_key = key ? strlen(key) : 0},
                                 &t, &e),
                     0);
    tier = cloud_tier(&t, asked);
    cloud_leave(c, clock_now_us(), &t, 0);
    return tier;
}

/* A tier is a right: what a key asks for beyond it, it does not get. */
static void tiers(void **state)
{
    static const struct {
        const char *words;
        enum tier priority, normal, flex, automatic;
    } rows[] = {
        {"", TIER_DEFAULT, TIER_DEFAULT, TIER_FLEX, TIER_DEFAULT},
        {" tenant=acme", TIER_PRIORITY, TIER_DEFAULT, TIER_FLEX, TIER_PRIORITY},
        {" tenant=acme tiers=flex", TIER_FLEX, TIER_FLEX, TIER_FLEX, TIER_FLEX},
        {" tiers=priority", TIER_PRIORITY, TIER_FLEX, TIER_FLEX, TIER_PRIORITY},
        {" tiers=batch,priority", TIER_PRIORITY, TIER_BATCH, TIER_BATCH, TIER_PRIORITY},
    };
    enum { N = ARRAY_LEN(rows) };
    struct cloud_config config = {.keys_path = keys};
    char key[N][CLOUD_KEY_TEXT_MAX], id[8], text[256];
    struct cloud *c = NULL;
    struct err e = {0};
    struct buf line;

    buf_init(&line, 1024);
    for (int i = 0; i < N; i++) {
        snprintf(id, sizeof id, "k%d", i);
        if (!i)
            assert_int_equal(cloud_key_new(keys, id, NULL, key[0], &e), 0);
        else
            assert_int_equal(cloud_key_line(keys, id, NULL, strcpy(key[i], id), &line, &e), 0);
        snprintf(text, sizeof text, "%.*s%s\n", (int)(line.len ? line.len - 1 : 0),
                 line.len ? line.data : "", rows[i].words);
        append(text);
        buf_clear(&line);
    }
    append("tenant acme tiers=priority,default,flex\n");
    assert_int_equal(cloud_open(&c, &config, &e), 0);
    for (int i = 0; i < N; i++) {
        assert_int_equal(granted(c, key[i], TIER_BATCH), TIER_BATCH);
        assert_int_equal(granted(c, key[i], TIER_PRIORITY), rows[i].priority);
        assert_int_equal(granted(c, key[i], TIER_DEFAULT), rows[i].normal);
        assert_int_equal(granted(c, key[i], TIER_FLEX), rows[i].flex);
        assert_int_equal(granted(c, key[i], TIER_AUTO), rows[i].automatic);
    }
    cloud_close(c);
    config.keys_path = NULL; /* without keys there is one tenant, and nobody to be kept waiting */
    assert_int_equal(cloud_open(&c, &config, &e), 0);
    assert_int_equal(granted(c, NULL, TIER_PRIORITY), TIER_PRIORITY);
    cloud_close(c);
    buf_done(&line);
}

/* ---- models and offers ----------------------------------------------------------------------- */

struct fake {
    struct supplier s;
    struct load load;
    _Atomic int n_gone;
};

static void fake_load(const struct supplier *s, struct load *ret)
{
    *ret = ((const struct fake *)(const void *)s)->load;
}

static void fake_gone(struct supplier *s)
{
    ((struct fake *)(void *)s)->n_gone++;
}

static const struct supplier_ops fake_ops = {.load = fake_load, .gone = fake_gone};

static struct fake ready(const char *id)
{
    return (struct fake){
        {.ops = &fake_ops, .id = id, .model = "m1"}, {.state = SUPPLIER_READY, .capacity = 2}, 0};
}

/* Which supplier gets a request for that model, where all of its tries are open. */
static const struct supplier *chosen(struct cloud *c, const char *model)
{
    const struct supplier *s = NULL;
    struct cloud_ticket t;
    struct err e = {0};

    assert_int_equal(cloud_enter(c, clock_now_us(), &(struct cloud_caller){.key = NULL}, &t, &e),
                     0);
    if (!cloud_route(c, clock_now_us(), &(struct cloud_want){.model = model, .tier = TIER_DEFAULT},
                     &t, &e))
        s = t.offer->sup;
    cloud_leave(c, clock_now_us(), &t, 0);
    return s;
}

static int route_code(struct cloud *c, const char *model, struct err *e)
{
    struct cloud_ticket t;
    int r;

    assert_int_equal(cloud_enter(c, clock_now_us(), &(struct cloud_caller){.key = NULL}, &t, e), 0);
    r = cloud_route(c, clock_now_us(), &(struct cloud_want){.model = model, .tier = TIER_DEFAULT},
                    &t, e);
    cloud_leave(c, clock_now_us(), &t, 0);
    return r;
}

static struct cloud *open_with_model(const struct cloud_config *config)
{
    static const char *const names[] = {"m1", "alias"}, *const others[] = {"m2", "m1"};
    struct cloud *c = NULL;
    struct err e = {0};
    int m = -1;

    assert_int_equal(cloud_open(&c, config, &e), 0);
    assert_int_equal(cloud_add_model(c, names, 2, &m, &e), 0);
    assert_int_equal(m, 0);
    assert_int_equal(cloud_add_model(c, others, 2, &m, &e), ERR_EXISTS); /* m1 is taken */
    assert_int_equal(cloud_add_model(c, others, 1, &m, &e), 0);
    assert_int_equal(m, 1);
    return c;
}

static void routes(void **state)
{
    struct cloud_config config = {.waiting_max = 3};
    struct cloud *c = open_with_model(&config);
    struct fake f1 = ready("one"), f2 = ready("two"), f3 = ready("three");
    struct cloud_ticket t;
    struct err e = {0};
    int32_t n;

    assert_int_equal(route_code(c, "m1", &e), ERR_AGAIN); /* known, and not on offer */
    assert_int_equal(cloud_add_offer(c, 0, &f1.s, &e), 0);
    assert_int_equal(cloud_add_offer(c, 0, &f1.s, &e), ERR_EXISTS);
    assert_int_equal(cloud_add_offer(c, 0, &f2.s, &e), 0);
    assert_int_equal(cloud_add_offer(c, 1, &f3.s, &e), 0);
    assert_int_equal(route_code(c, "nobody", &e), ERR_NO_MODEL);
    assert_non_null(strstr(e.text, "nobody"));
    f1.load.state = f2.load.state = SUPPLIER_LOADING;
    assert_int_equal(route_code(c, "m1", &e), ERR_LOADING);
    assert_ptr_equal(chosen(c, "m2"), &f3.s); /* one model that loads keeps no other back */
    f2.load.state = SUPPLIER_FAILED;
    assert_int_equal(route_code(c, "m1", &e), ERR_LOADING);
    f1.load.state = SUPPLIER_FAILED;
    assert_int_equal(route_code(c, "m1", &e), ERR_INTERNAL);
    f2.load.state = f1.load.state = SUPPLIER_READY;
    f1.load.n_running = 1;
    assert_ptr_equal(chosen(c, "m1"), &f2.s); /* the idle one */
    assert_ptr_equal(chosen(c, "alias"), &f2.s);
    f2.load.frozen = 1;
    assert_ptr_equal(chosen(c, "alias"), &f1.s);
    f1.load.frozen = 1;
    assert_int_equal(route_code(c, "alias", &e), ERR_FROZEN);
    f1.load.frozen = 0;

    assert_int_equal(cloud_enter(c, clock_now_us(), &(struct cloud_caller){.key = NULL}, &t, &e),
                     0);
    assert_int_equal(cloud_route(c, clock_now_us(),
                                 &(struct cloud_want){.model = "m1", .tier = TIER_DEFAULT}, &t, &e),
                     0);
    f1.load.n_running = 2;
    f1.load.n_inside = 4;
    assert_int_equal(cloud_admit(c, 1, 1, 0, &t, &n, &e), 0);
    cloud_note_job(t.offer, clock_now_us(), 50000000);
    cloud_leave(c, clock_now_us(), &t, 0);
    for (int i = 0; i < 2; i++) { /* too many, and too long */
        assert_int_equal(
            cloud_enter(c, clock_now_us(), &(struct cloud_caller){.key = NULL}, &t, &e), 0);
        assert_int_equal(cloud_route(c, clock_now_us(),
                                     &(struct cloud_want){.model = "m1", .tier = TIER_DEFAULT}, &t,
                                     &e),
                         0);
        assert_int_equal(cloud_admit(c, 1, i ? 1 : 2, i ? 1000000 : 0, &t, &n, &e), ERR_QUEUE_FULL);
        assert_true(t.retry_us > 0);
        cloud_leave(c, clock_now_us(), &t, 0);
    }
    cloud_close(c);
    assert_int_equal(f1.n_gone + f2.n_gone + f3.n_gone, 3);
}

/* Ask for so many tokens, and use some of them; < 0: the process dies meanwhile. */
static int use(struct cloud *c, const char *key, const char *id, int64_t held, int64_t used)
{
    struct cloud_ticket t;
    struct err e = {0};
    int r;

    assert_int_equal(cloud_enter(c, clock_now_us(),
                                 &(struct cloud_caller){.key = key, .n_key = strlen(key)}, &t, &e),
                     0);
    r = cloud_reserve(c, clock_now_us(), &t, &no_price, held, &e);
    if (!r && used >= 0)
        cloud_settle(c, clock_now_us(), &t,
                     &(struct cloud_use){.request_id = id,
                                         .model = "m",
                                         .prompt_tokens = used / 2,
                                         .completion_tokens = used - used / 2,
                                         .at_us = clock_wall_us()});
    else
        cloud_leave(c, clock_now_us(), &t, 0);
    return r;
}

/* Budgets outlive the process and the keys: complaints 3 and 11. */
static void budgets_last(void **state)
{
    char first[CLOUD_KEY_TEXT_MAX], second[CLOUD_KEY_TEXT_MAX];
    struct cloud_config config = {.keys_path = keys,
                                  .ledger_path = books,
                                  .now_us = clock_now_us(),
                                  .wall_us = clock_wall_us()};
    struct cloud_stats st;
    struct cloud *c = NULL;
    struct err e = {0};

    assert_int_equal(cloud_key_new(keys, "first", "acme", first, &e), 0);
    append("tenant acme token_budget=1000 token_budget_per_month=1000 budget_warn=90\n");
    assert_int_equal(cloud_open(&c, &config, &e), 0);
    assert_int_equal(use(c, first, "a", 1001, 0), ERR_BUDGET);
    assert_int_equal(use(c, first, "b", 1000, 400), 0);
    assert_int_equal(use(c, first, "c", 601, 0), ERR_BUDGET);
    assert_int_equal(use(c, first, "d", 600, -1), 0); /* its client left: all comes back */
    cloud_stats(c, &st);
    assert_int_equal(st.tokens_held, 0);
    assert_int_equal(st.refused_budget, 2);
    cloud_close(c);

    assert_int_equal(cloud_key_new(keys, "second", "acme", second, &e), 0);
    assert_int_equal(cloud_open(&c, &config, &e), 0);
    assert_int_equal(use(c, second, "e", 601, 0), ERR_BUDGET);
    assert_int_equal(use(c, second, "f", 600, 100), 0);
    /* A new amount or zone is in force at once, and what was written still counts. */
    cloud_step(c, clock_now_us());
    cloud_step(c, clock_now_us() + 1000000);
    append("tenant acme token_budget_per_month=700 budget_zone=Asia/Kathmandu\n");
    assert_int_equal(cloud_reload_keys(c, clock_now_us(), &e), 0);
    assert_int_equal(use(c, first, "g", 201, 0), ERR_BUDGET);
    assert_int_equal(use(c, first, "h", 200, 200), 0);
    assert_int_equal(use(c, first, "i", 1, 0), ERR_BUDGET);
    cloud_close(c);
    assert_int_equal(cloud_open(&c, &config, &e), 0);
    assert_int_equal(use(c, first, "j", 1, 0), ERR_BUDGET);
    cloud_close(c);
}

static int64_t money(struct cloud *c, int64_t *ret_held)
{
    int64_t settled;

    cloud_enforced(c, OF_MONEY, clock_now_us(), &settled, ret_held);
    return settled;
}

/* A budget of money: what a request can cost at most is held, what it did cost is settled, as its
 * row says, and read back at the next start. A model without a price is refused: complaint 18. */
static void budgets_of_money(void **state)
{
    static const struct price prices[] = {{.side = PRICE_SELL,
                                           .model = "m",
                                           .tier = -1,
                                           .uncached = 1000000000, /* 1,000 nano a token */
                                           .cache_read = 100000000,
                                           .cache_write = -1,
                                           .output = 2000000000,
                                           .reasoning = -1}};
    static const struct cloud_prices book = {.list = prices, .n = 1};
    struct cloud_config config = {.keys_path = keys,
                                  .ledger_path = books,
                                  .prices = &book,
                                  .currency = "EUR",
                                  .now_us = clock_now_us(),
                                  .wall_us = clock_wall_us()};
    const struct cloud_ask ask = {.model = "m", .tier = TIER_DEFAULT, .n_prompt = 100};
    const struct cloud_ask other = {.model = "unpriced", .n_prompt = 1};
    const struct cloud_use used = {.request_id = "a",
                                   .model = "m",
                                   .prompt_tokens = 100,
                                   .cached_tokens = 50,
                                   .completion_tokens = 10,
                                   .at_us = clock_wall_us()};
    char key[CLOUD_KEY_TEXT_MAX];
    struct cloud_ticket t;
    struct cloud *c = NULL;
    struct err e = {0};
    int64_t held;

    assert_int_equal(cloud_key_new(keys, "k", "acme", key, &e), 0);
    append("tenant acme budget_per_month=0.0005EUR\n"); /* 500,000 nano */
    assert_int_equal(cloud_open(&c, &config, &e), 0);
    assert_int_equal(cloud_enter(c, clock_now_us(),
                                 &(struct cloud_caller){.key = key, .n_key = strlen(key)}, &t, &e),
                     0);
    assert_int_equal(cloud_room(c, clock_now_us(), &t, &ask), 100 + 200);
    assert_int_equal(cloud_reserve(c, clock_now_us(), &t, &other, 2, &e), ERR_BUDGET);
    assert_non_null(strstr(e.text, "has no price"));
    assert_int_equal(cloud_reserve(c, clock_now_us(), &t, &ask, 301, &e), ERR_BUDGET);
    assert_non_null(strstr(e.text, "0.0005 EUR a month"));
    assert_int_equal(cloud_reserve(c, clock_now_us(), &t, &ask, 300, &e), 0);
    assert_int_equal(money(c, &held), 0);
    assert_int_equal(held, 500000);
    cloud_settle(c, clock_now_us(), &t, &used);
    assert_int_equal(money(c, &held), 50 * 1000 + 50 * 100 + 10 * 2000);
    assert_int_equal(held, 0);
    cloud_close(c);
    assert_int_equal(cloud_open(&c, &config, &e), 0);
    assert_int_equal(money(c, &held), 75000);
    cloud_close(c);
    config.currency = "USD";
    assert_int_equal(cloud_open(&c, &config, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, "its budget is in EUR, and prices are in USD"));
}

/* What was held at an offer that failed is given back, and no offer is tried twice. */
static void turned_back(void **state)
{
    struct cloud_config config = {.waiting_max = 3, .limits = {.tokens_per_minute = 100}};
    struct cloud *c = open_with_model(&config);
    struct fake f[3] = {ready("one"), ready("two"), ready("three")};
    struct api_rate rate;
    struct cloud_ticket t;
    struct err e = {0};
    int32_t n;

    for (int i = 0; i < 3; i++)
        assert_int_equal(cloud_add_offer(c, 0, &f[i].s, &e), 0);
    assert_int_equal(cloud_enter(c, clock_now_us(), &(struct cloud_caller){.key = NULL}, &t, &e),
                     0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(cloud_route(c, clock_now_us(),
                                     &(struct cloud_want){.model = "m1", .tier = TIER_DEFAULT}, &t,
                                     &e),
                         0);
        assert_ptr_equal(t.offer->sup, &f[i].s);
        assert_int_equal(cloud_has_other(c, 0, &t), i < 2);
        assert_int_equal(cloud_admit(c, 1, 1, 0, &t, &n, &e), 0);
        assert_int_equal(cloud_reserve(c, clock_now_us(), &t, &no_price, 90, &e),
                         0); /* not beside an earlier hold */
        cloud_rate(c, clock_now_us(), &t, -1, &rate);
        assert_in_range(rate.tokens_minute.remaining, 10, 20);
        cloud_turn_back(c, clock_now_us(), &t);
        cloud_rate(c, clock_now_us(), &t, -1, &rate);
        assert_int_equal(rate.tokens_minute.remaining, 100);
    }
    assert_int_equal(cloud_route(c, clock_now_us(),
                                 &(struct cloud_want){.model = "m1", .tier = TIER_DEFAULT}, &t, &e),
                     ERR_AGAIN);
    cloud_leave(c, clock_now_us(), &t, 0);
    cloud_close(c); /* checks that nothing is held */
}

/* An offer that was removed lives until the last request there has ended. */
static void offers_come_and_go(void **state)
{
    struct cloud_config config = {.waiting_max = 100};
    struct cloud *c = open_with_model(&config);
    struct fake f1 = ready("one"), f2 = ready("two"), many[CLOUD_OFFERS_MAX];
    struct cloud_ticket a, b;
    struct cloud_look look;
    struct err e = {0};
    int32_t n;

    assert_int_equal(cloud_add_offer(c, 0, &f1.s, &e), 0);
    assert_int_equal(cloud_enter(c, clock_now_us(), &(struct cloud_caller){.key = NULL}, &a, &e),
                     0);
    assert_int_equal(cloud_enter(c, clock_now_us(), &(struct cloud_caller){.key = NULL}, &b, &e),
                     0);
    assert_int_equal(cloud_route(c, clock_now_us(),
                                 &(struct cloud_want){.model = "m1", .tier = TIER_DEFAULT}, &a, &e),
                     0);
    assert_int_equal(cloud_route(c, clock_now_us(),
                                 &(struct cloud_want){.model = "m1", .tier = TIER_DEFAULT}, &b, &e),
                     0);
    assert_int_equal(cloud_remove_offer(c, &f1.s), 0);
    assert_int_equal(cloud_remove_offer(c, &f1.s), ERR_NOTFOUND);
    assert_int_equal(route_code(c, "m1", &e), ERR_AGAIN);
    assert_int_equal(cloud_add_offer(c, 0, &f2.s, &e), 0);
    assert_ptr_equal(chosen(c, "m1"), &f2.s);
    assert_int_equal(cloud_admit(c, 1, 1, 0, &a, &n, &e), 0); /* those that were there go on */
    cloud_leave(c, clock_now_us(), &a, 0);
    assert_int_equal(f1.n_gone, 0);
    cloud_turn_back(c, clock_now_us(), &b);
    assert_int_equal(f1.n_gone, 1);
    assert_int_equal(cloud_route(c, clock_now_us(),
                                 &(struct cloud_want){.model = "m1", .tier = TIER_DEFAULT}, &b, &e),
                     0); /* in the same place */
    assert_ptr_equal(b.offer->sup, &f2.s);
    cloud_leave(c, clock_now_us(), &b, 0);

    cloud_look(c, 0, &look); /* who looks holds it too */
    assert_ptr_equal(look.offer->sup, &f2.s);
    assert_int_equal(cloud_remove_offer(c, &f2.s), 0);
    assert_int_equal(f2.n_gone, 0);
    cloud_look_done(c, &look);
    assert_int_equal(f2.n_gone, 1);
    cloud_look(c, 0, &look);
    assert_null(look.offer);
    assert_int_equal(look.load.state, SUPPLIER_FAILED);
    cloud_look_done(c, &look);

    for (int i = 0; i < CLOUD_OFFERS_MAX; i++) {
        many[i] = ready("many");
        assert_int_equal(cloud_add_offer(c, 0, &many[i].s, &e), 0);
    }
    assert_int_equal(cloud_add_offer(c, 0, &f1.s, &e), ERR_LIMIT);
    assert_int_equal(cloud_remove_offer(c, &many[5].s), 0);
    assert_int_equal(cloud_add_offer(c, 0, &f1.s, &e), 0);
    cloud_close(c);
}

/* A model is as well as its best offer, and as busy as all of them. */
static void looks(void **state)
{
    struct cloud_config config = {.waiting_max = 100};
    struct cloud *c = open_with_model(&config);
    struct fake f1 = ready("one"), f2 = ready("two");
    struct cloud_look look;
    struct err e = {0};

    f1.load.state = SUPPLIER_LOADING;
    f2.load.frozen = 1;
    f1.load.n_waiting = 3;
    f2.load.n_waiting = 4;
    assert_int_equal(cloud_add_offer(c, 0, &f2.s, &e), 0);
    assert_int_equal(cloud_add_offer(c, 0, &f1.s, &e), 0);
    cloud_look(c, 0, &look);
    assert_int_equal(look.load.state, SUPPLIER_LOADING);
    assert_int_equal(look.load.n_waiting, 7);
    assert_int_equal(look.n_offers, 2);
    cloud_look_done(c, &look);
    f1.load.state = SUPPLIER_READY;
    cloud_look(c, 0, &look);
    assert_int_equal(look.load.state, SUPPLIER_READY);
    assert_int_equal(look.load.frozen, 0);
    assert_ptr_equal(look.offer->sup, &f1.s);
    cloud_look_done(c, &look);
    cloud_close(c);
}

/* Offers go and come back under requests: whoever holds one finds its supplier alive. */
struct crowd {
    struct cloud *c;
    _Atomic int stop;
    _Atomic int n_routed;
};

static void *ask_and_leave(void *arg)
{
    struct crowd *w = arg;
    struct cloud_ticket t;
    struct cloud_look look;
    struct err e;

    while (!w->stop) {
        assert_int_equal(cloud_enter(w->c, 0, &(struct cloud_caller){.key = NULL}, &t, &e), 0);
        while (t.n_tried < CLOUD_TRIES_MAX &&
               !cloud_route(w->c, 0, &(struct cloud_want){.model = "m1", .tier = TIER_DEFAULT}, &t,
                            &e)) {
            assert_int_equal(((struct fake *)(void *)t.offer->sup)->n_gone, 0);
            w->n_routed++;
            cloud_turn_back(w->c, 0, &t);
        }
        cloud_leave(w->c, 0, &t, 0);
        cloud_look(w->c, 0, &look);
        if (look.offer)
            assert_int_equal(((struct fake *)(void *)look.offer->sup)->n_gone, 0);
        cloud_look_done(w->c, &look);
    }
    return NULL;
}

static void offers_under_requests(void **state)
{
    enum { N = 2, ROUNDS = 200 };
    struct cloud_config config = {.waiting_max = 100};
    struct crowd w = {.c = open_with_model(&config)};
    static struct fake f[ROUNDS];
    pthread_t thread[N];
    struct err e = {0};

    for (int i = 0; i < N; i++)
        pthread_create(&thread[i], NULL, ask_and_leave, &w);
    for (int i = 0; i < ROUNDS; i++) {
        int seen = w.n_routed;
        f[i] = ready("one");
        assert_int_equal(cloud_add_offer(w.c, 0, &f[i].s, &e), 0);
        while (w.n_routed == seen)
            sched_yield();
        assert_int_equal(cloud_remove_offer(w.c, &f[i].s), 0);
    }
    w.stop = 1;
    for (int i = 0; i < N; i++)
        pthread_join(thread[i], NULL);
    for (int i = 0; i < ROUNDS; i++)
        assert_int_equal(f[i].n_gone, 1);
    cloud_close(w.c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(settled_is_booked, setup, teardown),
        cmocka_unit_test_setup_teardown(not_a_ledger, setup, teardown),
        cmocka_unit_test_setup_teardown(keys_and_limits, setup, teardown),
        cmocka_unit_test_setup_teardown(tiers, setup, teardown),
        cmocka_unit_test_setup_teardown(budgets_last, setup, teardown),
        cmocka_unit_test_setup_teardown(budgets_of_money, setup, teardown),
        cmocka_unit_test(overdraft),
        cmocka_unit_test(routes),
        cmocka_unit_test(turned_back),
        cmocka_unit_test(offers_come_and_go),
        cmocka_unit_test(offers_under_requests),
        cmocka_unit_test(looks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
