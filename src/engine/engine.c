/* Opening and closing an engine, what it says of itself, and offline evaluation. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/map.h"
#include "base/sysmem.h"
#include "base/utf8.h"
#include "engine/engine_int.h"
#include "engine/recommend.h"
#include "engine/vocab_gguf.h"

#define TEMPLATE_MAX     ((size_t)1 << 20)
#define CHUNK_DEFAULT    512
#define BATCH_DEFAULT    64
#define BATCH_MAX        1024
#define STALL_DEFAULT    30000000
#define GIVE_WAY_DEFAULT 250000
#define KV_TOKENS_MIN    65536 /* the KV cache holds at least so many tokens where memory allows */

/* ---- text of the file ------------------------------------------------------------------------ */

static const char *keep(struct engine *e, const char *p, size_t n)
{
    const char *s = arena_strndup(&e->arena, p, n);
    return s ? s : "";
}

static const char *keep_key(struct engine *e, const struct gguf *g, const char *key)
{
    struct gguf_str s;
    size_t n;

    if (gguf_get_str(g, key, &s, NULL) != 1)
        return "";
    n = s.n < 4096 ? s.n : 4096;
    return keep(e, s.p, n - utf8_partial_tail(s.p, n)); /* whole characters */
}

static int read_file(struct engine *e, const char *path, const char **ret, size_t *ret_n,
                     struct err *err)
{
    FILE *f = fopen(path, "re");
    char *p;
    size_t n;

    if (!f)
        return err_set(err, ERR_NOTFOUND, "%s: %s", path, strerror(errno));
    p = arena_alloc(&e->arena, TEMPLATE_MAX + 1);
    n = p ? fread(p, 1, TEMPLATE_MAX + 1, f) : 0;
    fclose(f);
    if (!p)
        return err_set(err, ERR_NOMEM, "no memory for the chat template");
    if (n > TEMPLATE_MAX)
        return err_set(err, ERR_LIMIT, "%s: a chat template of more than %zu bytes", path,
                       TEMPLATE_MAX);
    *ret = p;
    *ret_n = n;
    return 0;
}

/* The chat template: the given file's, else the model's. Without one, or with one that does not
 * compile, the model serves completions and says why chat is refused; a file that was asked for
 * must compile. */
static int open_template(struct engine *e, const struct gguf *g, const char *file, struct err *err)
{
    struct gguf_str s;
    const char *text = NULL;
    size_t n = 0;
    struct err why;
    int rc;

    e->info.no_template_why = e->no_template;
    if (file) {
        rc = read_file(e, file, &text, &n, err);
        if (rc)
            return rc;
    } else if (gguf_get_str(g, "tokenizer.chat_template", &s, NULL) == 1) {
        text = keep(e, s.p, s.n);
        n = s.n;
    } else {
        snprintf(
            e->no_template, sizeof e->no_template,
            "model '%s' has no chat template, so it serves completions only (a template can be "
            "given with --chat-template FILE)",
            e->info.name);
        return 0;
    }
    rc = jinja_compile(&e->jinja, text, n, &why);
    if (rc && file)
        return err_set(err, rc, "%s: %s", file, why.text);
    if (rc) {
        snprintf(e->no_template, sizeof e->no_template,
                 "the chat template of model '%s' cannot be used, so it serves completions only: "
                 "%.300s",
                 e->info.name, why.text);
        return 0;
    }
    e->info.template_text = keep(e, text, n);
    e->info.has_template = 1;
    e->no_template[0] = 0;
    return 0;
}

static const char *token_text(struct engine *e, int32_t id)
{
    size_t n = 0;
    const char *p = id >= 0 ? vocab_piece(e->vocab, id, &n) : "";
    return keep(e, p, n);
}

struct vocab_opening {
    struct engine *e;
    const struct gguf *g;
    struct err *err;
};

