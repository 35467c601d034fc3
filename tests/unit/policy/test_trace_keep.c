/* Which requests are traced. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rand.h"
#include "policy/trace_keep.h"

static void a_part_of_them(void **state)
{
    static const double ratios[] = {0, 0.001, 0.1, 0.5, 1};

    for (int k = 0; k < 5; k++) {
        int n = 0;
        for (uint64_t i = 0; i < 100000; i++) {
            unsigned char id[16];
            uint32_t random[4];
            rand_philox(7, i, 0, random);
            for (int j = 0; j < 16; j++)
                id[j] = (unsigned char)(random[j / 4] >> 8 * (j % 4));
            n += trace_keep(id, trace_keep_part(ratios[k]));
            if (k && trace_keep(id, trace_keep_part(ratios[k - 1]))) /* a lower one: a part of it */
                assert_true(trace_keep(id, trace_keep_part(ratios[k])));
        }
        assert_true(n >= (int)(100000 * ratios[k] * 0.8) && n <= (int)(100000 * ratios[k] * 1.2));
    }
}

static void the_ends(void **state)
{
    unsigned char least[16] = {0}, most[16];

    for (int i = 0; i < 16; i++)
        most[i] = 255;
    assert_true(trace_keep(most, trace_keep_part(1)));
    assert_true(trace_keep(most, trace_keep_part(2)));
    assert_false(trace_keep(least, trace_keep_part(0)));
    assert_false(trace_keep(least, trace_keep_part(-1)));
    assert_true(trace_keep(least, trace_keep_part(1e-9)));
    most[0] = 0; /* the first bytes do not matter */
    assert_false(trace_keep(most, trace_keep_part(0.999999)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_part_of_them),
                                       cmocka_unit_test(the_ends)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
