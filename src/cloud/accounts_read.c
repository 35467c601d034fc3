/* Reading the store: accounts with their settings and secrets, the audit log. */
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "cloud/accounts_sql.h"

const char *account_state_name(enum account_state s)
{
    static const char *const names[ACCOUNT_STATES] = {"active", "revoked", "removed"};

    return names[s];
}

int accounts_generation(struct accounts *a, int64_t *ret, struct err *e)
{
    return accounts_sql_meta(a->db, "generation", ret, e);
}

int accounts_is_closed(struct accounts *a, int *ret, struct err *e)
{
    int64_t n = 0;
    int r = accounts_sql_meta(a->db, "closed", &n, e);

    *ret = n != 0;
    return r;
}

/* ---- accounts -------------------------------------------------------------------------------- */

/* Rows of the query are one account's settings and secrets, one each; here they are put together.
 */
struct reading {
    struct account_row row;
    int has_row;
    int (*each)(void *arg, struct account_row *r);
    void *arg;
    struct err *e;
};

#define COLUMNS "SELECT a.kind, a.id, a.tenant, a.team, a.state, a.created_s, d.name, d.value"
#define DETAILS                                                                                    \
    " FROM account AS a LEFT JOIN (SELECT kind, id, name, value FROM setting UNION ALL"            \
    " SELECT 2, key_id, 'secret', hash || ':' || CAST(not_after_s AS TEXT) FROM secret) AS d"      \
    " ON d.kind = a.kind AND d.id = a.id"

static int hand_over(struct reading *x)
{
    int r = x->has_row ? x->each(x->arg, &x->row) : 0;

    if (x->has_row)
        account_done(&x->row.settings);
    x->has_row = 0;
    return r;
}

/* "HASH:UNIX SECONDS" */
static void read_secret(struct account_row *row, const char *text)
{
    struct accounts_secret s;
    const char *end = NULL;
    size_t n = 0;

    if (sodium_hex2bin(s.hash, sizeof s.hash, text, strlen(text), NULL, &n, &end) ||
        n != sizeof s.hash || *end != ':' || row->n_secrets == ACCOUNTS_SECRETS_MAX) {
        snprintf(row->broken, sizeof row->broken, "a secret of it cannot be read");
        return;
    }
    s.not_after_s = strtoll(end + 1, NULL, 10);
    row->secret[row->n_secrets++] = s;
}

static void read_detail(struct account_row *row, const char *name, const char *value)
{
    const struct account_field *f = account_field_find(name);
    struct err e = {0};

    if (!strcmp(name, "secret"))
        read_secret(row, value);
    else if (!f)
        snprintf(row->broken, sizeof row->broken, "unknown setting '%.60s'", name);
    else if (account_field_set(&row->settings, f, value, &e))
        snprintf(row->broken, sizeof row->broken, "%.*s", (int)sizeof row->broken - 1, e.text);
}

static int take(void *arg, const struct sql_row *s)
{
    struct reading *x = arg;
    struct account_row *row = &x->row;
    int64_t kind = sql_number(s, 0), state = sql_number(s, 4);
    int r;

    if (kind < 0 || kind >= ACCOUNT_KINDS || state < 0 || state >= ACCOUNT_STATES)
        return err_set(x->e, ERR_FORMAT, "the account '%.80s' has kind %lld and state %lld",
                       sql_text(s, 1), (long long)kind, (long long)state);
    if (!x->has_row || (int64_t)row->kind != kind || strcmp(row->id, sql_text(s, 1))) {
        r = hand_over(x);
        if (r)
            return r;
        *row = (struct account_row){.kind = (enum account_kind)kind,
                                    .state = (enum account_state)state,
                                    .created_s = sql_number(s, 5),
                                    .settings = account_unsaid()};
        snprintf(row->id, sizeof row->id, "%s", sql_text(s, 1));
        snprintf(row->tenant, sizeof row->tenant, "%s", sql_text(s, 2));
        snprintf(row->team, sizeof row->team, "%s", sql_text(s, 3));
        x->has_row = 1;
    }
    if (*sql_text(s, 6))
        read_detail(row, sql_text(s, 6), sql_text(s, 7));
    return 0;
}

