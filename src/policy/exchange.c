#include "policy/exchange.h"

#include <string.h>

#define NANO 1000000000

__extension__ typedef __int128 wide;

int64_t exchange_amount(const struct exchange *list, int n, const char *from, int64_t amount,
                        int64_t now_s)
{
    const struct exchange *best = NULL;
    wide sum;

    for (int i = 0; i < n; i++) {
        if (!strcmp(list[i].from, from) && list[i].since_s <= now_s &&
            (!best || list[i].since_s >= best->since_s))
            best = &list[i];
    }
    if (!best)
        return -1;
    sum = ((wide)amount * best->rate_nano + NANO / 2) / NANO;
    return sum > INT64_MAX ? INT64_MAX : (int64_t)sum;
}
