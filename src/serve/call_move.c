/* A stored answer goes over to another server (moves.h). Its job is stopped at the border of a
 * step; what was told of it is sent there, whole; then the call tells its client what the other one
 * makes of it, from behind the event that the client has. Where the other one refuses it, it goes
 * on here: as one that was cut off (call_again.c), which the call follows. Io thread.
 *
 * It is at one place only: before it is sent that is noted in its file, and until the other one has
 * said yes or no it is asked again, and nobody goes on with it here. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "net/upstream.h"
#include "serve/server.h"

#define AGAIN_US   INT64_C(1000000) /* between two tries */
#define BUSY_TRIES 3                /* that it has no room, until it stays here */
#define SAID_MAX   ((size_t)64 << 10)
#define BODY_MAX   ((size_t)128 << 20) /* of a whole answer */
#define WAIT_MS    86400000
#define FRAME_END  "\n\n" /* as the other server writes them */
#define REASON_MAX 200

struct call_move {
    struct move_target *to;
    enum { STOPS, ASKS, FOLLOWS } at;
    struct upstream_request *up;
    struct buf records; /* that are sent */
    struct buf got;     /* of its answer: all, or what is no whole frame yet */
    char path[STORED_ID_MAX + 80];
    int is_counted;   /* among those that are sent together */
    int is_uncertain; /* it may be there */
    int is_done;      /* its stream has ended as one does */
    int n_busy;
    int64_t n;       /* the last event that the client has */
    int64_t next_us; /* the next try */
};

static struct stored *own(const struct call *c)
{
    return c->store.mail.is_owner ? c->store.one : NULL;
}

static struct call_move *make(struct call *c, struct move_target *to)
{
    struct call_move *m = calloc(1, sizeof *m);

    if (!m)
        return NULL;
    m->to = to;
    buf_init(&m->records, STORED_ANSWER_MAX);
    buf_init(&m->got, c->x && !c->req.stream ? BODY_MAX : STORED_ANSWER_MAX);
    c->move = m;
    return m;
}

static void uncount(struct call *c)
{
    if (c->move->is_counted)
        atomic_fetch_sub(&c->s->moves.n_asking, 1);
    c->move->is_counted = 0;
}

void call_move_free(struct call *c)
{
    struct call_move *m = c->move;

    if (!m)
        return;
    uncount(c);
    if (m->up)
        upstream_cancel(m->up);
    buf_done(&m->records);
    buf_done(&m->got);
    free(m);
    c->move = NULL;
}

/* Nothing of it is left to be done here. */
static void over(struct call *c)
{
    c->state = CALL_OVER;
    c->finish = "moved";
    if (!c->status)
        c->status = 200;
}

/* Its accounts owe nothing for it here, and its places are another's. */
static void leave_cloud(struct call *c)
{
    cloud_leave(c->s->cloud, clock_now_us(), &c->ticket, 0);
    c->ticket.holds.n_path = 0;
    c->sup = NULL;
    c->usage = c->owed = (struct usage){0};
    c->times = (struct times){0};
}

/* ---- what becomes of it ---------------------------------------------------------------------- */

static void follow(struct call *c);

/* It is there. */
static void moved(struct call *c)
{
    struct call_move *m = c->move;

    LOG_EVENT(LOG_INFO, "answer moved", LOG_STR("id", c->live.row.id),
              LOG_STR("answer", c->reply_id), LOG_STR("to", m->to->url));
    atomic_fetch_add(&c->s->moves.n_moved, 1);
    uncount(c);
    buf_done(&m->records);
    call_store_moved(c);
    if (!c->x) {
        over(c);
        return;
    }
    m->at = FOLLOWS;
    m->n = c->store.n_frames > c->store.skip ? c->store.n_frames : c->store.skip;
    follow(c);
}

/* It is not there, and goes on here. */
static void stays(struct call *c, const char *why)
{
    int round = c->move->to->round;

    LOG_EVENT(LOG_WARN, "answer not moved", LOG_STR("id", c->live.row.id),
              LOG_STR("answer", c->reply_id), LOG_STR("why", why));
    atomic_fetch_add(&c->s->moves.n_stayed, 1);
    moves_note_why(&c->s->moves, why);
    call_move_free(c);
    stored_stays(c->store.one, round);
    if (c->x) {
        call_follow_own(c);
    } else {
        c->store.outlives = 1; /* another call takes it over */
        over(c);
    }
}

