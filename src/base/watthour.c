#include "base/watthour.h"

#include <string.h>

#include "base/money.h"
#include "base/put.h"

#define NANO_MAX (100000000 * MONEY_NANO) /* of a watt-hour */

int watthour_parse(const char *text, int64_t *ret_uj, struct err *e)
{
    size_t n = strlen(text), n_unit = n > 3 && !strcmp(text + n - 3, "kWh") ? 3 : 2;
    int64_t nano = -1, least = n_unit == 3 ? 1 : 1000; /* of the unit, a millionth of a Wh */
    char number[MONEY_TEXT_MAX];
    struct err why;

    if (n > n_unit && n - n_unit < sizeof number && !strcmp(text + n - 2, "Wh")) {
        memcpy(number, text, n - n_unit);
        number[n - n_unit] = 0;
        if (money_parse(number, &nano, &why))
            nano = -1;
    }
    if (nano < 0 || nano % least || nano / least > NANO_MAX / 1000)
        return err_set(e, ERR_ARG,
                       "'%.40s' is no amount of energy like 500Wh or 1.5kWh, to the millionth of a "
                       "watt-hour and up to 100000kWh",
                       text);
    *ret_uj = nano / least * WATTHOUR_UJ_LEAST;
    return 0;
}

char *watthour_show(int64_t uj, char out[WATTHOUR_TEXT_MAX])
{
    int64_t half = uj < 0 ? -WATTHOUR_UJ_LEAST / 2 : WATTHOUR_UJ_LEAST / 2;
    int64_t millionths =
        uj / WATTHOUR_UJ_LEAST + (uj % WATTHOUR_UJ_LEAST + half) / WATTHOUR_UJ_LEAST;

    put_decimal(millionths, 6, out);
    return out;
}
