#include "books/log_export.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/put.h"
#include "books/ledger_file.h"
#include "books/ledger_tree.h"
#include "books/power_chain.h"

struct writing {
    const struct log_range *range;
    int (*line)(void *arg, const json_t *j);
    void *arg;
    struct ledger_tree tree;
    int64_t from, until; /* entries */
    struct tree_head first, head;
    struct err *e;
};

static int tell(struct writing *w, json_t *j)
{
    int r = j ? w->line(w->arg, j) : err_set(w->e, ERR_NOMEM, "out of memory");

    json_decref(j);
    return r;
}

static int64_t begin_us(const struct log_range *x)
{
    return x->from_s * 1000000;
}

static int64_t end_us(const struct log_range *x)
{
    return x->until_s ? x->until_s * 1000000 : INT64_MAX;
}

/* ---- which rows ------------------------------------------------------------------------------ */

struct span {
    int64_t first, last; /* numbers of rows; first 0: there is none */
};

static int take_span(void *arg, const struct sql_row *s)
{
    *(struct span *)arg = (struct span){sql_number(s, 0), sql_number(s, 1)};
    return 0;
}

/* From a head on where there is one, up to a head. */
static int find_heads(struct sql *db, struct writing *w, const struct span *has)
{
    const struct ledger_log *log = w->tree.log;
    int r = ledger_tree_head_upto(db, log, has->first - w->tree.base - 1, &w->first, w->e);

    if (!r)
        r = ledger_tree_head_from(db, log, has->last - w->tree.base, &w->head, w->e);
    if (!r && !w->head.size)
        r = err_set(w->e, ERR_AGAIN, "not all %s of that time are under a signed head yet",
                    tree_log_name(log->log));
    w->from = w->first.size;
    w->until = w->head.size;
    return r;
}

/* All entries of that time; of a statement all since it began, up to the last that counts. */
static int find_answers(struct sql *db, struct writing *w)
{
    const struct log_range *x = w->range;
    const struct sql_value v[] = {SQL_NUMBER(w->tree.base), SQL_NUMBER(begin_us(x)),
                                  SQL_NUMBER(x->contract ? INT64_MAX : end_us(x))};
    struct span has = {0, 0}, oldest = {0, 0};
    int r = sql_each(db,
                     "SELECT coalesce(min(seq), 0), coalesce(max(seq), 0) FROM usage"
                     " WHERE seq > $1 AND at_us >= $2 AND at_us < $3",
                     v, 3, take_span, &has, w->e);

    if (!r)
        r = sql_each(db, "SELECT coalesce(min(seq), 0), 0 FROM usage WHERE seq > $1", v, 1,
                     take_span, &oldest, w->e);
    if (x->contract) {
        has.first = has.first && has.first <= x->upto_usage ? has.first : x->upto_usage + 1;
        has.last = x->upto_usage;
    } else if (!r && !has.first) {
        r = err_set(w->e, ERR_NOTFOUND, "the log has no answers of that time");
    }
    if (!r)
        r = find_heads(db, w, &has);
    if (!r && oldest.first && w->from < oldest.first - w->tree.base - 1) { /* pruned before it */
        w->from = oldest.first - w->tree.base - 1;
        w->first.size = 0;
    }
    return r;
}

/* Of power: notes may be of a time long after or before that in which they were made. */
static int find_power(struct sql *db, struct writing *w)
{
    const struct log_range *x = w->range;
    const struct sql_value v[] = {SQL_NUMBER(w->tree.base), SQL_NUMBER(begin_us(x)),
                                  SQL_NUMBER(end_us(x)), SQL_NUMBER(x->upto_power)};
    struct span has = {0, 0};
    int r = sql_each(db,
                     "SELECT coalesce(min(seq), 0), 0 FROM power WHERE seq > $1 AND seq <= $4"
                     " AND (at_us >= $2 OR (from_us < $3 AND until_us > $2))",
                     v, 4, take_span, &has, w->e);

    has.first = has.first ? has.first : x->upto_power + 1;
    has.last = x->upto_power;
    return r ? r : find_heads(db, w, &has);
}

/* Rows of before the logs are in none of them. */
static int refuse_older(struct sql *db, struct writing *w, const char *sql, const char *whose)
{
    const struct sql_value v[] = {SQL_TEXT(whose), SQL_NUMBER(w->tree.base),
                                  SQL_NUMBER(begin_us(w->range)), SQL_NUMBER(end_us(w->range))};
    struct span has = {0, 0};
    int r = sql_each(db, sql, v, 4, take_span, &has, w->e);

    return r || !has.first
               ? r
               : err_set(w->e, ERR_UNSUPPORTED,
                         "%lld rows of %.80s in that time are of before there was a log of "
                         "%s: nothing proves them",
                         (long long)has.first, whose, tree_log_name(w->tree.log->log));
}

static int refuse_all_older(struct sql *db, struct writing *w)
{
    const struct log_range *x = w->range;
    int r = 0;

    if (w->tree.log->log == TREE_ANSWERS)
        return refuse_older(db, w,
                            "SELECT count(*), 0 FROM usage WHERE contract = $1 AND seq <= $2"
                            " AND at_us >= $3 AND at_us < $4",
                            x->contract);
    for (int i = 0; !r && i < x->n_places; i++)
        r = refuse_older(db, w,
                         "SELECT count(*), 0 FROM power WHERE site = $1 AND seq <= $2"
                         " AND until_us > $3 AND from_us < $4",
                         x->places[i]);
    return r;
}

