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

#include "text/jinja.h"

#define HOUR_US (3600ll * 1000000)

static int run_for(const char *template, const json_t *globals, int64_t cpu_us_max, struct err *e)
{
    struct jinja_input in = {.globals = globals, .cpu_us_max = cpu_us_max};
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

static int run(const char *template, const json_t *globals, struct err *e)
{
    return run_for(template, globals, 0, e);
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
        {"{% for x in [[1]] recursive %}{{ loop([x]) }}{% endfor %}", "loops call each other"},
        {"{% for x in [1] recursive %}{{ loop([1, 1]) }}{% endfor %}", "loops call each other"},
        {"{% set l = [] %}{% set _ = l.append(l) %}{% for x in l recursive %}{{ loop(x) }}"
         "{% endfor %}",
         "loops call each other"},
        {"{{ ('a' * 8000000) | urlencode | urlencode }}{{ (' ' * 8000000) | urlencode }}", ""},
        {"{{ ('\t' * 1000000).expandtabs(9223372036854775807) }}", ""},
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
        {"{% set s = '[' ~ '[],' * 900000 ~ '1]' %}{{ s | from_json }}", "memory"},
        {"{% set s = '[' ~ '{},' * 900000 ~ '1]' %}{{ s | from_json }}", "memory"},
        {"{% set s = '[' ~ '1,' * 90000 ~ '1]' %}{% for i in range(999) %}"
         "{% set _ = s | from_json %}{% endfor %}",
         "memory"},
        {"{% set s = 'a' * 4000000 %}{% for i in range(99999) %}{{ s.rfind('b' ~ s[:2000000]) }}"
         "{% endfor %}",
         "steps"},
        {"{% set s = 'a' * 4000000 %}{% for i in range(99999) %}"
         "{% set _ = s.rpartition(s[:2000000] ~ 'b') %}{% endfor %}",
         "steps"},
        {"{% set s = 'a' * 4000000 %}{% for i in range(99999) %}"
         "{% set _ = s.rsplit(s[:2000000] ~ 'b') %}{% endfor %}",
         "steps"},
        {"{% set s = 'a' * 4000000 %}{% set t = 'b' ~ 'a' * 253 %}{% for i in range(99999) %}"
         "{{ s.find(t) }}{% endfor %}",
         "steps"},
        {"{% set l = [1.2345678901234567e-300] * 90000 %}{% for i in range(99999) %}"
         "{% set _ = l | string %}{% endfor %}",
         "steps"},
    };
    struct err e;

    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        int slow = !strcmp(table[i].says, "steps"); /* or the time is over before */
        int rc = run_for(table[i].template, NULL, slow ? 0 : HOUR_US, &e);
        int late = slow && strstr(e.text, "too much time");
        if (!rc || rc == ERR_NOMEM || (!strstr(e.text, table[i].says) && !late))
            fail_msg("%s: %s", table[i].template, rc ? e.text : "no error");
    }
}

/* The thread's time is a limit, and so is the patience of who waits for the text. */
static void time_ends(void **state)
{
    static const char template[] = "{% for a in range(9999) %}{% for b in range(99) %}{% endfor %}"
                                   "{% endfor %}";
    _Atomic int gone = 1;
    struct patience left = {.gone = &gone}, late = {.until_us = 1};
    struct jinja_input in = {.cpu_us_max = 1};
    struct jinja_out out;
    struct jinja *j;
    struct err e;

    assert_int_equal(jinja_compile(&j, template, strlen(template), &e), 0);
    assert_int_equal(jinja_render(j, &in, &out, &e), ERR_LIMIT);
    assert_non_null(strstr(e.text, "too much time"));
    in = (struct jinja_input){.patience = &left};
    assert_int_equal(jinja_render(j, &in, &out, &e), ERR_CANCELLED);
    in.patience = &late;
    assert_int_equal(jinja_render(j, &in, &out, &e), ERR_TIMEOUT);
    gone = 0;
    in = (struct jinja_input){.patience = &left, .cpu_us_max = HOUR_US};
    assert_int_equal(jinja_render(j, &in, &out, &e), 0);
    jinja_out_done(&out);
    jinja_free(j);
}

/* The steps of a template where `s` has n bytes of the letter. */
static uint64_t steps_of(const struct jinja *j, char letter, size_t n)
{
    struct jinja_input in = {.cpu_us_max = HOUR_US};
    struct jinja_out out;
    struct err e;
    char *s = malloc(n), *t = malloc(n);
    uint64_t steps;

    assert_true(s && t);
    memset(s, letter, n);
    memset(t, letter, n);
    t[n - 1] = '~';
    in.globals = json_pack("{s:s%, s:s%}", "s", s, n, "t", t, n);
    if (jinja_render(j, &in, &out, &e))
        fail_msg("%s", e.text);
    steps = out.steps;
    jinja_out_done(&out);
    json_decref((json_t *)in.globals);
    free(s);
    free(t);
    return steps;
}

/* Whatever goes over the bytes of a text counts them, once: eight times the text takes about eight
 * times the steps, neither as many as before nor their square. */
