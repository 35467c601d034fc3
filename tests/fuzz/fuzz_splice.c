/* Fuzz target: a request on its way to a supplier. The first byte has the options. Of what a tree
 * can be made of (an object, no name twice) the result makes the same tree, but for what is to
 * change. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "base/check.h"

enum { DEPTH_MAX = 200 }; /* of brackets: deeper ones may be refused */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int is_deep(const char *s, size_t n)
{
    size_t brackets = 0;

    for (size_t i = 0; i < n; i++)
        brackets += s[i] == '[' || s[i] == '{';
    return brackets > DEPTH_MAX;
}

static int is_known(const char *name, unsigned kind)
{
    struct api_field_doc d;

    for (int k = 0; api_field_row(k, &d); k++) {
        if (d.kinds & kind && !strcmp(d.name, name))
            return !d.extension;
    }
    return 0;
}

static void change(json_t *j, const struct api_splice *s)
{
    const char *name;
    json_t *v, *o;
    void *next;

    json_object_foreach_safe(j, next, name, v)
    {
        if (s->known_only && !is_known(name, s->kind))
            json_object_del(j, name);
    }
    for (int i = 0; s->max_held && i < 2; i++) {
        v = json_object_get(j, i ? "max_tokens" : "max_completion_tokens");
        if (v && !json_is_null(v))
            CHECK(!json_object_set_new(j, i ? "max_tokens" : "max_completion_tokens",
                                       json_integer(s->max_held)));
    }
    if (json_object_get(j, "model"))
        CHECK(!json_object_set_new(j, "model", json_string(s->model)));
    if (!s->ask_usage)
        return;
    o = json_object_get(j, "stream_options");
    if (!json_is_object(o)) {
        o = json_object();
        CHECK(!json_object_set_new(j, "stream_options", o));
    }
    CHECK(!json_object_set_new(o, "include_usage", json_true()));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *body = (const char *)data + 1;
    struct api_splice s = {.model = "up/\"m\""};
    json_t *was = NULL, *is = NULL;
    struct buf out;
    struct err e;
    int code;

    if (!size--)
        return 0;
    s.ask_usage = data[0] & 1;
    s.known_only = data[0] >> 1 & 1;
    s.kind = data[0] & 4 ? 2 : 1;
    s.max_held = data[0] & 8 ? 7 : 0;
    buf_init(&out, (size_t)1 << 30);
    code = api_splice(body, size, &s, &out);
    if (!json_parse(&was, body, size, (size_t)1 << 30, &e) && json_is_object(was) &&
        !(code && is_deep(body, size))) {
        CHECK(!code && !json_parse(&is, out.data, out.len, (size_t)1 << 30, &e));
        change(was, &s);
        CHECK(json_equal(was, is));
    }
    json_decref(was);
    json_decref(is);
    buf_done(&out);
    return 0;
}
