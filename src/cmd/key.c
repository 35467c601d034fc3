/* gaufre key: API keys, of which only hashes are stored. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cloud/cloud.h"
#include "cmd/cmd.h"

struct key_opts {
    const char *tenant;
};

static const struct opt opts[] = {
    OPT_STR('t', "tenant", "NAME", NULL, key_opts, tenant, "who pays (without: 'default')"),
    OPT_END,
};

static int make(const struct cmd *cmd, const char *file, const char *id, const char *tenant)
{
    char key[CLOUD_KEY_TEXT_MAX];
    struct err e = {0};

    if (cloud_key_new(file, id, tenant, key, &e))
        return cmd_fail(cmd, &e);
    puts(key);
    if (fflush(stdout)) {
        err_set(&e, ERR_IO, "the new key could not be shown (%s): take '%s' out of %s again",
                strerror(errno), id, file);
        memset(key, 0, sizeof key);
        return cmd_fail(cmd, &e);
    }
    cmd_note("This key is shown once. Its hash is in %s; a running server reads it on SIGHUP.",
             file);
    memset(key, 0, sizeof key);
    return CMD_OK;
}

/* A key of one's own, from standard input: keys do not belong on a command line. */
static int hash(const struct cmd *cmd, const char *file, const char *id, const char *tenant)
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

static int run(const struct cmd *cmd, void *opts_, int argc, char **argv)
{
    const struct key_opts *o = opts_;

    if (!strcmp(argv[0], "new"))
        return make(cmd, argv[1], argv[2], o->tenant);
    if (!strcmp(argv[0], "hash"))
        return hash(cmd, argv[1], argv[2], o->tenant);
    return cmd_usage(cmd, "wants 'new' or 'hash', not '%s'", argv[0]);
}

const struct cmd cmd_key = {
    .name = "key",
    .help = "Make API keys for the server",
    .args = "new|hash FILE ID",
    .about = "'new' makes a key, prints it once and adds its hash to FILE (made where missing).\n"
             "'hash' reads a key of your own from standard input and prints the line that stands\n"
             "for it in FILE, which must exist. 'gaufre serve --keys FILE' uses the file.",
    .opts = opts,
    .opts_size = sizeof(struct key_opts),
    .n_args_min = 3,
    .n_args_max = 3,
    .complete = CMD_COMPLETE_FILE,
    .run = run,
};
