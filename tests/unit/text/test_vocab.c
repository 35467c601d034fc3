/* Byte-level vocabularies: merges, special tokens, hostile sources, any bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>

#include "base/rand.h"
#include "tiny_vocab.h"

static struct tiny t; /* large; one test at a time */

static const char *ids(const struct vocab *v, const char *text)
{
    return tiny_ids(v, text, strlen(text), 0, 0);
}

static const char *ids_trusted(const struct vocab *v, const char *text)
{
    return tiny_ids(v, text, strlen(text), 1, 0);
}

static void test_merges(void **state)
{
    struct vocab *v;
    size_t n;

    tiny_bpe(&t, "gpt-2");
    tiny_merge(&t, "l", "l");         /* 256 */
    tiny_merge(&t, "h", "e");         /* 257 */
    tiny_merge(&t, "he", "ll");       /* 258 */
    tiny_merge(&t, "\xc4\xa0", "he"); /* 259: " he" */
    tiny_merge(&t, "a", "a");         /* 260 */
    v = tiny_open(&t);
    assert_non_null(v);
    assert_string_equal(ids(v, "hell"), "258");
    assert_string_equal(ids(v, "hello"), "258 111");
    assert_string_equal(ids(v, " hell"), "32 258"); /* by rank, not by the longest beginning */
    assert_string_equal(ids(v, " he"), "259");
    assert_string_equal(ids(v, "lll"), "256 108"); /* leftmost first */
    assert_string_equal(ids(v, "aaaaa"), "260 260 97");
    assert_string_equal(ids(v, ""), "");
    assert_string_equal(ids(v, "\xe2\x82\xac"), "226 130 172");
    assert_memory_equal(vocab_piece(v, 259, &n), " he", 3);
    assert_int_equal(n, 3);
    assert_int_equal(vocab_find(v, "hell", 4), 258);
    assert_int_equal(vocab_find(v, "help", 4), -1);
    assert_int_equal(*vocab_piece(v, 0xad, &n), (char)0xad);
    assert_int_equal(n, 1);
    vocab_piece(v, -1, &n);
    assert_int_equal(n, 0);
    vocab_piece(v, vocab_n(v), &n);
    assert_int_equal(n, 0);
    vocab_close(v);
}

/* A plain BPE, quadratic: the definition itself. */
static size_t naive(const int32_t (*pair)[3], int n_pairs, int32_t *id, size_t n)
{
    for (;;) {
        int best = n_pairs;
        size_t at = 0;
        for (size_t i = 0; i + 1 < n; i++)
            for (int r = 0; r < best; r++)
                if (pair[r][0] == id[i] && pair[r][1] == id[i + 1]) {
                    best = r;
                    at = i;
                }
        if (best == n_pairs)
            return n;
        id[at] = pair[best][2];
        memmove(&id[at + 1], &id[at + 2], (n - at - 2) * sizeof *id);
        n--;
    }
}

