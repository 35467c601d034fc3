/* A door of the cloud room: what many contracts oblige to, and on whom they depend. One thread. */
#ifndef CLOUD_PORTFOLIO_H
#define CLOUD_PORTFOLIO_H

#include "base/money.h"
#include "cloud/accounts.h"
#include "cloud/contract_file.h"

#define REPORT_CONTRACTS_MAX 256
#define REPORT_YEARS_MAX     (CONTRACT_YEARS_MAX + 2)

/* Of one contract, what is still to come after now_s. */
struct report_row {
    const struct contract *c;
    money_sum fee[REPORT_YEARS_MAX];    /* of what is firm, by the report's years */
    money_sum option[REPORT_YEARS_MAX]; /* and what open options would add if exercised today */
    money_sum fee_sum, option_sum;
    money_sum
        backstop; /* what a buyer of last resort would still pay at most: nothing of it is firm */
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

/* A new reference, to be written with CONTRACT_JSON_FLAGS; NULL: no memory. */
json_t *report_json(const struct report *r);

/* The contracts that are reported on, and the report. Large: not on the stack. */
struct portfolio {
    struct contract_file *file[REPORT_CONTRACTS_MAX];
    const struct contract *contract[REPORT_CONTRACTS_MAX];
    int n;
    struct report report; /* whose report_make is the caller's */
};
int portfolio_new(struct portfolio **ret, struct err *e); /* ERR_NOMEM */
void portfolio_free(struct portfolio *p);                 /* with its contracts; accepts NULL */
/* One more, which is the portfolio's from now on. ERR_FORMAT: it has one of that name; ERR_LIMIT.
 * Then it is the caller's. */
int portfolio_add(struct portfolio *p, struct contract_file *f, struct err *e);
/* Those of the store that hold at as_of_s, as it was known at known_s. */
int portfolio_add_stored(struct portfolio *p, struct accounts *a, int64_t as_of_s, int64_t known_s,
                         struct err *e);

#endif
