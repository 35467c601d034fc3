#include "engine/model.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/check.h"

#define RADIANS_MAX 64.0 /* of RoPE, per position */

#define HUGE_PAGE ((size_t)2 << 20)

/* A tensor that will be repacked, and where its matrix goes. */
struct bind {
    struct bind *next;
    const struct gguf_tensor *src;
    struct kern_mat *dst;
    int32_t n_mats; /* experts, else 1 */
    size_t offset;  /* in m->pages */
    size_t mat_bytes;
};

struct planner {
    struct model *m;
    const struct gguf *g;
    struct err *e;
    struct bind *first, **last;
    char prefix[64]; /* architecture */
    unsigned fmt_seen;
};

/* ---- metadata ------------------------------------------------------------------------------- */

static int get_int(struct planner *p, const char *suffix, int required, int32_t lo, int32_t hi,
                   int32_t *ret)
{
    char key[128];
    uint32_t v;
    int rc;

    snprintf(key, sizeof key, "%s.%s", p->prefix, suffix);
    rc = gguf_get_u32(p->g, key, &v, p->e);
    if (rc < 0)
        return rc;
    if (!rc) {
        if (required)
            return err_set(p->e, ERR_FORMAT, "metadata key '%s' is missing", key);
        return 0;
    }
    if (v > (uint32_t)hi || (int64_t)v < lo)
        return err_set(p->e, ERR_FORMAT, "metadata key '%s' is %u, not in [%d, %d]", key, v, lo,
                       hi);
    *ret = (int32_t)v;
    return 1;
}

static int get_real(struct planner *p, const char *suffix, float *ret)
{
    char key[128];
    snprintf(key, sizeof key, "%s.%s", p->prefix, suffix);
    return gguf_get_f32(p->g, key, ret, p->e);
}

