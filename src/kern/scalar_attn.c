/* Scalar reference: attention, line by line the order that kern/attn.h defines. */
#include "kern/attn.h"

#include "base/check.h"
#include "kern/scalar.h"

/* Value number `at` of a page; for q8_0 the scale of its block lies at byte `scale`. */
static float kv_at(enum kern_kv kv, const uint8_t *page, size_t at, size_t scale)
{
    float f;
    uint16_t h;
    if (kv == KERN_KV_Q8_0) {
        memcpy(&f, page + scale, 4);
        return (float)(int8_t)page[at] * f;
    }
    if (kv == KERN_KV_F32) {
        memcpy(&f, page + 4 * at, 4);
        return f;
    }
    memcpy(&h, page + 2 * at, 2);
    return kmath_f16_to_f32(h);
}

/* The maximum, sums and outputs of one row: of one block, or of several blocks joined. */
struct row {
    float m, l[16], o[ATTN_DIM_MAX];
};

static float key_at(const struct kern_attn *a, const uint8_t *page, int32_t d, int32_t j)
{
    size_t scale = attn_k_scales(a->head_dim) + 4 * (size_t)(d / 32 * KERN_PAGE + j);
    return kv_at(a->kv, page, (size_t)(d * KERN_PAGE + j), scale);
}

static float value_at(const struct kern_attn *a, const uint8_t *page, int32_t d, int32_t j)
{
    size_t scale =
        attn_v_scales(a->head_dim) + 4 * (size_t)(j * attn_kv_blocks(a->head_dim) + d / 32);
    return kv_at(a->kv, page, (size_t)((KERN_PAGE + j) * a->head_dim + d), scale);
}

static float round_bf16(float x)
{
    return kmath_bf16_to_f32(kmath_f32_to_bf16(x));
}

static float score(const struct kern_attn *a, const float *q, int32_t pos)
{
    const uint8_t *page = a->base + (size_t)a->page[pos / KERN_PAGE] * a->page_stride;
    float s = 0.0f;
    for (int32_t d = 0; d < a->head_dim; d++)
        s = fmaf(q[d], key_at(a, page, d, pos % KERN_PAGE), s);
    return s;
}

static void add_value(const struct kern_attn *a, float p, int32_t pos, float *o)
{
    const uint8_t *page = a->base + (size_t)a->page[pos / KERN_PAGE] * a->page_stride;
    for (int32_t d = 0; d < a->head_dim; d++)
        o[d] = fmaf(p, value_at(a, page, d, pos % KERN_PAGE), o[d]);
}

/* One row's attention over the positions [p0, p1), which lie in one block. */
static void block_row(const struct kern_attn *a, const float *q, int32_t p0, int32_t p1,
                      struct row *st)
{
    float s[KERN_ATTN_BLOCK], top = -INFINITY, k = attn_k(a);
    for (int32_t j = p0; j < p1; j++) {
        s[j - p0] = score(a, q, j);
        top = top > s[j - p0] ? top : s[j - p0];
    }
    *st = (struct row){.m = k * top};
    for (int32_t j = p0; j < p1; j++) {
        float p = kmath_exp2(fmaf(s[j - p0], k, -st->m));
        st->l[j % 16] += p;
        add_value(a, p, j, st->o);
    }
}

/* The same in bf16. */
static void block_row_bf16(const struct kern_attn *a, const float *q, int32_t p0, int32_t p1,
                           struct row *st)
{
    float s[KERN_ATTN_BLOCK], top = -INFINITY, k = attn_k(a), qb[ATTN_DIM_MAX];
    int32_t dim = a->head_dim;
    for (int32_t d = 0; d < dim; d++)
        qb[d] = round_bf16(q[d]);
    for (int32_t j = p0; j < p1; j++) {
        const uint8_t *page = a->base + (size_t)a->page[j / KERN_PAGE] * a->page_stride;
        float sum = 0.0f;
        for (int32_t d0 = 0; d0 < dim; d0 += 32) {
            float two[2] = {0.0f, 0.0f};
            for (int32_t d = d0; d < dim && d < d0 + 32; d++)
                two[d % 2] += qb[d] * round_bf16(key_at(a, page, d, j % KERN_PAGE));
            sum += two[0] + two[1];
        }
        s[j - p0] = sum;
        top = top > s[j - p0] ? top : s[j - p0];
    }
    *st = (struct row){.m = k * top};
    for (int32_t j = p0, end; j < p1; j = end) { /* the slots of a page */
        const uint8_t *page = a->base + (size_t)a->page[j / KERN_PAGE] * a->page_stride;
        float two[2][ATTN_DIM_MAX] = {{0}};
        end =
            j / KERN_PAGE * KERN_PAGE + KERN_PAGE < p1 ? j / KERN_PAGE * KERN_PAGE + KERN_PAGE : p1;
        for (int32_t i = j; i < end; i++) {
            float p = round_bf16(kmath_exp2(fmaf(s[i - p0], k, -st->m)));
            st->l[i % 16] += p;
            for (int32_t d = 0; d < dim; d++)
                two[i % 2][d] += p * round_bf16(value_at(a, page, d, i % KERN_PAGE));
        }
        for (int32_t d = 0; d < dim; d++)
            st->o[d] += two[0][d] + two[1][d];
    }
}

