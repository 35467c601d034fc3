/* Bodies of errors, of models and of the text tools. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "api/api.h"
#include "base/check.h"

static struct buf b;

static int setup(void **state)
{
    buf_init(&b, 100000);
    return 0;
}

static int teardown(void **state)
{
    buf_done(&b);
    return 0;
}

static void expect(const char *want)
{
    json_t *j;
    struct err e;

    assert_int_equal(b.failed, 0);
    assert_string_equal(b.data, want);
    if (json_parse(&j, b.data, b.len, 0, &e))
        fail_msg("%s: %s", e.text, b.data);
    json_decref(j);
    buf_clear(&b);
}

static void test_error_body(void **state)
{
    struct err e;

    err_set_param(&e, ERR_SCHEMA, "temperature", "temperature: must be \"hot\"");
    assert_int_equal(api_error_body(&b, NULL, &e), 400);
    expect("{\"message\":\"temperature: must be \\\"hot\\\"\",\"type\":\"invalid_request_error\","
           "\"param\":\"validation_error\",\"code\":\"wrong_api_format\",\"error\":{\"message\":"
           "\"temperature: must be \\\"hot\\\"\",\"type\":\"invalid_request_error\",\"param\":"
           "\"validation_error\",\"code\":\"wrong_api_format\"},\"status_code\":400}");
    /* strings at the top, null in the wrapped form */
    err_set(&e, ERR_NO_ROUTE, "unknown URL: /x");
    assert_int_equal(api_error_body(&b, NULL, &e), 404);
    expect("{\"message\":\"unknown URL: /x\",\"type\":\"invalid_request_error\",\"param\":\"\","
           "\"code\":\"unknown_url\",\"error\":{\"message\":\"unknown URL: /x\",\"type\":"
           "\"invalid_request_error\",\"param\":null,\"code\":\"unknown_url\"},"
           "\"status_code\":404}");
    assert_int_equal(api_err_model(&e, "a\"b"), ERR_NO_MODEL);
    assert_string_equal(e.text, "Model a\"b does not exist or you do not have access to it.");
}

static void test_error_table(void **state)
{
    static const struct {
        int code, status;
        const char *type, *name, *param;
    } rows[] = {
        {ERR_SCHEMA, 400, "invalid_request_error", "wrong_api_format", "validation_error"},
        {ERR_UNSUPPORTED, 400, "invalid_request_error", "unsupported_feature", "p"},
        {ERR_CONTEXT, 400, "invalid_request_error", "context_length_exceeded", "messages"},
        {ERR_AUTH, 401, "invalid_request_error", "wrong_api_key", "api_key"},
        {ERR_BUDGET, 402, "payment_required_error", "payment_required", "quota"},
        {ERR_FORBIDDEN, 403, "permission_error", "forbidden", "p"},
        {ERR_NO_MODEL, 404, "not_found_error", "model_not_found", "model"},
        {ERR_NO_ROUTE, 404, "invalid_request_error", "unknown_url", "p"},
        {ERR_METHOD, 405, "invalid_request_error", "method_not_allowed", "p"},
        {ERR_TIMEOUT, 408, "timeout_error", "request_timeout", "p"},
        {ERR_TOO_LARGE, 413, "invalid_request_error", "request_too_large", "p"},
        {ERR_MEDIA, 415, "invalid_request_error", "unsupported_media_type", "p"},
        {ERR_RATE_REQUESTS, 429, "too_many_requests_error", "request_quota_exceeded", "quota"},
        {ERR_RATE_TOKENS, 429, "too_many_tokens_error", "token_quota_exceeded", "quota"},
        {ERR_QUOTA, 429, "too_many_tokens_error", "token_quota_exceeded", "quota"},
        {ERR_QUEUE_FULL, 429, "too_many_requests_error", "queue_exceeded", "queue"},
        {ERR_INTERNAL, 500, "server_error", "internal_error", "p"},
        {ERR_LOADING, 503, "service_unavailable_error", "model_loading", "model"},
        {ERR_NOMEM, 503, "service_unavailable_error", "overloaded", "p"},
        {ERR_DRAINING, 503, "service_unavailable_error", "shutting_down", "p"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err e;
        char want[300];
        json_t *j, *in;
        err_set_param(&e, rows[i].code, "p", "why");
        assert_int_equal(api_error_body(&b, NULL, &e), rows[i].status);
        assert_int_equal(json_parse(&j, b.data, b.len, 0, &e), 0);
        in = json_object_get(j, "error");
        snprintf(want, sizeof want, "%s/%s/%s", rows[i].type, rows[i].name, rows[i].param);
        for (int k = 0; k < 2; k++) {
            const json_t *o = k ? in : j;
            char got[300];
            snprintf(got, sizeof got, "%s/%s/%s", json_string_value(json_object_get(o, "type")),
                     json_string_value(json_object_get(o, "code")),
                     json_string_value(json_object_get(o, "param")));
            assert_string_equal(got, want);
        }
        assert_int_equal(json_integer_value(json_object_get(j, "status_code")), rows[i].status);
        json_decref(j);
        buf_clear(&b);
    }
}

/* Sentences about faults inside stay inside. */
static void test_error_secrets(void **state)
{
    static const int codes[] = {ERR_INTERNAL, ERR_IO, -999, 0};

    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        struct err e;
        err_set(&e, codes[i], "cannot read /etc/secret");
        assert_int_equal(api_error_body(&b, NULL, &e), 500);
        assert_null(strstr(b.data, "secret"));
        buf_clear(&b);
    }
}

