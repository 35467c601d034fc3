/* What is kept for a reply beside its neutral state. Everything that repeats in a stream's chunks
 * is written once, when the reply is made. */
#include <stdlib.h>

#include "api/openai.h"
#include "base/check.h"
#include "base/json_write.h"

static int write_frames(struct api_reply *r)
{
    struct openai_reply *own = openai_own(r);
    const struct openai *o = openai_of(r);

    buf_add_str(&own->head, r->frame->begin);
    openai_put_identity(&own->head, r, o->chunk);
    buf_add_str(&own->head, ",\"choices\":[");
    own->n_head = own->head.len;
    buf_add_str(&own->head, "{\"index\":");
    buf_add_str(&own->mid, o->mid);
    buf_add_str(&own->tail, o->tail);
    buf_add_str(&own->tail, ",\"finish_reason\":null,\"logprobs\":null}]}");
    buf_add_str(&own->tail, r->frame->end);
    return own->head.failed || own->mid.failed || own->tail.failed ? ERR_NOMEM : 0;
}

int openai_open(struct api_reply *r)
{
    struct openai_reply *own = r->own = calloc(1, sizeof *own);

    if (!own)
        return ERR_NOMEM;
    own->held = -1;
    buf_init(&own->head, 8192);
    buf_init(&own->mid, 256);
    buf_init(&own->tail, 512);
    own->choice = calloc((size_t)r->n_choices, sizeof *own->choice);
    own->prompt = calloc((size_t)r->n_prompts, sizeof *own->prompt);
    if (!own->choice || !own->prompt)
        return ERR_NOMEM;
    for (int32_t i = 0; i < r->n_choices; i++)
        logprobs_init(&own->choice[i].lp, r->text_max);
    for (int32_t i = 0; i < r->n_prompts; i++) {
        buf_init(&own->prompt[i].text, r->text_max);
        buf_init(&own->prompt[i].ids, r->text_max);
        logprobs_init(&own->prompt[i].lp, r->text_max);
    }
    return r->req->stream && !r->s.relayed ? write_frames(r) : 0;
}

void openai_close(struct api_reply *r)
{
    struct openai_reply *own = openai_own(r);

    if (!own)
        return;
    for (int32_t i = 0; own->choice && i < r->n_choices; i++)
        logprobs_done(&own->choice[i].lp);
    for (int32_t i = 0; own->prompt && i < r->n_prompts; i++) {
        buf_done(&own->prompt[i].text);
        buf_done(&own->prompt[i].ids);
        logprobs_done(&own->prompt[i].lp);
    }
    free(own->choice);
    free(own->prompt);
    buf_done(&own->head);
    buf_done(&own->mid);
    buf_done(&own->tail);
    free(own);
}

static void add_id(struct buf *b, int32_t id)
{
    if (b->len)
        buf_add_char(b, ',');
    json_put_int(b, id);
}

int openai_prompt(struct api_reply *r, int32_t i, const char *text, size_t n, const int32_t *id,
                  int32_t n_id)
{
    struct openai_prompt *p = &openai_own(r)->prompt[i];
    int64_t n_points = code_points(text, n);

    CHECK(!p->text.len && !p->ids.len);
    if (r->req->echo)
        json_put_escaped(&p->text, text, n);
    if (r->req->return_token_ids || (r->req->raw_tokens && r->req->echo)) {
        for (int32_t k = 0; k < n_id; k++)
            add_id(&p->ids, id[k]);
    }
    if (p->text.failed || p->ids.failed)
        return p->text.failed ? p->text.failed : p->ids.failed;
    for (int32_t k = 0; k < r->req->n_run; k++)
        openai_own(r)->choice[i * r->req->n_run + k].offset = n_points;
    return reply_charge(r, 0, p->text.len + p->ids.len);
}
