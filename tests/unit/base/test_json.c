#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/json.h"
#include "base/json_tree.h"
#include "base/rand.h"

static void test_accepts(void **state)
{
    static const char *const good[] = {"{}",
                                       "[]",
                                       "1",
                                       "\"x\"",
                                       "null",
                                       "\xef\xbb\xbf{\"a\":1}",
                                       " {\"a\" : [1, 2.5e3, -0]} \n",
                                       "\"\\ud83d\\ude00\"",
                                       "9223372036854775807",
                                       "-9223372036854775808",
                                       "1e-400"};

    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        json_t *j = NULL;
        struct err e = {0};
        if (json_parse(&j, good[i], strlen(good[i]), 0, &e))
            fail_msg("%s: %s", good[i], e.text);
        assert_non_null(j);
        json_decref(j);
    }
}

/* What is refused, where the fault is said to be, and in which words. */
static void test_refuses(void **state)
{
    static const struct {
        const char *text, *param, *words;
    } bad[] = {
        {"", "", "body is empty"},
        {"{", "", "ends too early"},
        {"{\"a\":1,}", "", "not valid JSON"},
        {"{'a':1}", "", "not valid JSON"},
        {"{\"a\":NaN}", "a", "not valid JSON"},
        {"{} x", "", "after the JSON value"},
        {"{\"a\":1,\"a\":2}", "a", "a: duplicate key (line 1, column 10"},
        {"{\"messages\":[{},{\"role\":\"user\",\"role\":\"tool\"}]}", "messages.1.role",
         "messages.1.role: duplicate key"},
        {"{\"q\\\"uote\":1,\"q\\\"uote\":1}", "*", "duplicate key"},
        {"{\"m\":[\"x\",\"a\\u0000b\"]}", "m.1", "m.1: \\u0000 (a NUL character) is not accepted"},
        {"{\"a\\u0000\":1}", "*", "NUL"},
        {"{\"m\":\"\\ud800\"}", "m", "Unicode"},
        {"{\"m\":\"\\ud800\\u0041\"}", "m", "Unicode"},
        {"{\"m\":\"\\udc00\"}", "m", "Unicode"},
        {"{\"m\":\"ab\xff\"}", "m", "m: text is not valid UTF-8 (byte 8)"},
        {"{\"m\":\"\xed\xa0\x80\"}", "m", "UTF-8 (byte 6)"},
        {"{\"m\":\"\xc3", "m", "UTF-8 (byte 6)"},
        {"{\"seed\":9223372036854775808}", "seed", "seed: number out of range"},
        {"{\"t\":1e400}", "t", "t: number out of range"},
        {"{\"t\":01}", "t", "not valid JSON"},
        {"\"a\nb\"", "", "not valid JSON"},
    };

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        json_t *j = (json_t *)state;
        struct err e = {0};
        int r = json_parse(&j, bad[i].text, strlen(bad[i].text), 0, &e);
        if (r != ERR_SCHEMA || e.code != r || strcmp(e.param, bad[i].param) ||
            !strstr(e.text, bad[i].words))
            fail_msg("%s: %d param '%s' text '%s'", bad[i].text, r, e.param, e.text);
        assert_ptr_equal(j, state); /* untouched */
    }
}

/* A NUL byte is nowhere in JSON; jansson takes one after a number or word for the end of it. */
static void test_nul(void **state)
{
    static const struct {
        const char *text;
        size_t n;
        const char *param;
    } bad[] = {
        {"{\"x\":1\0}", 8, "x"},       {"[1\0]", 4, "0"},       {"[1.5\0]", 6, "0"},
        {"{\"x\":true\0}", 11, "x"},   {"{\"x\":1}\0", 8, ""},  {"\0{}", 3, ""},
        {"{\"x\":\"a\0b\"}", 11, "x"}, {"{\"x\0\":1}", 8, "x"},
    };

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        json_t *j = NULL;
        struct err e = {0};
        int r = json_parse(&j, bad[i].text, bad[i].n, 0, &e);
        if (r != ERR_SCHEMA || j || strcmp(e.param, bad[i].param) || !strstr(e.text, "NUL"))
            fail_msg("row %zu: %d param '%s' text '%s'", i, r, e.param, e.text);
    }
}

