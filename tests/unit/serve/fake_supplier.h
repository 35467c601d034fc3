/* A scripted supplier, for tests only: its tokens, waits and failures follow from the prompt's
 * text, so that the server's whole behaviour can be tested without a model. A token is a byte.
 *
 *   HOLD    does not begin until `released` is set, or its cancel
 *   FAIL    ends with ERR_NUMERIC after one token; FAIL0: before the first
 *   FLOOD   1 KiB a token, for as long as it may
 *   SLOW    in a text to be tokenised: takes until fake.read, or its caller's end
 *   else    "w0 ", "w1 ", ... up to max_tokens, and stops by itself after four
 *
 * Switches: `refuses` is what submit fails with, `dies` what each job ends with before its first
 * token (but those that HOLD), `keeps` lets no cancelled job end, and facts.reads_prompts = 0 makes
 * it a supplier that takes texts and messages as they are.
 *
 * Its ring is small (8 KiB), so that a reader that does not pop is felt soon. */
#ifndef TEST_FAKE_SUPPLIER_H
#define TEST_FAKE_SUPPLIER_H

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/ring.h"
#include "cloud/supplier.h"

#define FAKE_RING 8192
#define FAKE_TEXT 1024

struct fake_record {
    int kind, choice, token, err, finish, started, n_generated;
    size_t n_text;
    char text[];
};

struct fake_job {
    struct job *outer;
    struct fake_job *next;
    struct ring ring;
    _Atomic int cancel;
    int started, choice, n, failed, done, posted_done, err;
    char script[64];
    struct event ev; /* that is being read */
    struct usage usage;
    struct times times;
    _Alignas(16) unsigned char data[FAKE_RING];
};

struct fake {
    struct supplier s;
    pthread_t thread;
    pthread_mutex_t lock;
    struct fake_job *jobs;
    struct supplier_facts facts;
    struct preset drawn_with; /* of the last job, under the lock */
    struct buf told;          /* all that the last job says, likewise */
    _Atomic int special;      /* control tokens counted in the last text */
    _Atomic int state, frozen, stop, released, capacity, paused;
    _Atomic int n_reading, n_read, read; /* texts: begun, done; and let those that are slow go on */
    _Atomic int refuses, dies, keeps, n_gone;
    char order[64], tiers[64]; /* first letters of the prompts and their tiers, as they came */
    _Atomic int n_submitted, n_cancelled, n_done, n_waiting, n_running, n_inside;
};

static struct fake *fake_of(const struct supplier *s)
{
    return (struct fake *)(uintptr_t)s;
}

static void fake_load(const struct supplier *s, struct load *ret)
{
    struct fake *f = fake_of(s);

    *ret = (struct load){.state = (enum supplier_state)f->state,
                         .frozen = f->frozen,
                         .n_waiting = f->n_waiting,
                         .n_running = f->n_running,
                         .n_inside = f->n_inside,
                         .capacity = f->capacity,
                         .pages_used = 1,
                         .n_pages = 4};
}

static const struct supplier_facts *fake_facts(const struct supplier *s)
{
    return &fake_of(s)->facts;
}

static int fake_tokenize(const struct supplier *s, const char *text, size_t n, int special, int bos,
                         size_t max, const struct patience *patience, struct tokens *ret,
                         struct err *e)
{
    struct fake *f = fake_of(s);
    int rc;

    if (n > max)
        return err_set(e, ERR_LIMIT, "too many tokens");
    f->special = special;
    f->n_reading++;
    while (memmem(text, n, "SLOW", 4) && !f->read) {
        if ((rc = patience_over(patience, e)))
            return rc;
        clock_sleep_us(500);
    }
    f->n_read++;
    ret->id = malloc((n + 1) * sizeof *ret->id);
    if (!ret->id)
        return err_set(e, ERR_NOMEM, "out of memory");
    ret->n = 0;
    if (bos)
        ret->id[ret->n++] = 256;
    for (size_t i = 0; i < n; i++)
        ret->id[ret->n++] = (unsigned char)text[i];
    return 0;
}

