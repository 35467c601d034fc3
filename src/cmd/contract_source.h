/* Contracts as a command names them: a file's path, or NAME or NAME@VERSION of the store. */
#ifndef CMD_CONTRACT_SOURCE_H
#define CMD_CONTRACT_SOURCE_H

#include "cloud/accounts.h"
#include "cloud/contract_file.h"

struct contract_source {
    const char *accounts;     /* as in account_opts.h */
    int64_t as_of_s, known_s; /* which version of the store's */
    struct accounts *store;   /* NULL: not open yet */
    int64_t version;          /* of what was opened last; 0: it was a file */
};

/* What is a file is taken from there. Errors name the place. */
int contract_source_open(struct contract_source *s, const char *arg, struct contract_file **ret,
                         struct err *e);
/* The same of what is in the store only, by its name. */
int contract_source_stored(struct contract_source *s, const char *name, struct contract_file **ret,
                           struct err *e);
int contract_source_store(struct contract_source *s, struct err *e); /* opened once */
void contract_source_done(struct contract_source *s);

#endif
