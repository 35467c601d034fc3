/* A stored answer (cloud/stored.h) on its owner's side: each event is kept before it is told, and
 * when the client leaves it is made to its end. Io thread. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/put.h"
#include "base/rand.h"
#include "serve/server.h"

#define AGAIN_US INT64_C(2000000) /* until one that could not go on is tried again */

static struct stored_all *all(const struct call *c)
{
    return cloud_stored(c->s->cloud);
}

static struct stored *own(const struct call *c)
{
    return c->store.mail.is_owner ? c->store.one : NULL;
}

void call_store_want(struct call *c, const char *header)
{
    c->store.is_wanted = header && !strcmp(header, "true");
}

int call_store_is_wanted(const struct call *c)
{
    return (c->store.is_wanted || c->req.store) && all(c) && c->endpoint->prepare &&
           !c->endpoint->is_tool;
}

/* ---- the beginning ----------------------------------------------------------------------------
 */

/* What another process could not go on with is not stored. */
static const char *why_not(const struct call *c)
{
    const struct supplier_facts *f = c->sup->ops->facts(c->sup);

    return f->relays || !f->reads_prompts ? "another service answers it"
           : c->n_jobs != 1               ? "it has several prompts"
           : c->req.echo                  ? "it echoes its prompt"
           : !c->body.data                ? "its body is gone"
                                          : NULL;
}

static int32_t dialect_of(const struct call *c)
{
    int32_t i = 0;

    while (i < API_DIALECTS - 1 && api_dialects[i] != c->req.dialect)
        i++;
    return i;
}

static void fill_head(const struct call *c, struct stored_head *h)
{
    const struct api_request *q = &c->req;
    const struct job *j = &c->jobs[0].job;

    *h = (struct stored_head){
        .text = {[STORED_ID] = c->reply_id,
                 [STORED_REQUEST_ID] = c->live.row.id,
                 [STORED_TENANT] = c->ticket.tenant,
                 [STORED_KEY_ID] = c->ticket.key_id,
                 [STORED_MODEL] = q->model ? q->model : "",
                 [STORED_FINGERPRINT] = c->sup->ops->facts(c->sup)->fingerprint,
                 [STORED_CONTENT_TYPE] = c->heads.content_type,
                 [STORED_CONTENT_ENCODING] = c->heads.content_encoding,
                 [STORED_VERSION_PATCH] = c->heads.version_patch,
                 [STORED_QUEUE_THRESHOLD] = c->heads.queue_threshold},
        .body = c->body.data,
        .n_body = c->body.len,
        .prompt = j->prompt,
        .answer = j->answer,
        .v = {.created = c->reply_created,
              .seed = j->sampling.seed,
              .given = q->given,
              .n_prompt = j->n_prompt,
              .dialect = dialect_of(c),
              .tier = c->tier,
              .asked_tier = q->tier,
              .max_tokens = j->sampling.max_tokens,
              .n = q->n,
              .n_run = q->n_run,
              .n_top = q->sampling.n_top,
              .include_usage = q->include_usage,
              .logprobs = q->logprobs,
              .return_token_ids = q->return_token_ids,
              .raw_tokens = q->raw_tokens},
    };
}

/* Its supplier draws as it did, from what it drew from. */
static int take_up(struct call *c, struct err *e)
{
    const struct stored_past *p = c->store.past;
    const struct stored_numbers *v = &p->head.v;
    struct call_job *j = &c->jobs[0];
    size_t n_words = ((size_t)v->n_prompt + 31) / 32;

    if (why_not(c))
        return err_set(e, ERR_AGAIN, "The answer cannot go on here: %s.", why_not(c));
    if (c->req.n_run != v->n_run ||
        strcmp(c->sup->ops->facts(c->sup)->fingerprint, p->head.text[STORED_FINGERPRINT]) != 0)
        return err_set(e, ERR_UNSUPPORTED,
                       "The answer cannot go on: what it was computed by is not there any more.");
    tokens_done(&j->tokens);
    j->tokens.n = v->n_prompt;
    j->tokens.id = malloc((size_t)v->n_prompt * sizeof *j->tokens.id);
    if (p->head.answer)
        j->tokens.answer = malloc(n_words * sizeof *j->tokens.answer);
    if (!j->tokens.id || (p->head.answer && !j->tokens.answer))
        return err_set(e, ERR_NOMEM, "No memory for one more request.");
    memcpy(j->tokens.id, p->head.prompt, (size_t)v->n_prompt * sizeof *j->tokens.id);
    if (p->head.answer)
        memcpy(j->tokens.answer, p->head.answer, n_words * sizeof *j->tokens.answer);
    j->job.prompt = j->tokens.id;
    j->job.answer = j->tokens.answer;
    j->job.n_prompt = j->tokens.n;
    j->job.sampling.seed = v->seed;
    j->job.sampling.max_tokens = v->max_tokens;
    for (int32_t i = 0; i < v->n_run; i++)
        c->store.job_past[i] = (struct job_past){.token = p->token[i],
                                                 .n = p->story.n_told[i],
                                                 .is_over = p->story.is_over[i],
                                                 .n_generated = p->story.n_generated[i]};
    j->job.past = p->story.has_started ? c->store.job_past : NULL;
    j->job.past_cached = p->story.n_cached;
    return 0;
}

