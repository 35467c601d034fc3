#include "cloud/measurement.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "cloud/contract_field.h"

#define FORM       1 /* of the text */
#define MILLE      1000
#define MOST       INT64_C(1000000000000000) /* of any count: a quotient of two fits */
#define PUE_MOST   10000
#define WINDOW_MIN 1000 /* microseconds: no rate is taken of less */
#define MEMORY_MAX ((size_t)32 << 20)

/* ---- its keys -------------------------------------------------------------------------------- */

/* A number of a point, and of which table it is. `least` is also what a missing one counts as. */
struct number {
    const char *key;
    size_t offset;
    int64_t least, most;
};
#define P(f) offsetof(struct measurement_point, f)
static const struct number point_numbers[] = {
    {"requests", P(requests), 0, MOST},
    {"input_tokens", P(input_tokens), 0, MOST},
    {"cached_tokens", P(cached_tokens), 0, MOST},
    {"output_tokens", P(output_tokens), 0, MOST},
    {"window_us", P(window_us), WINDOW_MIN, MOST},
    {"window_tokens", P(window_tokens), 0, MOST / 1000000},
    {"energy_uj", P(energy_uj), -1, MOST},
    {"ttft_p50_us", P(ttft_p50_us), 0, MOST},
    {"ttft_p99_us", P(ttft_p99_us), 0, MOST},
    {"tpot_p50_us", P(tpot_p50_us), 0, MOST},
    {"tpot_p99_us", P(tpot_p99_us), 0, MOST},
};

#define M(f) offsetof(struct measurement, f)
static const struct number numbers[] = {
    {"contract_version", M(contract_version), 0, MOST},
    {"from_s", M(from_s), 0, MOST},
    {"until_s", M(until_s), 0, MOST},
    {"stated_watts", M(stated_w), 0, CONTRACT_WATTS_MAX},
};

static const struct text {
    const char *key;
    size_t offset;
    int is_required;
} texts[] = {
    {"contract", M(contract), 1}, {"site", M(site), 0},         {"region", M(region), 0},
    {"tranche", M(tranche), 0},   {"hardware", M(hardware), 0}, {"engine", M(engine), 1},
    {"url", M(url), 0},
};

/* ---- reading --------------------------------------------------------------------------------- */

static int bad(const char *key, const char *what, struct err *e)
{
    return err_set_param(e, ERR_FORMAT, key, "the measurement's %s: %s", key, what);
}

static int read_number(const json_t *o, const char *key, int64_t least, int64_t most, int64_t *ret,
                       struct err *e)
{
    const json_t *v = json_object_get(o, key);

    *ret = least;
    if (!v || json_is_null(v))
        return 0;
    if (!json_is_integer(v) || json_integer_value(v) < least || json_integer_value(v) > most)
        return bad(key, "is no number that can be", e);
    *ret = json_integer_value(v);
    return 0;
}

static int read_numbers(const json_t *o, const struct number *t, size_t n, void *to, struct err *e)
{
    int r = 0;

    for (size_t i = 0; !r && i < n; i++)
        r = read_number(o, t[i].key, t[i].least, t[i].most,
                        (int64_t *)(void *)((char *)to + t[i].offset), e);
    return r;
}

/* A text as those of contracts are; NULL where there is none. */
static int read_text(const json_t *o, const char *key, const char **ret, struct err *e)
{
    static const struct contract_field d = {.kind = FIELD_TEXT};
    const json_t *v = json_object_get(o, key);

    *ret = json_string_value(v);
    if (!v || json_is_null(v))
        return 0;
    if (!*ret || contract_field_read(&d, NULL, *ret, (void *)ret))
        return bad(key, "is no text of 1 to 200 bytes", e);
    return 0;
}

static int read_name_of(const json_t *o, const char *key, int (*find)(const char *name), int *ret,
                        struct err *e)
{
    const char *text = json_string_value(json_object_get(o, key));

    *ret = text ? find(text) : -1;
    return *ret < 0 ? bad(key, "is none of its words", e) : 0;
}

