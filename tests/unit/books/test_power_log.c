/* The table of power: pieces once each, notes, what is read back, and the audit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "books/contract_use.h"
#include "books/power_leaf.h"
#include "books/power_log.h"
#include "ledger_place.h"

#define SECOND INT64_C(1000000)
#define MINUTE (60 * SECOND)
#define START  (INT64_C(1800000000) * SECOND)

static struct power_entry piece(const char *place, int64_t from_us, int64_t until_us, int64_t watts)
{
    const struct power_state s = {.contracted_w = 2 * watts,
                                  .energised_w = watts,
                                  .ready_w = watts / 2,
                                  .factor_ppm = 900000,
                                  .cause = POWER_ENVIRONMENT};
    struct power_entry r = {.at_us = until_us};

    snprintf(r.place, sizeof r.place, "%s", place);
    power_piece_begin(&r.piece, from_us);
    power_piece_add(&r.piece, &s, until_us);
    return r;
}

static struct power_entry note(const char *place, int64_t from_us, int64_t until_us,
                               const char *cause)
{
    struct power_entry r = {.at_us = START, .piece = {.from_us = from_us, .until_us = until_us}};

    snprintf(r.place, sizeof r.place, "%s", place);
    snprintf(r.cause, sizeof r.cause, "%s", cause);
    strcpy(r.reason, "a pump");
    return r;
}

static void make_ledger(void)
{
    struct books *b = NULL;
    struct err e = {0};

    assert_int_equal(books_open(&b, path, 0, &e), 0);
    assert_int_equal(books_close(b), 0);
}

static int64_t put(struct power_entry *rows, int n, int want)
{
    struct err e = {0};
    int64_t n_written = -1;

    assert_int_equal(power_log_put(path, rows, n, NULL, &n_written, &e), want);
    return n_written;
}

static int take(void *arg, const struct power_entry *r)
{
    char *to = arg;

    sprintf(to + strlen(to), "%s %d+%d %s; ", r->place, (int)((r->piece.from_us - START) / SECOND),
            (int)((r->piece.until_us - r->piece.from_us) / SECOND), r->cause);
    return 0;
}

static const char *all(struct power_query q)
{
    static char text[2000];
    struct err e = {0};

    *text = 0;
    q.until_us = q.until_us ? q.until_us : INT64_MAX;
    assert_int_equal(power_log_each(path, &q, take, text, &e), 0);
    return text;
}

static void audit(int want, const char *found)
{
    struct err e = {0};
    int64_t n;

    assert_int_equal(books_audit(path, &n, &e), want);
    if (found && !strstr(e.text, found))
        fail_msg("%s", e.text);
}

static int take_place_name(void *arg, const char *place)
{
    strcat(strcat(arg, place), ",");
    return 0;
}

static void pieces_are_written_once(void **state)
{
    struct power_entry first[] = {piece("fra1", START + 20 * SECOND, START + MINUTE, 5000),
                                  piece("oslo", START, START + MINUTE, 7000)};
    struct power_entry again[] = {piece("fra1", START + 30 * SECOND, START + MINUTE, 5000),
                                  piece("fra1", START + MINUTE, START + 2 * MINUTE, 5000),
                                  piece("fra1", START, START + 20 * SECOND, 5000)};
    char places[200] = "";
    struct err e = {0};

    (void)state;
    make_ledger();
    assert_int_equal(put(first, 2, 0), 2);
    assert_int_equal(first[1].seq, 2);
    assert_int_equal(put(again, 3, 0), 2); /* another server has told the time of the first */
    assert_int_equal(again[0].seq, 0);
    assert_int_equal(again[2].seq, 4);
    assert_string_equal(all((struct power_query){.place = "fra1"}),
                        "fra1 0+20 ; fra1 20+40 ; fra1 60+60 ; ");
    assert_string_equal(all((struct power_query){.until_us = START + 30 * SECOND}),
                        "fra1 0+20 ; fra1 20+40 ; oslo 0+60 ; ");
    assert_string_equal(all((struct power_query){.from_us = START + 59 * SECOND, .upto_seq = 2}),
                        "fra1 20+40 ; oslo 0+60 ; ");
    assert_int_equal(power_log_places(path, take_place_name, places, &e), 0);
    assert_string_equal(places, "fra1,oslo,");
    audit(0, NULL);
}

