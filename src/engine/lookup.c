#include "engine/lookup.h"

#include <stdlib.h>
#include <string.h>

#include "base/map.h"

#define GRAM         3  /* tokens that must agree before a place is looked at */
#define CANDIDATES   16 /* places looked at */
#define MATCH_MAX    32 /* longer matches are counted as this */
#define MATCH_CURSOR 8  /* the match that is assumed where the client's prediction begins */
#define SEPARATOR    (-1)

void lookup_reset(struct lookup *d)
{
    free(d->token);
    free(d->prev);
    free(d->head);
    *d = (struct lookup){.cursor = -1};
}

static uint32_t gram_hash(const int32_t *last)
{
    return (uint32_t)map_hash(last - (GRAM - 1), GRAM * sizeof *last, 0);
}

static void enter(struct lookup *d, int32_t i)
{
    int32_t *head;

    if (i < GRAM - 1) {
        d->prev[i] = -1;
        return;
    }
    head = &d->head[gram_hash(d->token + i) & (uint32_t)(d->n_heads - 1)];
    d->prev[i] = *head;
    *head = i;
}

static int make_room(struct lookup *d, int32_t n)
{
    int32_t cap = d->cap ? d->cap : 256;
    int32_t *token, *prev, *head;

    while (cap < d->n + n)
        cap *= 2;
    if (cap == d->cap)
        return 0;
    token = realloc(d->token, (size_t)cap * sizeof *token);
    if (token)
        d->token = token;
    prev = realloc(d->prev, (size_t)cap * sizeof *prev);
    if (prev)
        d->prev = prev;
    head = realloc(d->head, (size_t)cap * sizeof *head);
    if (head)
        d->head = head;
    if (!token || !prev || !head) {
        lookup_reset(d);
        d->failed = 1;
        return -1;
    }
    d->cap = d->n_heads = cap;
    memset(head, 0xff, (size_t)cap * sizeof *head);
    for (int32_t i = 0; i < d->n; i++)
        enter(d, i);
    return 0;
}

static void append(struct lookup *d, const int32_t *token, int32_t n)
{
    if (n <= 0 || d->failed || make_room(d, n))
        return;
    for (int32_t i = 0; i < n; i++) {
        d->token[d->n] = token[i];
        enter(d, d->n++);
    }
}

void lookup_predict(struct lookup *d, const int32_t *token, int32_t n)
{
    static const int32_t separator = SEPARATOR;

    append(d, token, n);
    append(d, &separator, 1); /* no match runs from the prediction into the prompt */
    d->n_prediction = d->failed ? 0 : n;
    d->cursor = d->n_prediction ? 0 : -1;
}

void lookup_add(struct lookup *d, const int32_t *token, int32_t n, int answer)
{
    append(d, token, n);
    for (int32_t i = 0; answer && i < n && d->cursor >= 0; i++) {
        d->cursor = d->token[d->cursor] == token[i] ? d->cursor + 1 : -1;
        if (d->cursor == d->n_prediction)
            d->cursor = -1;
    }
}

/* How many tokens ending at position i equal the last tokens of the text. */
static int32_t agreement(const struct lookup *d, int32_t i)
{
    int32_t k = 0;

    while (k < MATCH_MAX && k <= i && d->token[i - k] == d->token[d->n - 1 - k] &&
           d->token[i - k] != SEPARATOR)
        k++;
    return k;
}

/* Propose the tokens from position `at` on. Past the end of the text it reads on in the draft
 * itself, so that a repeating text goes on repeating. */
static void propose(const struct lookup *d, int32_t at, struct lookup_found *ret)
{
    int32_t n = 0;

    for (; n < LOOKUP_MAX; n++) {
        int32_t t = at + n < d->n ? d->token[at + n] : ret->token[at + n - d->n];
        if (t == SEPARATOR)
            break;
        ret->token[n] = t;
        ret->from_predicted += at + n < d->n_prediction;
    }
    ret->n = n;
}

void lookup_find(const struct lookup *d, struct lookup_found *ret)
{
    int32_t best = -1, i;

    *ret = (struct lookup_found){0};
    if (d->failed || d->n < GRAM)
        return;
    i = d->prev[d->n - 1];
    for (int k = 0; i >= 0 && k < CANDIDATES && ret->match < MATCH_MAX; k++, i = d->prev[i]) {
        int32_t m = agreement(d, i);
        if (m >= GRAM && m > ret->match) { /* of equal matches the newest position wins */
            ret->match = m;
            best = i + 1;
        }
    }
    if (d->cursor >= 0 && ret->match < MATCH_CURSOR + d->cursor) {
        ret->match = MATCH_CURSOR + d->cursor;
        best = d->cursor;
    }
    if (best >= 0)
        propose(d, best, ret);
    if (!ret->n)
        ret->match = 0;
}
