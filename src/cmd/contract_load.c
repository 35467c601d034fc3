#include "cmd/contract_load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/rand.h"
#include "cmd/cmd.h"
#include "net/fetch.h"

#define URL_MAX       4096
#define KEY_MAX       4200
#define METRICS_MAX   ((size_t)16 << 20)
#define CONNECT_MS    10000
#define TRIAL_TOKENS  8 /* of an answer that is only looked at for its prompt */
#define TRIALS_MAX    6
#define MILLE         1000
#define SECOND        1000000
#define PART_OFF      50 /* a prompt may be off by one part of so many */
#define SHARE_OFF_PPM 100000

int contract_time(const char *text, const char *option, int64_t *ret_us, struct err *e)
{
    static const struct {
        char unit;
        int64_t s;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}};
    char *end = NULL;
    long long n = text ? strtoll(text, &end, 10) : 0;

    for (size_t i = 0; text && end != text && i < sizeof units / sizeof *units; i++) {
        if (*end == units[i].unit && !end[1] && n > 0 && n <= 31 * 24 * 3600 / units[i].s) {
            *ret_us = n * units[i].s * SECOND;
            return 0;
        }
    }
    return err_set(e, ERR_ARG, "%s wants a time of at most 31 days: 30s, 15m, 24h", option);
}

/* ---- the server ------------------------------------------------------------------------------ */

/* "http://host:port", "http://host/" or "http://host/v1" as the address of the API. */
static int put_url(struct contract_run *run, const char *url, struct err *e)
{
    const char *host = strstr(url, "://");
    size_t n = strlen(url);

    host = host ? host + 3 : url;
    if (memchr(host, '@', strcspn(host, "/")))
        return err_set(e, ERR_ARG,
                       "the URL is kept with the measurement and may have no password; "
                       "a key is said by --key-env or --key-file");
    while (n && url[n - 1] == '/')
        n--;
    if (n > 3 && !memcmp(url + n - 3, "/v1", 3))
        n -= 3;
    buf_add(&run->url, url, n);
    if (buf_add_str(&run->url, "/v1"))
        return err_set(e, ERR_ARG, "the URL is too long");
    run->server.url = run->url.data;
    return 0;
}

static int put_key(struct contract_run *run, const struct admin_server *at, struct err *e)
{
    struct buf key;
    int r;

    buf_init(&key, KEY_MAX);
    r = admin_read_key(at, &key, e);
    if (!r && key.len) {
        buf_addf(&run->header, "Authorization: Bearer %s", key.data);
        run->server.header = run->header.data;
    }
    if (key.data)
        explicit_bzero(key.data, key.len);
    buf_done(&key);
    return r;
}

/* The version of the engine, which a gaufre server tells beside its metrics. */
static int ask_engine(struct contract_run *run, struct err *e)
{
    const char *headers[] = {run->server.header, NULL}, *at, *end = NULL;
    struct fetch_options o;
    struct fetch_result got;
    struct buf body, url;
    struct err why = {0};
    int r;

    buf_init(&body, METRICS_MAX);
    buf_init(&url, URL_MAX);
    buf_add(&url, run->url.data, run->url.len - 3);
    buf_add_str(&url, "/metrics");
    fetch_options_init(&o, url.data);
    o.body = &body;
    o.headers = headers;
    o.ca_file = run->server.ca;
    o.connect_timeout_ms = CONNECT_MS;
    r = fetch_get(&o, &got, &why);
    at = !r && body.data ? strstr(body.data, "\ngaufre_build_info{version=\"") : NULL;
    at = at ? strchr(at, '"') + 1 : NULL;
    end = at ? strchr(at, '"') : NULL;
    if (end)
        buf_add(&run->engine, at, (size_t)(end - at));
    buf_done(&body);
    buf_done(&url);
    if (!end || run->engine.failed || !run->engine.len)
        return err_set(
            e, r ? r : ERR_NOTFOUND,
            "the version of the engine cannot be had from /metrics%s%.300s; say --engine",
            r ? ": " : "", r ? why.text : "");
    return 0;
}

/* ---- prompts --------------------------------------------------------------------------------- */

static int try_once(struct contract_run *run, int i, int64_t *ret_tokens, struct err *e)
{
    struct load_ask *ask = &run->plan[i].ask;
    struct load_answer a;
    int64_t output = ask->output;
    int r;

    ask->output = output < TRIAL_TOKENS ? output : TRIAL_TOKENS;
    r = load_request(&run->server, ask, NULL, NULL, &a, e);
    if (r && a.status == 400 && !ask->no_ignore_eos) { /* perhaps it is not gaufre */
        struct err again = {0};
        ask->no_ignore_eos = 1;
        if (!load_request(&run->server, ask, NULL, NULL, &a, &again))
            r = 0;
        else
            ask->no_ignore_eos = 0;
    }
    ask->output = output;
    ask->nth++;
    *ret_tokens = a.input_tokens;
    return r;
}

