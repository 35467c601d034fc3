/* The hash map against a plain list: keys of every length, growth, both ways of asking. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/map.h"

enum { LEN = 40, N = 3000 };

/* Key i: its length is i % LEN, a byte in its middle tells it from the others of this length. */
static size_t make_key(uint32_t i, char out[LEN])
{
    size_t n = i % LEN;
    memset(out, 'k', LEN);
    out[n / 2] = (char)(1 + i / LEN);
    return n;
}

/* There is but one key without bytes. */
static int is_usable(uint32_t i)
{
    return i % LEN != 0 || i == 0;
}

static void test_all_lengths(void **state)
{
    char key[LEN];
    uint32_t value, n = 0;
    struct map m;

    assert_int_equal(map_init(&m, 4), 0); /* it grows */
    for (uint32_t i = 0; i < N; i++) {
        size_t len = make_key(i, key);
        if (!is_usable(i))
            continue;
        n++;
        assert_int_equal(map_get(&m, key, len, &value), 0);
        if (i % 2) {
            assert_int_equal(map_put(&m, key, len, i + 1), 0);
            assert_int_equal(map_put(&m, key, len, i), 0); /* replaced */
        } else {
            uint32_t aim = map_aim(&m, key, len), other = 0;
            assert_int_equal(map_add_aimed(&m, aim, key, len, i, &other), 1);
            assert_int_equal(map_add_aimed(&m, aim, key, len, i + 1, &other), 0);
            assert_int_equal(other, i); /* and kept */
        }
    }
    assert_int_equal(m.n, n);
    for (uint32_t i = 0; i < N; i++) {
        size_t len = make_key(i, key);
        if (!is_usable(i))
            continue;
        assert_int_equal(map_get(&m, key, len, &value), 1);
        assert_int_equal(value, i);
        assert_int_equal(map_get_aimed(&m, map_aim(&m, key, len), key, len, &value), 1);
        assert_int_equal(value, i);
    }
    map_done(&m);
}

/* An aim holds while others are added and the table grows. */
static void test_aim_outlives_growth(void **state)
{
    char key[LEN];
    uint32_t value, aim[N];
    struct map m;

    assert_int_equal(map_init(&m, 1), 0);
    for (uint32_t i = 0; i < N; i++)
        aim[i] = map_aim(&m, key, make_key(i, key));
    for (uint32_t i = 0; i < N; i++) {
        size_t len = make_key(i, key);
        if (is_usable(i))
            assert_int_equal(map_add_aimed(&m, aim[i], key, len, i, &value), 1);
    }
    for (uint32_t i = 0; i < N; i++) {
        size_t len = make_key(i, key);
        if (is_usable(i)) {
            assert_int_equal(map_get_aimed(&m, aim[i], key, len, &value), 1);
            assert_int_equal(value, i);
        }
    }
    map_done(&m);
}

/* Every byte of a key counts, wherever it is. */
static void test_hash_sees_every_byte(void **state)
{
    char key[LEN] = {0};

    for (size_t n = 1; n < LEN; n++) {
        uint64_t h = map_hash(key, n, 1);
        assert_true(h != map_hash(key, n - 1, 1));
        assert_true(h != map_hash(key, n, 2));
        for (size_t i = 0; i < n; i++) {
            key[i] = 1;
            assert_true(h != map_hash(key, n, 1));
            key[i] = 0;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_lengths),
        cmocka_unit_test(test_aim_outlives_growth),
        cmocka_unit_test(test_hash_sees_every_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
