/* Readers of single JSON values. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "api/field.h"

char *path_format(char out[128], const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(out, 128, fmt, ap);
    va_end(ap);
    return out;
}

int field_bad(struct err *e, int code, const char *path, const char *fmt, ...)
{
    char text[384];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return err_set_param(e, code, path, "%s: %s", path, text);
}

int field_no_room(const struct arena *a, struct err *e)
{
    return a->failed == ERR_NOMEM
               ? err_set(e, ERR_NOMEM, "out of memory")
               : err_set(e, ERR_TOO_LARGE, "the request needs more memory than its limit");
}

/* What a value is, for sentences: "a string". */
static const char *json_kind(const json_t *v)
{
    switch (v ? json_typeof(v) : JSON_NULL) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "an integer";
    case JSON_REAL:
        return "a number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "a boolean";
    default:
        return "null";
    }
}

int field_must_be(struct err *e, const char *path, const char *type, const json_t *v)
{
    if (!v)
        return field_bad(e, ERR_SCHEMA, path, "is required");
    return field_bad(e, ERR_SCHEMA, path, "must be %s, not %s", type, json_kind(v));
}

const json_t *get_field(const json_t *object, const char *key)
{
    const json_t *v = json_object_get(object, key);
    return json_is_null(v) ? NULL : v;
}

int read_bool(const json_t *v, const char *path, int *ret, struct err *e)
{
    if (!json_is_boolean(v))
        return field_must_be(e, path, "a boolean", v);
    *ret = json_is_true(v);
    return 0;
}

int read_int(const json_t *v, const char *path, int64_t min, int64_t max, int64_t *ret,
             struct err *e)
{
    int64_t i;

    if (json_is_integer(v)) {
        i = json_integer_value(v);
    } else if (json_is_real(v)) {
        double d = json_real_value(v);
        if (d != floor(d) || fabs(d) > 9e15)
            return field_bad(e, ERR_SCHEMA, path, "must be an integer, not %g", d);
        i = (int64_t)d;
    } else {
        return field_must_be(e, path, "an integer", v);
    }
    if (i < min || i > max) {
        if (i < min && max >= INT32_MAX)
            return field_bad(e, ERR_SCHEMA, path, "must be at least %lld, not %lld", (long long)min,
                             (long long)i);
        return field_bad(e, ERR_SCHEMA, path, "must be between %lld and %lld, not %lld",
                         (long long)min, (long long)max, (long long)i);
    }
    *ret = i;
    return 0;
}

int read_real(const json_t *v, const char *path, double min, double max, double *ret, struct err *e)
{
    double d;

    if (!json_is_number(v))
        return field_must_be(e, path, "a number", v);
    d = json_number_value(v);
    if (!(d >= min && d <= max))
        return field_bad(e, ERR_SCHEMA, path, "must be between %g and %g, not %g", min, max, d);
    *ret = d;
    return 0;
}

int read_str(const json_t *v, const char *path, size_t max, const char **ret, struct err *e)
{
    if (!json_is_string(v))
        return field_must_be(e, path, "a string", v);
    if (json_string_length(v) > max)
        return field_bad(e, ERR_SCHEMA, path, "is %zu bytes long; the limit is %zu",
                         json_string_length(v), max);
    *ret = json_string_value(v);
    return 0;
}

int read_ids(struct arena *a, const json_t *v, const char *path, size_t max, const int32_t **ret,
             int32_t *ret_n, struct err *e)
{
    size_t n = json_array_size(v);
    int32_t *id;

    if (!json_is_array(v))
        return field_must_be(e, path, "an array of token ids", v);
    if (n > max)
        return field_bad(e, ERR_SCHEMA, path, "has %zu token ids; the limit is %zu", n, max);
    id = arena_array(a, n ? n : 1, sizeof *id);
    if (!id)
        return field_no_room(a, e);
    for (size_t i = 0; i < n; i++) {
        const json_t *t = json_array_get(v, i);
        int64_t x = json_is_integer(t) ? json_integer_value(t) : -1;
        if (x < 0 || x > INT32_MAX)
            return field_bad(e, ERR_SCHEMA, PATH("%s.%zu", path, i),
                             "must be a token id (an integer, 0 or more)");
        id[i] = (int32_t)x;
    }
    *ret = id;
    *ret_n = (int32_t)n;
    return 0;
}

