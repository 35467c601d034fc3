/* What a portfolio of contracts obliges to (cloud/portfolio.h), for people: as text, and as a page
 * to print. */
#ifndef CMD_CONTRACT_REPORT_H
#define CMD_CONTRACT_REPORT_H

#include "cloud/portfolio.h"

void report_print(const struct report *r);
int report_page(const struct report *r); /* HTML on stdout; 0 or ERR_NOMEM */

#endif
