#include "base/money.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* One digit more; -1: it would be too much. */
static int add_digit(int64_t *n, int digit)
{
    return __builtin_mul_overflow(*n, 10, n) || __builtin_add_overflow(*n, digit, n) ? -1 : 0;
}

int money_parse(const char *text, int64_t *ret_nano, struct err *e)
{
    const char *p = text + (*text == '-');
    int64_t n = 0;
    int decimals = -1, digits = 0, bad = 0;

    for (; *p && !bad; p++) {
        if (*p == '.' && decimals < 0 && digits) {
            decimals = 0;
            continue;
        }
        bad = *p < '0' || *p > '9' || decimals == 9 || add_digit(&n, *p - '0');
        decimals += decimals >= 0;
        digits++;
    }
    bad |= !digits || !decimals;
    for (int i = decimals > 0 ? decimals : 0; i < 9 && !bad; i++)
        bad = add_digit(&n, 0);
    if (bad)
        return err_set(
            e, ERR_ARG,
            "'%.40s' is no amount: write 12.50, with at most nine digits behind the point", text);
    *ret_nano = *text == '-' ? -n : n;
    return 0;
}

static char *show(money_sum nano, char *out, size_t cap)
{
    char text[MONEY_SUM_TEXT_MAX], *end = text + sizeof text - 1, *p = end;
    money_sum n = nano < 0 ? -nano : nano;

    for (int i = 0; n || i < 10; i++, n /= 10) {
        if (i == 9)
            *--p = '.';
        *--p = (char)('0' + (int)(n % 10));
    }
    *end = 0;
    while (end[-1] == '0' && end[-3] != '.')
        *--end = 0;
    snprintf(out, cap, "%s%s", nano < 0 ? "-" : "", p);
    return out;
}

char *money_show(int64_t nano, char out[MONEY_TEXT_MAX])
{
    return show(nano, out, MONEY_TEXT_MAX);
}

char *money_show_sum(money_sum nano, char out[MONEY_SUM_TEXT_MAX])
{
    return show(nano, out, MONEY_SUM_TEXT_MAX);
}

int money_is_currency(const char *s)
{
    return strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == 3 && !s[3];
}