/* Sentences end up in logs: nothing of the body but the names of its fields is in them. */
static void test_keeps_the_body(void **state)
{
    static const char *const bad[] = {
        "{\"messages\":[{\"content\":\"a secret\" secret}]}",
        "{\"a secret\":[secret]}",
        "{\"x\":\"secret\\q\"}",
        "{\"x\":\"secret\nsecret\"}",
        "{\"x\":\"secret\xff\"}",
        "{\"x\":99999999999999999999, \"secret\":1}",
        "{\"x\":1e999, \"secret\":1}",
        "{\"x\":1} secret",
        "{\"a secret\":1,\"a secret\":2}",
        "secret",
        "[\"secret\"",
        "{\"x\":{\"y\":{\"\x1b[31msecret\":tru}}}",
    };

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        json_t *j = NULL;
        struct err e = {0};
        assert_int_equal(json_parse(&j, bad[i], strlen(bad[i]), 0, &e), ERR_SCHEMA);
        if (strstr(e.text, "secret") || strstr(e.param, "secret") || strchr(e.text, 0x1b))
            fail_msg("%s: %s", bad[i], e.text);
    }
}

static void test_depth(void **state)
{
    char deep[8001];
    json_t *j = NULL;
    struct err e = {0};

    memset(deep, '[', 8000);
    assert_int_equal(json_parse(&j, deep, 8000, 0, &e), ERR_SCHEMA);
    assert_non_null(strstr(e.text, "nested too deeply"));
    memset(deep, '[', 2000);
    memset(deep + 2000, ']', 2000);
    assert_int_equal(json_parse(&j, deep, 4000, 0, &e), 0);
    json_decref(j);
}

/* Brackets cost memory, the same bytes within a string do not. */
static void test_memory(void **state)
{
    static char s[30003];
    json_t *j = NULL;
    struct err e = {0};

    s[0] = '[';
    for (int i = 0; i < 10000; i++)
        memcpy(s + 1 + 3 * i, "[],", 3);
    s[30000] = ']';
    assert_int_equal(json_parse(&j, s, 30001, 1 << 20, &e), ERR_TOO_LARGE);
    assert_non_null(strstr(e.text, "too many values"));
    s[0] = '"';
    s[30000] = '"';
    assert_int_equal(json_parse(&j, s, 30001, 1 << 20, &e), 0);
    assert_int_equal(json_string_length(j), 29999);
    json_decref(j);
}

static void expect(struct buf *b, const char *want)
{
    assert_int_equal(b->failed, 0);
    assert_string_equal(b->data, want);
    buf_clear(b);
}

static void test_text(void **state)
{
    static const struct {
        const char *in, *out;
    } rows[] = {
        {"", "\"\""},
        {"plain", "\"plain\""},
        {"a\"b\\c/", "\"a\\\"b\\\\c/\""},
        {"\n\r\t\b\f\x01\x1f\x7f", "\"\\n\\r\\t\\b\\f\\u0001\\u001f\x7f\""},
        {"h\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "\"h\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\""},
        {"a\xff"
         "b",
         "\"a\xef\xbf\xbd"
         "b\""},
        {"a\xf0\x9f\x98", "\"a\xef\xbf\xbd\""}, /* unfinished: once */
        {"\xc0\xaf", "\"\xef\xbf\xbd\xef\xbf\xbd\""},
        {"\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
    };
    struct buf b;

    buf_init(&b, 1000);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        json_put_text(&b, rows[i].in, strlen(rows[i].in));
        expect(&b, rows[i].out);
    }
    json_put_text(&b, "a\0b", 3);
    expect(&b, "\"a\\u0000b\"");
    json_put_str(&b, NULL);
    expect(&b, "null");
    json_put_bytes(&b, "\x00\xf0z", 3);
    expect(&b, "[0,240,122]");
    buf_done(&b);
}

/* Every byte string comes out as JSON that the parser takes. */
static void test_text_any_bytes(void **state)
{
    struct buf b;
    uint32_t x = 1;

    buf_init(&b, 1000);
    for (int round = 0; round < 2000; round++) {
        char s[24];
        json_t *j = NULL;
        struct err e;
        size_t n = (size_t)round % sizeof s;
        for (size_t i = 0; i < n; i++) {
            x = x * 1664525 + 1013904223;
            s[i] = (char)(x >> 24);
            if (!s[i])
                s[i] = 'z';
        }
        json_put_text(&b, s, n);
        assert_int_equal(json_parse(&j, b.data, b.len, 0, &e), 0);
        json_decref(j);
        buf_clear(&b);
    }
    buf_done(&b);
}

