#include "cloud/relay.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "base/check.h"
#include "base/clock.h"
#include "cloud/credential.h"
#include "policy/energy_rate.h"

#define BODY_MAX  ((size_t)64 << 20)
#define ERROR_MAX ((size_t)64 << 10) /* of an answer that is an error, as much is read */

struct relay {
    struct supplier s; /* first */
    struct relay_config c;
    struct supplier_facts facts;
};

/* A piece of an answer on its way to the reader. */
struct piece {
    struct piece *next;
    struct api_relayed_piece look; /* its pointers are gone */
    size_t usage_from, usage_to;   /* in the text; 0: it has none */
    size_t n;
    char text[];
};

struct relay_job {
    struct relay *relay;
    struct job *job;
    struct upstream_request *up; /* NULL: over */
    struct buf ask;              /* the request's body */
    struct api_sse_reader sse;
    struct buf answer; /* without stream, or of an error */
    struct piece *first, **last;
    struct piece *finish; /* the end of the choices, until their usage is known */
    size_t n_pending;
    struct line_place place;
    enum { WAITED_NOT, WAITS, HAS_WAITED, TOLD } wait; /* for its place; TOLD: that it has it */
    int is_paused, has_content, n_finished, n_skipped, is_ended, is_popped;
    int is_sent;              /* before it was cut: the service may have read it */
    int is_left, is_kept;     /* its client has gone; it is told all the same */
    size_t n_text, n_told;    /* bytes of text that came, and that were told */
    struct usage owed, usage; /* to the service; of that, what was delivered */
    int has_usage;            /* the service has told */
    int64_t queue_us;         /* until it was sent, since the request came; 0: at once */
    struct times times;
    struct allowance_mark mark; /* its place among those of its account */
    int64_t began_us, first_us, last_us, retry_us;
    struct err err;
    struct event ev; /* of peek */
};

static const struct relay *of(const struct supplier *s)
{
    return (const struct relay *)(const void *)s;
}

/* ---- pieces ---------------------------------------------------------------------------------- */

static void announce(struct relay_job *r)
{
    if (mbox_post(r->job->reader, &r->job->item))
        upstream_mail(r->relay->c.upstream, r->job->io); /* it is this very thread's */
}

static void drop_pieces(struct relay_job *r)
{
    while (r->first) {
        struct piece *p = r->first;
        r->first = p->next;
        free(p);
    }
    r->last = &r->first;
    free(r->finish);
    r->finish = NULL;
    r->n_pending = 0;
}

static void push(struct relay_job *r, struct piece *p)
{
    r->last_us = clock_now_us();
    r->n_finished += p->look.n_finished;
    if (!r->has_content && (p->look.has_content || p->look.n_finished)) {
        r->has_content = 1;
        r->first_us = r->last_us;
    }
    r->n_text += p->look.n_text;
    if (r->is_left && !r->is_kept) {
        free(p);
        return;
    }
    p->next = NULL;
    *r->last = p;
    r->last = &p->next;
    r->n_pending += p->n;
}

static struct piece *new_piece(const char *text, size_t n, const struct api_relayed_piece *look)
{
    struct piece *p = malloc(sizeof *p + n);

    if (!p)
        return NULL;
    p->look = *look;
    p->n = n;
    memcpy(p->text, text, n);
    p->usage_from = look->usage ? (size_t)(look->usage - text) : 0;
    p->usage_to = look->usage ? p->usage_from + look->n_usage : 0;
    return p;
}

/* ---- the end --------------------------------------------------------------------------------- */

/* The client left it when the service may have read it, and it was no refusal: the prompt may be
 * billed, whatever came. */
static int may_be_billed(const struct relay_job *r)
{
    int code = r->err.code;

    return (r->is_sent && code == ERR_CANCELLED) ||
           (r->is_left && (code == ERR_TIMEOUT || code == ERR_SILENT || code == ERR_RESET));
}

/* What was agreed upon with the supplier, of so many tokens. */
static struct energy contracted(const struct relay *relay, const struct usage *u)
{
    const struct supplier_energy *c = &relay->c.terms.energy;
    const struct energy_rates rates = {c->input_nj, c->output_nj};

