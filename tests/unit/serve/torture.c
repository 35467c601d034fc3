/* Memory that is not there: every allocation of a load, a request and its answer fails once, and
 * there is an answer, no crash and no leak (the address sanitizer looks), and the next request is
 * served as ever. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fail_alloc.h"

#include "base/check.h"
#include "base/json.h"
#include "base/team.h"
#include "engine/engine.h"
#include "serve_harness.h"
#include "text/jinja.h"
#include "text/prompt.h"
#include "unit/engine/tiny.h"

/* Run once without a failure, then with each allocation failing in turn. `one` returns 0, or the
 * error; 0 although one failed is fine, where it was not needed. */
static void torture(const char *what, int (*one)(void *ctx), void *ctx)
{
    long n = 1, n_errors = 0;
    int rc;

    rc = one(ctx);
    if (rc)
        fail_msg("%s: %d without a failure", what, rc);
    for (;; n++) {
        fail_begin(n);
        rc = one(ctx);
        if (!fail_end()) {
            assert_int_equal(rc, 0);
            break;
        }
        n_errors += rc != 0;
        if (rc && rc != ERR_NOMEM)
            fail_msg("%s: error %d where allocation %ld failed", what, rc, n);
    }
    rc = one(ctx);
    assert_int_equal(rc, 0);
    print_message("# %s: %ld allocations, %ld errors\n", what, n - 1, n_errors);
}

/* ---- texts ----------------------------------------------------------------------------------- */

static int parse_json(void *ctx)
{
    static const char text[] =
        "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"a\\u00e9b\"}],"
        "\"stop\":[\"x\",\"y\"],\"n\":3,\"t\":0.5,\"none\":null,\"deep\":[[[{\"a\":[1,2,3]}]]]}";
    struct err e = {0};
    struct buf b;
    json_t *j = NULL;
    int rc = json_parse(&j, text, sizeof text - 1, 0, &e);

    if (rc)
        return rc;
    buf_init(&b, 4096);
    rc = json_put_tree(&b, j);
    buf_done(&b);
    json_decref(j);
    return rc;
}

static int run_template(void *ctx)
{
    static const char text[] =
        "{%- macro say(m) -%}<|{{ m.role }}|>{{ m.content | trim | upper }}{%- endmacro -%}"
        "{%- set ns = namespace(n=0, l=[]) -%}{% for m in messages %}{% set ns.n = ns.n + 1 %}"
        "{{ say(m) }}{{ {'a': [1, 2.5, none], 'n': ns.n} | tojson }}{% set ns.l = ns.l + [m.role] "
        "%}"
        "{% endfor %}{{ ns.l | join(', ') }}{{ '%s-%d' % ('x', 3) }}{{ 'abc'.split('b') }}";
    struct err e = {0};
    json_t *globals = ctx;
    struct jinja_input in = {.globals = globals};
    struct jinja_out out;
    struct jinja *j = NULL;
    int rc = jinja_compile(&j, text, sizeof text - 1, &e);

    if (!rc && !(rc = jinja_render(j, &in, &out, &e)))
        jinja_out_done(&out);
    if (!rc)
        assert_int_equal(e.code, 0);
    jinja_free(j);
    return rc;
}

static int read_config(void *ctx)
{
    struct serve_config c;
    struct err e = {0};
    int rc;

    serve_config_init(&c);
    rc = serve_config_read(&c, ctx, &e);
    if (!rc)
        rc = serve_config_flag(&c, "port", "8081", &e);
    if (!rc)
        rc = serve_config_check(&c, &e);
    if (rc && rc != ERR_NOMEM)
        print_message("# %s\n", e.text);
    serve_config_done(&c);
    return rc;
}

static void test_texts(void **state)
{
    static const char yaml[] =
        "host: 127.0.0.1\nport: 8080\ncors_origin: [\"http://a\", \"http://b\"]\n"
        "models:\n  - a\n  - model: /tmp/b.gguf\n    id: b\n"
        "    aliases: [c, d]\n    context: 4096\n";
    json_t *globals = json_pack("{s:[{s:s,s:s},{s:s,s:s}]}", "messages", "role", "user", "content",
                                " one ", "role", "assistant", "content", "two\n");

    torture("JSON", parse_json, NULL);
    torture("a template", run_template, globals);
    torture("settings", read_config, (void *)(uintptr_t)tiny_save(yaml, sizeof yaml - 1, "t.yaml"));
    json_decref(globals);
}

/* ---- load ------------------------------------------------------------------------------------ */

static int load(void *ctx)
{
    struct engine_config c = {
        .path = ctx, .cls = ENGINE_BF16, .chunk = 32, .batch_max = 4, .kv_bytes_max = 400000};
    struct engine *e = NULL;
    struct team *team = NULL;
    struct err err = {0};
    int rc = team_open(&team, 2, &err);

    if (!rc)
        rc = engine_open(&e, &c, team, NULL, NULL, &err);
    if (rc)
        assert_true(err.text[0] != 0);
    engine_close(e);
    if (team)
        team_close(team);
    return rc;
}

static int describe(void *ctx)
{
    struct engine_config c = {.path = ctx, .describe_only = 1};
    struct engine *e = NULL;
    struct tokens t = {0};
    struct err err = {0};
    int rc = engine_open(&e, &c, NULL, NULL, NULL, &err);

    if (!rc)
        rc = engine_tokenize(e, "<s>some text, and then more of it", 33, PROMPT_SPECIAL, 100, NULL,
                             &t, &err);
    tokens_done(&t);
    engine_close(e);
    return rc;
}

