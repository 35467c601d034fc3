/* Jobs at the supplier, and their events on the way to the client. */
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "serve/server.h"

#define ANSWER_STEP 65536 /* claimed ahead for an answer that is gathered */

static const struct supplier_ops *ops(const struct call_job *j)
{
    return j->sup->ops;
}

void call_flush(struct call *c)
{
    call_store_publish(c);
    if (!c->out.len || !c->x)
        return;
    c->written_us = clock_now_us();
    call_replay_note(c, c->out.data, c->out.len);
    call_text_note(c, c->out.data, c->out.len);
    net_stream_write(c->x, c->out.data, c->out.len); /* cut: on_gone follows */
    buf_clear(&c->out);
}

void call_cancel_jobs(struct call *c)
{
    if (c->cancelled)
        return;
    c->cancelled = 1;
    for (int32_t i = 0; i < c->n_sent; i++) {
        if (c->jobs[i].state == JOB_OUT)
            ops(&c->jobs[i])->cancel(c->jobs[i].sup, &c->jobs[i].job);
    }
    call_hedge_cancel(c);
}

/* Only the one that answers is heard out: what another does beside it is wanted by nobody. */
void call_leave_jobs(struct call *c)
{
    struct call_job *j = c->n_jobs == 1 ? call_hedge_answering(c) : NULL;

    if (j && call_store_keep(c, j))
        return;
    if (c->cancelled || !j || j->state != JOB_OUT || !ops(j)->leave ||
        !ops(j)->leave(j->sup, &j->job, c->replay.claim != NULL)) {
        call_cancel_jobs(c);
        return;
    }
    c->paused = 0;
    if (j != &c->jobs[0] && c->jobs[0].state == JOB_OUT)
        ops(&c->jobs[0])->cancel(c->jobs[0].sup, &c->jobs[0].job);
    if (j == &c->jobs[0])
        call_hedge_cancel(c);
    c->is_kept = 1;
    net_io_keep(c->s->net, c->io, 1);
}

void call_end_cancelled(struct call *c)
{
    struct err e = {0};

    err_set(&e, ERR_CANCELLED, "The request was cancelled.");
    call_fail(c, &e);
    c->status = err_http_status(ERR_CANCELLED); /* also of a stream that had begun well */
    for (int32_t i = 0; i < c->n_sent; i++) /* make room in the rings for the jobs' last events */
        call_pump(c, &c->jobs[i]);
}

void call_cancel(struct call *c)
{
    if (c->state == CALL_RUN || c->state == CALL_BACK || prep_drop(c->s->prep, c)) {
        call_end_cancelled(c);
    } else if (c->state == CALL_OVER) {
        call_cancel_jobs(c);
    } else if (c->state < CALL_RUN) { /* seen when the body is there, or when prep has ended */
        c->cancel_asked = 1;
        atomic_store(&c->gone, 1);
    }
}

/* Prompt tokens of a job computed so far, and of these found in the cache. */
static void note_prefill(struct call *c, struct call_job *j, int32_t n, int32_t n_cached)
{
    if (n > j->n_prefilled) {
        c->live.row.n_prefilled += n - j->n_prefilled;
        j->n_prefilled = n;
    }
    c->live.row.n_cached += n_cached - j->n_cached;
    j->n_cached = n_cached;
}

static void note_token(struct call *c, struct call_job *j)
{
    j->n_told++;
    note_prefill(c, j, j->job.n_prompt, j->n_cached);
    row_token(&c->live, clock_now_us());
}

static void note_drafts(struct call *c, struct call_job *j, const struct event *ev)
{
    c->live.row.n_drafted += ev->n_drafted - j->n_drafted;
    c->live.row.n_draft_right += ev->n_draft_right - j->n_draft_right;
    j->n_drafted = ev->n_drafted;
    j->n_draft_right = ev->n_draft_right;
}