static const struct api_model model = {.id = "org/m",
                                       .description = "a \"d\"",
                                       .hugging_face_id = "o/M",
                                       .quantization = "Q4_1",
                                       .created = 5,
                                       .context = 2048,
                                       .context_trained = 8192,
                                       .output_max = 512,
                                       .n_vocab = 49152,
                                       .n_params = 134515008,
                                       .size_bytes = 98362432,
                                       .chat = 1,
                                       .price_prompt = 0.00000012,
                                       .price_completion = 0.0000005};

static void test_model(void **state)
{
    assert_int_equal(api_model_body(&b, &model, API_MODELS_PLAIN), 0);
    expect(
        "{\"id\":\"org/m\",\"object\":\"model\",\"created\":5,\"owned_by\":\"gaufre\",\"name\":"
        "\"org/m\",\"description\":\"a \\\"d\\\"\",\"context_length\":2048,\"max_model_len\":2048,"
        "\"max_context_length\":2048,\"max_completion_tokens\":512,\"architecture\":{"
        "\"input_modalities\":[\"text\"],\"output_modalities\":[\"text\"]},\"capabilities\":{"
        "\"completion\":true,\"chat\":true,\"function_calling\":false,\"structured_outputs\":"
        "false,\"vision\":false,\"streaming\":true},\"supported_parameters\":[\"max_tokens\","
        "\"max_completion_tokens\",\"min_tokens\",\"temperature\",\"top_p\",\"top_k\",\"min_p\","
        "\"frequency_penalty\",\"presence_penalty\",\"repetition_penalty\",\"seed\",\"stop\","
        "\"logit_bias\",\"logprobs\",\"top_logprobs\"],\"status\":{\"value\":\"loaded\"},"
        "\"meta\":{\"n_ctx_train\":8192,\"n_params\":134515008,\"size\":98362432,\"n_vocab\":"
        "49152}}");
    const struct preset s = {.temperature = 0.6, .top_p = 0.95, .min_p = 0.05, .top_k = 20};
    struct api_model told = model;
    told.sampling = &s;
    told.default_sampling = 1;
    assert_int_equal(api_model_body(&b, &told, API_MODELS_PLAIN), 0);
    assert_non_null(strstr(b.data, "},\"recommended_sampling\":{\"temperature\":0.6,\"top_p\":0.95,"
                                   "\"top_k\":20,\"min_p\":0.05},\"default_sampling\":\"model\","
                                   "\"meta\":{"));
    buf_clear(&b);
    assert_int_equal(api_model_body(&b, &model, API_MODELS_OPENROUTER), 0);
    assert_non_null(strstr(b.data, "\"prompt\":\"0.00000012\",\"completion\":\"0.0000005\","
                                   "\"request\":\"0\""));
    assert_non_null(strstr(b.data, "\"input_cache_read\":\"0\""));
    buf_clear(&b);
    assert_int_equal(api_model_body(&b, &model, API_MODELS_HUGGINGFACE), 0);
    assert_non_null(strstr(b.data, "\"pricing\":{\"input\":0.12,\"output\":0.5}"));
    buf_clear(&b);
}

