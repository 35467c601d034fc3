/* The chat-template interpreter: text, provenance and errors. Equality with Python's Jinja2 on real
 * templates is golden/template's part; here is what needs no Python. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "text/jinja.h"

static const char globals_text[] =
    "{\"messages\": [{\"role\": \"user\", \"content\": \" <s>Hi, you<s> \"},"
    " {\"role\": \"odd\", \"content\": \"b\", \"n\": 1}],"
    " \"s\": \"<s>\", \"n\": 7, \"f\": 2.5, \"none_\": null, \"words\": [\"b\", \"A\"],"
    " \"d\": {\"k\": \"v\", \"a\": [1, true, null, \"x\\\"\"]}, \"bos_token\": \"client's\"}";
static const char trusted_text[] = "{\"bos_token\": \"<bos>\", \"eos_token\": \"<eos>\"}";
static const char kwargs_text[] = "{\"n\": 8, \"eos_token\": \"client's\", \"extra\": \"e\"}";

struct globals {
    json_t *trusted, *globals, *kwargs;
};

static int setup(void **state)
{
    static struct globals g;
    g.trusted = json_loads(trusted_text, 0, NULL);
    g.globals = json_loads(globals_text, 0, NULL);
    g.kwargs = json_loads(kwargs_text, 0, NULL);
    *state = &g;
    return !g.trusted || !g.globals || !g.kwargs;
}

static int teardown(void **state)
{
    struct globals *g = *state;
    json_decref(g->trusted);
    json_decref(g->globals);
    json_decref(g->kwargs);
    return 0;
}

/* The text with its trusted spans in braces; or the error's code, as a negative number. */
static int show(const struct globals *g, const char *template, char *text, size_t cap,
                struct err *e)
{
    struct jinja_input in = {
        .trusted = g->trusted, .globals = g->globals, .kwargs = g->kwargs, .now_s = 1767323045};
    struct jinja *j = NULL;
    struct jinja_out out;
    size_t n = 0, s = 0;
    int rc = jinja_compile(&j, template, strlen(template), e);

    if (!rc)
        rc = jinja_render(j, &in, &out, e);
    jinja_free(j);
    if (rc)
        return rc;
    for (size_t i = 0; i <= out.text.len; i++) {
        assert_true(n + 4 < cap);
        if (s < out.n_spans && i == out.spans[s].at + out.spans[s].n) {
            text[n++] = '}';
            s++;
        }
        if (s < out.n_spans && i == out.spans[s].at)
            text[n++] = '{';
        if (i < out.text.len)
            text[n++] = out.text.data[i];
    }
    assert_int_equal(s, out.n_spans);
    text[n] = 0;
    jinja_out_done(&out);
    return 0;
}

struct good {
    const char *template, *want;
};

static void check_all(void **state, const struct good *t, size_t n)
{
    char text[4096];
    struct err e;

    for (size_t i = 0; i < n; i++) {
        int rc = show(*state, t[i].template, text, sizeof text, &e);
        if (rc)
            fail_msg("%s: %s: %s", t[i].template, err_name(rc), e.text);
        if (strcmp(text, t[i].want))
            fail_msg("%s: wanted %s, got %s", t[i].template, t[i].want, text);
    }
}

