/* Messages of a chat: checked, and made into the neutral form that templates are run on. */
#include <stdio.h>
#include <string.h>

#include "api/openai.h"

enum role { SYSTEM, DEVELOPER, USER, ASSISTANT, TOOL, FUNCTION, N_ROLES };
enum { CALLS_MAX = 128 }; /* tool calls in one message */
static const char *const role_names[N_ROLES] = {"system",    "developer", "user",
                                                "assistant", "tool",      "function"};

static const char *const known_message[N_ROLES][16] = {
    [SYSTEM] = {"role", "content", "name"},
    [DEVELOPER] = {"role", "content", "name"},
    [USER] = {"role", "content", "name"},
    [ASSISTANT] = {"role", "content", "name", "reasoning", "tool_calls", "refusal", "annotations",
                   "audio", "function_call"},
    [TOOL] = {"role", "content", "name", "tool_call_id"},
    [FUNCTION] = {"role", "content", "name"},
};
static const char *const known_part[] = {"type", "text", NULL};
static const char *const known_call[] = {"id", "type", "function", "index", NULL};
static const char *const known_function[] = {"name", "arguments", NULL};

/* Set a new reference; 0 or ERR_NOMEM (also for v NULL). */
static int put(json_t *object, const char *key, json_t *v, struct err *e)
{
    return json_object_set_new(object, key, v)
               ? err_set(e, ERR_NOMEM, "out of memory while reading messages")
               : 0;
}

static int put_shared(json_t *object, const char *key, const json_t *v, struct err *e)
{
    return put(object, key, json_incref((json_t *)v), e);
}

/* One part's text; *ret_n 0 for parts that carry none. */
static int read_part(const json_t *part, const char *path, const struct api_options *o,
                     const char **ret, size_t *ret_n, struct err *e)
{
    const json_t *type, *text;
    const char *t;

    if (!json_is_object(part))
        return field_must_be(e, path, "an object", part);
    type = get_field(part, "type");
    if (!json_is_string(type))
        return field_must_be(e, PATH("%s.type", path), "a string", type);
    t = json_string_value(type);
    if (!strcmp(t, "image_url") || !strcmp(t, "image"))
        return field_unbuilt(o, e, ERR_UNSUPPORTED, PATH("%s.type", path),
                             "'%s' parts are not supported yet: no model here sees images", t);
    if (!strcmp(t, "refusal")) {
        *ret_n = 0;
        return 0;
    }
    if (strcmp(t, "text"))
        return field_unbuilt(o, e, ERR_SCHEMA, PATH("%s.type", path),
                             "unknown part type '%.40s'; 'text' is supported", t);
    if (o->strict && check_known(part, PATH("body.%s.", path), known_part, e))
        return ERR_SCHEMA;
    text = get_field(part, "text");
    if (!json_is_string(text))
        return field_must_be(e, PATH("%s.text", path), "a string", text);
    *ret = json_string_value(text);
    *ret_n = json_string_length(text);
    return 0;
}

int read_content(const json_t *v, const char *path, const struct api_options *o, json_t **ret,
                 struct err *e)
{
    struct buf b;
    json_t *s;
    int r = 0;

    if (json_is_string(v)) {
        *ret = json_incref((json_t *)v);
        return 0;
    }
    if (!json_is_array(v))
        return field_must_be(e, path, "a string or an array of parts", v);
    buf_init(&b, INT32_MAX);
    for (size_t i = 0; i < json_array_size(v) && !r; i++) {
        const char *text = "";
        size_t n = 0;
        r = read_part(json_array_get(v, i), PATH("%s.%zu", path, i), o, &text, &n, e);
        if (!r)
            r = buf_add(&b, text, n);
    }
    if (!r) {
        s = json_stringn(b.len ? b.data : "", b.len);
        if (s)
            *ret = s;
        else
            r = err_set(e, ERR_NOMEM, "out of memory while reading messages");
    } else if (b.failed) {
        r = err_set(e, ERR_NOMEM, "out of memory while reading messages");
    }
    buf_done(&b);
    return r;
}

