/* The maps of the file and what is in them (contract_field.h). What fields must not say together is
 * policy's (contract_fault). */
#include "cloud/contract_file.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/config.h"
#include "base/day.h"
#include "cloud/contract_field.h"

#define MEMORY_MAX ((size_t)4 << 20)

struct contract_file {
    struct config_doc *doc;
    struct arena arena;
    struct zone *zone;
    struct contract contract;
};

/* A map that is being read. */
struct reading {
    struct contract_file *f;
    const struct contract_field *fields;
    void *to;
    /* Members of it that are maps or lists themselves: as config_read's `other`; NULL: none. */
    int (*deeper)(struct contract_file *f, const char *key, struct config_node *v, struct err *e);
};

/* ---- maps --------------------------------------------------------------------------------------
 */

static int read_names(struct contract_file *f, const struct contract_field *d,
                      struct config_node *v, struct contract_names *to, struct err *e)
{
    if (!config_is_seq(v))
        return config_err(f->doc, v, e, "%s: wants a list of names", d->key);
    for (v = config_first(v); v; v = config_next(v)) {
        const char *text = config_text(v, &f->arena);
        if (!text || !contract_name_ok(text))
            return config_err(f->doc, v, e,
                              "%s: wants names: 1 to 63 letters, digits and - _ . :", d->key);
        if (to->n == CONTRACT_NAMES_MAX)
            return config_err(f->doc, v, e, "%s: more than %d", d->key, CONTRACT_NAMES_MAX);
        to->v[to->n++] = text;
    }
    return 0;
}

static int read_member(void *arg, const char *key, struct config_node *v, struct err *e)
{
    struct reading *r = arg;
    const struct contract_field *d = r->fields;
    const char *text, *wrong;
    void *to;

    while (d->key && strcmp(d->key, key) != 0)
        d++;
    if (!d->key)
        return r->deeper ? r->deeper(r->f, key, v, e) : 0;
    to = (char *)r->to + d->offset;
    if (d->kind == FIELD_NAMES)
        return read_names(r->f, d, v, to, e) ? e->code : 1;
    text = config_text(v, &r->f->arena);
    if (!text)
        return config_err(r->f->doc, v, e, "%s: wants one value", key);
    wrong = contract_field_read(d, r->f->zone, text, to);
    if (wrong)
        return config_err(r->f->doc, v, e, "%s: '%.60s' %s%s%s", key, text, wrong,
                          d->kind == FIELD_CHOICE ? ": " : "",
                          d->kind == FIELD_CHOICE ? d->words : "");
    return 1;
}

static int read_map(struct reading *r, struct config_node *map, struct err *e)
{
    static const struct config_setting none[] = {{0}};
    struct config_doc *doc = r->f->doc;
    int code;

    if (!config_is_map(map))
        return config_err(doc, map, e, "wants a map (key: value)");
    code = config_read(doc, map, none, NULL, &r->f->arena, read_member, r, e);
    for (const struct contract_field *d = r->fields; !code && d->key; d++) {
        if (d->is_required && !config_member(map, d->key))
            code = config_err(doc, map, e, "%s: is missing", d->key);
    }
    return code;
}

static int read_loads(struct contract_file *f, struct config_node *v, struct err *e)
{
    struct contract *c = &f->contract;
    int r = 0;

    for (v = config_first(v); !r && v; v = config_next(v)) {
        struct reading row = {.f = f, .fields = contract_load_fields, .to = &c->load[c->n_loads]};
        if (c->n_loads == CONTRACT_LOADS_MAX)
            return config_err(f->doc, v, e, "basket: more than %d rows", CONTRACT_LOADS_MAX);
        c->load[c->n_loads++].weight = 1;
        r = read_map(&row, v, e);
    }
    return r;
}

