/* Answers about models. */
#include <stdio.h>
#include <string.h>

#include "api/model_list.h"
#include "base/check.h"
#include "base/json_write.h"

static const char *const statuses[] = {
    [API_MODEL_LOADED] = "loaded",
    [API_MODEL_LOADING] = "loading",
    [API_MODEL_UNLOADED] = "unloaded",
    [API_MODEL_SLEEPING] = "sleeping",
};
static const char sampling_parameters[] =
    "\"temperature\",\"top_p\",\"top_k\",\"min_p\",\"frequency_penalty\",\"presence_penalty\","
    "\"repetition_penalty\",\"seed\",\"stop\",\"logit_bias\",\"logprobs\",\"top_logprobs\"";

int api_models_format(const char *format, int is_public, enum api_models_format *ret, struct err *e)
{
    if (!format || !*format)
        *ret = is_public ? API_MODELS_PUBLIC : API_MODELS_PLAIN;
    else if (!strcmp(format, "openrouter"))
        *ret = API_MODELS_OPENROUTER;
    else if (!strcmp(format, "huggingface"))
        *ret = API_MODELS_HUGGINGFACE;
    else
        return err_set_param(e, ERR_SCHEMA, "format",
                             "format: must be openrouter or huggingface, not '%.40s'", format);
    return 0;
}

static void put_str(struct buf *b, const char *key, const char *value)
{
    buf_addf(b, ",\"%s\":", key);
    json_put_str(b, value ? value : "");
}

/* A price as text, since 0.00000012 is not to become 1.2e-7. */
static void put_price(struct buf *b, const char *key, double v)
{
    char t[64];
    size_t n;

    n = (size_t)snprintf(t, sizeof t, "%.12f", v);
    while (n > 1 && t[n - 1] == '0')
        n--;
    n -= t[n - 1] == '.';
    buf_addf(b, "\"%s\":\"%.*s\"", key, (int)n, t);
}

static int output_max(const struct api_model *m)
{
    return m->output_max > 0 && m->output_max < m->context ? m->output_max : m->context;
}

static void put_head(struct buf *b, const struct api_model *m)
{
    buf_add_str(b, "{\"id\":");
    json_put_str(b, m->id);
    buf_addf(b, ",\"object\":\"model\",\"created\":%lld", (long long)m->created);
    put_str(b, "owned_by", m->owned_by ? m->owned_by : "gaufre");
}

static void put_plain(struct buf *b, const struct api_model *m)
{
    put_head(b, m);
    put_str(b, "name", m->name ? m->name : m->id);
    put_str(b, "description", m->description);
    buf_addf(b,
             ",\"context_length\":%d,\"max_model_len\":%d,\"max_context_length\":%d,"
             "\"max_completion_tokens\":%d",
             m->context, m->context, m->context, output_max(m));
    buf_addf(b,
             ",\"architecture\":{\"input_modalities\":[\"text\"],\"output_modalities\":[\"text\"]}"
             ",\"capabilities\":{\"completion\":true,\"chat\":%s,\"function_calling\":false,"
             "\"structured_outputs\":false,\"vision\":false,\"streaming\":true}",
             m->chat ? "true" : "false");
    buf_addf(b,
             ",\"supported_parameters\":[\"max_tokens\",\"max_completion_tokens\",\"min_tokens\",%s"
             "],\"status\":{\"value\":\"%s\"}",
             sampling_parameters, statuses[m->status]);
    if (m->sampling) {
        buf_add_str(b, ",\"recommended_sampling\":");
        preset_put(b, m->sampling);
        buf_addf(b, ",\"default_sampling\":\"%s\"", m->default_sampling ? "model" : "api");
    }
    buf_addf(b, ",\"meta\":{\"n_ctx_train\":%d,\"n_params\":%llu,\"size\":%llu,\"n_vocab\":%d}}",
             m->context_trained, (unsigned long long)m->n_params, (unsigned long long)m->size_bytes,
             m->n_vocab);
}

