/* The world's own state, shared by the files of this room. All of it is its io thread's, but for
 * what says so. */
#ifndef DEMO_WORLD_H
#define DEMO_WORLD_H

#include <stdatomic.h>

#include "demo/demo.h"
#include "net/net.h"
#include "net/upstream.h"

#define DEMO_TICK_MS 50
#define DEMO_SITES   18
#define DEMO_MODEL   "gpt-oss-120b" /* what the simulated sites serve */

/* A simulated site: how its suppliers do, and its weather. */
enum demo_mood { DEMO_WELL, DEMO_SLOW, DEMO_FAILING };
struct demo_site {
    enum demo_mood mood;
    double heat, heat_wanted; /* degrees above the season */
};

/* An answer that is being played; x NULL: free. */
struct demo_answer {
    struct demo_world *w;
    struct net_exchange *x;
    int i_site, is_stream, has_begun;
    int n_prompt, n_tokens, n_told;
    int64_t due_us; /* when it goes on */
    uint64_t id;
};

/* A request of a tenant; r NULL: free. */
struct demo_visitor {
    struct demo_world *w;
    struct upstream_request *r;
    struct buf body;
    int is_real;
};

/* What the script asks of the admin API; one after the other. */
struct demo_deed {
    struct upstream_request *r;
    struct buf body, answer;
    const char *what;
};

struct demo_world {
    struct demo_setup setup;
    struct net_server *net;
    struct net_timer *tick;
    struct upstream *server; /* set by demo_start */
    int port;
    char admin[160], key[DEMO_TENANTS][160]; /* headers; set by demo_start */
    _Atomic int is_going, is_stopped;
    int is_over;
    uint64_t n_drawn;
    struct demo_site site[DEMO_SITES];
    struct demo_answer answer[DEMO_ANSWERS_MAX];
    uint64_t n_answers;
    struct demo_visitor visitor[DEMO_VISITORS_MAX];
    double demand[DEMO_TENANTS]; /* of each tenant, beside what is usual */
    int i_scene;
    struct demo_deed deed;
    struct demo_counts counts;
};

double demo_draw(struct demo_world *w); /* in [0, 1) */
/* The next day of the calendar as a part of the year, and its number from 0. */
double demo_day(void);

/* Simulated sites (stage.c). */
const char *demo_site_name(int i);
int demo_site_find(const char *name);          /* -1 */
int demo_site_is_in(int i, const char *place); /* the place is its name or its region */
void stage_request(struct demo_world *w, struct net_exchange *x);
void stage_body(struct demo_world *w, struct net_exchange *x, int code);
void stage_gone(struct net_exchange *x);
void stage_tick(struct demo_world *w, int64_t now_us);

/* Tenants (crowd.c). */
void crowd_tick(struct demo_world *w);
void crowd_free(struct demo_world *w);

/* The script (script.c). */
void script_tick(struct demo_world *w);
int script_is_idle(const struct demo_world *w); /* nothing is due, and nothing under way */
void script_free(struct demo_world *w);

/* A contract's text after the changes up to that stage (scenery.c). */
int scenery_contract(int i, int stage, struct buf *out, struct err *e);

#endif
