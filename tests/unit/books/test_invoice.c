/* A supplier's invoice beside what was booked: every way to differ, and what is no invoice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "books/invoice.h"
#include "books/upkeep.h"
#include "ledger_place.h"

#define DAY_US INT64_C(86400000000)
#define FIRST  (INT64_C(20788) * DAY_US) /* 2026-12-01 */

/* Three days, a request of each model a day; the supplier near has one that is no business here. */
static int setup(void **state)
{
    struct books *b = NULL;
    struct books_row *r;
    struct err e = {0};

    if (place_make(state) || books_open(&b, path, 0, &e))
        return -1;
    for (int i = 0; i < 7; i++) {
        r = books_take(b);
        snprintf(r->request_id, sizeof r->request_id, "r%d", i);
        snprintf(r->supplier, sizeof r->supplier, "%s",
                 i == 6  ? "near/m"
                 : i % 2 ? "far/n"
                         : "far/m");
        if (i == 4) { /* its invoice is in dollars */
            strcpy(r->cost_currency, "USD");
            r->cost_own_nano = 1200;
        }
        strcpy(r->tenant, "acme");
        strcpy(r->currency, "EUR");
        r->prompt_tokens = 100;
        r->cached_tokens = 40;
        r->completion_tokens = 20;
        r->charge_nano = 9;
        r->cost_nano = i == 5 ? -1 : i == 4 ? 1100 : 1200;
        r->at_us = FIRST + i / 2 * DAY_US;
        books_post(b, r);
    }
    return books_close(b) ? -1 : 0;
}

static int put(void *arg, const struct invoice_line *l)
{
    buf_addf(arg, "%s%s%s %s %lld=%lld+%lld\n", l->key, *l->model ? "/" : "", l->model,
             invoice_why_name(l->why), (long long)l->more_nano, (long long)l->from_tokens_nano,
             (long long)l->from_price_nano);
    return 0;
}

static void expect(const char *invoice, struct invoice_query q, const char *lines, int n_left_out)
{
    struct err e = {0};
    struct buf out;
    int64_t left_out;

    q.supplier = "far";
    buf_init(&out, 10000);
    buf_add_str(&out, "");
    if (invoice_reconcile(path, invoice, strlen(invoice), &q, put, &out, &left_out, &e))
        fail_msg("%s", e.text);
    assert_string_equal(out.data, lines);
    assert_int_equal(left_out, n_left_out);
    buf_done(&out);
}

static void of_requests(void **state)
{
    expect("request_id,amount,currency,input_tokens,cached_tokens,output_tokens,note\n"
           "r0,0.0000012,EUR,100,40,20,fine\n"
           "r1,0.0000013,EUR,100,40,20,dearer\n"
           "r2,0.0000018,EUR,160,40,20,more tokens and dearer than they explain\n"
           "r3,0.0000012,EUR,,,,\n"
           "r3,0.0000012,EUR,,,,\n"
           "r4,0.0000012,EUR,100,40,20,\n"
           "x,0.5,EUR,1,0,1,\n",
           (struct invoice_query){0},
           "r0 same 0=0+0\n"
           "r1 price 100=0+100\n"
           "r2 tokens 600=600+0\n"
           "r3 billed twice 1200=0+1200\n"
           "r4 currency 0=0+0\n"
           "r5 not billed 0=0+0\n"
           "x not ours 500000000=500000000+0\n",
           0);
    expect("request_id,amount,currency\nr4,0.0000012,USD\n",
           (struct invoice_query){.from_s = 1, .until_s = 2}, "r4 same 0=0+0\n", 0);
    /* Of a time: what is billed is found wherever it is, what is not is only missed in it. */
    expect("request_id,amount,currency\nr0,0.0000012,EUR\n",
           (struct invoice_query){.from_s = FIRST / 1000000 + 86400,
                                  .until_s = FIRST / 1000000 + 2 * 86400},
           "r0 same 0=0+0\nr2 not billed -1200=-1200+0\nr3 not billed -1200=-1200+0\n", 0);
}

static void of_days(void **state)
{
    static const char bill[] = "day,model,input_tokens,output_tokens,amount,currency\n"
                               "2026-12-01,m,50,10,0.0000006,EUR\n"
                               "2026-12-01,m,50,10,0.0000006,EUR\n"
                               "2026-12-01,their-n,100,20,0.0000012,EUR\n"
                               "2026-12-02,m,100,20,0.000001,EUR\n"
                               "2026-12-03,their-n,100,20,0.0000012,EUR\n";
    struct invoice_query q = {.n_names = 1, .names = {{"their-n", "n"}}};
    struct books_row row;
    struct err e = {0};
    int64_t cost = 1200;

    expect(bill, q,
           "2026-12-01/m same 0=0+0\n"
           "2026-12-01/n same 0=0+0\n"
           "2026-12-02/m price -200=0+-200\n"
           "2026-12-02/n not billed -1200=-1200+0\n"
           "2026-12-03/m not billed -1200=-1200+0\n"
           "2026-12-03/n unpriced 1200=0+1200\n",
           0);
    /* A correction counts on the day of its request, whenever it was made. */
    assert_int_equal(
        books_correct(path, "r5",
                      &(struct books_wish){.cost_nano = &cost, .at_us = FIRST + 90 * DAY_US}, &row,
                      &e),
        0);
    q.from_s = FIRST / 1000000 + 2 * 86400;
    expect(bill, q, "2026-12-03/m not billed -1200=-1200+0\n2026-12-03/n same 0=0+0\n", 4);
}

static void what_is_no_invoice(void **state)
{
    static const char *const all[][2] = {
        {"", "a head"},
        {"amount,currency\n", "line 1: wants a column 'request_id'"},
        {"day,amount,currency\n", "line 1: wants a column"},
        {"request_id,amount\n", "'currency'"},
        {"request_id,amount,currency,amount\n", "line 1: a column is there twice"},
        {"request_id,amount,currency\na,1,EUR,2\n", "line 2: not as many fields"},
        {"request_id,amount,currency\na,1,EUR\n,1,EUR\n", "line 3: 'request_id'"},
        {"request_id,amount,currency\na,1e3,EUR\n", "line 2: '1e3' is no amount"},
        {"request_id,amount,currency\na,1,euro\n", "line 2: 'currency'"},
        {"day,model,amount,currency\n2026-13-01,m,1,EUR\n", "line 2: 'day'"},
        {"day,model,amount,currency\n2026-02-30,m,1,EUR\n", "line 2: 'day'"},
        {"day,model,amount,currency\n2026-12-01,,1,EUR\n", "line 2: 'model'"},
        {"request_id,amount,currency,input_tokens\na,1,EUR,-1\n", "line 2: a number"},
        {"request_id,amount,currency,input_tokens\na,1,EUR,1234567890123456\n", "line 2: a number"},
        {"request_id,amount,currency\n\"a,1,EUR\n", "line 2: a quote has no end"},
    };
    struct err e;
    int64_t left_out;

    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct invoice_query q = {.supplier = "far"};
        struct buf out;
        e = (struct err){0};
        buf_init(&out, 100);
        assert_int_equal(
            invoice_reconcile(path, all[i][0], strlen(all[i][0]), &q, put, &out, &left_out, &e),
            ERR_FORMAT);
        if (!strstr(e.text, all[i][1]))
            fail_msg("%s: %s", all[i][0], e.text);
        assert_int_equal(out.len, 0);
        buf_done(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(of_requests, setup, place_clear),
        cmocka_unit_test_setup_teardown(of_days, setup, place_clear),
        cmocka_unit_test_setup_teardown(what_is_no_invoice, setup, place_clear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