static void notes_are_kept(void **state)
{
    struct power_entry rows[] = {note("fra1", START, START + 5 * MINUTE, "maintenance"),
                                 note("fra1", START, START + MINUTE, POWER_NO_CAUSE)};
    struct power_entry bad[] = {
        note("fra1", START + SECOND, START + MINUTE, "maintenance"),
        note("fra1", START, START, "maintenance"), note("fra1", START, START + MINUTE, "weather"),
        note("", START, START + MINUTE, "customer"), piece("fra1", START, START + MINUTE, 5000)};

    (void)state;
    make_ledger();
    assert_int_equal(put(rows, 2, 0), 2);
    bad[4].piece.lost_uj[0] = bad[4].piece.energised_uj + 1;
    for (int i = 0; i < 5; i++)
        put(&bad[i], 1, ERR_ARG);
    assert_string_equal(all((struct power_query){.what = POWER_NOTES}),
                        "fra1 0+300 maintenance; fra1 0+60 none; ");
    assert_string_equal(
        all((struct power_query){.what = POWER_NOTES, .from_us = START + 2 * MINUTE}),
        "fra1 0+300 maintenance; ");
    assert_string_equal(all((struct power_query){0}), "");
    audit(0, NULL);
}

static void what_was_changed_is_found(void **state)
{
    struct power_entry rows[] = {piece("fra1", START, START + MINUTE, 5000),
                                 piece("fra1", START + MINUTE, START + 2 * MINUTE, 5000),
                                 note("fra1", START, START + MINUTE, "customer")};

    (void)state;
    make_ledger();
    assert_int_equal(put(rows, 3, 0), 3);
    audit(0, NULL);
    change("UPDATE power SET ready_uj = ready_uj + 1 WHERE seq = 2");
    audit(ERR_FORMAT, "row 2 of its power");
    change("UPDATE power SET ready_uj = ready_uj - 1 WHERE seq = 2");
    audit(0, NULL);
    change("UPDATE power SET cause = 'supplier' WHERE seq = 3");
    audit(ERR_FORMAT, "row 3 of its power");
    change("UPDATE power SET cause = 'customer' WHERE seq = 3");
    change("DELETE FROM power WHERE seq = 2");
    audit(ERR_FORMAT, "row 3 of its power");
}

/* Every row of power is an entry of a log; its head is signed where the writer has the key. */
static void rows_are_in_a_log(void **state)
{
    struct power_entry rows[] = {piece("fra1", START, START + MINUTE, 5000),
                                 note("fra1", START, START + MINUTE, "customer")};
    unsigned char details[POWER_DETAILS_MAX], leaf[TREE_HASH], again[TREE_HASH];
    struct power_entry read, other = rows[0];
    struct tree_key key;
    struct err e = {0};
    int64_t n = 0;
    size_t size;

    (void)state;
    make_ledger();
    crypto_sign_keypair(key.public_key, key.secret);
    assert_int_equal(put(rows, 1, 0), 1);
    audit(0, NULL);
    assert_int_equal(power_log_put(path, rows + 1, 1, &key, &n, &e), 0);
    audit(0, NULL);
    assert_int_equal(strlen(rows[0].salt), 2 * BOOKS_SALT);
    assert_string_not_equal(rows[0].salt, rows[1].salt);
    for (int i = 0; i < 2; i++) {
        memset(details, 0, sizeof details);
        size = power_leaf_details(&rows[i], details);
        assert_int_equal(power_leaf_read(details, size, &read, &e), 0);
        power_leaf_of_row(&rows[i], leaf);
        power_leaf_of_row(&read, again);
        assert_memory_equal(leaf, again, sizeof leaf);
        assert_string_equal(read.reason, rows[i].reason);
        assert_int_equal(power_leaf_read(details, size - 1, &read, &e), ERR_FORMAT);
        assert_int_equal(power_leaf_read(details, size + 1, &read, &e), ERR_FORMAT);
    }
    other.piece.lost_uj[0] = other.piece.energised_uj + 1; /* there cannot be such a row */
    size = power_leaf_details(&other, details);
    assert_int_equal(power_leaf_read(details, size, &read, &e), ERR_FORMAT);
    change("UPDATE power_tree_head SET root = 'ffffffffffff' || substr(root, 13)");
    audit(ERR_FORMAT, "rows of power, is not that of its rows");
    change("DELETE FROM power_tree_head");
    audit(0, NULL);
    change("UPDATE power_tree SET nodes = 'ffffffffffff' || substr(nodes, 13)");
    audit(ERR_FORMAT, "the tree of 2 rows of power");
}

static int take_drawn(void *arg, const struct power_drawn *d)
{
    char *to = arg;

    sprintf(to + strlen(to), "%d: %d %d %d, %d; ", (int)((d->from_us - START) / POWER_HOUR_US),
            (int)d->use.own, (int)d->use.other, (int)d->use.lent, (int)d->n_unmetered);
    return 0;
}

static int take_used(void *arg, const struct contract_used *u)
{
    char *to = arg;

    sprintf(to + strlen(to), "%s/%d: %d, %d, %d, %d to %d; ", u->tenant, u->lent,
            (int)u->n_requests, (int)u->energy_uj, (int)u->n_unmetered, (int)u->first_seq,
            (int)u->last_seq);
    return 0;
}

