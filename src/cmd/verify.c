/* gaufre verify: check receipts and ranges of a log of answers, offline. Files are read twice:
 * first what each of them claims of the log, then the ranges, which everything claimed must agree
 * with. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/day.h"
#include "base/json.h"
#include "base/money.h"
#include "books/cose.h"
#include "books/log_export.h"
#include "cmd/claims.h"
#include "cmd/cmd.h"
#include "cmd/day_span.h"
#include "cmd/input.h"
#include "cmd/rebuilt.h"
#include "cmd/stated.h"
#include "cmd/verify_replay.h"

#define KEYS_MAX        16
#define LINE_BYTES      8192
#define REPLAY_MS       3600000 /* an answer at once may take long */
#define ENTRY_BYTES_MAX ((size_t)16 << 20)

struct verify_opts {
    struct opt_strs keys;
    const char *from, *to, *entry, *replay, *statement;
    struct admin_server server; /* that computes again */
    int json;
};

static const struct opt opts[] = {
    OPT_STRS('k', "key", "FILE|HEX", verify_opts, keys,
             "the public key of who runs the cloud: only what it signed is taken; may be repeated"),
    OPT_FILE('e', "entry", NULL, verify_opts, entry,
             "FILEs are COSE receipts (RFC 9942) of any log, of the entry that this file has"),
    OPT_STR(0, "from", "DATE", NULL, verify_opts, from,
            "count what ended from this day on (UTC): 2026-12-01"),
    OPT_STR(0, "to", "DATE", NULL, verify_opts, to, "count what ended before this day"),
    OPT_FILE(0, "statement", NULL, verify_opts, statement,
             "make this statement of a contract again from a range of its rows, and compare"),
    OPT_FILE(0, "replay", NULL, verify_opts, replay,
             "compute the receipt's answer again, of the request's body that this file has"),
    OPT_STR('s', "server", "URL", "http://127.0.0.1:8080", verify_opts, server.url,
            "replay: the server of your own that computes, with the same model"),
    OPT_STR(0, "key-env", "NAME", "GAUFRE_API_KEY", verify_opts, server.key_env,
            "replay: environment variable with a key for it"),
    OPT_FILE(0, "ca", NULL, verify_opts, server.ca, "replay: certificates to trust, for https"),
    OPT_FLAG(0, "json", verify_opts, json, "what receipts say and what was used as JSON lines"),
    OPT_END,
};

/* A range whose entries were counted. */
struct counted {
    int64_t from, until;
    char tenant[BOOKS_NAME_MAX]; /* "": everybody's */
};

/* A head that goes on from an earlier one, which another file may have. */
struct grown {
    const char *file;
    struct tree_growth g;
};

struct verify {
    struct grown *grown;
    int n_grown;
    struct counted *counted;
    int n_counted;
    const struct verify_opts *o;
    int64_t from_s, until_s;
    unsigned char key[KEYS_MAX][TREE_KEY];
    int n_keys;
    struct claims claims;
    int n_ranges;
    unsigned char signer[TREE_KEY]; /* of the first head */
    int has_signer;
    struct rebuilt rebuilt;
    struct stated stated;  /* a contract's statement, to be made again */
    struct proven *proven; /* what of the ranges it is made from; NULL: none was given */
    struct proof *again; /* the receipt whose answer is computed again; n_entry 0: none was there */
};

/* ---- keys ------------------------------------------------------------------------------------ */

/* Of a PEM file, or of hex digits. */
static int read_key(const char *text, size_t n, unsigned char ret[TREE_KEY])
{
    static const char begin[] = "-----BEGIN PUBLIC KEY-----", end[] = "-----END";
    const char *from = strstr(text, begin), *to = from ? strstr(from, end) : NULL;
    unsigned char der[64];
    size_t got = 0;

    if (!from)
        return sodium_hex2bin(ret, TREE_KEY, text, n, " \n\r", &got, NULL) || got != TREE_KEY;
    from += sizeof begin - 1;
    if (!to ||
        sodium_base642bin(der, sizeof der, from, (size_t)(to - from), " \n\r", &got, NULL,
                          sodium_base64_VARIANT_ORIGINAL) ||
        got != 44) /* 12 bytes that say Ed25519, and the key */
        return 1;
    memcpy(ret, der + 12, TREE_KEY);
    return 0;
}

