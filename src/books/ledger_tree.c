#include "books/ledger_tree.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

#define NODES_TEXT (TREE_LEVELS * 2 * TREE_HASH + 1)
#define TILES      16 /* that one proof has at hand */
#define SQL_CAP    200
#define NO_ROWS    1 /* a node cannot be computed here: its rows are gone */

/* ---- the log of answers -----------------------------------------------------------------------
 */

struct leaves {
    int (*take)(void *arg, int64_t seq, const unsigned char *leaf);
    void *arg;
};

static int take_answer(void *arg, const struct sql_row *s)
{
    const struct leaves *x = arg;
    unsigned char leaf[TREE_HASH];
    struct books_row row;

    ledger_sql_read(s, &row);
    leaf_of_row(&row, leaf);
    return x->take(x->arg, sql_number(s, LEDGER_SEQ), leaf);
}

static int answers(struct sql *db, int64_t after, int64_t upto,
                   int (*take)(void *arg, int64_t seq, const unsigned char *leaf), void *arg,
                   struct err *e)
{
    const struct sql_value v[] = {SQL_NUMBER(after), SQL_NUMBER(upto)};
    struct leaves x = {take, arg};

    return sql_each(
        db, "SELECT " LEDGER_COLUMNS " FROM usage WHERE seq > $1 AND seq <= $2 ORDER BY seq", v, 2,
        take_answer, &x, e);
}

const struct ledger_log ledger_answers = {TREE_ANSWERS, "tree", "tree_node", "tree_head", answers};

/* ---- the tree as it is ------------------------------------------------------------------------
 */

struct opening {
    struct ledger_tree *t;
    int n_rows, is_wrong;
};

static int take_tree(void *arg, const struct sql_row *s)
{
    const char *hex = sql_text(s, 3);
    struct opening *o = arg;
    struct ledger_tree *t = o->t;
    size_t n = 0;

    o->n_rows++;
    t->base = sql_number(s, 0);
    t->tree.size = sql_number(s, 1);
    t->at_us = sql_number(s, 2);
    o->is_wrong = t->tree.size < 0 || t->tree.size > TREE_SIZE_MAX ||
                  strlen(hex) != 2 * TREE_HASH *
                                     (size_t)__builtin_popcountll((unsigned long long)t->tree.size);
    for (int level = 0; !o->is_wrong && level < TREE_LEVELS; level++) {
        if (!(t->tree.size >> level & 1))
            continue;
        o->is_wrong =
            sodium_hex2bin(t->tree.node[level], TREE_HASH, hex, 2 * TREE_HASH, NULL, &n, NULL) != 0;
        hex += 2 * TREE_HASH;
    }
    return 0;
}

int ledger_tree_open(struct sql *db, const struct ledger_log *log, struct ledger_tree *ret,
                     struct err *e)
{
    struct opening o = {.t = ret};
    char sql[SQL_CAP];
    int r;

    ret->log = log;
    ret->n_made = 0;
    snprintf(sql, sizeof sql, "SELECT base, size, at_us, nodes FROM %s", log->tree);
    r = sql_each(db, sql, NULL, 0, take_tree, &o, e);
    if (!r && (o.n_rows != 1 || o.is_wrong))
        r = err_set(e, ERR_FORMAT, "ledger: the tree over its rows is not as it was written");
    return r;
}

/* Of the levels that are kept, which the steps between them are computed from. */
static void take_made(void *arg, int level, int64_t i, const unsigned char *hash)
{
    struct ledger_tree *t = arg;

    if (level % LEDGER_TREE_STEP)
        return;
    CHECK(t->n_made < LEDGER_TREE_MADE);
    t->made[t->n_made].level = level;
    t->made[t->n_made].i = i;
    sodium_bin2hex(t->made[t->n_made].hash, sizeof t->made->hash, hash, TREE_HASH);
    t->n_made++;
}

static int write_made(struct sql *db, struct ledger_tree *t, struct err *e)
{
    char sql[SQL_CAP];
    int r = 0;

    snprintf(sql, sizeof sql, "INSERT INTO %s (level, i, hash)", t->log->node);
    for (int i = 0; !r && i < t->n_made; i++) {
        const struct sql_value v[] = {SQL_NUMBER(t->made[i].level), SQL_NUMBER(t->made[i].i),
                                      SQL_TEXT(t->made[i].hash)};
        r = ledger_sql_put(db, sql, "", v, 3, 1, e);
    }
    t->n_made = 0;
    return r;
}

int ledger_tree_add(struct sql *db, struct ledger_tree *t, const unsigned char leaf[TREE_HASH],
                    int64_t at_us, struct err *e)
{
    tree_append(&t->tree, leaf, take_made, t);
    if (at_us > t->at_us)
        t->at_us = at_us;
    return t->n_made > LEDGER_TREE_MADE - TREE_LEVELS / LEDGER_TREE_STEP ? write_made(db, t, e) : 0;
}