static int read_tranches(struct contract_file *f, struct config_node *v, struct err *e)
{
    struct contract *c = &f->contract;
    int r = 0;

    for (v = config_first(v); !r && v; v = config_next(v)) {
        struct reading row = {
            .f = f, .fields = contract_tranche_fields, .to = &c->tranche[c->n_tranches]};
        if (c->n_tranches == CONTRACT_TRANCHES_MAX)
            return config_err(f->doc, v, e, "tranches: more than %d", CONTRACT_TRANCHES_MAX);
        c->n_tranches++;
        r = read_map(&row, v, e);
    }
    return r;
}

static int read_deeper(struct contract_file *f, const char *key, struct config_node *v,
                       struct err *e)
{
    struct contract *c = &f->contract;
    struct reading party = {.f = f};
    int is_list = !strcmp(key, "basket") || !strcmp(key, "tranches");
    int r;

    if (is_list && !config_is_seq(v))
        return config_err(f->doc, v, e, "%s: wants a list", key);
    if (is_list) {
        r = *key == 'b' ? read_loads(f, v, e) : read_tranches(f, v, e);
    } else if (!strcmp(key, "supplier")) {
        party.fields = contract_supplier_fields;
        party.to = &c->supplier;
        r = read_map(&party, v, e);
    } else if (!strcmp(key, "customer")) {
        party.fields = contract_customer_fields;
        party.to = &c->customer;
        r = read_map(&party, v, e);
    } else if (!strcmp(key, "backstop")) {
        party.fields = contract_backstop_fields;
        party.to = &c->backstop;
        c->backstop.is_there = 1;
        r = read_map(&party, v, e);
    } else {
        return 0;
    }
    return r ? r : 1;
}

/* Days are of the zone, wherever in the file it stands. */
static int read_zone(struct contract_file *f, struct config_node *root, struct err *e)
{
    struct config_node *v = config_member(root, "time_zone");
    const char *text = v ? config_text(v, &f->arena) : NULL;
    struct err why = {0};

    if (text && zone_load(&f->zone, ZONE_DIR, text, &why))
        return config_err(f->doc, v, e, "time_zone: %.300s", why.text);
    return 0;
}

/* Its anniversaries within the term: each year the same day; of the 29th of February the 28th. */
static int fill_years(const struct contract_file *f, int64_t first, int64_t ret[CONTRACT_YEARS_MAX])
{
    char day[DAY_TEXT_MAX];
    int64_t at;
    int n = 0;

    day_show(first, f->zone, day);
    while (n < CONTRACT_YEARS_MAX) {
        char next[DAY_TEXT_MAX];
        memcpy(next, day, sizeof next);
        for (int i = 3; i >= 0 && ++next[i] > '9'; i--)
            next[i] = '0';
        memcpy(day, next, 4);
        if (day_read(next, f->zone, &at)) {
            next[9] = '8';
            CHECK(day_read(next, f->zone, &at) == 0);
        }
        if (at >= f->contract.until_s)
            return n;
        ret[n++] = at;
    }
    return n;
}

/* When prices grow, and when years of the contract begin. */
static void fill_index(struct contract_file *f)
{
    struct contract *c = &f->contract;

    c->n_years = fill_years(f, c->from_s, c->year_s);
    if (c->indexation_ppm)
        c->n_index =
            fill_years(f, c->indexation_from_s ? c->indexation_from_s : c->from_s, c->index_s);
}

/* ---- the file -------------------------------------------------------------------------------- */

static struct config_node *nth(struct config_node *list, int i)
{
    struct config_node *v = config_first(list);

    while (v && i-- > 0)
        v = config_next(v);
    return v;
}

/* The node that is nearest to a field. */
static struct config_node *find(const struct contract_file *f, const struct contract_place *at)
{
    struct config_node *root = config_doc_root(f->doc), *map = root, *v;

    if (at->i_tranche >= 0)
        map = nth(config_member(root, "tranches"), at->i_tranche);
    else if (at->i_load >= 0)
        map = nth(config_member(root, "basket"), at->i_load);
    v = map ? config_member(map, at->field) : NULL;
    return v ? v : map;
}

