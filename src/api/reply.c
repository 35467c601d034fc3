/* The state of one response: events in, chunks out (or a body at the end).
 *
 * Everything that repeats in a stream's chunks is written once, when the reply is made. What is
 * gathered is kept as JSON text, so that the body is put together by copying. */
#include <stdlib.h>
#include <string.h>

#include "api/error_body.h"
#include "api/reply_int.h"
#include "base/check.h"
#include "base/json_write.h"

#define TEXT_MAX ((size_t)64 << 20)

void api_id_make(char out[API_ID_MAX], enum api_kind kind, const unsigned char random[16])
{
    static const char hex[] = "0123456789abcdef";
    char *p = stpcpy(out, kind == API_CHAT ? "chatcmpl-" : "cmpl-");

    for (int i = 0; i < 16; i++) {
        unsigned c = random[i];
        if (i == 6)
            c = (c & 0x0f) | 0x40; /* version 4, variant 1 */
        if (i == 8)
            c = (c & 0x3f) | 0x80;
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *p++ = '-';
        *p++ = hex[c >> 4];
        *p++ = hex[c & 15];
    }
    *p = 0;
}

/* ---- life ---- */

static int make_frames(struct api_reply *r)
{
    int chat = r->req->kind == API_CHAT;

    buf_add_str(&r->head, r->frame->begin);
    reply_put_identity(&r->head, r);
    buf_add_str(&r->head, ",\"choices\":[");
    r->n_head = r->head.len;
    buf_add_str(&r->head, "{\"index\":");
    buf_add_str(&r->mid, chat ? ",\"delta\":{\"content\":\"" : ",\"text\":\"");
    buf_add_str(&r->tail, chat ? "\"}" : "\"");
    buf_add_str(&r->tail, ",\"finish_reason\":null,\"logprobs\":null}]}");
    buf_add_str(&r->tail, r->frame->end);
    return r->head.failed ? r->head.failed : r->mid.failed ? r->mid.failed : r->tail.failed;
}

int api_reply_new(struct api_reply **ret, const struct api_reply_setup *s)
{
    struct api_reply *r = calloc(1, sizeof *r);
    size_t max = s->text_max ? s->text_max : TEXT_MAX;

    if (!r)
        return ERR_NOMEM;
    r->s = *s;
    r->req = s->req;
    r->text_max = max;
    r->frame = s->frame ? s->frame : api_sse_frame(NULL);
    r->n_prompts = s->req->n_prompts ? s->req->n_prompts : 1;
    r->n_choices = r->n_prompts * s->req->n_run;
    r->choice = calloc((size_t)r->n_choices, sizeof *r->choice);
    r->prompt = calloc((size_t)r->n_prompts, sizeof *r->prompt);
    r->held = -1;
    buf_init(&r->head, 8192);
    buf_init(&r->mid, 256);
    buf_init(&r->tail, 512);
    for (int32_t i = 0; r->choice && i < r->n_choices; i++) {
        buf_init(&r->choice[i].text, max);
        buf_init(&r->choice[i].reasoning, max);
        logprobs_init(&r->choice[i].lp, max);
    }
    for (int32_t i = 0; r->prompt && i < r->n_prompts; i++) {
        buf_init(&r->prompt[i].text, max);
        buf_init(&r->prompt[i].ids, max);
        logprobs_init(&r->prompt[i].lp, max);
    }
    if (!r->choice || !r->prompt || make_frames(r)) {
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
        logprobs_done(&r->choice[i].lp);
    }
    for (int32_t i = 0; r->prompt && i < r->n_prompts; i++) {
        buf_done(&r->prompt[i].text);
        buf_done(&r->prompt[i].ids);
        logprobs_done(&r->prompt[i].lp);
    }
    free(r->choice);
    free(r->prompt);
    buf_done(&r->head);
    buf_done(&r->mid);
    buf_done(&r->tail);
    free(r);
}

/* All that is gathered shares one ceiling. */
static int charge(struct api_reply *r, size_t before, size_t after)
{
    r->used += after - before;
    return r->used > r->text_max ? ERR_LIMIT : 0;
}

static void add_id(struct buf *b, int32_t id)
{
    if (b->len)
        buf_add_char(b, ',');
    json_put_int(b, id);
}

int api_reply_prompt(struct api_reply *r, int32_t i, const char *text, size_t n, const int32_t *id,
                     int32_t n_id)
{
    struct prompt *p = &r->prompt[i];

    CHECK(i >= 0 && i < r->n_prompts && !p->n_points);
    p->n_points = code_points(text, n);
    if (r->req->echo)
        json_put_escaped(&p->text, text, n);
    if (r->req->return_token_ids || (r->req->raw_tokens && r->req->echo)) {
        for (int32_t k = 0; k < n_id; k++)
            add_id(&p->ids, id[k]);
    }
    if (p->text.failed || p->ids.failed)
        return p->text.failed ? p->text.failed : p->ids.failed;
    for (int32_t k = 0; k < r->req->n_run; k++)
        r->choice[i * r->req->n_run + k].offset = p->n_points;
    return charge(r, 0, p->text.len + p->ids.len);
}

size_t api_reply_bytes(const struct api_reply *r)
{
    return r->used;
}