static int read_shapes(struct planner *p)
{
    struct model *m = p->m;
    const struct gguf_kv *tokens;
    int rc;
    struct {
        const char *key;
        int required;
        int32_t lo, hi, *at;
    } ints[] = {
        {"block_count", 1, 1, MODEL_LAYERS_MAX, &m->n_layers},
        {"embedding_length", 1, 1, 1 << 17, &m->n_embd},
        {"attention.head_count", 1, 1, 1 << 12, &m->n_heads},
        {"context_length", 1, 1, 1 << 26, &m->context_trained},
        {"attention.head_count_kv", 0, 1, 1 << 12, &m->n_kv_heads},
        {"attention.key_length", 0, 1, 512, &m->head_dim},
        {"feed_forward_length", 0, 1, 1 << 20, &m->n_ff},
        {"expert_count", 0, 0, MODEL_EXPERTS_MAX, &m->n_experts},
        {"expert_used_count", 0, 0, MODEL_USED_MAX, &m->n_used},
        {"expert_feed_forward_length", 0, 0, 1 << 20, &m->n_ff_x},
        {"attention.sliding_window", 0, 0, 1 << 26, &m->window},
    };

    for (size_t i = 0; i < ARRAY_LEN(ints); i++) {
        rc = get_int(p, ints[i].key, ints[i].required, ints[i].lo, ints[i].hi, ints[i].at);
        if (rc < 0)
            return rc;
    }
    if (!m->n_kv_heads)
        m->n_kv_heads = m->n_heads;
    if (m->n_heads % m->n_kv_heads)
        return err_set(p->e, ERR_FORMAT, "%d attention heads cannot share %d KV heads", m->n_heads,
                       m->n_kv_heads);
    if (!m->head_dim) {
        if (m->n_embd % m->n_heads)
            return err_set(p->e, ERR_FORMAT, "%d embedding values do not divide by %d heads",
                           m->n_embd, m->n_heads);
        m->head_dim = m->n_embd / m->n_heads;
    }
    if (m->head_dim % 16 || m->head_dim > 512)
        return err_set(p->e, ERR_UNSUPPORTED,
                       "attention heads of %d values; multiples of 16 up to 512 are supported",
                       m->head_dim);
    {
        int32_t v = m->head_dim;
        rc = get_int(p, "attention.value_length", 0, 1, 1 << 12, &v);
        if (rc < 0)
            return rc;
        if (v != m->head_dim)
            return err_set(p->e, ERR_UNSUPPORTED,
                           "value heads of %d values beside key heads of %d are not supported", v,
                           m->head_dim);
    }
    tokens = gguf_find(p->g, "tokenizer.ggml.tokens");
    if (!tokens || !tokens->is_array || tokens->type != GGUF_STR || tokens->n == 0 ||
        tokens->n > (1u << 22))
        return err_set(p->e, ERR_FORMAT,
                       "metadata key 'tokenizer.ggml.tokens' is missing or not a list of 1 to "
                       "4,194,304 strings");
    m->n_vocab = (int32_t)tokens->n;
    m->norm_eps = 1e-5f;
    rc = get_real(p, "attention.layer_norm_rms_epsilon", &m->norm_eps);
    if (rc < 0)
        return rc;
    if (!(m->norm_eps >= 0 && m->norm_eps < 1))
        return err_set(p->e, ERR_FORMAT, "the norm's epsilon is out of range");
    rc = get_real(p, "final_logit_softcapping", &m->final_softcap);
    if (rc < 0)
        return rc;
    m->attn_scale = 1.0f / sqrtf((float)m->head_dim);
    if (m->n_layers == m->family->layers_scaled_by_embd)
        m->attn_scale = 1.0f / sqrtf((float)(m->n_embd / m->n_heads));
    m->embed_scale = m->family->embed_scale ? sqrtf((float)m->n_embd) : 1;
    if (m->n_experts) {
        if (m->family->moe == FAMILY_DENSE)
            return err_set(p->e, ERR_UNSUPPORTED, "experts in family '%s'", p->prefix);
        if (m->n_used < 1 || m->n_used > m->n_experts)
            return err_set(p->e, ERR_FORMAT, "%d of %d experts used per token", m->n_used,
                           m->n_experts);
        if (m->family->expert_width_is_ff)
            m->n_ff_x = m->n_ff;
        else if (!m->n_ff_x)
            m->n_ff_x = m->n_ff / m->n_used;
    } else if (m->family->moe == FAMILY_HAS_EXPERTS) {
        return err_set(p->e, ERR_FORMAT, "a mixture of experts without experts");
    }
    if ((m->n_experts ? m->n_ff_x : m->n_ff) < 1)
        return err_set(p->e, ERR_FORMAT, "metadata key '%s.feed_forward_length' is missing",
                       p->prefix);
    return 0;
}

/* Which layers see a window: metadata (a period, or a flag a layer) or the family's rule. */
static int read_windows(struct planner *p)
{
    struct model *m = p->m;
    char key[128];
    const struct gguf_kv *kv;
    int64_t every = m->family->window_every;

    m->n_kv_groups = 1;
    snprintf(key, sizeof key, "%s.attention.sliding_window_pattern", p->prefix);
    kv = gguf_find(p->g, key);
    if (kv && (!gguf_type_is_int(kv->type) || (kv->is_array && kv->n < (uint64_t)m->n_layers)))
        return err_set(p->e, ERR_FORMAT, "metadata key '%s' is not a number or a flag a layer",
                       key);
    if (kv && !kv->is_array)
        every = gguf_int_at(kv, 0);
    if (every < 0 || every > MODEL_LAYERS_MAX)
        return err_set(p->e, ERR_FORMAT, "metadata key '%s' is out of range", key);
    if (!m->family->window_every)
        m->window = 0; /* some files (Mistral 0.1) state a window; other engines ignore it, too */
    for (int i = 0; i < m->n_layers; i++) {
        struct model_layer *l = &m->layer[i];
        int windowed = 0;
        if (m->window > 0)
            windowed = kv && kv->is_array ? gguf_int_at(kv, (uint64_t)i) != 0
                                          : every == 0 || i % every < every - 1;
        l->window = windowed ? m->window : 0;
        l->kv_group = windowed;
        l->rope = windowed;
        l->kv_index = m->kv_layers[windowed]++;
    }
    if (m->kv_layers[1]) {
        m->n_kv_groups = 2;
        m->kv_window[1] = m->window;
    }
    return 0;
}

