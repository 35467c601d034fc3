/* The phases of a step, layer by layer. */
#include "base/check.h"
#include "base/clock.h"
#include "engine/step_int.h"

static void ph_embed(void *arg, int w, int32_t t0, int32_t t1)
{
    struct step *s = arg;
    const struct model *m = s->m;

    (void)w;
    for (int32_t t = t0; t < t1; t++) {
        float *x = s->x + (size_t)t * (size_t)m->n_embd;
        kern_row_f32(&m->embed, s->b->token[t], x);
        if (m->embed_scale != 1)
            s->k->scale(x, m->embed_scale, m->n_embd);
    }
    for (int32_t i = 0; i < s->b->n_segs; i++) {
        const struct step_seg *g = &s->b->seg[i];
        int32_t lo = g->tok > t0 ? g->tok : t0, hi = g->tok + g->n < t1 ? g->tok + g->n : t1;
        for (int32_t t = lo; t < hi; t++) {
            for (int r = 0; r < m->n_kv_groups; r++) {
                size_t at = (size_t)t * (size_t)(m->rope[r].n_rot / 2);
                rope_angles(&m->rope[r], g->pos + t - g->tok, s->cos_[r] + at, s->sin_[r] + at);
            }
        }
    }
}

static void ph_attn_norm(void *arg, int w, int32_t t0, int32_t t1)
{
    struct step *s = arg;
    const struct model *m = s->m;

    (void)w;
    for (int32_t t = t0; t < t1; t++) {
        size_t at = (size_t)t * (size_t)m->n_embd;
        if (s->layer)
            step_ffn_finish(s, t);
        s->k->rmsnorm(s->x + at, s->l->attn_norm, m->norm_eps, m->n_embd, s->xn + at);
        step_narrow(s, &s->a_x, t, t,
                    step_reads_int8(s, &s->l->wq) || step_reads_int8(s, &s->l->wk) ||
                        step_reads_int8(s, &s->l->wv));
    }
}

static void qkv_block(struct step *s, int32_t g0, int32_t g1, int32_t t0, int32_t t1)
{
    const struct model_layer *l = s->l;
    const struct kern_mat *mat[3] = {&l->wq, &l->wk, &l->wv};
    const float *bias[3] = {l->bq, l->bk, l->bv};
    float *out[3] = {s->q, s->kk, s->v};

    for (int i = 0, base = 0; i < 3; i++) {
        int32_t n = kern_mat_groups(mat[i]);
        int32_t lo = g0 > base ? g0 - base : 0, hi = g1 - base < n ? g1 - base : n;
        if (lo < hi)
            step_product_block(s, mat[i], bias[i], lo, hi, &s->a_x, t0, t1, out[i]);
        base += n;
    }
}

static void ph_attn_narrow(void *arg, int w, int32_t t0, int32_t t1)
{
    struct step *s = arg;
    (void)w;
    for (int32_t t = t0; t < t1; t++)
        step_narrow(s, &s->a_ao, t, t, step_reads_int8(s, &s->l->wo));
}

static void attn_out_block(struct step *s, int32_t g0, int32_t g1, int32_t t0, int32_t t1)
{
    step_product_block(s, &s->l->wo, s->l->bo, g0, g1, &s->a_ao, t0, t1, s->y);
}

static void ph_out_norm(void *arg, int w, int32_t i0, int32_t i1)
{
    struct step *s = arg;
    const struct model *m = s->m;

    (void)w;
    for (int32_t i = i0; i < i1; i++) {
        int32_t t = s->b->out[i];
        step_ffn_finish(s, t);
        s->k->rmsnorm(s->x + (size_t)t * (size_t)m->n_embd, m->output_norm, m->norm_eps, m->n_embd,
                      s->xo + (size_t)i * (size_t)m->n_embd);
        if (step_reads_int8(s, &m->output))
            s->k->quantize(&s->a_out.q, i);
    }
}

static void ph_logits(void *arg, int w, int32_t g0, int32_t g1)
{
    struct step *s = arg;
    const struct model *m = s->m;
    int32_t r0 = g0 * KERN_LANES, r1 = g1 * KERN_LANES < m->n_vocab ? g1 * KERN_LANES : m->n_vocab;

    (void)w;
    step_product(s, &m->output, NULL, g0, g1, &s->a_out, NULL, s->b->n_out, s->b->n_out, s->logits,
                 (size_t)m->n_vocab);
    for (int32_t i = 0; m->final_softcap > 0 && i < s->b->n_out; i++) {
        float *z = step_logits(s, i);
        for (int32_t r = r0; r < r1; r++)
            z[r] = m->final_softcap * kern_tanh(z[r] / m->final_softcap);
    }
}

static void run_layer(struct step *s, int i)
{
    const struct model *m = s->m;
    const struct model_layer *l = &m->layer[i];
    int32_t n = s->b->n_tok;

    s->layer = i;
    s->l = l;
    s->place = kv_place(s->c.kv, l);
    step_per_token(s, ph_attn_norm, n);
    step_run_blocks(s, qkv_block,
                    kern_mat_groups(&l->wq) + kern_mat_groups(&l->wk) + kern_mat_groups(&l->wv));
    step_attn(s);
    if (s->n_int8 < n || step_reads_int8(s, &l->wo))
        step_per_token(s, ph_attn_narrow, n);
    step_run_blocks(s, attn_out_block, kern_mat_groups(&l->wo));
    step_ffn(s);
}

uint64_t step_run(struct step *s, const struct step_batch *b)
{
    const struct model *m = s->m;
    uint64_t bytes = m->dense_bytes;

    CHECK(b->n_tok > 0 && b->n_tok <= s->c.tok_max);
    CHECK(b->n_segs > 0 && b->n_segs <= s->c.seg_max && b->n_out <= s->c.out_max);
    CHECK(b->n_answer >= 0 && b->n_answer <= b->n_tok);
    s->b = b;
    s->n_int8 = s->c.cls == ENGINE_BF16 ? b->n_answer : b->n_tok;
    step_attn_begin(s);
    step_per_token(s, ph_embed, b->n_tok);
    for (int i = 0; i < m->n_layers; i++) {
        run_layer(s, i);
        if (s->c.beat_us)
            atomic_store_explicit(s->c.beat_us, clock_now_us(), memory_order_relaxed);
        bytes += m->expert_bytes * (uint64_t)(m->n_experts ? s->n_active : 0);
    }
    if (b->n_out) {
        s->layer = m->n_layers;
        step_per_token(s, ph_out_norm, b->n_out);
        step_run_product(s, ph_logits, kern_mat_groups(&m->output), b->n_out);
        bytes += m->output_bytes;
    }
    return bytes;
}
