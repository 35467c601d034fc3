/* What requests hold on key, team and tenant: all or nothing, the truth in its place after every
 * ending, windows of people's calendars, and bursts from many threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <pthread.h>

#include "base/log.h"
#include "base/rand.h"
#include "cloud/holds.h"

#define NOW   INT64_C(1000000000)             /* us */
#define OF(n) ((const int64_t[N_KINDS]){(n)}) /* of tokens; what costs nothing */

struct world {
    struct holds_account key, team, tenant;
};

static int open_world(void **state)
{
    struct world *w = calloc(1, sizeof *w);

    log_setup(LOG_OFF, 0);
    holds_account_init(&w->key, ACCOUNT_KEY, "key", "EUR");
    holds_account_init(&w->team, ACCOUNT_TEAM, "team", "EUR");
    holds_account_init(&w->tenant, ACCOUNT_TENANT, "tenant", "EUR");
    *state = w;
    return 0;
}

static int close_world(void **state)
{
    struct world *w = *state;

    holds_account_done(&w->key);
    holds_account_done(&w->team);
    holds_account_done(&w->tenant);
    free(w);
    return 0;
}

static void set(struct holds_account *a, struct account_settings s)
{
    struct err e = {0};

    if (holds_set(a, &s, NULL, NOW, 0, &e))
        fail_msg("%s", e.text);
}

static struct holds path_of(struct world *w)
{
    return (struct holds){.n_path = 3, .path = {&w->key, &w->team, &w->tenant}};
}

static int64_t settled_of(struct holds_account *a, int64_t now_s, int64_t *ret_held)
{
    int64_t settled = 0;

    *ret_held = 0;
    holds_sum(a, OF_TOKENS, now_s, &settled, ret_held);
    return settled;
}

static int64_t left_of(struct world *w, int period)
{
    struct holds h = path_of(w);

    return holds_look_tokens(&h, period, -1, NOW).left;
}

/* Whatever the tenant refuses, its key and team have lost nothing. */
static void all_or_nothing(void **state)
{
    struct world *w = *state;
    struct account_settings s = account_unsaid();
    struct err e;
    struct holds_refusal why = {.e = &e};
    struct holds h = path_of(w), other = path_of(w);
    int64_t held;

    s.tokens_per_hour = 1000;
    s.token_budget_per_day = 500;
    set(&w->key, s);
    set(&w->team, s);
    s.tokens_per_day = 300;
    s.requests_per_minute = 2;
    set(&w->tenant, s);
    assert_int_equal(holds_enter(&h, NOW, &why), 0);
    assert_int_equal(holds_room(&h, 0), 300);
    assert_int_equal(holds_reserve(&h, NOW, 0, OF(301), &why), ERR_QUOTA);
    assert_non_null(strstr(e.text, "Tokens per day limit exceeded (300)"));
    assert_int_equal(left_of(w, PERIOD_HOUR), 1000);
    assert_int_equal(settled_of(&w->key, 0, &held), 0);
    assert_int_equal(held, 0);
    assert_int_equal(holds_reserve(&h, NOW, 0, OF(200), &why), 0);
    assert_int_equal(holds_enter(&other, NOW, &why), 0);
    assert_int_equal(holds_reserve(&other, NOW, 0, OF(101), &why), ERR_RATE_TOKENS);
    assert_true(why.retry_us > 0);
    assert_int_equal(left_of(w, PERIOD_HOUR), 800);
    assert_int_equal(left_of(w, PERIOD_DAY), 100);
    assert_int_equal(holds_left(&other, NOW), 100); /* the tightest of all */
    holds_settle(&h, NOW, 0, &(struct holds_use){.tokens = 70, .uncached = 50, .booked = {70}});
    assert_int_equal(left_of(w, PERIOD_DAY), 230);
    assert_int_equal(settled_of(&w->team, 0, &held), 70);
    assert_int_equal(held, 0);
    holds_leave(&h);
    holds_leave(&other);
    assert_int_equal(w->key.n_inside + w->team.n_inside + w->tenant.n_inside, 0);
    assert_int_equal(holds_enter(&h, NOW, &why), ERR_RATE_REQUESTS); /* the tenant's third */
    assert_non_null(strstr(e.text, "Requests per minute"));
}

