/* Rows that three io threads publish, and watches that go round them. The test is all three
 * threads: it takes what is posted in a mailbox when it plays its owner. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "console/console_int.h"
#include "console/watch.h"

#define N_IO      3
#define MAIL_KIND 7
#define OWN       0 /* tenants */
#define OTHER     1

struct house {
    struct cloud *cloud;
    struct net_server *net;
    struct console *console;
    struct row_live live[WATCH_LIVE_MAX + 60];
    int n_live;
};

static void never(void *ctx, struct net_exchange *x)
{
    fail();
}

static void never_n(void *ctx, struct net_exchange *x, int code)
{
    fail();
}

static int open_house(void **state)
{
    static const char *const names[] = {"m", "alias"};
    struct house *h = calloc(1, sizeof *h);
    struct cloud_config cc = {.waiting_max = 100};
    struct net_handler handler = {.on_request = never, .on_body = never_n, .on_gone = never_n};
    struct net_config nc;
    struct err e = {0};
    int i_model;

    log_setup(LOG_OFF, 0);
    net_config_default(&nc);
    nc.port = 0;
    nc.n_io = N_IO;
    assert_int_equal(net_server_open(&h->net, &nc, &handler, &e), 0);
    assert_int_equal(cloud_open(&h->cloud, &cc, &e), 0);
    assert_int_equal(cloud_add_model(h->cloud, names, 2, &i_model, &e), 0);
    h->console = console_new(
        &(struct console_setup){.cloud = h->cloud, .net = h->net, .mail_kind = MAIL_KIND});
    assert_non_null(h->console);
    assert_int_equal(console_add_model(h->console, names[0], &e), 0);
    *state = h;
    return 0;
}

static int close_house(void **state)
{
    struct house *h = *state;

    console_free(h->console);
    cloud_close(h->cloud);
    net_server_close(h->net);
    free(h);
    return 0;
}

/* A request that reached the supplier. */
static struct row_live *add(struct house *h, int io, int i_tenant, const char *name, enum tier tier)
{
    struct row_live *l = &h->live[h->n_live++];
    struct row_begin b = {.tier = tier, .n_choices = 1, .n_prompt = 10};

    snprintf(l->row.id, sizeof l->row.id, "req_%d", h->n_live);
    snprintf(l->row.client_id, sizeof l->row.client_id, "%s", name);
    l->row.started_us = h->n_live;
    row_publish(l, console_rows(h->console, io), "chat", i_tenant);
    row_begin(l, &b);
    return l;
}

static void end(struct house *h, struct row_live *l, int code)
{
    struct row_end e = {.peer = "",
                        .method = "POST",
                        .path = "/",
                        .tenant = "",
                        .key_id = "",
                        .status = code ? 499 : 200,
                        .code = code,
                        .finish = code ? NULL : "stop",
                        .is_api = 1,
                        .n_jobs = 1,
                        .usage = {.prompt_tokens = 10, .completion_tokens = l->row.n_generated}};

    row_finish(l, code ? "cancelled" : "stop");
    row_end(l, l->rows, &e);
    memset(l, 0xaa, sizeof *l); /* nobody looks there any more */
}

/* Round all threads, each of which takes what came to it. How many rows were marked. */
static int go_round(struct house *h, struct watch *w, int home, const char *id, int do_cancel)
{
    int n = 0, n_seen = 0;

    watch_set_out(w, home, id, do_cancel ? WATCH_CANCEL : WATCH_ROW);
    for (int io = home;; io = (io + 1) % N_IO) {
        struct mbox_item *list = mbox_take(net_io_mbox(h->net, io)), *it = mbox_next(&list);
        if (n_seen) {
            assert_non_null(it);
            assert_int_equal(it->kind, MAIL_KIND);
            assert_ptr_equal(it->owner, w);
        }
        if (watch_is_home(w))
            break;
        n += watch_see(w, io);
        n_seen++;
        watch_send(w, io);
    }
    assert_int_equal(n_seen, N_IO);
    assert_ptr_equal(watch_owner(w), h);
    return n;
}

static char *state_of(struct house *h, struct watch *w)
{
    struct buf b;

    buf_init(&b, 1 << 20);
    assert_int_equal(go_round(h, w, 1, NULL, 0), 0);
    assert_int_equal(watch_state(w, &b), 0);
    return b.data;
}