static int read_scaling(struct planner *p, struct rope_scaling *s)
{
    struct model *m = p->m;
    struct gguf_str kind = {"", 0};
    char key[128];
    float linear = 0, mul = 0;
    int rc;

    *s = (struct rope_scaling){.kind = ROPE_NONE,
                               .factor = 1,
                               .attn_factor = 1,
                               .ext_factor = 1,
                               .beta_fast = 32,
                               .beta_slow = 1,
                               .context_original = m->context_trained};
    snprintf(key, sizeof key, "%s.rope.scaling.type", p->prefix);
    rc = gguf_get_str(p->g, key, &kind, p->e);
    if (rc < 0)
        return rc;
    if ((rc = get_real(p, "rope.scaling.factor", &s->factor)) < 0 ||
        (rc = get_real(p, "rope.scaling.attn_factor", &s->attn_factor)) < 0 ||
        (rc = get_real(p, "rope.scaling.yarn_ext_factor", &s->ext_factor)) < 0 ||
        (rc = get_real(p, "rope.scaling.yarn_beta_fast", &s->beta_fast)) < 0 ||
        (rc = get_real(p, "rope.scaling.yarn_beta_slow", &s->beta_slow)) < 0 ||
        (rc = get_real(p, "rope.scaling.yarn_log_multiplier", &mul)) < 0 ||
        (rc = get_real(p, "rope.scale_linear", &linear)) < 0 ||
        (rc = get_int(p, "rope.scaling.original_context_length", 0, 1, 1 << 26,
                      &s->context_original)) < 0)
        return rc;
    if (s->factor == 0)
        s->factor = 1;
    if (linear > 0 && s->factor == 1)
        s->factor = linear;
    if (!(s->factor > 0 && s->factor < 1e6f) || !(s->beta_fast > 0) || !(s->beta_slow > 0))
        return err_set(p->e, ERR_FORMAT, "the RoPE scaling of this model is out of range");
    if (mul != 0)
        return err_set(p->e, ERR_UNSUPPORTED,
                       "metadata key '%s.rope.scaling.yarn_log_multiplier' is not supported",
                       p->prefix);
    if (kind.n == 4 && !memcmp(kind.p, "none", 4))
        s->factor = 1;
    else if (kind.n == 0 || (kind.n == 6 && !memcmp(kind.p, "linear", 6)))
        s->kind = s->factor == 1 ? ROPE_NONE : ROPE_LINEAR;
    else if (kind.n == 4 && !memcmp(kind.p, "yarn", 4))
        s->kind = ROPE_YARN;
    else
        return err_set(p->e, ERR_UNSUPPORTED,
                       "RoPE scaling '%.*s' is not supported (supported: none, linear, yarn, and "
                       "llama3 by rope_freqs.weight)",
                       (int)(kind.n > 40 ? 40 : kind.n), kind.p);
    return 0;
}

/* ---- tensors --------------------------------------------------------------------------------- */

static const struct gguf_tensor *find_tensor(struct planner *p, const char *name, int required,
                                             int32_t cols, int32_t rows, int32_t mats, int *rc)
{
    const struct gguf_tensor *t = gguf_find_tensor(p->g, name);

    *rc = 0;
    if (!t) {
        if (required)
            *rc = err_set(p->e, ERR_FORMAT, "tensor '%s' is missing", name);
        return NULL;
    }
    if (t->dim[0] != cols || t->dim[1] != rows || t->dim[2] != mats || t->dim[3] != 1) {
        *rc = err_set(p->e, ERR_FORMAT,
                      "tensor '%s' is %lld x %lld x %lld, but the metadata asks for %d x %d x %d",
                      name, (long long)t->dim[0], (long long)t->dim[1], (long long)t->dim[2], cols,
                      rows, mats);
        return NULL;
    }
    p->m->n_params += (uint64_t)cols * (uint64_t)rows * (uint64_t)mats;
    p->m->tensor_bytes += t->bytes;
    return t;
}

