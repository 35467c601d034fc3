/* Measurements at rest, in the store of accounts: rows that are only added, each with a line of the
 * audit log that has the hash of its text and of its signature. */
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "cloud/acceptance.h"
#include "cloud/accounts_sql.h"

#define HEX (2 * crypto_hash_sha256_BYTES + 1)

/* As its line in the log has it. */
static void show(const struct measured_row *m, char ret[ACCOUNTS_AUDIT_MAX])
{
    unsigned char hash[crypto_hash_sha256_BYTES];
    crypto_hash_sha256_state h;
    char hex[HEX];

    crypto_hash_sha256_init(&h);
    crypto_hash_sha256_update(&h, (const unsigned char *)m->text, strlen(m->text) + 1);
    crypto_hash_sha256_update(&h, (const unsigned char *)m->signature, strlen(m->signature) + 1);
    crypto_hash_sha256_update(&h, (const unsigned char *)m->public_key, strlen(m->public_key) + 1);
    crypto_hash_sha256_final(&h, hash);
    sodium_bin2hex(hex, sizeof hex, hash, sizeof hash);
    snprintf(ret, ACCOUNTS_AUDIT_MAX, "{\"measurement\":%" PRId64 ",\"sha256\":\"%s\"}", m->id,
             hex);
}

/* ---- reading --------------------------------------------------------------------------------- */

#define ROWS                                                                                       \
    "SELECT m.id, m.contract, a.at_s, a.actor, m.text, m.signature, m.public_key, a.after"         \
    " FROM measurement m JOIN audit a ON a.seq = m.audit_seq"

static struct measured_row read_row(const struct sql_row *r)
{
    return (struct measured_row){.id = sql_number(r, 0),
                                 .contract = sql_text(r, 1),
                                 .recorded_s = sql_number(r, 2),
                                 .actor = sql_text(r, 3),
                                 .text = sql_text(r, 4),
                                 .signature = sql_text(r, 5),
                                 .public_key = sql_text(r, 6)};
}

struct reading {
    int (*each)(void *arg, const struct measured_row *m);
    void *arg;
};

static int take(void *arg, const struct sql_row *r)
{
    const struct measured_row m = read_row(r);
    struct reading *x = arg;

    return x->each(x->arg, &m);
}

int accounts_measurements(struct accounts *a, const char *contract,
                          int (*each)(void *arg, const struct measured_row *m), void *arg,
                          struct err *e)
{
    struct reading x = {each, arg};
    const struct sql_value v[] = {SQL_TEXT(contract ? contract : "")};

    return contract
               ? sql_each(a->db, ROWS " WHERE m.contract = $1 ORDER BY m.id", v, 1, take, &x, e)
               : sql_each(a->db, ROWS " ORDER BY m.id", NULL, 0, take, &x, e);
}

/* The best so far: of the engine in force before others, and the last of these. */
struct finding {
    const struct tranche *tranche;
    const char *engine;
    int64_t as_of_s, known_s;
    struct measurement *best;
    int is_stale;
    struct err *e;
};

static int consider(void *arg, const struct measured_row *row)
{
    struct finding *x = arg;
    struct measurement *m = NULL;
    int r = measurement_parse(&m, row->text, strlen(row->text), x->e), is_stale;

    if (r)
        return r;
    is_stale = x->engine && strcmp(m->engine, x->engine) != 0;
    if (m->verdict.is_there || !measurement_is_of(m, x->tranche) || m->until_s > x->as_of_s ||
        row->recorded_s > x->known_s || (x->best && is_stale && !x->is_stale)) {
        measurement_free(m);
        return 0;
    }
    measurement_free(x->best);
    x->best = m;
    x->is_stale = is_stale;
    return 0;
}

int accounts_measured_on(struct accounts *a, const char *contract, const struct tranche *t,
                         const char *engine, int64_t as_of_s, int64_t known_s,
                         struct measurement **ret, int *ret_is_stale, struct err *e)
{
    struct finding x = {
        .tranche = t, .engine = engine, .as_of_s = as_of_s, .known_s = known_s, .e = e};
    int r = accounts_measurements(a, contract, consider, &x, e);

    if (!r && !x.best)
        r = err_set(e, ERR_NOTFOUND, "nothing was measured of contract '%.64s' for tranche '%.64s'",
                    contract, t->name);
    if (r) {
        measurement_free(x.best);
        return r;
    }
    *ret = x.best;
    *ret_is_stale = x.is_stale;
    return 0;
}

