/* test_golden DATA TINY [NAME...]: every golden in DATA against the engine, as TAP.
 *
 * Of each model: class f32 with float KV: every stored logit within 1e-3; the same bits for every
 * instruction set that this CPU has and for a prompt cut into small chunks. Classes q8 and bf16
 * with f16 KV: close in KL divergence and in the largest logit; again the same bits for every
 * instruction set and chunk. Models: the file named in the golden, in TINY, $GOLDEN_MODELS or
 * $GAUFRE_HOME/models; one that is not there is skipped, one with another SHA-256 fails. */
#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>
#include <openssl/evp.h>

#include "base/team.h"
#include "cmd/logits_file.h"
#include "engine/engine.h"
#include "kern/kern.h"

#define LARGEST_DIFFERENCE 1e-3

static int n_run, n_failed;
static struct team *team;

static void report(int ok, const char *name, const char *what, const char *text)
{
    n_run++;
    n_failed += !ok;
    printf("%sok %d - %s %s: %s\n", ok ? "" : "not ", n_run, name, what, text);
    fflush(stdout);
}

/* ---- the model's file ------------------------------------------------------------------------ */

static int sha256_is(const char *path, const char *hex)
{
    static unsigned char buf[1 << 16];
    unsigned char digest[32];
    char text[65] = "";
    size_t n;
    FILE *f = fopen(path, "rb");
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    EVP_DigestInit_ex(ctx, EVP_sha256(), NULL);
    while (f && (n = fread(buf, 1, sizeof buf, f)) > 0)
        EVP_DigestUpdate(ctx, buf, n);
    EVP_DigestFinal_ex(ctx, digest, NULL);
    EVP_MD_CTX_free(ctx);
    if (f)
        fclose(f);
    for (int i = 0; i < 32; i++)
        snprintf(text + 2 * i, 3, "%02x", digest[i]);
    return !strcmp(text, hex);
}

static int has(char *ret, size_t size, const char *dir, const char *sub, const char *file)
{
    if (!dir)
        return 0;
    int n = snprintf(ret, size, "%s/%s%s", dir, sub, file);
    return n > 0 && (size_t)n < size && access(ret, R_OK) == 0;
}

static int find_model(char *ret, size_t size, const char *tiny, const char *file)
{
    return has(ret, size, tiny, "", file) ||
           has(ret, size, getenv("GAUFRE_TEST_MODELS"), "", file) ||
           has(ret, size, getenv("GOLDEN_MODELS"), "", file) ||
           has(ret, size, getenv("GAUFRE_HOME"), "models/", file) ||
           has(ret, size, getenv("XDG_DATA_HOME"), "gaufre/models/", file) ||
           has(ret, size, getenv("HOME"), ".local/share/gaufre/models/", file);
}

/* ---- one evaluation -------------------------------------------------------------------------- */

struct eval {
    const struct logits_file *golden;
    uint32_t i_row; /* next row of the golden */
    double worst;   /* largest difference of a logit, at worst_at */
    int32_t worst_at, worst_id;
    double kl, kl_max; /* sum and largest */
    uint32_t n_same;   /* rows with the golden's largest logit */
    uint64_t hash;     /* of the bits of all logits */
};

static double log_sum_exp(const float *x, int32_t n)
{
    double top = x[0], sum = 0;
    for (int32_t i = 1; i < n; i++)
        top = x[i] > top ? x[i] : top;
    for (int32_t i = 0; i < n; i++)
        sum += exp(x[i] - top);
    return top + log(sum);
}

static void differs(struct eval *v, double d, int32_t i, int32_t id)
{
    if (!(fabs(d) <= v->worst)) { /* NaN too */
        v->worst = isnan(d) ? INFINITY : fabs(d);
        v->worst_at = i;
        v->worst_id = id;
    }
}

/* Compare the row with the golden's: values and ids (NULL: all, in order). The mass outside the
 * stored ids takes part through the sum over all, and as one event in the divergence. */
