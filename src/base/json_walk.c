#include "base/json_walk.h"

#include <string.h>

#include "base/eight.h"

const char *json_blank(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
        p++;
    return p;
}

static int is_hex(char c)
{
    return (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'f');
}

/* To the first byte that does not stand for itself in a string. */
static const char *skip_plain(const char *p, const char *end)
{
    for (; end - p >= 8; p += 8) {
        uint64_t v = eight_at(p),
                 mask = eight_is(v, '"') | eight_is(v, '\\') | eight_below(v, 0x20);
        if (mask)
            return p + eight_first(mask);
    }
    while (p < end && *p != '"' && *p != '\\' && (unsigned char)*p >= 0x20)
        p++;
    return p;
}

/* p is behind the opening quote; returns the place of the closing one. */
static const char *skip_string(const char *p, const char *end)
{
    for (;; p++) {
        p = skip_plain(p, end);
        if (p == end || (unsigned char)*p < 0x20)
            return NULL;
        if (*p == '"')
            return p;
        if (++p == end)
            return NULL;
        if (*p == 'u') {
            if (end - p < 5 || !is_hex(p[1]) || !is_hex(p[2]) || !is_hex(p[3]) || !is_hex(p[4]))
                return NULL;
            p += 4;
        } else if (!strchr("\"\\/bfnrt", *p) || !*p) {
            return NULL;
        }
    }
}

static const char *skip_digits(const char *p, const char *end)
{
    const char *from = p;

    while (p < end && *p >= '0' && *p <= '9')
        p++;
    return p > from ? p : NULL;
}

static const char *skip_number(const char *p, const char *end)
{
    p += *p == '-';
    if (p < end && *p == '0')
        p++;
    else
        p = skip_digits(p, end);
    if (p && p < end && *p == '.')
        p = skip_digits(p + 1, end);
    if (p && p < end && (*p | 32) == 'e') {
        p++;
        p += p < end && (*p == '+' || *p == '-');
        p = skip_digits(p, end);
    }
    return p;
}

static const char *skip_word(const char *p, const char *end)
{
    static const char *const words[] = {"true", "false", "null"};

    for (int i = 0; i < 3; i++) {
        size_t n = strlen(words[i]);
        if ((size_t)(end - p) >= n && !memcmp(p, words[i], n))
            return p + n;
    }
    return NULL;
}

static const char *skip_scalar(const char *p, const char *end)
{
    if (*p == '"') {
        p = skip_string(p + 1, end);
        return p ? p + 1 : NULL;
    }
    return *p == '-' || (*p >= '0' && *p <= '9') ? skip_number(p, end) : skip_word(p, end);
}

/* Behind `"key" :` and white space; *ret_quote: the quote behind the key. */
static const char *skip_key(const char *p, const char *end, const char **ret_quote)
{
    if (p == end || *p != '"')
        return NULL;
    p = *ret_quote = skip_string(p + 1, end);
    if (!p)
        return NULL;
    p = json_blank(p + 1, end);
    return p < end && *p == ':' ? json_blank(p + 1, end) : NULL;
}

const char *json_skip(const char *p, const char *end)
{
    unsigned char is_object[JSON_WALK_DEPTH];
    const char *quote;
    int depth = 0;

    while (p && p < end) {
        /* p is at a value */
        if (*p == '{' || *p == '[') {
            if (depth == JSON_WALK_DEPTH)
                return NULL;
            is_object[depth] = *p == '{';
            p = json_blank(p + 1, end);
            depth++;
            if (p < end && *p != (is_object[depth - 1] ? '}' : ']')) {
                p = is_object[depth - 1] ? skip_key(p, end, &quote) : p;
                continue;
            }
        } else {
            p = skip_scalar(p, end);
            if (!p || !depth)
                return p;
            p = json_blank(p, end);
        }
        /* p is behind a value, or at the bracket of an empty one */
        while (p < end && depth && *p == (is_object[depth - 1] ? '}' : ']')) {
            depth--;
            if (!depth)
                return p + 1;
            p = json_blank(p + 1, end);
        }
        if (p == end || *p != ',')
            return NULL;
        p = json_blank(p + 1, end);
        if (is_object[depth - 1])
            p = skip_key(p, end, &quote);
    }
    return NULL;
}

int json_walk_begin(struct json_walk *w, const char *p, const char *end)
{
    p = json_blank(p, end);
    if (p == end || (*p != '{' && *p != '['))
        return -1;
    *w = (struct json_walk){.p = p + 1, .end = end, .is_object = *p == '{'};
    return 0;
}

int json_walk_key(struct json_walk *w, struct json_item *ret)
{
    const char *p = json_blank(w->p, w->end);

    *ret = (struct json_item){0};
    if (p < w->end && *p == (w->is_object ? '}' : ']')) {
        w->p = p + 1;
        return 0;
    }
    if (w->has_begun) {
        if (p == w->end || *p != ',')
            return -1;
        p = json_blank(p + 1, w->end);
    }
    w->has_begun = 1;
    if (w->is_object) {
        const char *quote, *value = skip_key(p, w->end, &quote);
        if (!value)
            return -1;
        ret->key = p + 1;
        ret->n_key = (size_t)(quote - p - 1);
        p = value;
    }
    if (p == w->end)
        return -1;
    ret->value = w->p = p;
    return 1;
}

int json_walk_value(struct json_walk *w, struct json_item *i)
{
    i->value_end = json_skip(i->value, w->end);
    if (!i->value_end)
        return -1;
    w->p = i->value_end;
    return 1;
}

void json_walk_out(struct json_walk *w, const struct json_walk *of)
{
    w->p = of->p;
}

int json_walk_next(struct json_walk *w, struct json_item *ret)
{
    int r = json_walk_key(w, ret);

    return r > 0 ? json_walk_value(w, ret) : r;
}

/* The one escape that plain names can be written with; 0: another. */
static char from_escape(const char *hex)
{
    unsigned c = 0;

    for (int k = 0; k < 4; k++)
        c = c << 4 | (hex[k] <= '9' ? hex[k] - '0' : (hex[k] | 32) - 'a' + 10);
    return c < 0x80 ? (char)c : 0;
}

int json_is_same_key(const struct json_item *i, const char *name)
{
    const char *p = i->key, *end = p ? p + i->n_key : NULL;

    for (; p < end && *name; name++) {
        char c = *p++;
        if (c == '\\' && *p == 'u') {
            c = from_escape(p + 1);
            p += 5;
        }
        if (c != *name)
            return 0;
    }
    return p && p == end && !*name;
}
