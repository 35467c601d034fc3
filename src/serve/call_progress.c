/* What is told to the client of a stream before its first token: how many go before it, and how
 * much of its prompt is computed. These are comments of the stream, between its events: no part of
 * the answer, neither numbered nor kept. */
#include "serve/server.h"

/* -1: it does not wait, or nobody knows. */
static int32_t before(const struct call *c)
{
    struct call_job *j = &c->jobs[0];

    return c->live.has_started || j->state != JOB_OUT || !j->sup->ops->before
               ? -1
               : j->sup->ops->before(j->sup, &j->job);
}

/* Something new: its comment, without its end. */
static int news(struct call *c, struct buf *out)
{
    const struct row *r = &c->live.row;
    int32_t n = before(c);

    if (n >= 0 && n != c->progress.n_before) {
        buf_addf(out, ": waiting, %d before it", n);
    } else if (c->live.has_started && r->n_prefilled < r->n_prompt &&
               r->n_prefilled != c->progress.n_prefilled) {
        buf_addf(out, ": prompt %d of %d tokens", r->n_prefilled, r->n_prompt);
        c->progress.n_prefilled = r->n_prefilled;
    }
    c->progress.n_before = n;
    return out->len > 0;
}

void call_progress(struct call *c, int64_t now_us)
{
    int64_t every_us = c->s->config->progress * 1000;
    struct buf out;

    if (!every_us || c->state != CALL_RUN || !c->n_sent || c->live.row.first_us || c->paused)
        return;
    if (!c->progress.at_us) { /* what is over soon is not told */
        c->progress.at_us = now_us;
        c->progress.n_before = c->progress.n_prefilled = -1;
    }
    if (now_us - c->progress.at_us < every_us)
        return;
    buf_init(&out, 128);
    if (news(c, &out)) {
        buf_add_str(&out, c->frame->end);
        c->progress.at_us = c->written_us = now_us;
        net_stream_write(c->x, out.data, out.len);
    }
    buf_done(&out);
}