    if (!c->is_agreed)
        return (struct energy){0};
    return (struct energy){.uj = energy_rates_uj(&rates, u->prompt_tokens, u->completion_tokens),
                           .boundary = c->boundary,
                           .method = ENERGY_CONTRACTED,
                           .uncertainty_permille = c->uncertainty_permille};
}

/* Where nobody told what was used: what was asked and what came, by their lengths. */
static void estimate(struct relay_job *r)
{
    if (r->has_usage)
        return;
    r->owed = (struct usage){.state = USAGE_ESTIMATED};
    if (r->has_content || may_be_billed(r))
        r->owed.prompt_tokens = api_relayed_estimate(r->job->relay->n_body);
    if (r->has_content)
        r->owed.completion_tokens = api_relayed_estimate(r->n_text);
    r->owed.energy = contracted(r->relay, &r->owed);
}

/* Of so many tokens, those of the text that was told. */
static int64_t part_told(const struct relay_job *r, int64_t tokens)
{
    return r->n_told < r->n_text ? (int64_t)((double)tokens * (double)r->n_told / (double)r->n_text)
                                 : tokens;
}

/* What is owed, and what of it was delivered: nothing before the first content. */
static void reckon(struct relay_job *r)
{
    estimate(r);
    r->usage = r->has_content ? r->owed : (struct usage){.state = r->owed.state};
    if (r->is_left || r->err.code == ERR_CANCELLED) {
        r->usage.energy.uj = part_told(r, r->usage.energy.uj);
        r->usage.completion_tokens = part_told(r, r->usage.completion_tokens);
        r->usage.reasoning_tokens = part_told(r, r->usage.reasoning_tokens);
    }
}

/* The job is over, with r->err.code; what was not told before the first content never is. */
static void end(struct relay_job *r)
{
    if (r->is_ended)
        return;
    r->is_ended = 1;
    if (r->finish && !r->err.code) {
        push(r, r->finish);
        r->finish = NULL;
    }
    if (r->err.code && !r->has_content)
        drop_pieces(r);
    reckon(r);
    r->times = (struct times){.queue_us = r->queue_us,
                              .prompt_us = r->first_us ? r->first_us - r->began_us : 0,
                              .completion_us = r->first_us ? r->last_us - r->first_us : 0};
    announce(r);
    /* After that: how it went is known before the next one is sent. */
    line_leave(r->relay->c.line, &r->place, r->usage.completion_tokens);
}

/* End it for a reason of our own: the service is told by closing the connection. */
static void cut(struct relay_job *r, int code, const char *why)
{
    r->is_sent = r->up && upstream_is_sent(r->up);
    if (r->up)
        upstream_cancel(r->up);
    r->up = NULL;
    err_set(&r->err, code, "%s", why);
    end(r);
}

static int fail_if_error(struct relay_job *r, const struct api_relayed_piece *look,
                         const char *text, size_t n)
{
    if (!look->is_error)
        return 0;
    if (r->up)
        upstream_cancel(r->up);
    r->up = NULL;
    api_relayed_error(0, text, n, NULL, NULL, 0, &r->retry_us, &r->err);
    end(r);
    return 1;
}

/* ---- a stream -------------------------------------------------------------------------------- */

static void take_usage(struct relay_job *r, const struct api_relayed_piece *look)
{
    struct usage told;

    if (!look->usage || api_relayed_usage(look->usage, look->n_usage, &told))
        return;
    r->has_usage = 1;
    r->owed = told;
    if (look->energy && !r->owed.energy.method)
        api_stated_energy(look->energy, look->n_energy, &r->owed.energy);
    if (!r->owed.energy.method)
        r->owed.energy = contracted(r->relay, &r->owed);
}

/* The usage came in a chunk of its own, which the client has not asked for: it goes on the last
 * chunk of the choices, where clients look that ask for nothing. *p: that chunk, exchanged. */
