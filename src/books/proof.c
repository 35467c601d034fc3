#include "books/proof.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/put.h"

/* Numbers of RFC 9052 and 9942. */
enum { COSE_SIGN1 = 18, VDP = 396, INCLUSION = -1 };
#define COSE_MAX 8192

/* ---- checking -------------------------------------------------------------------------------- */

int proof_check(const struct proof *p, struct err *e)
{
    unsigned char leaf[TREE_HASH], whose[TREE_HASH];
    struct leaf_value v[LEAF_N];
    int r = leaf_read(p->entry, p->n_entry, v, e);

    if (r)
        return r;
    leaf_tenant(p->salt, p->tenant, whose);
    if (memcmp(whose, v[LEAF_tenant].at, sizeof whose) != 0)
        return err_set(e, ERR_FORMAT, "the entry is not of the tenant '%s' with that salt",
                       p->tenant);
    tree_hash_leaf(p->entry, p->n_entry, leaf);
    if (!tree_check_inclusion(leaf, p->index, p->head.size, &p->path, p->head.root))
        return err_set(e, ERR_FORMAT, "the path does not lead from the entry to the head's root");
    if (!tree_head_is_signed(&p->head))
        return err_set(e, ERR_FORMAT, "the head is not signed by its key");
    return 0;
}

/* ---- JSON ------------------------------------------------------------------------------------ */

json_t *proof_hex(const void *p, size_t n)
{
    char *text = malloc(2 * n + 1);
    json_t *j = text ? json_string(sodium_bin2hex(text, 2 * n + 1, p, n)) : NULL;

    free(text);
    return j;
}

static json_t *value_json(enum leaf_kind kind, const struct leaf_value *v)
{
    if (v->is_null)
        return json_null();
    if (kind == LEAF_TEXT)
        return json_stringn(v->at, v->n);
    return kind == LEAF_HASH ? proof_hex(v->at, v->n) : json_integer(v->number);
}

int proof_entry_json(const void *entry, size_t n, json_t **ret, struct err *e)
{
    struct leaf_value v[LEAF_N];
    int r = leaf_read(entry, n, v, e);
    json_t *j;

    if (r)
        return r;
    j = json_object();
    for (int i = 0; j && i < LEAF_N; i++) {
        if (json_object_set_new(j, leaf_columns[i].name, value_json(leaf_columns[i].kind, &v[i]))) {
            json_decref(j);
            j = NULL;
        }
    }
    *ret = j;
    return j ? 0 : err_set(e, ERR_NOMEM, "out of memory");
}

json_t *proof_head_json(const struct tree_head *h)
{
    json_t *j = json_pack("{s:I, s:I, s:o, s:o, s:o}", "size", (json_int_t)h->size, "at",
                          (json_int_t)h->at_s, "root", proof_hex(h->root, TREE_HASH), "key",
                          proof_hex(h->key, TREE_KEY), "signature",
                          proof_hex(h->signature, TREE_SIGNATURE));

    if (h->log != TREE_ANSWERS)
        json_object_set_new(j, "log", json_string(tree_log_name(h->log)));
    return j;
}

static json_t *path_json(const struct tree_path *p)
{
    json_t *j = json_array();

    for (int i = 0; i < p->n; i++) {
        if (json_array_append_new(j, proof_hex(p->hash[i], TREE_HASH)))
            break;
    }
    return j;
}

json_t *proof_json(const struct proof *p)
{
    unsigned char leaf[TREE_HASH];
    json_t *record = NULL;
    struct err e;

    if (proof_entry_json(p->entry, p->n_entry, &record, &e))
        return NULL;
    tree_hash_leaf(p->entry, p->n_entry, leaf);
    return json_pack("{s:s, s:s, s:I, s:o, s:o, s:o, s:o, s:o, s:o}", "object", "receipt", "tenant",
                     p->tenant, "index", (json_int_t)p->index, "leaf", proof_hex(leaf, sizeof leaf),
                     "salt", proof_hex(p->salt, sizeof p->salt), "record", record, "entry",
                     proof_hex(p->entry, p->n_entry), "path", path_json(&p->path), "head",
                     proof_head_json(&p->head));
}

int proof_read_hex(const json_t *j, unsigned char *ret, size_t n)
{
    size_t got = 0;

    return !json_is_string(j) || json_string_length(j) != 2 * n ||
                   sodium_hex2bin(ret, n, json_string_value(j), 2 * n, NULL, &got, NULL) || got != n
               ? -1
               : 0;
}

int proof_read_head(const json_t *j, enum tree_log log, struct tree_head *ret, struct err *e)
{
    struct tree_head h = {.log = log,
                          .size = json_integer_value(json_object_get(j, "size")),
                          .at_s = json_integer_value(json_object_get(j, "at"))};
    json_t *again;
    int same;

    if (proof_read_hex(json_object_get(j, "root"), h.root, TREE_HASH) ||
        proof_read_hex(json_object_get(j, "key"), h.key, TREE_KEY) ||
        proof_read_hex(json_object_get(j, "signature"), h.signature, TREE_SIGNATURE) ||
        h.size < 0 || h.size > TREE_SIZE_MAX || h.at_s < 0)
        return err_set(e, ERR_FORMAT, "the head is not one");
    again = proof_head_json(&h);
    same = json_equal(again, j);
    json_decref(again);
    if (!same)
        return err_set(e, ERR_FORMAT, "the head is not written as one");
    *ret = h;
    return tree_head_is_signed(&h) ? 0
                                   : err_set(e, ERR_FORMAT, "the head is not signed by its key");
}

