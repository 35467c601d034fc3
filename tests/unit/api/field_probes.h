/* A value for each request field, and the body that has it: what it changes is looked at in the
 * neutral request (test_fields.c), and in the supplier's job and the answer (test_served.c). */
#ifndef TEST_FIELD_PROBES_H
#define TEST_FIELD_PROBES_H

#include <string.h>

#include "api/api.h"
#include "base/check.h"

enum { CHAT = 1, COMP = 2, BOTH = 3 };

/* value: of a field that is served or without effect, one that is not its default; of one that is
 * not built, one that is refused, and `plain` one that is taken. with: fields that it needs. */
static const struct probe {
    unsigned kinds;
    const char *name, *value, *with, *plain;
} probes[] = {
    {BOTH, "model", "\"other\"", "", NULL},
    {CHAT, "messages", "[{\"role\":\"user\",\"content\":\"other\"}]", "", NULL},
    {COMP, "prompt", "\"other\"", "", NULL},
    {BOTH, "stream", "true", "", NULL},
    {BOTH, "stream_options", "{\"include_usage\":true}", ",\"stream\":true", NULL},
    {CHAT, "max_completion_tokens", "5", "", NULL},
    {BOTH, "max_tokens", "5", "", NULL},
    {CHAT, "min_completion_tokens", "5", "", NULL},
    {BOTH, "min_tokens", "5", "", NULL},
    {BOTH, "temperature", "0.5", "", NULL},
    {BOTH, "top_p", "0.5", "", NULL},
    {BOTH, "n", "2", "", NULL},
    {COMP, "best_of", "2", "", NULL},
    {BOTH, "seed", "7", "", NULL},
    {BOTH, "stop", "\"x\"", "", NULL},
    {BOTH, "frequency_penalty", "0.5", "", NULL},
    {BOTH, "presence_penalty", "0.5", "", NULL},
    {BOTH, "logit_bias", "{\"7\":1}", "", NULL},
    {CHAT, "logprobs", "true", "", NULL},
    {COMP, "logprobs", "0", "", NULL},
    {CHAT, "top_logprobs", "3", ",\"logprobs\":true", NULL},
    {COMP, "echo", "true", "", NULL},
    {COMP, "suffix", "\"x\"", "", "\"\""},
    {COMP, "return_raw_tokens", "true", "", NULL},
    {COMP, "grammar_root", "\"x\"", "", "null"},
    {CHAT, "tools", "[{\"type\":\"function\"}]", "", "[]"},
    {CHAT, "tool_choice", "\"required\"", "", "\"none\""},
    {CHAT, "parallel_tool_calls", "false", "", NULL},
    {CHAT, "response_format", "{\"type\":\"json_object\"}", "", "{\"type\":\"text\"}"},
    {CHAT, "prediction", "{\"type\":\"content\",\"content\":\"x\"}", "", NULL},
    {CHAT, "reasoning_effort", "\"none\"", "", NULL},
    {CHAT, "reasoning_format", "\"parsed\"", "", "\"raw\""},
    {COMP, "reasoning_format", "\"parsed\"", "", NULL},
    {CHAT, "disable_reasoning", "true", "", NULL},
    {CHAT, "clear_thinking", "false", "", NULL},
    {CHAT, "model_parameters", "{\"x\":1}", "", NULL},
    {BOTH, "prompt_cache_key", "\"k\"", "", NULL},
    {BOTH, "service_tier", "\"flex\"", "", NULL},
    {BOTH, "user", "\"u\"", "", NULL},
    {BOTH, "store", "true", "", NULL},
    {BOTH, "metadata", "{\"a\":\"b\"}", "", NULL},
    {CHAT, "modalities", "[\"audio\"]", "", "[\"text\"]"},
    {CHAT, "verbosity", "\"low\"", "", NULL},
    {BOTH, "safety_identifier", "\"x\"", "", NULL},
    {BOTH, "prompt_cache_retention", "\"24h\"", "", NULL},
    {BOTH, "prompt_cache_options", "{\"x\":1}", "", NULL},
    {CHAT, "web_search_options", "{\"x\":1}", "", NULL},
    {CHAT, "moderation", "{\"x\":1}", "", NULL},
    {CHAT, "audio", "{\"x\":1}", "", NULL},
    {CHAT, "functions", "[{\"name\":\"f\"}]", "", "[]"},
    {CHAT, "function_call", "{\"name\":\"f\"}", "", "\"auto\""},
    {BOTH, "top_k", "40", "", NULL},
    {BOTH, "min_p", "0.5", "", NULL},
    {BOTH, "repetition_penalty", "1.5", "", NULL},
    {BOTH, "repeat_penalty", "1.5", "", NULL},
    {BOTH, "stop_token_ids", "[7]", "", NULL},
    {BOTH, "ignore_eos", "true", "", NULL},
    {CHAT, "chat_template_kwargs", "{\"x\":1}", "", NULL},
    {CHAT, "thinking", "{\"type\":\"disabled\"}", "", NULL},
    {BOTH, "grammar", "\"root ::= x\"", "", "null"},
    {BOTH, "cache_salt", "\"s\"", "", NULL},
    {BOTH, "priority", "5", "", NULL},
    {BOTH, "return_token_ids", "true", "", NULL},
    {COMP, "parse_special", "true", "", NULL},
    {BOTH, "ttl", "300", "", NULL},
    {BOTH, "keep_alive", "\"5m\"", "", NULL},
};

static const struct probe *find_probe(const char *name, unsigned kind)
{
    for (size_t i = 0; i < ARRAY_LEN(probes); i++) {
        if (!strcmp(probes[i].name, name) && probes[i].kinds & kind)
            return &probes[i];
    }
    fail_msg("%s: a field without a probe", name);
    return NULL;
}

/* A body with that field, and what it needs; name NULL: without it. */
static void put_probe_body(struct buf *b, unsigned kind, const char *name, const char *value,
                           const char *with)
{
    static const char *const base[][2] = {
        {"model", "\"fake\""},
        {"messages", "[{\"role\":\"user\",\"content\":\"hi\"}]"},
        {"prompt", "\"hi\""},
    };

    buf_add_str(b, "{\"unknown\":0");
    for (size_t i = 0; i < ARRAY_LEN(base); i++) {
        if (strcmp(base[i][0], kind == CHAT ? "prompt" : "messages") != 0 &&
            (!name || strcmp(base[i][0], name) != 0))
            buf_addf(b, ",\"%s\":%s", base[i][0], base[i][1]);
    }
    if (name)
        buf_addf(b, ",\"%s\":%s", name, value);
    buf_addf(b, "%s}", with);
}

#endif
