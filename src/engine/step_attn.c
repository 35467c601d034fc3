/* Attention of a step: tiles of query tokens, and how they are shared by the team. */
#include "engine/step_int.h"

/* Norm and rotate the query heads that share KV head h, norm, rotate and store its key and value.
 */
static void place_token(struct step *s, const struct step_seg *g, int32_t i, int32_t h)
{
    const struct model *m = s->m;
    const struct model_layer *l = s->l;
    int32_t t = g->tok + i, pos = g->pos + i, hd = m->head_dim, group = m->n_heads / m->n_kv_heads;
    const struct rope *r = &m->rope[l->rope];
    size_t at = (size_t)t * (size_t)(r->n_rot / 2);
    float *q = s->q + ((size_t)t * (size_t)m->n_heads + (size_t)h * (size_t)group) * (size_t)hd;
    float *k = s->kk + ((size_t)t * (size_t)m->n_kv_heads + (size_t)h) * (size_t)hd;
    float *v = s->v + ((size_t)t * (size_t)m->n_kv_heads + (size_t)h) * (size_t)hd;
    int32_t page = g->kv->page[l->kv_group][pos / KERN_PAGE];
    uint8_t *dst = s->place.base + (size_t)page * s->place.stride + (size_t)h * s->place.head_bytes;

    if (l->q_norm) {
        for (int32_t j = 0; j < group; j++)
            s->k->rmsnorm(q + j * hd, l->q_norm, m->norm_eps, hd, q + j * hd);
    }
    if (l->k_norm)
        s->k->rmsnorm(k, l->k_norm, m->norm_eps, hd, k);
    s->k->rope(q, group, hd, r->n_rot, m->family->rope_adjacent, s->cos_[l->rope] + at,
               s->sin_[l->rope] + at);
    s->k->rope(k, 1, hd, r->n_rot, m->family->rope_adjacent, s->cos_[l->rope] + at,
               s->sin_[l->rope] + at);
    s->k->kv_store(s->c.kv_type, dst, hd, pos % KERN_PAGE, k, v);
}

/* Items: the tokens whose queries and keys must be placed before attention begins, because their
 * segment has several tokens or is split. All others are placed by ph_attn. */
static void ph_place(void *arg, int w, int32_t t0, int32_t t1)
{
    struct step *s = arg;

    (void)w;
    for (int32_t i = 0; i < s->b->n_segs; i++) {
        const struct step_seg *g = &s->b->seg[i];
        int32_t lo = g->tok > t0 ? g->tok : t0, hi = g->tok + g->n < t1 ? g->tok + g->n : t1;
        for (int32_t t = lo; s->ahead[i] && t < hi; t++) {
            for (int32_t h = 0; h < s->m->n_kv_heads; h++)
                place_token(s, g, t - g->tok, h);
        }
    }
}

/* Items: (piece of attention work, KV head). The worker that finishes the last piece of a split
 * tile joins the tile's parts. */
static void ph_attn(void *arg, int w, int32_t i0, int32_t i1)
{
    struct step *s = arg;
    const struct model *m = s->m;
    const struct model_layer *l = s->l;
    int32_t hd = m->head_dim, group = m->n_heads / m->n_kv_heads;

    (void)w;
    for (int32_t i = i0; i < i1; i++) {
        const struct step_attn_item *item = &s->item[i / m->n_kv_heads];
        int32_t tile = item->tile, h = i % m->n_kv_heads;
        const struct step_seg *g = &s->b->seg[s->tile_seg[tile]];
        int32_t first = s->tile_tok[tile];
        int32_t n = g->n - first < ATTN_TOKENS ? g->n - first : ATTN_TOKENS;
        size_t at = ((size_t)(g->tok + first) * (size_t)m->n_heads + (size_t)h * (size_t)group) *
                    (size_t)hd;
        struct kern_attn a = {
            .kv = s->c.kv_type,
            .head_dim = hd,
            .n_group = group,
            .pos = g->pos + first,
            .n_tok = n,
            .window = l->window,
            .scale = m->attn_scale,
            .sinks = l->sinks ? l->sinks + h * group : NULL,
            .base = s->place.base + (size_t)h * s->place.head_bytes,
            .page_stride = s->place.stride,
            .page = g->kv->page[l->kv_group],
            .q = s->q + at,
            .q_stride = (size_t)m->n_heads * (size_t)hd,
            .out = s->ao + at,
            .out_stride = (size_t)m->n_heads * (size_t)hd,
            .part = item->split < 0 ? NULL : s->part + item->part + (size_t)h * item->each,
            .block0 = item->block0,
            .block1 = item->block1,
        };
        if (!s->ahead[s->tile_seg[tile]])
            place_token(s, g, 0, h);
        (g->tok < s->n_int8 ? s->k->attn : s->k->attn_bf16)(&a);
        if (!a.part)
            continue;
        _Atomic int32_t *left = &s->left[item->split * m->n_kv_heads + h];
        if (atomic_fetch_sub_explicit(left, 1, memory_order_acq_rel) == 1) {
            s->k->attn_join(&a);
            atomic_store_explicit(left, item->n, memory_order_relaxed); /* ready for next layer */
        }
    }
}

