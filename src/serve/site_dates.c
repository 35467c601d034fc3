#include "serve/site_dates.h"

#include <stdio.h>
#include <string.h>

#include "base/day.h"
#include "base/money.h"

#define NANO_PER_WATT 1000 /* of a megawatt */

/* An element of `lifecycle`. */
struct told_step {
    int state; /* an enum lifecycle_state; -1: not said */
    const char *planned, *actual, *capacity_factor;
};

#define AT(f) offsetof(struct told_step, f)
const struct config_setting serve_lifecycle_settings[] = {
    {"state", CONFIG_CHOICE, AT(state), NULL, 0, 0, LIFECYCLE_STATE_WORDS,
     "what the site is from then on"},
    {"planned", CONFIG_STR, AT(planned), NULL, 0, 0, "DAY",
     "when that is to be: 2027-03-01, or 2027-03-01T12:00:00Z"},
    {"actual", CONFIG_STR, AT(actual), NULL, 0, 0, "DAY",
     "when it was, or is fixed for; a step that lets more in is taken at this date only"},
    {"capacity_factor", CONFIG_STR, AT(capacity_factor), NULL, 0, 0, "FACTOR",
     "of derated: the part that may be used"},
    {0},
};
#undef AT

/* An element of `power`. */
struct told_power {
    const char *from, *contracted_mw, *energised_mw, *encumbered_mw;
};

#define AT(f) offsetof(struct told_power, f)
const struct config_setting serve_power_settings[] = {
    {"from", CONFIG_STR, AT(from), NULL, 0, 0, "DAY", "from then on, until the next one"},
    {"contracted_mw", CONFIG_STR, AT(contracted_mw), NULL, 0, 0, "MW", "contracted with the grid"},
    {"energised_mw", CONFIG_STR, AT(energised_mw), NULL, 0, 0, "MW", "of it what can be used"},
    {"encumbered_mw", CONFIG_STR, AT(encumbered_mw), "0", 0, 0, "MW",
     "of that what is held for other uses"},
    {0},
};
#undef AT

int site_fault(const struct site_list_reading *r, struct config_node *map, const char *key,
               const char *why, struct err *e)
{
    struct config_node *v = config_member(map, key);

    return config_err(r->d, v ? v : map, e, "site %s: %.300s", r->p->name, why);
}

static int read_date(const struct site_list_reading *r, struct config_node *map, const char *key,
                     const char *text, int64_t *ret, struct err *e)
{
    char why[160];

    if (!text || !day_read_moment(text, r->p->zone, ret))
        return 0;
    snprintf(why, sizeof why, "%s: '%.40s' is no date: write 2026-12-01 or 2026-12-01T18:00:00Z",
             key, text);
    return site_fault(r, map, key, why, e);
}

/* ---- its life -------------------------------------------------------------------------------- */

static int read_step(const struct site_list_reading *r, struct config_node *map,
                     struct lifecycle_step *ret, struct err *e)
{
    struct told_step told = {.state = -1};
    struct err why = {0};
    int code;

    if (!config_is_map(map))
        return config_err(r->d, map, e, "lifecycle: a step is a map with 'state' and a date");
    config_defaults(serve_lifecycle_settings, &told, &r->c->arena);
    code = config_read(r->d, map, serve_lifecycle_settings, &told, &r->c->arena, NULL, NULL, e);
    if (code)
        return code;
    if (told.state < 0)
        return site_fault(r, map, "state", "lifecycle: a step wants a 'state'", e);
    *ret = (struct lifecycle_step){(enum lifecycle_state)told.state, LIFECYCLE_NO_DATE,
                                   LIFECYCLE_NO_DATE, 0};
    if (told.capacity_factor && ret->state != LIFECYCLE_DERATED)
        return site_fault(r, map, "capacity_factor", "capacity_factor: a step has one when derated",
                          e);
    if (told.capacity_factor && site_factor_parse(told.capacity_factor, &ret->factor_ppm, &why))
        return site_fault(r, map, "capacity_factor", why.text, e);
    code = read_date(r, map, "planned", told.planned, &ret->planned_s, e);
    return code ? code : read_date(r, map, "actual", told.actual, &ret->actual_s, e);
}

/* The n-th element of a list. */
static struct config_node *nth(struct config_node *list, int n)
{
    struct config_node *v = config_first(list);

    while (v && n-- > 0)
        v = config_next(v);
    return v;
}

static int read_lifecycle(const struct site_list_reading *r, struct config_node *list,
                          struct err *e)
{
    struct lifecycle_step *steps = NULL;
    const char *why;
    int n = 0, i = 0, code;

    if (!config_is_seq(list))
        return config_err(r->d, list, e, "lifecycle: wants a list");
    steps = arena_zalloc(&r->c->arena, LIFECYCLE_STEPS_MAX * sizeof *steps);
    if (!steps)
        return err_set(e, ERR_NOMEM, "out of memory");
    for (struct config_node *v = config_first(list); v; v = config_next(v)) {
        if (n == LIFECYCLE_STEPS_MAX)
            return config_err(r->d, v, e, "lifecycle: more than %d steps", LIFECYCLE_STEPS_MAX);
        code = read_step(r, v, &steps[n++], e);
        if (code)
            return code;
    }
    why = lifecycle_fault(steps, n, &i);
    if (why)
        return site_fault(r, nth(list, i), strncmp(why, "planned", 7) ? "actual" : "planned", why,
                          e);
    if (!n)
        return config_err(r->d, list, e, "lifecycle: wants at least one step");
    r->p->terms.step = steps;
    r->p->terms.n_steps = n;
    return 0;
}