/* Words of all lengths, on the stack and by the heap, against the definition. */
static void test_merges_random(void **state)
{
    enum { ROUNDS = 40, PAIRS = 40 };
    for (unsigned round = 0; round < ROUNDS; round++) {
        int32_t pair[PAIRS][3], want[300], *got;
        char word[300];
        int n_pairs = 0;
        struct vocab *v;
        size_t n, k;

        tiny_bpe(&t, "gpt-2");
        while (n_pairs < PAIRS) {
            /* Two tokens of letters a..c known so far. */
            uint32_t r[4], extra = (uint32_t)t.s.n_tokens - 256;
            size_t a, b, before = t.s.n_merges, m;
            rand_philox(7, round, (uint64_t)n_pairs * 1000 + t.s.n_tokens, r);
            a = r[0] % (3 + extra), b = r[1] % (3 + extra);
            a = a < 3 ? 'a' + a : 253 + a;
            b = b < 3 ? 'a' + b : 253 + b;
            if (strlen(t.text[a]) + strlen(t.text[b]) > 24) {
                a = 'a' + r[2] % 3;
                b = 'a' + r[3] % 3;
            }
            for (m = 0; m < (size_t)n_pairs; m++)
                if (pair[m][0] == (int32_t)a && pair[m][1] == (int32_t)b)
                    break;
            tiny_merge(&t, t.text[a], t.text[b]);
            if (m < (size_t)n_pairs) { /* again: the first rank stays */
                if (t.s.n_merges > 400)
                    break;
                continue;
            }
            pair[n_pairs][0] = (int32_t)a;
            pair[n_pairs][1] = (int32_t)b;
            for (size_t i = 0; i < t.s.n_tokens; i++)
                if (strlen(t.text[i]) == strlen(t.text[a]) + strlen(t.text[b]) &&
                    strncmp(t.text[i], t.text[a], strlen(t.text[a])) == 0 &&
                    strcmp(t.text[i] + strlen(t.text[a]), t.text[b]) == 0)
                    pair[n_pairs][2] = (int32_t)i;
            n_pairs++;
            assert_true(t.s.n_merges == before + 1);
        }
        v = tiny_open(&t);
        assert_non_null(v);
        for (unsigned len = 1; len < 300; len += 1 + len / 8) {
            for (unsigned i = 0; i < len; i++)
                word[i] = (char)('a' + (int)(3 * rand_uniform(11, round, len * 1000 + i)));
            for (unsigned i = 0; i < len; i++)
                want[i] = word[i];
            n = naive((const int32_t(*)[3])pair, n_pairs, want, len);
            assert_int_equal(vocab_encode(v, word, len, NULL, 0, 0, 1000, NULL, &got, &k, NULL), 0);
            assert_int_equal(k, n);
            assert_memory_equal(got, want, n * sizeof *want);
            free(got);
        }
        vocab_close(v);
    }
}

/* Files with every type of special token that matters. */
static struct vocab *open_chat(void)
{
    tiny_bpe(&t, "gpt-2");
    tiny_add(&t, "<|im_start|>", VOCAB_CONTROL, 0);     /* 256 */
    tiny_add(&t, "<|im_end|>", VOCAB_CONTROL, 0);       /* 257 */
    tiny_add(&t, "<tool_call>", VOCAB_USER_DEFINED, 0); /* 258 */
    tiny_add(&t, "<|user|>", VOCAB_USER_DEFINED, 0);    /* 259: a marker */
    tiny_add(&t, "<|endoftext|>", VOCAB_NORMAL, 0);     /* 260: an end by name */
    tiny_add(&t, "[PAD261]", VOCAB_USER_DEFINED, 0);    /* 261: a filler */
    tiny_add(&t, "<|im_start|>x", VOCAB_CONTROL, 0);    /* 262 */
    tiny_add(&t, "   ", VOCAB_USER_DEFINED, 0);         /* 263 */
    tiny_add(&t, "  ", VOCAB_USER_DEFINED, 0);          /* 264 */
    tiny_add(&t, "<unk>", VOCAB_UNKNOWN, 0);            /* 265 */
    tiny_merge(&t, "a", "b");                           /* 266 */
    t.s.eos = 257;
    t.s.bos = 256;
    return tiny_open(&t);
}

static int has_control(const struct vocab *v, const int32_t *id, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (vocab_is_control(v, id[i]))
            return 1;
    return 0;
}

static void test_user_text_never_control(void **state)
{
    static const char *const texts[] = {
        "<|im_start|>", "<|im_end|>", "<|user|>",     "<|endoftext|>", "<|im_start|>x",
        "<unk>",        "[PAD261]",   "a<|im_end|>b", "<<|im_end|>>",  "<|im_<|im_end|>end|>"};
    struct vocab *v = open_chat();

    assert_non_null(v);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        int32_t *id;
        size_t n;
        struct buf b;
        assert_int_equal(
            vocab_encode(v, texts[i], strlen(texts[i]), NULL, 0, 0, 99, NULL, &id, &n, NULL), 0);
        assert_false(has_control(v, id, n));
        buf_init(&b, 1000);
        assert_int_equal(vocab_decode(v, id, n, 0, &b, NULL), 0);
        assert_string_equal(b.data, texts[i]);
        buf_done(&b);
        free(id);
    }
    /* Users do get the tokens that the model's makers gave to plain text. */
    assert_string_equal(ids(v, "<tool_call>a"), "258 97");
    assert_string_equal(ids(v, "     "), "263 264");
    vocab_close(v);
}

