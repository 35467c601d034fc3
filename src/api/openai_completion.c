/* The row of text completions: prompts in, text or tokens out. */
#include "api/openai.h"
#include "base/json_write.h"

/* The prompt, as the first text of a choice. */
static void put_echo(struct api_reply *r, int32_t choice, struct buf *out)
{
    const struct openai_prompt *p = &openai_own(r)->prompt[choice / r->req->n_run];
    const struct logprobs none = {0};

    if (!r->req->echo)
        return;
    openai_put_head(r, choice, out);
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
    openai_put_tail(r, out);
}

static void put_text(const struct api_reply *r, const struct event *ev, struct buf *out)
{
    if (r->req->raw_tokens) {
        buf_add_str(out, ",\"text\":null,\"tokens\":");
        openai_put_shown_ids(&openai_own(r)->choice[ev->choice], out);
    } else {
        buf_add_str(out, ",\"text\":");
        json_put_text(out, ev->text, ev->n_text);
    }
}

static void put_completion(const struct api_reply *r, int32_t choice, struct buf *out)
{
    const struct openai_prompt *p = &openai_own(r)->prompt[choice / r->req->n_run];
    const struct openai_choice *own = &openai_own(r)->choice[choice];
    const struct choice *c = &r->choice[choice];
    const struct api_request *q = r->req;
    static const struct buf none;

    if (q->raw_tokens) {
        buf_add_str(out, ",\"text\":null,\"tokens\":");
        openai_put_list(out, q->echo ? &p->ids : &none, &own->lp.list[LP_IDS]);
    } else {
        buf_add_str(out, ",\"text\":\"");
        buf_add(out, p->text.data, p->text.len); /* empty without echo */
        buf_add(out, c->text.data, c->text.len);
        buf_add_str(out, "\",\"tokens\":null");
    }
    buf_add_str(out, ",\"logprobs\":");
    if (q->logprobs)
        logprobs_put_completion(out, &p->lp, &own->lp);
    else
        buf_add_str(out, "null");
    buf_addf(out, ",\"finish_reason\":\"%s\"", openai_finish_text(c->finish));
}

const struct openai openai_completion = {
    .d = {.name = "completion",
          .id_prefix = "cmpl-",
          .prompt_field = "prompt",
          .parse = openai_parse,
          .frame = api_sse_frame,
          .open = openai_open,
          .close = openai_close,
          .prompt = openai_prompt,
          .event = openai_event,
          .body = openai_body,
          .error = openai_error},
    .fields = OPENAI_COMPLETION,
    .object = "text_completion",
    .chunk = "text_completion",
    .mid = ",\"text\":\"",
    .tail = "\"",
    .last = "\"text\":\"\"",
    .put_first = put_echo,
    .put_text = put_text,
    .put_choice = put_completion,
    .add_token = logprobs_add_completion,
    .put_logprobs = logprobs_put_completion,
};
