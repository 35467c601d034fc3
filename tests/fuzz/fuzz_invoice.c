/* Fuzz target: a supplier's invoice, against a ledger of one request. What is taken has lines whose
 * differences add up. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "books/invoice.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char path[64];

static void remove_ledger(void)
{
    static const char *const ends[] = {"/l.db", "/l.db-wal", "/l.db-shm", "/l.db-rows", ""};
    char name[96];

    for (int i = 0; i < 5; i++) {
        snprintf(name, sizeof name, "%.*s%s", (int)strcspn(path + 5, "/") + 5, path, ends[i]);
        remove(name);
    }
}

static void make_ledger(void)
{
    struct books *b = NULL;
    struct books_row *r;
    struct err e = {0};

    strcpy(path, "/tmp/gaufre-fuzz-invoice-XXXXXX");
    CHECK(mkdtemp(path));
    strcat(path, "/l.db");
    CHECK(!books_open(&b, path, 1, &e));
    r = books_take(b);
    *r = (struct books_row){.request_id = "r0",
                            .tenant = "t",
                            .supplier = "far/m",
                            .currency = "EUR",
                            .prompt_tokens = 100,
                            .completion_tokens = 20,
                            .cost_nano = 1200,
                            .at_us = INT64_C(1796083200000000)};
    books_post(b, r);
    CHECK(!books_close(b));
    atexit(remove_ledger);
}

static int look(void *arg, const struct invoice_line *l)
{
    CHECK(l->why < INVOICE_WHY_N && *l->key && (l->ours.n || l->theirs.n));
    CHECK(l->why != INVOICE_SAME || !l->more_nano || l->more_nano == INT64_MAX);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct invoice_query q = {.supplier = "far"};
    struct err e = {0};
    int64_t left_out;

    if (!*path)
        make_ledger();
    if (invoice_reconcile(path, (const char *)data, size, &q, look, NULL, &left_out, &e))
        CHECK((e.code == ERR_FORMAT || e.code == ERR_LIMIT || e.code == ERR_IO) && e.text[0]);
    return 0;
}
