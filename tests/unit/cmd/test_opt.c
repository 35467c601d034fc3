#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "cmd/opt.h"

struct args {
    int json, cls;
    int64_t port;
    double heat;
    uint64_t kv_bytes;
    const char *host, *file;
    struct opt_strs alias;
    int64_t seed, top_k;
    double top_p;
};

static const struct opt table[] = {
    OPT_FLAG('j', "json", args, json, "print JSON"),
    OPT_CHOICE('c', "class", "q8|f32", NULL, args, cls, "numeric class"),
    OPT_INT('p', "port", "N", "8080", 0, 65535, args, port, "port"),
    OPT_REAL('t', "temperature", "X", NULL, 0, 2, args, heat, "temperature"),
    OPT_SIZE(0, "kv-memory", NULL, args, kv_bytes, "memory for KV"),
    OPT_STR(0, "host", "H", "127.0.0.1", args, host, "host"),
    OPT_FILE('f', "file", NULL, args, file, "file"),
    OPT_STRS('a', "alias", "NAME", args, alias, "alias"),
    OPT_INT(0, "seed", "N", "-1", -1, 0x1p63, args, seed, "seed"),
    OPT_REAL(0, "top-p", "P", "model", 0, 1, args, top_p, "top p"),
    OPT_INT(0, "top-k", "N", "model", 0, 100, args, top_k, "top k"),
    OPT_END,
};

#define PARSE(...)                                                                                 \
    char *argv[] = {(char *)"x", __VA_ARGS__, NULL};                                               \
    struct args a = {0};                                                                           \
    struct err e = {0};                                                                            \
    int n = -1, help = -1;                                                                         \
    int r = opt_parse(table, &a, (int)(sizeof argv / sizeof argv[0]) - 1, argv, &n, &help, &e)
#define S(s) ((char *)(s))

static void test_defaults_and_positionals(void **state)
{
    PARSE(S("one"), S("-"), S("two"));
    assert_int_equal(r, 0);
    assert_int_equal(n, 3);
    assert_string_equal(argv[0], "one");
    assert_string_equal(argv[1], "-");
    assert_string_equal(argv[2], "two");
    assert_int_equal(help, 0);
    assert_int_equal(a.port, 8080);
    assert_string_equal(a.host, "127.0.0.1");
    assert_null(a.file);
    assert_int_equal(a.cls, 0);
}

static void test_all_forms(void **state)
{
    PARSE(S("--port=1"), S("m"), S("-jt0.5"), S("--class"), S("f32"), S("--kv-memory=3G"), S("-a"),
          S("x"), S("--alias=y"), S("-fz"), S("--"), S("--json"));
    assert_int_equal(r, 0);
    assert_int_equal(n, 2);
    assert_string_equal(argv[1], "--json");
    assert_int_equal(a.port, 1);
    assert_int_equal(a.json, 1);
    assert_true(a.heat == 0.5);
    assert_int_equal(a.cls, 2);
    assert_true(a.kv_bytes == (uint64_t)3 << 30);
    assert_int_equal(a.alias.n, 2);
    assert_string_equal(a.alias.v[1], "y");
    assert_string_equal(a.file, "z");
}

static void check_seed(char *text, int64_t want)
{
    PARSE(S("--seed"), text);
    assert_int_equal(r, 0);
    assert_int_equal(a.seed, want);
}

static void test_bounds_are_reached(void **state)
{
    check_seed(S("-1"), -1);
    check_seed(S("0"), 0);
    check_seed(S("7"), 7);
    check_seed(S("9223372036854775807"), INT64_MAX);
}

static void check_word(char *p, char *k, int p_is_word, int k_is_word)
{
    PARSE(S("--top-p"), p, S("--top-k"), k);
    assert_int_equal(r, 0);
    assert_int_equal(opt_real_is_word(a.top_p), p_is_word);
    assert_int_equal(opt_int_is_word(a.top_k), k_is_word);
}

/* A word in the place of a number is the default, and may be typed. */
static void test_word_for_a_number(void **state)
{
    PARSE(S("x"));
    assert_int_equal(r, 0);
    assert_true(opt_real_is_word(a.top_p) && opt_int_is_word(a.top_k));
    check_word(S("model"), S("0"), 1, 0);
    check_word(S("0"), S("model"), 0, 1);
}

static void check_error(char *one, char *two, const char *text)
{
    PARSE(one, two);
    assert_int_equal(r, ERR_ARG);
    assert_string_equal(e.text, text);
    assert_int_equal(n, -1); /* outputs are written on success only */
}

