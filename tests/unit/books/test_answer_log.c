/* The log of answers: every row has a receipt that can be checked by itself, whatever was committed
 * how, by whom, and pruned; and a receipt of which a bit is changed is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "books/proof.h"
#include "books/upkeep.h"
#include "ledger_place.h"

#define FIRST_US INT64_C(1800000000000000)

static struct tree_key key;

static void post(struct books *b, int i)
{
    struct books_row *r = books_take(b);

    assert_non_null(r);
    snprintf(r->request_id, sizeof r->request_id, "req_%d", i);
    snprintf(r->tenant, sizeof r->tenant, "t%d", i % 3);
    strcpy(r->model, "m");
    strcpy(r->supplier, "local/m");
    strcpy(r->currency, i % 2 ? "EUR" : "");
    strcpy(r->sampling, "temperature=0");
    memset(r->output_hash, 'a' + i % 6, 64);
    r->output_hash[64] = 0;
    r->prompt_tokens = i;
    r->completion_tokens = 2 * i;
    r->charge_nano = i % 5 ? 100 * i : -1;
    r->cost_nano = 0;
    r->status = 200;
    r->at_us = FIRST_US + (int64_t)i * 1000000;
    books_post(b, r);
}

/* Rows in commits of `each`. */
static void fill(int from, int n, int each, int with_key)
{
    struct books *b = NULL;
    struct err e = {0};

    assert_int_equal(books_open(&b, path, 1, &e), 0);
    if (with_key)
        assert_int_equal(books_sign_with(b, &key, &e), 0);
    for (int i = from; i < from + n; i++) {
        post(b, i);
        if ((i + 1) % each == 0)
            books_step(b, (int64_t)i * 10000000);
        if ((i + 1) % each == 0)
            books_step(b, (int64_t)i * 10000000 + 5000000);
    }
    assert_int_equal(books_close(b), 0);
}

static int find(int i, struct proof *ret, struct err *e)
{
    struct books_reader *r = NULL;
    char id[30];
    int code;

    snprintf(id, sizeof id, "req_%d", i);
    assert_int_equal(books_reader_open(&r, path, e), 0);
    code = books_proof(r, id, ret, e);
    books_reader_close(r);
    return code;
}

static void proven(int i)
{
    struct leaf_value v[LEAF_N];
    struct err e = {0};
    char tenant[10];
    struct proof p;

    if (find(i, &p, &e))
        fail_msg("req_%d: %s", i, e.text);
    assert_int_equal(proof_check(&p, &e), 0);
    assert_memory_equal(p.head.key, key.public_key, TREE_KEY);
    snprintf(tenant, sizeof tenant, "t%d", i % 3);
    assert_string_equal(p.tenant, tenant);
    assert_int_equal(leaf_read(p.entry, p.n_entry, v, &e), 0);
    assert_int_equal(v[LEAF_prompt_tokens].number, i);
    assert_int_equal(v[LEAF_charge_nano].is_null, i % 5 == 0);
    assert_int_equal(v[LEAF_output].n, TREE_HASH);
    assert_int_equal(v[LEAF_prompt].n, 0);
}

static void audit(int64_t rows)
{
    struct err e = {0};
    int64_t n = 0;

    if (books_audit(path, &n, &e))
        fail_msg("%s", e.text);
    assert_int_equal(n, rows);
}

static int make_place(void **state)
{
    unsigned char seed[crypto_sign_SEEDBYTES] = "a seed for tests";

    assert_true(sodium_init() >= 0);
    crypto_sign_seed_keypair(key.public_key, key.secret, seed);
    return place_make(state);
}

static void every_row_has_a_receipt(void **state)
{
    struct proof p;
    struct err e;

    fill(0, 10, 3, 1);
    fill(10, 600, 50, 1);
    fill(610, 1, 1, 1);
    for (int i = 0; i < 611; i += i < 20 || (i > 250 && i < 262) || i > 505 ? 1 : 13)
        proven(i);
    audit(611);
    assert_int_equal(number("SELECT count(*) FROM tree_node"), 2);
    assert_int_equal(find(9999, &p, &e), ERR_NOTFOUND);
}

