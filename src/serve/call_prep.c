/* The two states of a call that may take long: body -> neutral request, and request -> what the
 * chosen supplier takes: prompt tokens, or the text as it is. Runs on an io thread for small
 * bodies, else on a prep thread; no socket and no other call is touched. What goes wrong is left in
 * c->err. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "serve/server.h"

/* A prompt is tokenised up to so many times the context only: a longer one is refused anyway. */
#define TOKENS_OVER 4
/* The longest time for the work on the texts of one request. */
#define TEXT_US_MAX (60ll * 1000000)

static size_t tokens_max(const struct supplier_facts *f)
{
    return (size_t)f->context * TOKENS_OVER + 64;
}

/* 0 unless the client has left: then the work is not worth doing. */
static int still_wanted(const struct call *c, struct err *e)
{
    return atomic_load(&c->gone) ? err_set(e, ERR_CANCELLED, "The client left.") : 0;
}

/* Claim memory of the budget before it is allocated. More than any request may ever have is
 * ERR_TOO_LARGE; else the client should come back later. */
static int claim(struct call *c, struct net_claim *of, size_t n, struct err *e)
{
    size_t most = net_claim_most(c->s->net);

    if (!net_claim_set(of, n))
        return 0;
    if (n + c->body.len > most)
        return err_set(
            e, ERR_TOO_LARGE,
            "The request has too many values: reading it could take %zu bytes of memory, "
            "and the limit is %zu.",
            n + c->body.len, most);
    return err_set(e, ERR_AGAIN, "The server has no memory for the request now; please try again.");
}

/* Bytes that stay allocated while the call lives. The messages stay as long as another offer may
 * have to render them again. */
size_t call_kept_bytes(const struct call *c)
{
    size_t n = c->arena.used + (size_t)c->n_jobs * sizeof *c->jobs;

    n += c->req.messages ? c->n_read : 0;
    n += c->n_jobs && c->jobs[0].job.relay ? c->n_body : 0; /* the supplier's own copy */
    for (int32_t i = 0; i < c->n_jobs; i++) {
        const struct call_job *j = &c->jobs[i];
        n += ((size_t)j->tokens.n + (size_t)j->prediction.n) * sizeof(int32_t) + j->rendered.cap;
        n += j->tokens.answer ? (size_t)j->tokens.n / 8 : 0;
    }
    return n;
}

int call_reads_tokens(const struct call *c)
{
    return c->sup->ops->facts(c->sup)->reads_prompts;
}

int call_check_chat(const struct call *c, struct err *e)
{
    const struct supplier_facts *f = c->sup->ops->facts(c->sup);

    if (f->chat)
        return 0;
    return err_set_param(e, ERR_UNSUPPORTED, "messages", "%s",
                         f->no_chat_why && *f->no_chat_why ? f->no_chat_why
                                                           : "This model has no chat template.");
}

static int make_jobs(struct call *c, int32_t n, struct err *e)
{
    c->jobs = calloc((size_t)n, sizeof *c->jobs);
    if (!c->jobs)
        return err_set(e, ERR_NOMEM, "No memory for one more request.");
    c->n_jobs = n;
    for (int32_t i = 0; i < n; i++)
        c->jobs[i].call = c;
    return 0;
}

/* Does the prompt fit the context, now that its tokens are known? */
static int fit(struct call *c, struct call_job *j, struct err *e)
{
    const struct supplier_facts *f = c->sup->ops->facts(c->sup);
    int32_t max = 0;
    int r = api_check_context(&c->req, j->job.n_prompt, f->context, f->output_max, &max, e);

    j->job.sampling = c->req.sampling;
    j->job.sampling.max_tokens = max;
    j->n_hold = j->job.n_prompt;
    return r;
}

static int too_long(struct call *c, int r, struct err *e)
{
    const struct supplier_facts *f = c->sup->ops->facts(c->sup);

    return r == ERR_LIMIT ? api_err_context(e, (int64_t)tokens_max(f) + 1,
                                            c->req.sampling.max_tokens, f->context)
                          : r;
}

/* Tokenise the prediction. It is only a help for speed, so one that is longer than any answer could
 * be is left out instead of refused. */
