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

static void look_at_delta(const struct json_item *d, struct api_relayed_piece *ret)
{
    struct json_walk w;
    struct json_item i;

    if (json_walk_begin(&w, d->value, d->value_end) || !w.is_object)
        return;
    while (json_walk_next(&w, &i) > 0) {
        if (!is_answer(&i) || !is_filled(&i))
            continue;
        ret->has_content = 1;
        ret->n_text += text_bytes(&i) ? text_bytes(&i) : (size_t)(i.value_end - i.value);
    }
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

static void look_at_choice(const struct json_item *c, struct api_relayed_piece *ret)
{
    struct json_walk w;
    struct json_item i;

    ret->n_choices++;
    if (json_walk_begin(&w, c->value, c->value_end) || !w.is_object)
        return;
    while (json_walk_next(&w, &i) > 0) {
        if (json_is_key(&i, "delta") || json_is_key(&i, "message")) {
            look_at_delta(&i, ret);
        } else if (json_is_key(&i, "text") && text_bytes(&i)) {
            ret->has_content = 1;
            ret->n_text += text_bytes(&i);
        } else if (json_is_key(&i, "finish_reason")) {
            look_at_finish(&i, ret);
        }
    }
}

static void look_at_choices(const struct json_item *a, struct api_relayed_piece *ret)
{
    struct json_walk w;
    struct json_item i;

    if (json_walk_begin(&w, a->value, a->value_end) || w.is_object)
        return;
    while (json_walk_next(&w, &i) > 0)
        look_at_choice(&i, ret);
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
    while ((r = json_walk_next(&w, &i)) > 0) {
        if (json_is_key(&i, "choices")) {
            look_at_choices(&i, ret);
        } else if (json_is_key(&i, "usage") && *i.value == '{') {
            ret->usage = i.value;
            ret->n_usage = (size_t)(i.value_end - i.value);
        } else if (json_is_key(&i, "error")) {
            ret->is_error = !is_word(&i, "null");
        }
    }
    if (r < 0 || json_blank(w.p, end) != end) {
        *ret = (struct api_relayed_piece){0};
        return;
    }
    ret->is_json = 1;
    ret->end = w.p - 1;
}
