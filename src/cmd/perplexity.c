/* gaufre perplexity MODEL --file F: how well a model predicts a text, and how far a quantised run
 * is from another. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/json_write.h"
#include "cmd/input.h"
#include "cmd/logits_file.h"
#include "cmd/model_opt.h"
#include "cmd/progress.h"
#include "kern/kern.h"

struct perplexity {
    const char *file, *logits_out, *kl;
    int64_t window;
    int json;
    struct model_opt model;
};

static const struct opt opts[] = {
    OPT_FILE('f', "file", NULL, perplexity, file, "the text (- or absent: standard input)"),
    OPT_INT(0, "context", "N", "512", 2, 1 << 20, perplexity, window,
            "tokens of a window, each evaluated alone"),
    OPT_FILE(0, "logits-out", NULL, perplexity, logits_out,
             "store log-probabilities for a later --kl (docs/formats.md)"),
    OPT_FILE(0, "kl", NULL, perplexity, kl,
             "compare with stored ones: KL divergence and agreement"),
    OPT_FLAG(0, "json", perplexity, json, "print one JSON object"),
    MODEL_OPT_ROWS(perplexity, model),
    OPT_END,
};

/* One evaluation: the tokens of all windows, and what is added up over them. */
struct tally {
    const struct kern_table *kern;
    int32_t n_vocab;
    int32_t *token;
    uint32_t n_tokens, *window, n_windows;
    uint32_t at; /* first token of the window in hand */
    int32_t n;   /* its length */
    uint64_t n_scored;
    double nll;
    struct logits_writer *out;
    const struct logits_file *ref;
    uint32_t ref_row; /* next row of ref to compare */
    float *ref_logits;
    float *kl; /* of every compared position */
    uint32_t n_kl, n_same, n_bound;
    struct progress *bar;
    struct err *e;
};

static int32_t best_of(const float *z, int32_t n)
{
    int32_t best = 0;
    for (int32_t i = 1; i < n; i++)
        best = z[i] > z[best] ? i : best;
    return best;
}

/* sum p (ln p - ln q) over the whole vocabulary. */
static double kl_whole(const struct tally *t, const struct logits_row *r, const float *z,
                       double lse)
{
    double sum = 0;
    for (int32_t i = 0; i < t->n_vocab; i++) {
        double lp = (double)t->ref_logits[i] - r->lse;
        if (lp > -30)
            sum += (double)kern_exp((float)lp) * (lp - ((double)z[i] - lse));
    }
    return sum;
}

/* The same where only the best tokens are stored: all others count as one event, which gives a
 * lower bound. */
static double kl_top(const struct logits_row *r, const float *z, double lse)
{
    double sum = 0, rest_p = 1, rest_q = 1;
    for (uint32_t k = 0; k < r->count; k++) {
        int32_t id;
        float v;
        double lp, lq;
        memcpy(&id, r->data + 4 * (size_t)k, 4);
        memcpy(&v, r->data + 4 * ((size_t)r->count + k), 4);
        lp = (double)v - r->lse;
        lq = (double)z[id] - lse;
        sum += exp(lp) * (lp - lq);
        rest_p -= exp(lp);
        rest_q -= exp(lq);
    }
    if (rest_p > 1e-12 && rest_q > 1e-12)
        sum += rest_p * log(rest_p / rest_q);
    return sum;
}

static void compare(struct tally *t, uint32_t i_token, const float *z, double lse)
{
    struct logits_row r;
    double kl;
    int32_t best;

    while (t->ref_row < t->ref->n_rows && logits_row(t->ref, t->ref_row).i_token < i_token)
        t->ref_row++;
    if (t->ref_row == t->ref->n_rows)
        return;
    r = logits_row(t->ref, t->ref_row);
    if (r.i_token != i_token)
        return;
    if (r.kind == LOGITS_TOP) {
        kl = kl_top(&r, z, lse);
        memcpy(&best, r.data, 4);
        t->n_bound++;
    } else {
        logits_unpack(t->ref, &r, t->ref_logits);
        kl = kl_whole(t, &r, z, lse);
        best = best_of(t->ref_logits, t->n_vocab);
    }
    t->kl[t->n_kl++] = (float)(kl > 0 ? kl : 0); /* rounding may leave it just below */
    t->n_same += best == best_of(z, t->n_vocab);
}

