/* The fields of a contract's file (contract_file.h), a table for each map in it: where a value lies
 * in struct contract, how it is read, and how it is written as JSON. Pure. */
#ifndef CLOUD_CONTRACT_FIELD_H
#define CLOUD_CONTRACT_FIELD_H

#include <stddef.h>

#include "base/json.h"
#include "base/zone.h"
#include "policy/contract.h"

enum contract_field_kind {
    FIELD_NAME,     /* const char *; as names of accounts */
    FIELD_TEXT,     /* const char * */
    FIELD_NAMES,    /* struct contract_names: a list of names */
    FIELD_DAY,      /* int64_t: the first moment of that day of the contract's zone */
    FIELD_WATTS,    /* int64_t, written in megawatts */
    FIELD_MONEY,    /* int64_t nano-units */
    FIELD_PPM,      /* int64_t millionths, written as a share: 0.25 */
    FIELD_REST,     /* the same of what is left: 0.75 is kept as 250000 */
    FIELD_PERCENT,  /* as FIELD_PPM, written in percent */
    FIELD_COUNT,    /* int64_t */
    FIELD_CHOICE,   /* int: the index of its word */
    FIELD_CURRENCY, /* char[4] */
    FIELD_ZONE,     /* const char * */
};
struct contract_field {
    const char *key;
    enum contract_field_kind kind;
    int is_required;
    size_t offset;
    const char *words; /* of a choice: "a|b|c" */
};
/* Each ends with a row without key. */
extern const struct contract_field contract_fields[], contract_supplier_fields[],
    contract_customer_fields[], contract_backstop_fields[], contract_load_fields[],
    contract_tranche_fields[];

int contract_name_ok(const char *s);
/* A value's text into its place; not a list. What is wrong with it, or NULL. Text is not copied. */
const char *contract_field_read(const struct contract_field *d, const struct zone *z,
                                const char *text, void *to);
/* A new object of a map; what has its default is left out. NULL: no memory. */
json_t *contract_map_json(const struct contract_field *d, const void *from, const struct zone *z);

#endif
