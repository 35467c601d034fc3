/* What gaufre contract prints. */
#ifndef CMD_CONTRACT_FORM_H
#define CMD_CONTRACT_FORM_H

#include "cloud/contract_file.h"

extern const char contract_form[]; /* a commented contract to begin with; it has no fault */

void contract_print(const struct contract_file *f, int64_t now_s); /* as it is known then */
/* The fields in which two differ, a line each, or as JSON. */
int contract_print_diff(const struct contract_file *a, const struct contract_file *b, int json,
                        struct err *e);
/* Its tranches as CSV: a head, or the rows of one contract. */
void contract_csv_head(void);
void contract_csv(const struct contract_file *f, int64_t now_s);

#endif