static void a_head_may_come_later(void **state)
{
    struct books *b = NULL;
    struct proof p;
    struct err e;

    fill(0, 5, 2, 0);
    assert_int_equal(find(3, &p, &e), ERR_AGAIN);
    assert_int_equal(books_open(&b, path, 0, &e), 0);
    assert_int_equal(books_sign_with(b, &key, &e), 0);
    proven(3);
    assert_int_equal(books_close(b), 0);
    audit(5);
}

static void two_write_one_log(void **state)
{
    struct books *b[2] = {NULL};
    struct err e = {0};

    for (int i = 0; i < 2; i++) {
        assert_int_equal(books_open(&b[i], path, 0, &e), 0);
        assert_int_equal(books_sign_with(b[i], &key, &e), 0);
    }
    for (int i = 0; i < 40; i++) {
        post(b[i % 2], i);
        books_step(b[i % 2], (int64_t)i * 10000000);
        books_step(b[i % 2], (int64_t)i * 10000000 + 5000000);
    }
    for (int i = 0; i < 2; i++)
        assert_int_equal(books_close(b[i]), 0);
    for (int i = 0; i < 40; i++)
        proven(i);
    audit(40);
}

static void prune(int64_t before_us, int64_t should)
{
    struct err e = {0};
    int64_t n = 0;

    assert_int_equal(books_prune(path, before_us, 1, &n, &e), 0);
    assert_int_equal(n, should);
}

/* What was pruned has no receipt any more; all that is left has. */
static void rows_go_and_receipts_stay(void **state)
{
    static const int cut[] = {5, 6, 200, 256, 300, 511, 700};
    struct proof p;
    struct err e;
    int was = 0;

    fill(0, 700, 10, 1);
    for (size_t i = 0; i < sizeof cut / sizeof *cut; i++) {
        prune(FIRST_US + (int64_t)cut[i] * 1000000, cut[i] - was);
        was = cut[i];
        for (int k = cut[i]; k < 700; k += k < cut[i] + 9 ? 1 : 31)
            proven(k);
        assert_int_equal(find(cut[i] - 1, &p, &e), ERR_NOTFOUND);
        audit(700 - cut[i]);
        assert_true(number("SELECT count(*) FROM tree_node WHERE level < 8") <= 8);
    }
    fill(700, 100, 10, 1);
    for (int k = 700; k < 800; k += 7)
        proven(k);
    audit(100);
}

static void what_was_changed_is_found(void **state)
{
    struct proof p;
    struct err e = {0};
    int64_t n;

    fill(0, 20, 4, 1);
    change("UPDATE usage SET charge_nano = 1 WHERE request_id = 'req_7'");
    assert_int_equal(find(7, &p, &e), ERR_FORMAT);
    assert_int_equal(find(6, &p, &e), ERR_FORMAT); /* its neighbour's path has that leaf */
    assert_int_equal(books_audit(path, &n, &e), ERR_FORMAT);
    change("UPDATE usage SET charge_nano = 700 WHERE request_id = 'req_7'");
    audit(20);
    change("UPDATE tree_head SET root = substr(root, 2) || substr(root, 1, 1)");
    assert_int_equal(find(7, &p, &e), ERR_FORMAT);
    assert_int_equal(books_audit(path, &n, &e), ERR_FORMAT);
}

/* ---- its two forms --------------------------------------------------------------------------- */

static void no_bit_of_cose_may_differ(void **state)
{
    struct proof p, back;
    struct err e = {0};
    struct buf b;

    fill(0, 11, 11, 1);
    assert_int_equal(find(6, &p, &e), 0);
    buf_init(&b, PROOF_TEXT_MAX);
    assert_int_equal(proof_put_cose(&b, &p), 0);
    assert_int_equal(proof_read_cose(b.data, b.len, &back, &e), 0);
    assert_memory_equal(&back.head, &p.head, sizeof p.head);
    assert_string_equal(back.tenant, p.tenant);
    for (size_t bit = 0; bit < 8 * b.len; bit++) {
        b.data[bit / 8] = (char)(b.data[bit / 8] ^ 1 << bit % 8);
        if (!proof_read_cose(b.data, b.len, &back, &e) &&
            !memcmp(back.head.key, key.public_key, TREE_KEY))
            fail_msg("bit %zu of %zu may differ", bit, 8 * b.len);
        b.data[bit / 8] = (char)(b.data[bit / 8] ^ 1 << bit % 8);
    }
    for (size_t n = 0; n < b.len; n++)
        assert_int_not_equal(proof_read_cose(b.data, n, &back, &e), 0);
    buf_add(&b, "", 1);
    assert_int_not_equal(proof_read_cose(b.data, b.len, &back, &e), 0);
    buf_done(&b);
}

