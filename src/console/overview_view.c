/* Writes an overview as the JSON of /admin/v1/overview. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/json_member.h"
#include "base/sysmem.h"
#include "console/console_int.h"
#include "console/snapshot.h"

static void close(struct buf *b, char bracket)
{
    buf_add_char(b, bracket);
}

static double per_second(int64_t n, int64_t span_us)
{
    return (double)n * 1e6 / (double)span_us;
}

/* ---- sums ------------------------------------------------------------------------------------ */

static void put_sums(struct watch *w, const struct overview_sums *s, struct buf *b)
{
    json_open(b, "totals", '{');
    json_member_int(b, "requests", w->sums.requests);
    json_member_int(b, "refused", w->sums.refused);
    json_member_int(b, "failed", w->sums.failed);
    json_member_int(b, "prompt_tokens", w->sums.prompt);
    json_member_int(b, "completion_tokens", w->sums.generated);
    close(b, '}');
    if (!s->span_us) {
        json_member_null(b, "rates");
        return;
    }
    json_open(b, "rates", '{');
    json_member_real(b, "seconds", (double)s->span_us / 1e6, 3);
    json_member_real(b, "requests_per_s", per_second(s->d_requests, s->span_us), 3);
    json_member_real(b, "prompt_tokens_per_s", per_second(s->d_prompt, s->span_us), 1);
    json_member_real(b, "completion_tokens_per_s", per_second(s->d_generated, s->span_us), 1);
    close(b, '}');
}

static void put_tiers(const struct watch *w, struct buf *b)
{
    json_open(b, "tiers", '[');
    for (int rank = TIER_AUTO - 1; rank >= 0; rank--) {
        enum tier t = tier_of_rank(rank);
        json_open(b, NULL, '{');
        json_member_text(b, "tier", tier_name(t));
        json_member_int(b, "waiting", w->sums.waiting[t]);
        json_member_int(b, "running", w->sums.running[t]);
        close(b, '}');
    }
    close(b, ']');
}

/* ---- models and suppliers -------------------------------------------------------------------- */

static void put_spread(struct watch *w, int i_model, enum timeline_time kind, const char *name,
                       struct buf *b)
{
    int n = w->n_times[i_model][kind];
    float *v = w->times ? snapshot_times(w, i_model, kind) : NULL;

    if (!n || !v) {
        json_member_null(b, name);
        return;
    }
    timeline_sort(v, n);
    json_open(b, name, '{');
    json_member_real(b, "p50", timeline_quantile(v, n, .50), 4);
    json_member_real(b, "p95", timeline_quantile(v, n, .95), 4);
    json_member_real(b, "p99", timeline_quantile(v, n, .99), 4);
    json_member_int(b, "n", n);
    close(b, '}');
}

static const char *state_of(enum supplier_state state, int is_frozen)
{
    return state == SUPPLIER_LOADING  ? "loading"
           : state == SUPPLIER_FAILED ? "failed"
           : is_frozen                ? "frozen"
                                      : "ready";
}

static void put_models(struct watch *w, struct buf *b)
{
    const struct console *c = w->console;

    json_open(b, "models", '[');
    for (int i = 0; i < c->n_models; i++) {
        struct cloud_look look;
        cloud_look(c->setup.cloud, i, &look);
        cloud_look_done(c->setup.cloud, &look);
        json_open(b, NULL, '{');
        json_member_text(b, "id", c->model[i].id);
        json_member_text(b, "state",
                         look.n_offers ? state_of(look.load.state, look.load.frozen)
                                       : "not_offered");
        json_member_int(b, "offers", look.n_offers);
        json_member_int(b, "running", look.load.n_running);
        json_member_int(b, "waiting", look.load.n_waiting);
        json_member_int(b, "requests", (int64_t)w->n_requests[i]);
        put_spread(w, i, TIMELINE_TTFT, "ttft_s", b);
        put_spread(w, i, TIMELINE_QUEUE, "queue_s", b);
        close(b, '}');
    }
    close(b, ']');
}

static void put_suppliers(const struct console *c, struct buf *b)
{
    struct cloud_offer_view v[CLOUD_OFFERS_MAX];
    int n = cloud_view_all_offers(c->setup.cloud, clock_now_us(), v);

    json_open(b, "suppliers", '[');
    for (int i = 0; i < n; i++) {
        const char *why = breaker_why_name(v[i].why);
        json_open(b, NULL, '{');
        json_member_text(b, "supplier", v[i].supplier);
        json_member_text(b, "model", c->model[v[i].i_model].id);
        json_member_text(b, "state", state_of(v[i].readiness, v[i].is_frozen));
        json_member_text(b, "breaker", v[i].is_here ? NULL : breaker_state_name(v[i].state));
        json_member_text(b, "why", *why && !v[i].is_here ? why : NULL);
        json_member_int(b, "retry_after_ms", v[i].wait_us / 1000);
        json_member_int(b, "running", v[i].n_running);
        json_member_int(b, "waiting", v[i].n_waiting);
        json_member_int(b, "concurrency", v[i].capacity);
        close(b, '}');
    }
    close(b, ']');
}