static int fake_detokenize(const struct supplier *s, const int32_t *id, int32_t n, struct buf *out,
                           struct err *e)
{
    for (int32_t i = 0; i < n; i++) {
        if (id[i] < 256)
            buf_add_char(out, (char)id[i]);
    }
    return out->failed;
}

static const char *fake_bytes(const struct supplier *s, int32_t id, size_t *ret_n)
{
    static char all[257];

    for (int i = 0; i < 256; i++)
        all[i] = (char)i;
    *ret_n = id < 256;
    return &all[id & 255];
}

/* role:content; for every message. */
static int fake_render(const struct supplier *s, const struct chat *chat, struct buf *ret_text,
                       struct tokens *ret_tokens, struct err *e)
{
    struct buf own;
    json_t *m;
    size_t i;
    int r;

    buf_init(&own, 1 << 20);
    if (!ret_text)
        ret_text = &own;
    json_array_foreach(chat->messages, i, m)
    {
        buf_addf(ret_text, "%s:%s;", json_string_value(json_object_get(m, "role")),
                 json_string_value(json_object_get(m, "content")));
    }
    if (chat->kwargs)
        json_put_tree(ret_text, chat->kwargs);
    r = ret_text->failed ? err_set(e, ret_text->failed, "out of memory")
                         : fake_tokenize(s, ret_text->data, ret_text->len, 0, 0, SIZE_MAX,
                                         chat->patience, ret_tokens, e);
    buf_done(&own);
    return r;
}

/* What a supplier of texts reads. */
static void fake_read(struct fake_job *fj, const struct job *j)
{
    const char *text = j->text;

    if (!text && j->messages)
        text = json_string_value(json_object_get(json_array_get(j->messages, 0), "content"));
    if (!j->prompt && text)
        snprintf(fj->script, sizeof fj->script, "%s", text);
}

static void fake_tell(struct fake *f, const struct job *j)
{
    const struct sampling *s = &j->sampling;
    struct buf *b = &f->told;

    buf_clear(b);
    buf_addf(b, "n %d tier %d salt %llx echo %d special %d draw %g %g %g %d %g %g %g", j->n_choices,
             (int)j->tier, (unsigned long long)j->salt, j->echo, f->special, (double)s->temperature,
             (double)s->top_p, (double)s->min_p, s->top_k, (double)s->frequency_penalty,
             (double)s->presence_penalty, (double)s->repetition_penalty);
    buf_addf(b, " max %d min %d eos %d logprobs %d %d", s->max_tokens, s->min_tokens, s->ignore_eos,
             s->logprobs, s->n_top);
    if (s->seed <= INT32_MAX) /* else it is drawn */
        buf_addf(b, " seed %llu", (unsigned long long)s->seed);
    for (int32_t i = 0; i < s->n_bias; i++)
        buf_addf(b, " bias %d %g", s->bias[i].token, (double)s->bias[i].bias);
    for (int32_t i = 0; i < s->n_stop; i++)
        buf_addf(b, " stop %s", s->stop[i].s);
    for (int32_t i = 0; i < s->n_stop_token; i++)
        buf_addf(b, " stop %d", s->stop_token[i]);
    for (int32_t i = 0; i < j->n_prompt; i++)
        buf_addf(b, " %d", j->prompt[i]);
    buf_add_str(b, " prediction");
    for (int32_t i = 0; i < j->n_prediction; i++)
        buf_addf(b, " %d", j->prediction[i]);
}

