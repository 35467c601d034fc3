/* A door of the cloud room: a statement of a contract (policy/settlement.h), made from the ledger
 * and the versions of the contract alone. docs/contracts.md says what its lines mean. One thread,
 * which waits for the database; servers may write meanwhile. Limits: SETTLED_..._MAX. */
#ifndef CLOUD_SETTLED_H
#define CLOUD_SETTLED_H

#include <jansson.h>

#include "books/contract_use.h"
#include "books/power_log.h"
#include "books/taken_log.h"
#include "cloud/contract_file.h"
#include "policy/backstop.h"
#include "policy/settlement.h"

#define SETTLED_VERSIONS_MAX 256
#define SETTLED_PARTS_MAX    512
#define SETTLED_DAYS_MAX     366 /* of a period */

/* A version of the contract, and from when on it holds. */
struct settled_version {
    int64_t version, effective_s; /* version 0: it is a file's */
    char *text;
    struct contract_file *file;
    int64_t measured[CONTRACT_TRANCHES_MAX]; /* thousandths of a token a second; 0: not measured */
};

struct settled_part {
    int64_t from_s, until_s;
    int i_version;
    struct settlement_tranche *tranche; /* of the version's contract, as many as it has */
    struct settlement_use own, paid, lent;
    int64_t n_foreign; /* requests above it, or lent, whose charge is in another currency */
};

struct settled {
    /* What it is of: set by the caller. */
    int64_t from_s, until_s, made_s; /* made_s: as the contract is known then, not before until_s */
    int64_t known_s; /* settled_end leaves out power and notes recorded later; 0: none of them */
    int64_t upto_usage, upto_power, upto_taken; /* rows behind these are left out */
    int n_versions;
    struct settled_version version[SETTLED_VERSIONS_MAX];
    void (*progress)(void *arg, int64_t n_days); /* NULL: nobody wants to know */
    void *arg;
    /* What came of it: */
    int n_parts, n_lines, cap_lines;
    struct settled_part part[SETTLED_PARTS_MAX];
    struct settlement_line *line;
    contract_nano prepaid; /* what was left of the prepayment when it began */
    struct settlement_sum sum;
    struct backstop_year year; /* of a backstop: the contract's year at the end of the period ... */
    struct backstop_sum taken; /* ... and what it took in it until then */
};

struct settled *settled_new(void); /* NULL: no memory */
void settled_free(struct settled *s);
/* Add a version, which begins after those of before; `name` is what errors call it. */
int settled_add(struct settled *s, const char *name, int64_t version, int64_t effective_s,
                const char *text, struct err *e);
/* Set the last rows from what is there now. */
int settled_end(struct settled *s, const char *ledger, struct err *e);
/* The rows that it is made from: of power in order of place, time and number; and what requests
 * used, as contract_books_used has it, rows that are alike together or one by one. */
struct settled_rows {
    void *arg;
    int (*power)(void *arg, const struct power_query *q,
                 int (*row)(void *arg, const struct power_entry *r), void *row_arg, struct err *e);
    int (*used)(void *arg, const char *contract, int64_t from_us, int64_t until_us,
                int64_t upto_seq, int (*take)(void *arg, const struct contract_used *u),
                void *take_arg, struct err *e);
    int (*taken)(void *arg, const struct taken_query *q,
                 int (*row)(void *arg, const struct taken_entry *t), void *row_arg, struct err *e);
};
/* When the time begins whose rows it takes: of a prepaid contract with the contract. */
int64_t settled_since(const struct settled *s);
/* Settle it. */
int settled_make_from(struct settled *s, const struct settled_rows *rows, struct err *e);
int settled_make(struct settled *s, const char *ledger, struct err *e);

/* The contract as it was at the end, and the zone of its days. */
const struct contract *settled_contract(const struct settled *s);
const struct zone *settled_zone(const struct settled *s);
const struct contract *settled_contract_of(const struct settled *s, int i_part);
/* What a line is about: "capacity, first at fra1". */
#define SETTLED_TEXT_MAX 400
char *settled_what(const struct settled *s, const struct settlement_line *l,
                   char out[SETTLED_TEXT_MAX]);
/* The command that lists the rows behind a line; "": there are none. */
char *settled_command(const struct settled *s, const struct settlement_line *l,
                      char out[SETTLED_TEXT_MAX]);

/* A new reference; NULL: no memory. */
json_t *settled_json(const struct settled *s);
/* What such JSON was made of; results are not read. ERR_FORMAT. */
int settled_read(struct settled *s, const json_t *j, struct err *e);

#endif
