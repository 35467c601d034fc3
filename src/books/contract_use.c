#include "books/contract_use.h"

#include <stdlib.h>

#include "books/ledger_file.h"

#define SECOND_US INT64_C(1000000)
#define THESE                                                                                      \
    " FROM usage WHERE contract = $1 AND contract <> '' AND at_us >= $2 AND at_us < $3"            \
    " AND seq <= $4"
static const char used[] =
    "SELECT tranche, tenant, currency, lent, count(CASE WHEN corrects = '' THEN 1 END),"
    " count(CASE WHEN corrects = '' AND energy_method = 0 AND prompt_tokens + completion_tokens > 0"
    " THEN 1 END), sum(prompt_tokens), sum(completion_tokens), sum(" LEDGER_CHARGE "),"
    " sum(CASE WHEN energy_method <> 0 THEN energy_uj / 1000000 ELSE 0 END),"
    " sum(CASE WHEN energy_method <> 0 THEN energy_uj % 1000000 ELSE 0 END)," /* fits in any case */
    " min(seq), max(seq), count(CASE WHEN corrects = '' AND charge_nano > 0 THEN 1 END)" THESE
    " GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4";
static const char rows[] = "SELECT " LEDGER_COLUMNS THESE " ORDER BY seq";

struct contract_books {
    struct sql *db;
};

int contract_books_open(struct contract_books **ret, const char *where, struct err *e)
{
    struct contract_books *b = calloc(1, sizeof *b);
    int r =
        b ? ledger_file_open(&b->db, where, 1, e) : err_set(e, ERR_NOMEM, "ledger: out of memory");

    if (r)
        free(b);
    else
        *ret = b;
    return r;
}

void contract_books_close(struct contract_books *b)
{
    if (b)
        sql_close(b->db);
    free(b);
}

/* Nothing where there is none. */
static int take_least(void *arg, const struct sql_row *s)
{
    if (!sql_is_null(s, 0))
        *(int64_t *)arg = sql_number(s, 0);
    return 0;
}

static int take_number(void *arg, const struct sql_row *s)
{
    *(int64_t *)arg = sql_number(s, 0);
    return 0;
}

int contract_books_end(struct contract_books *b, int64_t known_s, int64_t *ret_usage,
                       int64_t *ret_power, struct err *e)
{
    int is_all = known_s > INT64_MAX / SECOND_US - 1;
    const struct sql_value until = SQL_NUMBER(is_all ? 0 : (known_s + 1) * SECOND_US);
    int r = sql_each(b->db, "SELECT coalesce(max(seq), 0) FROM usage", NULL, 0, take_number,
                     ret_usage, e);

    if (!r)
        r = sql_each(b->db, "SELECT coalesce(max(seq), 0) FROM power", NULL, 0, take_number,
                     ret_power, e);
    if (r || is_all)
        return r;
    return sql_each(b->db, "SELECT min(seq) - 1 FROM power WHERE at_us >= $1", &until, 1,
                    take_least, ret_power, e);
}

struct reading {
    int (*used)(void *arg, const struct contract_used *u);
    int (*row)(void *arg, int64_t seq, const struct books_row *r);
    void *arg;
};

static int take_used(void *arg, const struct sql_row *s)
{
    const struct reading *x = arg;
    struct contract_used u = {.lent = (int)sql_number(s, 3),
                              .n_requests = sql_number(s, 4),
                              .n_unmetered = sql_number(s, 5),
                              .prompt_tokens = sql_number(s, 6),
                              .completion_tokens = sql_number(s, 7),
                              .charge_nano = sql_number(s, 8),
                              .energy_uj = (power_uj)sql_number(s, 9) * 1000000 + sql_number(s, 10),
                              .first_seq = sql_number(s, 11),
                              .last_seq = sql_number(s, 12),
                              .n_charged = sql_number(s, 13)};

    ledger_sql_text(u.tranche, sizeof u.tranche, s, 0);
    ledger_sql_text(u.tenant, sizeof u.tenant, s, 1);
    ledger_sql_text(u.currency, sizeof u.currency, s, 2);
    return x->used(x->arg, &u);
}

int contract_books_used(struct contract_books *b, const char *contract, int64_t from_us,
                        int64_t until_us, int64_t upto_seq,
                        int (*take)(void *arg, const struct contract_used *u), void *arg,
                        struct err *e)
{
    const struct sql_value v[] = {SQL_TEXT(contract), SQL_NUMBER(from_us), SQL_NUMBER(until_us),
                                  SQL_NUMBER(upto_seq)};
    struct reading x = {.used = take, .arg = arg};

    return sql_each(b->db, used, v, 4, take_used, &x, e);
}

static int take_row(void *arg, const struct sql_row *s)
{
    const struct reading *x = arg;
    struct books_row row;

    ledger_sql_read(s, &row);
    return x->row(x->arg, sql_number(s, LEDGER_SEQ), &row);
}

int contract_books_rows(struct contract_books *b, const char *contract, int64_t from_us,
                        int64_t until_us,
                        int (*take)(void *arg, int64_t seq, const struct books_row *r), void *arg,
                        struct err *e)
{
    const struct sql_value v[] = {SQL_TEXT(contract), SQL_NUMBER(from_us), SQL_NUMBER(until_us),
                                  SQL_NUMBER(INT64_MAX)};
    struct reading x = {.row = take, .arg = arg};

    return sql_each(b->db, rows, v, 4, take_row, &x, e);
}
