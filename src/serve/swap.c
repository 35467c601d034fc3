#include "serve/swap.h"

#include <string.h>

#define TEXT_MAX ((size_t)64 << 10)

static int is_same(const struct config_setting *t, const void *a, const void *b)
{
    struct buf x, y;
    int same;

    buf_init(&x, TEXT_MAX);
    buf_init(&y, TEXT_MAX);
    same = !config_show(t, a, &x) && !config_show(t, b, &y) && x.len == y.len &&
           (!x.len || !memcmp(x.data, y.data, x.len));
    buf_done(&x);
    buf_done(&y);
    return same;
}

/* The first row of a table in which two objects differ; NULL: there is none. */
static const struct config_setting *first_other(const struct config_setting *t, const void *a,
                                                const void *b)
{
    while (t->name && is_same(t, a, b))
        t++;
    return t->name ? t : NULL;
}

static int needs_restart(const char *model, const struct config_setting *row, struct err *e)
{
    return err_set(e, ERR_ARG, "%s%s%s: takes effect with a restart only; nothing was changed",
                   model, *model ? ": " : "", row->name);
}

int swap_may(const struct serve_config *now, const struct serve_config *next, struct err *e)
{
    const struct config_setting *row = first_other(serve_settings, now, next);

    if (row)
        return needs_restart("", row, e);
    row = first_other(serve_energy_settings, &now->energy, &next->energy);
    if (row)
        return needs_restart("energy", row, e);
    if (serve_has_keys(now) != serve_has_keys(next))
        return err_set(e, ERR_ARG,
                       "api_keys: the first key, or none any more, takes effect with a restart "
                       "only; nothing was changed");
    if (now->n_models != next->n_models)
        return err_set(e, ERR_ARG,
                       "models: another number takes effect with a restart only; nothing was "
                       "changed");
    for (int i = 0; i < now->n_models; i++) {
        const struct serve_model *a = &now->models[i], *b = &next->models[i];
        row = first_other(serve_naming, a, b);
        if (!row)
            row = first_other(serve_model_settings, a, b);
        if (row)
            return needs_restart(a->id, row, e);
    }
    return 0;
}

int swap_has_same_webhooks(const struct serve_config *now, const struct serve_config *next)
{
    int same = now->n_webhooks == next->n_webhooks;

    for (int i = 0; same && i < now->n_webhooks; i++) {
        const struct serve_webhook *a = &now->webhooks[i], *b = &next->webhooks[i];
        same = !first_other(serve_webhook_settings, a, b) && a->n_secrets == b->n_secrets &&
               !memcmp(a->secret, b->secret, sizeof a->secret);
    }
    return same;
}

int swap_is_same_supplier(const struct serve_supplier *a, const struct serve_supplier *b)
{
    int same = !first_other(serve_supplier_settings, a, b) && a->n_keys == b->n_keys &&
               a->terms.residency_bit == b->terms.residency_bit; /* as their sites say */

    for (int k = 0; same && k < a->n_keys; k++)
        same = !first_other(serve_key_settings, &a->keys[k], &b->keys[k]) &&
               !strcmp(a->keys[k].key, b->keys[k].key);
    return same;
}

int swap_has_same_suppliers(const struct serve_config *now, const struct serve_config *next)
{
    int same = now->n_suppliers == next->n_suppliers;

    for (int i = 0; same && i < now->n_suppliers; i++)
        same = swap_is_same_supplier(&now->suppliers[i], &next->suppliers[i]);
    return same;
}
