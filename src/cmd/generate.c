#include "cmd/generate.h"

#include <stdlib.h>

#include "base/clock.h"

#define TEXT_BYTES ((size_t)64 << 20)

/* Take the job's events; 1 when it is over. */
static int read_events(struct engine *e, struct job *j, const struct generate *g,
                       struct generated *ret, int *ret_err)
{
    const struct event *ev;

    while ((ev = engine_event_peek(j))) {
        int done = ev->kind == EVENT_DONE;
        if (ev->kind == EVENT_TEXT || ev->kind == EVENT_FINISH) {
            buf_add(&ret->text, ev->text, ev->n_text);
            if (ev->kind == EVENT_FINISH)
                ret->finish = ev->finish;
            if (g->text && ev->n_text && g->text(g->ctx, ev->text, ev->n_text))
                engine_cancel(e, j);
        } else if (done) {
            *ret_err = ev->code;
            ret->usage = *ev->usage;
            ret->times = *ev->times;
        }
        engine_event_pop(e, j);
        if (done)
            return 1;
    }
    return 0;
}

int generate(struct engine *e, const struct generate *g, struct generated *ret, struct err *err)
{
    struct job *j = calloc(1, sizeof *j);
    struct mbox box = {.fd = -1};
    int rc = ERR_NOMEM, over = 0, ended = 0;

    *ret = (struct generated){.n_prompt = g->n_prompt};
    buf_init(&ret->text, TEXT_BYTES);
    if (!j || mbox_open(&box)) {
        err_set(err, rc, "no memory for a request");
        goto done;
    }
    j->prompt = g->prompt;
    j->answer = g->answer;
    j->n_prompt = g->n_prompt;
    j->n_choices = 1;
    j->sampling = g->sampling;
    j->tier = TIER_DEFAULT;
    j->accepted_us = clock_now_us();
    j->reader = &box;
    rc = engine_submit(e, j, err);
    if (rc)
        goto done;
    while (!over) { /* until the engine has released the job and the mailbox is empty */
        struct mbox_item *list, *it;
        mbox_wait(&box, 100);
        list = mbox_take(&box);
        while ((it = mbox_next(&list))) {
            if (!ended)
                ended = read_events(e, j, g, ret, &rc);
            if (ended)
                over = engine_release(j);
        }
        if (!ended && g->stop && g->stop(g->ctx))
            engine_cancel(e, j);
    }
    if (rc == ERR_CANCELLED) {
        ret->cancelled = 1;
        rc = 0;
    } else if (rc) {
        err_set(err, rc, "%s", err_text(rc));
    }
    if (!rc && ret->text.failed)
        rc = err_set(err, ret->text.failed, "the answer is too long to keep");
done:
    mbox_close(&box);
    free(j);
    if (rc)
        buf_done(&ret->text);
    return rc;
}
