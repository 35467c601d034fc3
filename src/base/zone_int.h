/* Shared by zone.c, which reads files and finds days, zone_rule.c and day.c. */
#ifndef BASE_ZONE_INT_H
#define BASE_ZONE_INT_H

#include <stddef.h>
#include <stdint.h>

struct zone;

#define ZONE_DAY_S 86400

/* Days since 1970-01-01, Gregorian, of any year that fits. */
int64_t zone_days(int64_t year, int month, int day);
void zone_date(int64_t days, int64_t *ret_year, int *ret_month, int *ret_day);
int64_t zone_day_of(int64_t local_s); /* the day of a local time: rounded down */

/* When the date of that day (since 1970-01-01) begins: the first moment at midnight, or the end of
 * the gap that midnight lies in. */
int64_t zone_day_start(const struct zone *z, int64_t day);

/* What the clock does each year, as in "CET-1CEST,M3.5.0,M10.5.0/3". */
struct zone_when {
    char kind; /* 'J': day 1..365 without February 29; 'N': 0..365 with; 'M': month.week.weekday */
    int month, week, day;
    int32_t at_s; /* local time of that day; may be negative or beyond it */
};
struct zone_rule {
    int has_summer;
    int32_t std_s, dst_s; /* east of Greenwich */
    struct zone_when start, end;
};

/* The whole of s[0..n) is a rule: 0, or -1. */
int zone_rule_parse(struct zone_rule *ret, const char *s, size_t n);
int32_t zone_rule_offset(const struct zone_rule *r, int64_t t);

#endif
