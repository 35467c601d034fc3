#include "serve/meter_key.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/url.h"

#define KEY_MAX 1024

int meter_key_read(struct arena *a, const char *who, const char *env, const char *file,
                   const char **ret, struct err *e)
{
    char text[KEY_MAX + 1] = "";
    const char *from = env ? getenv(env) : NULL;
    FILE *f = file ? fopen(file, "re") : NULL;
    size_t n = 0;

    if (file && !f)
        return err_set(e, ERR_ARG, "%s: key_file: %.200s: %s", who, file, strerror(errno));
    if (env && !from)
        return err_set(e, ERR_ARG, "%s: the environment has no variable %.200s", who, env);
    if (f) {
        n = fread(text, 1, KEY_MAX, f);
        fclose(f);
    } else if (from) {
        n = strlen(from) > KEY_MAX ? KEY_MAX : strlen(from);
        memcpy(text, from, n);
    }
    text[n] = 0;
    text[strcspn(text, "\r\n")] = 0;
    for (const char *p = text; *p; p++) {
        if (*p < ' ' || *p > '~')
            return err_set(e, ERR_ARG, "%s: the key has bytes that do not belong in one", who);
    }
    if (!*text)
        return err_set(e, ERR_ARG, "%s: %s holds no key", who, env ? env : file);
    *ret = arena_strdup(a, text);
    explicit_bzero(text, sizeof text);
    return *ret ? 0 : err_set(e, ERR_NOMEM, "out of memory");
}

int meter_url_ok(const char *text)
{
    const char *at = strstr(text, "://"), *rest = at ? at + 3 + strcspn(at + 3, "/?#") : text;
    char base[URL_MAX];
    struct url u;

    if (!at || strlen(text) >= sizeof base)
        return 0;
    memcpy(base, text, (size_t)(rest - text));
    base[rest - text] = 0;
    for (; *rest > ' ' && *rest <= '~' && *rest != '#'; rest++)
        ;
    return !*rest && !url_parse(base, &u) && !*u.user;
}

int meter_key_header(const char *key, char out[METER_HEADER_MAX], struct err *e)
{
    char text[1500];

    *out = 0;
    if (!key)
        return 0;
    if (!strchr(key, ':')) {
        snprintf(out, METER_HEADER_MAX, "Authorization: Bearer %s", key);
        return 0;
    }
    if (sodium_base64_ENCODED_LEN(strlen(key), sodium_base64_VARIANT_ORIGINAL) > sizeof text)
        return err_set(e, ERR_ARG, "the key is too long");
    sodium_bin2base64(text, sizeof text, (const unsigned char *)key, strlen(key),
                      sodium_base64_VARIANT_ORIGINAL);
    snprintf(out, METER_HEADER_MAX, "Authorization: Basic %s", text);
    explicit_bzero(text, sizeof text);
    return 0;
}
