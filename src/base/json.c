#include "base/json.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/eight.h"
#include "base/json_tree.h"
#include "base/utf8.h"

/* Upper bounds of what jansson 2.14 allocates on 64 bits, with malloc's own bytes. */
enum { COST_OBJECT = 320, COST_ARRAY = 144, COST_ITEM = 96, COST_BYTE = 3 };
#define COST_MOST   (COST_OBJECT + COST_ITEM + COST_BYTE) /* of any byte */
#define MEMORY_FREE ((size_t)64 << 20)

enum { PATH_LEVELS = 12 };

/* One level of the path to a value, as in messages.1.content. */
struct level {
    int is_object;
    size_t index;    /* of the array item */
    const char *key; /* raw, as written between its quotes */
    size_t n_key;
};

/* The index after the string that opens at s[i]; n when the string does not end. */
static size_t skip_string(const char *s, size_t n, size_t i)
{
    for (i++; i < n; i++) {
        while (n - i >= 8) {
            uint64_t v = eight_at(s + i), mask = eight_is(v, '"') | eight_is(v, '\\');
            if (mask) {
                i += (size_t)eight_first(mask);
                break;
            }
            i += 8;
        }
        if (i == n)
            break;
        if (s[i] == '"')
            return i + 1;
        if (s[i] == '\\')
            i++;
    }
    return n;
}

/* Commas and brackets within strings do not count, so that long texts are not overestimated. */
size_t json_cost(const char *s, size_t n)
{
    size_t cost = COST_ITEM + n * COST_BYTE;

    for (size_t i = 0; i < n;) {
        char c = s[i];
        if (c == '"') {
            i = skip_string(s, n, i);
            continue;
        }
        if (c == '{')
            cost += COST_OBJECT + COST_ITEM;
        else if (c == '[')
            cost += COST_ARRAY + COST_ITEM;
        else if (c == ',' || c == ':')
            cost += COST_ITEM;
        i++;
    }
    return cost;
}

/* May an error name this key? Only if it is a plain word: other keys may hold what a user wrote,
 * and errors are logged. */
static int key_shown(const struct level *l)
{
    for (size_t i = 0; i < l->n_key; i++) {
        char c = l->key[i];
        int word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!word && c != '_' && c != '-')
            return 0;
    }
    return l->n_key > 0 && l->n_key <= 64;
}

static void path_text(const struct level *lv, int depth, char *out, size_t cap)
{
    size_t n = 0;

    out[0] = 0;
    for (int d = 0; d < depth && d < PATH_LEVELS && n < cap; d++) {
        const struct level *l = &lv[d];
        int k;
        if (!l->is_object)
            k = snprintf(out + n, cap - n, "%s%zu", n ? "." : "", l->index);
        else if (l->key)
            k = snprintf(out + n, cap - n, "%s%.*s", n ? "." : "", key_shown(l) ? (int)l->n_key : 1,
                         key_shown(l) ? l->key : "*");
        else
            break;
        n += (size_t)k;
    }
}

/* The path of the value (or key) that byte `end` belongs to. Runs only on bodies that did not
 * parse, so it trusts nothing but quotes and brackets. */
static void path_at(const char *s, size_t end, char *out, size_t cap)
{
    struct level lv[PATH_LEVELS] = {0};
    int depth = 0, want_key = 0;

    for (size_t i = 0; i < end;) {
        struct level *l = depth && depth <= PATH_LEVELS ? &lv[depth - 1] : NULL;
        char c = s[i];
        if (c == '"') {
            size_t past = skip_string(s, end, i);
            if (l && l->is_object && want_key) {
                l->key = s + i + 1;
                l->n_key = past - i - 1 - (s[past - 1] == '"' && past > i + 1);
            }
            i = past;
            continue;
        }
        if (c == '{' || c == '[') {
            depth++;
            if (depth <= PATH_LEVELS)
                lv[depth - 1] = (struct level){.is_object = c == '{'};
            want_key = c == '{';
        } else if (c == '}' || c == ']') {
            depth -= depth > 0;
            want_key = 0;
        } else if (c == ',') {
            if (l)
                l->index++;
            want_key = l && l->is_object;
        } else if (c == ':') {
            want_key = 0;
        }
        i++;
    }
    path_text(lv, depth, out, cap);
}

