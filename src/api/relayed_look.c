#include <string.h>

#include "api/relayed.h"
#include "base/check.h"
#include "base/json_walk.h"

/* ---- a chunk, or a body ---------------------------------------------------------------------- */

static int is_word(const struct json_item *i, const char *word)
{
    size_t n = strlen(word);

    return (size_t)(i->value_end - i->value) == n && !memcmp(i->value, word, n);
}

/* Bytes between the quotes; 0: no text. */
static size_t text_bytes(const struct json_item *i)
{
    return *i->value == '"' ? (size_t)(i->value_end - i->value) - 2 : 0;
}

static int is_filled(const struct json_item *i)
{
    const char *in;

    if (*i->value == '"')
        return text_bytes(i) > 0;
    if (*i->value != '[' && *i->value != '{')
        return 0;
    in = json_blank(i->value + 1, i->value_end);
    return *in != ']' && *in != '}';
}

/* The members of a delta or message that are part of an answer. */
static int is_answer(const struct json_item *i)
{
    static const char *const names[] = {"content", "reasoning",  "reasoning_content",
                                        "refusal", "tool_calls", "function_call"};

    for (size_t k = 0; k < ARRAY_LEN(names); k++) {
        if (json_is_key(i, names[k]))
            return 1;
    }
    return 0;
}

/* What follows looks at the value of *i, at which the walk w is, and leaves w behind it: 0, or -1
 * where it is malformed. */
static int look_at_delta(struct json_walk *w, struct json_item *i, struct api_relayed_piece *ret)
{
    struct json_walk in;
    struct json_item m;
    int r;

    if (*i->value != '{')
        return json_walk_value(w, i);
    json_walk_begin(&in, i->value, w->end);
    while ((r = json_walk_next(&in, &m)) > 0) {
        if (!is_answer(&m) || !is_filled(&m))
            continue;
        ret->has_content = 1;
        ret->n_text += text_bytes(&m) ? text_bytes(&m) : (size_t)(m.value_end - m.value);
    }
    json_walk_out(w, &in);
    return r;
}

static void look_at_finish(const struct json_item *i, struct api_relayed_piece *ret)
{
    static const struct {
        const char *word;
        enum finish finish;
    } finishes[] = {{"\"length\"", FINISH_LENGTH},
                    {"\"tool_calls\"", FINISH_TOOL_CALLS},
                    {"\"function_call\"", FINISH_TOOL_CALLS},
                    {"\"content_filter\"", FINISH_CONTENT_FILTER}};

    if (!text_bytes(i))
        return;
    ret->n_finished++;
    ret->finish = FINISH_STOP;
    for (size_t k = 0; k < ARRAY_LEN(finishes); k++) {
        if (is_word(i, finishes[k].word))
            ret->finish = finishes[k].finish;
    }
}

static int look_at_member(struct json_walk *w, struct json_item *i, struct api_relayed_piece *ret)
{
    int r;

    if (json_is_key(i, "delta") || json_is_key(i, "message"))
        return look_at_delta(w, i, ret);
    r = json_walk_value(w, i);
    if (r > 0 && json_is_key(i, "text") && text_bytes(i)) {
        ret->has_content = 1;
        ret->n_text += text_bytes(i);
    } else if (r > 0 && json_is_key(i, "finish_reason")) {
        look_at_finish(i, ret);
    }
    return r;
}

static int look_at_choice(struct json_walk *w, struct json_item *i, struct api_relayed_piece *ret)
{
    struct json_walk in;
    struct json_item m;
    int r;

    ret->n_choices++;
    if (*i->value != '{')
        return json_walk_value(w, i);
    json_walk_begin(&in, i->value, w->end);
    while ((r = json_walk_key(&in, &m)) > 0 && (r = look_at_member(&in, &m, ret)) >= 0)
        ;
    json_walk_out(w, &in);
    return r;
}

static int look_at_choices(struct json_walk *w, struct json_item *i, struct api_relayed_piece *ret)
{
    struct json_walk in;
    struct json_item c;
    int r;

    if (*i->value != '[')
        return json_walk_value(w, i);
    json_walk_begin(&in, i->value, w->end);
    while ((r = json_walk_key(&in, &c)) > 0 && (r = look_at_choice(&in, &c, ret)) >= 0)
        ;
    json_walk_out(w, &in);
    return r;
}

static int look_at_top(struct json_walk *w, struct json_item *i, struct api_relayed_piece *ret)
{
    int r;

    if (json_is_key(i, "choices"))
        return look_at_choices(w, i, ret);
    r = json_walk_value(w, i);
    if (r > 0 && json_is_key(i, "usage") && *i->value == '{') {
        ret->usage = i->value;
        ret->n_usage = (size_t)(i->value_end - i->value);
    } else if (r > 0 && json_is_key(i, "energy") && *i->value == '{') {
        ret->energy = i->value;
        ret->n_energy = (size_t)(i->value_end - i->value);
    } else if (r > 0 && json_is_key(i, "error")) {
        ret->is_error = !is_word(i, "null");
    }
    return r;
}

void api_relayed_look(const char *json, size_t n, struct api_relayed_piece *ret)
{
    const char *end = json + n;
    struct json_walk w;
    struct json_item i;
    int r;

    *ret = (struct api_relayed_piece){0};
    if (json_walk_begin(&w, json, end) || !w.is_object)
        return;
    while ((r = json_walk_key(&w, &i)) > 0 && (r = look_at_top(&w, &i, ret)) >= 0)
        ;
    if (r < 0 || json_blank(w.p, end) != end) {
        *ret = (struct api_relayed_piece){0};
        return;
    }
    ret->is_json = 1;
    ret->end = w.p - 1;
}