/* ---- lines ----------------------------------------------------------------------------------- */

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
    const struct log_range *x = w->range;
    int is_power = w->tree.log->log == TREE_POWER;
    struct ledger_nodes *n = NULL;
    struct tree before;
    json_t *j;
    int r = ledger_nodes_open(&n, db, &w->tree, w->e);

    if (!r)
        r = ledger_nodes_tree(n, w->from, &before);
    ledger_nodes_close(n);
    if (r)
        return r;
    j = json_pack("{s:s}", "object", is_power ? "power" : "receipts");
    if (!is_power)
        json_object_set_new(j, "tenant", x->tenant ? json_string(x->tenant) : json_null());
    if (!is_power && x->contract)
        json_object_set_new(j, "contract", json_string(x->contract));
    if (x->contract)
        json_object_set_new(j, "base", json_integer(w->tree.base));
    json_object_set_new(j, "from", json_integer(w->from));
    json_object_set_new(j, "nodes", nodes_json(&before));
    json_object_set_new(j, "first", w->first.size ? proof_head_json(&w->first) : json_null());
    json_object_set_new(j, "head", proof_head_json(&w->head));
    return tell(w, j);
}

static int has_name(const char *const *names, int n, const char *name)
{
    for (int i = 0; i < n; i++) {
        if (!strcmp(names[i], name))
            return 1;
    }
    return 0;
}

static int take_row(void *arg, const struct sql_row *s)
{
    unsigned char entry[LEAF_ENTRY_MAX], leaf[TREE_HASH];
    struct writing *w = arg;
    const struct log_range *x = w->range;
    struct books_row row;
    json_int_t i = (json_int_t)(sql_number(s, LEDGER_SEQ) - w->tree.base - 1);
    int is_shown, is_told;
    size_t n;

    ledger_sql_read(s, &row);
    n = leaf_entry(&row, entry);
    is_shown = x->contract ? !strcmp(x->contract, row.contract)
                           : !x->tenant || !strcmp(x->tenant, row.tenant);
    is_told = !x->contract || has_name(x->tenants, x->n_tenants, row.tenant);
    if (is_shown && is_told)
        return tell(w, json_pack("{s:I, s:s, s:s, s:o}", "i", i, "tenant", row.tenant, "salt",
                                 row.salt, "entry", proof_hex(entry, n)));
    if (is_shown)
        return tell(w, json_pack("{s:I, s:o}", "i", i, "entry", proof_hex(entry, n)));
    tree_hash_leaf(entry, n, leaf);
    return tell(w, json_pack("{s:I, s:o}", "i", i, "leaf", proof_hex(leaf, sizeof leaf)));
}

static int take_power(void *arg, const struct power_entry *r)
{
    unsigned char details[POWER_DETAILS_MAX], place[TREE_HASH], hash[TREE_HASH];
    size_t n = power_leaf_details(r, details);
    struct writing *w = arg;
    json_int_t i = (json_int_t)(r->seq - w->tree.base - 1);

    if (has_name(w->range->places, w->range->n_places, r->place))
        return tell(w, json_pack("{s:I, s:o}", "i", i, "row", proof_hex(details, n)));
    power_leaf_place(r->place, place);
    tree_sha256(details, n, hash);
    return tell(w, json_pack("{s:I, s:o, s:o}", "i", i, "place", proof_hex(place, sizeof place),
                             "rest", proof_hex(hash, sizeof hash)));
}

static int tell_rows(struct sql *db, struct writing *w)
{
    const struct sql_value v[] = {SQL_NUMBER(w->tree.base + w->from),
                                  SQL_NUMBER(w->tree.base + w->until)};

    if (w->tree.log->log == TREE_POWER)
        return power_log_range(db, w->tree.base + w->from, w->tree.base + w->until, take_power, w,
                               w->e);
    return sql_each(db,
                    "SELECT " LEDGER_COLUMNS " FROM usage WHERE seq > $1 AND seq <= $2"
                    " ORDER BY seq",
                    v, 2, take_row, w, w->e);
}

static int export_log(struct sql *db, struct writing *w, const struct ledger_log *log)
{
    int is_power = log->log == TREE_POWER, r = ledger_tree_open(db, log, &w->tree, w->e);

    if (!r && w->range->contract)
        r = refuse_all_older(db, w);
    if (!r && w->range->contract && !w->tree.tree.size) {
        int64_t upto = is_power ? w->range->upto_power : w->range->upto_usage;
        return upto ? err_set(w->e, ERR_NOTFOUND, "the log of %s is empty", tree_log_name(log->log))
                    : 0;
    }
    if (!r)
        r = is_power ? find_power(db, w) : find_answers(db, w);
    if (!r)
        r = tell_begin(db, w);
    return r ? r : tell_rows(db, w);
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
        r = export_log(db, &w, &ledger_answers);
    if (!r && range->contract)
        r = export_log(db, &w, &ledger_power);
    sql_close(db);
    return r;
}
