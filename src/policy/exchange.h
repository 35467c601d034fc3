/* What an amount of one currency is in another, by rates with dates. Pure: a list of rates in, an
 * amount out. All rates of a list are into one currency, that of the cloud. */
#ifndef POLICY_EXCHANGE_H
#define POLICY_EXCHANGE_H

#include <stdint.h>

struct exchange {
    char from[4];      /* the currency that is converted */
    int64_t rate_nano; /* what one unit of it is worth, in nano-units of the other; > 0 */
    int64_t since_s;   /* unix seconds; holds until a later one of the same currency */
};

/* The amount (>= 0, nano-units) in the other currency, to the nearest nano-unit, a half of one
 * upwards; at most INT64_MAX. -1: there is no rate yet, which is not the same as nothing. */
int64_t exchange_amount(const struct exchange *list, int n, const char *from, int64_t amount,
                        int64_t now_s);

#endif