static void not_stored(struct call *c, const char *why)
{
    put_text(c->store.why_not, sizeof c->store.why_not, why);
}

void call_store_follow(struct call *c, int is_owner)
{
    c->store.mail.box = net_io_mbox(c->s->net, c->io);
    c->store.mail.item.kind = MAIL_STORED;
    c->store.mail.item.owner = c;
    c->store.mail.is_owner = is_owner;
    c->store.is_following = 1;
    stored_follow(c->store.one, &c->store.mail);
}

int call_store_begin(struct call *c, struct err *e)
{
    struct sampling *p = &c->jobs[0].job.sampling;
    struct stored_head h;
    struct err no = {0};

    if (c->store.past)
        return take_up(c, e);
    *c->store.why_not = 0;
    if (!call_store_is_wanted(c))
        return 0;
    if (why_not(c)) {
        not_stored(c, why_not(c));
        return 0;
    }
    if (!(c->req.given & API_GIVEN_SEED) && rand_system(&p->seed, sizeof p->seed))
        return err_set(e, ERR_INTERNAL, "no random bytes from the system");
    fill_head(c, &h);
    if (stored_begin(all(c), &h, clock_wall_us(), &c->store.one, &no)) {
        not_stored(c, no.text);
        LOG_EVENT(LOG_WARN, "answer not stored", LOG_STR("id", c->live.row.id),
                  LOG_STR("why", no.text));
        return 0;
    }
    call_store_follow(c, 1);
    return 0;
}

/* ---- while it is made -------------------------------------------------------------------------
 */

/* It is stored no more. Who reads it is told so, and gets the rest of it all the same. */
static void lose(struct call *c, const struct err *why)
{
    LOG_EVENT(LOG_WARN, "answer stored no more", LOG_STR("id", c->live.row.id),
              LOG_STR("why", why->text));
    not_stored(c, why->text);
    call_store_drop(c);
    if (c->x && c->streaming) {
        buf_addf(&c->out, ": not stored any more: %s", c->store.why_not);
        buf_add_str(&c->out, c->frame->end);
    }
    if (!c->x)
        call_cancel_jobs(c); /* nobody can have it */
}

void call_store_event(struct call *c, const struct event *ev)
{
    struct event of = *ev;

    if (!own(c) || (ev->kind != EVENT_STARTED && ev->kind != EVENT_TEXT &&
                    ev->kind != EVENT_FINISH && ev->kind != EVENT_DONE))
        return;
    if (ev->kind == EVENT_STARTED && c->store.past && c->store.past->story.has_started)
        return; /* that was told before */
    if (ev->kind == EVENT_DONE) {
        of.usage = &c->usage;
        of.times = &c->times;
        of.receipt = call_receipt(c, &c->usage);
        c->store.is_ended = 1;
    }
    stored_add(c->store.one, &of);
    c->store.is_new = 1;
}

void call_store_publish(struct call *c)
{
    struct err why = {0};

    if (!own(c) || !c->store.is_new)
        return;
    c->store.is_new = 0;
    if (stored_publish(c->store.one, clock_wall_us(), &why))
        lose(c, &why);
}

struct buf *call_store_frames(struct call *c)
{
    return c->store.one && c->req.stream ? &c->store.raw : &c->out;
}

