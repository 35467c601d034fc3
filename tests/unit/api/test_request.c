/* Every field of a request: valid, out of range, of the wrong type, null. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "base/check.h"

enum { CHAT = 1, COMP = 2, BOTH = 3 };
enum { OK = 0, BAD = ERR_SCHEMA, NOT = ERR_UNSUPPORTED };

struct fixture {
    struct arena a;
    struct api_request r;
    struct err e;
};

static int parse(struct fixture *f, int kind, const char *fields, const struct api_options *o,
                 const struct api_request_headers *h)
{
    char body[8192];
    int n = snprintf(body, sizeof body, "{%s%s%s}",
                     !strstr(fields, "\"model\"") ? "\"model\":\"m\"," : "",
                     kind == CHAT && !strstr(fields, "\"messages\"")
                         ? "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],"
                     : kind == COMP && !strstr(fields, "\"prompt\"") ? "\"prompt\":\"hi\","
                                                                     : "",
                     fields);
    if (!*fields) /* the comma before nothing */
        body[n - 2] = '}', n--;
    arena_init(&f->a, 4096, 1 << 20);
    f->r = (struct api_request){0};
    f->e = (struct err){0};
    return kind == CHAT
               ? api_parse(api_dialects[API_CHAT], &f->r, &f->a, body, (size_t)n, h, o, &f->e)
               : api_parse(api_dialects[API_COMPLETION], &f->r, &f->a, body, (size_t)n, h, o,
                           &f->e);
}

static void drop(struct fixture *f)
{
    api_request_done(&f->r);
    arena_done(&f->a);
}

