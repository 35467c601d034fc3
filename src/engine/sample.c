#include "engine/sample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rand.h"

#define TEMPERATURE_MIN 1e-4f  /* below this the best token is taken */
#define MASKED          -1e30f /* finite, so that sums with it are finite; its exp is 0 */
#define BLOCK           512  /* values summed together when a draw runs over the whole vocabulary */
#define REACH           2.0f /* candidates are first looked for this far below the best logit */

int sample_scratch_init(struct sample_scratch *s, int32_t n_vocab)
{
    size_t n = (size_t)n_vocab;
    s->n_vocab = n_vocab;
    s->count = calloc(n, sizeof *s->count);
    s->z = malloc(n * sizeof *s->z);
    s->cand = malloc(n * sizeof *s->cand);
    if (!s->count || !s->z || !s->cand) {
        sample_scratch_done(s);
        return ERR_NOMEM;
    }
    return 0;
}

void sample_scratch_done(struct sample_scratch *s)
{
    free(s->count);
    free(s->z);
    free(s->cand);
    *s = (struct sample_scratch){0};
}

/* Keep the n_top best (value, then lower id) in order, by insertion: n_top is at most 20. */
static void find_top(const float *z, int32_t n, int32_t n_top, struct sample_top *top)
{
    int32_t have = 0;
    for (int32_t i = 0; i < n; i++) {
        int32_t j;
        if (have == n_top && z[i] <= top[n_top - 1].logprob)
            continue;
        for (j = have < n_top ? have++ : n_top - 1; j > 0 && z[i] > top[j - 1].logprob; j--)
            top[j] = top[j - 1];
        top[j] = (struct sample_top){i, z[i]};
    }
}

/* What makes logits log-probabilities: a logit - max - log_sum. */
struct scale {
    float max, log_sum;
};

static int find_scale(const struct kern_table *k, const float *logits, int32_t n, struct scale *ret)
{
    int32_t best;

    if (!k->argmax(logits, n, &best))
        return ERR_NUMERIC;
    ret->max = logits[best];
    ret->log_sum = kern_log(k->sum_exp(logits, ret->max, n));
    return 0;
}

static float logprob(const struct scale *c, float logit)
{
    return logit - c->max - c->log_sum;
}

static void put_top(const struct scale *c, const float *logits, int32_t n, int32_t n_top,
                    struct sample_out *ret)
{
    if (n_top > n)
        n_top = n;
    if (n_top > 0)
        find_top(logits, n, n_top, ret->top);
    for (int32_t i = 0; i < n_top; i++)
        ret->top[i].logprob = logprob(c, ret->top[i].logprob);
    ret->n_top = n_top;
}

int sample_logprobs(const struct kern_table *k, const float *logits, int32_t n, int32_t token,
                    int32_t n_top, struct sample_out *ret)
{
    struct scale c;
    int r = find_scale(k, logits, n, &c);

    if (r)
        return r;
    put_top(&c, logits, n, n_top, ret);
    ret->token = token;
    ret->logprob = logprob(&c, logits[token]);
    return 0;
}

static int penalised(const struct sampling *p)
{
    return p->repetition_penalty != 1 || p->frequency_penalty != 0 || p->presence_penalty != 0;
}

static void apply_penalties(float *z, const struct sample_in *in, struct sample_scratch *s)
{
    const struct sampling *p = in->p;
    const int32_t *answer = in->history ? in->history + in->n_prompt : NULL;
    int32_t n_answer = in->n_history - in->n_prompt;

    if (p->repetition_penalty != 1) {
        for (int32_t i = 0; i < in->n_history; i++) {
            int32_t t = in->history[i];
            if (s->count[t]++ == 0)
                z[t] = z[t] > 0 ? z[t] / p->repetition_penalty : z[t] * p->repetition_penalty;
        }
        for (int32_t i = 0; i < in->n_history; i++)
            s->count[in->history[i]] = 0;
    }
    if (p->frequency_penalty != 0 || p->presence_penalty != 0) {
        for (int32_t i = 0; i < n_answer; i++)
            s->count[answer[i]]++;
        for (int32_t i = 0; i < n_answer; i++) {
            int32_t t = answer[i];
            if (s->count[t]) {
                z[t] -= p->frequency_penalty * (float)s->count[t] + p->presence_penalty;
                s->count[t] = 0;
            }
        }
    }
}