/* ---- tenants --------------------------------------------------------------------------------- */

static void put_tenant(const struct cloud_tenant_view *t, struct buf *b)
{
    json_member_text(b, "id", t->id);
    json_member_int(b, "requests", t->n_requests);
    json_member_int(b, "prompt_tokens", t->prompt_tokens);
    json_member_int(b, "completion_tokens", t->completion_tokens);
    account_put_money(b, "charge", t->charge_nano);
    account_put_budgets(t->budget, t->n_budgets, t->currency, b);
}

static void put_tenants(const struct console *c, struct buf *b)
{
    struct cloud_tenant_view *t = calloc(OVERVIEW_TENANTS_MAX, sizeof *t);
    int n_all = 0, n = 0;

    if (t)
        n = cloud_view_tenants(c->setup.cloud, clock_now_us(), t, OVERVIEW_TENANTS_MAX, &n_all);
    json_member_int(b, "tenants_total", n_all);
    json_open(b, "tenants", '[');
    for (int i = 0; i < n; i++) {
        json_open(b, NULL, '{');
        put_tenant(&t[i], b);
        close(b, '}');
    }
    close(b, ']');
    free(t);
}

/* ---- requests -------------------------------------------------------------------------------- */

static void put_request(const struct watch *w, const struct row *r, struct buf *b)
{
    static const char *const states[] = {"queued", "prefill", "decode", "finished"};
    int64_t end_us = r->ended_us ? r->ended_us : w->now_us;

    json_open(b, NULL, '{');
    json_member_text(b, "id", r->id);
    json_member_text(b, "client_id", *r->client_id ? r->client_id : NULL);
    json_member_text(b, "tenant", cloud_tenant_name(w->console->setup.cloud, r->i_tenant));
    json_member_text(b, "model", r->model);
    json_member_text(b, "supplier", *r->supplier ? r->supplier : NULL);
    json_member_text(b, "tier", tier_name(r->tier));
    json_member_text(b, "state", states[r->state]);
    json_member_text(b, "finish", r->finish);
    json_member_bool(b, "stream", r->stream);
    json_member_int(b, "prompt_tokens", r->n_prompt);
    json_member_int(b, "cached_tokens", r->n_cached);
    json_member_int(b, "completion_tokens", r->n_generated);
    json_member_real(b, "age_s", (double)(end_us - r->started_us) / 1e6, 3);
    if (r->first_us)
        json_member_real(b, "ttft_s", (double)(r->first_us - r->started_us) / 1e6, 4);
    else
        json_member_null(b, "ttft_s");
    close(b, '}');
}

static int newest_first(const void *a, const void *b)
{
    const struct row *x = a, *y = b;

    return (y->started_us > x->started_us) - (y->started_us < x->started_us);
}

static void put_requests(struct watch *w, const char *name, int is_over, int max, struct buf *b)
{
    int n = 0;

    json_open(b, name, '[');
    for (int i = 0; i < w->n_rows && n < max; i++) {
        if ((w->row[i].state == ROW_FINISHED) == is_over && ++n)
            put_request(w, &w->row[i], b);
    }
    close(b, ']');
}

/* ---- energy and sites ------------------------------------------------------------------------ */

static void put_label(const struct energy *e, struct buf *b)
{
    json_member_text(b, "boundary", energy_boundary_name(e->boundary));
    json_member_text(b, "method", energy_method_name(e->method));
    json_member_real(b, "uncertainty", e->uncertainty_permille / 1e3, 3);
}

static void put_joules(struct buf *b, const char *name, int64_t uj)
{
    json_member_real(b, name, (double)uj / 1e6, 6);
}

static void put_meter(const struct overview_meter *m, struct buf *b)
{
    const struct energy_look *l = m->look;

    if (!l) {
        json_member_null(b, "energy");
        return;
    }
    json_open(b, "energy", '{');
    json_member_text(b, "site", m->site && *m->site ? m->site : NULL);
    if (l->is_late || !l->n_readings)
        json_member_null(b, "watts");
    else
        json_member_real(b, "watts", (double)l->power_uw / 1e6, 3);
    put_label(&l->label, b);
    put_joules(b, "metered_joules", l->metered_uj);
    put_joules(b, "requests_joules", l->attributed_uj);
    put_joules(b, "unattributed_joules", l->unattributed_uj);
    json_member_int(b, "failures", (int64_t)l->n_failures);
    close(b, '}');
}