static int open_vocab(void *arg)
{
    struct vocab_opening *o = arg;
    struct engine *e = o->e;
    struct err *err = o->err;
    struct vocab_source src;
    int rc = vocab_source_from_gguf(&src, o->g, err);

    if (rc)
        return rc;
    rc = vocab_open(&e->vocab, &src, err);
    vocab_source_done(&src);
    if (rc)
        return rc;
    if (vocab_n(e->vocab) != e->model.n_vocab)
        return err_set(err, ERR_FORMAT, "%d tokens, but an output of %d", vocab_n(e->vocab),
                       e->model.n_vocab);
    e->info.vocab_bytes = vocab_memory(e->vocab);
    e->info.bos_text = token_text(e, vocab_bos(e->vocab));
    e->info.eos_text = token_text(e, vocab_eos(e->vocab));
    return 0;
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* Longest context that `bytes` of KV hold. */
static int32_t context_in(const struct model *m, enum kern_kv kv, size_t bytes, int32_t most,
                          int32_t chunk)
{
    int32_t lo = 0, hi = most / KERN_PAGE + 1;
    while (lo < hi) { /* in pages */
        int32_t mid = lo + (hi - lo + 1) / 2;
        if (kv_seq_bytes(m, kv, mid * KERN_PAGE, chunk) <= bytes)
            lo = mid;
        else
            hi = mid - 1;
    }
    return lo * KERN_PAGE < most ? lo * KERN_PAGE : most;
}

/* Decide context length and KV memory by the settings and the memory that the machine has. */
static int plan_memory(struct engine *e, const struct engine_config *c, enum kern_kv kv,
                       size_t *ret_kv_bytes, struct err *err)
{
    struct engine_info *in = &e->info;
    const struct model *m = &e->model;
    uint64_t avail = sysmem_available(), weights = m->pages_bytes + ((uint64_t)32 << 20), left;
    size_t bytes, one, per_page = kv_page_bytes(m, kv, 0) + kv_page_bytes(m, kv, 1);
    int32_t want = c->context_max ? c->context_max : m->context_trained;

    avail -= c->reserved < avail ? c->reserved : avail;
    if (c->context_max < 0 || want > m->context_trained)
        return err_set(err, ERR_ARG,
                       "a context of %d token%s was asked for, but the model was "
                       "trained for %d",
                       c->context_max, plural(c->context_max), m->context_trained);
    if (weights >= avail)
        return err_set(err, ERR_LIMIT,
                       "the weights take %.1f MB, but only %.1f MB of memory are available",
                       (double)m->pages_bytes / 1e6, (double)avail / 1e6);
    left = avail - weights;
    one = kv_seq_bytes(m, kv, want, in->chunk);
    if (c->kv_bytes_max) {
        bytes = c->kv_bytes_max;
        if (bytes > left)
            return err_set(err, ERR_LIMIT,
                           "%.1f MB of KV cache were asked for, but only %.1f MB of memory are "
                           "available beside the weights",
                           (double)bytes / 1e6, (double)left / 1e6);
    } else {
        size_t tokens = 4 * (size_t)want > KV_TOKENS_MIN ? 4 * (size_t)want : KV_TOKENS_MIN;
        bytes = tokens / KERN_PAGE * per_page;
        if (bytes > left / 2)
            bytes = (size_t)(left / 2);
    }
    in->context = want;
    if (one + 2 * per_page > bytes) {
        size_t usable = bytes > 2 * per_page ? bytes - 2 * per_page : 0;
        in->context = context_in(m, kv, usable, want, in->chunk);
        if (c->context_max || in->context < 64)
            return err_set(
                err, ERR_LIMIT,
                "a context of %d token%s takes %.1f MB of KV cache, but only %.1f MB are "
                "to be had (room for %d)",
                want, plural(want), (double)one / 1e6, (double)bytes / 1e6, in->context);
    }
    *ret_kv_bytes = bytes;
    return 0;
}

/* ---- open and close -------------------------------------------------------------------------- */

static int check_config(const struct engine_config *c, struct err *e)
{
    if (!c->path)
        return err_set(e, ERR_ARG, "no model file given");
    if (c->chunk < 0 || c->chunk > 8192)
        return err_set(e, ERR_ARG, "prefill chunk: %d is not in [1, 8192]", c->chunk);
    if (c->batch_max < 0 || c->batch_max > BATCH_MAX)
        return err_set(e, ERR_ARG, "batch: %d is not in [1, %d]", c->batch_max, BATCH_MAX);
    if (c->output_max < 0)
        return err_set(e, ERR_ARG, "output cap: %d is negative", c->output_max);
    return 0;
}

const char engine_class_words[] = "auto|q8|bf16|f32"; /* in the order of the names below */
const char engine_cpu_words[] = "auto" KERN_ISA_WORDS;
const char engine_kv_words[] = "auto|" KERN_KV_WORDS;

static const char *engine_class_name(enum engine_class cls)
{
    static const char *const names[] = {"auto", "q8", "bf16", "f32"};
    CHECK((unsigned)cls < ARRAY_LEN(names));
    return names[cls];
}

static void fill_info(struct engine *e, const struct engine_config *c, const struct gguf *g)
{
    struct engine_info *in = &e->info;
    const struct model *m = &e->model;
    const char *slash = strrchr(c->path, '/');

    in->path = keep(e, c->path, strlen(c->path));
    in->name = c->name ? keep(e, c->name, strlen(c->name))
                       : keep(e, slash ? slash + 1 : c->path, strlen(slash ? slash + 1 : c->path));
    in->general_name = keep_key(e, g, "general.name");
    in->license = keep_key(e, g, "general.license");
    in->template_text = NULL;
    in->family = m->family->arch;
    in->formats = m->formats;
    in->kernels = e->kern->name;
    in->cls = engine_class_name(e->cls);
    in->sampling_from = recommend_sampling(c->sampling, g, m->family, &in->sampling);
    in->file_bytes = gguf_file_bytes(g);
    in->tensor_bytes = m->tensor_bytes;
    in->weight_bytes = m->pages_bytes;
    in->bytes_per_token = m->token_bytes;
    in->step_bytes_dense = m->dense_bytes + m->output_bytes;
    in->expert_bytes = m->expert_bytes;
    in->macs_per_token =
        m->dense_macs + m->expert_macs * (uint64_t)m->n_used * (uint64_t)m->n_layers;
    in->macs_output = m->output_macs;
    in->n_params = m->n_params;
    in->n_layers = m->n_layers;
    in->n_embd = m->n_embd;
    in->n_heads = m->n_heads;
    in->n_kv_heads = m->n_kv_heads;
    in->head_dim = m->head_dim;
    in->n_ff = m->n_experts ? m->n_ff_x : m->n_ff;
    in->n_vocab = m->n_vocab;
    in->n_experts = m->n_experts;
    in->n_experts_used = m->n_used;
    in->window = m->kv_layers[1] ? m->window : 0;
    in->context_trained = m->context_trained;
    in->output_max = c->output_max;
    in->chunk = c->chunk ? c->chunk : CHUNK_DEFAULT;
    in->batch_max = c->batch_max ? c->batch_max : BATCH_DEFAULT;
    in->page_tokens = KERN_PAGE;
}

/* Equal for files with the same tensors, wherever they lie: of each its name, its form, and bytes
 * of its beginning, middle and end. Models of one origin differ in nearly every tensor. */
static uint64_t print_weights(const struct gguf *g)
{
    enum { BYTES = 64 };
    uint64_t h = 1;

    for (int i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        size_t n = t->bytes < BYTES ? (size_t)t->bytes : BYTES;
        const uint64_t at[] = {0, t->bytes / 2 < t->bytes - n ? t->bytes / 2 : t->bytes - n,
                               t->bytes - n};
        h = map_hash(t->name, strlen(t->name), h);
        h = map_hash(&t->ggml_type, sizeof t->ggml_type, h);
        h = map_hash(t->dim, sizeof t->dim, h);
        for (size_t k = 0; k < ARRAY_LEN(at); k++)
            h = map_hash(t->data + at[k], n, h);
    }
    return h;
}

static int open_parts(struct engine *e, const struct engine_config *c, struct gguf *g,
                      engine_progress *progress, void *arg, struct err *err)
{
    enum kern_kv kv = c->kv                  ? (enum kern_kv)(c->kv - 1)
                      : c->cls == ENGINE_F32 ? KERN_KV_F32
                                             : KERN_KV_F16;
    struct kv_config kc = {.type = kv};
    struct vocab_opening opening = {e, g, err};
    struct model_meanwhile also = {open_vocab, &opening};
    struct kv_stats ks;
    struct step_config sc;
    int rc;

    rc = model_plan(&e->model, g, err);
    if (rc)
        return rc;
    fill_info(e, c, g);
    e->info.kv = kern_kv_name(kv);
    if ((c->describe_only && (rc = open_vocab(&opening))) ||
        (rc = open_template(e, g, c->template_file, err)))
        return rc;
    rc = plan_memory(e, c, kv, &kc.bytes_max, err);
    if (rc && !c->describe_only)
        return rc;
    if (rc)
        e->info.no_room_why = keep(e, err->text, strlen(err->text));
    e->info.kv_bytes = kc.bytes_max;
    e->info.kv_token_bytes = kv_seq_bytes(&e->model, kv, KERN_PAGE * 64, 1) / (KERN_PAGE * 64);
    if (c->describe_only)
        return 0;
    e->info.weights_print = print_weights(g);
    team_lock(e->team);
    rc = model_load(&e->model, e->team, &also, progress, arg, err);
    team_unlock(e->team);
    if (rc)
        return rc;
    kc.context = e->info.context;
    kc.n_seqs = e->info.batch_max;
    kc.chunk = e->info.chunk;
    rc = kv_open(&e->kv, &e->model, &kc, err);
    if (rc)
        return rc;
    kv_stats(e->kv, &ks);
    e->info.kv_bytes = ks.bytes;
    e->info.n_pages = ks.n_pages;
    sc = (struct step_config){.model = &e->model,
                              .kv = e->kv,
                              .team = e->team,
                              .kern = e->kern,
                              .cls = e->cls,
                              .kv_type = kv,
                              .beat_us = &e->beat_us,
                              .tok_max = e->info.chunk + e->info.batch_max,
                              .seg_max = e->info.batch_max + MORE_RUNS,
                              .context = e->info.context,
                              .out_max = e->info.batch_max + MORE_ROWS};
    e->info.work_bytes = step_bytes(&sc);
    rc = step_open(&e->step, &sc, err);
    return rc ? rc : loop_open(e, err);
}

int engine_check_file(const char *path, struct err *e)
{
    return gguf_check(path, e);
}

int engine_open(struct engine **ret, const struct engine_config *c, struct team *t,
                engine_progress *progress, void *arg, struct err *err)
{
    struct engine *e;
    struct gguf *g = NULL;
    int rc = check_config(c, err);

    if (rc)
        return rc;
    e = calloc(1, sizeof *e);
    if (!e)
        return err_set(err, ERR_NOMEM, "no memory for the engine");
    arena_init(&e->arena, 16 << 10, (size_t)16 << 20);
    e->inbox.fd = -1;
    e->team = t;
    e->meter = c->meter;
    atomic_store(&e->quit, c->describe_only); /* without a thread engine_submit refuses */
    e->kern = kern_open(c->cpu ? (enum kern_isa)(c->cpu - 1) : KERN_N_ISA - 1);
    e->cls = c->cls ? c->cls : e->kern->fast_bf16 ? ENGINE_BF16 : ENGINE_Q8;
    e->use_cache = !c->no_prefix_cache;
    e->use_drafts = !c->no_speculation;
    e->draft_always = c->draft_always;
    e->stall_us_max = c->stall_us_max ? c->stall_us_max : STALL_DEFAULT;
    e->loop.sched.give_way_us = c->give_way_us ? c->give_way_us : GIVE_WAY_DEFAULT;
    rc = gguf_open(&g, c->path, err);
    if (rc)
        goto fail;
    rc = gguf_check_lost(g, c->path, open_parts(e, c, g, progress, arg, err), err);
    if (rc) {
        if (!err || !strstr(err->text, c->path))
            err_prefix(err, "%s", c->path);
        goto fail;
    }
    gguf_close(g);
    g = NULL;
    if (c->describe_only) {
        *ret = e;
        return 0;
    }
    rc = mbox_open(&e->inbox);
    if (rc) {
        err_set(err, rc, "%s: no event descriptor left", c->path);
        goto fail;
    }
    atomic_store(&e->beat_us, clock_now_us());
    if (pthread_create(&e->thread, NULL, loop_main, e)) {
        rc = err_set(err, ERR_NOMEM, "%s: cannot start the engine's thread", c->path);
        goto fail;
    }
    e->has_thread = 1;
    *ret = e;
    return 0;
fail:
    gguf_close(g);
    engine_close(e);
    return rc;
}

void engine_close(struct engine *e)
{
    if (!e)
        return;
    if (e->has_thread) {
        atomic_store(&e->quit, 1);
        mbox_wake(&e->inbox);
        pthread_join(e->thread, NULL);
    }
    loop_close(e);
    step_close(e->step);
    kv_close(e->kv);
    model_done(&e->model);
    jinja_free(e->jinja);
    vocab_close(e->vocab);
    mbox_close(&e->inbox);
    arena_done(&e->arena);
    free(e);
}

const struct engine_info *engine_info(const struct engine *e)
{
    return &e->info;
}

void engine_set_places(struct engine *e, int32_t n)
{
    atomic_store(&e->places, n);
    mbox_wake(&e->inbox);
}

void engine_set_others_max(struct engine *e, int32_t n)
{
    atomic_store(&e->others_max, n);
    mbox_wake(&e->inbox);
}

void engine_load(const struct engine *e, struct load *ret)
{
    int64_t idle_us = clock_now_us() - atomic_load(&e->beat_us);

    *ret = (struct load){
        .state = SUPPLIER_READY,
        .progress = 1,
        .frozen = idle_us > 4000000,
        .capacity = e->info.batch_max,
        .n_waiting = atomic_load(&e->n_waiting),
        .n_inside = atomic_load(&e->n_inside),
        .n_running = atomic_load(&e->n_running),
        .n_pages = e->info.n_pages,
        .pages_free = atomic_load(&e->pages_free),
        .pages_shared = atomic_load(&e->pages_cached),
        .batch_tokens = atomic_load(&e->last_tokens),
        .batch_seqs = atomic_load(&e->last_seqs),
        .n_steps = atomic_load(&e->n_steps),
        .prompt_tokens = atomic_load(&e->prompt_tokens),
        .cached_tokens = atomic_load(&e->cached_tokens),
        .generated_tokens = atomic_load(&e->generated_tokens),
        .bytes_read = atomic_load(&e->weight_bytes_read),
        .preemptions = atomic_load(&e->preemptions),
        .draft_tokens = atomic_load(&e->draft_tokens),
        .draft_accepted = atomic_load(&e->draft_accepted),
        .energy_uj = atomic_load(&e->energy_uj),
    };
    for (int i = 0; i < TIER_AUTO; i++)
        ret->turn[i] = atomic_load(&e->turn[i]);
    ret->pages_used = ret->n_pages - ret->pages_free - ret->pages_shared;
}

int engine_eval(struct engine *e, const int32_t *id, int32_t n,
                int (*row)(void *arg, int32_t i, const float *logits), void *arg, struct err *err)
{
    int32_t most = e->info.chunk < e->info.batch_max + MORE_ROWS ? e->info.chunk
                                                                 : e->info.batch_max + MORE_ROWS;
    struct kv_seq seq = {0};
    int32_t *out = NULL;
    int rc;

    if (n < 1 || n > e->info.context)
        return err_set(err, ERR_CONTEXT, "%d token%s do not fit into the context of %d", n,
                       plural(n), e->info.context);
    for (int32_t i = 0; i < n; i++) {
        if (id[i] < 0 || id[i] >= e->info.n_vocab)
            return err_set(err, ERR_ARG, "token %d is not in the vocabulary", id[i]);
    }
    out = malloc((size_t)most * sizeof *out);
    rc = out ? kv_seq_init(e->kv, &seq) : ERR_NOMEM;
    if (rc) {
        free(out);
        return err_set(err, ERR_NOMEM, "no memory for an evaluation");
    }
    for (int32_t i = 0; i < most; i++)
        out[i] = i;
    kv_seq_open(e->kv, &seq, 0, 0, 0, id, NULL, n);
    team_lock(e->team);
    for (int32_t at = 0; at < n && !rc; at += most) {
        int32_t m = n - at < most ? n - at : most;
        struct step_seg seg = {.kv = &seq, .pos = at, .tok = 0, .n = m};
        struct step_batch b = {
            .token = id + at, .n_tok = m, .seg = &seg, .n_segs = 1, .out = out, .n_out = m};
        rc = kv_seq_grow(e->kv, &seq, at + m);
        if (rc) {
            err_set(err, rc, "the KV cache is too small for %d token%s", n, plural(n));
            break;
        }
        step_run(e->step, &b);
        kv_seq_commit(e->kv, &seq, id, NULL, at + m);
        for (int32_t i = 0; i < m && !rc; i++) {
            rc = row(arg, at + i, step_logits(e->step, i));
            if (rc)
                err_set(err, rc, "the evaluation was stopped");
        }
    }
    team_unlock(e->team);
    kv_seq_close(e->kv, &seq);
    kv_seq_done(&seq);
    free(out);
    return rc;
}
