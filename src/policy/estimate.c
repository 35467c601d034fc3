#include "policy/estimate.h"

#define EXACT      8 /* lengths below it have a bucket each; above it four to a doubling */
#define OCTAVE_0   3 /* of EXACT */
#define TOKENS_MAX ((INT64_C(1) << 24) - 1)

static int bucket_of(int64_t tokens)
{
    int octave;

    if (tokens < EXACT)
        return tokens > 0 ? (int)tokens : 0;
    if (tokens > TOKENS_MAX)
        tokens = TOKENS_MAX;
    octave = 63 - __builtin_clzll((unsigned long long)tokens);
    return EXACT + 4 * (octave - OCTAVE_0) + (int)(tokens >> (octave - 2) & 3);
}

/* The most tokens that are counted there. */
static int64_t end_of(int bucket)
{
    int octave = (bucket - EXACT) / 4 + OCTAVE_0, quarter = (bucket - EXACT) % 4;

    return bucket < EXACT ? bucket : ((INT64_C(5) + quarter) << (octave - 2)) - 1;
}

void estimate_add(struct estimate *e, int64_t tokens)
{
    e->n[bucket_of(tokens)]++;
    if (++e->n_all < ESTIMATE_MANY)
        return;
    e->n_all = 0;
    for (int i = 0; i < ESTIMATE_BUCKETS; i++)
        e->n_all = (uint16_t)(e->n_all + (e->n[i] /= 2));
}

int64_t estimate_tokens(const struct estimate *e)
{
    int32_t n = 0, want = (e->n_all * ESTIMATE_PERCENT + 99) / 100;
    int i = 0;

    if (e->n_all < ESTIMATE_FEW)
        return -1;
    while ((n += e->n[i]) < want)
        i++;
    return end_of(i);
}

int64_t estimate_spare(const struct estimate *e, int64_t n_choices, int64_t answers)
{
    int64_t each = estimate_tokens(e);

    if (each < 0 || n_choices < 1 || each >= answers / n_choices)
        return 0;
    return answers - each * n_choices;
}
