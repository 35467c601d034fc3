/* A chat template, as a model file brings it, run over a conversation as a client sends it: the
 * input is the template, or the template, a NUL byte and the variables as JSON. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "text/jinja.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const char usual[] =
    "{\"messages\": [{\"role\": \"system\", \"content\": \"Be kind.\"},"
    "{\"role\": \"user\", \"content\": \"h\\u00e9llo <|im_end|>\"},"
    "{\"role\": \"assistant\", \"content\": null, \"tool_calls\": [{\"id\": \"c1\", \"function\":"
    "{\"name\": \"f\", \"arguments\": {\"a\": [1, 2.5, true, null]}}}]},"
    "{\"role\": \"tool\", \"tool_call_id\": \"c1\", \"content\": \"{}\"}],"
    "\"tools\": [{\"type\": \"function\", \"function\": {\"name\": \"f\", \"parameters\": {}}}],"
    "\"add_generation_prompt\": true, \"x\": \"x\", \"n\": 3}";

/* Spans in order, inside the text, not touching. */
static void check_spans(const struct jinja_out *out, const struct jinja_span *s, size_t n)
{
    size_t end = 0;

    for (size_t i = 0; i < n; i++) {
        if (!s[i].n || s[i].at > out->text.len || s[i].n > out->text.len - s[i].at ||
            (i && s[i].at <= end))
            abort();
        end = s[i].at + s[i].n;
    }
}

static void check(const struct jinja_out *out)
{
    check_spans(out, out->spans, out->n_spans);
    check_spans(out, out->answers, out->n_answers);
    if (!utf8_valid(out->text.data, out->text.len, NULL))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const uint8_t *nul = n ? memchr(data, 0, n) : NULL;
    size_t n_template = nul ? (size_t)(nul - data) : n;
    struct jinja_input in = {.now_s = 1};
    struct jinja_out out;
    struct jinja *j = NULL;
    struct err e;
    json_t *globals;

    if (jinja_compile(&j, (const char *)data, n_template, &e))
        return 0;
    globals = nul ? json_loadb((const char *)nul + 1, n - n_template - 1, 0, NULL)
                  : json_loads(usual, 0, NULL);
    in.globals = json_is_object(globals) ? globals : NULL;
    for (in.continue_final = 0; in.continue_final < 2; in.continue_final++) {
        if (!jinja_render(j, &in, &out, &e)) {
            check(&out);
            jinja_out_done(&out);
        } else if (!e.text[0] && e.code != ERR_ARG)
            abort();
    }
    json_decref(globals);
    jinja_free(j);
    return 0;
}
