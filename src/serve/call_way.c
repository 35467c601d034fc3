/* The way of a request, a state at a time, on its io thread: parse, route, prepare, hold, submit;
 * and the way back, where an offer fails before the first byte of the answer. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "base/rand.h"
#include "policy/hold.h"
#include "serve/server.h"
#include "serve/traces.h"

/* The result of a step that is not finished: mail from a prep thread or a job will continue it. */
#define WAITS 1
/* Where the client sets no maximum, an answer may be as long as what is left of the buckets allows,
 * if that is at least this part of them when they are full. */
#define ENOUGH     4
#define HOLD_TRIES 8

/* For estimates before the prompt is read: */
#define TOKEN_BYTES    4    /* of English text */
#define ANSWER_TOKENS  500  /* where the client sets no maximum */
#define AFFINITY_BYTES 1024 /* so far requests are compared */

/* ---- parse, prepare -------------------------------------------------------------------------- */

/* May the next piece of work take long? It may with a large body, but not to prepare a request for
 * a supplier that takes texts. */
static int is_long(const struct call *c)
{
    return c->n_body > BODY_INLINE && (c->state == CALL_PARSE || call_reads_tokens(c));
}

/* Do the work on this thread or, where it may take long, on a prep thread. */
static int work(struct call *c, struct err *e)
{
    if (!c->is_worked && is_long(c)) {
        if (!prep_push(c->s->prep, c))
            return WAITS;
        return err_set(e, ERR_AGAIN, "Too many big requests at once; please try again shortly.");
    }
    if (!c->is_worked)
        call_prep(c);
    c->is_worked = 0;
    *e = c->err;
    return e->code;
}

/* Work on accounts waits for a database, so it is never done on this thread. */
static int administer(struct call *c, struct err *e)
{
    if (!c->is_worked) {
        if (!prep_push(c->s->prep, c))
            return WAITS;
        return err_set(e, ERR_AGAIN, "Too many requests at once; please try again shortly.");
    }
    c->is_worked = 0;
    *e = c->err;
    if (!e->code)
        call_reply_buf(c, c->admin.status, c->admin.type ? c->admin.type : "application/json",
                       &c->out);
    return e->code;
}

void call_worked(struct call *c)
{
    c->is_worked = 1;
    call_walk(c);
}

/* ---- route ----------------------------------------------------------------------------------- */

/* A conversation begins alike up to the first thing that its user says. */
static uint32_t messages_hash(const json_t *messages, uint64_t h)
{
    size_t n = json_array_size(messages), left = AFFINITY_BYTES;

    for (size_t i = 0; i < n && left; i++) {
        const json_t *m = json_array_get(messages, i), *text = json_object_get(m, "content");
        const char *role = json_string_value(json_object_get(m, "role"));
        size_t len = json_string_length(text) < left ? json_string_length(text) : left;
        h = map_hash(json_string_value(text), len, h);
        left -= len;
        if (role && !strcmp(role, "user"))
            break;
    }
    return (uint32_t)(h >> 32);
}

/* Equal for requests of one tenant that begin alike: caches of what was computed are a tenant's
 * own. The same on every start. */
static uint32_t affinity(const struct call *c)
{
    const struct api_request *q = &c->req;
    uint64_t h = map_hash(c->ticket.tenant, strlen(c->ticket.tenant), 1);

    if (q->cache_salt)
        h = map_hash(q->cache_salt, strlen(q->cache_salt), h);
    if (q->cache_key)
        return (uint32_t)(map_hash(q->cache_key, strlen(q->cache_key), h) >> 32);
    if (q->messages)
        return messages_hash(q->messages, h);
    if (q->n_prompts && q->prompt[0].text)
        h = map_hash(q->prompt[0].text,
                     q->prompt[0].n_text < AFFINITY_BYTES ? q->prompt[0].n_text : AFFINITY_BYTES,
                     h);
    return (uint32_t)(h >> 32);
}

/* Tokens of its prompts, as texts of this size usually have: all, and of the longest. */
static int64_t guess_prompts(const struct api_request *q, int64_t *ret_longest)
{
    int64_t sum = 0, n;

    *ret_longest = 0;
    for (size_t i = 0; q->messages && i < json_array_size(q->messages); i++)
        sum += (int64_t)json_string_length(
                   json_object_get(json_array_get(q->messages, i), "content")) /
                   TOKEN_BYTES +
               1;
    *ret_longest = sum;
    for (int32_t i = 0; i < q->n_prompts; i++) {
        n = q->prompt[i].text ? (int64_t)q->prompt[i].n_text / TOKEN_BYTES + 1 : q->prompt[i].n_id;
        sum += n;
        *ret_longest = n > *ret_longest ? n : *ret_longest;
    }
    return sum;
}

