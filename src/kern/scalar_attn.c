/* Scalar reference: attention, line by line the order that kern/attn.h defines. */
#include "base/check.h"
#include "kern/attn.h"
#include "kern/kmath.h"
#include "kern/scalar.h"

static float kv_at(enum kern_kv kv, const uint8_t *page, size_t at)
{
    float f;
    uint16_t h;
    if (kv == KERN_KV_F32) {
        memcpy(&f, page + 4 * at, 4);
        return f;
    }
    memcpy(&h, page + 2 * at, 2);
    return kmath_f16_to_f32(h);
}

struct row {
    float m, l[16], o[ATTN_DIM_MAX];
};

static void rescale(const struct kern_attn *a, struct row *s, float m)
{
    float c = kmath_exp(s->m - m);
    s->m = m;
    for (int i = 0; i < 16; i++)
        s->l[i] *= c;
    for (int32_t d = 0; d < a->head_dim; d++)
        s->o[d] *= c;
}

static float score(const struct kern_attn *a, const float *q, const uint8_t *page, int32_t j)
{
    float s = 0.0f;
    for (int32_t d = 0; d < a->head_dim; d++)
        s = fmaf(q[d], kv_at(a->kv, page, (size_t)d * KERN_PAGE + (size_t)j), s);
    s *= a->scale;
    return a->softcap > 0.0f ? a->softcap * kmath_tanh(s / a->softcap) : s;
}

/* Slots [j0, j1) of one page. */
static void row_page(const struct kern_attn *a, const float *q, const uint8_t *page, int32_t j0,
                     int32_t j1, struct row *st)
{
    float s[KERN_PAGE], m = st->m;
    for (int32_t j = j0; j < j1; j++) {
        s[j] = score(a, q, page, j);
        m = m > s[j] ? m : s[j];
    }
    rescale(a, st, m);
    for (int32_t j = j0; j < j1; j++) {
        float p = kmath_exp(s[j] - m);
        st->l[j % 16] += p;
        for (int32_t d = 0; d < a->head_dim; d++) {
            size_t at = (size_t)KERN_PAGE * (size_t)a->head_dim + (size_t)j * (size_t)a->head_dim +
                        (size_t)d;
            st->o[d] = fmaf(p, kv_at(a->kv, page, at), st->o[d]);
        }
    }
}

static void row_end(const struct kern_attn *a, struct row *st, const float *sink, float *out)
{
    if (sink)
        rescale(a, st, st->m > *sink ? st->m : *sink);
    for (int step = 8; step > 0; step /= 2)
        for (int i = 0; i < step; i++)
            st->l[i] += st->l[i + step];
    float sum = st->l[0];
    if (sink)
        sum += kmath_exp(*sink - st->m);
    float inv = 1.0f / sum;
    for (int32_t d = 0; d < a->head_dim; d++)
        out[d] = st->o[d] * inv;
}

void scalar_attn(const struct kern_attn *a)
{
    CHECK(a->head_dim > 0 && a->head_dim % 16 == 0 && a->head_dim <= ATTN_DIM_MAX);
    for (int32_t t = 0; t < a->n_tok; t++)
        for (int32_t h = 0; h < a->n_group; h++) {
            size_t at = (size_t)h * (size_t)a->head_dim;
            const float *q = a->q + (size_t)t * a->q_stride + at;
            struct row st = {.m = -INFINITY};
            int32_t p = a->pos + t, lo = attn_first(a, p);
            for (int32_t i = lo / KERN_PAGE; i <= p / KERN_PAGE; i++) {
                int32_t first = i * KERN_PAGE;
                int32_t j0 = lo > first ? lo - first : 0;
                int32_t j1 = p + 1 - first < KERN_PAGE ? p + 1 - first : KERN_PAGE;
                row_page(a, q, a->base + (size_t)a->page[i] * a->page_stride, j0, j1, &st);
            }
            row_end(a, &st, a->sinks ? a->sinks + h : NULL,
                    a->out + (size_t)t * a->out_stride + at);
        }
}