/* words: how the sentence begins; it always begins with the path. */
static const struct row {
    int kinds, code;
    const char *field, *value, *words;
} rows[] = {
    {BOTH, OK, "model", "\"a/b\"", NULL},
    {BOTH, BAD, "model", "\"\"", "model: is required"},
    {BOTH, BAD, "model", "null", "model: is required"},
    {BOTH, BAD, "model", "7", "model: must be a string, not an integer"},
    {CHAT, OK, "messages", "[{\"role\":\"user\",\"content\":\"\"}]", NULL},
    {CHAT, BAD, "messages", "null", "messages: is required"},
    {CHAT, BAD, "messages", "[]", "messages: must have at least one message"},
    {CHAT, BAD, "messages", "{}", "messages: must be an array, not an object"},
    {COMP, OK, "prompt", "\"\"", NULL},
    {COMP, OK, "prompt", "[\"a\",\"b\"]", NULL},
    {COMP, OK, "prompt", "[1,2,3]", NULL},
    {COMP, OK, "prompt", "[[1,2],[3]]", NULL},
    {COMP, OK, "prompt", "[\"a\",[3]]", NULL},
    {COMP, BAD, "prompt", "null", "prompt: is required"},
    {COMP, BAD, "prompt", "[]", "prompt: must not be empty"},
    {COMP, BAD, "prompt", "[[]]", "prompt.0: must not be empty"},
    {COMP, BAD, "prompt", "[1,-2]", "prompt.1: must be a token id"},
    {COMP, BAD, "prompt", "[1,2.5]", "prompt.1: must be a token id"},
    {COMP, BAD, "prompt", "[[1],[true]]", "prompt.1.0: must be a token id"},
    {COMP, BAD, "prompt", "[\"a\",null]", "prompt.1: must be a string or an array of token ids"},
    {COMP, BAD, "prompt", "[4294967296]", "prompt.0: must be a token id"},
    {COMP, BAD, "prompt", "true", "prompt: must be a string or an array"},
    {BOTH, OK, "stream", "true", NULL},
    {BOTH, BAD, "stream", "1", "stream: must be a boolean, not an integer"},
    {BOTH, BAD, "stream", "\"true\"", "stream: must be a boolean, not a string"},
    {BOTH, OK, "stream_options", "{\"include_usage\":true,\"include_obfuscation\":false}", NULL},
    {BOTH, OK, "stream_options", "{\"include_usage\":null}", NULL},
    {BOTH, BAD, "stream_options", "{\"include_usage\":1}",
     "stream_options.include_usage: must be a boolean"},
    {BOTH, BAD, "stream_options", "true", "stream_options: must be an object"},
    {CHAT, OK, "max_completion_tokens", "-1", NULL},
    {CHAT, OK, "max_completion_tokens", "5.0", NULL},
    {CHAT, OK, "max_completion_tokens", "9223372036854775807", NULL},
    {CHAT, BAD, "max_completion_tokens", "0", "max_completion_tokens: must be at least 1"},
    {CHAT, BAD, "max_completion_tokens", "-2", "max_completion_tokens: must be at least -1"},
    {CHAT, BAD, "max_completion_tokens", "1.5", "max_completion_tokens: must be an integer"},
    {CHAT, BAD, "max_completion_tokens", "\"5\"", "max_completion_tokens: must be an integer"},
    {BOTH, OK, "max_tokens", "12", NULL},
    {COMP, OK, "max_tokens", "0", NULL},
    {CHAT, BAD, "max_tokens", "0", "max_tokens: must be at least 1"},
    {BOTH, BAD, "max_tokens", "-2", "max_tokens: must be at least -1, not -2"},
    {BOTH, BAD, "max_tokens", "true", "max_tokens: must be an integer, not a boolean"},
    {CHAT, OK, "min_completion_tokens", "-1", NULL},
    {CHAT, BAD, "min_completion_tokens", "-2", "min_completion_tokens: must be at least -1"},
    {BOTH, OK, "min_tokens", "3", NULL},
    {BOTH, BAD, "min_tokens", "4,\"max_tokens\":3", "min_tokens: must not be above max_tokens (3)"},
    {BOTH, BAD, "min_tokens", "[]", "min_tokens: must be an integer, not an array"},
    {BOTH, OK, "temperature", "0", NULL},
    {BOTH, OK, "temperature", "2.0", NULL},
    {BOTH, BAD, "temperature", "2.0001", "temperature: must be between 0 and 2, not 2.0001"},
    {BOTH, BAD, "temperature", "-0.1", "temperature: must be between 0 and 2"},
    {BOTH, BAD, "temperature", "\"1\"", "temperature: must be a number, not a string"},
    {BOTH, BAD, "temperature", "1e999", "temperature: number out of range"},
    {BOTH, OK, "top_p", "1", NULL},
    {BOTH, BAD, "top_p", "1.01", "top_p: must be between 0 and 1"},
    {BOTH, BAD, "top_p", "-1", "top_p: must be between 0 and 1"},
    {BOTH, BAD, "top_p", "{}", "top_p: must be a number, not an object"},
    {BOTH, OK, "n", "16", NULL},
    {BOTH, BAD, "n", "0", "n: must be between 1 and 16, not 0"},
    {BOTH, BAD, "n", "17", "n: must be between 1 and 16, not 17"},
    {BOTH, BAD, "n", "\"2\"", "n: must be an integer"},
    {COMP, OK, "best_of", "0", NULL},
    {COMP, OK, "best_of", "4,\"n\":4", NULL},
    {COMP, OK, "best_of", "4,\"n\":4,\"stream\":true", NULL},
    {COMP, BAD, "best_of", "21", "best_of: must be between 0 and 20"},
    {COMP, BAD, "best_of", "20", "best_of: must be at most 16 here"},
    {COMP, BAD, "best_of", "2,\"n\":3", "best_of: must be at least n (3), not 2"},
    {COMP, BAD, "best_of", "2,\"stream\":true", "best_of: cannot be above n in a stream"},
    {COMP, BAD, "best_of", "false", "best_of: must be an integer"},
    {BOTH, OK, "seed", "-9223372036854775808", NULL},
    {BOTH, OK, "seed", "9223372036854775807", NULL},
    {BOTH, BAD, "seed", "9223372036854775808", "seed: number out of range"},
    {BOTH, BAD, "seed", "1.5", "seed: must be an integer"},
    {BOTH, OK, "stop", "\"x\"", NULL},
    {BOTH, OK, "stop", "[\"a\",\"\",\"b\"]", NULL},
    {BOTH, OK, "stop", "[\"1\",\"2\",\"3\",\"4\",\"5\"]", NULL},
    {BOTH, BAD, "stop",
     "[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"a\",\"b\",\"c\",\"d\",\"e\","
     "\"f\",\"g\",\"h\"]",
     "stop: has more than 16 strings"},
    {BOTH, BAD, "stop", "[\"a\",1]", "stop.1: must be a string, not an integer"},
    {BOTH, BAD, "stop", "5", "stop: must be a string or an array of strings"},
    {BOTH, OK, "frequency_penalty", "-2", NULL},
    {BOTH, BAD, "frequency_penalty", "2.1", "frequency_penalty: must be between -2 and 2"},
    {BOTH, BAD, "frequency_penalty", "\"\"", "frequency_penalty: must be a number"},
    {BOTH, OK, "presence_penalty", "2", NULL},
    {BOTH, BAD, "presence_penalty", "-2.1", "presence_penalty: must be between -2 and 2"},
    {BOTH, BAD, "presence_penalty", "[]", "presence_penalty: must be a number"},
    {BOTH, OK, "logit_bias", "{\"0\":-100,\"50256\":100,\"7\":0.5,\"8\":null}", NULL},
    {BOTH, OK, "logit_bias", "{}", NULL},
    {BOTH, BAD, "logit_bias", "{\"7\":101}", "logit_bias.7: must be between -100 and 100"},
    {BOTH, BAD, "logit_bias", "{\"07\":1}", "logit_bias: '07' is not a token id"},
    {BOTH, BAD, "logit_bias", "{\"x\":1}", "logit_bias: 'x' is not a token id"},
    {BOTH, BAD, "logit_bias", "{\"-1\":1}", "logit_bias: '-1' is not a token id"},
    {BOTH, BAD, "logit_bias", "{\"99999999999\":1}", "logit_bias: '99999999999' is not a token id"},
    {BOTH, BAD, "logit_bias", "{\"7\":\"1\"}", "logit_bias.7: must be a number"},
    {BOTH, BAD, "logit_bias", "[]", "logit_bias: must be an object"},
    {CHAT, OK, "logprobs", "true", NULL},
    {CHAT, BAD, "logprobs", "1", "logprobs: must be a boolean"},
    {COMP, OK, "logprobs", "0", NULL},
    {COMP, OK, "logprobs", "20", NULL},
    {COMP, BAD, "logprobs", "21", "logprobs: must be between 0 and 20"},
    {COMP, BAD, "logprobs", "true", "logprobs: must be an integer, not a boolean"},
    {CHAT, OK, "top_logprobs", "20,\"logprobs\":true", NULL},
    {CHAT, OK, "top_logprobs", "0", NULL},
    {CHAT, BAD, "top_logprobs", "1", "top_logprobs: needs logprobs"},
    {CHAT, BAD, "top_logprobs", "21,\"logprobs\":true", "top_logprobs: must be between 0 and 20"},
    {CHAT, BAD, "top_logprobs", "\"1\"", "top_logprobs: must be an integer"},
    {COMP, OK, "echo", "true", NULL},
    {COMP, BAD, "echo", "0", "echo: must be a boolean"},
    {COMP, OK, "suffix", "\"\"", NULL},
    {COMP, NOT, "suffix", "\"x\"", "suffix: completion before a suffix is not supported yet"},
    {COMP, BAD, "suffix", "1", "suffix: must be a string"},
    {COMP, OK, "return_raw_tokens", "true", NULL},
    {COMP, BAD, "return_raw_tokens", "\"\"", "return_raw_tokens: must be a boolean"},
    {COMP, NOT, "grammar_root", "\"value\"", "grammar_root: constrained output is not supported"},
    {CHAT, OK, "tools", "[]", NULL},
    {CHAT, NOT, "tools", "[{\"type\":\"function\"}]", "tools: tools are not supported yet"},
    {CHAT, BAD, "tools", "{}", "tools: must be an array"},
    {CHAT, OK, "tool_choice", "\"none\"", NULL},
    {CHAT, OK, "tool_choice", "\"auto\"", NULL},
    {CHAT, BAD, "tool_choice", "\"required\"", "tool_choice: needs tools"},
    {CHAT, BAD, "tool_choice", "{\"type\":\"function\"}", "tool_choice: needs tools"},
    {CHAT, BAD, "tool_choice", "\"any\"", "tool_choice: must be one of none, auto, required"},
    {CHAT, BAD, "tool_choice", "1", "tool_choice: must be a string"},
    {CHAT, OK, "parallel_tool_calls", "false", NULL},
    {CHAT, OK, "response_format", "{\"type\":\"text\"}", NULL},
    {CHAT, NOT, "response_format", "{\"type\":\"json_object\"}",
     "response_format: structured output (json_object) is not supported yet"},
    {CHAT, NOT, "response_format", "{\"type\":\"json_schema\",\"json_schema\":{}}",
     "response_format: structured output (json_schema) is not supported yet"},
    {CHAT, BAD, "response_format", "{\"type\":\"xml\"}", "response_format.type: must be one of"},
    {CHAT, BAD, "response_format", "{}", "response_format.type: is required"},
    {CHAT, BAD, "response_format", "\"text\"", "response_format: must be an object"},
    {CHAT, OK, "prediction", "{\"type\":\"content\",\"content\":\"x\"}", NULL},
    {CHAT, OK, "prediction",
     "{\"type\":\"content\",\"content\":[{\"type\":\"text\",\"text\":\"x\"}]}", NULL},
    {CHAT, BAD, "prediction", "{\"type\":\"content\"}", "prediction.content: is required"},
    {CHAT, BAD, "prediction", "{\"type\":\"x\",\"content\":\"\"}", "prediction.type: must be one"},
    {CHAT, BAD, "prediction", "\"x\"", "prediction: must be an object"},
    {CHAT, OK, "reasoning_effort", "\"none\"", NULL},
    {CHAT, OK, "reasoning_effort", "\"xhigh\"", NULL},
    {CHAT, BAD, "reasoning_effort", "\"huge\"", "reasoning_effort: must be one of none, low"},
    {CHAT, BAD, "reasoning_effort", "3", "reasoning_effort: must be a string"},
    {CHAT, OK, "reasoning_format", "\"raw\"", NULL},
    {CHAT, OK, "reasoning_format", "\"none\"", NULL},
    {CHAT, NOT, "reasoning_format", "\"parsed\"", "reasoning_format: splitting reasoning"},
    {CHAT, NOT, "reasoning_format", "\"hidden\"", "reasoning_format: splitting reasoning"},
    {CHAT, BAD, "reasoning_format", "\"x\"", "reasoning_format: must be one of"},
    {COMP, OK, "reasoning_format", "\"parsed\"", NULL},
    {CHAT, OK, "disable_reasoning", "true", NULL},
    {CHAT, BAD, "disable_reasoning", "\"yes\"", "disable_reasoning: must be a boolean"},
    {CHAT, OK, "clear_thinking", "false", NULL},
    {CHAT, BAD, "clear_thinking", "0", "clear_thinking: must be a boolean"},
    {CHAT, OK, "model_parameters", "{\"x\":1}", NULL},
    {CHAT, BAD, "model_parameters", "[]", "model_parameters: must be an object"},
    {BOTH, OK, "prompt_cache_key", "\"k\"", NULL},
    {BOTH, BAD, "prompt_cache_key", "1", "prompt_cache_key: must be a string"},
    {BOTH, OK, "service_tier", "\"scale\"", NULL},
    {BOTH, OK, "service_tier", "\"batch\"", NULL},
    {BOTH, BAD, "service_tier", "\"gold\"", "service_tier: must be one of default, auto, flex"},
    {BOTH, BAD, "service_tier", "1", "service_tier: must be a string"},
    {BOTH, OK, "user", "\"u\"", NULL},
    {BOTH, BAD, "user", "1", "user: must be a string"},
    {BOTH, OK, "store", "true", NULL},
    {BOTH, OK, "metadata", "{\"a\":\"b\"}", NULL},
    {CHAT, OK, "modalities", "[\"text\"]", NULL},
    {CHAT, NOT, "modalities", "[\"text\",\"audio\"]", "modalities: output other than text"},
    {CHAT, BAD, "modalities", "\"text\"", "modalities: must be an array"},
    {CHAT, OK, "verbosity", "\"low\"", NULL},
    {BOTH, OK, "safety_identifier", "\"x\"", NULL},
    {BOTH, OK, "prompt_cache_retention", "\"24h\"", NULL},
    {BOTH, OK, "prompt_cache_options", "{}", NULL},
    {CHAT, OK, "web_search_options", "{}", NULL},
    {CHAT, OK, "moderation", "{}", NULL},
    {CHAT, OK, "audio", "{}", NULL},
    {CHAT, OK, "functions", "[]", NULL},
    {CHAT, NOT, "functions", "[{\"name\":\"f\"}]", "functions: functions are not supported yet"},
    {CHAT, BAD, "functions", "{}", "functions: must be an array"},
    {CHAT, OK, "function_call", "\"auto\"", NULL},
    {CHAT, NOT, "function_call", "{\"name\":\"f\"}", "function_call: functions are not"},
    {CHAT, BAD, "function_call", "1", "function_call: must be a string"},
    {BOTH, OK, "top_k", "40", NULL},
    {BOTH, OK, "top_k", "-1", NULL},
    {BOTH, BAD, "top_k", "-2", "top_k: must be at least -1"},
    {BOTH, BAD, "top_k", "1.5", "top_k: must be an integer"},
    {BOTH, OK, "min_p", "0.05", NULL},
    {BOTH, BAD, "min_p", "1.5", "min_p: must be between 0 and 1"},
    {BOTH, BAD, "min_p", "[]", "min_p: must be a number"},
    {BOTH, OK, "repetition_penalty", "1.1", NULL},
    {BOTH, BAD, "repetition_penalty", "0", "repetition_penalty: must be between 0.01 and 10"},
    {BOTH, OK, "repeat_penalty", "1.1", NULL},
    {BOTH, BAD, "repeat_penalty", "\"x\"", "repeat_penalty: must be a number"},
    {BOTH, OK, "stop_token_ids", "[1,2]", NULL},
    {BOTH, BAD, "stop_token_ids", "[-1]", "stop_token_ids.0: must be a token id"},
    {BOTH, BAD, "stop_token_ids", "5", "stop_token_ids: must be an array"},
    {BOTH, OK, "ignore_eos", "true", NULL},
    {BOTH, BAD, "ignore_eos", "1", "ignore_eos: must be a boolean"},
    {COMP, OK, "parse_special", "true", NULL},
    {COMP, BAD, "parse_special", "1", "parse_special: must be a boolean"},
    {CHAT, OK, "chat_template_kwargs", "{\"enable_thinking\":false}", NULL},
    {CHAT, BAD, "chat_template_kwargs", "{\"messages\":[]}",
     "chat_template_kwargs.messages: cannot be set"},
    {CHAT, BAD, "chat_template_kwargs", "[]", "chat_template_kwargs: must be an object"},
    {CHAT, OK, "thinking", "{\"type\":\"disabled\"}", NULL},
    {CHAT, BAD, "thinking", "{\"type\":\"on\"}", "thinking.type: must be one of"},
    {CHAT, BAD, "thinking", "true", "thinking: must be an object"},
    {BOTH, NOT, "grammar", "\"root ::= x\"", "grammar: constrained output is not supported yet"},
    {BOTH, OK, "cache_salt", "\"s\"", NULL},
    {BOTH, BAD, "cache_salt", "1", "cache_salt: must be a string"},
    {BOTH, OK, "priority", "-5", NULL},
    {BOTH, BAD, "priority", "\"high\"", "priority: must be an integer"},
    {BOTH, OK, "return_token_ids", "true", NULL},
    {BOTH, BAD, "return_token_ids", "1", "return_token_ids: must be a boolean"},
    {BOTH, OK, "ttl", "300", NULL},
    {BOTH, BAD, "ttl", "true", "ttl: must be a number of seconds"},
    {BOTH, OK, "keep_alive", "\"5m\"", NULL},
    {BOTH, BAD, "keep_alive", "\"5 minutes\"", "keep_alive: must be seconds, or text"},
    {BOTH, BAD, "keep_alive", "1e12", "keep_alive: must be below"},
};

