/* Answers that need no supplier's work: health, readiness, metrics, models, warming. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "console/page.h"
#include "serve/server.h"

#define TEXT_MAX ((size_t)16 << 20)

static void ok_json(struct call *c, const char *text)
{
    call_reply(c, 200, "application/json", text, strlen(text));
}

/* 0 when every model has an offer that is loaded and alive, else the error that says which has
 * not. */
static int check_models(struct server *s, struct err *e)
{
    struct cloud_look look;

    for (int i = 0; i < s->n_served; i++) {
        const char *name = s->served[i].names[0];
        cloud_look(s->cloud, i, &look);
        cloud_look_done(s->cloud, &look);
        if (!look.n_offers)
            return err_set_param(e, ERR_AGAIN, "model", "Nobody offers model %.200s now.", name);
        if (look.load.state == SUPPLIER_LOADING)
            return err_set_param(e, ERR_LOADING, "model", "Model %.200s is loading.", name);
        if (look.load.state == SUPPLIER_FAILED)
            return err_set_param(e, ERR_AGAIN, "model", "Model %.200s could not be loaded.", name);
        if (look.load.frozen)
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

/* As its best offer serves it, whose words it borrows until cloud_look_done. */
static struct api_model model_of(struct server *s, int i_model, struct cloud_look *look)
{
    struct api_model m = {
        .id = s->served[i_model].names[0], .created = s->created, .owned_by = "gaufre"};
    const struct supplier_facts *f;

    cloud_look(s->cloud, i_model, look);
    m.status = look->load.state == SUPPLIER_READY     ? API_MODEL_LOADED
               : look->load.state == SUPPLIER_LOADING ? API_MODEL_LOADING
                                                      : API_MODEL_UNLOADED;
    if (look->load.state != SUPPLIER_READY)
        return m;
    f = look->offer->sup->ops->facts(look->offer->sup);
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

static void models(struct call *c, int one, int is_public)
{
    struct cloud_look look[SERVE_MODELS_MAX];
    struct api_model m[SERVE_MODELS_MAX];
    enum api_models_format format;
    int i_model = -1, n = 0;
    char name[64] = "";
    struct err e = {0};

    api_query_get(&c->route, "format", name, sizeof name);
    if (api_models_format(name, is_public, &format, &e)) {
        call_fail(c, &e);
        return;
    }
    if (one && cloud_find_model(c->s->cloud, c->route.arg, &i_model, &e)) {
        call_fail(c, &e);
        return;
    }
    if (one) {
        m[n] = model_of(c->s, i_model, &look[n]);
        n++;
        m[0].id = c->route.arg; /* as asked for: an alias stays an alias */
        api_model_body(&c->out, &m[0], format);
    } else {
        for (; n < c->s->n_served; n++)
            m[n] = model_of(c->s, n, &look[n]);
        api_models_body(&c->out, m, n, format);
    }
    while (n--)
        cloud_look_done(c->s->cloud, &look[n]);
    call_reply(c, 200, "application/json", c->out.data, c->out.len);
}

void probes_models(struct call *c)
{
    models(c, 0, 0);
}

void probes_model(struct call *c)
{
    models(c, 1, 0);
}

void probes_public_models(struct call *c)
{
    models(c, 0, 1);
}

void probes_public_model(struct call *c)
{
    models(c, 1, 1);
}

void probes_warming(struct call *c)
{
    ok_json(c, "{}");
}

void probes_health(struct call *c)
{
    health(c, 0);
}

void probes_ready(struct call *c)
{
    health(c, 1);
}

void probes_metrics(struct call *c)
{
    struct buf text;

    buf_init(&text, TEXT_MAX);
    meter_write(c->s, &text);
    call_reply(c, 200, "text/plain; version=0.0.4; charset=utf-8", text.data, text.len);
    buf_done(&text);
}

void probes_page(struct call *c, const struct page_file *f)
{
    const struct http_head *head = net_head(c->x);
    struct net_exchange *x = c->x;
    struct page_answer a;
    struct err e = {0};

    if (c->method != HTTP_GET && c->method != HTTP_HEAD) {
        c->route.allow = API_GET | API_HEAD;
        err_set(&e, ERR_METHOD, "%s is not served for this method", f->path);
        call_fail(c, &e);
        return;
    }
    if (page_answer(f, http_field(head, "accept-encoding"), http_field(head, "if-none-match"),
                    &a)) {
        err_set(&e, ERR_NOMEM, "No memory for the answer.");
        call_fail(c, &e);
        return;
    }
    c->x = NULL;
    c->status = a.status;
    c->state = CALL_OVER;
    net_reply(x, a.status, a.header, a.n_headers, a.body, a.n_body);
    free(a.unpacked);
}