static int put_usage(struct piece **p, const char *text, size_t n)
{
    struct piece *was = *p, *joined = NULL;
    struct api_relayed_piece look;
    struct buf b;
    int code;

    buf_init(&b, 2 * API_SSE_EVENT_MAX);
    code = api_relayed_join(was->text, was->n, text, n, &b);
    if (!code) {
        api_relayed_look(b.data, b.len, &look);
        joined = new_piece(b.data, b.len, &look);
    }
    buf_done(&b);
    if (!joined)
        return code ? code : ERR_NOMEM;
    free(was);
    *p = joined;
    return 0;
}

/* One chunk: on its way, or held back while it may still get its usage. */
static int take_chunk(struct relay_job *r, const char *text, size_t n)
{
    struct api_relayed_piece look;
    struct piece *p;

    api_relayed_look(text, n, &look);
    if (!look.is_json) { /* may be forgiven if all else is whole */
        r->n_skipped++;
        return 0;
    }
    n = (size_t)(look.end + 1 - text);
    if (fail_if_error(r, &look, text, n))
        return 0;
    take_usage(r, &look);
    if (r->finish) {
        int is_usage_alone = look.usage && !look.n_choices && !r->job->relay->include_usage;
        int code = is_usage_alone ? put_usage(&r->finish, text, n) : 0;
        if (code)
            return code;
        push(r, r->finish);
        r->finish = NULL;
        if (is_usage_alone)
            return 0;
    }
    p = new_piece(text, n, &look);
    if (!p)
        return ERR_NOMEM;
    if (look.n_finished && !r->job->relay->include_usage && !look.usage)
        r->finish = p;
    else
        push(r, p);
    return 0;
}

static void take_stream(struct relay_job *r, const char *p, const char *end_)
{
    int code = 0;

    while (!r->is_ended && !code && (code = api_sse_read(&r->sse, &p, end_)) > 0) {
        const struct buf *d = &r->sse.data;
        if (d->len >= 6 && !memcmp(d->data, "[DONE]", 6))
            code = 0; /* the end of the body follows, and tells the same */
        else
            code = take_chunk(r, d->data ? d->data : "", d->len);
    }
    if (code < 0 && !r->is_ended)
        cut(r, code, "The supplier's answer could not be read.");
    if (!r->is_ended && r->has_content && r->first)
        announce(r);
    if (!r->is_ended && r->up && r->n_pending > RELAY_PENDING_MAX && !r->is_paused) {
        r->is_paused = 1;
        upstream_pause(r->up, 1);
    }
}

/* ---- the upstream's calls -------------------------------------------------------------------- */

static int is_stream(const struct relay_job *r)
{
    return r->job->relay->stream && upstream_status(r->up) == 200;
}

/* The status is looked at with what follows. */
static void on_head(void *ctx, struct upstream_request *up)
{
    struct relay_job *r = ctx;
    const char *name = NULL, *value;
    int64_t at_s = clock_wall_us() / 1000000;
    struct limits_told told;

    api_relayed_limits_none(&told);
    while (upstream_answer_next(up, &name, &value))
        api_relayed_limit(name, value, at_s, &told);
    credentials_learn(r->relay->s.keys, r->job->relay->i_key, &r->mark, &told, clock_now_us());
}

static void on_data(void *ctx, struct upstream_request *up, const char *p, size_t n)
{
    struct relay_job *r = ctx;
    size_t max = upstream_status(up) == 200 ? BODY_MAX : ERROR_MAX;

    if (is_stream(r)) {
        take_stream(r, p, p + n);
    } else if (r->answer.len + n <= max) {
        if (buf_add(&r->answer, p, n))
            cut(r, ERR_NOMEM, "No memory for the answer.");
    } else if (max == BODY_MAX) {
        cut(r, ERR_TOO_LARGE, "The supplier's answer is too large.");
    }
}