/* ---- asking ---------------------------------------------------------------------------------- */

static void on_head(void *ctx, struct upstream_request *r)
{
    (void)ctx;
    (void)r;
}

static void gather(void *ctx, struct upstream_request *r, const char *p, size_t n)
{
    struct call *c = ctx;

    (void)r;
    buf_add(&c->move->got, p, n);
}

/* It says that it has it. */
static int has_it(const struct call *c)
{
    const struct buf *b = &c->move->got;
    const char *object, *id;
    json_t *j = NULL;
    int r;

    if (json_parse(&j, b->data ? b->data : "", b->len, 0, NULL))
        return 0;
    object = json_string_value(json_object_get(j, "object"));
    id = json_string_value(json_object_get(j, "id"));
    r = object && !strcmp(object, "stored_answer") && id && !strcmp(id, c->reply_id);
    json_decref(j);
    return r;
}

/* Why it refuses; 0: it is not a refusal of its own. */
static int reason(const struct call *c, int status, char ret[REASON_MAX])
{
    const struct buf *b = &c->move->got;
    const char *text = NULL;
    json_t *j = NULL;

    snprintf(ret, REASON_MAX, "the other server answered %d", status);
    if (!json_parse(&j, b->data ? b->data : "", b->len, 0, NULL))
        text = json_string_value(json_object_get(json_object_get(j, "error"), "message"));
    if (text)
        snprintf(ret, REASON_MAX, "%s", text);
    json_decref(j);
    return text != NULL;
}

/* Does it not have it, for certain? It looks first whether it has it, then whether it may. So where
 * an earlier try may have come there, a key that it refuses, or an answer that is somebody else's,
 * says nothing. */
static int is_no(int status, int is_own, int is_uncertain)
{
    if (is_uncertain)
        return is_own && (status == 400 || status == 409);
    return status >= 300 && status < 500 && status != 408 && status != 429;
}

/* What was heard of an ask: moved, it stays, or it is asked again. */
static void judge(struct call *c, int status, const struct err *e)
{
    struct call_move *m = c->move;
    char why[REASON_MAX];
    int is_busy = status == 503 || status == 429, is_own;

    m->next_us = clock_now_us() + AGAIN_US;
    if (!e->code && (status == 200 || status == 201) && has_it(c)) {
        moved(c);
        return;
    }
    if (e->code == ERR_CONNECT && !m->is_uncertain) { /* nothing was sent */
        stays(c, e->text);
        return;
    }
    is_own = reason(c, status, why);
    if (!e->code && is_no(status, is_own, m->is_uncertain)) {
        stays(c, why);
    } else if (!e->code && is_busy && is_own && !m->is_uncertain) {
        if (++m->n_busy >= BUSY_TRIES)
            stays(c, why);
    } else {
        m->is_uncertain = 1;
        moves_note_why(&c->s->moves, e->code ? e->text : why);
        LOG_EVENT(LOG_WARN, "answer on its way", LOG_STR("answer", c->reply_id),
                  LOG_STR("why", e->code ? e->text : why));
    }
}

static void on_asked(void *ctx, struct upstream_request *r, const struct err *e)
{
    struct call *c = ctx;

    c->move->up = NULL;
    judge(c, upstream_status(r), e);
    handler_reap(c);
}

static int begin(struct call *c, struct upstream_ask *a, const struct upstream_handler *h,
                 struct err *e)
{
    struct call_move *m = c->move;
    struct upstream_header header[4];

    buf_clear(&m->got);
    a->header = header;
    header[a->n_header++] = (struct upstream_header){"x-gaufre-from", c->s->moves.process};
    header[a->n_header++] = (struct upstream_header){"content-type", "application/octet-stream"};
    if (m->to->authorization)
        header[a->n_header++] = (struct upstream_header){"authorization", m->to->authorization};
    a->path = m->path;
    return upstream_begin(m->to->upstream, c->io, a, h, &m->up, e);
}