void call_want(const struct call *c, const char *model, struct cloud_want *ret)
{
    const struct api_request *q = &c->req;
    int64_t longest, max = q->sampling.max_tokens > 0 ? q->sampling.max_tokens : 0;
    int64_t n_choices = (int64_t)q->n_run * (q->n_prompts ? q->n_prompts : 1);

    *ret = (struct cloud_want){.model = model,
                               .tier = c->tier,
                               .needs = c->unbuilt ? c->unbuilt->needs : 0,
                               .affinity = affinity(c),
                               .region = c->heads.region};
    ret->n_prompt = guess_prompts(q, &longest);
    ret->n_longest = longest + max;
    ret->n_seqs = (int32_t)(n_choices < (int64_t)q->n_run * CALL_JOBS_AT_ONCE
                                ? n_choices
                                : (int64_t)q->n_run * CALL_JOBS_AT_ONCE);
    ret->n_output = n_choices * (max ? max : ANSWER_TOKENS);
}

const char *call_model(const struct call *c)
{
    /* text tools may leave it out where there is only one */
    return !c->req.model && c->s->n_served == 1 ? c->s->served[0].names[0] : c->req.model;
}

static int route(struct call *c, struct err *e)
{
    struct server *s = c->s;
    const char *model = call_model(c);
    struct cloud_want w;
    int r;

    if (!model)
        return err_set_param(e, ERR_SCHEMA, "model",
                             "model: is required, because this server has several");
    if (c->heads.region && !site_name_ok(c->heads.region))
        return err_set_param(e, ERR_ARG, "x-gaufre-region",
                             "x-gaufre-region: a region's name is letters, digits and - _ .");
    c->tier = cloud_tier(&c->ticket, c->req.tier);
    if (c->ticket.exceed == EXCEED_DOWNGRADE && tier_rank(c->tier) > tier_rank(TIER_FLEX))
        c->tier = TIER_FLEX;
    call_want(c, model, &w);
    w.record = &c->record;
    r = cloud_route(s->cloud, clock_now_us(), &w, &c->ticket, e);
    if (c->record.data && !c->record.failed)
        row_routed(&c->live, s->io[c->io].rows, c->record.data);
    if (!r)
        c->sup = c->ticket.offer->sup;
    if (!r)
        c->tier =
            (enum tier)c->ticket.asked.tier; /* what is above a contract may be in a lower one */
    else if (c->ticket.n_tried && r != ERR_ABOVE_CONTRACT)
        *e = c->err; /* of the last that was tried */
    else if (r == ERR_UNSUPPORTED && c->unbuilt && c->unbuilt->err.code)
        *e = c->unbuilt->err; /* names the field */
    if (r || c->endpoint->is_tool)
        return e->code;
    /* What has no place there is refused before work is done on its texts. */
    return cloud_may_wait(s->cloud, c->req.n_run, (int64_t)c->req.queue_threshold_ms * 1000,
                          &c->ticket, e);
}

/* ---- hold ------------------------------------------------------------------------------------ */

/* The most tokens that one answer can have. Where the supplier takes the prompt as text, the number
 * of its tokens is not known. */
static int32_t answer_max(const struct call *c, const struct job *j)
{
    int32_t context = c->sup->ops->facts(c->sup)->context;

    return j->sampling.max_tokens >= 0 ? j->sampling.max_tokens : context ? context : INT32_MAX;
}

static void lower(struct call *c, int32_t max)
{
    for (int32_t i = 0; i < c->n_jobs; i++) {
        struct job *j = &c->jobs[i].job;
        if (answer_max(c, j) > max)
            c->lowered_max = c->jobs[i].relay.max_tokens = j->sampling.max_tokens = max;
    }
}

/* Hold all that it may use, or lower a maximum that the client left to us. */
static int hold_once(struct call *c, struct err *e)
{
    int is_less = c->ticket.exceed == EXCEED_DOWNGRADE;
    int may_lower = c->req.sampling.max_tokens < 0 || is_less;
    struct cloud_ask ask = {.model = server_model(c)->names[0], .tier = c->tier};
    struct hold h = {0};
    int64_t now_us = clock_now_us(), n, room, left;
    int32_t max;

    for (int32_t i = 0; i < c->n_jobs; i++) {
        const struct call_job *j = &c->jobs[i];
        int64_t n_choices = c->req.n_run; /* what is relayed has all prompts in one job */
        if (j->job.relay && c->req.n_prompts)
            n_choices *= c->req.n_prompts;
        hold_add(&h, j->n_hold, j->job.n_prediction, n_choices, answer_max(c, &j->job));
        ask.n_prompt += j->n_hold;
    }
    ask.n_choices = h.n_choices;
    ask.is_capped = c->req.sampling.max_tokens >= 0;
    room = cloud_room(c->s->cloud, now_us, &c->ticket, &ask);
    left = may_lower ? cloud_left(now_us, &c->ticket) : INT64_MAX;
    if (left < room && (is_less || left - ask.n_prompt >= room / ENOUGH))
        room = left > 0 ? left : 1; /* else it is told when to come back */
    n = hold_fit(&h, room, may_lower, &max);
    lower(c, max);
    return cloud_reserve(c->s->cloud, now_us, &c->ticket, &ask, n, e);
}

