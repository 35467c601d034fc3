#include "base/zone.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/zone_int.h"

#define FILE_MAX     65536
#define CHANGES_MAX  4096
#define TYPES_MAX    256
#define HEAD         44
#define OFFSET_LEAST (-89999) /* RFC 9636's bounds */
#define OFFSET_MOST  93599
#define T_MOST       (INT64_C(1) << 50) /* times beyond are taken for it */

struct zone {
    int n_changes, n_types;
    int64_t at[CHANGES_MAX];
    unsigned char type[CHANGES_MAX];
    int32_t offset[TYPES_MAX];
    int has_rule; /* for times from the last change on */
    struct zone_rule rule;
};

/* ---- reading --------------------------------------------------------------------------------- */

static int64_t big_endian(const unsigned char *p, int n)
{
    uint64_t v = p[0] & 0x80 ? UINT64_MAX : 0;

    for (int i = 0; i < n; i++)
        v = v << 8 | p[i];
    return (int64_t)v;
}

/* A block of a file: its counts, and where its parts lie. */
struct block {
    int version;
    int64_t n_ut, n_std, n_leap, n_changes, n_types, n_chars;
    const unsigned char *at, *type, *info;
    size_t n; /* bytes, with its head */
};

/* Read a block's head; `word` bytes a time. NULL, or what is wrong. */
static const char *block_read(struct block *b, const unsigned char *p, size_t n, int word)
{
    if (n < HEAD || memcmp(p, "TZif", 4))
        return "it does not begin as one";
    *b = (struct block){.version = p[4]};
    b->n_ut = big_endian(p + 20, 4);
    b->n_std = big_endian(p + 24, 4);
    b->n_leap = big_endian(p + 28, 4);
    b->n_changes = big_endian(p + 32, 4);
    b->n_types = big_endian(p + 36, 4);
    b->n_chars = big_endian(p + 40, 4);
    if ((b->n_ut | b->n_std | b->n_leap | b->n_changes | b->n_types | b->n_chars) &
        ~INT64_C(0xffff))
        return "a count is out of range";
    b->at = p + HEAD;
    b->type = b->at + b->n_changes * word;
    b->info = b->type + b->n_changes;
    b->n = (size_t)(HEAD + b->n_changes * (word + 1) + b->n_types * 6 + b->n_chars +
                    b->n_leap * (word + 4) + b->n_std + b->n_ut);
    return b->n > n ? "it is cut short" : NULL;
}

static const char *fill(struct zone *z, const struct block *b, int word)
{
    if (b->n_changes > CHANGES_MAX || b->n_types > TYPES_MAX || b->n_types < 1)
        return "a count is out of range";
    if (b->n_leap)
        return "it counts leap seconds";
    z->n_changes = (int)b->n_changes;
    z->n_types = (int)b->n_types;
    for (int i = 0; i < z->n_types; i++) {
        z->offset[i] = (int32_t)big_endian(b->info + 6 * i, 4);
        if (z->offset[i] < OFFSET_LEAST || z->offset[i] > OFFSET_MOST)
            return "an offset is out of range";
    }
    for (int i = 0; i < z->n_changes; i++) {
        z->at[i] = big_endian(b->at + i * word, word);
        z->type[i] = b->type[i];
        if (z->type[i] >= z->n_types)
            return "a change is to nothing";
        if (i && z->at[i] <= z->at[i - 1])
            return "its changes are not in order";
    }
    return NULL;
}

/* The line behind the second block: "\nRULE\n"; empty: there is none. */
static const char *read_rule(struct zone *z, const unsigned char *p, size_t n)
{
    const unsigned char *end;

    if (n < 2 || *p != '\n' || !(end = memchr(p + 1, '\n', n - 1)))
        return "its last line is missing";
    z->has_rule = end > p + 1;
    if (z->has_rule && zone_rule_parse(&z->rule, (const char *)p + 1, (size_t)(end - p - 1)))
        return "its last line is no rule";
    return NULL;
}

static const char *parse(struct zone *z, const unsigned char *p, size_t n)
{
    struct block b;
    const char *why = block_read(&b, p, n, 4);

    if (why || !b.version)
        return why ? why : fill(z, &b, 4);
    p += b.n;
    n -= b.n;
    why = block_read(&b, p, n, 8);
    if (!why)
        why = fill(z, &b, 8);
    return why ? why : read_rule(z, p + b.n, n - b.n);
}

int zone_parse(struct zone **ret, const char *name, const void *data, size_t n, struct err *e)
{
    struct zone *z = calloc(1, sizeof *z);
    const char *why;

    if (!z)
        return err_set(e, ERR_NOMEM, "out of memory");
    why = n > FILE_MAX ? "it is too long" : parse(z, data, n);
    if (why) {
        free(z);
        return err_set(e, ERR_FORMAT, "time zone '%s': no TZif file: %s", name, why);
    }
    *ret = z;
    return 0;
}

