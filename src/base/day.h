/* Days as people write them: 2026-12-01. Pure. */
#ifndef BASE_DAY_H
#define BASE_DAY_H

#include <stdint.h>

#include "base/zone.h"

/* When that day of the zone begins, in unix seconds (NULL: UTC). 0; -1: it is no day, or one that
 * does not exist: 2026-02-30. */
int day_read(const char *text, const struct zone *z, int64_t *ret_s);

/* The same, or a moment: 2026-12-01T18:00:00Z. */
int day_read_moment(const char *text, const struct zone *z, int64_t *ret_s);

#define DAY_TEXT_MAX 32
char *day_show(int64_t t, const struct zone *z, char out[DAY_TEXT_MAX]); /* returns out */
/* As day_read_moment reads it: a day of the zone where t is its first moment, or else a moment. */
char *day_show_moment(int64_t t, const struct zone *z, char out[DAY_TEXT_MAX]);

#endif
