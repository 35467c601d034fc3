/* Hostile templates and input: each ends soon, with a clear error. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/jinja.h"

static int run(const char *template, const json_t *globals, struct err *e)
{
    struct jinja_input in = {.globals = globals};
    struct jinja *j = NULL;
    struct jinja_out out;
    int rc = jinja_compile(&j, template, strlen(template), e);

    if (!rc) {
        rc = jinja_render(j, &in, &out, e);
        if (!rc)
            jinja_out_done(&out);
    }
    jinja_free(j);
    return rc;
}

static void hostile_templates_end(void **state)
{
    static const struct {
        const char *template, *says;
    } table[] = {
        {"{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "steps"},
        {"{% set l = [1] %}{% for x in l %}{% set _ = l.append(1) %}{% endfor %}", ""},
        {"{% set l = [1] %}{% for x in l %}{% set _ = l.insert(0, 1) %}{% endfor %}", "steps"},
        {"{% for a in range(99999) %}{{ 'x' * 1000 }}{% endfor %}", ""},
        {"{{ 'x' * 999999999999 }}", ""},
        {"{{ 'x' * 9223372036854775807 }}", ""},
        {"{{ [1] * 9223372036854775807 }}", ""},
        {"{{ ('x' * 1000000) * 1000000 }}", ""},
        {"{% set ns = namespace(s='x') %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}"
         "{% endfor %}",
         ""},
        {"{% set ns = namespace(s='x' * 4000000) %}{% for i in range(9999) %}"
         "{% set ns.s = ns.s | upper | lower %}{% endfor %}",
         ""},
        {"{% set ns = namespace(l=[1]) %}{% for i in range(99) %}{% set ns.l = ns.l + ns.l %}"
         "{% endfor %}",
         ""},
        {"{% set ns = namespace(l=[]) %}{% for i in range(99) %}{% set ns.l = [ns.l, ns.l] %}"
         "{% endfor %}{{ ns.l }}",
         ""},
        {"{% set ns = namespace(l=[]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}"
         "{% endfor %}{{ ns.l | tojson }}",
         ""},
        {"{% set ns = namespace(l=[1], m=[1]) %}{% for i in range(60) %}"
         "{% set ns.l = [ns.l, ns.l] %}{% set ns.m = [ns.m, ns.m] %}{% endfor %}{{ ns.l == ns.m }}",
         "steps"},
        {"{% set ns = namespace(l=[1], m=[1]) %}{% for i in range(60) %}"
         "{% set ns.l = [ns.l, ns.l] %}{% set ns.m = [ns.m, ns.m] %}{% endfor %}{{ ns.l < ns.m }}",
         "steps"},
        {"{% set ns = namespace(t=(1,)) %}{% for i in range(60) %}{% set ns.t = (ns.t, ns.t) %}"
         "{% endfor %}{{ {ns.t: 1} }}",
         "steps"},
        {"{% set ns = namespace(t=(1,)) %}{% for i in range(60) %}{% set ns.t = (ns.t, ns.t) %}"
         "{% endfor %}{{ {}[ns.t] }}",
         "steps"},
        {"{% set ns = namespace(t=(1,)) %}{% for i in range(90000) %}{% set ns.t = (ns.t,) %}"
         "{% endfor %}{{ {}[ns.t] }}",
         "nested"},
        {"{% set ns = namespace(t=(1,)) %}{% for i in range(90000) %}{% set ns.t = (ns.t,) %}"
         "{% endfor %}{{ 'x'.startswith(ns.t) }}",
         "string is required"},
        {"{% set ns = namespace(t=(1,)) %}{% for i in range(90000) %}{% set ns.t = (ns.t,) %}"
         "{% endfor %}{{ [ns.t] | unique | list }}",
         "nested"},
        {"{% set l = [] %}{% set _ = l.append(l) %}{{ l }}", "nested"},
        {"{% set l = [] %}{% set _ = l.append(l) %}{{ l | tojson }}", "nested"},
        {"{% set l = [] %}{% set m = [] %}{% set _ = l.append(m) %}{% set _ = m.append(l) %}"
         "{{ l == m }}",
         "nested"},
        {"{% set d = {} %}{% set _ = d.update(a=d) %}{{ d }}", "nested"},
        {"{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "macros"},
        {"{% macro m(n) %}{{ m(n) }}{{ m(n) }}{% endmacro %}{{ m(1) }}", "macros"},
        {"{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) "
         "}}",
         ""},
        {"{% macro m(a=m()) %}{% endmacro %}{{ m() }}", "macros"},
        {"{% macro m() %}{{ caller() }}{% endmacro %}{% macro n() %}{% call m() %}{{ n() }}"
         "{% endcall %}{% endmacro %}{{ n() }}",
         ""},
        {"{{ range(9999999999) }}", "range"},
        {"{{ range(0, 9223372036854775807, 1) }}", "range"},
        {"{{ range(-9223372036854775807, 9223372036854775807, 3) }}", "range"},
        {"{{ '%999999999d' % 1 }}", "wider"},
        {"{{ '{:999999999}'.format(1) }}", "wider"},
        {"{{ '%.999f' % 1.5 }}", "digits"},
        {"{{ 'x'.center(999999999999) }}", ""},
        {"{{ 'x'.zfill(9223372036854775807) }}", ""},
        {"{{ 'x'.ljust(-9223372036854775807) }}{{ raise_exception('end') }}", "end"},
        {"{{ 'x' | indent(9223372036854775807) }}", ""},
        {"{{ [1] | tojson(indent=9223372036854775807) }}", ""},
        {"{{ [1] | batch(9223372036854775807, 0) | list }}", ""},
        {"{{ [1] | slice(9223372036854775807) | list }}", ""},
        {"{{ ('x,' * 2000000).split(',') | map('upper') | list | length }}", ""},
        {"{% set s = 'ab' * 2000000 %}{% for i in range(99999) %}{{ s.find('c') }}{% endfor %}",
         "steps"},
        {"{% set s = 'é' * 2000000 %}{% for i in range(99999) %}{{ s[1999999] }}{% endfor %}",
         "steps"},
        {"{% set d = dict() %}{% for i in range(99999) %}{% set _ = d.update({i: i}) %}{% endfor "
         "%}",
         "steps"},
        {"{% set s = '[' * 4000 %}{{ (s + ']' * 4000) | from_json }}", ""},
        {"{% set s = '[' ~ '1,' * 900000 ~ '1]' %}{% for i in range(999) %}"
         "{% set _ = s | from_json %}{% endfor %}",
         ""},
        {"{{ strftime_now('%c' * 1000) }}", "time"},
    };
    struct err e;

    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        int rc = run(table[i].template, NULL, &e);
        if (!rc || rc == ERR_NOMEM || !strstr(e.text, table[i].says))
            fail_msg("%s: %s", table[i].template, rc ? e.text : "no error");
    }
}

/* n times `piece` between head and tail. */
static char *repeated(const char *head, const char *piece, const char *tail, size_t n)
{
    size_t a = strlen(head), b = strlen(piece), c = strlen(tail);
    char *s = malloc(a + b * n + c + 1);

    assert_non_null(s);
    memcpy(s, head, a);
    for (size_t i = 0; i < n; i++)
        memcpy(s + a + b * i, piece, b);
    memcpy(s + a + b * n, tail, c + 1);
    return s;
}