int check_known(const json_t *object, const char *prefix, const char *const *known, struct err *e)
{
    const char *key;
    json_t *v;

    json_object_foreach((json_t *)object, key, v)
    {
        const char *const *k = known;
        while (*k && strcmp(*k, key))
            k++;
        if (!*k) {
            const char *path = PATH("%s%.64s", prefix, key);
            return field_bad(e, ERR_SCHEMA, path, "property '%s' is unsupported", path);
        }
    }
    return 0;
}

/* Does the media type (parameters ignored) equal `want`? */
static int media_is(const char *type, const char *want)
{
    size_t n = strlen(want);

    while (*type == ' ' || *type == '\t')
        type++;
    return !strncasecmp(type, want, n) &&
           (!type[n] || type[n] == ';' || type[n] == ' ' || type[n] == '\t');
}

static int check_media(const struct api_request_headers *h, struct err *e)
{
    static const char *const msgpack[] = {"application/vnd.msgpack", "application/msgpack",
                                          "application/x-msgpack"};
    const char *enc = h->content_encoding;

    if (h->content_type) {
        for (size_t i = 0; i < ARRAY_LEN(msgpack); i++) {
            if (media_is(h->content_type, msgpack[i]))
                return err_set_param(e, ERR_MEDIA, "content-type",
                                     "msgpack bodies are not supported yet; send application/json");
        }
    }
    if (!enc || !*enc || !strcasecmp(enc, "identity"))
        return 0;
    if (!strcasecmp(enc, "gzip") || !strcasecmp(enc, "x-gzip"))
        return err_set_param(e, ERR_MEDIA, "content-encoding",
                             "gzip bodies are not supported yet; send the body as it is");
    return err_set_param(e, ERR_MEDIA, "content-encoding",
                         "content encoding '%.40s' is not supported", enc);
}

int parse_body(json_t **ret, const char *body, size_t n, const struct api_request_headers *h,
               const struct api_options *o, struct err *e)
{
    size_t max = o->body_max ? o->body_max : API_BODY_MAX;
    json_t *root;
    int r = h ? check_media(h, e) : 0;

    if (r)
        return r;
    if (n > max)
        return err_set(e, ERR_TOO_LARGE, "the body is %zu bytes long; the limit is %zu", n, max);
    r = json_parse(&root, body, n, o->memory_max, e);
    if (r)
        return r;
    if (!json_is_object(root)) {
        r = err_set_param(e, ERR_SCHEMA, "body", "body: must be a JSON object, not %s",
                          json_kind(root));
        json_decref(root);
        return r;
    }
    *ret = root;
    return 0;
}

/* What a field that is not built asks for. */
static enum feature feature_of(const char *path, int code)
{
    static const struct {
        const char *begin;
        enum feature feature;
    } rows[] = {{"tools", FEATURE_TOOLS},
                {"function", FEATURE_TOOLS},
                {"response_format", FEATURE_FORMAT},
                {"grammar", FEATURE_FORMAT},
                {"reasoning", FEATURE_REASONING},
                {"messages", FEATURE_IMAGES},
                {"suffix", FEATURE_SUFFIX}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (code == ERR_UNSUPPORTED && !strncmp(path, rows[i].begin, strlen(rows[i].begin)))
            return rows[i].feature;
    }
    return FEATURE_OTHER;
}

int field_unbuilt(const struct api_options *o, struct err *e, int code, const char *path,
                  const char *fmt, ...)
{
    char text[400];
    va_list ap;

    if (o->unbuilt)
        o->unbuilt->needs |= 1u << feature_of(path, code);
    if (o->unbuilt && o->unbuilt->err.code)
        return 0;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    field_bad(o->unbuilt ? &o->unbuilt->err : e, code, path, "%s", text);
    return o->unbuilt ? 0 : code;
}
