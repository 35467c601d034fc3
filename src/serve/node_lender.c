#include "serve/node_lender.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/put.h"
#include "serve/server.h"
#include "serve/slurm.h"

#define LOOK_US  INT64_C(250000)
#define AGAIN_US INT64_C(1000000) /* between two tries of what was not done */

/* A node, as Slurm said last. */
struct lending_node {
    struct lend_node is;
    int is_ours;      /* drained, and by us */
    int64_t since_s;  /* of its state, unix seconds */
    int64_t tried_us; /* when its jobs were put back last; 0: they were not */
    int64_t asked_us; /* since when it is to come back; 0: it is not */
    int is_told;      /* that it is not back in time */
    char why[120];    /* its jobs could not be put back */
};

/* A site with nodes. One thread looks after it. */
struct lender {
    struct node_lender *all;
    const struct serve_site *site;
    struct slurm slurm;
    pthread_t thread;
    int has_thread;
    struct lend_gate gate;
    struct lend_plan plan;
    struct lending_node node[SITE_NODES_MAX];
    int is_known;   /* Slurm answered once: its nodes are as it said */
    int is_heard;   /* it answered when it was asked last */
    int64_t ask_us; /* when it is to be asked */
    int64_t changed_s;
    char why[160]; /* it did not answer */
};

struct node_lender {
    struct server *s;
    pthread_mutex_t lock; /* of waiting only; rank: a leaf */
    pthread_cond_t wake;
    struct lender *lender;
    int n;
    _Atomic int stop;
};

_Static_assert(CONFIG_STRS_MAX <= SITE_NODES_MAX, "all nodes of a site can be told");

static int n_nodes(const struct lender *l)
{
    return l->site->slurm->nodes.n;
}

static const char *name_of(const struct lender *l, int i)
{
    return l->site->slurm->nodes.v[i];
}

static int is_over(void *ctx)
{
    const struct lender *l = ctx;

    return atomic_load(&l->all->stop);
}

/* What others wrote, as it can stand in JSON, a log and a terminal. */
static void put_plain(char *to, size_t cap, const char *from)
{
    put_text(to, cap, from);
    for (; *to; to++) {
        if (*to < ' ' || *to > '~')
            *to = '?';
    }
}

/* ---- what the cloud is told ------------------------------------------------------------------ */

static void tell(const struct lender *l)
{
    struct site_nodes v = {.n = n_nodes(l)};

    if (!l->is_known)
        return; /* all but those that always serve count as lent */
    v.lent.is_heard = l->is_heard;
    v.lent.n_wanted = l->plan.n_wanted;
    v.lent.cause = lend_cause_name(l->plan.cause);
    v.lent.changed_s = l->changed_s;
    put_text(v.lent.why, sizeof v.lent.why, l->why);
    for (int i = 0; i < v.n; i++) {
        const struct lending_node *n = &l->node[i];
        v.lent.n[n->is.state]++;
        put_text(v.row[i].name, sizeof v.row[i].name, name_of(l, i));
        v.row[i].state = n->is.state;
        v.row[i].since_s = n->since_s;
        if (n->is_told && !*v.lent.why)
            snprintf(v.lent.why, sizeof v.lent.why, "%.40s is not back: %.100s", name_of(l, i),
                     *n->why ? n->why : "its jobs have not ended");
    }
    cloud_tell_site_nodes(l->all->s->cloud, l->site->name, &v);
}

/* ---- what Slurm says ------------------------------------------------------------------------- */

static void log_node(const struct lender *l, int i, enum lend_state was)
{
    LOG_EVENT(LOG_INFO, "site node", LOG_STR("site", l->site->name), LOG_STR("node", name_of(l, i)),
              LOG_STR("state", lend_state_name(l->node[i].is.state)),
              LOG_STR("was", l->is_known ? lend_state_name(was) : ""),
              LOG_STR("cause", lend_cause_name(l->plan.cause)));
}

