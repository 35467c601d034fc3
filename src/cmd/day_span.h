/* The days from which and until which a command looks. Pure. */
#ifndef CMD_DAY_SPAN_H
#define CMD_DAY_SPAN_H

#include <stdint.h>

/* [--from, --to) in unix seconds, days of UTC; where NULL is any time (0). NULL, or a sentence that
 * says what is wrong. */
const char *day_read_span(const char *from, const char *to, int64_t *ret_from_s, int64_t *ret_to_s);

#endif
