/* PostgreSQL by libpq, which is opened when a URL asks for it: a program that has no such database
 * does not need the library. The names and numbers below are those of libpq's stable interface
 * (libpq-fe.h; PostgreSQL's documentation, chapter "libpq").
 *
 * No call waits for ever. What is sent is sent without waiting for its answer, and rows are taken
 * one by one, so that a large result is never in memory as a whole. */
#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/sql_int.h"

enum { CONNECTION_OK = 0 };
enum { EMPTY_QUERY = 0, COMMAND_OK = 1, TUPLES_OK = 2, SINGLE_TUPLE = 9 };
#define SQLSTATE 'C'
enum { NO_STATE = -1, NO_ANSWER = -2 }; /* beside SQLSTATEs, for sql_code */

/* Who begins alone holds this lock of the database (pg_advisory_xact_lock) till it ends. */
#define ALONE "7449369116517138433"

/* Statements with so many parameters take the server longer to read than to carry out: each
 * connection has the first so many of them prepared. */
#define PREPARED_FROM 64
#define PREPARED_MAX  32

#define SCHEMA_MAX    64
#define STATEMENT_MAX ((size_t)1 << 20)

typedef void conn;   /* PGconn */
typedef void result; /* PGresult */
typedef void cancel; /* PGcancel */

/* PQconninfoOption: six texts, of which two are read, and a number. */
typedef char *option[7];
enum { KEYWORD = 0, VALUE = 3 };

static struct {
    option *(*PQconninfoParse)(const char *, char **);
    void (*PQconninfoFree)(option *);
    conn *(*PQconnectdbParams)(const char *const *, const char *const *, int);
    int (*PQstatus)(const conn *);
    int (*PQsocket)(const conn *);
    const char *(*PQparameterStatus)(const conn *, const char *);
    char *(*PQerrorMessage)(const conn *);
    void (*PQreset)(conn *);
    void (*PQfinish)(conn *);
    void *(*PQsetNoticeProcessor)(conn *, void (*)(void *, const char *), void *);
    int (*PQsetnonblocking)(conn *, int);
    int (*PQsendQuery)(conn *, const char *);
    int (*PQsendQueryParams)(conn *, const char *, int, const unsigned *, const char *const *,
                             const int *, const int *, int);
    int (*PQsendPrepare)(conn *, const char *, const char *, int, const unsigned *);
    int (*PQsendQueryPrepared)(conn *, const char *, int, const char *const *, const int *,
                               const int *, int);
    int (*PQsetSingleRowMode)(conn *);
    int (*PQflush)(conn *);
    int (*PQconsumeInput)(conn *);
    int (*PQisBusy)(conn *);
    result *(*PQgetResult)(conn *);
    int (*PQresultStatus)(const result *);
    char *(*PQresultErrorField)(const result *, int);
    int (*PQntuples)(const result *);
    char *(*PQgetvalue)(const result *, int, int);
    int (*PQgetisnull)(const result *, int, int);
    char *(*PQcmdTuples)(result *);
    void (*PQclear)(result *);
    cancel *(*PQgetCancel)(conn *);
    int (*PQcancel)(cancel *, char *, int);
    void (*PQfreeCancel)(cancel *);
} pq;

static const struct {
    const char *name;
    void *to;
} symbols[] = {
#define SYMBOL(x)                                                                                  \
    {                                                                                              \
#x, &pq.x                                                                                  \
    }
    SYMBOL(PQconninfoParse),
    SYMBOL(PQconninfoFree),
    SYMBOL(PQconnectdbParams),
    SYMBOL(PQstatus),
    SYMBOL(PQsocket),
    SYMBOL(PQparameterStatus),
    SYMBOL(PQerrorMessage),
    SYMBOL(PQreset),
    SYMBOL(PQfinish),
    SYMBOL(PQsetNoticeProcessor),
    SYMBOL(PQsetnonblocking),
    SYMBOL(PQsendQuery),
    SYMBOL(PQsendQueryParams),
    SYMBOL(PQsendPrepare),
    SYMBOL(PQsendQueryPrepared),
    SYMBOL(PQsetSingleRowMode),
    SYMBOL(PQflush),
    SYMBOL(PQconsumeInput),
    SYMBOL(PQisBusy),
    SYMBOL(PQgetResult),
    SYMBOL(PQresultStatus),
    SYMBOL(PQresultErrorField),
    SYMBOL(PQntuples),
    SYMBOL(PQgetvalue),
    SYMBOL(PQgetisnull),
    SYMBOL(PQcmdTuples),
    SYMBOL(PQclear),
    SYMBOL(PQgetCancel),
    SYMBOL(PQcancel),
    SYMBOL(PQfreeCancel),
#undef SYMBOL
};

