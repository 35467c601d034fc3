/* The journal: an append-only file beside the ledger's database. Rows are written there first, a
 * group at a time, and are on the disk when the group is; some time later they are put into the
 * database (settle.h), many in one transaction, and the journal begins anew.
 *
 * Its name is the database's and "-rows", or "-rows2" and so on where several servers write one
 * ledger: who has a journal holds a lock on it, and a journal that nobody holds is of a process
 * that died. A record has a checksum, the number of its group and how many of the group come after
 * it. So a reader can tell the two ways in which a file may not be whole:
 *
 *   torn     the last group did not reach the disk before the machine stopped. Nobody was told
 *            that it had: what came of it up to the first record that is not whole is taken, the
 *            rest is cut off and logged.
 *   damaged  bytes are not as they were written, and a later group shows that they had been on the
 *            disk. That is an error; all records that are whole are taken all the same.
 *
 * One thread at a time. Bytes are those of this machine, in little endian. */
#ifndef BOOKS_JOURNAL_H
#define BOOKS_JOURNAL_H

#include "books/books.h"

#define JOURNAL_SLOTS      8    /* servers on one ledger at a time */
#define JOURNAL_GROUP_ROWS 1000 /* at most */
#define JOURNAL_BYTES_MAX  (INT64_C(256) << 20)
#define JOURNAL_RECORD_MAX 2560 /* bytes of a row */

struct journal;

enum journal_how {
    JOURNAL_LOOK, /* read it, whoever has it */
    JOURNAL_HAVE, /* have it where it is there */
    JOURNAL_MAKE  /* have it, and make it where it is missing */
};

/* Open the journal of a ledger in a slot, 0 to JOURNAL_SLOTS - 1. ERR_AGAIN where another has it,
 * ERR_NOTFOUND, ERR_FORBIDDEN where this user may not write it, ERR_IO; ERR_UNSUPPORTED where a
 * later version wrote it. What is in it is to be read and begun anew before anything is appended.
 * is_loose: nothing is flushed to the disk, and a hole in it proves nothing. */
int journal_open(struct journal **ret, const char *ledger, int slot, enum journal_how how,
                 int is_loose, struct err *e);
void journal_close(struct journal *j); /* accepts NULL */

/* Write 1 to JOURNAL_GROUP_ROWS rows as one group and flush it: 0, and they stay written; or -1,
 * for journal_failure to explain: then perhaps they do, and they are to be appended again, alone or
 * with others behind them. */
int journal_append(struct journal *j, struct books_row *const *rows, int n);
int journal_failure(const struct journal *j, const char **ret_text);

/* Read on from the last row that was kept: how many rows, 0 at the end, ERR_IO; at the end of a
 * damaged journal ERR_FORMAT with a sentence that says where and what to do. */
int journal_read(struct journal *j, struct books_row *rows, int n_max, struct err *e);
void journal_keep(struct journal *j); /* what was read is in the database */
/* All that was written is in the database: the file is emptied. 0 or -1, as journal_append; then it
 * only goes on growing. */
int journal_restart(struct journal *j);

int64_t journal_bytes(const struct journal *j); /* 0: there is nothing in it */
/* A number that is another one each time the journal begins anew; 0: it is empty. */
uint64_t journal_salt(struct journal *j);

#endif