/* A node is so now. */
static void enter(struct lender *l, int i, enum lend_state state)
{
    struct lending_node *n = &l->node[i];
    enum lend_state was = n->is.state;

    if (l->is_known && was == state)
        return;
    n->is = (struct lend_node){state, clock_now_us()};
    n->since_s = clock_wall_us() / 1000000;
    if (state != LEND_RETURNING) {
        n->tried_us = n->asked_us = 0;
        n->is_told = 0;
        *n->why = 0;
    }
    log_node(l, i, was);
    if (l->is_known)
        l->changed_s = n->since_s;
}

/* It answered, or did not: told when it is not as before. */
static void note(struct lender *l, int r, const struct err *e)
{
    char why[sizeof l->why];

    put_plain(why, sizeof why, r ? e->text : "");
    if (r && (l->is_heard || !*l->why))
        LOG_EVENT(LOG_WARN, "slurm does not answer", LOG_STR("site", l->site->name),
                  LOG_STR("why", why));
    else if (!r && *l->why)
        LOG_EVENT(LOG_INFO, "slurm answers again", LOG_STR("site", l->site->name));
    l->is_heard = !r;
    memcpy(l->why, why, sizeof why);
}

/* Ask it about all nodes. */
static void ask(struct lender *l)
{
    struct slurm_node got[SITE_NODES_MAX];
    struct err e = {0};
    int r = slurm_ask(&l->slurm, got, &e);

    if (r == ERR_CANCELLED)
        return;
    note(l, r, &e);
    l->ask_us = clock_now_us() + l->site->slurm->every * 1000;
    for (int i = 0; !r && i < n_nodes(l); i++) {
        l->node[i].is_ours = got[i].is_ours;
        enter(l, i, got[i].state);
    }
    l->is_known |= !r;
}

/* ---- moving nodes ---------------------------------------------------------------------------- */

/* Something was not done: what the nodes are is asked anew. */
static int failed(struct lender *l, int i, const char *what, const struct err *e)
{
    struct err whole = *e;

    if (e->code == ERR_CANCELLED)
        return 0;
    err_prefix(&whole, "%s %.40s", what, name_of(l, i));
    note(l, whole.code, &whole);
    l->ask_us = clock_now_us() + AGAIN_US;
    return 0;
}

/* Newest first. */
static int take_back(struct lender *l)
{
    struct lend_node v[SITE_NODES_MAX];
    struct err e = {0};
    int i;

    for (i = 0; i < n_nodes(l); i++)
        v[i] = l->node[i].is;
    for (int k = 0; k < l->plan.n_back; k++) {
        i = lend_next_back(v, n_nodes(l));
        if (i < 0)
            break;
        if (slurm_drain(&l->slurm, name_of(l, i), &e))
            return failed(l, i, "taking back", &e);
        v[i].state = LEND_RETURNING;
        enter(l, i, LEND_RETURNING);
        l->node[i].is_ours = 1;
        l->node[i].asked_us = clock_now_us();
    }
    return 1;
}

static int lend_out(struct lender *l)
{
    struct lend_node v[SITE_NODES_MAX];
    struct err e = {0};
    int i;

    for (i = 0; i < n_nodes(l); i++)
        v[i] = l->node[i].is;
    for (int k = 0; k < l->plan.n_out; k++) {
        i = lend_next_out(v, n_nodes(l));
        if (i < 0)
            break;
        /* What is said first is that it serves no more: what it has left is used by nobody. */
        v[i].state = LEND_LENT;
        enter(l, i, LEND_LENT);
        tell(l);
        if (slurm_lend(&l->slurm, name_of(l, i), &e))
            return failed(l, i, "lending", &e);
    }
    return 1;
}

/* Which are not back in time; their jobs stay all the same. */
static void look_at_late(struct lender *l)
{
    int64_t now_us = clock_now_us(), most_us = l->site->slurm->back_within * 1000;

    for (int i = 0; i < n_nodes(l); i++) {
        struct lending_node *n = &l->node[i];
        if (n->is_told || !n->asked_us || now_us - n->asked_us < most_us)
            continue;
        n->is_told = 1;
        LOG_EVENT(LOG_WARN, "site node not back", LOG_STR("site", l->site->name),
                  LOG_STR("node", name_of(l, i)),
                  LOG_INT("after_ms", (now_us - n->asked_us) / 1000),
                  LOG_STR("why", *n->why ? n->why : "its jobs have not ended"));
    }
}

