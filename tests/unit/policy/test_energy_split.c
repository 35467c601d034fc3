/* Energy is split without a rest, and what a meter says is handed out to the last microjoule,
 * whatever it says. */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/rand.h"
#include "policy/energy_curve.h"
#include "policy/energy_flow.h"
#include "policy/energy_split.h"

__extension__ typedef __int128 wide;

struct dice {
    uint64_t at;
};

static uint32_t roll(struct dice *d, uint32_t below)
{
    uint32_t r[4];

    rand_philox(7, d->at++, 0, r);
    return r[0] % below;
}

/* ---- the split ------------------------------------------------------------------------------- */

static void split_is_exact(void **state)
{
    struct energy_share s[64];
    struct dice d = {0};

    (void)state;
    for (int round = 0; round < 20000; round++) {
        int n = 1 + (int)roll(&d, ARRAY_LEN(s));
        int64_t uj = roll(&d, 2) ? (int64_t)roll(&d, 1000) : (int64_t)roll(&d, UINT32_MAX) << 28;
        int64_t sum = 0;
        wide work = 0;
        for (int i = 0; i < n; i++) {
            s[i].work = (uint64_t)roll(&d, UINT32_MAX) << roll(&d, 8);
            work += s[i].work;
        }
        assert_int_equal(energy_split(uj, s, n), work ? 0 : uj);
        for (int i = 0; i < n; i++) {
            int64_t quota = work ? (int64_t)((wide)uj * s[i].work / work) : 0;
            assert_true(s[i].uj >= quota - 1 && s[i].uj <= quota + 1);
            sum += s[i].uj;
        }
        assert_true(sum == (work ? uj : 0));
    }
}

static void split_has_edges(void **state)
{
    struct energy_share none[2] = {{0, 0}, {0, 0}};
    struct energy_share one[3] = {{0, 0}, {ENERGY_WORK_MAX, 0}, {0, 0}};

    (void)state;
    assert_int_equal(energy_split(5, NULL, 0), 5); /* nobody worked */
    assert_int_equal(energy_split(5, none, 2), 5);
    assert_int_equal(none[0].uj + none[1].uj, 0);
    assert_int_equal(energy_split(ENERGY_UJ_MAX, one, 3), 0);
    assert_true(one[1].uj == ENERGY_UJ_MAX && !one[0].uj && !one[2].uj);
}

static void work_is_measured(void **state)
{
    const struct energy_reads reads = {.weight_bytes = 1000000, .kv_token_bytes = 1000};
    struct draft_cost decode = {0}, prompt = {0}, none = {0};
    uint64_t near, far;

    (void)state;
    draft_cost_see(&decode, 1, 1000);
    draft_cost_see(&decode, 2, 1100);
    draft_cost_see(&prompt, 256, 20000);
    near = energy_work(&decode, &reads, 0, 1);
    far = energy_work(&decode, &reads, 1000, 1); /* it reads as much KV as weights */
    assert_true(near > 995000 && near < 1010000);
    assert_true(far > 1990000 && far < 2010000);
    assert_true(energy_work(&prompt, &reads, 0, 256) > 20 * near); /* a prompt beside one token */
    assert_true(energy_work(&decode, &reads, 0, 2) > near);        /* a draft costs */
    assert_true(energy_work(&none, &reads, 0, 512) > energy_work(&none, &reads, 0, 1));
    assert_true(energy_work(&none, &reads, 0, 1) >= 1);
    draft_cost_see(&none, 1, 1e30);
    assert_true(energy_work(&none, &reads, 0, 1) == ENERGY_WORK_MAX);
}

/* ---- the flow -------------------------------------------------------------------------------- */

#define SECOND INT64_C(1000000)

static void balance(const struct energy_flow *f)
{
    assert_true(f->attributed_uj + f->unattributed_uj == f->taken_uj);
}

/* A steady meter, slow or quick: busy seconds are paid by who worked, idle ones by nobody. */
static void steady(int is_quick)
{
    struct energy_flow f;
    int64_t now = 0, paid = 0;

    energy_flow_open(&f, SECOND, is_quick, now);
    for (int i = 0; i < 200; i++) {
        now += SECOND / 10;
        if (is_quick || i % 10 == 9)
            assert_int_equal(energy_flow_add(&f, now, is_quick ? 1000000 : 10000000), 1);
        if (i / 50 % 2) /* half of the time somebody works */
            paid += energy_flow_take(&f, now);
        else
            energy_flow_idle(&f, now);
        balance(&f);
    }
    assert_true(f.metered_uj == 200000000 && paid == f.attributed_uj);
    assert_true(paid > 95000000 && paid < 105000000);
    energy_flow_close(&f);
    balance(&f);
    assert_true(f.taken_uj == f.metered_uj);
}