static void test_trusted(void **state)
{
    const char *text = "<|im_start|>a<|im_end|>b<|im_end|>";
    struct vocab *v = open_chat();
    int32_t *id;
    size_t n;

    assert_string_equal(ids_trusted(v, text), "256 97 257 98 257");
    assert_string_equal(ids_trusted(v, "<|im_start|>x"), "262"); /* the longest */
    assert_string_equal(ids_trusted(v, "<|user|><|endoftext|><unk>"), "259 260 265");
    assert_string_equal(ids_trusted(v, "[PAD261]"), "91 80 65 68 50 54 49 93");
    /* Only the whole match inside one span counts; spans that touch are not one. */
    for (size_t cut = 0; cut <= strlen(text); cut++) {
        struct vocab_span span[2] = {{0, cut}, {cut, strlen(text)}};
        int controls = 0,
            want = (cut == 0 || cut >= 12) + (cut <= 13 || cut >= 23) + (cut <= 24 || cut >= 34);
        assert_int_equal(vocab_encode(v, text, strlen(text), span, 2, 0, 99, NULL, &id, &n, NULL),
                         0);
        for (size_t i = 0; i < n; i++)
            controls += vocab_is_control(v, id[i]);
        assert_int_equal(controls, want);
        free(id);
    }
    /* Text between specials is one text: "a" of the template and "b" of the user merge. */
    {
        struct vocab_span span = {0, 13};
        assert_int_equal(vocab_encode(v, "<|im_start|>ab", 14, &span, 1, 0, 9, NULL, &id, &n, NULL),
                         0);
        assert_int_equal(n, 2);
        assert_int_equal(id[1], 266);
        free(id);
    }
    vocab_close(v);
}

/* Marks of the tokens of a text whose bytes in [begin, end) are marked, as "0110". */
static const char *marks(const struct vocab *v, const char *text, size_t begin, size_t end)
{
    static char line[256];
    struct vocab_span all = {0, strlen(text)}, marked = {begin, end};
    struct vocab_marks m = {.span = &marked, .n_spans = 1};
    int32_t *id;
    size_t n;

    assert_int_equal(
        vocab_encode_marked(v, text, all.end, &all, 1, 0, 200, NULL, &id, &n, &m, NULL), 0);
    for (size_t i = 0; i < n; i++)
        line[i] = (char)('0' + (m.bits[i / 32] >> i % 32 & 1));
    line[n] = 0;
    free(id);
    free(m.bits);
    return line;
}

static void test_marks(void **state)
{
    struct vocab *v = open_chat();
    char line[120] = "";

    assert_string_equal(marks(v, "<|im_start|>c d<|im_end|>", 12, 15), "01110");
    assert_string_equal(marks(v, "<|im_start|>c d<|im_end|>", 13, 25), "00111");
    assert_string_equal(marks(v, "<|im_start|>c d<|im_end|>", 0, 0), "00000");
    /* "ab" is one token: its last byte counts. */
    assert_string_equal(marks(v, "cabc", 0, 2), "100");
    assert_string_equal(marks(v, "cabc", 2, 3), "010");
    assert_string_equal(marks(v, "\xff\xffz", 1, 2), "010");
    for (int i = 0; i < 100; i++)
        line[i] = (char)('c' + i % 2);
    for (size_t k = 0; k <= 100; k++) {
        const char *got = marks(v, line, k, 100);
        for (size_t i = 0; i < 100; i++)
            assert_int_equal(got[i], i < k ? '0' : '1');
    }
    vocab_close(v);
}