int accounts_each(struct accounts *a, int kind, int64_t after,
                  int (*row)(void *arg, struct account_row *r), void *arg, struct err *e)
{
    struct reading x = {.each = row, .arg = arg, .e = e};
    int r = sql_each(a->db,
                     COLUMNS DETAILS " WHERE a.gen > $1 AND ($2 < 0 OR a.kind = $2)"
                                     " ORDER BY a.kind, a.id, d.name",
                     (struct sql_value[]){SQL_NUMBER(after), SQL_NUMBER(kind)}, 2, take, &x, e);

    if (!r)
        r = hand_over(&x);
    else if (x.has_row)
        account_done(&x.row.settings);
    return r;
}

/* Keeps the one row, and its settings. */
static int keep(void *arg, struct account_row *r)
{
    *(struct account_row *)arg = *r;
    r->settings = account_unsaid(); /* the keeper's now */
    return 0;
}

int accounts_get(struct accounts *a, enum account_kind kind, const char *id,
                 struct account_row *ret, struct err *e)
{
    struct account_row row = {.state = ACCOUNT_REMOVED, .settings = account_unsaid()};
    struct reading x = {.each = keep, .arg = &row, .e = e};
    int r = sql_each(
        a->db, COLUMNS DETAILS " WHERE a.kind = $1 AND a.id = $2 AND a.state <> 2 ORDER BY d.name",
        (struct sql_value[]){SQL_NUMBER(kind), SQL_TEXT(id)}, 2, take, &x, e);

    if (!r)
        r = hand_over(&x);
    if (!r && row.state == ACCOUNT_REMOVED)
        r = err_set(e, ERR_NOTFOUND, "There is no %s '%.120s'.", account_kind_name(kind), id);
    if (r)
        account_done(&row.settings);
    else
        *ret = row;
    return r;
}

/* ---- salts ----------------------------------------------------------------------------------- */

struct salts {
    int (*each)(void *arg, const unsigned char salt[32]);
    void *arg;
    struct err *e;
};

static int take_salt(void *arg, const struct sql_row *r)
{
    struct salts *x = arg;
    const char *hex = sql_text(r, 0);
    unsigned char bytes[32];
    size_t n = 0;

    if (sodium_hex2bin(bytes, sizeof bytes, hex, strlen(hex), NULL, &n, NULL) || n != sizeof bytes)
        return err_set(x->e, ERR_FORMAT, "a salt of the store is not 64 hex digits");
    return x->each(x->arg, bytes);
}

int accounts_salts(struct accounts *a, int (*salt)(void *arg, const unsigned char salt[32]),
                   void *arg, struct err *e)
{
    struct salts x = {salt, arg, e};

    return sql_each(a->db, "SELECT salt FROM salt ORDER BY id", NULL, 0, take_salt, &x, e);
}

/* ---- the audit log --------------------------------------------------------------------------- */

struct log {
    int (*line)(void *arg, const struct account_audit *l);
    void *arg;
    struct err *e;
};

static int read_line(const struct sql_row *r, struct account_audit *ret, struct err *e)
{
    int64_t kind = sql_number(r, 4);

    if (kind < 0 || kind >= ACCOUNT_LOG_KINDS)
        return err_set(e, ERR_FORMAT, "line %lld of the audit log has kind %lld",
                       (long long)sql_number(r, 0), (long long)kind);
    *ret = (struct account_audit){.seq = sql_number(r, 0),
                                  .at_s = sql_number(r, 1),
                                  .actor = sql_text(r, 2),
                                  .action = sql_text(r, 3),
                                  .kind = (int)kind,
                                  .id = sql_text(r, 5),
                                  .before = sql_text(r, 6),
                                  .after = sql_text(r, 7)};
    return 0;
}

