/* The feed-forward of a layer: dense, or experts. */
#include <string.h>

#include "engine/step_int.h"

#define TOKENS16_X 128 /* instead of TOKENS16 where a row is longer than */
#define ROW16_LONG 2048

/* The part of the matrix that begins at group g. */
static struct kern_mat rows_from(const struct kern_mat *m, int32_t g)
{
    struct kern_mat v = *m;
    v.rows -= g * KERN_LANES;
    v.data += (size_t)g * kern_group_bytes(m->fmt, m->cols);
    return v;
}

/* Add the output of the previous layer's feed-forward to the residual stream of token t. */
void step_ffn_finish(struct step *s, int32_t t)
{
    const struct model *m = s->m;
    const struct model_layer *l = &m->layer[s->layer - 1];
    float *x = s->x + (size_t)t * (size_t)m->n_embd, *y = s->y + (size_t)t * (size_t)m->n_embd;

    if (m->n_experts) {
        memset(y, 0, (size_t)m->n_embd * sizeof *y);
        for (int32_t r = 0; r < m->n_used; r++) {
            size_t i = (size_t)t * (size_t)m->n_used + (size_t)r;
            s->k->axpy(y, s->used_w[i], s->ys + (size_t)s->slot[i] * (size_t)m->n_embd, m->n_embd);
        }
    }
    if (l->post_ffn_norm)
        s->k->rmsnorm(y, l->post_ffn_norm, m->norm_eps, m->n_embd, y);
    s->k->add(x, y, m->n_embd);
}

/* Choose the experts of a token: their ids, by descending router logit (of equals the lower id
 * first), and their weights. */
static void route_token(struct step *s, int32_t t)
{
    const struct model *m = s->m;
    struct step_act a = step_act_from(&s->a_x, t);
    float *z = s->router + (size_t)t * (size_t)m->n_experts, sum = 0;
    int32_t *id = s->used + (size_t)t * (size_t)m->n_used;
    float *wt = s->used_w + (size_t)t * (size_t)m->n_used;

    step_product(s, &s->l->router, s->l->b_router, 0, kern_mat_groups(&s->l->router), &a, NULL, 1,
                 t < s->n_int8, z, (size_t)m->n_experts);
    for (int32_t r = 0; r < m->n_used; r++) {
        int32_t best = -1;
        for (int32_t i = 0; i < m->n_experts; i++) {
            int taken = 0;
            for (int32_t j = 0; j < r; j++)
                taken |= id[j] == i;
            if (!taken && (best < 0 || z[i] > z[best]))
                best = i;
        }
        id[r] = best;
    }
    /* Softmax over the chosen equals softmax over all, renormalised: one formula for all
     * families. */
    for (int32_t r = 0; r < m->n_used; r++)
        sum += wt[r] = kern_exp(z[id[r]] - z[id[0]]);
    for (int32_t r = 0; r < m->n_used; r++)
        wt[r] /= sum;
}

static void ph_ffn_norm(void *arg, int w, int32_t t0, int32_t t1)
{
    struct step *s = arg;
    const struct model *m = s->m;
    const struct model_layer *l = s->l;

    (void)w;
    for (int32_t t = t0; t < t1; t++) {
        size_t at = (size_t)t * (size_t)m->n_embd;
        float *x = s->x + at, *y = s->y + at;
        if (l->post_attn_norm)
            s->k->rmsnorm(y, l->post_attn_norm, m->norm_eps, m->n_embd, y);
        s->k->add(x, y, m->n_embd);
        s->k->rmsnorm(x, l->ffn_norm, m->norm_eps, m->n_embd, s->xn + at);
        step_narrow(s, &s->a_x, t, t, m->n_embd % KERN_BLOCK == 0 && s->c.cls != ENGINE_F32);
        if (m->n_experts)
            route_token(s, t);
    }
}

static int32_t inner_tokens16(const struct step *s)
{
    return s->m->n_embd > ROW16_LONG ? TOKENS16_X : TOKENS16;
}

/* How many groups a feed-forward item has: fewer where there would be fewer items than workers. */
static int32_t ffn_groups(const struct step *s, int32_t n_groups)
{
    int32_t n = s->b->n_tok > FEW_TOKENS ? FFN_GROUPS : STREAMED;
    if (s->n_int8 < s->b->n_tok)
        n = FFN_GROUPS * FFN_TOKENS / inner_tokens16(s);
    while (n > 2 && n_groups / n < 2 * team_size(s->c.team))
        n /= 2;
    return n;
}

/* The first half of a feed-forward (gate, up, activation): of the whole layer, or of one expert. */
struct inner {
    struct kern_mat gate, up;
    const float *b_gate, *b_up;
    const struct kern_mat *down;
    struct step_act in;  /* the tokens' activations; bf16 rows are in order of slot */
    const int32_t *rows; /* row of each token in `in`, or NULL: in order */
    int32_t slot;        /* slot of the first token */
};