static void test_rows(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct row *t = &rows[i];
        char fields[1024];
        snprintf(fields, sizeof fields, "\"%s\":%s", t->field, t->value);
        for (int kind = CHAT; kind <= COMP; kind++) {
            struct fixture f;
            int r;
            if (!(t->kinds & kind))
                continue;
            r = parse(&f, kind, fields, NULL, NULL);
            if (r != t->code || (r && f.e.code != r))
                fail_msg("%s: got %d '%s'", fields, r, f.e.text);
            if (r && strncmp(f.e.text, t->words, strlen(t->words)))
                fail_msg("%s: '%s'", fields, f.e.text);
            if (r && strncmp(f.e.text, f.e.param, strlen(f.e.param)))
                fail_msg("%s: param '%s'", fields, f.e.param);
            drop(&f);
        }
    }
}

/* Each field of the table: taken as null, tested above, refused with a wrong type if it has one. */
static void test_every_field(void **state)
{
    struct api_field_doc d;

    for (int i = 0; api_field_row(i, &d); i++) {
        int tested = 0, required = !strcmp(d.dflt, "required");
        char null[128], wrong[128];
        for (size_t k = 0; k < ARRAY_LEN(rows); k++)
            tested |= !strcmp(rows[k].field, d.name) && (rows[k].kinds & (int)d.kinds);
        if (!tested)
            fail_msg("%s has no test", d.name);
        snprintf(null, sizeof null, "\"%s\":null", d.name);
        snprintf(wrong, sizeof wrong, "\"%s\":[{}]", d.name);
        for (int kind = CHAT; kind <= COMP; kind++) {
            struct fixture f;
            int r;
            if (!((int)d.kinds & kind))
                continue;
            r = parse(&f, kind, null, NULL, NULL);
            if (r != (required ? ERR_SCHEMA : 0))
                fail_msg("%s: %d %s", null, r, f.e.text);
            drop(&f);
            r = parse(&f, kind, wrong, NULL, NULL);
            if (!r != !strcmp(d.type, "any"))
                fail_msg("%s: %d %s", wrong, r, f.e.text);
            drop(&f);
        }
    }
}

