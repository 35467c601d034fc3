#include "api/splice.h"

#include <string.h>

#include "api/openai.h"
#include "base/json_walk.h"
#include "base/json_write.h"

/* Is it a member that the contract names, for suppliers that refuse others? Extensions of this
 * server are not. */
static int is_known(const struct json_item *i, unsigned kind)
{
    struct api_field_doc d;

    for (int k = 0; api_field_row(k, &d); k++) {
        if (d.kinds & kind && json_is_key(i, d.name))
            return !d.extension;
    }
    return 0;
}

/* The client's stream options with include_usage true. */
static int put_options(const char *p, const char *end, struct buf *out)
{
    struct json_walk w;
    struct json_item i;
    int r;

    buf_add_str(out, "{\"include_usage\":true");
    if (p && !json_walk_begin(&w, p, end) && w.is_object) {
        while ((r = json_walk_next(&w, &i)) > 0) {
            if (json_is_key(&i, "include_usage"))
                continue;
            buf_add_str(out, ",\"");
            buf_add(out, i.key, i.n_key);
            buf_add_str(out, "\":");
            buf_add(out, i.value, (size_t)(i.value_end - i.value));
        }
        if (r < 0)
            return ERR_FORMAT;
    }
    return buf_add_char(out, '}');
}

static int is_max(const struct json_item *i)
{
    return json_is_key(i, "max_tokens") || json_is_key(i, "max_completion_tokens");
}

static int put_member(const struct json_item *i, const struct api_splice *s, struct buf *out)
{
    buf_add_char(out, '"');
    buf_add(out, i->key, i->n_key);
    buf_add_str(out, "\":");
    if (json_is_key(i, "model"))
        return json_put_str(out, s->model);
    if (s->max_held > 0 && is_max(i) &&
        *i->value != 'n') /* of two names a supplier may know either */
        return buf_addf(out, "%d", s->max_held);
    if (s->tier && json_is_key(i, "service_tier") && *i->value == '"')
        return json_put_str(out, s->tier);
    if (s->ask_usage && json_is_key(i, "stream_options"))
        return put_options(i->value, i->value_end, out);
    return buf_add(out, i->value, (size_t)(i->value_end - i->value));
}

int api_splice(const char *body, size_t n, const struct api_splice *s, struct buf *out)
{
    struct json_walk w;
    struct json_item i;
    int has_options = 0, n_put = 0, r;
    const char *end = body + n;

    if (n >= 3 && !memcmp(body, "\xef\xbb\xbf", 3)) /* the reader takes it, its suppliers may not */
        body += 3;
    if (json_walk_begin(&w, body, end) || !w.is_object)
        return ERR_FORMAT;
    buf_add_char(out, '{');
    while ((r = json_walk_next(&w, &i)) > 0) {
        if (s->known_only && !is_known(&i, s->kind))
            continue;
        if (s->max_tokens > 0 && is_max(&i))
            continue;
        if (n_put++)
            buf_add_char(out, ',');
        has_options |= json_is_key(&i, "stream_options");
        put_member(&i, s, out);
    }
    if (r < 0)
        return ERR_FORMAT;
    if (s->max_tokens > 0)
        buf_addf(out, "%s\"max_tokens\":%d", n_put++ ? "," : "", s->max_tokens);
    if (s->ask_usage && !has_options) {
        buf_add_str(out, n_put ? ",\"stream_options\":" : "\"stream_options\":");
        put_options(NULL, NULL, out);
    }
    return buf_add_char(out, '}');
}
