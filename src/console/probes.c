/* Health of the server, and lists of the models that it serves. */
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/json_write.h"
#include "console/console_int.h"

int console_health(struct console *c, struct err *e)
{
    struct cloud_look look;

    for (int i = 0; i < c->n_models; i++) {
        const char *name = c->model[i].id;
        cloud_look(c->setup.cloud, i, &look);
        cloud_look_done(c->setup.cloud, &look);
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

int console_suppliers(struct console *c, struct buf *out)
{
    struct cloud_offer_view v[CLOUD_OFFERS_MAX];
    int n = cloud_view_offers(c->setup.cloud, clock_now_us(), v);

    for (int i = 0; i < n; i++) {
        const char *why = breaker_why_name(v[i].why);
        buf_add_str(out, i ? ",{\"supplier\":" : ",\"suppliers\":[{\"supplier\":");
        json_put_str(out, v[i].supplier);
        buf_addf(out,
                 ",\"breaker\":\"%s\",\"why\":%s%s%s,\"retry_after_ms\":%" PRId64
                 ",\"running\":%d,\"waiting\":%d,\"concurrency\":%d}",
                 breaker_state_name(v[i].state), *why ? "\"" : "null", why, *why ? "\"" : "",
                 v[i].wait_us / 1000, v[i].n_running, v[i].n_waiting, v[i].capacity);
    }
    return n ? buf_add_char(out, ']') : 0;
}

/* The model as its best offer serves it. Strings are the offer's and live until cloud_look_done. */
static struct api_model model_of(struct console *c, int i_model, struct cloud_look *look)
{
    struct api_model m = {.id = c->model[i_model].id, .created = c->created, .owned_by = "gaufre"};
    const struct supplier_facts *f;

    cloud_look(c->setup.cloud, i_model, look);
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

int console_models(struct console *c, const char *name, const char *const *shown,
                   enum api_models_format f, struct buf *out, struct err *e)
{
    struct cloud_look look[CLOUD_MODELS_MAX];
    struct api_model m[CLOUD_MODELS_MAX] = {0};
    int n = 0, r, i_model;

    if (name) {
        r = cloud_find_model(c->setup.cloud, name, &i_model, e);
        if (r)
            return r;
        if (!shown[i_model])
            return api_err_model(e, name);
        m[n] = model_of(c, i_model, &look[n]);
        m[n++].id = name; /* as asked for: an alias stays an alias */
        r = api_model_body(out, &m[0], f);
    } else {
        for (int i = 0; i < c->n_models; i++) {
            if (!shown[i])
                continue;
            m[n] = model_of(c, i, &look[n]);
            m[n].id = shown[i];
            n++;
        }
        r = api_models_body(out, m, n, f);
    }
    while (n--)
        cloud_look_done(c->setup.cloud, &look[n]);
    return r;
}
