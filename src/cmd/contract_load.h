/* A contract's basket against a running server: the prompts of each row are brought to their
 * length, and its rows are run at loads. One run at a time; talk goes to stderr. */
#ifndef CMD_CONTRACT_LOAD_H
#define CMD_CONTRACT_LOAD_H

#include "cmd/contract_opts.h"
#include "cmd/load_run.h"

struct contract_run {
    const struct contract *contract;
    struct load_server server;
    struct buf url, header, engine; /* whose texts these are */
    struct load_plan plan[CONTRACT_LOADS_MAX];
    struct load_sums sums[CONTRACT_LOADS_MAX]; /* of the load of now */
    char print[CONTRACT_LOADS_MAX][LOAD_PRINT_MAX];
    int64_t busy_us;      /* how long all runs took */
    struct energy energy; /* of all that was run; method unknown: of one it was not told */
    struct measurement measurement; /* what is filled in */
};

/* What the options say of server, place, engine and energy, and one prompt of each row tried: its
 * words. The server must be there. To be freed with contract_run_done, whatever is returned. */
int contract_run_begin(struct contract_run *run, struct contract_opts *o,
                       const struct contract_file *f, struct err *e);
/* All rows at one load, one after the other, for so long each; again and again adds up. */
int contract_run_rows(struct contract_run *run, int32_t concurrency, int64_t for_us, struct err *e);
/* What was added up is the next level of the measurement. */
void contract_run_level(struct contract_run *run, int32_t concurrency);
/* The measurement is complete: its energy, and when it ended. */
void contract_run_end(struct contract_run *run);
void contract_run_done(struct contract_run *run); /* accepts a zeroed one */

/* The index of the tranche of that name: of several the first that is not delivered yet, else the
 * first. -1: there is none. */
int contract_tranche(const struct contract *c, const char *name);
/* "30s", "15m", "24h" of an option: microseconds. ERR_ARG names the option. */
int contract_time(const char *text, const char *option, int64_t *ret_us, struct err *e);

#endif
