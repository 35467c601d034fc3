/* Work memory of a step: one mapping, laid out once. */
#include <stdlib.h>
#include <sys/mman.h>

#include "engine/step_int.h"

/* Hands out pieces of one mapping; with base NULL it only counts how large the mapping must be. */
struct carve {
    uint8_t *base;
    size_t at;
};

static void *carve(struct carve *c, size_t n, size_t size)
{
    void *p = c->base ? c->base + c->at : NULL;
    c->at += (n * size + 63) & ~(size_t)63;
    return p;
}

/* Elements from one bf16 row to the next: whole cache lines and one line more, so that the rows of
 * a tile, which are read side by side, do not all fall into one set of the cache. */
static size_t stride16(int32_t cols)
{
    return ((size_t)cols + 31) / 32 * 32 + 32;
}

/* n rows of bf16, rounded up to a multiple of 16 because kernels may read that many. */
static uint16_t *carve16(struct carve *c, size_t n, int32_t cols)
{
    return carve(c, (n + 16) * stride16(cols), sizeof(uint16_t));
}

static void carve_act(struct carve *c, struct step_act *a, const float *f, int32_t n, int32_t cols,
                      int is16)
{
    *a = (struct step_act){{.n = n, .cols = cols, .f = f, .f_stride = (size_t)cols}, NULL, 0};
    a->q.q = carve(c, (size_t)n * (size_t)cols + 64, 1);
    a->q.scale = carve(c, (size_t)n * (size_t)(cols / 32 + 1), sizeof(float));
    a->q.sum = carve(c, (size_t)n * (size_t)(cols / 16 + 2), sizeof(int16_t));
    a->b_stride = stride16(cols);
    if (is16)
        a->b = carve16(c, (size_t)n, cols);
}

static void lay_out(struct step *s, struct carve *c)
{
    const struct model *m = s->m;
    size_t t = (size_t)s->c.tok_max, e = (size_t)m->n_embd, hd = (size_t)m->head_dim;
    size_t slots = m->n_experts ? t * (size_t)m->n_used : t;
    size_t ff = (size_t)(m->n_experts ? m->n_ff_x : m->n_ff), n_rot = (size_t)m->rope[0].n_rot;
    size_t tiles = (size_t)s->c.seg_max + t / ATTN_TOKENS + 1;
    int is16 = s->c.cls == ENGINE_BF16;

    s->x = carve(c, t * e, sizeof(float));
    s->y = carve(c, t * e, sizeof(float));
    s->xn = carve(c, t * e, sizeof(float));
    s->q = carve(c, t * (size_t)m->n_heads * hd, sizeof(float));
    s->kk = carve(c, t * (size_t)m->n_kv_heads * hd, sizeof(float));
    s->v = carve(c, t * (size_t)m->n_kv_heads * hd, sizeof(float));
    s->ao = carve(c, t * (size_t)m->n_heads * hd, sizeof(float));
    s->h = carve(c, slots * ff, sizeof(float));
    s->xo = carve(c, (size_t)s->c.out_max * e, sizeof(float));
    carve_act(c, &s->a_x, s->xn, s->c.tok_max, m->n_embd, is16);
    carve_act(c, &s->a_ao, s->ao, s->c.tok_max, m->n_heads * m->head_dim, is16);
    carve_act(c, &s->a_h, s->h, (int32_t)slots, (int32_t)ff, is16);
    carve_act(c, &s->a_out, s->xo, s->c.out_max, m->n_embd, 0);
    for (int r = 0; r < 2; r++) {
        s->cos_[r] = carve(c, t * n_rot / 2, sizeof(float));
        s->sin_[r] = carve(c, t * n_rot / 2, sizeof(float));
    }
    s->scratch = carve(c, (size_t)team_size(s->c.team) * 2 * FFN_TOKENS * FFN_ROWS, sizeof(float));
    s->tile_seg = carve(c, tiles, sizeof(int32_t));
    s->tile_tok = carve(c, tiles, sizeof(int32_t));
    s->item = carve(c, 2 * tiles + (size_t)team_size(s->c.team) * ATTN_SHARES, sizeof *s->item);
    s->left = carve(c, tiles * (size_t)m->n_kv_heads, sizeof *s->left);
    s->ahead = carve(c, (size_t)s->c.seg_max, 1);
    s->part_max = (size_t)(s->c.context / KERN_ATTN_BLOCK + PART_BLOCKS) * (size_t)m->n_heads *
                  kern_attn_part_floats(m->head_dim);
    s->part = carve(c, s->part_max, sizeof(float));
    if (m->n_experts) {
        s->ys = carve(c, slots * e, sizeof(float));
        s->router = carve(c, t * (size_t)m->n_experts, sizeof(float));
        s->used = carve(c, slots, sizeof(int32_t));
        s->used_w = carve(c, slots, sizeof(float));
        s->slot = carve(c, slots, sizeof(int32_t));
        s->slot_tok = carve(c, slots, sizeof(int32_t));
        s->active = carve(c, (size_t)m->n_experts, sizeof(int32_t));
        s->x_begin = carve(c, (size_t)m->n_experts + 1, sizeof(int32_t));
        s->x_int8 = carve(c, (size_t)m->n_experts, sizeof(int32_t));
        s->xs = is16 ? carve16(c, slots, m->n_embd) : NULL;
    }
    s->logits = carve(c, (size_t)s->c.out_max * (size_t)m->n_vocab, sizeof(float));
}

size_t step_bytes(const struct step_config *c)
{
    struct step s = {.c = *c, .m = c->model};
    struct carve count = {NULL, 0};
    lay_out(&s, &count);
    return count.at;
}

int step_open(struct step **ret, const struct step_config *c, struct err *e)
{
    struct step *s = calloc(1, sizeof *s);
    struct carve place = {NULL, 0};

    if (!s)
        return err_set(e, ERR_NOMEM, "no memory for work buffers");
    s->c = *c;
    s->m = c->model;
    s->k = c->kern;
    s->mul = c->cls == ENGINE_F32 ? c->kern->matmul_f32 : c->kern->matmul_q8;
    s->map_bytes = step_bytes(c);
    s->map = mmap(NULL, s->map_bytes, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (s->map == MAP_FAILED) {
        free(s);
        return err_set(e, ERR_NOMEM, "no memory for %.1f MB of work buffers",
                       (double)step_bytes(c) / 1e6);
    }
    if (c->cls == ENGINE_BF16) /* a tile is read from 16 rows, each in a page of its own */
        madvise(s->map, s->map_bytes, MADV_HUGEPAGE);
    place.base = s->map;
    lay_out(s, &place);
    *ret = s;
    return 0;
}

void step_close(struct step *s)
{
    if (!s)
        return;
    munmap(s->map, s->map_bytes);
    free(s);
}

float *step_logits(struct step *s, int32_t i)
{
    return s->logits + (size_t)i * (size_t)s->m->n_vocab;
}
