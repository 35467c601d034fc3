/* gaufre key: API keys, of which only hashes are stored, in the store of accounts or in a file. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/rand.h"
#include "cloud/cloud.h"
#include "cmd/account_opts.h"

#undef ACCOUNT_OPT_KEYS
#define ACCOUNT_OPT_KEYS ACCOUNT_OPT_ALL

static const struct opt opts[] = {
    OPT_STR('t', "tenant", "NAME", NULL, account_opts, tenant, "who pays (without: 'default')"),
    OPT_STR(0, "team", "NAME", NULL, account_opts, team, "which of its teams"),
    OPT_STR(0, "overlap", "TIME", NULL, account_opts, overlap,
            "rotate: how long the old key stays good: 30m, 24h, 7d (24h)"),
    OPT_STR(0, "idempotency-key", "TEXT", NULL, account_opts, request,
            "rotate: the same again gives a new key once more, and ends nothing sooner"),
    ACCOUNT_FIELDS(ACCOUNT_OPT) ACCOUNT_OPTS_COMMON,
    OPT_END};

/* Show a key, and how to take it back where that fails. */
static int hand_out(const struct cmd *cmd, char *key, size_t cap, const char *back)
{
    struct err e;

    puts(key);
    memset(key, 0, cap);
    if (!fflush(stdout))
        return CMD_OK;
    err_set(&e, ERR_IO, "the new key could not be shown (%s): %s", strerror(errno), back);
    return cmd_fail(cmd, &e);
}

/* ---- a keys file ----------------------------------------------------------------------------- */

static int file_new(const struct cmd *cmd, const char *file, const char *id, const char *tenant)
{
    char key[CLOUD_KEY_TEXT_MAX], back[300];
    struct err e = {0};
    int r;

    if (cloud_key_new(file, id, tenant, key, &e))
        return cmd_fail(cmd, &e);
    snprintf(back, sizeof back, "take '%.60s' out of %.200s again", id, file);
    r = hand_out(cmd, key, sizeof key, back);
    if (!r)
        cmd_note("This key is shown once. Its hash is in %s; a running server reads it on SIGHUP.",
                 file);
    return r;
}

/* A key of one's own, from standard input: keys do not belong on a command line. */
static int file_hash(const struct cmd *cmd, const char *file, const char *id, const char *tenant)
{
    char key[1024];
    struct err e = {0};
    struct buf line;
    int r;

    if (!fgets(key, sizeof key, stdin))
        return cmd_usage(cmd, "wants the key on standard input");
    key[strcspn(key, "\r\n")] = 0;
    buf_init(&line, 4096);
    r = cloud_key_line(file, id, tenant, key, &line, &e);
    if (!r)
        fputs(line.data, stdout);
    buf_done(&line);
    return r ? cmd_fail(cmd, &e) : CMD_OK;
}

/* ---- the store ------------------------------------------------------------------------------- */

struct ask {
    const struct cmd *cmd;
    const struct account_opts *o;
    struct accounts *a;
    struct account_who who;
    const char *id; /* NULL: none was given */
    struct err *e;
};