/* The arguments of a tool call as an object, where their text parses to one, because templates
 * write objects with their own spacing. Clients send back what models generated, so text that does
 * not parse is kept as text. */
static json_t *read_arguments(const json_t *v, const struct api_options *o)
{
    size_t n = json_string_length(v), cost, max = 4096 + 16 * n;
    json_t *j = NULL;
    struct err e;

    if (!v)
        return json_string("");
    if (json_is_object(v))
        return json_incref((json_t *)v);
    cost = json_cost(json_string_value(v), n);
    if (o->arguments_left && *o->arguments_left < max)
        max = *o->arguments_left;
    if (cost <= max && !json_parse(&j, json_string_value(v), n, max, &e)) {
        if (json_is_object(j)) {
            if (o->arguments_left)
                *o->arguments_left -= cost;
            return j;
        }
        json_decref(j);
    }
    return json_incref((json_t *)v);
}

static int read_call(const json_t *call, const char *path, const struct api_options *o,
                     json_t *calls, struct err *e)
{
    const json_t *id, *type, *f, *name, *args;
    json_t *out, *fn;

    if (!json_is_object(call))
        return field_must_be(e, path, "an object", call);
    id = get_field(call, "id");
    type = get_field(call, "type");
    f = get_field(call, "function");
    if (id ? !json_is_string(id) : o->strict)
        return field_must_be(e, PATH("%s.id", path), "a string", id);
    if (type && (!json_is_string(type) || strcmp(json_string_value(type), "function")))
        return field_bad(e, ERR_SCHEMA, PATH("%s.type", path), "must be 'function'");
    if (!json_is_object(f))
        return field_must_be(e, PATH("%s.function", path), "an object", f);
    name = get_field(f, "name");
    args = get_field(f, "arguments");
    if (!json_is_string(name))
        return field_must_be(e, PATH("%s.function.name", path), "a string", name);
    if (args && !json_is_string(args) && !(json_is_object(args) && !o->strict))
        return field_must_be(e, PATH("%s.function.arguments", path), "a string", args);
    if (o->strict && (check_known(call, PATH("body.%s.", path), known_call, e) ||
                      check_known(f, PATH("body.%s.function.", path), known_function, e)))
        return ERR_SCHEMA;
    out = json_object();
    fn = json_object();
    if (json_array_append_new(calls, out)) {
        json_decref(fn);
        return err_set(e, ERR_NOMEM, "out of memory while reading messages");
    }
    if (put(out, "id", id ? json_incref((json_t *)id) : json_string(""), e) ||
        put(out, "type", json_string("function"), e)) {
        json_decref(fn);
        return ERR_NOMEM;
    }
    if (put(out, "function", fn, e) || put_shared(fn, "name", name, e) ||
        put(fn, "arguments", read_arguments(args, o), e))
        return ERR_NOMEM;
    return 0;
}

static int read_calls(const json_t *v, size_t i, const struct api_options *o, json_t *msg,
                      struct err *e)
{
    json_t *calls;
    int r;

    if (!json_is_array(v))
        return field_must_be(e, PATH("messages.%zu.tool_calls", i), "an array", v);
    if (!json_array_size(v))
        return 0;
    if (json_array_size(v) > CALLS_MAX)
        return field_bad(e, ERR_SCHEMA, PATH("messages.%zu.tool_calls", i),
                         "has %zu calls; the limit is %d", json_array_size(v), CALLS_MAX);
    calls = json_array();
    r = put(msg, "tool_calls", calls, e);
    for (size_t k = 0; k < json_array_size(v) && !r; k++)
        r = read_call(json_array_get(v, k), PATH("messages.%zu.tool_calls.%zu", i, k), o, calls, e);
    return r;
}

