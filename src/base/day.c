#include "base/day.h"

#include <stdio.h>
#include <string.h>

#include "base/zone_int.h"

/* n digits; -1: others. */
static int digits(const char *s, int n)
{
    int v = 0;

    for (int i = 0; i < n; i++) {
        if (s[i] < '0' || s[i] > '9')
            return -1;
        v = 10 * v + (s[i] - '0');
    }
    return v;
}

int day_read(const char *text, const struct zone *z, int64_t *ret_s)
{
    int year, month, day, same_month, same_day;
    int64_t days, same_year;

    if (strlen(text) != 10 || text[4] != '-' || text[7] != '-')
        return -1;
    year = digits(text, 4);
    month = digits(text + 5, 2);
    day = digits(text + 8, 2);
    if (year < 0 || month < 1 || month > 12 || day < 1)
        return -1;
    days = zone_days(year, month, day);
    zone_date(days, &same_year, &same_month, &same_day);
    if (same_month != month || same_day != day)
        return -1;
    *ret_s = zone_day_start(z, days);
    return 0;
}

int day_read_moment(const char *text, const struct zone *z, int64_t *ret_s)
{
    int hour, minute, second;
    char day[11];

    if (strlen(text) != 20)
        return day_read(text, z, ret_s);
    memcpy(day, text, 10);
    day[10] = 0;
    hour = digits(text + 11, 2);
    minute = digits(text + 14, 2);
    second = digits(text + 17, 2);
    if (text[10] != 'T' || text[13] != ':' || text[16] != ':' || text[19] != 'Z' || hour < 0 ||
        hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59 ||
        day_read(day, NULL, ret_s))
        return -1;
    *ret_s += hour * 3600 + minute * 60 + second;
    return 0;
}

char *day_show(int64_t t, const struct zone *z, char out[DAY_TEXT_MAX])
{
    int64_t year;
    int month, day;

    zone_date(zone_day_of(t + zone_offset(z, t)), &year, &month, &day);
    snprintf(out, DAY_TEXT_MAX, "%04lld-%02d-%02d", (long long)year, month, day);
    return out;
}

char *day_show_moment(int64_t t, const struct zone *z, char out[DAY_TEXT_MAX])
{
    int64_t from, until, second;
    size_t n;

    zone_window(z, ZONE_DAY, t, &from, &until);
    if (from == t)
        return day_show(t, z, out);
    second = ((t % 86400) + 86400) % 86400;
    n = strlen(day_show(t, NULL, out));
    snprintf(out + n, DAY_TEXT_MAX - n, "T%02d:%02d:%02dZ", (int)(second / 3600),
             (int)(second / 60 % 60), (int)(second % 60));
    return out;
}
