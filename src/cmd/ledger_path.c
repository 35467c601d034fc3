#include "cmd/ledger_path.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "hub/hub.h"

int ledger_path(const char *asked, char ret[LEDGER_PATH_MAX], int *ret_is_new, struct err *e)
{
    struct hub *h = NULL;
    int r;

    if (!asked || !*asked)
        asked = getenv("GAUFRE_LEDGER");
    if (asked && !*asked)
        asked = NULL;
    r = asked ? 0 : hub_open(&h, e);
    if (!r && snprintf(ret, LEDGER_PATH_MAX, "%s%s", asked ? asked : hub_home(h),
                       asked ? "" : "/ledger.db") >= LEDGER_PATH_MAX)
        r = err_set(e, ERR_ARG, "the ledger has too long a name");
    if (!r)
        *ret_is_new = !asked && access(ret, F_OK) && errno == ENOENT;
    hub_close(h);
    return r;
}