static void test_load(void **state)
{
    static const struct tiny models[] = {
        {.arch = TINY_LLAMA, .context = 128, .quantised = 1},
        {.arch = TINY_QWEN3MOE, .context = 128, .quantised = 1},
    };

    for (size_t i = 0; i < ARRAY_LEN(models); i++) {
        char *path = (char *)(uintptr_t)tiny_file(&models[i], "torture.gguf");
        torture("load", load, path);
        torture("describe", describe, path);
    }
}

/* ---- requests -------------------------------------------------------------------------------- */

struct question {
    struct room *r;
    const char *method, *path, *body;
};

/* Like ask, but a connection that ends without an answer, or in the middle of one, is one. */
static int answered(struct question *q, int *ret_whole)
{
    struct buf all;
    int fd = dial(q->r), status;

    buf_init(&all, 1 << 24);
    if (*q->body) {
        post(fd, q->path, NULL, q->body);
    } else {
        buf_addf(&all, "%s %s HTTP/1.1\r\nConnection: close\r\nHost: localhost\r\n\r\n", q->method,
                 q->path);
        say(fd, all.data, all.len);
        buf_clear(&all);
    }
    hear(fd, &all, NULL); /* fails where nothing comes: what hangs is no answer */
    close(fd);
    status = status_of(all.data);
    *ret_whole = status == 200 && (strstr(all.data, "\r\n\r\n{") || strstr(all.data, "[DONE]") ||
                                   strstr(all.data, "# HELP"));
    if (all.data && strstr(all.data, "\"error\""))
        *ret_whole = 0;
    buf_done(&all);
    return status;
}

static void torture_request(struct question *q, const char *what)
{
    long n = 1, n_errors = 0, n_cut = 0;
    int status, whole, failed;

    for (;; n++) {
        fail_begin(n);
        status = answered(q, &whole);
        EVENTUALLY(atomic_load(&q->r->s->n_calls) == 0);
        failed = fail_end();
        if (status && status != 200 && status != 429 && status != 500 && status != 503)
            fail_msg("%s: %d where allocation %ld failed", what, status, n);
        n_errors += status != 0 && !whole;
        n_cut += status == 0;
        if (!failed)
            break;
        status = answered(q, &whole);
        if (status != 200 || !whole)
            fail_msg("%s: %d after allocation %ld had failed", what, status, n);
    }
    assert_true(whole);
    print_message("# %s: %ld allocations, %ld errors, %ld cut\n", what, n - 1, n_errors, n_cut);
}

#define MESSAGES                                                                                   \
    "\"messages\":[{\"role\":\"system\",\"content\":\"be\"},"                                      \
    "{\"role\":\"user\",\"content\":\"say\"}]"

static void torture_all(struct room *r)
{
    static const struct question all[] = {
        {NULL, "POST", "/v1/chat/completions",
         "{\"model\":\"fake\"," MESSAGES ",\"max_tokens\":4}"},
        {NULL, "POST", "/v1/chat/completions",
         "{\"model\":\"fake\"," MESSAGES ",\"max_tokens\":4,\"stream\":true,\"n\":2,"
         "\"logprobs\":true,\"top_logprobs\":2,\"stop\":[\"qq\",\"zz\"],"
         "\"logit_bias\":{\"3\":-5},\"stream_options\":{\"include_usage\":true}}"},
        {NULL, "POST", "/v1/completions",
         "{\"model\":\"fake\",\"prompt\":[\"one\",\"two\"],\"max_tokens\":3,\"echo\":true,"
         "\"logprobs\":1}"},
        {NULL, "POST", "/v1/tokenize", "{\"model\":\"fake\",\"content\":\"some text\"}"},
        {NULL, "GET", "/v1/models", ""},
        {NULL, "GET", "/metrics", ""},
        {NULL, "POST", "/v1/detokenize", "{\"model\":\"fake\",\"tokens\":[97,98]}"},
    };

    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        struct question q = all[i];
        int whole, status;
        q.r = r;
        status = answered(&q, &whole);
        if (status == 404) {
            print_message("# %s: no such route\n", q.path);
            continue;
        }
        torture_request(&q, q.path);
    }
}

/* jansson 2.14 uses a table of an object's keys that it could not make larger. */
static void *never_fails(size_t n)
{
    int was = fail_never;
    void *p;

    fail_never = 1;
    p = malloc(n);
    fail_never = was;
    return p;
}

static void test_requests(void **state)
{
    struct room r;

    assert_int_equal(parse_json(NULL), 0); /* after it json.c sets no allocator again */
    json_set_alloc_funcs(never_fails, free);
    fail_never = 1; /* the client */
    room_init(&r);
    r.config.io_threads = 1;
    room_start(&r);
    torture_all(&r);
    room_done(&r);
    fail_never = 0;
}

/* The same with an engine that computes. */
static void test_engine_requests(void **state)
{
    const struct tiny model = {.arch = TINY_LLAMA, .context = 128, .quantised = 1};
    struct room r;
    struct err e = {0};

    fail_never = 1;
    room_init(&r);
    r.config.io_threads = 1;
    r.config.threads = 2;
    if (serve_config_add_model(&r.config, tiny_file(&model, "torture.gguf"), &e))
        fail_msg("%s", e.text);
    r.config.models[0].id = "fake"; /* as it is called in the questions */
    r.config.models[0].path = r.config.models[0].model;
    if (serve_config_check(&r.config, &e) || serve_open(&r.s, &r.config, &e) ||
        serve_wait_ready(r.s, &e))
        fail_msg("%s", e.text);
    pthread_create(&r.runner, NULL, room_run, &r);
    r.running = 1;
    torture_all(&r);
    room_done(&r);
    fail_never = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_load),
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_engine_requests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