static void keeps_provenance(void **state)
{
    static const struct good table[] = {
        {"plain", "{plain}"},
        {"", ""},
        {"{{ s }}", "<s>"},
        {"<{{ s }}>", "{<}<s>{>}"},
        {"{{ '<|x|>' }}", "{<|x|>}"},
        {"{{ 'a' + s + 'b' }}", "{a}<s>{b}"},
        {"{{ 'a' ~ s ~ 1 ~ 'b' }}", "{a}<s>1{b}"},
        {"{{ bos_token }}{{ eos_token }}", "{<bos><eos>}"},
        {"{{ messages[0].content | trim }}", "<s>Hi, you<s>"},
        {"{{ ('<s>' + s + '<s>').strip('<') }}", "{s>}<s>{<s>}"},
        {"{{ (' a' + s + 'b ') | trim }}", "{a}<s>{b}"},
        {"{{ ('ab' + s)[1:4] }}", "{b}<s"},
        {"{{ ('ab' + s)[::-1] }}", ">s<{ba}"},
        {"{{ ('ab' + s)[1] }}{{ ('ab' + s)[2] }}", "{b}<"},
        {"{{ (s + ',x').split(',') | join('+') }}", "<s>{+x}"},
        {"{{ ['a', s] | join(s) }}", "{a}<s><s>"},
        {"{{ s | replace('s', 'x') }}", "<{x}>"},
        {"{{ 'asa' | replace('s', s) }}", "{a}<s>{a}"},
        {"{{ 'x'.replace('x', s) }}{{ s.replace('q', 'x') }}", "<s><s>"},
        {"{{ ('a' + s) | upper }}{{ ('A' + s) | lower }}", "{A}<S>{a}<s>"},
        {"{{ ('a' + s) | title }}{{ ('a' + s) | capitalize }}", "{A}<S>{A}<s>"},
        {"{{ ('a' + s) * 2 }}", "{a}<s>{a}<s>"},
        {"{{ 'x%sy%s' | format(s, 'z') }}", "{x}<s>{yz}"},
        {"{{ 'x{}y{:>4}'.format(s, 'z') }}", "{x}<s>{y}   {z}"},
        {"{{ s | tojson }}{{ 'x' | tojson }}", "\"<s>\"\"{x}\""},
        {"{{ d | tojson }}", "{\"k\": \"v\", \"a\": [1, true, null, \"x\\\"\"]}"},
        {"{{ {'k': s} }}", "{'{k}': '<s>'}"},
        {"{{ s | safe }}{{ '<' | escape }}", "<s>&lt;"},
        {"{{ s | string }}{{ s | first }}{{ 'x' | last }}", "<s><{x}"},
        {"{{ n }}{{ 1 }}{{ f }}{{ none_ }}{{ true }}", "712.5NoneTrue"},
        {"{% set x %}a{{ s }}b{% endset %}{{ x }}", "{a}<s>{b}"},
        {"{% macro m(x) %}[{{ x }}]{% endmacro %}{{ m(s) }}{{ m('q') }}", "{[}<s>{][q]}"},
        {"{% filter upper %}a{{ s }}{% endfilter %}", "{A}<S>"},
        {"{% for c in 'a' + s %}{{ c }}{% endfor %}", "{a}<s>"},
        {"{% for c in [s, ['<s>', [s]]] recursive %}{{ c if c is string else '[' ~ loop(c) ~ ']' }}"
         "{% endfor %}",
         "<s>{[<s>[}<s>{]]}"},
        {"{% block a %}<{{ s }}>{% endblock %}", "{<}<s>{>}"},
        {"{% set c = cycler(s, 'x') %}{{ c.next() ~ c.next() }}{% set j = joiner() %}{{ j() ~ j() "
         "}}",
         "<s>{x, }"},
        {"{{ ('a/' ~ s) | urlencode }}", "{a/}%3Cs%3E"},
        {"{{ (s ~ ' b c d') | truncate(8, leeway=0) }}", "<s>{...}"},
        {"{{ '{a}{b}'.format_map({'a': s, 'b': 'x'}) }}", "<s>{x}"},
        {"{{ ('A' ~ s).casefold() }}{{ ('a' ~ s ~ '\t').expandtabs(5) }}", "{a}<s>{a}<s> "},
        {"{% set ns = namespace(t='') %}{% for m in messages %}{% set ns.t = ns.t + '|' + m.role %}"
         "{% endfor %}{{ ns.t }}",
         "{|user|}odd"},
        {"{{ '<|' + messages[0].role + '|>' }}", "{<|user|>}"},
        {"{{ '<|' + messages[1].role + '|>' }}", "{<|}odd{|>}"},
        {"{{ messages[0].content.split('<s>')[1] + '<s>' }}", "Hi, you{<s>}"},
        {"{{ ('a\\n' + s) | indent(2, first=true) }}", "  {a}\n  <s>"},
        {"{{ '[\"<s>\"]' | from_json | first }}", "<s>"},
        {"{{ strftime_now('%Y') }}", "2026"},
        {"{{ words | map('upper') | join }}{{ 'q'.join(words) }}", "BAb{q}A"},
        {"{{ '-' .join(['a', 'b']) }}", "{a-b}"},
        {"{{ 'x' if s else s }}{{ missing | default('d') }}", "{xd}"},
        {"{{ n }}{{ extra }}", "7e"},
    };
    check_all(state, table, sizeof table / sizeof table[0]);
}

