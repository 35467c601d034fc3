/* Attention and the KV store: shapes, windows, sinks, page borders, cuts. Slots that no
 * query sees hold NaN, and pages before the window do not exist. */
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "kc.h"

struct setup {
    struct kern_attn a;
    int32_t *page;
    size_t n_out;
};

#define NOWHERE 0x40000000 /* a page number that would fault */

/* Fills pages through the reference, and checks each table's kv_store against it. */
static void fill_pages(struct setup *s, uint8_t *base, int first, int end)
{
    int dim = s->a.head_dim;
    size_t bytes = s->a.page_stride;
    for (int pos = first; pos < end; pos++) {
        float k[512], v[512];
        for (int d = 0; d < dim; d++) {
            k[d] = kc_uniform(-2.0f, 2.0f);
            v[d] = kc_uniform(-2.0f, 2.0f);
        }
        uint8_t *p = base + (size_t)s->page[pos / KERN_PAGE] * bytes;
        if (kc_rand() % 8 == 0) {
            uint8_t before[512 * 64 * 4];
            memcpy(before, p, bytes);
            kc_ref->kv_store(s->a.kv, p, dim, pos % KERN_PAGE, k, v);
            for (int i = KERN_ISA_SCALAR + 1; i < KERN_N_ISA; i++) {
                uint8_t got[512 * 64 * 4];
                if (!kc_table[i])
                    continue;
                memcpy(got, before, bytes);
                kc_table[i]->kv_store(s->a.kv, got, dim, pos % KERN_PAGE, k, v);
                if (memcmp(got, p, bytes))
                    kc_fail(i, "kv_store dim %d slot %d", dim, pos % KERN_PAGE);
            }
        }
        kc_ref->kv_store(s->a.kv, p, dim, pos % KERN_PAGE, k, v);
    }
}

static void random_setup(struct setup *s)
{
    static const int dims[] = {16, 32, 48, 64, 80, 96, 128, 192, 256};
    static const int windows[] = {0, 0, 1, 5, 31, 32, 33, 70, 200, 256, 300};
    struct kern_attn *a = &s->a;
    memset(s, 0, sizeof *s);
    static const enum kern_kv kinds[] = {KERN_KV_F32, KERN_KV_F16, KERN_KV_Q8_0};
    a->kv = kinds[kc_rand() % ARRAY_LEN(kinds)];
    a->head_dim = dims[kc_rand() % ARRAY_LEN(dims)];
    a->n_group = kc_range(1, 9);
    a->pos = kc_rand() % 4 == 0 ? 0 : kc_rand() % 3 == 0 ? kc_range(171, 800) : kc_range(0, 170);
    a->n_tok = kc_rand() % 3 == 0 ? 1 : kc_range(1, 40);
    if (a->head_dim * a->n_tok * a->n_group > 8000)
        a->n_tok = 1 + 8000 / (a->head_dim * a->n_group);
    a->window = windows[kc_rand() % ARRAY_LEN(windows)];
    a->scale = 0.125f * kc_uniform(0.5f, 8.0f);
    int end = a->pos + a->n_tok, n_page = (end + KERN_PAGE - 1) / KERN_PAGE;
    int first = a->window > 0 && a->pos >= a->window ? a->pos - a->window + 1 : 0;
    a->page_stride = kern_kv_head_bytes(a->kv, a->head_dim);
    uint8_t *base = kc_alloc((size_t)n_page * a->page_stride, 64);
    s->page = kc_alloc((size_t)n_page * 4, 4);
    for (int i = 0; i < n_page; i++) /* a permutation: 7 is prime to what it must be */
        s->page[i] = n_page % 7 ? i * 7 % n_page : n_page - 1 - i;
    for (int i = 0; i < first / KERN_PAGE; i++)
        s->page[i] = NOWHERE;
    fill_pages(s, base, first, end);
    size_t row = (size_t)(a->n_group * a->head_dim);
    a->q_stride = row + 5;
    a->out_stride = row + 3;
    size_t nq = (size_t)(a->n_tok - 1) * a->q_stride + row;
    s->n_out = (size_t)(a->n_tok - 1) * a->out_stride + row;
    float *q = kc_alloc(nq * 4, 4), *sinks = kc_alloc((size_t)a->n_group * 4, 4);
    for (size_t i = 0; i < nq; i++)
        q[i] = kc_uniform(-2.0f, 2.0f);
    for (int i = 0; i < a->n_group; i++)
        sinks[i] = kc_uniform(-5.0f, 15.0f);
    a->q = q;
    a->sinks = kc_rand() % 3 == 0 ? sinks : NULL;
    a->base = base;
    a->page = s->page;
}

typedef void attn_fn(const struct kern_attn *a);

