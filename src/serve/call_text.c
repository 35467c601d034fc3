/* Prompt and answer of a request whose tenant has agreed that they are kept
 * (console/request_store.h). They are gathered as they go over the wire; what is longer than
 * REQUEST_TEXT_MAX is not kept. */
#include <stdlib.h>
#include <string.h>

#include "console/request_text.h"
#include "serve/server.h"

#define ANSWER_STEP 16384 /* claimed ahead */

void call_text_want(struct call *c)
{
    if (c->s->requests && c->endpoint->parse && !c->endpoint->is_tool)
        c->texts.days = cloud_texts_days(&c->ticket);
    buf_init(&c->text_answer, REQUEST_TEXT_MAX);
}

void call_text_request(struct call *c)
{
    const char *coding = c->heads.content_encoding;
    size_t n = c->body.len;

    if (!c->texts.days || n > REQUEST_TEXT_MAX || coding || !c->body.data ||
        net_claim_set(&c->text_claim, n))
        return;
    c->texts.request = malloc(n + 1);
    if (!c->texts.request)
        return;
    memcpy(c->texts.request, c->body.data, n + 1);
    c->texts.n_request = n;
}

void call_text_note(struct call *c, const void *data, size_t n)
{
    size_t want = c->texts.n_request + c->text_answer.len + n;

    if (!c->texts.days || c->text_answer.failed)
        return;
    if (want > c->text_claim.bytes && net_claim_set(&c->text_claim, want + ANSWER_STEP))
        call_text_drop(c); /* no room for it */
    else
        buf_add(&c->text_answer, data, n);
}

int call_text_is_wanted(const struct call *c)
{
    return c->texts.days && !c->text_answer.failed;
}

void call_text_drop(struct call *c)
{
    c->text_answer.failed = ERR_LIMIT;
}

const struct request_texts *call_text_end(struct call *c, int goes_on)
{
    if (!c->texts.days)
        return NULL;
    if (goes_on) {
        free(c->texts.request);
        return NULL;
    }
    c->texts.is_stream = c->streaming;
    if (!c->text_answer.failed) {
        c->texts.answer = c->text_answer.data;
        c->texts.n_answer = c->text_answer.len;
        buf_init(&c->text_answer, 0);
    }
    return &c->texts;
}
