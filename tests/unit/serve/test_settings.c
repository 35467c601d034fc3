#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "serve/local_supplier.h"
#include "serve/server.h"

static char path[] = "/tmp/gaufre-settings-XXXXXX";

static int read_text(struct serve_config *c, const char *yaml, struct err *e)
{
    int fd, r;

    strcpy(path, "/tmp/gaufre-settings-XXXXXX");
    fd = mkstemp(path);
    assert_int_equal(write(fd, yaml, strlen(yaml)), (ssize_t)strlen(yaml));
    close(fd);
    r = serve_config_read(c, path, e);
    unlink(path);
    return r;
}

static void defaults_are_valid(void **state)
{
    struct serve_config c;
    struct err e = {0};

    serve_config_init(&c);
    assert_string_equal(c.host, "127.0.0.1");
    assert_int_equal(c.port, 8080);
    assert_int_equal(c.io_threads, 1);
    assert_int_equal(c.model_default.prefix_cache, 1);
    assert_int_equal(serve_config_check(&c, &e), ERR_ARG); /* no model */
    assert_int_equal(serve_config_add_model(&c, "/x/y.gguf", &e), 0);
    assert_int_equal(serve_config_check(&c, &e), 0);
    assert_string_equal(c.models[0].id, "y");
    serve_config_done(&c);
}

/* A value of the setting as one would write it, `off` beside the bound: least or greatest. */
static void value_at(const struct config_setting *s, int greatest, int off, char *out, size_t cap)
{
    double v = (greatest ? s->max : s->min) + (greatest ? off : -off);
    snprintf(out, cap, "%.0f%s", v, s->kind == CONFIG_TIME ? "ms" : "");
}

static void check_bounds(const struct config_setting *s, void *obj, struct arena *a)
{
    char text[64];
    struct err e = {0};

    if (s->kind != CONFIG_INT && s->kind != CONFIG_SIZE && s->kind != CONFIG_TIME)
        return;
    if (!s->dflt || config_set(s, obj, s->name, s->dflt, a, &e))
        fail_msg("%s: its default is out of bounds: %s", s->name, e.text);
    if (s->min == 0 && s->max == 0)
        return;
    if (s->min >= s->max)
        fail_msg("%s: from %.0f to %.0f", s->name, s->min, s->max);
    for (int greatest = 0; greatest < 2; greatest++) {
        value_at(s, greatest, 0, text, sizeof text);
        if (config_set(s, obj, s->name, text, a, &e))
            fail_msg("%s: %s is refused: %s", s->name, text, e.text);
        value_at(s, greatest, 1, text, sizeof text);
        if (!config_set(s, obj, s->name, text, a, &e))
            fail_msg("%s: %s is taken", s->name, text);
    }
}

static void bounds_hold(void **state)
{
    struct serve_config c;

    serve_config_init(&c);
    for (const struct config_setting *s = serve_settings; s->name; s++)
        check_bounds(s, &c, &c.arena);
    for (const struct config_setting *s = serve_model_settings; s->name; s++)
        check_bounds(s, &c.model_default, &c.arena);
    serve_config_done(&c);
}

static void file_then_flags(void **state)
{
    struct serve_config c;
    struct err e = {0};

    serve_config_init(&c);
    assert_int_equal(read_text(&c,
                               "port: 9000\nmodels:\n  - small\n  - model: /m/big.gguf\n"
                               "    id: big\n    aliases: [gpt-4o, gpt-4]\n    context: 4096\n"
                               "    class: f32\ncontext: 1024\nkv_memory: 1G\nheartbeat: 5s\n",
                               &e),
                     0);
    assert_int_equal(c.port, 9000);
    assert_int_equal(c.heartbeat, 5000);
    assert_int_equal(c.n_models, 2);
    assert_string_equal(c.models[0].model, "small");
    assert_int_equal(c.models[0].context, 1024); /* from the top */
    assert_int_equal(c.models[1].context, 4096); /* its own */
    assert_int_equal(c.models[1].kv_memory, (uint64_t)1 << 30);
    assert_int_equal(c.models[1].cls, 3);
    assert_int_equal(c.models[1].aliases.n, 2);
    assert_int_equal(serve_config_flag(&c, "context", "2048", &e), 0);
    assert_int_equal(serve_config_flag(&c, "port", "1", &e), 0);
    assert_int_equal(c.models[1].context, 2048); /* a flag wins everywhere */
    assert_int_equal(c.port, 1);
    assert_int_equal(serve_config_check(&c, &e), 0);
    assert_string_equal(c.models[0].id, "small");
    serve_config_done(&c);
}

