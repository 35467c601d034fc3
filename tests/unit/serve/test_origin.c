/* Which pages may call: tables of what browsers send. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "serve/origin.h"

#define AT "127.0.0.1:8080"

struct asked {
    struct origin_ask ask;
    int ok;
    const char *cors, *says; /* NULL: none; not looked at */
};

static void run(const struct serve_config *c, const struct asked *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct asked *t = &rows[i];
        const char *cors = "?";
        struct err e = {0};
        int r = origin_check(c, &t->ask, &cors, &e);

        if (r != (t->ok ? 0 : ERR_FORBIDDEN))
            fail_msg("row %zu (host %s, origin %s): %d %s", i, t->ask.host, t->ask.origin, r,
                     e.text);
        if ((cors == NULL) != (t->cors == NULL) || (cors && strcmp(cors, t->cors)))
            fail_msg("row %zu: pages are told %s", i, cors);
        if (t->says && !strstr(e.text, t->says))
            fail_msg("row %zu: '%s' does not say '%s'", i, e.text, t->says);
    }
}
#define RUN(c, rows) run(c, rows, sizeof rows / sizeof rows[0])

static void begin(struct serve_config *c)
{
    struct err e = {0};

    serve_config_init(c);
    assert_int_equal(serve_config_add_model(c, "m", &e), 0);
}

static void set(struct serve_config *c, const char *key, const char *text)
{
    struct err e = {0};

    assert_int_equal(serve_config_flag(c, key, text, &e), 0);
}

static void check(struct serve_config *c)
{
    struct err e = {0};

    if (serve_config_check(c, &e))
        fail_msg("%s", e.text);
}

static void names(void **state)
{
    static const struct asked rows[] = {
        {{.host = AT}, 1, NULL, NULL},
        {{.host = "127.0.0.1"}, 1, NULL, NULL},
        {{.host = "127.1.2.3:9"}, 1, NULL, NULL},
        {{.host = "localhost:3000"}, 1, NULL, NULL}, /* through a forwarded port */
        {{.host = "LOCALHOST"}, 1, NULL, NULL},
        {{.host = "localhost.:8080"}, 1, NULL, NULL},
        {{.host = "[::1]:8080"}, 1, NULL, NULL},
        {{.host = "[0:0:0:0:0:0:0:1]"}, 1, NULL, NULL},
        {{.host = "[::ffff:127.0.0.1]:1"}, 1, NULL, NULL},
        {{.host = ""}, 1, NULL, NULL}, /* HTTP/1.0 */
        {{0}, 1, NULL, NULL},
        {{.host = "evil.example:8080"}, 0, NULL, "--allowed-hosts evil.example (setting"},
        {{.host = "localhost.evil.example"}, 0, NULL, NULL},
        {{.host = "127.0.0.1.evil.example"}, 0, NULL, NULL},
        {{.host = "127.0.0.1:8080.evil.example"}, 0, NULL, NULL},
        {{.host = "10.0.0.1:8080"}, 0, NULL, NULL},
        {{.host = "[::2]:8080"}, 0, NULL, NULL},
        {{.host = "[::1"}, 0, NULL, NULL},
        {{.host = "[]"}, 0, NULL, NULL},
        {{.host = "[::1]x"}, 0, NULL, NULL},
        {{.host = ":8080"}, 0, NULL, NULL},
        {{.host = "localhost:x"}, 0, NULL, NULL},
        {{.host = "::1"}, 0, NULL, NULL},
        /* A page under that name is its own site's, and says so. */
        {{.host = "evil.example", .origin = "http://evil.example", .site = "same-origin"},
         0,
         NULL,
         NULL},
    };
    struct serve_config c;
    char longest[400];
    struct asked one = {{.host = longest}, 0, NULL, NULL};

    begin(&c);
    check(&c);
    RUN(&c, rows);
    memset(longest, 'a', sizeof longest);
    longest[sizeof longest - 1] = 0;
    run(&c, &one, 1);
    serve_config_done(&c);
}

static void allowed_names(void **state)
{
    static const struct asked rows[] = {
        {{.host = "gaufre"}, 1, NULL, NULL},
        {{.host = "GAUFRE:80"}, 1, NULL, NULL},
        {{.host = "api.example.com:443"}, 1, NULL, NULL},
        {{.host = "[fd00::1]:8080"}, 1, NULL, NULL},
        {{.host = "10.0.0.1"}, 1, NULL, NULL},
        {{.host = "10.0.0.2"}, 0, NULL, NULL},
        {{.host = "x.api.example.com"}, 0, NULL, NULL},
    };
    static const struct asked any = {{.host = "evil.example"}, 1, NULL, NULL};
    struct serve_config c;

    begin(&c);
    set(&c, "allowed_hosts", "gaufre,api.example.com,fd00:0::1,10.0.0.1");
    check(&c);
    RUN(&c, rows);
    set(&c, "allowed_hosts", "*");
    check(&c);
    run(&c, &any, 1);
    serve_config_done(&c);
}