/* It comes back to us; nodes that somebody else drained are left to their jobs. */
static int is_coming(const struct lending_node *n)
{
    return n->is.state == LEND_RETURNING && n->is_ours;
}

/* Is any coming that is not late? */
static int is_waiting(const struct lender *l)
{
    for (int i = 0; i < n_nodes(l); i++) {
        if (is_coming(&l->node[i]) && !l->node[i].is_told)
            return 1;
    }
    return 0;
}

/* Put its jobs back into Slurm's queue. Returns 0 where Slurm did not answer in time. */
static int clear_node(struct lender *l, int i)
{
    struct lending_node *n = &l->node[i];
    struct err e = {0};
    int n_jobs = 0, r = slurm_requeue(&l->slurm, name_of(l, i), &n_jobs, &e);

    n->tried_us = clock_now_us();
    put_plain(n->why, sizeof n->why, r ? e.text : "");
    if (n_jobs)
        LOG_EVENT(LOG_INFO, "site node's jobs requeued", LOG_STR("site", l->site->name),
                  LOG_STR("node", name_of(l, i)), LOG_INT("jobs", n_jobs));
    return r == ERR_TIMEOUT ? failed(l, i, "clearing", &e) : 1;
}

static void clear_nodes(struct lender *l)
{
    for (int i = 0; i < n_nodes(l) && !is_over(l); i++) {
        struct lending_node *n = &l->node[i];
        int64_t now_us = clock_now_us();
        int64_t pause_us = n->is_told ? l->site->slurm->every * 1000 : AGAIN_US;
        if (!is_coming(n))
            continue;
        if (!n->asked_us)
            n->asked_us = now_us; /* another process began it */
        if ((!n->tried_us || now_us - n->tried_us >= pause_us) && !clear_node(l, i))
            return;
    }
}

/* What to do by what is known; it is done by what Slurm says just before. */
static int decide(struct lender *l)
{
    const struct serve_slurm *s = l->site->slurm;
    const struct lend_rules rules = {(int)s->keep, s->idle_for * 1000};
    struct lend_node v[SITE_NODES_MAX];
    struct lend_site now;

    if (cloud_view_site_work(l->all->s->cloud, l->site->name, &now))
        return 0;
    for (int i = 0; i < n_nodes(l); i++)
        v[i] = l->node[i].is;
    l->plan = lend_step(&l->gate, &rules, &now, v, n_nodes(l), clock_now_us());
    return l->plan.n_back || l->plan.n_out;
}

static void look(struct lender *l)
{
    int64_t now_us = clock_now_us();

    if (now_us >= l->ask_us || (l->is_heard && is_waiting(l)))
        ask(l);
    if (!l->is_known)
        return;
    if (decide(l) && l->is_heard && (l->plan.n_back ? take_back(l) : lend_out(l)))
        l->ask_us = now_us; /* whether it is so */
    if (l->is_heard)
        clear_nodes(l);
    look_at_late(l);
    tell(l);
}

/* ---- threads --------------------------------------------------------------------------------- */

static void *lender_main(void *arg)
{
    struct lender *l = arg;
    struct node_lender *all = l->all;

    pthread_setname_np(pthread_self(), "slurm");
    while (!is_over(l)) {
        struct timespec t;
        int64_t until_us;
        int r = 0;
        look(l);
        until_us = clock_now_us() + LOOK_US;
        t = (struct timespec){until_us / 1000000, until_us % 1000000 * 1000};
        pthread_mutex_lock(&all->lock);
        while (!atomic_load(&all->stop) && !r)
            r = pthread_cond_timedwait(&all->wake, &all->lock, &t);
        pthread_mutex_unlock(&all->lock);
    }
    return NULL;
}

