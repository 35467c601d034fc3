#include "serve/power_thread.h"

#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "cloud/power_watch.h"
#include "policy/power_hours.h"
#include "serve/server.h"

#define LOOK_MS 250
#define LOOK_US (POWER_HOUR_US * 8) /* so much of a pretended day passes at most between looks */

struct power_thread {
    struct power_watch *watch;
    pthread_t thread;
    pthread_mutex_t lock; /* of stop; rank: a leaf */
    pthread_cond_t wake;
    int stop, has_thread;
};

static int64_t look_us(void)
{
    int64_t us = LOOK_MS * 1000;

    return clock_pace() > 1 && us * clock_pace() > LOOK_US ? LOOK_US / clock_pace() : us;
}

static void *power_main(void *arg)
{
    struct power_thread *t = arg;
    struct timespec until;

    pthread_setname_np(pthread_self(), "power");
    pthread_mutex_lock(&t->lock);
    while (!t->stop) {
        pthread_mutex_unlock(&t->lock);
        power_watch_look(t->watch, clock_now_us(), clock_wall_us());
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += look_us() * 1000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_mutex_lock(&t->lock);
        if (!t->stop)
            pthread_cond_timedwait(&t->wake, &t->lock, &until);
    }
    pthread_mutex_unlock(&t->lock);
    return NULL;
}

static int has_power(const struct serve_config *c)
{
    int is_kept = c->ledger && *c->ledger && strcmp(c->ledger, "off") != 0;

    for (int i = 0; is_kept && i < c->n_sites; i++) {
        if (c->sites[i].terms.n_power)
            return 1;
    }
    return 0;
}

static int open_watch(struct server *s, struct power_thread *t, struct err *e)
{
    const struct serve_config *c = s->config;
    int is_signed = c->receipt_key && *c->receipt_key && strcmp(c->receipt_key, "off") != 0, r = 0;
    struct tree_key key;

    if (is_signed)
        r = tree_key_open(&key, c->receipt_key, e);
    if (!r)
        r = power_watch_open(&t->watch, s->cloud, c->ledger, is_signed ? &key : NULL, clock_pace(),
                             e);
    sodium_memzero(&key, sizeof key);
    return r;
}

int power_thread_start(struct server *s, struct err *e)
{
    const struct serve_config *c = s->config;
    struct power_thread *t;
    int r;

    if (s->power || !has_power(c))
        return 0;
    t = calloc(1, sizeof *t);
    if (!t)
        return err_set(e, ERR_NOMEM, "out of memory");
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->wake, NULL);
    s->power = t;
    r = open_watch(s, t, e);
    if (r)
        return r;
    t->has_thread = !pthread_create(&t->thread, NULL, power_main, t);
    return t->has_thread ? 0 : err_set(e, ERR_NOMEM, "no thread for the power of sites");
}

void power_thread_stop(struct server *s)
{
    struct power_thread *t = s->power;

    if (!t)
        return;
    pthread_mutex_lock(&t->lock);
    t->stop = 1;
    pthread_cond_signal(&t->wake);
    pthread_mutex_unlock(&t->lock);
    if (t->has_thread)
        pthread_join(t->thread, NULL);
    power_watch_close(t->watch, clock_wall_us());
    pthread_mutex_destroy(&t->lock);
    pthread_cond_destroy(&t->wake);
    free(t);
    s->power = NULL;
}