static char *one_of(struct house *h, const char *id, int do_cancel, int *ret_marked)
{
    struct watch *w = watch_new(h->console, OWN, h);
    struct err e = {0};
    struct buf b;
    int r;

    buf_init(&b, 1 << 20);
    *ret_marked = go_round(h, w, 0, id, do_cancel);
    r = watch_found(w, &b, &e);
    watch_free(w);
    if (!r)
        return b.data;
    assert_int_equal(r, ERR_NOTFOUND);
    assert_non_null(strstr(e.text, id));
    buf_done(&b);
    return NULL;
}

#define HAS(text, what)                                                                            \
    do {                                                                                           \
        if (!strstr(text, what))                                                                   \
            fail_msg("no '%s' in:\n%s", what, text);                                               \
    } while (0)

static int count_of(const char *text, const char *what)
{
    int n = 0;

    for (; (text = strstr(text, what)); text++)
        n++;
    return n;
}

static void a_row_tells_its_request(void **state)
{
    struct house *h = *state;
    struct row_live *l = add(h, 2, OWN, "mine", TIER_DEFAULT);
    struct buf text;
    char *a;
    int n;

    a = one_of(h, "mine", 0, &n);
    HAS(a, "\"state\":\"queued\",\"position\":1,\"prompt_tokens\":10");
    free(a);
    row_start(l, 5, 3);
    row_start(l, 9, 0); /* another job of it */
    a = one_of(h, "req_1", 0, &n);
    HAS(a, "\"state\":\"prefill\",\"position\":null");
    free(a);
    row_token(l, 1000001);
    row_token(l, 2000001);
    row_token(l, 3000001);
    a = one_of(h, "mine", 0, &n);
    HAS(a, "\"state\":\"decode\"");
    HAS(a, "\"generated_tokens\":3");
    HAS(a, "\"tokens_per_s\":1.");
    free(a);
    end(h, l, 0);
    a = one_of(h, "mine", 0, &n); /* kept */
    HAS(a, "\"state\":\"finished\"");
    HAS(a, "\"what\":\"started\",\"n\":3}");
    HAS(a, "\"what\":\"first_token\",\"n\":1}");
    HAS(a, "\"what\":\"finished\",\"n\":3}]");
    free(a);
    buf_init(&text, 1 << 20);
    assert_int_equal(console_metrics(h->console, NULL, &text), 0);
    HAS(text.data, "vllm:time_to_first_token_seconds_sum{model_name=\"m\"} 1\n");
    HAS(text.data, "vllm:inter_token_latency_seconds_count{model_name=\"m\"} 2\n");
    HAS(text.data, "vllm:generation_tokens_total{model_name=\"m\"} 3\n");
    HAS(text.data, "gaufre_requests_total{model_name=\"m\",status=\"200\"} 1\n");
    buf_done(&text);
}

static void a_state_is_of_all_threads(void **state)
{
    struct house *h = *state;
    struct watch *w = watch_new(h->console, OWN, h);
    struct err e = {0};
    char *a;
    int n;

    assert_int_equal(watch_join(w, &e), 0);
    for (int i = 0; i < WATCH_LIVE_MAX + 50; i++)
        add(h, i % N_IO, i % 10 ? OWN : OTHER, "x", TIER_DEFAULT);
    add(h, 0, OWN, "first", TIER_PRIORITY);
    add(h, 0, OTHER, "hidden", TIER_PRIORITY);
    a = state_of(h, w);
    HAS(a, "\"others\":26}");
    HAS(a, "\"client_id\":\"first\",\"model\":\"m\",\"endpoint\":\"chat\",\"stream\":false,"
           "\"state\":\"queued\",\"position\":2,");   /* the turn is the other tenant's */
    HAS(a, "\"id\":\"req_250\",\"client_id\":\"x\""); /* behind all that wait */
    HAS(a, "\"position\":252,");
    assert_null(strstr(a, "hidden"));
    assert_int_equal(count_of(a, "\"client_id\":"), WATCH_LIVE_MAX); /* of 226 */
    free(a);
    a = one_of(h, "first", 0, &n); /* and alone it is told the same */
    HAS(a, "\"state\":\"queued\",\"position\":2,");
    free(a);
    while (h->n_live > 3)
        end(h, &h->live[--h->n_live], 0);
    a = state_of(h, w);
    HAS(a, "\"others\":1}");
    HAS(a, "\"finish\":\"stop\"");
    HAS(a, "\"requests\":252,"); /* the model's */
    free(a);
    watch_free(w);
    assert_int_equal(atomic_load(&h->console->n_watchers), 0);
}

