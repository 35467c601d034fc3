/* Hedging: a stream whose first content is late is sent to a second supplier as well. Who begins
 * first answers it; the other one is cancelled, and what it used is the platform's to pay. */
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "serve/server.h"
#include "serve/traces.h"

/* Only what is relayed: there nothing of an answer is told before its first content. */
static int may_hedge(const struct call *c)
{
    return c->state == CALL_RUN && !c->is_told && !c->hedge && !c->store.one &&
           !c->hedged_in_vain && c->req.stream && c->n_jobs == 1 && c->jobs[0].state == JOB_OUT &&
           c->jobs[0].job.relay;
}

static int64_t tokens_of(const struct call *c)
{
    return api_relayed_estimate(c->jobs[0].relay.n_body) + 1;
}

static int begin(struct call *c, struct call_hedge *h)
{
    struct supplier *s = h->ticket.offer->sup;
    struct err e;

    h->job.call = c;
    h->job.relay = c->jobs[0].relay;
    h->job.relay.i_key = h->ticket.key.i;
    h->job.job = c->jobs[0].job;
    h->job.job.relay = &h->job.relay;
    h->job.job.item = (struct mbox_item){.kind = MAIL_JOB, .owner = &h->job};
    h->job.job.inner = NULL;
    h->job.n_live = c->jobs[0].n_live;
    h->job.sup = s;
    h->job.i_try = 0;
    call_trace_try(c, &h->job, 1);
    if (!s->ops->facts(s)->relays || s->ops->submit(s, &h->job.job, &e))
        return -1;
    h->job.state = JOB_OUT;
    console_supplier_begin(c->s->console, s->id);
    return 0;
}

void call_hedge_tick(struct call *c, int64_t now_us)
{
    struct cloud *cloud = c->s->cloud;
    struct cloud_want want;
    struct call_hedge *h;
    int64_t after;

    if (!may_hedge(c))
        return;
    after = cloud_hedge_after(cloud, &c->ticket, c->tier);
    if (after < 0 || now_us - c->sent_us < after)
        return;
    h = calloc(1, sizeof *h);
    if (!h)
        return;
    call_want(c, server_model(c)->names[0], &want);
    if (cloud_hedge(cloud, now_us, &want, &c->ticket, tokens_of(c), &h->ticket)) {
        free(h);
        return;
    }
    if (begin(c, h)) {
        c->hedged_in_vain = 1;
        cloud_leave(cloud, now_us, &h->ticket, 0);
        free(h);
        return;
    }
    h->sent_us = now_us;
    c->hedge = h;
    LOG_EVENT(LOG_INFO, "hedged", LOG_STR("id", c->live.row.id), LOG_STR("supplier", c->sup->id),
              LOG_STR("second", h->job.sup->id));
}

int call_hedge_is_open(const struct call *c)
{
    return c->hedge && !c->hedge->loser;
}

/* The race is over. Where the second one has won, it takes the first one's place. */
static void decide(struct call *c, struct call_job *loser)
{
    struct call_hedge *h = c->hedge;

    CHECK(h && !h->loser);
    h->loser = loser;
    call_trace_lost(c, loser, ERR_CANCELLED);
    if (loser == &h->job)
        return;
    cloud_hedge_swap(&c->ticket, &h->ticket, clock_now_us() - c->sent_us);
    c->sup = h->job.sup;
    c->sent_us = h->sent_us;
    c->queue_us = h->queue_us;
}

static void cancel(struct call_job *j)
{
    if (j->state == JOB_OUT)
        j->sup->ops->cancel(j->sup, &j->job);
}

void call_hedge_drop(struct call *c, struct call_job *loser)
{
    decide(c, loser);
    cancel(loser);
}

void call_hedge_cancel(struct call *c)
{
    if (c->hedge)
        cancel(&c->hedge->job);
}

/* The one that has failed, or lost: what it used. */
static void lose(struct call_hedge *h, struct call_job *j, const struct event *ev)
{
    j->state = JOB_DONE;
    h->usage = ev->owed ? *ev->owed : *ev->usage;
}

int call_hedge_takes(struct call *c, struct call_job *j, const struct event *ev)
{
    struct call_hedge *h = c->hedge;
    struct call_job *other;

    if (!h || (h->loser && h->loser != j))
        return 0;
    if (!h->loser && c->state != CALL_RUN) /* it is over: there is nothing to be won */
        decide(c, &h->job);
    if (h->loser && h->loser != j)
        return 0;
    if (!h->loser && ev->kind == EVENT_STARTED) { /* it has waited for a place, nothing else */
        if (j != &h->job)
            return 0;
        h->queue_us = c->started_us + ev->times->queue_us - h->sent_us;
        return 1;
    }
    other = j == &h->job ? &c->jobs[0] : &h->job;
    if (!h->loser && ev->kind != EVENT_DONE) { /* it begins: it is the answer */
        call_hedge_drop(c, other);
        return 0;
    }
    if (!h->loser) { /* it has failed: the other one goes on */
        call_trace_lost(c, j, ev->code);
        call_note_result(c, j == &h->job ? &h->ticket : &c->ticket, ev->code, -1, ev->retry_us);
        if (j == &h->job)
            cloud_hedge_failed(&c->ticket, &h->ticket);
        decide(c, j);
    }
    if (ev->kind == EVENT_DONE)
        lose(h, j, ev);
    return 1;
}

struct call_job *call_hedge_answering(const struct call *c)
{
    return c->hedge && c->hedge->loser == c->jobs ? &c->hedge->job : c->jobs;
}

int call_hedge_is_home(const struct call *c)
{
    return !c->hedge || c->hedge->job.state == JOB_HOME;
}

void call_hedge_done(struct call *c)
{
    struct call_hedge *h = c->hedge;
    char id[sizeof c->live.row.id + 20];
    struct cloud_use use;

    if (!h)
        return;
    CHECK(h->job.state == JOB_HOME);
    if (++c->n_hedged == 1)
        snprintf(id, sizeof id, "%s-hedge", c->live.row.id);
    else /* again, after both of an earlier race failed: the ledger keeps an id once */
        snprintf(id, sizeof id, "%s-hedge%d", c->live.row.id, c->n_hedged);
    use = (struct cloud_use){.request_id = id,
                             .model = server_model(c)->names[0],
                             .supplier = h->ticket.offer->sup->id,
                             .prompt_tokens = h->usage.prompt_tokens,
                             .cached_tokens = h->usage.cached_tokens,
                             .completion_tokens = h->usage.completion_tokens,
                             .cache_write_tokens = h->usage.cache_write_tokens,
                             .reasoning_tokens = h->usage.reasoning_tokens,
                             .usage_state = h->usage.state,
                             .energy = h->usage.energy,
                             .tier = c->tier,
                             .status = err_http_status(ERR_CANCELLED),
                             .at_us = clock_wall_us()};
    cloud_settle(c->s->cloud, clock_now_us(), &h->ticket, &use);
    free(h);
    c->hedge = NULL;
}