/* ---- heads ----------------------------------------------------------------------------------- */

static int write_head(struct sql *db, const struct ledger_tree *t, const struct tree_key *key,
                      struct err *e)
{
    char root[BOOKS_HEX(TREE_HASH)], public[BOOKS_HEX(TREE_KEY)],
        signature[BOOKS_HEX(TREE_SIGNATURE)];
    struct tree_head h = {
        .log = t->log->log, .size = t->tree.size, .at_s = t->at_us > 0 ? t->at_us / 1000000 : 0};
    struct sql_value v[5];
    char sql[SQL_CAP];

    tree_root(&t->tree, h.root);
    tree_head_sign(&h, key);
    v[0] = SQL_NUMBER(h.size);
    v[1] = SQL_NUMBER(h.at_s);
    v[2] = SQL_TEXT(sodium_bin2hex(root, sizeof root, h.root, TREE_HASH));
    v[3] = SQL_TEXT(sodium_bin2hex(public, sizeof public, h.key, TREE_KEY));
    v[4] = SQL_TEXT(sodium_bin2hex(signature, sizeof signature, h.signature, TREE_SIGNATURE));
    snprintf(sql, sizeof sql, "INSERT INTO %s (size, at_s, root, public_key, signature)",
             t->log->head);
    return ledger_sql_put(db, sql, " ON CONFLICT (size) DO NOTHING", v, 5, 1, e);
}

int ledger_tree_save(struct sql *db, struct ledger_tree *t, const struct tree_key *key,
                     struct err *e)
{
    char nodes[NODES_TEXT], sql[SQL_CAP], *at = nodes;
    struct sql_value v[3];
    int r = write_made(db, t, e);

    *at = 0;
    for (int level = 0; level < TREE_LEVELS; level++) {
        if (t->tree.size >> level & 1) {
            sodium_bin2hex(at, 2 * TREE_HASH + 1, t->tree.node[level], TREE_HASH);
            at += 2 * TREE_HASH;
        }
    }
    v[0] = SQL_NUMBER(t->tree.size);
    v[1] = SQL_NUMBER(t->at_us);
    v[2] = SQL_TEXT(nodes);
    snprintf(sql, sizeof sql, "UPDATE %s SET size = $1, at_us = $2, nodes = $3", t->log->tree);
    if (!r)
        r = sql_run(db, sql, v, 3, NULL, e);
    return r || !key || !t->tree.size ? r : write_head(db, t, key, e);
}

static int take_head(void *arg, const struct sql_row *s)
{
    struct tree_head *h = arg,
                     found = {.log = h->log, .size = sql_number(s, 0), .at_s = sql_number(s, 1)};
    const struct {
        unsigned char *to;
        size_t n;
    } part[] = {{found.root, TREE_HASH}, {found.key, TREE_KEY}, {found.signature, TREE_SIGNATURE}};

    for (int i = 0; i < 3; i++) {
        const char *hex = sql_text(s, 2 + i);
        size_t n = 0;
        if (sodium_hex2bin(part[i].to, part[i].n, hex, strlen(hex), NULL, &n, NULL) ||
            n != part[i].n)
            return ERR_FORMAT;
    }
    *h = found;
    return 0;
}

static int find_head(struct sql *db, const struct ledger_log *log, const char *which, int64_t size,
                     struct tree_head *ret, struct err *e)
{
    const struct sql_value v = SQL_NUMBER(size);
    char sql[200];
    int r;

    *ret = (struct tree_head){.log = log->log};
    snprintf(sql, sizeof sql, "SELECT size, at_s, root, public_key, signature FROM %s %s",
             log->head, which);
    r = sql_each(db, sql, &v, 1, take_head, ret, e);
    return r == ERR_FORMAT ? err_set(e, r, "ledger: a head of its log is not as it was written")
                           : r;
}

int ledger_tree_head_from(struct sql *db, const struct ledger_log *log, int64_t size,
                          struct tree_head *ret, struct err *e)
{
    return find_head(db, log, "WHERE size >= $1 ORDER BY size LIMIT 1", size, ret, e);
}

int ledger_tree_head_upto(struct sql *db, const struct ledger_log *log, int64_t size,
                          struct tree_head *ret, struct err *e)
{
    return find_head(db, log, "WHERE size <= $1 ORDER BY size DESC LIMIT 1", size, ret, e);
}

/* ---- nodes ----------------------------------------------------------------------------------- */

/* What lies below one node of a kept level: 256 nodes of the kept level below it, or entries; and
 * of entries that were pruned what was kept in their place. */