static int read_path(const json_t *j, struct tree_path *ret)
{
    ret->n = (int)json_array_size(j);
    if (!json_is_array(j) || json_array_size(j) > TREE_PATH_MAX)
        return -1;
    for (int i = 0; i < ret->n; i++) {
        if (proof_read_hex(json_array_get(j, (size_t)i), ret->hash[i], TREE_HASH))
            return -1;
    }
    return 0;
}

int proof_read_json(const json_t *j, struct proof *ret, struct err *e)
{
    const json_t *entry = json_object_get(j, "entry");
    const char *tenant = json_string_value(json_object_get(j, "tenant"));
    json_t *again;
    int r, same;

    *ret = (struct proof){.index = json_integer_value(json_object_get(j, "index")),
                          .n_entry = json_string_length(entry) / 2};
    if (!tenant || strlen(tenant) >= sizeof ret->tenant || ret->n_entry > sizeof ret->entry ||
        proof_read_hex(entry, ret->entry, ret->n_entry) ||
        proof_read_hex(json_object_get(j, "salt"), ret->salt, sizeof ret->salt) ||
        read_path(json_object_get(j, "path"), &ret->path))
        return err_set(e, ERR_FORMAT,
                       "it is no receipt: a part of it is missing or of another form");
    put_text(ret->tenant, sizeof ret->tenant, tenant);
    r = proof_read_head(json_object_get(j, "head"), TREE_ANSWERS, &ret->head, e);
    if (!r)
        r = proof_check(ret, e);
    if (r)
        return r;
    /* All that is said beside it, as the record, is what it comes to. */
    again = proof_json(ret);
    same = again && json_equal(again, j);
    json_decref(again);
    return same ? 0
                : err_set(e, ERR_FORMAT,
                          "what the receipt says beside its entry is not what the entry says");
}

json_t *proof_growth_json(const struct tree_growth *g)
{
    return json_pack("{s:s, s:o, s:I, s:o}", "object", "receipts.head", "head",
                     proof_head_json(&g->head), "since", (json_int_t)g->since, "path",
                     path_json(&g->path));
}

int proof_read_growth(const json_t *j, struct tree_growth *ret, struct err *e)
{
    json_t *again;
    int r, same;

    *ret = (struct tree_growth){.since = json_integer_value(json_object_get(j, "since"))};
    if (ret->since < 0 || read_path(json_object_get(j, "path"), &ret->path))
        return err_set(e, ERR_FORMAT, "it is no head of a log: a part of it is missing");
    r = proof_read_head(json_object_get(j, "head"), TREE_ANSWERS, &ret->head, e);
    if (r)
        return r;
    again = proof_growth_json(ret);
    same = again && json_equal(again, j);
    json_decref(again);
    return same ? 0 : err_set(e, ERR_FORMAT, "it is not written as a head of a log");
}

/* ---- COSE ------------------------------------------------------------------------------------ */

static void put_name(struct cbor *c, const char *s)
{
    cbor_put_text(c, s, strlen(s));
}

/* The inclusion proof: a byte string that is CBOR itself. */
static size_t put_path(const struct proof *p, unsigned char *to, size_t cap)
{
    struct cbor c = {to, to + cap, 0};

    cbor_put_array(&c, 3);
    cbor_put_int(&c, p->head.size);
    cbor_put_int(&c, p->index);
    cbor_put_array(&c, (size_t)p->path.n);
    for (int i = 0; i < p->path.n; i++)
        cbor_put_bytes(&c, p->path.hash[i], TREE_HASH);
    CHECK(!c.failed);
    return (size_t)(c.at - to);
}

int proof_put_cose(struct buf *out, const struct proof *p)
{
    unsigned char bytes[COSE_MAX], part[COSE_MAX / 2];
    struct cbor c = {bytes, bytes + sizeof bytes, 0};

    cbor_put_tag(&c, COSE_SIGN1);
    cbor_put_array(&c, 4);
    cbor_put_bytes(&c, part, tree_head_protected(&p->head, part));
    cbor_put_map(&c, 5);
    cbor_put_int(&c, VDP);
    cbor_put_map(&c, 1);
    cbor_put_int(&c, INCLUSION);
    cbor_put_array(&c, 1);
    cbor_put_bytes(&c, part, put_path(p, part, sizeof part));
    put_name(&c, "key");
    cbor_put_bytes(&c, p->head.key, TREE_KEY);
    put_name(&c, "salt");
    cbor_put_bytes(&c, p->salt, sizeof p->salt);
    put_name(&c, "entry");
    cbor_put_bytes(&c, p->entry, p->n_entry);
    put_name(&c, "tenant");
    put_name(&c, p->tenant);
    cbor_put_null(&c); /* the payload is the root, which whoever checks it computes */
    cbor_put_bytes(&c, p->head.signature, TREE_SIGNATURE);
    CHECK(!c.failed);
    return buf_add(out, bytes, (size_t)(c.at - bytes));
}

