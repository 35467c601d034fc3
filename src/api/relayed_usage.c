/* What suppliers say was used, in the shapes that they say it in, to one meaning. */
#include <string.h>

#include "api/receipt_text.h"
#include "api/relayed.h"
#include "base/check.h"
#include "base/json_walk.h"

#define TOKENS_MAX INT64_C(1000000000000)

/* Numbers as they stand; -1: absent. */
struct counts {
    int64_t prompt, completion, total, cached, reasoning;
    int64_t accepted, rejected;
    int64_t cache_hit, cache_miss;      /* DeepSeek: of prompt */
    int64_t input, output;              /* Anthropic, and OpenAI's responses */
    int64_t cache_read, cache_creation; /* Anthropic: beside input */
    int is_bad;                         /* a count that is none */
};

static const struct {
    const char *in, *name; /* in: the object that holds it; NULL: the top */
    size_t at;
} names[] = {
    {NULL, "prompt_tokens", offsetof(struct counts, prompt)},
    {NULL, "completion_tokens", offsetof(struct counts, completion)},
    {NULL, "total_tokens", offsetof(struct counts, total)},
    {NULL, "input_tokens", offsetof(struct counts, input)},
    {NULL, "output_tokens", offsetof(struct counts, output)},
    {NULL, "prompt_cache_hit_tokens", offsetof(struct counts, cache_hit)},
    {NULL, "prompt_cache_miss_tokens", offsetof(struct counts, cache_miss)},
    {NULL, "cache_read_input_tokens", offsetof(struct counts, cache_read)},
    {NULL, "cache_creation_input_tokens", offsetof(struct counts, cache_creation)},
    {NULL, "reasoning_tokens", offsetof(struct counts, reasoning)},
    {"prompt_tokens_details", "cached_tokens", offsetof(struct counts, cached)},
    {"input_tokens_details", "cached_tokens", offsetof(struct counts, cached)},
    {"completion_tokens_details", "reasoning_tokens", offsetof(struct counts, reasoning)},
    {"output_tokens_details", "reasoning_tokens", offsetof(struct counts, reasoning)},
    {"completion_tokens_details", "accepted_prediction_tokens", offsetof(struct counts, accepted)},
    {"completion_tokens_details", "rejected_prediction_tokens", offsetof(struct counts, rejected)},
};

/* A count: digits only, and no more than anybody can have used. */
static int64_t count_of(const struct json_item *i)
{
    int64_t n = 0;

    for (const char *p = i->value; p < i->value_end; p++) {
        if (*p < '0' || *p > '9')
            return -1;
        n = n * 10 + (*p - '0');
        if (n > TOKENS_MAX)
            return -1;
    }
    return n;
}

static void read_counts(const char *json, size_t n, const char *in, struct counts *ret)
{
    struct json_walk w;
    struct json_item i;

    if (json_walk_begin(&w, json, json + n) || !w.is_object) {
        ret->is_bad = 1;
        return;
    }
    while (json_walk_next(&w, &i) > 0) {
        for (size_t k = 0; k < ARRAY_LEN(names); k++) {
            const char *box = names[k].in;
            int64_t *at = (int64_t *)((char *)ret + names[k].at), c;
            if (!json_is_key(&i, names[k].name) || (box ? !in || strcmp(in, box) : in != NULL))
                continue;
            if (*i.value == 'n') /* null: absent */
                continue;
            c = count_of(&i);
            ret->is_bad |= c < 0;
            *at = c < 0 ? 0 : c;
        }
        if (in || *i.value != '{')
            continue;
        for (size_t k = 0; k < ARRAY_LEN(names); k++) {
            if (names[k].in && json_is_key(&i, names[k].in)) {
                read_counts(i.value, (size_t)(i.value_end - i.value), names[k].in, ret);
                break;
            }
        }
    }
}

static int64_t or_zero(int64_t n)
{
    return n < 0 ? 0 : n;
}

static void read_prompt(const struct counts *c, struct usage *u, int *bad)
{
    if (c->prompt >= 0) { /* what is cached lies inside */
        u->prompt_tokens = c->prompt;
        u->cached_tokens = or_zero(c->cached >= 0      ? c->cached
                                   : c->cache_hit >= 0 ? c->cache_hit
                                                       : c->cache_read);
        u->cache_write_tokens = or_zero(c->cache_creation);
        if (c->cache_hit >= 0 && c->cache_miss >= 0)
            *bad |= c->cache_hit + c->cache_miss != c->prompt;
    } else if (c->cache_read >= 0 || c->cache_creation >= 0) { /* beside */
        u->cached_tokens = or_zero(c->cache_read);
        u->cache_write_tokens = or_zero(c->cache_creation);
        u->prompt_tokens = or_zero(c->input) + u->cached_tokens + u->cache_write_tokens;
    } else {
        u->prompt_tokens = or_zero(c->input);
        u->cached_tokens = or_zero(c->cached);
    }
    if (u->cached_tokens + u->cache_write_tokens > u->prompt_tokens) {
        *bad = 1;
        u->cached_tokens =
            u->cached_tokens < u->prompt_tokens ? u->cached_tokens : u->prompt_tokens;
        u->cache_write_tokens = 0;
    }
}

/* Reasoning lies inside of the completion, or beside it: the total tells. */
static void read_completion(const struct counts *c, struct usage *u, int *bad)
{
    int64_t done = or_zero(c->completion >= 0 ? c->completion : c->output);
    int64_t thought = or_zero(c->reasoning), prompt = u->prompt_tokens;

    u->reasoning_tokens = thought;
    if (c->total < 0) {
        u->completion_tokens = thought > done ? done + thought : done;
    } else if (c->total == prompt + done && thought <= done) {
        u->completion_tokens = done;
    } else if (c->total == prompt + done + thought) {
        u->completion_tokens = done + thought;
    } else {
        int64_t rest = c->total - prompt;
        *bad = 1;
        u->completion_tokens = done + thought > rest ? done + thought : rest;
    }
}

/* What it says of energy. */
static void read_energy(const char *json, size_t n, struct energy *ret)
{
    struct json_walk w;
    struct json_item i;

    json_walk_begin(&w, json, json + n);
    while (json_walk_next(&w, &i) > 0) {
        if (json_is_key(&i, "energy") && *i.value == '{')
            api_stated_energy(i.value, (size_t)(i.value_end - i.value), ret);
    }
}

int api_relayed_usage(const char *json, size_t n, struct usage *ret)
{
    struct counts c;
    int bad = 0;

    memset(&c, -1, sizeof c);
    c.is_bad = 0;
    read_counts(json, n, NULL, &c);
    *ret = (struct usage){0};
    if (c.prompt < 0 && c.completion < 0 && c.input < 0 && c.output < 0)
        return -1;
    read_prompt(&c, ret, &bad);
    read_completion(&c, ret, &bad);
    ret->accepted_prediction_tokens = or_zero(c.accepted);
    ret->rejected_prediction_tokens = or_zero(c.rejected);
    read_energy(json, n, &ret->energy);
    ret->state = bad || c.is_bad ? USAGE_DISPUTED : USAGE_COUNTED;
    return 0;
}

int64_t api_relayed_estimate(size_t n_bytes)
{
    return (int64_t)((n_bytes + 3) / 4);
}
