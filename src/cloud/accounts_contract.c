/* Contracts at rest, in the store of accounts: each amendment is a version, which is never changed,
 * and a line of the audit log that has the hash of its text. */
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "cloud/accounts_sql.h"
#include "cloud/contract_file.h"

#define HEX (2 * crypto_hash_sha256_BYTES + 1)

static void hash_of(const char *text, char ret[HEX])
{
    unsigned char hash[crypto_hash_sha256_BYTES];

    crypto_hash_sha256(hash, (const unsigned char *)text, strlen(text));
    sodium_bin2hex(ret, HEX, hash, sizeof hash);
}

/* A version as its line in the log has it. */
static void show(const struct contract_version *v, char ret[ACCOUNTS_AUDIT_MAX])
{
    char hash[HEX];
    struct buf b;

    hash_of(v->text, hash);
    buf_init(&b, ACCOUNTS_AUDIT_MAX - 1);
    buf_addf(&b, "{\"version\":%" PRId64 ",\"effective_s\":%" PRId64 ",\"sha256\":\"%s\"",
             v->version, v->effective_s, hash);
    if (*v->reason) {
        buf_add_str(&b, ",\"reason\":");
        json_put_str(&b, v->reason);
    }
    buf_add_str(&b, "}");
    snprintf(ret, ACCOUNTS_AUDIT_MAX, "%s", b.failed ? "" : b.data);
    buf_done(&b);
}

/* ---- reading --------------------------------------------------------------------------------- */

#define VERSION "SELECT c.name, c.version, c.effective_s, a.at_s, a.actor, c.reason, c.text"
#define FROM    " FROM contract c JOIN audit a ON a.seq = c.audit_seq"

static struct contract_version read_version(const struct sql_row *r)
{
    return (struct contract_version){.name = sql_text(r, 0),
                                     .version = sql_number(r, 1),
                                     .effective_s = sql_number(r, 2),
                                     .recorded_s = sql_number(r, 3),
                                     .actor = sql_text(r, 4),
                                     .reason = sql_text(r, 5),
                                     .text = sql_text(r, 6)};
}

struct reading {
    int (*each)(void *arg, const struct contract_version *v);
    void *arg;
    int n;
};

static int take(void *arg, const struct sql_row *r)
{
    const struct contract_version v = read_version(r);
    struct reading *x = arg;

    x->n++;
    return x->each(x->arg, &v);
}

int accounts_contract_versions(struct accounts *a, const char *name,
                               int (*each)(void *arg, const struct contract_version *v), void *arg,
                               struct err *e)
{
    struct reading x = {each, arg, 0};
    int r = sql_each(a->db, VERSION FROM " WHERE c.name = $1 ORDER BY c.version",
                     (struct sql_value[]){SQL_TEXT(name)}, 1, take, &x, e);

    return r || x.n ? r : err_set(e, ERR_NOTFOUND, "the store has no contract '%.64s'", name);
}

/* The version of each that holds: the last that was effective and recorded by then. */
#define IN_FORCE                                                                                   \
    " WHERE c.version = (SELECT MAX(d.version) FROM contract d JOIN audit b ON b.seq ="            \
    " d.audit_seq WHERE d.name = c.name AND d.effective_s <= $1 AND b.at_s <= $2)"

int accounts_contracts(struct accounts *a, int64_t as_of_s, int64_t known_s,
                       int (*each)(void *arg, const struct contract_version *v), void *arg,
                       struct err *e)
{
    struct reading x = {each, arg, 0};

    return sql_each(a->db, VERSION FROM IN_FORCE " ORDER BY c.name",
                    (struct sql_value[]){SQL_NUMBER(as_of_s), SQL_NUMBER(known_s)}, 2, take, &x, e);
}

static int take_number(void *arg, const struct sql_row *r)
{
    *(int64_t *)arg = sql_number(r, 0);
    return 0;
}