struct tile {
    int level;  /* of its nodes: a kept one, or 0 */
    int64_t at; /* its first node */
    char has[LEDGER_TREE_TILE];
    unsigned char node[LEDGER_TREE_TILE][TREE_HASH];
    struct {
        int level;
        int64_t i;
        unsigned char hash[TREE_HASH];
    } kept[LEDGER_TREE_STEP];
    int n_kept;
};

struct ledger_nodes {
    struct sql *db;
    struct err *e;
    const struct ledger_log *log;
    int64_t base;
    struct tile tile[TILES];
    int n_tiles, i_next; /* used in turn */
};

int ledger_nodes_open(struct ledger_nodes **ret, struct sql *db, const struct ledger_tree *t,
                      struct err *e)
{
    struct ledger_nodes *n = malloc(sizeof *n);

    if (!n)
        return err_set(e, ERR_NOMEM, "out of memory");
    n->db = db;
    n->e = e;
    n->log = t->log;
    n->base = t->base;
    n->n_tiles = n->i_next = 0;
    *ret = n;
    return 0;
}

void ledger_nodes_close(struct ledger_nodes *n)
{
    free(n);
}

struct taking {
    struct tile *t;
    int64_t base;
};

static int take_leaf(void *arg, int64_t seq, const unsigned char *leaf)
{
    struct taking *x = arg;
    int64_t i = seq - x->base - 1 - x->t->at;

    if (i < 0 || i >= LEDGER_TREE_TILE)
        return 0;
    memcpy(x->t->node[i], leaf, TREE_HASH);
    x->t->has[i] = 1;
    return 0;
}

static int read_hash(const struct sql_row *s, int i_column, unsigned char to[TREE_HASH])
{
    const char *hex = sql_text(s, i_column);
    size_t n = 0;

    return sodium_hex2bin(to, TREE_HASH, hex, strlen(hex), NULL, &n, NULL) || n != TREE_HASH
               ? ERR_FORMAT
               : 0;
}

static int take_node(void *arg, const struct sql_row *s)
{
    struct taking *x = arg;
    int64_t i = sql_number(s, 1) - x->t->at;

    if (i < 0 || i >= LEDGER_TREE_TILE)
        return 0;
    x->t->has[i] = 1;
    return read_hash(s, 2, x->t->node[i]);
}

static int take_kept(void *arg, const struct sql_row *s)
{
    struct taking *x = arg;
    struct tile *t = x->t;
    int64_t i = sql_number(s, 1);
    int level = (int)sql_number(s, 0);

    if (level < 0 || level >= LEDGER_TREE_STEP || i < 0 || i > TREE_SIZE_MAX >> level ||
        i << level < t->at || i << level >= t->at + LEDGER_TREE_TILE ||
        t->n_kept == LEDGER_TREE_STEP)
        return 0;
    t->kept[t->n_kept].level = level;
    t->kept[t->n_kept].i = i;
    return read_hash(s, 2, t->kept[t->n_kept++].hash);
}

static int load(struct ledger_nodes *n, int level, int64_t at, struct tile *t)
{
    struct taking x = {t, n->base};
    const struct sql_value nodes[] = {SQL_NUMBER(level), SQL_NUMBER(at),
                                      SQL_NUMBER(at + LEDGER_TREE_TILE)};
    char sql[SQL_CAP];
    int r;

    t->level = level;
    t->at = at;
    t->n_kept = 0;
    memset(t->has, 0, sizeof t->has);
    snprintf(sql, sizeof sql, "SELECT level, i, hash FROM %s WHERE level %s", n->log->node,
             level ? "= $1 AND i >= $2 AND i < $3" : "< 8");
    if (level)
        r = sql_each(n->db, sql, nodes, 3, take_node, &x, n->e);
    else
        r = n->log->leaves(n->db, n->base + at, n->base + at + LEDGER_TREE_TILE, take_leaf, &x,
                           n->e);
    if (!r && !level)
        r = sql_each(n->db, sql, NULL, 0, take_kept, &x, n->e);
    return r == ERR_FORMAT ? err_set(n->e, r, "ledger: a node of its tree is not as it was written")
                           : r;
}

static int tile_of(struct ledger_nodes *n, int level, int64_t at, struct tile **ret)
{
    struct tile *t;
    int r;

    for (int i = 0; i < n->n_tiles; i++) {
        if (n->tile[i].level == level && n->tile[i].at == at) {
            *ret = &n->tile[i];
            return 0;
        }
    }
    t = &n->tile[n->i_next];
    r = load(n, level, at, t);
    if (r) {
        t->level = -1;
        return r;
    }
    n->i_next = (n->i_next + 1) % TILES;
    if (n->n_tiles < TILES)
        n->n_tiles++;
    *ret = t;
    return 0;
}