/* Budgets of energy count what it has used while it uses it. */
static void note_energy(struct call *c, struct call_job *j, const struct event *ev)
{
    int64_t uj = 0;

    if (ev->energy_uj <= j->energy_uj)
        return;
    j->energy_uj = ev->energy_uj;
    for (int32_t i = 0; i < c->n_sent; i++)
        uj += c->jobs[i].energy_uj;
    cloud_note_energy(&c->ticket, uj);
}

/* What is gathered for an answer counts as it grows. */
static int gather(struct call *c, const struct event *ev)
{
    int r = api_reply_event(c->reply, ev, call_store_frames(c));
    size_t n = api_reply_bytes(c->reply);

    call_store_number(c);
    return r || n <= c->answer.bytes ? r : net_claim_set(&c->answer, n + ANSWER_STEP);
}

void call_note_result(struct call *c, struct cloud_ticket *t, int code, int64_t first_us,
                      int64_t retry_us)
{
    cloud_note_result(c->s->cloud, clock_now_us(), t, code, first_us, retry_us);
    console_supplier_result(c->s->console, t->offer->sup->id, code, first_us);
}

void call_told(struct call *c)
{
    int64_t now_us;

    if (c->is_told)
        return;
    c->is_told = 1;
    now_us = clock_now_us();
    call_note_result(c, &c->ticket, 0, c->req.stream ? now_us - c->sent_us - c->queue_us : -1, 0);
    net_body_done(&c->body);
    if (c->req.messages) {
        api_request_rendered(&c->req);
        net_claim_set(&c->claim, call_kept_bytes(c));
    }
}

/* A stream that was not opened when its jobs were sent. */
static void open_late(struct call *c)
{
    if (c->req.stream && !c->streaming && !c->sup->ops->facts(c->sup)->relays)
        call_open_stream(c);
}

/* One event of a job, for the client: among all choices of the request. */
static int tell(struct call *c, struct call_job *j, const struct event *from)
{
    int32_t i = c->hedge ? 0 : (int32_t)(j - c->jobs);
    struct event ev = *from;

    open_late(c);
    switch (ev.kind) {
    case EVENT_STARTED:
        row_start(&c->live, c->started_us + ev.times->queue_us, ev.n_cached);
        if (!c->queue_us && c->started_us + ev.times->queue_us > c->sent_us)
            c->queue_us = c->started_us + ev.times->queue_us - c->sent_us;
        note_prefill(c, j, ev.n_cached, ev.n_cached);
        return 0;
    case EVENT_PREFILL:
        note_prefill(c, j, ev.n_done, ev.n_cached);
        row_note(&c->live, TIMELINE_PREFILL, clock_now_us(), c->live.row.n_prefilled);
        return 0;
    case EVENT_PREEMPTED:
        row_note(&c->live, TIMELINE_PREEMPTED, clock_now_us(), c->live.row.n_generated);
        return 0;
    case EVENT_PROMPT:
        ev.choice = i;
        break;
    case EVENT_TEXT:
        note_token(c, j);
        note_drafts(c, j, &ev);
        ev.choice += i * c->req.n_run;
        break;
    case EVENT_FINISH:
        j->n_live--;
        c->finish = ev.finish == FINISH_LENGTH ? "length" : "stop";
        ev.choice += i * c->req.n_run;
        break;
    case EVENT_RELAY:
        if (ev.usage_to)
            ev.receipt = call_receipt(c, ev.usage);
        if (ev.has_content)
            note_token(c, j);
        if (ev.is_last)
            c->finish = ev.finish == FINISH_LENGTH ? "length" : "stop";
        if (c->req.stream && !c->streaming)
            call_stream_begin(c);
        break;
    case EVENT_DONE: /* of the request so far */
        ev.usage = &c->usage;
        ev.times = &c->times;
        ev.receipt = call_receipt(c, &c->usage);
        break;
    case EVENT_ERROR: /* of the whole request: not a supplier's to say */
        return ERR_INTERNAL;
    }
    call_told(c);
    return gather(c, &ev);
}

