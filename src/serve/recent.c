#include "serve/recent.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "serve/server.h"

struct recent *recent_new(int n_models)
{
    struct recent *p = calloc(1, sizeof *p);

    if (p)
        p->samples = calloc((size_t)(n_models ? n_models : 1) * TIMELINE_TIMES, sizeof *p->samples);
    if (p && !p->samples) {
        free(p);
        return NULL;
    }
    return p;
}

void recent_free(struct recent *p)
{
    if (p)
        free(p->samples);
    free(p);
}

int recent_is_job(const struct call *c)
{
    return c->route.dialect && c->ticket.i_rate >= 0;
}

static const char *finish_of(const struct call *c)
{
    if (c->code == ERR_CANCELLED)
        return "cancelled";
    if (c->code || !c->finish)
        return "error";
    return c->finish;
}

static int model_of(const struct call *c)
{
    return c->ticket.offer ? c->ticket.offer->i_model : -1;
}

void recent_row(struct recent_row *r, const struct call *c)
{
    const struct timeline *t = &c->timeline;

    *r = (struct recent_row){
        .model = "",
        .endpoint = c->route.dialect->name,
        .state = c->state == CALL_OVER ? RECENT_FINISHED
                 : t->first_us         ? RECENT_DECODE
                 : c->started          ? RECENT_PREFILL
                                       : RECENT_QUEUED,
        .i_tenant = c->ticket.i_rate,
        .i_model = -1,
        .order = t->order,
        .n_choices = t->n_choices,
        .n_prompt = t->n_prompt,
        .n_cached = t->n_cached,
        .n_prefilled = t->n_prefilled,
        .n_generated = t->n_generated,
        .n_drafted = t->n_drafted,
        .n_draft_right = t->n_draft_right,
        .started_us = c->started_us,
        .first_us = t->first_us,
        .last_us = t->last_us,
        .ended_us = t->ended_us,
    };
    memcpy(r->id, c->id, sizeof r->id);
    memcpy(r->client_id, c->client_id, sizeof r->client_id);
    if (r->state == RECENT_FINISHED)
        r->finish = finish_of(c);
    if (t->order) { /* before, all this may be a prep thread's */
        r->model = server_model(c)->names[0];
        r->i_model = model_of(c);
        r->service = (int)c->tier;
        r->stream = c->req.stream;
    }
}

void recent_marks(struct recent_one *p, const struct timeline *t)
{
    p->n_marks = t->n_marks;
    memcpy(p->mark, t->mark, (size_t)t->n_marks * sizeof *t->mark);
}

const struct recent_one *recent_get(const struct recent *p, int i)
{
    if (i < 0 || i >= TIMELINE_PAST || (uint64_t)i >= p->n)
        return NULL;
    return &p->one[(p->n - 1 - (uint64_t)i) % TIMELINE_PAST];
}

static void sample(struct call *c, enum timeline_time kind, int64_t now_us, int64_t value_us)
{
    struct recent *p = c->s->io[c->io].recent;

    timeline_sample(&p->samples[model_of(c) * TIMELINE_TIMES + (int)kind], now_us, value_us);
}

void recent_began(struct call *c)
{
    struct timeline *t = &c->timeline;

    t->order = atomic_fetch_add(&c->s->n_ordered, 1) + 1;
    t->n_choices = c->req.n_run * c->n_jobs;
    for (int32_t i = 0; i < c->n_jobs; i++)
        t->n_prompt += c->jobs[i].job.n_prompt;
    c->s->io[c->io].recent->n_requests[model_of(c)]++;
    timeline_note(t, TIMELINE_ACCEPTED, c->started_us, 0);
    timeline_note(t, TIMELINE_QUEUED, clock_now_us(), 0);
}

/* Its place in the order goes: it waits in no queue. */
void recent_back(struct call *c)
{
    struct timeline *t = &c->timeline;

    t->order = 0;
    t->n_prompt = t->n_cached = t->n_prefilled = t->n_generated = 0;
    t->n_drafted = t->n_draft_right = 0;
}

void recent_first_token(struct call *c)
{
    sample(c, TIMELINE_TTFT, c->timeline.first_us, c->timeline.first_us - c->started_us);
}

void recent_add(struct call *c)
{
    struct recent *p = c->s->io[c->io].recent;
    struct timeline *t = &c->timeline;
    struct recent_one *one;
    int64_t now = clock_now_us();

    if (!t->order)
        return;
    if (!t->ended_us)
        t->ended_us = now;
    timeline_note(t, TIMELINE_FINISHED, t->ended_us, t->n_generated);
    if (t->n_choices == 1 && t->n_generated > 1)
        sample(c, TIMELINE_TPOT, now, (t->last_us - t->first_us) / (t->n_generated - 1));
    if (c->started)
        sample(c, TIMELINE_QUEUE, now, c->times.queue_us);
    one = &p->one[p->n++ % TIMELINE_PAST];
    recent_row(&one->row, c);
    recent_marks(one, t);
}