/* Compute gate, up and activation for at most `per` groups from g0 on and the tokens [t, t + n) of
 * f, and convert the result to the form that the second half reads. Either all of these tokens are
 * int8 or none is. */
static void inner_block(struct step *s, int w, const struct inner *f, int32_t g0, int32_t per,
                        int32_t t, int32_t n, int is_int8)
{
    size_t z_stride = (size_t)per * KERN_LANES;
    float *zg = s->scratch + (size_t)w * 2 * FFN_TOKENS * FFN_ROWS, *zu = zg + z_stride * (size_t)n;
    int32_t groups = kern_mat_groups(&f->gate), r0 = g0 * KERN_LANES;
    int32_t g1 = g0 + per < groups ? g0 + per : groups;
    int32_t n_rows = f->gate.rows - r0 < per * KERN_LANES ? f->gate.rows - r0 : per * KERN_LANES;
    struct kern_mat gate = rows_from(&f->gate, g0), up = rows_from(&f->up, g0);
    struct step_act *a = &s->a_h, in = f->in;
    const int32_t *rows = f->rows ? f->rows + t : NULL;

    if (!rows)
        in = step_act_from(&f->in, t);
    else if (in.b)
        in.b += (size_t)t * in.b_stride;
    step_product(s, &gate, f->b_gate ? f->b_gate + r0 : NULL, 0, g1 - g0, &in, rows, n,
                 is_int8 ? n : 0, zg, z_stride);
    step_product(s, &up, f->b_up ? f->b_up + r0 : NULL, 0, g1 - g0, &in, rows, n, is_int8 ? n : 0,
                 zu, z_stride);
    for (int32_t j = 0; j < n; j++) {
        size_t slot = (size_t)(f->slot + t + j), at = slot * (size_t)a->q.cols + (size_t)r0;
        size_t z = (size_t)j * z_stride;
        s->k->glu(s->m->family->act, zg + z, zu + z, n_rows, s->h + at);
        if (!is_int8) {
            s->k->to_bf16(s->h + at, n_rows, a->b + slot * a->b_stride + (size_t)r0);
        } else if (step_reads_int8(s, f->down)) {
            struct kern_act block = {.n = 1,
                                     .cols = n_rows,
                                     .f = s->h + at,
                                     .f_stride = (size_t)n_rows,
                                     .q = a->q.q + at,
                                     .scale = a->q.scale + at / 32,
                                     .sum = a->q.sum + at / 16};
            s->k->quantize(&block, 0);
        }
    }
}

/* The same for the tokens [t, end) of f, of which those before n_int8 are int8. */
static void inner_rows(struct step *s, int w, const struct inner *f, int32_t g0, int32_t per,
                       int32_t t, int32_t end, int32_t n_int8)
{
    for (int32_t n; t < end; t += n) {
        int is_int8 = t < n_int8;
        int32_t most = is_int8 ? FFN_TOKENS : inner_tokens16(s), stop = is_int8 ? n_int8 : end;
        n = stop - t < most ? stop - t : most;
        inner_block(s, w, f, g0, per, t, n, is_int8);
    }
}

static int32_t n_parts(const struct kern_mat *m, int32_t per)
{
    return (kern_mat_groups(m) + per - 1) / per;
}

/* Items: (block of tokens, part of the groups). */
static void ph_inner(void *arg, int w, int32_t i0, int32_t i1)
{
    struct step *s = arg;
    const struct model_layer *l = s->l;
    struct inner f = {l->gate, l->up, l->b_gate, l->b_up, &l->down, s->a_x, NULL, 0};
    int32_t parts = n_parts(&l->gate, s->ffn_per);

    for (int32_t i = i0; i < i1; i++) {
        int32_t t0, t1;
        step_block_tokens(s, i / parts, inner_tokens16(s), &t0, &t1);
        inner_rows(s, w, &f, i % parts * s->ffn_per, s->ffn_per, t0, t1, s->n_int8);
    }
}

static void down_block(struct step *s, int32_t g0, int32_t g1, int32_t t0, int32_t t1)
{
    step_product_block(s, &s->l->down, s->l->b_down, g0, g1, &s->a_h, t0, t1, s->y);
}