static int read_role(const json_t *m, size_t i, enum role *ret, struct err *e)
{
    const json_t *role = get_field(m, "role");

    if (!role)
        return field_bad(e, ERR_SCHEMA, PATH("messages.%zu.role", i), "is required");
    for (int k = 0; k < N_ROLES && json_is_string(role); k++) {
        if (!strcmp(json_string_value(role), role_names[k])) {
            *ret = (enum role)k;
            return 0;
        }
    }
    return field_bad(e, ERR_SCHEMA, PATH("messages.%zu.role", i),
                     "must be one of system, developer, user, assistant, tool");
}

static int read_assistant(const json_t *m, size_t i, const struct api_options *o, json_t *msg,
                          struct err *e)
{
    static const char *const names[] = {"reasoning", "reasoning_content"};
    const json_t *calls = get_field(m, "tool_calls");

    for (size_t k = 0; k < ARRAY_LEN(names); k++) {
        const json_t *v = get_field(m, names[k]);
        json_t *text = NULL;
        int r = v ? read_content(v, PATH("messages.%zu.%s", i, names[k]), o, &text, e) : 0;
        if (r || (text && (r = put(msg, "reasoning_content", text, e))))
            return r;
    }
    return calls ? read_calls(calls, i, o, msg, e) : 0;
}

/* One message into `out`. */
static int read_message(const json_t *m, size_t i, const struct api_options *o, json_t *msg,
                        struct err *e)
{
    const json_t *content, *name, *id;
    json_t *text = NULL;
    enum role role = USER;
    int r;

    if (!json_is_object(m))
        return field_must_be(e, PATH("messages.%zu", i), "an object", m);
    r = read_role(m, i, &role, e);
    if (r)
        return r;
    if (o->strict && check_known(m, PATH("body.messages.%zu.", i), known_message[role], e))
        return ERR_SCHEMA;
    /* For every role null, absent, "" and [] become the empty text, because templates concatenate
     * contents. */
    content = get_field(m, "content");
    if (!content)
        text = json_string("");
    else if ((r = read_content(content, PATH("messages.%zu.content", i), o, &text, e)))
        return r;
    if (role == DEVELOPER && !o->keep_developer)
        role = SYSTEM;
    r = put(msg, "role", json_string(role == FUNCTION ? "tool" : role_names[role]), e);
    if (r) {
        json_decref(text);
        return r;
    }
    r = put(msg, "content", text, e);
    name = get_field(m, "name");
    if (!r && name && !json_is_string(name))
        return field_must_be(e, PATH("messages.%zu.name", i), "a string", name);
    if (!r && name)
        r = put_shared(msg, "name", name, e);
    if (!r && role == ASSISTANT)
        r = read_assistant(m, i, o, msg, e);
    if (r || role != TOOL)
        return r;
    id = get_field(m, "tool_call_id");
    if (!json_is_string(id))
        return field_must_be(e, PATH("messages.%zu.tool_call_id", i), "a string", id);
    return put_shared(msg, "tool_call_id", id, e);
}

static int is_role(const json_t *m, const char *role)
{
    const char *s = json_string_value(json_object_get(m, "role"));
    return s && !strcmp(s, role);
}

/* Is call `id` answered by the tool messages that begin at `at`? */
static int is_answered(const json_t *all, size_t at, const char *id)
{
    for (; is_role(json_array_get(all, at), "tool"); at++) {
        const char *got =
            json_string_value(json_object_get(json_array_get(all, at), "tool_call_id"));
        if (got && !strcmp(got, id))
            return 1;
    }
    return 0;
}

/* Calls of message i that nothing answers: refused (strict), or an empty answer is appended. */
static int answer_calls(json_t *out, const json_t *all, size_t i, const struct api_options *o,
                        struct err *e)
{
    const json_t *calls = json_object_get(json_array_get(all, i), "tool_calls");

    for (size_t k = 0; k < json_array_size(calls); k++) {
        const char *id = json_string_value(json_object_get(json_array_get(calls, k), "id"));
        json_t *m;
        if (is_answered(all, i + 1, id))
            continue;
        if (o->strict)
            return field_bad(e, ERR_SCHEMA, PATH("messages.%zu.tool_calls.%zu.id", i, k),
                             "no tool message answers '%.64s' directly after it", id);
        m = json_pack("{s:s, s:s, s:s}", "role", "tool", "content", "", "tool_call_id", id);
        if (json_array_append_new(out, m))
            return err_set(e, ERR_NOMEM, "out of memory while reading messages");
    }
    return 0;
}

