/* A drain to another server: where its unfinished stored answers go, and how far that is.
 *
 * An operator names the other server and a key of its admin API. From then on new requests are
 * refused here, and each answer that is stored and not finished is stopped at the border of a step
 * and sent there with all its records (call_move.c); its client stays, and is told what the other
 * one makes. An answer that the other one refuses goes on here.
 *
 * Threads: [any], but for open and close. Keys are in memory only. */
#ifndef SERVE_MOVES_H
#define SERVE_MOVES_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "base/err.h"

#define MOVES_URL_MAX 512
#define MOVES_WHY_MAX 300
#define MOVES_AT_ONCE 16 /* answers that are stopped and sent together */

struct server;
struct upstream;

/* Where to. It lives as long as the server; others may come after it. */
struct move_target {
    struct upstream *upstream;
    char url[MOVES_URL_MAX], *authorization; /* the header's value; NULL: no key */
    int round;                               /* from 1 */
    struct move_target *before;
};

struct moves {
    char process[33];                  /* this one's name among servers: random */
    _Atomic(struct move_target *) now; /* NULL: there is no drain to another server */
    _Atomic int32_t n_asking;
    _Atomic int64_t n_moved, n_stayed;
    pthread_mutex_t lock;    /* of what is below; rank: a leaf */
    char why[MOVES_WHY_MAX]; /* the last refusal's sentence; "": none */
};

int moves_open(struct moves *m, struct err *e);
/* After the io and prep threads have ended, before the net is closed. */
void moves_close(struct moves *m);

/* Look at the other server, and move there from now on. ca_file, key: NULL: none. ERR_ARG, ERR_IO
 * and what else keeps it from being used. Waits for it: not on an io thread. */
int moves_begin(struct server *s, const char *url, const char *key, const char *ca_file,
                struct err *e);
void moves_note_why(struct moves *m, const char *why);

#endif
