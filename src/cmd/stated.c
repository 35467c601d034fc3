#include "cmd/stated.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/cmd.h"
#include "cmd/input.h"

#define STATEMENT_MAX ((size_t)64 << 20)
#define PATH_MAX_     200 /* where in it something differs */
#define DEPTH_MAX     16

int stated_open(struct stated *ret, const char *file, struct err *e)
{
    struct buf text;
    int r;

    *ret = (struct stated){.file = file, .settled = settled_new()};
    buf_init(&text, STATEMENT_MAX);
    r = ret->settled ? input_file(&text, file, e) : err_set(e, ERR_NOMEM, "out of memory");
    if (!r)
        r = json_parse(&ret->told, text.len ? text.data : "", text.len, 0, e);
    if (!r)
        r = settled_read(ret->settled, ret->told, e);
    buf_done(&text);
    return r;
}

void stated_close(struct stated *s)
{
    settled_free(s->settled);
    json_decref(s->told);
    *s = (struct stated){0};
}

/* ---- comparing ------------------------------------------------------------------------------- */

/* The first member in which two objects differ; NULL: they have other members. */
static const char *differing_key(json_t *a, const json_t *b)
{
    const char *key;
    json_t *v;

    json_object_foreach(a, key, v)
    {
        if (!json_equal(v, json_object_get(b, key)))
            return key;
    }
    return NULL;
}

/* Go down to where two values differ first: `lines[2].amount`. */
static void find_difference(const json_t **told, const json_t **made, char path[PATH_MAX_])
{
    size_t len = 0;

    *path = 0;
    for (int depth = 0; depth < DEPTH_MAX && len < PATH_MAX_ - 1; depth++) {
        size_t i = 0;
        if (json_is_object(*told) && json_is_object(*made)) {
            const char *key = differing_key((json_t *)(uintptr_t)*made, *told);
            if (!key)
                key = differing_key((json_t *)(uintptr_t)*told, *made);
            if (!key)
                return;
            len += (size_t)snprintf(path + len, PATH_MAX_ - len, "%s%s", len ? "." : "", key);
            *told = json_object_get(*told, key);
            *made = json_object_get(*made, key);
        } else if (json_is_array(*told) && json_is_array(*made)) {
            while (i < json_array_size(*told) &&
                   json_equal(json_array_get(*told, i), json_array_get(*made, i)))
                i++;
            len += (size_t)snprintf(path + len, PATH_MAX_ - len, "[%zu]", i);
            *told = json_array_get(*told, i);
            *made = json_array_get(*made, i);
        } else {
            return;
        }
    }
}

static void show_value(const json_t *j, char out[PATH_MAX_])
{
    char *text = j ? json_dumps(j, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;

    snprintf(out, PATH_MAX_, "%.60s", text ? text : "nothing");
    free(text);
}

int stated_compare(const struct stated *s, const char *whose, struct err *e)
{
    json_t *again = settled_json(s->settled);
    const json_t *told = s->told, *made = again;
    char path[PATH_MAX_], is[PATH_MAX_], should[PATH_MAX_];
    int r = 0;

    if (!again)
        return err_set(e, ERR_NOMEM, "out of memory");
    if (!json_equal(told, made)) {
        find_difference(&told, &made, path);
        show_value(told, is);
        show_value(made, should);
        r = err_set(e, ERR_FORMAT, "%s: %s says something else: '%s' differs: %s is told, it is %s",
                    s->file, whose, path, is, should);
    }
    json_decref(again);
    return r;
}

/* ---- names ----------------------------------------------------------------------------------- */

static int has(const char *const *names, int n, const char *name)
{
    for (int i = 0; i < n; i++) {
        if (!strcmp(names[i], name))
            return 1;
    }
    return 0;
}

static void add_place(struct stated_names *n, const struct tranche *t)
{
    char name[POWER_PLACE_MAX];

    snprintf(name, sizeof name, "%s%s", t->site ? "" : POWER_REGION, t->site ? t->site : t->region);
    if (!has(n->places, n->n_places, name) && (n->places[n->n_places] = strdup(name)))
        n->n_places++;
}

int stated_names(const struct stated *s, struct stated_names *ret, struct err *e)
{
    size_t n_tenants = 1, n_places = 1;

    for (int i = 0; i < s->settled->n_versions; i++) {
        const struct contract *c = contract_file_contract(s->settled->version[i].file);
        n_tenants += (size_t)c->customer.tenants.n;
        n_places += (size_t)c->n_tranches;
    }
    *ret = (struct stated_names){calloc(n_tenants, sizeof *ret->tenants),
                                 calloc(n_places, sizeof *ret->places), 0, 0};
    if (!ret->tenants || !ret->places)
        return err_set(e, ERR_NOMEM, "out of memory");
    for (int i = 0; i < s->settled->n_versions; i++) {
        const struct contract *c = contract_file_contract(s->settled->version[i].file);
        for (int k = 0; k < c->customer.tenants.n; k++) {
            if (!has(ret->tenants, ret->n_tenants, c->customer.tenants.v[k]))
                ret->tenants[ret->n_tenants++] = c->customer.tenants.v[k];
        }
        for (int k = 0; k < c->n_tranches; k++)
            add_place(ret, &c->tranche[k]);
    }
    return 0;
}

void stated_names_free(struct stated_names *n)
{
    for (int i = 0; i < n->n_places; i++)
        free((char *)(uintptr_t)n->places[i]);
    free(n->places);
    free(n->tenants);
    *n = (struct stated_names){0};
}