static int read_keys(struct verify *v, struct err *e)
{
    for (int i = 0; i < v->o->keys.n; i++) {
        const char *name = v->o->keys.v[i];
        struct buf text;
        int r = 0;
        if (i == KEYS_MAX)
            return err_set(e, ERR_LIMIT, "more than %d keys", KEYS_MAX);
        if (!read_key(name, strlen(name), v->key[i]))
            continue;
        buf_init(&text, 4096);
        r = input_file(&text, name, e);
        if (!r && read_key(text.data ? text.data : "", text.len, v->key[i]))
            r = err_set(e, ERR_FORMAT, "%s: no public key of Ed25519, as PEM or hex digits", name);
        buf_done(&text);
        if (r)
            return r;
    }
    v->n_keys = v->o->keys.n;
    return 0;
}

static int check_signer(struct verify *v, const struct tree_head *h, struct err *e)
{
    char hex[2 * TREE_KEY + 1];

    if (!v->has_signer)
        memcpy(v->signer, h->key, TREE_KEY);
    v->has_signer = 1;
    for (int i = 0; i < v->n_keys; i++) {
        if (!memcmp(v->key[i], h->key, TREE_KEY))
            return 0;
    }
    sodium_bin2hex(hex, sizeof hex, h->key, TREE_KEY);
    if (v->n_keys)
        return err_set(e, ERR_FORMAT, "the head is signed by another key: %s", hex);
    return 0;
}

/* ---- claims ---------------------------------------------------------------------------------- */

static int add_head(struct verify *v, const char *file, const struct tree_head *h, struct err *e)
{
    int r = check_signer(v, h, e);

    return r ? r
             : claims_add(&v->claims, file, h->log == TREE_POWER ? CLAIM_POWER_HEAD : CLAIM_HEAD,
                          h->size, h->root, e);
}

/* ---- files ----------------------------------------------------------------------------------- */

static int show_receipt(const struct verify *v, const char *file, const struct proof *p,
                        struct err *e)
{
    json_t *record = NULL;
    int r = proof_entry_json(p->entry, p->n_entry, &record, e);

    if (r)
        return r;
    if (v->o->json) {
        json_object_set_new(record, "tenant", json_string(p->tenant));
        return cmd_json(record, JSON_COMPACT);
    }
    cmd_line(stdout, "%s: entry %lld of %lld: request %s of %s, model %s, %lld + %lld tokens", file,
             (long long)p->index, (long long)p->head.size,
             json_string_value(json_object_get(record, "request_id")), p->tenant,
             json_string_value(json_object_get(record, "model")),
             (long long)json_integer_value(json_object_get(record, "prompt_tokens")),
             (long long)json_integer_value(json_object_get(record, "completion_tokens")));
    json_decref(record);
    return 0;
}

static int take_receipt(struct verify *v, const char *file, const struct proof *p, struct err *e)
{
    unsigned char leaf[TREE_HASH];
    int r = add_head(v, file, &p->head, e);

    tree_hash_leaf(p->entry, p->n_entry, leaf);
    if (!r)
        r = claims_add(&v->claims, file, CLAIM_ENTRY, p->index, leaf, e);
    *v->again = *p;
    if (!r)
        r = rebuilt_add(&v->rebuilt, p->tenant, p->entry, p->n_entry, v->from_s, v->until_s, e);
    return r ? r : show_receipt(v, file, p, e);
}

