/* Amounts of money as integers: nano-units (10^-9) of a currency with three letters. An int64_t
 * holds nine billion units. Pure functions. */
#ifndef BASE_MONEY_H
#define BASE_MONEY_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define MONEY_NANO     INT64_C(1000000000) /* of one unit */
#define MONEY_TEXT_MAX 32

/* "0.10", "-3", "12.000000001": digits with at most nine behind the point. ERR_ARG with a sentence
 * that has the text. */
int money_parse(const char *text, int64_t *ret_nano, struct err *e);
/* The shortest text with at least two digits behind the point: "0.10", "-3.00", "0.000000001". */
char *money_show(int64_t nano, char out[MONEY_TEXT_MAX]); /* returns out */
/* The same of a sum that may pass what an int64_t holds: of a contract's years. */
__extension__ typedef __int128 money_sum;
#define MONEY_SUM_TEXT_MAX 48
char *money_show_sum(money_sum nano, char out[MONEY_SUM_TEXT_MAX]);
/* Three capital letters, as ISO 4217 has them? */
int money_is_currency(const char *s);

#endif
