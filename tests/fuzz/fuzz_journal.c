/* Fuzz target: a file in the place of the ledger's journal. Whatever it is, reading it ends, every
 * row is in order, and what is refused is said in a sentence.
 *
 * Checksums keep nearly all changes from what lies behind them; so where the first byte is odd,
 * those of all records are made right first. */
#include <sodium.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "books/journal.h"

#define FILE_MAX (64 << 10)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char ledger[64], path[80];

static void remove_file(void)
{
    remove(path);
    *strrchr(ledger, '/') = 0;
    remove(ledger);
}

static void make_folder(void)
{
    log_setup(LOG_OFF, 0);
    strcpy(ledger, "/tmp/gaufre-fuzz-journal-XXXXXX");
    CHECK(mkdtemp(ledger));
    strcat(ledger, "/l");
    snprintf(path, sizeof path, "%s-rows", ledger);
    atexit(remove_file);
}

static void sign_all(unsigned char *p, size_t n)
{
    static const unsigned char key[crypto_shorthash_KEYBYTES];

    for (size_t at = 0; at + 32 <= n; at += 8) {
        uint16_t size;
        memcpy(&size, p + at + 12, sizeof size);
        if (!memcmp(p + at + 8, "gfr", 3) && size >= 32 && size <= n - at)
            crypto_shorthash(p + at, p + at + 8, size - 8u, key);
    }
}

static void look_at(const struct books_row *r)
{
    CHECK(*r->request_id && memchr(r->request_id, 0, sizeof r->request_id));
    CHECK(memchr(r->labels, 0, sizeof r->labels) && memchr(r->currency, 0, sizeof r->currency));
    CHECK(memchr(r->supplier, 0, sizeof r->supplier) && memchr(r->team, 0, sizeof r->team));
}

static void read_all(enum journal_how how, size_t size)
{
    struct books_row row[3];
    struct journal *j = NULL;
    struct err e = {0};
    size_t n_rows = 0;
    int n, r = journal_open(&j, ledger, 0, how, 0, &e);

    if (r) {
        CHECK(r == ERR_UNSUPPORTED && e.text[0]);
        return;
    }
    while ((n = journal_read(j, row, 3, &e)) > 0) {
        for (int i = 0; i < n; i++)
            look_at(&row[i]);
        n_rows += (size_t)n;
        CHECK(n_rows <= size / 40);
        journal_keep(j);
    }
    CHECK(!n || (n == ERR_FORMAT && e.text[0]));
    journal_close(j);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static unsigned char file[FILE_MAX];
    FILE *f;

    if (!*ledger)
        make_folder();
    if (!size || size > FILE_MAX)
        return 0;
    memcpy(file, data + 1, size - 1);
    if (*data & 1)
        sign_all(file, size - 1);
    f = fopen(path, "wb");
    CHECK(f && fwrite(file, 1, size - 1, f) == size - 1 && !fclose(f));
    read_all(JOURNAL_LOOK, size);
    read_all(JOURNAL_HAVE, size);
    return 0;
}