/* One line of a range in turn: 1 where there is none any more. */
static int next_line(FILE *f, struct buf *line, struct err *e)
{
    int c;

    buf_clear(line);
    while ((c = getc(f)) != EOF && c != '\n') {
        if (buf_add_char(line, (char)c))
            return err_set(e, ERR_FORMAT, "a line is longer than %d bytes", LINE_BYTES);
    }
    return ferror(f) ? err_set(e, ERR_IO, "it cannot be read") : c == EOF && !line->len;
}

/* Was the entry counted in an earlier range? */
static int is_counted(const struct verify *v, const struct log_entry *one)
{
    for (int i = 0; i < v->n_counted; i++) {
        const struct counted *c = &v->counted[i];
        if (one->i >= c->from && one->i < c->until &&
            (!*c->tenant || !strcmp(c->tenant, one->tenant)))
            return 1;
    }
    return 0;
}

/* Its heads are claimed. */
static int claim_heads(struct verify *v, const struct log_import *x, const char *file,
                       struct err *e)
{
    int r = add_head(v, file, &x->head, e);

    return r || !x->first.size ? r : add_head(v, file, &x->first, e);
}

/* What a range says, told line by line, is compared with the claims. */
static int take_line(struct verify *v, struct log_import *x, const char *file,
                     const struct log_entry *one, struct err *e)
{
    int is_power = x->log == TREE_POWER, r = 0;
    unsigned char root[TREE_HASH];

    if (one->i >= 0)
        r = claims_meet(&v->claims, file, is_power ? CLAIM_POWER : CLAIM_ENTRY, one->i, one->leaf,
                        e);
    if (!r && x->tree.size) {
        tree_root(&x->tree, root);
        r = claims_meet(&v->claims, file, is_power ? CLAIM_POWER_HEAD : CLAIM_HEAD, x->tree.size,
                        root, e);
    }
    if (!r && v->proven && one->i >= 0 && (is_power || *x->contract))
        r = proven_take(v->proven, x, one, e);
    /* Bills are summed up from what a tenant's ranges show, statements from a contract's. */
    if (!r && !is_power && !*x->contract && one->n_entry && !is_counted(v, one))
        r = rebuilt_add(&v->rebuilt, one->tenant, one->entry, one->n_entry, v->from_s, v->until_s,
                        e);
    return r;
}

/* Behind the last entry of a range. */
static int end_range(struct verify *v, const struct log_import *x, const char *file, struct err *e)
{
    struct counted *c = &v->counted[v->n_counted];
    int r = log_import_end(x, e);

    if (r)
        return r;
    if (x->log == TREE_ANSWERS && !*x->contract) {
        *c = (struct counted){.from = x->from, .until = x->head.size};
        memcpy(c->tenant, x->tenant, sizeof c->tenant);
        v->n_counted++;
    }
    if (!v->o->json)
        cmd_line(stdout, "%s: %s up to %lld, every one in its place under its head", file,
                 x->log == TREE_POWER ? "rows of power" : "entries", (long long)x->head.size);
    return v->proven && (x->log == TREE_POWER || *x->contract) ? proven_end_log(v->proven, x, e)
                                                               : 0;
}

/* Where a range of power begins, the one of answers before it ends. */
static int begin_range(struct verify *v, struct log_import *x, const char *file, int is_claim,
                       struct err *e)
{
    int r = x->has_begun && !is_claim ? end_range(v, x, file, e) : 0;

    *x = (struct log_import){.has_begun = 0};
    return r;
}

static int read_line(struct verify *v, struct log_import *x, const char *file,
                     const struct buf *line, int is_claim, struct err *e)
{
    const char *text = line->data ? line->data : "";
    int begins = log_import_begins(text, line->len),
        is_first = begins == 2 || (begins && !x->has_begun), r;
    struct log_entry one;
    json_t *j = NULL;

    if (is_claim && !is_first)
        return 0;
    r = is_first ? begin_range(v, x, file, is_claim, e) : 0;
    if (!r)
        r = json_parse(&j, text, line->len, 0, e);
    if (!r)
        r = log_import(x, j, &one, e);
    json_decref(j);
    if (r)
        return r;
    return is_claim ? claim_heads(v, x, file, e) : take_line(v, x, file, &one, e);
}