static void a_cancel_marks_rows(void **state)
{
    struct house *h = *state;
    struct row_live *a = add(h, 0, OWN, "twice", TIER_DEFAULT),
                    *b = add(h, 2, OWN, "twice", TIER_DEFAULT),
                    *c = add(h, 2, OTHER, "twice", TIER_DEFAULT),
                    *d = add(h, 1, OWN, "once", TIER_DEFAULT);
    char *text;
    int n;

    text = one_of(h, "twice", 0, &n);
    HAS(text, "\"id\":\"req_2\""); /* the newest */
    free(text);
    assert_int_equal(n, 0);
    text = one_of(h, "twice", 1, &n);
    HAS(text, "\"cancelled\":true");
    free(text);
    assert_int_equal(n, 2);
    assert_true(a->cancel && b->cancel && !c->cancel && !d->cancel);
    end(h, a, ERR_CANCELLED);
    end(h, b, ERR_CANCELLED);
    text = one_of(h, "twice", 1, &n);
    HAS(text, "\"cancelled\":false"); /* they were over */
    free(text);
    assert_null(one_of(h, "nobody", 1, &n));
    assert_int_equal(n, 0);
}

/* A request whose offer failed waits in no queue until another takes it. */
static void a_row_goes_back(void **state)
{
    struct house *h = *state;
    struct row_live *l = add(h, 0, OWN, "x", TIER_DEFAULT);
    struct watch *w = watch_new(h->console, OWN, h);
    struct err e = {0};
    int n_accepted = 0;
    char *a;

    assert_int_equal(watch_join(w, &e), 0);
    row_start(l, 5, 3);
    row_back(l);
    a = state_of(h, w);
    HAS(a, "\"requests\":[],\"others\":0");
    free(a);
    row_begin(l, &(struct row_begin){.n_choices = 1, .n_prompt = 12});
    a = state_of(h, w);
    HAS(a, "\"state\":\"queued\",\"position\":1,\"prompt_tokens\":12,");
    free(a);
    assert_int_equal(l->rows->model[0]->n_requests, 1);
    for (int i = 0; i < l->timeline.n_marks; i++)
        n_accepted += l->timeline.mark[i].what == TIMELINE_ACCEPTED;
    assert_int_equal(n_accepted, 1);
    watch_free(w);
}

/* A request that ends before it reached a supplier leaves no row behind. */
static void a_refused_request(void **state)
{
    struct house *h = *state;
    struct row_live *l = &h->live[h->n_live++];
    int n;
    char *a;

    snprintf(l->row.id, sizeof l->row.id, "req_1");
    row_publish(l, console_rows(h->console, 1), "chat", OWN);
    a = one_of(h, "req_1", 0, &n);
    HAS(a, "\"model\":\"\",\"endpoint\":\"chat\",\"stream\":false,\"state\":\"queued\"");
    free(a);
    end(h, l, ERR_CANCELLED);
    assert_null(one_of(h, "req_1", 0, &n));
}

static void health_and_models(void **state)
{
    struct house *h = *state;
    const char *shown[CLOUD_MODELS_MAX] = {"m"}, *hidden[CLOUD_MODELS_MAX] = {NULL};
    struct err e = {0};
    struct buf b;

    buf_init(&b, 1 << 20);
    assert_int_equal(console_health(h->console, &e), ERR_AGAIN); /* nobody offers it */
    assert_int_equal(console_models(h->console, "alias", shown, API_MODELS_PLAIN, &b, &e), 0);
    HAS(b.data, "\"id\":\"alias\"");
    buf_clear(&b);
    assert_int_equal(console_models(h->console, NULL, shown, API_MODELS_PLAIN, &b, &e), 0);
    HAS(b.data, "\"id\":\"m\"");
    buf_clear(&b);
    assert_int_equal(console_models(h->console, NULL, hidden, API_MODELS_PLAIN, &b, &e), 0);
    HAS(b.data, "\"data\":[]");
    assert_int_equal(console_models(h->console, "m", hidden, API_MODELS_PLAIN, &b, &e),
                     ERR_NO_MODEL);
    assert_int_equal(console_models(h->console, "none", shown, API_MODELS_PLAIN, &b, &e),
                     ERR_NO_MODEL);
    buf_done(&b);
}

