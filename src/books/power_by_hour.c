#include "books/power_by_hour.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SECOND_US INT64_C(1000000)

/* ---- reading --------------------------------------------------------------------------------- */

struct reading {
    struct power_hour *hour;
    int64_t first_us; /* when the first begins */
};

static struct power_hour *hour_of(struct reading *x, int64_t at_us)
{
    return &x->hour[(at_us - x->first_us) / POWER_HOUR_US];
}

static int add_piece(void *arg, const struct power_entry *r)
{
    struct reading *x = arg;

    if (r->piece.from_us >= x->first_us) /* a piece is within its hour */
        power_sum_add(&hour_of(x, r->piece.from_us)->sum, &r->piece);
    return 0;
}

static int add_drawn(void *arg, const struct power_drawn *d)
{
    struct power_hour *hour = hour_of(arg, d->from_us);

    hour->use = d->use;
    hour->n_unmetered = d->n_unmetered;
    return 0;
}

/* Of a span: it may have parts of two hours of UTC. */
static int add_use(void *arg, const struct power_drawn *d)
{
    struct reading *x = arg;

    x->hour->use.own += d->use.own;
    x->hour->use.other += d->use.other;
    x->hour->use.lent += d->use.lent;
    x->hour->use.backstop += d->use.backstop;
    x->hour->n_unmetered += d->n_unmetered;
    return 0;
}

static int add_taken(void *arg, const struct taken_entry *t)
{
    hour_of(arg, t->from_us)->use.taken += (power_uj)t->joules * SECOND_US;
    return 0;
}

int power_hours(const char *where, const char *site, int64_t from_us, int64_t until_us,
                struct power_hour **ret, size_t *ret_n, struct err *e)
{
    struct reading x = {.first_us = from_us - from_us % POWER_HOUR_US};
    int64_t n, end_us = until_us + (POWER_HOUR_US - until_us % POWER_HOUR_US) % POWER_HOUR_US;
    const struct power_query q = {.place = site, .from_us = x.first_us, .until_us = end_us};
    int r;

    n = (end_us - x.first_us) / POWER_HOUR_US;
    if (n > POWER_HOURS_MAX)
        return err_set(e, ERR_ARG, "at most ten years at a time");
    n = n > 0 ? n : 0;
    x.hour = calloc((size_t)n + 1, sizeof *x.hour);
    if (!x.hour)
        return err_set(e, ERR_NOMEM, "out of memory");
    for (int64_t i = 0; i < n; i++)
        x.hour[i].from_us = x.first_us + i * POWER_HOUR_US;
    r = n ? power_log_each(where, &q, add_piece, &x, e) : 0;
    if (!r && n)
        r = power_log_drawn(where, site, x.first_us, end_us, add_drawn, &x, e);
    if (!r && n)
        r = taken_log_each(
            where, &(struct taken_query){.site = site, .from_us = x.first_us, .until_us = end_us},
            add_taken, &x, e);
    if (r) {
        free(x.hour);
        return r;
    }
    *ret = x.hour;
    *ret_n = (size_t)n;
    return 0;
}

int power_span(const char *where, const char *site, int64_t from_us, int64_t until_us,
               struct power_hour *ret, struct err *e)
{
    struct reading x = {.hour = ret, .first_us = from_us};
    const struct power_query q = {.place = site, .from_us = from_us, .until_us = until_us};
    int r;

    *ret = (struct power_hour){.from_us = from_us};
    r = power_log_each(where, &q, add_piece, &x, e);
    return r ? r : power_log_drawn(where, site, from_us, until_us, add_use, &x, e);
}

int power_is_region(const char *place)
{
    return !strncmp(place, POWER_REGION, strlen(POWER_REGION));
}

/* ---- parts ----------------------------------------------------------------------------------- */

static const struct {
    const char *name, *key;
    size_t at;
} parts[POWER_PARTS] = {
#define PART(name)                                                                                 \
    {                                                                                              \
#name, #name "_uj", offsetof(struct power_parts, name)                                     \
    }
    PART(energised), PART(used), PART(lent),      PART(backstop),
    PART(sold),      PART(idle), PART(curtailed), PART(encumbered),
#undef PART
};

const char *power_part_name(int i)
{
    return parts[i].name;
}

power_uj power_part(const struct power_parts *p, int i)
{
    return *(const power_uj *)(const void *)((const char *)p + parts[i].at);
}

void power_parts_add(struct power_parts *to, const struct power_parts *p)
{
    to->over += p->over;
    for (int i = 0; i < POWER_PARTS; i++)
        *(power_uj *)(void *)((char *)to + parts[i].at) += power_part(p, i);
}

/* ---- as JSON --------------------------------------------------------------------------------- */

static json_t *uj_json(power_uj v)
{
    char text[POWER_UJ_TEXT_MAX];

    return json_string(power_uj_show(v, text));
}

static json_t *moment(int64_t us)
{
    time_t t = us / SECOND_US;
    struct tm tm = {0};
    char text[32];

    gmtime_r(&t, &tm);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    return json_string(text);
}

json_t *power_hour_json(const char *site, const struct power_hour *hour)
{
    struct power_parts p;
    json_t *causes = json_object(),
           *j = json_pack("{s:s, s:o}", "site", site, "from", moment(hour->from_us));

    power_parts(&hour->sum, &hour->use, &p);
    for (int i = 0; i < POWER_PARTS; i++)
        json_object_set_new(j, parts[i].key, uj_json(power_part(&p, i)));
    for (int c = 0; c < POWER_MEASURED; c++)
        json_object_set_new(causes, power_cause_name((enum power_cause)c),
                            uj_json(hour->sum.lost[c]));
    json_object_set_new(j, "curtailed_by", causes);
    json_object_set_new(j, "contracted_uj", uj_json(hour->sum.contracted));
    json_object_set_new(j, "ready_uj", uj_json(hour->sum.ready));
    json_object_set_new(j, "beyond_uj", uj_json(p.over));
    json_object_set_new(j, "unknown_s",
                        json_real((double)(POWER_HOUR_US - hour->sum.watched_us) / 1e6));
    json_object_set_new(j, "without_energy", json_integer(hour->n_unmetered));
    return j;
}