static void deep_sources_are_refused(void **state)
{
    static const struct {
        const char *head, *piece, *tail;
    } table[] = {
        {"{{ ", "(", "1"},
        {"{{ ", "[", "1"},
        {"{{ ", "{1:", "1"},
        {"{{ ", "-", "1 }}"},
        {"{{ ", "not ", "1 }}"},
        {"{{ 1", " if 1 else 1", " }}"},
        {"{{ ", "a(", "1"},
        {"{{ ", "a[", "1"},
        {"{{ 1", " + 1", " }}"},
        {"{{ 1", "|abs", " }}"},
        {"{{ a", ".b", " }}"},
        {"{{ a", "()", " }}"},
        {"", "{% if 1 %}", ""},
        {"", "{% for a in b %}", ""},
        {"", "{% macro m() %}", ""},
        {"", "{% set x %}", ""},
        {"{% set ", "(", "a = 1 %}"},
        {"{{ 1", " is none", " }}"},
        {"{{ 1", " and 1", " }}"},
        {"{{ ", "1 ** ", "1 }}"},
        {"{{ 1", " < 1", " }}"},
        {"{% filter ", "upper|", "upper %}{% endfilter %}"},
        {"{% macro m(", "a,", "a) %}{% endmacro %}"},
        {"{{ f(", "1,", "1) }}"},
    };
    struct err e;

    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        char *s = repeated(table[i].head, table[i].piece, table[i].tail, 20000);
        int rc = run(s, NULL, &e);
        if (!rc)
            fail_msg("20000 times %s: no error", table[i].piece);
        if (rc == ERR_NOMEM || strncmp(e.text, "chat template", 13))
            fail_msg("20000 times %s: %s", table[i].piece, e.text);
        free(s);
    }
}

