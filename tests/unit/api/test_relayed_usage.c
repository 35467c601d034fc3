/* What suppliers say was used, each in its own shape, becomes buckets that share no token. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "api/relayed.h"
#include "base/check.h"

/* The buckets in their order: uncached, cache_read, cache_write, output, reasoning. */
struct vector {
    const char *name, *json;
    int64_t want[5];
    enum usage_state state;
};

static void check(const struct vector *v)
{
    struct usage u;
    struct usage_buckets b;

    if (api_relayed_usage(v->json, strlen(v->json), &u))
        fail_msg("%s: no counts", v->name);
    b = usage_buckets(&u);
    if (b.uncached != v->want[0] || b.cache_read != v->want[1] || b.cache_write != v->want[2] ||
        b.output != v->want[3] || b.reasoning != v->want[4] || u.state != v->state)
        fail_msg("%s: uncached %lld read %lld write %lld output %lld reasoning %lld state %d",
                 v->name, (long long)b.uncached, (long long)b.cache_read, (long long)b.cache_write,
                 (long long)b.output, (long long)b.reasoning, (int)u.state);
}

static void check_all(const struct vector *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        check(&v[i]);
}

static void plain_counts(void **state)
{
    static const struct vector v[] = {
        {"OpenAI",
         "{\"prompt_tokens\":19,\"completion_tokens\":10,\"total_tokens\":29}",
         {19, 0, 0, 10, 0},
         USAGE_COUNTED},
        {"no total", "{\"prompt_tokens\":19,\"completion_tokens\":10}", {19, 0, 0, 10, 0}, 0},
        {"nothing yet", "{\"prompt_tokens\":0,\"completion_tokens\":0,\"total_tokens\":0}", {0}, 0},
        {"blanks", " { \"prompt_tokens\" : 1 , \"completion_tokens\" : 2 } ", {1, 0, 0, 2, 0}, 0},
        {"prompt only", "{\"prompt_tokens\":7,\"total_tokens\":7}", {7, 0, 0, 0, 0}, 0},
        {"escaped", "{\"pr\\u006fmpt_tokens\":7,\"completion_tokens\":1}", {7, 0, 0, 1, 0}, 0},
        {"nulls",
         "{\"prompt_tokens\":7,\"completion_tokens\":1,\"total_tokens\":null,"
         "\"prompt_tokens_details\":null,\"completion_tokens_details\":{\"reasoning_tokens\":null}"
         "}",
         {7, 0, 0, 1, 0},
         0},
        {"names of others",
         "{\"prompt_tokens\":7,\"completion_tokens\":1,\"cost\":0.25,\"x\":{\"cached_tokens\":5,"
         "\"prompt_tokens\":9},\"completion_tokens_details\":{\"prompt_tokens\":8}}",
         {7, 0, 0, 1, 0},
         0},
    };

    check_all(v, ARRAY_LEN(v));
}

/* Complaint 16: cached tokens charged at both rates. Where they lie inside of the prompt they are
 * taken out of it; where they lie beside it they are not. */