int accounts_measured(struct accounts *a, const char *contract, const struct tranche *t,
                      const char *engine, struct measurement **ret, int *ret_is_stale,
                      struct err *e)
{
    return accounts_measured_on(a, contract, t, engine, INT64_MAX, INT64_MAX, ret, ret_is_stale, e);
}

/* ---- adding ---------------------------------------------------------------------------------- */

static int take_number(void *arg, const struct sql_row *r)
{
    *(int64_t *)arg = sql_number(r, 0);
    return 0;
}

static int add(struct accounts *a, const struct account_who *w, struct measured_row *m,
               struct err *e)
{
    char after[ACCOUNTS_AUDIT_MAX];
    int64_t seq = 0;
    int r = sql_each(a->db, "SELECT coalesce(max(id), 0) + 1 FROM measurement", NULL, 0,
                     take_number, &m->id, e);

    if (r)
        return r;
    show(m, after);
    r = accounts_sql_log(a->db, w, "measure", ACCOUNT_OF_MEASUREMENT, m->contract, "", after, e);
    if (!r)
        r = sql_each(a->db, "SELECT MAX(seq) FROM audit", NULL, 0, take_number, &seq, e);
    if (r)
        return r;
    return sql_run(a->db,
                   "INSERT INTO measurement (id, contract, text, signature, public_key, audit_seq)"
                   " VALUES ($1, $2, $3, $4, $5, $6)",
                   (struct sql_value[]){SQL_NUMBER(m->id), SQL_TEXT(m->contract), SQL_TEXT(m->text),
                                        SQL_TEXT(m->signature), SQL_TEXT(m->public_key),
                                        SQL_NUMBER(seq)},
                   6, NULL, e);
}

int accounts_measure(struct accounts *a, const struct account_who *w, const struct measurement *m,
                     struct measured_row *row, struct err *e)
{
    json_t *json = measurement_json(m);
    int64_t generation;
    struct buf text;
    int r = 0, is_ours = !row->text;

    buf_init(&text, MEASUREMENT_TEXT_MAX);
    if (is_ours) {
        if (!json || json_put_tree(&text, json))
            r = err_set(e, ERR_TOO_LARGE, "the measurement has too many points to be kept");
        row->text = text.data;
    }
    row->contract = m->contract;
    if (!r)
        r = accounts_sql_begin(a->db, &generation, e);
    if (!r) {
        r = add(a, w, row, e);
        if (r)
            sql_rollback(a->db);
        else
            r = sql_commit(a->db, e);
    }
    if (is_ours)
        row->text = NULL;
    json_decref(json);
    buf_done(&text);
    return r;
}

/* ---- is every row as it was written? --------------------------------------------------------- */

static int check_one(void *arg, const struct sql_row *r)
{
    const struct measured_row m = read_row(r);
    char after[ACCOUNTS_AUDIT_MAX];

    show(&m, after);
    if (strcmp(after, sql_text(r, 7)) == 0) {
        if (!*m.signature || acceptance_is_signed(m.text, m.signature, m.public_key))
            return 0;
        return err_set(arg, ERR_FORMAT,
                       "measurement %" PRId64 " of contract %s has a signature that is none", m.id,
                       m.contract);
    }
    return err_set(arg, ERR_FORMAT,
                   "measurement %" PRId64 " of contract %s is not as it was written", m.id,
                   m.contract);
}

static int take_name(void *arg, const struct sql_row *r)
{
    snprintf(arg, ACCOUNT_ID_MAX, "%s", sql_text(r, 0));
    return 0;
}

int accounts_measurements_check(struct accounts *a, struct err *e)
{
    char gone[ACCOUNT_ID_MAX] = "";
    int r = sql_each(a->db, ROWS " ORDER BY m.id", NULL, 0, check_one, e, e);

    if (!r)
        r = sql_each(a->db,
                     "SELECT id FROM audit WHERE kind = $1 AND seq NOT IN (SELECT audit_seq FROM"
                     " measurement) UNION SELECT m.contract FROM measurement m LEFT JOIN audit a ON"
                     " a.seq = m.audit_seq AND a.kind = $1 AND a.id = m.contract WHERE a.seq IS"
                     " NULL LIMIT 1",
                     (struct sql_value[]){SQL_NUMBER(ACCOUNT_OF_MEASUREMENT)}, 1, take_name, gone,
                     e);
    if (!r && *gone)
        r = err_set(e, ERR_FORMAT,
                    "contract %s: the log and the store have not the same measurements", gone);
    return r;
}
