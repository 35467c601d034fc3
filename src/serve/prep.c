#include "serve/prep.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "policy/rota.h"
#include "serve/server.h"

#define PREP_THREADS_MAX 64
#define PREP_NICE        5

struct prep {
    pthread_mutex_t lock; /* rank: a leaf */
    pthread_cond_t some;
    struct call *first; /* not ordered: policy/rota says which is next */
    struct rota rota;
    uint64_t n_pushed;
    int n_queued, n_threads, stop;
    pthread_t thread[PREP_THREADS_MAX];
};

/* The call whose turn it is: the address of the list's pointer to it. Under the lock. */
static struct call **next(struct prep *p, struct rota_one *ret)
{
    struct call **best = NULL;

    for (struct call **at = &p->first; *at; at = &(*at)->prep_next) {
        struct rota_one one = {.tenant = (*at)->ticket.i_tenant, .order = (*at)->prep_order};
        if (best && !rota_before(&p->rota, &one, ret))
            continue;
        best = at;
        *ret = one;
    }
    return best;
}

static struct call *pop(struct prep *p)
{
    struct call **at, *c = NULL;
    struct rota_one one;

    pthread_mutex_lock(&p->lock);
    while (!p->first && !p->stop)
        pthread_cond_wait(&p->some, &p->lock);
    at = next(p, &one);
    if (at) {
        c = *at;
        *at = c->prep_next;
        rota_took(&p->rota, &one);
        p->n_queued--;
    }
    pthread_mutex_unlock(&p->lock);
    return c;
}

static void *prep_main(void *arg)
{
    struct prep *p = arg;
    struct call *c;
    struct mbox *home;

    pthread_setname_np(pthread_self(), "prep");
    setpriority(PRIO_PROCESS, (id_t)gettid(), PREP_NICE); /* per thread on Linux */
    while ((c = pop(p))) {
        home = net_io_mbox(c->s->net, c->io);
        call_prep(c);
        if (mbox_post(home, &c->prep_item)) /* from here on the call is its io thread's */
            mbox_wake(home);
    }
    return NULL;
}

int prep_open(struct prep **ret, int n_threads, struct err *e)
{
    struct prep *p = calloc(1, sizeof *p);

    if (!p)
        return err_set(e, ERR_NOMEM, "out of memory");
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->some, NULL);
    for (; p->n_threads < n_threads && p->n_threads < PREP_THREADS_MAX; p->n_threads++) {
        if (pthread_create(&p->thread[p->n_threads], NULL, prep_main, p)) {
            prep_close(p);
            return err_set(e, ERR_NOMEM, "cannot start prep threads");
        }
    }
    *ret = p;
    return 0;
}

void prep_close(struct prep *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->stop = 1;
    pthread_cond_broadcast(&p->some);
    pthread_mutex_unlock(&p->lock);
    for (int i = 0; i < p->n_threads; i++)
        pthread_join(p->thread[i], NULL);
    pthread_cond_destroy(&p->some);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

static int n_queued_of(const struct prep *p, int i_tenant)
{
    int n = 0;

    for (const struct call *c = p->first; c; c = c->prep_next)
        n += c->ticket.i_tenant == i_tenant;
    return n;
}

int prep_push(struct prep *p, struct call *c)
{
    int r = ERR_AGAIN;

    pthread_mutex_lock(&p->lock);
    if ((c->state != CALL_PARSE && c->state != CALL_ADMIN) ||
        rota_may_take(n_queued_of(p, c->ticket.i_tenant), p->n_queued, PREP_QUEUE_MAX,
                      server_has_one_tenant(c->s))) {
        c->prep_order = ++p->n_pushed;
        c->prep_next = p->first;
        p->first = c;
        p->n_queued++;
        r = 0;
        pthread_cond_signal(&p->some);
    }
    pthread_mutex_unlock(&p->lock);
    return r;
}

int prep_drop(struct prep *p, struct call *c)
{
    int found = 0;

    pthread_mutex_lock(&p->lock);
    for (struct call **at = &p->first; *at; at = &(*at)->prep_next) {
        if (*at == c) {
            *at = c->prep_next;
            p->n_queued--;
            found = 1;
            break;
        }
    }
    pthread_mutex_unlock(&p->lock);
    return found;
}

int prep_n_queued(struct prep *p)
{
    int n;

    pthread_mutex_lock(&p->lock);
    n = p->n_queued;
    pthread_mutex_unlock(&p->lock);
    return n;
}
