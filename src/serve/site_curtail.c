#include "serve/site_curtail.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/day.h"
#include "base/money.h"
#include "policy/derate.h"
#include "serve/site_dates.h"

#define ALL_DAYS    0x7fU
#define MINUTES_MAX (24 * 60)
#define PRICE_MAX   INT64_C(100000000000000) /* a hundred thousand units for a MWh */

/* An element of `curtailment`. */
struct told_schedule {
    const char *hours, *from, *target_mw, *target_share;
    struct config_strs days;
    int64_t lasts, ramp; /* ms; -1: not said */
};

#define AT(f) offsetof(struct told_schedule, f)
const struct config_setting serve_curtail_settings[] = {
    {"hours", CONFIG_STR, AT(hours), NULL, 0, 0, "HH:MM-HH:MM",
     "of the days by the clock of the site's time zone, 22:00-06:00 over midnight"},
    {"days", CONFIG_STRS, AT(days), NULL, 0, 0, "DAYS", "mon to sun: on these days only"},
    {"from", CONFIG_STR, AT(from), NULL, 0, 0, "MOMENT",
     "or once from then on: 2026-12-01T18:00:00Z"},
    {"for", CONFIG_TIME, AT(lasts), NULL, 1000, 2678400000.0, "TIME", "so long"},
    {"target_mw", CONFIG_STR, AT(target_mw), NULL, 0, 0, "MW",
     "what may be used at most, by the site's power_basis"},
    {"target_share", CONFIG_STR, AT(target_share), NULL, 0, 0, "SHARE",
     "or the part of the energised megawatts, 0 to 1"},
    {"ramp", CONFIG_TIME, AT(ramp), NULL, 0, 3600000, "TIME",
     "how long it goes down, and up again; without it the site's"},
    {0},
};

/* "07:30" as minutes, "24:00" too; -1. */
static int clock_read(const char *s)
{
    int hour, minute;

    for (int i = 0; i < 5; i++) {
        if (i == 2 ? s[i] != ':' : s[i] < '0' || s[i] > '9')
            return -1;
    }
    hour = (s[0] - '0') * 10 + s[1] - '0';
    minute = (s[3] - '0') * 10 + s[4] - '0';
    return minute > 59 || hour * 60 + minute > MINUTES_MAX ? -1 : hour * 60 + minute;
}

static int read_hours(const char *text, struct site_schedule *s)
{
    int from, until;

    if (strlen(text) != 11 || text[5] != '-')
        return -1;
    from = clock_read(text);
    until = clock_read(text + 6);
    if (from < 0 || until < 0 || from == MINUTES_MAX || from == until)
        return -1;
    s->from_minute = from;
    s->n_minutes = until - from + (until < from ? MINUTES_MAX : 0);
    return 0;
}

static int read_days(const struct config_strs *days, unsigned *ret)
{
    static const char *const names[] = {"mon", "tue", "wed", "thu", "fri", "sat", "sun"};

    *ret = days->n ? 0 : ALL_DAYS;
    for (int i = 0; i < days->n; i++) {
        size_t k = 0;
        while (k < ARRAY_LEN(names) && strcmp(names[k], days->v[i]) != 0)
            k++;
        if (k == ARRAY_LEN(names))
            return -1;
        *ret |= 1U << k;
    }
    return 0;
}

static int read_time(const struct site_list_reading *r, struct config_node *map,
                     const struct told_schedule *told, struct site_schedule *s, struct err *e)
{
    if (!told->hours == !told->from)
        return site_fault(r, map, "from", "curtailment: hours, or from and for: one of them", e);
    if (told->hours) {
        if (told->lasts >= 0)
            return site_fault(r, map, "for", "for: hours say how long", e);
        if (read_hours(told->hours, s))
            return site_fault(r, map, "hours", "hours: wants two times of a day: 17:00-19:30", e);
        return read_days(&told->days, &s->days)
                   ? site_fault(r, map, "days",
                                "days: wants words of mon, tue, wed, thu, fri, sat, sun", e)
                   : 0;
    }
    if (told->days.n)
        return site_fault(r, map, "days", "days: goes with hours", e);
    if (told->lasts < 0)
        return site_fault(r, map, "for", "for: is missing: how long it lasts", e);
    if (day_read_moment(told->from, r->p->zone, &s->from_s))
        return site_fault(r, map, "from", "from: is no date: write 2026-12-01T18:00:00Z", e);
    s->until_s = s->from_s + (told->lasts + 999) / 1000;
    return 0;
}