int accounts_contracts_next(struct accounts *a, int64_t after_s, int64_t *ret, struct err *e)
{
    int64_t next = 0;
    int r =
        sql_each(a->db, "SELECT COALESCE(MIN(effective_s), 0) FROM contract WHERE effective_s > $1",
                 (struct sql_value[]){SQL_NUMBER(after_s)}, 1, take_number, &next, e);

    *ret = next ? next : INT64_MAX;
    return r;
}

int accounts_contracts_stamp(struct accounts *a, int64_t *ret, struct err *e)
{
    *ret = 0; /* both only grow */
    return sql_each(a->db,
                    "SELECT COALESCE((SELECT MAX(audit_seq) FROM contract), 0) +"
                    " COALESCE((SELECT MAX(audit_seq) FROM measurement), 0)",
                    NULL, 0, take_number, ret, e);
}

int accounts_contract(struct accounts *a, const char *name, int64_t version, int64_t as_of_s,
                      int64_t known_s, int (*each)(void *arg, const struct contract_version *v),
                      void *arg, struct err *e)
{
    struct reading x = {each, arg, 0};
    const struct sql_value v[] = {SQL_NUMBER(as_of_s), SQL_NUMBER(known_s), SQL_TEXT(name)};
    const struct sql_value one[] = {SQL_TEXT(name), SQL_NUMBER(version)};
    int r = version ? sql_each(a->db, VERSION FROM " WHERE c.name = $1 AND c.version = $2", one, 2,
                               take, &x, e)
                    : sql_each(a->db, VERSION FROM IN_FORCE " AND c.name = $3", v, 3, take, &x, e);

    if (r || x.n)
        return r;
    return version
               ? err_set(e, ERR_NOTFOUND, "the store has no contract '%.64s' of version %lld", name,
                         (long long)version)
               : err_set(e, ERR_NOTFOUND, "the store has no contract '%.64s' for that day", name);
}

/* ---- amending -------------------------------------------------------------------------------- */

/* The last version, as far as an amendment is compared with it. */
struct last {
    int64_t version, effective_s;
    char after[ACCOUNTS_AUDIT_MAX];
    struct contract_file *file;
    struct err *e;
};

static int take_last(void *arg, const struct sql_row *r)
{
    const struct contract_version v = read_version(r);
    struct last *x = arg;

    x->version = v.version;
    x->effective_s = v.effective_s;
    show(&v, x->after);
    return contract_file_parse(&x->file, v.name, v.text, strlen(v.text), x->e);
}

/* What an amendment cannot change: then it is another contract. */
static int check_same(const struct contract_file *f, const struct last *was, struct err *e)
{
    const struct contract *c = contract_file_contract(f);
    const struct contract *o = contract_file_contract(was->file);

    if (strcmp(c->supplier.name, o->supplier.name) != 0)
        return contract_file_err(f, -1, "supplier", e, "an amendment cannot change who it is");
    if (strcmp(c->customer.name, o->customer.name) != 0)
        return contract_file_err(f, -1, "customer", e, "an amendment cannot change who it is");
    if (strcmp(c->currency, o->currency) != 0)
        return contract_file_err(f, -1, "currency", e, "an amendment cannot change it");
    return 0;
}

static int put(struct accounts *a, const struct account_who *w, const struct contract_version *v,
               const char *before, struct err *e)
{
    char after[ACCOUNTS_AUDIT_MAX];
    int64_t seq = 0;
    int r;

    show(v, after);
    r = accounts_sql_log(a->db, w, "amend", ACCOUNT_OF_CONTRACT, v->name, before, after, e);
    if (!r)
        r = sql_each(a->db, "SELECT MAX(seq) FROM audit", NULL, 0, take_number, &seq, e);
    if (r)
        return r;
    return sql_run(a->db,
                   "INSERT INTO contract (name, version, effective_s, reason, text, audit_seq)"
                   " VALUES ($1, $2, $3, $4, $5, $6)",
                   (struct sql_value[]){SQL_TEXT(v->name), SQL_NUMBER(v->version),
                                        SQL_NUMBER(v->effective_s), SQL_TEXT(v->reason),
                                        SQL_TEXT(v->text), SQL_NUMBER(seq)},
                   6, NULL, e);
}

