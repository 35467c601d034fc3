/* Calls that look at requests (console/watch.h): one of them, or all of them again and again.
 *
 * A watcher is a call whose answer is a stream of states. It skips a state while its reader is
 * behind (a reader that stops reading is cut like any other), and ends when the server drains or
 * its keys are read again. */
#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "console/overview.h"
#include "engine/energy_meter.h"
#include "serve/energy_source.h"
#include "serve/server.h"

#define TEXT_MAX ((size_t)1 << 20)
#define BEHIND   ((size_t)128 << 10) /* unsent bytes at which a state is skipped */
#define EARLY_US 10000               /* a tick may come that much before its time */

struct call_watch {
    struct watch *watch;
    int is_out;      /* it is on its way round the io threads */
    int is_overview; /* of all tenants, made once for all who look (console/overview.h) ... */
    int has_joined;  /* ... again and again */
    uint64_t seq;    /* of the overview that was sent last */
    int interval_us;
    int64_t next_us;
    struct buf text;
};

int call_watch_is_out(const struct call *c)
{
    return c->watch && c->watch->is_out;
}

/* ---- at home --------------------------------------------------------------------------------- */

static void answer_state(struct call *c)
{
    const struct api_frame *frame = api_sse_frame(NULL);
    struct call_watch *w = c->watch;
    struct err e = {0};

    buf_clear(&w->text);
    buf_add_str(&w->text, frame->begin);
    watch_state(w->watch, &w->text);
    if (buf_add_str(&w->text, frame->end)) {
        if (!c->streaming) {
            err_set(&e, ERR_NOMEM, "No memory for the answer.");
            call_fail(c, &e);
        }
        return; /* the next one may fit */
    }
    if (!c->streaming)
        call_stream_begin(c);
    net_stream_write(c->x, w->text.data, w->text.len); /* cut: on_gone follows */
}

static void answer_one(struct call *c)
{
    struct err e = {0};
    int r = watch_found(c->watch->watch, &c->out, &e);

    if (c->out.failed)
        r = err_set(&e, ERR_NOMEM, "No memory for the answer.");
    if (r)
        call_fail(c, &e);
    else
        call_reply(c, 200, "application/json", c->out.data, c->out.len);
}

static void end_stream(struct call *c);

/* An overview that is new to this client. */
static void answer_overview(struct call *c, const struct overview_text *t)
{
    const struct api_frame *frame = api_sse_frame(NULL);
    struct call_watch *w = c->watch;
    struct cloud_admin who;
    struct err e = {0};

    if (!w->has_joined) {
        call_reply(c, 200, "application/json", t->text.data, t->text.len);
        return;
    }
    if (c->streaming && handler_check_operator(c, &who, &e)) { /* its session or its key is over */
        end_stream(c);
        return;
    }
    w->seq = t->seq;
    buf_clear(&w->text);
    buf_add_str(&w->text, frame->begin);
    buf_add(&w->text, t->text.data, t->text.len);
    if (buf_add_str(&w->text, frame->end))
        return; /* no memory: the next one may fit */
    if (!c->streaming)
        call_stream_begin(c);
    net_stream_write(c->x, w->text.data, w->text.len); /* cut: on_gone follows */
}

/* It was made here, for all. */
static void overview_home(struct call *c)
{
    struct energy_meter *meter = energy_source_meter(c->s->energy);
    struct energy_look look;
    struct overview_meter m = {meter ? &look : NULL, c->s->config->site};
    struct overview_text *t;
    struct err e = {0};

    if (meter)
        energy_meter_look(meter, &look);
    t = overview_make(c->watch->watch, &m);

    if (c->x && t)
        answer_overview(c, t);
    else if (c->x && !c->streaming) {
        err_set(&e, ERR_NOMEM, "No memory for the answer.");
        call_fail(c, &e);
    }
    overview_put(t);
}

static void come_home(struct call *c)
{
    c->watch->is_out = 0;
    if (c->watch->is_overview)
        overview_home(c);
    if (c->watch->is_overview && c->x)
        return;
    if (!c->x)
        c->state = CALL_OVER; /* the client left meanwhile */
    else if (c->watch->interval_us)
        answer_state(c);
    else
        answer_one(c);
}

/* ---- on the way ------------------------------------------------------------------------------ */

/* See this thread's rows, and cancel the calls of those that were marked. */
static void see(struct watch *w, struct server_io *io)
{
    if (!watch_see(w, io->i))
        return;
    for (struct call *c = io->calls, *next; c; c = next) {
        next = c->next;
        if (!c->live.cancel)
            continue;
        c->live.cancel = 0;
        call_cancel(c);
        handler_reap(c);
    }
}

static void set_out(struct call *c, const char *id, enum watch_what what)
{
    struct watch *w = c->watch->watch;

    c->state = CALL_WATCH;
    watch_set_out(w, c->io, id, what);
    see(w, &c->s->io[c->io]);
    if (watch_is_home(w)) {
        come_home(c);
        return;
    }
    c->watch->is_out = 1;
    watch_send(w, c->io);
}

struct call *call_watch_arrive(struct server *s, struct watch *w, int io)
{
    struct call *c;