static int name_ok(const char *s)
{
    static const char chars[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-+_/";
    size_t n = strlen(s);

    return n && n < ZONE_NAME_MAX && strspn(s, chars) == n && s[0] != '/' && s[n - 1] != '/' &&
           !strstr(s, "//");
}

int zone_load(struct zone **ret, const char *dir, const char *name, struct err *e)
{
    char path[512];
    char *data;
    ssize_t n;
    int fd, r;

    if (!name_ok(name) || snprintf(path, sizeof path, "%s/%s", dir, name) >= (int)sizeof path)
        return err_set(e, ERR_ARG, "'%s' is no name of a time zone", name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set(e, errno == ENOENT ? ERR_NOTFOUND : ERR_IO, "time zone '%s': %s: %s", name,
                       path, strerror(errno));
    data = malloc(FILE_MAX + 1);
    if (!data) {
        close(fd);
        return err_set(e, ERR_NOMEM, "out of memory");
    }
    n = read(fd, data, FILE_MAX + 1);
    r = n < 0 ? err_set(e, ERR_IO, "time zone '%s': %s: %s", name, path, strerror(errno))
              : zone_parse(ret, name, data, (size_t)n, e);
    free(data);
    close(fd);
    return r;
}

void zone_free(struct zone *z)
{
    free(z);
}

/* ---- offsets --------------------------------------------------------------------------------- */

int32_t zone_offset(const struct zone *z, int64_t t)
{
    int lo = 0, hi;

    if (!z)
        return 0;
    if (z->has_rule && (!z->n_changes || t >= z->at[z->n_changes - 1]))
        return zone_rule_offset(&z->rule, t);
    hi = z->n_changes; /* changes before lo are at or before t, those from hi on after it */
    while (lo < hi) {
        int mid = (lo + hi) / 2;
        if (z->at[mid] <= t)
            lo = mid + 1;
        else
            hi = mid;
    }
    return z->offset[lo ? z->type[lo - 1] : 0];
}

/* ---- days ------------------------------------------------------------------------------------ */

int64_t zone_day_start(const struct zone *z, int64_t day)
{
    int64_t midnight = day * ZONE_DAY_S, lo = midnight - OFFSET_MOST - 1;
    int64_t hi = midnight - OFFSET_LEAST, best = INT64_MAX;
    const int64_t look[] = {lo, midnight, hi};

    for (int i = 0; i < 3; i++) {
        int64_t t = midnight - zone_offset(z, look[i]);
        if (t < best && t + zone_offset(z, t) == midnight)
            best = t;
    }
    if (best < INT64_MAX)
        return best;
    while (hi - lo > 1) { /* it is before midnight at lo, and not at hi */
        int64_t mid = lo + (hi - lo) / 2;
        if (mid + zone_offset(z, mid) < midnight)
            lo = mid;
        else
            hi = mid;
    }
    return hi;
}

/* First day of the span that `day` is in, and of the next. */
static int64_t span_first(enum zone_span span, int64_t day, int64_t *ret_next)
{
    int64_t year, first = day;
    int month, of_month;

    *ret_next = day + 1;
    if (span == ZONE_WEEK) { /* 1970 began on a Thursday */
        first = day - ((day + 3) % 7 + 7) % 7;
        *ret_next = first + 7;
    } else if (span == ZONE_MONTH) {
        zone_date(day, &year, &month, &of_month);
        first = day - of_month + 1;
        *ret_next = month == 12 ? zone_days(year + 1, 1, 1) : zone_days(year, month + 1, 1);
    }
    return first;
}

void zone_window(const struct zone *z, enum zone_span span, int64_t t, int64_t *ret_from,
                 int64_t *ret_until)
{
    int64_t first, next;

    t = t > T_MOST ? T_MOST : t < -T_MOST ? -T_MOST : t;
    first = span_first(span, zone_day_of(t + zone_offset(z, t)), &next);
    *ret_from = zone_day_start(z, first);
    *ret_until = zone_day_start(z, next);
    /* Where the clock goes back over midnight, dates come twice: one span ends where the next one
     * first begins. */
    while (t >= *ret_until) {
        *ret_from = *ret_until;
        span_first(span, next, &next);
        *ret_until = zone_day_start(z, next);
    }
    while (t < *ret_from) {
        *ret_until = *ret_from;
        first = span_first(span, first - 1, &next);
        *ret_from = zone_day_start(z, first);
    }
}
