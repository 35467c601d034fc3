#include "books/sums.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SUMS_EXPECTED 64

int sums_init(struct sums *s)
{
    *s = (struct sums){.n = 0};
    return map_init(&s->index, SUMS_EXPECTED);
}

void sums_done(struct sums *s)
{
    map_done(&s->index);
    free(s->sum);
}

void sums_clear(struct sums *s)
{
    for (size_t i = 0; i < s->n; i++)
        s->sum[i].amount = s->sum[i].count = 0;
}

static struct sum *add(struct sums *s, const char *name, const char *unit)
{
    size_t cap = s->cap ? 2 * s->cap : SUMS_EXPECTED;
    struct sum *more;

    if (s->n == s->cap) {
        more = realloc(s->sum, cap * sizeof *more);
        if (!more)
            return NULL;
        s->sum = more;
        s->cap = cap;
    }
    s->sum[s->n] = (struct sum){.amount = 0};
    snprintf(s->sum[s->n].name, sizeof s->sum->name, "%s", name);
    snprintf(s->sum[s->n].unit, sizeof s->sum->unit, "%s", unit);
    return &s->sum[s->n];
}

struct sum *sums_of(struct sums *s, const char *name, const char *unit, int make)
{
    char key[ENTRY_ACCOUNT_MAX + ENTRY_UNIT_MAX];
    int n = snprintf(key, sizeof key, "%.*s%c%.*s", ENTRY_ACCOUNT_MAX - 1, name, 0,
                     ENTRY_UNIT_MAX - 1, unit);
    struct sum *one;
    uint32_t i;

    if (map_get(&s->index, key, (size_t)n, &i))
        return &s->sum[i];
    one = make ? add(s, name, unit) : NULL;
    if (!one || map_put(&s->index, key, (size_t)n, (uint32_t)s->n))
        return NULL;
    s->n++;
    return one;
}

int sums_post(struct sums *s, const struct books_row *r)
{
    struct posting p[ENTRY_POSTINGS_MAX];
    int n = entry_of(r, p);

    for (int i = 0; i < n; i++) {
        struct sum *one = sums_of(s, p[i].account, p[i].unit, 1);
        if (!one)
            return ERR_NOMEM;
        one->amount += p[i].amount;
    }
    return 0;
}
