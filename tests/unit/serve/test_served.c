/* Every field that the table calls served is read by someone: with it the supplier gets another
 * job, or the client another answer. What is without effect changes neither. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../api/field_probes.h"
#include "serve_harness.h"

/* Without what differs between two answers to one request: ids and times. */
static void strip(char *text)
{
    static const char *const keys[] = {"\"id\":", "\"created\":", "_time\":"};
    size_t n;

    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        for (char *p = text; (p = strstr(p, keys[i]));) {
            p += strlen(keys[i]);
            n = strcspn(p, ",}");
            memmove(p, p + n, strlen(p + n) + 1);
        }
    }
}

/* The supplier's job, and the answer's body. */
static void try(struct room *r, struct buf *out, unsigned kind, const struct probe *p, int with)
{
    struct buf body;
    char *a, *start;

    buf_init(&body, 4096);
    put_probe_body(&body, kind, with ? p->name : NULL, p->value, p->with);
    a = ask(r, kind == CHAT ? "/v1/chat/completions" : "/v1/completions", NULL, body.data);
    start = strstr(a, "\r\n\r\n");
    assert_non_null(start);
    if (status_of(a) != 200 && strcmp(p->name, "model") != 0) /* there is one only */
        fail_msg("%s", a);
    strip(start);
    buf_clear(out);
    pthread_mutex_lock(&r->f.lock);
    buf_add(out, r->f.told.data, r->f.told.len);
    pthread_mutex_unlock(&r->f.lock);
    buf_add_str(out, start);
    assert_int_equal(out->failed, 0);
    free(a);
    buf_done(&body);
}

static void test_served(void **state)
{
    struct room r;
    struct buf without, with;
    struct api_field_doc d;

    room_init(&r);
    room_start(&r);
    buf_init(&without, 1 << 20);
    buf_init(&with, 1 << 20);
    for (int i = 0; api_field_row(i, &d); i++) {
        for (unsigned kind = CHAT; kind <= COMP; kind++) {
            const struct probe *p;
            if (!(d.kinds & kind) || d.state == API_FIELD_UNBUILT ||
                !strcmp(d.name, "store") /* told by a header: e2e/test_survive.py */ ||
                !strcmp(d.name, "prompt_cache_key")) /* it chooses among suppliers: test_way */
                continue;
            p = find_probe(d.name, kind);
            try(&r, &without, kind, p, 0);
            try(&r, &with, kind, p, 1);
            if (!strcmp(without.data, with.data) == (d.state == API_FIELD_SERVED))
                fail_msg("%s is said to be %s:\n%s\n%s", d.name,
                         d.state == API_FIELD_SERVED ? "served" : "without effect", without.data,
                         with.data);
        }
    }
    buf_done(&without);
    buf_done(&with);
    room_done(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_served)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
