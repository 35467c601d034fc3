/* A database behind one door: an SQLite file, or PostgreSQL by URL, for tables that several
 * processes may share. Both get the same statements, so they keep to what both know: TEXT ids made
 * by this program, BIGINT numbers, ON CONFLICT, no types or functions of one of them. Parameters
 * are $1, $2 ...
 *
 * One thread at a time for each struct sql; calls wait for the disk or the server. An SQLite file
 * is its owner's alone, in WAL mode, and a commit is on the disk when it returns; who writes waits
 * for others that write, up to SQL_BUSY_MS. libpq is opened when a URL asks for it. */
#ifndef BASE_SQL_H
#define BASE_SQL_H

#include <stdint.h>

#include "base/err.h"

#define SQL_BUSY_MS 5000

struct sql;
struct sql_row;

struct sql_value {
    const char *text; /* NULL: the number */
    int64_t number;
};
#define SQL_TEXT(s)   ((struct sql_value){.text = (s)})
#define SQL_NUMBER(n) ((struct sql_value){.number = (n)})

/* "postgresql://..." or "postgres://...", else the path of an SQLite file, made where missing. */
int sql_open(struct sql **ret, const char *where, struct err *e);
int sql_is_url(const char *where);
void sql_close(struct sql *s); /* accepts NULL */

/* Statements without parameters, one after the other. All return ERR_EXISTS where a key is there
 * already, ERR_AGAIN where others keep it busy, ERR_IO else, with a sentence. */
int sql_exec(struct sql *s, const char *statements, struct err *e);
/* One statement with n parameters. ret_changed: rows it changed; may be NULL. */
int sql_run(struct sql *s, const char *statement, const struct sql_value *v, int n,
            int64_t *ret_changed, struct err *e);
/* The rows of a query, one call each, until one returns not 0: that is returned, with its own
 * sentence. */
int sql_each(struct sql *s, const char *query, const struct sql_value *v, int n,
             int (*row)(void *arg, const struct sql_row *r), void *arg, struct err *e);
/* Of a row's columns 0..; valid until the next row. */
int64_t sql_number(const struct sql_row *r, int i);
const char *sql_text(const struct sql_row *r, int i); /* "" for NULL */

/* What is done between begin and commit is seen by others as a whole, or not at all. */
int sql_begin(struct sql *s, struct err *e); /* to write */
int sql_commit(struct sql *s, struct err *e);
void sql_rollback(struct sql *s);

#endif
