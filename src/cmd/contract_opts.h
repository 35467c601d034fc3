/* The options of gaufre contract, and its verbs that have files of their own: each is given what
 * follows the verb, and returns 0 or an error's code. */
#ifndef CMD_CONTRACT_OPTS_H
#define CMD_CONTRACT_OPTS_H

#include "cmd/admin_ask.h"
#include "cmd/contract_source.h"

struct contract_opts {
    const char *accounts, *as_of, *known_on, *config, *effective, *reason;
    const char *ledger, *month, *from, *until;
    const char *engine, *site, *region, *tranche, *hardware, *loads, *time;
    struct admin_server at; /* of measure */
    int64_t watts;
    double promised;
    double pue;
    int boundary; /* 1: it, 2: facility */
    int record, amend;
    int json, csv, html;
    struct contract_source source;
};

int contract_statement(struct contract_opts *o, int n, char **argv, struct err *e);
int contract_rows(struct contract_opts *o, int n, char **argv, struct err *e);
int contract_measure(struct contract_opts *o, int n, char **argv, struct err *e);
int contract_accept(struct contract_opts *o, int n, char **argv, struct err *e);
int contract_record(struct contract_opts *o, int n, char **argv, struct err *e);
int contract_profiles(struct contract_opts *o, int n, char **argv, struct err *e);
int contract_measurements(struct contract_opts *o, int n, char **argv, struct err *e);

#endif
