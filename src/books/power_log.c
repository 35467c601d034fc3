#include "books/power_log.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/rand.h"
#include "base/utf8.h"
#include "books/ledger_file.h"
#include "books/ledger_tree.h"
#include "books/power_chain.h"
#include "books/power_leaf.h"

#define COLUMNS                                                                                    \
    "seq, chain, at_us, site, from_us, until_us, contracted_uj, energised_uj, encumbered_uj,"      \
    " ready_uj, environment_uj, curtailment_uj, maintenance_uj, operator_uj, cause, reason, salt"
#define N_COLUMNS     17
#define MINUTE_US     INT64_C(60000000)
#define BASIS_PUE_MAX 10000 /* thousandths */

static const char insert_power[] = "INSERT INTO power (" COLUMNS ")";
static const char in_order[] =
    "SELECT " COLUMNS " FROM power WHERE seq > $1 AND seq <= $2 ORDER BY seq";

/* ---- rows ------------------------------------------------------------------------------------ */

static void read_row(const struct sql_row *s, struct power_entry *ret)
{
    struct power_piece *p = &ret->piece;

    *ret = (struct power_entry){.seq = sql_number(s, 0), .at_us = sql_number(s, 2)};
    ledger_sql_text(ret->place, sizeof ret->place, s, 3);
    *p = (struct power_piece){.from_us = sql_number(s, 4),
                              .until_us = sql_number(s, 5),
                              .contracted_uj = sql_number(s, 6),
                              .energised_uj = sql_number(s, 7),
                              .encumbered_uj = sql_number(s, 8),
                              .ready_uj = sql_number(s, 9)};
    for (int i = 0; i < POWER_MEASURED; i++)
        p->lost_uj[i] = sql_number(s, 10 + i);
    ledger_sql_text(ret->cause, sizeof ret->cause, s, 10 + POWER_MEASURED);
    ledger_sql_text(ret->reason, sizeof ret->reason, s, 11 + POWER_MEASURED);
    ledger_sql_text(ret->salt, sizeof ret->salt, s, 12 + POWER_MEASURED);
}

/* Texts end with a NUL, so that no two rows have one form. */
static void hash_text(crypto_generichash_state *h, const char *s)
{
    crypto_generichash_update(h, (const unsigned char *)s, strlen(s) + 1);
}

/* Go on by a row; text: its hash as it is written. */
static void chain_on(struct ledger_link *l, const struct power_entry *r,
                     char text[LEDGER_LINK_TEXT])
{
    const struct power_piece *p = &r->piece;
    const int64_t numbers[] = {r->at_us,        p->from_us,       p->until_us,  p->contracted_uj,
                               p->energised_uj, p->encumbered_uj, p->ready_uj,  p->lost_uj[0],
                               p->lost_uj[1],   p->lost_uj[2],    p->lost_uj[3]};
    crypto_generichash_state h;

    _Static_assert(POWER_MEASURED == 4, "a column of each cause");
    crypto_generichash_init(&h, NULL, 0, LEDGER_CHAIN_SIZE);
    crypto_generichash_update(&h, l->chain, sizeof l->chain);
    hash_text(&h, r->place);
    hash_text(&h, r->cause);
    hash_text(&h, r->reason);
    if (*r->salt) /* links of before there were any are those that they had */
        hash_text(&h, r->salt);
    crypto_generichash_update(&h, (const unsigned char *)numbers, sizeof numbers);
    crypto_generichash_final(&h, l->chain, sizeof l->chain);
    l->seq++;
    sodium_bin2hex(text, LEDGER_LINK_TEXT, l->chain, sizeof l->chain);
}

static int text_ok(const char *s, size_t n_least)
{
    size_t n = strlen(s);

    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)s[i] < ' ' || s[i] == 127)
            return 0;
    }
    return n >= n_least && utf8_valid(s, n, NULL);
}

int power_entry_ok(const struct power_entry *r)
{
    const struct power_piece *p = &r->piece;

    if (!text_ok(r->place, 1) || !text_ok(r->reason, 0))
        return 0;
    if (!*r->cause)
        return power_piece_ok(p);
    return (power_cause_find(r->cause) >= 0 || !strcmp(r->cause, POWER_NO_CAUSE)) &&
           p->from_us >= 0 && p->from_us < p->until_us && !(p->from_us % MINUTE_US) &&
           !(p->until_us % MINUTE_US);
}

