/* Calls that follow a stored answer (cloud/stored.h): from its beginning, or from behind the event
 * that their client has, as far as it is, and on while it is made. What they tell is written anew
 * from the events, as the answer's own call writes it. Io thread. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "serve/server.h"

#define READ_BYTES 65536 /* of records, at a time */
#define POSITION   100

/* Who moves answers here follows them for their clients. */
static int is_operators(const struct call *c)
{
    return c->route.id == API_ROUTE_ADMIN_ANSWER;
}

static int find(struct call *c, struct err *e)
{
    struct stored_all *all = cloud_stored(c->s->cloud);

    if (!all)
        return err_set(e, ERR_NOTFOUND, "No answers are stored here.");
    return stored_find(all, is_operators(c) ? NULL : cloud_tenant_name(c->s->cloud, c->i_viewer),
                       c->route.arg, &c->store.one, e);
}

/* ---- what is asked for ------------------------------------------------------------------------
 */

static int bad(const char *param, struct err *e)
{
    return err_set_param(e, ERR_SCHEMA, param,
                         "%s: must be the id of an event of this answer, or its number", param);
}

/* From where on, and as a stream? */
static int read_wish(struct call *c, struct err *e)
{
    const struct http_head *h = net_head(c->x);
    const char *last = http_field(h, "last-event-id"), *accept = http_field(h, "accept");
    char text[POSITION], stream[8];
    int has_query = api_query_get(&c->route, "starting_after", text, sizeof text);

    c->req.stream = last || has_query || (accept && strstr(accept, "text/event-stream"));
    if (api_query_get(&c->route, "stream", stream, sizeof stream))
        c->req.stream = !strcmp(stream, "true");
    if (last && (c->store.skip = api_sse_position(last, c->route.arg)) < 0)
        return bad("Last-Event-ID", e);
    if (!last && has_query && (c->store.skip = api_sse_position(text, c->route.arg)) < 0)
        return bad("starting_after", e);
    return 0;
}

/* The request, as far as an answer shows it. */
static int fill_request(struct call *c, const struct stored_head *h, struct err *e)
{
    const struct stored_numbers *v = &h->v;
    struct api_request *q = &c->req;

    q->dialect = api_dialects[v->dialect];
    q->model = arena_strdup(&c->arena, h->text[STORED_MODEL]);
    q->given = v->given;
    q->n_prompts = v->dialect == API_COMPLETION;
    q->n = v->n;
    q->n_run = v->n_run;
    q->sampling.logprobs = v->logprobs || v->n_run > v->n; /* best_of */
    q->sampling.n_top = v->n_top;
    q->logprobs = v->logprobs;
    q->include_usage = v->include_usage;
    q->return_token_ids = v->return_token_ids;
    q->raw_tokens = v->raw_tokens;
    q->tier = (enum tier)v->asked_tier;
    return q->model ? 0 : err_set(e, ERR_NOMEM, "No memory for the answer.");
}

static int make_reply(struct call *c, const struct stored_head *h, struct err *e)
{
    struct api_reply_setup setup = {.req = &c->req,
                                    .id = c->reply_id,
                                    .created = h->v.created,
                                    .fingerprint =
                                        arena_strdup(&c->arena, h->text[STORED_FINGERPRINT]),
                                    .tier_used = tier_name((enum tier)h->v.tier),
                                    .frame = c->frame};
    size_t n = (size_t)h->v.n_prompt;
    int32_t *prompt = malloc(n * sizeof *prompt);
    int r = prompt && setup.fingerprint ? api_reply_new(&c->reply, &setup) : ERR_NOMEM;

    if (!r) {
        memcpy(prompt, h->prompt, n * sizeof *prompt);
        r = api_reply_prompt(c->reply, 0, "", 0, prompt, (int32_t)n);
    }
    free(prompt);
    return r ? err_set(e, r, "No memory for the answer.") : 0;
}

static int take_head(struct call *c, struct stored_head *h, struct err *e)
{
    enum stored_state state;

    if (stored_read(c->store.one, &c->store.at, 1, &c->store.records, &state))
        return err_set(e, ERR_NOMEM, "No memory for the answer.");
    if (!stored_read_head(c->store.records.data, c->store.records.len, h) || h->v.dialect < 0 ||
        h->v.dialect >= API_DIALECTS)
        return err_set(e, ERR_NOTFOUND, "No stored answer has the id '%.80s'.", c->route.arg);
    return 0;
}

static int read_head(struct call *c, struct err *e)
{
    struct cloud_caller who = handler_caller(c);
    struct stored_head h;
    int r = take_head(c, &h, e);

    if (!r && !is_operators(c) &&
        (h.v.dialect == API_COMPLETION) != (c->route.id == API_ROUTE_STORED_COMPLETION))
        r = err_set(e, ERR_NOTFOUND, "No stored answer has the id '%.80s'.", c->route.arg);
    if (r)
        return r;
    if (!is_operators(c))
        r = cloud_key_sees(c->s->cloud, clock_now_us(), &who, h.text[STORED_MODEL], e);
    if (!r)
        r = fill_request(c, &h, e);
    c->frame = api_dialects[h.v.dialect]->frame(http_field(net_head(c->x), "user-agent"));
    memcpy(c->reply_id, h.text[STORED_ID], strlen(h.text[STORED_ID]) + 1);
    return r ? r : make_reply(c, &h, e);
}

