#include "tiny.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/rand.h"
#include "base/utf8.h"
#include "engine/gguf.h"
#include "kern/kern.h"

enum { LAYERS = 3, EMBD = 64, HEADS = 4, KV_HEADS = 2, HEAD = 16, EXPERTS = 6, USED = 2 };

static int ff_of(const struct tiny *t)
{
    return t->ff ? t->ff : 96;
}

static void u32(struct buf *b, uint32_t v)
{
    buf_add(b, &v, 4);
}

static void u64(struct buf *b, uint64_t v)
{
    buf_add(b, &v, 8);
}

static void str(struct buf *b, const char *s, size_t n)
{
    u64(b, n);
    buf_add(b, s, n);
}

static void key(struct buf *b, const char *k, uint32_t type)
{
    str(b, k, strlen(k));
    u32(b, type);
}

static void kv_u32(struct buf *b, uint64_t *n, const char *k, uint32_t v)
{
    key(b, k, GGUF_U32);
    u32(b, v);
    ++*n;
}

static void kv_f32(struct buf *b, uint64_t *n, const char *k, float v)
{
    key(b, k, GGUF_F32);
    buf_add(b, &v, 4);
    ++*n;
}

static void kv_str(struct buf *b, uint64_t *n, const char *k, const char *v)
{
    key(b, k, GGUF_STR);
    str(b, v, strlen(v));
    ++*n;
}

/* ---- vocabulary: every byte, as byte-level BPE spells it, and four control tokens ------------ */

static uint32_t byte_char(int byte)
{
    int next = 256;
    for (int c = 0; c < 256; c++) {
        int plain = (c >= '!' && c <= '~') || (c >= 0xa1 && c <= 0xac) || c >= 0xae;
        if (c == byte)
            return (uint32_t)(plain ? c : next);
        next += !plain;
    }
    return 0;
}

static void write_vocab(struct buf *b, uint64_t *n, int adds_bos)
{
    static const char *const control[] = {"<s>", "</s>", "<|im_start|>", "<|im_end|>"};

    kv_str(b, n, "tokenizer.ggml.model", "gpt2");
    kv_str(b, n, "tokenizer.ggml.pre", "gpt-2");
    key(b, "tokenizer.ggml.tokens", GGUF_ARRAY);
    u32(b, GGUF_STR);
    u64(b, TINY_VOCAB);
    for (int i = 0; i < 256; i++) {
        char s[4];
        int len = utf8_encode(byte_char(i), s);
        str(b, s, (size_t)len);
    }
    for (int i = 0; i < 4; i++)
        str(b, control[i], strlen(control[i]));
    ++*n;
    key(b, "tokenizer.ggml.token_type", GGUF_ARRAY);
    u32(b, GGUF_I32);
    u64(b, TINY_VOCAB);
    for (int i = 0; i < TINY_VOCAB; i++)
        u32(b, i < 256 ? 1 : 3);
    ++*n;
    key(b, "tokenizer.ggml.merges", GGUF_ARRAY);
    u32(b, GGUF_STR);
    u64(b, 0);
    ++*n;
    kv_u32(b, n, "tokenizer.ggml.bos_token_id", 256);
    kv_u32(b, n, "tokenizer.ggml.eos_token_id", 257);
    if (adds_bos) {
        key(b, "tokenizer.ggml.add_bos_token", GGUF_BOOL);
        buf_add_char(b, 1);
        ++*n;
    }
    kv_str(
        b, n, "tokenizer.chat_template",
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' "
        "}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}");
}

/* ---- tensors --------------------------------------------------------------------------------- */

struct writer {
    struct buf info, data;
    uint64_t n;
    int quantised;
};

static float noise(uint64_t stream, uint64_t i)
{
    return rand_uniform(7, stream, i) * 2 - 1;
}

static void fill_block(struct writer *w, enum kern_fmt fmt, uint64_t at, float scale)
{
    uint8_t block[64];
    uint16_t d;
    uint32_t r[4];

    if (fmt == KERN_Q4_0) {
        d = kern_f32_to_f16(scale / 8 * (0.5f + rand_uniform(8, w->n, at)));
        rand_philox(9, at, w->n, r);
        memcpy(block, &d, 2);
        memcpy(block + 2, r, 16);
        buf_add(&w->data, block, 18);
    } else {
        d = kern_f32_to_f16(scale / 127 * (0.5f + rand_uniform(8, w->n, at)));
        memcpy(block, &d, 2);
        for (uint64_t i = 0; i < 2; i++) {
            rand_philox(10, at * 2 + i, w->n, r);
            memcpy(block + 2 + 16 * i, r, 16);
        }
        buf_add(&w->data, block, 34);
    }
}

