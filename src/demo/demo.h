/* Door of the demo room: a year of a made-up world around a real server, for people who want to see
 * what the product does. One noun:
 *
 *   struct demo_world   the simulated sites' suppliers, their weather, the tenants who send
 *                       requests, and the script of what happens when.
 *
 * The world is outside of the product: it speaks to the server over HTTP only, as suppliers, feeds,
 * tenants and operators do. Its calendar is the wall clock, which the caller pretends
 * (base/clock.h). Texts of the configuration and of the contracts are those of examples/, with
 * what the script needs put in (scenery.c); all that they tell is made up.
 *
 * Threads: one io thread of its own; functions here are called on the caller's.
 * Limits: DEMO_VISITORS_MAX requests under way, DEMO_ANSWERS_MAX answers being played. */
#ifndef DEMO_DEMO_H
#define DEMO_DEMO_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define DEMO_FROM         "2026-12-01" /* when its year begins */
#define DEMO_DAYS         365
#define DEMO_TENANTS      5
#define DEMO_CONTRACTS    3
#define DEMO_VISITORS_MAX 256
#define DEMO_ANSWERS_MAX  256
#define DEMO_TEXT_MAX     ((size_t)1 << 20)

struct demo_world;

struct demo_setup {
    uint64_t seed;
    int n_days;
    const char *model; /* of the real engine, as clients name it; NULL: its site is played, too */
    /* Something happened, at that time of the calendar. On the world's thread. */
    void (*tell)(void *ctx, int64_t wall_us, const char *text);
    void (*over)(void *ctx); /* the last day has ended; on the world's thread, once */
    void *ctx;
};

/* Listens on a port of its own and answers there; nothing happens yet. */
int demo_open(struct demo_world **ret, const struct demo_setup *s, struct err *e);

/* Where the server keeps what, as its configuration says it. */
struct demo_places {
    const char *host, *home;
    int port;
    const char *model_file;
};
/* The server's configuration. ERR_FORMAT: examples/ has changed, and the script must, too. */
int demo_config(const struct demo_world *w, const struct demo_places *p, struct buf *out,
                struct err *e);
const char *demo_tenant(int i);
/* What a contract says in the beginning. */
int demo_contract(int i, struct buf *out, struct err *e);
const char *demo_contract_name(int i);

/* The script: a line each, in order; NULL past the end. */
const char *demo_scene(int i, int64_t *ret_s);

/* How the world comes in. */
struct demo_doors {
    const char *url; /* of the server */
    const char *admin_key, *key[DEMO_TENANTS];
};
/* The calendar goes, tenants come, and the script begins. */
int demo_start(struct demo_world *w, const struct demo_doors *d, struct err *e);
void demo_stop(struct demo_world *w); /* nothing new begins [any], also a signal handler */

struct demo_counts {
    int64_t n_sent, n_answered, n_refused, n_failed; /* requests: refused with 4xx */
    int64_t n_within, n_real;  /* answered: within a contract; by the real engine */
    int n_acts, n_acts_failed; /* what the script asked of the admin API */
};
/* Ends it. Accepts NULL. */
void demo_close(struct demo_world *w, struct demo_counts *ret);

#endif
