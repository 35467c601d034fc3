#include "cmd/day_span.h"

#include <stddef.h>

#include "base/day.h"

const char *day_read_span(const char *from, const char *to, int64_t *ret_from_s, int64_t *ret_to_s)
{
    *ret_from_s = *ret_to_s = 0;
    if ((from && day_read(from, NULL, ret_from_s)) || (to && day_read(to, NULL, ret_to_s)))
        return "--from and --to want a day: 2026-12-01";
    if (from && to && *ret_to_s <= *ret_from_s)
        return "--to is the day after the last one, so it is later than --from";
    return NULL;
}
