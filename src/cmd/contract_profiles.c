/* gaufre contract profiles: what each generation of hardware makes at each site, by the last
 * measurements of all contracts. */
#include <stdlib.h>
#include <string.h>

#include "cmd/cmd.h"
#include "cmd/contract_opts.h"

#define PLACES_MAX 4096
#define KEY_MAX    1024
#define MILLE      1000
#define MICRO      1e6

/* Of a contract, place and hardware the last measurement. */
struct place {
    int64_t id;
    char key[KEY_MAX];
};

struct profiles {
    const struct contract_opts *o;
    const char *contract; /* NULL: all */
    struct place *place;  /* [PLACES_MAX] */
    int n;
    struct err *e;
};

static int is_wanted(const struct profiles *x, const struct measurement *m)
{
    const struct contract_opts *o = x->o;

    return !m->verdict.is_there && (!o->site || (m->site && !strcmp(o->site, m->site))) &&
           (!o->region || (m->region && !strcmp(o->region, m->region))) &&
           (!o->hardware || (m->hardware && !strcmp(o->hardware, m->hardware)));
}

static int parse(const struct profiles *x, const struct measured_row *row, struct measurement **ret)
{
    int r = measurement_parse(ret, row->text, strlen(row->text), x->e);

    if (r)
        err_prefix(x->e, "measurement %lld", (long long)row->id);
    return r;
}

static int note(struct profiles *x, const struct measured_row *row, const struct measurement *m)
{
    char key[KEY_MAX];
    int i = 0;

    snprintf(key, sizeof key, "%s\n%s\n%s\n%s", m->contract, m->site ? m->site : "",
             m->region ? m->region : "", m->hardware ? m->hardware : "");
    while (i < x->n && strcmp(x->place[i].key, key) != 0)
        i++;
    if (i == PLACES_MAX)
        return err_set(x->e, ERR_LIMIT, "more than %d places; name a contract or a --site",
                       PLACES_MAX);
    x->n = i < x->n ? x->n : i + 1;
    x->place[i].id = row->id;
    memcpy(x->place[i].key, key, sizeof key);
    return 0;
}

static int find(void *arg, const struct measured_row *row)
{
    struct profiles *x = arg;
    struct measurement *m = NULL;
    int r = parse(x, row, &m);

    if (!r && is_wanted(x, m))
        r = note(x, row, m);
    measurement_free(m);
    return r;
}

/* ---- showing --------------------------------------------------------------------------------- */

static const char *or_dash(const char *s)
{
    return s ? s : "-";
}

static void print_point(const struct measurement *m, int i, int k, const struct basket_point *q,
                        int is_stale)
{
    char joules[32] = "-";

    if (q->token_uj >= 0)
        snprintf(joules, sizeof joules, "%.4f", (double)q->token_uj / MICRO);
    cmd_line(stdout, "%-16s %-14s %-10s %-24s %7lld %7lld %7d %11.1f %10s %-11s %s",
             or_dash(m->site ? m->site : m->region), or_dash(m->hardware), m->engine,
             m->row[k].model, (long long)m->row[k].input, (long long)m->row[k].output,
             m->concurrency[i], (double)q->rate_mtps / MILLE, joules,
             m->method ? energy_boundary_name(m->boundary) : "-", is_stale ? "stale" : "");
}

static int print_json(const struct measured_row *row, const struct measurement *m, int i, int k,
                      const struct basket_point *q, int is_stale)
{
    int is_known = q->token_uj >= 0;

    return cmd_json(
        json_pack("{s:I, s:s, s:s?, s:s?, s:s?, s:s, s:b, s:s, s:I, s:I, s:i, s:f, s:o, s:o, s:s?}",
                  "measurement", (json_int_t)row->id, "contract", m->contract, "site", m->site,
                  "region", m->region, "hardware", m->hardware, "engine", m->engine, "is_stale",
                  is_stale, "model", m->row[k].model, "input", (json_int_t)m->row[k].input,
                  "output", (json_int_t)m->row[k].output, "load", m->concurrency[i],
                  "tokens_per_second", (double)q->rate_mtps / MILLE, "joules_per_token",
                  is_known ? json_real((double)q->token_uj / MICRO) : json_null(), "uncertainty",
                  is_known ? json_real((double)q->uncertainty_permille / MILLE) : json_null(),
                  "boundary", m->method ? energy_boundary_name(m->boundary) : NULL),
        JSON_COMPACT | JSON_REAL_PRECISION(15));
}

static int show(void *arg, const struct measured_row *row)
{
    struct profiles *x = arg;
    struct measurement *m = NULL;
    int is = 0, is_stale, r;

    for (int i = 0; i < x->n; i++)
        is |= x->place[i].id == row->id;
    if (!is)
        return 0;
    r = parse(x, row, &m);
    if (r)
        return r;
    is_stale = x->o->engine && strcmp(x->o->engine, m->engine) != 0;
    for (int k = 0; k < m->n_rows && !r; k++) {
        for (int i = 0; i < m->n_levels && !r; i++) {
            const struct basket_point q = measurement_quotients(m, i, k);
            if (x->o->json)
                r = print_json(row, m, i, k, &q, is_stale);
            else
                print_point(m, i, k, &q, is_stale);
        }
    }
    measurement_free(m);
    return r;
}

int contract_profiles(struct contract_opts *o, int n, char **argv, struct err *e)
{
    struct profiles x = {.o = o, .contract = n ? argv[0] : NULL, .e = e};
    int r = contract_source_store(&o->source, e);

    x.place = calloc(PLACES_MAX, sizeof *x.place);
    if (!x.place)
        return err_set(e, ERR_NOMEM, "no memory for profiles");
    if (!r)
        r = accounts_measurements(o->source.store, x.contract, find, &x, e);
    if (!r && !o->json)
        printf("%-16s %-14s %-10s %-24s %7s %7s %7s %11s %10s %-11s\n", "site", "hardware",
               "engine", "model", "input", "output", "at once", "tokens/s", "J/token", "boundary");
    if (!r)
        r = accounts_measurements(o->source.store, x.contract, show, &x, e);
    free(x.place);
    return r;
}
