/* Reading what log_export.c writes. */
#include <sodium.h>
#include <string.h>

#include "base/put.h"
#include "books/log_export.h"

static int read_text(const json_t *j, char *to, size_t cap)
{
    const char *s = json_string_value(j);

    if (!s || json_string_length(j) >= cap)
        return -1;
    put_text(to, cap, s);
    return 0;
}

/* The tree before the range, and where it is a head's, that head's. */
static int read_nodes(const json_t *line, struct log_import *x, struct err *e)
{
    const json_t *nodes = json_object_get(line, "nodes");
    int64_t from = json_integer_value(json_object_get(line, "from"));
    unsigned char root[TREE_HASH];
    size_t i = 0;

    if (!json_is_integer(json_object_get(line, "from")) || from < 0 || from > TREE_SIZE_MAX)
        return err_set(e, ERR_FORMAT, "it does not say where it begins");
    x->from = from;
    x->tree = (struct tree){.size = from};
    for (int level = 0; level < TREE_LEVELS; level++) {
        if (from >> level & 1 &&
            proof_read_hex(json_array_get(nodes, i++), x->tree.node[level], TREE_HASH))
            return err_set(e, ERR_FORMAT, "the nodes at its beginning are not those of a tree");
    }
    if (json_array_size(nodes) != i)
        return err_set(e, ERR_FORMAT, "it has more nodes at its beginning than a tree has");
    tree_root(&x->tree, root);
    if (x->first.size && (x->first.size != from || memcmp(root, x->first.root, TREE_HASH) != 0))
        return err_set(e, ERR_FORMAT, "what comes before it is not what its first head says");
    return 0;
}

static int read_begin(struct log_import *x, const json_t *line, struct err *e)
{
    const json_t *tenant = json_object_get(line, "tenant"), *first = json_object_get(line, "first"),
                 *contract = json_object_get(line, "contract"),
                 *base = json_object_get(line, "base");
    const char *object = json_string_value(json_object_get(line, "object"));
    int r;

    if (!object || (strcmp(object, "receipts") != 0 && strcmp(object, "power") != 0))
        return err_set(e, ERR_FORMAT, "it is no range of a log of answers or of power");
    x->log = !strcmp(object, "power") ? TREE_POWER : TREE_ANSWERS;
    if ((x->log == TREE_ANSWERS && !json_is_null(tenant) &&
         read_text(tenant, x->tenant, sizeof x->tenant)) ||
        (contract && read_text(contract, x->contract, sizeof x->contract)))
        return err_set(e, ERR_FORMAT, "it does not say whose entries it shows");
    x->base = base ? json_integer_value(base) : -1;
    if (base && (!json_is_integer(base) || x->base < 0 || x->base > TREE_SIZE_MAX))
        return err_set(e, ERR_FORMAT, "it does not say which rows of the ledger its entries are");
    if (x->log == TREE_POWER && x->base < 0)
        return err_set(e, ERR_FORMAT, "it does not say which rows of the ledger its entries are");
    r = json_is_null(first) ? 0 : proof_read_head(first, x->log, &x->first, e);
    if (!r)
        r = proof_read_head(json_object_get(line, "head"), x->log, &x->head, e);
    if (!r)
        r = read_nodes(line, x, e);
    if (!r && x->head.size < x->tree.size)
        r = err_set(e, ERR_FORMAT, "its head is of before it begins");
    x->has_begun = !r;
    return r;
}

static int is_of(const struct leaf_value *v, const char *name)
{
    return *name && v->n == strlen(name) && !memcmp(v->at, name, v->n);
}

static int read_entry(const struct log_import *x, const json_t *line, struct log_entry *ret,
                      struct err *e)
{
    const json_t *entry = json_object_get(line, "entry");
    int is_told = !*x->contract || json_object_get(line, "tenant");
    unsigned char whose[TREE_HASH];
    struct leaf_value v[LEAF_N];
    int r;