static void compare(struct eval *v, const struct logits_row *r, const int32_t *ids,
                    const float *values, const float *logits)
{
    int32_t n_vocab = (int32_t)v->golden->n_vocab, i = (int32_t)r->i_token, best = 0;
    double lse = log_sum_exp(logits, n_vocab), kl = 0, rest_p = 1, rest_q = 1;
    uint32_t k_best = 0;

    differs(v, lse - r->lse, i, -1);
    for (uint32_t k = 0; k < r->count; k++) {
        int32_t id = ids ? ids[k] : (int32_t)k;
        double lp = values[k] - r->lse, lq = logits[id] - lse;
        differs(v, (double)logits[id] - values[k], i, id);
        kl += exp(lp) * (lp - lq);
        rest_p -= exp(lp);
        rest_q -= exp(lq);
        k_best = values[k] > values[k_best] ? k : k_best;
    }
    if (ids && rest_p > 1e-9)
        kl += rest_p * log(rest_p / fmax(rest_q, 1e-12));
    for (int32_t id = 1; id < n_vocab; id++)
        best = logits[id] > logits[best] ? id : best;
    v->kl += kl;
    v->kl_max = fmax(v->kl_max, kl);
    v->n_same += (ids ? ids[k_best] : (int32_t)k_best) == best;
}

static int eval_row(void *arg, int32_t i, const float *logits)
{
    struct eval *v = arg;

    for (uint32_t k = 0; k < v->golden->n_vocab; k++) {
        uint32_t bits;
        memcpy(&bits, &logits[k], 4);
        v->hash = (v->hash ^ bits) * 0x100000001b3;
    }
    if (v->i_row == v->golden->n_rows)
        return 0;
    struct logits_row r = logits_row(v->golden, v->i_row);
    if (r.i_token != (uint32_t)i)
        return 0;
    v->i_row++;
    if (r.kind == LOGITS_TOP)
        compare(v, &r, (const int32_t *)(const void *)r.data,
                (const float *)(const void *)(r.data + 4ul * r.count), logits);
    else if (r.kind == LOGITS_FULL)
        compare(v, &r, NULL, (const float *)(const void *)r.data, logits);
    return 0;
}

static int eval(struct eval *ret, const struct logits_file *golden, const char *path,
                enum engine_class cls, enum kern_isa isa, int32_t chunk, struct err *err)
{
    struct engine *e = NULL;
    struct engine_config c = {
        .path = path,
        .cls = cls,
        .cpu = 1 + (int)isa,
        .kv = 1 + (cls == ENGINE_F32 ? KERN_KV_F32 : KERN_KV_F16),
        .context_max = (int32_t)golden->n_tokens + 1,
        .chunk = chunk,
        .batch_max = 1,
    };
    int rc = engine_open(&e, &c, team, NULL, NULL, err);

    *ret = (struct eval){.golden = golden, .hash = 0xcbf29ce484222325};
    if (!rc && engine_info(e)->n_vocab != (int32_t)golden->n_vocab)
        rc = err_set(err, ERR_FORMAT, "vocabulary of %d, golden of %u", engine_info(e)->n_vocab,
                     golden->n_vocab);
    if (!rc)
        rc = engine_eval(e, golden->token, (int32_t)golden->n_tokens, eval_row, ret, err);
    engine_close(e);
    return rc;
}

/* ---- the tests of one golden ----------------------------------------------------------------- */

/* The same bits for every instruction set below the best, and for small chunks. */
static void same_bits(const char *name, const char *cls_name, const struct logits_file *golden,
                      const char *path, enum engine_class cls, enum kern_isa best, uint64_t hash)
{
    char text[512] = "";
    struct eval v;
    struct err err = {0};
    int ok = 1, n = 0;

    for (int isa = KERN_ISA_SCALAR; isa < (int)best + 1; isa++) {
        int32_t chunk = isa == (int)best ? 7 : 0;
        if (!kern_isa_available((enum kern_isa)isa))
            continue;
        int rc = eval(&v, golden, path, cls, (enum kern_isa)isa, chunk, &err);
        ok &= !rc && v.hash == hash;
        n += snprintf(text + n, sizeof text - (size_t)n, "%s%s%s %s", n ? ", " : "",
                      kern_isa_name((enum kern_isa)isa), chunk ? " in chunks of 7" : "",
                      rc               ? err.text
                      : v.hash == hash ? "same bits"
                                       : "DIFFERS");
        if (n >= (int)sizeof text)
            n = sizeof text - 1;
    }
    char what[32];
    snprintf(what, sizeof what, "%s everywhere", cls_name);
    report(ok, name, what, text);
}

/* A class that rounds. The bounds are for sanity: wrong arithmetic is far beyond them. The
 * comparison that counts is in bench/. Random weights are the hard case: their expert choices and
 * largest logits are often near ties. */