static void cached_tokens_are_charged_once(void **state)
{
    static const struct vector v[] = {
        {"OpenAI: inside",
         "{\"prompt_tokens\":2006,\"completion_tokens\":300,\"total_tokens\":2306,"
         "\"prompt_tokens_details\":{\"cached_tokens\":1920}}",
         {86, 1920, 0, 300, 0},
         0},
        {"OpenAI's responses: inside",
         "{\"input_tokens\":2006,\"input_tokens_details\":{\"cached_tokens\":1920},"
         "\"output_tokens\":300,\"output_tokens_details\":{\"reasoning_tokens\":64},"
         "\"total_tokens\":2306}",
         {86, 1920, 0, 236, 64},
         0},
        {"Anthropic: beside",
         "{\"input_tokens\":50,\"cache_creation_input_tokens\":248,"
         "\"cache_read_input_tokens\":100000,\"output_tokens\":503}",
         {50, 100000, 248, 503, 0},
         0},
        {"Anthropic: no cache",
         "{\"input_tokens\":50,\"cache_creation_input_tokens\":0,"
         "\"cache_read_input_tokens\":0,\"output_tokens\":503}",
         {50, 0, 0, 503, 0},
         0},
        {"LiteLLM of Anthropic: inside, told twice",
         "{\"prompt_tokens\":1050,\"completion_tokens\":5,\"total_tokens\":1055,"
         "\"prompt_tokens_details\":{\"cached_tokens\":800},\"cache_read_input_tokens\":800,"
         "\"cache_creation_input_tokens\":200}",
         {50, 800, 200, 5, 0},
         0},
        {"DeepSeek: hit and miss",
         "{\"prompt_tokens\":100,\"completion_tokens\":9,\"total_tokens\":109,"
         "\"prompt_cache_hit_tokens\":64,\"prompt_cache_miss_tokens\":36}",
         {36, 64, 0, 9, 0},
         0},
        {"DeepSeek: told twice",
         "{\"prompt_tokens\":100,\"completion_tokens\":9,\"total_tokens\":109,"
         "\"prompt_tokens_details\":{\"cached_tokens\":64},"
         "\"prompt_cache_hit_tokens\":64,\"prompt_cache_miss_tokens\":36}",
         {36, 64, 0, 9, 0},
         0},
        {"DeepSeek: hit and miss are not the prompt",
         "{\"prompt_tokens\":100,\"completion_tokens\":9,\"total_tokens\":109,"
         "\"prompt_cache_hit_tokens\":64,\"prompt_cache_miss_tokens\":30}",
         {36, 64, 0, 9, 0},
         USAGE_DISPUTED},
        {"more cached than there is",
         "{\"prompt_tokens\":100,\"completion_tokens\":9,\"total_tokens\":109,"
         "\"prompt_tokens_details\":{\"cached_tokens\":101}}",
         {0, 100, 0, 9, 0},
         USAGE_DISPUTED},
    };

    check_all(v, ARRAY_LEN(v));
}

/* Complaint 17: reasoning counted twice, or lost: it lies inside of the completion or beside it,
 * and the total tells which. */
static void reasoning_is_charged_once(void **state)
{
    static const struct vector v[] = {
        {"OpenAI, DeepSeek: inside",
         "{\"prompt_tokens\":10,\"completion_tokens\":500,\"total_tokens\":510,"
         "\"completion_tokens_details\":{\"reasoning_tokens\":448}}",
         {10, 0, 0, 52, 448},
         0},
        {"all of it",
         "{\"prompt_tokens\":10,\"completion_tokens\":448,\"total_tokens\":458,"
         "\"completion_tokens_details\":{\"reasoning_tokens\":448}}",
         {10, 0, 0, 0, 448},
         0},
        {"xAI: beside",
         "{\"prompt_tokens\":32,\"completion_tokens\":9,\"total_tokens\":135,"
         "\"prompt_tokens_details\":{\"text_tokens\":32,\"cached_tokens\":6},"
         "\"completion_tokens_details\":{\"reasoning_tokens\":94}}",
         {26, 6, 0, 9, 94},
         0},
        {"beside, and less than the rest",
         "{\"prompt_tokens\":10,\"completion_tokens\":50,\"total_tokens\":80,"
         "\"completion_tokens_details\":{\"reasoning_tokens\":20}}",
         {10, 0, 0, 50, 20},
         0},
        {"beside, at the top",
         "{\"prompt_tokens\":10,\"completion_tokens\":50,\"total_tokens\":80,"
         "\"reasoning_tokens\":20}",
         {10, 0, 0, 50, 20},
         0},
        {"no total, more than the completion: beside",
         "{\"prompt_tokens\":10,\"completion_tokens\":5,"
         "\"completion_tokens_details\":{\"reasoning_tokens\":20}}",
         {10, 0, 0, 5, 20},
         0},
        {"no total: inside",
         "{\"prompt_tokens\":10,\"completion_tokens\":25,"
         "\"completion_tokens_details\":{\"reasoning_tokens\":20}}",
         {10, 0, 0, 5, 20},
         0},
        {"Gemini: in the total only",
         "{\"prompt_tokens\":10,\"completion_tokens\":5,\"total_tokens\":45}",
         {10, 0, 0, 35, 0},
         USAGE_DISPUTED},
        {"more than the completion, which the total takes for all",
         "{\"prompt_tokens\":10,\"completion_tokens\":5,\"total_tokens\":15,"
         "\"completion_tokens_details\":{\"reasoning_tokens\":20}}",
         {10, 0, 0, 5, 20},
         USAGE_DISPUTED},
    };

    check_all(v, ARRAY_LEN(v));
}