static void test_defaults(void **state)
{
    struct fixture f;

    assert_int_equal(parse(&f, CHAT, "", NULL, NULL), 0);
    assert_string_equal(f.r.model, "m");
    assert_int_equal(f.r.given, 0);
    assert_true(f.r.sampling.temperature == 1 && f.r.sampling.top_p == 1 &&
                f.r.sampling.min_p == 0 && f.r.sampling.top_k == 0);
    assert_true(f.r.sampling.repetition_penalty == 1 && f.r.sampling.frequency_penalty == 0);
    assert_int_equal(f.r.n, 1);
    assert_int_equal(f.r.n_run, 1);
    assert_int_equal(f.r.sampling.max_tokens, -1);
    assert_int_equal(f.r.sampling.min_tokens, 0);
    assert_int_equal(f.r.stream, 0);
    assert_null(f.r.template_kwargs);
    assert_int_equal(f.r.n_prompts, 0);
    drop(&f);
    assert_int_equal(parse(&f, COMP, "", NULL, NULL), 0);
    assert_int_equal(f.r.n_prompts, 1);
    assert_string_equal(f.r.prompt[0].text, "hi");
    drop(&f);
}

static void test_values(void **state)
{
    struct fixture f;

    assert_int_equal(parse(&f, CHAT,
                           "\"temperature\":0.5,\"top_p\":0.25,\"seed\":-7,\"n\":3,\"max_tokens\":5"
                           ",\"max_completion_tokens\":9,\"stop\":[\"a\",\"\",\"b\xc3\xa9\"],"
                           "\"logit_bias\":{\"3\":-1.5},\"logprobs\":true,\"top_logprobs\":4,"
                           "\"stream\":true,\"stream_options\":{\"include_usage\":true},"
                           "\"service_tier\":\"flex\",\"user\":\"u\",\"unknown\":{\"x\":1},"
                           "\"stop_token_ids\":[8,9],\"keep_alive\":\"2h\",\"top_k\":-1",
                           NULL, NULL),
                     0);
    assert_true(f.r.sampling.temperature == 0.5f && f.r.sampling.top_p == 0.25f);
    assert_int_equal(f.r.sampling.seed, -7);
    assert_int_equal(f.r.n, 3);
    assert_int_equal(f.r.sampling.max_tokens, 9);
    assert_int_equal(f.r.sampling.n_stop, 2);
    assert_string_equal(f.r.sampling.stop[1].s, "b\xc3\xa9");
    assert_int_equal(f.r.sampling.stop[1].n, 3);
    assert_int_equal(f.r.sampling.n_bias, 1);
    assert_int_equal(f.r.sampling.bias[0].token, 3);
    assert_true(f.r.sampling.bias[0].bias == -1.5f);
    assert_int_equal(f.r.sampling.n_top, 4);
    assert_int_equal(f.r.logprobs && f.r.sampling.logprobs && f.r.stream && f.r.include_usage, 1);
    assert_int_equal(f.r.tier, TIER_FLEX);
    assert_int_equal(f.r.sampling.n_stop_token, 2);
    assert_int_equal(f.r.sampling.stop_token[1], 9);
    assert_int_equal(f.r.sampling.top_k, 0);
    assert_int_equal(f.r.given, API_GIVEN_TEMPERATURE | API_GIVEN_TOP_P | API_GIVEN_SEED |
                                    API_GIVEN_TIER | API_GIVEN_TOP_K);
    drop(&f);
    assert_int_equal(parse(&f, COMP,
                           "\"prompt\":[[5,6],\"x\"],\"n\":2,\"best_of\":4,\"top_p\":0,"
                           "\"stream_options\":{\"include_usage\":true}",
                           NULL, NULL),
                     0);
    assert_int_equal(f.r.n_prompts, 2);
    assert_null(f.r.prompt[0].text);
    assert_int_equal(f.r.prompt[0].n_id, 2);
    assert_int_equal(f.r.prompt[0].id[1], 6);
    assert_string_equal(f.r.prompt[1].text, "x");
    assert_int_equal(f.r.n_run, 4);
    assert_int_equal(f.r.sampling.logprobs, 1); /* best_of chooses by them */
    assert_int_equal(f.r.logprobs, 0);
    assert_true(f.r.sampling.temperature == 0 && f.r.sampling.top_p == 1); /* top_p 0 is greedy */
    assert_int_equal(f.r.include_usage, 0);                                /* not without stream */
    drop(&f);
}

