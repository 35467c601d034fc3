#include "cmd/verify_replay.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/cmd.h"
#include "cmd/input.h"

#define BODY_MAX     ((size_t)64 << 20)
#define CHOICES_MAX  256
#define SAMPLING_MAX 512

/* The lists of ids that an entry hashes. */
struct lists {
    unsigned char hash[CHOICES_MAX][TREE_HASH];
    int n;
};

/* ---- what is asked --------------------------------------------------------------------------- */

/* The value of a setting of the entry's `sampling`, "temperature=0.7,seed=42"; NULL: it is not
 * there. */
static const char *setting(const char *sampling, const char *name)
{
    size_t n = strlen(name);

    for (const char *at = sampling; at; at = strchr(at, ',')) {
        at += *at == ',';
        if (!strncmp(at, name, n) && at[n] == '=')
            return at + n + 1;
    }
    return NULL;
}

static int is_said(const json_t *body, const char *name)
{
    const json_t *v = json_object_get(body, name);

    return v && !json_is_null(v);
}

/* The request as it was computed: what its client left open, the entry says. The answer is wanted
 * at once, with its ids. */
static int complete(json_t *body, const char *sampling)
{
    const char *temperature = setting(sampling, "temperature"), *seed = setting(sampling, "seed");
    const char *max = setting(sampling, "max_tokens");
    int r = json_object_set_new(body, "return_token_ids", json_true());

    json_object_del(body, "stream");
    json_object_del(body, "stream_options");
    if (temperature)
        r |= json_object_set_new(body, "temperature", json_real(strtod(temperature, NULL)));
    if (seed) /* 64 bits, which a request has as a signed number */
        r |= json_object_set_new(body, "seed", json_integer((json_int_t)strtoull(seed, NULL, 10)));
    if (max && !is_said(body, "max_tokens") && !is_said(body, "max_completion_tokens"))
        r |= json_object_set_new(body, "max_tokens", json_integer(strtoll(max, NULL, 10)));
    return r ? ERR_NOMEM : 0;
}

static int read_request(const char *file, json_t **ret, struct err *e)
{
    struct buf text;
    int r;

    buf_init(&text, BODY_MAX);
    r = input_file(&text, file, e);
    if (!r)
        r = json_parse(ret, text.data ? text.data : "", text.len, 0, e);
    if (!r && !json_is_object(*ret))
        r = err_set(e, ERR_FORMAT, "it is no request: it wants a JSON object");
    buf_done(&text);
    return r ? err_prefix(e, "%s", file) : 0;
}

/* ---- what comes ------------------------------------------------------------------------------ */

static int add_ids(struct lists *l, const json_t *ids)
{
    crypto_hash_sha256_state state;
    const json_t *id;
    size_t i;

    if (!json_is_array(ids) || l->n == CHOICES_MAX)
        return -1;
    crypto_hash_sha256_init(&state);
    json_array_foreach(ids, i, id)
    {
        uint32_t v = (uint32_t)json_integer_value(id);
        const unsigned char four[4] = {(unsigned char)v, (unsigned char)(v >> 8),
                                       (unsigned char)(v >> 16), (unsigned char)(v >> 24)};
        if (!json_is_integer(id))
            return -1;
        crypto_hash_sha256_update(&state, four, sizeof four);
    }
    crypto_hash_sha256_final(&state, l->hash[l->n++]);
    return 0;
}

/* Each prompt has `each` choices, one after the other. */
static int take(const json_t *answer, int64_t each, struct lists *prompts, struct lists *outputs,
                struct err *e)
{
    const json_t *choices = json_object_get(answer, "choices"), *choice;
    size_t i;

    json_array_foreach(choices, i, choice)
    {
        if ((i % (size_t)each == 0 &&
             add_ids(prompts, json_object_get(choice, "prompt_token_ids"))) ||
            add_ids(outputs, json_object_get(choice, "token_ids")))
            return err_set(e, ERR_FORMAT, "the server's answer has no token ids: it is no gaufre");
    }
    return outputs->n ? 0 : err_set(e, ERR_FORMAT, "the server's answer has no choices");
}

