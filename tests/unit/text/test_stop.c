/* Stop strings: whatever way a text is cut into tokens, what is shown ends right before the first
 * stop string, nothing is lost without one, and no more is held than could be one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/rand.h"
#include "text/stop.h"

static uint64_t n_random;

static uint32_t below(uint32_t n)
{
    uint32_t r[4];
    rand_philox(31, n_random++, 0, r);
    return r[0] % n;
}

static struct sampling stops(const char *const *list, int n)
{
    struct sampling p = {.n_stop = n};
    for (int i = 0; i < n; i++) {
        p.stop[i].s = list[i];
        p.stop[i].n = strlen(list[i]);
    }
    return p;
}

/* Push `text` in pieces of the given sizes (cycled); the shown text in `out`, 1 on a hit. */
static int push_all(const struct sampling *p, const char *text, size_t n, const size_t *sizes,
                    size_t n_sizes, struct buf *out)
{
    struct stop s = {.n_held = 0};
    size_t longest = 0, begin[600];

    for (int i = 0; i < p->n_stop; i++)
        longest = p->stop[i].n > longest ? p->stop[i].n : longest;
    buf_clear(out);
    for (size_t at = 0, k = 0; at < n; k++) {
        size_t m = sizes[k % n_sizes] < n - at ? sizes[k % n_sizes] : n - at;
        int rc = stop_push(&s, p, 1, text + at, m, 0, out);
        int32_t unshown = 0; /* tokens that begin where nothing is shown */
        assert_true(rc >= 0 && k < 600);
        begin[k] = at;
        for (size_t i = 0; i <= k && (rc || s.n_held); i++)
            unshown += begin[i] >= out->len;
        assert_int_equal(s.n_tokens, unshown);
        if (rc) {
            assert_int_equal(s.n_held, 0);
            return 1;
        }
        assert_true(s.n_held == 0 || s.n_held < longest);
        at += m;
        assert_int_equal(out->len + s.n_held, at); /* nothing is lost */
    }
    assert_int_equal(stop_finish(&s, out), 0);
    assert_int_equal(out->len, n);
    return 0;
}

/* Where the text must end: before the stop string that is complete first (in the pieces' order the
 * earliest beginning among those complete in the same piece). One token at a time: the first end.
 */
static size_t first_hit(const struct sampling *p, const char *text, size_t n)
{
    for (size_t end = 1; end <= n; end++) {
        size_t begin = SIZE_MAX;
        for (int i = 0; i < p->n_stop; i++) {
            size_t len = p->stop[i].n;
            if (len <= end && !memcmp(text + end - len, p->stop[i].s, len) && end - len < begin)
                begin = end - len;
        }
        if (begin != SIZE_MAX)
            return begin;
    }
    return SIZE_MAX;
}

static void every_cut(void **state)
{
    static const char *const list[] = {"</s>", "\n\nUser:", "stop", "\xc3\xa9t\xc3\xa9",
                                       "\xf0\x9f\x98\x80!"};
    static const char *const texts[] = {"plain text, nothing in it",
                                        "ends here</s>not shown",
                                        "almost </s but not",
                                        "a\n\nUser:b",
                                        "\n\n\n\nUser:",
                                        "sstostop!",
                                        "un \xc3\xa9t\xc3\xa9 chaud",
                                        "\xc3\xa9t\xc3 ",
                                        "hi \xf0\x9f\x98\x80\xf0\x9f\x98\x80!x",
                                        "stop",
                                        "sto",
                                        "</s></s>"};
    struct sampling p = stops(list, 5);
    struct buf out;
    (void)state;

    buf_init(&out, 4096);
    assert_int_equal(buf_reserve(&out, 4000), 0);
    for (size_t t = 0; t < sizeof texts / sizeof *texts; t++) {
        size_t n = strlen(texts[t]), want = first_hit(&p, texts[t], n);
        for (size_t a = 1; a <= n; a++) {
            for (size_t b = 1; b <= n; b += 3) {
                const size_t sizes[] = {a, b, 1};
                int hit = push_all(&p, texts[t], n, sizes, 3, &out);
                assert_int_equal(hit, want != SIZE_MAX);
                assert_int_equal(out.len, hit ? want : n);
                assert_memory_equal(out.data, texts[t], out.len);
            }
        }
    }
    buf_done(&out);
}