static int count(const char *text, const char *what)
{
    int n = 0;

    for (; (text = strstr(text, what)); text++)
        n++;
    return n;
}

/* However many tenants there are: 200 have series of their own, and the sum is right. */
static void tenants_are_bounded(void **state)
{
    struct house *h = *state;
    struct row_live l = {0};
    char name[16];
    struct buf b;

    for (int i = 0; i < 2000; i++) {
        struct row_end e = {.peer = "",
                            .method = "POST",
                            .path = "/",
                            .tenant = name,
                            .key_id = "",
                            .status = i % 2 ? 429 : 200,
                            .is_api = 1,
                            .i_tenant = i % 500,
                            .i_model = -1,
                            .usage = {.prompt_tokens = 3}};
        snprintf(name, sizeof name, "t%d", i % 500);
        row_end(&l, console_rows(h->console, i % N_IO), &e);
    }
    buf_init(&b, 1 << 20);
    assert_int_equal(console_metrics(h->console, NULL, &b), 0);
    assert_int_equal(count(b.data, "\ngaufre_tenant_requests_total{"), 201);
    assert_int_equal(count(b.data, "\ngaufre_tenant_prompt_tokens_total{"), 201);
    HAS(b.data, "gaufre_tenant_requests_total{tenant=\"t0\"} 4\n");
    HAS(b.data, "gaufre_tenant_failed_total{tenant=\"t199\"} 4\n");
    HAS(b.data, "gaufre_tenant_requests_total{tenant=\"other\"} 1200\n");
    HAS(b.data, "gaufre_tenant_failed_total{tenant=\"other\"} 600\n");
    HAS(b.data, "gaufre_tenant_prompt_tokens_total{tenant=\"other\"} 3600\n");
    buf_done(&b);
}

/* Under way by tier: what was handed over and has neither come back nor ended. */
static void tiers_are_counted(void **state)
{
    struct house *h = *state;
    struct row_live *a = add(h, 0, OWN, "a", TIER_FLEX), *b = add(h, 1, OWN, "b", TIER_FLEX);
    struct row_begin again = {.tier = TIER_PRIORITY, .n_choices = 1, .n_prompt = 10};
    struct buf out;

    row_back(b);
    row_begin(b, &again);
    row_start(a, 5, 0);
    row_token(a, a->row.started_us + 7);
    buf_init(&out, 1 << 20);
    assert_int_equal(console_metrics(h->console, NULL, &out), 0);
    HAS(out.data, "gaufre_tier_under_way{tier=\"flex\"} 1\n");
    HAS(out.data, "gaufre_tier_under_way{tier=\"priority\"} 1\n");
    HAS(out.data, "gaufre_tier_time_to_first_token_seconds_count{tier=\"flex\"} 1\n");
    end(h, a, 0);
    end(h, b, ERR_CANCELLED);
    console_supplier_begin(h->console, "s/m");
    console_supplier_result(h->console, "s/m", ERR_RESET, -1);
    console_supplier_result(h->console, "s/m", 0, 2000000);
    buf_clear(&out);
    assert_int_equal(console_metrics(h->console, NULL, &out), 0);
    HAS(out.data, "gaufre_tier_under_way{tier=\"flex\"} 0\n");
    HAS(out.data, "gaufre_tier_under_way{tier=\"priority\"} 0\n");
    HAS(out.data, "gaufre_tier_requests_total{tier=\"priority\"} 1\n");
    HAS(out.data, "gaufre_supplier_requests_total{supplier=\"s/m\"} 1\n");
    HAS(out.data, "gaufre_supplier_errors_total{supplier=\"s/m\",error=\"RESET\"} 1\n");
    HAS(out.data, "gaufre_supplier_time_to_first_token_seconds_sum{supplier=\"s/m\"} 2\n");
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_row_tells_its_request, open_house, close_house),
        cmocka_unit_test_setup_teardown(a_state_is_of_all_threads, open_house, close_house),
        cmocka_unit_test_setup_teardown(a_cancel_marks_rows, open_house, close_house),
        cmocka_unit_test_setup_teardown(a_row_goes_back, open_house, close_house),
        cmocka_unit_test_setup_teardown(a_refused_request, open_house, close_house),
        cmocka_unit_test_setup_teardown(health_and_models, open_house, close_house),
        cmocka_unit_test_setup_teardown(tenants_are_bounded, open_house, close_house),
        cmocka_unit_test_setup_teardown(tiers_are_counted, open_house, close_house),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
