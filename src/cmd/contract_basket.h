/* A measurement of a contract's basket as commands show it: each load with what follows from it,
 * the formula, and what each tranche that it is of is entitled to by it. */
#ifndef CMD_CONTRACT_BASKET_H
#define CMD_CONTRACT_BASKET_H

#include "cloud/contract_file.h"
#include "cloud/measurement.h"

/* What is known of it beside its text. */
struct basket_shown {
    int64_t id; /* in the store; 0: it is not there */
    int64_t recorded_s;
    const char *actor;
    const char *engine; /* the version in force; NULL: any is */
};

void contract_basket_print(const struct contract_file *f, const struct measurement *m,
                           const struct basket_shown *s);
/* The same as JSON; the measurement itself is its "record". NULL: no memory. */
json_t *contract_basket_json(const struct contract_file *f, const struct measurement *m,
                             const struct basket_shown *s);

#endif