static void sequences_on_all(void **state)
{
    struct world *w = *state;
    struct account_settings s = account_unsaid();
    struct err e;
    struct holds_refusal why = {.e = &e};
    struct holds h = path_of(w), other = path_of(w);
    int32_t n;

    s.concurrency = 8;
    set(&w->key, s);
    s.concurrency = 4;
    set(&w->tenant, s);
    assert_int_equal(holds_enter(&h, NOW, &why), 0);
    assert_int_equal(holds_widen(&h, 4, 2, &n, &why), 0);
    assert_int_equal(n, 2); /* the tenant has room for two times two */
    assert_int_equal(w->key.n_inside, 4);
    assert_int_equal(w->team.n_inside, 4);
    assert_int_equal(w->tenant.n_inside, 4);
    assert_int_equal(holds_enter(&other, NOW, &why), ERR_QUEUE_FULL);
    assert_int_equal(w->key.n_inside, 4);
    other = (struct holds){0};
    assert_int_equal(holds_double(&h, &other), -1); /* a second place: all or none, too */
    assert_int_equal(w->key.n_inside, 4);
    assert_int_equal(w->tenant.n_inside, 4);
    s.concurrency = 8;
    set(&w->tenant, s);
    assert_int_equal(holds_double(&h, &other), 0);
    assert_int_equal(w->key.n_inside, 8);
    assert_int_equal(w->tenant.n_inside, 8);
    holds_leave(&other);
    assert_int_equal(w->key.n_inside, 4);
    assert_int_equal(holds_widen(&h, 1, 9, &n, &why), ERR_LIMIT);
    holds_leave(&h);
    assert_int_equal(w->key.n_inside + w->team.n_inside + w->tenant.n_inside, 0);
}

/* Uncached tokens have buckets of their own: what was found in a cache comes back to them. */
static void uncached_tokens(void **state)
{
    struct world *w = *state;
    struct account_settings s = account_unsaid();
    struct err e;
    struct holds_refusal why = {.e = &e};
    struct holds h = path_of(w);

    s.uncached_tokens_per_day = 100;
    set(&w->team, s);
    assert_int_equal(holds_enter(&h, NOW, &why), 0);
    assert_int_equal(holds_reserve(&h, NOW, 0, OF(100), &why), 0);
    holds_settle(&h, NOW, 0, &(struct holds_use){.tokens = 100, .uncached = 20});
    assert_int_equal(holds_reserve(&h, NOW, 0, OF(81), &why), ERR_RATE_TOKENS);
    assert_non_null(strstr(e.text, "Uncached tokens per day"));
    assert_int_equal(holds_reserve(&h, NOW, 0, OF(80), &why), 0);
    holds_settle(&h, NOW, 0, &(struct holds_use){0});
    holds_leave(&h);
}

/* ---- complaint 6: windows are those of the zone -----------------------------------------------
 */

static int64_t spend_all(struct world *w, int64_t now_s)
{
    struct err e;
    struct holds_refusal why = {.e = &e};
    struct holds h = path_of(w);
    int64_t n = 0;

    assert_int_equal(holds_enter(&h, NOW, &why), 0);
    while (!holds_reserve(&h, NOW, now_s, OF(10), &why)) {
        holds_settle(&h, NOW, now_s, &(struct holds_use){.tokens = 10, .booked = {10}});
        n += 10;
    }
    assert_int_equal(e.code, ERR_BUDGET);
    holds_leave(&h);
    return n;
}

