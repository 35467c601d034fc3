/* Bodies of /tokenize, /detokenize and /apply-template. */
#include <string.h>

#include "api/openai.h"
#include "api/text_tools.h"
#include "base/utf8.h"

#define PART_MAX 65536

static const struct api_options plain;

static int read_flag(const json_t *root, const char *name, int *ret, struct err *e)
{
    const json_t *v = get_field(root, name);
    return v ? read_bool(v, name, ret, e) : 0;
}

static int read_model(const json_t *root, const char **ret, struct err *e)
{
    const json_t *v = get_field(root, "model");
    return v ? read_str(v, "model", 512, ret, e) : 0;
}

int api_parse_tokenize(struct api_tokenize *ret, const char *body, size_t n,
                       const struct api_request_headers *h, const struct api_options *o,
                       struct err *e)
{
    struct api_tokenize t = {0};
    const json_t *v;
    int r = parse_body(&t.root, body, n, h, o ? o : &plain, e);

    if (r)
        return r;
    v = get_field(t.root, "content");
    if (!json_is_string(v)) {
        r = field_must_be(e, "content", "a string", v);
    } else {
        t.content = json_string_value(v);
        t.n_content = json_string_length(v);
        r = read_model(t.root, &t.model, e);
    }
    if (!r)
        r = read_flag(t.root, "add_special", &t.add_special, e);
    if (!r)
        r = read_flag(t.root, "parse_special", &t.parse_special, e);
    if (!r)
        r = read_flag(t.root, "with_pieces", &t.with_pieces, e);
    if (r)
        api_tokenize_done(&t);
    else
        *ret = t;
    return r;
}

void api_tokenize_done(struct api_tokenize *t)
{
    if (!t)
        return;
    json_decref(t->root);
    *t = (struct api_tokenize){0};
}

/* A piece is written as a string where its bytes are UTF-8, else as a list of numbers. */
static void put_piece(struct buf *b, const struct api_piece *p)
{
    if (utf8_valid(p->s, p->n, NULL))
        json_put_text(b, p->s, p->n);
    else
        json_put_bytes(b, p->s, p->n);
}

int api_tokens_part(struct buf *out, const int32_t *id, int32_t all, int32_t from, int32_t n,
                    const struct api_piece *pieces)
{
    if (!from)
        buf_add_str(out, "{\"tokens\":[");
    for (int32_t i = 0; i < n; i++) {
        if (from + i)
            buf_add_char(out, ',');
        if (pieces)
            buf_add_str(out, "{\"id\":");
        json_put_int(out, id[from + i]);
        if (pieces) {
            buf_add_str(out, ",\"piece\":");
            put_piece(out, &pieces[i]);
            buf_add_char(out, '}');
        }
    }
    if (from + n == all)
        buf_add_str(out, "]}");
    return out->failed;
}

int api_parse_detokenize(struct api_detokenize *ret, struct arena *a, const char *body, size_t n,
                         const struct api_request_headers *h, const struct api_options *o,
                         struct err *e)
{
    struct api_detokenize t = {0};
    const json_t *v;
    json_t *root;
    int r = parse_body(&root, body, n, h, o ? o : &plain, e);

    if (r)
        return r;
    v = get_field(root, "tokens");
    r = v ? read_ids(a, v, "tokens", INT32_MAX, &t.id, &t.n, e)
          : field_must_be(e, "tokens", "", NULL);
    if (!r)
        r = read_model(root, &t.model, e);
    if (!r && t.model && !(t.model = arena_strdup(a, t.model)))
        r = field_no_room(a, e);
    json_decref(root);
    if (!r)
        *ret = t;
    return r;
}

size_t api_text_part(struct buf *out, const char *key, const char *s, size_t all, size_t from)
{
    size_t n = all - from;

    if (!from)
        buf_addf(out, "{\"%s\":\"", key);
    if (n > PART_MAX) {
        n = PART_MAX;
        for (int i = 0; i < 3 && ((unsigned char)s[from + n] & 0xc0) == 0x80; i++)
            n--; /* so that no character is cut in two */
    }
    json_put_escaped(out, s + from, n);
    if (from + n == all)
        buf_add_str(out, "\"}");
    return from + n;
}

int api_parse_template(struct api_template *ret, const char *body, size_t n,
                       const struct api_request_headers *h, const struct api_options *o,
                       struct err *e)
{
    size_t arguments_left = arguments_max(body, n);
    struct api_options options = o ? *o : plain;
    struct reading d = {.o = &options, .e = e, .clear_thinking = 1};
    struct api_template t = {0};
    const json_t *messages, *kwargs, *prompt;
    int generate = 1, r = parse_body(&t.root, body, n, h, d.o, e);

    if (r)
        return r;
    options.arguments_left = &arguments_left;
    messages = get_field(t.root, "messages");
    kwargs = get_field(t.root, "chat_template_kwargs");
    prompt = get_field(t.root, "add_generation_prompt");
    r = messages ? read_messages(&d, messages, "messages") : field_must_be(e, "messages", "", NULL);
    if (!r && kwargs)
        r = read_kwargs(&d, kwargs, "chat_template_kwargs");
    if (!r && prompt)
        r = read_bool(prompt, "add_generation_prompt", &generate, e);
    if (!r)
        r = read_model(t.root, &t.model, e);
    if (!r && template_kwargs(&d, &t.template_kwargs))
        r = err_set(e, ERR_NOMEM, "out of memory while reading the request");
    t.messages = d.r.messages;
    t.continue_final = d.r.continue_final;
    t.no_generation_prompt = !generate;
    if (r)
        api_template_done(&t);
    else
        *ret = t;
    return r;
}

void api_template_done(struct api_template *t)
{
    if (!t)
        return;
    json_decref(t->messages);
    json_decref(t->template_kwargs);
    json_decref(t->root);
    *t = (struct api_template){0};
}