static void raise(int64_t *at, int64_t v)
{
    if (v > *at)
        *at = v;
}

static void add_tokens(struct usage *to, const struct usage *u)
{
    to->prompt_tokens += u->prompt_tokens;
    to->cached_tokens += u->cached_tokens;
    to->completion_tokens += u->completion_tokens;
    to->cache_write_tokens += u->cache_write_tokens;
    to->state = u->state > to->state ? u->state : to->state;
    to->reasoning_tokens += u->reasoning_tokens;
    to->accepted_prediction_tokens += u->accepted_prediction_tokens;
    to->rejected_prediction_tokens += u->rejected_prediction_tokens;
    energy_add(&to->energy, &u->energy);
}

/* One more prompt is done: sums of what was used. Prompts run side by side, so the longest counts.
 */
static void add_use(struct call *c, int64_t now_us, const struct event *ev)
{
    const struct times *t = ev->times;

    add_tokens(&c->usage, ev->usage);
    add_tokens(&c->owed, ev->owed ? ev->owed : ev->usage);
    raise(&c->times.queue_us, t->queue_us);
    raise(&c->times.prompt_us, t->prompt_us);
    raise(&c->times.completion_us, t->completion_us);
    c->times.total_us = now_us - c->started_us;
    c->times.created_us = clock_wall_us();
}

static void job_done(struct call *c, struct call_job *j, const struct event *ev)
{
    int64_t now_us = clock_now_us();

    j->state = JOB_DONE;
    /* what came too late to be told is booked all the same, so it is shown */
    note_prefill(c, j, (int32_t)ev->usage->prompt_tokens, (int32_t)ev->usage->cached_tokens);
    note_drafts(c, j, ev);
    c->live.row.n_generated +=
        (int32_t)(ev->usage->completion_tokens - ev->usage->rejected_prediction_tokens) -
        j->n_told; /* ends have no text */
    add_use(c, now_us, ev);
    if (!ev->code)
        cloud_note_job(c->ticket.offer, now_us, ev->times->prompt_us + ev->times->completion_us);
}

/* The last byte: of a stream, or the whole body. */
static void finish(struct call *c)
{
    struct err e = {0};

    c->code = 0;
    if (c->streaming) {
        struct net_exchange *x = c->x;
        call_replay_note(c, c->out.data, c->out.len); /* before its client can ask again */
        call_replay_keep(c);
        call_flush(c);
        call_tell_leaf(c);
        c->x = NULL;
        c->state = CALL_OVER;
        net_stream_end(x);
        return;
    }
    if (api_reply_body(c->reply, &c->out) ||
        net_claim_set(&c->answer, api_reply_bytes(c->reply) + c->out.cap)) {
        err_set(&e, ERR_NOMEM, "No memory for the answer.");
        call_fail(c, &e);
        return;
    }
    call_replay_note(c, c->out.data, c->out.len);
    call_text_note(c, c->out.data, c->out.len);
    call_replay_keep(c);
    c->is_whole = 1;
    call_reply_buf(c, 200, "application/json", &c->out);
}

/* Take the job's memory back from the supplier, now or with its next mail. */
static void go_home(struct call *c, struct call_job *j)
{
    struct err e = {0};

    if (j->state != JOB_DONE || !ops(j)->release(j->sup, &j->job))
        return;
    j->state = JOB_HOME;
    if (!c->hedge || j != &c->hedge->job)
        c->n_home++;
    if (c->state == CALL_RUN && call_submit_more(c, &e) && !call_turn_back(c, &e))
        call_fail(c, &e);
    if (c->state == CALL_BACK)
        call_walk(c);
}

