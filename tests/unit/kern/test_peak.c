/* Machine peaks: every measurement gives a number on every ISA, on its own threads and on a team's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "kern/peak.h"

static int n_runs;

/* A team of one thread, which does all parts in turn. */
static void run_in_turn(void *arg, int n, void (*fn)(void *fn_arg, int i), void *fn_arg)
{
    assert_string_equal(arg, "team");
    n_runs++;
    for (int i = 0; i < n; i++)
        fn(fn_arg, i);
}

static void test_peaks(void **state)
{
    (void)state;
    struct peak_mem m;
    assert_int_equal(peak_mem_init(&m, 2, 300000, NULL), 0);
    assert_true(m.bytes_per_thread >= 300000 && m.bytes_per_thread % 4096 == 0);
    for (int i = 0; i < KERN_N_ISA; i++) {
        double read = peak_read(&m, (enum kern_isa)i, NULL, 1);
        double dot = peak_dot((enum kern_isa)i, 2, NULL, 1);
        double fma_ = peak_fma((enum kern_isa)i, 2, NULL, 1);
        assert_true(isfinite(read) && read > 0);
        assert_true(isfinite(dot) && dot > 0);
        assert_true(isfinite(fma_) && fma_ > 0);
    }
    peak_mem_done(&m);
    peak_mem_done(&m);
    peak_mem_done(NULL);
}

/* Tiles are the CPU's, not the table's: a figure where there are some, 0 elsewhere. */
static void test_tiles(void **state)
{
    (void)state;
    double int8 = peak_tiles(0, 2, NULL, 1), bf16 = peak_tiles(1, 2, NULL, 1);
    assert_true(isfinite(int8) && isfinite(bf16));
    assert_int_equal(int8 > 0, bf16 > 0);
}

static void test_caches(void **state)
{
    (void)state;
    size_t l2 = 1, l3 = 1;
    peak_caches(&l2, &l3);
    assert_true(l2 == 0 || (l2 >= 64 << 10 && l2 <= (size_t)1 << 30));
    assert_true(l3 == 0 || (l3 >= 256 << 10 && l3 <= (size_t)1 << 40));
}

static void test_team(void **state)
{
    (void)state;
    char name[] = "team";
    struct peak_team team = {run_in_turn, name};
    struct peak_mem m;
    assert_int_equal(peak_mem_init(&m, 3, 4096, &team), 0);
    assert_int_equal(m.data[3 * 4096 - 1], 1); /* touched to the end */
    assert_true(peak_read(&m, KERN_ISA_SCALAR, &team, 1) > 0);
    assert_int_equal(n_runs, 2);
    peak_mem_done(&m);
}

static void test_huge(void **state)
{
    (void)state;
    uint8_t *p = peak_huge_alloc(3000000);
    assert_non_null(p);
    assert_int_equal((uintptr_t)p % ((size_t)2 << 20), 0);
    p[2999999] = 1;
    peak_huge_free(p, 3000000);
    peak_huge_free(NULL, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_peaks), cmocka_unit_test(test_tiles), cmocka_unit_test(test_caches),
        cmocka_unit_test(test_team),  cmocka_unit_test(test_huge),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
