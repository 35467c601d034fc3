/* gaufre audit: is the ledger what was written, and do its balances add up? */
#include <stdio.h>

#include "books/books.h"
#include "cmd/cmd.h"
#include "cmd/ledger_path.h"

struct audit_opts {
    const char *ledger;
};

static const struct opt opts[] = {
    OPT_FILE('l', "ledger", NULL, audit_opts, ledger,
             "the file (default: ledger.db in gaufre's home)"),
    OPT_END,
};

static int run(const struct cmd *cmd, void *opts_, int argc, char **argv)
{
    const struct audit_opts *o = opts_;
    char path[LEDGER_PATH_MAX];
    struct err e = {0};
    int64_t n = 0;
    int is_new = 0;

    if (ledger_path(o->ledger, path, &is_new, &e) || (!is_new && books_audit(path, &n, &e)))
        return cmd_fail(cmd, &e);
    printf("%lld row%s: every one as it was written, every balance the sum of its rows\n",
           (long long)n, plural(n));
    return CMD_OK;
}

const struct cmd cmd_audit = {
    .name = "audit",
    .help = "Compute every balance of the ledger anew from its rows",
    .about =
        "Each row carries a hash of itself and all before it, so that a row that was changed or\n"
        "taken out is found. The first that differs is named, and the exit code is 1. A server\n"
        "may write meanwhile.",
    .opts = opts,
    .opts_size = sizeof(struct audit_opts),
    .n_args_min = 0,
    .n_args_max = 0,
    .run = run,
};