static void expect_kwargs(const char *fields, const char *want)
{
    struct fixture f;
    struct buf b;

    assert_int_equal(parse(&f, CHAT, fields, NULL, NULL), 0);
    buf_init(&b, 1000);
    if (f.r.template_kwargs)
        json_put_tree(&b, f.r.template_kwargs);
    assert_string_equal(b.data ? b.data : "", want);
    buf_done(&b);
    drop(&f);
}

static void test_kwargs(void **state)
{
    expect_kwargs("\"reasoning_effort\":\"none\"", "{\"enable_thinking\":false}");
    expect_kwargs("\"disable_reasoning\":true", "{\"enable_thinking\":false}");
    expect_kwargs("\"disable_reasoning\":false", "");
    expect_kwargs("\"thinking\":{\"type\":\"disabled\"}", "{\"enable_thinking\":false}");
    expect_kwargs("\"thinking\":{\"type\":\"enabled\"}", "{\"enable_thinking\":true}");
    expect_kwargs("\"reasoning_effort\":\"xhigh\"", "{\"reasoning_effort\":\"high\"}");
    expect_kwargs("\"clear_thinking\":false", "{\"clear_thinking\":false}");
    expect_kwargs("\"reasoning_effort\":\"none\",\"chat_template_kwargs\":{\"enable_thinking\":"
                  "true,\"x\":[1]}",
                  "{\"enable_thinking\":true,\"x\":[1]}");
}

