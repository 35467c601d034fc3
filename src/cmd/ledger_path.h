/* Which ledger, and which request log, a command reads. */
#ifndef CMD_LEDGER_PATH_H
#define CMD_LEDGER_PATH_H

#include "base/err.h"
#include "cmd/opt.h"

#define LEDGER_PATH_MAX 4096

#define OPT_LEDGER(s)                                                                              \
    {                                                                                              \
        OPT_KIND_FILE, 'l', "ledger", "FILE|URL", NULL, 0, 0, offsetof(struct s, ledger),          \
            "the ledger (default: $GAUFRE_LEDGER, or ledger.db in gaufre's home)"                  \
    }

/* The file or PostgreSQL URL that was asked for, or $GAUFRE_LEDGER's, or ledger.db in gaufre's
 * home. *ret_is_new: it is the last, and not there yet. */
int ledger_path(const char *asked, char ret[LEDGER_PATH_MAX], int *ret_is_new, struct err *e);

/* Likewise of the request log: $GAUFRE_REQUEST_LOG, REQUEST_LOG_FILE. */
#define REQUEST_LOG_FILE "requests.db"
int request_log_path(const char *asked, char ret[LEDGER_PATH_MAX], int *ret_is_new, struct err *e);

/* What signs the log of answers, in gaufre's home. */
#define RECEIPT_KEY_FILE "receipts.key"

#endif