static int take_line(void *arg, const struct sql_row *r)
{
    struct log *x = arg;
    struct account_audit l;
    int code = read_line(r, &l, x->e);

    return code ? code : x->line(x->arg, &l);
}

#define LINES "SELECT seq, at_s, actor, action, kind, id, before, after, link FROM audit"

int accounts_audit(struct accounts *a, int64_t after, int64_t max,
                   int (*line)(void *arg, const struct account_audit *l), void *arg, struct err *e)
{
    struct log x = {.line = line, .arg = arg, .e = e};

    return sql_each(a->db, LINES " WHERE seq > $1 ORDER BY seq LIMIT $2",
                    (struct sql_value[]){SQL_NUMBER(after), SQL_NUMBER(max)}, 2, take_line, &x, e);
}

int accounts_audit_back(struct accounts *a, int64_t before, int64_t max,
                        int (*line)(void *arg, const struct account_audit *l), void *arg,
                        struct err *e)
{
    struct log x = {.line = line, .arg = arg, .e = e};

    return sql_each(a->db, LINES " WHERE seq < $1 ORDER BY seq DESC LIMIT $2",
                    (struct sql_value[]){SQL_NUMBER(before), SQL_NUMBER(max)}, 2, take_line, &x, e);
}

static void hash_text(crypto_generichash_state *h, const char *s)
{
    crypto_generichash_update(h, (const unsigned char *)s, strlen(s) + 1);
}

void accounts_audit_link(const char *before, const struct account_audit *l, char ret[65])
{
    unsigned char hash[32];
    char numbers[80];
    crypto_generichash_state h;

    snprintf(numbers, sizeof numbers, "%" PRId64 " %" PRId64 " %d", l->seq, l->at_s, (int)l->kind);
    crypto_generichash_init(&h, NULL, 0, sizeof hash);
    hash_text(&h, before);
    hash_text(&h, numbers);
    hash_text(&h, l->actor);
    hash_text(&h, l->action);
    hash_text(&h, l->id);
    hash_text(&h, l->before);
    hash_text(&h, l->after);
    crypto_generichash_final(&h, hash, sizeof hash);
    sodium_bin2hex(ret, 65, hash, sizeof hash);
}

struct check {
    struct err *e;
    int64_t n;
    char link[65];
};

static int check_line(void *arg, const struct sql_row *r)
{
    struct check *x = arg;
    struct account_audit l;
    char link[65];
    int code = read_line(r, &l, x->e);

    if (code)
        return code;
    accounts_audit_link(x->link, &l, link);
    if (l.seq != ++x->n || strcmp(link, sql_text(r, 8)))
        return err_set(x->e, ERR_FORMAT,
                       "line %lld of the audit log is not as it was written, or one before it is "
                       "gone",
                       (long long)l.seq);
    memcpy(x->link, link, sizeof link);
    return 0;
}

int accounts_audit_check(struct accounts *a, int64_t *ret_lines, struct err *e)
{
    struct check x = {.e = e};
    int r = sql_each(a->db, LINES " ORDER BY seq", NULL, 0, check_line, &x, e);

    *ret_lines = x.n;
    if (!r)
        r = accounts_contracts_check(a, e);
    return r ? r : accounts_measurements_check(a, e);
}

/* ---- a copy ---------------------------------------------------------------------------------- */

static int check_copy(void *arg, const char *path, struct err *e)
{
    struct accounts *a = NULL;
    int r = accounts_open(&a, path, e);

    if (!r)
        r = accounts_audit_check(a, arg, e);
    accounts_close(a);
    return r;
}

int accounts_backup(struct accounts *a, const char *to, int64_t *ret_lines, struct err *e)
{
    return sql_backup(a->db, to, check_copy, ret_lines, e);
}
