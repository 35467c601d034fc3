/* Answers that the console makes without a supplier: health, metrics, lists of models, the page. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "console/page.h"
#include "engine/energy_meter.h"
#include "serve/energy_source.h"
#include "serve/server.h"

#define TEXT_MAX ((size_t)16 << 20)

static void ok_json(struct call *c, const char *text)
{
    call_reply(c, 200, "application/json", text, strlen(text));
}

static void health(struct call *c, int ready)
{
    struct err e = {0};

    if (ready && server_is_closing(c->s))
        err_set(&e, ERR_DRAINING, "The server is shutting down.");
    else
        console_health(c->s->console, &e);
    if (e.code) {
        call_fail(c, &e);
    } else if (!ready && handler_is_operator(c)) {
        buf_add_str(&c->out, "{\"status\":\"ok\"");
        console_suppliers(c->s->console, &c->out);
        buf_add_char(&c->out, '}');
        call_reply(c, 200, "application/json", c->out.data, c->out.len);
    } else {
        ok_json(c, "{\"status\":\"ok\"}");
    }
}

/* Who has a key sees what it may use; without one, what is for all. */
static int shown_models(struct call *c, const char *only, int is_public,
                        const char *ret[CLOUD_MODELS_MAX], struct err *e)
{
    struct cloud_caller who = handler_caller(c);
    int64_t now_us = clock_now_us();
    int r = only && !is_public ? cloud_key_sees(c->s->cloud, now_us, &who, only, e) : 0;

    return r ? r : cloud_key_models(c->s->cloud, now_us, is_public ? NULL : &who, ret, e);
}

static void models(struct call *c, const char *only, int is_public)
{
    enum api_models_format format;
    const char *shown[CLOUD_MODELS_MAX];
    char name[64] = "";
    struct err e = {0};

    api_query_get(&c->route, "format", name, sizeof name);
    if (api_models_format(name, is_public, &format, &e) ||
        shown_models(c, only, is_public, shown, &e) ||
        (console_models(c->s->console, only, shown, format, &c->out, &e) && e.code))
        call_fail(c, &e);
    else
        call_reply(c, 200, "application/json", c->out.data, c->out.len);
}

void call_show_models(struct call *c)
{
    models(c, NULL, 0);
}

void call_show_model(struct call *c)
{
    models(c, c->route.arg, 0);
}

void call_show_public_models(struct call *c)
{
    models(c, NULL, 1);
}

void call_show_public_model(struct call *c)
{
    models(c, c->route.arg, 1);
}

void call_show_warming(struct call *c)
{
    ok_json(c, "{}");
}

void call_show_schema(struct call *c)
{
    if (serve_config_schema(&c->out))
        call_fail(c, &(struct err){.code = ERR_NOMEM, .text = "No memory for the answer."});
    else
        call_reply(c, 200, "application/schema+json", c->out.data, c->out.len);
}

void call_show_health(struct call *c)
{
    health(c, 0);
}

void call_show_ready(struct call *c)
{
    health(c, 1);
}

void call_show_metrics(struct call *c)
{
    struct energy_meter *meter = energy_source_meter(c->s->energy);
    struct energy_look look;
    struct buf text;

    if (meter)
        energy_meter_look(meter, &look);
    buf_init(&text, TEXT_MAX);
    console_metrics(c->s->console, meter ? &look : NULL, &text);
    call_reply(c, 200, "text/plain; version=0.0.4; charset=utf-8", text.data, text.len);
    buf_done(&text);
}

void call_show_page(struct call *c, const struct page_file *f)
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