static void test_strict(void **state)
{
    static const struct api_options strict = {.strict = 1};
    static const struct {
        const char *fields, *words;
    } bad[] = {
        {"\"thinkin\":1", "body.thinkin: property 'body.thinkin' is unsupported"},
        {"\"top_k\":1", "body.top_k: property 'body.top_k' is unsupported"},
        {"\"stream_options\":{\"x\":1}", "body.stream_options.x: property"},
        {"\"messages\":[{\"role\":\"assistant\",\"content\":\"\",\"reasoning_content\":\"\"}]",
         "body.messages.0.reasoning_content: property"},
        {"\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"\",\"x\":1}]"
         "}]",
         "body.messages.0.content.0.x: property"},
        {"\"stop\":[\"1\",\"2\",\"3\",\"4\",\"5\"]", "stop: has more than 4 strings"},
        {"\"tool_choice\":\"auto\"", "tool_choice: needs tools"},
        {"\"reasoning_effort\":\"max\"", "reasoning_effort: must be one of none"},
        {"\"model_parameters\":{\"x\":1}", "body.model_parameters.x"},
    };
    struct fixture f;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(parse(&f, CHAT, bad[i].fields, NULL, NULL), 0); /* fine by default */
        drop(&f);
        assert_int_equal(parse(&f, CHAT, bad[i].fields, &strict, NULL), ERR_SCHEMA);
        if (strncmp(f.e.text, bad[i].words, strlen(bad[i].words)))
            fail_msg("%s: '%s'", bad[i].fields, f.e.text);
        drop(&f);
    }
    assert_int_equal(parse(&f, CHAT, "\"temperature\":1,\"stop\":\"x\"", &strict, NULL), 0);
    drop(&f);
}