/* A whole body that should be an answer. */
static void take_body(struct relay_job *r)
{
    struct api_relayed_piece look;
    struct piece *p;

    api_relayed_look(r->answer.data ? r->answer.data : "", r->answer.len, &look);
    if (!look.is_json || (!look.is_error && !look.n_finished)) {
        err_set(&r->err, ERR_SUPPLIER, "The supplier's answer is none.");
        return;
    }
    if (fail_if_error(r, &look, r->answer.data, r->answer.len))
        return;
    take_usage(r, &look);
    p = new_piece(r->answer.data, r->answer.len, &look);
    if (!p) {
        err_set(&r->err, ERR_NOMEM, "No memory for the answer.");
        return;
    }
    push(r, p);
    buf_done(&r->answer);
}

/* Is the stream whole? Each choice has ended; where a chunk could not be read, what the supplier
 * says it wrote must be what came, or something is missing. */
static void judge_stream(struct relay_job *r)
{
    if (r->finish) {
        push(r, r->finish);
        r->finish = NULL;
    }
    if (r->n_finished < r->job->n_choices)
        err_set(&r->err, ERR_RESET, "The supplier's answer ended in the middle.");
    else if (r->n_skipped > 1 || (r->n_skipped && !r->has_usage))
        err_set(&r->err, ERR_SUPPLIER, "A part of the supplier's answer could not be read.");
}

static void on_end(void *ctx, struct upstream_request *up, const struct err *e)
{
    struct relay_job *r = ctx;
    int status = upstream_status(up);
    int stream = is_stream(r);
    const char *p = "\n\n";

    if (r->is_ended) {
        r->up = NULL;
        return;
    }
    if (status && status != 200) {
        api_relayed_error(status, r->answer.data, r->answer.len,
                          upstream_answer_header(up, "retry-after"),
                          upstream_answer_header(up, "retry-after-ms"), clock_wall_us() / 1000000,
                          &r->retry_us, &r->err);
    } else if (e->code) {
        r->err = *e;
    } else if (stream) {
        take_stream(r, p, p + 2); /* an event that only the end of the body ends */
        if (!r->is_ended)
            judge_stream(r);
    } else {
        take_body(r);
    }
    r->up = NULL;
    end(r);
}

static const struct upstream_handler handler = {
    .on_head = on_head, .on_data = on_data, .on_end = on_end};

/* ---- the supplier's door --------------------------------------------------------------------- */

static void relay_load(const struct supplier *s, struct load *ret)
{
    const struct relay *r = of(s);

    *ret =
        (struct load){.state = SUPPLIER_READY, .capacity = line_capacity(r->c.line), .progress = 1};
    line_look(r->c.line, &ret->n_running, &ret->n_waiting);
    ret->n_inside = ret->n_running + ret->n_waiting;
    ret->rtt_us = upstream_rtt_us(r->c.upstream);
}

static void relay_derate(struct supplier *s, int32_t factor_ppm)
{
    line_derate(of(s)->c.line, factor_ppm);
}

static void relay_keep(struct supplier *s, int32_t n, int32_t unlent_ppm)
{
    line_keep(of(s)->c.line, n, unlent_ppm);
}

static const struct supplier_facts *relay_facts(const struct supplier *s)
{
    return &of(s)->facts;
}

static void job_free(struct relay_job *r)
{
    drop_pieces(r);
    buf_done(&r->ask);
    buf_done(&r->answer);
    api_sse_reader_done(&r->sse);
    free(r);
}

/* What a service is asked for: the tier that was granted, whatever the client wrote. None of them
 * knows batch as a tier of a request. */
static const char *tier_sent(const struct job *j)
{
    return tier_name(j->tier == TIER_BATCH ? TIER_FLEX : j->tier);
}