/* Every tool call must be answered by messages directly after it. */
static int check_answers(json_t **all, const struct api_options *o, struct err *e)
{
    json_t *out = json_array();
    size_t caller = 0; /* the message whose calls the tool messages at hand answer */
    int r = 0;

    for (size_t i = 0; i < json_array_size(*all) && !r; i++) {
        json_t *m = json_array_get(*all, i);
        if (json_array_append(out, m))
            r = err_set(e, ERR_NOMEM, "out of memory while reading messages");
        if (!is_role(m, "tool"))
            caller = i;
        if (!r && !is_role(json_array_get(*all, i + 1), "tool"))
            r = answer_calls(out, *all, caller, o, e);
    }
    json_decref(r ? out : *all);
    if (!r)
        *all = out;
    return r;
}

/* Strict only: ids are unique, and a tool message names a call before it. */
static int check_ids(const json_t *all, struct err *e)
{
    json_t *seen = json_object();
    int r = seen ? 0 : err_set(e, ERR_NOMEM, "out of memory while reading messages");

    for (size_t i = 0; i < json_array_size(all) && !r; i++) {
        const json_t *m = json_array_get(all, i), *calls = json_object_get(m, "tool_calls");
        const char *to = json_string_value(json_object_get(m, "tool_call_id"));
        for (size_t k = 0; k < json_array_size(calls) && !r; k++) {
            const char *id = json_string_value(json_object_get(json_array_get(calls, k), "id"));
            if (json_object_get(seen, id))
                r = field_bad(e, ERR_SCHEMA, PATH("messages.%zu.tool_calls.%zu.id", i, k),
                              "'%.64s' was used before", id);
            else
                r = put(seen, id, json_true(), e);
        }
        if (!r && to && !json_object_get(seen, to))
            r = field_bad(e, ERR_SCHEMA, PATH("messages.%zu.tool_call_id", i),
                          "no tool call before it has the id '%.64s'", to);
    }
    json_decref(seen);
    return r;
}

int api_messages_check(json_t **ret, const json_t *messages, const struct api_options *o,
                       struct err *e)
{
    static const struct api_options none;
    size_t n = json_array_size(messages), max;
    json_t *all;
    int r = 0;

    o = o ? o : &none;
    max = o->messages_max ? (size_t)o->messages_max : 65536;
    if (!json_is_array(messages))
        return field_must_be(e, "messages", "an array", messages);
    if (!n)
        return field_bad(e, ERR_SCHEMA, "messages", "must have at least one message");
    if (n > max)
        return field_bad(e, ERR_SCHEMA, "messages", "has %zu messages; the limit is %zu", n, max);
    all = json_array();
    if (!all)
        return err_set(e, ERR_NOMEM, "out of memory while reading messages");
    for (size_t i = 0; i < n && !r; i++) {
        json_t *msg = json_object();
        if (json_array_append_new(all, msg))
            r = err_set(e, ERR_NOMEM, "out of memory while reading messages");
        else
            r = read_message(json_array_get(messages, i), i, o, msg, e);
    }
    if (!r && o->strict)
        r = check_ids(all, e);
    if (!r)
        r = check_answers(&all, o, e);
    if (r) {
        json_decref(all);
        return r;
    }
    *ret = all;
    return 0;
}

int read_messages(struct reading *d, const json_t *v, const char *name)
{
    const json_t *last;
    int r = api_messages_check(&d->r.messages, v, d->o, d->e);

    if (r)
        return r;
    last = json_array_get(d->r.messages, json_array_size(d->r.messages) - 1);
    d->r.continue_final = is_role(last, "assistant") && !json_object_get(last, "tool_calls");
    return 0;
}