static void put_carbon(const struct site_view *v, enum carbon_basis basis, const char *name,
                       struct buf *b)
{
    if (v->carbon_mg[basis] == CARBON_UNKNOWN)
        json_member_null(b, name);
    else
        json_member_real(b, name, (double)v->carbon_mg[basis] / 1e3, 3);
}

static void put_site(const struct site_view *v, struct buf *b)
{
    json_open(b, NULL, '{');
    json_member_text(b, "name", v->terms->name);
    json_member_text(b, "state", lifecycle_name(v->state));
    json_member_real(b, "capacity_factor", v->factor_ppm / 1e6, 6);
    json_open(b, "carbon_grams_per_kwh", '{');
    put_carbon(v, CARBON_LOCATION, "location", b);
    put_carbon(v, CARBON_MARKET, "market", b);
    close(b, '}');
    json_member_int(b, "running", v->n_running);
    json_member_int(b, "waiting", v->n_waiting);
    json_member_int(b, "places", v->n_places);
    json_member_int(b, "requests", v->n_requests);
    json_member_int(b, "requests_unmetered", v->n_unmetered);
    if (v->used.method == ENERGY_UNKNOWN) {
        json_member_null(b, "energy");
    } else {
        json_open(b, "energy", '{');
        put_joules(b, "joules", v->used.uj);
        put_label(&v->used, b);
        close(b, '}');
    }
    close(b, '}');
}

static void put_sites(const struct console *c, struct buf *b)
{
    struct site_view *v = calloc(SITES_MAX, sizeof *v);
    int n = v ? cloud_view_sites(c->setup.cloud, clock_wall_us() / 1000000, v) : 0;

    json_open(b, "sites", '[');
    for (int i = 0; i < n; i++)
        put_site(&v[i], b);
    close(b, ']');
    free(v);
}

/* ---- the server ------------------------------------------------------------------------------ */

static void put_server(const struct watch *w, uint64_t seq, struct buf *b)
{
    const struct console *c = w->console;

    json_member_text(b, "object", "overview");
    json_member_int(b, "seq", (int64_t)seq);
    json_member_real(b, "time", (double)(clock_wall_us() / 1000) / 1e3, 3);
    json_member_real(b, "uptime_s", (double)(w->now_us - c->opened_us) / 1e6, 1);
    json_member_text(b, "version", GAUFRE_VERSION);
    if (clock_pace() == 1) {
        json_member_null(b, "simulated");
    } else {
        json_open(b, "simulated", '{');
        json_member_int(b, "pace", clock_pace());
        close(b, '}');
    }
    json_member_int(b, "generation", atomic_load(&c->generation));
    json_open(b, "memory", '{');
    json_member_int(b, "resident", (int64_t)sysmem_resident());
    json_member_int(b, "machine", (int64_t)c->machine_bytes);
    json_member_int(b, "available", (int64_t)sysmem_available());
    close(b, '}');
}

static void put_ledger(const struct console *c, struct buf *b)
{
    struct cloud_stats s = {0};

    cloud_stats(c->setup.cloud, &s);
    json_member_text(b, "currency", *s.currency ? s.currency : NULL);
    if (s.has_ledger) {
        json_open(b, "ledger", '{');
        json_member_int(b, "rows_written", s.rows_written);
        json_member_int(b, "rows_pending", s.rows_pending);
        json_member_int(b, "rows_in_journal", s.rows_in_journal);
        json_member_int(b, "rows_max", BOOKS_ROWS_MAX);
        json_member_int(b, "write_failures", s.write_failures);
        close(b, '}');
    } else {
        json_member_null(b, "ledger");
    }
    json_open(b, "refused", '{');
    json_member_int(b, "auth", s.refused_auth);
    json_member_int(b, "requests", s.refused_requests);
    json_member_int(b, "tokens", s.refused_tokens);
    json_member_int(b, "concurrency", s.refused_concurrency);
    json_member_int(b, "queue", s.refused_queue);
    json_member_int(b, "budget", s.refused_budget);
    close(b, '}');
}

int overview_write(struct watch *w, uint64_t seq, const struct overview_sums *s,
                   const struct overview_meter *m, struct buf *out)
{
    json_open(out, NULL, '{');
    put_server(w, seq, out);
    put_sums(w, s, out);
    put_tiers(w, out);
    put_models(w, out);
    put_suppliers(w->console, out);
    put_tenants(w->console, out);
    put_ledger(w->console, out);
    put_meter(m, out);
    put_sites(w->console, out);
    if (w->n_rows)
        qsort(w->row, (size_t)w->n_rows, sizeof *w->row, newest_first);
    json_member_int(out, "requests_total", w->sums.n_live);
    put_requests(w, "requests", 0, WATCH_LIVE_MAX, out);
    put_requests(w, "ended", 1, WATCH_FINISHED_MAX, out);
    close(out, '}');
    return out->failed;
}
