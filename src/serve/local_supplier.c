#include "serve/local_supplier.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "base/sysmem.h"
#include "base/team.h"
#include "console/bench_store.h"
#include "net/net.h"
#include "policy/derate.h"
#include "policy/entitlement.h"

static const struct local *of(const struct supplier *s)
{
    return (const struct local *)(const void *)s;
}

static struct engine *engine(const struct supplier *s)
{
    return of(s)->engine;
}

/* ---- observation ----------------------------------------------------------------------------- */

static void local_load_now(const struct supplier *s, struct load *ret)
{
    const struct local *l = of(s);

    *ret = (struct load){.state = (enum supplier_state)atomic_load(&l->state),
                         .progress = atomic_load(&l->progress) / 100.0};
    if (ret->state == SUPPLIER_READY)
        engine_load(l->engine, ret);
}

static const struct supplier_facts *local_facts(const struct supplier *s)
{
    return &of(s)->facts;
}

static const struct supplier_engine *local_engine(const struct supplier *s)
{
    return &of(s)->view;
}

/* ---- text ------------------------------------------------------------------------------------ */

static int local_tokenize(const struct supplier *s, const char *text, size_t n, int special,
                          int bos, size_t max, const struct patience *patience, struct tokens *ret,
                          struct err *e)
{
    unsigned flags = (special ? PROMPT_SPECIAL : 0) | (bos ? PROMPT_BOS : 0);

    return engine_tokenize(engine(s), text, n, flags, max, patience, ret, e);
}

static int local_detokenize(const struct supplier *s, const int32_t *id, int32_t n, struct buf *out,
                            struct err *e)
{
    return engine_detokenize(engine(s), id, n, 1, out, e);
}

static const char *local_token_bytes(const struct supplier *s, int32_t id, size_t *ret_n)
{
    return engine_token_bytes(engine(s), id, ret_n);
}

static int local_render(const struct supplier *s, const struct chat *chat, struct buf *ret_text,
                        struct tokens *ret_tokens, struct err *e)
{
    return engine_render(engine(s), chat, ret_text, ret_tokens, e);
}

/* ---- jobs ------------------------------------------------------------------------------------ */

static int local_submit(struct supplier *s, struct job *j, struct err *e)
{
    return engine_submit(engine(s), j, e);
}

static void local_cancel(struct supplier *s, struct job *j)
{
    engine_cancel(engine(s), j);
}

static const struct event *local_peek(struct supplier *s, struct job *j)
{
    return engine_event_peek(j);
}

static void local_pop(struct supplier *s, struct job *j)
{
    engine_event_pop(engine(s), j);
}

static int32_t local_before(struct supplier *s, const struct job *j)
{
    (void)s;
    return engine_before(j);
}

static int local_release(struct supplier *s, struct job *j)
{
    return engine_release(j);
}

/* ---- its site -------------------------------------------------------------------------------- */

static void obey(struct local *l)
{
    int32_t places = derate_places(l->view.batch_max, atomic_load(&l->factor_ppm));
    int32_t kept = entitlement_kept(places, 0, atomic_load(&l->unlent_ppm));

    engine_set_places(l->engine, places);
    engine_set_others_max(l->engine, kept ? places - kept : 0);
}

/* While it is loaded nobody is there; then local_load obeys. */
static void local_derate(struct supplier *s, int32_t factor_ppm)
{
    struct local *l = (struct local *)(void *)s;

    atomic_store(&l->factor_ppm, factor_ppm);
    if (atomic_load(&l->state) == SUPPLIER_READY)
        obey(l);
}

/* What runs here gives its place to who goes first, so none is kept by number. */
static void local_keep(struct supplier *s, int32_t n, int32_t unlent_ppm)
{
    struct local *l = (struct local *)(void *)s;

    (void)n;
    atomic_store(&l->unlent_ppm, unlent_ppm);
    if (atomic_load(&l->state) == SUPPLIER_READY)
        obey(l);
}