/* ---- telling it -------------------------------------------------------------------------------
 */

/* Its events, as they were read. */
static int tell(struct call *c)
{
    const struct buf *b = &c->store.records;
    struct stored_event ev;
    size_t at = 0, n;
    int r = 0;

    while (!r && (n = stored_read_event(b->data, b->len, at, &ev))) {
        r = api_reply_event(c->reply, &ev.ev, call_store_frames(c));
        call_store_number(c);
        at += n;
    }
    n = api_reply_bytes(c->reply);
    return r || n <= c->answer.bytes ? r : net_claim_set(&c->answer, n + READ_BYTES);
}

static void finish(struct call *c)
{
    struct net_exchange *x = c->x;
    struct err e = {0};

    if (c->streaming) {
        c->x = NULL;
        c->state = CALL_OVER;
        net_stream_end(x);
    } else if (api_reply_body(c->reply, &c->out)) {
        err_set(&e, ERR_NOMEM, "No memory for the answer.");
        call_fail(c, &e);
    } else {
        call_reply_buf(c, 200, "application/json", &c->out);
    }
}

static void fail(struct call *c, int code, const char *why)
{
    struct err e = {0};

    err_set(&e, code, "%s", why);
    call_fail(c, &e);
}

void call_follow_pump(struct call *c)
{
    enum stored_state state = STORED_RUNS;

    while (c->state == CALL_FOLLOW && !api_reply_is_done(c->reply)) {
        if (c->streaming && net_pending(c->x) > PENDING_PAUSE) {
            net_want_room(c->x);
            return;
        }
        buf_clear(&c->store.records);
        if (stored_read(c->store.one, &c->store.at, READ_BYTES, &c->store.records, &state) ||
            tell(c)) {
            fail(c, ERR_NOMEM, "No memory for the answer.");
            return;
        }
        if (c->streaming)
            call_flush(c);
        if (!c->store.records.len)
            break;
    }
    if (c->state != CALL_FOLLOW)
        return;
    if (api_reply_is_done(c->reply))
        finish(c);
    else if (state == STORED_GONE && !call_move_follow(c))
        fail(c, ERR_NOTFOUND, "The answer is stored no more.");
}

void call_follow_tick(struct call *c, int64_t now_us)
{
    if (c->store.one && stored_is_elsewhere(c->store.one, clock_wall_us()))
        call_follow_pump(c);
    if (c->state != CALL_FOLLOW)
        return;
    if (!c->streaming || now_us - c->written_us < c->s->config->heartbeat * 1000 ||
        net_pending(c->x) > PENDING_PAUSE)
        return;
    c->written_us = now_us;
    net_stream_write(c->x, c->frame->ping, strlen(c->frame->ping));
}

/* ---- the endpoints ----------------------------------------------------------------------------
 */

static void answer_deleted(struct call *c)
{
    struct buf *b = &c->out;

    buf_addf(b, "{\"id\":\"%s\",\"object\":\"%s.deleted\",\"deleted\":true}", c->reply_id,
             c->route.id == API_ROUTE_STORED_CHAT ? "chat.completion" : "text_completion");
    call_reply(c, 200, "application/json", b->data, b->len);
}

static void begin(struct call *c)
{
    c->state = CALL_FOLLOW;
    c->written_us = clock_now_us();
    call_store_follow(c, 0);
    net_claim_init(&c->answer, c->x, NET_CLAIM_ANSWER);
    if (c->req.stream) {
        call_stream_begin(c);
        api_reply_begin(c->reply, call_store_frames(c));
        call_store_number(c);
        call_flush(c);
    }
    call_follow_pump(c);
}

void call_follow(struct call *c)
{
    struct err e = {0};
    int r;

    buf_init(&c->store.records, STORED_ANSWER_MAX + READ_BYTES);
    r = find(c, &e);
    if (!r)
        r = read_wish(c, &e);
    if (!r)
        r = read_head(c, &e);
    if (r) {
        call_fail(c, &e);
    } else if (c->method == HTTP_DELETE) {
        stored_drop(c->store.one);
        answer_deleted(c);
    } else {
        begin(c);
    }
}

void call_follow_own(struct call *c)
{
    struct stored_head h;
    struct err e = {0};
    int r;

    call_store_hand_on(c);
    call_store_follow(c, 0);
    c->state = CALL_FOLLOW;
    c->store.skip = c->store.n_frames > c->store.skip ? c->store.n_frames : c->store.skip;
    c->store.n_frames = 0;
    c->store.at = 0;
    buf_init(&c->store.records, STORED_ANSWER_MAX + READ_BYTES);
    r = take_head(c, &h, &e);
    if (!r)
        r = fill_request(c, &h, &e);
    api_reply_free(c->reply);
    c->reply = NULL;
    if (!r)
        r = make_reply(c, &h, &e);
    if (r) {
        call_fail(c, &e);
        return;
    }
    if (c->req.stream) {
        if (!c->streaming)
            call_stream_begin(c);
        api_reply_begin(c->reply, call_store_frames(c));
        call_store_number(c);
        call_flush(c);
    }
    call_follow_pump(c);
}
