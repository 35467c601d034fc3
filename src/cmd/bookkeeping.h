/* What the verbs of 'gaufre ledger' share. */
#ifndef CMD_BOOKKEEPING_H
#define CMD_BOOKKEEPING_H

#include "cmd/cmd.h"

struct ledger_opts {
    const char *ledger, *tenant, *supplier, *from, *to, *charge, *cost, *owed, *before;
    struct opt_strs names;
    int json, all, also_pending;
    int64_t from_s, until_s; /* of --from and --to; 0: any */
};

/* Verbs with a file of their own; they return an exit code. */
int ledger_reconcile(const struct cmd *cmd, const struct ledger_opts *o, const char *path,
                     const char *file);

#endif