static void tensor(struct writer *w, const char *name, int cols, int rows, int mats,
                   enum kern_fmt fmt, float scale, float base)
{
    static const char zero[32];
    uint64_t n = (uint64_t)cols * (uint64_t)rows * (uint64_t)mats;
    int dims = mats > 1 ? 3 : rows > 1 ? 2 : 1;

    str(&w->info, name, strlen(name));
    u32(&w->info, (uint32_t)dims);
    u64(&w->info, (uint64_t)cols);
    if (dims > 1)
        u64(&w->info, (uint64_t)rows);
    if (dims > 2)
        u64(&w->info, (uint64_t)mats);
    u32(&w->info, (uint32_t)kern_fmt_info(fmt)->ggml_type);
    u64(&w->info, w->data.len);
    w->n++;
    if (fmt == KERN_F32) {
        for (uint64_t i = 0; i < n; i++) {
            float v = base + scale * noise(w->n, i);
            buf_add(&w->data, &v, 4);
        }
    } else {
        for (uint64_t i = 0; i < n / 32; i++)
            fill_block(w, fmt, i, scale);
    }
    buf_add(&w->data, zero, (32 - w->data.len % 32) % 32);
}

static void matrix(struct writer *w, const char *name, int cols, int rows, int mats,
                   enum kern_fmt q)
{
    tensor(w, name, cols, rows, mats, w->quantised ? q : KERN_F32, 1.6f / 8, 0);
}

static void layer(struct writer *w, const struct tiny *t, int i)
{
    char name[64];
    int ff = ff_of(t);
#define NAME(s) (snprintf(name, sizeof name, "blk.%d." s ".weight", i), name)
    tensor(w, NAME("attn_norm"), EMBD, 1, 1, KERN_F32, 0.2f, 1);
    tensor(w, NAME("ffn_norm"), EMBD, 1, 1, KERN_F32, 0.2f, 1);
    matrix(w, NAME("attn_q"), EMBD, HEADS * HEAD, 1, KERN_Q4_0);
    matrix(w, NAME("attn_k"), EMBD, KV_HEADS * HEAD, 1, KERN_Q8_0);
    matrix(w, NAME("attn_v"), EMBD, KV_HEADS * HEAD, 1, KERN_Q4_0);
    matrix(w, NAME("attn_output"), HEADS * HEAD, EMBD, 1, KERN_Q8_0);
    if (t->arch != TINY_LLAMA) {
        tensor(w, NAME("attn_q_norm"), HEAD, 1, 1, KERN_F32, 0.2f, 1);
        tensor(w, NAME("attn_k_norm"), HEAD, 1, 1, KERN_F32, 0.2f, 1);
    }
    if (t->arch == TINY_GEMMA3) {
        tensor(w, NAME("post_attention_norm"), EMBD, 1, 1, KERN_F32, 0.2f, 1);
        tensor(w, NAME("post_ffw_norm"), EMBD, 1, 1, KERN_F32, 0.2f, 1);
    }
    if (t->arch == TINY_QWEN3MOE) {
        tensor(w, NAME("ffn_gate_inp"), EMBD, EXPERTS, 1, KERN_F32, 0.4f, 0);
        matrix(w, NAME("ffn_gate_exps"), EMBD, ff, EXPERTS, KERN_Q4_0);
        matrix(w, NAME("ffn_up_exps"), EMBD, ff, EXPERTS, KERN_Q4_0);
        matrix(w, NAME("ffn_down_exps"), ff, EMBD, EXPERTS, KERN_Q8_0);
    } else {
        matrix(w, NAME("ffn_gate"), EMBD, ff, 1, KERN_Q4_0);
        matrix(w, NAME("ffn_up"), EMBD, ff, 1, KERN_Q4_0);
        matrix(w, NAME("ffn_down"), ff, EMBD, 1, KERN_Q8_0);
    }
#undef NAME
}