static void flow_is_paid(void **state)
{
    (void)state;
    steady(0);
    steady(1);
}

/* Power that doubles and halves: what was guessed is put right by what comes next. */
static void guesses_are_put_right(void **state)
{
    struct energy_flow f;
    int64_t now = 0, ahead;

    (void)state;
    energy_flow_open(&f, SECOND, 0, now);
    for (int i = 1; i <= 1000; i++) {
        now += SECOND / 100;
        if (i % 100 == 0) {
            energy_flow_add(&f, now, i / 100 % 4 < 2 ? 200000000 : 20000000);
            ahead = f.taken_uj - f.metered_uj;
            assert_true(ahead < 200000000 && ahead > -220000000);
        }
        energy_flow_take(&f, now);
        balance(&f);
    }
    ahead = f.taken_uj - f.metered_uj; /* no drift: at most what one interval may be off */
    assert_true(ahead < 200000000 && ahead > -220000000);
}

/* A meter that falls silent: after three intervals nothing is guessed, and what it tells when it
 * comes back is nobody's. */
static void silence_is_nobodys(void **state)
{
    struct energy_flow f;
    int64_t now, paid;

    (void)state;
    energy_flow_open(&f, SECOND, 0, 0);
    for (now = SECOND; now <= 10 * SECOND; now += SECOND) {
        energy_flow_add(&f, now, 50000000);
        energy_flow_take(&f, now);
    }
    for (; now <= 60 * SECOND; now += SECOND)
        energy_flow_take(&f, now);
    assert_int_equal(energy_flow_is_late(&f, now), 1);
    paid = f.attributed_uj;
    assert_true(paid >= 600000000 && paid <= 700000000); /* ten seconds and three guessed */
    assert_int_equal(energy_flow_add(&f, now, 51 * INT64_C(50000000)), 1);
    assert_int_equal(energy_flow_is_late(&f, now), 0);
    assert_int_equal(energy_flow_take(&f, now), 0);
    balance(&f);
    assert_true(f.attributed_uj == paid && f.taken_uj == f.metered_uj);
    energy_flow_take(&f, now + SECOND);
    assert_true(f.attributed_uj - paid > 49000000 && f.attributed_uj - paid < 51000000);
}

/* What can't be is not believed, and what was used meanwhile is not counted. */
static void lies_are_refused(void **state)
{
    struct energy_flow f;

    (void)state;
    energy_flow_open(&f, SECOND, 0, 0);
    assert_int_equal(energy_flow_add(&f, SECOND, 30000000), 1);
    assert_int_equal(energy_flow_add(&f, 2 * SECOND, -1), 0);
    assert_int_equal(energy_flow_add(&f, 3 * SECOND, INT64_MAX), 0);
    assert_int_equal(energy_flow_add(&f, 3 * SECOND, 2 * ENERGY_POWER_MAX_UW), 0);
    assert_int_equal(energy_flow_add(&f, 2 * SECOND, 1), 0); /* time went back */
    assert_int_equal(energy_flow_power(&f, 3 * SECOND, -5), 0);
    assert_int_equal(energy_flow_power(&f, 3 * SECOND, INT64_MAX), 0);
    assert_true(f.metered_uj == 30000000 && f.n_refused == 6);
    assert_int_equal(energy_flow_add(&f, 4 * SECOND, 30000000), 1);
    assert_true(f.metered_uj == 60000000 && f.power_uw == 30000000);
}

static void power_is_summed(void **state)
{
    struct energy_flow f;

    (void)state;
    energy_flow_open(&f, SECOND, 0, 0);
    energy_flow_power(&f, SECOND, 100000000); /* the first says nothing of before */
    assert_true(f.metered_uj == 0);
    energy_flow_power(&f, 2 * SECOND, 300000000);
    assert_true(f.metered_uj == 200000000);
    energy_flow_power(&f, 3600 * SECOND, 300000000); /* what was between is not known */
    assert_true(f.metered_uj == 200000000 + ENERGY_LATE * INT64_C(300000000));
}