static void what_does_not_fit_is_disputed(void **state)
{
    static const struct vector v[] = {
        {"total too small",
         "{\"prompt_tokens\":10,\"completion_tokens\":5,\"total_tokens\":14}",
         {10, 0, 0, 5, 0},
         USAGE_DISPUTED},
        {"total below the prompt",
         "{\"prompt_tokens\":10,\"completion_tokens\":5,\"total_tokens\":0}",
         {10, 0, 0, 5, 0},
         USAGE_DISPUTED},
        {"total too large",
         "{\"prompt_tokens\":10,\"completion_tokens\":5,\"total_tokens\":16}",
         {10, 0, 0, 6, 0},
         USAGE_DISPUTED},
        {"negative",
         "{\"prompt_tokens\":-10,\"completion_tokens\":5}",
         {0, 0, 0, 5, 0},
         USAGE_DISPUTED},
        {"a fraction",
         "{\"prompt_tokens\":10.5,\"completion_tokens\":5}",
         {0, 0, 0, 5, 0},
         USAGE_DISPUTED},
        {"text",
         "{\"prompt_tokens\":\"10\",\"completion_tokens\":5}",
         {0, 0, 0, 5, 0},
         USAGE_DISPUTED},
        {"a list",
         "{\"prompt_tokens\":[10],\"completion_tokens\":5}",
         {0, 0, 0, 5, 0},
         USAGE_DISPUTED},
        {"as many as nobody has",
         "{\"prompt_tokens\":10,\"completion_tokens\":1000000000001}",
         {10, 0, 0, 0, 0},
         USAGE_DISPUTED},
        {"beyond 64 bits",
         "{\"prompt_tokens\":10,\"completion_tokens\":99999999999999999999999999}",
         {10, 0, 0, 0, 0},
         USAGE_DISPUTED},
        {"the most that is taken",
         "{\"prompt_tokens\":1000000000000,\"completion_tokens\":1000000000000,"
         "\"total_tokens\":1000000000000}",
         {1000000000000, 0, 0, 1000000000000, 0},
         USAGE_DISPUTED},
    };

    check_all(v, ARRAY_LEN(v));
}

static void without_counts_there_is_none(void **state)
{
    static const char *const none[] = {
        "",
        "{}",
        "[]",
        "null",
        "{\"total_tokens\":5}",
        "{\"prompt_tokens\":null,\"completion_tokens\":null}",
        "{\"prompt_tokens\":",
    };
    struct usage u;

    for (size_t i = 0; i < ARRAY_LEN(none); i++) {
        if (api_relayed_usage(none[i], strlen(none[i]), &u) != -1)
            fail_msg("%s: taken for usage", none[i]);
    }
}

static void predictions(void **state)
{
    static const char json[] = "{\"prompt_tokens\":10,\"completion_tokens\":30,\"total_tokens\":40,"
                               "\"completion_tokens_details\":{\"accepted_prediction_tokens\":12,"
                               "\"rejected_prediction_tokens\":8,\"reasoning_tokens\":0}}";
    struct usage u;

    assert_int_equal(api_relayed_usage(json, strlen(json), &u), 0);
    assert_int_equal(u.accepted_prediction_tokens, 12);
    assert_int_equal(u.rejected_prediction_tokens, 8);
    assert_int_equal(u.completion_tokens, 30);
    assert_int_equal(u.state, USAGE_COUNTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_counts),
        cmocka_unit_test(cached_tokens_are_charged_once),
        cmocka_unit_test(reasoning_is_charged_once),
        cmocka_unit_test(what_does_not_fit_is_disputed),
        cmocka_unit_test(without_counts_there_is_none),
        cmocka_unit_test(predictions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