/* A row of the basket: the same keys as in a contract, whose reader takes text. */
static int read_row(struct measurement *m, json_t *o, struct err *e)
{
    struct contract_load *l = &m->row[m->n_rows];
    const char *const counts[] = {"input", "output", "ttft_ms", "tpot_ms", "weight"};
    int64_t *const to[] = {&l->input, &l->output, &l->ttft_ms, &l->tpot_ms, &l->weight};
    const int64_t least[] = {1, 1, 0, 0, 1};
    double cached = json_number_value(json_object_get(o, "cached"));
    int r = read_text(o, "model", &l->model, e);

    if (!r && !l->model)
        r = bad("model", "is missing", e);
    if (!r)
        r = read_text(o, "precision", &l->precision, e);
    if (!r)
        r = read_text(o, "fingerprint", &m->fingerprint[m->n_rows], e);
    for (size_t i = 0; !r && i < ARRAY_LEN(to); i++)
        r = read_number(o, counts[i], least[i], INT64_C(1000000000), to[i], e);
    if (!r && !(cached >= 0 && cached <= 1))
        r = bad("cached", "is no share from 0 to 1", e);
    if (r)
        return r;
    l->cached_ppm = (int64_t)(cached * CONTRACT_PPM + 0.5);
    m->n_rows++;
    return 0;
}

static int read_rows(struct measurement *m, const json_t *list, struct err *e)
{
    json_t *o;
    size_t i;

    if (!json_array_size(list) || json_array_size(list) > CONTRACT_LOADS_MAX)
        return bad("basket", "wants 1 to 32 rows", e);
    json_array_foreach(list, i, o)
    {
        if (read_row(m, o, e))
            return e->code;
    }
    return 0;
}

static int read_point(const json_t *o, struct measurement_point *p, struct err *e)
{
    int64_t uncertainty;
    int r = read_numbers(o, point_numbers, ARRAY_LEN(point_numbers), p, e);

    if (!r)
        r = read_number(o, "uncertainty_permille", 0, MILLE, &uncertainty, e);
    if (!r && p->energy_uj >= 0 && !p->output_tokens)
        r = bad("energy_uj", "is of no tokens", e);
    if (!r)
        p->uncertainty_permille = (int32_t)uncertainty;
    return r;
}

static int read_level(struct measurement *m, const json_t *o, struct err *e)
{
    const json_t *rows = json_object_get(o, "rows");
    int64_t n;
    int r = read_number(o, "concurrency", 1, BASKET_CONCURRENCY_MAX, &n, e);

    if (!r && json_array_size(rows) != (size_t)m->n_rows)
        r = bad("rows", "are not as many as the basket has", e);
    for (int i = 0; !r && i < m->n_rows; i++)
        r = read_point(json_array_get(rows, (size_t)i), &m->point[m->n_levels][i], e);
    if (!r)
        m->concurrency[m->n_levels++] = (int32_t)n;
    return r;
}

static int read_levels(struct measurement *m, const json_t *list, struct err *e)
{
    json_t *o;
    size_t i;

    if (!json_array_size(list) || json_array_size(list) > BASKET_LEVELS_MAX)
        return bad("levels", "wants 1 to 16 of them", e);
    json_array_foreach(list, i, o)
    {
        if (read_level(m, o, e))
            return e->code;
    }
    return 0;
}

static int read_verdict(struct measurement_verdict *v, const json_t *o, struct err *e)
{
    const json_t *reasons = json_object_get(o, "reasons"), *passed = json_object_get(o, "passed");
    json_t *one;
    size_t i;
    int r = 0;

    if (!o)
        return 0;
    v->is_there = 1;
    v->has_passed = json_is_true(passed);
    if (!json_is_boolean(passed))
        return bad("passed", "wants true or false", e);
    r = read_number(o, "promised_mtps", 0, INT64_MAX, &v->promised_mtps, e);
    if (!r)
        r = read_number(o, "made_mtps", 0, INT64_MAX, &v->made_mtps, e);
    if (!r)
        r = read_number(o, "held_watts", -1, CONTRACT_WATTS_MAX, &v->held_w, e);
    if (!r && json_array_size(reasons) > MEASUREMENT_REASONS_MAX)
        r = bad("reasons", "are more than 16", e);
    if (r)
        return r;
    json_array_foreach(reasons, i, one)
    {
        if (!json_is_string(one) || json_string_length(one) >= MEASUREMENT_REASON_TEXT)
            return bad("reasons", "are no texts below 200 bytes", e);
        v->reason[v->n_reasons++] = json_string_value(one);
    }
    return 0;
}

static int read_energy(struct measurement *m, const json_t *o, struct err *e)
{
    int method, boundary = 0;
    int64_t pue;
    int r = read_name_of(o, "method", energy_method_find, &method, e);

    if (!r)
        r = read_name_of(o, "boundary", energy_boundary_find, &boundary, e);
    if (!r)
        r = read_number(o, "pue_permille", 0, PUE_MOST, &pue, e);
    if (!r && pue && pue < MILLE)
        r = bad("pue_permille", "is below 1000", e);
    if (r)
        return r;
    m->method = (enum energy_method)method;
    m->boundary = (enum energy_boundary)boundary;
    m->pue_permille = (int32_t)pue;
    return 0;
}