static void long_strings_share_and_keep_provenance(void **state)
{
    /* Beyond the size at which concatenation goes on in place; older strings must not change. */
    static const struct good table[] = {
        {"{% set a = 'x' * 300 %}{% set b = a + s %}{% set c = a + 'yy' %}{% set d = b + 'z' %}"
         "{{ a | length }} {{ b | length }} {{ b[299:] }} {{ c[299:] }} {{ d[299:] }} {{ a[298:] "
         "}}",
         "300{ }303{ x}<s>{ xyy x}<s>{z xx}"},
        {"{% set ns = namespace(t='q' * 200, old=[]) %}{% for i in range(60) %}"
         "{% set ns.t = ns.t + (s if i is even else 'ok') %}{% endfor %}"
         "{{ ns.t | length }}{{ ns.t[200:210] }}",
         "350<s>{ok}<s>{ok}"},
    };
    check_all(state, table, sizeof table / sizeof table[0]);
}

struct bad {
    const char *template;
    int code;
    const char *says;
};

static void errors_name_line_and_cause(void **state)
{
    static const struct bad table[] = {
        {"a\nb\n{{ x.y }}", ERR_FORMAT, "chat template, line 3: 'x' is undefined"},
        {"{{ raise_exception('No ' ~ s) }}", ERR_ARG, "No <s>"},
        {"\n{% foo %}", ERR_UNSUPPORTED, "chat template, line 2: there is no tag named 'foo'"},
        {"{% include 'x' %}", ERR_UNSUPPORTED, "the tag 'include' is not supported"},
        {"{{ s | urlize }}", ERR_UNSUPPORTED, "the filter 'urlize' is not supported"},
        {"{{ [s] | map('random') | list }}", ERR_UNSUPPORTED, "the filter 'random' is not"},
        {"{{ lipsum() }}", ERR_UNSUPPORTED, "the function 'lipsum' is not supported"},
        {"{% block a %}{% endblock %}{% block a %}{% endblock %}", ERR_FORMAT, "defined twice"},
        {"{{ 1 | foo }}", ERR_UNSUPPORTED, "there is no filter named 'foo'"},
        {"{{ 1 is foo }}", ERR_UNSUPPORTED, "there is no test named 'foo'"},
        {"{{ s.encode() }}", ERR_UNSUPPORTED, "the method 'encode' of str is not supported"},
        {"{% for x in [1] %}{{ loop([2]) }}{% endfor %}", ERR_FORMAT, "'recursive' marker"},
        {"{% if 1 %}\n\n", ERR_FORMAT, "line 2: expected elif, but the template ends"},
        {"{{ 1 +", ERR_FORMAT, "expected an expression, but the template ends"},
        {"{{ (1] }}", ERR_FORMAT, "unexpected ']', expected ')'"},
        {"{{ 'x }}", ERR_FORMAT, "a string is not closed"},
        {"{# x", ERR_FORMAT, "a comment is not closed"},
        {"{{ 1 + 'a' }}", ERR_FORMAT, "unsupported operand type(s) for +: 'int' and 'str'"},
        {"{{ 9223372036854775807 + 1 }}", ERR_LIMIT, "64 bits"},
        {"{{ -9223372036854775807 - 2 }}", ERR_LIMIT, "64 bits"},
        {"{{ 99999999999999999999 }}", ERR_LIMIT, "64 bits"},
        {"{{ 10 ** 30 }}", ERR_LIMIT, "64 bits"},
        {"{{ 1 // 0 }}", ERR_FORMAT, "by zero"},
        {"{{ n() }}", ERR_FORMAT, "'int' object is not callable"},
        {"{{ s.split('') }}", ERR_FORMAT, "empty separator"},
        {"{{ [1, 2] | join('-') | foo(1) }}", ERR_UNSUPPORTED, "foo"},
        {"{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}", ERR_FORMAT, "'m' takes not more than 1"},
    };
    char text[4096];
    struct err e;

    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        int rc = show(*state, table[i].template, text, sizeof text, &e);
        if (rc != table[i].code || !strstr(e.text, table[i].says))
            fail_msg("%s: %s: %s", table[i].template, err_name(rc), rc ? e.text : text);
        assert_int_equal(e.code, rc);
    }
}

