/* PostgreSQL by libpq, which is opened when a URL asks for it: a program that has no such database
 * does not need the library. The names and numbers below are those of libpq's stable interface
 * (libpq-fe.h; PostgreSQL's documentation, chapter "libpq"). */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/sql_int.h"

enum { CONNECTION_OK = 0 };
enum { EMPTY_QUERY = 0, COMMAND_OK = 1, TUPLES_OK = 2 };
#define SQLSTATE 'C'

typedef void conn;   /* PGconn */
typedef void result; /* PGresult */

static struct {
    conn *(*PQconnectdb)(const char *);
    int (*PQstatus)(const conn *);
    char *(*PQerrorMessage)(const conn *);
    void (*PQreset)(conn *);
    void (*PQfinish)(conn *);
    void *(*PQsetNoticeProcessor)(conn *, void (*)(void *, const char *), void *);
    result *(*PQexec)(conn *, const char *);
    result *(*PQexecParams)(conn *, const char *, int, const unsigned *, const char *const *,
                            const int *, const int *, int);
    int (*PQresultStatus)(const result *);
    char *(*PQresultErrorField)(const result *, int);
    int (*PQntuples)(const result *);
    char *(*PQgetvalue)(const result *, int, int);
    char *(*PQcmdTuples)(result *);
    void (*PQclear)(result *);
} pq;

static const struct {
    const char *name;
    void *to;
} symbols[] = {
#define SYMBOL(x)                                                                                  \
    {                                                                                              \
#x, &pq.x                                                                                  \
    }
    SYMBOL(PQconnectdb),    SYMBOL(PQstatus),
    SYMBOL(PQerrorMessage), SYMBOL(PQreset),
    SYMBOL(PQfinish),       SYMBOL(PQsetNoticeProcessor),
    SYMBOL(PQexec),         SYMBOL(PQexecParams),
    SYMBOL(PQresultStatus), SYMBOL(PQresultErrorField),
    SYMBOL(PQntuples),      SYMBOL(PQgetvalue),
    SYMBOL(PQcmdTuples),    SYMBOL(PQclear),
#undef SYMBOL
};

static pthread_mutex_t load_lock = PTHREAD_MUTEX_INITIALIZER;
static int is_loaded;

struct pq_db {
    struct sql s; /* first */
    conn *c;
    int in_transaction;
};

struct pq_row {
    struct sql_row r; /* first */
    const result *res;
    int i;
};

static int load(struct err *e)
{
    void *lib = NULL;
    int r = 0;

    pthread_mutex_lock(&load_lock);
    if (!is_loaded) {
        lib = dlopen("libpq.so.5", RTLD_NOW | RTLD_LOCAL);
        if (!lib)
            r = err_set(e, ERR_UNSUPPORTED,
                        "a database of PostgreSQL needs its client library (on Debian: apt-get "
                        "install libpq5): %.200s",
                        dlerror());
        for (size_t i = 0; !r && i < sizeof symbols / sizeof *symbols; i++) {
            void *at = dlsym(lib, symbols[i].name);
            if (!at)
                r = err_set(e, ERR_UNSUPPORTED, "libpq has no %s", symbols[i].name);
            memcpy(symbols[i].to, &at, sizeof at);
        }
        is_loaded = !r;
    }
    pthread_mutex_unlock(&load_lock);
    return r;
}

static struct pq_db *of(struct sql *s)
{
    return (struct pq_db *)(void *)s;
}

/* The first line of what it says. */
static int failed(struct pq_db *d, const result *res, struct err *e)
{
    const char *state = res ? pq.PQresultErrorField(res, SQLSTATE) : NULL;
    const char *text = pq.PQerrorMessage(d->c);
    int r = !state                     ? ERR_IO
            : !strncmp(state, "23", 2) ? ERR_EXISTS /* integrity_constraint_violation */
            : !strncmp(state, "40", 2) ? ERR_AGAIN  /* transaction_rollback */
                                       : ERR_IO;

    return err_set(e, r, "PostgreSQL: %.*s", (int)strcspn(text, "\n"), text);
}

