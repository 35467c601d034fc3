#include "serve/moves.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/json.h"
#include "base/log.h"
#include "base/put.h"
#include "base/rand.h"
#include "net/fetch.h"
#include "net/upstream.h"
#include "net/url.h"
#include "serve/server.h"

#define ANSWER_MAX ((size_t)64 << 10) /* of a look at the other server */
#define CONNECT_MS 5000
#define STALL_MS   10000
#define SILENCE_MS 60000 /* of a stream there, which has its own heartbeats */
#define TOTAL_MS   86400000
#define STREAM_MAX ((size_t)1 << 30)
#define CONNS_MAX  4096
#define KEY_MAX    4000

int moves_open(struct moves *m, struct err *e)
{
    unsigned char name[16];

    pthread_mutex_init(&m->lock, NULL);
    if (rand_system(name, sizeof name))
        return err_set(e, ERR_IO, "no random bytes from the system");
    put_bytes(name, sizeof name, m->process);
    return 0;
}

static void target_free(struct move_target *t)
{
    if (t->authorization) {
        explicit_bzero(t->authorization, strlen(t->authorization));
        free(t->authorization);
    }
    upstream_close(t->upstream);
    free(t);
}

void moves_close(struct moves *m)
{
    struct move_target *t = atomic_load(&m->now), *before;

    for (; t; t = before) {
        before = t->before;
        target_free(t);
    }
    pthread_mutex_destroy(&m->lock);
}

void moves_note_why(struct moves *m, const char *why)
{
    pthread_mutex_lock(&m->lock);
    put_text(m->why, sizeof m->why, why);
    pthread_mutex_unlock(&m->lock);
}

/* What it says of itself. */
static int judge(const struct moves *m, const struct buf *said, const char *url, struct err *e)
{
    json_t *j = NULL;
    const char *object, *process, *state;
    int r = 0;

    if (json_parse(&j, said->data ? said->data : "", said->len, 0, NULL))
        return err_set(e, ERR_ARG, "%s is no gaufre server", url);
    object = json_string_value(json_object_get(j, "object"));
    process = json_string_value(json_object_get(j, "process"));
    state = json_string_value(json_object_get(j, "state"));
    if (!object || strcmp(object, "drain") != 0 || !process || !state)
        r = err_set(e, ERR_ARG, "%s is no gaufre server that takes answers", url);
    else if (!strcmp(process, m->process))
        r = err_set(e, ERR_ARG, "%s is this server itself", url);
    else if (strcmp(state, "serves") != 0)
        r = err_set(e, ERR_ARG, "%s is being drained, too", url);
    json_decref(j);
    return r;
}

static void put_reason(const struct buf *said, const char *url, struct err *e)
{
    json_t *j = NULL;
    const char *text = NULL;

    if (said->len && !json_parse(&j, said->data, said->len, 0, NULL))
        text = json_string_value(json_object_get(json_object_get(j, "error"), "message"));
    if (text)
        err_set(e, ERR_ARG, "%s says: %s", url, text);
    json_decref(j);
}

static int look(const struct moves *m, const struct move_target *t, const char *ca_file,
                struct err *e)
{
    char url[MOVES_URL_MAX + 32];
    const char *headers[2] = {NULL};
    struct fetch_options f;
    struct fetch_result got = {0};
    struct buf header, body, said;
    int r;

    buf_init(&header, KEY_MAX + 64);
    buf_init(&body, ANSWER_MAX);
    buf_init(&said, ANSWER_MAX);
    snprintf(url, sizeof url, "%s/admin/v1/drain", t->url);
    if (t->authorization) {
        buf_addf(&header, "Authorization: %s", t->authorization);
        headers[0] = header.data;
    }
    fetch_options_init(&f, url);
    f.headers = headers;
    f.body = &body;
    f.refusal = &said;
    f.ca_file = ca_file;
    f.connect_timeout_ms = CONNECT_MS;
    f.stall_timeout_ms = STALL_MS;
    r = header.failed ? err_set(e, ERR_NOMEM, "out of memory") : fetch_get(&f, &got, e);
    if (r && got.status)
        put_reason(&said, t->url, e);
    else if (r)
        err_prefix(e, "%s cannot be reached", t->url);
    if (r)
        e->code = r = ERR_ARG; /* the operator's to mend, whatever it is */
    if (!r)
        r = judge(m, &body, t->url, e);
    if (header.data)
        explicit_bzero(header.data, header.len);
    buf_done(&header);
    buf_done(&body);
    buf_done(&said);
    return r;
}

static int read_target(struct move_target *t, const char *url, const char *key, struct err *e)
{
    size_t n = strlen(url), n_key = key ? strlen(key) : 0;
    struct url parts;

    while (n && url[n - 1] == '/')
        n--;
    if (n >= sizeof t->url || strcspn(url, "?# \t\r\n") < n)
        return err_set_param(e, ERR_ARG, "to", "to: is no http or https URL of a server");
    memcpy(t->url, url, n);
    if (url_parse(t->url, &parts) || *parts.user)
        return err_set_param(e, ERR_ARG, "to", "to: is no http or https URL of a server");
    if (n_key > KEY_MAX)
        return err_set_param(e, ERR_ARG, "key", "key: is too long");
    for (size_t i = 0; i < n_key; i++) {
        if (key[i] <= ' ' || key[i] > '~')
            return err_set_param(e, ERR_ARG, "key", "key: has bytes that do not belong in one");
    }
    if (n_key && asprintf(&t->authorization, "Bearer %s", key) < 0) {
        t->authorization = NULL;
        return err_set(e, ERR_NOMEM, "out of memory");
    }
    return 0;
}

/* One after the other, as prep threads may be several. */
static void use(struct server *s, struct move_target *t)
{
    struct moves *m = &s->moves;

    pthread_mutex_lock(&m->lock);
    t->before = atomic_load(&m->now);
    t->round = t->before ? t->before->round + 1 : 1;
    *m->why = 0;
    atomic_store(&m->n_stayed, 0);
    atomic_store(&m->now, t);
    pthread_mutex_unlock(&m->lock);
}

int moves_begin(struct server *s, const char *url, const char *key, const char *ca_file,
                struct err *e)
{
    struct move_target *t = calloc(1, sizeof *t);
    struct upstream_config c = {.connect_ms = CONNECT_MS,
                                .silence_ms = SILENCE_MS,
                                .total_ms = TOTAL_MS,
                                .conns_max = CONNS_MAX,
                                .body_max = STREAM_MAX,
                                .ca_file = ca_file};
    int r;

    if (!t)
        return err_set(e, ERR_NOMEM, "out of memory");
    r = read_target(t, url, key, e);
    if (!r)
        r = look(&s->moves, t, ca_file, e);
    c.base_url = t->url;
    if (!r)
        r = upstream_open(&t->upstream, s->net, &c, e);
    if (r) {
        target_free(t);
        return r;
    }
    use(s, t);
    LOG_EVENT(LOG_INFO, "draining to another server", LOG_STR("to", t->url));
    return 0;
}
