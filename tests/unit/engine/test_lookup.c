/* Drafts by lookup: the longest and newest agreement wins, repetition goes on, predictions are
 * followed from their beginning and found again after a difference; against a plain search on
 * random text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/rand.h"
#include "engine/lookup.h"

#define LEN(a) ((int32_t)(sizeof(a) / sizeof((a)[0])))

static void finds(void **state)
{
    static const int32_t text[] = {1, 2, 3, 4, 5, 9, 2, 3, 4, 6, 7, 1, 2, 3, 4};
    struct lookup d = {0};
    struct lookup_found f;

    (void)state;
    lookup_reset(&d);
    lookup_find(&d, &f);
    assert_int_equal(f.n, 0); /* nothing there */
    lookup_add(&d, text, LEN(text), 0);
    lookup_find(&d, &f);
    assert_int_equal(f.match, 4); /* 1 2 3 4, not the newer but shorter 2 3 4 */
    assert_int_equal(f.token[0], 5);
    assert_int_equal(f.token[1], 9);
    assert_int_equal(f.n, LOOKUP_MAX);
    lookup_add(&d, (const int32_t[]){8, 8}, 2, 1);
    lookup_find(&d, &f);
    assert_int_equal(f.n, 0);
    assert_int_equal(f.match, 0);
    lookup_reset(&d);
}

static void repeats(void **state)
{
    static const int32_t text[] = {7, 5, 6, 5, 6, 5, 6};
    struct lookup d = {0};
    struct lookup_found f;

    (void)state;
    lookup_reset(&d);
    lookup_add(&d, text, LEN(text), 0);
    lookup_find(&d, &f);
    assert_int_equal(f.n, LOOKUP_MAX);
    for (int32_t i = 0; i < f.n; i++)
        assert_int_equal(f.token[i], i % 2 ? 6 : 5);
    lookup_reset(&d);
}

static void predicts(void **state)
{
    static const int32_t prediction[] = {10, 11, 12, 13, 14, 15, 16, 17};
    static const int32_t prompt[] = {1, 2, 3};
    struct lookup d = {0};
    struct lookup_found f;

    (void)state;
    lookup_reset(&d);
    lookup_predict(&d, prediction, LEN(prediction));
    lookup_add(&d, prompt, LEN(prompt), 0);
    lookup_find(&d, &f);
    assert_int_equal(f.n, LEN(prediction));
    assert_int_equal(f.from_predicted, LEN(prediction));
    assert_memory_equal(f.token, prediction, sizeof prediction);
    lookup_add(&d, prediction, 2, 1); /* as predicted */
    lookup_find(&d, &f);
    assert_int_equal(f.token[0], 12);
    assert_int_equal(f.n, 6);
    lookup_add(&d, (const int32_t[]){99}, 1, 1); /* a difference: lost */
    lookup_find(&d, &f);
    assert_int_equal(f.n, 0);
    lookup_add(&d, prediction + 3, 3, 1); /* found again */
    lookup_find(&d, &f);
    assert_int_equal(f.match, 3);
    assert_int_equal(f.n, 2);
    assert_int_equal(f.token[0], 16);
    lookup_add(&d, prediction + 6, 2, 1); /* its end: no token of the prompt follows it */
    lookup_find(&d, &f);
    assert_int_equal(f.n, 0);
    lookup_reset(&d);
}

/* Longest agreement of at least 3, at most 32, by looking everywhere. */
static int32_t plain_match(const int32_t *t, int32_t n)
{
    int32_t best = 0;

    for (int32_t i = 0; i < n - 1; i++) {
        int32_t k = 0;
        while (k <= i && k < 32 && t[i - k] == t[n - 1 - k])
            k++;
        best = k > best ? k : best;
    }
    return best >= 3 ? best : 0;
}

static void random_text(void **state)
{
    static int32_t t[3000];
    struct lookup d = {0};
    struct lookup_found f;
    int32_t n = 0, found = 0;

    (void)state;
    lookup_reset(&d);
    for (; n < LEN(t); n++) {
        uint32_t r[4];
        rand_philox(9, (uint64_t)n, 0, r);
        /* copies of earlier stretches, and noise */
        t[n] = n > 40 && r[0] % 8 ? t[n - 37] : (int32_t)(r[1] % 50);
        lookup_add(&d, t + n, 1, 1);
        lookup_find(&d, &f);
        if (!f.n)
            continue;
        found++;
        assert_true(f.match >= 3 && f.match <= plain_match(t, n + 1));
        int agrees = 0; /* its first token did follow such a match */
        for (int32_t i = f.match - 1; i < n && !agrees; i++)
            agrees =
                !memcmp(t + i - f.match + 1, t + n - f.match + 1, (size_t)f.match * sizeof *t) &&
                t[i + 1] == f.token[0];
        assert_true(agrees);
    }
    assert_true(found > 1000);
    lookup_reset(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds),
        cmocka_unit_test(repeats),
        cmocka_unit_test(predicts),
        cmocka_unit_test(random_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