/* A draw from softmax(z) over all n: find the block by its sum, then the token inside it. */
static int32_t draw_all(const struct kern_table *k, const float *z, int32_t n, float max, float u)
{
    double total = 0, at = 0, want;
    int32_t last = 0;

    for (int32_t i = 0; i < n; i += BLOCK)
        total += (double)k->sum_exp(z + i, max, n - i < BLOCK ? n - i : BLOCK);
    want = (double)u * total;
    for (int32_t i = 0; i < n; i += BLOCK) {
        int32_t m = n - i < BLOCK ? n - i : BLOCK;
        double sum = (double)k->sum_exp(z + i, max, m);
        if (sum > 0)
            last = i;
        if (at + sum > want && sum > 0)
            break;
        at += sum;
    }
    for (int32_t i = last, end = last + BLOCK < n ? last + BLOCK : n, hit = -1;; i++) {
        double p;
        if (i == end)
            return hit < 0 ? last
                           : hit; /* rounding may leave a rest: then the block's last candidate */
        p = (double)kern_exp(z[i] - max);
        if (p > 0)
            hit = i;
        at += p;
        if (at > want && p > 0)
            return i;
    }
}

/* Order of candidates: value down, then id up. */
static int better(const float *z, int32_t a, int32_t b)
{
    return z[a] > z[b] || (z[a] == z[b] && a < b);
}

static void sift(const float *z, int32_t *heap, int32_t n, int32_t i)
{
    for (;;) {
        int32_t c = 2 * i + 1, t;
        if (c >= n)
            return;
        if (c + 1 < n && better(z, heap[c + 1], heap[c]))
            c++;
        if (!better(z, heap[c], heap[i]))
            return;
        t = heap[c];
        heap[c] = heap[i];
        heap[i] = t;
        i = c;
    }
}

static int32_t count_above(const float *z, int32_t n, float low)
{
    int32_t count = 0;
    for (int32_t i = 0; i < n; i++)
        count += z[i] >= low;
    return count;
}

/* How many of the n candidates at the end of `list` (the best is the last) have a logit of `low` or
 * more; at least one. */
static int32_t keep_above(const float *z, const int32_t *list, int32_t n, float low)
{
    while (n > 1 && z[list[1 - n]] < low)
        n--;
    return n;
}

/* Candidates best first from a heap, until top_k, top_p or min_p says enough; kept ones are moved
 * to the end of `heap`. No full sort of the vocabulary: only what can matter enters the heap. */
