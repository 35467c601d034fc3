#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/config.h"

struct thing {
    const char *name;
    int64_t n;
    uint64_t bytes;
    int64_t wait_ms;
    int on;
    int color;
    struct config_strs tags;
};

static const struct config_setting table[] = {
    {"name", CONFIG_STR, offsetof(struct thing, name), "none", 0, 0, "NAME", "a name"},
    {"n", CONFIG_INT, offsetof(struct thing, n), "7", 1, 10, "N", "a number"},
    {"bytes", CONFIG_SIZE, offsetof(struct thing, bytes), "64M", 0, 0, "BYTES", "a size"},
    {"wait", CONFIG_TIME, offsetof(struct thing, wait_ms), "10s", 0, 60000, "TIME", "a time"},
    {"on", CONFIG_BOOL, offsetof(struct thing, on), "true", 0, 0, NULL, "a switch"},
    {"color", CONFIG_CHOICE, offsetof(struct thing, color), "green", 0, 0, "red|green|blue", "c"},
    {"tags", CONFIG_STRS, offsetof(struct thing, tags), NULL, 0, 0, "WORDS", "words"},
    {0},
};

static int read_text(const char *yaml, struct thing *t, struct arena *a, struct err *e)
{
    struct config_doc *d = NULL;
    int r = config_doc_parse(&d, "t.yaml", yaml, strlen(yaml), e);

    if (!r)
        r = config_read(d, config_doc_root(d), table, t, a, NULL, NULL, e);
    config_doc_close(d);
    return r;
}

static void defaults_and_show(void **state)
{
    struct thing t = {0};
    struct arena a;
    struct buf out;

    arena_init(&a, 1024, 1 << 20);
    buf_init(&out, 1024);
    config_defaults(table, &t, &a);
    assert_string_equal(t.name, "none");
    assert_int_equal(t.n, 7);
    assert_int_equal(t.bytes, 64 << 20);
    assert_int_equal(t.wait_ms, 10000);
    assert_int_equal(t.on, 1);
    assert_int_equal(t.color, 1);
    for (const struct config_setting *s = table; s->name; s++) {
        config_show(s, &t, &out);
        buf_add_char(&out, ' ');
    }
    assert_string_equal(out.data, "none 7 64M 10s true green  ");
    buf_done(&out);
    arena_done(&a);
}

static void reads_yaml(void **state)
{
    struct thing t = {0};
    struct err e = {0};
    struct arena a;

    arena_init(&a, 1024, 1 << 20);
    assert_int_equal(read_text("# a comment\nname: no\nn: 3\nbytes: 1.5G\nwait: 250ms\n"
                               "on: off\ncolor: blue\ntags: [a, \"b c\"]\n",
                               &t, &a, &e),
                     0);
    assert_string_equal(t.name, "no"); /* a word, not a boolean */
    assert_int_equal(t.n, 3);
    assert_int_equal(t.bytes, (uint64_t)3 << 29);
    assert_int_equal(t.wait_ms, 250);
    assert_int_equal(t.on, 0);
    assert_int_equal(t.color, 2);
    assert_int_equal(t.tags.n, 2);
    assert_string_equal(t.tags.v[1], "b c");
    assert_int_equal(read_text("", &t, &a, &e), 0);
    assert_int_equal(read_text("# nothing\n", &t, &a, &e), 0);
    assert_int_equal(read_text("{\"n\": 4}", &t, &a, &e), 0); /* JSON is YAML */
    assert_int_equal(t.n, 4);
    arena_done(&a);
}