/* is_claim: only the heads are read; of what no statement is made from, the first line has them. */
static int read_range(struct verify *v, FILE *f, const char *file, int is_claim, struct err *e)
{
    struct log_import x = {.has_begun = 0};
    struct buf line;
    int r;

    buf_init(&line, LINE_BYTES);
    while (!(r = next_line(f, &line, e))) {
        r = read_line(v, &x, file, &line, is_claim, e);
        if (r || (is_claim && x.log == TREE_ANSWERS && !*x.contract))
            break;
    }
    buf_done(&line);
    if (r == 1)
        r = is_claim ? 0 : end_range(v, &x, file, e);
    return r && x.log == TREE_POWER ? err_prefix(e, "the log of power") : r;
}

static int is_head(const json_t *j)
{
    const char *object = json_string_value(json_object_get(j, "object"));

    return object && !strcmp(object, "receipts.head");
}

static int take_head(struct verify *v, const char *file, const json_t *j, struct err *e)
{
    struct grown *g = &v->grown[v->n_grown];
    int r = proof_read_growth(j, &g->g, e);

    if (!r)
        r = add_head(v, file, &g->g.head, e);
    if (r)
        return r;
    g->file = file;
    v->n_grown++;
    if (!v->o->json)
        cmd_line(stdout, "%s: the head of %lld entries", file, (long long)g->g.head.size);
    return 0;
}

/* Do heads go on from those that other files have? */
static int compare_heads(struct verify *v, struct err *e)
{
    for (int i = 0; i < v->n_grown; i++) {
        const struct tree_growth *g = &v->grown[i].g;
        int first = g->since ? claims_find(&v->claims, CLAIM_HEAD, g->since) : -1;
        for (int k = first; k >= 0; k = v->claims.all[k].next) {
            struct claim *c = &v->claims.all[k];
            c->is_met = 1;
            if (!tree_check_consistency(g->since, c->hash, g->head.size, g->head.root, &g->path))
                return err_set(e, ERR_FORMAT, "%s: the log does not go on from the head of %s",
                               v->grown[i].file, c->file);
        }
        if (g->since && first < 0)
            cmd_note("%s: goes on from a head of size %lld, which no file here has",
                     v->grown[i].file, (long long)g->since);
    }
    return 0;
}

static int claim_all(struct verify *v, const char *file, FILE *f, struct err *e)
{
    char *text = malloc(PROOF_TEXT_MAX + 1);
    size_t n = text ? fread(text, 1, PROOF_TEXT_MAX + 1, f) : 0;
    struct proof *p = calloc(1, sizeof *p);
    json_t *j = NULL;
    int r = 0;

    if (!text || !p)
        r = err_set(e, ERR_NOMEM, "out of memory");
    else if (log_import_begins(text, n)) {
        v->n_ranges++;
        rewind(f);
        r = read_range(v, f, file, 1, e);
    } else if (n > PROOF_TEXT_MAX)
        r = err_set(e, ERR_FORMAT, "it is neither a receipt nor a range of a log of answers");
    else if (n && (unsigned char)text[0] == 0xd2)
        r = proof_read_cose(text, n, p, e);
    else if (!(r = json_parse(&j, text, n, 0, e)))
        r = is_head(j) ? take_head(v, file, j, e) : proof_read_json(j, p, e);
    if (!r && p->n_entry)
        r = take_receipt(v, file, p, e);
    json_decref(j);
    free(p);
    free(text);
    return r;
}

/* Of a file that is no range there is nothing more to be read. */
static int compare_all(struct verify *v, const char *file, FILE *f, struct err *e)
{
    char text[64];
    size_t n = fread(text, 1, sizeof text, f);

    rewind(f);
    return log_import_begins(text, n) ? read_range(v, f, file, 0, e) : 0;
}