static void join_row(const struct kern_attn *a, struct row *all, float m, const float *l,
                     const float *o)
{
    float top = all->m > m ? all->m : m, old = kmath_exp2(all->m - top), c = kmath_exp2(m - top);
    all->m = top;
    for (int i = 0; i < 16; i++)
        all->l[i] = fmaf(l[i], c, all->l[i] * old);
    for (int32_t d = 0; d < a->head_dim; d++)
        all->o[d] = fmaf(o[d], c, all->o[d] * old);
}

static void row_end(const struct kern_attn *a, struct row *st, const float *sink, float *out)
{
    float extra = 0.0f;
    if (sink) {
        float x = *sink * KMATH_LOG2E, top = st->m > x ? st->m : x, c = kmath_exp2(st->m - top);
        for (int i = 0; i < 16; i++)
            st->l[i] *= c;
        for (int32_t d = 0; d < a->head_dim; d++)
            st->o[d] *= c;
        extra = kmath_exp2(x - top);
    }
    for (int step = 8; step > 0; step /= 2)
        for (int i = 0; i < step; i++)
            st->l[i] += st->l[i + step];
    float inv = 1.0f / (sink ? st->l[0] + extra : st->l[0]);
    for (int32_t d = 0; d < a->head_dim; d++)
        out[d] = st->o[d] * inv;
}

/* Row i: all blocks that it sees, computed or (join) taken from the parts. */
typedef void block_fn(const struct kern_attn *a, const float *q, int32_t p0, int32_t p1,
                      struct row *st);

static void whole_row(const struct kern_attn *a, int32_t i, block_fn *block, int join)
{
    int32_t t = i / a->n_group, h = i % a->n_group, p = a->pos + t, lo = attn_first(a, p);
    int32_t b0 = lo / KERN_ATTN_BLOCK, b1 = p / KERN_ATTN_BLOCK + 1;
    size_t at = (size_t)h * (size_t)a->head_dim;
    struct row all = {.m = -INFINITY}, one;
    if (a->part && !join) {
        b0 = b0 > a->block0 ? b0 : a->block0;
        b1 = b1 < a->block1 ? b1 : a->block1;
    }
    for (int32_t b = b0; b < b1; b++) {
        int32_t p0 = b * KERN_ATTN_BLOCK, p1 = p0 + KERN_ATTN_BLOCK;
        float *part = a->part ? attn_part(a, b, i) : NULL;
        if (!join)
            block(a, a->q + (size_t)t * a->q_stride + at, lo > p0 ? lo : p0,
                  p + 1 < p1 ? p + 1 : p1, &one);
        if (join) {
            join_row(a, &all, part[ATTN_PART_M], part, part + ATTN_PART_O);
        } else if (part) {
            memcpy(part, one.l, sizeof one.l);
            part[ATTN_PART_M] = one.m;
            memcpy(part + ATTN_PART_O, one.o, (size_t)a->head_dim * sizeof(float));
        } else {
            join_row(a, &all, one.m, one.l, one.o);
        }
    }
    if (join || !a->part)
        row_end(a, &all, a->sinks ? a->sinks + h : NULL, a->out + (size_t)t * a->out_stride + at);
}

void scalar_attn(const struct kern_attn *a)
{
    CHECK(a->head_dim > 0 && a->head_dim % 16 == 0 && a->head_dim <= ATTN_DIM_MAX);
    for (int32_t i = 0; i < a->n_tok * a->n_group; i++)
        whole_row(a, i, block_row, 0);
}

void scalar_attn_bf16(const struct kern_attn *a)
{
    CHECK(a->head_dim > 0 && a->head_dim % 16 == 0 && a->head_dim <= ATTN_DIM_MAX);
    for (int32_t i = 0; i < a->n_tok * a->n_group; i++)
        whole_row(a, i, block_row_bf16, 0);
}

void scalar_attn_join(const struct kern_attn *a)
{
    for (int32_t i = 0; i < a->n_tok * a->n_group; i++)
        whole_row(a, i, NULL, 1);
}