    ret->n_entry = json_string_length(entry) / 2;
    if (ret->n_entry > sizeof ret->entry || proof_read_hex(entry, ret->entry, ret->n_entry))
        return err_set(e, ERR_FORMAT, "entry %lld: a part of it is missing or of another form",
                       (long long)ret->i);
    if (!is_told) {
        tree_hash_leaf(ret->entry, ret->n_entry, ret->leaf);
        r = leaf_read(ret->entry, ret->n_entry, v, e);
        if (!r && !is_of(&v[LEAF_contract], x->contract))
            r = err_set(e, ERR_FORMAT, "it is not of the contract");
        return r ? err_prefix(e, "entry %lld", (long long)ret->i) : 0;
    }
    if (read_text(json_object_get(line, "tenant"), ret->tenant, sizeof ret->tenant) ||
        (json_string_length(json_object_get(line, "salt")) && /* an older row may have none */
         proof_read_hex(json_object_get(line, "salt"), ret->salt, sizeof ret->salt)))
        return err_set(e, ERR_FORMAT, "entry %lld: a part of it is missing or of another form",
                       (long long)ret->i);
    r = leaf_read(ret->entry, ret->n_entry, v, e);
    if (r)
        return err_prefix(e, "entry %lld", (long long)ret->i);
    leaf_tenant(ret->salt, ret->tenant, whose);
    if (memcmp(whose, v[LEAF_tenant].at, sizeof whose) != 0)
        return err_set(e, ERR_FORMAT, "entry %lld is not of the tenant '%s' with that salt",
                       (long long)ret->i, ret->tenant);
    tree_hash_leaf(ret->entry, ret->n_entry, ret->leaf);
    return 0;
}

/* A row of power, or the hashes of one. */
static int read_power(const struct log_import *x, const json_t *line, struct log_entry *ret,
                      struct err *e)
{
    const json_t *row = json_object_get(line, "row");
    unsigned char hash[TREE_HASH];
    int r;

    if (!row) {
        if (proof_read_hex(json_object_get(line, "place"), ret->place, TREE_HASH) ||
            proof_read_hex(json_object_get(line, "rest"), hash, TREE_HASH))
            return err_set(e, ERR_FORMAT, "row %lld of power: it is neither told nor hashed",
                           (long long)ret->i);
        power_leaf_of(ret->place, hash, ret->leaf);
        return 0;
    }
    ret->n_entry = json_string_length(row) / 2;
    if (ret->n_entry > POWER_DETAILS_MAX || proof_read_hex(row, ret->entry, ret->n_entry))
        return err_set(e, ERR_FORMAT, "row %lld of power: it is not one", (long long)ret->i);
    r = power_leaf_read(ret->entry, ret->n_entry, &ret->row, e);
    if (r)
        return err_prefix(e, "row %lld of power", (long long)ret->i);
    ret->row.seq = x->base + 1 + ret->i;
    power_leaf_place(ret->row.place, ret->place);
    tree_sha256(ret->entry, ret->n_entry, hash);
    power_leaf_of(ret->place, hash, ret->leaf);
    return 0;
}

int log_import_begins(const char *text, size_t n)
{
    static const char *const begin[] = {"{\"object\":\"receipts\"", "{\"object\":\"power\""};

    for (int i = 0; i < 2; i++) {
        size_t length = strlen(begin[i]);
        if (n >= length && !memcmp(text, begin[i], length))
            return i + 1;
    }
    return 0;
}

int log_import(struct log_import *x, const json_t *line, struct log_entry *ret, struct err *e)
{
    const json_t *leaf = json_object_get(line, "leaf");
    int r = 0;

    *ret = (struct log_entry){.i = -1};
    if (!x->has_begun)
        return read_begin(x, line, e);
    ret->i = json_integer_value(json_object_get(line, "i"));
    if (ret->i != x->tree.size || ret->i >= x->head.size)
        return err_set(e, ERR_FORMAT, "entry %lld stands where %lld of %lld should be",
                       (long long)ret->i, (long long)x->tree.size, (long long)x->head.size);
    if (x->log == TREE_POWER)
        r = read_power(x, line, ret, e);
    else if (!leaf)
        r = read_entry(x, line, ret, e);
    else if (proof_read_hex(leaf, ret->leaf, TREE_HASH))
        r = err_set(e, ERR_FORMAT, "entry %lld: its leaf is no hash", (long long)ret->i);
    if (!r)
        tree_append(&x->tree, ret->leaf, NULL, NULL);
    return r;
}

int log_import_end(const struct log_import *x, struct err *e)
{
    unsigned char root[TREE_HASH];

    if (!x->has_begun)
        return err_set(e, ERR_FORMAT, "it is empty");
    if (x->tree.size != x->head.size)
        return err_set(e, ERR_FORMAT, "it ends behind %lld of %lld entries",
                       (long long)x->tree.size, (long long)x->head.size);
    tree_root(&x->tree, root);
    return memcmp(root, x->head.root, TREE_HASH) != 0
               ? err_set(e, ERR_FORMAT,
                         "its entries are not those that its head was signed for: one was dropped, "
                         "doubled, changed or put elsewhere")
               : 0;
}