static int take_seq(void *arg, int64_t seq, const struct books_row *r)
{
    char *to = arg;

    sprintf(to + strlen(to), "%d %s; ", (int)seq, r->request_id);
    return 0;
}

/* What was used under contract a, by sums and by rows. */
static void look_at_contract(void)
{
    struct contract_books *b = NULL;
    struct err e = {0};
    char text[400] = "";
    int64_t usage = 0, power = -1;

    assert_int_equal(contract_books_open(&b, path, &e), 0);
    assert_int_equal(contract_books_end(b, INT64_MAX, &usage, &power, &e), 0);
    assert_int_equal(usage, 8);
    assert_int_equal(power, 0);
    assert_int_equal(
        contract_books_used(b, "a", START, START + 2 * POWER_HOUR_US, usage, take_used, text, &e),
        0);
    assert_string_equal(text, "acme/0: 4, 81, 1, 1 to 7; acme/2: 1, 4, 0, 3 to 3; ");
    *text = 0;
    assert_int_equal(contract_books_used(b, "a", START, START + 5 * MINUTE, 2, take_used, text, &e),
                     0);
    assert_string_equal(text, "acme/0: 1, 1, 0, 1 to 1; ");
    *text = 0;
    assert_int_equal(contract_books_rows(b, "a", START, START + 5 * MINUTE, take_seq, text, &e), 0);
    assert_string_equal(text, "1 req_0; 3 req_2; ");
    *text = 0;
    assert_int_equal(contract_books_rows(b, "", 0, INT64_MAX, take_seq, text, &e), 0);
    assert_string_equal(text, ""); /* rows without a contract are of none */
    contract_books_close(b);
}

static void what_work_drew(void **state)
{
    static const struct {
        const char *contract, *site;
        int lent, method, minute;
    } all_rows[] = {{"a", "fra1", 0, 1, 1},  {"", "fra1", 0, 1, 2},  {"a", "fra1", 2, 1, 3},
                    {"b", "fra1", 1, 1, 4},  {"a", "oslo", 0, 1, 5}, {"a", "fra1", 0, 0, 6},
                    {"a", "fra1", 0, 1, 61}, {"", "fra1", 1, 1, 62}};
    struct books *b = NULL;
    struct err e = {0};
    char text[400] = "";

    (void)state;
    assert_int_equal(books_open(&b, path, 0, &e), 0);
    for (int i = 0; i < 8; i++) {
        struct books_row *r = books_take(b);
        snprintf(r->request_id, sizeof r->request_id, "req_%d", i);
        strcpy(r->tenant, "acme");
        strcpy(r->site, all_rows[i].site);
        strcpy(r->contract, all_rows[i].contract);
        r->lent = all_rows[i].lent;
        r->energy_method = all_rows[i].method;
        r->energy_uj = 1 << i;
        r->completion_tokens = 5;
        r->at_us = START + all_rows[i].minute * MINUTE;
        books_post(b, r);
    }
    assert_int_equal(books_close(b), 0);
    assert_int_equal(
        power_log_drawn(path, "fra1", START, START + 2 * POWER_HOUR_US, take_drawn, text, &e), 0);
    assert_string_equal(text, "0: 1 6 8, 1; 1: 64 0 128, 0; ");
    look_at_contract();
}

static void the_basis_of_watts(void **state)
{
    static const char *const wrong[] = {"",
                                        "it",
                                        "it ",
                                        "it -1",
                                        "it 01300",
                                        "both 1300",
                                        "facility 1300 ",
                                        "it 10001",
                                        "it 99999999999999999999"};
    char text[POWER_REASON_MAX];
    enum power_basis b = POWER_IT;
    int32_t pue = 0;

    (void)state;
    power_log_basis_show(POWER_FACILITY, 1300, text);
    assert_string_equal(text, "facility 1300");
    assert_int_equal(power_log_basis_read(text, &b, &pue), 0);
    assert_true(b == POWER_FACILITY && pue == 1300);
    assert_int_equal(power_log_basis_read("it 0", &b, &pue), 0);
    assert_true(b == POWER_IT && pue == 0);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(power_log_basis_read(wrong[i], &b, &pue), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_basis_of_watts),
        cmocka_unit_test_setup_teardown(pieces_are_written_once, place_make, place_clear),
        cmocka_unit_test_setup_teardown(notes_are_kept, place_make, place_clear),
        cmocka_unit_test_setup_teardown(what_was_changed_is_found, place_make, place_clear),
        cmocka_unit_test_setup_teardown(rows_are_in_a_log, place_make, place_clear),
        cmocka_unit_test_setup_teardown(what_work_drew, place_make, place_clear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
