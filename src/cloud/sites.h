/* The table of sites, inside of the cloud room. A site keeps its place while the process runs, so
 * that offers hold its number; what the configuration says of it can be exchanged. What every
 * request asks for is atomic; the rest is under a lock.
 *
 * All functions: any thread, but init and done. */
#ifndef CLOUD_SITES_H
#define CLOUD_SITES_H

#include <pthread.h>
#include <stdatomic.h>

#include "cloud/site.h"

struct site {
    char name[SITE_NAME_MAX];
    _Atomic(const struct site_terms *) terms; /* NULL: the configuration does not have it */
    _Atomic int32_t factor_ppm;               /* in force */
    _Atomic int32_t places_ppm;               /* of its places: the factor less lent nodes */
    _Atomic int admits;                       /* an enum lifecycle_admits */
    _Atomic int32_t pue_permille;             /* measured; < 0: it is not */
    _Atomic int64_t n_requests;
    /* Under the lock: */
    int32_t file_ppm;
    struct energy used; /* by requests; unknown: by none of which it is known */
    int64_t n_unmetered;
    struct site_order order;
    struct site_curtailed curtailed;
    struct carbon_hours *hours;
    char why_factor[160], why_carbon[160];
    struct site_environment *environment; /* NULL: it was told nothing */
    struct site_nodes *nodes;             /* NULL: it was told nothing */
    int told_state;                       /* that was logged last; -1: it is not there */
    int32_t told_ppm;
    struct site_curtailed told_curtailed;
};

struct sites {
    pthread_mutex_t lock; /* rank: a leaf */
    struct site *site;    /* [SITES_EVER_MAX] */
    _Atomic int n;
    const struct cloud_sites *now; /* NULL: none */
    int64_t wall_us;               /* what time it is */
    struct site_call *call;        /* those of the store that may matter yet */
    int n_calls;
};

int sites_init(struct sites *s); /* ERR_NOMEM */
void sites_done(struct sites *s);

int sites_swap(struct sites *s, const struct cloud_sites *next, struct err *e);
int sites_find(const struct sites *s, const char *name); /* -1: there is none */
/* These change the factor in force, of which the caller then tells the suppliers. */
void sites_tell_factor(struct sites *s, const char *name, int32_t ppm, const char *why);
int sites_tell_environment(struct sites *s, const char *name, const struct site_environment *v);
int sites_tell_nodes(struct sites *s, const char *name, const struct site_nodes *v);
void sites_order(struct sites *s, const char *name, const struct site_order *o);
void sites_tell_carbon(struct sites *s, const char *name, struct carbon_hours *h, const char *why);

/* It is that time now: states and curtailment go by it. Returns whether a factor is another. */
int sites_tick(struct sites *s, int64_t wall_us);
/* These are the calls from now on: taken over, malloc'ed, may be NULL. */
void sites_set_calls(struct sites *s, struct site_call *calls, int n);

/* What is new of a site since this was asked last: 0, or 1. */
struct site_news {
    int was_state, state; /* enum lifecycle_state; -1: it was not there, or is gone */
    int32_t was_ppm, ppm; /* the same while curtailment goes down or up */
    struct site_curtailed was_curtailed, curtailed; /* by their phases */
    int64_t at_us;                                  /* what time it is */
};
int sites_take_news(struct sites *s, int i, struct site_news *ret);

/* i < 0 is no site: all of its factor, no terms. */
int32_t sites_factor(const struct sites *s, int i);
int32_t sites_places(const struct sites *s, int i); /* the part of its places that may be used */
const struct site_terms *sites_terms(const struct sites *s, int i);
void sites_tell_pue(struct sites *s, const char *name, int32_t permille);
/* Measured, or as the configuration says; 0: neither. */
int32_t sites_pue(const struct sites *s, int i);
/* May its tenant be served there? */
int sites_may_serve(const struct sites *s, int i, const char *tenant);
/* A request was served there, and used so much. */
void sites_count(struct sites *s, int i, const struct energy *used);
/* What a kilowatt-hour emits there in that hour; CARBON_UNKNOWN. */
int64_t sites_mg_per_kwh(struct sites *s, int i, enum carbon_basis b, int64_t at_s);
int sites_view_environment(struct sites *s, int i, struct site_environment *ret); /* ERR_NOTFOUND */
int sites_view_nodes(struct sites *s, int i, struct site_nodes *ret);             /* ERR_NOTFOUND */
/* The lowest factor that curtailment announces for the next five minutes. */
int32_t sites_soon(struct sites *s, int i);
/* As of the last tick; carbon is of the hour of wall_s. */
void sites_view(struct sites *s, int i, int64_t wall_s, struct site_view *ret);

#endif
