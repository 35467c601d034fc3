/* What a receipt says of how its answer was made: hashes of the prompt's tokens and of those that
 * came, the model's weights, and how tokens were drawn (books/leaf.h, docs/receipts.md). And the
 * answer to who asks for a receipt. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/json.h"
#include "base/put.h"
#include "serve/server.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "ids are hashed in little endian");

/* Of each choice of each prompt the tokens so far. */
struct call_proof {
    int32_t n_choices;
    crypto_hash_sha256_state choice[];
};

/* The hash of lists of tokens by their own hashes, in hex digits. */
static void put_lists(const struct call *c, const unsigned char (*list)[TREE_HASH], int n,
                      char ret[BOOKS_HEX(TREE_HASH)])
{
    const char *hex = cloud_salt(&c->ticket);
    unsigned char salt[BOOKS_SALT] = {0}, hash[TREE_HASH];

    if (!hex)
        return;
    sodium_hex2bin(salt, sizeof salt, hex, strlen(hex), NULL, NULL, NULL);
    leaf_lists(salt, list, n, hash);
    put_bytes(hash, sizeof hash, ret);
}

void call_proof_prompt(struct call *c)
{
    unsigned char(*list)[TREE_HASH];

    c->evidence.prompt_hash[0] = 0;
    if (!c->n_jobs || !cloud_salt(&c->ticket) || !call_reads_tokens(c))
        return;
    list = arena_array(&c->arena, (size_t)c->n_jobs, sizeof *list);
    if (!list)
        return; /* then it is not known */
    for (int32_t i = 0; i < c->n_jobs; i++) {
        const struct job *j = &c->jobs[i].job;
        tree_sha256(j->prompt, (size_t)j->n_prompt * sizeof *j->prompt, list[i]);
    }
    put_lists(c, (const unsigned char(*)[TREE_HASH])list, c->n_jobs, c->evidence.prompt_hash);
}

void call_proof_begin(struct call *c)
{
    size_t n = (size_t)c->n_jobs * (size_t)c->req.n_run;

    c->proof = NULL;
    if (!n || !*c->evidence.prompt_hash)
        return;
    c->proof = arena_alloc(&c->arena, sizeof *c->proof + n * sizeof c->proof->choice[0]);
    if (!c->proof)
        return;
    c->proof->n_choices = (int32_t)n;
    for (size_t i = 0; i < n; i++)
        crypto_hash_sha256_init(&c->proof->choice[i]);
    for (int32_t i = 0; c->jobs[0].job.past && i < c->req.n_run; i++) {
        const struct job_past *p = &c->jobs[0].job.past[i]; /* told before it was cut off */
        crypto_hash_sha256_update(&c->proof->choice[i], (const unsigned char *)p->token,
                                  (size_t)p->n * sizeof *p->token);
    }
}

void call_proof_token(struct call *c, const struct call_job *j, const struct event *ev)
{
    int32_t i = (c->hedge ? 0 : (int32_t)(j - c->jobs)) * c->req.n_run + ev->choice;

    if (c->proof && i >= 0 && i < c->proof->n_choices)
        crypto_hash_sha256_update(&c->proof->choice[i], (const unsigned char *)&ev->token,
                                  sizeof ev->token);
}

/* In the fewest digits that are that number. */
static void add_number(struct buf *b, const char *name, float v)
{
    char text[32];
    int digits = 6;

    do
        snprintf(text, sizeof text, "%.*g", digits, (double)v);
    while (digits++ < 9 && memcmp(&(float){strtof(text, NULL)}, &v, sizeof v) != 0);
    buf_addf(b, "%s%s=%s", b->len ? "," : "", name, text);
}

/* One more setting that is not at its neutral value. */
static void add_setting(struct buf *b, const char *name, float v, float neutral)
{
    if (v < neutral || v > neutral)
        add_number(b, name, v);
}

