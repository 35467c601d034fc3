/* The admin API's hours of power: what the power of sites became, from the ledger. Runs on prep
 * threads, as it waits for a database. */
#include "base/clock.h"
#include "cloud/power_view.h"
#include "serve/server.h"

#define DAY_S 86400

int call_admin_power(struct call *c, struct err *e)
{
    const char *ledger = c->s->config->ledger;
    int64_t now_s = clock_wall_us() / 1000000 + 1, until_s = now_s, from_s = INT64_MIN;
    char text[ACCOUNT_ID_MAX];
    const char *site = NULL;
    json_t *list = NULL;
    int r;

    if (!*ledger || !strcmp(ledger, "off"))
        return err_set(e, ERR_UNSUPPORTED, "This server keeps no ledger.");
    r = call_admin_text(c, "site", text, sizeof text, &site, e);
    if (!r)
        r = call_admin_day(c, "from", &from_s, e);
    if (!r)
        r = call_admin_day(c, "to", &until_s, e);
    until_s = until_s < now_s ? until_s : now_s;
    if (from_s == INT64_MIN)
        from_s = until_s - DAY_S;
    if (!r)
        r = power_view(ledger, site, from_s, until_s, &list, e);
    return r ? r
             : call_admin_answer(c, 200, json_pack("{s:s, s:o}", "object", "list", "data", list),
                                 e);
}
