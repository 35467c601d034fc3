/* SentencePiece vocabularies: merges by score, byte fallback, blanks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "base/rand.h"
#include "tiny_vocab.h"

#define SP "\xe2\x96\x81" /* how a blank is written in such vocabularies */

static struct tiny t;

static const char *ids(const struct vocab *v, const char *text)
{
    return tiny_ids(v, text, strlen(text), 0, 0);
}

static const char *ids_trusted(const struct vocab *v, const char *text)
{
    return tiny_ids(v, text, strlen(text), 1, 0);
}

static void open_words(void)
{
    tiny_spm(&t);
    tiny_add(&t, SP, VOCAB_NORMAL, -5);          /* 259 */
    tiny_add(&t, "a", VOCAB_NORMAL, -6);         /* 260 */
    tiny_add(&t, "b", VOCAB_NORMAL, -7);         /* 261 */
    tiny_add(&t, "ab", VOCAB_NORMAL, -2);        /* 262 */
    tiny_add(&t, SP "a", VOCAB_NORMAL, -1);      /* 263 */
    tiny_add(&t, SP "ab", VOCAB_NORMAL, -3);     /* 264 */
    tiny_add(&t, "bb", VOCAB_NORMAL, -2);        /* 265 */
    tiny_add(&t, SP SP, VOCAB_NORMAL, -4);       /* 266 */
    tiny_add(&t, "\n\n", VOCAB_USER_DEFINED, 0); /* 267 */
}

static void test_scores(void **state)
{
    struct vocab *v;

    open_words();
    v = tiny_open(&t);
    assert_non_null(v);
    assert_string_equal(ids(v, "ab"), "264"); /* SP a first (-1), then with b (-3) */
    assert_string_equal(ids(v, "bab"), "259 261 262");
    assert_string_equal(ids(v, "abb"), "263 265");     /* SP a, then bb (-2) before SP ab (-3) */
    assert_string_equal(ids(v, "bbb"), "259 265 261"); /* equal scores: leftmost */
    assert_string_equal(ids(v, "  a"), "266 263");
    assert_string_equal(ids(v, ""), "");
    /* The text goes on after a user-defined token; it begins anew after a control token. */
    assert_string_equal(ids(v, "a\n\nb"), "263 267 261");
    assert_string_equal(ids(v, "\n\nb"), "267 261");
    assert_string_equal(ids_trusted(v, "a<s>b"), "263 1 259 261");
    vocab_close(v);
    t.s.add_space_prefix = 0;
    v = tiny_open(&t);
    assert_string_equal(ids(v, "ab"), "262");
    assert_string_equal(ids(v, " ab"), "264");
    assert_string_equal(ids(v, "abbb"), "262 265");
    vocab_close(v);
}

static void test_byte_fallback(void **state)
{
    struct vocab *v;

    open_words();
    v = tiny_open(&t);
    assert_string_equal(ids(v, "a\xe2\x82\xac"), "263 229 133 175"); /* 3 + byte */
    assert_string_equal(ids(v, "a\xff"), "263 258");
    assert_string_equal(ids(v, "\n"), "259 13");
    vocab_close(v);

    /* Without byte tokens a character is unknown as a whole. */
    tiny_init(&t, "llama");
    t.s.scores = t.scores;
    tiny_add(&t, "<unk>", VOCAB_UNKNOWN, 0);
    tiny_add(&t, SP, VOCAB_NORMAL, 0);
    tiny_add(&t, "a", VOCAB_NORMAL, 0);
    t.s.bos = 1;
    v = tiny_open(&t);
    assert_string_equal(ids(v, "a\xe2\x82\xac"
                               "a"),
                        "1 2 0 2");
    vocab_close(v);
}

