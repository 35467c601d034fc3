/* A database behind one door: an SQLite file, or PostgreSQL by URL, for tables that several
 * processes may share. Both get the same statements, so they keep to what both know: TEXT ids made
 * by this program, BIGINT numbers, ON CONFLICT, CASE, no types or functions of one of them.
 * Parameters are $1, $2 ...; where nothing else says what type one has, CAST($1 AS TEXT) does.
 *
 * One thread at a time for each struct sql; calls wait for the disk or the server. An SQLite file
 * is its owner's alone, in WAL mode, and a commit is on the disk when it returns; who writes waits
 * for others that write, up to SQL_BUSY_MS. libpq is opened when a URL asks for it; a server that
 * does not answer is given up after SQL_CONNECT_S and SQL_ANSWER_MS, and where the URL does not say
 * otherwise a network that is cut is noticed as soon. A connection that was lost is made anew by
 * the next call. */
#ifndef BASE_SQL_H
#define BASE_SQL_H

#include <stdint.h>

#include "base/err.h"

#define SQL_BUSY_MS        5000
#define SQL_CONNECT_S      5
#define SQL_ANSWER_MS      15000
#define SQL_PARAMETERS_MAX 2048

struct sql;
struct sql_row;

struct sql_value {
    const char *text; /* NULL: the number */
    int64_t number;
    int is_null;
};
#define SQL_TEXT(s)   ((struct sql_value){.text = (s)})
#define SQL_NUMBER(n) ((struct sql_value){.number = (n)})
#define SQL_NULL      ((struct sql_value){.is_null = 1})

/* How a database is opened. All 0: as the head of this file says. */
struct sql_how {
    const char *what;    /* what errors call it; NULL: "database" */
    const char *schema;  /* of PostgreSQL: where its tables are; NULL: where the URL says */
    int must_exist;      /* an SQLite file is not made, and keeps its mode */
    int is_flushed_late; /* a commit survives the process at once, the machine a little later */
    int is_patient;      /* answers of PostgreSQL may take any time: nobody waits but a person */
};

/* "postgresql://..." or "postgres://...", else the path of an SQLite file, made where missing. URLs
 * of other schemes are refused (ERR_ARG). No error shows a part of a URL that may be a password. */
int sql_open(struct sql **ret, const char *where, struct err *e);
int sql_open_how(struct sql **ret, const char *where, const struct sql_how *how, struct err *e);
/* An empty SQLite database in memory. */
int sql_open_memory(struct sql **ret, struct err *e);
int sql_is_url(const char *where);
/* For people: the path, or "in PostgreSQL" and no URL, in which a password may be. */
const char *sql_name(const char *where);
void sql_close(struct sql *s); /* accepts NULL */

/* Statements without parameters, one after the other. All return ERR_EXISTS where a key is there
 * already, ERR_AGAIN where others keep it busy, ERR_IO else, with a sentence. */
int sql_exec(struct sql *s, const char *statements, struct err *e);
/* Likewise, of those that make tables: their texts are compared and ordered by bytes. */
int sql_make(struct sql *s, const char *statements, struct err *e);
/* One statement with n parameters. ret_changed: rows it changed; may be NULL. Texts that are used
 * again and again are prepared once by SQLite. */
int sql_run(struct sql *s, const char *statement, const struct sql_value *v, int n,
            int64_t *ret_changed, struct err *e);
/* The rows of a query, one call each as they come, until one returns not 0: that is returned, with
 * its own sentence. `row` must not use this struct sql. */
int sql_each(struct sql *s, const char *query, const struct sql_value *v, int n,
             int (*row)(void *arg, const struct sql_row *r), void *arg, struct err *e);
/* Of a row's columns 0..; valid until the next row. */
int64_t sql_number(const struct sql_row *r, int i);
const char *sql_text(const struct sql_row *r, int i); /* "" for NULL */
int sql_is_null(const struct sql_row *r, int i);

/* What is done between begin and commit is seen by others as a whole, or not at all. */
int sql_begin(struct sql *s, struct err *e); /* to write */
/* To write, and nobody else who begins so goes on meanwhile: what is read stays true. */
int sql_begin_alone(struct sql *s, struct err *e);
int sql_begin_read(struct sql *s, struct err *e); /* to read all as it is at one moment */
int sql_commit(struct sql *s, struct err *e);
void sql_rollback(struct sql *s);

/* The number of the tables' form, 0 where there are none yet; kept in an SQLite file's head, in
 * PostgreSQL in a table of how.schema. It is set in the transaction that makes them. */
int sql_version(struct sql *s, int *ret, struct err *e);
int sql_set_version(struct sql *s, int version, struct err *e);
/* Of an SQLite file: all of it as it is at one moment into an empty file `to`. Writers are not held
 * up. ERR_UNSUPPORTED for PostgreSQL. */
int sql_copy(struct sql *s, const char *to, struct err *e);
/* The same into a new file (mode 0600) that has its name once `check` has found nothing wrong with
 * the copy and it is flushed. ERR_EXISTS: never over a file that is there. */
int sql_backup(struct sql *s, const char *to,
               int (*check)(void *arg, const char *path, struct err *e), void *arg, struct err *e);
/* The database's own number of what failed last: SQLite's extended code, PostgreSQL's SQLSTATE. */
int sql_code(const struct sql *s);

#endif