static void refuses_bytes_that_are_not_text(void **state)
{
    struct jinja *j = NULL;
    struct err e;

    assert_int_equal(jinja_compile(&j, "ab\xff", 3, &e), ERR_FORMAT);
    assert_string_equal(e.text, "chat template: not valid UTF-8 at byte 2");
    assert_int_equal(jinja_compile(&j, "{{ 'a\0b' }}", 11, &e), 0);
    jinja_free(j);
    jinja_free(NULL);
}

static void works_without_any_globals(void **state)
{
    struct jinja_input in = {0};
    struct jinja_out out;
    struct jinja *j = NULL;

    assert_int_equal(jinja_compile(&j, "{{ x }}a", 8, NULL), 0);
    assert_int_equal(jinja_render(j, &in, &out, NULL), 0);
    assert_string_equal(out.text.data, "a");
    jinja_out_done(&out);
    jinja_free(j);
}

struct shared {
    const struct jinja *j;
    const struct globals *g;
    int bad;
};

static void *render_many(void *arg)
{
    struct shared *s = arg;
    struct jinja_input in = {
        .trusted = s->g->trusted, .globals = s->g->globals, .kwargs = s->g->kwargs, .now_s = 1};

    for (int i = 0; i < 200; i++) {
        struct jinja_out out;
        if (jinja_render(s->j, &in, &out, NULL)) {
            s->bad++;
            continue;
        }
        s->bad += strcmp(out.text.data, "user: Hi, you|odd: b|None 10") != 0;
        jinja_out_done(&out);
    }
    return NULL;
}

static void many_threads_share_a_template(void **state)
{
    static const char text[] =
        "{% for m in messages %}{{ m.role }}: {{ m.content.replace('<s>', '') | trim }}|"
        "{% endfor %}{{ none_ }} {{ 'é\\u00e9xé' | length + 6 }}";
    struct jinja *j = NULL;
    struct shared s[4];
    pthread_t t[4];

    assert_int_equal(jinja_compile(&j, text, sizeof text - 1, NULL), 0);
    for (int i = 0; i < 4; i++) {
        s[i] = (struct shared){.j = j, .g = *state};
        assert_int_equal(pthread_create(&t[i], NULL, render_many, &s[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(t[i], NULL);
        assert_int_equal(s[i].bad, 0);
    }
    jinja_free(j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_provenance),
        cmocka_unit_test(long_strings_share_and_keep_provenance),
        cmocka_unit_test(errors_name_line_and_cause),
        cmocka_unit_test(refuses_bytes_that_are_not_text),
        cmocka_unit_test(works_without_any_globals),
        cmocka_unit_test(many_threads_share_a_template),
    };
    return cmocka_run_group_tests_name("jinja", tests, setup, teardown);
}