void call_store_number(struct call *c)
{
    if (!c->store.raw.len && !c->store.raw.failed)
        return;
    api_sse_number(&c->store.raw, c->frame, c->reply_id, &c->store.n_frames, c->store.skip,
                   &c->out);
    if (c->store.raw.failed)
        c->out.failed = c->store.raw.failed;
    buf_clear(&c->store.raw);
}

void call_store_mail(struct call *c)
{
    struct err why = {0};

    if (!own(c)) {
        if (c->state == CALL_FOLLOW)
            call_follow_pump(c);
        return;
    }
    if (!stored_is_gone(c->store.one))
        return;
    err_set(&why, ERR_NOTFOUND, "it was deleted");
    lose(c, &why);
    if (c->state == CALL_RUN && c->streaming)
        call_flush(c);
}

/* ---- without a client -------------------------------------------------------------------------
 */

int call_store_keep(struct call *c, struct call_job *j)
{
    if (!own(c) || (c->cancelled && !c->move) || j->state != JOB_OUT)
        return 0;
    c->paused = 0;
    c->is_kept = 1;
    c->kept_us = clock_now_us();
    net_io_keep(c->s->net, c->io, 1);
    return 1;
}

void call_store_walked(struct call *c)
{
    if (c->state == CALL_RUN && !c->x && call_store_keep(c, &c->jobs[0]))
        c->state = CALL_OVER;
}

void call_store_alone(struct call *c, struct call_job *j, const struct event *ev)
{
    if (ev->kind == EVENT_TEXT || ev->kind == EVENT_FINISH)
        call_told(c);
    if (ev->kind == EVENT_FINISH) {
        j->n_live--;
        c->finish = ev->finish == FINISH_LENGTH ? "length" : "stop";
    }
    if (ev->kind == EVENT_DONE) { /* who comes back gets all of it */
        c->status = 200;
        c->code = 0;
    }
}

void call_store_tick(struct call *c)
{
    int64_t most = c->s->config->stored_alone * 1000, now_us = clock_now_us();

    if (!own(c) || !c->is_kept || c->cancelled)
        return;
    if (net_server_is_over(c->s->net)) {
        call_store_survive(c);
        call_cancel_jobs(c);
    } else if (now_us - c->kept_us > most &&
               stored_alone_us(c->store.one, clock_wall_us()) > most) {
        c->code = ERR_CANCELLED;
        call_store_drop(c);
        call_cancel_jobs(c);
    }
}

/* ---- the end ----------------------------------------------------------------------------------
 */

void call_store_survive(struct call *c)
{
    c->store.outlives = own(c) && stored_outlives(all(c));
}

void call_store_fail(struct call *c, int code)
{
    int is_later = err_is_retryable(code) || code == ERR_BUDGET || code == ERR_QUOTA;

    if (!own(c) || c->store.outlives)
        return;
    if (c->store.past && is_later) {
        c->store.outlives = 1;
        stored_postpone(c->store.one, clock_wall_us() + AGAIN_US);
        return;
    }
    call_store_drop(c);
}

static void let_go(struct call *c)
{
    if (c->store.is_following)
        stored_unfollow(c->store.one, &c->store.mail, clock_wall_us());
    c->store.is_following = 0;
    if (c->store.mail.is_owner)
        stored_leave(c->store.one, clock_wall_us());
    else
        stored_put(c->store.one);
    c->store.one = NULL;
}

void call_store_drop(struct call *c)
{
    if (!own(c))
        return;
    stored_drop(c->store.one);
    let_go(c);
}

void call_store_moved(struct call *c)
{
    stored_moved(c->store.one);
    let_go(c);
}

void call_store_hand_on(struct call *c)
{
    struct stored *one = c->store.one;

    stored_hold(one); /* for who follows */
    let_go(c);
    c->store.one = one;
}

int call_store_is_home(struct call *c)
{
    if (own(c) && !c->store.is_ended && !c->store.outlives)
        stored_drop(c->store.one);
    if (c->store.one)
        let_go(c);
    return !atomic_load(&c->store.mail.item.posted);
}

void call_store_done(struct call *c)
{
    if (c->store.past)
        stored_past_done(c->store.past);
    free(c->store.past);
    buf_done(&c->store.raw);
    buf_done(&c->store.records);
}

int call_store_is_free(const struct call *c)
{
    return c->store.is_booked || (c->store.outlives && !c->store.is_ended);
}
