/* What files say of a log: the root of its first entries, or the hash of one entry. All that is
 * said of one place must be the same, and a range that has the place says what is true of it. Each
 * place is found by its hash, so a range with n entries is compared with m claims in n + m steps.
 * One thread. Limit: CLAIMS_MAX. */
#ifndef CMD_CLAIMS_H
#define CMD_CLAIMS_H

#include "base/err.h"
#include "base/map.h"
#include "books/log_export.h"

#define CLAIMS_MAX (1 << 20)

/* What a place is: of either log, an entry or the head of a size. */
enum claim_kind { CLAIM_ENTRY, CLAIM_HEAD, CLAIM_POWER, CLAIM_POWER_HEAD };

struct claim {
    const char *file;
    enum claim_kind kind;
    int is_met; /* is_met: a range, or a later head, has shown it */
    int next;   /* another claim of this place; -1: none */
    int64_t at; /* the size of a head, or the entry's number */
    unsigned char hash[TREE_HASH];
};

struct claims {
    struct claim *all;
    int n, cap;
    struct map places; /* the first claim of each */
};

int claims_open(struct claims *c, struct err *e);
void claims_close(struct claims *c); /* accepts zeroed */
/* Note what a file says: ERR_FORMAT, another one says something else. */
int claims_add(struct claims *c, const char *file, enum claim_kind kind, int64_t at,
               const unsigned char hash[TREE_HASH], struct err *e);
/* The first claim of a place, then `next` of each; -1: there is none. */
int claims_find(const struct claims *c, enum claim_kind kind, int64_t at);
/* What is true of the place, by a range: every claim of another file must say the same. A range's
 * own heads are compared where it is read. */
int claims_meet(struct claims *c, const char *file, enum claim_kind kind, int64_t at,
                const unsigned char hash[TREE_HASH], struct err *e);

#endif