static int prep_prediction(struct call *c, struct call_job *j, struct err *e)
{
    const struct supplier *s = c->sup;
    const struct text *p = &c->req.prediction;
    int r;

    if (!p->s || !p->n)
        return 0;
    r = s->ops->tokenize(s, p->s, p->n, 0, 0, tokens_max(s->ops->facts(s)), &c->patience,
                         &j->prediction, e);
    if (r)
        return r == ERR_LIMIT ? 0 : r;
    j->job.prediction = j->prediction.id;
    j->job.n_prediction = j->prediction.n;
    return 0;
}

static int prep_chat(struct call *c, struct err *e)
{
    const struct supplier *s = c->sup;
    const struct chat chat = {.messages = c->req.messages,
                              .kwargs = c->req.template_kwargs,
                              .continue_final = c->req.continue_final,
                              .patience = &c->patience};
    struct call_job *j;
    int r;

    r = call_check_chat(c, e);
    if (!r)
        r = make_jobs(c, 1, e);
    if (r)
        return r;
    j = &c->jobs[0];
    buf_init(&j->rendered, API_BODY_MAX * 4);
    r = s->ops->render(s, &chat, c->s->config->log_prompts ? &j->rendered : NULL, &j->tokens,
                       e); /* the text is for the log alone */
    if (r)
        return too_long(c, r, e);
    /* The messages go, unless they may have to be rendered again, for another offer. */
    if (!cloud_may_exceed(&c->ticket) && !cloud_has_other(c->s->cloud, clock_now_us(), &c->ticket))
        api_request_rendered(&c->req);
    j->text = j->rendered.data ? j->rendered.data : "";
    j->n_text = j->rendered.len;
    j->job.prompt = j->tokens.id;
    j->job.answer = j->tokens.answer;
    j->job.n_prompt = j->tokens.n;
    r = fit(c, j, e);
    return r ? r : prep_prediction(c, j, e);
}

static int prep_prompt(struct call *c, struct call_job *j, const struct api_prompt *p,
                       struct err *e)
{
    const struct supplier *s = c->sup;
    int r;

    if (p->text) {
        j->text = p->text;
        j->n_text = p->n_text;
        r = s->ops->tokenize(s, p->text, p->n_text, c->req.parse_special, 1,
                             tokens_max(s->ops->facts(s)), &c->patience, &j->tokens, e);
        if (r)
            return too_long(c, r, e);
        j->job.prompt = j->tokens.id;
        j->job.n_prompt = j->tokens.n;
    } else {
        j->job.prompt = p->id;
        j->job.n_prompt = p->n_id;
        buf_init(&j->rendered, API_BODY_MAX * 4);
        if (c->req.echo) {
            r = s->ops->detokenize(s, p->id, p->n_id, &j->rendered, e);
            if (r)
                return r;
        }
        j->text = j->rendered.data ? j->rendered.data : "";
        j->n_text = j->rendered.len;
    }
    return fit(c, j, e);
}

static int prep_completion(struct call *c, struct err *e)
{
    int r = make_jobs(c, c->req.n_prompts, e);

    for (int32_t i = 0; !r && i < c->n_jobs; i++) {
        r = still_wanted(c, e);
        if (!r)
            r = prep_prompt(c, &c->jobs[i], &c->req.prompt[i], e);
    }
    return r;
}

/* Prepare for a supplier that takes the whole request: one job, whatever it asks for. */
static int prep_relay(struct call *c, struct err *e)
{
    int chat = !c->req.n_prompts, r = make_jobs(c, 1, e);
    struct call_job *j = c->jobs;

    if (r)
        return r;
    if (!c->body.data)
        return err_set(e, ERR_AGAIN, "The suppliers have just changed; please try again.");
    j->relay = (struct job_relay){
        .path = chat ? "/chat/completions" : "/completions",
        .body = c->body.data,
        .n_body = c->body.len,
        .stream = c->req.stream,
        .include_usage = c->req.include_usage,
        .max_held = c->req.sampling.max_tokens > 0 ? c->req.sampling.max_tokens : 0};
    j->job.relay = &j->relay;
    j->text = "";
    j->n_hold = (int64_t)c->n_body; /* a token has a byte at least */
    j->job.sampling = c->req.sampling;
    return 0;
}

/* Prepare for a supplier that takes texts. A token has at least one byte, so as many tokens are
 * held as the text has bytes. */
