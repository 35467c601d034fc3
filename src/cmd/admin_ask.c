#include "cmd/admin_ask.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/disk.h"
#include "base/json.h"
#include "net/fetch.h"

#define BODY_MAX           ((size_t)8 << 20)
#define SAID_MAX           ((size_t)16 << 10) /* of a refusal */
#define KEY_MAX            4000
#define URL_BYTES_MAX      8192
#define CONNECT_TIMEOUT_MS 5000
#define STALL_TIMEOUT_MS   30000

void admin_put_part(struct buf *out, const char *name)
{
    for (; *name; name++) {
        if (strchr("-_.~", *name) || (*name >= '0' && *name <= '9') ||
            (*name >= 'a' && *name <= 'z') || (*name >= 'A' && *name <= 'Z'))
            buf_add_char(out, *name);
        else
            buf_addf(out, "%%%02X", (unsigned char)*name);
    }
}

const char *admin_told(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));

    return s ? s : "-";
}

const char *admin_number(const json_t *o, const char *key, const char *unit,
                         char out[ADMIN_NUMBER_MAX])
{
    const json_t *n = json_object_get(o, key);

    if (json_is_number(n))
        snprintf(out, ADMIN_NUMBER_MAX, "%.6g%s", json_number_value(n), unit);
    else
        snprintf(out, ADMIN_NUMBER_MAX, "-");
    return out;
}

int admin_read_key(const struct admin_server *at, struct buf *out, struct err *e)
{
    const char *key = at->key_env ? getenv(at->key_env) : NULL;
    const char *from = at->key_file ? at->key_file : at->key_env;
    struct buf file;
    size_t n;
    int r = 0;

    buf_init(&file, KEY_MAX + 2);
    if (at->key_file) {
        if (disk_read(at->key_file, &file))
            r = err_set(e, ERR_ARG, "cannot read a key from %s", at->key_file);
        else
            key = file.data ? file.data : "";
    }
    if (!r && key) {
        n = strcspn(key, "\r\n");
        for (size_t i = 0; i < n && !r; i++) {
            if (key[i] <= ' ' || key[i] > '~')
                r = err_set(e, ERR_ARG, "%s: the key has bytes that do not belong in one", from);
        }
        if (!r && !n && at->key_file)
            r = err_set(e, ERR_ARG, "%s holds no key", from);
        if (!r && n > KEY_MAX)
            r = err_set(e, ERR_ARG, "%s: the key is too long", from);
        if (!r)
            buf_add(out, key, n);
    }
    if (file.data)
        explicit_bzero(file.data, file.len);
    buf_done(&file);
    return r;
}

/* The line of the header into `out`; nothing where no key is said. */
static int put_key(const struct admin_server *at, struct buf *out, struct err *e)
{
    struct buf key;
    int r;

    buf_init(&key, KEY_MAX + 1);
    r = admin_read_key(at, &key, e);
    if (!r && key.len)
        buf_addf(out, "Authorization: Bearer %s", key.data);
    if (key.data)
        explicit_bzero(key.data, key.len);
    buf_done(&key);
    return r;
}

/* The server's own reason goes before what the status alone says. */
static void put_reason(const struct admin_server *at, const struct buf *said, int has_key,
                       int status, int code, struct err *e)
{
    json_t *j = NULL;
    const char *text = NULL;

    if (said->len && !json_parse(&j, said->data, said->len, 0, NULL))
        text = json_string_value(json_object_get(json_object_get(j, "error"), "message"));
    if (status == 401 && !has_key)
        err_set(e, code,
                "%s wants a key: the environment has no variable %s, and no --key-file "
                "was given ('gaufre key new NAME --admin yes' makes a key)",
                at->url, at->key_env ? at->key_env : ADMIN_KEY_ENV);
    else if (text)
        err_set(e, code, "%s says: %s", at->url, text);
    json_decref(j);
}

int admin_ask(const struct admin_server *at, const char *method, const char *path, const char *send,
              json_t **ret, struct err *e)
{
    const char *headers[3] = {NULL};
    struct buf url, header, body, said;
    struct fetch_options f;
    struct fetch_result got;
    int r, n = 0;

    buf_init(&url, URL_BYTES_MAX);
    buf_init(&header, KEY_MAX + 64);
    buf_init(&body, BODY_MAX);
    buf_init(&said, SAID_MAX);
    buf_addf(&url, "%s%s", at->url, path);
    r = put_key(at, &header, e);
    if (!r && (url.failed || header.failed))
        r = err_set(e, ERR_ARG, "the URL is too long");
    if (!r) {
        fetch_options_init(&f, url.data);
        if (header.len)
            headers[n++] = header.data;
        if (send)
            headers[n] = "Content-Type: application/json";
        f.method = method;
        f.send = send;
        f.headers = headers;
        f.body = &body;
        f.refusal = &said;
        f.ca_file = at->ca;
        f.connect_timeout_ms = CONNECT_TIMEOUT_MS;
        f.stall_timeout_ms = at->stall_ms ? at->stall_ms : STALL_TIMEOUT_MS;
        r = fetch_get(&f, &got, e);
        if (r && got.status)
            put_reason(at, &said, header.len > 0, got.status, r, e);
    }
    if (!r && (r = json_parse(ret, body.data ? body.data : "", body.len, 0, e)))
        err_prefix(e, "%s: its answer", at->url);
    if (header.data)
        explicit_bzero(header.data, header.len);
    buf_done(&url);
    buf_done(&header);
    buf_done(&body);
    buf_done(&said);
    return r;
}
