#include "cloud/route_record.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/json_write.h"

#define MARK     "r2"
#define MARK_OLD "r1" /* without the last number of an offer */

enum {
    IS_TRIED = 1,
    IS_SLOW = 2,
    IS_OVER = 4,
    IS_CAPPED = 8,
    IS_CLOSED = 16,
    IS_AWAY = 32,
    ALL = 63
};

/* A number of a record: where it is, how wide, and what it may be. */
struct number {
    size_t at;
    enum { U32, I32, I64 } kind;
    int64_t min, max;
};

#define ASKED(f, kind, min, max)                                                                   \
    {                                                                                              \
        offsetof(struct route_request, f), kind, min, max                                          \
    }
static const struct number of_request[] = {
    ASKED(strategy, U32, 0, ROUTE_STRATEGIES - 1),
    ASKED(tier, I32, 0, 31),
    ASKED(needs, U32, 0, UINT32_MAX),
    ASKED(residency, U32, 0, UINT32_MAX),
    ASKED(n_tokens, I64, 0, INT64_MAX),
    ASKED(draw, U32, 0, UINT32_MAX),
    ASKED(affinity, U32, 0, UINT32_MAX),
};

#define OFFERED(f, kind, min, max)                                                                 \
    {                                                                                              \
        offsetof(struct route_offer, f), kind, min, max                                            \
    }
static const struct number of_offer[] = {
    OFFERED(key, U32, 0, UINT32_MAX),       OFFERED(wait_us, I64, 0, INT64_MAX),
    OFFERED(tiers, U32, 0, UINT32_MAX),     OFFERED(lacks, U32, 0, UINT32_MAX),
    OFFERED(residency, U32, 0, UINT32_MAX), OFFERED(context, I32, 0, INT32_MAX),
    OFFERED(n_waiting, I32, 0, INT32_MAX),  OFFERED(n_running, I32, 0, INT32_MAX),
    OFFERED(capacity, I32, 0, INT32_MAX),   OFFERED(weight, I32, 0, INT32_MAX),
    OFFERED(ttft_us, I64, 0, INT64_MAX),    OFFERED(ttft_age_us, I64, 0, INT64_MAX),
    OFFERED(job_us, I64, 0, INT64_MAX),     OFFERED(price, I64, -1, INT64_MAX),
    OFFERED(price_max, I64, -1, INT64_MAX), OFFERED(rtt_us, I64, 0, INT64_MAX),
};
_Static_assert(sizeof(enum route_strategy) == sizeof(uint32_t), "read as U32");

/* ---- writing --------------------------------------------------------------------------------- */

static int64_t get(const struct number *n, const void *base)
{
    const void *p = (const char *)base + n->at;
    int64_t v;

    if (n->kind == I64)
        memcpy(&v, p, sizeof v);
    else if (n->kind == U32)
        v = *(const uint32_t *)p;
    else
        v = *(const int32_t *)p;
    return v < n->min ? n->min : v > n->max ? n->max : v;
}

static void put_number(struct buf *out, int64_t v)
{
    buf_add_char(out, ' ');
    json_put_int(out, v);
}

static void put_all(struct buf *out, const struct number *t, size_t n, const void *base)
{
    for (size_t i = 0; i < n; i++)
        put_number(out, get(&t[i], base));
}

/* Names are ids of suppliers; bytes that would part the line are told by others. */
static void put_name(struct buf *out, const char *name)
{
    size_t n = strnlen(name, ROUTE_RECORD_NAME_MAX - 1);

    buf_add_char(out, ' ');
    if (!n)
        buf_add_char(out, '-');
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)name[i];
        buf_add_char(out, c <= ' ' || c == 127 || c == '"' || c == '\\' ? '_' : (char)c);
    }
}