static void bytes_are_counted(void **state)
{
    static const struct {
        const char *expression;
        char letter;
    } table[] = {
        {"s | int", '0'},
        {"s | int(base=2)", '0'},
        {"(t | int(0)) ~ (t | float(0))", ' '},
        {"s | float", ' '},
        {"s.removeprefix(s) == ''", 'a'},
        {"s.removeprefix(t) == ''", 'a'},
        {"s.removesuffix(s) == ''", 'a'},
        {"s.rfind('b')", 'a'},
        {"s.rindex('a') - s.index('a')", 'a'},
        {"s.rfind(t)", 'a'},
        {"t.rfind(s[1:])", 'a'},
        {"t.rpartition('b')", 'a'},
        {"(t.partition('b') | list)[0] == 'b'", 'a'},
        {"s.rsplit('b') | length", 'a'},
        {"s.rsplit() | length", 'a'},
        {"s.split() | length", 'a'},
        {"s.split('a') | length", 'a'},
        {"s.splitlines() | length", 'a'},
        {"s.find('b')", 'a'},
        {"s.count('b')", 'a'},
        {"s.replace('b', 'c') | length", 'a'},
        {"s.strip() | length", ' '},
        {"s.strip('ab') | length", 'a'},
        {"s.startswith(t)", 'a'},
        {"s.endswith(s)", 'a'},
        {"s.isalpha()", 'a'},
        {"s.isupper()", 'A'},
        {"s.isspace()", ' '},
        {"s.isprintable()", 'a'},
        {"s | upper | length", 'a'},
        {"s | lower | length", 'a'},
        {"s | title | length", 'a'},
        {"s | capitalize | length", 'a'},
        {"s | trim | length", ' '},
        {"s | indent | length", '\n'},
        {"s | escape | length", '<'},
        {"s | tojson | length", '"'},
        {"s | tojson(ensure_ascii=true) | length", 'a'},
        {"[s] | string | length", 'a'},
        {"'%s' % s == s", 'a'},
        {"'{}'.format(s) == s", 'a'},
        {"s % () == s", 'a'},
        {"s.format() == s", 'a'},
        {"s == t", 'a'},
        {"s is sameas(t)", 'a'},
        {"s < t", 'a'},
        {"s in [t, t]", 'a'},
        {"'b' in s", 'a'},
        {"{s: 1}[s]", 'a'},
        {"(s ~ 'x') | length", 'a'},
        {"(s + 'x') | length", 'a'},
        {"(s * 2) | length", 'a'},
        {"s[1:] | length", 'a'},
        {"s[::-1] | length", 'a'},
        {"s[5]", 'a'},
        {"s | first ~ s | last", 'a'},
        {"s | reverse | length", 'a'},
        {"s | list | length", 'a'},
        {"s | replace('b', 'c') | length", 'a'},
        {"[1, 2] | map(attribute=s) | list | length", 'a'},
        {"[1, 2] | sort(attribute=s) | list | length", 'a'},
        {"s | wordcount", 'a'},
        {"s | urlencode | length", ' '},
        {"s | truncate(9) | length", 'a'},
        {"s.istitle()", '1'},
        {"s.casefold() | length", 'A'},
        {"s.expandtabs(1) | length", '\t'},
        {"strftime_now(s[:9]) ~ s.join(['', '']) | length", 'a'},
        {"('\"' ~ s ~ '\"') | from_json | length", 'a'},
    };
    enum { N = 20000 };

    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        uint64_t none, once, eight;
        char template[200];
        struct jinja *j;
        struct err e;
        snprintf(template, sizeof template, "{%% set _ = %s %%}", table[i].expression);
        if (jinja_compile(&j, template, strlen(template), &e))
            fail_msg("%s: %s", template, e.text);
        none = steps_of(j, table[i].letter, 9);
        once = steps_of(j, table[i].letter, N) - none;
        eight = steps_of(j, table[i].letter, 8 * N) - none;
        if (once < N / 64 || eight < 7 * once || eight > 9 * once)
            fail_msg("%s: %llu steps, then %llu", table[i].expression, (unsigned long long)once,
                     (unsigned long long)eight);
        jinja_free(j);
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
    /* Memory is enough for the most nodes that a source can have; on a slow machine, or with a
     * sanitizer, compiling them may take all the time that it has. */
    if (run_for(s, NULL, HOUR_US, &e))
        assert_non_null(strstr(e.text, "it takes too much time"));
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
        "{% for n in [60] recursive %}{% if n > 0 %}{{ loop([n - 1]) ~ [[[[n]]]] }}{% endif %}"
        "{% endfor %}",
        "{% macro m() %}{{ [[[[[[[[m() ~ 1]]]]]]]] | map('string') | join }}{% endmacro %}{{ m() "
        "}}",
    };
    struct err e;
    char *s;
    int *bad = arg;

    *bad += run(templates[0], NULL, &e) != 0;
    *bad += run(templates[1], NULL, &e) != 0;
    *bad += run(templates[2], NULL, &e) != ERR_LIMIT;
    s = repeated("{{ 1", " + 1", " }}", 600);
    *bad += run(s, NULL, &e) != 0;
    free(s);
    s = repeated("{{ ", "(1 + ", "1", 2000);
    *bad += run(s, NULL, &e) != ERR_LIMIT;
    free(s);
    *bad += run("{{ ('[' * 2040 ~ ']' * 2040) | from_json }}", NULL, &e) != ERR_LIMIT;
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
        cmocka_unit_test(hostile_templates_end),  cmocka_unit_test(time_ends),
        cmocka_unit_test(bytes_are_counted),      cmocka_unit_test(deep_sources_are_refused),
        cmocka_unit_test(sources_have_a_size),    cmocka_unit_test(deep_input_is_refused),
        cmocka_unit_test(little_stack_is_enough),
    };
    return cmocka_run_group_tests_name("jinja limits", tests, NULL, NULL);
}