/* ---- their basis ----------------------------------------------------------------------------- */

void power_log_basis_show(enum power_basis b, int32_t pue_permille, char out[POWER_REASON_MAX])
{
    snprintf(out, POWER_REASON_MAX, "%s %d", power_basis_name(b), pue_permille);
}

int power_log_basis_read(const char *text, enum power_basis *ret, int32_t *ret_pue_permille)
{
    const char *at = strchr(text, ' ');
    char shown[POWER_REASON_MAX];
    long pue = at ? strtol(at + 1, NULL, 10) : -1;

    for (int b = POWER_IT; at && pue >= 0 && pue <= BASIS_PUE_MAX && b <= POWER_FACILITY; b++) {
        power_log_basis_show((enum power_basis)b, (int32_t)pue, shown);
        if (strcmp(shown, text) != 0)
            continue;
        *ret = (enum power_basis)b;
        *ret_pue_permille = (int32_t)pue;
        return 0;
    }
    return -1;
}

/* ---- writing --------------------------------------------------------------------------------- */

static int take_number(void *arg, const struct sql_row *s)
{
    *(int64_t *)arg = sql_number(s, 0);
    return 0;
}

static int is_written(struct sql *db, const struct power_entry *r, int *ret, struct err *e)
{
    const struct sql_value v[] = {SQL_TEXT(r->place), SQL_NUMBER(r->piece.from_us - POWER_HOUR_US),
                                  SQL_NUMBER(r->piece.until_us), SQL_NUMBER(r->piece.from_us)};
    int64_t n = 0;
    int code = *r->cause ? 0
                         : sql_each(db,
                                    "SELECT count(*) FROM power WHERE site = $1 AND from_us >= $2"
                                    " AND from_us < $3 AND until_us > $4 AND cause = ''",
                                    v, 4, take_number, &n, e);

    *ret = n > 0;
    return code;
}

static int put_row(struct sql *db, struct ledger_link *l, struct power_entry *r, struct err *e)
{
    const struct power_piece *p = &r->piece;
    unsigned char salt[BOOKS_SALT];
    char chain[LEDGER_LINK_TEXT];
    struct sql_value v[N_COLUMNS];

    if (rand_system(salt, sizeof salt))
        return err_set(e, ERR_IO, "the system gives no random bytes");
    sodium_bin2hex(r->salt, sizeof r->salt, salt, sizeof salt);
    chain_on(l, r, chain);
    r->seq = l->seq;
    v[0] = SQL_NUMBER(r->seq);
    v[1] = SQL_TEXT(chain);
    v[2] = SQL_NUMBER(r->at_us);
    v[3] = SQL_TEXT(r->place);
    v[4] = SQL_NUMBER(p->from_us);
    v[5] = SQL_NUMBER(p->until_us);
    v[6] = SQL_NUMBER(p->contracted_uj);
    v[7] = SQL_NUMBER(p->energised_uj);
    v[8] = SQL_NUMBER(p->encumbered_uj);
    v[9] = SQL_NUMBER(p->ready_uj);
    for (int i = 0; i < POWER_MEASURED; i++)
        v[10 + i] = SQL_NUMBER(p->lost_uj[i]);
    v[14] = SQL_TEXT(r->cause);
    v[15] = SQL_TEXT(r->reason);
    v[16] = SQL_TEXT(r->salt);
    return ledger_sql_put(db, insert_power, "", v, N_COLUMNS, 1, e);
}

static int put_all(struct sql *db, struct power_entry *rows, int n, const struct tree_key *key,
                   int64_t *ret_n, struct err *e)
{
    unsigned char leaf[TREE_HASH];
    struct ledger_tree t = {0};
    struct ledger_link l = {0};
    int r = ledger_link_read(db, "SELECT seq, chain FROM power ORDER BY seq DESC LIMIT 1", &l, e);

    if (!r)
        r = ledger_tree_open(db, &ledger_power, &t, e);
    for (int i = 0; !r && i < n; i++) {
        int there;
        rows[i].seq = 0;
        r = is_written(db, &rows[i], &there, e);
        if (r || there)
            continue;
        r = put_row(db, &l, &rows[i], e);
        power_leaf_of_row(&rows[i], leaf);
        if (!r)
            r = ledger_tree_add(db, &t, leaf, rows[i].at_us, e);
        ++*ret_n;
    }
    return r || !*ret_n ? r : ledger_tree_save(db, &t, key, e);
}

