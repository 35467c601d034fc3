#include "cloud/hooks.h"

#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/json_write.h"
#include "base/log.h"
#include "base/money.h"
#include "base/rand.h"
#include "base/watthour.h"
#include "cloud/cloud.h"
#include "net/upstream.h"
#include "policy/backoff.h"

#define BODY_MAX      8192
#define ID_BYTES      18 /* as 24 characters */
#define ID_MAX        40
#define FLYING_MAX    4 /* tries of one receiver under way together */
#define LOOK_US       INT64_C(100000)
#define RETRY_MOST_US INT64_C(3600000000)
#define SECRET_MIN    24
#define TIME_MAX      32

/* An event on its way to one receiver. */
struct delivery {
    struct hooks *h;
    struct queue *q;
    char id[ID_MAX];
    enum notice_type type;
    char *body;
    size_t n_body;
    int64_t begun_us, due_us;
    int n_failed;
    struct upstream_request *r; /* NULL: not under way */
};

struct queue {
    const char *name; /* NULL: nobody's */
    struct delivery *list[HOOKS_QUEUE_MAX];
    int n, n_flying;
    int is_full_told;
};

struct hooks {
    struct cloud *cloud;
    int io, is_stopped;
    _Atomic(const struct hook_set *) set; /* NULL: none yet */
    struct queue queue[HOOKS_MAX];
    uint64_t seed, n_drawn;
};

/* ---- secrets and signatures ------------------------------------------------------------------ */

int hook_secret_read(const char *text, struct hook_secret *ret, struct err *e)
{
    static const char head[] = "whsec_";
    size_t n = 0, n_head = sizeof head - 1;

    if (strncmp(text, head, n_head) ||
        sodium_base642bin(ret->key, sizeof ret->key, text + n_head, strlen(text + n_head), NULL, &n,
                          NULL, sodium_base64_VARIANT_ORIGINAL) ||
        n < SECRET_MIN)
        return err_set(e, ERR_ARG,
                       "a secret is 'whsec_' and base64 of %d to %d bytes: echo whsec_$(openssl "
                       "rand -base64 32)",
                       SECRET_MIN, HOOK_SECRET_MAX);
    ret->n = (unsigned)n;
    return 0;
}

/* "v1,BASE64", of each secret. */
static void sign(const struct hook *to, const struct delivery *d, const char *time_text,
                 struct buf *out)
{
    unsigned char mac[crypto_auth_hmacsha256_BYTES];
    char text[sodium_base64_ENCODED_LEN(sizeof mac, sodium_base64_VARIANT_ORIGINAL)];
    crypto_auth_hmacsha256_state s;

    for (int i = 0; i < to->n_secrets; i++) {
        crypto_auth_hmacsha256_init(&s, to->secret[i].key, to->secret[i].n);
        crypto_auth_hmacsha256_update(&s, (const unsigned char *)d->id, strlen(d->id));
        crypto_auth_hmacsha256_update(&s, (const unsigned char *)".", 1);
        crypto_auth_hmacsha256_update(&s, (const unsigned char *)time_text, strlen(time_text));
        crypto_auth_hmacsha256_update(&s, (const unsigned char *)".", 1);
        crypto_auth_hmacsha256_update(&s, (const unsigned char *)d->body, d->n_body);
        crypto_auth_hmacsha256_final(&s, mac);
        sodium_bin2base64(text, sizeof text, mac, sizeof mac, sodium_base64_VARIANT_ORIGINAL);
        buf_addf(out, "%sv1,%s", i ? " " : "", text);
    }
    sodium_memzero(&s, sizeof s);
}

/* ---- what an event says ---------------------------------------------------------------------- */