static const struct supplier_ops ops = {
    .load = local_load_now,
    .facts = local_facts,
    .engine = local_engine,
    .tokenize = local_tokenize,
    .detokenize = local_detokenize,
    .token_bytes = local_token_bytes,
    .render = local_render,
    .submit = local_submit,
    .cancel = local_cancel,
    .peek = local_peek,
    .pop = local_pop,
    .release = local_release,
    .before = local_before,
    .derate = local_derate,
    .keep = local_keep,
};

/* ---- loading --------------------------------------------------------------------------------- */

void local_init(struct local *l, const struct serve_model *m, const struct serve_config *c)
{
    struct net_config nc;

    *l = (struct local){.s = {.ops = &ops, .id = l->id, .model = m->id, .terms = c->own_terms},
                        .config = m,
                        .cpu = c->cpu};
    /* The name by which the ledger knows this engine: it must not change from start to start. */
    snprintf(l->id, sizeof l->id, "local/%s", m->id);
    net_config_default(&nc);
    /* Slow clients are judged by net: a job pauses for as long as one may take for a full stream.
     */
    l->stall_us = net_patience_us(&nc, (int)c->stall_timeout, nc.stream_pending_max);
    l->rates_path = c->rates_path;
    atomic_store(&l->factor_ppm, DERATE_ALL);
    atomic_store(&l->state, SUPPLIER_LOADING);
}

static void on_progress(void *arg, double done)
{
    struct local *l = arg;

    atomic_store(&l->progress, (int)(done * 100));
}

static void fill_facts(struct local *l)
{
    const struct engine_info *in = engine_info(l->engine);
    uint64_t h = map_hash(&in->file_bytes, sizeof in->file_bytes, in->weights_print);

    h = map_hash(in->cls, strlen(in->cls), h);
    h = map_hash(in->kv, strlen(in->kv), h);
    h = map_hash(GAUFRE_VERSION, strlen(GAUFRE_VERSION), h);
    snprintf(l->fingerprint, sizeof l->fingerprint, "fp_%010llx",
             (unsigned long long)(h & 0xffffffffffu));
    if (*l->config->sha256)
        snprintf(l->weights, sizeof l->weights, "sha256:%s", l->config->sha256);
    else
        snprintf(l->weights, sizeof l->weights, "print:%016llx",
                 (unsigned long long)in->weights_print);
    snprintf(l->engine_text, sizeof l->engine_text, "%s %s %s", GAUFRE_VERSION, in->cls, in->kv);
    l->facts = (struct supplier_facts){
        .context = in->context,
        .context_trained = in->context_trained,
        .output_max = in->output_max,
        .n_vocab = in->n_vocab,
        .n_params = in->n_params,
        .size_bytes = in->file_bytes,
        .quantization = in->formats,
        .fingerprint = l->fingerprint,
        .weights = l->weights,
        .engine = l->engine_text,
        .description = in->general_name,
        .chat = in->has_template,
        .no_chat_why = in->no_template_why,
        .sampling = in->sampling,
        .default_sampling = l->config->default_sampling,
        .reads_prompts = 1,
    };
    l->view = (struct supplier_engine){
        .kernels = in->kernels,
        .cls = in->cls,
        .kv_type = in->kv,
        .family = in->family,
        .batch_max = in->batch_max,
        .chunk = in->chunk,
        .page_tokens = in->page_tokens,
        .weight_bytes = in->weight_bytes,
        .kv_bytes = in->kv_bytes,
        .work_bytes = in->work_bytes,
        .vocab_bytes = in->vocab_bytes,
    };
}

static struct engine_config config_of(const struct serve_model *m, int cpu, int64_t stall_us,
                                      uint64_t reserved)
{
    return (struct engine_config){
        .path = m->path ? m->path : m->model,
        .name = m->id,
        .template_file = m->chat_template,
        .sampling = m->has_sampling ? &m->sampling : NULL,
        .cls = (enum engine_class)m->cls,
        .cpu = cpu,
        .kv = m->kv,
        .kv_bytes_max = m->kv_memory,
        .reserved = reserved,
        .context_max = (int32_t)m->context,
        .output_max = (int32_t)m->output_cap,
        .chunk = (int32_t)m->chunk,
        .batch_max = (int32_t)m->batch,
        .no_prefix_cache = !m->prefix_cache,
        .no_speculation = !m->speculation,
        .stall_us_max = stall_us,
    };
}