int power_log_put(const char *where, struct power_entry *rows, int n, const struct tree_key *key,
                  int64_t *ret_n, struct err *e)
{
    const struct sql_how how = {.what = "ledger", .schema = LEDGER_IN, .must_exist = 1};
    struct sql *db = NULL;
    int r;

    *ret_n = 0;
    for (int i = 0; i < n; i++) {
        if (!power_entry_ok(&rows[i]))
            return err_set(e, ERR_ARG, "power of %.80s: this cannot be", rows[i].place);
    }
    r = sql_open_how(&db, where, &how, e);
    if (!r)
        r = ledger_sql_tables(db, where, e);
    if (!r)
        r = sql_begin_alone(db, e);
    if (!r) {
        r = put_all(db, rows, n, key, ret_n, e);
        if (!r)
            r = sql_commit(db, e);
        else
            sql_rollback(db);
    }
    sql_close(db);
    if (r)
        *ret_n = 0;
    return r;
}

/* ---- reading --------------------------------------------------------------------------------- */

struct reading {
    const char *where;
    int (*row)(void *arg, const struct power_entry *r);
    void *arg;
    struct err *e;
};

static int take_row(void *arg, const struct sql_row *s)
{
    struct reading *x = arg;
    struct power_entry row;

    read_row(s, &row);
    if (!power_entry_ok(&row))
        return err_set(x->e, ERR_FORMAT, "ledger %s: row %lld of its power cannot be",
                       sql_name(x->where), (long long)row.seq);
    return x->row(x->arg, &row);
}

int power_log_each(const char *where, const struct power_query *q,
                   int (*row)(void *arg, const struct power_entry *r), void *arg, struct err *e)
{
    const struct sql_value v[] = {
        SQL_NUMBER(q->until_us), SQL_NUMBER(q->from_us),
        SQL_NUMBER(q->what == POWER_NOTES ? 0 : q->from_us - POWER_HOUR_US),
        SQL_NUMBER(q->upto_seq ? q->upto_seq : INT64_MAX), SQL_TEXT(q->place)};
    struct reading x = {where, row, arg, e};
    struct sql *db = NULL;
    char sql[800];
    int r = ledger_file_open(&db, where, 1, e);

    snprintf(sql, sizeof sql,
             "SELECT " COLUMNS " FROM power WHERE from_us < $1 AND until_us > $2 AND from_us >= $3"
             " AND seq <= $4 AND cause %s ''%s ORDER BY site, from_us, seq",
             q->what == POWER_NOTES ? "<>" : "=", q->place ? " AND site = $5" : "");
    if (!r)
        r = sql_each(db, sql, v, q->place ? 5 : 4, take_row, &x, e);
    sql_close(db);
    return r;
}

struct places {
    int (*each)(void *arg, const char *place);
    void *arg;
};

static int take_place(void *arg, const struct sql_row *s)
{
    const struct places *x = arg;

    return x->each(x->arg, sql_text(s, 0));
}

int power_log_places(const char *where, int (*each)(void *arg, const char *place), void *arg,
                     struct err *e)
{
    struct places x = {each, arg};
    struct sql *db = NULL;
    int r = ledger_file_open(&db, where, 1, e);

    if (!r)
        r = sql_each(db, "SELECT DISTINCT site FROM power ORDER BY site", NULL, 0, take_place, &x,
                     e);
    sql_close(db);
    return r;
}

/* ---- the log of power ------------------------------------------------------------------------ */

struct leaves {
    int (*take)(void *arg, int64_t seq, const unsigned char *leaf);
    void *arg;
};

static int take_leaf(void *arg, const struct sql_row *s)
{
    const struct leaves *x = arg;
    unsigned char leaf[TREE_HASH];
    struct power_entry row;

    read_row(s, &row);
    power_leaf_of_row(&row, leaf);
    return x->take(x->arg, row.seq, leaf);
}

static int leaves(struct sql *db, int64_t after, int64_t upto,
                  int (*take)(void *arg, int64_t seq, const unsigned char *leaf), void *arg,
                  struct err *e)
{
    const struct sql_value v[] = {SQL_NUMBER(after), SQL_NUMBER(upto)};
    struct leaves x = {take, arg};

    return sql_each(db, in_order, v, 2, take_leaf, &x, e);
}

