/* What a portfolio of contracts obliges to, and on whom it depends. The same report for people, as
 * JSON, and as a page to print. */
#ifndef CMD_CONTRACT_REPORT_H
#define CMD_CONTRACT_REPORT_H

#include "base/money.h"
#include "cloud/contract_file.h"

#define REPORT_CONTRACTS_MAX 256
#define REPORT_YEARS_MAX     (CONTRACT_YEARS_MAX + 2)

/* Of one contract, what is still to come after now_s. */
struct report_row {
    const struct contract *c;
    money_sum fee[REPORT_YEARS_MAX];    /* of what is firm, by the report's years */
    money_sum option[REPORT_YEARS_MAX]; /* and what open options would add if exercised today */
    money_sum fee_sum, option_sum;
    int64_t ready_w, firm_w; /* now */
    int64_t firm_end_w;      /* firm when all that is firm now was delivered: the most at a time */
};

/* Who is at one end of contracts; owners: who owns it, or itself. */
enum report_of { OF_SUPPLIER, OF_CUSTOMER, OF_SUPPLIER_OWNER, OF_CUSTOMER_OWNER, REPORT_OFS };
extern const char *const report_of_words[REPORT_OFS];

/* All contracts with one party, in one currency. */
struct report_share {
    enum report_of of;
    const char *name, *currency;
    money_sum fee; /* still to come */
    int64_t ready_w;
    double share; /* of the currency's */
    int n_contracts;
};
#define REPORT_SHARES_MAX (REPORT_OFS * REPORT_CONTRACTS_MAX)

struct report {
    int64_t now_s;
    int64_t year_s[REPORT_YEARS_MAX + 1]; /* the first begins now, others with the year (UTC) */
    int n_years, n_rows, n_shares;
    struct report_row row[REPORT_CONTRACTS_MAX];
    struct report_share share[REPORT_SHARES_MAX]; /* by kind, by currency, the largest first */
    struct contract exercised;                    /* report_make's, while it looks at options */
};

/* `r` is large: not on the stack. The contracts must stay. */
void report_make(struct report *r, const struct contract *const *c, int n, int64_t now_s);
/* Of all contracts in one currency. */
struct report_year {
    money_sum fee, option;
};
struct report_year report_year(const struct report *r, int y, const char *currency);
int32_t report_hhi(const struct report *r, enum report_of of, const char *currency);

void report_print(const struct report *r);
json_t *report_json(const struct report *r); /* a new reference; NULL: no memory */
int report_page(const struct report *r);     /* HTML on stdout; 0 or ERR_NOMEM */

#endif
