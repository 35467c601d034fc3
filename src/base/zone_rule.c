/* The calendar, and the rules of POSIX's TZ by which clocks change each year. */
#include "base/zone_int.h"

#include <string.h>

/* ---- calendar: years begin in March here, so that the leap day is their last ------------------
 */

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

int64_t zone_day_of(int64_t local_s)
{
    return floor_div(local_s, ZONE_DAY_S);
}

int64_t zone_days(int64_t year, int month, int day)
{
    int64_t y = month > 2 ? year : year - 1, era = floor_div(y, 400);
    int64_t of_era = y - era * 400, of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5;

    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year + day - 1 - 719468;
}

void zone_date(int64_t days, int64_t *ret_year, int *ret_month, int *ret_day)
{
    int64_t z = days + 719468, era = floor_div(z, 146097), of_era = z - era * 146097;
    int64_t y = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * y + y / 4 - y / 100), m = (5 * of_year + 2) / 153;

    *ret_day = (int)(of_year - (153 * m + 2) / 5) + 1;
    *ret_month = (int)(m < 10 ? m + 3 : m - 9);
    *ret_year = era * 400 + y + (*ret_month <= 2);
}

/* ---- reading --------------------------------------------------------------------------------- */

struct text {
    const char *s, *end;
    int failed;
};

static int peek(const struct text *t)
{
    return t->s < t->end ? (unsigned char)*t->s : 0;
}

static int take(struct text *t, int c)
{
    if (peek(t) != c)
        return 0;
    t->s++;
    return 1;
}

static int number(struct text *t, int max)
{
    int n = 0, n_digits = 0;

    while (peek(t) >= '0' && peek(t) <= '9' && n <= max) {
        n = n * 10 + (*t->s++ - '0');
        n_digits++;
    }
    if (!n_digits || n > max)
        t->failed = 1;
    return n;
}

/* [+-]hh[:mm[:ss]] */
static int32_t clock_time(struct text *t, int hours_max)
{
    int sign = take(t, '-') ? -1 : 1;
    int32_t s;

    if (sign > 0)
        take(t, '+');
    s = number(t, hours_max) * 3600;
    if (take(t, ':'))
        s += number(t, 59) * 60;
    if (take(t, ':'))
        s += number(t, 59);
    return sign * s;
}

/* A name: three letters or more, or anything in <>. */
static void name(struct text *t)
{
    const char *s = t->s;

    if (take(t, '<')) {
        while (peek(t) && peek(t) != '>')
            t->s++;
        if (!take(t, '>'))
            t->failed = 1;
        return;
    }
    while ((peek(t) | 32) >= 'a' && (peek(t) | 32) <= 'z')
        t->s++;
    if (t->s - s < 3)
        t->failed = 1;
}

static void when(struct text *t, struct zone_when *ret)
{
    *ret = (struct zone_when){.kind = 'N', .at_s = 2 * 3600};
    if (!take(t, ','))
        t->failed = 1;
    if (take(t, 'M')) {
        ret->kind = 'M';
        ret->month = number(t, 12);
        t->failed |= !take(t, '.');
        ret->week = number(t, 5);
        t->failed |= !take(t, '.');
        ret->day = number(t, 6);
        t->failed |= !ret->month || !ret->week;
    } else if (take(t, 'J')) {
        ret->kind = 'J';
        ret->day = number(t, 365);
        t->failed |= !ret->day;
    } else {
        ret->day = number(t, 365);
    }
    if (take(t, '/'))
        ret->at_s = clock_time(t, 167);
}

int zone_rule_parse(struct zone_rule *ret, const char *s, size_t n)
{
    struct text t = {s, s + n, 0};

    *ret = (struct zone_rule){0};
    name(&t);
    ret->std_s = ret->dst_s = -clock_time(&t, 24);
    if (!t.failed && t.s < t.end) {
        ret->has_summer = 1;
        name(&t);
        ret->dst_s = peek(&t) == ',' ? ret->std_s + 3600 : -clock_time(&t, 24);
        when(&t, &ret->start);
        when(&t, &ret->end);
    }
    return t.failed || t.s != t.end ? -1 : 0;
}

/* ---- using ----------------------------------------------------------------------------------- */

static int64_t day_in(const struct zone_when *w, int64_t year)
{
    int64_t first = zone_days(year, w->kind == 'M' ? w->month : 1, 1), day, next;
    int is_leap = zone_days(year, 3, 1) - zone_days(year, 2, 1) == 29;

    if (w->kind == 'N')
        return first + w->day;
    if (w->kind == 'J')
        return first + w->day - 1 + (is_leap && w->day >= 60);
    day = first + (w->day - ((first + 4) % 7 + 7) % 7 + 7) % 7 +
          7 * (w->week - 1); /* 1970 began on day 4 */
    next = w->month == 12 ? zone_days(year + 1, 1, 1) : zone_days(year, w->month + 1, 1);
    return day < next ? day : day - 7; /* the fifth is the last */
}

int32_t zone_rule_offset(const struct zone_rule *r, int64_t t)
{
    int64_t year, start, end;
    int month, day, summer;

    if (!r->has_summer)
        return r->std_s;
    zone_date(zone_day_of(t + r->std_s), &year, &month, &day);
    start = day_in(&r->start, year) * ZONE_DAY_S + r->start.at_s - r->std_s;
    end = day_in(&r->end, year) * ZONE_DAY_S + r->end.at_s - r->dst_s;
    summer = start < end ? t >= start && t < end : !(t >= end && t < start);
    return summer ? r->dst_s : r->std_s;
}