/* No choice is longer than its tenant may have one: what the client left to us is lowered. */
static int cap_answers(struct call *c, struct err *e)
{
    int64_t max = cloud_output_max(&c->ticket);

    if (max <= 0 || max > INT32_MAX)
        return 0;
    if (c->req.sampling.max_tokens > max)
        return err_set_param(e, ERR_LIMIT, "max_tokens",
                             "max_tokens: %d is more than this tenant may ask for (limit %lld).",
                             c->req.sampling.max_tokens, (long long)max);
    lower(c, (int32_t)max);
    return 0;
}

/* What is left of a budget may be another's before it is held: look again then. */
static int hold_tokens(struct call *c, struct err *e)
{
    int r = cap_answers(c, e);

    if (!r)
        r = hold_once(c, e);

    for (int i = 0; i < HOLD_TRIES && r == ERR_BUDGET && c->lowered_max > 1; i++)
        r = hold_once(c, e);
    return r;
}

static int hold(struct call *c, struct err *e)
{
    int32_t n = c->n_jobs < CALL_JOBS_AT_ONCE ? c->n_jobs : CALL_JOBS_AT_ONCE;
    int r;

    if (c->endpoint->is_tool) /* its tokens were held with its body */
        return 0;
    r = cloud_admit(c->s->cloud, n, c->req.n_run, (int64_t)c->req.queue_threshold_ms * 1000,
                    &c->ticket, &c->n_at_once, e);
    if (!r)
        r = hold_tokens(c, e);
    if (!r)
        c->refusal = NULL;
    return r;
}

/* ---- submit ---------------------------------------------------------------------------------- */

/* Caches are shared within a tenant, and within the namespace a client asked for. */
static uint64_t cache_salt(const struct call *c)
{
    uint64_t h = map_hash(c->ticket.tenant, strlen(c->ticket.tenant), c->s->salt_seed);

    if (c->req.cache_salt)
        h = map_hash(c->req.cache_salt, strlen(c->req.cache_salt), h);
    return h;
}

static int name_reply(struct call *c, struct err *e)
{
    unsigned char random[16];

    if (rand_system(random, sizeof random))
        return err_set(e, ERR_INTERNAL, "no random bytes from the system");
    api_id_make(c->reply_id, c->req.dialect, random);
    c->reply_created = clock_wall_us() / 1000000;
    return 0;
}

/* Make the reply. Its id and model name do not depend on the offer. An earlier reply stays until
 * the new one is made, so that an error can still be told with it. */
static int make_reply(struct call *c, struct err *e)
{
    struct api_reply_setup setup = {
        .req = &c->req,
        .id = c->reply_id,
        .fingerprint = c->sup->ops->facts(c->sup)->fingerprint,
        .relayed = c->sup->ops->facts(c->sup)->relays,
        .tier_used = tier_name(c->tier),
        .frame = c->frame,
    };
    struct api_reply *reply = NULL;
    int r = *c->reply_id ? 0 : name_reply(c, e);

    if (r)
        return r;
    setup.created = c->reply_created;
    r = api_reply_new(&reply, &setup);
    for (int32_t i = 0; !r && i < c->n_jobs; i++) {
        struct call_job *j = &c->jobs[i];
        r = api_reply_prompt(reply, i, j->text, j->n_text, j->job.prompt, j->job.n_prompt);
    }
    if (r) {
        api_reply_free(reply);
        return err_set(e, ERR_NOMEM, "No memory for one more request.");
    }
    api_reply_free(c->reply);
    c->reply = reply;
    return 0;
}

/* Free the prompts' texts; the reply has copied what it needs. */
static void drop_texts(struct call *c)
{
    if (c->s->config->log_prompts)
        return;
    for (int32_t i = 0; i < c->n_jobs; i++) {
        buf_done(&c->jobs[i].rendered);
        c->jobs[i].text = NULL;
        c->jobs[i].n_text = 0;
    }
    net_claim_set(&c->claim, call_kept_bytes(c));
}