static int fake_submit(struct supplier *s, struct job *j, struct err *e)
{
    struct fake *f = fake_of(s);
    struct fake_job *fj;
    int32_t n = 0;

    if (f->refuses)
        return err_set(e, f->refuses, "refused by %s", s->id);
    fj = calloc(1, sizeof *fj);
    if (!fj)
        return err_set(e, ERR_NOMEM, "out of memory");
    fake_read(fj, j);
    for (int32_t i = 0; i < j->n_prompt && n < (int32_t)sizeof fj->script - 1; i++) {
        if (j->prompt[i] < 256)
            fj->script[n++] = (char)j->prompt[i];
    }
    fj->outer = j;
    ring_init(&fj->ring, fj->data, FAKE_RING);
    j->inner = fj;
    pthread_mutex_lock(&f->lock);
    if (f->n_submitted < (int)sizeof f->order - 1) {
        f->order[f->n_submitted] = fj->script[0];
        f->tiers[f->n_submitted] = (char)('0' + j->tier);
    }
    fj->next = f->jobs;
    f->jobs = fj;
    f->drawn_with = (struct preset){.temperature = (double)j->sampling.temperature,
                                    .top_p = (double)j->sampling.top_p,
                                    .min_p = (double)j->sampling.min_p,
                                    .top_k = j->sampling.top_k};
    fake_tell(f, j);
    f->n_submitted++;
    f->n_waiting++;
    f->n_inside += j->n_choices;
    pthread_mutex_unlock(&f->lock);
    return 0;
}

static void fake_cancel(struct supplier *s, struct job *j)
{
    struct fake_job *fj = j->inner;

    fj->cancel = 1;
    fake_of(s)->n_cancelled++;
}

static const struct event *fake_peek(struct supplier *s, struct job *j)
{
    struct fake_job *fj = j->inner;
    const struct fake_record *r;
    uint32_t n;

    r = ring_peek(&fj->ring, &n);
    if (!r)
        return NULL;
    fj->usage = (struct usage){.prompt_tokens = r->started ? j->n_prompt : 0,
                               .completion_tokens = r->n_generated,
                               .cached_tokens = r->started};
    fj->times = (struct times){.queue_us = 10, .prompt_us = 20, .completion_us = 30};
    fj->ev = (struct event){.kind = (enum event_kind)r->kind,
                            .choice = r->choice,
                            .text = r->text,
                            .n_text = r->n_text,
                            .token = r->token,
                            .bytes = r->text,
                            .n_bytes = r->n_text,
                            .logprob = -0.5f,
                            .finish = (enum finish)r->finish,
                            .usage = &fj->usage,
                            .times = &fj->times,
                            .code = r->err};
    return &fj->ev;
}

static void fake_pop(struct supplier *s, struct job *j)
{
    ring_pop(&((struct fake_job *)j->inner)->ring);
}

static int fake_release_job(struct supplier *s, struct job *j)
{
    struct fake_job *fj = j->inner;
    struct fake *f = fake_of(s);

    pthread_mutex_lock(&f->lock); /* the thread is not in the middle of it */
    if (atomic_load(&j->item.posted)) {
        pthread_mutex_unlock(&f->lock);
        return 0;
    }
    for (struct fake_job **at = &f->jobs; *at; at = &(*at)->next) {
        if (*at == fj) {
            *at = fj->next;
            break;
        }
    }
    pthread_mutex_unlock(&f->lock);
    free(fj);
    return 1;
}

/* ---- its thread ------------------------------------------------------------------------------ */

static int fake_push(struct fake_job *j, int kind, const char *text, size_t n, int finish)
{
    struct fake_record *r = ring_push_begin(&j->ring, (uint32_t)(sizeof *r + n));

    if (!r)
        return 0;
    *r = (struct fake_record){.kind = kind,
                              .choice = j->choice,
                              .token = j->n,
                              .err = j->err,
                              .finish = finish,
                              .started = j->started,
                              .n_generated = j->n + 0,
                              .n_text = n};
    memcpy(r->text, text, n);
    ring_push_commit(&j->ring, (uint32_t)(sizeof *r + n));
    return 1;
}