static void test_bad_spans(void **state)
{
    static const struct vocab_span bad[][2] = {
        {{2, 1}, {3, 3}}, {{0, 2}, {1, 3}}, {{0, 1}, {1, 5}}, {{3, 4}, {0, 1}}};
    struct vocab *v = open_chat();
    int32_t *id;
    size_t n;
    struct err e;

    for (size_t i = 0; i < 4; i++)
        assert_int_equal(vocab_encode(v, "abcd", 4, bad[i], 2, 0, 9, NULL, &id, &n, &e), ERR_ARG);
    vocab_close(v);
}

static void test_ends(void **state)
{
    struct vocab *v = open_chat();

    assert_true(vocab_is_eog(v, 257));
    assert_true(vocab_is_eog(v, 260));
    assert_false(vocab_is_eog(v, 256));
    assert_false(vocab_is_eog(v, 'a'));
    assert_false(vocab_is_eog(v, -1));
    assert_true(vocab_is_control(v, 259));
    assert_true(vocab_is_control(v, 265));
    assert_false(vocab_is_control(v, 258));
    assert_false(vocab_is_control(v, vocab_n(v)));
    vocab_close(v);

    /* <|end|> ends an answer, but only a message where <|return|> and <|call|> exist. */
    tiny_bpe(&t, "gpt-4o");
    tiny_add(&t, "<|end|>", VOCAB_CONTROL, 0); /* 256 */
    v = tiny_open(&t);
    assert_true(vocab_is_eog(v, 256));
    vocab_close(v);
    tiny_add(&t, "<|return|>", VOCAB_CONTROL, 0);
    tiny_add(&t, "<|call|>", VOCAB_CONTROL, 0);
    v = tiny_open(&t);
    assert_false(vocab_is_eog(v, 256));
    assert_true(vocab_is_control(v, 256));
    assert_true(vocab_is_eog(v, 257));
    assert_true(vocab_is_eog(v, 258));
    vocab_close(v);
}

static void test_no_merge_into_control(void **state)
{
    struct vocab *v;

    tiny_bpe(&t, "gpt-2");
    tiny_merge(&t, "<", "s");  /* 256 */
    tiny_merge(&t, "<s", ">"); /* 257, made a control token below */
    t.types[257] = VOCAB_CONTROL;
    v = tiny_open(&t);
    assert_string_equal(ids(v, "<s>"), "60 115 62"); /* the pretokenizer parts < from s */
    assert_string_equal(ids_trusted(v, "<s>"), "257");
    vocab_close(v);

    tiny_bpe(&t, "llama-bpe"); /* whole words are looked up first */
    tiny_merge(&t, "#", "#");  /* 256 */
    t.types[256] = VOCAB_CONTROL;
    v = tiny_open(&t);
    assert_string_equal(ids(v, "##"), "35 35");
    vocab_close(v);
}

static void test_whole_words(void **state)
{
    struct vocab *v;

    tiny_bpe(&t, "llama-bpe");
    tiny_merge(&t, "a", "b");             /* 256 */
    tiny_add(&t, "xyz", VOCAB_NORMAL, 0); /* 257: no merge leads to it */
    v = tiny_open(&t);
    assert_string_equal(ids(v, "xyz"), "257");
    assert_string_equal(ids(v, "xyzz"), "120 121 122 122");
    vocab_close(v);
    snprintf(t.s.pre, sizeof t.s.pre, "gpt-2");
    v = tiny_open(&t);
    assert_string_equal(ids(v, "xyz"), "120 121 122");
    vocab_close(v);
}

static void test_bos_eos(void **state)
{
    struct vocab *v = open_chat();

    assert_string_equal(tiny_ids(v, "a", 1, 0, VOCAB_ADD_BOS | VOCAB_ADD_EOS), "97");
    vocab_close(v);
    t.s.add_bos = t.s.add_eos = 1;
    v = tiny_open(&t);
    assert_string_equal(tiny_ids(v, "a", 1, 0, VOCAB_ADD_BOS | VOCAB_ADD_EOS), "256 97 257");
    assert_string_equal(tiny_ids(v, "a", 1, 0, VOCAB_ADD_EOS), "97 257");
    assert_string_equal(tiny_ids(v, "", 0, 0, VOCAB_ADD_BOS), "256");
    vocab_close(v);
    t.s.add_bos = -1;
    snprintf(t.s.pre, sizeof t.s.pre, "tekken"); /* adds BOS by default */
    v = tiny_open(&t);
    assert_true(vocab_adds_bos(v));
    vocab_close(v);
}

