#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rand.h"
#include "policy/hold.h"

static void stated(void **state)
{
    struct hold h = {0};
    int32_t max;

    hold_add(&h, 10, 0, 1, 50);
    assert_int_equal(hold_fit(&h, 0, 0, &max), 60);
    assert_int_equal(max, INT32_MAX);
    assert_int_equal(hold_fit(&h, 59, 0, &max), 60); /* never fits: the bucket says so */
    hold_add(&h, 7, 5, 3, 20);                       /* three choices, each with its prediction */
    assert_int_equal(hold_fit(&h, 1000, 0, &max), 60 + 7 + 3 * 5 + 3 * 20);
    assert_int_equal(max, INT32_MAX);
    hold_add(&h, 4, 9, 2, 0); /* nothing is generated, so no prediction is computed */
    assert_int_equal(hold_fit(&h, 1000, 0, &max), 142 + 4);
}

static void unstated(void **state)
{
    struct hold h = {0};
    int32_t max;

    hold_add(&h, 10, 0, 1, 100000); /* what the context leaves: all of it, no round number */
    assert_int_equal(hold_fit(&h, 0, 1, &max), 100010);
    assert_int_equal(max, INT32_MAX);
    assert_int_equal(hold_fit(&h, 100010, 1, &max), 100010);
    assert_int_equal(max, INT32_MAX);
    assert_int_equal(hold_fit(&h, 1000, 1, &max), 1000);
    assert_int_equal(max, 990);
    assert_int_equal(hold_fit(&h, 11, 1, &max), 11);
    assert_int_equal(max, 1);
    assert_int_equal(hold_fit(&h, 10, 1, &max), 11); /* no room for one: more than it ever has */
    assert_int_equal(max, 1);
}

static int64_t draw(uint64_t seed, uint64_t *at, int64_t max)
{
    return (int64_t)(rand_uniform(seed, 0, (*at)++) * (float)(max + 1));
}

/* Of any request, with any bucket and any ending: used <= held; and held <= bucket where the
 * maximum is not the client's and one token a choice fits. */
static void use_never_exceeds_the_hold(void **state)
{
    struct {
        int64_t n_prompt, n_prediction, max_tokens;
    } job[8];

    for (uint64_t seed = 0; seed < 20000; seed++) {
        struct hold h = {0};
        uint64_t at = 0;
        int n_jobs = 1 + (int)draw(seed, &at, 7), may_lower = (int)draw(seed, &at, 1);
        int64_t n = 1 + draw(seed, &at, 3), used = 0, least = 0, held, bucket;
        int32_t max;

        for (int i = 0; i < n_jobs; i++) {
            job[i].n_prompt = 1 + draw(seed, &at, 300);
            job[i].n_prediction = draw(seed, &at, 1) ? draw(seed, &at, 40) : 0;
            job[i].max_tokens = draw(seed, &at, 400);
            hold_add(&h, job[i].n_prompt, job[i].n_prediction, n, job[i].max_tokens);
            least += job[i].n_prompt;
            if (job[i].max_tokens)
                least += n * (job[i].n_prediction + 1);
        }
        bucket = draw(seed, &at, 8000);
        held = hold_fit(&h, bucket, may_lower, &max);
        assert_true(max > 0);
        if (may_lower && bucket >= least)
            assert_true(held <= bucket);
        if (!may_lower)
            assert_int_equal(max, INT32_MAX);
        for (int i = 0; i < n_jobs; i++) { /* an ending: prompt read so far, answers so far */
            int64_t most = job[i].max_tokens < max ? job[i].max_tokens : max;
            int whole = (int)draw(seed, &at, 1);
            used += whole ? job[i].n_prompt : draw(seed, &at, job[i].n_prompt);
            for (int k = 0; k < n && most; k++) {
                used += whole ? most : draw(seed, &at, most);
                used += whole ? job[i].n_prediction : draw(seed, &at, job[i].n_prediction);
            }
        }
        if (used > held)
            fail_msg("seed %d: %d used of %d held", (int)seed, (int)used, (int)held);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stated),
        cmocka_unit_test(unstated),
        cmocka_unit_test(use_never_exceeds_the_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