static void test_numbers(void **state)
{
    static const struct {
        double v;
        int decimals;
        const char *out;
    } fixed[] = {{0, 6, "0.0"},
                 {-0.0, 6, "0.0"},
                 {1, 6, "1.0"},
                 {-1.5, 6, "-1.5"},
                 {0.1, 6, "0.1"},
                 {0.000001, 6, "0.000001"},
                 {-1e-9, 6, "0.0"},
                 {-9999, 8, "-9999.0"},
                 {1.0000004, 6, "1.0"},
                 {999999.9999999, 6, "1000000.0"},
                 {1e9, 6, "1000000000.0"},
                 {NAN, 6, "null"},
                 {INFINITY, 6, "null"},
                 {-0.12345678, 8, "-0.12345678"},
                 {12.5, 0, "12.0"},
                 {1764000000.25, 6, "1764000000.25"}};
    static const struct {
        double v;
        const char *out;
    } real[] = {
        {0, "0.0"},     {1, "1.0"},    {0.1, "0.1"},        {1e300, "1e+300"},
        {-2.5, "-2.5"}, {NAN, "null"}, {-INFINITY, "null"}, {1.0 / 3, "0.3333333333333333"}};
    struct buf b;

    buf_init(&b, 1000);
    for (size_t i = 0; i < ARRAY_LEN(fixed); i++) {
        json_put_fixed(&b, fixed[i].v, fixed[i].decimals);
        expect(&b, fixed[i].out);
    }
    for (size_t i = 0; i < ARRAY_LEN(real); i++) {
        json_put_real(&b, real[i].v);
        expect(&b, real[i].out);
    }
    json_put_int(&b, INT64_MIN);
    expect(&b, "-9223372036854775808");
    json_put_int(&b, 0);
    expect(&b, "0");
    buf_done(&b);
}

static void test_limit(void **state)
{
    struct buf b;
    json_t *j = json_pack("{s:s, s:[i,i]}", "k", "0123456789", "a", 1, 2);

    buf_init(&b, 16);
    assert_int_equal(json_put_text(&b, "0123456789abcdef", 16), ERR_LIMIT);
    buf_clear(&b);
    assert_int_equal(json_put_tree(&b, j), ERR_LIMIT);
    buf_done(&b);
    buf_init(&b, 100);
    assert_int_equal(json_put_tree(&b, j), 0);
    expect(&b, "{\"k\":\"0123456789\",\"a\":[1,2]}");
    buf_done(&b);
    json_decref(j);
}

/* What jansson takes, counted as it asks for it; 16 bytes of malloc's own to each. */
static size_t taken, most_taken;

static void *counted_alloc(size_t n)
{
    size_t *p = malloc(n + 16);

    if (!p)
        return NULL;
    *p = n + 16;
    taken += n + 16;
    most_taken = taken > most_taken ? taken : most_taken;
    return p + 2;
}

static void counted_free(void *at)
{
    size_t *p = at;

    if (!at)
        return;
    taken -= p[-2];
    free(p - 2);
}

/* The cost of a tree is an upper bound of what is taken at any time while it is built. */
static void test_cost(void **state)
{
    static const char *const items[][3] = {{"[", "1,", "1]"},
                                           {"[", "\"\",", "\"\"]"},
                                           {"[", "1.5,", "1.5]"},
                                           {"[", "[],", "[]]"},
                                           {"[", "{},", "{}]"},
                                           {"[", "{\"a\":{\"b\":1}},", "1]"},
                                           {"\"", "prose, prose", "\""},
                                           {"[", "\"\\u00e9\",", "1]"},
                                           {"[", "true,", "true]"}};
    static const int sizes[] = {1, 9, 1000, 33000};
    struct buf b;
    struct err e;
    json_t *j;

    json_set_alloc_funcs(counted_alloc, counted_free);
    buf_init(&b, 1 << 22);
    for (size_t i = 0; i < ARRAY_LEN(items) + 1; i++) {
        for (size_t k = 0; k < ARRAY_LEN(sizes); k++) {
            int object = i == ARRAY_LEN(items); /* with keys of their own */
            buf_clear(&b);
            buf_add_str(&b, object ? "{" : items[i][0]);
            for (int n = 0; n < sizes[k]; n++) {
                if (object)
                    buf_addf(&b, "\"%d\":1,", n);
                else
                    buf_add_str(&b, items[i][1]);
            }
            buf_add_str(&b, object ? "\"x\":1}" : items[i][2]);
            most_taken = 0;
            assert_int_equal(json_parse(&j, b.data, b.len, (size_t)1 << 30, &e), 0);
            assert_true(most_taken <= json_cost(b.data, b.len));
            json_decref(j);
            assert_int_equal(taken, 0);
        }
    }
    buf_done(&b);
    json_set_alloc_funcs(malloc, free);
}