/* Group the (token, rank) pairs by expert: slots of one expert lie together, in order of token. */
static void group_by_expert(struct step *s)
{
    const struct model *m = s->m;
    int32_t n = s->b->n_tok * m->n_used, *count = s->x_begin;

    memset(count, 0, (size_t)(m->n_experts + 1) * sizeof *count);
    for (int32_t i = 0; i < n; i++)
        count[s->used[i] + 1]++;
    for (int32_t e = 0; e < m->n_experts; e++)
        count[e + 1] += count[e];
    /* count[e] is now e's first slot; fill moves it to the end, so shift back afterwards */
    for (int32_t i = 0; i < n; i++) {
        s->slot[i] = count[s->used[i]]++;
        s->slot_tok[s->slot[i]] = i / m->n_used;
    }
    for (int32_t e = m->n_experts; e > 0; e--)
        count[e] = count[e - 1];
    count[0] = 0;
    s->n_active = 0;
    for (int32_t e = 0; e < m->n_experts; e++) {
        int32_t i = count[e];
        if (count[e + 1] > count[e])
            s->active[s->n_active++] = e;
        while (i < count[e + 1] && s->slot_tok[i] < s->n_int8)
            i++;
        s->x_int8[e] = i - count[e];
    }
}

/* Copy the tokens' bf16 rows so that the rows of one expert lie side by side. */
static void ph_x_gather(void *arg, int w, int32_t i0, int32_t i1)
{
    struct step *s = arg;
    size_t stride = s->a_x.b_stride;

    (void)w;
    for (int32_t i = i0; i < i1; i++) {
        if (s->slot_tok[i] >= s->n_int8)
            memcpy(s->xs + (size_t)i * stride, s->a_x.b + (size_t)s->slot_tok[i] * stride,
                   (size_t)s->m->n_embd * sizeof *s->xs);
    }
}

/* Items: (active expert, part of its groups). */
static void ph_x_inner(void *arg, int w, int32_t i0, int32_t i1)
{
    struct step *s = arg;
    const struct model_layer *l = s->l;
    int32_t parts = n_parts(&l->x_gate.first, s->ffn_per);
    size_t ff = (size_t)s->m->n_ff_x;

    for (int32_t i = i0; i < i1; i++) {
        int32_t e = s->active[i / parts], slot = s->x_begin[e], n = s->x_begin[e + 1] - slot;
        struct inner f = {.gate = model_expert(&l->x_gate, e),
                          .up = model_expert(&l->x_up, e),
                          .b_gate = l->x_gate.bias ? l->x_gate.bias + (size_t)e * ff : NULL,
                          .b_up = l->x_up.bias ? l->x_up.bias + (size_t)e * ff : NULL,
                          .down = &l->x_down.first,
                          .in = s->a_x,
                          .rows = s->slot_tok + slot,
                          .slot = slot};
        if (s->xs)
            f.in.b = s->xs + (size_t)slot * f.in.b_stride;
        inner_rows(s, w, &f, i % parts * s->ffn_per, s->ffn_per, 0, n, s->x_int8[e]);
    }
}

/* Items: (active expert, group). */
static void ph_x_down(void *arg, int w, int32_t i0, int32_t i1)
{
    struct step *s = arg;
    const struct model_layer *l = s->l;
    int32_t groups = kern_mat_groups(&l->x_down.first), n_embd = s->m->n_embd;

    (void)w;
    while (i0 < i1) {
        int32_t e = s->active[i0 / groups], slot = s->x_begin[e], g0 = i0 % groups;
        int32_t g1 = g0 + (i1 - i0) < groups ? g0 + (i1 - i0) : groups;
        struct kern_mat down = model_expert(&l->x_down, e);
        struct step_act in = step_act_from(&s->a_h, slot);
        step_product(s, &down, l->x_down.bias ? l->x_down.bias + (size_t)e * (size_t)n_embd : NULL,
                     g0, g1, &in, NULL, s->x_begin[e + 1] - slot, s->x_int8[e],
                     s->ys + (size_t)slot * (size_t)n_embd, (size_t)n_embd);
        i0 += g1 - g0;
    }
}

void step_ffn(struct step *s)
{
    const struct model *m = s->m;
    const struct model_layer *l = s->l;
    int32_t n = s->b->n_tok;

    step_per_token(s, ph_ffn_norm, n);
    if (m->n_experts) {
        group_by_expert(s);
        if (s->n_int8 < n)
            step_per_token(s, ph_x_gather, n * m->n_used);
        s->ffn_per = ffn_groups(s, kern_mat_groups(&l->x_gate.first) * s->n_active);
        team_run(s->c.team, s->n_active * n_parts(&l->x_gate.first, s->ffn_per), 1, ph_x_inner, s);
        step_run_product(s, ph_x_down, s->n_active * kern_mat_groups(&l->x_down.first), n);
    } else {
        s->ffn_per = ffn_groups(s, kern_mat_groups(&l->gate));
        team_run(s->c.team, step_n_blocks(s, inner_tokens16(s)) * n_parts(&l->gate, s->ffn_per), 1,
                 ph_inner, s);
        step_run_blocks(s, down_block, kern_mat_groups(&l->down));
    }
}
