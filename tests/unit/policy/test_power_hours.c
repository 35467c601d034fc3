/* What a site's power became: worked examples, and that the parts always sum to the whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/rand.h"
#include "policy/power_hours.h"

#define MW     INT64_C(1000000)
#define SECOND INT64_C(1000000)
#define MINUTE (60 * SECOND)
#define START  (INT64_C(1800000000) * SECOND) /* on a minute */

static void a_piece(void **state)
{
    struct power_state s = {.contracted_w = 20 * MW,
                            .energised_w = 10 * MW,
                            .encumbered_w = 1 * MW,
                            .ready_w = 6 * MW,
                            .factor_ppm = POWER_PPM};
    struct power_piece p;

    (void)state;
    power_piece_begin(&p, START + 20 * SECOND);
    assert_int_equal(power_piece_end(&p, POWER_PIECE_US), START + MINUTE);
    assert_int_equal(power_piece_end(&p, POWER_HOUR_US), START + 60 * MINUTE);
    assert_false(power_piece_ok(&p)); /* of no time */
    assert_int_equal(power_piece_add(&p, &s, START + 30 * SECOND), 0);
    s.factor_ppm = 500000;
    s.cause = POWER_CURTAILMENT;
    assert_int_equal(power_piece_add(&p, &s, START + 40 * SECOND), 0);
    s.factor_ppm = 333333; /* of 9 MW over one microsecond it takes 6000003 of 9000000 */
    s.cause = POWER_ENVIRONMENT;
    assert_int_equal(power_piece_add(&p, &s, START + 40 * SECOND + 1), 0);
    assert_true(power_piece_ok(&p));
    assert_int_equal(p.contracted_uj, 20 * MW * (20 * SECOND + 1));
    assert_int_equal(p.energised_uj, 10 * MW * (20 * SECOND + 1));
    assert_int_equal(p.encumbered_uj, 1 * MW * (20 * SECOND + 1));
    assert_int_equal(p.ready_uj, 6 * MW * (20 * SECOND + 1));
    assert_int_equal(p.lost_uj[POWER_CURTAILMENT], 9 * MW / 2 * 10 * SECOND);
    assert_int_equal(p.lost_uj[POWER_ENVIRONMENT], 6000003);
    assert_int_equal(power_piece_usable(&p),
                     p.energised_uj - p.encumbered_uj - 9 * MW / 2 * 10 * SECOND - 6000003);
}

/* 10 MW for a minute of which 7 microjoules were lost: of a third of it, 200 MJ and 2. */
static void a_piece_that_is_cut(void **state)
{
    const struct power_piece p = {.from_us = START,
                                  .until_us = START + MINUTE,
                                  .energised_uj = 10 * MW * MINUTE,
                                  .ready_uj = 6 * MW * MINUTE,
                                  .lost_uj = {[POWER_OPERATOR] = 7}};
    struct power_piece cut;

    (void)state;
    assert_int_equal(power_piece_cut(&p, START + 10 * SECOND, START + 30 * SECOND, &cut), 0);
    assert_int_equal(cut.from_us, START + 10 * SECOND);
    assert_int_equal(cut.until_us, START + 30 * SECOND);
    assert_int_equal(cut.energised_uj, 200 * MW * SECOND);
    assert_int_equal(cut.ready_uj, 120 * MW * SECOND);
    assert_int_equal(cut.lost_uj[POWER_OPERATOR], 2);
    assert_int_equal(power_piece_cut(&p, 0, INT64_MAX, &cut), 0); /* all of it */
    assert_memory_equal(&cut, &p, sizeof p);
    assert_int_equal(power_piece_cut(&p, START + MINUTE, INT64_MAX, &cut), -1);
    assert_int_equal(power_piece_cut(&p, 0, START, &cut), -1);
}

static void what_cannot_be(void **state)
{
    const struct power_state good = {.energised_w = MW, .factor_ppm = POWER_PPM};
    struct power_state s = good;
    struct power_piece p, was;

    (void)state;
    power_piece_begin(&p, START + 59 * SECOND);
    was = p;
    assert_int_equal(power_piece_add(&p, &s, START + 59 * SECOND), -1);
    assert_int_equal(power_piece_add(&p, &s, START + 60 * MINUTE + 1), -1); /* another hour */
    s.energised_w = -1;
    assert_int_equal(power_piece_add(&p, &s, START + MINUTE), -1);
    s.energised_w = POWER_PIECE_WATTS + 1;
    assert_int_equal(power_piece_add(&p, &s, START + MINUTE), -1);
    s = good;
    s.factor_ppm = POWER_PPM + 1;
    assert_int_equal(power_piece_add(&p, &s, START + MINUTE), -1);
    assert_memory_equal(&p, &was, sizeof p);
    s = good;
    s.encumbered_w = 5 * MW; /* more than there is: all of it */
    assert_int_equal(power_piece_add(&p, &s, START + MINUTE), 0);
    assert_int_equal(power_piece_usable(&p), 0);
    assert_true(power_piece_ok(&p));
    p.lost_uj[POWER_OPERATOR]++;
    assert_false(power_piece_ok(&p));
    power_piece_begin(&p, START);
    s = good;
    s.energised_w = s.contracted_w = POWER_PIECE_WATTS; /* a whole minute of the most fits */
    assert_int_equal(power_piece_add(&p, &s, START + MINUTE), 0);
    assert_int_equal(p.energised_uj, POWER_PIECE_WATTS * MINUTE);
    assert_true(power_piece_ok(&p));
    assert_int_equal(power_piece_add(&p, &s, START + MINUTE + 1), -1); /* and no more */
    p.energised_uj++;
    assert_false(power_piece_ok(&p));
}

