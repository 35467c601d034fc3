#include "console/request_text.h"

#include <string.h>

#include "api/api.h"
#include "base/json.h"

#define MEMORY_MAX  ((size_t)32 << 20)
#define DEPTH_MAX   64
#define CHOICES_MAX 16
#define CALLS_MAX   64

/* ---- redaction of a tree --------------------------------------------------------------------- */

static json_t *redacted(struct redact *r, const json_t *j, int depth);

static json_t *string_of(struct redact *r, const json_t *j)
{
    struct buf b;
    json_t *s = NULL;

    buf_init(&b, 4 * REQUEST_TEXT_MAX);
    if (!redact_text(r, json_string_value(j), json_string_length(j), &b))
        s = json_stringn(b.data ? b.data : "", b.len);
    buf_done(&b);
    return s ? s : json_string("[redacted]");
}

static json_t *object_of(struct redact *r, const json_t *j, int depth)
{
    json_t *o = json_object(), *v;
    const char *key;

    json_object_foreach((json_t *)(uintptr_t)j, key, v)
        json_object_set_new(o, key, redacted(r, v, depth + 1));
    return o;
}

static json_t *array_of(struct redact *r, const json_t *j, int depth)
{
    json_t *a = json_array();

    for (size_t i = 0; i < json_array_size(j); i++)
        json_array_append_new(a, redacted(r, json_array_get(j, i), depth + 1));
    return a;
}

/* A new tree with the same keys; what lies too deep is left out. NULL: no memory. */
static json_t *redacted(struct redact *r, const json_t *j, int depth)
{
    if (depth > DEPTH_MAX)
        return json_null();
    if (json_is_string(j))
        return string_of(r, j);
    if (json_is_object(j))
        return object_of(r, j, depth);
    if (json_is_array(j))
        return array_of(r, j, depth);
    return json_incref((json_t *)(uintptr_t)j);
}

static int put(struct redact *r, const json_t *j, struct buf *out)
{
    json_t *clean = redacted(r, j, 0);
    int code = clean ? json_put_tree(out, clean) : ERR_NOMEM;

    json_decref(clean);
    return code;
}

int request_text_body(struct redact *r, const char *body, size_t n, struct buf *out)
{
    json_t *j = NULL;
    struct err e;
    int code = json_parse(&j, body, n, MEMORY_MAX, &e);

    if (!code)
        code = json_is_object(j) ? put(r, j, out) : ERR_SCHEMA;
    json_decref(j);
    return code;
}

/* ---- answers --------------------------------------------------------------------------------- */

/* One choice of a stream: what its pieces are together. */
struct choice {
    struct buf content, reasoning;
    json_t *calls; /* tool calls, by their index */
    char finish[32];
    int is_there;
};

static void add_string(struct buf *b, const json_t *piece)
{
    if (json_is_string(piece))
        buf_add(b, json_string_value(piece), json_string_length(piece));
}

/* The string of a member of `to`, and that of `piece` behind it. */
static void grow(json_t *to, const char *key, const json_t *piece)
{
    const json_t *has = json_object_get(to, key);
    struct buf b;

    if (!json_is_string(piece))
        return;
    buf_init(&b, REQUEST_TEXT_MAX);
    add_string(&b, has);
    add_string(&b, piece);
    json_object_set_new(to, key, json_stringn(b.data ? b.data : "", b.len));
    buf_done(&b);
}

static void add_call(struct choice *c, const json_t *piece)
{
    json_int_t i = json_integer_value(json_object_get(piece, "index"));
    const json_t *f = json_object_get(piece, "function");
    json_t *call, *fn;

    if (i < 0 || i >= CALLS_MAX)
        return;
    if (!c->calls)
        c->calls = json_array();
    while ((json_int_t)json_array_size(c->calls) <= i)
        json_array_append_new(c->calls, json_pack("{s:s, s:{}}", "type", "function", "function"));
    call = json_array_get(c->calls, (size_t)i);
    fn = json_object_get(call, "function");
    if (json_is_string(json_object_get(piece, "id")))
        json_object_set(call, "id", json_object_get(piece, "id"));
    grow(fn, "name", json_object_get(f, "name"));
    grow(fn, "arguments", json_object_get(f, "arguments"));
}

