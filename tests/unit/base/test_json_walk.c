/* Walking through JSON text: what is JSON is passed over whole, what is not is found, as the parser
 * that makes trees has it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_walk.h"
#include "base/rand.h"

/* A copy that ends where the text does, so that a look beyond it is found. */
static const char *behind(const char *text)
{
    size_t n = strlen(text);
    char *copy = malloc(n ? n : 1);
    const char *p;

    memcpy(copy, text, n);
    p = json_skip(copy, copy + n);
    p = p ? text + (p - copy) : NULL;
    free(copy);
    return p;
}

static void passes_over(void **state)
{
    static const char *const whole[] = {"1",
                                        "-0.5e+3",
                                        "0",
                                        "true",
                                        "null",
                                        "\"\"",
                                        "\"a\\\"b\\u00e9\\\\\"",
                                        "[]",
                                        "{}",
                                        "[[],{}]",
                                        "[1, 2 ,3]",
                                        "{\"a\":{\"b\":[1]}}",
                                        "{ \"a\" : 1 , \"b\" : [ { } ] }",
                                        "[\"}\",\"]\"]"};
    static const char *const wrong[] = {
        "",        "01x",         "-",    "1.",        "1e",      "tru",      "\"a",
        "\"\\x\"", "\"\\u12g4\"", "[1,]", "[,1]",      "{\"a\"}", "{\"a\":}", "{a:1}",
        "[1 2]",   "{\"a\":1,}",  "[1}",  "{\"a\":1]", "[",       "{\"a\":[", "\"\t\""};

    (void)state;
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
        assert_ptr_equal(behind(whole[i]), whole[i] + strlen(whole[i]));
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const char *p = behind(wrong[i]);
        if (p && *p == 0)
            fail_msg("taken for JSON: %s", wrong[i]);
    }
}

static void depth_ends(void **state)
{
    char text[2 * JSON_WALK_DEPTH + 3];

    (void)state;
    for (int n = JSON_WALK_DEPTH; n <= JSON_WALK_DEPTH + 1; n++) {
        memset(text, '[', (size_t)n);
        memset(text + n, ']', (size_t)n);
        text[2 * n] = 0;
        assert_int_equal(behind(text) != NULL, n == JSON_WALK_DEPTH);
    }
}

/* Any change of a text is found exactly when it is found by the parser. */
static void as_the_parser(void **state)
{
    static const char seed[] = "{\"id\":\"c-1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":"
                               "\"some words \\\"b\\u0041 and more of them\"},"
                               "\"x\":[1,-2.5e3,true,null]}],\"usage\":null}";
    static const char bytes[] = "{}[]\",:\\x0123eE+-. tfn\x1f";

    (void)state;
    for (uint64_t i = 0; i < 30000; i++) {
        char text[sizeof seed];
        uint32_t r[4];
        const char *p;
        json_t *j;
        memcpy(text, seed, sizeof seed);
        for (int k = 0; k < 1 + (int)(i % 3); k++) {
            rand_philox(1, i, (uint64_t)k, r);
            text[r[0] % (sizeof seed - 1)] = bytes[r[1] % (sizeof bytes - 1)];
        }
        j = json_loads(text, JSON_DECODE_ANY, NULL);
        p = behind(text);
        /* the parser also judges numbers' size and what escapes mean: it may refuse more */
        if (j && (!p || *p))
            fail_msg("refused: %s", text);
        json_decref(j);
        if (!j && p && !*p && !strstr(text, "\\u") && !strchr(text, 'e') && !strchr(text, 'E'))
            fail_msg("taken: %s", text);
    }
}

/* A name is the same however it is written. */
static void names(void **state)
{
    static const struct {
        const char *text, *name;
        int want;
    } t[] = {
        {"{\"model\":1}", "model", 1},
        {"{\"mod\\u0065l\":1}", "model", 1},
        {"{\"\\u006D\\u006fdel\":1}", "model", 1},
        {"{\"mode\\u006c\":1}", "mode", 0},
        {"{\"mode\\u016c\":1}", "model", 0},
        {"{\"mode\\u0000\":1}", "mode", 0},
        {"{\"mode\\nl\":1}", "model", 0},
        {"{\"mode\":1}", "model", 0},
        {"{\"\":1}", "model", 0},
        {"{\"\":1}", "", 1},
    };

    (void)state;
    for (size_t k = 0; k < sizeof t / sizeof *t; k++) {
        struct json_walk w;
        struct json_item i;
        assert_int_equal(json_walk_begin(&w, t[k].text, t[k].text + strlen(t[k].text)), 0);
        assert_int_equal(json_walk_next(&w, &i), 1);
        if (json_is_key(&i, t[k].name) != t[k].want)
            fail_msg("%s is %s: not %d", t[k].text, t[k].name, t[k].want);
    }
}

static void items(void **state)
{
    static const char text[] = " { \"a\" : 1 , \"b\":[\"x\", {}] } rest";
    struct json_walk w, in;
    struct json_item i;

    (void)state;
    assert_int_equal(json_walk_begin(&w, text, text + strlen(text)), 0);
    assert_int_equal(json_walk_next(&w, &i), 1);
    assert_true(json_is_key(&i, "a") && i.value_end - i.value == 1 && *i.value == '1');
    assert_int_equal(json_walk_next(&w, &i), 1);
    assert_true(json_is_key(&i, "b") && !json_is_key(&i, "bb") && !json_is_key(&i, ""));
    assert_int_equal(json_walk_begin(&in, i.value, i.value_end), 0);
    assert_int_equal(json_walk_next(&in, &i), 1);
    assert_null(i.key);
    assert_memory_equal(i.value, "\"x\"", 3);
    assert_int_equal(json_walk_next(&in, &i), 1);
    assert_int_equal(json_walk_next(&in, &i), 0);
    assert_int_equal(json_walk_next(&w, &i), 0);
    assert_string_equal(w.p, " rest");
    assert_int_equal(json_walk_begin(&w, "1", text), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(passes_over),   cmocka_unit_test(depth_ends),
        cmocka_unit_test(as_the_parser), cmocka_unit_test(names),
        cmocka_unit_test(items),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