static int expect_name(struct cbor_in *in, const char *name)
{
    const char *s;
    size_t n;

    return cbor_get_text(in, &s, &n) || n != strlen(name) || memcmp(s, name, n) ? -1 : 0;
}

static int expect_number(struct cbor_in *in, int64_t number)
{
    int64_t v;

    return cbor_get_int(in, &v) || v != number ? -1 : 0;
}

static int get_fixed(struct cbor_in *in, unsigned char *to, size_t n)
{
    const unsigned char *p;
    size_t got;

    if (cbor_get_bytes(in, &p, &got) || got != n)
        return -1;
    memcpy(to, p, n);
    return 0;
}

static int get_path(struct cbor_in *in, struct proof *ret)
{
    const unsigned char *p;
    struct cbor_in part;
    size_t n;

    if (cbor_get_array(in, &n) || n != 1 || cbor_get_bytes(in, &p, &n))
        return -1;
    part = (struct cbor_in){p, p + n};
    if (cbor_get_array(&part, &n) || n != 3 || cbor_get_int(&part, &ret->head.size) ||
        cbor_get_int(&part, &ret->index) || cbor_get_array(&part, &n) || n > TREE_PATH_MAX ||
        ret->head.size < 0 || ret->head.size > TREE_SIZE_MAX)
        return -1;
    ret->path.n = (int)n;
    for (size_t i = 0; i < n; i++) {
        if (get_fixed(&part, ret->path.hash[i], TREE_HASH))
            return -1;
    }
    return part.at == part.end ? 0 : -1;
}

/* The time stands in the protected header, the only number of it that nothing else says. */
static int get_time(const unsigned char *p, size_t n, struct tree_head *h)
{
    struct cbor_in in = {p, p + n};
    const unsigned char *bytes;
    const char *s;
    size_t k;

    return cbor_get_map(&in, &k) || expect_number(&in, 1) || expect_number(&in, -8) ||
                   expect_number(&in, 4) || cbor_get_bytes(&in, &bytes, &k) ||
                   expect_number(&in, 15) || cbor_get_map(&in, &k) || expect_number(&in, 1) ||
                   cbor_get_text(&in, &s, &k) || expect_number(&in, 2) ||
                   cbor_get_text(&in, &s, &k) || expect_number(&in, 6) ||
                   cbor_get_int(&in, &h->at_s) || h->at_s < 0
               ? -1
               : 0;
}

static int get_rest(struct cbor_in *in, struct proof *ret)
{
    const unsigned char *entry;
    const char *tenant;
    size_t n;

    if (expect_name(in, "key") || get_fixed(in, ret->head.key, TREE_KEY) ||
        expect_name(in, "salt") || get_fixed(in, ret->salt, sizeof ret->salt) ||
        expect_name(in, "entry") || cbor_get_bytes(in, &entry, &ret->n_entry) ||
        ret->n_entry > sizeof ret->entry || expect_name(in, "tenant") ||
        cbor_get_text(in, &tenant, &n) || n >= sizeof ret->tenant || memchr(tenant, 0, n))
        return -1;
    memcpy(ret->entry, entry, ret->n_entry);
    memcpy(ret->tenant, tenant, n);
    return 0;
}

int proof_read_cose(const void *bytes, size_t n, struct proof *ret, struct err *e)
{
    struct cbor_in in = {bytes, (const unsigned char *)bytes + n};
    unsigned char protected[TREE_PROTECTED_MAX], leaf[TREE_HASH];
    const unsigned char *head;
    size_t k, n_head;
    uint64_t tag;

    *ret = (struct proof){0};
    if (cbor_get_tag(&in, &tag) || tag != COSE_SIGN1 || cbor_get_array(&in, &k) || k != 4 ||
        cbor_get_bytes(&in, &head, &n_head) || cbor_get_map(&in, &k) || k != 5 ||
        expect_number(&in, VDP) || cbor_get_map(&in, &k) || k != 1 ||
        expect_number(&in, INCLUSION) || get_path(&in, ret) || get_rest(&in, ret) ||
        cbor_get_null(&in) || get_fixed(&in, ret->head.signature, TREE_SIGNATURE) ||
        in.at != in.end || get_time(head, n_head, &ret->head))
        return err_set(e, ERR_FORMAT, "it is no COSE receipt of an answer");
    k = tree_head_protected(&ret->head, protected);
    if (k != n_head || memcmp(protected, head, k) != 0)
        return err_set(e, ERR_FORMAT,
                       "the receipt's protected header is not that of a head of this log");
    /* The root is not told: it is what the entry and the path come to. */
    tree_hash_leaf(ret->entry, ret->n_entry, leaf);
    if (!tree_root_by(leaf, ret->index, ret->head.size, &ret->path, ret->head.root))
        return err_set(e, ERR_FORMAT, "the path is not one of that place in a tree of that size");
    return proof_check(ret, e);
}
