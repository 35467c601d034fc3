/* Body -> request -> prompt tokens. Runs on an io thread for small bodies, else on a prep thread;
 * no socket and no other call is touched. What goes wrong is left in c->err. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "serve/server.h"

/* Prompts far beyond the context need not be tokenised to the end to be refused. */
#define TOKENS_OVER 4
/* Work on the texts of one request. */
#define TEXT_US_MAX (60ll * 1000000)

static size_t tokens_max(const struct supplier_facts *f)
{
    return (size_t)f->context * TOKENS_OVER + 64;
}

/* Work for nobody is left undone. */
static int still_wanted(const struct call *c, struct err *e)
{
    return atomic_load(&c->gone) ? err_set(e, ERR_CANCELLED, "The client left.") : 0;
}

/* Memory counts before it is taken. What nobody may ever have is too large; else it is a matter of
 * time. */
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

/* What stays while the call lives. */
size_t call_kept_bytes(const struct call *c)
{
    size_t n = c->arena.used + (size_t)c->n_jobs * sizeof *c->jobs;

    for (int32_t i = 0; i < c->n_jobs; i++) {
        const struct call_job *j = &c->jobs[i];
        n += ((size_t)j->tokens.n + (size_t)j->prediction.n) * sizeof(int32_t) + j->rendered.cap;
        n += j->tokens.answer ? (size_t)j->tokens.n / 8 : 0;
    }
    return n;
}

int call_find_supplier(struct call *c, const char *model, struct err *e)
{
    struct server *s = c->s;
    int r;

    if (!model && s->n_served == 1) /* text tools may leave it out where there is only one */
        model = s->served[0].names[0];
    if (!model)
        return err_set_param(e, ERR_SCHEMA, "model",
                             "model: is required, because this server has several");
    r = cloud_route(s->cloud, clock_now_us(), model, cloud_tier(&c->ticket, c->req.tier),
                    &c->ticket, e);
    if (!r)
        c->sup = c->ticket.offer->sup;
    return r;
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

/* The tokens are known: do they fit? */
static int fit(struct call *c, struct call_job *j, struct err *e)
{
    const struct supplier_facts *f = c->sup->ops->facts(c->sup);
    int32_t max = 0;
    int r = api_check_context(&c->req, j->job.n_prompt, f->context, f->output_max, &max, e);

    j->job.max_tokens = max;
    return r;
}

static int too_long(struct call *c, int r, struct err *e)
{
    const struct supplier_facts *f = c->sup->ops->facts(c->sup);

    return r == ERR_LIMIT
               ? api_err_context(e, (int64_t)tokens_max(f) + 1, c->req.max_tokens, f->context)
               : r;
}

/* A prediction helps, or does nothing: one that is longer than any answer is left out. */
static int prep_prediction(struct call *c, struct call_job *j, struct err *e)
{
    const struct supplier *s = c->sup;
    const struct api_text *p = &c->req.prediction;
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
    struct call_job *j;
    int r;

    r = call_check_chat(c, e);
    if (!r)
        r = make_jobs(c, 1, e);
    if (r)
        return r;
    j = &c->jobs[0];
    buf_init(&j->rendered, API_BODY_MAX * 4);
    r = s->ops->render(s, c->req.messages, c->req.template_kwargs, c->req.continue_final, 0,
                       &c->patience, &j->rendered, &j->tokens, e);
    api_request_rendered(&c->req);
    if (r)
        return too_long(c, r, e);
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

static const char *body_of(const struct call *c)
{
    return c->body.data ? c->body.data : "";
}

/* The body was parsed, r says how: who serves what it asks for? */
static int find_model(struct call *c, int r, struct err *e)
{
    net_body_done(&c->body); /* the request keeps its own */
    if (r)
        return r;
    r = still_wanted(c, e);
    if (!r)
        r = call_find_supplier(c, c->req.model, e);
    if (!r)
        r = api_check_tokens(&c->req, c->sup->ops->facts(c->sup)->n_vocab, e);
    if (r)
        return r;
    if (c->sup->ops->facts(c->sup)->default_sampling)
        api_request_recommend(&c->req, &c->sup->ops->facts(c->sup)->sampling);
    return 0;
}

int call_prep_chat(struct call *c, const struct api_options *o, struct err *e)
{
    int r = api_parse_chat(&c->req, &c->arena, body_of(c), c->body.len, &c->heads, o, e);

    r = find_model(c, r, e);
    return r ? r : prep_chat(c, e);
}

int call_prep_completion(struct call *c, const struct api_options *o, struct err *e)
{
    int r = api_parse_completion(&c->req, &c->arena, body_of(c), c->body.len, &c->heads, o, e);

    r = find_model(c, r, e);
    return r ? r : prep_completion(c, e);
}

void call_prep(struct call *c)
{
    struct api_options o = {.strict = c->s->config->strict_compat,
                            .body_max = c->s->config->body_limit};
    struct err *e = &c->err;
    int r = still_wanted(c, e);

    if (!r)
        r = claim(c, &c->claim, api_read_cost(body_of(c), c->body.len), e);
    if (r)
        goto out;
    c->patience = (struct patience){.gone = &c->gone, .until_us = clock_now_us() + TEXT_US_MAX};
    if (c->endpoint->is_tool)
        c->n_worked = c->body.len;
    r = c->endpoint->prep(c, &o, e);
out:
    net_body_done(&c->body);
    if (!r)
        r = claim(c, &c->claim, call_kept_bytes(c), e);
    if (!r)
        r = claim(c, &c->answer, call_tool_bytes(c), e);
    if (r)
        net_claim_set(&c->claim, 0);
    e->code = r;
}
