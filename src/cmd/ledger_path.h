/* Which ledger a command reads. */
#ifndef CMD_LEDGER_PATH_H
#define CMD_LEDGER_PATH_H

#include "base/err.h"

#define LEDGER_PATH_MAX 4096

/* The file that was asked for, or ledger.db in gaufre's home. *ret_is_new: it is the latter, and
 * not there yet. */
int ledger_path(const char *asked, char ret[LEDGER_PATH_MAX], int *ret_is_new, struct err *e);

#endif
