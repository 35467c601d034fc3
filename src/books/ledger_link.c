#include "books/ledger_link.h"

#include <sodium.h>
#include <string.h>

/* The number and hash that a query finds; none: as it was. */
static int read_link(sqlite3 *db, const char *sql, struct ledger_link *ret)
{
    sqlite3_stmt *st = NULL;
    const char *text;
    int code = sqlite3_prepare_v2(db, sql, -1, &st, NULL);

    if (!code)
        code = sqlite3_step(st);
    if (code == SQLITE_ROW) {
        ret->seq = sqlite3_column_int64(st, 0);
        text = (const char *)sqlite3_column_text(st, 1);
        if (!text || (*text && sodium_hex2bin(ret->chain, sizeof ret->chain, text, strlen(text),
                                              NULL, NULL, NULL)))
            code = SQLITE_CORRUPT;
    }
    sqlite3_finalize(st);
    return code == SQLITE_ROW || code == SQLITE_DONE ? 0 : code;
}

int ledger_link_open(sqlite3 *db, struct ledger_link *ret)
{
    *ret = (struct ledger_link){0};
    return read_link(db, "SELECT seq, chain FROM opening", ret);
}

int ledger_link_end(sqlite3 *db, struct ledger_link *ret)
{
    *ret = (struct ledger_link){0};
    if (read_link(db, "SELECT seq, chain FROM usage WHERE seq > 0 ORDER BY seq DESC LIMIT 1", ret))
        return sqlite3_errcode(db);
    return ret->seq ? 0 : ledger_link_open(db, ret);
}

void ledger_link_next(struct ledger_link *l, const struct books_row *r, char text[LEDGER_LINK_TEXT])
{
    unsigned char chain[LEDGER_CHAIN_SIZE];

    ledger_sql_chain(l->chain, r, chain);
    memcpy(l->chain, chain, sizeof chain);
    l->seq++;
    sodium_bin2hex(text, LEDGER_LINK_TEXT, chain, sizeof chain);
}

int ledger_link_follow(struct ledger_link *l, sqlite3_stmt *st, const struct books_row *r)
{
    char text[LEDGER_LINK_TEXT];
    int64_t at = sqlite3_column_int64(st, LEDGER_N_COLUMNS);
    const char *has = (const char *)sqlite3_column_text(st, LEDGER_N_COLUMNS + 1);

    if (!at)
        return 1;
    ledger_link_next(l, r, text);
    return at == l->seq && has && !strcmp(has, text);
}