static int begin(struct relay_job *r, struct err *e)
{
    const struct relay *relay = r->relay;
    const struct job_relay *ask = r->job->relay;
    struct api_splice splice = {.model = relay->c.upstream_model,
                                .max_tokens = ask->max_tokens,
                                .max_held = ask->max_held,
                                .tier = tier_sent(r->job),
                                .ask_usage = ask->stream,
                                .known_only = relay->c.known_only,
                                .kind = strstr(ask->path, "chat") ? 1 : 2};
    const struct upstream_header all[] = {
        {"content-type", "application/json"},
        {"accept", ask->stream ? "text/event-stream" : "application/json"},
        {"authorization", credentials_header(relay->s.keys, ask->i_key)},
        {"traceparent", ask->traceparent},
        {"tracestate", ask->tracestate}};
    struct upstream_header header[ARRAY_LEN(all)];
    struct upstream_ask up = {.method = "POST", .path = ask->path, .header = header};
    struct upstream_handler h = handler;
    int code = api_splice(ask->body, ask->n_body, &splice, &r->ask);

    if (code)
        return err_set(e, code == ERR_FORMAT ? ERR_SCHEMA : ERR_NOMEM, "%s", err_text(code));
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        if (all[i].value && *all[i].value)
            header[up.n_header++] = all[i];
    }
    up.body = r->ask.data;
    up.n_body = r->ask.len;
    h.ctx = r;
    code = upstream_begin(relay->c.upstream, r->job->io, &up, &h, &r->up, e);
    if (!code)
        r->mark = credentials_begin(relay->s.keys, ask->i_key, api_relayed_estimate(ask->n_body),
                                    r->began_us);
    return code == ERR_LIMIT ? err_set(e, ERR_SUPPLIER_BUSY,
                                       "Too many requests are under way at "
                                       "this supplier; please try again.")
                             : code;
}

static int relay_submit(struct supplier *s, struct job *j, struct err *e)
{
    struct relay_job *r = calloc(1, sizeof *r);
    int code;

    CHECK(j->relay);
    if (!r)
        return err_set(e, ERR_NOMEM, "No memory for one more request.");
    r->relay = (struct relay *)(void *)s;
    r->job = j;
    r->last = &r->first;
    buf_init(&r->ask, BODY_MAX);
    buf_init(&r->answer, BODY_MAX);
    api_sse_reader_init(&r->sse);
    r->began_us = clock_now_us();
    r->place = (struct line_place){.tier = j->tier,
                                   .tenant = j->tenant,
                                   .n_seqs = j->n_choices,
                                   .n_tokens = api_relayed_estimate(j->relay->n_body),
                                   .goes_first = j->goes_first,
                                   .reader = j->reader,
                                   .item = &j->item};
    j->inner = r;
    code = line_enter(r->relay->c.line, &r->place);
    if (code < 0) {
        j->inner = NULL;
        job_free(r);
        return err_set(e, code, "The site of this supplier takes no new requests now.");
    }
    j->waits = !code;
    if (j->waits) {
        r->wait = WAITS;
        return 0;
    }
    code = begin(r, e);
    if (code) {
        line_leave(r->relay->c.line, &r->place, 0);
        j->inner = NULL;
        job_free(r);
    }
    return code;
}

static void relay_cancel(struct supplier *s, struct job *j)
{
    struct relay_job *r = j->inner;

    (void)s;
    if (!r->is_ended)
        cut(r, ERR_CANCELLED, "The request was cancelled.");
}

static int32_t relay_before(struct supplier *s, const struct job *j)
{
    struct relay_job *r = j->inner;

    (void)s;
    return line_before(r->relay->c.line, &r->place, clock_now_us());
}

/* What was not sent yet costs nothing to cancel. */
static int relay_leave(struct supplier *s, struct job *j, int is_kept)
{
    struct relay_job *r = j->inner;

    if (!r->relay->c.drains || r->is_ended || !r->up || !upstream_is_sent(r->up)) {
        relay_cancel(s, j);
        return 0;
    }
    r->is_left = 1;
    r->is_kept = is_kept;
    if (is_kept)
        return 1;
    if (r->finish)
        push(r, r->finish); /* to be counted */
    r->finish = NULL;
    drop_pieces(r);
    if (r->is_paused)
        upstream_pause(r->up, 0);
    r->is_paused = 0;
    return 1;
}