static int node_of(const struct lender *l, const char *name)
{
    for (int i = 0; i < n_nodes(l); i++) {
        if (!strcmp(name_of(l, i), name))
            return i;
    }
    return -1;
}

/* What was known of its nodes goes on, where it is known of all. */
static void inherit(struct lender *l, const struct lender *old)
{
    int is_whole = old->is_known;

    for (int i = 0; i < n_nodes(l); i++) {
        int was = node_of(old, name_of(l, i));
        if (was >= 0)
            l->node[i] = old->node[was];
        is_whole &= was >= 0;
    }
    l->is_known = is_whole;
    l->is_heard = old->is_heard;
    l->gate = old->gate;
    l->changed_s = old->changed_s;
    memcpy(l->why, old->why, sizeof l->why);
}

static void make_lenders(struct node_lender *all, const struct node_lender *old)
{
    const struct serve_config *c = all->s->config;

    for (int i = 0; i < c->n_sites; i++) {
        struct lender *l = &all->lender[all->n];
        if (!c->sites[i].slurm)
            continue;
        *l = (struct lender){.all = all, .site = &c->sites[i]};
        l->slurm = (struct slurm){l->site->slurm, is_over, l};
        for (int k = 0; old && k < old->n; k++) {
            if (!strcmp(old->lender[k].site->name, l->site->name))
                inherit(l, &old->lender[k]);
        }
        all->n++;
    }
}

static void stop_threads(struct node_lender *all)
{
    pthread_mutex_lock(&all->lock);
    atomic_store(&all->stop, 1);
    pthread_cond_broadcast(&all->wake);
    pthread_mutex_unlock(&all->lock);
    for (int i = 0; i < all->n; i++) {
        if (all->lender[i].has_thread)
            pthread_join(all->lender[i].thread, NULL);
        all->lender[i].has_thread = 0;
    }
}

static void lender_free(struct node_lender *all)
{
    if (!all)
        return;
    stop_threads(all);
    pthread_mutex_destroy(&all->lock);
    pthread_cond_destroy(&all->wake);
    free(all->lender);
    free(all);
}

static int count_sites(const struct serve_config *c)
{
    int n = 0;

    for (int i = 0; i < c->n_sites; i++)
        n += c->sites[i].slurm != NULL;
    return n;
}

/* NULL and 0 where the configuration has no nodes. */
static int make(struct server *s, const struct node_lender *old, struct node_lender **ret)
{
    int n = count_sites(s->config), r = 0;
    struct node_lender *all;
    pthread_condattr_t a;

    *ret = NULL;
    if (!n)
        return 0;
    all = calloc(1, sizeof *all);
    if (!all)
        return ERR_NOMEM;
    all->s = s;
    pthread_mutex_init(&all->lock, NULL);
    pthread_condattr_init(&a);
    pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
    pthread_cond_init(&all->wake, &a);
    pthread_condattr_destroy(&a);
    all->lender = calloc((size_t)n, sizeof *all->lender);
    if (!all->lender)
        r = ERR_NOMEM;
    else
        make_lenders(all, old);
    for (int i = 0; !r && i < all->n; i++) {
        struct lender *l = &all->lender[i];
        l->has_thread = !pthread_create(&l->thread, NULL, lender_main, l);
        r = l->has_thread ? 0 : ERR_NOMEM;
    }
    if (r)
        lender_free(all);
    else
        *ret = all;
    return r;
}

int node_lender_start(struct server *s, struct err *e)
{
    s->node_lender = NULL;
    return node_lender_swap(s, e);
}

int node_lender_swap(struct server *s, struct err *e)
{
    struct node_lender *old = s->node_lender;
    int r;

    if (old)
        stop_threads(old);
    r = make(s, old, &s->node_lender);
    lender_free(old);
    return r ? err_set(e, ERR_NOMEM, "no memory or no thread for the nodes of sites") : 0;
}

void node_lender_stop(struct server *s)
{
    lender_free(s->node_lender);
    s->node_lender = NULL;
}
