/* Suppliers' errors in our words: the right code, so that clients and fallback do the right thing,
 * and nothing in the sentence that is the supplier's or the operator's secret. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "api/relayed.h"
#include "base/check.h"

#define NOW_S 1764000000 /* Mon, 24 Nov 2025 16:00:00 GMT */

static int read_error(int status, const char *body, struct err *e)
{
    int64_t retry_us;

    return api_relayed_error(status, body, strlen(body), NULL, NULL, NOW_S, &retry_us, e);
}

/* Complaint 27: a 401 that becomes 500 and is retried, a limit that becomes 400, an overflow of the
 * context that becomes 502. */
static void statuses(void **state)
{
    static const struct {
        int status;
        const char *body;
        int code, http, is_retryable;
    } t[] = {
        {400, "{\"error\":{\"message\":\"bad n\"}}", ERR_SCHEMA, 400, 0},
        {401, "{\"error\":{\"message\":\"Incorrect API key\"}}", ERR_SUPPLIER_AUTH, 502, 0},
        {402, "{\"error\":\"Insufficient balance\"}", ERR_SUPPLIER, 502, 1},
        {403, "", ERR_SUPPLIER_AUTH, 502, 0},
        {404, "{\"error\":{\"code\":\"model_not_found\"}}", ERR_SUPPLIER, 502, 1},
        {405, "", ERR_SUPPLIER, 502, 1},
        {408, "", ERR_SUPPLIER_BUSY, 429, 1},
        {409, "", ERR_SCHEMA, 400, 0},
        {413, "", ERR_SCHEMA, 400, 0},
        {422, "{\"detail\":[{\"msg\":\"field required\"}]}", ERR_SCHEMA, 400, 0},
        {425, "", ERR_SUPPLIER_BUSY, 429, 1},
        {429, "", ERR_SUPPLIER_BUSY, 429, 1},
        {429, "{\"error\":{\"code\":\"rate_limit_exceeded\"}}", ERR_SUPPLIER_BUSY, 429, 1},
        {429, "{\"error\":{\"code\":\"insufficient_quota\"}}", ERR_SUPPLIER, 502, 1},
        {429, "{\"error\":{\"type\":\"insufficient_quota\"}}", ERR_SUPPLIER, 502, 1},
        {429, "{\"error\":{\"message\":\"see your billing details\"}}", ERR_SUPPLIER, 502, 1},
        {500, "", ERR_SUPPLIER, 502, 1},
        {503, "<html>Service Unavailable</html>", ERR_SUPPLIER, 502, 1},
        {529, "{\"error\":{\"type\":\"overloaded_error\"}}", ERR_SUPPLIER, 502, 1},
        {302, "", ERR_SUPPLIER, 502, 1},
        {400, "{\"error\":{\"code\":\"content_filter\"}}", ERR_CONTENT, 400, 0},
        {400, "{\"error\":{\"code\":\"content_policy_violation\"}}", ERR_CONTENT, 400, 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        struct err e;
        int code = read_error(t[i].status, t[i].body, &e);
        if (code != t[i].code || e.code != code || !*e.text || err_http_status(code) != t[i].http ||
            err_is_retryable(code) != t[i].is_retryable)
            fail_msg("%d %s: %s: %s", t[i].status, t[i].body, err_name(code), e.text);
    }
}

/* A prompt too long, in everybody's words, is the client's to mend: 400, and the words that clients
 * look for. */
static void context_overflows(void **state)
{
    static const struct {
        const char *who;
        int status;
        const char *body;
    } t[] = {
        {"OpenAI", 400,
         "{\"error\":{\"message\":\"This model's maximum context length is 8192 tokens. However, "
         "your messages resulted in 9000 tokens.\",\"type\":\"invalid_request_error\",\"param\":"
         "\"messages\",\"code\":\"context_length_exceeded\"}}"},
        {"Anthropic", 400,
         "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":"
         "\"prompt is too long: 210000 tokens > 200000 maximum\"}}"},
        {"Anthropic, with the answer", 400,
         "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"input "
         "length and `max_tokens` exceed context limit: 190000 + 20000 > 200000\"}}"},
        {"vLLM", 400,
         "{\"object\":\"error\",\"message\":\"This model's maximum context length is 4096 tokens. "
         "However, you requested 5000 tokens in the messages.\",\"type\":\"BadRequestError\","
         "\"param\":null,\"code\":400}"},
        {"vLLM, of the prompt", 400,
         "{\"error\":{\"message\":\"The decoder prompt (length 5000) is longer than the maximum "
         "model length of 4096.\",\"type\":\"BadRequestError\",\"param\":null,\"code\":400}}"},
        {"SGLang", 400,
         "{\"object\":\"error\",\"message\":\"The input (5000 tokens) is longer than the model's "
         "context length (4096 tokens).\",\"type\":\"BadRequestError\",\"code\":400}"},
        {"llama-server", 400,
         "{\"error\":{\"code\":400,\"message\":\"the request exceeds the available context size, "
         "try increasing it\",\"type\":\"exceed_context_size_error\",\"n_prompt_tokens\":5000,"
         "\"n_ctx\":4096}}"},
        {"llama-cpp-python", 400,
         "{\"error\":{\"message\":\"Requested tokens (5000) exceed context window of 4096\","
         "\"type\":\"invalid_request_error\",\"param\":\"messages\",\"code\":null}}"},
        {"LiteLLM", 400,
         "{\"error\":{\"message\":\"litellm.ContextWindowExceededError: too long\",\"type\":null,"
         "\"param\":null,\"code\":\"400\"}}"},
        {"Cerebras", 400,
         "{\"message\":\"Please reduce the length of the messages or completion. Current length is "
         "9000 while limit is 8192\",\"type\":\"invalid_request_error\",\"param\":\"messages\","
         "\"code\":\"context_length_exceeded\"}"},
        {"Google", 400,
         "[{\"error\":{\"code\":400,\"message\":\"The input token count (1200000) exceeds the "
         "maximum number of tokens allowed (1048576).\",\"status\":\"INVALID_ARGUMENT\"}}]"},
        {"by its code", 413, "{\"error\":{\"code\":\"context_length_exceeded\"}}"},
        {"unprocessable", 422, "{\"detail\":\"input is too long for this model\"}"},
    };

    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        struct err e;
        if (read_error(t[i].status, t[i].body, &e) != ERR_CONTEXT ||
            strcmp(e.param, "messages") != 0 || !strstr(e.text, "maximum context length") ||
            !strstr(e.text, "reduce the length of the messages"))
            fail_msg("%s: %s: %s", t[i].who, err_name(e.code), e.text);
    }
}

