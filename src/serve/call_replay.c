/* A request that is sent again under one key (header idempotency-key) gets the first one's answer
 * (cloud/replay.h). Io thread, but for call_replay_print. */
#include <string.h>

#include "base/clock.h"
#include "cloud/replay.h"
#include "serve/server.h"

static struct replays *all(const struct call *c)
{
    return cloud_replays(c->s->cloud);
}

void call_replay_want(struct call *c, const char *key)
{
    if (key && all(c) && c->endpoint->parse && !c->endpoint->is_tool)
        c->replay.key = arena_strdup(&c->arena, key);
}

int call_replay_print(struct call *c, struct err *e)
{
    int r = c->replay.key ? replay_check_key(c->replay.key, e) : 0;

    if (c->replay.key && !r)
        replay_print((int)c->route.id, c->body.data, c->body.len, c->replay.print);
    return r;
}

/* The answer of the first one, byte for byte. */
static void tell_again(struct call *c, const struct replay_answer *a)
{
    c->replay.is_again = 1;
    if (a->frame) {
        c->frame = a->frame;
        call_reply_stream(c, a->body, a->n);
    } else {
        call_reply(c, 200, "application/json", a->body, a->n);
    }
}

int call_replay_look(struct call *c, struct err *e)
{
    struct replay_ask ask = {.i_tenant = c->ticket.i_tenant, .key = c->replay.key};
    const struct replay_answer *a;
    const char *model = call_model(c);
    int r;

    if (!ask.key || !model) /* without a model the next state refuses it */
        return 0;
    r = cloud_may_use(&c->ticket, model, e); /* another key of the tenant may have asked first */
    if (r)
        return r;
    memcpy(ask.print, c->replay.print, sizeof ask.print);
    r = replays_begin(all(c), clock_now_us(), &ask, &c->replay.claim, e);
    if (!r && (a = replay_answer(c->replay.claim)))
        tell_again(c, a);
    return r;
}

const char *call_replay_of(const struct call *c)
{
    return c->replay.is_again ? replay_answer(c->replay.claim)->request_id : NULL;
}

void call_replay_note(struct call *c, const void *data, size_t n)
{
    if (c->replay.claim)
        replay_add(all(c), c->replay.claim, data, n);
}

int call_replay_keep(struct call *c)
{
    int kept = c->replay.claim && replay_keep(all(c), c->replay.claim, clock_now_us(),
                                              c->req.stream ? c->frame : NULL, c->live.row.id);

    call_replay_done(c);
    return kept;
}

void call_replay_done(struct call *c)
{
    if (c->replay.claim)
        replay_put(all(c), c->replay.claim);
    c->replay.claim = NULL;
}