/* ---- its power ------------------------------------------------------------------------------- */

int site_watts_read(const char *key, const char *text, int64_t *ret, struct err *e)
{
    int64_t nano;

    if (!text)
        return 0;
    if (money_parse(text, &nano, e) || nano < 0 || nano > POWER_WATTS_MAX * NANO_PER_WATT)
        return err_set(e, ERR_ARG, "%s: '%.40s' is no number from 0 to 100000", key, text);
    if (nano % NANO_PER_WATT)
        return err_set(e, ERR_ARG, "%s: '%.40s' is finer than a watt", key, text);
    *ret = nano / NANO_PER_WATT;
    return 0;
}

static int read_power(const struct site_list_reading *r, struct config_node *map,
                      struct power_row *ret, struct err *e)
{
    struct told_power told = {0};
    int code;

    if (!config_is_map(map))
        return config_err(r->d, map, e, "power: a row is a map with 'from' and megawatts");
    config_defaults(serve_power_settings, &told, &r->c->arena);
    code = config_read(r->d, map, serve_power_settings, &told, &r->c->arena, NULL, NULL, e);
    if (code)
        return code;
    if (!told.from || !told.contracted_mw || !told.energised_mw)
        return site_fault(r, map, "", "power: a row wants from, contracted_mw and energised_mw", e);
    {
        const char *const key[] = {"contracted_mw", "energised_mw", "encumbered_mw"};
        const char *const text[] = {told.contracted_mw, told.energised_mw, told.encumbered_mw};
        int64_t *const to[] = {&ret->contracted_w, &ret->energised_w, &ret->encumbered_w};
        for (int i = 0; i < 3; i++) {
            struct err why = {0};
            if (site_watts_read(key[i], text[i], to[i], &why))
                return site_fault(r, map, key[i], why.text, e);
        }
    }
    return read_date(r, map, "from", told.from, &ret->from_s, e);
}

static int read_powers(const struct site_list_reading *r, struct config_node *list, struct err *e)
{
    struct power_row *rows;
    char key[16] = "";
    const char *why;
    int n = 0, i = 0, code;

    if (r->p->contracted_mw || r->p->energised_mw || r->p->encumbered_mw)
        return config_err(r->d, list, e,
                          "site %s: power by dates, or contracted_mw, energised_mw "
                          "and encumbered_mw for all time: one of them",
                          r->p->name);
    if (!config_is_seq(list))
        return config_err(r->d, list, e, "power: wants a list");
    rows = arena_zalloc(&r->c->arena, POWER_ROWS_MAX * sizeof *rows);
    if (!rows)
        return err_set(e, ERR_NOMEM, "out of memory");
    for (struct config_node *v = config_first(list); v; v = config_next(v)) {
        if (n == POWER_ROWS_MAX)
            return config_err(r->d, v, e, "power: more than %d rows", POWER_ROWS_MAX);
        code = read_power(r, v, &rows[n++], e);
        if (code)
            return code;
    }
    why = power_fault(rows, n, &i);
    if (why) {
        snprintf(key, sizeof key, "%.*s", (int)strcspn(why, ":"), why);
        return site_fault(r, nth(list, i), key, why, e);
    }
    r->p->terms.power = rows;
    r->p->terms.n_power = n;
    return 0;
}

int site_power_read(struct serve_config *c, struct serve_site *p, struct err *e)
{
    struct power_row row = {POWER_ALWAYS, POWER_UNKNOWN, POWER_UNKNOWN, 0}, *kept;
    const char *why;
    int i;

    if (!p->contracted_mw && !p->energised_mw && !p->encumbered_mw)
        return 0;
    if (site_watts_read("contracted_mw", p->contracted_mw, &row.contracted_w, e) ||
        site_watts_read("energised_mw", p->energised_mw, &row.energised_w, e) ||
        site_watts_read("encumbered_mw", p->encumbered_mw, &row.encumbered_w, e))
        return e->code;
    why = power_fault(&row, 1, &i);
    if (why)
        return err_set(e, ERR_ARG, "%s", why);
    kept = arena_dup(&c->arena, &row, sizeof row);
    if (!kept)
        return err_set(e, ERR_NOMEM, "out of memory");
    p->terms.power = kept;
    p->terms.n_power = 1;
    return 0;
}

int site_dates_read(struct serve_config *c, struct config_doc *d, struct serve_site *p,
                    struct config_node *lifecycle, struct config_node *power, struct err *e)
{
    const struct site_list_reading r = {c, d, p};
    int code = lifecycle ? read_lifecycle(&r, lifecycle, e) : 0;

    if (!code && lifecycle && p->state >= 0)
        code =
            config_err(d, lifecycle, e, "site %s: a lifecycle, or a state: one of them", p->name);
    if (!code && power)
        code = read_powers(&r, power, e);
    return code;
}