static int read_all(struct measurement *m, struct err *e)
{
    const json_t *o = m->json;
    int r = json_integer_value(json_object_get(o, "measurement")) == FORM
                ? 0
                : bad("measurement", "is not 1: it is none, or of another version", e);

    for (size_t i = 0; !r && i < ARRAY_LEN(texts); i++) {
        const char **to = (const char **)(void *)((char *)m + texts[i].offset);
        r = read_text(o, texts[i].key, to, e);
        if (!r && texts[i].is_required && !*to)
            r = bad(texts[i].key, "is missing", e);
    }
    if (!r && !contract_name_ok(m->contract))
        r = bad("contract", "is no name", e);
    if (!r)
        r = read_numbers(o, numbers, ARRAY_LEN(numbers), m, e);
    if (!r)
        r = read_energy(m, json_object_get(o, "energy"), e);
    if (!r)
        r = read_rows(m, json_object_get(o, "basket"), e);
    if (!r)
        r = read_levels(m, json_object_get(o, "levels"), e);
    return r ? r : read_verdict(&m->verdict, json_object_get(o, "acceptance"), e);
}

int measurement_parse(struct measurement **ret, const char *text, size_t n, struct err *e)
{
    struct measurement *m;
    int r;

    if (n > MEASUREMENT_TEXT_MAX)
        return err_set(e, ERR_TOO_LARGE, "a measurement has at most %zu bytes",
                       MEASUREMENT_TEXT_MAX);
    m = calloc(1, sizeof *m);
    if (!m)
        return err_set(e, ERR_NOMEM, "no memory for a measurement");
    r = json_parse(&m->json, text, n, MEMORY_MAX, e);
    if (!r)
        r = read_all(m, e);
    if (r)
        measurement_free(m);
    else
        *ret = m;
    return r;
}

void measurement_free(struct measurement *m)
{
    if (m)
        json_decref(m->json);
    free(m);
}

/* ---- writing --------------------------------------------------------------------------------- */

static void put_text(json_t *o, const char *key, const char *text)
{
    if (text)
        json_object_set_new(o, key, json_string(text));
}

static void put_numbers(json_t *o, const struct number *t, size_t n, const void *from)
{
    for (size_t i = 0; i < n; i++) {
        int64_t v = *(const int64_t *)(const void *)((const char *)from + t[i].offset);
        json_object_set_new(o, t[i].key, v < 0 ? json_null() : json_integer(v));
    }
}

static json_t *level_json(const struct measurement *m, int i)
{
    json_t *rows = json_array();

    for (int k = 0; k < m->n_rows; k++) {
        const struct measurement_point *p = &m->point[i][k];
        json_t *o = json_object();
        put_numbers(o, point_numbers, ARRAY_LEN(point_numbers), p);
        json_object_set_new(o, "uncertainty_permille", json_integer(p->uncertainty_permille));
        json_array_append_new(rows, o);
    }
    return json_pack("{s:i, s:o}", "concurrency", m->concurrency[i], "rows", rows);
}

static json_t *verdict_json(const struct measurement_verdict *v)
{
    json_t *reasons = json_array();

    for (int i = 0; i < v->n_reasons; i++)
        json_array_append_new(reasons, json_string(v->reason[i]));
    return json_pack("{s:b, s:I, s:I, s:o, s:o}", "passed", v->has_passed, "promised_mtps",
                     (json_int_t)v->promised_mtps, "made_mtps", (json_int_t)v->made_mtps,
                     "held_watts", v->held_w < 0 ? json_null() : json_integer(v->held_w), "reasons",
                     reasons);
}

