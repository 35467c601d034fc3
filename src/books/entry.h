/* Double entry: what a request means for the accounts of this cloud. Pure.
 *
 * A transaction has a posting for each account that it changes. Of each unit ("tokens", or a
 * currency in nano-units) its postings sum to zero: what one account gets another gives.
 *
 *   tokens       supplier:S gives, tenant:T gets        what was delivered
 *   tokens       supplier:S gives, platform:lost gets   what is owed and was not delivered
 *   energy       supplier:S gives, tenant:T gets        microjoules, where they are known
 *   co2loc       supplier:S gives, tenant:T gets        micrograms, by the grid's intensity
 *   co2mkt       supplier:S gives, tenant:T gets        micrograms, by what was bought
 *   currency     platform:revenue gives, tenant:T gets  what the tenant owes
 *                supplier:S gives, platform:cost gets   what the supplier is owed
 *
 * Where the supplier's price is in another currency, the platform changes money: each currency sums
 * to zero by itself, and what rounding left is in the two balances of platform:exchange.
 *
 *   its currency supplier:S gives, platform:exchange gets        what the supplier is owed
 *   currency     platform:exchange gives, platform:cost gets     the same at the day's rate
 *
 * Energy and carbon are posted where they are known, also as 0. So a positive balance of a tenant
 * is what it owes, a negative one of a supplier what it is owed. A correction moves what it adds;
 * an amount below 0 goes the other way. */
#ifndef BOOKS_ENTRY_H
#define BOOKS_ENTRY_H

#include "books/books.h"

#define ENTRY_POSTINGS_MAX 16
#define ENTRY_ACCOUNT_MAX  (2 * BOOKS_NAME_MAX + 16)
#define ENTRY_UNIT_MAX     8

#define ENTRY_ENERGY          "energy"
#define ENTRY_CARBON_LOCATION "co2loc"
#define ENTRY_CARBON_MARKET   "co2mkt"

struct posting {
    char account[ENTRY_ACCOUNT_MAX];
    char unit[ENTRY_UNIT_MAX];
    int64_t amount;
};

/* The postings of a row; returns how many. A part of it that has no price has none. */
int entry_of(const struct books_row *r, struct posting ret[ENTRY_POSTINGS_MAX]);

#endif