/* A demonstration's: longer than a minute, of less. */
static void a_piece_of_an_hour(void **state)
{
    struct power_state s = {.energised_w = 420 * MW, .factor_ppm = POWER_PPM};
    struct power_piece p;

    (void)state;
    power_piece_begin(&p, START);
    assert_int_equal(power_piece_add(&p, &s, START + 60 * MINUTE), 0);
    assert_int_equal(p.energised_uj, 420 * MW * 60 * MINUTE);
    assert_true(power_piece_ok(&p));
    p.until_us++;
    assert_false(power_piece_ok(&p));
    power_piece_begin(&p, START);
    s.energised_w = POWER_PIECE_WATTS / 60 + 1; /* more than a row can hold */
    assert_int_equal(power_piece_add(&p, &s, START + 60 * MINUTE), -1);
}

static void an_hour(void **state)
{
    struct power_sum s = {.energised = 1000, .encumbered = 100, .ready = 500, .lost = {50, 150}};
    struct power_use u = {.own = 200, .other = 60, .lent = 40};
    struct power_parts p;

    (void)state;
    power_parts(&s, &u, &p);
    assert_int_equal((int64_t)p.encumbered, 100);
    assert_int_equal((int64_t)p.curtailed, 200);
    assert_int_equal((int64_t)p.used, 260);
    assert_int_equal((int64_t)p.lent, 40);
    assert_int_equal((int64_t)p.sold, 260); /* 500 ready, of which 240 were drawn */
    assert_int_equal((int64_t)p.idle, 140);
    assert_int_equal((int64_t)p.over, 0);
    u.own = 900; /* more than there was */
    power_parts(&s, &u, &p);
    assert_int_equal((int64_t)p.used, 700);
    assert_int_equal((int64_t)(p.sold + p.idle + p.lent), 0);
    assert_int_equal((int64_t)p.over, 300);
    memset(&u, 0, sizeof u);
    s.ready = 5000;
    power_parts(&s, &u, &p);
    assert_int_equal((int64_t)p.sold, 700); /* what is there, and no more */
}

/* Whatever is added up, the parts are the whole. */
static void parts_are_the_whole(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 2000; seed++) {
        struct power_sum sum = {0};
        struct power_use u;
        struct power_parts p;
        uint32_t x[4], y[4];
        int64_t at = START, energised = 0;
        for (uint64_t i = 0; i < 20; i++) {
            struct power_piece piece;
            struct power_state s;
            rand_philox(7, seed * 100 + i, 0, x);
            rand_philox(8, seed * 100 + i, 0, y);
            s = (struct power_state){.contracted_w = x[0],
                                     .energised_w = x[1],
                                     .encumbered_w = x[2] / 4,
                                     .ready_w = x[3],
                                     .factor_ppm = (int32_t)(y[0] % (POWER_PPM + 1)),
                                     .cause = (enum power_cause)(y[1] % POWER_MEASURED)};
            power_piece_begin(&piece, at);
            at += 1 + y[2] % MINUTE;
            if (at > power_piece_end(&piece, POWER_PIECE_US))
                at = power_piece_end(&piece, POWER_PIECE_US);
            assert_int_equal(power_piece_add(&piece, &s, at), 0);
            assert_true(power_piece_ok(&piece));
            energised += piece.energised_uj / 1000000;
            power_sum_add(&sum, &piece);
        }
        rand_philox(9, seed, 0, x);
        u = (struct power_use){(power_uj)x[0] << 20, (power_uj)x[1] << 20, (power_uj)x[2] << 20,
                               (power_uj)x[3] << 18, (power_uj)y[0] << 17};
        power_parts(&sum, &u, &p);
        assert_true(p.energised ==
                    p.encumbered + p.curtailed + p.used + p.lent + p.backstop + p.sold + p.idle);
        assert_true(p.energised / 1000000 >= energised && p.energised / 1000000 <= energised + 20);
        assert_true(p.used >= 0 && p.lent >= 0 && p.backstop >= 0 && p.sold >= 0 && p.idle >= 0);
        assert_true(p.used + p.lent + p.backstop + p.over ==
                    u.own + u.other + u.lent + (u.taken > u.backstop ? u.taken : u.backstop));
        assert_int_equal(sum.watched_us, at - START);
    }
}

static void every_digit(void **state)
{
    char text[POWER_UJ_TEXT_MAX];

    (void)state;
    assert_string_equal(power_uj_show(0, text), "0");
    assert_string_equal(power_uj_show(INT64_MIN, text), "-9223372036854775808");
    assert_string_equal(power_uj_show((power_uj)INT64_MAX * 1000000 + 5, text),
                        "9223372036854775807000005");
    assert_string_equal(power_uj_show(-((power_uj)1 << 126) * 2, text),
                        "-170141183460469231731687303715884105728");
}

static void words(void **state)
{
    (void)state;
    for (int i = 0; i < POWER_CAUSES; i++)
        assert_int_equal(power_cause_find(power_cause_name((enum power_cause)i)), i);
    assert_int_equal(power_cause_find("none"), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_piece),
        cmocka_unit_test(a_piece_that_is_cut),
        cmocka_unit_test(what_cannot_be),
        cmocka_unit_test(a_piece_of_an_hour),
        cmocka_unit_test(an_hour),
        cmocka_unit_test(parts_are_the_whole),
        cmocka_unit_test(every_digit),
        cmocka_unit_test(words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
