/* How long answers are: an estimate (policy/estimate.h) for each tenant and model, of requests that
 * set a maximum and of those that set none. Memory is taken for tenants of which something was
 * learned, about 24 KiB each; where there is none, nothing is learned. [any] */
#ifndef CLOUD_ESTIMATES_H
#define CLOUD_ESTIMATES_H

#include <pthread.h>
#include <stdint.h>

struct estimates {
    pthread_mutex_t lock; /* rank: a leaf */
    struct estimates_row **row;
    int n;
};

/* Of so many tenants. 0 or ERR_NOMEM. */
int estimates_init(struct estimates *t, int n_tenants);
void estimates_done(struct estimates *t);
/* An answer had so many tokens. */
void estimates_add(struct estimates *t, int i_tenant, int i_model, int is_capped, int64_t tokens);
/* As estimate_spare. */
int64_t estimates_spare(struct estimates *t, int i_tenant, int i_model, int is_capped,
                        int64_t n_choices, int64_t answers);

#endif