/* Random texts and stops over two letters: overlaps of every kind, against the naive search. */
static void random_texts(void **state)
{
    struct buf out;
    int hits = 0;
    (void)state;

    buf_init(&out, 4096);
    assert_int_equal(buf_reserve(&out, 4000), 0);
    for (int round = 0; round < 20000; round++) {
        char text[40], words[4][12];
        const char *list[4];
        const size_t one[] = {1};
        size_t sizes[4], n = 1 + below(sizeof text - 1), want;
        int k = 1 + (int)below(4), hit;
        struct sampling p;
        for (size_t i = 0; i < n; i++)
            text[i] = (char)('a' + below(2));
        for (int i = 0; i < k; i++) {
            size_t len = 1 + below(10);
            for (size_t c = 0; c < len; c++)
                words[i][c] = (char)('a' + below(2));
            words[i][len] = 0;
            list[i] = words[i];
        }
        p = stops(list, k);
        want = first_hit(&p, text, n);
        hit = push_all(&p, text, n, one, 1, &out); /* byte by byte: exactly the first */
        assert_int_equal(hit, want != SIZE_MAX);
        assert_int_equal(out.len, hit ? want : n);
        assert_memory_equal(out.data, text, out.len);
        for (int i = 0; i < 4; i++)
            sizes[i] = 1 + below(9);
        hit = push_all(&p, text, n, sizes, 4, &out);
        assert_int_equal(hit, want != SIZE_MAX);
        assert_true(out.len <= (want == SIZE_MAX ? n : want)); /* an earlier beginning may win */
        assert_memory_equal(out.data, text, out.len);
        if (hit) { /* what follows what is shown is a stop string */
            int is_stop = 0;
            for (int i = 0; i < k; i++)
                is_stop |=
                    n - out.len >= p.stop[i].n && !memcmp(text + out.len, list[i], p.stop[i].n);
            assert_true(is_stop);
        }
        hits += hit;
    }
    assert_true(hits > 1000 && hits < 19900);
    buf_done(&out);
}

/* Before it is armed nothing is held or matched; what was shown then is never matched later. */
static void armed_later(void **state)
{
    static const char *const list[] = {"xyz"};
    struct sampling p = stops(list, 1);
    struct stop s = {.n_held = 0};
    struct buf out;
    (void)state;
    buf_init(&out, 100);
    assert_int_equal(stop_push(&s, &p, 0, "xyzxy", 5, 0, &out), 0);
    assert_string_equal(out.data, "xyzxy");
    assert_int_equal(stop_push(&s, &p, 1, "z", 1, 0, &out), 0);
    assert_string_equal(out.data, "xyzxyz");
    assert_int_equal(stop_push(&s, &p, 1, "xy", 2, 0, &out), 0);
    assert_string_equal(out.data, "xyzxyz");
    assert_int_equal(stop_push(&s, &p, 1, "z!", 2, 0, &out), 1);
    assert_string_equal(out.data, "xyzxyz");
    buf_done(&out);
}

/* Tokens of one character, tokens without a text, and more of them than are remembered. */
static void tokens_without_text(void **state)
{
    static const char *const list[] = {"<x"};
    struct sampling p = stops(list, 1);
    struct stop s = {.n_held = 0};
    struct buf out;
    (void)state;

    buf_init(&out, 100);
    assert_int_equal(stop_push(&s, &p, 1, "", 0, 0, &out), 0);
    assert_int_equal(s.n_tokens, 0);
    assert_int_equal(stop_push(&s, &p, 1, "", 0, 1, &out), 0); /* half a character */
    assert_int_equal(s.n_tokens, 1);
    assert_int_equal(stop_push(&s, &p, 1, "\xc3\xa9", 2, 0, &out), 0);
    assert_int_equal(s.n_tokens, 0);
    assert_int_equal(stop_push(&s, &p, 1, "a<", 2, 0, &out), 0); /* its beginning is shown */
    assert_int_equal(s.n_tokens, 0);
    for (int i = 0; i < 2 * STOP_TOKENS_MAX; i++) {
        assert_int_equal(stop_push(&s, &p, 1, "", 0, 0, &out), 0);
        assert_int_equal(s.n_tokens, i < STOP_TOKENS_MAX ? i + 1 : STOP_TOKENS_MAX);
    }
    assert_int_equal(stop_push(&s, &p, 1, "y<", 2, 0, &out), 0); /* "<y" is shown */
    assert_int_equal(s.n_tokens, 0);
    assert_int_equal(stop_push(&s, &p, 1, "", 0, 0, &out), 0);
    assert_int_equal(stop_push(&s, &p, 1, "x", 1, 0, &out), 1);
    assert_int_equal(s.n_tokens, 2);
    assert_string_equal(out.data, "\xc3\xa9"
                                  "a<y");
    buf_done(&out);
}

static void longest_allowed(void **state)
{
    static char word[SAMPLING_STOP_LEN + 1], text[2 * SAMPLING_STOP_LEN];
    const char *list[] = {word};
    struct sampling p;
    struct buf out;
    (void)state;
    memset(word, 'a', SAMPLING_STOP_LEN);
    word[SAMPLING_STOP_LEN - 1] = 'b';
    memset(text, 'a', sizeof text);
    text[sizeof text - 1] = 'b';
    p = stops(list, 1);
    buf_init(&out, 4096);
    assert_int_equal(buf_reserve(&out, 4000), 0);
    for (size_t k = 1; k < 300; k += 7)
        assert_int_equal(push_all(&p, text, sizeof text, &k, 1, &out), 1);
    assert_int_equal(out.len, SAMPLING_STOP_LEN);
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_cut),       cmocka_unit_test(random_texts),
        cmocka_unit_test(armed_later),     cmocka_unit_test(tokens_without_text),
        cmocka_unit_test(longest_allowed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