static void test_control(void **state)
{
    struct vocab *v;

    open_words();
    tiny_add(&t, "<", VOCAB_NORMAL, -1);  /* 268 */
    tiny_add(&t, "s", VOCAB_NORMAL, -1);  /* 269 */
    tiny_add(&t, ">", VOCAB_NORMAL, -1);  /* 270 */
    tiny_add(&t, "<s", VOCAB_NORMAL, -1); /* 271: so "<s>" is one merge away */
    tiny_add(&t, "<0x", VOCAB_NORMAL, -1);
    v = tiny_open(&t);
    assert_string_equal(ids(v, "<s>"), "259 271 270");
    assert_string_equal(ids_trusted(v, "<s>a"), "1 263");
    assert_string_equal(ids_trusted(v, "a<s>"), "263 1");
    assert_string_equal(tiny_ids(v, "a", 1, 0, VOCAB_ADD_BOS), "1 263");
    assert_true(vocab_is_eog(v, 2));
    assert_true(vocab_is_control(v, 0));
    assert_string_equal(ids(v, "<0x41>"), "259 268 51 123 55 52 270"); /* never the byte's */
    vocab_close(v);
}

static void test_round_trip(void **state)
{
    struct vocab *v;

    open_words();
    for (int prefix = 0; prefix < 2; prefix++) {
        t.s.add_space_prefix = prefix;
        v = tiny_open(&t);
        for (unsigned round = 0; round < 500; round++) {
            char text[200];
            size_t n = (size_t)(sizeof text * rand_uniform(5, round, 0)), k;
            int32_t *id;
            struct buf b;
            for (size_t i = 0; i < n; i++) {
                float x = rand_uniform(6, round, i);
                text[i] = round & 1 ? " ab\n"[(int)(4 * x)] : (char)(int)(256 * x);
            }
            for (size_t i = 0; i + 2 < n; i++) /* U+2581 itself reads as a blank */
                if (memcmp(text + i, SP, 3) == 0)
                    text[i] = 'a';
            assert_int_equal(vocab_encode(v, text, n, NULL, 0, 0, n + 1, NULL, &id, &k, NULL), 0);
            buf_init(&b, 4096);
            assert_int_equal(vocab_decode(v, id, k, 0, &b, NULL), 0);
            assert_int_equal(b.len, n);
            if (n)
                assert_memory_equal(b.data, text, n);
            buf_done(&b);
            free(id);
        }
        vocab_close(v);
    }
}

/* Merging by score as defined, over the whole text at once: the cut into words changes nothing,
 * short and long words agree. */
struct sym {
    char s[64];
    size_t n;
};

static size_t naive(const struct vocab *v, struct sym *sym, size_t n, int32_t *out)
{
    for (;;) {
        float best = -INFINITY;
        size_t at = n;
        for (size_t i = 0; i + 1 < n; i++) {
            char joined[128];
            int32_t id;
            memcpy(joined, sym[i].s, sym[i].n);
            memcpy(joined + sym[i].n, sym[i + 1].s, sym[i + 1].n);
            id = vocab_find(v, joined, sym[i].n + sym[i + 1].n);
            if (id > 258 && t.scores[id] > best) {
                best = t.scores[id];
                at = i;
            }
        }
        if (at == n)
            break;
        memcpy(sym[at].s + sym[at].n, sym[at + 1].s, sym[at + 1].n);
        sym[at].n += sym[at + 1].n;
        memmove(&sym[at + 1], &sym[at + 2], (n - at - 2) * sizeof *sym);
        n--;
    }
    for (size_t i = 0; i < n; i++)
        out[i] = vocab_find(v, sym[i].s, sym[i].n);
    return n;
}