/* Beyond this machine: addresses cannot be rebound, names can. */
static void wide(void **state)
{
    static const struct asked rows[] = {
        {{.host = "10.0.0.1:8080"}, 1, NULL, NULL},
        {{.host = "0.0.0.0:8080"}, 1, NULL, NULL},
        {{.host = "[fe80::1%25eth0]:8080"}, 1, NULL, NULL},
        {{.host = "localhost"}, 1, NULL, NULL},
        {{.host = "evil.example"}, 0, NULL, NULL},
        {{.host = "10.0.0.1:8080", .origin = "http://10.0.0.1:8080"}, 1, NULL, NULL},
        {{.host = "10.0.0.1:8080", .origin = "http://10.0.0.1:80"}, 0, NULL, NULL},
    };
    struct serve_config c;
    char own[256], dotted[300];
    struct asked self[] = {{{.host = own}, 1, NULL, NULL}, {{.host = dotted}, 0, NULL, NULL}};

    begin(&c);
    set(&c, "host", "0.0.0.0");
    set(&c, "insecure_no_keys", "true");
    check(&c);
    RUN(&c, rows);
    if (!gethostname(own, sizeof own) && *own && !strchr(own, '.')) {
        snprintf(dotted, sizeof dotted, "%.200s.evil.example", own);
        RUN(&c, self);
    }
    serve_config_done(&c);
}

static void pages(void **state)
{
    static const struct asked rows[] = {
        {{.host = AT, .origin = "http://" AT}, 1, NULL, NULL},
        {{.host = AT, .origin = "http://" AT, .site = "same-origin"}, 1, NULL, NULL},
        {{.host = AT, .site = "none", .mode = "navigate"}, 1, NULL, NULL},
        {{.host = "localhost", .origin = "http://localhost"}, 1, NULL, NULL},
        {{.host = "localhost:80", .origin = "http://localhost"}, 1, NULL, NULL},
        {{.host = "localhost", .origin = "https://localhost"}, 1, NULL, NULL}, /* a proxy's TLS */
        {{.host = "localhost:80", .origin = "https://localhost"}, 0, NULL, NULL},
        {{.host = "localhost:443", .origin = "https://localhost"}, 1, NULL, NULL},
        {{.host = "[::1]:8080", .origin = "http://[::1]:8080"}, 1, NULL, NULL},
        /* A proxy that names us by our own host: the browser knows better. */
        {{.host = AT, .origin = "https://chat.example.com", .site = "same-origin"}, 1, NULL, NULL},
        {{.host = AT, .origin = "https://evil.example"},
         0,
         NULL,
         "--cors-origin 'https://evil.example'"},
        {{.host = AT, .origin = "https://evil.example", .site = "cross-site"}, 0, NULL, NULL},
        {{.host = AT, .origin = "http://127.0.0.1:3000", .site = "same-site"}, 0, NULL, NULL},
        {{.host = AT, .origin = "http://127.0.0.1:3000"}, 0, NULL, NULL},
        {{.host = AT, .origin = "http://127.0.0.1"}, 0, NULL, NULL},
        {{.host = AT, .origin = "http://127.0.0.1:8080.evil.example"}, 0, NULL, NULL},
        {{.host = AT, .origin = "null"}, 0, NULL, NULL},
        {{.host = AT, .origin = "file://"}, 0, NULL, NULL},
        {{.host = AT, .origin = "none"}, 0, NULL, NULL},
        {{.host = AT, .origin = "*"}, 0, NULL, NULL},
        {{.host = AT, .site = "cross-site"}, 0, NULL, "--cors-origin"}, /* <img>, <script> */
        {{.host = AT, .site = "same-site"}, 0, NULL, NULL},
        {{.host = AT, .site = "what?"}, 0, NULL, NULL},
        /* A link may lead to the page, and to nothing else. */
        {{.host = AT, .site = "cross-site", .mode = "navigate", .is_page = 1}, 1, NULL, NULL},
        {{.host = AT, .site = "cross-site", .mode = "navigate"}, 0, NULL, NULL},
        {{.host = AT, .site = "cross-site", .mode = "no-cors", .is_page = 1}, 0, NULL, NULL},
        {{.host = AT,
          .site = "cross-site",
          .mode = "navigate",
          .origin = "https://evil.example",
          .is_page = 1},
         0,
         NULL,
         NULL},
    };
    struct serve_config c;

    begin(&c);
    check(&c);
    RUN(&c, rows);
    set(&c, "cors_origin", "none");
    check(&c);
    RUN(&c, rows);
    serve_config_done(&c);
}

