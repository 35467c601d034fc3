/* Limits that two processes count together: here they are two accounts of one name, each with a
 * tally of its own on one memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"
#include "cloud/holds.h"

#define NOW   INT64_C(1000000000) /* us */
#define DAY_S INT64_C(86400)
#define OF(n) ((const int64_t[N_KINDS]){(n)})

static struct tally *tally[2];
static struct holds_account account[2];

static void begin(int i)
{
    int fd = i ? fcntl(tally_fd(tally[0]), F_DUPFD_CLOEXEC, 3) : -1;
    struct err e = {0};

    assert_int_equal(tally_open(&tally[i], fd, &e), 0);
    holds_account_init(&account[i], ACCOUNT_TENANT, "t", "EUR");
    holds_account_share(&account[i], tally[i]);
    assert_non_null(account[i].row);
}

static void end(int i)
{
    holds_account_done(&account[i]);
    tally_close(tally[i]);
}

static int n_asked;

static int ask_past(void *ctx, const struct holds_account *a, int64_t from_s, int64_t until_s,
                    int64_t ret[N_KINDS], struct err *e)
{
    (void)a;
    (void)from_s;
    (void)until_s;
    (void)e;
    n_asked++;
    ret[OF_TOKENS] = *(int64_t *)ctx;
    return 0;
}

static void set(int i, int64_t budget, int64_t per_day, int64_t past)
{
    const struct holds_past p = {ask_past, &past};
    struct account_settings s = account_unsaid();
    struct err e = {0};

    s.token_budget_per_day = budget;
    s.tokens_per_day = per_day;
    s.requests_per_day = per_day;
    assert_int_equal(holds_set(&account[i], &s, &p, NOW, 10, &e), 0);
}

static struct holds enter(int i)
{
    struct holds h = {.n_path = 1, .path = {&account[i]}};
    struct err e = {0};
    struct holds_refusal why = {.e = &e};

    assert_int_equal(holds_enter(&h, NOW, &why), 0);
    return h;
}

static int reserve(struct holds *h, int64_t now_s, int64_t n)
{
    struct err e = {0};
    struct holds_refusal why = {.e = &e};

    return holds_reserve(h, NOW, now_s, OF(n), &why);
}

static void settle(struct holds *h, int64_t now_s, int64_t n)
{
    const struct holds_use u = {.tokens = n, .booked = {n}};

    holds_settle(h, NOW, now_s, &u);
    holds_leave(h);
}

static int64_t sum(int i, int64_t now_s, int64_t *ret_held)
{
    int64_t settled = 0;

    *ret_held = 0;
    holds_sum(&account[i], OF_TOKENS, now_s, &settled, ret_held);
    return settled;
}

static void budgets_are_counted_together(void **state)
{
    struct holds old, new;
    int64_t held;

    (void)state;
    n_asked = 0;
    begin(0);
    set(0, 1000, -1, 100);
    assert_int_equal(n_asked, 1);
    old = enter(0);
    assert_int_equal(reserve(&old, 10, 500), 0);
    begin(1);
    set(1, 1000, -1, 0);
    assert_int_equal(n_asked, 1); /* the old one knows better than the ledger */
    assert_int_equal(sum(1, 10, &held), 100);
    assert_int_equal(held, 500);
    new = enter(1);
    assert_int_equal(reserve(&new, 10, 401), ERR_BUDGET);
    assert_int_equal(reserve(&new, 10, 300), 0);
    assert_int_equal(sum(0, 10, &held), 100);
    assert_int_equal(held, 800);
    settle(&old, 10, 50);
    settle(&new, 10, 250);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(sum(i, 10, &held), 400);
        assert_int_equal(held, 0);
    }
    end(0);
    end(1);
}

/* A hold belongs to its window, whichever process begins the next one. */
static void a_day_ends_while_both_run(void **state)
{
    struct holds old, new;
    int64_t held, day = 2 * DAY_S;

    (void)state;
    begin(0);
    set(0, 1000, -1, 0);
    begin(1);
    set(1, 1000, -1, 0);
    old = enter(0);
    new = enter(1);
    assert_int_equal(reserve(&old, 10, 500), 0);
    assert_int_equal(reserve(&new, 10, 400), 0);
    settle(&new, day, 300); /* the new one begins the next day */
    new = enter(1);
    assert_int_equal(reserve(&new, day, 1000), 0);
    assert_int_equal(sum(0, day, &held), 0);
    assert_int_equal(held, 1500); /* of both days */
    settle(&old, day, 500);
    assert_int_equal(sum(0, day, &held), 0);
    assert_int_equal(held, 1000);
    settle(&new, day, 7);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(sum(i, day, &held), 7);
        assert_int_equal(held, 0);
    }
    end(0);
    end(1);
}

