#include "cmd/ledger_path.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "hub/hub.h"

/* In the variable, else the file of that name in gaufre's home. */
static int find(const char *asked, const char *variable, const char *file,
                char ret[LEDGER_PATH_MAX], int *ret_is_new, struct err *e)
{
    struct hub *h = NULL;
    int r;

    if (!asked || !*asked)
        asked = getenv(variable);
    if (asked && !*asked)
        asked = NULL;
    r = asked ? 0 : hub_open(&h, e);
    if (!r && snprintf(ret, LEDGER_PATH_MAX, "%s%s%s", asked ? asked : hub_home(h),
                       asked ? "" : "/", asked ? "" : file) >= LEDGER_PATH_MAX)
        r = err_set(e, ERR_ARG, "the name in %s is too long", variable);
    if (!r)
        *ret_is_new = !asked && access(ret, F_OK) && errno == ENOENT;
    hub_close(h);
    return r;
}

int ledger_path(const char *asked, char ret[LEDGER_PATH_MAX], int *ret_is_new, struct err *e)
{
    return find(asked, "GAUFRE_LEDGER", "ledger.db", ret, ret_is_new, e);
}

int request_log_path(const char *asked, char ret[LEDGER_PATH_MAX], int *ret_is_new, struct err *e)
{
    return find(asked, "GAUFRE_REQUEST_LOG", REQUEST_LOG_FILE, ret, ret_is_new, e);
}
