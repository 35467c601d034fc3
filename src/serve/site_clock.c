#include "serve/site_clock.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "cloud/site.h"
#include "serve/server.h"

#define EVERY_MS 250

struct site_clock {
    struct cloud *cloud;
    pthread_t thread;
    pthread_mutex_t lock; /* of what follows; rank: a leaf */
    pthread_cond_t wake;
    int stop;
};

static void *tick(void *arg)
{
    struct site_clock *k = arg;
    struct timespec until;

    pthread_setname_np(pthread_self(), "site clock");
    pthread_mutex_lock(&k->lock);
    while (!k->stop) {
        pthread_mutex_unlock(&k->lock);
        cloud_tick_sites(k->cloud, clock_wall_us());
        pthread_mutex_lock(&k->lock);
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += EVERY_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        if (!k->stop)
            pthread_cond_timedwait(&k->wake, &k->lock, &until);
    }
    pthread_mutex_unlock(&k->lock);
    return NULL;
}

/* A clock that is stepped must not hold it up: it waits by the monotonic one. */
static void init_wake(pthread_cond_t *wake)
{
    pthread_condattr_t a;

    pthread_condattr_init(&a);
    pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
    pthread_cond_init(wake, &a);
    pthread_condattr_destroy(&a);
}

int site_clock_start(struct server *s, struct err *e)
{
    struct site_clock *k;

    cloud_tick_sites(s->cloud, clock_wall_us());
    if (s->site_clock || !s->config->n_sites)
        return 0;
    k = calloc(1, sizeof *k);
    if (!k)
        return err_set(e, ERR_NOMEM, "out of memory");
    k->cloud = s->cloud;
    pthread_mutex_init(&k->lock, NULL);
    init_wake(&k->wake);
    if (pthread_create(&k->thread, NULL, tick, k)) {
        free(k);
        return err_set(e, ERR_NOMEM, "no thread for the clock of sites");
    }
    s->site_clock = k;
    return 0;
}

void site_clock_stop(struct server *s)
{
    struct site_clock *k = s->site_clock;

    if (!k)
        return;
    pthread_mutex_lock(&k->lock);
    k->stop = 1;
    pthread_cond_signal(&k->wake);
    pthread_mutex_unlock(&k->lock);
    pthread_join(k->thread, NULL);
    pthread_mutex_destroy(&k->lock);
    pthread_cond_destroy(&k->wake);
    free(k);
    s->site_clock = NULL;
}
