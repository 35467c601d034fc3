/* The program's entry: the table of subcommands, and what all of them share. */
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "cmd/cmd.h"

/* clang-format off */
const struct cmd *const cmd_table[] = {
    &cmd_run,
    &cmd_demo,
    &cmd_serve,
    &cmd_upgrade,
    &cmd_drain,
    &cmd_init,
    &cmd_doctor,
    &cmd_show,
    &cmd_tokenize,
    &cmd_perplexity,
    &cmd_bench,
    &cmd_energy,
    &cmd_pull,
    &cmd_list,
    &cmd_rm,
    &cmd_tenant,
    &cmd_team,
    &cmd_key,
    &cmd_route,
    &cmd_log,
    &cmd_site,
    &cmd_power,
    &cmd_contract,
    &cmd_tranche,
    &cmd_top,
    &cmd_usage_table,
    &cmd_bill,
    &cmd_ledger,
    &cmd_audit,
    &cmd_receipts,
    &cmd_verify,
    &cmd_backup,
    &cmd_completion,
    NULL,
};
/* clang-format on */

static const struct cmd *find(const char *name)
{
    for (const struct cmd *const *c = cmd_table; *c; c++) {
        if (!strcmp((*c)->name, name))
            return *c;
    }
    return NULL;
}

/* The name in the table nearest to `name`, or NULL when none is near. */
static const char *cmd_nearest(const char *name)
{
    const char *near = NULL;
    int best = 3, d;

    if (strlen(name) >= 3) { /* a beginning, or too much behind a name */
        for (const struct cmd *const *c = cmd_table; *c; c++) {
            size_t n = strlen((*c)->name);
            if (!strncmp(name, (*c)->name, strlen(name) < n ? strlen(name) : n))
                return (*c)->name;
        }
    }
    for (const struct cmd *const *c = cmd_table; *c; c++) {
        d = opt_distance(name, (*c)->name);
        if (d < best && d < (int)strlen(name)) {
            best = d;
            near = (*c)->name;
        }
    }
    return near;
}

static void print_help(FILE *f)
{
    fputs("Usage: gaufre COMMAND [OPTIONS] [ARGUMENTS]\n\n"
          "Runs open-weight language models on this machine and serves them behind an\n"
          "OpenAI-compatible endpoint.\n\nCommands:\n",
          f);
    for (const struct cmd *const *c = cmd_table; *c; c++)
        fprintf(f, "  %-12s %s\n", (*c)->name, (*c)->help);
    fputs("\n'gaufre COMMAND --help' tells more of a command, 'gaufre --version' which gaufre this "
          "is.\n",
          f);
}

static void print_command_help(const struct cmd *c)
{
    printf("Usage: gaufre %s [OPTIONS]%s%s\n\n%s.\n\nOptions:\n", c->name, c->args ? " " : "",
           c->args ? c->args : "", c->help);
    opt_help(c->opts, stdout);
    if (c->about)
        printf("\n%s\n", c->about);
}

static int run_command(const struct cmd *c, int argc, char **argv)
{
    _Alignas(16) char opts[CMD_OPTS_MAX] = {0};
    struct err e = {0};
    int n = 0, help = 0;

    CHECK(c->opts_size <= sizeof opts);
    if (opt_parse(c->opts, opts, argc, argv, &n, &help, &e))
        return cmd_usage(c, "%s", e.text);
    if (help) {
        print_command_help(c);
        return CMD_OK;
    }
    if (n < c->n_args_min)
        return cmd_usage(c, n ? "too few arguments: wants %s" : "wants %s", c->args);
    if (c->n_args_max >= 0 && n > c->n_args_max)
        return cmd_usage(c, "unexpected argument '%s'", argv[c->n_args_max]);
    argv[n] = NULL;
    return c->run(c, opts, n, argv);
}

static int no_command(const char *name)
{
    const char *near = cmd_nearest(name);

    cmd_line(stderr, "gaufre: no command '%s'%s%s%s", name, near ? "; did you mean '" : "",
             near ? near : "", near ? "'?" : "");
    fputs("Try 'gaufre --help'.\n", stderr);
    return CMD_USAGE;
}

static int dispatch(int argc, char **argv)
{
    const struct cmd *c;
    const char *name;

    if (argc < 2) {
        print_help(stderr);
        return CMD_USAGE;
    }
    name = argv[1];
    if (!strcmp(name, "--help") || !strcmp(name, "-h") || !strcmp(name, "help")) {
        if (argc < 3)
            print_help(stdout);
        else if (!(c = find(argv[2])))
            return no_command(argv[2]);
        else
            print_command_help(c);
        return CMD_OK;
    }
    if (!strcmp(name, "--version") || !strcmp(name, "-V")) {
        puts("gaufre " GAUFRE_VERSION);
        return CMD_OK;
    }
    c = find(name);
    return c ? run_command(c, argc - 1, argv + 1) : no_command(name);
}

/* Open /dev/null for each standard stream that is closed. Otherwise the next file opened would get
 * its number, and printed text would be written into a model or a ledger. Output streams are opened
 * for reading and the input stream for writing, so that using one is still an error. */
static void keep_streams(void)
{
    for (int fd = 0; fd < 3; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd ? O_RDONLY : O_WRONLY) != fd)
            _exit(CMD_FAILED);
    }
}

int main(int argc, char **argv)
{
    int code;

    keep_streams();

    setlocale(LC_CTYPE, "");
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow further is an error to tell */
    code = dispatch(argc, argv);
    /* Data that did not reach its reader is a failure, not a detail. */
    if ((fflush(stdout) || ferror(stdout)) && code == CMD_OK) {
        fprintf(stderr, "gaufre: cannot write the output: %s\n", strerror(errno));
        code = CMD_FAILED;
    }
    return code;
}