static void days_are_local(void **state)
{
    static const char *const zones[] = {"America/New_York", "Europe/Berlin", "Australia/Lord_Howe",
                                        "Asia/Kathmandu", "America/Santiago"};
    struct world *w = *state;

    for (int i = 0; i < 5; i++) {
        struct account_settings s = account_unsaid();
        struct zone *z = NULL;
        struct err e;
        int64_t from, until, t = 1767225600; /* 2026 */
        assert_int_equal(zone_load(&z, ZONE_DIR, zones[i], &e), 0);
        set(&w->tenant, s); /* no window of the last round is kept */
        s.token_budget_per_day = 100;
        s.budget_zone = (char *)(uintptr_t)zones[i];
        assert_int_equal(holds_set(&w->tenant, &s, NULL, NOW, t, &e), 0);
        for (int day = 0; day < 366; day++, t = until) {
            zone_window(z, ZONE_DAY, t, &from, &until);
            assert_int_equal(spend_all(w, t), 100);
            assert_int_equal(spend_all(w, until - 1), 0);
        }
        assert_int_equal(spend_all(w, t - 864000), 0); /* a clock that is set back: the same day */
        assert_int_equal(spend_all(w, t), 100);
        assert_int_equal(spend_all(w, t - 86400), 0);
        zone_free(z);
    }
}

/* ---- settings, the past, warnings -------------------------------------------------------------
 */

struct past {
    int n_asked;
    int64_t used;
};

static int used(void *ctx, const struct holds_account *a, int64_t from_s, int64_t until_s,
                int64_t ret[N_KINDS], struct err *e)
{
    struct past *p = ctx;

    assert_string_equal(a->name, "tenant");
    assert_int_equal(a->kind, ACCOUNT_TENANT);
    assert_true(from_s < until_s);
    p->n_asked++;
    ret[OF_TOKENS] = ret[OF_MONEY] = ret[OF_ENERGY] = p->used;
    return p->used < 0 ? err_set(e, ERR_IO, "no books") : 0;
}

static void the_past_counts(void **state)
{
    struct world *w = *state;
    struct past books = {.used = 450};
    const struct holds_past past = {used, &books};
    struct account_settings s = account_unsaid();
    struct holds h = path_of(w);
    char text[100];
    struct err e;

    s.token_budget_per_month = 500;
    s.budget_warn = 80;
    assert_int_equal(holds_set(&w->tenant, &s, &past, NOW, 0, &e), 0);
    assert_int_equal(holds_room(&h, 0), 50);
    assert_int_equal(holds_warning(&h, 0, text, sizeof text), 1);
    assert_string_equal(text, "90% of 500 tokens a month");
    /* The same window is not asked for again, whatever the amount becomes. */
    s.token_budget_per_month = 1000;
    assert_int_equal(holds_set(&w->tenant, &s, &past, NOW, 0, &e), 0);
    assert_int_equal(books.n_asked, 1);
    assert_int_equal(holds_room(&h, 0), 550);
    assert_int_equal(holds_warning(&h, 0, text, sizeof text), 0);
    /* Nothing changes where the books cannot be read, or the zone is none. */
    books.used = -1;
    s.token_budget = 5;
    assert_int_equal(holds_set(&w->tenant, &s, &past, NOW, 0, &e), ERR_IO);
    s.budget_zone = (char[]){"No/Where"};
    assert_int_equal(holds_set(&w->tenant, &s, &past, NOW, 0, &e), ERR_NOTFOUND);
    assert_int_equal(holds_room(&h, 0), 550);
}