static void quiet(void *arg, const char *text)
{
    (void)arg;
    (void)text;
}

static void pq_close(struct sql *s)
{
    pq.PQfinish(of(s)->c);
    free(s);
}

/* A connection that was lost is made anew, where nothing of a transaction is lost with it. */
static void revive(struct pq_db *d)
{
    if (pq.PQstatus(d->c) != CONNECTION_OK && !d->in_transaction)
        pq.PQreset(d->c);
}

static int pq_exec(struct sql *s, const char *statements, struct err *e)
{
    struct pq_db *d = of(s);
    result *res;
    int status, r;

    revive(d);
    res = pq.PQexec(d->c, statements);
    status = res ? pq.PQresultStatus(res) : -1;
    r = status == COMMAND_OK || status == TUPLES_OK || status == EMPTY_QUERY ? 0
                                                                             : failed(d, res, e);
    pq.PQclear(res);
    if (!strcmp(statements, "BEGIN"))
        d->in_transaction = !r;
    else if (!strcmp(statements, "COMMIT") || !strcmp(statements, "ROLLBACK"))
        d->in_transaction = 0;
    return r;
}

static const char *pq_text(const struct sql_row *r, int i)
{
    const struct pq_row *one = (const struct pq_row *)(const void *)r;

    return pq.PQgetvalue(one->res, one->i, i); /* "" for NULL */
}

static int64_t pq_number(const struct sql_row *r, int i)
{
    return strtoll(pq_text(r, i), NULL, 10);
}

static int rows_of(const result *res, int (*row)(void *arg, const struct sql_row *r), void *arg)
{
    struct pq_row one = {.r = {pq_number, pq_text}, .res = res};
    int n = pq.PQntuples(res), r = 0;

    for (; !r && one.i < n; one.i++)
        r = row(arg, &one.r);
    return r;
}

static int pq_each(struct sql *s, const char *query, const struct sql_value *v, int n,
                   int (*row)(void *arg, const struct sql_row *r), void *arg, int64_t *ret_changed,
                   struct err *e)
{
    struct pq_db *d = of(s);
    const char *values[SQL_PARAMETERS_MAX];
    char numbers[SQL_PARAMETERS_MAX][24];
    result *res;
    int status, r = 0;

    for (int i = 0; i < n; i++) {
        snprintf(numbers[i], sizeof numbers[i], "%lld", (long long)v[i].number);
        values[i] = v[i].text ? v[i].text : numbers[i];
    }
    for (int again = 1; again >= 0; again--) { /* one that was found dead: once more */
        revive(d);
        res = pq.PQexecParams(d->c, query, n, NULL, values, NULL, NULL, 0);
        if (pq.PQstatus(d->c) == CONNECTION_OK || d->in_transaction || !again)
            break;
        pq.PQclear(res);
    }
    status = res ? pq.PQresultStatus(res) : -1;
    if (status != COMMAND_OK && status != TUPLES_OK)
        r = failed(d, res, e);
    else if (row && status == TUPLES_OK)
        r = rows_of(res, row, arg);
    *ret_changed = res ? strtoll(pq.PQcmdTuples(res), NULL, 10) : 0;
    pq.PQclear(res);
    return r;
}

static const struct sql_ops pq_ops = {
    .close = pq_close, .exec = pq_exec, .each = pq_each, .begin = "BEGIN"};

int sql_pq_open(struct sql **ret, const char *url, struct err *e)
{
    struct pq_db *d;
    int r = load(e);

    if (r)
        return r;
    d = calloc(1, sizeof *d);
    if (!d)
        return err_set(e, ERR_NOMEM, "out of memory");
    d->s.ops = &pq_ops;
    d->c = pq.PQconnectdb(url);
    if (!d->c) {
        free(d);
        return err_set(e, ERR_NOMEM, "out of memory");
    }
    if (pq.PQstatus(d->c) != CONNECTION_OK) {
        r = failed(d, NULL, e);
        pq_close(&d->s);
        return r;
    }
    pq.PQsetNoticeProcessor(d->c, quiet, NULL);
    *ret = &d->s;
    return 0;
}