static void counters_wrap(void **state)
{
    struct energy_counter c = {0};

    (void)state;
    assert_true(energy_counter_see(&c, 100, 1000) == -1); /* the first */
    assert_true(energy_counter_see(&c, 400, 1000) == 300);
    assert_true(energy_counter_see(&c, 400, 1000) == 0);
    assert_true(energy_counter_see(&c, 900, 1000) == 500);
    assert_true(energy_counter_see(&c, 50, 1000) == 150); /* wrapped */
    assert_true(energy_counter_see(&c, 40, 1000) == -1);  /* backwards */
    assert_true(energy_counter_see(&c, 41, 1000) == 1);
    assert_true(energy_counter_see(&c, 2000, 1000) == -1); /* beyond its range */
    assert_true(energy_counter_see(&c, 10, 1000) == -1);
    assert_true(energy_counter_see(&c, 30, 0) == 20);
    assert_true(energy_counter_see(&c, 20, 0) == -1);
    assert_true(energy_counter_see(&c, UINT64_MAX, 0) == -1);
}

/* Random meters of every kind under random engines: always the same sum. */
static void it_always_closes(void **state)
{
    struct energy_share s[8];
    struct dice d = {1};

    (void)state;
    for (int world = 0; world < 400; world++) {
        int is_quick = world % 3 == 0, is_power = !is_quick && world % 2;
        int64_t interval = 1 + (int64_t)roll(&d, 5000000), now = (int64_t)roll(&d, 1000000);
        int64_t requests[8] = {0}, sum = 0, range = 1 + (int64_t)roll(&d, UINT32_MAX);
        uint64_t raw = roll(&d, UINT32_MAX);
        struct energy_counter c = {0};
        struct energy_flow f;
        energy_flow_open(&f, interval, is_quick, now);
        for (int i = 0; i < 500; i++) {
            now += (int64_t)roll(&d, roll(&d, 50) ? 300000 : 90000000);
            raw += roll(&d, 20) ? roll(&d, 3000000) : roll(&d, UINT32_MAX); /* also jumps */
            if (!roll(&d, 40))
                raw = roll(&d, 1000); /* starts again */
            if (is_power && !roll(&d, 3)) {
                energy_flow_power(&f, now, (int64_t)roll(&d, UINT32_MAX) - 1000000);
            } else if (!is_power && (is_quick || !roll(&d, 3))) {
                int64_t uj = energy_counter_see(&c, raw % (uint64_t)range, (uint64_t)range);
                if (uj >= 0)
                    energy_flow_add(&f, now, uj);
                else
                    energy_flow_skip(&f, now);
            }
            if (roll(&d, 4)) {
                int n = 1 + (int)roll(&d, 8);
                int64_t uj = energy_flow_take(&f, now);
                assert_true(uj >= 0);
                for (int k = 0; k < n; k++)
                    s[k].work = 1 + roll(&d, 100000);
                assert_int_equal(energy_split(uj, s, n), 0);
                for (int k = 0; k < n; k++)
                    requests[k] += s[k].uj;
            } else {
                energy_flow_idle(&f, now);
            }
            balance(&f);
            if (is_quick)
                assert_true(f.taken_uj == f.metered_uj);
        }
        for (int k = 0; k < 8; k++)
            sum += requests[k];
        assert_true(sum == f.attributed_uj);
        energy_flow_close(&f);
        assert_true(sum + f.unattributed_uj == f.metered_uj);
    }
}

static void curve_is_read(void **state)
{
    struct energy_curve c;

    (void)state;
    energy_curve_line(&c, 10000000, 4000000);
    assert_true(energy_curve_uw(&c, 0) == 10000000 && energy_curve_uw(&c, -5) == 10000000);
    assert_true(energy_curve_uw(&c, 500) == 12000000);
    assert_true(energy_curve_uw(&c, 8000) == 42000000); /* beyond the last point */
    c.point[c.n++] = (struct energy_point){2000, 15000000};
    assert_true(energy_curve_uw(&c, 1500) == 14500000);
    assert_true(energy_curve_uw(&c, 3000) == 16000000);
    c.n = 1;
    assert_true(energy_curve_uw(&c, 3000) == 10000000);
    energy_curve_line(&c, 0, INT64_MAX / 2);
    assert_true(energy_curve_uw(&c, INT64_MAX) == INT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(split_is_exact),        cmocka_unit_test(split_has_edges),
        cmocka_unit_test(work_is_measured),      cmocka_unit_test(flow_is_paid),
        cmocka_unit_test(guesses_are_put_right), cmocka_unit_test(silence_is_nobodys),
        cmocka_unit_test(lies_are_refused),      cmocka_unit_test(power_is_summed),
        cmocka_unit_test(counters_wrap),         cmocka_unit_test(it_always_closes),
        cmocka_unit_test(curve_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