/* A budget is taken away and comes back while a request is under way: all is counted once. */
static void settings_change_under_way(void **state)
{
    struct world *w = *state;
    struct account_settings s = account_unsaid(), none = s;
    struct err e;
    struct holds_refusal why = {.e = &e};
    struct holds h = path_of(w), before = path_of(w);
    int64_t held;

    assert_int_equal(holds_enter(&before, NOW, &why), 0);
    assert_int_equal(holds_reserve(&before, NOW, 5, OF(60), &why), 0); /* no budget yet */
    s.token_budget_per_day = 100;
    set(&w->tenant, s);
    assert_int_equal(holds_enter(&h, NOW, &why), 0);
    assert_int_equal(holds_reserve(&h, NOW, 5, OF(60), &why), 0);
    set(&w->tenant, none);
    set(&w->tenant, s);
    holds_settle(&h, NOW, 5, &(struct holds_use){.tokens = 30, .booked = {30}});
    holds_settle(&before, NOW, 5, &(struct holds_use){.tokens = 20, .booked = {20}});
    assert_int_equal(settled_of(&w->tenant, 5, &held), 50);
    assert_int_equal(held, 0);
    holds_leave(&h);
    holds_leave(&before);
}

/* ---- complaints 1, 2, 4: bursts ----------------------------------------------------------------
 */

enum { THREADS = 64, EACH = 10, ROUNDS = 200 };

struct burst {
    struct world *w;
    int risk; /* of each, tokens that it uses and does not hold, if it may */
    pthread_barrier_t barrier;
    _Atomic int n_admitted;
    _Atomic int64_t used;
    int rounds;
    _Atomic int n_random;
};

static void *burst_main(void *arg)
{
    struct burst *b = arg;
    uint64_t own = (uint64_t)atomic_fetch_add(&b->n_random, 1);

    pthread_barrier_wait(&b->barrier);
    for (int i = 0; i < b->rounds; i++) {
        struct err e;
        struct holds_refusal why = {.e = &e};
        struct holds h = path_of(b->w);
        uint32_t r[4];
        rand_philox(own, (uint64_t)i, 0, r);
        if (holds_enter(&h, NOW, &why))
            abort();
        if (!holds_reserve(&h, NOW, 0, OF(EACH - holds_risk(&h, b->risk)), &why)) {
            int64_t n = r[0] % 3 ? EACH : r[1] % (EACH + 1); /* cancelled, died, finished */
            atomic_fetch_add(&b->n_admitted, 1);
            if (b->rounds > 1) {
                holds_settle(&h, NOW, 0, &(struct holds_use){.tokens = n, .booked = {n}});
                atomic_fetch_add(&b->used, n);
            }
        }
        holds_leave(&h);
    }
    return NULL;
}

static void burst(struct burst *b)
{
    pthread_t t[THREADS];

    pthread_barrier_init(&b->barrier, NULL, THREADS);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&t[i], NULL, burst_main, b), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    pthread_barrier_destroy(&b->barrier);
}

/* Sixty-four at once, and a budget for seven of them: seven. */
static void parallel_requests_all_see_the_spend(void **state)
{
    struct world *w = *state;
    struct burst b = {.w = w, .rounds = 1};
    struct account_settings s = account_unsaid();
    int64_t held;

    s.token_budget_per_day = 7 * EACH + EACH - 1;
    set(&w->team, s);
    burst(&b);
    assert_int_equal(b.n_admitted, 7);
    assert_int_equal(settled_of(&w->team, 0, &held), 0);
    assert_int_equal(held, 7 * EACH);
}

/* Requests of which nearly all use all that they may hold little: what is used is more than the
 * limit, by no more than the overshoot that is allowed, whatever comes at once. */
static void overshot_by_so_much(void **state)
{
    struct world *w = *state;
    struct burst b = {.w = w, .rounds = ROUNDS, .risk = 9};
    struct account_settings s = account_unsaid();
    int64_t held;

    s.token_budget_per_month = 60000;
    s.overshoot = 500;
    set(&w->key, s);
    s.token_budget_per_month = 90000;
    s.overshoot = 400;
    set(&w->tenant, s);
    burst(&b);
    assert_true(b.used <= 60400 && b.used > 60000 - EACH);
    assert_int_equal(settled_of(&w->key, 0, &held), b.used);
    assert_int_equal(held, 0);
    assert_int_equal(atomic_load(&w->key.risked), 0);
    assert_int_equal(atomic_load(&w->tenant.risked), 0);
}