int route_record_put(struct buf *out, const struct route_request *r, const struct route_offer *o,
                     const char *const *names, int n)
{
    CHECK(n >= 0 && n <= ROUTE_OFFERS_MAX);
    if (out->len)
        buf_add_char(out, ' ');
    buf_add_str(out, MARK);
    put_all(out, of_request, ARRAY_LEN(of_request), r);
    put_number(out, n);
    for (int i = 0; i < n; i++) {
        put_name(out, names[i]);
        put_number(out, o[i].id);
        put_number(out, (int64_t)o[i].health);
        put_number(out, (o[i].is_tried ? IS_TRIED : 0) | (o[i].is_slow ? IS_SLOW : 0) |
                            (o[i].is_over ? IS_OVER : 0) | (o[i].is_capped ? IS_CAPPED : 0) |
                            (o[i].is_closed ? IS_CLOSED : 0) | (o[i].is_away ? IS_AWAY : 0));
        put_all(out, of_offer, ARRAY_LEN(of_offer), &o[i]);
    }
    return out->failed;
}

/* ---- reading --------------------------------------------------------------------------------- */

/* The next word; its length, 0: there is none. */
static size_t word(const char **at, const char **ret)
{
    *at += strspn(*at, " ");
    *ret = *at;
    *at += strcspn(*at, " ");
    return (size_t)(*at - *ret);
}

static int read_number(const char **at, int64_t min, int64_t max, int64_t *ret)
{
    const char *w;
    char *end;
    size_t n = word(at, &w);

    if (!n || n > 20 || (*w != '-' && (*w < '0' || *w > '9')))
        return ERR_FORMAT;
    errno = 0;
    *ret = strtoll(w, &end, 10);
    return errno || end != w + n || *ret < min || *ret > max ? ERR_FORMAT : 0;
}

static int read_all(const char **at, const struct number *t, size_t n, void *base)
{
    int64_t v;

    for (size_t i = 0; i < n; i++) {
        void *p = (char *)base + t[i].at;
        if (read_number(at, t[i].min, t[i].max, &v))
            return ERR_FORMAT;
        if (t[i].kind == I64)
            memcpy(p, &v, sizeof v);
        else
            memcpy(p, &(uint32_t){(uint32_t)v}, sizeof(uint32_t));
    }
    return 0;
}

static int read_offer(const char **at, int is_old, struct route_offer *o,
                      char name[ROUTE_RECORD_NAME_MAX])
{
    int64_t id, health, flags;
    const char *w;
    size_t n = word(at, &w);

    if (!n || n >= ROUTE_RECORD_NAME_MAX)
        return ERR_FORMAT;
    memcpy(name, w, n);
    name[n] = 0;
    if (read_number(at, 0, UINT32_MAX, &id) || read_number(at, 0, ROUTE_FAILED, &health) ||
        read_number(at, 0, ALL, &flags))
        return ERR_FORMAT;
    *o = (struct route_offer){.id = (uint32_t)id,
                              .health = (enum route_health)health,
                              .is_tried = flags & IS_TRIED ? 1 : 0,
                              .is_slow = flags & IS_SLOW ? 1 : 0,
                              .is_over = flags & IS_OVER ? 1 : 0,
                              .is_capped = flags & IS_CAPPED ? 1 : 0,
                              .is_closed = flags & IS_CLOSED ? 1 : 0,
                              .is_away = flags & IS_AWAY ? 1 : 0};
    return read_all(at, of_offer, ARRAY_LEN(of_offer) - (is_old ? 1 : 0), o);
}

/* Decisions are about offers with ids of their own. */
static int has_id(const struct route_record *r, int n, uint32_t id)
{
    for (int i = 0; i < n; i++) {
        if (r->offer[i].id == id)
            return 1;
    }
    return 0;
}

int route_record_read(const char **at, struct route_record *ret)
{
    const char *w;
    int64_t n_offers;
    size_t n = word(at, &w);
    int is_old;

    if (!n)
        return 0;
    is_old = n == strlen(MARK_OLD) && !memcmp(w, MARK_OLD, n);
    if (!is_old && (n != strlen(MARK) || memcmp(w, MARK, n)))
        return ERR_FORMAT;
    ret->n = 0;
    ret->request = (struct route_request){0};
    if (read_all(at, of_request, ARRAY_LEN(of_request), &ret->request) ||
        read_number(at, 0, ROUTE_OFFERS_MAX, &n_offers))
        return ERR_FORMAT;
    for (int i = 0; i < n_offers; i++) {
        if (read_offer(at, is_old, &ret->offer[i], ret->name[i]) ||
            has_id(ret, i, ret->offer[i].id))
            return ERR_FORMAT;
        ret->n++;
    }
    return 1;
}