static int submit_job(struct call *c, struct call_job *j, struct err *e)
{
    int r;

    j->job.n_choices =
        j->job.relay && c->req.n_prompts ? c->req.n * c->req.n_prompts : c->req.n_run;
    j->n_live = j->job.n_choices;
    j->energy_uj = 0;
    j->job.salt = cache_salt(c);
    j->job.tenant = c->ticket.i_tenant;
    j->job.tier = c->tier;
    j->job.goes_first = cloud_goes_first(&c->ticket);
    j->job.accepted_us = c->started_us;
    if (j->job.sampling.min_tokens < 0)
        j->job.sampling.min_tokens = j->job.sampling.max_tokens;
    j->relay.i_key = c->ticket.key.i;
    j->job.echo = c->req.echo && c->req.logprobs;
    j->job.io = c->io;
    j->job.reader = net_io_mbox(c->s->net, c->io);
    j->job.item.kind = MAIL_JOB;
    j->job.item.owner = j;
    if (!(c->req.given & API_GIVEN_SEED) && !c->store.one &&
        rand_system(&j->job.sampling.seed, sizeof j->job.sampling.seed))
        return err_set(e, ERR_INTERNAL, "no random bytes from the system");
    j->sup = c->sup;
    if (!c->n_sent)
        call_trace_try(c, j, 0);
    r = c->sup->ops->submit(c->sup, &j->job, e);
    if (r)
        return r;
    j->state = JOB_OUT;
    c->n_sent++;
    return 0;
}

int call_submit_more(struct call *c, struct err *e)
{
    int r = 0;

    while (!r && c->n_sent < c->n_jobs && c->n_sent - c->n_home < c->n_at_once)
        r = submit_job(c, &c->jobs[c->n_sent], e);
    return r;
}

/* The stream's opening is told once, also where a second offer goes on with it. */
void call_open_stream(struct call *c)
{
    struct buf told;

    if (!c->streaming) {
        call_stream_begin(c);
        api_reply_begin(c->reply, call_store_frames(c));
        call_store_number(c);
        call_flush(c);
        if (c->req.echo || c->req.return_token_ids) /* those are of this offer */
            call_told(c);
        return;
    }
    buf_init(&told, c->out.max);
    api_reply_begin(c->reply, &told);
    buf_done(&told);
}

static void tell_begin(struct call *c)
{
    struct row_begin b = {.i_model = c->ticket.offer->i_model,
                          .stream = c->req.stream,
                          .tier = c->tier,
                          .supplier = c->sup->id,
                          .n_choices = c->req.n_run * c->n_jobs};

    for (int32_t i = 0; i < c->n_jobs; i++)
        b.n_prompt += c->jobs[i].job.n_prompt;
    row_begin(&c->live, &b);
}

static int submit(struct call *c, struct err *e)
{
    int r;

    if (!c->n_jobs) {
        call_tell(c);
        return 0;
    }
    r = make_reply(c, e);
    if (!r)
        r = call_store_begin(c, e);
    if (!r)
        call_proof_begin(c);
    if (!r)
        drop_texts(c);
    if (!r)
        r = call_submit_more(c, e);
    c->sent_us = clock_now_us();
    if (c->n_sent) {
        tell_begin(c);
        console_supplier_begin(c->s->console, c->sup->id);
    }
    if (!r && c->x && c->req.stream && !c->sup->ops->facts(c->sup)->relays &&
        (!c->s->config->queue_age || c->streaming))
        call_open_stream(c); /* else when it leaves the queue: until then it may be refused */
    return r;
}

/* ---- the way back ---------------------------------------------------------------------------- */

/* Is the error the offer's and not the request's? Then another offer may be tried: it is with
 * errors that are answered with 5xx, and when the offer's queue is full. */
static int is_the_offers(const struct call *c, int code)
{
    return err_http_status(code) >= 500 || code == ERR_SUPPLIER_BUSY ||
           (code == ERR_QUEUE_FULL && c->ticket.offer_is_full);
}