static void ask(struct call *c)
{
    static const struct upstream_handler handler = {NULL, on_head, gather, on_asked};
    struct call_move *m = c->move;
    struct upstream_handler h = handler;
    struct upstream_ask a = {.method = "POST", .body = m->records.data, .n_body = m->records.len};
    struct err e = {0};

    h.ctx = c;
    snprintf(m->path, sizeof m->path, "/admin/v1/answers");
    if (begin(c, &a, &h, &e))
        m->next_us = clock_now_us() + AGAIN_US; /* nothing was sent */
}

/* Its records are all there are; note where they go, and send them. */
static void send(struct call *c)
{
    struct call_move *m = c->move;
    enum stored_state state;
    struct err e = {0};
    size_t at = 0;

    m->at = ASKS;
    m->is_uncertain = stored_moves(c->store.one);
    if (stored_read(c->store.one, &at, STORED_ANSWER_MAX, &m->records, &state))
        stays(c, "no memory");
    else if (stored_move(c->store.one, m->to->url, &e))
        stays(c, e.text);
    else
        ask(c);
}

/* ---- following it there ---------------------------------------------------------------------- */

static void end_stream(struct call *c)
{
    struct net_exchange *x = c->x;

    c->x = NULL;
    over(c);
    net_stream_end(x);
}

/* A frame without its end. */
static void note_frame(struct call_move *m, const char *p, size_t n)
{
    const char *line, *slash;

    if (n && *p == ':')
        return; /* a comment */
    line = memmem(p, n, "\n", 1);
    slash = n > 4 && !memcmp(p, "id: ", 4) && line ? memmem(p, (size_t)(line - p), "/", 1) : NULL;
    if (slash)
        m->n = strtoll(slash + 1, NULL, 10);
    if (!slash || memmem(p, n, "\ndata: [DONE]", 13))
        m->is_done = 1; /* errors have no id */
}

/* Whole frames go to the client; what is none yet waits. */
static void pass(struct call *c)
{
    struct call_move *m = c->move;
    const char *at = m->got.data, *end = at + m->got.len, *to;
    size_t n_left;

    while ((to = memmem(at, (size_t)(end - at), FRAME_END, strlen(FRAME_END)))) {
        note_frame(m, at, (size_t)(to - at));
        buf_add(&c->out, at, (size_t)(to - at));
        buf_add_str(&c->out, c->frame->end);
        at = to + strlen(FRAME_END);
    }
    n_left = (size_t)(end - at);
    memmove(m->got.data, at, n_left);
    m->got.len = n_left;
    if (c->out.len && !c->streaming)
        call_stream_begin(c);
    call_flush(c);
}

static void on_data(void *ctx, struct upstream_request *r, const char *p, size_t n)
{
    struct call *c = ctx;

    buf_add(&c->move->got, p, n);
    if (upstream_status(r) != 200 || !c->req.stream || !c->move->got.len)
        return;
    pass(c);
    if (c->x && net_pending(c->x) > PENDING_PAUSE) {
        upstream_pause(r, 1);
        c->paused = 1;
        net_want_room(c->x);
    }
}

static void fail(struct call *c, int code, const char *why)
{
    struct err e = {0};

    err_set(&e, code, "%s", why);
    call_fail(c, &e);
}

static void end(struct call *c, int status, const struct err *e)
{
    struct call_move *m = c->move;
    char why[REASON_MAX];

    m->next_us = clock_now_us() + AGAIN_US;
    if (!e->code && status == 200 && m->is_done) {
        end_stream(c);
    } else if (!e->code && status == 200 && !c->req.stream) {
        over(c);
        call_reply(c, 200, "application/json", m->got.data ? m->got.data : "", m->got.len);
    } else if (!e->code && status >= 400 && status < 500 && reason(c, status, why)) {
        fail(c, status == 404 ? ERR_NOTFOUND : ERR_SUPPLIER, why);
    } /* else it is tried again */
}

static void on_end(void *ctx, struct upstream_request *r, const struct err *e)
{
    struct call *c = ctx;

    c->move->up = NULL;
    c->paused = 0;
    if (c->x)
        end(c, upstream_status(r), e);
    handler_reap(c);
}