static int is_same(const struct proof *p, const struct leaf_value *want, const struct lists *l)
{
    unsigned char hash[TREE_HASH];

    leaf_lists(p->salt, l->hash, l->n, hash);
    return want->n == TREE_HASH && !memcmp(want->at, hash, TREE_HASH);
}

/* ---- both ------------------------------------------------------------------------------------ */

static int compare(const struct proof *p, const struct leaf_value v[LEAF_N], const json_t *answer,
                   int64_t each, struct err *e)
{
    struct lists *l = calloc(2, sizeof *l); /* prompts, outputs */
    int r = l ? take(answer, each, &l[0], &l[1], e) : err_set(e, ERR_NOMEM, "out of memory");

    if (!r && !is_same(p, &v[LEAF_prompt], &l[0]))
        r = err_set(e, ERR_FORMAT,
                    "the prompt has other tokens: this is not the request that was answered, or "
                    "the model here is another one");
    if (!r && !is_same(p, &v[LEAF_output], &l[1]))
        r = err_set(e, ERR_FORMAT,
                    "the answer has other tokens: it was not computed by the weights and the "
                    "engine that the server here has (the entry says: weights %.*s, engine %.*s)",
                    (int)v[LEAF_weights].n, v[LEAF_weights].at, (int)v[LEAF_engine].n,
                    v[LEAF_engine].at);
    if (!r)
        cmd_line(stdout, "computed again: the same prompt, and all %lld tokens of the answer",
                 (long long)v[LEAF_completion_tokens].number);
    free(l);
    return r;
}

static int ask(const struct proof *p, const struct leaf_value v[LEAF_N], json_t *body,
               const struct admin_server *at, struct err *e)
{
    const char *path = is_said(body, "messages") ? "/v1/chat/completions" : "/v1/completions";
    json_int_t each = is_said(body, "n") ? json_integer_value(json_object_get(body, "n")) : 1;
    char *send = json_dumps(body, JSON_COMPACT | JSON_REAL_PRECISION(15));
    json_t *answer = NULL;
    int r;

    if (!send)
        return err_set(e, ERR_NOMEM, "out of memory");
    if (each < 1 || each > CHOICES_MAX)
        r = err_set(e, ERR_FORMAT, "the request's n is none");
    else
        r = admin_ask(at, "POST", path, send, &answer, e);
    if (!r)
        r = compare(p, v, answer, each, e);
    json_decref(answer);
    free(send);
    return r;
}

int verify_replay(const struct proof *p, const char *file, const struct admin_server *at,
                  struct err *e)
{
    struct leaf_value v[LEAF_N];
    char sampling[SAMPLING_MAX];
    const char *temperature;
    json_t *body = NULL;
    int r = leaf_read(p->entry, p->n_entry, v, e);

    if (r)
        return r;
    if (!v[LEAF_prompt].n || !v[LEAF_output].n)
        return err_set(e, ERR_UNSUPPORTED,
                       "the entry has no hashes of tokens: a supplier elsewhere computed the "
                       "answer, or there was none");
    snprintf(sampling, sizeof sampling, "%.*s", (int)v[LEAF_sampling].n, v[LEAF_sampling].at);
    temperature = setting(sampling, "temperature");
    if (temperature && strtod(temperature, NULL) > 0 && !setting(sampling, "seed"))
        return err_set(e, ERR_UNSUPPORTED,
                       "the answer was drawn at random, for several prompts without a seed: it "
                       "cannot be computed again");
    r = read_request(file, &body, e);
    if (!r && complete(body, sampling))
        r = err_set(e, ERR_NOMEM, "out of memory");
    if (!r)
        r = ask(p, v, body, at, e);
    json_decref(body);
    return r;
}