/* Of what it says, and not of when: told again, it is the same event. */
static void make_id(const struct notice *n, char ret[ID_MAX])
{
    unsigned char hash[ID_BYTES];
    char text[sodium_base64_ENCODED_LEN(ID_BYTES, sodium_base64_VARIANT_URLSAFE_NO_PADDING)];
    struct buf b;

    buf_init(&b, BODY_MAX);
    buf_addf(&b, "%s|%d|%s|%s|%d|%s|%lld|%lld|%lld|%lld", notice_type_name(n->type), (int)n->kind,
             n->account, n->span ? n->span : "", n->of, n->currency, (long long)n->warn,
             (long long)n->limit, (long long)n->from_s, (long long)n->until_s);
    crypto_generichash(hash, sizeof hash, (const unsigned char *)(b.data ? b.data : ""), b.len,
                       NULL, 0);
    buf_done(&b);
    sodium_bin2base64(text, sizeof text, hash, sizeof hash,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    snprintf(ret, ID_MAX, "evt_%s", text);
}

static void put_time(struct buf *b, const char *name, int64_t s)
{
    time_t t = (time_t)s;
    char text[TIME_MAX];
    struct tm tm;

    gmtime_r(&t, &tm);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    buf_addf(b, ",\"%s\":\"%s\"", name, text);
}

static void put_amount(struct buf *b, const char *name, const struct notice *n, int64_t amount)
{
    char text[MONEY_TEXT_MAX], energy[WATTHOUR_TEXT_MAX];

    if (n->of == OF_MONEY)
        buf_addf(b, ",\"%s\":\"%s\"", name, money_show(amount, text));
    else if (n->of == OF_ENERGY)
        buf_addf(b, ",\"%s\":\"%sWh\"", name, watthour_show(amount, energy));
    else
        buf_addf(b, ",\"%s\":%lld", name, (long long)amount);
}

static void put_budget(struct buf *b, const struct notice *n)
{
    buf_addf(b, ",\"budget\":\"%s\",\"unit\":\"%s\"", n->span, holds_kind_name(n->of));
    if (n->of == OF_MONEY)
        buf_addf(b, ",\"currency\":\"%s\"", n->currency);
    put_amount(b, "limit", n, n->limit);
    put_amount(b, "used", n, n->used);
    if (n->warn >= 0)
        buf_addf(b, ",\"warn_percent\":%lld", (long long)n->warn);
    if (n->from_s > 0)
        put_time(b, "from", n->from_s);
    if (n->until_s < INT64_MAX)
        put_time(b, "until", n->until_s);
}

static void put_body(struct buf *b, const struct notice *n, const char *id)
{
    buf_addf(b, "{\"id\":\"%s\",\"type\":\"%s\"", id, notice_type_name(n->type));
    put_time(b, "timestamp", n->at_s);
    buf_addf(b, ",\"data\":{\"kind\":\"%s\",\"account\":", account_kind_name(n->kind));
    json_put_str(b, n->account);
    buf_add_str(b, ",\"tenant\":");
    json_put_str(b, n->tenant);
    if (n->span)
        put_budget(b, n);
    else if (n->until_s)
        put_time(b, "expires", n->until_s);
    buf_add_str(b, "}}");
}

/* ---- queues ---------------------------------------------------------------------------------- */

static void delivery_free(struct delivery *d)
{
    if (d)
        free(d->body);
    free(d);
}

static struct queue *queue_of(struct hooks *h, const char *name)
{
    struct queue *spare = NULL;

    for (int i = 0; i < HOOKS_MAX; i++) {
        struct queue *q = &h->queue[i];
        if (q->name && !strcmp(q->name, name)) {
            q->name = name; /* the newest set's text */
            return q;
        }
        if (!q->name && !spare)
            spare = q;
    }
    if (spare)
        spare->name = name;
    return spare;
}

static struct delivery *delivery_new(struct hooks *h, struct queue *q, const struct notice *n,
                                     int64_t now_us)
{
    struct delivery *d = calloc(1, sizeof *d);
    struct buf b;

    if (!d)
        return NULL;
    *d = (struct delivery){.h = h, .q = q, .type = n->type, .begun_us = now_us, .due_us = now_us};
    make_id(n, d->id);
    buf_init(&b, BODY_MAX);
    put_body(&b, n, d->id);
    if (b.failed) {
        buf_done(&b);
        free(d);
        return NULL;
    }
    d->body = b.data;
    d->n_body = b.len;
    return d;
}

static void enqueue(struct hooks *h, const struct hook *to, const struct notice *n, int64_t now_us)
{
    struct queue *q = queue_of(h, to->name);
    struct delivery *d = NULL;

    if (q && q->n < HOOKS_QUEUE_MAX)
        d = delivery_new(h, q, n, now_us);
    if (d) {
        q->list[q->n++] = d;
        q->is_full_told = 0;
        return;
    }
    cloud_note_told(h->cloud, TOLD_DROPPED);
    if (q && q->is_full_told)
        return;
    LOG_EVENT(LOG_ERROR, "webhook has no room", LOG_STR("webhook", to->name),
              LOG_INT("waiting", q ? q->n : 0));
    if (q)
        q->is_full_told = 1;
}

static void take_new(struct hooks *h, const struct hook_set *set, int64_t now_us)
{
    struct notice n;

    while (cloud_take_notice(h->cloud, &n)) {
        for (int i = 0; set && i < set->n; i++) {
            const struct hook *to = &set->hook[i];
            if (to->types >> n.type & 1 && (!to->tenant || !strcmp(to->tenant, n.tenant)))
                enqueue(h, to, &n, now_us);
        }
    }
}

/* It is delivered, or given up. */
static void forget(struct delivery *d)
{
    struct queue *q = d->q;
    int i = 0;

    while (q->list[i] != d)
        i++;
    memmove(&q->list[i], &q->list[i + 1], (size_t)(--q->n - i) * sizeof *q->list);
    delivery_free(d);
}

static void drop(struct delivery *d, const char *why)
{
    cloud_note_told(d->h->cloud, TOLD_DROPPED);
    LOG_EVENT(LOG_ERROR, "webhook given up", LOG_STR("webhook", d->q->name), LOG_STR("id", d->id),
              LOG_STR("type", notice_type_name(d->type)), LOG_INT("tries", d->n_failed),
              LOG_STR("why", why));
    forget(d);
}

/* ---- sending --------------------------------------------------------------------------------- */

static const struct hook *hook_of(const struct hooks *h, const struct queue *q)
{
    const struct hook_set *set = atomic_load(&h->set);

    for (int i = 0; set && q->name && i < set->n; i++) {
        if (!strcmp(set->hook[i].name, q->name))
            return &set->hook[i];
    }
    return NULL;
}

/* Its receiver's wish, in seconds as it stands in a header; 0: none. */
static int64_t asked_pause(const char *retry_after)
{
    char *end;
    long long s = retry_after ? strtoll(retry_after, &end, 10) : 0;

    return s > 0 && !*end ? s < 3600 ? s * 1000000 : RETRY_MOST_US : 0;
}

static void fail(struct delivery *d, const char *why, int64_t asked_us)
{
    const struct hook *to = hook_of(d->h, d->q);
    int64_t now_us = clock_now_us(), pause;
    uint32_t random[4];

    d->n_failed++;
    cloud_note_told(d->h->cloud, TOLD_FAILED);
    if (!to) {
        drop(d, "it is configured no more");
        return;
    }
    if (now_us - d->begun_us >= to->give_up_us) {
        drop(d, why);
        return;
    }
    rand_philox(d->h->seed, d->h->n_drawn++, 0, random);
    pause = backoff_pause(d->n_failed, to->retry_us, RETRY_MOST_US, random[0]);
    if (asked_us > pause)
        pause = asked_us;
    d->due_us = now_us + pause;
    LOG_EVENT(LOG_WARN, "webhook failed", LOG_STR("webhook", d->q->name), LOG_STR("id", d->id),
              LOG_STR("type", notice_type_name(d->type)), LOG_INT("tries", d->n_failed),
              LOG_STR("why", why), LOG_INT("again_in_ms", pause / 1000));
}

static void on_end(void *ctx, struct upstream_request *r, const struct err *e)
{
    struct delivery *d = ctx;
    int status = upstream_status(r); /* however the rest of the answer ended; 0: there is none */
    char why[64];

    d->r = NULL;
    d->q->n_flying--;
    if (status >= 200 && status < 300) {
        cloud_note_told(d->h->cloud, TOLD_DELIVERED);
        forget(d);
        return;
    }
    snprintf(why, sizeof why, "it answered %d", status);
    if (status == 410) /* nobody wants it there */
        drop(d, why);
    else
        fail(d, e->code ? e->text : why,
             e->code ? 0 : asked_pause(upstream_answer_header(r, "retry-after")));
}

static void on_head(void *ctx, struct upstream_request *r)
{
    (void)ctx;
    (void)r;
}

static void on_data(void *ctx, struct upstream_request *r, const char *p, size_t n)
{
    (void)ctx; /* what it answers beside its status matters to nobody */
    (void)r;
    (void)p;
    (void)n;
}

static void send_one(struct hooks *h, const struct hook *to, struct delivery *d, int64_t now_us,
                     int64_t wall_us)
{
    const struct upstream_handler handler = {
        .ctx = d, .on_head = on_head, .on_data = on_data, .on_end = on_end};
    char time_text[TIME_MAX];
    struct buf signature;
    struct err e = {0};
    int r;

    snprintf(time_text, sizeof time_text, "%lld", (long long)(wall_us / 1000000));
    buf_init(&signature, BODY_MAX);
    sign(to, d, time_text, &signature);
    const struct upstream_header headers[] = {
        {"Content-Type", "application/json"},
        {"webhook-id", d->id},
        {"webhook-timestamp", time_text},
        {"webhook-signature", signature.data ? signature.data : ""}};
    const struct upstream_ask ask = {.method = "POST",
                                     .path = to->path,
                                     .header = headers,
                                     .n_header = (int)ARRAY_LEN(headers),
                                     .body = d->body,
                                     .n_body = d->n_body};
    r = signature.failed ? err_set(&e, ERR_NOMEM, "out of memory")
                         : upstream_begin(to->upstream, h->io, &ask, &handler, &d->r, &e);
    buf_done(&signature);
    if (!r)
        d->q->n_flying++;
    else if (r == ERR_LIMIT) /* those of an earlier set are under way */
        d->due_us = now_us + LOOK_US;
    else
        fail(d, e.text, 0);
}

static int64_t sooner(int64_t a, int64_t b)
{
    return a < 0 || b < a ? b : a;
}

/* Returns when to come again; -1: for a new notice. */
static int64_t work_queue(struct hooks *h, struct queue *q, int64_t now_us, int64_t wall_us)
{
    const struct hook *to = hook_of(h, q);
    int64_t next = -1;

    for (int i = q->n - 1; !to && i >= 0; i--) {
        if (!q->list[i]->r)
            drop(q->list[i], "it is configured no more");
    }
    for (int i = 0; to && i < q->n && q->n_flying < FLYING_MAX; i++) {
        struct delivery *d = q->list[i];
        int n = q->n;
        if (!d->r && d->due_us <= now_us)
            send_one(h, to, d, now_us, wall_us);
        i -= q->n < n; /* it was given up */
        if (q->n == n && !d->r)
            next = sooner(next, d->due_us > now_us ? d->due_us - now_us : 0);
    }
    if (!to && !q->n)
        q->name = NULL;
    return q->n_flying ? sooner(next, LOOK_US) : next;
}

int64_t hooks_work(struct hooks *h, int64_t now_us, int64_t wall_us)
{
    int64_t next = -1, at;

    if (h->is_stopped)
        return -1;
    take_new(h, atomic_load(&h->set), now_us);
    for (int i = 0; i < HOOKS_MAX; i++) {
        at = h->queue[i].name ? work_queue(h, &h->queue[i], now_us, wall_us) : -1;
        if (at >= 0)
            next = sooner(next, at);
    }
    return next;
}

/* ---- lifecycle ------------------------------------------------------------------------------- */

int hooks_new(struct hooks **ret, struct cloud *c, int io, struct err *e)
{
    struct hooks *h = calloc(1, sizeof *h);

    if (!h)
        return err_set(e, ERR_NOMEM, "out of memory");
    h->cloud = c;
    h->io = io;
    if (rand_system(&h->seed, sizeof h->seed)) {
        free(h);
        return err_set(e, ERR_IO, "no random bytes from the system");
    }
    *ret = h;
    return 0;
}

void hooks_use(struct hooks *h, const struct hook_set *set)
{
    atomic_store(&h->set, set);
}

void hooks_stop(struct hooks *h)
{
    h->is_stopped = 1;
}

void hooks_free(struct hooks *h)
{
    int64_t n_left = 0;

    if (!h)
        return;
    for (int i = 0; i < HOOKS_MAX; i++) {
        struct queue *q = &h->queue[i];
        n_left += q->n;
        while (q->n)
            delivery_free(q->list[--q->n]);
    }
    if (n_left)
        LOG_EVENT(LOG_WARN, "webhooks not delivered", LOG_INT("events", n_left));
    free(h);
}