static int each_file(struct verify *v, int argc, char **argv,
                     int (*look)(struct verify *v, const char *file, FILE *f, struct err *e),
                     struct err *e)
{
    int r = 0;

    for (int i = 0; !r && i < argc; i++) {
        FILE *f = fopen(argv[i], "rb");
        r = f ? look(v, argv[i], f, e) : err_set(e, ERR_IO, "cannot be opened");
        if (f)
            fclose(f);
        if (r)
            err_prefix(e, "%s", argv[i]);
    }
    return r;
}

/* ---- the command ----------------------------------------------------------------------------- */

static void tell_end(const struct verify *v)
{
    char hex[2 * TREE_KEY + 1];
    int n_open = 0, n_heads = 0;

    for (int i = 0; i < v->claims.n; i++) {
        n_open += !v->claims.all[i].is_met;
        n_heads += v->claims.all[i].kind == CLAIM_HEAD;
    }
    if (!v->n_keys)
        cmd_note("signed by the key %s: whether that is who you think, --key would say",
                 sodium_bin2hex(hex, sizeof hex, v->signer, TREE_KEY));
    if (v->n_ranges && n_open)
        cmd_note("%d receipts or heads are of places that no range here has", n_open);
    else if (!v->n_ranges && n_open > 2 && n_heads > 1)
        cmd_note("whether one log has had all these heads, a range of it would show ('gaufre "
                 "receipts export')");
}

/* A receipt of another log, under one of the keys. */
static int check_foreign(const struct verify *v, const struct buf *entry, const char *file,
                         struct err *e)
{
    struct cose_place place = {0};
    struct buf text;
    int r;

    buf_init(&text, PROOF_TEXT_MAX);
    r = input_file(&text, file, e);
    for (int i = 0; !r && i < v->n_keys; i++) {
        r = cose_check(text.data ? text.data : "", text.len, entry->data ? entry->data : "",
                       entry->len, v->key[i], &place, e);
        if (!r || i + 1 == v->n_keys)
            break;
        r = 0;
    }
    buf_done(&text);
    if (r)
        return err_prefix(e, "%s", file);
    cmd_line(stdout, "%s: entry %lld of %lld", file, (long long)place.index, (long long)place.size);
    return 0;
}

static int check_foreigners(struct verify *v, int argc, char **argv, struct err *e)
{
    struct buf entry;
    int r;

    if (!v->n_keys)
        return err_set(e, ERR_ARG, "--entry: wants the log's --key");
    buf_init(&entry, ENTRY_BYTES_MAX);
    r = input_file(&entry, v->o->entry, e);
    for (int i = 0; !r && i < argc; i++)
        r = check_foreign(v, &entry, argv[i], e);
    buf_done(&entry);
    return r;
}

static int replay(const struct verify *v, struct err *e)
{
    struct admin_server at = v->o->server;

    at.stall_ms = REPLAY_MS;
    cmd_note("%s computes the answer again", at.url);
    return verify_replay(v->again, v->o->replay, &at, e);
}

/* What the statement says of its contract is the customer's to know. */
static void tell_stated(const struct verify *v)
{
    const struct settled *s = v->stated.settled;
    const json_t *versions = json_object_get(v->stated.told, "versions");

    cmd_line(stdout, "%s: what these rows and the contract in it come to", v->stated.file);
    for (int i = 0; i < s->n_versions; i++)
        cmd_line(stdout, "  version %lld of %s has SHA-256 %s", (long long)s->version[i].version,
                 settled_contract(s)->name,
                 json_string_value(json_object_get(json_array_get(versions, (size_t)i), "sha256")));
    if (proven_later(v->proven))
        cmd_note("%lld entries of the contract in that time came after it was made",
                 (long long)proven_later(v->proven));
}

