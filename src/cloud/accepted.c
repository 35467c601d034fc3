#include "cloud/accepted.h"

#include <stdio.h>
#include <string.h>

struct looking {
    int64_t as_of_s, known_s;
    const struct contract *contract; /* one ... */
    struct accepted *ret;
    json_t *views; /* ... or a list */
    struct err *e;
};

static struct accepted accepted_of(const struct measured_row *row, const struct measurement *m)
{
    struct accepted a = {.id = row->id, .at_s = m->until_s};

    snprintf(a.key, sizeof a.key, "%s", row->public_key);
    return a;
}

static void put_view(json_t *view, const char *tranche, const struct accepted *a)
{
    json_t *t;
    size_t i;

    json_array_foreach(json_object_get(view, "tranches"), i, t)
    {
        const char *name = json_string_value(json_object_get(t, "name"));
        if (!tranche || (name && !strcmp(name, tranche)))
            json_object_set_new(t, "accepted", accepted_json(a));
    }
}

static void put(const struct looking *x, const struct measurement *m, const struct accepted *a)
{
    json_t *view;
    size_t k;

    for (int i = 0; x->contract && i < x->contract->n_tranches; i++) {
        if (!strcmp(x->contract->tranche[i].name, m->tranche))
            x->ret[i] = *a;
    }
    json_array_foreach(x->views, k, view)
    {
        const char *name = json_string_value(json_object_get(view, "contract"));
        if (name && !strcmp(name, m->contract))
            put_view(view, m->tranche, a);
    }
}

static int look(void *arg, const struct measured_row *row)
{
    struct looking *x = arg;
    struct measurement *m = NULL;
    struct accepted a;
    int r;

    if (row->recorded_s > x->known_s || !*row->signature)
        return 0;
    r = measurement_parse(&m, row->text, strlen(row->text), x->e);
    if (r)
        return r;
    if (m->verdict.has_passed && m->tranche && m->until_s <= x->as_of_s &&
        acceptance_is_signed(row->text, row->signature, row->public_key)) {
        a = accepted_of(row, m);
        put(x, m, &a);
    }
    measurement_free(m);
    return 0;
}

int accounts_accepted(struct accounts *a, const struct contract *c, int64_t as_of_s,
                      int64_t known_s, struct accepted ret[CONTRACT_TRANCHES_MAX], struct err *e)
{
    struct looking x = {.as_of_s = as_of_s, .known_s = known_s, .contract = c, .ret = ret, .e = e};

    memset(ret, 0, CONTRACT_TRANCHES_MAX * sizeof *ret);
    return accounts_measurements(a, c->name, look, &x, e);
}

json_t *accepted_json(const struct accepted *x)
{
    return x->id ? json_pack("{s:I, s:I, s:s}", "measurement", (json_int_t)x->id, "at",
                             (json_int_t)x->at_s, "public_key", x->key)
                 : json_null();
}

int accounts_accepted_views(struct accounts *a, json_t *views, int64_t as_of_s, int64_t known_s,
                            struct err *e)
{
    struct looking x = {.as_of_s = as_of_s, .known_s = known_s, .views = views, .e = e};
    const struct accepted none = {0};
    json_t *view;
    size_t i;

    json_array_foreach(views, i, view)
    {
        put_view(view, NULL, &none);
    }
    if (!json_array_size(views))
        return 0;
    view = json_array_size(views) == 1 ? json_array_get(views, 0) : NULL;
    return accounts_measurements(a, json_string_value(json_object_get(view, "contract")), look, &x,
                                 e);
}
