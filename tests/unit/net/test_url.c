/* Addresses of services. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "net/url.h"

static void test_good(void **state)
{
    static const struct {
        const char *text, *host, *path, *user, *authority;
        int is_tls, port, is_address;
    } cases[] = {
        {"http://h", "h", "", "", "h", 0, 80, 0},
        {"https://api.cerebras.ai/v1", "api.cerebras.ai", "/v1", "", "api.cerebras.ai", 1, 443, 0},
        {"HTTPS://H:443/", "H", "/", "", "H", 1, 443, 0},
        {"http://h:443/a/../b%20c", "h", "/a/../b%20c", "", "h:443", 0, 443, 0},
        {"http://127.0.0.1:8080", "127.0.0.1", "", "", "127.0.0.1:8080", 0, 8080, 1},
        {"http://[::1]:65535/v1", "::1", "/v1", "", "[::1]:65535", 0, 65535, 1},
        {"https://[2001:db8::1]", "2001:db8::1", "", "", "[2001:db8::1]", 1, 443, 1},
        {"http://u:p%40%2f@h:1", "h", "", "u:p@/", "h:1", 0, 1, 0},
        {"http://u@v@h", "h", "", "u@v", "h", 0, 80, 0},
        {"http://my_host.local", "my_host.local", "", "", "my_host.local", 0, 80, 0},
        {"http://1.2.3", "1.2.3", "", "", "1.2.3", 0, 80, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char authority[URL_AUTHORITY_MAX];
        struct url u;
        if (url_parse(cases[i].text, &u))
            fail_msg("%s", cases[i].text);
        assert_string_equal(u.host, cases[i].host);
        assert_string_equal(u.path, cases[i].path);
        assert_string_equal(u.user, cases[i].user);
        assert_int_equal(u.is_tls, cases[i].is_tls);
        assert_int_equal(u.port, cases[i].port);
        assert_int_equal(u.is_address, cases[i].is_address);
        url_authority(&u, 0, authority);
        assert_string_equal(authority, cases[i].authority);
    }
}

static void test_with_port(void **state)
{
    char authority[URL_AUTHORITY_MAX];
    struct url u;

    (void)state;
    assert_int_equal(url_parse("https://[::1]/", &u), 0);
    url_authority(&u, 1, authority);
    assert_string_equal(authority, "[::1]:443");
}

static void test_bad(void **state)
{
    static const char *const cases[] = {
        "",
        "h",
        "//h",
        "http:/h",
        "http:h",
        "http://",
        "http:///path",
        "ftp://h",
        "httpss://h",
        "http://h:",
        "http://h:0",
        "http://h:65536",
        "http://h:99999999999999999999",
        "http://h:80a",
        "http://h:-1",
        "http://h:80:80",
        "http://h b",
        "http://h\tb",
        "http://h\r\nX: y",
        "http://h\xc3\xa4",
        "http://h/\xc3\xa4",
        "http://h?x",
        "http://h/p?x",
        "http://h/p#x",
        "http://h\\p",
        "http://h%41",
        "http://::1",
        "http://[::1",
        "http://[::1]80",
        "http://[::1]x:80",
        "http://[h]",
        "http://[]",
        "http://[127.0.0.1]",
        "http://@h",
        "http://u%@h",
        "http://u%4@h",
        "http://u%zz@h",
        "http://u%0a@h",
        "http://u:p@",
        "http://a,b",
        "http://a;b",
    };
    char *text = malloc(4000);

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct url u;
        if (url_parse(cases[i], &u) != ERR_FORMAT)
            fail_msg("%s", cases[i]);
    }
    assert_non_null(text);
    for (int n = 250; n < 3000; n += 250) { /* hosts, paths and users that are too long */
        struct url u;
        sprintf(text, "http://%0*d", n, 0);
        assert_int_equal(url_parse(text, &u), n < URL_HOST_MAX ? 0 : ERR_FORMAT);
        sprintf(text, "http://h/%0*d", n, 0);
        assert_int_equal(url_parse(text, &u), n + 9 <= URL_MAX ? 0 : ERR_FORMAT);
        sprintf(text, "http://%0*d@h", n, 0);
        assert_int_equal(url_parse(text, &u), n < URL_USER_MAX ? 0 : ERR_FORMAT);
    }
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_with_port),
        cmocka_unit_test(test_bad),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
