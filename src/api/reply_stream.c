/* A reply as a stream of chunks, in the order of the contract: role (or echo), text, finish, usage,
 * [DONE]. */
#include "api/reply_int.h"
#include "base/check.h"
#include "base/json_write.h"

static void put_frame_head(const struct api_reply *r, int32_t choice, struct buf *out)
{
    buf_add(out, r->head.data, r->head.len);
    json_put_int(out, choice);
}

/* The end of a chunk with one choice, after its delta or text. */
static void put_frame_tail(const struct api_reply *r, struct buf *out)
{
    buf_add_str(out, "}]}");
    buf_add_str(out, r->frame->end);
}

/* The hot path: one token's text and nothing else. */
static int put_delta(const struct api_reply *r, int32_t choice, const char *s, size_t n,
                     struct buf *out)
{
    buf_add(out, r->head.data, r->head.len);
    json_put_int(out, choice);
    buf_add(out, r->mid.data, r->mid.len);
    json_put_escaped(out, s, n);
    return buf_add(out, r->tail.data, r->tail.len);
}

static void put_role(struct api_reply *r, int32_t choice, struct buf *out)
{
    put_frame_head(r, choice, out);
    buf_add_str(out, ",\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null,"
                     "\"logprobs\":null");
    if (r->req->return_token_ids) {
        buf_add_str(out, ",\"prompt_token_ids\":[");
        buf_add(out, r->prompt[0].ids.data, r->prompt[0].ids.len);
        buf_add_char(out, ']');
    }
    put_frame_tail(r, out);
}

/* The prompt, as the first text of a choice. */
static void put_echo(struct api_reply *r, int32_t choice, struct buf *out)
{
    struct prompt *p = &r->prompt[choice / r->req->n_run];
    const struct logprobs none = {0};

    put_frame_head(r, choice, out);
    if (r->req->raw_tokens) {
        buf_add_str(out, ",\"text\":null,\"tokens\":[");
        buf_add(out, p->ids.data, p->ids.len);
        buf_add_char(out, ']');
    } else {
        buf_add_str(out, ",\"text\":\"");
        buf_add(out, p->text.data, p->text.len);
        buf_add_char(out, '"');
    }
    buf_add_str(out, ",\"finish_reason\":null,\"logprobs\":");
    if (r->req->logprobs)
        logprobs_put_completion(out, &p->lp, &none);
    else
        buf_add_str(out, "null");
    put_frame_tail(r, out);
}

/* What comes before the first text of a choice. */
static void begin_choice(struct api_reply *r, int32_t choice, struct buf *out)
{
    if (r->choice[choice].begun)
        return;
    r->choice[choice].begun = 1;
    if (r->req->kind == API_CHAT)
        put_role(r, choice, out);
    else if (r->req->echo)
        put_echo(r, choice, out);
}

int api_reply_begin(struct api_reply *r, struct buf *out)
{
    if (!r->req->stream || r->req->kind != API_CHAT)
        return 0;
    for (int32_t i = 0; i < r->n_choices; i++)
        begin_choice(r, i, out);
    return out->failed;
}

static void put_ids(const struct choice *c, struct buf *out)
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
    struct choice *c = &r->choice[ev->choice];

    put_frame_head(r, ev->choice, out);
    if (q->kind == API_COMPLETION && q->raw_tokens) {
        buf_add_str(out, ",\"text\":null,\"tokens\":");
        put_ids(c, out);
    } else if (q->kind == API_COMPLETION) {
        buf_add_str(out, ",\"text\":");
        json_put_text(out, ev->text, ev->n_text);
    } else {
        int thought = ev->channel == CHANNEL_REASONING;
        buf_add_str(out, thought ? ",\"delta\":{\"reasoning\":" : ",\"delta\":{\"content\":");
        json_put_text(out, ev->text, ev->n_text);
        if (thought && !r->s.no_reasoning_alias) {
            buf_add_str(out, ",\"reasoning_content\":");
            json_put_text(out, ev->text, ev->n_text);
        }
        buf_add_char(out, '}');
    }
    buf_add_str(out, ",\"finish_reason\":null,\"logprobs\":");
    if (q->logprobs && logprobs_any_shown(&c->lp)) {
        if (q->kind == API_CHAT)
            logprobs_put_chat(out, &c->lp);
        else
            logprobs_put_completion(out, NULL, &c->lp);
    } else {
        buf_add_str(out, "null");
    }
    if (q->return_token_ids) {
        buf_add_str(out, ",\"token_ids\":");
        put_ids(c, out);
    }
    logprobs_take_shown(&c->lp);
    put_frame_tail(r, out);
    return out->failed;
}

int reply_stream_text(struct api_reply *r, const struct event *ev, struct buf *out)
{
    int rich = logprobs_any_shown(&r->choice[ev->choice].lp);

    if (!rich && (!ev->n_text || r->req->raw_tokens))
        return 0;
    begin_choice(r, ev->choice, out);
    if (rich || ev->channel == CHANNEL_REASONING)
        return put_rich(r, ev, out);
    return put_delta(r, ev->choice, ev->text, ev->n_text, out);
}

static void put_finish(struct api_reply *r, int32_t choice, int with_usage, struct buf *out)
{
    put_frame_head(r, choice, out);
    buf_addf(out, ",%s,\"finish_reason\":\"%s\",\"logprobs\":null}]",
             r->req->kind == API_CHAT ? "\"delta\":{}"
             : r->req->raw_tokens     ? "\"text\":null,\"tokens\":[]"
                                      : "\"text\":\"\"",
             reply_finish_text(r->choice[choice].finish));
    if (with_usage)
        reply_put_usage(out, r);
    buf_add_char(out, '}');
    buf_add_str(out, r->frame->end);
}

int reply_stream_finish(struct api_reply *r, const struct event *ev, struct buf *out)
{
    begin_choice(r, ev->choice, out);
    if (r->n_finished == r->n_choices && !r->req->include_usage)
        r->held = ev->choice; /* usage goes on the last finish, and is known only with DONE */
    else
        put_finish(r, ev->choice, 0, out);
    return out->failed;
}

int reply_stream_done(struct api_reply *r, struct buf *out)
{
    if (r->n_done < r->n_prompts)
        return 0;
    if (r->held >= 0) {
        put_finish(r, r->held, 1, out);
    } else {
        buf_add(out, r->head.data, r->n_head);
        buf_add_char(out, ']');
        reply_put_usage(out, r);
        buf_add_char(out, '}');
        buf_add_str(out, r->frame->end);
    }
    buf_add_str(out, r->frame->begin);
    buf_add_str(out, "[DONE]");
    return buf_add_str(out, r->frame->end);
}
