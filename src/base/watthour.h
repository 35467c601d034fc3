/* Amounts of energy as integers: microjoules, written in watt-hours. An int64_t holds 2,562 MWh.
 * Pure functions. */
#ifndef BASE_WATTHOUR_H
#define BASE_WATTHOUR_H

#include <stdint.h>

#include "base/err.h"

#define WATTHOUR_UJ       INT64_C(3600000000) /* of one */
#define WATTHOUR_UJ_LEAST INT64_C(3600)       /* a millionth of one */
#define WATTHOUR_UJ_MAX   (100000000 * WATTHOUR_UJ)
#define WATTHOUR_TEXT_MAX 32

/* "500Wh", "1.5kWh": from a millionth of a watt-hour to 100 MWh, and 0. ERR_ARG with a sentence
 * that has the text. */
int watthour_parse(const char *text, int64_t *ret_uj, struct err *e);
/* "500.0", in watt-hours, to the nearest millionth; returns out. */
char *watthour_show(int64_t uj, char out[WATTHOUR_TEXT_MAX]);

#endif
