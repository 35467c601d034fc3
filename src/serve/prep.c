#include "serve/prep.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "serve/server.h"

#define PREP_THREADS_MAX 64
#define PREP_NICE        5

struct prep {
    pthread_mutex_t lock; /* rank: a leaf */
    pthread_cond_t some;
    struct call *first, *last;
    int n_queued, n_threads, stop;
    pthread_t thread[PREP_THREADS_MAX];
};

static struct call *pop(struct prep *p)
{
    struct call *c;

    pthread_mutex_lock(&p->lock);
    while (!p->first && !p->stop)
        pthread_cond_wait(&p->some, &p->lock);
    c = p->first;
    if (c) {
        p->first = c->prep_next;
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
        if (mbox_post(home, &c->prep_item)) /* the call is not ours any more */
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

int prep_push(struct prep *p, struct call *c)
{
    int r = ERR_AGAIN;

    pthread_mutex_lock(&p->lock);
    if (p->n_queued < PREP_QUEUE_MAX) {
        c->prep_next = NULL;
        if (p->first)
            p->last->prep_next = c;
        else
            p->first = c;
        p->last = c;
        p->n_queued++;
        r = 0;
        pthread_cond_signal(&p->some);
    }
    pthread_mutex_unlock(&p->lock);
    return r;
}

int prep_drop(struct prep *p, struct call *c)
{
    struct call *last = NULL;
    int found = 0;

    pthread_mutex_lock(&p->lock);
    for (struct call **at = &p->first; *at; at = &(*at)->prep_next) {
        if (*at == c) {
            *at = c->prep_next;
            if (p->last == c)
                p->last = last;
            p->n_queued--;
            found = 1;
            break;
        }
        last = *at;
    }
    pthread_mutex_unlock(&p->lock);
    return found;
}