static void test_headers(void **state)
{
    static const struct {
        struct api_request_headers h;
        int code;
        const char *words;
    } rows_h[] = {
        {{.content_type = "application/json; charset=utf-8"}, 0, NULL},
        {{.content_type = "text/plain"}, 0, NULL},
        {{.content_type = "application/vnd.msgpack"},
         ERR_MEDIA,
         "msgpack bodies are not supported"},
        {{.content_type = " Application/MsgPack ;x=1"}, ERR_MEDIA, "msgpack"},
        {{.content_encoding = "gzip"}, ERR_MEDIA, "gzip bodies are not supported yet"},
        {{.content_encoding = "br"}, ERR_MEDIA, "content encoding 'br' is not supported"},
        {{.content_encoding = "identity"}, 0, NULL},
        {{.version_patch = "1"}, 0, NULL},
        {{.version_patch = "x"}, ERR_SCHEMA, "header X-Cerebras-Version-Patch: must be an integer"},
        {{.version_patch = ""}, ERR_SCHEMA, "header X-Cerebras-Version-Patch"},
        {{.queue_threshold = "50"}, 0, NULL},
        {{.queue_threshold = "49"}, ERR_SCHEMA, "header queue_threshold"},
        {{.queue_threshold = "20001"}, ERR_SCHEMA, "header queue_threshold"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows_h); i++) {
        struct fixture f;
        int r = parse(&f, CHAT, "", NULL, &rows_h[i].h);
        if (r != rows_h[i].code ||
            (r && strncmp(f.e.text, rows_h[i].words, strlen(rows_h[i].words))))
            fail_msg("row %zu: %d '%s'", i, r, f.e.text);
        drop(&f);
    }
}

static void test_limits(void **state)
{
    struct api_options o = {.body_max = 60};
    struct fixture f;
    char *big = malloc(70000);

    assert_int_equal(parse(&f, CHAT, "\"user\":\"0123456789\"", &o, NULL), ERR_TOO_LARGE);
    drop(&f);
    o = (struct api_options){.prompts_max = 2, .messages_max = 1};
    assert_int_equal(parse(&f, COMP, "\"prompt\":[\"a\",\"b\",\"c\"]", &o, NULL), ERR_SCHEMA);
    assert_string_equal(f.e.text, "prompt: has 3 prompts; the limit is 2");
    drop(&f);
    assert_int_equal(parse(&f, CHAT, "\"messages\":[{},{}]", &o, NULL), ERR_SCHEMA);
    assert_string_equal(f.e.text, "messages: has 2 messages; the limit is 1");
    drop(&f);
    /* 20 prompts x 16 choices */
    assert_int_equal(parse(&f, COMP,
                           "\"n\":16,\"prompt\":[\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\","
                           "\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\"]",
                           NULL, NULL),
                     ERR_SCHEMA);
    assert_non_null(strstr(f.e.text, "pass the limit of 256 choices"));
    drop(&f);
    /* the arena's ceiling */
    strcpy(big, "{\"model\":\"m\",\"prompt\":[0");
    for (int i = 0; i < 20000; i++)
        strcat(big + 2 * i, ",7");
    strcat(big + 40000, "]}");
    arena_init(&f.a, 4096, 50000);
    f.r = (struct api_request){0};
    assert_int_equal(
        api_parse(api_dialects[API_COMPLETION], &f.r, &f.a, big, strlen(big), NULL, NULL, &f.e),
        ERR_TOO_LARGE);
    assert_null(f.r.root);
    drop(&f);
    free(big);
}

