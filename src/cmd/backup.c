/* gaufre backup: what cannot be made again, in one folder: the ledger and the accounts. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "books/books.h"
#include "books/upkeep.h"
#include "cmd/account_opts.h"
#include "cmd/ledger_path.h"
#include "hub/hub.h"

struct backup_opts {
    const char *ledger, *accounts;
};

static const struct opt opts[] = {
    OPT_LEDGER(backup_opts),
    OPT_STR('a', "accounts", "FILE|URL", NULL, backup_opts, accounts,
            "the store of accounts, as in 'gaufre tenant'"),
    OPT_END,
};

static int in_folder(const char *folder, const char *name, char *out, size_t cap, struct err *e)
{
    if (snprintf(out, cap, "%s/%s", folder, name) < (int)cap)
        return 0;
    return err_set(e, ERR_ARG, "%.80s...: too long a name", folder);
}

/* *ret_n counts what was copied, or is copied otherwise. */
static int copy_ledger(const struct backup_opts *o, const char *folder, int *ret_n, struct err *e)
{
    char from[LEDGER_PATH_MAX], to[LEDGER_PATH_MAX];
    int is_new = 0, r = ledger_path(o->ledger, from, &is_new, e);
    int64_t n = 0;

    if (r || is_new)
        return r;
    ++*ret_n;
    if (sql_is_url(from)) {
        cmd_note("the ledger is in PostgreSQL: copy it by pg_dump");
        return 0;
    }
    r = in_folder(folder, "ledger.db", to, sizeof to, e);
    if (!r)
        r = books_backup(from, to, &n, e);
    if (!r)
        cmd_line(stdout, "%s: %lld row%s, audited", to, (long long)n, plural(n));
    return r;
}

/* *ret: is there a store? One that was asked for must be there; that of the home need not. */
static int has_accounts(const struct backup_opts *o, int *ret, int *ret_is_url, struct err *e)
{
    const char *where = o->accounts ? o->accounts : getenv("GAUFRE_ACCOUNTS");
    char path[LEDGER_PATH_MAX];
    struct hub *h = NULL;
    int r = 0;

    *ret_is_url = where && sql_is_url(where);
    *ret = where && *where;
    if (*ret && !*ret_is_url && access(where, F_OK))
        return err_set(e, ERR_NOTFOUND, "%s: %s", where, strerror(errno));
    if (*ret)
        return 0;
    r = hub_open(&h, e);
    if (!r)
        r = in_folder(hub_home(h), ACCOUNTS_FILE, path, sizeof path, e);
    hub_close(h);
    *ret = !r && !access(path, F_OK);
    return r;
}

static int copy_accounts(const struct backup_opts *o, const char *folder, int *ret_n, struct err *e)
{
    const struct account_opts where = {.accounts = o->accounts};
    struct accounts *a = NULL;
    char to[LEDGER_PATH_MAX];
    int is_there = 0, is_url = 0, r = has_accounts(o, &is_there, &is_url, e);
    int64_t n = 0;

    if (r || !is_there)
        return r;
    ++*ret_n;
    if (is_url) {
        cmd_note("the accounts are in PostgreSQL: copy them by pg_dump");
        return 0;
    }
    r = account_store(&where, &a, e);
    if (!r)
        r = in_folder(folder, ACCOUNTS_FILE, to, sizeof to, e);
    if (!r)
        r = accounts_backup(a, to, &n, e);
    accounts_close(a);
    if (!r)
        cmd_line(stdout, "%s: %lld change%s, checked", to, (long long)n, plural(n));
    return r;
}

/* The names in the folder survive the power. */
static int sync_folder(const char *folder, struct err *e)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;

    if (fd < 0 || fsync(fd))
        r = err_set(e, ERR_IO, "%s: %s", folder, strerror(errno));
    if (fd >= 0)
        close(fd);
    return r;
}

static int run(const struct cmd *cmd, void *opts_, int argc, char **argv)
{
    const struct backup_opts *o = opts_;
    struct err e = {0};
    int n = 0, r = 0;

    if (mkdir(argv[0], 0700))
        r = err_set(&e, errno == EEXIST ? ERR_EXISTS : ERR_IO, "%s: %s", argv[0], strerror(errno));
    /* The ledger first: whoever is in it is in the accounts that are copied after it. */
    if (!r)
        r = copy_ledger(o, argv[0], &n, &e);
    if (!r)
        r = copy_accounts(o, argv[0], &n, &e);
    if (!r && !n)
        r = err_set(&e, ERR_NOTFOUND, "there is no ledger and there are no accounts to copy");
    if (!r)
        r = sync_folder(argv[0], &e);
    if (r && r != ERR_EXISTS)
        rmdir(argv[0]); /* where nothing is in it */
    return r ? cmd_fail(cmd, &e) : CMD_OK;
}

const struct cmd cmd_backup = {
    .name = "backup",
    .help = "Copy ledger and accounts into a new folder, while a server goes on",
    .args = "FOLDER",
    .about =
        "Each is copied as it is at one moment, the ledger first, so that it names nobody who is "
        "not in\n"
        "the accounts; and each copy is audited before it has its name. To restore: stop the "
        "server,\n"
        "remove ledger.db* and accounts.db* of its home, copy the folder's files there, start it.\n"
        "Models are not copied (gaufre pull), nor the configuration. What is in PostgreSQL is "
        "copied\n"
        "by pg_dump.",
    .opts = opts,
    .opts_size = sizeof(struct backup_opts),
    .n_args_min = 1,
    .n_args_max = 1,
    .complete = CMD_COMPLETE_FILE,
    .run = run,
};