static void what_a_dead_process_held_is_free(void **state)
{
    struct holds old, new;
    int64_t held;

    (void)state;
    begin(0);
    set(0, 1000, -1, 0);
    begin(1);
    set(1, 1000, -1, 0);
    old = enter(0);
    assert_int_equal(reserve(&old, 10, 900), 0);
    tally_tidy(tally[1]); /* it lives */
    new = enter(1);
    assert_int_equal(reserve(&new, 10, 200), ERR_BUDGET);
    end(0);
    tally_tidy(tally[1]);
    assert_int_equal(sum(1, 10, &held), 0);
    assert_int_equal(held, 0);
    assert_int_equal(reserve(&new, 10, 1000), 0);
    settle(&new, 10, 1000);
    end(1);
}

static void rates_go_on(void **state)
{
    struct holds h[3];
    struct err e = {0};
    struct holds_refusal why = {.e = &e};

    (void)state;
    begin(0);
    set(0, -1, 3, 0);
    h[0] = enter(0);
    h[1] = enter(0);
    begin(1);
    set(1, -1, 3, 0);
    assert_int_equal(reserve(&h[0], 10, 2), 0);
    h[2] = enter(1);
    assert_int_equal(reserve(&h[2], 10, 2), ERR_RATE_TOKENS);
    settle(&h[0], 10, 1); /* what it held and did not use is the new one's, too */
    assert_int_equal(reserve(&h[2], 10, 2), 0);
    for (int i = 0; i < 2; i++) {
        struct holds one = {.n_path = 1, .path = {&account[i]}};
        assert_int_equal(holds_enter(&one, NOW, &why), ERR_RATE_REQUESTS);
    }
    end(0);
    end(1);
}

#define ROUNDS 3000

static void *spend(void *arg)
{
    int i = *(int *)arg;
    int64_t *spent = (int64_t *)arg + 1;

    for (int k = 0; k < ROUNDS; k++) {
        struct holds h = enter(i);
        if (!reserve(&h, 10, 9)) {
            *spent += k % 9;
            settle(&h, 10, k % 9);
        } else {
            settle(&h, 10, 0);
        }
    }
    return NULL;
}

static void both_spend_at_once(void **state)
{
    int64_t arg[2][2] = {{0}, {0}}, held;
    pthread_t thread[2];

    (void)state;
    begin(0);
    set(0, 20000, -1, 0);
    begin(1);
    set(1, 20000, -1, 0);
    for (int i = 0; i < 2; i++) {
        *(int *)arg[i] = i;
        assert_int_equal(pthread_create(&thread[i], NULL, spend, arg[i]), 0);
    }
    for (int i = 0; i < 2; i++)
        pthread_join(thread[i], NULL);
    assert_int_equal(sum(0, 10, &held), arg[0][1] + arg[1][1]);
    assert_in_range(sum(1, 10, &held), 20000 - 9, 20000);
    assert_int_equal(held, 0);
    end(0);
    end(1);
}

/* What is no tally is not taken for one. */
static void another_memory_is_left(void **state)
{
    struct tally *t = NULL;
    struct err e = {0};
    int fd = memfd_create("other", MFD_CLOEXEC);

    (void)state;
    assert_true(fd >= 0 && !ftruncate(fd, 100));
    assert_int_equal(tally_open(&t, fd, &e), 0);
    assert_non_null(tally_row(t, 't', "a"));
    assert_ptr_equal(tally_row(t, 't', "a"), tally_row(t, 't', "a"));
    assert_ptr_not_equal(tally_row(t, 't', "a"), tally_row(t, 'k', "a"));
    tally_close(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(budgets_are_counted_together),
        cmocka_unit_test(a_day_ends_while_both_run),
        cmocka_unit_test(what_a_dead_process_held_is_free),
        cmocka_unit_test(rates_go_on),
        cmocka_unit_test(both_spend_at_once),
        cmocka_unit_test(another_memory_is_left),
    };

    log_setup(LOG_OFF, 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