/* Find the rates that `gaufre bench` measured for this file on this machine. */
static void find_limit(struct local *l, int threads)
{
    const struct engine_info *in = engine_info(l->engine);
    const char *base = strrchr(in->path, '/');
    struct bench_rates m = {.threads = threads, .file_bytes = in->file_bytes};

    snprintf(m.model, sizeof m.model, "%s", base ? base + 1 : in->path);
    snprintf(m.cls, sizeof m.cls, "%s", in->cls);
    snprintf(m.kernels, sizeof m.kernels, "%s", in->kernels);
    sysmem_cpu_name(m.cpu, sizeof m.cpu);
    if (!l->rates_path || bench_store_find(l->rates_path, &m))
        return;
    l->view.read_bytes_per_s = m.read_bytes_per_s;
    l->view.decode_per_s = m.decode_limit;
    l->view.prefill_per_s = m.prefill_limit;
    l->view.measured = m.measured;
}

int local_load(struct local *l, struct team *t, uint64_t reserved)
{
    const struct serve_model *m = l->config;
    struct engine_config c = config_of(m, l->cpu, l->stall_us, reserved);
    int64_t began = clock_now_us();
    const struct engine_info *in;
    int r;

    c.meter = l->meter;
    r = engine_open(&l->engine, &c, t, on_progress, l, &l->err);

    if (r) {
        atomic_store(&l->state, SUPPLIER_FAILED);
        LOG_EVENT(LOG_ERROR, "model failed", LOG_STR("model", m->id), LOG_STR("why", l->err.text));
        return r;
    }
    fill_facts(l);
    find_limit(l, team_size(t));
    in = engine_info(l->engine);
    LOG_EVENT(LOG_INFO, "model loaded", LOG_STR("model", m->id), LOG_STR("family", in->family),
              LOG_STR("formats", in->formats), LOG_STR("class", in->cls),
              LOG_STR("kernels", in->kernels), LOG_INT("context", in->context),
              LOG_INT("context_trained", in->context_trained),
              LOG_INT("weight_bytes", in->weight_bytes), LOG_INT("kv_bytes", in->kv_bytes),
              LOG_STR("chat", in->has_template ? "yes" : "no"),
              LOG_INT("ms", (clock_now_us() - began) / 1000));
    atomic_store(&l->state, SUPPLIER_READY);
    obey(l); /* by a factor that came meanwhile, too */
    return 0;
}

uint64_t local_reserved(const struct local *l)
{
    return engine_info(l->engine)->kv_bytes;
}

int local_describe(const struct serve_model *m, const struct serve_config *c, uint64_t *io_bytes,
                   struct buf *out, struct err *e)
{
    struct engine_config ec = config_of(m, (int)c->cpu, 0, *io_bytes);
    const struct engine_info *in;
    struct engine *g = NULL;
    int r;

    ec.describe_only = 1;
    r = engine_open(&g, &ec, NULL, NULL, NULL, e);
    if (r) {
        err_prefix(e, "model '%s'", m->id);
        return r;
    }
    in = engine_info(g);
    buf_addf(out, "           %s, %s, class %s on %s, %s\n", in->family, in->formats, in->cls,
             in->kernels, in->has_template ? "chat and completions" : "completions only");
    if (in->no_room_why)
        r = err_set(e, ERR_LIMIT, "model '%s': %s", m->id, in->no_room_why);
    else
        buf_addf(out,
                 "           context %d (trained: %d), %.1f MiB of weights, %.1f MiB of KV cache "
                 "(%s, room for %llu tokens)\n",
                 in->context, in->context_trained, (double)in->weight_bytes / 1048576,
                 (double)in->kv_bytes / 1048576, in->kv,
                 (unsigned long long)(in->kv_token_bytes ? in->kv_bytes / in->kv_token_bytes : 0));
    *io_bytes += in->weight_bytes + in->kv_bytes + in->vocab_bytes;
    engine_close(g);
    return r;
}

void local_done(struct local *l)
{
    engine_close(l->engine);
    l->engine = NULL;
}
