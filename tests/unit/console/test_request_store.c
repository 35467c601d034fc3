/* The request log: what is added is read, by every filter; what cannot be written is counted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/put.h"
#include "console/request_sql.h"

static char dir[] = "/tmp/request_store.XXXXXX", path[64];
static const struct request_store_config config = {.where = path};

static int make_dir(void **state)
{
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof path, "%s/r.db", dir);
    return 0;
}

static int remove_dir(void **state)
{
    char cmd[96];

    snprintf(cmd, sizeof cmd, "rm -rf %s", dir);
    return system(cmd);
}

static struct request_row row_of(const char *id, const char *tenant, int64_t status)
{
    struct request_row r = {.status = status, .at_us = clock_wall_us(), .total_us = status * 1000};

    put_text(r.id, sizeof r.id, id);
    put_text(r.tenant, sizeof r.tenant, tenant);
    put_text(r.model, sizeof r.model, "m");
    put_text(r.error, sizeof r.error, status >= 400 ? "SOMETHING" : "");
    return r;
}

struct seen {
    char ids[256];
    int n;
    int64_t last_seq;
};

static int see(void *arg, const struct request_row *r)
{
    struct seen *s = arg;

    assert_true(r->seq > s->last_seq);
    s->last_seq = r->seq;
    snprintf(s->ids + strlen(s->ids), sizeof s->ids - strlen(s->ids), "%s%s", s->n++ ? " " : "",
             r->id);
    return 0;
}

static void expect(const struct request_where *w, int64_t n_max, const char *ids)
{
    struct request_reader *r;
    struct seen s = {.n = 0};
    struct err e = {0};

    assert_int_equal(request_reader_open(&r, path, &e), 0);
    assert_int_equal(request_reader_each(r, w, n_max, see, &s, &e), 0);
    request_reader_close(r);
    assert_string_equal(s.ids, ids);
}

static void test_filters(void **state)
{
    struct request_store *s;
    struct err e = {0};

    assert_int_equal(request_store_open(&s, &config, &e), 0);
    for (int i = 0; i < 4; i++) {
        const char *const ids[] = {"a", "b", "c", "d"};
        struct request_row r = row_of(ids[i], i % 2 ? "odd" : "even", 200 + i * 100);
        put_text(r.supplier, sizeof r.supplier, i ? "far/m" : "local/m");
        request_store_add(s, &r, NULL);
        if (!i)
            request_store_add(s, &r, NULL); /* an id is there once */
    }
    request_store_close(s);
    expect(&(struct request_where){0}, 0, "a b c d");
    expect(&(struct request_where){0}, 2, "c d");
    expect(&(struct request_where){.tenant = "odd"}, 0, "b d");
    expect(&(struct request_where){.id = "c"}, 5, "c");
    expect(&(struct request_where){.status_from = 400, .status_to = 499}, 0, "c");
    expect(&(struct request_where){.only_failed = 1, .tenant = "even"}, 0, "c");
    expect(&(struct request_where){.slower_us = 300000}, 0, "b c d");
    expect(&(struct request_where){.supplier = "far/m", .model = "m"}, 1, "d");
    expect(&(struct request_where){.from_us = clock_wall_us() + 60000000}, 0, "");
    expect(&(struct request_where){.key_id = "' OR 1=1 --"}, 0, "");
}

/* Texts of clients are any bytes, and may have been cut inside a character. */
static void test_bytes(void **state)
{
    struct request_row r = row_of("bytes", "odd", 200);
    struct request_store *s;
    struct seen seen = {.n = 0};
    struct request_reader *reader;
    struct err e = {0};

    put_text(r.client_id, sizeof r.client_id, "a\xff\xc3");
    put_text(r.why, sizeof r.why, "'); DROP TABLE request; --");
    assert_int_equal(request_store_open(&s, &config, &e), 0);
    request_store_add(s, &r, NULL);
    request_store_close(s);
    assert_int_equal(request_reader_open(&reader, path, &e), 0);
    assert_int_equal(
        request_reader_each(reader, &(struct request_where){.id = "bytes"}, 0, see, &seen, &e), 0);
    assert_int_equal(seen.n, 1);
    request_reader_close(reader);
}

