/* The server's own state, shared by the files of this room. */
#ifndef SERVE_SERVER_H
#define SERVE_SERVER_H

#include <pthread.h>
#include <stdatomic.h>

#include "cloud/cloud.h"
#include "net/net.h"
#include "serve/call.h"
#include "serve/meter.h"
#include "serve/prep.h"
#include "serve/serve.h"

#define TICK_MS       100
#define BODY_INLINE   16384               /* bodies up to this are read on the io thread itself */
#define PENDING_PAUSE ((size_t)256 << 10) /* unsent answer bytes at which a job is left to wait */

/* A model that is served; its row has the same number as in the cloud. */
struct served {
    const char *names[1 + CONFIG_STRS_MAX];
    struct meter_model meters;
};

struct recent;
struct snapshot;

/* One io thread's. */
struct server_io {
    struct server *s;
    int i;
    struct call *calls; /* every call that lives there */
    struct net_timer *tick;
    int ticking;
    struct recent *recent; /* requests that ended here */
};

struct server {
    const struct serve_config *config;
    struct cloud *cloud;
    struct net_server *net;
    struct server_io *io;
    struct prep *prep;
    struct meter *meter;
    struct served served[SERVE_MODELS_MAX];
    int n_served;
    int64_t created; /* unix seconds */
    int64_t opened_us;
    char cpu[128]; /* its name */
    uint64_t machine_bytes;
    _Atomic uint64_t n_ordered; /* requests handed to suppliers */
    _Atomic int n_watchers, n_watchers_of[CLOUD_TENANTS_MAX], keys_read;
    uint64_t salt_seed;
    _Atomic int64_t n_calls;
    _Atomic int draining;
    int wake_fd; /* eventfd: drain, reload, a load that ended */
    _Atomic int want_drain, want_reload;

    /* The local engines; none in tests with a supplier of their own. */
    struct local *locals;
    int n_locals;
    struct team *team;
    pthread_t loader;
    int loader_started;
    _Atomic int n_loaded, load_failed;
};

/* serve_open in two halves, so that tests can put suppliers of their own between them. */
int server_new(struct server **ret, const struct serve_config *c, struct err *e);
/* Before server_start; offers may come and go at any time. */
int server_add_model(struct server *s, const char *const *names, int n_names, struct err *e);
int server_start(struct server *s, struct err *e);

int server_has_one_tenant(const struct server *s); /* whose all places are */

struct served *server_model(const struct call *c); /* of its offer */

/* probes.c: answers that need no supplier's work. */
struct page_file;
void probes_page(struct call *c, const struct page_file *f); /* 405 for anything but GET and HEAD */
void probes_models(struct call *c);
void probes_model(struct call *c);
void probes_public_models(struct call *c);
void probes_public_model(struct call *c);
void probes_warming(struct call *c);
void probes_health(struct call *c);
void probes_ready(struct call *c);
void probes_metrics(struct call *c);

#endif
