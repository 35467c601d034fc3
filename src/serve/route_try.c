#include "serve/route_try.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

#define PAPERS_MAX (SERVE_SUPPLIERS_MAX + 1)

/* A supplier that only says what the configuration says of it. */
struct paper {
    struct supplier s;
    struct supplier_facts facts;
    int32_t capacity, busy;
    char id[CLOUD_SUPPLIER_ID_MAX];
};

struct papers {
    struct paper all[PAPERS_MAX];
    const char *names[1 + CONFIG_STRS_MAX]; /* of the model: id, then aliases */
    int n, n_names;
};

static const struct paper *of(const struct supplier *s)
{
    return (const struct paper *)(const void *)s;
}

static void paper_load(const struct supplier *s, struct load *ret)
{
    const struct paper *p = of(s);
    int32_t running = p->busy < p->capacity ? p->busy : p->capacity;

    *ret = (struct load){.state = SUPPLIER_READY,
                         .n_inside = p->busy,
                         .n_running = running,
                         .n_waiting = p->busy - running,
                         .capacity = p->capacity};
}

static const struct supplier_facts *paper_facts(const struct supplier *s)
{
    return &of(s)->facts;
}

static const struct supplier_ops ops = {.load = paper_load, .facts = paper_facts};

/* ---- who serves the model -------------------------------------------------------------------- */

static void add(struct papers *l, const char *name, const char *model,
                const struct supplier_terms *terms, int64_t context, int64_t capacity, int relays)
{
    struct paper *p = &l->all[l->n++];

    snprintf(p->id, sizeof p->id, "%s/%s", name, model);
    p->s = (struct supplier){.ops = &ops, .id = p->id, .model = model, .terms = *terms};
    p->facts.context = (int32_t)context;
    p->facts.relays = relays;
    p->capacity = (int32_t)capacity;
}

static int claims(const struct serve_model *m, const char *name)
{
    int is = !strcmp(m->id, name);

    for (int i = 0; i < m->aliases.n; i++)
        is |= !strcmp(m->aliases.v[i], name);
    return is;
}

static void add_local(struct papers *l, const struct serve_config *c, const char *model)
{
    for (int i = 0; i < c->n_models; i++) {
        const struct serve_model *m = &c->models[i];
        if (!claims(m, model))
            continue;
        l->names[l->n_names++] = m->id;
        for (int k = 0; k < m->aliases.n; k++)
            l->names[l->n_names++] = m->aliases.v[k];
        add(l, "local", m->id, &c->own_terms, m->context, m->batch, 0);
    }
}

static int is_any(const struct papers *l, const char *name, size_t n)
{
    for (int i = 0; i < l->n_names; i++) {
        if (strlen(l->names[i]) == n && !memcmp(l->names[i], name, n))
            return 1;
    }
    return 0;
}

static void add_suppliers(struct papers *l, const struct serve_config *c)
{
    for (int i = 0; i < c->n_suppliers; i++) {
        const struct serve_supplier *p = &c->suppliers[i];
        for (int k = 0; k < p->models.n; k++) {
            const char *m = p->models.v[k];
            if (!is_any(l, m, strcspn(m, "=")))
                continue;
            add(l, p->name, l->names[0], &p->terms, p->context, p->concurrency, 1);
            break;
        }
    }
}

static struct paper *find(struct papers *l, const char *name, size_t n)
{
    for (int i = 0; i < l->n; i++) {
        if (strcspn(l->all[i].id, "/") == n && !memcmp(l->all[i].id, name, n))
            return &l->all[i];
    }
    return NULL;
}

static int set_busy(struct papers *l, const char *text, struct err *e)
{
    size_t n = strcspn(text, "=");
    struct paper *p = find(l, text, n);
    char *end = NULL;
    long busy = text[n] ? strtol(text + n + 1, &end, 10) : -1;

    if (!p || busy < 0 || busy > 1000000 || *end || end == text + n + 1)
        return err_set(e, ERR_ARG, "'%.100s' is no supplier of the model with a number: NAME=N",
                       text);
    p->busy = (int32_t)busy;
    return 0;
}

/* ---- the decisions --------------------------------------------------------------------------- */

static int fails(const struct route_try *t, const struct supplier *s)
{
    size_t n = strcspn(s->id, "/");

    for (int i = 0; i < t->n_failed; i++) {
        if (strlen(t->failed[i]) == n && !memcmp(t->failed[i], s->id, n))
            return 1;
    }
    return 0;
}

static int route(struct cloud *c, const struct route_try *t, struct buf *record, struct err *e)
{
    struct cloud_want w = t->want;
    struct cloud_ticket ticket;
    int r = cloud_enter(c, 0, &(struct cloud_caller){.key = NULL}, &ticket, e);

    if (r)
        return r;
    w.model = t->model;
    for (uint64_t i = 1; !r && i < t->nth; i++) { /* those that come before it */
        struct cloud_ticket before;
        r = cloud_enter(c, 0, &(struct cloud_caller){.key = NULL}, &before, e);
        if (!r)
            cloud_route(c, 0, &w, &before, &(struct err){0});
        cloud_leave(c, 0, &before, 0);
    }
    w.record = record;
    while (!r && !(r = cloud_route(c, 0, &w, &ticket, e)) && fails(t, ticket.offer->sup) &&
           ticket.n_tried < CLOUD_TRIES_MAX)
        cloud_turn_back(c, 0, &ticket);
    cloud_leave(c, 0, &ticket, 0);
    return r;
}

static int on_paper(const struct serve_config *c, struct papers *l, const struct route_try *t,
                    struct buf *record, struct err *e)
{
    struct cloud_config cc = {.prices = &c->book,
                              .rules = &c->rules,
                              .sites = &c->site_table,
                              .currency = *c->currency ? c->currency : NULL,
                              .waiting_max = (int32_t)c->queue};
    struct cloud *cloud = NULL;
    int i_model, r = cloud_open(&cloud, &cc, e);

    if (!r)
        r = cloud_add_model(cloud, l->names, l->n_names, &i_model, e);
    for (int i = 0; !r && i < l->n; i++)
        r = cloud_add_offer(cloud, i_model, &l->all[i].s, e);
    if (!r)
        r = route(cloud, t, record, e);
    cloud_close(cloud);
    return r;
}

int serve_route_try(const struct serve_config *c, const struct route_try *t, struct buf *record,
                    struct err *e)
{
    struct papers *l = calloc(1, sizeof *l);
    int r = 0;

    if (!l)
        return err_set(e, ERR_NOMEM, "out of memory");
    add_local(l, c, t->model);
    if (!l->n)
        l->names[l->n_names++] = t->model;
    add_suppliers(l, c);
    if (!l->n)
        r = api_err_model(e, t->model);
    for (int i = 0; !r && i < t->n_failed; i++) {
        if (!find(l, t->failed[i], strlen(t->failed[i])))
            r = err_set(e, ERR_ARG, "'%.100s' is no supplier of the model", t->failed[i]);
    }
    for (int i = 0; !r && i < t->n_busy; i++)
        r = set_busy(l, t->busy[i], e);
    if (!r)
        r = on_paper(c, l, t, record, e);
    free(l);
    return r;
}