static void refuses(void **state)
{
    static const struct {
        const char *yaml, *says;
    } cases[] = {
        {"n: 3\nnmae: x\n", "t.yaml:2:1: unknown key 'nmae'"},
        {"n: 11\n", "t.yaml:1:4: n: 11 is not within 1..10"},
        {"n: 3x\n", "t.yaml:1:4: n: wants a whole number, not '3x'"},
        {"bytes: lots\n", "bytes: wants bytes"},
        {"bytes: -1\n", "bytes: wants bytes"},
        {"wait: 2 days\n", "wait: wants a time"},
        {"wait: 2h\n", "wait: 2h is not within"},
        {"on: maybe\n", "on: wants true or false"},
        {"color: pink\n", "color: wants one of red|green|blue, not 'pink'"},
        {"name: [a]\n", "name: wants one value"},
        {"name:\n  a: b\n", "name: wants one value"},
        {"tags: [[a]]\n", "tags: wants a list of words"},
        {"- a\n", "wants a map of settings"},
        {"n: 1\nn: 2\n", "t.yaml:2:1: the key was there before, in line 1"},
        {"{\"n\": 1, \"n\": 2}", "t.yaml:1:10: the key was there before"},
        {"n: &a 1\nname: x\n", "t.yaml:1:4: anchors"},
        {"n: *a\n", "t.yaml:1:4: aliases"},
        {"a: &a [*a]\n", "t.yaml:1:4: anchors"},
        {"n: !!int 1\n", "t.yaml:1:4: tags"},
        {"n: 1\n---\nn: 2\n", "t.yaml:2:1: a second document"},
        {"? [n]\n: 1\n", "t.yaml:1:3: a key must be a word"},
        {"? d:\t?", "t.yaml:1:"}, /* libfyaml crashed on this one */
        {"n: 1\n  name: x\n", "t.yaml:2:"},
        {"name: 'x\n", "t.yaml:"},
        {"name: \"a\\0b\"\n", "t.yaml:1:7: name: wants one value"},
        {"a: [1\n", "t.yaml:"},
        {"\tn: 1\n", "t.yaml:"},
        {"n: 1\n%YAML 1.2\n", "t.yaml:2: YAML directives"},
        {"n: 1\nname: \xff\n", "t.yaml:2: a byte that is no text"},
        {"name: \x01\n", "t.yaml:1: a byte that is no text"},
    };
    struct arena a;

    arena_init(&a, 1024, 1 << 20);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct thing t = {0};
        struct err e = {0};
        assert_true(read_text(cases[i].yaml, &t, &a, &e) < 0);
        if (!strstr(e.text, cases[i].says))
            fail_msg("'%s' does not say '%s'", e.text, cases[i].says);
    }
    arena_done(&a);
}

/* The limits of nesting, of keys, and of text: each has a sentence. */
static void sizes(void **state)
{
    struct buf b;
    struct thing t = {0};
    struct err e = {0};
    struct arena a;

    arena_init(&a, 1024, 1 << 20);
    buf_init(&b, 4 << 20);
    for (int i = 0; i < 100000; i++)
        buf_add_str(&b, "[");
    assert_int_equal(read_text(b.data, &t, &a, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, "nested too deeply"));
    buf_clear(&b);
    for (int i = 0; i < 300; i++)
        buf_addf(&b, "k%d: 1\n", i);
    assert_int_equal(read_text(b.data, &t, &a, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, "t.yaml:257: a map of more than 256 keys"));
    buf_clear(&b);
    for (int i = 0; i < 500000; i++)
        buf_add_str(&b, "- ");
    assert_int_equal(read_text(b.data, &t, &a, &e), ERR_FORMAT);
    buf_clear(&b);
    buf_add_char(&b, '[');
    for (int i = 0; i < 500000; i++)
        buf_add_str(&b, "a,");
    buf_add_char(&b, ']');
    assert_int_equal(read_text(b.data, &t, &a, &e), ERR_NOMEM);
    assert_non_null(strstr(e.text, "more than fits"));
    for (int i = 0; i < 100000; i++)
        buf_add_str(&b, "          ");
    assert_int_equal(read_text(b.data, &t, &a, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, "longer than 1 MiB"));
    buf_done(&b);
    arena_done(&a);
}

/* No part of a file that is too long is taken for the whole of it. */
static void long_file(void **state)
{
    char path[] = "/tmp/gaufre-config-XXXXXX";
    int fd = mkstemp(path);
    FILE *f = fdopen(fd, "w");
    struct config_doc *d = NULL;
    struct err e = {0};

    assert_non_null(f);
    for (int i = 0; i < 300000; i++)
        fputs("# 1\n", f);
    fclose(f);
    assert_int_equal(config_doc_open(&d, path, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, "longer than 1 MiB"));
    unlink(path);
}

static void flags(void **state)
{
    struct thing t = {0};
    struct err e = {0};
    struct arena a;

    arena_init(&a, 1024, 1 << 20);
    assert_int_equal(config_set(table, &t, "tags", "x,,y", &a, &e), 0);
    assert_int_equal(t.tags.n, 2);
    assert_int_equal(config_set(table, &t, "nothing", "1", &a, &e), ERR_ARG);
    assert_string_equal(e.param, "nothing");
    assert_int_equal(config_set(table, &t, "n", " 3", &a, &e), ERR_ARG);
    assert_int_equal(config_set(table, &t, "n", "99999999999999999999", &a, &e), ERR_ARG);
    assert_int_equal(config_set(table, &t, "bytes", "nan", &a, &e), ERR_ARG);
    assert_int_equal(config_set(table, &t, "bytes", "12MiB", &a, &e), 0);
    assert_int_equal(t.bytes, 12 << 20);
    assert_int_equal(t.n, 0); /* untouched by what failed */
    arena_done(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_and_show),
        cmocka_unit_test(reads_yaml),
        cmocka_unit_test(refuses),
        cmocka_unit_test(sizes),
        cmocka_unit_test(long_file),
        cmocka_unit_test(flags),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
