#include "books/ledger_file.h"

#include "books/settle.h"

int ledger_file_open(struct sql **ret, const char *where, int is_patient, struct err *e)
{
    const struct sql_how how = {
        .what = "ledger", .schema = LEDGER_IN, .must_exist = 1, .is_patient = is_patient};
    struct sql *db = NULL;
    int version = 0, r = sql_open_how(&db, where, &how, e);

    if (!r && sql_is_url(where)) {
        r = sql_version(db, &version, e);
        if (!r && !version)
            r = err_set(e, ERR_NOTFOUND, "ledger in PostgreSQL: nothing is booked there yet");
    }
    if (!r)
        r = ledger_sql_tables(db, where, e);
    if (!r)
        r = settle_for_readers(where, e);
    if (r)
        sql_close(db);
    else
        *ret = db;
    return r;
}