static int prep_text(struct call *c, struct err *e)
{
    const struct supplier_facts *f = c->sup->ops->facts(c->sup);
    int chat = !c->req.n_prompts;
    int r = make_jobs(c, chat ? 1 : c->req.n_prompts, e);

    for (int32_t i = 0; !r && i < c->n_jobs; i++) {
        const struct api_prompt *p = chat ? NULL : &c->req.prompt[i];
        struct call_job *j = &c->jobs[i];
        j->text = p && p->text ? p->text : "";
        j->n_text = p && p->text ? p->n_text : 0;
        j->n_hold = chat ? (int64_t)c->n_body : p->text ? (int64_t)p->n_text : p->n_id;
        j->n_hold += (int64_t)c->req.prediction.n * c->req.n_run; /* each choice may pay for it */
        j->job.messages = chat ? c->req.messages : NULL;
        j->job.text = p ? p->text : NULL;
        j->job.n_text = j->n_text;
        j->job.prompt = p ? p->id : NULL;
        j->job.n_prompt = p ? p->n_id : 0;
        j->job.sampling = c->req.sampling;
        if (j->job.sampling.max_tokens < 0 && f->output_max)
            j->job.sampling.max_tokens = f->output_max;
    }
    return r;
}

/* May its body still be needed, for a supplier that takes it whole? */
static int keeps_body(const struct call *c)
{
    return atomic_load(&c->s->suppliers) && !c->endpoint->is_tool;
}

static const char *body_of(const struct call *c)
{
    return c->body.data ? c->body.data : "";
}

int call_parse_request(struct call *c, const struct api_options *o, struct err *e)
{
    struct api_options with = *o;

    if (keeps_body(c)) {
        c->unbuilt = arena_array(&c->arena, 1, sizeof *c->unbuilt);
        if (!c->unbuilt)
            return err_set(e, ERR_NOMEM, "No memory for one more request.");
        *c->unbuilt = (struct api_unbuilt){0};
        with.unbuilt = c->unbuilt;
    }
    return api_parse(c->route.dialect, &c->req, &c->arena, body_of(c), c->body.len, &c->heads,
                     &with, e);
}

/* Complete the request with what depends on the chosen supplier: its vocabulary, and the sampling
 * it recommends. */
static int fill_request(struct call *c, struct err *e)
{
    const struct supplier_facts *f = c->sup->ops->facts(c->sup);
    const struct preset plain = preset_plain();
    int r = api_check_tokens(&c->req, f->n_vocab ? f->n_vocab : INT32_MAX, e);

    if (!r && (f->default_sampling || c->ticket.n_tried)) /* not as the one before recommended */
        api_request_recommend(&c->req, f->default_sampling ? &f->sampling : &plain);
    return r;
}

int call_prepare_request(struct call *c, struct err *e)
{
    int r;

    if (c->sup->ops->facts(c->sup)->relays)
        return prep_relay(c, e);
    r = fill_request(c, e);
    if (r)
        return r;
    if (!call_reads_tokens(c))
        return prep_text(c, e);
    return c->req.n_prompts ? prep_completion(c, e) : prep_chat(c, e);
}

static int parse_body(struct call *c, struct err *e)
{
    struct api_options o = {.strict = c->s->config->strict_compat,
                            .body_max = c->s->config->body_limit};
    int r;

    c->n_read = api_read_cost(body_of(c), c->body.len);
    r = claim(c, &c->claim, c->n_read, e);
    if (!r)
        c->n_worked = c->body.len;
    if (!r)
        r = c->endpoint->parse(c, &o, e);
    call_text_request(c);
    if (r || !(keeps_body(c) || call_store_is_wanted(c)))
        net_body_done(&c->body); /* the request keeps its own */
    return r;
}

void call_prep(struct call *c)
{
    struct err *e = &c->err;
    int r = still_wanted(c, e);

    c->patience = (struct patience){.gone = &c->gone, .until_us = clock_now_us() + TEXT_US_MAX};
    if (!r && c->state == CALL_ADMIN) {
        r = c->endpoint->administer(c, e);
    } else if (!r && c->state == CALL_PARSE) {
        r = call_replay_print(c, e);
        if (!r)
            r = parse_body(c, e);
    } else if (!r) {
        r = c->endpoint->prepare(c, e);
        if (!r)
            call_proof_prompt(c);
        if (!r)
            r = claim(c, &c->claim, call_kept_bytes(c), e);
        if (!r)
            r = claim(c, &c->answer, call_tool_bytes(c), e);
    }
    if (r)
        net_claim_set(&c->claim, 0);
    e->code = r;
}