static int amend(struct accounts *a, const struct account_who *w, const struct contract_file *f,
                 struct contract_version *v, struct err *e)
{
    int64_t signed_s = contract_file_contract(f)->signed_s;
    struct last last = {.e = e};
    int r = sql_each(a->db,
                     VERSION FROM " WHERE c.name = $1 AND c.version = (SELECT MAX(version) FROM"
                                  " contract WHERE name = $1)",
                     (struct sql_value[]){SQL_TEXT(v->name)}, 1, take_last, &last, e);

    v->version = last.version + 1;
    if (!v->effective_s)
        v->effective_s = !last.version && signed_s && signed_s < w->now_s ? signed_s : w->now_s;
    if (!r && last.version && v->effective_s < last.effective_s)
        r = err_set(e, ERR_ARG,
                    "it is effective before version %lld is: amendments follow each other",
                    (long long)last.version);
    if (!r && last.version)
        r = check_same(f, &last, e);
    if (!r)
        r = put(a, w, v, last.after, e);
    contract_file_close(last.file);
    return r;
}

/* Of UTF-8: bytes that do not continue one. */
static int64_t n_characters(const char *s)
{
    int64_t n = 0;

    for (; *s; s++)
        n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

int accounts_amend(struct accounts *a, const struct account_who *w, struct contract_version *v,
                   struct err *e)
{
    struct contract_file *f = NULL;
    int64_t generation;
    int r;

    if (n_characters(v->reason) > CONTRACT_REASON_MAX)
        return err_set(e, ERR_ARG, "the reason has more than %d characters", CONTRACT_REASON_MAX);
    r = contract_file_parse(&f, v->name, v->text, strlen(v->text), e);
    if (r)
        return r;
    v->name = contract_file_contract(f)->name;
    r = accounts_sql_begin(a->db, &generation, e);
    if (!r) {
        r = amend(a, w, f, v, e);
        if (r)
            sql_rollback(a->db);
        else
            r = sql_commit(a->db, e);
    }
    v->name = NULL;
    contract_file_close(f);
    return r;
}

/* ---- is every version as it was written? ----------------------------------------------------- */

static int check_one(void *arg, const struct sql_row *r)
{
    const struct contract_version v = read_version(r);
    struct err *e = arg;
    char after[ACCOUNTS_AUDIT_MAX];

    show(&v, after);
    if (!strcmp(after, sql_text(r, 7)))
        return 0;
    return err_set(e, ERR_FORMAT, "contract %s, version %lld is not as it was written", v.name,
                   (long long)v.version);
}

static int take_name(void *arg, const struct sql_row *r)
{
    snprintf(arg, ACCOUNT_ID_MAX, "%s", sql_text(r, 0));
    return 0;
}

int accounts_contracts_check(struct accounts *a, struct err *e)
{
    char gone[ACCOUNT_ID_MAX] = "";
    int r =
        sql_each(a->db, VERSION ", a.after" FROM " ORDER BY c.audit_seq", NULL, 0, check_one, e, e);

    if (!r)
        r = sql_each(a->db,
                     "SELECT id FROM audit WHERE kind = $1 AND seq NOT IN (SELECT audit_seq FROM"
                     " contract) UNION SELECT name FROM contract WHERE audit_seq NOT IN (SELECT"
                     " seq FROM audit WHERE kind = $1) LIMIT 1",
                     (struct sql_value[]){SQL_NUMBER(ACCOUNT_OF_CONTRACT)}, 1, take_name, gone, e);
    if (!r && *gone)
        r = err_set(e, ERR_FORMAT, "contract %s: the log and the store have not the same versions",
                    gone);
    return r;
}
