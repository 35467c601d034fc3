/* Answers that need no supplier's work: health, readiness, metrics, models, warming. */
#include <string.h>

#include "base/clock.h"
#include "serve/page.h"
#include "serve/server.h"

#define TEXT_MAX ((size_t)16 << 20)

static void ok_json(struct call *c, const char *text)
{
    call_reply(c, 200, "application/json", text, strlen(text));
}

/* 0 when every model is loaded and alive, else the error that says which is not. */
static int check_models(struct server *s, struct err *e)
{
    struct load load;

    for (int i = 0; i < s->n_served; i++) {
        const char *name = s->served[i].names[0];
        s->served[i].sup->ops->load(s->served[i].sup, &load);
        if (load.state == SUPPLIER_LOADING)
            return err_set_param(e, ERR_LOADING, "model", "Model %.200s is loading.", name);
        if (load.state == SUPPLIER_FAILED)
            return err_set_param(e, ERR_AGAIN, "model", "Model %.200s could not be loaded.", name);
        if (load.frozen)
            return err_set_param(e, ERR_FROZEN, "model",
                                 "The engine of model %.200s does not answer.", name);
    }
    return 0;
}

static void health(struct call *c, int ready)
{
    struct err e = {0};

    if (ready && atomic_load(&c->s->draining))
        err_set(&e, ERR_DRAINING, "The server is shutting down.");
    else
        check_models(c->s, &e);
    if (e.code)
        call_fail(c, &e);
    else
        ok_json(c, "{\"status\":\"ok\"}");
}

static struct api_model model_of(struct server *s, const struct served *v)
{
    struct api_model m = {.id = v->names[0], .created = s->created, .owned_by = "gaufre"};
    const struct supplier_facts *f;
    struct load load;

    v->sup->ops->load(v->sup, &load);
    m.status = load.state == SUPPLIER_READY     ? API_MODEL_LOADED
               : load.state == SUPPLIER_LOADING ? API_MODEL_LOADING
                                                : API_MODEL_UNLOADED;
    if (load.state != SUPPLIER_READY)
        return m;
    f = v->sup->ops->facts(v->sup);
    m.description = f->description;
    m.quantization = f->quantization;
    m.context = f->context;
    m.context_trained = f->context_trained;
    m.output_max = f->output_max;
    m.n_vocab = f->n_vocab;
    m.n_params = f->n_params;
    m.size_bytes = f->size_bytes;
    m.chat = f->chat;
    m.sampling = &f->sampling;
    m.default_sampling = f->default_sampling;
    return m;
}

static struct served *by_name(struct server *s, const char *id)
{
    for (int i = 0; i < s->n_served; i++) {
        for (int k = 0; k < s->served[i].n_names; k++) {
            if (!strcmp(s->served[i].names[k], id))
                return &s->served[i];
        }
    }
    return NULL;
}

static void models(struct call *c)
{
    int is_public = c->route.id == API_ROUTE_PUBLIC_MODELS || c->route.id == API_ROUTE_PUBLIC_MODEL;
    int one = c->route.id == API_ROUTE_MODEL || c->route.id == API_ROUTE_PUBLIC_MODEL;
    struct api_model m[SERVE_MODELS_MAX];
    enum api_models_format format;
    const struct served *v = NULL;
    char name[64] = "";
    struct err e = {0};

    api_query_get(&c->route, "format", name, sizeof name);
    if (api_models_format(name, is_public, &format, &e)) {
        call_fail(c, &e);
        return;
    }
    if (one && !(v = by_name(c->s, c->route.arg))) {
        api_err_model(&e, c->route.arg);
        call_fail(c, &e);
        return;
    }
    if (one) {
        m[0] = model_of(c->s, v);
        m[0].id = c->route.arg; /* as asked for: an alias stays an alias */
        api_model_body(&c->out, &m[0], format);
    } else {
        for (int i = 0; i < c->s->n_served; i++)
            m[i] = model_of(c->s, &c->s->served[i]);
        api_models_body(&c->out, m, c->s->n_served, format);
    }
    call_reply(c, 200, "application/json", c->out.data, c->out.len);
}

static void metrics(struct call *c)
{
    struct buf text;

    buf_init(&text, TEXT_MAX);
    meter_write(c->s, &text);
    call_reply(c, 200, "text/plain; version=0.0.4; charset=utf-8", text.data, text.len);
    buf_done(&text);
}

void probes_answer(struct call *c)
{
    struct err e = {0};

    switch (c->route.id) {
    case API_ROUTE_HOME:
        page_answer(c, page_find("/"));
        return;
    case API_ROUTE_MODELS:
    case API_ROUTE_MODEL:
    case API_ROUTE_PUBLIC_MODELS:
    case API_ROUTE_PUBLIC_MODEL:
        models(c);
        return;
    case API_ROUTE_WARMING:
        ok_json(c, "{}");
        return;
    case API_ROUTE_HEALTH:
        health(c, 0);
        return;
    case API_ROUTE_READY:
        health(c, 1);
        return;
    case API_ROUTE_METRICS:
        metrics(c);
        return;
    default:
        err_set(&e, ERR_INTERNAL, "a route without a handler");
        call_fail(c, &e);
    }
}