static void test_model_list(void **state)
{
    static const enum api_models_format all[] = {API_MODELS_PLAIN, API_MODELS_OPENROUTER,
                                                 API_MODELS_HUGGINGFACE, API_MODELS_PUBLIC};
    struct api_model two[] = {model, {.id = "bare", .status = API_MODEL_LOADING}};
    enum api_models_format f;
    struct err e;

    assert_int_equal(api_models_body(&b, NULL, 0, API_MODELS_PLAIN), 0);
    expect("{\"object\":\"list\",\"data\":[]}");
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        json_t *j, *data;
        assert_int_equal(api_models_body(&b, two, 2, all[i]), 0);
        assert_int_equal(json_parse(&j, b.data, b.len, 0, &e), 0);
        data = json_object_get(j, "data");
        assert_int_equal(json_array_size(data), 2);
        assert_string_equal(json_string_value(json_object_get(json_array_get(data, 1), "id")),
                            "bare");
        assert_true(json_is_integer(json_object_get(json_array_get(data, 0), "created")));
        json_decref(j);
        buf_clear(&b);
    }
    assert_int_equal(api_models_format("", 0, &f, &e), 0);
    assert_int_equal(f, API_MODELS_PLAIN);
    assert_int_equal(api_models_format(NULL, 1, &f, &e), 0);
    assert_int_equal(f, API_MODELS_PUBLIC);
    assert_int_equal(api_models_format("huggingface", 1, &f, &e), 0);
    assert_int_equal(f, API_MODELS_HUGGINGFACE);
    assert_int_equal(api_models_format("xml", 0, &f, &e), ERR_SCHEMA);
}

static void test_tokenize(void **state)
{
    static const int32_t ids[] = {1, 22, 333};
    static const struct api_piece pieces[] = {{"a", 1}, {"\xf0\x9f", 2}, {"\"", 1}};
    struct api_tokenize t;
    struct err e;
    const char *body = "{\"content\":\"h\xc3\xa9\",\"add_special\":true,\"with_pieces\":null}";

    assert_int_equal(api_parse_tokenize(&t, body, strlen(body), NULL, NULL, &e), 0);
    assert_string_equal(t.content, "h\xc3\xa9");
    assert_int_equal(t.n_content, 3);
    assert_int_equal(t.add_special, 1);
    assert_int_equal(t.with_pieces, 0);
    assert_null(t.model);
    api_tokenize_done(&t);
    assert_int_equal(api_parse_tokenize(&t, "{}", 2, NULL, NULL, &e), ERR_SCHEMA);
    assert_string_equal(e.text, "content: is required");
    assert_int_equal(api_parse_tokenize(&t, "{\"content\":1}", 13, NULL, NULL, &e), ERR_SCHEMA);
    assert_string_equal(e.text, "content: must be a string, not an integer");
    body = "{\"content\":\"\",\"add_special\":1}";
    assert_int_equal(api_parse_tokenize(&t, body, strlen(body), NULL, NULL, &e), ERR_SCHEMA);
    api_tokens_part(&b, ids, 3, 0, 3, NULL);
    expect("{\"tokens\":[1,22,333]}");
    api_tokens_part(&b, NULL, 0, 0, 0, NULL);
    expect("{\"tokens\":[]}");
    api_tokens_part(&b, ids, 3, 0, 1, pieces);
    api_tokens_part(&b, ids, 3, 1, 2, pieces + 1);
    expect("{\"tokens\":[{\"id\":1,\"piece\":\"a\"},{\"id\":22,\"piece\":[240,159]},"
           "{\"id\":333,\"piece\":\"\\\"\"}]}");
}