/* Cut the segments into attention tiles, ordered so that the longest work begins first. */
void step_attn_begin(struct step *s)
{
    s->item_window = -1;
    s->n_tiles = 0;
    for (int32_t i = s->b->n_segs - 1; i >= 0; i--) {
        int32_t last = (s->b->seg[i].n - 1) / ATTN_TOKENS * ATTN_TOKENS;
        for (int32_t t = last; t >= 0; t -= ATTN_TOKENS) {
            s->tile_seg[s->n_tiles] = i;
            s->tile_tok[s->n_tiles++] = t;
        }
    }
}

/* First block of positions that a tile sees in a layer with this window, and one past the last. */
static void tile_blocks(const struct step *s, int32_t tile, int32_t window, int32_t *ret_b0,
                        int32_t *ret_b1, int32_t *ret_n)
{
    const struct step_seg *g = &s->b->seg[s->tile_seg[tile]];
    int32_t first = s->tile_tok[tile], p = g->pos + first;
    int32_t n = g->n - first < ATTN_TOKENS ? g->n - first : ATTN_TOKENS;

    *ret_b0 = window > 0 && p >= window ? (p - window + 1) / KERN_ATTN_BLOCK : 0;
    *ret_b1 = (p + n - 1) / KERN_ATTN_BLOCK + 1;
    *ret_n = n;
}

/* Make the list of work items from the tiles. A tile that is long enough to keep one worker busy
 * while the others have nothing left is split along the positions, as long as there is memory for
 * the parts. Splitting changes no result (kern/attn.h). */
static void cut_items(struct step *s, int32_t window)
{
    const struct model *m = s->m;
    int64_t total = 0, shares = (int64_t)team_size(s->c.team) * ATTN_SHARES;
    int32_t b0, b1, n;
    size_t at = 0;

    if (window == s->item_window)
        return;
    s->item_window = window;
    s->n_items = s->n_splits = s->n_ahead = 0;
    for (int32_t i = 0; i < s->b->n_segs; i++)
        s->n_ahead += s->ahead[i] = s->b->seg[i].n > 1 || s->b->seg[i].linked;
    for (int32_t i = 0; i < s->n_tiles; i++) {
        tile_blocks(s, i, window, &b0, &b1, &n);
        total += (int64_t)(b1 - b0) * n * m->n_kv_heads;
    }
    for (int32_t i = 0; i < s->n_tiles; i++) {
        tile_blocks(s, i, window, &b0, &b1, &n);
        int32_t n_blk = b1 - b0, k = (int32_t)(((int64_t)n_blk * n * shares + total - 1) / total);
        size_t each = (size_t)n_blk * (size_t)n * (size_t)(m->n_heads / m->n_kv_heads) *
                      kern_attn_part_floats(m->head_dim);
        size_t all = each * (size_t)m->n_kv_heads;
        k = k < n_blk ? k : n_blk;
        if (k < 2 || team_size(s->c.team) == 1 || all > s->part_max - at) {
            s->item[s->n_items++] = (struct step_attn_item){i, b0, b1, -1, 1, 0, 0};
            continue;
        }
        for (int32_t j = 0; j < k; j++)
            s->item[s->n_items++] = (struct step_attn_item){
                i, b0 + n_blk * j / k, b0 + n_blk * (j + 1) / k, s->n_splits, k, at, each};
        for (int32_t h = 0; h < m->n_kv_heads; h++)
            atomic_store_explicit(&s->left[s->n_splits * m->n_kv_heads + h], k,
                                  memory_order_relaxed);
        s->n_ahead += !s->ahead[s->tile_seg[i]];
        s->ahead[s->tile_seg[i]] = 1;
        s->n_splits++;
        at += all;
    }
}

void step_attn(struct step *s)
{
    cut_items(s, s->l->window);
    if (s->n_ahead)
        step_per_token(s, ph_place, s->b->n_tok);
    team_run(s->c.team, s->n_items * s->m->n_kv_heads, 1, ph_attn, s);
}