/* It has waited, and has its place. Its key may have been refused meanwhile. */
static void go(struct relay_job *r)
{
    enum breaker_why why;
    int64_t at;

    r->wait = HAS_WAITED;
    r->job->waits = 0;
    r->began_us = clock_now_us();
    r->queue_us = r->times.queue_us = r->began_us - r->job->accepted_us;
    at = credentials_look(r->relay->s.keys, r->began_us, &why);
    if (at) {
        r->retry_us = at - r->began_us;
        err_set(&r->err, ERR_SUPPLIER_BUSY, "The supplier asks for less work; please try again.");
    }
    if (at || begin(r, &r->err)) {
        if (!at && r->err.code == ERR_SUPPLIER_BUSY) /* for lack of connections: not its fault */
            r->err.code = ERR_AGAIN;
        end(r);
    }
}

static const struct event *relay_peek(struct supplier *s, struct job *j)
{
    struct relay_job *r = j->inner;
    struct piece *p;

    (void)s;
    if (r->wait == WAITS && !r->is_ended && line_has(&r->place))
        go(r);
    if (r->wait == WAITS && !r->is_ended && line_is_closed(&r->place))
        cut(r, ERR_SITE_CLOSED, "The site of this supplier takes no new requests now.");
    if (r->wait == HAS_WAITED && !r->is_ended) {
        r->ev = (struct event){.kind = EVENT_STARTED, .times = &r->times};
        return &r->ev;
    }
    p = r->first;
    if (p && r->has_content) {
        r->ev = (struct event){.kind = EVENT_RELAY,
                               .text = p->text,
                               .n_text = p->n,
                               .has_content = p->look.has_content,
                               .is_last = p->look.n_finished > 0,
                               .finish = p->look.finish,
                               .usage_from = p->usage_from,
                               .usage_to = p->usage_to,
                               .usage = &r->owed};
        return &r->ev;
    }
    if (!r->is_ended || r->is_popped)
        return NULL;
    r->ev = (struct event){.kind = EVENT_DONE,
                           .usage = &r->usage,
                           .owed = &r->owed,
                           .times = &r->times,
                           .code = r->err.code,
                           .err = r->err.code ? &r->err : NULL,
                           .retry_us = r->retry_us};
    return &r->ev;
}

static void relay_pop(struct supplier *s, struct job *j)
{
    struct relay_job *r = j->inner;
    struct piece *p = r->first;

    (void)s;
    if (r->ev.kind == EVENT_DONE)
        r->is_popped = 1;
    if (r->ev.kind == EVENT_STARTED)
        r->wait = TOLD;
    if (r->ev.kind != EVENT_RELAY)
        return;
    r->first = p->next;
    if (!r->first)
        r->last = &r->first;
    r->n_pending -= p->n;
    r->n_told += r->is_left ? 0 : p->look.n_text;
    free(p);
    if (r->is_paused && r->n_pending <= RELAY_PENDING_MAX / 2) {
        r->is_paused = 0;
        if (r->up)
            upstream_pause(r->up, 0);
    }
}

static int relay_release(struct supplier *s, struct job *j)
{
    struct relay_job *r = j->inner;

    (void)s;
    CHECK(r->is_popped && !r->up);
    if (atomic_load_explicit(&j->item.posted, memory_order_acquire))
        return 0; /* a mail about it is under way, and asks again */
    j->inner = NULL;
    job_free(r);
    return 1;
}

static const struct supplier_ops ops = {
    .load = relay_load,
    .facts = relay_facts,
    .submit = relay_submit,
    .cancel = relay_cancel,
    .leave = relay_leave,
    .peek = relay_peek,
    .pop = relay_pop,
    .release = relay_release,
    .before = relay_before,
    .derate = relay_derate,
    .keep = relay_keep,
};

int relay_new(struct supplier **ret, const struct relay_config *c, struct err *e)
{
    struct relay *r = calloc(1, sizeof *r);

    if (!r)
        return err_set(e, ERR_NOMEM, "out of memory");
    r->c = *c;
    r->s = (struct supplier){
        .ops = &ops, .keys = c->keys, .id = c->id, .model = c->upstream_model, .terms = c->terms};
    r->facts = (struct supplier_facts){.context = c->context,
                                       .context_trained = c->context,
                                       .chat = 1,
                                       .relays = 1,
                                       .first_token_us = c->first_token_us};
    *ret = &r->s;
    return 0;
}

void relay_free(struct supplier *s)
{
    free(s);
}