/* ---- the reader of ordinary texts ---- */

static json_t *by_jansson(const char *s, size_t n)
{
    return json_loadb(s, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);
}

/* The same values, also where they look alike: 1 and 1.0, -0.0 and 0.0. */
static void assert_same(const json_t *a, const json_t *b, const char *text)
{
    char *x = json_dumps(a, JSON_ENCODE_ANY), *y = json_dumps(b, JSON_ENCODE_ANY);

    if (!json_equal(a, b) || !x || !y || strcmp(x, y))
        fail_msg("%s: %s is not %s", text, x, y);
    free(x);
    free(y);
}

/* Texts that clients send, and what is left to jansson. */
static void test_ordinary(void **state)
{
    static const char *const ordinary[] = {
        "{}",
        " [ ] ",
        "\"\"",
        "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"a\\n\\\"b\\\"\"}]}",
        "{\"temperature\": 0.7, \"top_p\":-1.05, \"n\":1, \"stream\":true, \"stop\":null}",
        "[0, -0, 0.0, -0.0, 0.1, 123456789.25, 999999999999999999, -999999999999999999]",
        "\"\\ud83d\\ude00 \\u00e9 \xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80\"",
        "\"\\\\ \\/ \\b\\f\\n\\r\\t\"",
        "[[[[false]]]]"};
    static const char *const left[] = {"[1e5]",
                                       "1.5e3",
                                       "1000000000000000000",
                                       "0.12345678901234567",
                                       "{\"\\u0061\":1}",
                                       "{\"a\":1,\"a\":1}",
                                       "01",
                                       "-",
                                       "1.",
                                       "truex",
                                       "[1,]",
                                       "{\"a\" 1}",
                                       "\"\\ud800\"",
                                       "\"\\u0000\"",
                                       "\"\\",
                                       "\"\x1f\"",
                                       "\"\xc0\x80\""};

    for (size_t i = 0; i < ARRAY_LEN(ordinary); i++) {
        json_t *a = json_tree(ordinary[i], strlen(ordinary[i])), *b;
        b = by_jansson(ordinary[i], strlen(ordinary[i]));
        if (!a)
            fail_msg("not taken: %s", ordinary[i]);
        assert_same(a, b, ordinary[i]);
        json_decref(a);
        json_decref(b);
    }
    for (size_t i = 0; i < ARRAY_LEN(left); i++) {
        if (json_tree(left[i], strlen(left[i])))
            fail_msg("taken: %s", left[i]);
    }
}

/* Whatever a text is changed to: what is taken is what jansson makes of it. */
static void test_as_jansson(void **state)
{
    static const char seed[] = "{\"id\":\"c-1\",\"a\":[1,-2.5,0.25,true,null,1.0],\"text\":\"some "
                               "words \\ud83d\\ude00 \xc3\xa9 \\n end\",\"ab\":{\"x\":false}}";
    static const char bytes[] = "{}[]\",:\\u0123456789aeE+-. tfn\xc3\xa9\x1f";
    int n_taken = 0;

    for (uint64_t i = 0; i < 100000; i++) {
        char text[sizeof seed];
        uint32_t r[4];
        json_t *a, *b;
        size_t n;
        memcpy(text, seed, sizeof seed);
        rand_philox(2, i, 100, r);
        n = r[0] % 8 ? sizeof seed - 1 : r[1] % sizeof seed;
        for (int k = 0; k < (int)(i % 3); k++) {
            rand_philox(2, i, (uint64_t)k, r);
            text[r[0] % (sizeof seed - 1)] = bytes[r[1] % (sizeof bytes - 1)];
        }
        text[n] = 0;
        a = json_tree(text, n);
        n_taken += a != NULL;
        b = a ? by_jansson(text, n) : NULL;
        if (a && !b)
            fail_msg("taken: %s", text);
        if (a)
            assert_same(a, b, text);
        json_decref(a);
        json_decref(b);
    }
    assert_true(n_taken > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepts),
        cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_nul),
        cmocka_unit_test(test_keeps_the_body),
        cmocka_unit_test(test_cost),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_text_any_bytes),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_ordinary),
        cmocka_unit_test(test_as_jansson),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