static int bind_mats(struct planner *p, const char *name, int required, int32_t cols, int32_t rows,
                     int32_t mats, struct kern_mat *dst)
{
    struct bind *b;
    int rc, fmt;
    const struct gguf_tensor *t = find_tensor(p, name, required, cols, rows, mats, &rc);

    if (!t)
        return rc;
    fmt = kern_fmt_from_ggml(t->ggml_type);
    if (!kern_fmt_info((enum kern_fmt)fmt)->is_float && cols % KERN_BLOCK)
        return err_set(p->e, ERR_UNSUPPORTED, "tensor '%s': rows of %d values", name, cols);
    b = arena_zalloc(&p->m->arena, sizeof *b);
    if (!b)
        return err_set(p->e, ERR_NOMEM, "no memory for the model's tables");
    *dst = (struct kern_mat){.fmt = (enum kern_fmt)fmt, .rows = rows, .cols = cols};
    b->src = t;
    b->dst = dst;
    b->n_mats = mats;
    b->mat_bytes = kern_mat_bytes(dst->fmt, rows, cols);
    b->offset = p->m->pages_bytes;
    p->m->pages_bytes += b->mat_bytes * (size_t)mats;
    p->fmt_seen |= 1u << fmt;
    *p->last = b;
    p->last = &b->next;
    return 1;
}

static int bind_vec(struct planner *p, const char *name, int required, int32_t n, int32_t mats,
                    const float **ret)
{
    int rc, fmt;
    const struct gguf_tensor *t = find_tensor(p, name, required, n, mats, 1, &rc);
    float *out;

    if (!t)
        return rc;
    fmt = kern_fmt_from_ggml(t->ggml_type);
    if (!kern_fmt_info((enum kern_fmt)fmt)->is_float)
        return err_set(p->e, ERR_UNSUPPORTED, "tensor '%s' is %s; a float format is expected", name,
                       kern_fmt_info((enum kern_fmt)fmt)->name);
    out = arena_array(&p->m->arena, (size_t)n * (size_t)mats, sizeof *out);
    if (!out)
        return err_set(p->e, ERR_NOMEM, "no memory for tensor '%s'", name);
    for (size_t i = 0; i < (size_t)n * (size_t)mats; i++) {
        uint16_t h;
        uint32_t w;
        if (fmt == KERN_F32) {
            memcpy(&out[i], t->data + i * 4, 4);
        } else {
            memcpy(&h, t->data + i * 2, 2);
            w = (uint32_t)h << 16;
            if (fmt == KERN_F16)
                out[i] = kern_f16_to_f32(h);
            else
                memcpy(&out[i], &w, 4);
        }
    }
    *ret = out;
    return 1;
}

/* Within a layer: "blk.<i>.<name>". */
static const char *in_layer(char *buf, size_t cap, int i, const char *name)
{
    snprintf(buf, cap, "blk.%d.%s", i, name);
    return buf;
}