/* ---- any bytes ------------------------------------------------------------------------------- */

static void check_round_trip(const struct vocab *v, const char *p, size_t n)
{
    struct vocab_span all = {0, n};
    int32_t *id;
    size_t k;
    struct buf b;

    for (size_t trusted = 0; trusted < 2; trusted++) {
        assert_int_equal(vocab_encode(v, p, n, &all, trusted, 0, n + 1, NULL, &id, &k, NULL), 0);
        assert_true(trusted || !has_control(v, id, k));
        buf_init(&b, 1u << 30);
        assert_int_equal(vocab_decode(v, id, k, 1, &b, NULL), 0);
        assert_int_equal(b.len, n);
        if (n)
            assert_memory_equal(b.data, p, n);
        buf_done(&b);
        free(id);
    }
}

static void test_any_bytes(void **state)
{
    static const char *const pres[] = {"gpt-2",  "llama-bpe",     "smollm",      "gpt-4o",
                                       "tekken", "default",       "deepseek-v3", "deepseek-llm",
                                       "falcon", "deepseek-coder"};
    static const char *const samples[] = {
        "Hello, world!\r\n\r\n\tint main(void) { return 0x1F; }   \n",
        "\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x9a\x80 e\xcc\x81",
        "\xed\x95\x9c\xea\xb5\xad\xec\x96\xb4",
        "\xc3(\xff\xfe\xe2\x82 \xf0\x9f a\x80\x80",
        "1234567890 \xd9\xa1\xd9\xa2\xd9\xa3",
        "it's WE'LL \xc5\xbf \xe2\x84\xaa \xe1\xa0\x8e x \xe2\x96\x81y"};

    for (size_t p = 0; p < sizeof pres / sizeof *pres; p++) {
        struct vocab *v;
        char bytes[512];
        tiny_bpe(&t, pres[p]);
        tiny_merge(&t, "\xc4\xa0", "\xc4\xa0");
        tiny_merge(&t, "\xc3\xa2", "\xc4\xa4"); /* E2 82 */
        tiny_add(&t, "<|end|>", VOCAB_CONTROL, 0);
        v = tiny_open(&t);
        assert_non_null(v);
        for (size_t i = 0; i < sizeof samples / sizeof *samples; i++)
            check_round_trip(v, samples[i], strlen(samples[i]));
        for (unsigned round = 0; round < 200; round++) {
            size_t n = (size_t)(sizeof bytes * rand_uniform(1, round, 0));
            for (size_t i = 0; i < n; i++) {
                /* Letters, lead and trail bytes, anything. */
                int kind = (int)(4 * rand_uniform(2, round, i));
                float x = rand_uniform(3, round, i);
                bytes[i] = (char)(kind == 0   ? ' ' + (int)(3 * x) * 29
                                  : kind == 1 ? 0xc2 + (int)(50 * x)
                                  : kind == 2 ? 0x80 + (int)(64 * x)
                                              : (int)(256 * x));
            }
            check_round_trip(v, bytes, n);
        }
        vocab_close(v);
    }
}

/* A malformed byte never joins the well-formed text beside it. */
static void test_malformed_is_apart(void **state)
{
    struct vocab *v;

    tiny_bpe(&t, "gpt-2");
    tiny_merge(&t, "a", "\xc3\xbf");        /* "a" FF */
    tiny_merge(&t, "\xc3\xbe", "\xc3\xbf"); /* FE FF */
    v = tiny_open(&t);
    assert_string_equal(ids(v, "a\xff"), "97 255");
    assert_string_equal(ids(v, "a\xfe\xff z"), "97 257 32 122");
    vocab_close(v);
}