/* A node from what a tile has: `up` levels above it, at i. 0 or NO_ROWS. */
static int compute(const struct tile *t, int up, int64_t i, unsigned char ret[TREE_HASH])
{
    unsigned char right[TREE_HASH];

    for (int k = 0; k < t->n_kept; k++) {
        if (t->kept[k].level == up && t->kept[k].i == i) {
            memcpy(ret, t->kept[k].hash, TREE_HASH);
            return 0;
        }
    }
    if (!up) {
        if (!t->has[i - t->at])
            return NO_ROWS;
        memcpy(ret, t->node[i - t->at], TREE_HASH);
        return 0;
    }
    if (compute(t, up - 1, 2 * i, ret) || compute(t, up - 1, 2 * i + 1, right))
        return NO_ROWS;
    tree_hash_node(ret, right, ret);
    return 0;
}

static int node(void *arg, int level, int64_t i, unsigned char ret[TREE_HASH])
{
    struct ledger_nodes *n = arg;
    int up = level % LEDGER_TREE_STEP, below = level - up;
    int64_t first = i << up;
    struct tile *t = NULL;
    int r = tile_of(n, below, first - first % LEDGER_TREE_TILE, &t);

    if (r)
        return r;
    return compute(t, up, i, ret) ? err_set(n->e, ERR_NOTFOUND,
                                            "rows of before were pruned: what is asked of them "
                                            "cannot be proven any more")
                                  : 0;
}

struct tree_nodes ledger_nodes_door(struct ledger_nodes *n)
{
    return (struct tree_nodes){node, n};
}

int ledger_nodes_tree(struct ledger_nodes *n, int64_t size, struct tree *ret)
{
    int r = 0;

    *ret = (struct tree){.size = size};
    for (int level = 0; !r && level < TREE_LEVELS; level++) {
        if (size >> level & 1)
            r = node(n, level, ((size >> level) - 1), ret->node[level]);
    }
    return r;
}

/* ---- the audit ------------------------------------------------------------------------------- */

int ledger_tree_check(struct sql *db, const struct ledger_tree *t, const struct tree *should,
                      const char *where, const char *what, struct err *e)
{
    unsigned char is[TREE_HASH], root[TREE_HASH];
    struct tree_head head;
    int r = ledger_tree_head_upto(db, t->log, TREE_SIZE_MAX, &head, e);

    if (r)
        return r;
    tree_root(&t->tree, is);
    tree_root(should, root);
    if (t->tree.size != should->size || memcmp(is, root, sizeof is) != 0)
        return err_set(e, ERR_FORMAT, "ledger %s: the tree of %lld %s is not that of its %lld rows",
                       sql_name(where), (long long)t->tree.size, what, (long long)should->size);
    if (head.size > should->size ||
        (head.size == should->size && head.size && memcmp(head.root, root, sizeof root) != 0))
        return err_set(e, ERR_FORMAT,
                       "ledger %s: the last head, of %lld %s, is not that of its rows",
                       sql_name(where), (long long)head.size, what);
    return head.size && !tree_head_is_signed(&head)
               ? err_set(e, ERR_FORMAT, "ledger %s: the last head is not signed by its key",
                         sql_name(where))
               : 0;
}

/* ---- pruning --------------------------------------------------------------------------------- */

static int keep_node(struct sql *db, int level, int64_t i, const unsigned char hash[TREE_HASH],
                     struct err *e)
{
    char hex[BOOKS_HEX(TREE_HASH)];
    const struct sql_value v[] = {SQL_NUMBER(level), SQL_NUMBER(i),
                                  SQL_TEXT(sodium_bin2hex(hex, sizeof hex, hash, TREE_HASH))};

    return ledger_sql_put(db, "INSERT INTO tree_node (level, i, hash)", "", v, 3, 1, e);
}

int ledger_tree_keep(struct sql *db, int64_t last, struct err *e)
{
    struct ledger_tree t = {0};
    struct ledger_nodes *n = NULL;
    struct sql_value before;
    struct tree kept;
    int64_t size;
    int r = ledger_tree_open(db, &ledger_answers, &t, e);

    size = last - t.base;
    before = SQL_NUMBER(size);
    if (r || size <= 0)
        return r;
    r = ledger_nodes_open(&n, db, &t, e);
    if (!r)
        r = ledger_nodes_tree(n, size, &kept);
    if (!r)
        r = sql_run(db, "DELETE FROM tree_head WHERE size < $1", &before, 1, NULL, e);
    if (!r)
        r = sql_exec(db, "DELETE FROM tree_node WHERE level < 8", e);
    for (int level = 0; !r && level < LEDGER_TREE_STEP; level++) {
        if (size >> level & 1)
            r = keep_node(db, level, (size >> level) - 1, kept.node[level], e);
    }
    ledger_nodes_close(n);
    return r;
}