void tiny_write(struct buf *b, const struct tiny *t)
{
    static const char *const archs[] = {"llama", "gemma3", "qwen3moe"};
    static const char zero[32];
    const char *arch = archs[t->arch];
    struct writer w = {.quantised = t->quantised};
    struct buf meta;
    uint64_t n_kv = 0;
    char k[96];

    buf_init(b, 64 << 20);
    buf_init(&meta, 1 << 20);
    buf_init(&w.info, 1 << 20);
    buf_init(&w.data, 64 << 20);
#define KEY(s) (snprintf(k, sizeof k, "%s." s, arch), k)
    kv_str(&meta, &n_kv, "general.architecture", arch);
    kv_str(&meta, &n_kv, "general.name", "tiny");
    kv_u32(&meta, &n_kv, KEY("block_count"), LAYERS);
    kv_u32(&meta, &n_kv, KEY("embedding_length"), EMBD);
    kv_u32(&meta, &n_kv, KEY("attention.head_count"), HEADS);
    kv_u32(&meta, &n_kv, KEY("attention.head_count_kv"), KV_HEADS);
    kv_u32(&meta, &n_kv, KEY("attention.key_length"), HEAD);
    kv_u32(&meta, &n_kv, KEY("attention.value_length"), HEAD);
    kv_u32(&meta, &n_kv, KEY("feed_forward_length"), (uint32_t)ff_of(t));
    kv_u32(&meta, &n_kv, KEY("context_length"), (uint32_t)t->context);
    kv_f32(&meta, &n_kv, KEY("attention.layer_norm_rms_epsilon"), 1e-6f);
    if (t->arch == TINY_GEMMA3) {
        kv_u32(&meta, &n_kv, KEY("attention.sliding_window"), (uint32_t)t->window);
        kv_u32(&meta, &n_kv, KEY("attention.sliding_window_pattern"), t->all_windows ? 0 : 2);
    }
    if (t->arch == TINY_QWEN3MOE) {
        kv_u32(&meta, &n_kv, KEY("expert_count"), EXPERTS);
        kv_u32(&meta, &n_kv, KEY("expert_used_count"), USED);
        kv_u32(&meta, &n_kv, KEY("expert_feed_forward_length"), (uint32_t)ff_of(t));
    }
#undef KEY
    write_vocab(&meta, &n_kv, t->adds_bos);
    matrix(&w, "token_embd.weight", EMBD, TINY_VOCAB, 1, KERN_Q8_0);
    tensor(&w, "output_norm.weight", EMBD, 1, 1, KERN_F32, 0.2f, 1);
    if (t->arch == TINY_LLAMA)
        matrix(&w, "output.weight", EMBD, TINY_VOCAB, 1, KERN_Q8_0);
    for (int i = 0; i < LAYERS; i++)
        layer(&w, t, i);
    buf_add_str(b, "GGUF");
    u32(b, 3);
    u64(b, w.n);
    u64(b, n_kv);
    buf_add(b, meta.data, meta.len);
    buf_add(b, w.info.data, w.info.len);
    buf_add(b, zero, (32 - b->len % 32) % 32);
    buf_add(b, w.data.data, w.data.len);
    CHECK(!b->failed && !meta.failed && !w.info.failed && !w.data.failed);
    buf_done(&meta);
    buf_done(&w.info);
    buf_done(&w.data);
}

static char folder[64];

static void remove_folder(void)
{
    char cmd[128];
    int rc;
    snprintf(cmd, sizeof cmd, "rm -rf %s", folder);
    rc = system(cmd);
    (void)rc;
}

const char *tiny_save(const void *data, size_t n, const char *name)
{
    static char path[160];
    FILE *f;

    if (!*folder) {
        strcpy(folder, "/dev/shm/gaufre-test-XXXXXX"); /* in memory: some write thousands */
        if (!mkdtemp(folder)) {
            strcpy(folder, "/tmp/gaufre-test-XXXXXX");
            CHECK(mkdtemp(folder));
        }
        atexit(remove_folder);
    }
    snprintf(path, sizeof path, "%s/%s", folder, name);
    f = fopen(path, "we");
    CHECK(f && fwrite(data, 1, n, f) == n);
    fclose(f);
    return path;
}

const char *tiny_file(const struct tiny *t, const char *name)
{
    struct buf b;
    const char *path;

    tiny_write(&b, t);
    path = tiny_save(b.data, b.len, name);
    buf_done(&b);
    return path;
}
