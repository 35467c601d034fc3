/* Fuzz target: CSV. What is read is within its limits, and what is written of it is read as the
 * same. */
#include <stdint.h>
#include <string.h>

#include "base/check.h"
#include "base/csv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void again(const struct csv *c)
{
    static struct csv d;
    struct err e = {0};
    struct buf out;

    buf_init(&out, 3 * CSV_ROW_BYTES_MAX);
    for (int i = 0; i < c->n_fields; i++) {
        if (i)
            buf_add_char(&out, ',');
        csv_put(&out, c->field[i]);
    }
    CHECK(!out.failed);
    csv_init(&d, out.data, out.len);
    if (csv_next(&d, &e) == 1) { /* apostrophes may be one byte too many */
        CHECK(d.n_fields == c->n_fields);
        for (int i = 0; i < d.n_fields; i++)
            CHECK(!strcmp(d.field[i] + (strcmp(d.field[i], c->field[i]) != 0), c->field[i]));
    } else {
        CHECK(e.code == ERR_LIMIT);
    }
    buf_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct csv c;
    struct err e = {0};
    int r;

    csv_init(&c, (const char *)data, size);
    while ((r = csv_next(&c, &e)) == 1) {
        CHECK(c.n_fields >= 1 && c.n_fields <= CSV_FIELDS_MAX && c.at <= c.end);
        again(&c);
    }
    CHECK(r == 0 ? c.at == c.end : e.text[0] != 0);
    return 0;
}