static int check_statement(struct verify *v, struct err *e)
{
    struct settled_rows rows;
    int r = proven_rows(v->proven, &rows, e);

    if (!r)
        r = settled_make_from(v->stated.settled, &rows, e);
    if (!r)
        r = stated_compare(&v->stated, "the log", e);
    if (!r && !v->o->json)
        tell_stated(v);
    return r;
}

static int open_statement(struct verify *v, struct err *e)
{
    int r = stated_open(&v->stated, v->o->statement, e);

    return r ? err_prefix(e, "%s", v->o->statement) : proven_open(&v->proven, v->stated.settled, e);
}

static int check_files(struct verify *v, int argc, char **argv, struct err *e)
{
    int r = each_file(v, argc, argv, claim_all, e);

    if (!r)
        r = compare_heads(v, e);
    if (!r && v->n_ranges) {
        rebuilt_done(&v->rebuilt); /* of receipts that a range has too, once */
        r = each_file(v, argc, argv, compare_all, e);
    }
    if (!r)
        r = rebuilt_end(&v->rebuilt, v->o->json, e);
    if (!r && v->proven)
        r = check_statement(v, e);
    if (!r && v->o->replay)
        r = v->again->n_entry ? replay(v, e) : err_set(e, ERR_ARG, "--replay: wants one receipt");
    if (!r)
        tell_end(v);
    return r;
}

static int run(const struct cmd *cmd, void *opts_, int argc, char **argv)
{
    struct verify v = {.o = opts_};
    const char *wrong = day_read_span(v.o->from, v.o->to, &v.from_s, &v.until_s);
    struct err e = {0};
    int r;

    if (wrong)
        return cmd_usage(cmd, "%s", wrong);
    if (v.o->replay && argc != 1)
        return cmd_usage(cmd, "--replay: wants one receipt");
    v.counted = calloc((size_t)argc, sizeof *v.counted);
    v.grown = calloc((size_t)argc, sizeof *v.grown);
    v.again = calloc(1, sizeof *v.again);
    r = v.counted && v.grown && v.again ? read_keys(&v, &e)
                                        : err_set(&e, ERR_NOMEM, "out of memory");
    if (!r)
        r = claims_open(&v.claims, &e);
    if (!r && v.o->statement)
        r = open_statement(&v, &e);
    if (!r)
        r = v.o->entry ? check_foreigners(&v, argc, argv, &e) : check_files(&v, argc, argv, &e);
    rebuilt_done(&v.rebuilt);
    free(v.again);
    free(v.grown);
    free(v.counted);
    claims_close(&v.claims);
    proven_close(v.proven);
    stated_close(&v.stated);
    return r ? cmd_fail(cmd, &e) : CMD_OK;
}

const struct cmd cmd_verify = {
    .name = "verify",
    .help = "Check receipts and ranges of the log of answers, offline",
    .args = "FILE...",
    .about = "FILE is a receipt as GET /v1/receipts/ID gives it, JSON or COSE, a head (GET "
             "/v1/receipts),\n"
             "or a range as 'gaufre receipts export' writes it. All are checked by themselves and\n"
             "against each other: that each receipt is in the log, that the log of a later file "
             "goes on\n"
             "from that of an earlier one, and that nothing was dropped, doubled, changed or put\n"
             "elsewhere. Then what was used is summed up, to be compared with a bill. The exit "
             "code is 1\n"
             "where something is wrong.\n"
             "\n"
             "With --statement a contract's statement is made again from the range that\n"
             "'gaufre receipts export --statement' wrote, and every number is compared.\n"
             "\n"
             "With --replay a server of your own computes the answer of one receipt again: the\n"
             "request goes there, and the tokens of prompt and answer must be those of the entry.\n"
             "\n"
             "  gaufre verify --replay request.json -s http://127.0.0.1:8080 receipt.json\n"
             "\n"
             "docs/receipts.md says what that proves, and what it does not.",
    .opts = opts,
    .opts_size = sizeof(struct verify_opts),
    .n_args_min = 1,
    .n_args_max = -1,
    .complete = CMD_COMPLETE_FILE,
    .run = run,
};
