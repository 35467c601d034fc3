/* The header Cookie, and whose session it names: the name of the cookie, a newline, the header.
 * What was found stands in the header behind that name, at the beginning of a cookie, and ends with
 * it; a cookie in front of all others is always found; and nobody has a session by chance. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/header_list.h"
#include "base/check.h"
#include "cloud/sessions.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static struct sessions *sessions;
static struct session mine;

static void begin(void)
{
    struct err e;

    if (sessions)
        return;
    sessions = sessions_new();
    CHECK(sessions && !sessions_begin(sessions, 0, INT64_MAX, "gf-key", 6, &mine, &e));
}

/* The header with a cookie of that name and value in front. */
static char *with(const char *name, const char *value, const char *header)
{
    size_t n = strlen(name) + strlen(value) + strlen(header) + 4;
    char *text = malloc(n);

    CHECK(text);
    snprintf(text, n, "%s=%s; %s", name, value, header);
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char *name = malloc(n + 1), *header, *mixed;
    const char *v;
    struct session s;
    size_t n_v;

    begin();
    CHECK(name);
    memcpy(name, data, n);
    name[n] = 0;
    header = strchr(name, '\n');
    if (header) {
        *header++ = 0;
        if (api_cookie_find(header, name, &v, &n_v)) {
            size_t n_name = strlen(name);
            const char *at = v - 1 - n_name;
            CHECK(at >= header && v + n_v <= header + strlen(header));
            CHECK(!memcmp(at, name, n_name) && v[-1] == '=');
            CHECK(at == header || strchr("; \t", at[-1]));
            CHECK(!memchr(v, ';', n_v) && (!v[n_v] || strchr("; \t", v[n_v])));
            CHECK(!sessions_find(sessions, 0, v, n_v, &s));
        }
        if (*name && !strchr("; \t", *name) && !strpbrk(name, ";=")) {
            mixed = with(name, mine.token, header);
            CHECK(api_cookie_find(mixed, name, &v, &n_v) && n_v == SESSION_TOKEN);
            CHECK(sessions_find(sessions, 0, v, n_v, &s) && !strcmp(s.key, "gf-key"));
            CHECK(!sessions_find(sessions, 0, v, n_v - 1, &s));
            session_wipe(&s);
            free(mixed);
        }
    }
    free(name);
    return 0;
}