static void refuses(void **state)
{
    static const struct {
        const char *yaml, *says;
    } cases[] = {
        {"prot: 1\n", ":1:1: unknown key 'prot'"},
        {"models: small\n", "models: wants a list"},
        {"models:\n  - id: x\n", ":2:5: a model needs 'model'"},
        {"models:\n  - model: x\n    contxt: 1\n", ":3:5: unknown key 'contxt'"},
        {"models:\n  - model: x\n    class: q4\n", ":3:12: class: wants one of auto|q8|bf16|f32"},
        {"chunk: 0\n", "chunk: 0 is not within 1..8192"},
        {"port: 70000\n", "port: 70000 is not within"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct serve_config c;
        struct err e = {0};
        serve_config_init(&c);
        assert_true(read_text(&c, cases[i].yaml, &e) < 0);
        if (!strstr(e.text, cases[i].says))
            fail_msg("'%s' does not say '%s'", e.text, cases[i].says);
        serve_config_done(&c);
    }
}

static void checks(void **state)
{
    static const struct {
        const char *yaml, *says;
    } cases[] = {
        {"host: 0.0.0.0\nmodels: [a]\n", "there are no API keys"},
        {"models: [a, a]\n", "two models are called 'a'"},
        {"models:\n- a\n- {model: b, aliases: [a]}\n", "two models are called 'a'"},
        {"models:\n- {model: b, id: 'x y'}\n", "model id 'x y'"},
        {"models: [a]\nbody_limit: 64M\nbody_budget: 32M\n", "body_budget is smaller"},
    };
    struct serve_config c;
    struct err e = {0};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        serve_config_init(&c);
        assert_int_equal(read_text(&c, cases[i].yaml, &e), 0);
        assert_int_equal(serve_config_check(&c, &e), ERR_ARG);
        if (!strstr(e.text, cases[i].says))
            fail_msg("'%s' does not say '%s'", e.text, cases[i].says);
        serve_config_done(&c);
    }
    /* Wide with keys, or insisted upon. */
    serve_config_init(&c);
    assert_int_equal(read_text(&c, "host: 0.0.0.0\nkeys: /k\nmodels: [a]\n", &e), 0);
    assert_int_equal(serve_config_check(&c, &e), 0);
    serve_config_done(&c);
    serve_config_init(&c);
    assert_int_equal(read_text(&c, "host: '::'\ninsecure_no_keys: true\nmodels: [a]\n", &e), 0);
    assert_int_equal(serve_config_check(&c, &e), 0);
    serve_config_done(&c);
}

