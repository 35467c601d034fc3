/* Timed prefill and decode for `gaufre bench`: the step itself, without queue and events. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/rand.h"
#include "engine/engine_int.h"

#define SALT 0x70726f6265u /* of the KV cache: shares pages with no request */

struct engine_bench {
    struct engine *e;
    int32_t depth, n_max, batch;
    int same_prompt; /* the sequences' first `depth` tokens are the same, and their full pages too
                      */
    struct kv_seq *seq;
    int32_t *prompt; /* [depth] of the sequence in hand */
    int32_t *token, *out, *next;
    struct step_seg *seg;
};

static int32_t random_token(const struct engine *e, int32_t seq, int32_t pos)
{
    uint32_t r[4];
    rand_philox(1, (uint64_t)pos, (uint64_t)seq, r);
    return (int32_t)(r[0] % (uint32_t)e->info.n_vocab);
}

void engine_bench_close(struct engine_bench *p)
{
    if (!p)
        return;
    for (int32_t i = 0; p->seq && i < p->batch; i++) {
        if (p->seq[i].n_pages)
            kv_seq_close(p->e->kv, &p->seq[i]);
        kv_seq_done(&p->seq[i]);
    }
    free(p->seq);
    free(p->prompt);
    free(p->token);
    free(p->out);
    free(p->next);
    free(p->seg);
    free(p);
}

/* Tokens [from, to) of a sequence, in chunks. */
static uint64_t prefill_seq(struct engine_bench *p, int32_t i, int32_t from, int32_t to)
{
    struct engine *e = p->e;
    uint64_t bytes = 0;

    for (int32_t at = from; at < to; at += e->info.chunk) {
        int32_t n = to - at < e->info.chunk ? to - at : e->info.chunk, last = n - 1;
        struct step_seg seg = {.kv = &p->seq[i], .pos = at, .tok = 0, .n = n};
        struct step_batch b = {.token = p->token,
                               .n_tok = n,
                               .seg = &seg,
                               .n_segs = 1,
                               .out = &last,
                               .n_out = at + n == to};
        for (int32_t k = 0; k < n; k++)
            p->token[k] = at + k < p->depth ? p->prompt[at + k] : random_token(e, i, at + k);
        bytes += step_run(e->step, &b);
    }
    return bytes;
}

static uint64_t prefill(struct engine_bench *p, int32_t from, int32_t to)
{
    uint64_t bytes = 0;

    for (int32_t i = 0; i < p->batch; i++)
        bytes += prefill_seq(p, i, from, to);
    return bytes;
}

/* A sequence and the tokens before those that are measured. */
static int begin_seq(struct engine_bench *p, int32_t i, struct err *err)
{
    struct engine *e = p->e;
    int32_t cached;
    int rc = kv_seq_init(e->kv, &p->seq[i]);

    if (rc)
        return err_set(err, rc, "no memory to measure with");
    for (int32_t k = 0; k < p->depth; k++)
        p->prompt[k] = random_token(e, p->same_prompt ? 0 : i, k);
    cached = kv_seq_open(e->kv, &p->seq[i], SALT, p->same_prompt && i, p->same_prompt, p->prompt,
                         NULL, p->depth);
    rc = kv_seq_grow(e->kv, &p->seq[i], p->depth + p->n_max);
    if (rc)
        return err_set(err, rc, "the KV cache does not hold %d sequences of %d tokens", p->batch,
                       p->depth + p->n_max);
    prefill_seq(p, i, cached, p->depth);
    kv_seq_commit(e->kv, &p->seq[i], p->prompt, NULL, p->depth);
    return 0;
}

static uint64_t decode(struct engine_bench *p, int32_t n)
{
    struct engine *e = p->e;
    uint64_t bytes = 0;

    for (int32_t i = 0; i < p->batch; i++)
        p->next[i] = random_token(e, i, p->depth);
    for (int32_t k = 0; k < n; k++) {
        struct step_batch b = {.token = p->token,
                               .n_tok = p->batch,
                               .n_answer = p->batch,
                               .seg = p->seg,
                               .n_segs = p->batch,
                               .out = p->out,
                               .n_out = p->batch};
        for (int32_t i = 0; i < p->batch; i++) {
            p->token[i] = p->next[i];
            p->out[i] = i;
            p->seg[i] = (struct step_seg){.kv = &p->seq[i], .pos = p->depth + k, .tok = i, .n = 1};
        }
        bytes += step_run(e->step, &b);
        for (int32_t i = 0; i < p->batch; i++)
            e->kern->argmax(step_logits(e->step, i), e->info.n_vocab, &p->next[i]);
    }
    return bytes;
}

int engine_bench_open(struct engine_bench **ret, struct engine *e, int32_t depth, int32_t n_max,
                      int32_t batch, int same_prompt, struct err *err)
{
    struct engine_bench *p;
    int rc = ERR_NOMEM;
    int32_t most = e->info.chunk > batch ? e->info.chunk : batch;

    if (batch < 1 || batch > e->info.batch_max)
        return err_set(err, ERR_ARG, "a batch of %d; this engine takes 1 to %d", batch,
                       e->info.batch_max);
    if (depth < 0 || n_max < 1 || depth > e->info.context - n_max)
        return err_set(err, ERR_CONTEXT, "depth %d and %d tokens do not fit into the context of %d",
                       depth, n_max, e->info.context);
    p = calloc(1, sizeof *p);
    if (!p)
        return err_set(err, rc, "no memory to measure with");
    p->e = e;
    p->depth = depth;
    p->n_max = n_max;
    p->batch = batch;
    p->same_prompt = same_prompt;
    p->seq = calloc((size_t)batch, sizeof *p->seq);
    p->prompt = calloc((size_t)depth + 1, sizeof *p->prompt);
    p->token = calloc((size_t)most, sizeof *p->token);
    p->out = calloc((size_t)batch, sizeof *p->out);
    p->next = calloc((size_t)batch, sizeof *p->next);
    p->seg = calloc((size_t)batch, sizeof *p->seg);
    if (!p->seq || !p->prompt || !p->token || !p->out || !p->next || !p->seg) {
        err_set(err, rc, "no memory to measure with");
        goto fail;
    }
    rc = 0;
    team_lock(e->team);
    for (int32_t i = 0; i < batch && !rc; i++)
        rc = begin_seq(p, i, err);
    team_unlock(e->team);
    if (rc)
        goto fail;
    *ret = p;
    return 0;
fail:
    engine_bench_close(p);
    return rc;
}

int engine_bench_run(struct engine_bench *p, int is_decode, int32_t n, int64_t *ret_us,
                     uint64_t *ret_bytes, struct err *err)
{
    int64_t start;

    if (n < 1 || n > p->n_max)
        return err_set(err, ERR_ARG, "%d tokens; a run has 1 to %d", n, p->n_max);
    team_lock(p->e->team);
    start = clock_now_us();
    *ret_bytes = is_decode ? decode(p, n) : prefill(p, p->depth, p->depth + n);
    *ret_us = clock_now_us() - start;
    team_unlock(p->e->team);
    return 0;
}
