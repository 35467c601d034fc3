/* Answers that were cut off (cloud/stored.h) go on: as calls without a client, which take the way
 * of their request once more, from its body on, and whose supplier goes on behind what was told.
 * They are booked when they end, once, under the id of their request. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/put.h"
#include "serve/server.h"

#define AT_ONCE  16 /* taken over in one go */
#define AGAIN_US INT64_C(2000000)

static const struct {
    enum api_route_id route;
    const char *path;
} routes[API_DIALECTS] = {[API_CHAT] = {API_ROUTE_CHAT, "/v1/chat/completions"},
                          [API_COMPLETION] = {API_ROUTE_COMPLETION, "/v1/completions"}};

static const char *or_null(const char *s)
{
    return *s ? s : NULL;
}

/* The request as it came. */
static int fill(struct call *c, const struct stored_head *h, struct err *e)
{
    int32_t d = h->v.dialect;

    if (d < 0 || d >= API_DIALECTS)
        return err_set(e, ERR_FORMAT, "it is in no dialect");
    c->method = HTTP_POST;
    c->route.id = routes[d].route;
    c->route.dialect = api_dialects[d];
    put_text(c->path, sizeof c->path, routes[d].path);
    c->endpoint = endpoint_row(c->route.id);
    c->frame = api_sse_frame(NULL);
    put_text(c->live.row.id, sizeof c->live.row.id, h->text[STORED_REQUEST_ID]);
    put_text(c->reply_id, sizeof c->reply_id, h->text[STORED_ID]);
    c->reply_created = h->v.created;
    c->heads = (struct api_request_headers){
        .content_type = or_null(h->text[STORED_CONTENT_TYPE]),
        .content_encoding = or_null(h->text[STORED_CONTENT_ENCODING]),
        .version_patch = or_null(h->text[STORED_VERSION_PATCH]),
        .queue_threshold = NULL, /* it has waited */
    };
    c->body.data = malloc(h->n_body + 1);
    if (!c->body.data)
        return err_set(e, ERR_NOMEM, "No memory for one more request.");
    memcpy(c->body.data, h->body, h->n_body);
    c->body.data[h->n_body] = 0;
    c->body.len = c->n_body = h->n_body;
    c->arena.max = ((size_t)1 << 20) + 8 * h->n_body;
    return 0;
}

static int enter(struct call *c, const struct stored_head *h, struct err *e)
{
    const struct cloud_caller who = {.again_key_id = h->text[STORED_KEY_ID],
                                     .again_tenant = h->text[STORED_TENANT]};
    int64_t now_us = clock_now_us();
    int r;

    cloud_tell_wall(c->s->cloud, now_us, clock_wall_us());
    r = cloud_enter(c->s->cloud, now_us, &who, &c->ticket, e);
    if (!r && strcmp(c->ticket.tenant, h->text[STORED_TENANT]) != 0)
        r = err_set(e, ERR_FORBIDDEN, "its tenant is not there any more");
    return r;
}

/* One that is taken over. NULL: no memory; then it is tried later. */
static struct call *make(struct server *s, int io, struct stored *one)
{
    struct stored_past *past = malloc(sizeof *past);
    int r = past ? stored_read_past(one, past) : ERR_NOMEM;
    struct call *c = r ? NULL : handler_call_new(s, io, clock_now_us());

    if (!c) {
        if (!r)
            stored_past_done(past);
        free(past);
        stored_postpone(one, clock_wall_us() + AGAIN_US);
        stored_leave(one, clock_wall_us());
        return NULL;
    }
    c->store.is_wanted = 1;
    c->store.one = one;
    c->store.is_booked = stored_is_booked(one);
    c->store.past = past;
    call_store_follow(c, 1);
    return c;
}

static void go_on(struct call *c)
{
    const struct stored_head *h = &c->store.past->head;
    struct err e = {0};
    int r = fill(c, h, &e);

    if (!r)
        r = enter(c, h, &e);
    if (!r)
        row_publish(&c->live, c->s->io[c->io].rows, c->route.dialect->name, c->ticket.i_rate);
    LOG_EVENT(LOG_INFO, "answer goes on", LOG_STR("id", c->live.row.id),
              LOG_STR("answer", c->reply_id), LOG_STR("refused", r ? e.text : ""));
    c->state = CALL_PARSE;
    if (r)
        call_fail(c, &e);
    else
        call_walk(c);
}

/* Another server goes on with it. */
static void move(struct call *c, struct move_target *to)
{
    struct err e = {0};

    if (!fill(c, &c->store.past->head, &e)) {
        call_move_take(c, to);
        return;
    }
    c->store.outlives = 1;
    c->state = CALL_OVER;
}

void call_again(struct server *s, int io)
{
    struct stored_all *all = cloud_stored(s->cloud);
    struct stored *one;

    for (int i = 0; i < AT_ONCE && !atomic_load(&s->draining); i++) {
        struct move_target *to = atomic_load(&s->moves.now);
        struct call *c;
        if (to && atomic_load(&s->moves.n_asking) >= MOVES_AT_ONCE)
            return; /* at the next look */
        one = to ? stored_take_left(all, to->round, to->url) : NULL;
        if (one && stored_is_booked(one)) { /* its bill is here */
            stored_stays(one, to->round);
            to = NULL;
        } else if (!one) {
            to = NULL;
            one = stored_take_pending(all, clock_wall_us());
        }
        c = one ? make(s, io, one) : NULL;
        if (!c)
            return;
        if (to)
            move(c, to);
        else
            go_on(c);
        handler_reap(c);
    }
}

void call_again_look(struct server *s)
{
    struct stored_all *all = cloud_stored(s->cloud);
    struct stored_stats stats;
    struct err e = {0};
    struct mbox *box;

    if (!all)
        return;
    stored_expire(all, clock_wall_us());
    /* A process that leaves takes nothing over: that is for the one after it. */
    if (!atomic_load(&s->leaving) && cloud_stored_inherit(s->cloud, clock_wall_us(), &e))
        LOG_EVENT(LOG_WARN, "stored answers not taken over", LOG_STR("why", e.text));
    stored_stats(all, &stats);
    if (!stats.n_pending)
        return;
    s->again_io = (s->again_io + 1) % net_n_io(s->net);
    s->again_item.kind = MAIL_AGAIN;
    box = net_io_mbox(s->net, s->again_io);
    if (mbox_post(box, &s->again_item))
        mbox_wake(box);
}