static int64_t distance(int64_t a, int64_t b)
{
    return a > b ? a - b : b - a;
}

/* So many words that the prompt has the row's tokens, those of the chat's form included. */
static int fit_prompt(struct contract_run *run, int i, struct err *e)
{
    const struct contract_load *l = &run->contract->load[i];
    struct load_ask *ask = &run->plan[i].ask;
    int64_t tolerance = l->input / PART_OFF > 2 ? l->input / PART_OFF : 2, tokens = 0, was = 0;
    int64_t words_were = 0;
    int r = 0;

    ask->words = l->input / 2 > 0 ? l->input / 2 : 1;
    for (int k = 0; !r && k < TRIALS_MAX; k++) {
        double slope = 1;
        r = try_once(run, i, &tokens, e);
        if (r || distance(tokens, l->input) <= tolerance)
            break;
        if (k && ask->words != words_were && tokens != was)
            slope = (double)(tokens - was) / (double)(ask->words - words_were);
        if (slope < 0.25)
            slope = 1; /* one chat is not like the other */
        words_were = ask->words;
        was = tokens;
        ask->words += (int64_t)((double)(l->input - tokens) / slope);
        if (ask->words < 1)
            ask->words = 1;
    }
    if (r)
        return err_prefix(e, "row %d, model %s", i + 1, l->model);
    if (distance(tokens, l->input) > tolerance)
        return err_set(e, ERR_FORMAT,
                       "row %d, model %s: a prompt of %lld tokens cannot be made; the nearest has "
                       "%lld",
                       i + 1, l->model, (long long)l->input, (long long)tokens);
    ask->shared_words = ask->words * l->cached_ppm / CONTRACT_PPM;
    return 0;
}

static int fit_prompts(struct contract_run *run, struct err *e)
{
    const struct contract *c = run->contract;
    uint64_t seed[CONTRACT_LOADS_MAX];
    int r = 0;

    if (rand_system(seed, sizeof seed))
        return err_set(e, ERR_IO, "no random bytes from the system");
    for (int i = 0; !r && i < c->n_loads; i++) {
        if (c->load[i].input > LOAD_TOKENS_MAX || c->load[i].output > LOAD_TOKENS_MAX)
            return err_set(e, ERR_LIMIT, "row %d: more than %d tokens", i + 1, LOAD_TOKENS_MAX);
        run->plan[i] = (struct load_plan){
            .server = &run->server,
            .ask = {.model = c->load[i].model, .output = c->load[i].output, .seed = seed[i]}};
        cmd_note("row %d of %d, model %s: %lld tokens in, %lld out", i + 1, c->n_loads,
                 c->load[i].model, (long long)c->load[i].input, (long long)c->load[i].output);
        r = fit_prompt(run, i, e);
    }
    return r;
}

/* ---- what is said of it ---------------------------------------------------------------------- */

int contract_tranche(const struct contract *c, const char *name)
{
    int first = -1, open = -1;

    for (int i = c->n_tranches - 1; i >= 0; i--) {
        const struct tranche *t = &c->tranche[i];
        if (strcmp(t->name, name) != 0)
            continue;
        first = i;
        open = t->delivered_s || t->cancelled_s ? open : i;
    }
    return open >= 0 ? open : first;
}

static int find_place(struct contract_run *run, const struct contract_opts *o, struct err *e)
{
    struct measurement *m = &run->measurement;
    const struct contract *c = run->contract;
    int i = o->tranche ? contract_tranche(c, o->tranche) : -1;
    const struct tranche *t = i < 0 ? NULL : &c->tranche[i];

    if (o->tranche && !t)
        return err_set(e, ERR_NOTFOUND, "contract %s has no tranche '%.64s'", c->name, o->tranche);
    m->tranche = o->tranche;
    m->site = o->site ? o->site : t ? t->site : NULL;
    m->region = o->region ? o->region : t ? t->region : NULL;
    m->hardware = o->hardware ? o->hardware : t ? t->hardware : NULL;
    if (!m->site && !m->region)
        return err_set(e, ERR_ARG, "say where it is measured: --site, --region or --tranche");
    return 0;
}