static int read_target(const struct site_list_reading *r, struct config_node *map,
                       const struct told_schedule *told, struct site_schedule *s, struct err *e)
{
    struct err why = {0};

    s->target = (struct site_target){-1, 0};
    if (!told->target_mw == !told->target_share)
        return site_fault(r, map, "target_mw",
                          "curtailment: target_mw or target_share: one of them", e);
    if (told->target_share)
        return site_factor_parse(told->target_share, &s->target.ppm, &why)
                   ? site_fault(r, map, "target_share", why.text, e)
                   : 0;
    if (site_watts_read("target_mw", told->target_mw, &s->target.watts, &why))
        return site_fault(r, map, "target_mw", why.text, e);
    for (int i = 0; i < r->p->terms.n_power; i++) {
        if (r->p->terms.power[i].energised_w != POWER_UNKNOWN)
            return 0;
    }
    return site_fault(r, map, "target_mw",
                      "target_mw: it is not said how many are energised: give target_share", e);
}

static int read_schedule(const struct site_list_reading *r, struct config_node *map,
                         struct site_schedule *ret, struct err *e)
{
    struct told_schedule told = {.lasts = -1, .ramp = -1};
    int code;

    if (!config_is_map(map))
        return config_err(r->d, map, e, "curtailment: wants maps with hours or from, and a target");
    code = config_read(r->d, map, serve_curtail_settings, &told, &r->c->arena, NULL, NULL, e);
    if (!code)
        code = read_time(r, map, &told, ret, e);
    if (!code)
        code = read_target(r, map, &told, ret, e);
    ret->ramp_us = told.ramp < 0 ? r->p->terms.curtail.ramp_us : told.ramp * 1000;
    return code;
}

int site_schedules_read(struct serve_config *c, struct config_doc *d, struct serve_site *p,
                        struct config_node *list, struct err *e)
{
    const struct site_list_reading r = {c, d, p};
    struct site_schedule *rows;
    int n = 0, code;

    if (!config_is_seq(list))
        return config_err(d, list, e, "curtailment: wants a list");
    rows = arena_zalloc(&c->arena, SITE_SCHEDULES_MAX * sizeof *rows);
    if (!rows)
        return err_set(e, ERR_NOMEM, "out of memory");
    for (struct config_node *v = config_first(list); v; v = config_next(v)) {
        if (n == SITE_SCHEDULES_MAX)
            return config_err(d, v, e, "curtailment: more than %d", SITE_SCHEDULES_MAX);
        code = read_schedule(&r, v, &rows[n++], e);
        if (code)
            return code;
    }
    p->terms.curtail.schedule = rows;
    p->terms.curtail.n_schedules = n;
    return 0;
}

static int read_price(const char *key, const char *text, int64_t *ret, struct err *e)
{
    *ret = -1;
    if (!text)
        return 0;
    if (money_parse(text, ret, e) || *ret < 0 || *ret > PRICE_MAX)
        return err_set(e, ERR_ARG, "%s: '%.40s' is no price from 0 to 100000", key, text);
    return 0;
}

int site_curtail_read(struct serve_site *p, struct err *e)
{
    struct site_curtail_terms *t = &p->terms.curtail;

    t->ramp_us = p->curtailment_ramp * 1000;
    t->notice_s = p->curtailment_notice / 1000;
    t->calls_a_year = p->curtailment_calls_a_year;
    t->baseline = (enum curtail_baseline)p->curtailment_baseline;
    t->baseline_days = (int)p->curtailment_baseline_days;
    if (read_price("curtailment_credit", p->curtailment_credit, &t->credit, e) ||
        read_price("curtailment_clawback", p->curtailment_clawback, &t->clawback, e))
        return e->code;
    return 0;
}