    if (!watch_is_home(w)) {
        see(w, &s->io[io]);
        watch_send(w, io);
        return NULL;
    }
    c = watch_owner(w);
    come_home(c);
    return c;
}

/* ---- the endpoints --------------------------------------------------------------------------- */

static int begin(struct call *c, struct err *e)
{
    struct call_watch *w;

    if (atomic_load(&c->s->draining))
        return err_set(e, ERR_DRAINING, "The server is shutting down.");
    w = c->watch = calloc(1, sizeof *w);
    if (w) {
        w->watch = watch_new(c->s->console, c->i_viewer, c);
        buf_init(&w->text, TEXT_MAX);
    }
    return w && w->watch ? 0 : err_set(e, ERR_NOMEM, "No memory for one more request.");
}

/* Begin a watcher: an answer that is a stream of states. */
static int join(struct call *c, struct err *e)
{
    struct call_watch *w = c->watch;
    int ms, r = api_engine_interval(&c->route, &ms, e);

    if (r)
        return r;
    w->interval_us = ms * 1000;
    w->next_us = clock_now_us() + w->interval_us;
    return watch_join(w->watch, e);
}

void call_watch_events(struct call *c)
{
    struct err e = {0};
    int r = begin(c, &e);

    if (!r)
        r = join(c, &e);
    if (r)
        call_fail(c, &e);
    else if (c->method == HTTP_HEAD)
        call_reply(c, 200, "text/event-stream; charset=utf-8", "", 0);
    else
        set_out(c, NULL, WATCH_ROW);
}

static void look_for_one(struct call *c, enum watch_what what)
{
    struct err e = {0};

    if (begin(c, &e))
        call_fail(c, &e);
    else
        set_out(c, c->route.arg, what);
}

void call_watch_request(struct call *c)
{
    look_for_one(c, WATCH_ROW);
}

void call_watch_route(struct call *c)
{
    look_for_one(c, WATCH_ROUTE);
}

void call_watch_cancel(struct call *c)
{
    look_for_one(c, WATCH_CANCEL);
}

/* ---- overviews ------------------------------------------------------------------------------- */

/* Tell what there is, or make it, or ask again at the next tick. */
static void look_over(struct call *c)
{
    struct call_watch *w = c->watch;
    struct overview_text *t;

    switch (overview_look(c->s->console, clock_now_us(), &t)) {
    case OVERVIEW_READY:
        if (t->seq != w->seq)
            answer_overview(c, t);
        overview_put(t);
        break;
    case OVERVIEW_MAKE:
        set_out(c, NULL, WATCH_ROW);
        break;
    case OVERVIEW_WAIT:
        break;
    }
}

static void begin_overview(struct call *c, int is_stream)
{
    struct err e = {0};
    int r = begin(c, &e);

    if (!r)
        r = watch_want_times(c->watch->watch, &e);
    if (!r && is_stream)
        r = overview_join(c->s->console, &e);
    if (r) {
        call_fail(c, &e);
        return;
    }
    c->watch->is_overview = 1;
    c->watch->has_joined = is_stream;
    c->watch->text.max = OVERVIEW_TEXT_MAX + 256;
    c->state = CALL_WATCH;
    if (is_stream && c->method == HTTP_HEAD)
        call_reply(c, 200, "text/event-stream; charset=utf-8", "", 0);
    else
        look_over(c);
}

void call_overview(struct call *c)
{
    begin_overview(c, 0);
}

void call_overview_events(struct call *c)
{
    begin_overview(c, 1);
}

/* ---- again and again ------------------------------------------------------------------------- */

/* No more states: the stream ends in order, and the client may ask again. */
static void end_stream(struct call *c)
{
    struct net_exchange *x = c->x;

    c->x = NULL;
    c->state = CALL_OVER;
    net_close_after(x);
    net_stream_end(x);
}

void call_watch_tick(struct call *c, int64_t now_us)
{
    struct call_watch *w = c->watch;
    struct err e = {0};

    if (c->state != CALL_WATCH || !c->x)
        return;
    if (atomic_load(&c->s->draining) && !c->streaming) {
        err_set(&e, ERR_DRAINING, "The server is shutting down.");
        call_fail(c, &e);
    } else if (c->streaming &&
               (atomic_load(&c->s->draining) || atomic_load(&c->s->leaving) ||
                (!w->is_overview && c->keys_read != atomic_load(&c->s->keys_read)))) {
        end_stream(c);
    } else if (w->is_overview) {
        if (!w->is_out && (!c->streaming || net_pending(c->x) <= BEHIND))
            look_over(c);
    } else if (c->streaming && !w->is_out && now_us + EARLY_US >= w->next_us) {
        w->next_us += w->interval_us;
        if (w->next_us <= now_us)
            w->next_us = now_us + w->interval_us;
        if (net_pending(c->x) <= BEHIND)
            set_out(c, NULL, WATCH_ROW);
    }
}

void call_watch_free(struct call *c)
{
    if (!c->watch)
        return;
    CHECK(!c->watch->is_out);
    if (c->watch->has_joined)
        overview_leave(c->s->console);
    watch_free(c->watch->watch);
    buf_done(&c->watch->text);
    free(c->watch);
    c->watch = NULL;
}