static void faults_keep_their_sentence(void **state)
{
    struct err e;

    read_error(400,
               "{\"error\":{\"message\":\"Unsupported  value:\\n'temperature' does not support "
               "0.2\",\"param\":\"temperature\",\"code\":\"unsupported_value\"}}",
               &e);
    assert_string_equal(e.text, "Unsupported value: 'temperature' does not support 0.2");
    assert_string_equal(e.param, "temperature");
    read_error(400, "{\"error\":\"no such tool\"}", &e);
    assert_string_equal(e.text, "no such tool");
    assert_string_equal(e.param, "");
    read_error(400, "not JSON", &e);
    assert_string_equal(e.text, "The supplier refuses the request.");
}

/* Of a supplier's own trouble its words are not for clients at all; of a client's fault all words
 * are but addresses, keys and accounts. */
static void secrets_are_not_told(void **state)
{
    static const char *const secrets[] = {
        "https://platform.openai.com/account",
        "http://10.0.0.7:8000/v1",
        "www.example.com/keys",
        "sk-proj-abc123",
        "csk-abc123",
        "gsk_abc123",
        "xai-abc123",
        "AIzaSyAbc123",
        "nvapi-abc123",
        "pplx-abc123",
        "org-abc123",
        "org_01abc123",
        "(sk-abc123).",
        "Bearer abc123",
        "'authorization: bearer abc123'",
        "0123456789abcdef0123456789abcdef0123456789abcdef0",
    };
    static const int statuses[] = {400, 401, 402, 403, 404, 413, 422, 429, 500, 503};
    struct buf body;
    struct err e;

    buf_init(&body, 4096);
    for (size_t i = 0; i < ARRAY_LEN(secrets); i++) {
        buf_clear(&body);
        buf_addf(&body, "{\"error\":{\"message\":\"Wrong: %s or so\"}}", secrets[i]);
        for (size_t k = 0; k < ARRAY_LEN(statuses); k++) {
            read_error(statuses[k], body.data, &e);
            if (strstr(e.text, "abc") || strstr(e.text, "//") || strstr(e.text, "www"))
                fail_msg("%d: %s", statuses[k], e.text);
        }
        read_error(400, body.data, &e);
        assert_memory_equal(e.text, "Wrong: ", 7);
        assert_non_null(strstr(e.text, "... or so"));
    }
    buf_done(&body);
}

static void long_sentences_are_cut(void **state)
{
    struct buf body;
    struct err e;

    buf_init(&body, 1 << 20);
    buf_add_str(&body, "{\"error\":{\"message\":\"");
    for (int i = 0; i < 1000; i++)
        buf_add_str(&body, "long word ");
    buf_add_str(&body, "\"}}");
    assert_int_equal(read_error(400, body.data, &e), ERR_SCHEMA);
    assert_in_range(strlen(e.text), 200, 299);
    for (int i = 0; i < 7000; i++) /* more than is read of an error */
        buf_add_str(&body, "          ");
    assert_int_equal(read_error(400, body.data, &e), ERR_SCHEMA);
    assert_string_equal(e.text, "The supplier refuses the request.");
    buf_done(&body);
}

