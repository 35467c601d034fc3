/* gaufre receipts: the log of answers, for who runs the cloud: its key, and ranges of it to hand
 * out. */
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "books/log_export.h"
#include "cmd/cmd.h"
#include "cmd/day_span.h"
#include "cmd/ledger_path.h"
#include "cmd/stated.h"
#include "hub/hub.h"

struct receipts_opts {
    const char *tenant, *from, *to, *statement, *ledger, *key;
    int hex;
};

static const struct opt opts[] = {
    OPT_STR(0, "tenant", "NAME", NULL, receipts_opts, tenant,
            "export: show the entries of this tenant; of all others only hashes"),
    OPT_STR(0, "from", "DATE", NULL, receipts_opts, from,
            "export: answers from this day on (UTC): 2026-12-01"),
    OPT_STR(0, "to", "DATE", NULL, receipts_opts, to, "export: answers of before this day"),
    OPT_FILE(0, "statement", NULL, receipts_opts, statement,
             "export: what this statement ('gaufre contract statement --json') is made from"),
    OPT_FILE(0, "receipt-key", NULL, receipts_opts, key,
             "key: the file of the key (default: receipts.key in gaufre's home)"),
    OPT_FLAG(0, "hex", receipts_opts, hex, "key: as hex digits, not as a PEM file"),
    OPT_LEDGER(receipts_opts),
    OPT_END,
};

static int print_line(void *arg, const json_t *j)
{
    return json_dumpf(j, stdout, JSON_COMPACT) || putchar('\n') < 0 ? ERR_IO : 0;
}

/* What a statement is made from: of its contract's requests and places. */
static int export_stated(const char *ledger, const char *file, struct err *e)
{
    struct stated_names names = {0};
    struct stated s;
    int r = stated_open(&s, file, e);

    if (!r)
        r = stated_names(&s, &names, e);
    if (!r) {
        const struct log_range range = {.from_s = settled_since(s.settled),
                                        .until_s = s.settled->until_s,
                                        .contract = settled_contract(s.settled)->name,
                                        .tenants = names.tenants,
                                        .places = names.places,
                                        .n_tenants = names.n_tenants,
                                        .n_places = names.n_places,
                                        .upto_usage = s.settled->upto_usage,
                                        .upto_power = s.settled->upto_power};
        r = log_export(ledger, &range, print_line, NULL, e);
    }
    stated_names_free(&names);
    stated_close(&s);
    return r;
}

static int export_range(const struct cmd *cmd, const struct receipts_opts *o)
{
    struct log_range range = {.tenant = o->tenant};
    const char *wrong = day_read_span(o->from, o->to, &range.from_s, &range.until_s);
    char path[LEDGER_PATH_MAX];
    struct err e = {0};
    int is_new = 0, r;

    if (wrong)
        return cmd_usage(cmd, "%s", wrong);
    if (o->statement && (o->tenant || o->from || o->to))
        return cmd_usage(cmd, "--statement says whose entries and which time by itself");
    r = ledger_path(o->ledger, path, &is_new, &e);
    if (!r && is_new)
        r = err_set(&e, ERR_NOTFOUND, "nothing is booked yet: 'gaufre serve' makes %s", path);
    if (!r)
        r = o->statement ? export_stated(path, o->statement, &e)
                         : log_export(path, &range, print_line, NULL, &e);
    if (!r && (fflush(stdout) || ferror(stdout)))
        r = ERR_IO;
    if (r && !e.code)
        err_set(&e, ERR_IO, "the lines cannot be written");
    return r ? cmd_fail(cmd, &e) : CMD_OK;
}

static int find_key(const char *asked, struct tree_key *ret, struct err *e)
{
    struct hub *h = NULL;
    struct buf path;
    int r = 0;

    if (asked)
        return tree_key_open(ret, asked, e);
    buf_init(&path, LEDGER_PATH_MAX);
    r = hub_open(&h, e);
    if (!r && buf_addf(&path, "%s/%s", hub_home(h), RECEIPT_KEY_FILE))
        r = err_set(e, ERR_NOMEM, "out of memory");
    if (!r)
        r = hub_make_home(h, e);
    if (!r)
        r = tree_key_open(ret, path.data, e);
    hub_close(h);
    buf_done(&path);
    return r;
}

static int show_key(const struct cmd *cmd, const struct receipts_opts *o)
{
    char text[TREE_PEM_MAX];
    struct tree_key key;
    struct err e = {0};

    if (find_key(o->key, &key, &e))
        return cmd_fail(cmd, &e);
    if (o->hex)
        puts(sodium_bin2hex(text, sizeof text, key.public_key, sizeof key.public_key));
    else
        tree_key_pem(key.public_key, text);
    if (!o->hex)
        fputs(text, stdout);
    sodium_memzero(&key, sizeof key);
    return CMD_OK;
}

static int run(const struct cmd *cmd, void *opts_, int argc, char **argv)
{
    if (!strcmp(argv[0], "export"))
        return export_range(cmd, opts_);
    if (!strcmp(argv[0], "key"))
        return show_key(cmd, opts_);
    return cmd_usage(cmd, "wants one of %s, not '%s'", cmd->args, argv[0]);
}

const struct cmd cmd_receipts = {
    .name = "receipts",
    .help = "The signed log of answers: its public key, and ranges of it to hand out",
    .args = "export|key",
    .about =
        "export  writes the entries of a time as JSON lines, with the signed heads at both ends:\n"
        "        whoever has that and the public key can check it with 'gaufre verify', and\n"
        "        compute a bill from it, without this server; with --statement the entries of a\n"
        "        contract and the power of its places, from which its statement can be made again\n"
        "key     shows the public key, which customers need from you by a way that they trust;\n"
        "        the key is made where there is none yet\n"
        "One receipt is had by its tenant: GET /v1/receipts/ID (docs/receipts.md).",
    .opts = opts,
    .opts_size = sizeof(struct receipts_opts),
    .n_args_min = 1,
    .n_args_max = 1,
    .run = run,
};