/* One vocabulary, many threads: each gets what one thread gets (run under TSan as well). */
static void *encode_many(void *arg)
{
    static const char text[] = "<|im_start|>hello hello e\xcc\x81 \xff abab   <tool_call>";
    const struct vocab *v = arg;
    struct vocab_span all = {0, sizeof text - 1};
    int32_t *first = NULL, *id;
    size_t n_first = 0, n;
    int same = 1;

    for (int i = 0; i < 200; i++) {
        if (vocab_encode(v, text, sizeof text - 1, &all, 1, 0, 999, NULL, &id, &n, NULL))
            return NULL;
        if (!first) {
            first = id;
            n_first = n;
            continue;
        }
        same &= n == n_first && memcmp(id, first, n * sizeof *id) == 0;
        free(id);
    }
    same &= first[0] == 256 && first[n_first - 1] == 258;
    free(first);
    return same ? arg : NULL;
}

static void test_threads(void **state)
{
    struct vocab *v = open_chat();
    pthread_t thread[4];
    void *ok;

    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, encode_many, v), 0);
    for (int i = 0; i < 4; i++) {
        pthread_join(thread[i], &ok);
        assert_non_null(ok);
    }
    vocab_close(v);
}

/* Long runs of every kind: each would take minutes if any part were quadratic. */
static void test_long_runs(void **state)
{
    static const char *const pres[] = {"gpt-2",  "llama-bpe",   "smollm",       "gpt-4o",
                                       "tekken", "deepseek-v3", "deepseek-llm", "qwen2"};
    static const char *const units[] = {"a",
                                        "A",
                                        " ",
                                        "\n",
                                        "1",
                                        "!",
                                        " \n",
                                        "\xe4\xb8\xad",
                                        "e\xcc\x81",
                                        "\xff",
                                        "aB",
                                        "'",
                                        "\xcc\x81",         /* marks */
                                        "\xcc\x81\xcc\xa7", /* marks that change places in NFC */
                                        "\xf0\x9f\x98\x80", /* an emoji */
                                        "\xf0\x9f\x91\xa9\xe2\x80\x8d", /* one joined to the next */
                                        "a \xf0\x9f\x98\x80\xcc\x81\n\xff 7 ", /* all sorts */
                                        "<|im_start|>",
                                        "<|im_start|"};
#ifdef __SANITIZE_THREAD__
    enum { N = 20000 }; /* every access is watched: minutes for what takes seconds */
#else
    enum { N = 200000 };
#endif
    char *text = malloc(N + 100);

    assert_non_null(text);
    for (size_t p = 0; p < sizeof pres / sizeof *pres; p++) {
        struct vocab *v;
        tiny_bpe(&t, pres[p]);
        tiny_merge(&t, "a", "a");
        tiny_merge(&t, "aa", "aa");
        tiny_add(&t, "<|im_start|>", VOCAB_CONTROL, 0);
        v = tiny_open(&t);
        for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
            size_t n = 0, k, len = strlen(units[u]);
            int32_t *id;
            while (n < N)
                memcpy(text + n, units[u], len), n += len;
            text[n++] = 'z';
            assert_true(n < N + 100);
            assert_int_equal(vocab_encode(v, text, n, NULL, 0, 0, n, NULL, &id, &k, NULL), 0);
            assert_true(k > 0);
            free(id);
        }
        vocab_close(v);
    }
    free(text);
}

/* Every part of the work looks whether somebody still waits: words, one long word, marks, special
 * tokens. */
