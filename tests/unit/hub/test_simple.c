#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "hub/hub_int.h"

#define SHA_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define SHA_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define BASE  "https://index.test/root/simple/my-model/"

static int find(const char *body, struct index_file *f)
{
    struct err e = {0};

    return simple_find(body, strlen(body), BASE, "My.Model", "1.2", f, &e);
}

static void test_html(void **state)
{
    struct index_file f;

    assert_int_equal(find("<!DOCTYPE html><html><head><title>x</title></head><body>\n"
                          "<a href=\"/f/my_model-1.2.tar.gz#sha256=" SHA_B "\">sdist</a>\n"
                          "<a href=\"/f/my_model-1.20-py3-none-any.whl#sha256=" SHA_B "\">no</a>\n"
                          "<abbr href=\"/f/my_model-1.2-py3-none-any.whl\">no</abbr>\n"
                          "<a data-requires-python=\"&gt;=3.9\"\n HREF = '../../f/"
                          "my_model-1.2-py3-none-any.whl?a=1&amp;b=2#sha256=" SHA_A "'>x</a>",
                          &f),
                     0);
    assert_string_equal(f.url, BASE "../../f/my_model-1.2-py3-none-any.whl?a=1&b=2");
    assert_string_equal(f.name, "my_model-1.2-py3-none-any.whl");
    assert_string_equal(f.sha256, SHA_A);
    assert_int_equal(f.bytes, 0);
}

static void test_json(void **state)
{
    struct index_file f;

    assert_int_equal(
        find("\n {\"meta\":{},\"files\":[{\"filename\":\"my_model-1.2.tar.gz\",\"url\":\"x\"},"
             "{\"filename\":\"my_model-1.2-cp311-cp311-linux_x86_64.whl\",\"url\":\"x\"},"
             "{\"filename\":7},{},"
             "{\"filename\":\"My_Model-1.2-py3-none-any.whl\",\"url\":\"//files.test/w.whl\","
             "\"hashes\":{\"sha256\":\"" SHA_B "\"},\"size\":77}]}",
             &f),
        0);
    assert_string_equal(f.url, "https://files.test/w.whl");
    assert_string_equal(f.name, "My_Model-1.2-py3-none-any.whl");
    assert_string_equal(f.sha256, SHA_B);
    assert_int_equal(f.bytes, 77);
}

static void test_links(void **state)
{
    static const struct {
        const char *href, *url;
    } rows[] = {
        {"http://other.test/p/my_model-1.2-py3-none-any.whl",
         "http://other.test/p/my_model-1.2-py3-none-any.whl"},
        {"/my_model-1.2-py3-none-any.whl", "https://index.test/my_model-1.2-py3-none-any.whl"},
        {"my_model-1.2-py3-none-any.whl", BASE "my_model-1.2-py3-none-any.whl"},
    };
    char body[1024];
    struct index_file f;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        snprintf(body, sizeof body, "<a href=\"%s\">", rows[i].href);
        assert_int_equal(find(body, &f), 0);
        assert_string_equal(f.url, rows[i].url);
        assert_string_equal(f.sha256, "");
    }
}

static void test_nothing_there(void **state)
{
    static const char *const bodies[] = {
        "",
        "<",
        "<a",
        "<a href",
        "<a href=",
        "<a href=\"my_model-1.2-py3-none-any.whl>",
        "<a href=my_model-1.2-py3-none-any.whl>",
        "<a href=\"file:///my_model-1.2-py3-none-any.whl\">",
        "<a href=\"hf:a/b/my_model-1.2-py3-none-any.whl\">",
        "{\"files\":[]}",
        "{\"files\":3}",
        "{\"files\":[{\"filename\":\"my_model-1.2-x/../../etc-any.whl\",\"url\":\"x\"}]}",
    };
    struct index_file f = {.name = "untouched"};

    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++)
        assert_int_equal(find(bodies[i], &f), ERR_NOTFOUND);
    assert_true(find("{\"files\":[", &f) < 0);
    assert_string_equal(f.name, "untouched");
}

static void test_wheel_names(void **state)
{
    assert_true(simple_is_wheel_of("a_b-1.0-py3-none-any.whl", "A--b", "1.0"));
    assert_true(simple_is_wheel_of("a_b-1.0-1-py2.py3-none-any.whl", "a.b", "1.0"));
    assert_false(simple_is_wheel_of("a_b-1.0.1-py3-none-any.whl", "a-b", "1.0"));
    assert_false(simple_is_wheel_of("a_b-1.0-py3-none-any.whl.metadata", "a-b", "1.0"));
    assert_false(simple_is_wheel_of("a_b", "a-b", "1.0"));
    assert_false(simple_is_wheel_of("", "a-b", "1.0"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_html),        cmocka_unit_test(test_json),
        cmocka_unit_test(test_links),       cmocka_unit_test(test_nothing_there),
        cmocka_unit_test(test_wheel_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