static pthread_mutex_t load_lock = PTHREAD_MUTEX_INITIALIZER;
static int is_loaded;

struct pq_db {
    struct sql s; /* first */
    conn *c;
    int in_transaction, is_patient, is_flushed_late;
    int is_lost;  /* it did not answer in time, or broke; nothing more is read from it */
    int has_told; /* a row of the query that runs was handed out */
    char schema[SCHEMA_MAX];
    char *prepared[PREPARED_MAX]; /* their texts; the names are s0, s1 ... */
    int n_prepared;
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

/* SQLSTATE's five letters and digits as a number. */
static int code_of(const char *state)
{
    return state ? (int)(strtoll(state, NULL, 36) % INT32_MAX) : NO_STATE;
}

/* The first line of what it says. */
static int failed(struct pq_db *d, const result *res, struct err *e)
{
    const char *state = res ? pq.PQresultErrorField(res, SQLSTATE) : NULL;
    const char *text = pq.PQerrorMessage(d->c);
    int r = !state                     ? ERR_IO
            : !strncmp(state, "23", 2) ? ERR_EXISTS /* integrity_constraint_violation */
            : !strncmp(state, "40", 2) ? ERR_AGAIN  /* transaction_rollback */
            : !strcmp(state, "55P03")  ? ERR_AGAIN  /* lock_not_available */
                                       : ERR_IO;

    d->s.code = code_of(state);
    return err_set(e, r, "%s in PostgreSQL: %.*s", d->s.what, (int)strcspn(text, "\n"), text);
}

static void quiet(void *arg, const char *text)
{
    (void)arg;
    (void)text;
}

static void forget_prepared(struct pq_db *d)
{
    while (d->n_prepared)
        free(d->prepared[--d->n_prepared]);
}

static void pq_close(struct sql *s)
{
    forget_prepared(of(s));
    pq.PQfinish(of(s)->c);
    free(s);
}

/* ---- sending, and taking what comes ---------------------------------------------------------- */

static int lost(struct pq_db *d, struct err *e)
{
    d->is_lost = 1;
    d->s.code = NO_ANSWER;
    return err_set(e, ERR_IO, "%s in PostgreSQL: no answer in %d s", d->s.what,
                   SQL_ANSWER_MS / 1000);
}

/* Wait until the connection can be read, or written where something is still to be sent. */
static int wait_for(struct pq_db *d, int64_t until_us, int is_sending, struct err *e)
{
    struct pollfd p = {.fd = pq.PQsocket(d->c),
                       .events = (short)(is_sending ? POLLIN | POLLOUT : POLLIN)};
    int64_t left_ms;
    int n;

    do {
        left_ms = d->is_patient ? -1 : (until_us - clock_now_us()) / 1000 + 1;
        if (!d->is_patient && left_ms <= 0)
            return lost(d, e);
        n = poll(&p, 1, (int)left_ms);
    } while (n < 0 && errno == EINTR);
    return n == 0 ? lost(d, e) : 0;
}

static int send_all(struct pq_db *d, int64_t until_us, struct err *e)
{
    int r;

    while ((r = pq.PQflush(d->c)) > 0) {
        r = wait_for(d, until_us, 1, e);
        if (r)
            return r;
        if (!pq.PQconsumeInput(d->c))
            break;
    }
    return 0; /* what broke the connection is told by the result */
}

/* The next result of what was sent, NULL after the last one. */
static int next_result(struct pq_db *d, int64_t until_us, result **ret, struct err *e)
{
    int r;

    while (pq.PQisBusy(d->c)) {
        r = wait_for(d, until_us, 0, e);
        if (r)
            return r;
        if (!pq.PQconsumeInput(d->c))
            break;
    }
    *ret = pq.PQgetResult(d->c);
    return 0;
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

static int pq_is_null(const struct sql_row *r, int i)
{
    const struct pq_row *one = (const struct pq_row *)(const void *)r;

    return pq.PQgetisnull(one->res, one->i, i);
}

static int rows_of(const result *res, int (*row)(void *arg, const struct sql_row *r), void *arg)
{
    struct pq_row one = {.r = {pq_number, pq_text, pq_is_null}, .res = res};
    int n = pq.PQntuples(res), r = 0;

    for (; !r && one.i < n; one.i++)
        r = row(arg, &one.r);
    return r;
}

/* Nobody wants the rows that are still to come. */
static void stop_query(struct pq_db *d)
{
    char why[256];
    cancel *c = pq.PQgetCancel(d->c);

    if (c)
        pq.PQcancel(c, why, sizeof why);
    pq.PQfreeCancel(c);
}

/* All results of what was sent. What fails first is returned; the rest is taken all the same. */
static int take_results(struct pq_db *d, int (*row)(void *arg, const struct sql_row *r), void *arg,
                        int64_t *ret_changed, struct err *e)
{
    int64_t until_us = clock_now_us() + SQL_ANSWER_MS * INT64_C(1000);
    result *res = NULL;
    struct err other;
    int r = send_all(d, until_us, e), status;

    if (r)
        return r;
    for (;;) {
        int late = next_result(d, until_us, &res, r ? &other : e);
        if (late)
            return r ? r : late;
        if (!res)
            break;
        status = pq.PQresultStatus(res);
        if (status == SINGLE_TUPLE || status == TUPLES_OK) {
            d->has_told |= row && pq.PQntuples(res) > 0;
            if (!r && row && (r = rows_of(res, row, arg)))
                stop_query(d);
        } else if (status != COMMAND_OK && status != EMPTY_QUERY && !r) {
            r = failed(d, res, e);
        }
        if (ret_changed && *pq.PQcmdTuples(res))
            *ret_changed = strtoll(pq.PQcmdTuples(res), NULL, 10);
        pq.PQclear(res);
        if (pq.PQstatus(d->c) != CONNECTION_OK)
            break;
        until_us = clock_now_us() + SQL_ANSWER_MS * INT64_C(1000);
    }
    if (pq.PQstatus(d->c) != CONNECTION_OK) {
        d->is_lost = 1;
        return r ? r : failed(d, NULL, e);
    }
    return r;
}

/* Statements without parameters, on a connection that is there. */
static int simple(struct pq_db *d, const char *statements, struct err *e)
{
    if (d->is_lost || !pq.PQsendQuery(d->c, statements)) {
        d->is_lost = 1;
        return failed(d, NULL, e);
    }
    return take_results(d, NULL, NULL, NULL, e);
}

/* ---- the connection -------------------------------------------------------------------------- */

/* Is each part of the URL what it was meant to be? Where a password has a `/` or `@` as it is,
 * libpq takes a piece of it for a host, a port or a database, and shows it in its errors. */
static int check_url(const struct pq_db *d, const char *url, struct err *e)
{
    option *all = pq.PQconninfoParse(url, NULL);
    const char *rest = strstr(url, "://") + 3, *slash = strchr(rest, '/');
    int is_clear = all && !(slash && strchr(slash, '@'));

    for (int i = 0; all && all[i][KEYWORD]; i++) {
        const char *name = all[i][KEYWORD], *value = all[i][VALUE];
        if (value && !strcmp(name, "port"))
            is_clear &= !value[strspn(value, "0123456789,")];
        if (value && !strcmp(name, "host"))
            is_clear &= !strchr(value, '@');
    }
    pq.PQconninfoFree(all);
    return is_clear ? 0
                    : err_set(e, ERR_ARG,
                              "%s in PostgreSQL: not a URL that is clear: in names and passwords "
                              "write %%40 for @, %%2F for /, %%3A for :, %%25 for %%, %%26 for &",
                              d->s.what);
}

/* What each connection begins with. One that idles inside a transaction, because its process was
 * stopped or its machine is gone, must not hold up the others. */
static int greet(struct pq_db *d, struct err *e)
{
    char text[400];

    pq.PQsetnonblocking(d->c, 1);
    pq.PQsetNoticeProcessor(d->c, quiet, NULL);
    d->is_lost = 0;
    forget_prepared(d);
    snprintf(text, sizeof text,
             "SET lock_timeout = %d; SET idle_in_transaction_session_timeout = %d%s%s%s",
             SQL_BUSY_MS, 2 * SQL_BUSY_MS, *d->schema ? "; SET search_path = " : "", d->schema,
             d->is_flushed_late ? "; SET synchronous_commit = off" : "");
    return simple(d, text, e);
}

/* A connection that was lost is made anew, where nothing of a transaction is lost with it. */
static int revive(struct pq_db *d, struct err *e)
{
    if (d->in_transaction || (!d->is_lost && pq.PQstatus(d->c) == CONNECTION_OK))
        return 0;
    d->is_lost = 1;
    pq.PQreset(d->c);
    if (pq.PQstatus(d->c) != CONNECTION_OK)
        return failed(d, NULL, e);
    return greet(d, e);
}

/* A name for a statement, "" where it has none. It is prepared where that is worth it. */
static int find_prepared(struct pq_db *d, const char *text, int n, char ret_name[16], struct err *e)
{
    char *copy;
    int i = 0, r;

    *ret_name = 0;
    if (n < PREPARED_FROM)
        return 0;
    while (i < d->n_prepared && strcmp(d->prepared[i], text))
        i++;
    if (i == PREPARED_MAX)
        return 0;
    snprintf(ret_name, 16, "s%d", i);
    if (i < d->n_prepared)
        return 0;
    copy = strdup(text);
    if (!copy)
        return err_set(e, ERR_NOMEM, "out of memory");
    if (pq.PQsendPrepare(d->c, ret_name, text, 0, NULL)) {
        r = take_results(d, NULL, NULL, NULL, e);
    } else {
        r = failed(d, NULL, e);
        d->is_lost = 1;
    }
    if (r)
        free(copy);
    else
        d->prepared[d->n_prepared++] = copy;
    return r;
}

static int send_query(struct pq_db *d, const char *name, const char *text,
                      const char *const *values, int n)
{
    if (!values)
        return pq.PQsendQuery(d->c, text);
    if (*name)
        return pq.PQsendQueryPrepared(d->c, name, n, values, NULL, NULL, 0);
    return pq.PQsendQueryParams(d->c, text, n, NULL, values, NULL, NULL, 0);
}

/* On a connection that is there. */
static int ask_once(struct pq_db *d, const char *text, const char *const *values, int n,
                    int (*row)(void *arg, const struct sql_row *r), void *arg, int64_t *ret_changed,
                    struct err *e)
{
    char name[16];
    int r = d->is_lost ? failed(d, NULL, e) : find_prepared(d, text, n, name, e);

    if (r)
        return r;
    if (!send_query(d, name, text, values, n)) {
        d->is_lost = 1;
        return failed(d, NULL, e);
    }
    if (row)
        pq.PQsetSingleRowMode(d->c);
    return take_results(d, row, arg, ret_changed, e);
}

/* Send it, and take what comes; one connection that was found dead, as its server was started anew
 * or it idled too long, is made anew for it. */
static int ask(struct pq_db *d, const char *text, const char *const *values, int n,
               int (*row)(void *arg, const struct sql_row *r), void *arg, int64_t *ret_changed,
               struct err *e)
{
    int is_old = !d->is_lost && !d->in_transaction, r = revive(d, e);

    if (r)
        return r;
    d->has_told = 0;
    r = ask_once(d, text, values, n, row, arg, ret_changed, e);
    if (r && d->is_lost && is_old && !d->has_told && d->s.code != NO_ANSWER)
        return ask(d, text, values, n, row, arg, ret_changed, e);
    return r;
}

static int pq_exec(struct sql *s, const char *statements, struct err *e)
{
    return ask(of(s), statements, NULL, 0, NULL, NULL, NULL, e);
}

/* Bytes are the order of texts, as in SQLite, whatever the database's is. */
static int pq_make(struct sql *s, const char *statements, struct err *e)
{
    const char *type;
    struct buf b;
    int r;

    buf_init(&b, STATEMENT_MAX);
    while ((type = strstr(statements, " TEXT "))) {
        buf_addf(&b, "%.*s TEXT COLLATE \"C\" ", (int)(type - statements), statements);
        statements = type + 6;
    }
    buf_add_str(&b, statements);
    r = b.failed ? err_set(e, b.failed, "out of memory") : pq_exec(s, b.data, e);
    buf_done(&b);
    return r;
}

static int pq_each(struct sql *s, const char *query, const struct sql_value *v, int n,
                   int (*row)(void *arg, const struct sql_row *r), void *arg, int64_t *ret_changed,
                   struct err *e)
{
    const char *few[16] = {0}, **values = few;
    char few_numbers[16][24], (*numbers)[24] = few_numbers;
    int r;

    if (n > 16) {
        values = calloc((size_t)n, sizeof *values);
        numbers = calloc((size_t)n, sizeof *numbers);
    }
    if (!values || !numbers) {
        r = err_set(e, ERR_NOMEM, "out of memory");
    } else {
        for (int i = 0; i < n; i++) {
            snprintf(numbers[i], sizeof numbers[i], "%lld", (long long)v[i].number);
            values[i] = v[i].is_null ? NULL : v[i].text ? v[i].text : numbers[i];
        }
        *ret_changed = 0;
        r = ask(of(s), query, values, n, row, arg, ret_changed, e);
    }
    if (n > 16) {
        free((void *)values);
        free(numbers);
    }
    return r;
}

/* ---- transactions ---------------------------------------------------------------------------- */

static int pq_begin(struct sql *s, enum sql_begin how, struct err *e)
{
    struct pq_db *d = of(s);
    /* Read committed, whatever the database's default is: what is read after the lock was waited
     * for is what the one before has left. */
    static const char *const texts[] = {
        [SQL_BEGIN_WRITE] = "BEGIN",
        [SQL_BEGIN_ALONE] = "BEGIN ISOLATION LEVEL READ COMMITTED;"
                            "SELECT pg_advisory_xact_lock(" ALONE ")",
        [SQL_BEGIN_READ] = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
    };
    int r = ask(d, texts[how], NULL, 0, NULL, NULL, NULL, e);

    d->in_transaction = !d->is_lost; /* one that could not get the lock is to be rolled back */
    return r;
}

static int pq_end(struct sql *s, const char *how, struct err *e)
{
    struct pq_db *d = of(s);
    int is_there = d->in_transaction, r;

    if (!is_there && *how == 'R')
        return 0;
    r = simple(d, how, e);
    d->in_transaction = 0;
    return r;
}

/* ---- the form of the tables ------------------------------------------------------------------ */

static int take_number(void *arg, const struct sql_row *r)
{
    *(int *)arg = (int)sql_number(r, 0);
    return 0;
}

static int pq_version(struct sql *s, int *ret, struct err *e)
{
    int has = 0, r;

    r = sql_each(s,
                 "SELECT count(*) FROM pg_catalog.pg_tables WHERE schemaname = $1"
                 " AND tablename = 'form'",
                 (struct sql_value[]){SQL_TEXT(of(s)->schema)}, 1, take_number, &has, e);
    *ret = 0;
    if (!r && has)
        r = sql_each(s, "SELECT version FROM form", NULL, 0, take_number, ret, e);
    return r;
}

static int pq_set_version(struct sql *s, int version, struct err *e)
{
    char text[200];

    snprintf(text, sizeof text,
             "CREATE TABLE IF NOT EXISTS form (version INTEGER NOT NULL); DELETE FROM form;"
             "INSERT INTO form VALUES (%d)",
             version);
    return pq_exec(s, text, e);
}

/* The schema, where it is missing. Who may not make one can be given one. */
static int make_schema(struct pq_db *d, struct err *e)
{
    char text[100];
    int n = 0, r;

    if (!*d->schema)
        return 0;
    r = sql_each(&d->s, "SELECT count(*) FROM pg_catalog.pg_namespace WHERE nspname = $1",
                 (struct sql_value[]){SQL_TEXT(d->schema)}, 1, take_number, &n, e);
    if (r || n)
        return r;
    snprintf(text, sizeof text, "CREATE SCHEMA IF NOT EXISTS %s", d->schema);
    r = sql_exec(&d->s, text, e);
    return r == ERR_EXISTS ? 0 : r; /* another was first */
}

/* Texts are what they are in an SQLite file, and one that cannot be would never be written. */
static int check_encoding(struct pq_db *d, struct err *e)
{
    const char *has = pq.PQparameterStatus(d->c, "server_encoding");

    return has && !strcmp(has, "UTF8")
               ? 0
               : err_set(e, ERR_UNSUPPORTED,
                         "%s in PostgreSQL: wants a database in UTF8, and that one is in %s",
                         d->s.what, has ? has : "none");
}

static int pq_copy(struct sql *s, const char *to, struct err *e)
{
    (void)to;
    return err_set(e, ERR_UNSUPPORTED,
                   "%s in PostgreSQL: is copied by PostgreSQL's own tools (pg_dump)", s->what);
}

/* ---- opening --------------------------------------------------------------------------------- */

static const struct sql_ops pq_ops = {.close = pq_close,
                                      .exec = pq_exec,
                                      .make = pq_make,
                                      .each = pq_each,
                                      .begin = pq_begin,
                                      .end = pq_end,
                                      .version = pq_version,
                                      .set_version = pq_set_version,
                                      .copy = pq_copy};

#define DIGITS_(n) #n
#define DIGITS(n)  DIGITS_(n)

/* A later value of the same name counts: first ours, then what the URL says. */
static conn *connect_to(const char *url)
{
    static const char *const names[] = {"connect_timeout",
                                        "tcp_user_timeout",
                                        "keepalives_idle",
                                        "keepalives_interval",
                                        "keepalives_count",
                                        "application_name",
                                        "dbname",
                                        "client_encoding",
                                        NULL};
    const char *const values[] = {
        DIGITS(SQL_CONNECT_S), "5000", "5", "2", "3", "gaufre", url, "UTF8", NULL};

    return pq.PQconnectdbParams(names, values, 1);
}

int sql_pq_open(struct sql **ret, const char *url, const struct sql_how *how, struct err *e)
{
    struct pq_db *d;
    int r = load(e);

    if (r)
        return r;
    d = calloc(1, sizeof *d);
    if (!d)
        return err_set(e, ERR_NOMEM, "out of memory");
    d->s = (struct sql){.ops = &pq_ops, .what = how->what ? how->what : "database"};
    d->is_patient = how->is_patient;
    d->is_flushed_late = how->is_flushed_late;
    CHECK(snprintf(d->schema, SCHEMA_MAX, "%s", how->schema ? how->schema : "") < SCHEMA_MAX);
    r = check_url(d, url, e);
    d->c = r ? NULL : connect_to(url);
    if (!d->c) {
        free(d);
        return r ? r : err_set(e, ERR_NOMEM, "out of memory");
    }
    r = pq.PQstatus(d->c) != CONNECTION_OK ? failed(d, NULL, e) : greet(d, e);
    if (!r && *d->schema)
        r = check_encoding(d, e);
    if (!r && !how->must_exist)
        r = make_schema(d, e);
    if (r) {
        pq_close(&d->s);
        return r;
    }
    *ret = &d->s;
    return 0;
}