/* "90", "30m", "24h", "7d" as seconds; -1: it is none. */
static int64_t seconds(const char *text)
{
    static const struct {
        char unit;
        int64_t s;
    } units[] = {{0, 1}, {'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    char *end;
    int64_t n = strtoll(text, &end, 10);

    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (*text >= '0' && *text <= '9' && *end == units[i].unit && (!*end || !end[1]) &&
            n <= ACCOUNTS_OVERLAP_MAX)
            return n * units[i].s;
    }
    return -1;
}

static int store_new(struct ask *x)
{
    struct account_change c[ACCOUNT_CHANGES_MAX];
    char key[ACCOUNTS_KEY_MAX], id[32], back[100];
    unsigned char bytes[6];
    int n = account_changes(x->o, c), r;

    snprintf(id, sizeof id, "key-");
    if (!x->id && rand_system(bytes, sizeof bytes))
        return err_set(x->e, ERR_IO, "no random bytes from the system");
    for (size_t i = 0; i < sizeof bytes && !x->id; i++)
        snprintf(id + 4 + 2 * i, 3, "%02x", bytes[i]);
    if (!x->id)
        x->id = id;
    r = accounts_new_key(x->a, &x->who, x->id, x->o->tenant ? x->o->tenant : CLOUD_DEFAULT_TENANT,
                         x->o->team, c, n, key, x->e);
    if (r)
        return r;
    snprintf(back, sizeof back, "gaufre key rm %.60s", x->id);
    r = hand_out(x->cmd, key, sizeof key, back);
    if (!r)
        cmd_note("Key %s: shown once, stored as a hash. A running server knows it within a second; "
                 "one that was started before there was any key must be started again.",
                 x->id);
    return r;
}

static int store_rotate(struct ask *x)
{
    char key[ACCOUNTS_KEY_MAX];
    int64_t overlap = seconds(x->o->overlap ? x->o->overlap : "24h");
    int r;

    if (overlap < 0)
        return err_set(x->e, ERR_ARG, "--overlap wants a time like 30m, 24h or 7d, not '%.40s'",
                       x->o->overlap);
    r = accounts_rotate(x->a, &x->who, x->id, overlap, x->o->request, key, x->e);
    if (r)
        return r;
    r = hand_out(x->cmd, key, sizeof key, "rotate it again with the same --idempotency-key");
    if (!r)
        cmd_note("Key %s has a new secret; the old one is good for %lld seconds more.", x->id,
                 (long long)overlap);
    return r;
}

static int store_list(struct ask *x)
{
    struct account_list l = {.o = x->o, .tenant = x->o->tenant};
    int r = accounts_each(x->a, ACCOUNT_KEY, -1, account_print, &l, x->e);

    if (!r && !l.n && !x->o->json)
        cmd_note("there is no key yet: gaufre key new");
    return r;
}

static int store_show(struct ask *x)
{
    return account_show(x->o, x->a, ACCOUNT_KEY, x->id, x->e);
}

static int store_set(struct ask *x)
{
    struct account_change c[ACCOUNT_CHANGES_MAX];
    int n = account_changes(x->o, c);

    if (!n)
        return err_set(x->e, ERR_ARG, "nothing to set: give a flag, as --tokens-per-day 4000");
    return accounts_set(x->a, &x->who, ACCOUNT_KEY, x->id, c, n, x->e);
}

static int store_revoke(struct ask *x)
{
    return accounts_revoke(x->a, &x->who, x->id, x->e);
}

static int store_rm(struct ask *x)
{
    return accounts_remove(x->a, &x->who, ACCOUNT_KEY, x->id, x->e);
}

static int store_import(struct ask *x)
{
    int n = 0, r = accounts_import(x->a, &x->who, x->id, &n, x->e);

    if (!r)
        cmd_note("%d key%s of %s can be used as before", n, plural(n), x->id);
    return r;
}

/* What a verb takes beside the store and --json. */
enum { TAKES_SETTINGS = 1, TAKES_TENANT = 2, TAKES_TEAM = 4, TAKES_ROTATION = 8 };

static const struct verb {
    const char *name;
    int n_min, n_max; /* arguments behind it */
    int takes;        /* bits TAKES_* */
    int (*run)(struct ask *x);
} verbs[] = {{"new", 0, 1, TAKES_SETTINGS | TAKES_TENANT | TAKES_TEAM, store_new},
             {"list", 0, 0, TAKES_TENANT, store_list},
             {"show", 1, 1, 0, store_show},
             {"set", 1, 1, TAKES_SETTINGS, store_set},
             {"rotate", 1, 1, TAKES_ROTATION, store_rotate},
             {"revoke", 1, 1, 0, store_revoke},
             {"rm", 1, 1, 0, store_rm},
             {"import", 1, 1, 0, store_import}};

/* An option that the verb would drop in silence; NULL: there is none. */
static const char *stray_option(const struct verb *v, const struct account_opts *o)
{
    const struct {
        const char *name, *value;
        int takes;
    } list[] = {{"--tenant", o->tenant, TAKES_TENANT},
                {"--team", o->team, TAKES_TEAM},
                {"--overlap", o->overlap, TAKES_ROTATION},
                {"--idempotency-key", o->request, TAKES_ROTATION}};

    for (size_t i = 0; i < ARRAY_LEN(list); i++) {
        if (list[i].value && !(v->takes & list[i].takes))
            return list[i].name;
    }
    return NULL;
}

static int run_verb(const struct cmd *cmd, const struct verb *v, const struct account_opts *o,
                    const char *id)
{
    struct err e = {0};
    struct ask x = {.cmd = cmd, .o = o, .who = account_cli_who(), .id = id, .e = &e};
    int r = account_store(o, &x.a, &e);

    if (!r)
        r = v->run(&x);
    accounts_close(x.a);
    return r < 0 ? cmd_fail(cmd, &e) : r;
}

static int run(const struct cmd *cmd, void *opts_, int argc, char **argv)
{
    const struct account_opts *o = opts_;
    struct account_change c[ACCOUNT_CHANGES_MAX];
    int is_new = !strcmp(argv[0], "new"), n = account_changes(o, c);

    if (argc == 3 && (is_new || !strcmp(argv[0], "hash"))) {
        if (n || o->team) /* a limit that nobody keeps is worse than none */
            return cmd_usage(cmd,
                             "%s is not put into a keys file: write it into the key's line there, "
                             "or leave the file out",
                             n ? c[0].field : "team");
        return is_new ? file_new(cmd, argv[1], argv[2], o->tenant)
                      : file_hash(cmd, argv[1], argv[2], o->tenant);
    }
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
        if (strcmp(argv[0], verbs[i].name))
            continue;
        if (argc - 1 < verbs[i].n_min || argc - 1 > verbs[i].n_max)
            return cmd_usage(cmd, "'%s' wants %s", argv[0],
                             verbs[i].n_min ? "one name" : "at most one name");
        if (n && !(verbs[i].takes & TAKES_SETTINGS))
            return cmd_usage(cmd, "'%s' sets nothing, as %s; 'set' does", argv[0], c[0].field);
        if (stray_option(&verbs[i], o))
            return cmd_usage(cmd, "'%s' has no use for %s", argv[0], stray_option(&verbs[i], o));
        return run_verb(cmd, &verbs[i], o, argv[1]);
    }
    return cmd_usage(
        cmd, "wants new, list, show, set, rotate, revoke, rm, import or hash, not '%s'", argv[0]);
}

const struct cmd cmd_key = {
    .name = "key",
    .help = "Make, show, rotate and revoke API keys",
    .args = "new|list|show|set|rotate|revoke|rm|import|hash [FILE] [ID]",
    .about =
        "'new' prints the key alone, once; only its hash is stored. 'rotate' prints another one,\n"
        "and the old one stays good for the overlap. 'revoke' ends a key, and what runs with it,\n"
        "within a second. Counts and budgets hang on the key's id, the team and the tenant.\n\n"
        "With FILE, keys are lines of a file that 'gaufre serve --keys FILE' uses: 'new FILE ID'\n"
        "makes one, 'hash FILE ID' reads a key of your own from standard input and prints its\n"
        "line, 'import FILE' takes all over into the store.",
    .opts = opts,
    .opts_size = sizeof(struct account_opts),
    .n_args_min = 1,
    .n_args_max = 3,
    .complete = CMD_COMPLETE_FILE,
    .run = run,
};