static int on_row(void *arg, int32_t i, const float *z)
{
    struct tally *t = arg;
    int32_t best;
    double lse;

    if (i + 1 == t->n)
        return 0; /* nothing follows it */
    if (!t->kern->argmax(z, t->n_vocab, &best))
        return err_set(t->e, ERR_NUMERIC, "the model produced a value that is not a number");
    lse = (double)z[best] + log((double)t->kern->sum_exp(z, z[best], t->n_vocab));
    t->nll += lse - (double)z[t->token[t->at + (uint32_t)i + 1]];
    t->n_scored++;
    if (t->ref)
        compare(t, t->at + (uint32_t)i, z, lse);
    if (t->out) {
        int rc = logits_add(t->out, t->at + (uint32_t)i, z, lse, t->e);
        if (rc)
            return rc;
    }
    if (t->n_scored % 16 == 0)
        progress_set(t->bar, t->n_scored);
    return 0;
}

/* The text's tokens cut into windows, BOS first in each where the model wants one. */
static int cut(struct tally *t, const struct engine_info *in, const struct tokens *all, int32_t bos,
               int64_t length, struct err *e)
{
    int32_t own = (int32_t)length - (bos >= 0), at = 0;
    uint32_t most = (uint32_t)(all->n / (own > 0 ? own : 1)) + 2;

    if (length > in->context)
        return err_set(e, ERR_CONTEXT, "a window of %lld tokens; the model's context is %d",
                       (long long)length, in->context);
    t->token = malloc(((size_t)all->n + most) * sizeof *t->token);
    t->window = malloc((most + 1) * sizeof *t->window);
    if (!t->token || !t->window)
        return err_set(e, ERR_NOMEM, "no memory for the text's tokens");
    t->window[0] = 0;
    while (at < all->n && own > 0) {
        int32_t n = all->n - at < own ? all->n - at : own;
        if (n + (bos >= 0) < 2)
            break;
        if (bos >= 0)
            t->token[t->n_tokens++] = bos;
        memcpy(t->token + t->n_tokens, all->id + at, (size_t)n * sizeof *t->token);
        t->n_tokens += (uint32_t)n;
        t->window[++t->n_windows] = t->n_tokens;
        at += n;
    }
    return t->n_windows ? 0 : err_set(e, ERR_ARG, "the text has fewer than two tokens");
}

static int check_ref(const struct tally *t, const char *path, struct err *e)
{
    if (t->ref->n_vocab != (uint32_t)t->n_vocab)
        return err_set(e, ERR_ARG, "%s is of a model with %u tokens, this one has %d", path,
                       t->ref->n_vocab, t->n_vocab);
    if (t->ref->n_tokens != t->n_tokens ||
        memcmp(t->ref->token, t->token, (size_t)t->n_tokens * sizeof *t->token) ||
        t->ref->n_windows != t->n_windows ||
        memcmp(t->ref->window, t->window, (t->n_windows + 1) * sizeof *t->window))
        return err_set(e, ERR_ARG, "%s is of another text, another tokenizer or other windows",
                       path);
    return 0;
}

