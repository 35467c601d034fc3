/* A bump allocator: what it hands out, and what it counts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"

static void test_ceiling(void **state)
{
    struct arena a;

    arena_init(&a, 1024, 4096);
    assert_int_equal(a.failed, 0);
    assert_null(arena_alloc(&a, 4097));
    assert_int_equal(a.failed, ERR_LIMIT);
    assert_null(arena_array(&a, SIZE_MAX / 2, 3));
    assert_non_null(arena_alloc(&a, 0));
    assert_int_equal(a.used, 16);
    for (int i = 1; i < 256; i++)
        memset(arena_alloc(&a, 1), 1, 1);
    assert_int_equal(a.used, 4096);
    assert_null(arena_alloc(&a, 1));
    arena_done(&a);
    assert_int_equal(a.used, 0);
}

/* What is given up at the end of a chunk is memory too. */
static void test_leftovers_count(void **state)
{
    struct arena a;
    int n = 0;

    arena_init(&a, 1000, 20000);
    while (arena_alloc(&a, 600))
        n++;
    assert_true(n >= 18 && n <= 20); /* each a chunk of its own; 33 times 600 would be 20,000 */
    arena_done(&a);
}

/* A big piece does not take the room of small ones away. */
static void test_big_between_small(void **state)
{
    struct arena a;
    char *small[10];

    arena_init(&a, 1024, 1 << 20);
    for (int i = 0; i < 10; i++) {
        small[i] = arena_alloc(&a, 16);
        assert_non_null(arena_alloc(&a, 4096));
        assert_true(!i || small[i] == small[i - 1] + 16);
    }
    assert_int_equal(a.used, 10 * (16 + 4096));
    arena_done(&a);
}

static void test_copies(void **state)
{
    struct arena a;
    char *s;

    arena_init(&a, 64, 1 << 20);
    for (size_t n = 0; n < 200; n++)
        assert_int_equal((uintptr_t)arena_alloc(&a, n) % 16, 0);
    for (int i = 0; i < 10; i++) {
        s = arena_alloc(&a, 100);
        memset(s, 'x', 100);
    }
    s = arena_zalloc(&a, 100);
    for (int i = 0; i < 100; i++)
        assert_int_equal(s[i], 0);
    assert_string_equal(arena_strdup(&a, "four"), "four");
    assert_string_equal(arena_strndup(&a, "four", 2), "fo");
    assert_memory_equal(arena_dup(&a, "a\0b", 3), "a\0b", 3);
    assert_non_null(arena_dup(&a, NULL, 0));
    assert_null(arena_strndup(&a, "", SIZE_MAX));
    assert_null(arena_array(&a, SIZE_MAX, SIZE_MAX));
    arena_done(&a);
    arena_done(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ceiling),
        cmocka_unit_test(test_leftovers_count),
        cmocka_unit_test(test_big_between_small),
        cmocka_unit_test(test_copies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
