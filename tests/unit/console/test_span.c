/* Spans as JSON, whatever the names in them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/json.h"
#include "console/span.h"

static unsigned char random_bytes[SPAN_TRIES_MAX * 24];

static json_t *spans_of(const struct span_request *r)
{
    struct buf b;
    json_t *list;

    buf_init(&b, SPAN_BYTES_MAX);
    buf_add_char(&b, '[');
    assert_int_equal(span_put(&b, r, random_bytes), 0);
    buf_add_char(&b, ']');
    list = json_loadb(b.data, b.len, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(list);
    buf_done(&b);
    assert_int_equal(json_array_size(list), span_count(r));
    return list;
}

static const char *text_of(const json_t *span, const char *key)
{
    return json_string_value(json_object_get(span, key));
}

static void hostile_names(void **state)
{
    static const char *const names[] = {"m",        "",         "\"},{\"x\":\"", "a\\",
                                        "\n\t\x01", "\xff\xfe", "m\xc3\xa4",     "</script>"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct span_request r = {.operation = "chat",
                                 .method = "POST",
                                 .path = names[i],
                                 .id = names[i],
                                 .client_id = names[i],
                                 .tenant = names[i],
                                 .key_id = names[i],
                                 .site = names[i],
                                 .contract = names[i],
                                 .lender = names[i],
                                 .model_asked = names[i],
                                 .model = names[i],
                                 .finish = names[i],
                                 .state = names[i],
                                 .status = 200,
                                 .started_us = 10,
                                 .ended_us = 20,
                                 .wall_us = 1000,
                                 .n_tries = 1,
                                 .list = {{.supplier = names[i],
                                           .is_local = 1,
                                           .began_us = 11,
                                           .started_us = 12,
                                           .first_us = 13,
                                           .last_us = 14,
                                           .ended_us = 20,
                                           .has_answer = 1}}};
        json_t *list = spans_of(&r);
        assert_int_equal(json_array_size(list), 5);
        json_decref(list);
    }
}

/* A request that came nowhere has its own span; one that waits for ever has a queue. */
static void as_far_as_it_came(void **state)
{
    struct span_request r = {.method = "POST",
                             .path = "/v1/x",
                             .status = 503,
                             .code = ERR_LOADING,
                             .started_us = 2000000,
                             .ended_us = 3000000,
                             .wall_us = 1800000000000000};
    json_t *list = spans_of(&r), *span = json_array_get(list, 0);

    assert_int_equal(json_array_size(list), 1);
    assert_string_equal(text_of(span, "name"), "POST /v1/x");
    assert_string_equal(text_of(span, "startTimeUnixNano"), "1799999999000000000");
    assert_string_equal(text_of(span, "endTimeUnixNano"), "1800000000000000000");
    assert_null(json_object_get(span, "parentSpanId"));
    assert_int_equal(json_integer_value(json_object_get(json_object_get(span, "status"), "code")),
                     2);
    json_decref(list);

    r.operation = "chat";
    r.code = ERR_CANCELLED;
    r.status = 499;
    r.has_parent = 1;
    r.list[r.n_tries++] = (struct span_try){.supplier = "local/m",
                                            .is_local = 1,
                                            .began_us = 2100000,
                                            .ended_us = 2900000,
                                            .code = ERR_CANCELLED};
    list = spans_of(&r);
    assert_int_equal(json_array_size(list), 3);
    assert_null(json_object_get(json_array_get(list, 0), "status"));
    assert_string_equal(text_of(json_array_get(list, 2), "name"), "queue");
    assert_string_equal(text_of(json_array_get(list, 2), "endTimeUnixNano"), "1799999999900000000");
    json_decref(list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(hostile_names),
                                       cmocka_unit_test(as_far_as_it_came)};

    for (size_t i = 0; i < sizeof random_bytes; i++)
        random_bytes[i] = (unsigned char)i;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