static void sources_have_a_size(void **state)
{
    char *s = repeated("", "x", "", JINJA_TEXT_MAX);
    struct err e;

    assert_int_equal(run(s, NULL, &e), 0);
    free(s);
    s = repeated("", "x", "", JINJA_TEXT_MAX + 1);
    assert_int_equal(run(s, NULL, &e), ERR_LIMIT);
    free(s);
    s = repeated("", "{{a}}", "", JINJA_TEXT_MAX / 5);
    assert_int_equal(run(s, NULL, &e), 0);
    free(s);
}

static void deep_input_is_refused(void **state)
{
    json_t *deep = json_integer(1), *globals = json_object();
    struct err e;

    for (int i = 0; i < 1000; i++) {
        json_t *outer = json_array();
        json_array_append_new(outer, deep);
        deep = outer;
    }
    json_object_set_new(globals, "x", deep);
    assert_int_equal(run("{{ x | length }}", globals, &e), ERR_LIMIT);
    assert_non_null(strstr(e.text, "nested more than"));
    assert_int_equal(run("{{ y }}", globals, &e), 0); /* not read, not converted */
    json_decref(globals);
}

/* Deep but allowed recursion fits in a small stack (the header promises 512 KiB). */
static void *deep_recursion(void *arg)
{
    static const char *const templates[] = {
        "{% macro m(n) %}{% if n > 0 %}{% for x in [1] %}{{ m(n - 1) }}{% endfor %}{% endif %}"
        "{% endmacro %}{{ m(60) }}",
        "{% macro m() %}{{ [[[[[[[[m() ~ 1]]]]]]]] | map('string') | join }}{% endmacro %}{{ m() "
        "}}",
    };
    struct err e;
    char *s;
    int *bad = arg;

    *bad += run(templates[0], NULL, &e) != 0;
    *bad += run(templates[1], NULL, &e) != ERR_LIMIT;
    s = repeated("{{ 1", " + 1", " }}", 600);
    *bad += run(s, NULL, &e) != 0;
    free(s);
    s = repeated("{{ ", "(1 + ", "1", 2000);
    *bad += run(s, NULL, &e) != ERR_LIMIT;
    free(s);
    return NULL;
}

static void little_stack_is_enough(void **state)
{
    pthread_attr_t attr;
    pthread_t t;
    int bad = 0;
    size_t stack = 512 << 10;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    stack *= 16; /* sanitizers blow frames up */
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
    stack *= 16;
#endif
#endif
    assert_int_equal(pthread_attr_init(&attr), 0);
    assert_int_equal(pthread_attr_setstacksize(&attr, stack), 0);
    assert_int_equal(pthread_create(&t, &attr, deep_recursion, &bad), 0);
    pthread_join(t, NULL);
    pthread_attr_destroy(&attr);
    assert_int_equal(bad, 0);
}

int main(void)
{
#if defined(__SANITIZE_THREAD__)
    puts("1..0 # SKIP one thread, and many minutes with every access watched");
    return 0;
#endif
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hostile_templates_end),  cmocka_unit_test(deep_sources_are_refused),
        cmocka_unit_test(sources_have_a_size),    cmocka_unit_test(deep_input_is_refused),
        cmocka_unit_test(little_stack_is_enough),
    };
    return cmocka_run_group_tests_name("jinja limits", tests, NULL, NULL);
}