int call_turn_back(struct call *c, const struct err *e)
{
    int may = (c->state == CALL_ROUTE && c->ticket.offer) || c->state == CALL_HOLD ||
              c->state == CALL_SUBMIT || c->state == CALL_RUN;

    if (!may || c->is_told || c->endpoint->is_tool || !is_the_offers(c, e->code) ||
        (!c->req.n_prompts && !c->req.messages) ||
        !cloud_has_other(c->s->cloud, clock_now_us(), &c->ticket) ||
        (c->n_sent && e->code != ERR_SITE_CLOSED &&
         !cloud_take_retry(c->s->cloud, clock_now_us(), &c->ticket)))
        return 0; /* what was never sent, or turned away before it was, is no retry */
    LOG_EVENT(LOG_WARN, "turned back", LOG_STR("id", c->live.row.id),
              LOG_STR("supplier", c->sup->id), LOG_STR("error", err_name(e->code)),
              LOG_STR("why", e->text));
    c->err = *e;
    call_cancel_jobs(c);
    c->state = CALL_BACK;
    return 1;
}

/* Its limits refuse it, and its account wants it served otherwise: it leaves its offer for that.
 * The refusal is what it is answered if that is refused, too. */
static int exceed(struct call *c, const struct err *e)
{
    enum exceed how = c->state == CALL_HOLD ? cloud_exceed(&c->ticket, e->code) : EXCEED_REJECT;

    if (how == EXCEED_REJECT || !(c->refusal = arena_array(&c->arena, 1, sizeof *c->refusal)))
        return 0;
    *c->refusal = *e;
    c->refusal_retry_us = c->ticket.retry_us;
    if (how == EXCEED_FALLBACK) {
        const char *model = arena_strdup(&c->arena, cloud_fallback(&c->ticket));
        if (!model)
            return 0;
        c->req.model = model;
    }
    c->is_exceeding = 1;
    c->state = CALL_BACK;
    return 1;
}

/* What a call is answered that could not begin. */
static void refuse(struct call *c, const struct err *e)
{
    struct err was;

    if (!c->refusal) {
        call_fail(c, e);
        return;
    }
    LOG_EVENT(LOG_INFO, "refused twice", LOG_STR("id", c->live.row.id),
              LOG_STR("error", err_name(e->code)), LOG_STR("why", e->text));
    was = *c->refusal;
    c->ticket.retry_us = c->refusal_retry_us;
    call_fail(c, &was);
}

static void drop_jobs(struct call *c)
{
    for (int32_t i = 0; i < c->n_jobs; i++)
        call_job_done(&c->jobs[i]);
    free(c->jobs);
    c->jobs = NULL;
    c->n_jobs = c->n_sent = c->n_home = c->n_at_once = 0;
}

/* Called when all jobs have come back: give back all that was taken at the offer. */
static int leave_offer(struct call *c, struct err *e)
{
    (void)e;
    if (c->n_home < c->n_sent || !call_hedge_is_home(c))
        return WAITS;
    call_hedge_done(c);
    if (c->n_jobs)
        call_trace_lost(c, &c->jobs[0], c->err.code ? c->err.code : ERR_CANCELLED);
    if (!c->store.past)
        call_store_drop(c); /* it begins anew elsewhere */
    drop_jobs(c);
    c->cancelled = c->lowered_max = 0;
    c->queue_us = 0;
    c->usage = c->owed = (struct usage){0};
    c->times = (struct times){0};
    row_back(&c->live);
    if (c->is_exceeding)
        cloud_give_back(c->s->cloud, clock_now_us(), &c->ticket);
    else
        cloud_turn_back(c->s->cloud, clock_now_us(), &c->ticket);
    c->is_exceeding = 0;
    c->sup = NULL;
    return 0;
}

/* ---- the walk -------------------------------------------------------------------------------- */

static const struct {
    int (*step)(struct call *c, struct err *e); /* 0, an error, or WAITS */
    enum call_state next;
} way[] = {
    [CALL_ADMIN] = {administer, CALL_OVER},
    [CALL_PARSE] = {work, CALL_REPLAY},
    [CALL_REPLAY] = {call_replay_look, CALL_ROUTE},
    [CALL_BACK] = {leave_offer, CALL_ROUTE},
    [CALL_ROUTE] = {route, CALL_PREPARE},
    [CALL_PREPARE] = {work, CALL_HOLD},
    [CALL_HOLD] = {hold, CALL_SUBMIT},
    [CALL_SUBMIT] = {submit, CALL_RUN},
};

void call_walk(struct call *c)
{
    while (c->state < CALL_RUN) {
        enum call_state at = c->state;
        struct err e = {0};
        int r;

        if (!c->x && !c->store.past) { /* the client left meanwhile */
            c->state = CALL_OVER;
            return;
        }
        if (c->cancel_asked) {
            call_end_cancelled(c);
            return;
        }
        r = way[at].step(c, &e);
        if (r == WAITS)
            return;
        if (r && !exceed(c, &e) && !call_turn_back(c, &e))
            refuse(c, &e);
        if (c->state == at)
            c->state = way[at].next;
    }
    call_store_walked(c);
}
