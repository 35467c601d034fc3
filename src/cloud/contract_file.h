/* A door of the cloud room: contracts (policy/contract.h) as people write them, in YAML, and as
 * JSON, which has the same keys and can be read again. docs/contracts.md says what they mean.
 *
 * Days are of the contract's zone; their first moment counts. What is said must be without a fault:
 * the first one is told with "file:line:column: what". One thread. Limits: those of base/config.h,
 * and CONTRACT_..._MAX. */
#ifndef CLOUD_CONTRACT_FILE_H
#define CLOUD_CONTRACT_FILE_H

#include "base/json.h"
#include "base/zone.h"
#include "policy/contract.h"

struct contract_file;

/* ERR_IO, ERR_FORMAT, ERR_NOMEM; e says why. */
int contract_file_open(struct contract_file **ret, const char *path, struct err *e);
/* The same of a text; `name` stands for the file in what is said. */
int contract_file_parse(struct contract_file **ret, const char *name, const char *text, size_t n,
                        struct err *e);
void contract_file_close(struct contract_file *f); /* accepts NULL */

/* Both live until it is closed. */
const struct contract *contract_file_contract(const struct contract_file *f);
const struct zone *contract_file_zone(const struct contract_file *f); /* NULL: UTC */
/* "file:line:column: " of a tranche before a sentence; ERR_FORMAT. */
int contract_file_err(const struct contract_file *f, int i_tranche, const char *field,
                      struct err *e, const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* A new reference; NULL: no memory. What has its default is left out. To be written with these
 * flags: shares and megawatts are then as they were. */
#define CONTRACT_JSON_FLAGS JSON_REAL_PRECISION(15)
json_t *contract_json(const struct contract_file *f);
/* The same with what follows from it, as it is known at now_s: the state of each tranche and its
 * price then, power, and what is owed by the year. */
json_t *contract_view_json(const struct contract_file *f, int64_t now_s);
/* The calendar years of its term: when the next one begins, or the term ends. */
int64_t contract_next_year(const struct contract_file *f, int64_t at_s);

#endif
