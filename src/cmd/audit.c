/* gaufre audit: is the ledger what was written, and do its balances add up? Who changed which
 * account? */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "books/books.h"
#include "cloud/accounts_json.h"
#include "cmd/account_opts.h"
#include "cmd/ledger_path.h"
#include "cmd/stated.h"
#include "hub/hub.h"

struct audit_opts {
    const char *ledger, *accounts;
    const char *statement;
    int changes, json;
};

static const struct opt opts[] = {
    OPT_LEDGER(audit_opts),
    OPT_FLAG(0, "changes", audit_opts, changes,
             "show who changed which tenant, team or key, and check that log instead"),
    OPT_FILE(0, "statement", NULL, audit_opts, statement,
             "make this statement ('gaufre contract statement --json') again, and compare"),
    OPT_FLAG(0, "json", audit_opts, json, "with --changes: one JSON object a line"),
    OPT_STR('a', "accounts", "FILE|URL", NULL, audit_opts, accounts,
            "the store, as in 'gaufre tenant': of --changes, and of the contract of a --statement"),
    OPT_END,
};

static int print_change(void *arg, const struct account_audit *l)
{
    const struct audit_opts *o = arg;
    time_t t = (time_t)l->at_s;
    char at[32];
    struct tm tm;

    if (o->json)
        return cmd_json(accounts_audit_json(l), JSON_COMPACT);
    gmtime_r(&t, &tm);
    strftime(at, sizeof at, "%Y-%m-%dT%H:%M:%SZ", &tm);
    cmd_line(stdout, "%lld %s %s %s %s %s%s%s%s%s", (long long)l->seq, at, l->actor, l->action,
             account_kind_name(l->kind), l->id, *l->before ? "  from " : "", l->before,
             *l->after ? "  to " : "", l->after);
    return 0;
}

static int changes(const struct cmd *cmd, const struct audit_opts *o)
{
    const struct account_opts where = {.accounts = o->accounts};
    struct accounts *a = NULL;
    struct err e = {0};
    int64_t n = 0;
    int r = account_store(&where, &a, &e);

    if (!r)
        r = accounts_audit(a, 0, INT64_MAX, print_change, (void *)(uintptr_t)o, &e);
    if (!r)
        r = accounts_audit_check(a, &n, &e);
    accounts_close(a);
    if (r)
        return cmd_fail(cmd, &e);
    cmd_note("%lld change%s, every one as it was written", (long long)n, plural(n));
    return CMD_OK;
}

/* ---- a statement ----------------------------------------------------------------------------- */

/* The versions of a statement's contract, as they are compared with the store's. */
struct texts {
    const struct settled *s;
    int n_same, n_more; /* n_more: known when it was made, and not in it */
    const char *file;
    struct err *e;
};

static int compare_version(void *arg, const struct contract_version *v)
{
    struct texts *x = arg;

    for (int i = 0; i < x->s->n_versions; i++) {
        const struct settled_version *told = &x->s->version[i];
        if (told->version != v->version)
            continue;
        if (strcmp(told->text, v->text) != 0 || told->effective_s != v->effective_s)
            return err_set(x->e, ERR_FORMAT,
                           "%s: version %lld of the contract is not what the store has", x->file,
                           (long long)v->version);
        x->n_same++;
        return 0;
    }
    x->n_more += v->recorded_s <= x->s->made_s && v->effective_s < x->s->until_s;
    return 0;
}

/* Is there a store? Asking for one that is not there would make it. */
static int has_store(const struct audit_opts *o)
{
    const char *where = o->accounts ? o->accounts : getenv("GAUFRE_ACCOUNTS");
    struct buf path;
    struct hub *h = NULL;
    struct err e = {0};
    int is_there = where && *where;

    if (is_there)
        return 1;
    buf_init(&path, LEDGER_PATH_MAX);
    is_there = !hub_open(&h, &e) && !buf_addf(&path, "%s/" ACCOUNTS_FILE, hub_home(h)) &&
               !access(path.data, R_OK);
    hub_close(h);
    buf_done(&path);
    return is_there;
}

/* Is the contract in a statement the one that was recorded, and is that as it was written? Told
 * where it cannot be known. */
static int compare_texts(const struct audit_opts *o, const struct stated *s, struct err *e)
{
    const struct account_opts where = {.accounts = o->accounts};
    struct texts x = {.s = s->settled, .file = s->file, .e = e};
    struct accounts *a = NULL;
    int64_t n = 0;
    int r;

    if (!s->settled->version[0].version || !has_store(o)) {
        cmd_note("the contract's text in the statement was compared with nothing: %s",
                 s->settled->version[0].version ? "there is no store here (--accounts)"
                                                : "it is a file's, and no version of a store");
        return 0;
    }
    r = account_store(&where, &a, e);
    if (!r)
        r = accounts_contract_versions(a, settled_contract(s->settled)->name, compare_version, &x,
                                       e);
    if (!r && x.n_same < s->settled->n_versions)
        r = err_set(e, ERR_FORMAT, "%s: the store does not have all versions of its contract",
                    s->file);
    if (!r)
        r = accounts_audit_check(a, &n, e);
    accounts_close(a);
    if (!r && x.n_more)
        cmd_note("the store has %d version%s of the contract of before it was made, which it does "
                 "not count ('--known-on')",
                 x.n_more, plural(x.n_more));
    if (!r)
        printf("the contract's text is that of the store, as it was recorded\n");
    return r;
}

/* Make a statement again from the ledger, and what it says of its contract. */
static int check_statement(const struct audit_opts *o, const char *ledger, struct err *e)
{
    struct stated s;
    int r = stated_open(&s, o->statement, e);

    if (!r)
        r = settled_make(s.settled, ledger, e);
    if (!r)
        r = stated_compare(&s, "the ledger", e);
    if (!r)
        r = compare_texts(o, &s, e);
    stated_close(&s);
    return r;
}

static int run(const struct cmd *cmd, void *opts_, int argc, char **argv)
{
    const struct audit_opts *o = opts_;
    char path[LEDGER_PATH_MAX];
    struct err e = {0};
    int64_t n = 0;
    int is_new = 0;

    if (o->changes)
        return changes(cmd, o);
    if (ledger_path(o->ledger, path, &is_new, &e) || (!is_new && books_audit(path, &n, &e)))
        return cmd_fail(cmd, &e);
    if (o->statement && is_new)
        err_set(&e, ERR_NOTFOUND, "there is no ledger %s", path);
    if (o->statement && (e.code || check_statement(o, path, &e)))
        return cmd_fail(cmd, &e);
    printf("%lld row%s: every one as it was written, every balance the sum of its rows\n",
           (long long)n, plural(n));
    if (o->statement)
        printf("the statement is what these rows and the contract in it come to\n");
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