/* Ids come from names of files, hosts from people. */
static void derives(void **state)
{
    static const struct {
        const char *model, *id;
    } ids[] = {
        {"/m/my model (1).gguf", "my-model-(1)"},
        {"a \"b\" 'c'\\d.GGUF", "a--b--'c'-d"},
        {"/m/caf\xc3\xa9.gguf", "caf\xc3\xa9"},
        {"/m/caf\xe9\n.gguf", "caf--"},
        {"/m/a\xe2\x80\xae\x1b[2Jb.gguf", "a--[2Jb"}, /* turns the text, clears the screen */
        {".gguf", ".gguf"},
    };
    static const struct {
        const char *host, *url;
        int wide;
    } hosts[] = {
        {"127.0.0.1", "http://127.0.0.1:80", 0}, {"::1", "http://[::1]:80", 0},
        {"[::1]", "http://[::1]:80", 0},         {"[::]", "http://[::]:80", 1},
        {"0.0.0.0", "http://0.0.0.0:80", 1},
    };
    struct serve_config c;
    struct err e = {0};
    char longest[300], url[SERVE_URL_MAX];

    serve_config_init(&c);
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++)
        assert_int_equal(serve_config_add_model(&c, ids[i].model, &e), 0);
    snprintf(longest, sizeof longest, "x%0*d.gguf", 240, 7);
    memcpy(longest + 199, "\xc3\xa9", 2); /* a character across the longest id's end */
    assert_int_equal(serve_config_add_model(&c, longest, &e), 0);
    if (serve_config_check(&c, &e))
        fail_msg("%s", e.text);
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++)
        assert_string_equal(c.models[i].id, ids[i].id);
    assert_int_equal(strlen(c.models[c.n_models - 1].id), 199);
    serve_config_done(&c);
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
        serve_config_init(&c);
        assert_int_equal(serve_config_add_model(&c, "m", &e), 0);
        assert_int_equal(serve_config_flag(&c, "host", hosts[i].host, &e), 0);
        assert_int_equal(serve_config_check(&c, &e), hosts[i].wide ? ERR_ARG : 0);
        assert_string_equal(serve_config_url(&c, 80, url, sizeof url), hosts[i].url);
        serve_config_done(&c);
    }
}

static void describes(void **state)
{
    struct serve_config c;
    struct err e = {0};
    struct buf out;

    serve_config_init(&c);
    buf_init(&out, 1 << 16);
    assert_int_equal(serve_config_add_model(&c, "/proc/self/exe", &e), 0);
    assert_int_equal(serve_config_check(&c, &e), 0);
    assert_int_equal(serve_config_describe(&c, &out, &e), ERR_FORMAT); /* no model */
    assert_non_null(strstr(e.text, "model 'exe'"));
    assert_non_null(strstr(out.data, "listen     http://127.0.0.1:8080 (this machine only)"));
    assert_non_null(strstr(out.data, "model      exe: /proc/self/exe"));
    serve_config_done(&c);
    buf_clear(&out);
    serve_config_init(&c);
    assert_int_equal(serve_config_add_model(&c, "/nowhere/m.gguf", &e), 0);
    assert_int_equal(serve_config_check(&c, &e), 0);
    assert_int_equal(serve_config_describe(&c, &out, &e), ERR_NOTFOUND);
    assert_non_null(strstr(e.text, "/nowhere/m.gguf"));
    serve_config_done(&c);
    buf_done(&out);
}

/* The engine may not end what net still waits for: a full stream at the lowest rate. */
static void jobs_pause_as_long_as_clients_may_take(void **state)
{
    static struct local l;
    struct serve_config c;
    struct net_config nc;
    struct err e = {0};

    net_config_default(&nc);
    serve_config_init(&c);
    c.stall_timeout = 1000;
    assert_int_equal(serve_config_add_model(&c, "m.gguf", &e), 0);
    c.models[0].id = "org/m";
    local_init(&l, &c.models[0], &c);
    assert_string_equal(l.s.id, "local/org/m"); /* as booked: the same at every start */
    assert_string_equal(l.s.model, "org/m");
    assert_true(l.stall_us >= net_patience_us(&nc, 1000, PENDING_PAUSE));
    assert_true(net_patience_us(&nc, 1000, PENDING_PAUSE) > 1000000);
    serve_config_done(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_valid),
        cmocka_unit_test(bounds_hold),
        cmocka_unit_test(file_then_flags),
        cmocka_unit_test(refuses),
        cmocka_unit_test(checks),
        cmocka_unit_test(derives),
        cmocka_unit_test(describes),
        cmocka_unit_test(jobs_pause_as_long_as_clients_may_take),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