/* Complaint 28: when to come back gets lost. Seconds, milliseconds, a date; never more than an
 * hour, and nothing made of junk. */
static void retry_after(void **state)
{
    static const struct {
        int status;
        const char *after, *after_ms;
        int64_t want_us;
    } t[] = {
        {429, NULL, NULL, 0},
        {429, "7", NULL, 7000000},
        {429, "0.25", NULL, 250000},
        {429, "0", NULL, 0},
        {429, "-5", NULL, 0},
        {429, NULL, "1500", 1500000},
        {429, "2", "1500", 1500000},
        {429, "2", "soon", 2000000},
        {429, "Mon, 24 Nov 2025 16:01:30 GMT", NULL, 90000000},
        {429, "Mon, 24 Nov 2025 15:00:00 GMT", NULL, 0},
        {429, "Mon, 24 Nov 2035 16:00:00 GMT", NULL, 3600000000},
        {429, "soon", NULL, 0},
        {429, "", "", 0},
        {429, "nan", "nan", 0},
        {429, "inf", NULL, 3600000000},
        {429, "86400", NULL, 3600000000},
        {429, "99999999999999999999999999", NULL, 3600000000},
        {429, NULL, "1e300", 3600000000},
        {503, "7", NULL, 7000000},
        {401, "7", NULL, 0}, /* nothing to come back for */
        {400, "7", NULL, 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        int64_t us = -1;
        struct err e;
        api_relayed_error(t[i].status, "", 0, t[i].after, t[i].after_ms, NOW_S, &us, &e);
        if (us != t[i].want_us)
            fail_msg("%d '%s' '%s': %lld us", t[i].status, t[i].after ? t[i].after : "-",
                     t[i].after_ms ? t[i].after_ms : "-", (long long)us);
    }
}

/* In a stream, or in a body with status 200, the error itself says what status it has. */
static void errors_without_a_status(void **state)
{
    static const struct {
        const char *body;
        int code;
    } t[] = {
        {"{\"error\":{\"code\":429,\"message\":\"Rate limited\"}}", ERR_SUPPLIER_BUSY},
        {"{\"error\":{\"code\":\"429\",\"message\":\"x\"},\"choices\":[]}", ERR_SUPPLIER_BUSY},
        {"{\"error\":{\"code\":502,\"message\":\"Provider disconnected\"}}", ERR_SUPPLIER},
        {"{\"error\":{\"code\":401}}", ERR_SUPPLIER_AUTH},
        {"{\"error\":{\"code\":400,\"message\":\"no such field\"}}", ERR_SCHEMA},
        {"{\"error\":{\"code\":403,\"type\":\"x\"}}", ERR_SUPPLIER_AUTH},
        {"{\"error\":{\"status_code\":408}}", ERR_SUPPLIER_BUSY},
        {"{\"error\":\"slow down\",\"status\":429}", ERR_SUPPLIER_BUSY},
        {"{\"object\":\"error\",\"message\":\"x\",\"code\":400}", ERR_SCHEMA},
        {"{\"error\":{\"code\":\"rate_limit_exceeded\"}}", ERR_SUPPLIER_BUSY},
        {"{\"error\":{\"type\":\"overloaded_error\"}}", ERR_SUPPLIER},
        {"{\"error\":{\"code\":\"context_length_exceeded\"}}", ERR_CONTEXT},
        {"{\"error\":{\"code\":\"content_filter\"}}", ERR_CONTENT},
        {"{\"error\":{\"code\":200}}", ERR_SUPPLIER},
        {"{\"error\":{\"code\":42900}}", ERR_SUPPLIER},
        {"{\"error\":{\"code\":\"4x9\"}}", ERR_SUPPLIER},
        {"", ERR_SUPPLIER},
    };
    struct err e;

    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        if (read_error(0, t[i].body, &e) != t[i].code)
            fail_msg("%s: %s", t[i].body, err_name(e.code));
    }
    read_error(0, t[2].body, &e);
    assert_non_null(strstr(e.text, "(status 502)"));
    read_error(503, "{\"error\":{\"code\":429}}", &e); /* the head's counts where it has one */
    assert_int_equal(e.code, ERR_SUPPLIER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statuses),
        cmocka_unit_test(context_overflows),
        cmocka_unit_test(faults_keep_their_sentence),
        cmocka_unit_test(secrets_are_not_told),
        cmocka_unit_test(long_sentences_are_cut),
        cmocka_unit_test(retry_after),
        cmocka_unit_test(errors_without_a_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
