/* Days as they are written on the command line: 2026-12-01, UTC. Pure. */
#ifndef CMD_DAY_H
#define CMD_DAY_H

#include <stdint.h>

/* When that day begins, in unix seconds. 0; -1: it is no day. */
int day_read(const char *text, int64_t *ret_s);
/* [--from, --to), where NULL is any time (0). NULL, or a sentence that says what is wrong. */
const char *day_read_span(const char *from, const char *to, int64_t *ret_from_s, int64_t *ret_to_s);

#endif
