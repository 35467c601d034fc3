#include "books/settle.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/sql.h"

#define READ_ROWS 1000 /* of one transaction */
#define WAIT_US   INT64_C(2000000)
#define POLL_US   INT64_C(5000)

static int write_rows(struct ledger *l, struct books_row *rows, int n, struct err *e)
{
    struct books_row *list[READ_ROWS];
    const char *why;

    for (int i = 0; i < n; i++)
        list[i] = &rows[i];
    if (!ledger_write(l, list, n))
        return 0;
    ledger_failure(l, &why);
    return err_set(e, ERR_IO, "%s", why);
}

int settle_journal(struct journal *j, struct ledger *l, int64_t *ret_n, struct err *e)
{
    struct books_row *rows = malloc(READ_ROWS * sizeof *rows); /* of few rows little is touched */
    int n, r = 0;

    *ret_n = 0;
    if (!rows)
        return err_set(e, ERR_NOMEM, "out of memory");
    while (!r && (n = journal_read(j, rows, READ_ROWS, e))) {
        r = n < 0 ? n : write_rows(l, rows, n, e);
        if (r)
            break;
        journal_keep(j);
        *ret_n += n;
    }
    free(rows);
    if (!r && journal_restart(j)) {
        const char *why;
        journal_failure(j, &why);
        r = err_set(e, ERR_IO, "%s", why);
    }
    return r;
}

/* ---- journals of others ---------------------------------------------------------------------- */

static uint64_t salt_of(const char *path, int slot)
{
    struct journal *j = NULL;
    uint64_t salt = 0;

    if (!journal_open(&j, path, slot, JOURNAL_LOOK, 0, NULL))
        salt = journal_salt(j);
    journal_close(j);
    return salt;
}

/* A server has it: until it has put into the database what is there now. */
static void wait_for(const char *path, int slot)
{
    uint64_t salt = salt_of(path, slot);

    for (int64_t us = 0; salt && us < WAIT_US; us += POLL_US) {
        clock_sleep_us(POLL_US);
        if (salt_of(path, slot) != salt)
            return;
    }
}

static int settle_left(struct journal *j, struct ledger *l, struct err *e)
{
    int64_t n, had = journal_bytes(j);
    int r = settle_journal(j, l, &n, e);

    if (r && r != ERR_FORMAT)
        return err_prefix(e, "ledger");
    if (!r && had)
        log_line(LOG_INFO, "ledger: %lld row%s from the journal of a process that had died",
                 (long long)n, plural(n));
    return r;
}

int settle_open(struct journal **ret, const char *path, struct ledger *l, int is_loose,
                struct err *e)
{
    struct journal *own = NULL;
    int r = 0;

    for (int i = 0; !r && i < JOURNAL_SLOTS; i++) {
        struct journal *j = NULL;
        struct err why = {0};
        r = journal_open(&j, path, i, own ? JOURNAL_HAVE : JOURNAL_MAKE, is_loose, &why);
        if (r == ERR_AGAIN)
            wait_for(path, i);
        if (r == ERR_AGAIN || (own && r == ERR_NOTFOUND))
            r = 0;
        else if (!r)
            r = settle_left(j, l, &why);
        if (r && e)
            *e = why;
        if (own || r)
            journal_close(j);
        else
            own = j;
    }
    if (!r && !own)
        r = err_set(e, ERR_EXISTS, "ledger %s: %d servers are writing it already", path,
                    JOURNAL_SLOTS);
    if (r)
        journal_close(own);
    else
        *ret = own;
    return r;
}

/* A journal that nobody has. */
static int settle_dead(const char *path, struct journal *j, struct err *e)
{
    struct ledger *l = NULL;
    int r;

    if (!journal_bytes(j))
        return 0;
    r = ledger_open(&l, path, 0, e);
    if (!r)
        r = settle_left(j, l, e);
    ledger_close(l);
    return r;
}

int settle_for_readers(const char *where, struct err *e)
{
    int r = 0;

    for (int i = 0; !sql_is_url(where) && !r && i < JOURNAL_SLOTS; i++) {
        struct journal *j = NULL;
        struct err why = {0};
        r = journal_open(&j, where, i, JOURNAL_HAVE, 0, &why);
        if (r == ERR_AGAIN)
            wait_for(where, i);
        if (r == ERR_AGAIN || r == ERR_NOTFOUND || r == ERR_FORBIDDEN)
            r = 0;
        else if (!r)
            r = settle_dead(where, j, &why);
        if (r && e)
            *e = why;
        journal_close(j);
    }
    return r;
}

/* One that a server has: it may begin anew while it is read, and then it was well. */
static int check(const char *path, int slot, struct books_row *row, struct err *e)
{
    struct journal *j = NULL;
    uint64_t salt = salt_of(path, slot);
    struct err why = {0};
    int n, r = journal_open(&j, path, slot, JOURNAL_LOOK, 0, &why);

    while (!r && (n = journal_read(j, row, 1, &why))) {
        r = n < 0 ? n : 0;
        journal_keep(j);
    }
    journal_close(j);
    if (!r || r == ERR_NOTFOUND || r == ERR_FORBIDDEN || salt_of(path, slot) != salt)
        return 0;
    if (e)
        *e = why;
    return r;
}

int settle_check(const char *where, struct err *e)
{
    struct books_row row;
    int r = 0;

    for (int i = 0; !sql_is_url(where) && !r && i < JOURNAL_SLOTS; i++)
        r = check(where, i, &row, e);
    return r;
}
