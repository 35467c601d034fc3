#include "books/log_export.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/put.h"
#include "books/ledger_file.h"
#include "books/ledger_tree.h"

/* ---- writing --------------------------------------------------------------------------------- */

struct writing {
    const struct log_range *range;
    int (*line)(void *arg, const json_t *j);
    void *arg;
    int64_t base, from, until; /* entries */
    struct tree_head first, head;
    struct err *e;
};

static int tell(struct writing *w, json_t *j)
{
    int r = j ? w->line(w->arg, j) : err_set(w->e, ERR_NOMEM, "out of memory");

    json_decref(j);
    return r;
}

struct span {
    int64_t first, last; /* numbers of rows; first 0: there is none */
};

static int take_span(void *arg, const struct sql_row *s)
{
    *(struct span *)arg = (struct span){sql_number(s, 0), sql_number(s, 1)};
    return 0;
}

/* The entries of that time, up to a head, and from a head on where there is one. */
static int find_range(struct sql *db, struct writing *w)
{
    const struct log_range *x = w->range;
    const struct sql_value v[] = {SQL_NUMBER(w->base), SQL_NUMBER(x->from_s * 1000000),
                                  SQL_NUMBER(x->until_s ? x->until_s * 1000000 : INT64_MAX)};
    struct span has = {0, 0}, oldest = {0, 0};
    int r = sql_each(db,
                     "SELECT coalesce(min(seq), 0), coalesce(max(seq), 0) FROM usage"
                     " WHERE seq > $1 AND at_us >= $2 AND at_us < $3",
                     v, 3, take_span, &has, w->e);

    if (!r)
        r = sql_each(db, "SELECT coalesce(min(seq), 0), 0 FROM usage WHERE seq > $1", v, 1,
                     take_span, &oldest, w->e);
    if (!r && !has.first)
        r = err_set(w->e, ERR_NOTFOUND, "the log has no answers of that time");
    if (!r)
        r = ledger_tree_head_upto(db, has.first - w->base - 1, &w->first, w->e);
    if (!r)
        r = ledger_tree_head_from(db, has.last - w->base, &w->head, w->e);
    if (!r && !w->head.size)
        r = err_set(w->e, ERR_AGAIN, "not all answers of that time are under a signed head yet");
    if (r)
        return r;
    w->from = w->first.size;
    if (w->from < oldest.first - w->base - 1) { /* what comes before was pruned */
        w->from = oldest.first - w->base - 1;
        w->first.size = 0;
    }
    w->until = w->head.size;
    return 0;
}

static json_t *nodes_json(const struct tree *t)
{
    json_t *j = json_array();

    for (int level = 0; level < TREE_LEVELS; level++) {
        if (t->size >> level & 1)
            json_array_append_new(j, proof_hex(t->node[level], TREE_HASH));
    }
    return j;
}

static int tell_begin(struct sql *db, struct writing *w)
{
    const char *tenant = w->range->tenant;
    struct ledger_nodes *n = NULL;
    struct tree before;
    int r = ledger_nodes_open(&n, db, w->base, w->e);

    if (!r)
        r = ledger_nodes_tree(n, w->from, &before);
    ledger_nodes_close(n);
    if (r)
        return r;
    return tell(w, json_pack("{s:s, s:o, s:I, s:o, s:o, s:o}", "object", "receipts", "tenant",
                             tenant ? json_string(tenant) : json_null(), "from",
                             (json_int_t)w->from, "nodes", nodes_json(&before), "first",
                             w->first.size ? proof_head_json(&w->first) : json_null(), "head",
                             proof_head_json(&w->head)));
}

static int take_row(void *arg, const struct sql_row *s)
{
    unsigned char entry[LEAF_ENTRY_MAX], leaf[TREE_HASH];
    struct writing *w = arg;
    struct books_row row;
    json_int_t i = (json_int_t)(sql_number(s, LEDGER_SEQ) - w->base - 1);
    size_t n;

    ledger_sql_read(s, &row);
    n = leaf_entry(&row, entry);
    if (!w->range->tenant || !strcmp(w->range->tenant, row.tenant))
        return tell(w, json_pack("{s:I, s:s, s:s, s:o}", "i", i, "tenant", row.tenant, "salt",
                                 row.salt, "entry", proof_hex(entry, n)));
    tree_hash_leaf(entry, n, leaf);
    return tell(w, json_pack("{s:I, s:o}", "i", i, "leaf", proof_hex(leaf, sizeof leaf)));
}

static int export_all(struct sql *db, struct writing *w)
{
    struct ledger_tree t = {0};
    struct sql_value v[2];
    int r = ledger_tree_open(db, &t, w->e);

    w->base = t.base;
    if (!r)
        r = find_range(db, w);
    if (!r)
        r = tell_begin(db, w);
    v[0] = SQL_NUMBER(w->base + w->from);
    v[1] = SQL_NUMBER(w->base + w->until);
    if (!r)
        r = sql_each(db,
                     "SELECT " LEDGER_COLUMNS " FROM usage WHERE seq > $1 AND seq <= $2"
                     " ORDER BY seq",
                     v, 2, take_row, w, w->e);
    return r;
}

int log_export(const char *where, const struct log_range *range,
               int (*line)(void *arg, const json_t *j), void *arg, struct err *e)
{
    struct writing w = {.range = range, .line = line, .arg = arg, .e = e};
    struct sql *db = NULL;
    int r = ledger_file_open(&db, where, 1, e);

    if (!r)
        r = sql_begin_read(db, e);
    if (!r)
        r = export_all(db, &w);
    sql_close(db);
    return r;
}

/* ---- reading --------------------------------------------------------------------------------- */

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
    const json_t *tenant = json_object_get(line, "tenant"), *first = json_object_get(line, "first");
    const char *object = json_string_value(json_object_get(line, "object"));
    int r;

    if (!object || strcmp(object, "receipts") != 0)
        return err_set(e, ERR_FORMAT, "it is no range of a log of answers");
    if (!json_is_null(tenant) && read_text(tenant, x->tenant, sizeof x->tenant))
        return err_set(e, ERR_FORMAT, "it does not say whose entries it shows");
    r = json_is_null(first) ? 0 : proof_read_head(first, &x->first, e);
    if (!r)
        r = proof_read_head(json_object_get(line, "head"), &x->head, e);
    if (!r)
        r = read_nodes(line, x, e);
    if (!r && x->head.size < x->tree.size)
        r = err_set(e, ERR_FORMAT, "its head is of before it begins");
    x->has_begun = !r;
    return r;
}

static int read_entry(const json_t *line, struct log_entry *ret, struct err *e)
{
    const json_t *entry = json_object_get(line, "entry");
    unsigned char whose[TREE_HASH];
    struct leaf_value v[LEAF_N];
    int r;

    ret->n_entry = json_string_length(entry) / 2;
    if (ret->n_entry > sizeof ret->entry || proof_read_hex(entry, ret->entry, ret->n_entry) ||
        read_text(json_object_get(line, "tenant"), ret->tenant, sizeof ret->tenant) ||
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
    if (!leaf)
        r = read_entry(line, ret, e);
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