static void test_naive(void **state)
{
    static struct sym sym[400];
    struct vocab *v;

    for (unsigned round = 0; round < 60; round++) {
        tiny_spm(&t);
        t.s.add_space_prefix = 0;
        tiny_add(&t, SP, VOCAB_NORMAL, -90);
        tiny_add(&t, "a", VOCAB_NORMAL, -91);
        tiny_add(&t, "b", VOCAB_NORMAL, -92);
        for (unsigned i = 0; i < 30; i++) {
            char word[16] = "";
            int known = 0;
            for (unsigned k = 0; k < 2 + i % 4; k++) {
                static const char *const part[] = {"a", "b", SP, "a", "b"};
                strcat(word, part[(int)(5 * rand_uniform(round, i, k))]);
            }
            for (size_t k = 0; k < t.s.n_tokens; k++)
                known |= strcmp(t.text[k], word) == 0;
            if (!known)
                tiny_add(&t, word, VOCAB_NORMAL, -(float)(int)(9 * rand_uniform(round, i, 99)));
        }
        v = tiny_open(&t);
        for (size_t len = 1; len < 400; len = len * 2 + 1) {
            char text[400];
            int32_t *got, want[400];
            size_t k, n;
            for (size_t i = 0; i < len; i++) {
                text[i] = " abab"[(int)(5 * rand_uniform(round + 1000, len, i))];
                sym[i].n = text[i] == ' ' ? 3 : 1;
                memcpy(sym[i].s, text[i] == ' ' ? SP : &text[i], sym[i].n);
            }
            n = naive(v, sym, len, want);
            assert_int_equal(vocab_encode(v, text, len, NULL, 0, 0, 999, NULL, &got, &k, NULL), 0);
            assert_int_equal(k, n);
            assert_memory_equal(got, want, n * sizeof *got);
            free(got);
        }
        vocab_close(v);
    }
}

static void test_long_run(void **state)
{
    enum { N = 1000000 };
    char *text = malloc(N);
    struct vocab *v;
    int32_t *id;
    size_t n;

    open_words();
    tiny_add(&t, "aa", VOCAB_NORMAL, -1);
    tiny_add(&t, "aaaa", VOCAB_NORMAL, -1);
    t.s.add_space_prefix = 0;
    v = tiny_open(&t);
    assert_non_null(text);
    memset(text, 'a', N);
    assert_int_equal(vocab_encode(v, text, N, NULL, 0, 0, N, NULL, &id, &n, NULL), 0);
    assert_int_equal(n, N / 4);
    free(id);
    free(text);
    vocab_close(v);
}

static int open_fails(const char *part)
{
    struct vocab *v = NULL;
    struct err e = {0};
    int rc = vocab_open(&v, &t.s, &e);
    assert_null(v);
    if (!strstr(e.text, part))
        fail_msg("\"%s\" is not in \"%s\"", part, e.text);
    return rc;
}

static void test_hostile(void **state)
{
    static const char *const bad[] = {"<0x0G>", "<0x0>", "0x0A", "<0x0AA>", "a"};

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        tiny_spm(&t);
        tiny_add(&t, bad[i], VOCAB_BYTE, 0);
        assert_int_equal(open_fails("byte token 259"), ERR_FORMAT);
    }
    tiny_spm(&t);
    t.scores[9] = NAN;
    assert_int_equal(open_fails("score of token 9"), ERR_FORMAT);
}

/* The family's default ids (1 and 2) count only where such control tokens are. */
static void test_default_ids(void **state)
{
    struct vocab *v;

    tiny_init(&t, "llama");
    for (unsigned b = 0; b < 256; b++) {
        char text[16];
        snprintf(text, sizeof text, "<0x%02X>", b);
        tiny_add(&t, text, VOCAB_BYTE, 0);
    }
    t.s.add_space_prefix = 0;
    v = tiny_open(&t);
    assert_int_equal(vocab_eos(v), -1);
    assert_false(vocab_adds_bos(v));
    assert_false(vocab_is_control(v, 2));
    vocab_close(v);
    t.s.eos = 2; /* even when named: text must be able to become a byte token */
    v = tiny_open(&t);
    assert_false(vocab_is_control(v, 2));
    vocab_close(v);
    open_words();
    v = tiny_open(&t);
    assert_int_equal(vocab_bos(v), 1);
    assert_int_equal(vocab_eos(v), 2);
    vocab_close(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scores),  cmocka_unit_test(test_byte_fallback),
        cmocka_unit_test(test_control), cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_naive),   cmocka_unit_test(test_long_run),
        cmocka_unit_test(test_hostile), cmocka_unit_test(test_default_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
