/* Renders chat templates for the comparison with Python's Jinja2 (test_templates.py).
 *
 * stdin: one JSON object a line: {"template", "trusted", "globals", "kwargs", "now", "continue",
 * "client"}; with client the messages are as one sends them, and go through the API's door.
 * stdout: one a line: {"text", "spans": [[at, n], ...], "answers": the same} or
 * {"error": code name, "message"}. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "text/jinja.h"

static json_t *failure(int code, const struct err *e)
{
    return json_pack("{s:s, s:s}", "error", err_name(code), "message", e->text);
}

static json_t *list(const struct jinja_span *s, size_t n)
{
    json_t *r = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(r, json_pack("[I, I]", (json_int_t)s[i].at, (json_int_t)s[i].n));
    return r;
}

/* The messages of a client in place of themselves as templates see them. */
static int normalise(json_t *globals, struct err *e)
{
    json_t *messages;
    int code = api_messages_check(&messages, json_object_get(globals, "messages"), NULL, e);

    if (!code)
        json_object_set_new(globals, "messages", messages);
    return code;
}

static json_t *render(const json_t *job)
{
    const json_t *text = json_object_get(job, "template");
    struct jinja_input in = {
        .trusted = json_object_get(job, "trusted"),
        .globals = json_object_get(job, "globals"),
        .kwargs = json_object_get(job, "kwargs"),
        .now_s = json_integer_value(json_object_get(job, "now")),
        .continue_final = json_is_true(json_object_get(job, "continue")),
    };
    struct err e = {0};
    struct jinja *j = NULL;
    struct jinja_out out;
    json_t *r;
    int code = jinja_compile(&j, json_string_value(text), json_string_length(text), &e);

    if (!code && json_is_true(json_object_get(job, "client")))
        code = normalise(json_object_get(job, "globals"), &e);
    if (!code)
        code = jinja_render(j, &in, &out, &e);
    jinja_free(j);
    if (code)
        return failure(code, &e);
    r = json_pack("{s:s%, s:o, s:o}", "text", out.text.data ? out.text.data : "", out.text.len,
                  "spans", list(out.spans, out.n_spans), "answers",
                  list(out.answers, out.n_answers));
    jinja_out_done(&out);
    return r;
}

int main(void)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;

    while ((n = getline(&line, &cap, stdin)) > 0) {
        json_error_t why;
        json_t *job = json_loadb(line, (size_t)n, JSON_ALLOW_NUL, &why), *r;
        if (!job) {
            fprintf(stderr, "bad job: %s\n", why.text);
            free(line);
            return 1;
        }
        r = render(job);
        json_dumpf(r, stdout, JSON_COMPACT);
        putchar('\n');
        fflush(stdout);
        json_decref(r);
        json_decref(job);
    }
    free(line);
    return 0;
}
