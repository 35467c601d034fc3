/* A reply as a stream of chunks, in the order of the contract: role (or echo), text, finish, usage,
 * [DONE]; and what the events bring for chunks and body alike. */
#include "api/openai.h"
#include "base/check.h"
#include "base/json_write.h"

void openai_put_head(const struct api_reply *r, int32_t choice, struct buf *out)
{
    buf_add(out, openai_own(r)->head.data, openai_own(r)->head.len);
    json_put_int(out, choice);
}

void openai_put_tail(const struct api_reply *r, struct buf *out)
{
    buf_add_str(out, "}]}");
    buf_add_str(out, r->frame->end);
}

/* The hot path: one token's text and nothing else. */
static int put_delta(const struct api_reply *r, int32_t choice, const char *s, size_t n,
                     struct buf *out)
{
    const struct openai_reply *own = openai_own(r);

    buf_add(out, own->head.data, own->head.len);
    json_put_int(out, choice);
    buf_add(out, own->mid.data, own->mid.len);
    json_put_escaped(out, s, n);
    return buf_add(out, own->tail.data, own->tail.len);
}

/* What comes before the first text of a choice. */
void openai_begin_choice(struct api_reply *r, int32_t choice, struct buf *out)
{
    struct openai_choice *c = &openai_own(r)->choice[choice];

    if (c->begun)
        return;
    c->begun = 1;
    openai_of(r)->put_first(r, choice, out);
}

void openai_put_shown_ids(const struct openai_choice *c, struct buf *out)
{
    buf_add_char(out, '[');
    buf_add(out, c->lp.list[LP_IDS].data, logprobs_shown(&c->lp, LP_IDS));
    buf_add_char(out, ']');
}

/* A chunk with more than text: reasoning, and the logprobs and ids of tokens that have come and
 * need not wait. */
static int put_rich(struct api_reply *r, const struct event *ev, struct buf *out)
{
    const struct api_request *q = r->req;
    struct openai_choice *c = &openai_own(r)->choice[ev->choice];

    openai_put_head(r, ev->choice, out);
    openai_of(r)->put_text(r, ev, out);
    buf_add_str(out, ",\"finish_reason\":null,\"logprobs\":");
    if (q->logprobs && logprobs_any_shown(&c->lp))
        openai_of(r)->put_logprobs(out, NULL, &c->lp);
    else
        buf_add_str(out, "null");
    if (q->return_token_ids) {
        buf_add_str(out, ",\"token_ids\":");
        openai_put_shown_ids(c, out);
    }
    logprobs_take_shown(&c->lp);
    openai_put_tail(r, out);
    return out->failed;
}

static int stream_text(struct api_reply *r, const struct event *ev, struct buf *out)
{
    int rich = logprobs_any_shown(&openai_own(r)->choice[ev->choice].lp);

    if (!rich && (!ev->n_text || r->req->raw_tokens))
        return 0;
    openai_begin_choice(r, ev->choice, out);
    if (rich || ev->channel == CHANNEL_REASONING)
        return put_rich(r, ev, out);
    return put_delta(r, ev->choice, ev->text, ev->n_text, out);
}

static void put_finish(struct api_reply *r, int32_t choice, int with_usage, struct buf *out)
{
    openai_put_head(r, choice, out);
    buf_addf(out, ",%s,\"finish_reason\":\"%s\",\"logprobs\":null}]",
             r->req->raw_tokens ? "\"text\":null,\"tokens\":[]" : openai_of(r)->last,
             openai_finish_text(r->choice[choice].finish));
    if (with_usage)
        openai_put_usage(out, r);
    buf_add_char(out, '}');
    buf_add_str(out, r->frame->end);
}

static int stream_finish(struct api_reply *r, const struct event *ev, struct buf *out)
{
    openai_begin_choice(r, ev->choice, out);
    if (r->n_finished == r->n_choices && !r->req->include_usage)
        openai_own(r)->held =
            ev->choice; /* usage goes on the last finish, and is known only with DONE */
    else
        put_finish(r, ev->choice, 0, out);
    return out->failed;
}

static int stream_done(struct api_reply *r, struct buf *out)
{
    const struct openai_reply *own = openai_own(r);

    if (r->n_done < r->n_prompts)
        return 0;
    if (own->held >= 0) {
        put_finish(r, own->held, 1, out);
    } else {
        buf_add(out, own->head.data, own->n_head);
        buf_add_char(out, ']');
        openai_put_usage(out, r);
        buf_add_char(out, '}');
        buf_add_str(out, r->frame->end);
    }
    buf_add_str(out, r->frame->begin);
    buf_add_str(out, "[DONE]");
    return buf_add_str(out, r->frame->end);
}

/* ---- events ---- */

/* Log-probabilities and ids of a token, where they are wanted. */
static int take_token(struct api_reply *r, const struct event *ev)
{
    const struct api_request *q = r->req;
    struct openai_choice *c = &openai_own(r)->choice[ev->choice];
    size_t before = logprobs_bytes(&c->lp);
    int e = 0;

    if (q->logprobs || q->return_token_ids || q->raw_tokens)
        e = logprobs_begin(&c->lp, ev->n_unshown);
    if (!e && q->logprobs)
        e = openai_of(r)->add_token(&c->lp, ev, q->sampling.n_top, c->offset);
    if (!e && (q->return_token_ids || q->raw_tokens))
        e = logprobs_add_id(&c->lp, ev->token);
    if (!ev->special)
        c->offset += code_points(ev->bytes, ev->n_bytes);
    return e || q->stream ? e : reply_charge(r, before, logprobs_bytes(&c->lp));
}

static int take_prompt_token(struct api_reply *r, const struct event *ev)
{
    struct openai_prompt *p = &openai_own(r)->prompt[ev->choice];
    size_t before = logprobs_bytes(&p->lp);
    int e;

    if (!r->req->logprobs || !r->req->echo)
        return 0;
    e = openai_of(r)->add_token(&p->lp, ev, r->req->sampling.n_top, p->offset);
    if (!ev->special)
        p->offset += code_points(ev->bytes, ev->n_bytes);
    return e ? e : reply_charge(r, before, logprobs_bytes(&p->lp));
}

int openai_event(struct api_reply *r, const struct event *ev, struct buf *out)
{
    int stream = r->req->stream, e = 0;

    switch (ev->kind) {
    case EVENT_PROMPT:
        return take_prompt_token(r, ev);
    case EVENT_TEXT:
        e = take_token(r, ev);
        return e || !stream ? e : stream_text(r, ev, out);
    case EVENT_FINISH:
        logprobs_end(&openai_own(r)->choice[ev->choice].lp, ev->n_unshown);
        if (stream)
            e = stream_text(r, ev, out);
        return e || !stream ? e : stream_finish(r, ev, out);
    case EVENT_DONE:
        return stream ? stream_done(r, out) : 0;
    default:
        return 0;
    }
}
