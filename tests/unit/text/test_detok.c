/* Streaming detokenizer: whole UTF-8 only, whatever the cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rand.h"
#include "text/detok.h"
#include "tiny_vocab.h"

#define BAD "\xef\xbf\xbd"

static struct tiny t;
static struct vocab *v; /* byte-level: id = byte; 256: a control token */

static int setup(void **state)
{
    tiny_bpe(&t, "gpt-2");
    tiny_add(&t, "<|x|>", VOCAB_CONTROL, 0);
    tiny_merge(&t, "\xc4\xa4", "\xc2\xac"); /* 257: 82 AC */
    tiny_merge(&t, "a", "\xc3\xa2");        /* 258: "a" E2 */
    v = tiny_open(&t);
    return v ? 0 : -1;
}

static int teardown(void **state)
{
    vocab_close(v);
    return 0;
}

/* Push bytes one by one; after each, what came out so far, then the end. "|" between steps. */
static void check_bytes(const char *bytes, size_t n, const char *want)
{
    struct detok d;
    struct buf b;

    buf_init(&b, 4096);
    detok_init(&d, v, 1);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(detok_push(&d, (unsigned char)bytes[i], 0, &b), 0);
        assert_true(utf8_valid(b.data, b.len, NULL));
        buf_add_char(&b, '|');
    }
    assert_int_equal(detok_finish(&d, &b), 0);
    assert_string_equal(b.data, want);
    buf_done(&b);
}

static void test_steps(void **state)
{
    check_bytes("ab", 2, "a|b|");
    check_bytes("\xf0\x9f\x98\x80!", 5, "|||\xf0\x9f\x98\x80|!|"); /* an emoji over four tokens */
    check_bytes("\xe2\x82", 2, "||" BAD);                          /* unfinished at the end: once */
    check_bytes("\xf0\x9f\x98", 3, "|||" BAD);
    check_bytes("\xff", 1, BAD "|");
    check_bytes("\xe2\x82z", 3, "||" BAD "z|"); /* one for the whole lost sequence */
    check_bytes("\xe2\xe2\x82\xac", 4, "|" BAD "||\xe2\x82\xac|");
    check_bytes("\xc0\xaf", 2, BAD "|" BAD "|");             /* overlong */
    check_bytes("\xed\xa0\x80", 3, "|" BAD BAD "|" BAD "|"); /* a surrogate */
    check_bytes("\xf4\x90", 2, "|" BAD BAD "|");             /* beyond U+10FFFF */
    check_bytes("\0", 1, "");
}

static void test_tokens(void **state)
{
    static const int32_t id[] = {258, 256, 257, 'b', 258};
    struct detok d;
    struct buf b;

    buf_init(&b, 4096);
    detok_init(&d, v, 0);
    for (int i = 0; i < 5; i++)
        assert_int_equal(detok_push(&d, id[i], 0, &b), 0);
    assert_string_equal(b.data, "a\xe2\x82\xac"
                                "ba"); /* held across a hidden control token */
    assert_int_equal(detok_finish(&d, &b), 0);
    assert_string_equal(b.data, "a\xe2\x82\xac"
                                "ba" BAD);
    assert_int_equal(detok_finish(&d, &b), 0); /* nothing twice */
    assert_string_equal(b.data, "a\xe2\x82\xac"
                                "ba" BAD);
    buf_clear(&b);
    assert_int_equal(detok_push(&d, 0xe2, 1, &b), 0);
    assert_int_equal(detok_push(&d, 256, 1, &b), 0);
    assert_string_equal(b.data, BAD "<|x|>");
    assert_int_equal(detok_push(&d, -1, 0, &b), ERR_ARG);
    assert_int_equal(detok_push(&d, vocab_n(v), 0, &b), ERR_ARG);
    buf_done(&b);
    buf_init(&b, 2); /* the buffer's limit is reported */
    assert_int_equal(detok_push(&d, 256, 1, &b), ERR_LIMIT);
    buf_done(&b);
}

/* Valid text comes out unchanged, and the sum over any bytes does not depend on the cut. */
static void test_random(void **state)
{
    for (unsigned round = 0; round < 2000; round++) {
        struct detok one, many;
        struct buf a, b;
        size_t n = (size_t)(12 * rand_uniform(1, round, 0));

        buf_init(&a, 4096);
        buf_init(&b, 4096);
        detok_init(&one, v, 0);
        detok_init(&many, v, 0);
        for (size_t i = 0; i < n; i++) {
            static const int32_t pick[] = {'a', 0xe2, 0x82, 0xac, 0xf0, 0x9f, 0x98, 0xff, 257, 258};
            int32_t id = pick[(int)(10 * rand_uniform(2, round, i))];
            size_t len;
            const char *p = vocab_piece(v, id, &len);
            assert_int_equal(detok_push(&one, id, 0, &a), 0);
            assert_true(utf8_valid(a.data ? a.data : "", a.len, NULL));
            for (size_t k = 0; k < len; k++)
                assert_int_equal(detok_push(&many, (unsigned char)p[k], 0, &b), 0);
        }
        detok_finish(&one, &a);
        detok_finish(&many, &b);
        assert_int_equal(a.len, b.len);
        if (a.len)
            assert_memory_equal(a.data, b.data, a.len);
        buf_done(&a);
        buf_done(&b);
    }
}

static void test_leading_space(void **state)
{
    struct vocab *spm;
    struct detok d;
    struct buf b;
    int32_t a, blank;

    tiny_spm(&t);
    a = tiny_add(&t,
                 "\xe2\x96\x81"
                 "a",
                 VOCAB_NORMAL, 0);
    blank = tiny_add(&t, "\xe2\x96\x81", VOCAB_NORMAL, 0);
    spm = tiny_open(&t);
    assert_non_null(spm);
    buf_init(&b, 100);
    detok_init(&d, spm, 1);
    detok_push(&d, 1, 0, &b); /* BOS, hidden */
    detok_push(&d, a, 0, &b);
    detok_push(&d, a, 0, &b);
    assert_string_equal(b.data, "a a");
    buf_clear(&b);
    detok_init(&d, spm, 1);
    detok_push(&d, blank, 0, &b);
    detok_push(&d, blank, 0, &b);
    detok_push(&d, a, 0, &b);
    assert_string_equal(b.data, "  a");
    buf_clear(&b);
    detok_init(&d, spm, 0); /* goes on after a prompt */
    detok_push(&d, a, 0, &b);
    assert_string_equal(b.data, " a");
    vocab_close(spm);
    t.s.add_space_prefix = 0;
    spm = tiny_open(&t);
    buf_clear(&b);
    detok_init(&d, spm, 1);
    detok_push(&d, a, 0, &b);
    assert_string_equal(b.data, " a");
    vocab_close(spm);
    buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steps),
        cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_leading_space),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