const struct ledger_log ledger_power = {TREE_POWER, "power_tree", "power_tree_node",
                                        "power_tree_head", leaves};

int power_log_range(struct sql *db, int64_t after, int64_t upto,
                    int (*row)(void *arg, const struct power_entry *r), void *arg, struct err *e)
{
    const struct sql_value v[] = {SQL_NUMBER(after), SQL_NUMBER(upto)};
    struct reading x = {"", row, arg, e};

    return sql_each(db, in_order, v, 2, take_row, &x, e);
}

/* ---- what work drew -------------------------------------------------------------------------- */

/* Joules and the microjoules beyond them, so that no sum overflows. */
/* clang-format off */
#define DRAWN(which)                                                                               \
    "sum(CASE WHEN energy_method <> 0 AND (" which ") THEN energy_uj / 1000000 ELSE 0 END),"       \
    " sum(CASE WHEN energy_method <> 0 AND (" which ") THEN energy_uj % 1000000 ELSE 0 END)"
static const char drawn[] =
    "SELECT at_us / 3600000000, " DRAWN("lent = 0 AND contract <> ''") ", "
    DRAWN("lent = 2 OR (lent = 0 AND contract = '')") ", " DRAWN("lent = 1") ", "
    DRAWN("lent = 3") ","
    " count(CASE WHEN energy_method = 0 AND prompt_tokens + completion_tokens > 0 THEN 1 END)"
    " FROM usage WHERE site = $1 AND corrects = '' AND at_us >= $2 AND at_us < $3"
    " GROUP BY 1 ORDER BY 1";
/* clang-format on */

static power_uj energy(const struct sql_row *s, int i)
{
    return (power_uj)sql_number(s, i) * 1000000 + sql_number(s, i + 1);
}

struct drawing {
    int (*hour)(void *arg, const struct power_drawn *d);
    void *arg;
};

static int take_drawn(void *arg, const struct sql_row *s)
{
    const struct drawing *x = arg;
    const struct power_drawn d = {.from_us = sql_number(s, 0) * POWER_HOUR_US,
                                  .use = {.own = energy(s, 1),
                                          .other = energy(s, 3),
                                          .lent = energy(s, 5),
                                          .backstop = energy(s, 7)},
                                  .n_unmetered = sql_number(s, 9)};

    return x->hour(x->arg, &d);
}

int power_log_drawn(const char *where, const char *site, int64_t from_us, int64_t until_us,
                    int (*hour)(void *arg, const struct power_drawn *d), void *arg, struct err *e)
{
    const struct sql_value v[] = {SQL_TEXT(site), SQL_NUMBER(from_us), SQL_NUMBER(until_us)};
    struct drawing x = {hour, arg};
    struct sql *db = NULL;
    int r = ledger_file_open(&db, where, 1, e);

    if (!r)
        r = sql_each(db, drawn, v, 3, take_drawn, &x, e);
    sql_close(db);
    return r;
}

/* ---- the audit ------------------------------------------------------------------------------- */

struct audit {
    const char *where;
    struct ledger_link link;
    struct ledger_tree tree; /* as it is */
    struct tree grown;       /* as it should be */
    struct err *e;
};

static int check_row(void *arg, const struct sql_row *s)
{
    struct audit *a = arg;
    unsigned char leaf[TREE_HASH];
    char text[LEDGER_LINK_TEXT];
    struct power_entry row;

    read_row(s, &row);
    chain_on(&a->link, &row, text);
    power_leaf_of_row(&row, leaf);
    if (row.seq > a->tree.base)
        tree_append(&a->grown, leaf, NULL, NULL);
    if (row.seq == a->link.seq && !strcmp(sql_text(s, 1), text))
        return 0;
    return err_set(a->e, ERR_FORMAT,
                   "ledger %s: row %lld of its power (of %s) is not as it was written, or one "
                   "before it is gone",
                   sql_name(a->where), (long long)row.seq, row.place);
}

int power_chain_check(struct sql *db, const char *where, struct err *e)
{
    struct audit a = {.where = where, .e = e};
    int r = ledger_tree_open(db, &ledger_power, &a.tree, e);

    if (!r)
        r = sql_each(db, "SELECT " COLUMNS " FROM power ORDER BY seq", NULL, 0, check_row, &a, e);
    return r ? r : ledger_tree_check(db, &a.tree, &a.grown, where, "rows of power", e);
}