/* A call cut along the positions: parts of one or more blocks each, then the join. */
static void cut_blocks(const struct kern_table *t, attn_fn *fn, const struct kern_attn *whole,
                       float *out)
{
    struct kern_attn a = *whole;
    int first = a.window > 0 && a.pos >= a.window ? a.pos - a.window + 1 : 0;
    int b0 = first / KERN_ATTN_BLOCK, b1 = (a.pos + a.n_tok - 1) / KERN_ATTN_BLOCK + 1;
    size_t each = (size_t)(a.n_tok * a.n_group) * kern_attn_part_floats(a.head_dim);
    a.out = out;
    a.part = kc_alloc((size_t)(b1 - b0) * each * 4, 4);
    for (int b = b0, e; b < b1; b = e) {
        e = b + kc_range(1, b1 - b);
        a.block0 = b;
        a.block1 = e;
        fn(&a);
    }
    t->attn_join(&a);
}

/* The tokens [t0, t1) of a call, alone. */
static void part(attn_fn *fn, const struct kern_attn *whole, float *out, int t0, int t1)
{
    struct kern_attn a = *whole;
    a.pos += t0;
    a.n_tok = t1 - t0;
    a.q += (size_t)t0 * a.q_stride;
    a.out = out + (size_t)t0 * a.out_stride;
    fn(&a);
}

static attn_fn *entry(const struct kern_table *t, int bf16)
{
    return bf16 ? t->attn_bf16 : t->attn;
}

static void check_setup(struct setup *s, int bf16)
{
    float *want = kc_alloc(s->n_out * 4, 4), *got = kc_alloc(s->n_out * 4, 4);
    struct kern_attn *a = &s->a;
    part(entry(kc_ref, bf16), a, want, 0, a->n_tok);
    char what[160];
    snprintf(what, sizeof what, "dim %d group %d pos %d n %d window %d kv %d%s", a->head_dim,
             a->n_group, a->pos, a->n_tok, a->window, a->kv, a->sinks ? " sinks" : "");
    for (size_t i = 0; i < s->n_out; i++)
        if (i % a->out_stride < (size_t)(a->n_group * a->head_dim) && want[i] != want[i]) {
            kc_fail(KERN_ISA_AVX2, "the reference itself gave NaN: %s", what);
            return;
        }
    for (int i = KERN_ISA_SCALAR + 1; i < KERN_N_ISA; i++) {
        attn_fn *fn = kc_table[i] ? entry(kc_table[i], bf16) : NULL;
        if (!fn || fn == kc_ref->attn_bf16)
            continue;
        memset(got, 0xff, s->n_out * 4);
        part(fn, a, got, 0, a->n_tok);
        kc_same(i, got, want, s->n_out, what);
        memset(got, 0xff, s->n_out * 4);
        for (int t0 = 0, t1; t0 < a->n_tok; t0 = t1) {
            t1 = t0 + kc_range(1, a->n_tok - t0);
            part(fn, a, got, t0, t1);
        }
        kc_same(i, got, want, s->n_out, "the same, cut");
        memset(got, 0xff, s->n_out * 4);
        cut_blocks(kc_table[i], fn, a, got);
        kc_same(i, got, want, s->n_out, "the same, in parts");
    }
}

/* bf16 beside floats: close, and not the same. */
static void check_near(const struct setup *s)
{
    const struct kern_attn *a = &s->a;
    float *want = kc_alloc(s->n_out * 4, 4), *got = kc_alloc(s->n_out * 4, 4), mean = 0, off = 0;
    part(kc_ref->attn, a, want, 0, a->n_tok);
    part(kc_ref->attn_bf16, a, got, 0, a->n_tok);
    for (size_t i = 0; i < s->n_out; i++)
        if (i % a->out_stride < (size_t)(a->n_group * a->head_dim)) {
            mean += want[i] * want[i];
            off += (got[i] - want[i]) * (got[i] - want[i]);
        }
    /* scores of up to 100 or so, rounded to 8 bits before the exponential, move weights by much */
    if (!(off < mean * 0.2f * 0.2f) || (off == 0.0f && a->pos > 40))
        kc_fail(KERN_ISA_AMX, "bf16 is %g off, squared, of %g", (double)off, (double)mean);
}

void kc_test_attn(void)
{
    kc_begin();
    for (int round = 0; round < (kc_whole ? 375 : 125); round++) {
        struct setup s;
        random_setup(&s);
        check_setup(&s, 0);
        kc_free_all();
    }
    kc_end("attn and kv_store");
    kc_begin();
    for (int round = 0; round < (kc_whole ? 150 : 50); round++) {
        struct setup s;
        random_setup(&s);
        check_setup(&s, 1);
        check_near(&s);
        kc_free_all();
    }
    kc_end("attn_bf16");
}