static void test_class(const struct logits_file *golden, const char *cls_name, const char *path,
                       enum engine_class cls, enum kern_isa best, int tiny, const char *name)
{
    char text[512];
    struct eval v;
    struct err err = {0};

    if (eval(&v, golden, path, cls, best, 0, &err)) {
        report(0, name, cls_name, err.text);
        return;
    }
    double kl_bound = tiny ? 0.1 : 0.02, same_bound = tiny ? 0.8 : 0.9;
    double kl = v.kl / golden->n_rows, same = (double)v.n_same / golden->n_rows;
    snprintf(text, sizeof text, "mean KL %.2g, largest %.2g, %.1f %% agree on the first", kl,
             v.kl_max, 100 * same);
    report(kl < kl_bound && same > same_bound && v.i_row == golden->n_rows, name, cls_name, text);
    if (tiny)
        same_bits(name, cls_name, golden, path, cls, best, v.hash);
}

static void test_model(const struct logits_file *golden, const char *name, const char *path,
                       int tiny)
{
    enum kern_isa best = KERN_N_ISA - 1;
    char text[512];
    struct eval v;
    struct err err = {0};

    while (!kern_isa_available(best))
        best--;
    if (eval(&v, golden, path, ENGINE_F32, best, 0, &err)) {
        report(0, name, "f32", err.text);
    } else {
        snprintf(text, sizeof text,
                 "largest difference %.2g (token %d, id %d), %u of %u rows agree on the first",
                 v.worst, v.worst_at, v.worst_id, v.n_same, golden->n_rows);
        report(v.worst <= LARGEST_DIFFERENCE && v.i_row == golden->n_rows, name, "f32", text);
        if (tiny)
            same_bits(name, "f32", golden, path, ENGINE_F32, best, v.hash);
    }
    test_class(golden, "q8", path, ENGINE_Q8, best, tiny, name);
    /* every token is one of a prompt here */
    test_class(golden, "bf16", path, ENGINE_BF16, best, tiny, name);
}

static void test_file(const char *data, const char *tiny, const char *file)
{
    char path[4096], model[4096];
    struct logits_file golden;
    struct err err = {0};

    snprintf(path, sizeof path, "%s/%s", data, file);
    if (logits_open(&golden, path, &err)) {
        report(0, file, "golden", err.text);
        return;
    }
    json_t *note = json_loadb(golden.note, golden.n_note, 0, NULL);
    const char *name = json_string_value(json_object_get(note, "model"));
    const char *file_of = json_string_value(json_object_get(note, "file"));
    const char *sha = json_string_value(json_object_get(note, "sha256"));
    if (!name || !file_of || !sha) {
        report(0, file, "golden", "no note with model, file and sha256");
    } else if (!find_model(model, sizeof model, tiny, file_of)) {
        printf("ok %d - %s # SKIP no %s in $GOLDEN_MODELS or $GAUFRE_HOME/models\n", ++n_run, name,
               file_of);
    } else if (!sha256_is(model, sha)) {
        report(0, name, "golden", "the model is not the file that the golden was made of");
    } else {
        test_model(&golden, name, model, !strncmp(model, tiny, strlen(tiny)));
    }
    json_decref(note);
    logits_close(&golden);
}

static int is_golden(const struct dirent *d)
{
    const char *dot = strrchr(d->d_name, '.');
    return dot && !strcmp(dot, ".gflogits");
}

int main(int argc, char **argv)
{
    struct dirent **list;
    struct err err = {0};
    int n;

    if (argc < 3) {
        fprintf(stderr, "usage: test_golden DATA TINY [NAME...]\n");
        return 2;
    }
    if (team_open(&team, 0, &err)) {
        printf("Bail out! %s\n", err.text);
        return 1;
    }
    n = scandir(argv[1], &list, is_golden, alphasort);
    for (int i = 0; i < n; i++) {
        int wanted = argc == 3;
        for (int k = 3; k < argc; k++)
            wanted |= !strncmp(list[i]->d_name, argv[k], strlen(argv[k])) &&
                      list[i]->d_name[strlen(argv[k])] == '.';
        if (wanted)
            test_file(argv[1], argv[2], list[i]->d_name);
        free(list[i]);
    }
    free(n >= 0 ? list : NULL);
    team_close(team);
    printf("1..%d\n", n_run);
    return n_run == 0 || n_failed;
}