#define APP "http://localhost:3000"

static void allowed_pages(void **state)
{
    static const struct asked rows[] = {
        {{.host = AT, .origin = APP, .site = "same-site"}, 1, APP, NULL},
        {{.host = AT, .origin = "HTTP://LOCALHOST:3000"}, 1, APP, NULL},
        {{.host = AT, .origin = "null"}, 1, "null", NULL},
        {{.host = AT, .origin = "app://obsidian.md"}, 1, "app://obsidian.md", NULL},
        {{.host = AT, .origin = "http://" AT}, 1, NULL, NULL},
        {{.host = AT}, 1, NULL, NULL},
        {{.host = AT, .origin = "http://localhost:3001"}, 0, NULL, NULL},
        {{.host = AT, .origin = "https://localhost:3000"}, 0, NULL, NULL},
        {{.host = AT, .site = "cross-site"}, 0, NULL, NULL},
    };
    static const struct asked no_rebinding = {{.host = "evil.example"}, 0, NULL, NULL};
    static const struct asked all[] = {
        {{.host = AT, .origin = "https://evil.example", .site = "cross-site"}, 1, "*", NULL},
        {{.host = AT, .site = "cross-site"}, 1, "*", NULL},
        {{.host = AT}, 1, "*", NULL},
    };
    struct serve_config c;

    begin(&c);
    set(&c, "cors_origin", APP ",null,app://obsidian.md");
    check(&c);
    RUN(&c, rows);
    run(&c, &no_rebinding, 1);
    set(&c, "keys", "/keys"); /* what is configured holds with keys as well */
    RUN(&c, rows);
    set(&c, "keys", "");
    set(&c, "cors_origin", "*");
    check(&c);
    RUN(&c, all);
    run(&c, &no_rebinding, 1);
    serve_config_done(&c);
}

/* A page of elsewhere has no key, unless somebody gave it one. */
static void with_keys(void **state)
{
    static const struct asked rows[] = {
        {{.host = "api.example.com"}, 1, "*", NULL},
        {{.host = AT, .origin = "https://evil.example", .site = "cross-site"}, 1, "*", NULL},
    };
    static const struct {
        struct origin_ask ask;
        int own;
    } own[] = {
        {{.host = AT}, 1},
        {{.host = AT, .site = "none"}, 1},
        {{.host = AT, .origin = "https://evil.example"}, 0},
        {{.host = AT, .site = "cross-site"}, 0},
        {{.host = "evil.example", .site = "same-origin"}, 0},
    };
    struct serve_config c;

    begin(&c);
    set(&c, "keys", "/keys");
    check(&c);
    RUN(&c, rows);
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        assert_int_equal(origin_is_own(&c, &own[i].ask), own[i].own);
    serve_config_done(&c);
}

static void settings(void **state)
{
    static const char *const good[] = {"http://a", "https://a.b:1",  "*",         "none",
                                       "null",     "http://[::1]:1", "app://x.y", "a-b://c"};
    static const char *const bad[] = {"",          "a",          "a.b:80",     "http://",
                                      "http://a/", "http://a b", "://a",       "http://a,b",
                                      "ht tp://a", "1://a",      "http://a*.b"};
    static const char *const hosts[] = {"a", "a.b", "10.0.0.1", "::1", "[::1]", "fd00::1", "*"};
    static const char *const no_hosts[] = {"", "http://a", "a/b", "a:80", "a b", "*.a", "[::1]:80"};

    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        if (!origin_is_valid(good[i]))
            fail_msg("%s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (origin_is_valid(bad[i]))
            fail_msg("%s", bad[i]);
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++)
        if (!origin_host_is_valid(hosts[i]))
            fail_msg("%s", hosts[i]);
    for (size_t i = 0; i < sizeof no_hosts / sizeof no_hosts[0]; i++)
        if (origin_host_is_valid(no_hosts[i]))
            fail_msg("%s", no_hosts[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),    cmocka_unit_test(allowed_names), cmocka_unit_test(wide),
        cmocka_unit_test(pages),    cmocka_unit_test(allowed_pages), cmocka_unit_test(with_keys),
        cmocka_unit_test(settings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