static void test_patience(void **state)
{
    static const char *const units[] = {"word ", "a", "\xcc\x81", "<|im_start|>", "\xff"};
    _Atomic int gone = 1;
    struct patience left = {.gone = &gone}, late = {.until_us = 1};
    size_t n = 100000, k;
    char *text = malloc(n);
    struct vocab_span all = {0, n};
    int32_t *id = NULL;
    struct vocab *v;
    struct err e;

    assert_non_null(text);
    tiny_bpe(&t, "qwen2");
    tiny_merge(&t, "a", "a");
    tiny_add(&t, "<|im_start|>", VOCAB_CONTROL, 0);
    v = tiny_open(&t);
    for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
        for (size_t i = 0; i < n; i++)
            text[i] = units[u][i % strlen(units[u])];
        assert_int_equal(vocab_encode(v, text, n, &all, 1, 0, n, &left, &id, &k, &e),
                         ERR_CANCELLED);
        assert_string_equal(e.text, "the client left");
        assert_int_equal(vocab_encode(v, text, n, &all, 1, 0, n, &late, &id, &k, &e), ERR_TIMEOUT);
        assert_null(id);
    }
    gone = 0;
    assert_int_equal(vocab_encode(v, text, n, &all, 1, 0, n, &left, &id, &k, &e), 0);
    free(id);
    vocab_close(v);
    free(text);
}

static void test_limits(void **state)
{
    struct vocab *v;
    struct err e;
    int32_t *id = NULL;
    size_t n = 0;
    char *text = malloc(VOCAB_WORD_MAX + 2);

    tiny_bpe(&t, "gpt-2");
    v = tiny_open(&t);
    assert_int_equal(vocab_encode(v, "abcd", 4, NULL, 0, 0, 4, NULL, &id, &n, &e), 0);
    free(id);
    assert_int_equal(vocab_encode(v, "abcde", 5, NULL, 0, 0, 4, NULL, &id, &n, &e), ERR_LIMIT);
    assert_non_null(strstr(e.text, "more than 4 tokens"));
    assert_int_equal(vocab_encode(v, "", 0, NULL, 0, 0, 0, NULL, &id, &n, &e), 0);
    assert_int_equal(n, 0);
    assert_non_null(id);
    free(id);
    assert_non_null(text);
    memset(text, 'a', VOCAB_WORD_MAX + 1);
    assert_int_equal(
        vocab_encode(v, text, VOCAB_WORD_MAX + 1, NULL, 0, 0, SIZE_MAX / 8, NULL, &id, &n, &e),
        ERR_LIMIT);
    assert_non_null(strstr(e.text, "without a border"));
    free(text);
    vocab_close(v);
}

/* NFC where the model's reference normalises; nothing where it does not. */
static void test_nfc(void **state)
{
    struct vocab *v;

    tiny_bpe(&t, "qwen2");
    v = tiny_open(&t);
    assert_string_equal(ids(v, "e\xcc\x81"), "195 169");
    assert_string_equal(ids(v, "\xe2\x84\xab"), "195 133");                 /* Angstrom sign */
    assert_string_equal(ids(v, "\xe1\x84\x92\xe1\x85\xa1"), "237 149 152"); /* Hangul jamo */
    assert_string_equal(ids(v, "\xff"
                               "e\xcc\x81\xff"),
                        "255 195 169 255");
    vocab_close(v);
    tiny_bpe(&t, "gpt-2");
    v = tiny_open(&t);
    assert_string_equal(ids(v, "e\xcc\x81"), "101 204 129");
    vocab_close(v);
}

/* ---- hostile sources ------------------------------------------------------------------------- */

static int open_fails(const char *part)
{
    struct vocab *v = NULL;
    struct err e = {0};
    int rc = vocab_open(&v, &t.s, &e);
    assert_null(v);
    assert_int_equal(rc, e.code);
    if (!strstr(e.text, part))
        fail_msg("\"%s\" is not in \"%s\"", part, e.text);
    return rc;
}