static void put_sampling(const struct sampling *s, int has_seed, char *ret, size_t cap)
{
    struct buf b;

    buf_init(&b, cap + 64);
    add_number(&b, "temperature", s->temperature);
    if (s->temperature > 0 && has_seed)
        buf_addf(&b, ",seed=%llu", (unsigned long long)s->seed);
    buf_addf(&b, ",max_tokens=%d", s->max_tokens);
    add_setting(&b, "top_p", s->top_p, 1);
    if (s->top_k)
        buf_addf(&b, ",top_k=%d", s->top_k);
    add_setting(&b, "min_p", s->min_p, 0);
    add_setting(&b, "frequency_penalty", s->frequency_penalty, 0);
    add_setting(&b, "presence_penalty", s->presence_penalty, 0);
    add_setting(&b, "repetition_penalty", s->repetition_penalty, 1);
    if (s->n_bias)
        buf_addf(&b, ",biases=%d", s->n_bias);
    if (s->n_stop)
        buf_addf(&b, ",stops=%d", s->n_stop);
    if (s->min_tokens)
        buf_addf(&b, ",min_tokens=%d", s->min_tokens);
    put_text(ret, cap, b.failed ? "" : b.data);
    buf_done(&b);
}

const struct cloud_evidence *call_proof_end(struct call *c)
{
    const struct supplier_facts *f = c->sup ? c->sup->ops->facts(c->sup) : NULL;
    struct cloud_evidence *v = &c->evidence;
    unsigned char list[JOB_CHOICES_MAX * CALL_JOBS_AT_ONCE][TREE_HASH];
    int32_t n = c->proof ? c->proof->n_choices : 0;

    if (!f || !n)
        return NULL;
    v->weights = f->weights;
    v->engine = f->engine;
    put_sampling(&c->jobs[0].job.sampling, c->n_jobs == 1 || (c->req.given & API_GIVEN_SEED) != 0,
                 v->sampling, sizeof v->sampling);
    v->output_hash[0] = 0;
    if (n > (int32_t)ARRAY_LEN(list))
        return v; /* of more choices it is not known */
    for (int32_t i = 0; i < n; i++) {
        crypto_hash_sha256_state so_far = c->proof->choice[i];
        crypto_hash_sha256_final(&so_far, list[i]);
    }
    put_lists(c, (const unsigned char(*)[TREE_HASH])list, n, v->output_hash);
    return v;
}

/* ---- who asks for one ------------------------------------------------------------------------ */

int call_show_receipt(struct call *c, struct err *e)
{
    struct proof p;
    int r = cloud_proof(c->s->cloud, c->route.arg, &p, e);

    if (!r && strcmp(p.tenant, c->own->tenant.id) != 0) /* as if there were none */
        r = err_set(e, ERR_NOTFOUND, "no answer of that id is in the log");
    if (r == ERR_NOTFOUND)
        return err_set(
            e, ERR_NOTFOUND,
            "No receipt of '%.80s': the request is unknown, another tenant's, older than "
            "the log of answers, pruned, or ended less than about a second ago.",
            c->route.arg);
    if (r)
        return r;
    c->admin.status = 200;
    if (!c->admin.wants_cose)
        return call_admin_answer(c, 200, proof_json(&p), e);
    c->admin.type = "application/cose";
    return proof_put_cose(&c->out, &p) ? err_set(e, ERR_NOMEM, "No memory for the answer.") : 0;
}

int call_show_growth(struct call *c, struct err *e)
{
    struct tree_growth g;
    char text[32], *end = text;
    int64_t since = 0;
    int r;

    if (api_query_get(&c->route, "since", text, sizeof text)) {
        since = strtoll(text, &end, 10);
        if (*text < '1' || *text > '9' || *end || since > TREE_SIZE_MAX)
            return err_set_param(e, ERR_ARG, "since", "since: wants the size of an earlier head");
    }
    r = cloud_growth(c->s->cloud, since, &g, e);
    return r ? r : call_admin_answer(c, 200, proof_growth_json(&g), e);
}