int contract_file_err(const struct contract_file *f, int i_tranche, const char *field,
                      struct err *e, const char *fmt, ...)
{
    const struct contract_place at = {.i_tranche = i_tranche, .i_load = -1, .field = field};
    char text[400];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return config_err(f->doc, find(f, &at), e, "%s: %s", field, text);
}

static int fill(struct contract_file *f, struct err *e)
{
    struct config_node *root = config_doc_root(f->doc);
    struct reading whole = {
        .f = f, .fields = contract_fields, .to = &f->contract, .deeper = read_deeper};
    struct contract_place at;
    const char *why;

    if (!root)
        return config_err(f->doc, NULL, e, "it is empty");
    if (read_zone(f, root, e) || read_map(&whole, root, e))
        return e->code;
    if (!f->contract.supplier.name || !f->contract.customer.name)
        return config_err(f->doc, root, e, "%s: is missing",
                          f->contract.supplier.name ? "customer" : "supplier");
    why = contract_fault(&f->contract, &at);
    if (why)
        return config_err(f->doc, find(f, &at), e, "%s: %s", at.field, why);
    fill_index(f);
    return 0;
}

static struct contract_file *new_file(struct err *e)
{
    struct contract_file *f = calloc(1, sizeof *f);

    if (!f)
        err_set(e, ERR_NOMEM, "no memory for a contract");
    else
        arena_init(&f->arena, 16384, MEMORY_MAX);
    return f;
}

/* Its text is parsed, r: or not. */
static int end(struct contract_file *f, int r, struct contract_file **ret, struct err *e)
{
    if (!r)
        r = fill(f, e);
    if (r)
        contract_file_close(f);
    else
        *ret = f;
    return r;
}

int contract_file_open(struct contract_file **ret, const char *path, struct err *e)
{
    struct contract_file *f = new_file(e);

    return f ? end(f, config_doc_open(&f->doc, path, e), ret, e) : ERR_NOMEM;
}

int contract_file_parse(struct contract_file **ret, const char *name, const char *text, size_t n,
                        struct err *e)
{
    struct contract_file *f = new_file(e);

    return f ? end(f, config_doc_parse(&f->doc, name, text, n, e), ret, e) : ERR_NOMEM;
}

void contract_file_close(struct contract_file *f)
{
    if (!f)
        return;
    config_doc_close(f->doc);
    arena_done(&f->arena);
    zone_free(f->zone);
    free(f);
}

const struct contract *contract_file_contract(const struct contract_file *f)
{
    return &f->contract;
}

const struct zone *contract_file_zone(const struct contract_file *f)
{
    return f->zone;
}

/* ---- JSON ------------------------------------------------------------------------------------ */

json_t *contract_json(const struct contract_file *f)
{
    const struct contract *c = &f->contract;
    json_t *o = contract_map_json(contract_fields, c, f->zone), *basket = json_array(),
           *list = json_array();

    for (int i = 0; i < c->n_loads; i++)
        json_array_append_new(basket,
                              contract_map_json(contract_load_fields, &c->load[i], f->zone));
    for (int i = 0; i < c->n_tranches; i++)
        json_array_append_new(list,
                              contract_map_json(contract_tranche_fields, &c->tranche[i], f->zone));
    json_object_set_new(o, "supplier",
                        contract_map_json(contract_supplier_fields, &c->supplier, f->zone));
    json_object_set_new(o, "customer",
                        contract_map_json(contract_customer_fields, &c->customer, f->zone));
    if (c->backstop.is_there)
        json_object_set_new(o, "backstop",
                            contract_map_json(contract_backstop_fields, &c->backstop, f->zone));
    if (c->n_loads)
        json_object_set(o, "basket", basket);
    json_decref(basket);
    json_object_set_new(o, "tranches", list);
    return o;
}
