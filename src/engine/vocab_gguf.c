/* The tokenizer.ggml.* keys of a model file -> plain arrays. */
#include <stdlib.h>
#include <string.h>

#include "engine/vocab_gguf.h"

#define KEY(name) "tokenizer.ggml." name

/* Read a string of at most 63 bytes into out, NUL-terminated; "" when the key is absent. */
static int get_name(const struct gguf *g, const char *key, char out[static 64], struct err *e)
{
    struct gguf_str s = {"", 0};
    int rc = gguf_get_str(g, key, &s, e);

    if (rc < 0)
        return rc;
    if (s.n >= 64 || memchr(s.p, 0, s.n))
        return err_set_param(e, ERR_FORMAT, key, "%s is not a name", key);
    memcpy(out, s.p, s.n);
    out[s.n] = 0;
    return 0;
}

/* An array of the given kind, or NULL in *ret when the key is absent. */
static int get_array(const struct gguf *g, const char *key, int strings, uint64_t max,
                     const struct gguf_kv **ret, struct err *e)
{
    const struct gguf_kv *kv = gguf_find(g, key);

    *ret = NULL;
    if (!kv)
        return 0;
    if (!kv->is_array || (kv->type == GGUF_STR) != strings ||
        (!strings && !gguf_type_is_int(kv->type) && kv->type != GGUF_F32))
        return err_set_param(e, ERR_FORMAT, key, "%s is not an array of %s", key,
                             strings ? "strings" : "numbers");
    if (kv->n > max)
        return err_set_param(e, ERR_LIMIT, key, "%s has %llu elements, at most %llu", key,
                             (unsigned long long)kv->n, (unsigned long long)max);
    *ret = kv;
    return 0;
}

static int get_strings(const struct gguf *g, const char *key, uint64_t max,
                       const struct vocab_str **ret, size_t *ret_n, struct err *e)
{
    const struct gguf_kv *kv;
    struct vocab_str *all;
    struct gguf_str s;
    size_t pos = 0, n = 0;
    int rc = get_array(g, key, 1, max, &kv, e);

    if (rc || !kv || !kv->n)
        return rc;
    all = calloc(kv->n, sizeof *all);
    if (!all)
        return err_set(e, ERR_NOMEM, "out of memory for %s", key);
    while (n < kv->n && gguf_next_str(kv, &pos, &s))
        all[n++] = (struct vocab_str){s.p, s.n};
    *ret = all;
    *ret_n = n;
    return 0;
}

static int get_scores(const struct gguf *g, struct vocab_source *s, struct err *e)
{
    const struct gguf_kv *kv;
    float *all;
    int rc = get_array(g, KEY("scores"), 0, VOCAB_TOKENS_MAX, &kv, e);

    if (rc || !kv || !kv->n)
        return rc;
    s->scores = all = malloc(kv->n * sizeof *all);
    if (!all)
        return err_set(e, ERR_NOMEM, "out of memory for the token scores");
    s->n_scores = kv->n;
    for (uint64_t i = 0; i < kv->n; i++)
        all[i] = (float)gguf_real_at(kv, i);
    return 0;
}

static int get_types(const struct gguf *g, struct vocab_source *s, struct err *e)
{
    const struct gguf_kv *kv;
    int32_t *all;
    int rc = get_array(g, KEY("token_type"), 0, VOCAB_TOKENS_MAX, &kv, e);

    if (rc || !kv || !kv->n)
        return rc;
    if (!gguf_type_is_int(kv->type))
        return err_set_param(e, ERR_FORMAT, KEY("token_type"),
                             KEY("token_type") ": token types are not integers");
    s->types = all = malloc(kv->n * sizeof *all);
    if (!all)
        return err_set(e, ERR_NOMEM, "out of memory for the token types");
    s->n_types = kv->n;
    for (uint64_t i = 0; i < kv->n; i++) {
        int64_t t = gguf_int_at(kv, i);
        all[i] = t >= 0 && t <= VOCAB_BYTE ? (int32_t)t : -1; /* vocab_open names the token */
    }
    return 0;
}

static int get_id(const struct gguf *g, const char *key, int64_t *ret, struct err *e)
{
    uint32_t id;
    int rc = gguf_get_u32(g, key, &id, e);
    if (rc == 1)
        *ret = id;
    return rc < 0 ? rc : 0;
}

static int get_flag(const struct gguf *g, const char *key, int *ret, struct err *e)
{
    int flag, rc = gguf_get_bool(g, key, &flag, e);
    if (rc == 1)
        *ret = flag;
    return rc < 0 ? rc : 0;
}

int vocab_source_from_gguf(struct vocab_source *ret, const struct gguf *g, struct err *e)
{
    struct vocab_source s;
    int rc;

    vocab_source_init(&s);
    if ((rc = get_name(g, KEY("model"), s.model, e)) || (rc = get_name(g, KEY("pre"), s.pre, e)) ||
        (rc = get_strings(g, KEY("tokens"), VOCAB_TOKENS_MAX, &s.tokens, &s.n_tokens, e)) ||
        (rc = get_scores(g, &s, e)) || (rc = get_types(g, &s, e)) ||
        (rc = get_strings(g, KEY("merges"), VOCAB_MERGES_MAX, &s.merges, &s.n_merges, e)) ||
        (rc = get_id(g, KEY("bos_token_id"), &s.bos, e)) ||
        (rc = get_id(g, KEY("eos_token_id"), &s.eos, e)) ||
        (rc = get_id(g, KEY("eot_token_id"), &s.eot, e)) ||
        (rc = get_id(g, KEY("eom_token_id"), &s.eom, e)) ||
        (rc = get_id(g, KEY("unknown_token_id"), &s.unk, e)) ||
        (rc = get_flag(g, KEY("add_bos_token"), &s.add_bos, e)) ||
        (rc = get_flag(g, KEY("add_eos_token"), &s.add_eos, e)) ||
        (rc = get_flag(g, KEY("add_space_prefix"), &s.add_space_prefix, e))) {
        vocab_source_done(&s);
        return rc;
    }
    *ret = s;
    return 0;
}

void vocab_source_done(struct vocab_source *s)
{
    if (!s)
        return;
    free((void *)s->tokens);
    free((void *)s->merges);
    free((void *)s->scores);
    free((void *)s->types);
    vocab_source_init(s);
}
