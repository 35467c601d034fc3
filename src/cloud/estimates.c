#include "cloud/estimates.h"

#include <stdlib.h>

#include "cloud/cloud.h"
#include "policy/estimate.h"

struct estimates_row {
    struct estimate of[CLOUD_MODELS_MAX][2];
};

int estimates_init(struct estimates *t, int n_tenants)
{
    pthread_mutex_init(&t->lock, NULL);
    t->row = calloc((size_t)n_tenants, sizeof(struct estimates_row *));
    t->n = t->row ? n_tenants : 0;
    return t->row ? 0 : ERR_NOMEM;
}

void estimates_done(struct estimates *t)
{
    for (int i = 0; i < t->n; i++)
        free(t->row[i]);
    free(t->row);
    pthread_mutex_destroy(&t->lock);
}

void estimates_add(struct estimates *t, int i_tenant, int i_model, int is_capped, int64_t tokens)
{
    pthread_mutex_lock(&t->lock);
    if (!t->row[i_tenant])
        t->row[i_tenant] = calloc(1, sizeof *t->row[i_tenant]);
    if (t->row[i_tenant])
        estimate_add(&t->row[i_tenant]->of[i_model][!!is_capped], tokens);
    pthread_mutex_unlock(&t->lock);
}

int64_t estimates_spare(struct estimates *t, int i_tenant, int i_model, int is_capped,
                        int64_t n_choices, int64_t answers)
{
    int64_t n = 0;

    pthread_mutex_lock(&t->lock);
    if (t->row[i_tenant])
        n = estimate_spare(&t->row[i_tenant]->of[i_model][!!is_capped], n_choices, answers);
    pthread_mutex_unlock(&t->lock);
    return n;
}