static int32_t draw_some(const struct kern_table *k, const float *z, int32_t n, float max, float u,
                         const struct sampling *p, int32_t *heap)
{
    int32_t most = p->top_k > 0 && p->top_k < n ? p->top_k : n, have, kept, left;
    float cut = p->min_p > 0 ? kern_log(p->min_p) : -INFINITY;
    /* top_p counts the mass of all the top k, so min_p comes after it then. */
    float low_rel = p->top_k > 0 && p->top_p < 1 ? -INFINITY : cut;
    double total = -1, sum, at = 0;

    /* Everything within `reach` of the best; widened until the limits are met inside it. Counting
     * is cheap, a heap of many is not: where logits lie flat, thousands stand within a few nats. */
    for (float reach = REACH;; reach *= 2) {
        int whole = reach > 1000 || max - reach <= max + low_rel; /* nothing possible lies below */
        float low = whole ? max + low_rel : max - reach;
        if (!whole && p->top_k > 0 && count_above(z, n, low) < most)
            continue;
        have = 0;
        for (int32_t i = 0; i < n; i++) {
            if (z[i] >= low)
                heap[have++] = i;
        }
        for (int32_t i = have / 2 - 1; i >= 0; i--)
            sift(z, heap, have, i);
        if (p->top_k > 0) { /* top_p counts among the top k: their mass is the whole */
            total = -1;
        } else if (total < 0) {
            total = 0;
            for (int32_t i = 0; i < n; i += BLOCK)
                total += (double)k->sum_exp(z + i, max, n - i < BLOCK ? n - i : BLOCK);
        }
        left = have;
        kept = 0;
        sum = 0;
        while (left > 0 && kept < most) {
            int32_t best = heap[0];
            if (total >= 0 && p->top_p < 1 && sum >= (double)p->top_p * total)
                break;
            heap[0] = heap[--left];
            sift(z, heap, left, 0);
            heap[left] = best; /* kept ones fill the end, best last */
            sum += (double)kern_exp(z[best] - max);
            kept++;
        }
        if (whole || kept == most || left > 0)
            break;
        if (total >= 0 && sum >= (double)p->top_p * total)
            break;
    }
    /* heap[have - 1] is the best, heap[have - kept] the last kept. */
    if (p->top_k > 0 && p->top_p < 1) {
        double part = 0;
        int32_t i = 0;
        while (i < kept && (i == 0 || part < (double)p->top_p * sum))
            part += (double)kern_exp(z[heap[have - 1 - i++]] - max);
        kept = keep_above(z, heap + have - 1, i, max + cut);
        sum = 0;
        for (i = 0; i < kept; i++)
            sum += (double)kern_exp(z[heap[have - 1 - i]] - max);
    }
    for (int32_t i = 0; i < kept; i++) {
        int32_t t = heap[have - 1 - i];
        at += (double)kern_exp(z[t] - max);
        if (at > (double)u * sum)
            return t;
    }
    return heap[have - (kept ? kept : 1)];
}

int sample_token(const struct kern_table *k, float *z, const struct sample_in *in,
                 struct sample_scratch *s, struct sample_out *ret)
{
    const struct sampling *p = in->p;
    int32_t n = s->n_vocab, best;
    struct scale raw = {0}; /* where p->logprobs */
    float max, u;

    ret->n_top = 0;
    ret->logprob = 0;
    if (p->logprobs) {
        int rc = find_scale(k, z, n, &raw);
        if (rc)
            return rc;
        put_top(&raw, z, n, p->n_top, ret);
        memcpy(s->z, z, (size_t)n * sizeof *z);
    } else if (!k->argmax(z, n, &best)) {
        return ERR_NUMERIC;
    }
    for (int32_t i = 0; i < in->n_banned; i++)
        z[in->banned[i]] = MASKED;
    for (int32_t i = 0; i < p->n_bias; i++)
        z[p->bias[i].token] += p->bias[i].bias;
    apply_penalties(z, in, s);
    if (p->logprobs || in->n_banned || p->n_bias || penalised(p))
        k->argmax(z, n, &best);
    ret->token = best;
    if (p->temperature >= TEMPERATURE_MIN && p->top_p > 0 && p->top_k != 1) {
        if (p->temperature != 1)
            k->scale(z, 1 / p->temperature, n);
        max = z[best]; /* it became infinite: only the best token can be drawn */
        u = rand_uniform(p->seed, in->choice, in->position);
        if (isfinite(max) && p->top_k <= 0 && p->top_p >= 1 && p->min_p <= 0)
            ret->token = draw_all(k, z, n, max, u);
        else if (isfinite(max))
            ret->token = draw_some(k, z, n, max, u, p, s->cand);
    }
    if (p->logprobs)
        ret->logprob = logprob(&raw, s->z[ret->token]);
    return 0;
}