int contract_run_begin(struct contract_run *run, struct contract_opts *o,
                       const struct contract_file *f, struct err *e)
{
    struct measurement *m = &run->measurement;
    const struct contract *c = contract_file_contract(f);
    int r;

    buf_init(&run->url, URL_MAX);
    buf_init(&run->header, KEY_MAX);
    buf_init(&run->engine, 100);
    run->contract = c;
    run->server.ca = o->at.ca;
    *m = (struct measurement){.contract = c->name,
                              .contract_version = o->source.version,
                              .n_rows = c->n_loads,
                              .stated_w = o->watts,
                              .pue_permille = (int32_t)(o->pue * MILLE + 0.5),
                              .from_s = clock_wall_us() / SECOND};
    memcpy(m->row, c->load, sizeof m->row);
    if (!c->n_loads)
        return err_set(e, ERR_ARG, "contract %s has no basket", c->name);
    r = o->at.url ? put_url(run, o->at.url, e) : err_set(e, ERR_ARG, "say --url, the server");
    if (!r)
        r = put_key(run, &o->at, e);
    if (!r)
        r = find_place(run, o, e);
    if (!r && !o->engine)
        r = ask_engine(run, e);
    m->engine = o->engine ? o->engine : run->engine.data;
    m->url = run->server.url;
    m->boundary = o->boundary == 2 ? ENERGY_FACILITY : ENERGY_IT; /* of what is stated */
    return r ? r : fit_prompts(run, e);
}

/* ---- running --------------------------------------------------------------------------------- */

int contract_run_rows(struct contract_run *run, int32_t concurrency, int64_t for_us, struct err *e)
{
    int64_t tokens;
    int r = 0;

    for (int i = 0; !r && i < run->contract->n_loads; i++) {
        struct load_plan *p = &run->plan[i];
        p->concurrency = concurrency;
        p->for_us = for_us;
        if (p->ask.shared_words) /* what is shared is in the cache then */
            r = try_once(run, i, &tokens, e);
        if (!r)
            r = load_run(p, &run->sums[i], e);
        if (r)
            err_prefix(e, "model %s at load %d", p->ask.model, concurrency);
    }
    return r;
}

/* What differs from the basket is told: it cannot be made better from here. */
static void remark(const struct contract_load *l, const struct measurement_point *p)
{
    int64_t cached = p->input_tokens ? p->cached_tokens * CONTRACT_PPM / p->input_tokens : 0;

    if (distance(cached, l->cached_ppm) > SHARE_OFF_PPM)
        cmd_note("model %s: %.2f of the input was found in a cache, the basket says %.2f", l->model,
                 (double)cached / CONTRACT_PPM, (double)l->cached_ppm / CONTRACT_PPM);
    if (p->output_tokens < p->requests * l->output)
        cmd_note("model %s: answers had %.1f tokens, the basket says %lld", l->model,
                 (double)p->output_tokens / (double)p->requests, (long long)l->output);
}

void contract_run_level(struct contract_run *run, int32_t concurrency)
{
    struct measurement *m = &run->measurement;

    for (int i = 0; i < m->n_rows; i++) {
        struct measurement_point *p = &m->point[m->n_levels][i];
        *p = load_point(&run->sums[i]);
        remark(&m->row[i], p);
        energy_add(&run->energy, &run->sums[i].energy);
        run->busy_us += run->sums[i].busy_us;
        memcpy(run->print[i], run->sums[i].print, sizeof run->print[i]);
        m->fingerprint[i] = *run->print[i] ? run->print[i] : NULL;
        load_sums_done(&run->sums[i]);
    }
    m->concurrency[m->n_levels++] = concurrency;
}

void contract_run_end(struct contract_run *run)
{
    struct measurement *m = &run->measurement;

    m->until_s = clock_wall_us() / SECOND;
    if (m->stated_w) {
        m->method = ENERGY_STATED;
    } else if (run->energy.method) {
        m->method = run->energy.method;
        m->boundary = run->energy.boundary;
    }
    for (int i = 0; i < m->n_levels && (m->stated_w || !m->method); i++) {
        for (int k = 0; k < m->n_rows; k++) {
            m->point[i][k].energy_uj = -1; /* of some it is not known, or it is not what counts */
            m->point[i][k].uncertainty_permille = 0;
        }
    }
}

void contract_run_done(struct contract_run *run)
{
    for (int i = 0; i < CONTRACT_LOADS_MAX; i++)
        load_sums_done(&run->sums[i]);
    if (run->header.data)
        explicit_bzero(run->header.data, run->header.len);
    buf_done(&run->url);
    buf_done(&run->header);
    buf_done(&run->engine);
}