static void fail_job(struct call *c, int code, const struct event *ev)
{
    struct err e = {0};

    if (ev && ev->err)
        e = *ev->err;
    else
        err_set(&e, code, "The request could not be finished: %s.", err_text(code));
    if (ev && ev->retry_us)
        c->ticket.retry_us = ev->retry_us;
    call_note_result(c, &c->ticket, code, -1, ev ? ev->retry_us : 0);
    if (call_turn_back(c, &e))
        return;
    if (code == ERR_SUPPLIER_BUSY)
        c->ticket.retry_us =
            cloud_come_back(c->s->cloud, clock_now_us(), &c->ticket, c->ticket.retry_us);
    call_fail(c, &e);
}

/* An event of an answer whose client has left, and may ask for it again. What it then can have was
 * delivered. */
static void keep(struct call *c, const struct event *ev)
{
    struct event told = *ev;
    int r = 0;

    if (ev->kind == EVENT_RELAY && ev->usage_to)
        told.receipt = call_receipt(c, ev->usage);
    if (ev->kind == EVENT_RELAY || ev->kind == EVENT_DONE)
        r = gather(c, &told);
    if (!r && !c->req.stream && api_reply_is_done(c->reply))
        r = api_reply_body(c->reply, &c->out);
    call_replay_note(c, c->out.data, c->out.len);
    call_text_note(c, c->out.data, c->out.len);
    buf_clear(&c->out);
    if (r)
        call_replay_done(c);
    else if (api_reply_is_done(c->reply) && call_replay_keep(c))
        c->usage = c->owed;
}

/* The same of a stored answer. Who comes back reads its events; the request log wants what its
 * client would have heard. */
static void keep_texts(struct call *c, const struct event *from)
{
    struct event ev = *from;
    int r = 0;

    if (!call_text_is_wanted(c))
        return;
    if (ev.kind == EVENT_DONE) {
        ev.usage = &c->usage;
        ev.times = &c->times;
        ev.receipt = call_receipt(c, &c->usage);
    }
    if (ev.kind == EVENT_TEXT || ev.kind == EVENT_FINISH || ev.kind == EVENT_DONE)
        r = gather(c, &ev);
    if (!r && !c->req.stream && api_reply_is_done(c->reply))
        r = api_reply_body(c->reply, &c->out);
    if (r)
        call_text_drop(c);
    call_text_note(c, c->out.data, c->out.len);
    buf_clear(&c->out);
}

void call_pump(struct call *c, struct call_job *j)
{
    const struct event *ev;
    int code;

    while (j->state == JOB_OUT) {
        if (c->state == CALL_RUN && c->streaming && net_pending(c->x) > PENDING_PAUSE) {
            c->paused =
                1; /* events are not read: the job's ring fills, and the supplier pauses it */
            net_want_room(c->x);
            break;
        }
        ev = ops(j)->peek(j->sup, &j->job);
        if (!ev)
            break;
        if (call_hedge_takes(c, j, ev)) {
            ops(j)->pop(j->sup, &j->job);
            continue;
        }
        code = ev->code;
        if (ev->kind == EVENT_TEXT)
            call_proof_token(c, j, ev);
        note_energy(c, j, ev);
        if (ev->kind == EVENT_DONE)
            job_done(c, j, ev);
        if (!code)
            call_store_event(c, ev);
        if (c->state == CALL_RUN && !code)
            code = tell(c, j, ev);
        else if (c->is_kept && c->store.one && !code) {
            call_store_alone(c, j, ev);
            keep_texts(c, ev);
        } else if (c->is_kept && c->replay.claim && !code)
            keep(c, ev);
        if (code && ev->kind == EVENT_DONE && call_move_stopped(c, code))
            ; /* it goes on elsewhere */
        else if (c->state == CALL_RUN && code)
            fail_job(c, code, ev->kind == EVENT_DONE ? ev : NULL);
        ops(j)->pop(j->sup, &j->job);
        if (c->out.len > PENDING_PAUSE && c->streaming)
            call_flush(c);
    }
    call_store_publish(c);
    if (c->state == CALL_RUN && c->streaming)
        call_flush(c);
    if (c->state == CALL_RUN && c->x && api_reply_is_done(c->reply))
        finish(c);
    go_home(c, j);
    if (c->state == CALL_MOVE)
        call_move_go(c);
}