static void test_old_rows_go(void **state)
{
    struct sql *db;
    struct request_row old = row_of("old", "odd", 200), new = row_of("new", "odd", 200);
    const struct request_put puts[] = {{.row = &old, .request = "{}", .until_us = 2000},
                                       {.row = &new, .answer = "[]", .until_us = 3000}};
    int64_t n = -1;
    struct err e = {0};

    old.at_us = 1000;
    assert_int_equal(request_sql_open(&db, path, 0, &e), 0);
    assert_int_equal(request_sql_write(db, puts, 2, &e), 0);
    assert_int_equal(request_sql_prune(db, 2000, &n, &e), 0);
    assert_int_equal(n, 1);
    assert_int_equal(request_sql_prune_texts(db, 2500, &n, &e), 0);
    assert_int_equal(n, 1);
    assert_int_equal(request_sql_prune_texts(db, 2500, &n, &e), 0);
    assert_int_equal(n, 0);
    sql_close(db);
    expect(&(struct request_where){.only_texts = 1}, 0, "new");
    expect(&(struct request_where){.id = "old"}, 0, "");
    expect(&(struct request_where){.id = "new"}, 0, "new");
}

static int see_texts(void *arg, const struct request_row *r)
{
    int *n = arg;

    ++*n;
    assert_string_equal(r->request, "{\"prompt\":\"to [email]\"}");
    assert_string_equal(r->answer, "[{\"role\":\"assistant\",\"content\":\"yes\"}]");
    return 0;
}

/* Texts are redacted on their way, read where they are asked for, and forgotten. */
static void test_texts(void **state)
{
    struct request_row r = row_of("text", "talker", 200);
    struct request_texts t = {.request = strdup("{\"prompt\":\"to a@b.de\"}"),
                              .answer = strdup("{\"choices\":[{\"text\":\"yes\"}]}"),
                              .days = 1};
    const struct request_where w = {.tenant = "talker", .with_texts = 1};
    struct request_reader *reader;
    struct request_store *s;
    int64_t n_gone = 0;
    int n = 0;
    struct err e = {0};

    t.n_request = strlen(t.request);
    t.n_answer = strlen(t.answer);
    assert_int_equal(request_store_open(&s, &config, &e), 0);
    request_store_add(s, &r, &t);
    request_store_close(s);
    assert_int_equal(request_reader_open(&reader, path, &e), 0);
    assert_int_equal(request_reader_each(reader, &w, 5, see_texts, &n, &e), 0);
    assert_int_equal(n, 1);
    assert_int_equal(request_reader_forget(reader, "nobody", NULL, &n_gone, &e), 0);
    assert_int_equal(n_gone, 0);
    assert_int_equal(request_reader_forget(reader, "talker", NULL, &n_gone, &e), 0);
    assert_int_equal(n_gone, 1);
    request_reader_close(reader);
    expect(&(struct request_where){.tenant = "talker", .only_texts = 1}, 0, "");
    expect(&(struct request_where){.tenant = "talker"}, 0, "text");
}

/* Nobody takes rows while another holds the database: what finds no place is dropped, counted, and
 * holds up nobody. */
static void test_more_than_fit(void **state)
{
    struct request_store *s;
    struct sql *other;
    struct request_row r = row_of("x", "odd", 200);
    struct err e = {0};

    assert_int_equal(request_store_open(&s, &config, &e), 0);
    assert_int_equal(request_sql_open(&other, path, 0, &e), 0);
    assert_int_equal(sql_begin_alone(other, &e), 0);
    for (int i = 0; i < 2 * REQUEST_ROWS_MAX + 10; i++) {
        snprintf(r.id, sizeof r.id, "many-%d", i);
        request_store_add(s, &r, NULL);
    }
    assert_true(request_store_dropped(s) >= 10);
    sql_rollback(other);
    sql_close(other);
    request_store_close(s);
}

static void test_no_log(void **state)
{
    struct request_reader *r;
    struct request_store *s;
    struct err e = {0};
    char name[80];
    FILE *f;

    assert_true(request_reader_open(&r, "/nonexistent/r.db", &e) < 0);
    snprintf(name, sizeof name, "%s/text", dir);
    f = fopen(name, "w");
    assert_non_null(f);
    fputs("no database at all, but a text of some length", f);
    fclose(f);
    assert_true(request_reader_open(&r, name, &e) < 0);
    assert_true(request_store_open(&s, &(struct request_store_config){.where = name}, &e) < 0);
    assert_non_null(strstr(e.text, "request log"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_filters),       cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_old_rows_go),   cmocka_unit_test(test_texts),
        cmocka_unit_test(test_more_than_fit), cmocka_unit_test(test_no_log),
    };

    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
