#include "cmd/rebuilt.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/money.h"
#include "base/put.h"
#include "books/log_export.h"
#include "cmd/cmd.h"

struct rebuilt_sum {
    char tenant[BOOKS_NAME_MAX], model[2 * BOOKS_NAME_MAX], currency[4];
    int64_t n_requests, n_unpriced, prompt, cached, completion, reasoning;
    money_sum charge_nano;
};

static void put_value(char *to, size_t cap, const struct leaf_value *v)
{
    size_t n = v->n < cap ? v->n : cap - 1;

    memcpy(to, v->at, n);
    to[n] = 0;
}

static struct rebuilt_sum *sum_of(struct rebuilt *b, const struct rebuilt_sum *like)
{
    for (int i = 0; i < b->n; i++) {
        if (!strcmp(b->sum[i].tenant, like->tenant) && !strcmp(b->sum[i].model, like->model) &&
            !strcmp(b->sum[i].currency, like->currency))
            return &b->sum[i];
    }
    if (!b->sum)
        b->sum = calloc(REBUILT_MAX, sizeof *b->sum);
    if (!b->sum || b->n == REBUILT_MAX)
        return NULL;
    b->sum[b->n] = *like;
    return &b->sum[b->n++];
}

static int note_id(struct rebuilt *b, const struct leaf_value *id)
{
    if (b->n_ids == b->cap_ids) {
        size_t cap = b->cap_ids ? 2 * b->cap_ids : 1024;
        void *more = realloc(b->id, cap * sizeof *b->id);
        if (!more)
            return ERR_NOMEM;
        b->id = more;
        b->cap_ids = cap;
    }
    crypto_generichash(b->id[b->n_ids++], sizeof *b->id, (const unsigned char *)id->at, id->n, NULL,
                       0);
    return 0;
}

static int add(int64_t *to, int64_t n)
{
    return n < 0 || __builtin_add_overflow(*to, n, to) ? ERR_FORMAT : 0;
}

static int add_all(struct rebuilt_sum *s, const struct leaf_value v[LEAF_N])
{
    int is_request = !v[LEAF_corrects].n;

    s->n_requests += is_request;
    s->n_unpriced += is_request && v[LEAF_currency].n && v[LEAF_charge_nano].is_null;
    s->charge_nano += v[LEAF_charge_nano].number;
    return add(&s->prompt, v[LEAF_prompt_tokens].number) ||
                   add(&s->cached, v[LEAF_cached_tokens].number) ||
                   add(&s->completion, v[LEAF_completion_tokens].number) ||
                   add(&s->reasoning, v[LEAF_reasoning_tokens].number)
               ? ERR_FORMAT
               : 0;
}

int rebuilt_add(struct rebuilt *b, const char *tenant, const void *entry, size_t n, int64_t from_s,
                int64_t until_s, struct err *e)
{
    struct rebuilt_sum like = {.n_requests = 0}, *s;
    struct leaf_value v[LEAF_N];
    int r = leaf_read(entry, n, v, e);
    int64_t at_s = r ? 0 : v[LEAF_at_us].number / 1000000;

    if (r || at_s < from_s || (until_s && at_s >= until_s))
        return r;
    put_text(like.tenant, sizeof like.tenant, tenant);
    put_value(like.model, sizeof like.model, &v[LEAF_model]);
    put_value(like.currency, sizeof like.currency, &v[LEAF_currency]);
    s = sum_of(b, &like);
    if (!s)
        return err_set(e, ERR_LIMIT, "more than %d models and tenants", REBUILT_MAX);
    if (note_id(b, &v[LEAF_request_id]))
        return err_set(e, ERR_NOMEM, "out of memory");
    return add_all(s, v) ? err_set(e, ERR_FORMAT, "an entry has counts that are none") : 0;
}

static int by_id(const void *a, const void *b)
{
    return memcmp(a, b, sizeof *((struct rebuilt *)NULL)->id);
}

static int by_name(const void *a_, const void *b_)
{
    const struct rebuilt_sum *a = a_, *b = b_;
    int order = strcmp(a->tenant, b->tenant);

    order = order ? order : strcmp(a->model, b->model);
    return order ? order : strcmp(a->currency, b->currency);
}

static int print_sum(const struct rebuilt_sum *s, int as_json)
{
    char charge[MONEY_SUM_TEXT_MAX];

    money_show_sum(s->charge_nano, charge);
    if (as_json)
        return cmd_json(json_pack("{s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:s, s:o, s:I}", "tenant",
                                  cmd_json_str(s->tenant), "model", cmd_json_str(s->model),
                                  "requests", (json_int_t)s->n_requests, "prompt_tokens",
                                  (json_int_t)s->prompt, "cached_tokens", (json_int_t)s->cached,
                                  "completion_tokens", (json_int_t)s->completion,
                                  "reasoning_tokens", (json_int_t)s->reasoning, "charge", charge,
                                  "currency", cmd_json_str(s->currency), "unpriced",
                                  (json_int_t)s->n_unpriced),
                        JSON_COMPACT);
    cmd_line(stdout, "%s, %s: %lld request%s, %lld + %lld tokens (%lld cached), %s %s", s->tenant,
             s->model, (long long)s->n_requests, plural(s->n_requests), (long long)s->prompt,
             (long long)s->completion, (long long)s->cached, *s->currency ? charge : "no price",
             s->currency);
    if (s->n_unpriced)
        cmd_note("%s, %s: %lld of them without a price", s->tenant, s->model,
                 (long long)s->n_unpriced);
    return 0;
}

int rebuilt_end(struct rebuilt *b, int as_json, struct err *e)
{
    int r = 0;

    if (b->n_ids)
        qsort(b->id, b->n_ids, sizeof *b->id, by_id);
    for (size_t i = 1; i < b->n_ids; i++) {
        if (!memcmp(b->id[i - 1], b->id[i], sizeof *b->id))
            return err_set(e, ERR_FORMAT, "a request is in these files twice");
    }
    if (b->n)
        qsort(b->sum, (size_t)b->n, sizeof *b->sum, by_name);
    for (int i = 0; !r && i < b->n; i++)
        r = print_sum(&b->sum[i], as_json);
    return r ? err_set(e, r, "out of memory") : 0;
}

void rebuilt_done(struct rebuilt *b)
{
    free(b->sum);
    free(b->id);
    *b = (struct rebuilt){0};
}