static void test_model_checks(void **state)
{
    struct fixture f;
    struct err e;
    int32_t max;

    assert_int_equal(parse(&f, COMP,
                           "\"prompt\":[[1,2],[3,100]],\"logit_bias\":{\"101\":1},"
                           "\"stop_token_ids\":[1,102],\"max_tokens\":10",
                           NULL, NULL),
                     0);
    assert_int_equal(api_check_tokens(&f.r, 103, &e), 0);
    assert_int_equal(api_check_tokens(&f.r, 100, &e), ERR_SCHEMA);
    assert_string_equal(e.text, "prompt.1.1: token id 100 is not in the model's vocabulary of 100");
    assert_int_equal(api_check_tokens(&f.r, 101, &e), ERR_SCHEMA);
    assert_string_equal(e.param, "logit_bias");
    assert_int_equal(api_check_tokens(&f.r, 102, &e), ERR_SCHEMA);
    assert_string_equal(e.param, "stop_token_ids.1");
    assert_int_equal(api_check_context(&f.r, 90, 100, 5, &max, &e), 0);
    assert_int_equal(max, 10); /* what was asked for, not the server's cap */
    assert_int_equal(api_check_context(&f.r, 91, 100, 0, &max, &e), ERR_CONTEXT);
    assert_string_equal(
        e.text, "This model's maximum context length is 100 tokens. However, the request has "
                "91 tokens in the prompt and asks for 10 in the completion. Please reduce "
                "the length of the messages or completion. Current length is 101 while "
                "limit is 100");
    assert_int_equal(api_check_context(&f.r, 0, 100, 0, &max, &e), ERR_SCHEMA);
    drop(&f);
    assert_int_equal(parse(&f, CHAT, "", NULL, NULL), 0);
    assert_int_equal(api_check_context(&f.r, 60, 100, 0, &max, &e), 0);
    assert_int_equal(max, 40);
    assert_int_equal(api_check_context(&f.r, 60, 100, 16, &max, &e), 0);
    assert_int_equal(max, 16);
    assert_int_equal(api_check_context(&f.r, 100, 100, 0, &max, &e), ERR_CONTEXT);
    drop(&f);
    assert_int_equal(parse(&f, COMP, "\"max_tokens\":0,\"echo\":true", NULL, NULL), 0);
    assert_int_equal(api_check_context(&f.r, 100, 100, 0, &max, &e), 0);
    assert_int_equal(max, 0);
    drop(&f);
    assert_int_equal(parse(&f, CHAT, "\"max_tokens\":99999999999", NULL, NULL), 0);
    assert_int_equal(api_check_context(&f.r, 5, 100, 0, &max, &e), ERR_CONTEXT);
    drop(&f);
}

static void test_bodies(void **state)
{
    static const struct {
        const char *body, *words;
    } bad[] = {
        {"", "the body is empty"},
        {"[]", "body: must be a JSON object, not an array"},
        {"{\"model\":\"m\",\"model\":\"n\"}", "model: duplicate key"},
        {"{\"model\":\"m\"", "the JSON text ends too early"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"\\ud800\"}]}",
         "messages.0.content: not valid JSON"},
    };

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct api_request r = {0};
        struct arena a;
        struct err e;
        arena_init(&a, 4096, 65536);
        assert_int_equal(api_parse(api_dialects[API_CHAT], &r, &a, bad[i].body, strlen(bad[i].body),
                                   NULL, NULL, &e),
                         ERR_SCHEMA);
        if (strncmp(e.text, bad[i].words, strlen(bad[i].words)))
            fail_msg("%s: %s", bad[i].body, e.text);
        arena_done(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),         cmocka_unit_test(test_every_field),
        cmocka_unit_test(test_defaults),     cmocka_unit_test(test_values),
        cmocka_unit_test(test_kwargs),       cmocka_unit_test(test_strict),
        cmocka_unit_test(test_headers),      cmocka_unit_test(test_limits),
        cmocka_unit_test(test_model_checks), cmocka_unit_test(test_bodies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