static void no_byte_of_json_may_differ(void **state)
{
    struct proof p, back;
    struct err e = {0};
    json_t *j;
    char *text;
    size_t n;

    fill(0, 11, 11, 1);
    assert_int_equal(find(6, &p, &e), 0);
    j = proof_json(&p);
    text = json_dumps(j, JSON_COMPACT);
    assert_int_equal(proof_read_json(j, &back, &e), 0);
    json_decref(j);
    n = strlen(text);
    for (size_t i = 0; i < n; i++) {
        for (int k = 0; k < 7; k++) {
            char was = text[i];
            text[i] = (char)(was ^ 1 << k);
            /* A digit in upper case is the same digit, and is refused all the same. */
            if (!json_parse(&j, text, n, 0, &e)) {
                if (!proof_read_json(j, &back, &e) &&
                    !memcmp(back.head.key, key.public_key, TREE_KEY))
                    fail_msg("byte %zu may differ: %.30s", i, text + i);
                json_decref(j);
            }
            text[i] = was;
        }
    }
    free(text);
}

/* ---- keys ------------------------------------------------------------------------------------ */

static void a_key_is_made_once(void **state)
{
    struct tree_key a, b;
    struct err e = {0};
    char file[600], pem[TREE_PEM_MAX];
    struct stat st;

    snprintf(file, sizeof file, "%s/receipts.key", dir);
    assert_int_equal(tree_key_open(&a, file, &e), 0);
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(tree_key_open(&b, file, &e), 0);
    assert_memory_equal(&a, &b, sizeof a);
    tree_key_pem(a.public_key, pem);
    assert_non_null(strstr(pem, "BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA"));
    assert_int_equal(truncate(file, 20), 0);
    assert_int_equal(tree_key_open(&b, file, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, file));
    assert_int_equal(unlink(file), 0);
}

static void an_entry_has_one_form(void **state)
{
    struct books_row r = {.tier = 99, .usage_state = 99, .lent = -1, .energy_method = 77};
    unsigned char entry[LEAF_ENTRY_MAX], again[LEAF_ENTRY_MAX];
    struct leaf_value v[LEAF_N];
    struct err e = {0};
    size_t n;

    n = leaf_entry(&r, entry); /* of a row that makes no sense, too */
    assert_int_equal(leaf_read(entry, n, v, &e), 0);
    assert_true(v[LEAF_energy_uj].is_null);
    r = (struct books_row){.charge_nano = -5, .energy_method = 1, .energy_uj = INT64_MAX};
    strcpy(r.corrects, "req_1");
    memset(r.sampling, 'x', sizeof r.sampling - 1);
    memset(r.labels, 'x', sizeof r.labels - 1);
    n = leaf_entry(&r, entry);
    assert_int_equal(leaf_read(entry, n, v, &e), 0);
    assert_int_equal(v[LEAF_charge_nano].number, -5); /* what is added may be below 0 */
    assert_int_equal(v[LEAF_energy_uj].number, INT64_MAX);
    /* The same number in more bytes is another form, and refused. */
    memcpy(again, entry, 3);
    again[3] = 0x18;
    memcpy(again + 4, entry + 3, n - 3);
    assert_int_equal(leaf_read(again, n + 1, v, &e), ERR_FORMAT);
    entry[n] = 0;
    assert_int_equal(leaf_read(entry, n + 1, v, &e), ERR_FORMAT);
    assert_int_equal(leaf_read(entry, n - 1, v, &e), ERR_FORMAT);
}

int main(void)
{
#define PLACED(f) cmocka_unit_test_setup_teardown(f, make_place, place_clear)
    const struct CMUnitTest tests[] = {
        PLACED(every_row_has_a_receipt),    PLACED(a_head_may_come_later),
        PLACED(two_write_one_log),          PLACED(rows_go_and_receipts_stay),
        PLACED(what_was_changed_is_found),  PLACED(no_bit_of_cose_may_differ),
        PLACED(no_byte_of_json_may_differ), PLACED(a_key_is_made_once),
        PLACED(an_entry_has_one_form),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
