#include "books/ledger_link.h"

#include <sodium.h>
#include <string.h>

static int take_link(void *arg, const struct sql_row *s)
{
    const char *text = sql_text(s, 1);
    struct ledger_link *l = arg;

    l->seq = sql_number(s, 0);
    return *text && sodium_hex2bin(l->chain, sizeof l->chain, text, strlen(text), NULL, NULL, NULL)
               ? ERR_FORMAT
               : 0;
}

int ledger_link_read(struct sql *db, const char *query, struct ledger_link *ret, struct err *e)
{
    int r = sql_each(db, query, NULL, 0, take_link, ret, e);

    return r == ERR_FORMAT ? err_set(e, r, "ledger: the last row's hash is none") : r;
}

int ledger_link_open(struct sql *db, struct ledger_link *ret, struct err *e)
{
    *ret = (struct ledger_link){0};
    return ledger_link_read(db, "SELECT seq, chain FROM opening", ret, e);
}

int ledger_link_end(struct sql *db, struct ledger_link *ret, struct err *e)
{
    int r;

    *ret = (struct ledger_link){0};
    r = ledger_link_read(db, "SELECT seq, chain FROM usage WHERE seq > 0 ORDER BY seq DESC LIMIT 1",
                         ret, e);
    return r || ret->seq ? r : ledger_link_open(db, ret, e);
}

void ledger_link_next(struct ledger_link *l, const struct books_row *r, char text[LEDGER_LINK_TEXT])
{
    unsigned char chain[LEDGER_CHAIN_SIZE];

    ledger_sql_chain(l->chain, r, chain);
    memcpy(l->chain, chain, sizeof chain);
    l->seq++;
    sodium_bin2hex(text, LEDGER_LINK_TEXT, chain, sizeof chain);
}

int ledger_link_follow(struct ledger_link *l, const struct sql_row *s, const struct books_row *r)
{
    char text[LEDGER_LINK_TEXT];
    int64_t at = sql_number(s, LEDGER_SEQ);

    if (!at)
        return 1;
    ledger_link_next(l, r, text);
    return at == l->seq && !strcmp(sql_text(s, LEDGER_CHAIN), text);
}