static void put_openrouter(struct buf *b, const struct api_model *m)
{
    buf_add_str(b, "{\"id\":");
    json_put_str(b, m->id);
    put_str(b, "name", m->name ? m->name : m->id);
    buf_addf(b, ",\"created\":%lld", (long long)m->created);
    put_str(b, "description", m->description);
    buf_addf(b, ",\"context_length\":%d,\"max_output_length\":%d", m->context, output_max(m));
    put_str(b, "hugging_face_id", m->hugging_face_id);
    put_str(b, "quantization", m->quantization);
    buf_add_str(b,
                ",\"input_modalities\":[\"text\"],\"output_modalities\":[\"text\"],\"pricing\":{");
    put_price(b, "prompt", m->price_prompt);
    buf_add_char(b, ',');
    put_price(b, "completion", m->price_completion);
    buf_add_str(b, ",\"request\":\"0\",\"image\":\"0\",");
    put_price(b, "input_cache_read", m->price_cached);
    buf_addf(b,
             ",\"input_cache_write\":\"0\"},\"supported_features\":[],"
             "\"supported_sampling_parameters\":[%s],\"datacenters\":[],\"openrouter\":{\"slug\":",
             sampling_parameters);
    json_put_str(b, m->id);
    buf_add_str(b, "}}");
}

static void put_huggingface(struct buf *b, const struct api_model *m)
{
    put_head(b, m);
    put_str(b, "hugging_face_id", m->hugging_face_id);
    buf_addf(b,
             ",\"context_length\":%d,\"capabilities\":{\"function_calling\":false,"
             "\"streaming\":true,\"structured_outputs\":false,\"vision\":false},"
             "\"pricing\":{\"input\":",
             m->context);
    json_put_fixed(b, m->price_prompt * 1e6, 9); /* per million tokens */
    buf_add_str(b, ",\"output\":");
    json_put_fixed(b, m->price_completion * 1e6, 9);
    buf_add_str(b, "}}");
}

static void put_public(struct buf *b, const struct api_model *m)
{
    put_head(b, m);
    put_str(b, "name", m->name ? m->name : m->id);
    put_str(b, "description", m->description);
    put_str(b, "hugging_face_id", m->hugging_face_id);
    buf_add_str(b, ",\"deprecated\":false,\"preview\":false");
    put_str(b, "quantization", m->quantization);
    buf_add_str(b, ",\"datacenter_locations\":[],\"pricing\":{");
    put_price(b, "prompt", m->price_prompt);
    buf_add_char(b, ',');
    put_price(b, "completion", m->price_completion);
    buf_add_str(b, "},\"capabilities\":{\"streaming\":true,\"function_calling\":false,"
                   "\"tools\":false,\"tool_choice\":false,\"parallel_tool_calls\":false,"
                   "\"json_mode\":false,\"response_format\":false,\"structured_outputs\":false,"
                   "\"reasoning\":false,\"vision\":false},\"supported_parameters\":{"
                   "\"temperature\":true,\"top_p\":true,\"seed\":true,\"stop\":true,"
                   "\"max_completion_tokens\":true,\"logprobs\":true,\"top_logprobs\":true,"
                   "\"frequency_penalty\":true,\"presence_penalty\":true,"
                   "\"repetition_penalty\":true,\"logit_bias\":true},"
                   "\"architecture\":{\"modality\":\"text->text\",\"tokenizer\":\"\","
                   "\"instruct_type\":");
    buf_add_str(b, m->chat ? "\"chat\"" : "null");
    buf_addf(b,
             "},\"limits\":{\"max_context_length\":%d,\"max_completion_tokens\":%d,"
             "\"requests_per_minute\":null,\"tokens_per_minute\":null}}",
             m->context, output_max(m));
}

int api_model_body(struct buf *out, const struct api_model *m, enum api_models_format f)
{
    switch (f) {
    case API_MODELS_PLAIN:
        put_plain(out, m);
        break;
    case API_MODELS_OPENROUTER:
        put_openrouter(out, m);
        break;
    case API_MODELS_HUGGINGFACE:
        put_huggingface(out, m);
        break;
    case API_MODELS_PUBLIC:
        put_public(out, m);
        break;
    }
    return out->failed;
}

int api_models_body(struct buf *out, const struct api_model *m, int n, enum api_models_format f)
{
    buf_add_str(out,
                f == API_MODELS_OPENROUTER ? "{\"data\":[" : "{\"object\":\"list\",\"data\":[");
    for (int i = 0; i < n; i++) {
        if (i)
            buf_add_char(out, ',');
        api_model_body(out, &m[i], f);
    }
    return buf_add_str(out, "]}");
}