/* One event at most; 1 when there was one. */
static int fake_step(struct fake *f, struct fake_job *j)
{
    const struct job *o = j->outer;
    int max = o->sampling.max_tokens, total = j->n;
    char text[FAKE_TEXT];
    int n;

    if (j->posted_done)
        return 0;
    if (j->cancel && f->keeps)
        return 0;
    if (j->cancel)
        j->err = ERR_CANCELLED;
    if (!j->err && strstr(j->script, "HOLD") && !f->released)
        return 0;
    if (!j->started && !j->err) {
        if (!fake_push(j, EVENT_STARTED, "", 0, 0))
            return 0;
        j->started = 1;
        f->n_waiting--;
        f->n_running++;
        return 1;
    }
    if (f->dies && !j->n && !j->done && !strstr(j->script, "HOLD"))
        j->err = j->err ? j->err : f->dies;
    if (strstr(j->script, "FAIL0") || (strstr(j->script, "FAIL") && j->n == 1))
        j->err = j->err ? j->err : ERR_NUMERIC;
    if (j->err || j->done == o->n_choices) {
        j->n = j->failed; /* generated by all choices */
        if (!fake_push(j, EVENT_DONE, "", 0, 0)) {
            j->n = total;
            return 0;
        }
        if (j->started)
            f->n_running--;
        else
            f->n_waiting--;
        j->posted_done = 1;
        f->n_inside -= o->n_choices;
        f->n_done++;
        return 1;
    }
    if (j->n >= max || (j->n >= 4 && !strstr(j->script, "FLOOD"))) {
        if (!fake_push(j, EVENT_FINISH, "", 0, j->n >= max ? FINISH_LENGTH : FINISH_STOP))
            return 0;
        j->done++;
        j->choice++;
        j->n = 0;
        return 1;
    }
    if (strstr(j->script, "FLOOD")) {
        n = FAKE_TEXT - 1;
        memset(text, 'x', (size_t)n);
    } else {
        n = snprintf(text, sizeof text, "w%d ", j->n);
    }
    if (!fake_push(j, EVENT_TEXT, text, (size_t)n, 0)) {
        f->paused = 1;
        return 0;
    }
    j->n++;
    j->failed++; /* counts all generated tokens */
    return 1;
}

static void *fake_main(void *arg)
{
    struct fake *f = arg;

    while (!f->stop) {
        pthread_mutex_lock(&f->lock);
        for (struct fake_job *j = f->jobs; j; j = j->next) {
            struct mbox *reader = j->outer->reader;
            int n = 0;
            while (n < 4 && fake_step(f, j))
                n++;
            if (n && mbox_post(reader, &j->outer->item))
                mbox_wake(reader);
        }
        pthread_mutex_unlock(&f->lock);
        clock_sleep_us(500);
    }
    return NULL;
}

static void fake_gone(struct supplier *s)
{
    fake_of(s)->n_gone++;
}

static const struct supplier_ops fake_ops = {
    .load = fake_load,
    .facts = fake_facts,
    .tokenize = fake_tokenize,
    .detokenize = fake_detokenize,
    .token_bytes = fake_bytes,
    .render = fake_render,
    .submit = fake_submit,
    .cancel = fake_cancel,
    .peek = fake_peek,
    .pop = fake_pop,
    .release = fake_release_job,
    .gone = fake_gone,
};

static void fake_open(struct fake *f)
{
    *f = (struct fake){.s = {.ops = &fake_ops, .id = "fake", .model = "fake"}};
    f->state = SUPPLIER_READY;
    f->capacity = 8;
    f->facts = (struct supplier_facts){.context = 1024,
                                       .context_trained = 1024,
                                       .n_vocab = 257,
                                       .fingerprint = "fp_fake",
                                       .chat = 1,
                                       .reads_prompts = 1};
    buf_init(&f->told, 1 << 20);
    pthread_mutex_init(&f->lock, NULL);
    pthread_create(&f->thread, NULL, fake_main, f);
}

static void fake_close(struct fake *f)
{
    f->stop = 1;
    pthread_join(f->thread, NULL);
    pthread_mutex_destroy(&f->lock);
    buf_done(&f->told);
}

#endif