json_t *measurement_json(const struct measurement *m)
{
    json_t *o = json_object(), *rows = json_array(), *levels = json_array(), *row;

    json_object_set_new(o, "measurement", json_integer(FORM));
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        put_text(o, texts[i].key,
                 *(const char *const *)(const void *)((const char *)m + texts[i].offset));
    put_numbers(o, numbers, ARRAY_LEN(numbers), m);
    json_object_set_new(o, "energy",
                        json_pack("{s:s, s:s, s:i}", "method", energy_method_name(m->method),
                                  "boundary", energy_boundary_name(m->boundary), "pue_permille",
                                  m->pue_permille));
    for (int i = 0; i < m->n_rows; i++) {
        row = contract_map_json(contract_load_fields, &m->row[i], NULL);
        put_text(row, "fingerprint", m->fingerprint[i]);
        json_array_append_new(rows, row);
    }
    for (int i = 0; i < m->n_levels; i++)
        json_array_append_new(levels, level_json(m, i));
    json_object_set_new(o, "basket", rows);
    json_object_set_new(o, "levels", levels);
    if (m->verdict.is_there)
        json_object_set_new(o, "acceptance", verdict_json(&m->verdict));
    return o;
}

/* ---- what follows from it -------------------------------------------------------------------- */

static int is_same(const char *a, const char *b)
{
    return a && b ? !strcmp(a, b) : a == b;
}

/* Is the work of two rows the same? */
static int is_same_work(const struct contract_load *a, const struct contract_load *b)
{
    return is_same(a->model, b->model) && is_same(a->precision, b->precision) &&
           a->input == b->input && a->output == b->output && a->cached_ppm == b->cached_ppm;
}

struct basket_point measurement_quotients(const struct measurement *m, int i, int k)
{
    const struct measurement_point *p = &m->point[i][k];
    struct basket_point q = {.token_uj = BASKET_UNKNOWN,
                             .uncertainty_permille = p->uncertainty_permille,
                             .ttft_p99_us = p->ttft_p99_us,
                             .tpot_p99_us = p->tpot_p99_us};

    q.rate_mtps = p->window_tokens * (1000000 * INT64_C(1000)) / p->window_us;
    if (q.rate_mtps > BASKET_MTPS_MAX)
        q.rate_mtps = BASKET_MTPS_MAX;
    if (!m->method)
        return q;
    if (m->stated_w && q.rate_mtps > 0)
        q.token_uj = basket_token_uj(m->stated_w, q.rate_mtps);
    else if (!m->stated_w && p->energy_uj >= 0 && p->output_tokens > 0)
        q.token_uj = (p->energy_uj + p->output_tokens - 1) / p->output_tokens;
    if (q.token_uj > BASKET_UJ_MAX)
        q.token_uj = BASKET_UJ_MAX;
    return q;
}

const char *measurement_match(const struct measurement *m, const struct contract *c,
                              struct basket_measured *ret)
{
    *ret = (struct basket_measured){.n_levels = m->n_levels, .n_rows = c->n_loads};
    if (!c->n_loads)
        return "the contract names no basket";
    for (int k = 0; k < c->n_loads; k++) {
        int from = 0;
        while (from < m->n_rows && !is_same_work(&m->row[from], &c->load[k]))
            from++;
        if (from == m->n_rows)
            return "the basket has a row that was not measured";
        for (int i = 0; i < m->n_levels; i++)
            ret->point[i][k] = measurement_quotients(m, i, from);
    }
    memcpy(ret->concurrency, m->concurrency, sizeof ret->concurrency);
    return NULL;
}

int measurement_is_of(const struct measurement *m, const struct tranche *t)
{
    if (t->hardware && !is_same(t->hardware, m->hardware))
        return 0;
    return t->site ? is_same(t->site, m->site) : is_same(t->region, m->region);
}

/* Watts as the contract counts them, as those before the meter. NULL, or why they cannot be. */
static const char *bring(const struct measurement *m, const struct contract *c, int64_t *watts)
{
    enum energy_boundary at = m->boundary;
    contract_nano w = *watts;

    if (at == ENERGY_ACCELERATOR)
        return "its energy is that of accelerators alone, and the contract's power is not";
    if ((at == ENERGY_FACILITY) == (c->basis == CONTRACT_FACILITY))
        return NULL;
    if (!m->pue_permille)
        return "its energy and the contract's power are not of the same boundary, and no PUE was "
               "said";
    w = at == ENERGY_FACILITY ? w * m->pue_permille / MILLE : w * MILLE / m->pue_permille;
    *watts = (int64_t)w;
    return NULL;
}

void measurement_entitlement(const struct measurement *m, const struct contract *c, int64_t watts,
                             struct basket_measured *ret_measured, struct basket_entitlement *ret)
{
    const char *why = measurement_match(m, c, ret_measured);

    if (!why && m->method)
        why = bring(m, c, &watts);
    if (why)
        *ret = (struct basket_entitlement){.i_level = -1, .why = why};
    else
        basket_entitlement(c, ret_measured, watts, ret);
}
