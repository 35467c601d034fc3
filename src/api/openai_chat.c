/* The row of chat completions: messages in, messages and deltas out. */
#include <string.h>

#include "api/openai.h"
#include "base/json_write.h"

static int settle_chat(struct reading *d)
{
    struct api_request *r = &d->r;
    const char *choice = json_string_value(d->tool_choice);

    if (d->n_top > 0 && !r->logprobs)
        return field_bad(d->e, ERR_SCHEMA, "top_logprobs", "needs logprobs to be true");
    if (r->logprobs)
        r->sampling.n_top = d->n_top;
    if (d->tool_choice && !d->has_tools && (d->o->strict || !choice || !strcmp(choice, "required")))
        return field_bad(d->e, ERR_SCHEMA, "tool_choice", "needs tools");
    if (d->disable_reasoning)
        d->effort = EFFORT_NONE;
    if (template_kwargs(d, &r->template_kwargs))
        return err_set(d->e, ERR_NOMEM, "out of memory while reading the request");
    return 0;
}

static void put_role(struct api_reply *r, int32_t choice, struct buf *out)
{
    openai_put_head(r, choice, out);
    buf_add_str(out, ",\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null,"
                     "\"logprobs\":null");
    if (r->req->return_token_ids) {
        buf_add_str(out, ",\"prompt_token_ids\":[");
        buf_add(out, openai_own(r)->prompt[0].ids.data, openai_own(r)->prompt[0].ids.len);
        buf_add_char(out, ']');
    }
    openai_put_tail(r, out);
}

static int begin(struct api_reply *r, struct buf *out)
{
    for (int32_t i = 0; i < r->n_choices; i++)
        openai_begin_choice(r, i, out);
    return out->failed;
}

static void put_delta(const struct api_reply *r, const struct event *ev, struct buf *out)
{
    int thought = ev->channel == CHANNEL_REASONING;

    buf_add_str(out, thought ? ",\"delta\":{\"reasoning\":" : ",\"delta\":{\"content\":");
    json_put_text(out, ev->text, ev->n_text);
    if (thought && !r->s.no_reasoning_alias) {
        buf_add_str(out, ",\"reasoning_content\":");
        json_put_text(out, ev->text, ev->n_text);
    }
    buf_add_char(out, '}');
}

static void put_quoted(struct buf *out, const struct buf *text)
{
    buf_add_char(out, '"');
    buf_add(out, text->data, text->len);
    buf_add_char(out, '"');
}

static void put_message(const struct api_reply *r, int32_t choice, struct buf *out)
{
    const struct choice *c = &r->choice[choice];

    buf_add_str(out, ",\"message\":{\"role\":\"assistant\",\"content\":");
    put_quoted(out, &c->text);
    if (c->reasoning.len) {
        buf_add_str(out, ",\"reasoning\":");
        put_quoted(out, &c->reasoning);
        if (!r->s.no_reasoning_alias) {
            buf_add_str(out, ",\"reasoning_content\":");
            put_quoted(out, &c->reasoning);
        }
    }
    buf_addf(out, ",\"refusal\":null},\"finish_reason\":\"%s\",\"logprobs\":",
             openai_finish_text(c->finish));
    if (r->req->logprobs)
        logprobs_put_chat(out, NULL, &openai_own(r)->choice[choice].lp);
    else
        buf_add_str(out, "null");
}

const struct openai openai_chat = {
    .d = {.name = "chat",
          .id_prefix = "chatcmpl-",
          .prompt_field = "messages",
          .parse = openai_parse,
          .frame = api_sse_frame,
          .open = openai_open,
          .close = openai_close,
          .prompt = openai_prompt,
          .begin = begin,
          .event = openai_event,
          .body = openai_body,
          .error = openai_error},
    .fields = OPENAI_CHAT,
    .max_tokens_least = 1,
    .settle = settle_chat,
    .object = "chat.completion",
    .chunk = "chat.completion.chunk",
    .mid = ",\"delta\":{\"content\":\"",
    .tail = "\"}",
    .last = "\"delta\":{}",
    .put_first = put_role,
    .put_text = put_delta,
    .put_choice = put_message,
    .add_token = logprobs_add_chat,
    .put_logprobs = logprobs_put_chat,
};