static int plan_experts(struct planner *p, int i, struct model_layer *l)
{
    struct model *m = p->m;
    char name[96];
    int bias = m->family->expert_bias;
    struct {
        const char *tensor, *bias;
        int32_t cols, rows;
        struct model_experts *dst;
    } sets[] = {
        {"ffn_gate_exps.weight", "ffn_gate_exps.bias", m->n_embd, m->n_ff_x, &l->x_gate},
        {"ffn_up_exps.weight", "ffn_up_exps.bias", m->n_embd, m->n_ff_x, &l->x_up},
        {"ffn_down_exps.weight", "ffn_down_exps.bias", m->n_ff_x, m->n_embd, &l->x_down},
    };
    int rc;

    rc = bind_mats(p, in_layer(name, sizeof name, i, "ffn_gate_inp.weight"), 1, m->n_embd,
                   m->n_experts, 1, &l->router);
    if (rc < 0)
        return rc;
    rc = bind_vec(p, in_layer(name, sizeof name, i, "ffn_gate_inp.bias"), bias, m->n_experts, 1,
                  &l->b_router);
    if (rc < 0)
        return rc;
    for (size_t k = 0; k < ARRAY_LEN(sets); k++) {
        rc = bind_mats(p, in_layer(name, sizeof name, i, sets[k].tensor), 1, sets[k].cols,
                       sets[k].rows, m->n_experts, &sets[k].dst->first);
        if (rc < 0)
            return rc;
        sets[k].dst->stride = kern_mat_bytes(sets[k].dst->first.fmt, sets[k].rows, sets[k].cols);
        rc = bind_vec(p, in_layer(name, sizeof name, i, sets[k].bias), bias, sets[k].rows,
                      m->n_experts, &sets[k].dst->bias);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int plan_layer(struct planner *p, int i)
{
    struct model *m = p->m;
    struct model_layer *l = &m->layer[i];
    const struct family *f = m->family;
    int32_t q = m->n_heads * m->head_dim, kv = m->n_kv_heads * m->head_dim;
    char name[96], norm[64];
    struct {
        const char *name;
        int required;
        int32_t n;
        const float **at;
    } vecs[] = {
        {"attn_norm.weight", 1, m->n_embd, &l->attn_norm},
        {norm, 1, m->n_embd, &l->ffn_norm},
        {"attn_q_norm.weight", f->qk_norm, m->head_dim, &l->q_norm},
        {"attn_k_norm.weight", f->qk_norm, m->head_dim, &l->k_norm},
        {"attn_q.bias", f->qkv_bias, q, &l->bq},
        {"attn_k.bias", f->qkv_bias, kv, &l->bk},
        {"attn_v.bias", f->qkv_bias, kv, &l->bv},
        {"attn_output.bias", f->sinks, m->n_embd, &l->bo},
        {"attn_sinks.weight", f->sinks, m->n_heads, &l->sinks},
        {"ffn_gate.bias", 0, m->n_ff, &l->b_gate},
        {"ffn_up.bias", 0, m->n_ff, &l->b_up},
        {"ffn_down.bias", 0, m->n_embd, &l->b_down},
        {"post_attention_norm.weight", f->post_norms, m->n_embd, &l->post_attn_norm},
        {"post_ffw_norm.weight", f->post_norms, m->n_embd, &l->post_ffn_norm},
    };
    struct {
        const char *name;
        int32_t cols, rows;
        struct kern_mat *at;
    } mats[] = {
        {"attn_q.weight", m->n_embd, q, &l->wq},
        {"attn_k.weight", m->n_embd, kv, &l->wk},
        {"attn_v.weight", m->n_embd, kv, &l->wv},
        {"attn_output.weight", q, m->n_embd, &l->wo},
        {"ffn_gate.weight", m->n_embd, m->n_ff, &l->gate},
        {"ffn_up.weight", m->n_embd, m->n_ff, &l->up},
        {"ffn_down.weight", m->n_ff, m->n_embd, &l->down},
    };
    size_t n_mats = m->n_experts ? 4 : ARRAY_LEN(mats);
    size_t n_vecs = f->post_norms ? ARRAY_LEN(vecs) : ARRAY_LEN(vecs) - 2;
    int rc;

    snprintf(norm, sizeof norm, "%s.weight", f->ffn_norm);
    for (size_t k = 0; k < n_vecs; k++) {
        rc = bind_vec(p, in_layer(name, sizeof name, i, vecs[k].name), vecs[k].required, vecs[k].n,
                      1, vecs[k].at);
        if (rc < 0)
            return rc;
    }
    for (size_t k = 0; k < n_mats; k++) {
        rc = bind_mats(p, in_layer(name, sizeof name, i, mats[k].name), 1, mats[k].cols,
                       mats[k].rows, 1, mats[k].at);
        if (rc < 0)
            return rc;
    }
    return m->n_experts ? plan_experts(p, i, l) : 0;
}

static int plan_rope(struct planner *p)
{
    struct model *m = p->m;
    struct rope_scaling s, none = {.kind = ROPE_NONE, .factor = 1};
    int32_t n_rot = m->head_dim;
    float base = 10000, base_window;
    const float *divisors = NULL;
    double *freq;
    int rc;

    if ((rc = get_int(p, "rope.dimension_count", 0, 2, m->head_dim, &n_rot)) < 0 ||
        (rc = get_real(p, "rope.freq_base", &base)) < 0 || (rc = read_scaling(p, &s)) < 0)
        return rc;
    base_window = m->family->window_rope_base > 0 ? m->family->window_rope_base : base;
    if ((rc = get_real(p, "rope.freq_base_swa", &base_window)) < 0)
        return rc;
    if (n_rot % 2 || !(base > 1) || !(base_window > 1))
        return err_set(p->e, ERR_FORMAT, "the RoPE settings of this model are out of range");
    rc = bind_vec(p, "rope_freqs.weight", 0, n_rot / 2, 1, &divisors);
    if (rc < 0)
        return rc;
    for (int32_t i = 0; divisors && i < n_rot / 2; i++) {
        if (!(divisors[i] > 0))
            return err_set(p->e, ERR_FORMAT, "tensor 'rope_freqs.weight' has a value <= 0");
    }
    freq = arena_array(&m->arena, (size_t)n_rot, sizeof *freq);
    if (!freq)
        return err_set(p->e, ERR_NOMEM, "no memory for the model's tables");
    rope_init(&m->rope[0], freq, n_rot, base, &s, divisors);
    rope_init(&m->rope[1], freq + n_rot / 2, n_rot, base_window,
              m->family->window_rope_unscaled ? &none : &s, divisors);
    for (int32_t i = 0; i < n_rot; i++) { /* sin and cos are reduced in integers: keep them there */
        if (!(fabs(freq[i]) <= RADIANS_MAX))
            return err_set(p->e, ERR_FORMAT, "the RoPE settings of this model are out of range");
    }
    return 0;
}

static void count_bytes(struct model *m, const struct bind *b)
{
    const struct kern_mat *out = m->output.rows ? &m->output : &m->embed;
    uint64_t expert_bytes = 0, expert_macs = 0;

    for (; b; b = b->next) {
        uint64_t macs = (uint64_t)b->dst->rows * (uint64_t)b->dst->cols;
        if (b->n_mats > 1) {
            expert_bytes += b->src->bytes / (uint64_t)b->n_mats;
            expert_macs += macs;
        } else if (b->dst == out) {
            m->output_bytes = b->src->bytes;
            m->output_macs = macs;
        } else if (b->dst != &m->embed) { /* of the embedding only rows are read */
            m->dense_bytes += b->src->bytes;
            m->dense_macs += macs;
        }
    }
    m->expert_bytes = expert_bytes / (uint64_t)m->n_layers;
    m->expert_macs = expert_macs / (uint64_t)m->n_layers;
    m->token_bytes = m->dense_bytes + m->output_bytes +
                     m->expert_bytes * (uint64_t)m->n_used * (uint64_t)m->n_layers;
}

int model_plan(struct model *m, const struct gguf *g, struct err *e)
{
    struct planner p = {.m = m, .g = g, .e = e};
    struct gguf_str arch;
    int rc;

    *m = (struct model){0};
    arena_init(&m->arena, 1 << 20, (size_t)4 << 30);
    p.last = &p.first;
    rc = gguf_get_str(g, "general.architecture", &arch, e);
    if (rc < 0)
        return rc;
    if (rc == 0)
        return err_set(e, ERR_FORMAT, "metadata key 'general.architecture' is missing");
    m->family = family_find(arch.p, arch.n);
    if (!m->family) {
        char list[FAMILY_LIST_MAX];
        family_list(list, sizeof list);
        return err_set(e, ERR_UNSUPPORTED, "model family '%.*s' is not supported (supported: %s)",
                       (int)(arch.n > 40 ? 40 : arch.n), arch.p, list);
    }
    snprintf(p.prefix, sizeof p.prefix, "%s", m->family->arch);
    rc = read_shapes(&p);
    if (rc < 0)
        return rc;
    m->layer = arena_zalloc(&m->arena, (size_t)m->n_layers * sizeof *m->layer);
    if (!m->layer)
        return err_set(e, ERR_NOMEM, "no memory for the model's tables");
    if ((rc = read_windows(&p)) < 0 || (rc = plan_rope(&p)) < 0 ||
        (rc = bind_mats(&p, "token_embd.weight", 1, m->n_embd, m->n_vocab, 1, &m->embed)) < 0 ||
        (rc = bind_mats(&p, "output.weight", 0, m->n_embd, m->n_vocab, 1, &m->output)) < 0 ||
        (rc = bind_vec(&p, "output_norm.weight", 1, m->n_embd, 1, &m->output_norm)) < 0)
        return rc;
    for (int i = 0; i < m->n_layers; i++) {
        rc = plan_layer(&p, i);
        if (rc < 0)
            return rc;
    }
    count_bytes(m, p.first);
    m->binds = p.first;
    m->weight_bytes = m->pages_bytes;
    for (int f = 0; f < KERN_N_FMT; f++) {
        size_t n = strlen(m->formats);
        if (p.fmt_seen >> f & 1)
            snprintf(m->formats + n, sizeof m->formats - n, "%s%s", n ? " + " : "",
                     kern_fmt_info((enum kern_fmt)f)->name);
    }
    return 0;
}

/* ---- loading --------------------------------------------------------------------------------- */

/* Repacked bytes of one claim: about 0.1 ms of work, so that all workers end nearly together. (When
 * a worker is waited for longer, the team concludes that its core is busy with another process.) */
#define PIECE_BYTES ((size_t)256 << 10)

struct piece {
    const struct bind *b;
    int32_t begin, end; /* groups, counted through all experts */
};

/* All tensors are repacked in one run of the team. With one run for each tensor, those of small
 * models would be too small to divide, and every run would end with waiting. */
struct loading {
    const struct model *m;
    const struct piece *piece;
    const struct model_meanwhile *also;
    engine_progress *progress;
    void *arg;
    _Atomic size_t done; /* bytes */
    _Atomic int rc;      /* of also; not 0: the rest is skipped */
};

static void repack_piece(const struct model *m, const struct piece *p)
{
    const struct bind *b = p->b;
    size_t row_bytes = kern_row_bytes(b->dst->fmt, b->dst->cols);
    size_t mat_bytes = row_bytes * (size_t)b->dst->rows;
    int32_t groups = kern_mat_groups(b->dst);

    for (int32_t at = p->begin; at < p->end;) {
        int32_t mat = at / groups, g0 = at % groups;
        int32_t g1 = g0 + (p->end - at) < groups ? g0 + (p->end - at) : groups;
        const uint8_t *src = b->src->data + (size_t)mat * mat_bytes;
        int32_t r0 = g0 * KERN_LANES;
        int32_t r1 = g1 * KERN_LANES < b->dst->rows ? g1 * KERN_LANES : b->dst->rows;
        kern_repack(b->dst->fmt, src, b->dst->rows, b->dst->cols, g0, g1,
                    m->pages + b->offset + (size_t)mat * b->mat_bytes);
        gguf_release(src + (size_t)r0 * row_bytes, (size_t)(r1 - r0) * row_bytes);
        at += g1 - g0;
    }
}

/* Item 0 is the caller's other work (struct model_meanwhile), the further items are pieces of
 * tensors. The calling thread's part of the run begins with item 0, so the caller does that while
 * the other workers repack. */
static void load_items(void *arg, int w, int32_t begin, int32_t end)
{
    struct loading *l = arg;

    for (int32_t i = begin; i < end; i++) {
        const struct piece *p;
        size_t done;
        if (i == 0) {
            atomic_store(&l->rc, l->also->fn(l->also->arg));
            continue;
        }
        if (atomic_load(&l->rc))
            return;
        p = &l->piece[i - 1];
        repack_piece(l->m, p);
        done = (size_t)(p->end - p->begin) * kern_group_bytes(p->b->dst->fmt, p->b->dst->cols);
        done += atomic_fetch_add(&l->done, done);
        if (l->progress && w == 0)
            l->progress(l->arg, (double)done / (double)l->m->pages_bytes);
    }
}

static int map_pages(struct model *m, struct err *e)
{
    size_t bytes = (m->pages_bytes + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);

    /* One huge page more than needed, so that the start can be aligned. */
    m->map_bytes = bytes + HUGE_PAGE;
    m->map = mmap(NULL, m->map_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (m->map == MAP_FAILED) {
        m->map = NULL;
        return err_set(e, ERR_NOMEM, "no memory for %.1f MB of weights",
                       (double)m->pages_bytes / 1e6);
    }
    m->pages = (uint8_t *)(((uintptr_t)m->map + HUGE_PAGE - 1) & ~(uintptr_t)(HUGE_PAGE - 1));
    madvise(m->pages, bytes, MADV_HUGEPAGE); /* may fail: then decode is slower, not wrong */
    return 0;
}

/* Cut the tensors into pieces; out NULL: only count them. */
static int32_t cut(const struct model *m, struct piece *out)
{
    int32_t n = 0;

    for (const struct bind *b = m->binds; b; b = b->next) {
        int32_t items = kern_mat_groups(b->dst) * b->n_mats;
        int32_t most = (int32_t)(PIECE_BYTES / kern_group_bytes(b->dst->fmt, b->dst->cols));
        most = most ? most : 1;
        for (int32_t at = 0; at < items; n++) {
            int32_t end = items - at > most ? at + most : items;
            if (out)
                out[n] = (struct piece){b, at, end};
            at = end;
        }
    }
    return n;
}

int model_load(struct model *m, struct team *t, const struct model_meanwhile *also,
               engine_progress *progress, void *arg, struct err *e)
{
    struct loading l = {.m = m, .also = also, .progress = progress, .arg = arg};
    struct piece *piece;
    int32_t n;
    int rc;

    for (struct bind *b = m->binds; b; b = b->next) {
        if ((int64_t)kern_mat_groups(b->dst) * b->n_mats > INT32_MAX)
            return err_set(e, ERR_LIMIT, "tensor '%s' is too large", b->src->name);
    }
    n = cut(m, NULL);
    piece = malloc(((size_t)n + 1) * sizeof *piece);
    if (!piece)
        return err_set(e, ERR_NOMEM, "no memory for the model's tables");
    cut(m, piece);
    l.piece = piece;
    rc = map_pages(m, e);
    if (!rc) {
        team_run(t, n + 1, 1, load_items, &l);
        rc = atomic_load(&l.rc);
    }
    free(piece);
    if (rc)
        return rc;
    for (struct bind *b = m->binds; b; b = b->next)
        b->dst->data = m->pages + b->offset;
    if (!m->output.rows)
        m->output = m->embed;
    m->binds = NULL;
    return 0;
}

void model_done(struct model *m)
{
    if (m->map)
        munmap(m->map, m->map_bytes);
    arena_done(&m->arena);
    *m = (struct model){0};
}
