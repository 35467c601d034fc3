/* The server's own state, shared by the files of this room. */
#ifndef SERVE_SERVER_H
#define SERVE_SERVER_H

#include <pthread.h>
#include <stdatomic.h>

#include "cloud/cloud.h"
#include "cloud/sessions.h"
#include "console/console.h"
#include "console/request_store.h"
#include "console/watch.h"
#include "net/net.h"
#include "serve/call.h"
#include "serve/certificates.h"
#include "serve/moves.h"
#include "serve/prep.h"
#include "serve/serve.h"
#include "serve/successor.h"

#define TICK_MS       100
#define BODY_INLINE   16384               /* bodies up to this are read on the io thread itself */
#define PENDING_PAUSE ((size_t)256 << 10) /* unsent answer bytes at which a job is left to wait */

/* A model that is served; its row has the same number as in the cloud. */
struct served {
    const char *names[1 + CONFIG_STRS_MAX];
};

/* One io thread's. */
struct server_io {
    struct server *s;
    int i;
    struct call *calls; /* every call that lives there */
    struct net_timer *tick;
    int ticking;
    struct rows *rows; /* the calls' rows, for the console */
};

struct server {
    _Atomic(const struct serve_config *) config;
    int generation; /* of the configuration, from 1 */
    struct cloud *cloud;
    struct net_server *net;
    struct certificates certificates;
    struct successor successor;
    struct moves moves;  /* of a drain to another server */
    _Atomic int settling; /* a statement is being made */
    _Atomic int leaving; /* a successor serves; this process finishes what runs */
    struct server_io *io;
    struct prep *prep;
    struct console *console;
    struct sessions *sessions;
    struct request_store *requests; /* NULL: no request log */
    struct served served[SERVE_MODELS_MAX];
    int n_served;
    struct hooks *hooks;         /* with its timer, on the first io thread */
    char stored_folder[4096];    /* of stored answers; "": none */
    struct mbox_item again_item; /* asks an io thread to take over answers; posted by main */
    int again_io;                /* whose turn it was */
    struct net_timer *hooks_timer;
    struct trace_export *traces;           /* NULL: none are sent */
    struct environment *environment;       /* what sensors say of sites; NULL: there are none */
    struct node_lender *node_lender;       /* lends nodes of sites; NULL: none has any */
    struct site_clock *site_clock;         /* NULL: there are no sites */
    struct power_thread *power;            /* what power they have, written down; NULL: it is not */
    struct site_watch *site_watch;         /* what files and feeds say of sites */
    struct webhooks *webhooks;             /* the newest that were made */
    _Atomic(struct suppliers *) suppliers; /* those elsewhere, the newest; NULL: none */
    int is_started;                        /* no model comes any more */
    _Atomic int keys_read;                 /* how often, after the first time */
    uint64_t salt_seed;
    _Atomic int64_t n_calls;
    _Atomic int draining;
    int64_t beat_us_next; /* when the service manager is told next that all is well */
    int wake_fd;          /* eventfd: drain, reload, a load that ended */
    _Atomic int want_drain, want_reload, want_upgrade, want_leave;
    pthread_mutex_t reload_lock; /* how often a reload began and ended, and how the last one went;
                                    rank: a leaf */
    pthread_cond_t reload_ended;
    int64_t reloads_begun, reloads_done;
    struct err reload_err;

    /* The local engines; none in tests with a supplier of their own. */
    struct local *locals;
    int n_locals;
    struct team *team;
    struct energy_source *energy; /* what the engines draw; NULL: nothing is known of it */
    pthread_t loader;
    int loader_started;
    _Atomic int n_loaded, load_failed;
};

/* serve_open in two halves, so that tests can put suppliers of their own between them. */
int server_new(struct server **ret, const struct serve_config *c, struct err *e);
/* Before server_start; offers may come and go at any time. `rates`: what this machine does, NULL:
 * not known. */
int server_add_model(struct server *s, const char *const *names, int n_names, struct err *e);
int server_start(struct server *s, struct err *e);

/* Reload keys and configuration, and wait for it: 0 with the generation in force, or why not. Not
 * on an io thread. */
int server_reload(struct server *s, int *ret_generation, struct err *e);
int server_is_closing(
    const struct server *s); /* it stops, or hands over: nothing new begins [any] */
int server_has_one_tenant(const struct server *s); /* that tenant may have all places */
struct served *server_model(const struct call *c); /* of its offer */

#endif