static void test_errors_name_the_option(void **state)
{
    check_error(S("--prot"), NULL, "unknown option --prot; did you mean --port?");
    check_error(S("--hlep"), NULL, "unknown option --hlep; did you mean --help?");
    check_error(S("--quantum"), NULL, "unknown option --quantum");
    check_error(S("-z"), NULL, "unknown option -z");
    check_error(S("--json=1"), NULL, "--json takes no value");
    check_error(S("--port"), S("70000"),
                "--port wants a whole number from 0 to 65535, not '70000'");
    check_error(S("-p"), S("8o8"), "--port wants a whole number from 0 to 65535, not '8o8'");
    check_error(S("--port="), NULL, "--port wants a whole number from 0 to 65535, not ''");
    check_error(S("--top-p"), S("modl"), "--top-p wants a number from 0 to 1, not 'modl'");
    check_error(S("--seed"), S("9223372036854775808"),
                "--seed wants a whole number from -1 to 9223372036854775807, not "
                "'9223372036854775808'");
    check_error(S("--temperature"), S("nan"),
                "--temperature wants a number from 0 to 2, not 'nan'");
    check_error(S("--class"), S("q"), "--class is one of q8|f32, not 'q'");
    check_error(S("--kv-memory"), S("-1"),
                "--kv-memory wants bytes such as 4096, 512M or 2G, not '-1'");
    check_error(S("--kv-memory"), S("99999999T"),
                "--kv-memory wants bytes such as 4096, 512M or 2G, not '99999999T'");
}

static void test_missing_value(void **state)
{
    PARSE(S("--port"));
    assert_int_equal(r, ERR_ARG);
    assert_string_equal(e.text, "--port wants a value (N)");
}

static void test_help_wins(void **state)
{
    PARSE(S("m"), S("--help"), S("--nonsense"));
    assert_int_equal(r, 0);
    assert_int_equal(help, 1);
}

static void test_too_many(void **state)
{
    char *argv[2 * OPT_STRS_MAX + 4] = {S("x")};
    struct args a = {0};
    struct err e = {0};
    int n, help, argc = 1;

    for (int i = 0; i < OPT_STRS_MAX; i++)
        argv[argc++] = S("-ax");
    assert_int_equal(opt_parse(table, &a, argc, argv, &n, &help, &e), 0);
    argc = 1;
    memset(&a, 0, sizeof a);
    for (int i = 0; i <= OPT_STRS_MAX; i++)
        argv[argc++] = S("-ax");
    assert_int_equal(opt_parse(table, &a, argc, argv, &n, &help, &e), ERR_ARG);
}

static void test_int_list(void **state)
{
    int64_t v[3];
    int n = 0;
    struct err e;

    assert_int_equal(opt_int_list("128,512", "--prefill", 1, 4096, v, 3, &n, &e), 0);
    assert_int_equal(n, 2);
    assert_int_equal(v[1], 512);
    assert_int_equal(opt_int_list("0", "--depth", 0, 9, v, 3, &n, &e), 0);
    assert_int_equal(n, 1);
    assert_int_equal(opt_int_list("1,2,3,4", "--x", 1, 9, v, 3, &n, &e), ERR_ARG);
    assert_int_equal(opt_int_list("1,,2", "--x", 1, 9, v, 3, &n, &e), ERR_ARG);
    assert_int_equal(opt_int_list("", "--x", 1, 9, v, 3, &n, &e), ERR_ARG);
    assert_int_equal(opt_int_list("1,", "--x", 1, 9, v, 3, &n, &e), ERR_ARG);
    assert_int_equal(opt_int_list("10", "--x", 1, 9, v, 3, &n, &e), ERR_ARG);
}

static void test_distance(void **state)
{
    assert_int_equal(opt_distance("serve", "serve"), 0);
    assert_int_equal(opt_distance("sevre", "serve"), 1); /* a swap */
    assert_int_equal(opt_distance("serv", "serve"), 1);
    assert_int_equal(opt_distance("", "abc"), 3);
    assert_int_equal(opt_distance("pull", "list"), 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults_and_positionals),
        cmocka_unit_test(test_all_forms),
        cmocka_unit_test(test_bounds_are_reached),
        cmocka_unit_test(test_word_for_a_number),
        cmocka_unit_test(test_errors_name_the_option),
        cmocka_unit_test(test_missing_value),
        cmocka_unit_test(test_help_wins),
        cmocka_unit_test(test_too_many),
        cmocka_unit_test(test_int_list),
        cmocka_unit_test(test_distance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
