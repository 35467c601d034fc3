#include "cmd/day.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

int day_read(const char *text, int64_t *ret_s)
{
    struct tm tm = {0};
    const char *end = strptime(text, "%Y-%m-%d", &tm);
    char again[16];
    time_t s;

    if (!end || *end || strlen(text) != 10)
        return -1;
    s = timegm(&tm);
    if (!strftime(again, sizeof again, "%Y-%m-%d", &tm) || strcmp(again, text) != 0)
        return -1; /* 2026-02-30, 26-1-1 */
    *ret_s = (int64_t)s;
    return 0;
}

const char *day_read_span(const char *from, const char *to, int64_t *ret_from_s, int64_t *ret_to_s)
{
    *ret_from_s = *ret_to_s = 0;
    if ((from && day_read(from, ret_from_s)) || (to && day_read(to, ret_to_s)))
        return "--from and --to want a day: 2026-12-01";
    if (from && to && *ret_to_s <= *ret_from_s)
        return "--to is the day after the last one, so it is later than --from";
    return NULL;
}