/* As much as every account of the path with limits allows, and no more. */
static void risk_of_a_path(void **state)
{
    struct world *w = *state;
    struct account_settings s = account_unsaid(), no_limit = s;
    struct holds a = path_of(w), b = path_of(w);

    assert_int_equal(holds_risk(&a, 100), 0); /* nothing is limited */
    no_limit.overshoot = 7;
    set(&w->team, no_limit);
    s.tokens_per_minute = 1000;
    s.overshoot = 50;
    set(&w->key, s);
    s.overshoot = 80;
    set(&w->tenant, s);
    assert_int_equal(holds_risk(&a, 30), 30);
    assert_int_equal(holds_risk(&b, 100), 20);
    assert_int_equal(atomic_load(&w->tenant.risked), 50);
    holds_settle(&a, NOW, 0, &(struct holds_use){0});
    assert_int_equal(atomic_load(&w->key.risked), 20);
    s.overshoot = -1; /* the tenant's limits are strict: so is every request */
    set(&w->tenant, s);
    assert_int_equal(holds_risk(&a, 30), 0);
    assert_int_equal(atomic_load(&w->key.risked), 20);
    holds_settle(&b, NOW, 0, &(struct holds_use){0});
    assert_int_equal(atomic_load(&w->key.risked), 0);
    assert_int_equal(atomic_load(&w->tenant.risked), 0);
}

static int next_notice(struct notices *q, struct notice *n)
{
    *n = (struct notice){0};
    return notices_take(q, n);
}

static int reserve(struct holds *h, int64_t now_s, int64_t n)
{
    struct err e = {0};
    struct holds_refusal why = {.e = &e};

    return holds_reserve(h, NOW, now_s, OF(n), &why);
}

/* Each of what is told, once in a window; what its reader does not take is counted. */
static void told_once_in_a_window(void **state)
{
    struct world *w = *state;
    struct account_settings s = account_unsaid();
    struct holds h = {.n_path = 1, .path = {&w->tenant}};
    struct notices q;
    struct notice n;
    struct mbox box;
    struct err e = {0};

    assert_int_equal(mbox_open(&box), 0);
    assert_int_equal(notices_init(&q, &box, 7, &e), 0);
    w->tenant.notices = &q;
    s.token_budget_per_day = 100;
    s.budget_warn = 50;
    set(&w->tenant, s);
    assert_int_equal(reserve(&h, 10, 49), 0);
    holds_settle(&h, NOW, 10, &(struct holds_use){.tokens = 49, .booked = {49}});
    assert_int_equal(next_notice(&q, &n), 0);
    assert_int_equal(reserve(&h, 20, 1), 0);
    holds_settle(&h, NOW, 20, &(struct holds_use){.tokens = 1, .booked = {1}});
    for (int i = 0; i < 3; i++)
        assert_int_equal(reserve(&h, 30, 51), ERR_BUDGET);
    assert_int_equal(next_notice(&q, &n), 1);
    assert_int_equal(n.type, NOTICE_SOFT_LIMIT);
    assert_string_equal(n.account, "tenant");
    assert_int_equal(n.used, 50);
    assert_int_equal(n.limit, 100);
    assert_int_equal(next_notice(&q, &n), 1);
    assert_int_equal(n.type, NOTICE_EXHAUSTED);
    assert_int_equal(n.at_s, 30);
    assert_int_equal(next_notice(&q, &n), 0);
    s.budget_warn = 40; /* another warning, the same end */
    set(&w->tenant, s);
    for (int day = 0; day < 2; day++) {
        assert_int_equal(reserve(&h, 86400 * day + 40, 50), 0);
        holds_settle(&h, NOW, 86400 * day + 40, &(struct holds_use){.tokens = 50, .booked = {50}});
        assert_int_equal(next_notice(&q, &n), 1);
        assert_int_equal(n.type, NOTICE_SOFT_LIMIT);
        assert_int_equal(n.from_s, 86400 * day);
        assert_int_equal(next_notice(&q, &n), 0); /* at the second: not at its end yet */
    }
    s.budget_warn = -1;
    for (int i = 0; i < NOTICES_MAX + 5; i++) {
        s.token_budget_per_day = i % 2;
        set(&w->tenant, s);
        assert_int_equal(reserve(&h, 90000, 51), ERR_BUDGET);
    }
    assert_int_equal(notices_lost(&q), 5);
    w->tenant.notices = NULL;
    notices_done(&q);
    mbox_close(&box);
}

