/* What each supplier, and each owner of suppliers, had of what was spent in the last day
 * (policy/concentration.h), so that no one has more than he may. Any thread.
 *
 * Limits: SHARES_MAX names; later ones are not counted on their own, and have no limit. */
#ifndef CLOUD_SHARES_H
#define CLOUD_SHARES_H

#include <pthread.h>
#include <stdint.h>

#include "policy/concentration.h"

#define SHARES_MAX      128
#define SHARES_NAME_MAX 128

struct shares {
    pthread_mutex_t lock; /* rank: a leaf */
    struct share all;
    struct {
        char name[SHARES_NAME_MAX];
        struct share share;
    } of[SHARES_MAX];
    int n;
};

void shares_init(struct shares *s);
void shares_done(struct shares *s);
/* The number of that name, n bytes of it, made where it is missing; -1: there are too many, or it
 * is none. Suppliers' and owners' names are apart (kind). */
int shares_find(struct shares *s, char kind, const char *name, size_t n);
/* So much was spent with supplier i and owner k; either may be -1. */
void shares_add(struct shares *s, int i, int k, int64_t amount, int64_t now_us);
/* Has it more than so many percent of all? */
int shares_is_over(struct shares *s, int i, int32_t percent, int64_t now_us);

#endif