static void test_detokenize(void **state)
{
    struct api_detokenize t;
    struct arena a;
    struct err e;
    const char *body = "{\"tokens\":[5,6],\"model\":\"m\"}";

    arena_init(&a, 4096, 65536);
    assert_int_equal(api_parse_detokenize(&t, &a, body, strlen(body), NULL, NULL, &e), 0);
    assert_int_equal(t.n, 2);
    assert_int_equal(t.id[1], 6);
    assert_string_equal(t.model, "m");
    assert_int_equal(api_parse_detokenize(&t, &a, "{}", 2, NULL, NULL, &e), ERR_SCHEMA);
    assert_string_equal(e.text, "tokens: is required");
    body = "{\"tokens\":[5,-6]}";
    assert_int_equal(api_parse_detokenize(&t, &a, body, strlen(body), NULL, NULL, &e), ERR_SCHEMA);
    assert_string_equal(e.param, "tokens.1");
    arena_done(&a);
    assert_int_equal(api_text_part(&b, "content", "a\xf0\x9f", 3, 0), 3);
    expect("{\"content\":\"a\xef\xbf\xbd\"}");
    assert_int_equal(api_text_part(&b, "prompt", "<|x|>\n", 6, 0), 6);
    expect("{\"prompt\":\"<|x|>\\n\"}");
    assert_int_equal(api_text_part(&b, "prompt", "", 0, 0), 0);
    expect("{\"prompt\":\"\"}");
}

/* A long text in parts: none ends within a character. */
static void test_long_text(void **state)
{
    enum { N = 50000 };
    struct buf text, all;
    json_t *j;
    struct err e;

    buf_init(&text, 1 << 20);
    buf_init(&all, 1 << 20);
    for (int shift = 0; shift < 3; shift++) {
        size_t at = 0, n_parts = 0;
        buf_clear(&text);
        buf_clear(&all);
        for (int i = 0; i < shift; i++)
            buf_add_char(&text, 'a');
        for (int i = 0; i < N; i++)
            buf_add_str(&text, "\xe2\x82\xac");
        do {
            at = api_text_part(&all, "content", text.data, text.len, at);
            n_parts++;
        } while (at < text.len);
        assert_true(n_parts > 1);
        assert_int_equal(json_parse(&j, all.data, all.len, 0, &e), 0);
        assert_string_equal(json_string_value(json_object_get(j, "content")), text.data);
        json_decref(j);
    }
    buf_done(&text);
    buf_done(&all);
}

static void test_template(void **state)
{
    struct api_template t;
    struct err e;
    const char *body =
        "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":"
        "\"q\"}]}],\"add_generation_prompt\":false,\"chat_template_kwargs\":{\"x\":1}}";

    assert_int_equal(api_parse_template(&t, body, strlen(body), NULL, NULL, &e), 0);
    assert_int_equal(t.no_generation_prompt, 1);
    json_put_tree(&b, t.messages);
    expect("[{\"role\":\"user\",\"content\":\"q\"}]");
    json_put_tree(&b, t.template_kwargs);
    expect("{\"x\":1}");
    api_template_done(&t);
    body = "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"}]}";
    assert_int_equal(api_parse_template(&t, body, strlen(body), NULL, NULL, &e), 0);
    assert_int_equal(t.no_generation_prompt, 0);
    assert_null(t.template_kwargs);
    api_template_done(&t);
    assert_int_equal(api_parse_template(&t, "{}", 2, NULL, NULL, &e), ERR_SCHEMA);
    assert_string_equal(e.text, "messages: is required");
    body = "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],\"add_generation_prompt\":1}";
    assert_int_equal(api_parse_template(&t, body, strlen(body), NULL, NULL, &e), ERR_SCHEMA);
}

/* What is refused of a chat's body by its headers is refused of a tool's. */
static void test_media(void **state)
{
    static const struct api_request_headers heads[] = {{.content_encoding = "gzip"},
                                                       {.content_encoding = "br"},
                                                       {.content_type = "application/msgpack"}};
    struct api_tokenize t;
    struct api_detokenize d;
    struct api_template m;
    struct arena a;
    struct err e;

    arena_init(&a, 4096, 65536);
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        assert_int_equal(api_parse_tokenize(&t, "\x1f\x8b", 2, &heads[i], NULL, &e), ERR_MEDIA);
        assert_int_equal(api_parse_detokenize(&d, &a, "\x1f", 1, &heads[i], NULL, &e), ERR_MEDIA);
        assert_int_equal(api_parse_template(&m, "\x1f", 1, &heads[i], NULL, &e), ERR_MEDIA);
    }
    arena_done(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_error_body),    cmocka_unit_test(test_error_table),
        cmocka_unit_test(test_error_secrets), cmocka_unit_test(test_model),
        cmocka_unit_test(test_model_list),    cmocka_unit_test(test_tokenize),
        cmocka_unit_test(test_detokenize),    cmocka_unit_test(test_long_text),
        cmocka_unit_test(test_template),      cmocka_unit_test(test_media),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
