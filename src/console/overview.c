#include "console/overview.h"

#include <stdlib.h>

#include "base/clock.h"
#include "console/console_int.h"
#include "console/snapshot.h"

enum overview_turn overview_look(struct console *c, int64_t now_us, struct overview_text **ret)
{
    struct overview *o = &c->overview;
    enum overview_turn turn = OVERVIEW_WAIT;

    *ret = NULL;
    pthread_mutex_lock(&o->lock);
    if (o->text && now_us - o->text->made_us < OVERVIEW_US) {
        atomic_fetch_add(&o->text->n_holders, 1);
        *ret = o->text;
        turn = OVERVIEW_READY;
    } else if (!o->is_making) {
        o->is_making = 1;
        turn = OVERVIEW_MAKE;
    }
    pthread_mutex_unlock(&o->lock);
    return turn;
}

void overview_put(struct overview_text *t)
{
    if (!t || atomic_fetch_sub(&t->n_holders, 1) > 1)
        return;
    buf_done(&t->text);
    free(t);
}

/* What was counted, beside what was counted some seconds ago. Under the lock. */
static void measure(struct overview *o, struct overview_sums *s)
{
    const struct overview_sums *old = NULL;

    s->span_us = 0;
    for (int i = 0; i < OVERVIEW_PAST; i++) {
        const struct overview_sums *p = &o->past[i];
        if (p->at_us && s->at_us - p->at_us <= OVERVIEW_SPAN_US && (!old || p->at_us < old->at_us))
            old = p;
    }
    if (old && s->at_us > old->at_us) {
        s->span_us = s->at_us - old->at_us;
        s->d_requests = s->requests - old->requests;
        s->d_prompt = s->prompt > old->prompt ? s->prompt - old->prompt : 0;
        s->d_generated = s->generated > old->generated ? s->generated - old->generated : 0;
    }
    o->past[o->seq % OVERVIEW_PAST] = *s;
}

struct overview_text *overview_make(struct watch *w, const struct overview_meter *m)
{
    struct overview *o = &w->console->overview;
    struct overview_text *t = calloc(1, sizeof *t), *was;
    struct overview_sums sums = {.at_us = w->now_us,
                                 .requests = w->sums.requests,
                                 .prompt = w->sums.prompt,
                                 .generated = w->sums.generated};

    pthread_mutex_lock(&o->lock);
    o->seq++;
    measure(o, &sums);
    if (t)
        t->seq = o->seq;
    pthread_mutex_unlock(&o->lock);
    if (t) {
        atomic_init(&t->n_holders, 1);
        t->made_us = clock_now_us();
        buf_init(&t->text, OVERVIEW_TEXT_MAX);
        if (overview_write(w, t->seq, &sums, m, &t->text)) {
            overview_put(t);
            t = NULL;
        }
    }
    pthread_mutex_lock(&o->lock);
    o->is_making = 0;
    was = o->text;
    o->text = t;
    if (t)
        atomic_fetch_add(&t->n_holders, 1); /* the caller's */
    pthread_mutex_unlock(&o->lock);
    overview_put(was);
    return t;
}

int overview_join(struct console *c, struct err *e)
{
    if (atomic_fetch_add(&c->overview.n_watchers, 1) < OVERVIEW_WATCHERS_MAX)
        return 0;
    overview_leave(c);
    return err_set_param(e, ERR_QUEUE_FULL, "overview", "Too many are watching (limit %d).",
                         OVERVIEW_WATCHERS_MAX);
}

void overview_leave(struct console *c)
{
    atomic_fetch_sub(&c->overview.n_watchers, 1);
}