static void test_hostile(void **state)
{
    tiny_bpe(&t, "no-such");
    assert_int_equal(open_fails("\"no-such\"; supported: gpt-2"), ERR_UNSUPPORTED);
    tiny_init(&t, "bert");
    assert_int_equal(open_fails("\"bert\" is not supported; supported: gpt2 llama"),
                     ERR_UNSUPPORTED);
    tiny_init(&t, "");
    assert_int_equal(open_fails("names no tokenizer"), ERR_FORMAT);
    tiny_init(&t, "gpt2");
    assert_int_equal(open_fails("no tokens"), ERR_FORMAT);
    tiny_bpe(&t, "gpt-2");
    t.s.n_types--;
    assert_int_equal(open_fails("255 token types for 256 tokens"), ERR_FORMAT);
    tiny_bpe(&t, "gpt-2");
    t.s.scores = t.scores;
    t.s.n_scores = 3;
    assert_int_equal(open_fails("3 scores for 256 tokens"), ERR_FORMAT);
    tiny_bpe(&t, "gpt-2");
    t.types[7] = 9;
    assert_int_equal(open_fails("token 7 has the unknown type 9"), ERR_FORMAT);
    tiny_bpe(&t, "gpt-2");
    tiny_add(&t, "a", VOCAB_NORMAL, 0);
    assert_int_equal(open_fails("tokens 97 and 256 are both \"a\""), ERR_FORMAT);
    tiny_bpe(&t, "gpt-2");
    t.s.eos = 256;
    assert_int_equal(open_fails("eos_token_id is 256, but there are 256 tokens"), ERR_FORMAT);
    tiny_bpe(&t, "gpt-2");
    t.s.bos = -2;
    assert_int_equal(open_fails("bos_token_id"), ERR_FORMAT);
    tiny_bpe(&t, "gpt-2");
    t.s.add_bos = 1;
    assert_int_equal(open_fails("names no BOS"), ERR_FORMAT);
    tiny_bpe(&t, "gpt-2");
    t.tokens[5].n = VOCAB_TOKEN_LEN_MAX + 1;
    assert_int_equal(open_fails("token 5 has 4097 bytes"), ERR_LIMIT);
    tiny_bpe(&t, "gpt-2");
    t.s.n_tokens = t.s.n_types = VOCAB_TOKENS_MAX + 1;
    assert_int_equal(open_fails("tokens, at most"), ERR_LIMIT);
    tiny_bpe(&t, "gpt-2");
    t.s.n_merges = VOCAB_MERGES_MAX + 1;
    assert_int_equal(open_fails("merges, at most"), ERR_LIMIT);
}

static void test_hostile_merges(void **state)
{
    static const char *const bad[] = {"a", "", " ", "a ", " a", "ab c", "a bc", "a b"};

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        tiny_bpe(&t, "gpt-2");
        tiny_merge(&t, "x", "y");
        t.merges[0] = (struct vocab_str){bad[i], strlen(bad[i])};
        assert_int_equal(open_fails("merge 0"), ERR_FORMAT);
    }
    tiny_bpe(&t, "gpt-2");
    tiny_add(&t, "more", VOCAB_NORMAL, 0);
    assert_int_equal(open_fails("no merges"), ERR_FORMAT);
}

/* A byte that the vocabulary lacks is left out, and its neighbours merge: as in the references. */
static void test_missing_byte(void **state)
{
    char text[101];
    struct vocab *v;

    tiny_bpe(&t, "gpt-2");
    snprintf(t.text['q'], sizeof t.text['q'], "qq");
    t.tokens['q'].n = 2;
    tiny_merge(&t, "x", "y"); /* 256 */
    t.s.unk = 0;
    v = tiny_open(&t);
    assert_string_equal(ids(v, "q"), "");
    assert_string_equal(ids(v, "xqyqx"), "256 120");
    memset(text, 'q', 100); /* the same in a long word */
    text[3] = text[97] = 'x';
    text[50] = 'y';
    text[100] = 0;
    assert_string_equal(ids(v, text), "256 120");
    vocab_close(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_merges),
        cmocka_unit_test(test_merges_random),
        cmocka_unit_test(test_user_text_never_control),
        cmocka_unit_test(test_trusted),
        cmocka_unit_test(test_bad_spans),
        cmocka_unit_test(test_marks),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_no_merge_into_control),
        cmocka_unit_test(test_whole_words),
        cmocka_unit_test(test_bos_eos),
        cmocka_unit_test(test_any_bytes),
        cmocka_unit_test(test_malformed_is_apart),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_long_runs),
        cmocka_unit_test(test_patience),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_nfc),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_hostile_merges),
        cmocka_unit_test(test_missing_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