void call_room(struct call *c)
{
    if (c->state == CALL_TELL)
        call_tell(c);
    c->paused = 0;
    if (c->state == CALL_FOLLOW)
        call_follow_pump(c);
    if (c->state == CALL_MOVE)
        call_move_room(c);
    for (int32_t i = 0; i < c->n_sent && c->state == CALL_RUN; i++)
        call_pump(c, &c->jobs[i]);
    if (c->hedge && c->state == CALL_RUN)
        call_pump(c, &c->hedge->job);
}

/* Its offer has told nothing yet. Another may, where that takes too long. */
static void judge_wait(struct call *c, int64_t now_us)
{
    int64_t most = c->sup->ops->facts(c->sup)->first_token_us;
    struct err e = {0};

    if (!most || c->jobs[0].job.waits || now_us - c->sent_us - c->queue_us < most)
        return;
    if (call_hedge_is_open(c)) { /* another is at work already */
        call_note_result(c, &c->ticket, ERR_SILENT, -1, 0);
        call_hedge_drop(c, &c->jobs[0]);
        return;
    }
    err_set(&e, ERR_SILENT, "The supplier's answer did not begin in time.");
    if (call_turn_back(c, &e)) /* else it waits on */
        call_note_result(c, &c->ticket, e.code, -1, 0);
}

/* It waits in its supplier's queue for longer than it may: it is refused, while it still can be. */
static void judge_age(struct call *c, int64_t now_us)
{
    int64_t most = c->s->config->queue_age * 1000;
    struct err e = {0};

    if (!most || now_us - c->sent_us < most || c->live.has_started || c->is_told || c->streaming ||
        (c->sup->ops->facts(c->sup)->relays && !c->jobs[0].job.waits))
        return;
    c->ticket.retry_us = cloud_wait_us(&c->ticket);
    c->ticket.offer_is_full = 1;
    err_set_param(&e, ERR_QUEUE_FULL, "queue",
                  "We're experiencing high traffic right now! Please try again soon (this request "
                  "waited for %lld ms).",
                  (long long)((now_us - c->sent_us) / 1000));
    if (!call_turn_back(c, &e))
        call_fail(c, &e);
}

/* A client may wait for a head only so long. */
static void begin_to_wait(struct call *c)
{
    if (c->sup->ops->facts(c->sup)->relays)
        call_stream_begin(c);
    else
        call_open_stream(c);
}

void call_tick(struct call *c, int64_t now_us)
{
    struct err e = {0};

    call_store_tick(c);
    if (c->is_kept && net_server_is_over(c->s->net))
        call_cancel_jobs(c);
    if (c->state == CALL_FOLLOW)
        call_follow_tick(c, now_us);
    call_move_tick(c, now_us);
    if (c->state > CALL_RUN || !c->x)
        return;
    if (c->state == CALL_RUN && cloud_check_over(c->s->cloud, now_us, &c->ticket, &e)) {
        call_fail(c, &e);
        return;
    }
    if (c->state == CALL_RUN && !c->is_told)
        judge_wait(c, now_us);
    if (c->state == CALL_RUN)
        judge_age(c, now_us);
    call_hedge_tick(c, now_us);
    if (!c->streaming && c->state == CALL_RUN && c->req.stream &&
        now_us - c->started_us >= c->s->config->heartbeat * 1000)
        begin_to_wait(c);
    if (!c->streaming)
        return;
    call_progress(c, now_us);
    if (now_us - c->written_us >= c->s->config->heartbeat * 1000 && !c->paused) {
        c->written_us = now_us; /* no part of the answer, if that is kept */
        net_stream_write(c->x, c->frame->ping, strlen(c->frame->ping));
    }
}