/* ---- usage ---- */

static void raise(int64_t *at, int64_t v)
{
    if (v > *at)
        *at = v;
}

static void add_usage(struct api_reply *r, const struct usage *u, const struct times *t)
{
    if (u) {
        r->usage.prompt_tokens += u->prompt_tokens;
        r->usage.completion_tokens += u->completion_tokens;
        r->usage.cached_tokens += u->cached_tokens;
        r->usage.reasoning_tokens += u->reasoning_tokens;
        r->usage.accepted_prediction_tokens += u->accepted_prediction_tokens;
        r->usage.rejected_prediction_tokens += u->rejected_prediction_tokens;
    }
    if (t) { /* prompts run side by side: the longest counts */
        raise(&r->times.queue_us, t->queue_us);
        raise(&r->times.prompt_us, t->prompt_us);
        raise(&r->times.completion_us, t->completion_us);
        raise(&r->times.total_us, t->total_us);
        raise(&r->times.created_us, t->created_us);
    }
}

void api_reply_usage(const struct api_reply *r, struct usage *ret)
{
    *ret = r->usage;
}

/* ---- events ---- */

static int gather_text(struct api_reply *r, const struct event *ev)
{
    struct choice *c = &r->choice[ev->choice];
    struct buf *b = ev->channel == CHANNEL_REASONING ? &c->reasoning : &c->text;
    size_t before = b->len;

    json_put_escaped(b, ev->text, ev->n_text);
    return b->failed ? b->failed : charge(r, before, b->len);
}

static int gather_token(struct api_reply *r, const struct event *ev)
{
    const struct api_request *q = r->req;
    struct choice *c = &r->choice[ev->choice];
    size_t before = logprobs_bytes(&c->lp);
    int e = 0;

    c->logprob_sum += q->sampling.logprobs ? ev->logprob : 0;
    c->n_tokens++;
    if (q->logprobs || q->return_token_ids || q->raw_tokens)
        e = logprobs_begin(&c->lp, ev->n_unshown);
    if (!e && q->logprobs)
        e = q->kind == API_CHAT ? logprobs_add_chat(&c->lp, ev, q->sampling.n_top)
                                : logprobs_add_completion(&c->lp, ev, q->sampling.n_top, c->offset);
    if (!e && (q->return_token_ids || q->raw_tokens))
        e = logprobs_add_id(&c->lp, ev->token);
    if (!ev->special)
        c->offset += code_points(ev->bytes, ev->n_bytes);
    return e || q->stream ? e : charge(r, before, logprobs_bytes(&c->lp));
}

static int take_prompt_token(struct api_reply *r, const struct event *ev)
{
    struct prompt *p = &r->prompt[ev->choice];
    size_t before;
    int e;

    CHECK(ev->choice >= 0 && ev->choice < r->n_prompts);
    if (!r->req->logprobs || !r->req->echo)
        return 0;
    before = logprobs_bytes(&p->lp);
    e = logprobs_add_completion(&p->lp, ev, r->req->sampling.n_top, p->offset);
    if (!ev->special)
        p->offset += code_points(ev->bytes, ev->n_bytes);
    return e ? e : charge(r, before, logprobs_bytes(&p->lp));
}

static int take_text(struct api_reply *r, const struct event *ev, int is_token, struct buf *out)
{
    struct choice *c = &r->choice[ev->choice];
    int e = 0;

    CHECK(ev->choice >= 0 && ev->choice < r->n_choices && !c->finished);
    if (is_token)
        e = gather_token(r, ev);
    else
        logprobs_end(&c->lp, ev->n_unshown);
    if (e)
        return e;
    return r->req->stream ? reply_stream_text(r, ev, out) : gather_text(r, ev);
}

int api_reply_event(struct api_reply *r, const struct event *ev, struct buf *out)
{
    int stream = r->req->stream, e = 0;

    CHECK(!r->ended && (!stream || out));
    switch (ev->kind) {
    case EVENT_STARTED:
    case EVENT_PREFILL:
    case EVENT_PREEMPTED:
        return 0;
    case EVENT_PROMPT:
        return take_prompt_token(r, ev);
    case EVENT_TEXT:
        return take_text(r, ev, 1, out);
    case EVENT_FINISH:
        e = take_text(r, ev, 0, out);
        r->choice[ev->choice].finished = 1;
        r->choice[ev->choice].finish = ev->finish;
        r->n_finished++;
        return e || !stream ? e : reply_stream_finish(r, ev, out);
    case EVENT_DONE:
        add_usage(r, ev->usage, ev->times);
        r->n_done++;
        CHECK(r->n_done <= r->n_prompts && r->n_finished >= r->n_done * r->req->n_run);
        r->ended = r->n_done == r->n_prompts;
        return stream ? reply_stream_done(r, out) : 0;
    case EVENT_ERROR:
        r->ended = r->failed = 1;
        if (!stream)
            return 0;
        buf_add_str(out, r->frame->begin);
        api_error_frame(out, ev->err);
        return buf_add_str(out, r->frame->end);
    }
    return 0;
}

int api_reply_is_done(const struct api_reply *r)
{
    return r->ended;
}