static int ascending(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static void print(const struct perplexity *o, const char *model, struct tally *t)
{
    double nll = t->nll / (double)t->n_scored, mean = 0;

    for (uint32_t i = 0; i < t->n_kl; i++)
        mean += (double)t->kl[i];
    qsort(t->kl, t->n_kl, sizeof *t->kl, ascending);
    if (o->json) {
        json_t *j = json_pack("{s:o, s:I, s:f, s:f}", "model", cmd_json_str(model), "tokens",
                              (json_int_t)t->n_scored, "nll", nll, "perplexity", exp(nll));
        if (t->n_kl)
            json_object_update_new(
                j, json_pack("{s:I, s:f, s:f, s:f, s:f, s:b}", "positions", (json_int_t)t->n_kl,
                             "kl_mean", mean / t->n_kl, "kl_p99",
                             (double)t->kl[(size_t)(0.99 * (t->n_kl - 1) + 0.5)], "kl_max",
                             (double)t->kl[t->n_kl - 1], "top1_agreement",
                             (double)t->n_same / t->n_kl, "kl_is_bound", t->n_bound > 0));
        cmd_json(j, JSON_REAL_PRECISION(10));
        return;
    }
    printf("tokens scored   %llu\nmean nll        %.6f\nperplexity      %.4f\n",
           (unsigned long long)t->n_scored, nll, exp(nll));
    if (t->n_kl)
        printf("positions       %u\nKL mean         %.6f%s\nKL 99 %%         %.6f\nKL max          "
               "%.6f\nsame top token  %.2f %%\n",
               t->n_kl, mean / t->n_kl, t->n_bound ? " (a lower bound)" : "",
               (double)t->kl[(size_t)(0.99 * (t->n_kl - 1) + 0.5)], (double)t->kl[t->n_kl - 1],
               100.0 * t->n_same / t->n_kl);
}

static int evaluate(struct engine *engine, struct tally *t, struct err *e)
{
    int rc = 0;

    for (uint32_t i = 0; i < t->n_windows && !rc; i++) {
        t->at = t->window[i];
        t->n = (int32_t)(t->window[i + 1] - t->window[i]);
        t->e = e;
        e->text[0] = 0;
        rc = engine_eval(engine, t->token + t->at, t->n, on_row, t, e);
    }
    return rc;
}

static int run(const struct cmd *c, void *opts_, int argc, char **argv)
{
    const struct perplexity *o = opts_;
    struct model_opt mo = o->model;
    struct tally t = {.kern = kern_open(KERN_N_ISA - 1)};
    struct tokens all = {0}, bos = {0};
    struct logits_writer out = {0};
    struct logits_file ref = {0};
    struct model_run r = {0};
    struct progress bar;
    struct buf text;
    struct buf note;
    struct err e;
    int rc;

    (void)argc;
    mo.batch = mo.batch ? mo.batch : 64;
    rc = input_text(&text, o->file, 0, NULL, &e);
    if (!rc)
        rc = model_open(&r, argv[0], &mo, &e);
    if (!rc)
        rc = engine_tokenize(r.engine, text.data ? text.data : "", text.len, 0,
                             (size_t)INT32_MAX / 8, NULL, &all, &e);
    if (!rc)
        rc = engine_tokenize(r.engine, "", 0, PROMPT_BOS, 8, NULL, &bos, &e);
    if (rc)
        goto done;
    t.n_vocab = engine_info(r.engine)->n_vocab;
    rc = cut(&t, engine_info(r.engine), &all, bos.n ? bos.id[0] : -1, o->window, &e);
    if (rc)
        goto done;
    t.ref_logits = malloc((size_t)t.n_vocab * sizeof *t.ref_logits);
    t.kl = malloc(t.n_tokens * sizeof *t.kl);
    if (!t.ref_logits || !t.kl) {
        rc = err_set(&e, ERR_NOMEM, "no memory to evaluate %u tokens", t.n_tokens);
        goto done;
    }
    if (o->kl) {
        rc = logits_open(&ref, o->kl, &e);
        t.ref = &ref;
        if (!rc)
            rc = check_ref(&t, o->kl, &e);
    }
    if (!rc && o->logits_out) {
        buf_init(&note, 16384);
        buf_add_str(&note, "{\"model\":");
        json_put_str(&note, engine_info(r.engine)->name);
        buf_addf(&note, ",\"by\":\"gaufre %s\",\"class\":\"%s\"}", GAUFRE_VERSION,
                 engine_info(r.engine)->cls);
        rc = logits_create(&out, o->logits_out, (uint32_t)t.n_vocab, t.token, t.n_tokens, t.window,
                           t.n_windows, note.data ? note.data : "", &e);
        buf_done(&note);
        t.out = &out;
    }
    if (rc)
        goto done;
    t.bar = &bar;
    progress_start(&bar, "evaluating", PROGRESS_COUNT, t.n_tokens - t.n_windows, 0);
    rc = filemap_check(&ref.file, o->kl, evaluate(r.engine, &t, &e), &e);
    progress_stop(&bar, 1);
    if (!rc && o->logits_out)
        rc = logits_finish(&out, &e);
    if (!rc)
        print(o, argv[0], &t);
done:
    logits_abandon(&out);
    logits_close(&ref);
    tokens_done(&all);
    tokens_done(&bos);
    model_close(&r);
    buf_done(&text);
    free(t.token);
    free(t.window);
    free(t.ref_logits);
    free(t.kl);
    return rc ? cmd_fail(c, &e) : CMD_OK;
}

const struct cmd cmd_perplexity = {
    .name = "perplexity",
    .help = "Measure how well a model predicts a text, and how far it is from another run",
    .args = "MODEL",
    .about =
        "The text is tokenised once and cut into windows; every token with a predecessor in its\n"
        "window is scored. To choose a quantisation: --logits-out with the float file, then\n"
        "--kl with each candidate.",
    .opts = opts,
    .opts_size = sizeof(struct perplexity),
    .n_args_min = 1,
    .n_args_max = 1,
    .complete = CMD_COMPLETE_MODEL,
    .run = run,
};