static void add_piece(struct choice *choices, const json_t *piece)
{
    json_int_t i = json_integer_value(json_object_get(piece, "index"));
    const json_t *d = json_object_get(piece, "delta"), *finish, *calls;
    struct choice *c;

    if (i < 0 || i >= CHOICES_MAX)
        return;
    c = &choices[i];
    c->is_there = 1;
    add_string(&c->content, json_object_get(d, "content"));
    add_string(&c->content, json_object_get(piece, "text")); /* of /v1/completions */
    add_string(&c->reasoning, json_object_get(d, "reasoning_content"));
    calls = json_object_get(d, "tool_calls");
    for (size_t k = 0; k < json_array_size(calls); k++)
        add_call(c, json_array_get(calls, k));
    finish = json_object_get(piece, "finish_reason");
    if (json_is_string(finish) && json_string_length(finish) < sizeof c->finish)
        memcpy(c->finish, json_string_value(finish), json_string_length(finish) + 1);
}

static json_t *text_of(const struct buf *b)
{
    return json_stringn(b->data ? b->data : "", b->len);
}

static json_t *message_of(struct choice *c)
{
    json_t *m = json_pack("{s:s, s:o}", "role", "assistant", "content", text_of(&c->content));

    if (c->reasoning.len)
        json_object_set_new(m, "reasoning_content", text_of(&c->reasoning));
    if (c->calls)
        json_object_set(m, "tool_calls", c->calls);
    if (*c->finish)
        json_object_set_new(m, "finish_reason", json_string(c->finish));
    return m;
}

static void add_event(struct choice *choices, const char *data, size_t n)
{
    const json_t *list;
    json_t *j = NULL;
    struct err e;

    if (json_parse(&j, data, n, MEMORY_MAX, &e)) /* [DONE], for one */
        return;
    list = json_object_get(j, "choices");
    for (size_t i = 0; i < json_array_size(list); i++)
        add_piece(choices, json_array_get(list, i));
    json_decref(j);
}

static json_t *messages_of_stream(const char *bytes, size_t n)
{
    struct choice choices[CHOICES_MAX] = {{.is_there = 0}};
    const char *p = bytes, *end = bytes + n;
    struct api_sse_reader r;
    json_t *list = json_array();

    for (int i = 0; i < CHOICES_MAX; i++) {
        buf_init(&choices[i].content, REQUEST_TEXT_MAX);
        buf_init(&choices[i].reasoning, REQUEST_TEXT_MAX);
    }
    api_sse_reader_init(&r);
    while (api_sse_read(&r, &p, end) == 1)
        add_event(choices, r.data.data, r.data.len);
    api_sse_reader_done(&r);
    for (int i = 0; i < CHOICES_MAX; i++) {
        if (choices[i].is_there)
            json_array_append_new(list, message_of(&choices[i]));
        buf_done(&choices[i].content);
        buf_done(&choices[i].reasoning);
        json_decref(choices[i].calls);
    }
    return list;
}

static json_t *messages_of_body(const char *bytes, size_t n)
{
    const json_t *choices;
    json_t *list = json_array(), *j = NULL, *m;
    struct err e;

    if (json_parse(&j, bytes, n, MEMORY_MAX, &e))
        return list;
    choices = json_object_get(j, "choices");
    for (size_t i = 0; i < json_array_size(choices); i++) {
        const json_t *c = json_array_get(choices, i), *text = json_object_get(c, "text"),
                     *finish = json_object_get(c, "finish_reason");
        m = text ? json_pack("{s:s, s:O}", "role", "assistant", "content", text)
                 : json_deep_copy(json_object_get(c, "message"));
        if (m && json_is_string(finish))
            json_object_set(m, "finish_reason", (json_t *)(uintptr_t)finish);
        if (m)
            json_array_append_new(list, m);
    }
    json_decref(j);
    return list;
}

int request_text_answer(struct redact *r, const char *bytes, size_t n, int is_stream,
                        struct buf *out)
{
    json_t *list = is_stream ? messages_of_stream(bytes, n) : messages_of_body(bytes, n);
    int code = json_array_size(list) ? put(r, list, out) : ERR_SCHEMA;

    json_decref(list);
    return code;
}