static int explain(const char *s, size_t n, const json_error_t *je, struct err *e)
{
    char path[sizeof e->param], what[192];
    size_t at = je->position > 0 ? (size_t)je->position : 0;
    int line = je->line, column = je->column;

    if (at > n)
        at = n;
    switch (json_error_code(je)) {
    case json_error_duplicate_key:
        snprintf(what, sizeof what, "duplicate key");
        break;
    case json_error_null_character:
    case json_error_null_byte_in_key:
        snprintf(what, sizeof what, "\\u0000 (a NUL character) is not accepted");
        break;
    case json_error_numeric_overflow:
        snprintf(what, sizeof what, "number out of range");
        break;
    case json_error_invalid_utf8:
        utf8_valid(s, n, &at);
        snprintf(what, sizeof what, "text is not valid UTF-8");
        line = 0;
        break;
    case json_error_stack_overflow:
        snprintf(what, sizeof what, "nested too deeply (the limit is %d levels)",
                 JSON_PARSER_MAX_DEPTH);
        break;
    case json_error_end_of_input_expected:
        snprintf(what, sizeof what, "unexpected bytes after the JSON value");
        break;
    case json_error_premature_end_of_input:
        snprintf(what, sizeof what, "the JSON text ends too early");
        break;
    default:
        /* What jansson says, without the piece of the text that it quotes. */
        snprintf(what, sizeof what, "not valid JSON: %.*s",
                 (int)(strstr(je->text, " near ") ? strstr(je->text, " near ") - je->text : 80),
                 je->text);
    }
    path[0] = 0;
    if (json_error_code(je) != json_error_premature_end_of_input)
        path_at(s, at, path, sizeof path);
    if (line <= 0)
        return err_set_param(e, ERR_SCHEMA, path, "%s%s%s (byte %zu)", path, path[0] ? ": " : "",
                             what, at);
    return err_set_param(e, ERR_SCHEMA, path, "%s%s%s (line %d, column %d, byte %zu)", path,
                         path[0] ? ": " : "", what, line, column, at);
}

/* Refuse NUL bytes: jansson takes a NUL after a number or a word for its end. */
static int refuse_nul(const char *s, size_t at, struct err *e)
{
    char path[sizeof e->param];

    path_at(s, at, path, sizeof path);
    return err_set_param(e, ERR_SCHEMA, path, "%s%sa NUL character is not accepted (byte %zu)",
                         path, path[0] ? ": " : "", at);
}

/* Where memory runs out, jansson says so in some places, a syntax error in others. */
static _Thread_local int is_out_of_memory;

static void *alloc_noted(size_t n)
{
    void *p = malloc(n);
    if (!p)
        is_out_of_memory = 1;
    return p;
}

static void note_allocations(void)
{
    json_set_alloc_funcs(alloc_noted, free);
}

int json_parse(json_t **ret, const char *s, size_t n, size_t memory_max, struct err *e)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    json_error_t je;
    const char *nul;
    json_t *j;

    pthread_once(&once, note_allocations);
    if (n >= 3 && !memcmp(s, "\xef\xbb\xbf", 3)) {
        s += 3;
        n -= 3;
    }
    if (!n)
        return err_set(e, ERR_SCHEMA, "the body is empty; a JSON object is expected");
    if (n >= INT32_MAX) /* jansson counts positions in an int */
        return err_set(e, ERR_TOO_LARGE, "the JSON text is %zu bytes long; the limit is %d", n,
                       INT32_MAX);
    nul = memchr(s, 0, n);
    if (nul)
        return refuse_nul(s, (size_t)(nul - s), e);
    if (!memory_max)
        memory_max = MEMORY_FREE + 4 * n;
    if (n >= memory_max / COST_MOST && json_cost(s, n) > memory_max)
        return err_set(e, ERR_TOO_LARGE,
                       "the JSON text has too many values: parsed, it could take more than %zu "
                       "bytes of memory",
                       memory_max);
    j = json_tree(s, n);
    if (j) {
        *ret = j;
        return 0;
    }
    is_out_of_memory = 0;
    j = json_loadb(s, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &je);
    if (!j)
        return is_out_of_memory ? err_set(e, ERR_NOMEM, "out of memory while parsing JSON")
                                : explain(s, n, &je, e);
    *ret = j;
    return 0;
}

static int dump_part(const char *s, size_t n, void *arg)
{
    return buf_add(arg, s, n) ? -1 : 0;
}

int json_put_tree(struct buf *b, const json_t *j)
{
    if (!b->failed && json_dump_callback(j, dump_part, b, JSON_COMPACT | JSON_ENCODE_ANY) &&
        !b->failed)
        b->failed = ERR_NOMEM;
    return b->failed;
}
