/* The neutral state of one response: what was gathered of its choices, and how far it is. What the
 * client reads is its dialect's.
 *
 * What is gathered is kept as JSON text, so that a body is put together by copying. */
#include <stdlib.h>
#include <string.h>

#include "api/dialect.h"
#include "api/receipt_text.h"
#include "api/reply_int.h"
#include "api/request.h"
#include "base/check.h"
#include "base/json_write.h"

#define TEXT_MAX ((size_t)64 << 20)

/* ---- life ---- */

int api_reply_new(struct api_reply **ret, const struct api_reply_setup *s)
{
    struct api_reply *r = calloc(1, sizeof *r);
    size_t max = s->text_max ? s->text_max : TEXT_MAX;

    if (!r)
        return ERR_NOMEM;
    r->s = *s;
    r->req = s->req;
    r->dialect = s->req->dialect;
    r->text_max = max;
    r->frame = s->frame ? s->frame : api_sse_frame(NULL);
    r->n_prompts = s->req->n_prompts ? s->req->n_prompts : 1;
    r->n_choices = r->n_prompts * s->req->n_run;
    r->choice = calloc((size_t)r->n_choices, sizeof *r->choice);
    for (int32_t i = 0; r->choice && i < r->n_choices; i++) {
        buf_init(&r->choice[i].text, max);
        buf_init(&r->choice[i].reasoning, max);
    }
    if (!r->choice || r->dialect->open(r)) {
        api_reply_free(r);
        return ERR_NOMEM;
    }
    *ret = r;
    return 0;
}

void api_reply_free(struct api_reply *r)
{
    if (!r)
        return;
    for (int32_t i = 0; r->choice && i < r->n_choices; i++) {
        buf_done(&r->choice[i].text);
        buf_done(&r->choice[i].reasoning);
    }
    free(r->choice);
    r->dialect->close(r);
    free(r);
}

int reply_charge(struct api_reply *r, size_t before, size_t after)
{
    r->used += after - before;
    return r->used > r->text_max ? ERR_LIMIT : 0;
}

int api_reply_prompt(struct api_reply *r, int32_t i, const char *text, size_t n, const int32_t *id,
                     int32_t n_id)
{
    CHECK(i >= 0 && i < r->n_prompts);
    return r->dialect->prompt(r, i, text, n, id, n_id);
}

size_t api_reply_bytes(const struct api_reply *r)
{
    return r->used;
}

/* ---- events ---- */

/* A token, or the end, of a choice. */
static int take_text(struct api_reply *r, const struct event *ev)
{
    struct choice *c = &r->choice[ev->choice];
    struct buf *b = ev->channel == CHANNEL_REASONING ? &c->reasoning : &c->text;
    size_t before;

    CHECK(ev->choice >= 0 && ev->choice < r->n_choices && !c->finished);
    if (ev->kind == EVENT_TEXT) {
        c->logprob_sum += r->req->sampling.logprobs ? ev->logprob : 0;
        c->n_tokens++;
    } else {
        c->finished = 1;
        c->finish = ev->finish;
        r->n_finished++;
    }
    if (r->req->stream)
        return 0;
    before = b->len;
    json_put_escaped(b, ev->text, ev->n_text);
    return b->failed ? b->failed : reply_charge(r, before, b->len);
}

/* A piece as its supplier wrote it, but for its receipt. */
static int put_piece(struct buf *out, const struct event *ev)
{
    int r;

    if (!ev->receipt || !ev->usage_to)
        return buf_add(out, ev->text, ev->n_text);
    CHECK(ev->usage_from < ev->usage_to && ev->usage_to <= ev->n_text);
    buf_add(out, ev->text, ev->usage_from);
    r = api_receipt_splice(ev->text + ev->usage_from, ev->usage_to - ev->usage_from, ev->receipt,
                           out);
    buf_add(out, ev->text + ev->usage_to, ev->n_text - ev->usage_to);
    return r ? r : out->failed;
}

/* JSON on one line, as a frame needs it: line breaks are blanks in JSON. */
static void make_line(struct buf *out, size_t from)
{
    char *p;

    while (from < out->len && (p = memchr(out->data + from, '\n', out->len - from))) {
        *p = ' ';
        from = (size_t)(p - out->data) + 1;
    }
}

/* A piece of an answer that its supplier has written. What a body is made of is gathered. */
static int relay(struct api_reply *r, const struct event *ev, struct buf *out)
{
    struct buf *body = &r->choice[0].text;
    size_t before = body->len, from;
    int e;

    if (r->req->stream) {
        buf_add_str(out, r->frame->begin);
        from = out->len;
        e = put_piece(out, ev);
        make_line(out, from);
        return e ? e : buf_add_str(out, r->frame->end);
    }
    e = put_piece(body, ev);
    return e ? e : body->failed ? body->failed : reply_charge(r, before, body->len);
}

static int end_relay(struct api_reply *r, struct buf *out)
{
    r->ended = 1;
    if (!r->req->stream)
        return 0;
    buf_add_str(out, r->frame->begin);
    buf_add_str(out, "[DONE]");
    return buf_add_str(out, r->frame->end);
}

static int fail(struct api_reply *r, const struct event *ev, struct buf *out)
{
    r->ended = r->failed = 1;
    if (!r->req->stream)
        return 0;
    buf_add_str(out, r->frame->begin);
    r->dialect->error(out, ev->err, 1);
    return buf_add_str(out, r->frame->end);
}

int api_reply_event(struct api_reply *r, const struct event *ev, struct buf *out)
{
    int e = 0;

    CHECK(!r->ended && (!r->req->stream || out));
    if (r->s.relayed && ev->kind == EVENT_DONE)
        return end_relay(r, out);
    switch (ev->kind) {
    case EVENT_STARTED:
    case EVENT_PREFILL:
    case EVENT_PREEMPTED:
        return 0;
    case EVENT_PROMPT:
        CHECK(ev->choice >= 0 && ev->choice < r->n_prompts);
        break;
    case EVENT_TEXT:
    case EVENT_FINISH:
        e = take_text(r, ev);
        break;
    case EVENT_DONE:
        r->usage = *ev->usage;
        r->times = *ev->times;
        r->receipt = ev->receipt ? *ev->receipt : (struct receipt){.charge_nano = -1};
        r->n_done++;
        CHECK(r->n_done <= r->n_prompts && r->n_finished >= r->n_done * r->req->n_run);
        r->ended = r->n_done == r->n_prompts;
        break;
    case EVENT_RELAY:
        CHECK(r->s.relayed);
        return relay(r, ev, out);
    case EVENT_ERROR:
        return fail(r, ev, out);
    }
    if (!e)
        e = r->dialect->event(r, ev, out);
    if (e)
        r->ended = 0; /* the caller's error is the last event */
    return e;
}

int api_reply_begin(struct api_reply *r, struct buf *out)
{
    int is_told = r->req->stream && r->dialect->begin && !r->s.relayed;

    return is_told ? r->dialect->begin(r, out) : 0;
}

int api_reply_body(struct api_reply *r, struct buf *out)
{
    CHECK(r->ended && !r->failed && !r->req->stream);
    if (r->s.relayed) { /* as it is */
        buf_take(out, &r->choice[0].text);
        return out->failed;
    }
    return r->dialect->body(r, out);
}

int api_reply_is_done(const struct api_reply *r)
{
    return r->ended;
}