/* Many rounds of them: what is enforced is what was used, to the token, and nothing stays held. */
static void enforced_is_what_was_used(void **state)
{
    struct world *w = *state;
    struct burst b = {.w = w, .rounds = ROUNDS};
    struct account_settings s = account_unsaid();
    int64_t held;

    s.token_budget_per_week = 60000;
    s.token_budget_per_month = 90000;
    set(&w->key, s);
    set(&w->tenant, s);
    burst(&b);
    assert_true(b.used <= 60000 &&
                b.used > 60000 - EACH * 2); /* not above, and not given up early */
    assert_int_equal(settled_of(&w->key, 0, &held), 2 * b.used);
    assert_int_equal(held, 0);
    assert_int_equal(settled_of(&w->tenant, 0, &held), 2 * b.used);
    assert_int_equal(held, 0);
}

/* A request that takes more energy than it holds: what it uses keeps others out while it runs, on
 * every account of its path, and what was held too much comes back. */
static void energy_grows(void **state)
{
    static const int64_t probably[N_KINDS] = {[OF_ENERGY] = 400},
                         much[N_KINDS] = {[OF_ENERGY] = 600};
    struct world *w = *state;
    struct account_settings s = account_unsaid();
    struct holds h = path_of(w), other = path_of(w);
    struct err e;
    struct holds_refusal why = {.e = &e};
    int64_t settled = 0, held = 0;

    s.energy_budget_per_day = s.energy_budget = 1000;
    set(&w->key, s);
    set(&w->tenant, s);
    assert_int_equal(holds_reserve(&h, NOW, 0, probably, &why), 0);
    holds_more(&h, OF_ENERGY, 100);
    assert_int_equal(holds_budget(&h, OF_ENERGY, 0), 500);
    assert_int_equal(holds_budget(&h, OF_MONEY, 0), INT64_MAX);
    assert_int_equal(holds_reserve(&other, NOW, 0, much, &why), ERR_BUDGET);
    holds_more(&h, OF_ENERGY, 700);
    assert_int_equal(holds_budget(&other, OF_ENERGY, 0), 0);
    holds_more(&other, OF_ENERGY, 5); /* it holds nothing */
    holds_sum(&w->key, OF_ENERGY, 0, &settled, &held);
    assert_int_equal(held, 2 * 1200); /* in two budgets */
    holds_settle(&h, NOW, 0, &(struct holds_use){.booked = {[OF_ENERGY] = 900}});
    assert_int_equal(holds_budget(&other, OF_ENERGY, 0), 100);
    held = 0;
    holds_sum(&w->tenant, OF_ENERGY, 0, &settled, &held);
    assert_int_equal(held, 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, open_world, close_world)
    const struct CMUnitTest tests[] = {
        T(all_or_nothing),
        T(sequences_on_all),
        T(uncached_tokens),
        T(days_are_local),
        T(the_past_counts),
        T(settings_change_under_way),
        T(parallel_requests_all_see_the_spend),
        T(enforced_is_what_was_used),
        T(energy_grows),
        T(overshot_by_so_much),
        T(risk_of_a_path),
        T(told_once_in_a_window),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