static void follow(struct call *c)
{
    static const struct upstream_handler handler = {NULL, on_head, on_data, on_end};
    struct call_move *m = c->move;
    struct upstream_handler h = handler;
    struct upstream_ask a = {.method = "GET", .first_byte_ms = c->req.stream ? 0 : WAIT_MS};
    struct err e = {0};

    h.ctx = c;
    snprintf(m->path, sizeof m->path, "/admin/v1/answers/%s?stream=%s&starting_after=%lld",
             c->reply_id, c->req.stream ? "true" : "false", (long long)m->n);
    if (begin(c, &a, &h, &e))
        m->next_us = clock_now_us() + AGAIN_US;
}

/* ---- its call -------------------------------------------------------------------------------- */

static int is_at_work(const struct call *c)
{
    return c->n_jobs == 1 && c->n_sent == 1 && c->jobs[0].state == JOB_OUT && !c->cancelled &&
           !c->store.is_ended && (c->state == CALL_RUN || (c->state == CALL_OVER && c->is_kept));
}

/* Stop it, where it may go. */
static void stop(struct call *c, struct move_target *to)
{
    struct moves *m = &c->s->moves;

    if (!own(c) || !stored_is_left(c->store.one, to->round) || !is_at_work(c))
        return;
    if (c->store.is_booked) { /* its bill is here */
        stored_stays(c->store.one, to->round);
        return;
    }
    if (atomic_fetch_add(&m->n_asking, 1) >= MOVES_AT_ONCE || !make(c, to)) {
        atomic_fetch_sub(&m->n_asking, 1);
        return;
    }
    c->move->is_counted = 1;
    call_cancel_jobs(c);
}

int call_move_stopped(struct call *c, int code)
{
    if (!c->move || c->move->at != STOPS || code != ERR_CANCELLED || !own(c) ||
        (c->state != CALL_RUN && !c->is_kept))
        return 0;
    c->state = CALL_MOVE;
    return 1;
}

void call_move_go(struct call *c)
{
    if (c->move->at != STOPS || c->n_home < c->n_sent)
        return;
    call_flush(c);
    if (!own(c)) {
        fail(c, ERR_CANCELLED, "The answer is stored no more.");
        return;
    }
    leave_cloud(c);
    send(c);
}

void call_move_take(struct call *c, struct move_target *to)
{
    c->state = CALL_MOVE;
    if (make(c, to)) {
        atomic_fetch_add(&c->s->moves.n_asking, 1);
        c->move->is_counted = 1;
        send(c);
        return;
    }
    c->store.outlives = 1;
    over(c);
}

int call_move_follow(struct call *c)
{
    struct move_target *to = atomic_load(&c->s->moves.now);

    if (!to || !stored_is_moved(c->store.one) || !make(c, to))
        return 0;
    call_store_moved(c);
    c->state = CALL_MOVE;
    c->move->at = FOLLOWS;
    c->move->n = c->store.n_frames > c->store.skip ? c->store.n_frames : c->store.skip;
    follow(c);
    return 1;
}

static void beat(struct call *c, int64_t now_us)
{
    if (!c->x || !c->streaming || c->paused ||
        now_us - c->written_us < c->s->config->heartbeat * 1000)
        return;
    c->written_us = now_us;
    net_stream_write(c->x, c->frame->ping, strlen(c->frame->ping));
}

void call_move_tick(struct call *c, int64_t now_us)
{
    struct move_target *to = atomic_load(&c->s->moves.now);
    struct call_move *m = c->move;

    if (!m && to)
        stop(c, to);
    if (!m || c->state != CALL_MOVE || m->at == STOPS)
        return;
    if (!c->x && net_server_is_over(c->s->net)) { /* the next process sees to it */
        call_move_gone(c, ERR_DRAINING);
        return;
    }
    beat(c, now_us);
    if (m->up || now_us < m->next_us)
        return;
    if (m->at == ASKS)
        ask(c);
    else
        follow(c);
}

void call_move_room(struct call *c)
{
    if (c->move->up)
        upstream_pause(c->move->up, 0);
}

void call_move_gone(struct call *c, int code)
{
    struct call_move *m = c->move;

    if (code != ERR_DRAINING && m->at != FOLLOWS) { /* where it is, must be known */
        if (!c->is_kept)
            net_io_keep(c->s->net, c->io, 1);
        c->is_kept = 1;
        c->kept_us = clock_now_us();
        return;
    }
    c->store.outlives = 1;
    call_move_free(c);
    over(c);
}
