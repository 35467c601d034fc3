#include "console/row.h"

#include <string.h>

#include "base/clock.h"
#include "base/put.h"
#include "console/console_int.h"

void row_publish(struct row_live *l, struct rows *io, const char *endpoint, int i_tenant)
{
    l->row.model = "";
    l->row.endpoint = endpoint;
    l->row.i_tenant = i_tenant;
    l->row.i_model = -1;
    l->rows = io;
    l->next = io->live;
    if (l->next)
        l->next->prev = l;
    io->live = l;
}

static void withdraw(struct row_live *l)
{
    if (l->prev)
        l->prev->next = l->next;
    else
        l->rows->live = l->next;
    if (l->next)
        l->next->prev = l->prev;
}

static void sample(struct row_live *l, enum timeline_time kind, int64_t now_us, int64_t value_us)
{
    timeline_sample(&l->rows->model[l->row.i_model]->samples[kind], now_us, value_us);
}

void row_note(struct row_live *l, enum timeline_what what, int64_t at_us, int64_t n)
{
    timeline_note(&l->timeline, what, at_us, n);
}

void row_begin(struct row_live *l, const struct row_begin *b)
{
    struct console *c = l->rows->console;
    struct row *r = &l->row;
    int is_first = r->i_model < 0; /* else it was turned back, and is offered again */

    r->model = c->model[b->i_model].id;
    r->i_model = b->i_model;
    r->stream = b->stream;
    r->tier = b->tier;
    r->n_choices = b->n_choices;
    r->n_prompt = b->n_prompt;
    put_text(r->supplier, sizeof r->supplier, b->supplier ? b->supplier : "");
    r->order = atomic_fetch_add(&c->n_ordered, 1) + 1;
    meter_under_way(c->meter, b->tier, 1);
    if (is_first) {
        l->rows->model[b->i_model]->n_requests++;
        row_note(l, TIMELINE_ACCEPTED, r->started_us, 0);
    }
    row_note(l, TIMELINE_QUEUED, clock_now_us(), 0);
}

static void leave_tier(struct row_live *l)
{
    if (l->row.order)
        meter_under_way(l->rows->console->meter, l->row.tier, -1);
}

void row_back(struct row_live *l)
{
    struct row *r = &l->row;

    leave_tier(l);
    r->order = 0; /* it waits in no queue */
    r->n_prompt = r->n_cached = r->n_prefilled = r->n_generated = 0;
    r->n_drafted = r->n_draft_right = 0;
    r->state = ROW_QUEUED;
    r->supplier[0] = 0;
    l->has_started = 0;
}

void row_start(struct row_live *l, int64_t at_us, int32_t n_cached)
{
    if (l->has_started) /* another job of it */
        return;
    l->has_started = 1;
    if (l->row.state == ROW_QUEUED)
        l->row.state = ROW_PREFILL;
    row_note(l, TIMELINE_STARTED, at_us, n_cached);
}

void row_token(struct row_live *l, int64_t now_us)
{
    const struct meter_model *m = &l->rows->console->model[l->row.i_model].meters;
    struct row *r = &l->row;
    int is_first = !r->first_us;

    r->n_generated++;
    row_note(l, is_first ? TIMELINE_FIRST_TOKEN : TIMELINE_DECODE, now_us, r->n_generated);
    if (is_first) {
        r->first_us = now_us;
        r->state = ROW_DECODE;
        sample(l, TIMELINE_TTFT, now_us, now_us - r->started_us);
        meter_first_token(l->rows->console->meter, m, r->tier, now_us - r->started_us);
    } else if (r->n_choices == 1) {
        metric_observe(m->inter_token, now_us - r->last_us);
    }
    r->last_us = now_us;
}

void row_finish(struct row_live *l, const char *finish)
{
    if (l->row.state == ROW_FINISHED)
        return;
    l->row.state = ROW_FINISHED;
    l->row.finish = finish;
}

/* ---- the end --------------------------------------------------------------------------------- */

const struct row_kept *rows_kept(const struct rows *r, int i)
{
    if (i < 0 || i >= ROWS_RECENT || (uint64_t)i >= r->n_kept)
        return NULL;
    return &r->kept[(r->n_kept - 1 - (uint64_t)i) % ROWS_RECENT];
}

void row_keep(struct row_kept *ret, const struct row_live *l)
{
    ret->row = l->row;
    ret->n_marks = l->timeline.n_marks;
    memcpy(ret->mark, l->timeline.mark, (size_t)ret->n_marks * sizeof *ret->mark);
}

/* For a request whose jobs reached a supplier: add its times to the samples, and keep its row. */
static void keep(struct row_live *l, const struct row_end *e)
{
    struct row *r = &l->row;
    struct row_kept *k = &l->rows->kept[l->rows->n_kept++ % ROWS_RECENT];

    r->ended_us = clock_now_us();
    row_note(l, TIMELINE_FINISHED, r->ended_us, r->n_generated);
    if (r->n_choices == 1 && r->n_generated > 1)
        sample(l, TIMELINE_TPOT, r->ended_us, (r->last_us - r->first_us) / (r->n_generated - 1));
    if (l->has_started)
        sample(l, TIMELINE_QUEUE, r->ended_us, e->times.queue_us);
    if (!r->n_prompt) /* of a supplier that counts itself */
        r->n_prompt = (int32_t)e->usage.prompt_tokens;
    row_keep(k, l);
}

static void count(struct rows_ended *n, const struct row_end *e)
{
    n->n++;
    n->n_refused += e->status == 429 || e->status == 402;
    n->n_failed += e->status >= 500;
    n->prompt += e->usage.prompt_tokens;
    n->generated += e->usage.completion_tokens;
}

void row_end(struct row_live *l, struct rows *io, const struct row_end *e)
{
    struct console *c = io->console;
    const struct console_model *m = e->i_model >= 0 ? &c->model[e->i_model] : NULL;

    if (l->rows) {
        withdraw(l);
        leave_tier(l);
        if (l->row.order)
            keep(l, e);
    }
    if (e->is_api)
        count(&io->ended, e);
    if (e->is_api)
        meter_end(c->meter, m ? m->id : "-", m ? &m->meters : NULL, l, e);
    request_log(l, e, m ? m->id : "", c->setup.requests);
    l->rows = NULL;
}
