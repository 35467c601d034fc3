#include "console/route_view.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_write.h"
#include "cloud/route_record.h"
#include "console/console_int.h"
#include "console/watch.h"
#include "job/feature.h"
#include "job/tier.h"

/* ---- the ring -------------------------------------------------------------------------------- */

void row_routed(const struct row_live *l, struct rows *io, const char *record)
{
    struct routes_kept *k = &io->routes;
    struct route_kept **at = &k->at[k->n % ROUTES_RECENT];
    const struct route_kept *last = k->n ? k->at[(k->n - 1) % ROUTES_RECENT] : NULL;
    size_t n = strlen(record) + 1;
    struct route_kept *new;

    if (last && !strcmp(last->id, l->row.id)) { /* it was turned back: one more decision */
        k->n--;
        at = &k->at[k->n % ROUTES_RECENT];
    }
    new = malloc(sizeof *new + n);
    if (!new)
        return; /* one less can be explained */
    memcpy(new->id, l->row.id, sizeof new->id);
    memcpy(new->client_id, l->row.client_id, sizeof new->client_id);
    new->i_tenant = l->row.i_tenant;
    memcpy(new->record, record, n);
    free(*at);
    *at = new;
    k->n++;
}

void routes_done(struct routes_kept *k)
{
    for (int i = 0; i < ROUTES_RECENT; i++)
        free(k->at[i]);
}

const struct route_kept *routes_find(const struct routes_kept *k, int i_tenant, const char *id)
{
    for (uint64_t i = 1; i <= ROUTES_RECENT && i <= k->n; i++) {
        const struct route_kept *r = k->at[(k->n - i) % ROUTES_RECENT];
        int is_own = r->i_tenant == i_tenant && !strcmp(r->client_id, id);
        if (is_own || ((r->i_tenant == i_tenant || i_tenant == WATCH_ALL) && !strcmp(r->id, id)))
            return r;
    }
    return NULL;
}

/* ---- told ------------------------------------------------------------------------------------ */

static void put_text(struct buf *out, const char *before, const char *s)
{
    buf_add_str(out, before);
    json_put_str(out, s);
}

static void put_int(struct buf *out, const char *before, int64_t v)
{
    buf_add_str(out, before);
    json_put_int(out, v);
}

static void put_candidate(struct buf *out, const struct route_record *r, int i,
                          const struct route_verdict *v)
{
    const struct route_offer *o = &r->offer[i];

    put_text(out, "{\"supplier\":", r->name[i]);
    put_text(out, ",\"reason\":", route_reason_name(v->why));
    put_text(out, ",\"why\":", route_reason_text(v->why));
    if (v->score < 0 || r->request.strategy == ROUTE_PRICE)
        buf_add_str(out, ",\"score\":null");
    else
        put_int(out, ",\"score\":", v->score);
    put_int(out, ",\"waiting\":", o->n_waiting);
    put_int(out, ",\"running\":", o->n_running);
    put_int(out, ",\"capacity\":", o->capacity);
    put_int(out, ",\"context\":", o->context);
    if (o->rtt_us > 0)
        put_int(out, ",\"rtt_us\":", o->rtt_us);
    buf_add_str(out, o->is_away ? ",\"away\":true" : ",\"away\":false");
    buf_add_char(out, '}');
}

static void put_needs(struct buf *out, uint32_t needs)
{
    int n = 0;

    buf_add_str(out, ",\"needs\":[");
    for (int i = 0; i < FEATURES; i++) {
        if (needs >> i & 1)
            put_text(out, n++ ? "," : "", feature_name((enum feature)i));
    }
    buf_add_char(out, ']');
}

static void put_decision(struct buf *out, const struct route_record *r)
{
    struct route_verdict v[ROUTE_OFFERS_MAX];
    int chosen = route_pick(&r->request, r->offer, r->n, v);

    put_text(out, "{\"route\":", route_strategy_name(r->request.strategy));
    put_text(out, ",\"score_unit\":", route_score_unit(r->request.strategy));
    put_text(out, ",\"tier\":",
             r->request.tier < TIER_AUTO ? tier_name((enum tier)r->request.tier) : NULL);
    put_int(out, ",\"tokens\":", r->request.n_tokens);
    put_needs(out, r->request.needs);
    put_text(out, ",\"chosen\":", chosen < 0 ? NULL : r->name[chosen]);
    buf_add_str(out, ",\"candidates\":[");
    for (int i = 0; i < r->n; i++) {
        if (i)
            buf_add_char(out, ',');
        put_candidate(out, r, i, &v[i]);
    }
    buf_add_str(out, "]}");
}

int route_view(const char *id, const char *record, struct buf *out)
{
    struct route_record *r = malloc(sizeof *r);
    int more = 0, n = 0;

    if (!r)
        return ERR_NOMEM;
    put_text(out, "{\"id\":", id);
    buf_add_str(out, ",\"object\":\"engine.route\",\"decisions\":[");
    while ((more = route_record_read(&record, r)) > 0) {
        if (n++)
            buf_add_char(out, ',');
        put_decision(out, r);
    }
    buf_add_str(out, "]}");
    free(r);
    return more < 0 ? more : out->failed;
}
