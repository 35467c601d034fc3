/* What main.c knows of a subcommand: one row, one file. Help, completion and the manual's checks
 * come from these rows. Single-threaded until a command starts threads of its own.
 *
 * A command reads argv and nothing else does. Data goes to stdout, talk to stderr. */
#ifndef CMD_CMD_H
#define CMD_CMD_H

#include <jansson.h>
#include <stddef.h>
#include <stdio.h>

#include "base/err.h"
#include "cmd/opt.h"

enum { CMD_OK = 0, CMD_FAILED = 1, CMD_USAGE = 2 }; /* exit codes */

#define CMD_OPTS_MAX 4096 /* bytes of a command's options struct */

/* Words to choose from ("bash|zsh|fish") are known by `args`. */
enum cmd_complete { CMD_COMPLETE_NONE, CMD_COMPLETE_MODEL, CMD_COMPLETE_FILE };

struct cmd {
    const char *name;
    const char *help;           /* one line, no full stop */
    const char *args;           /* positionals for the usage line: "MODEL [PROMPT]", or NULL */
    const char *about;          /* paragraphs below the options, or NULL */
    const struct opt *opts;     /* ends with OPT_END; NULL: none but --help */
    size_t opts_size;           /* sizeof the struct that the options fill */
    int n_args_min, n_args_max; /* positionals; max < 0: any number */
    enum cmd_complete complete; /* what positionals are */
    /* opts: the filled struct (zeroed first, then defaults); argv: the positionals only. Returns
     * an exit code. */
    int (*run)(const struct cmd *c, void *opts, int argc, char **argv);
};

/* The table, ended by NULL, in the order of help. */
extern const struct cmd *const cmd_table[];

/* "gaufre pull: sentence" on stderr. Both return the exit code to return. */
int cmd_fail(const struct cmd *c, const struct err *e); /* CMD_FAILED */
int cmd_usage(const struct cmd *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3))); /* CMD_USAGE, and points at --help */
/* A remark on stderr. */
void cmd_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* What is written holds text of others: names, files, servers, models. One line, made plain
 * (base/plain.h), as the three above. */
void cmd_line(FILE *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void cmd_text(const char *s, size_t n); /* the same of several lines, on stdout */
void cmd_data(const char *s, size_t n); /* plain on a terminal; elsewhere every byte as it is */
/* A string of JSON, whatever the bytes: what is not UTF-8 becomes U+FFFD. */
json_t *cmd_json_text(const char *s, size_t n);
json_t *cmd_json_str(const char *s);
/* One value and a newline on stdout, and the reference is gone. ERR_NOMEM. */
int cmd_json(json_t *j, size_t flags);

/* "93.8 MiB" into out (at least 16 bytes); returns out. */
char *cmd_bytes(unsigned long long n, char *out, size_t cap);

/* One a line: rows are added by many hands. */
extern const struct cmd cmd_audit;
extern const struct cmd cmd_backup;
extern const struct cmd cmd_bench;
extern const struct cmd cmd_bill;
extern const struct cmd cmd_completion;
extern const struct cmd cmd_contract;
extern const struct cmd cmd_demo;
extern const struct cmd cmd_energy;
extern const struct cmd cmd_doctor;
extern const struct cmd cmd_drain;
extern const struct cmd cmd_init;
extern const struct cmd cmd_key;
extern const struct cmd cmd_ledger;
extern const struct cmd cmd_list;
extern const struct cmd cmd_log;
extern const struct cmd cmd_perplexity;
extern const struct cmd cmd_power;
extern const struct cmd cmd_pull;
extern const struct cmd cmd_receipts;
extern const struct cmd cmd_rm;
extern const struct cmd cmd_route;
extern const struct cmd cmd_run;
extern const struct cmd cmd_serve;
extern const struct cmd cmd_show;
extern const struct cmd cmd_site;
extern const struct cmd cmd_team;
extern const struct cmd cmd_tenant;
extern const struct cmd cmd_tokenize;
extern const struct cmd cmd_top;
extern const struct cmd cmd_tranche;
extern const struct cmd cmd_upgrade;
extern const struct cmd cmd_usage_table;
extern const struct cmd cmd_verify;

#endif
