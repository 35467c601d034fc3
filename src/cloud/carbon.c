#include "cloud/carbon.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/check.h"
#include "base/csv.h"
#include "base/json.h"
#include "base/money.h"

__extension__ typedef __int128 wide;

#define HOUR_S      3600
#define DAY_HOURS   24
#define UJ_PER_KWH  INT64_C(3600000000000)
#define TREE_MEMORY ((size_t)64 << 20)
#define NANO_PER_MG INT64_C(1000000) /* of a gram's nano-units */

struct hour {
    int64_t from; /* unix seconds; of a day that repeats: 0 to 23 */
    int32_t mg[CARBON_BASES];
};

struct carbon_hours {
    int repeats; /* it is a day, by the clock of the site */
    int n, cap;
    struct hour *hour; /* in order */
};

void carbon_free(struct carbon_hours *h)
{
    if (h)
        free(h->hour);
    free(h);
}

int carbon_n_hours(const struct carbon_hours *h)
{
    return h->n;
}

/* ---- one value ------------------------------------------------------------------------------- */

/* Two digits of a date or a time; -1: they are none. */
static int two(const char *s)
{
    if (s[0] < '0' || s[0] > '9' || s[1] < '0' || s[1] > '9')
        return -1;
    return (s[0] - '0') * 10 + s[1] - '0';
}

/* Days since 1970 of a date in the calendar of today. */
static int64_t days_of(int y, int m, int d)
{
    int64_t era, doy, yoe;

    y -= m <= 2;
    era = y / 400;
    yoe = y - era * 400;
    doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

static int days_in(int y, int m)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

    return m == 2 && (y % 4 == 0 && (y % 100 != 0 || y % 400 == 0)) ? 29 : days[m - 1];
}

/* "Z", "+01:00": seconds east; -1: it is none. */
static int offset_of(const char *s, int64_t *ret)
{
    int h, m, sign = *s == '-' ? -1 : 1;

    *ret = 0;
    if (!strcmp(s, "Z"))
        return 0;
    if ((*s != '+' && *s != '-') || strlen(s) != 6 || s[3] != ':')
        return -1;
    h = two(s + 1);
    m = two(s + 4);
    if (h < 0 || h > 14 || m < 0 || m > 59)
        return -1;
    *ret = sign * (h * HOUR_S + m * INT64_C(60));
    return 0;
}

/* "2026-12-01T13:00:00Z" where seconds, and parts of them, may be missing and all below the hour is
 * 0. */
static int time_of(const char *s, int64_t *ret)
{
    int century = -1, year, month, day, hour;
    int64_t east;
    size_t n = strlen(s);

    if (n < 17 || s[4] != '-' || s[7] != '-' || (s[10] != 'T' && s[10] != ' ') || s[13] != ':')
        return -1;
    century = two(s);
    year = two(s + 2);
    month = two(s + 5);
    day = two(s + 8);
    hour = two(s + 11);
    if (century < 19 || century > 21 || year < 0 || month < 1 || month > 12 || day < 1 ||
        hour < 0 || hour > 23 || two(s + 14) != 0)
        return -1;
    year += century * 100;
    if (day > days_in(year, month))
        return -1;
    s += 16;
    if (!strncmp(s, ":00", 3))
        s += 3;
    if (*s == '.')
        s += 1 + strspn(s + 1, "0");
    if (offset_of(s, &east))
        return -1;
    *ret = days_of(year, month, day) * 86400 + hour * INT64_C(3600) - east;
    return 0;
}

static int hour_of(const char *s, int64_t *ret)
{
    size_t n = strspn(s, "0123456789");

    if (n < 1 || n > 2 || s[n])
        return -1;
    *ret = strtol(s, NULL, 10);
    return *ret < DAY_HOURS ? 0 : -1;
}

/* Grams as text; "": unknown. */
static int grams_of(const char *s, int32_t *ret)
{
    struct err none;
    int64_t nano;

    *ret = CARBON_UNKNOWN;
    if (!*s)
        return 0;
    if (money_parse(s, &nano, &none) || nano < 0 || nano > CARBON_MG_MAX * NANO_PER_MG)
        return -1;
    *ret = (int32_t)((nano + NANO_PER_MG / 2) / NANO_PER_MG);
    return 0;
}

/* ---- rows ------------------------------------------------------------------------------------ */

static int add(struct carbon_hours *h, const struct hour *row, const char *name, struct err *e)
{
    struct hour *more;

    if (h->n == CARBON_HOURS_MAX)
        return err_set(e, ERR_LIMIT, "%s: more than %d hours", name, CARBON_HOURS_MAX);
    if (h->n == h->cap) {
        h->cap = h->cap ? 2 * h->cap : 64;
        more = realloc(h->hour, (size_t)h->cap * sizeof *more);
        if (!more)
            return err_set(e, ERR_NOMEM, "out of memory");
        h->hour = more;
    }
    h->hour[h->n++] = *row;
    return 0;
}

static int by_time(const void *a_, const void *b_)
{
    const struct hour *a = a_, *b = b_;

    return a->from < b->from ? -1 : a->from > b->from;
}

/* In order, and each hour once. */
static int put_in_order(struct carbon_hours *h, const char *name, struct err *e)
{
    int64_t apart = h->repeats ? 1 : HOUR_S;

    if (!h->n)
        return err_set(e, ERR_FORMAT, "%s: it has no hours", name);
    qsort(h->hour, (size_t)h->n, sizeof *h->hour, by_time);
    for (int i = 1; i < h->n; i++) {
        if (h->hour[i].from - h->hour[i - 1].from < apart)
            return err_set(e, ERR_FORMAT, "%s: an hour is there twice, or two overlap (%lld)", name,
                           (long long)h->hour[i].from);
    }
    return 0;
}

/* ---- CSV ------------------------------------------------------------------------------------- */

struct columns {
    int when, mg[CARBON_BASES]; /* -1: there is none */
    int repeats;
};

static int read_head(const struct csv *c, const char *name, struct columns *ret, struct err *e)
{
    *ret = (struct columns){.when = -1, .mg = {-1, -1}};
    for (int i = 0; i < c->n_fields; i++) {
        const char *f = c->field[i];
        int is_hour = !strcmp(f, "hour");
        int *to = is_hour || !strcmp(f, "time") ? &ret->when
                  : !strcmp(f, "location")      ? &ret->mg[CARBON_LOCATION]
                  : !strcmp(f, "market")        ? &ret->mg[CARBON_MARKET]
                                                : NULL;
        if (!to)
            continue; /* others may be there for people */
        if (*to >= 0)
            return err_set(e, ERR_FORMAT, "%s: two columns '%.20s'", name, f);
        *to = i;
        ret->repeats |= is_hour;
    }
    if (ret->when < 0 || (ret->mg[0] < 0 && ret->mg[1] < 0))
        return err_set(e, ERR_FORMAT,
                       "%s: the first line names the columns: time or hour, and location, market "
                       "or both",
                       name);
    return 0;
}

static const char *field(const struct csv *c, int i)
{
    return i >= 0 && i < c->n_fields ? c->field[i] : "";
}

static int read_csv(struct carbon_hours *h, const char *name, const char *text, size_t n,
                    struct csv *c, struct err *e)
{
    struct columns cols;
    int r;

    csv_init(c, text, n);
    r = csv_next(c, e);
    if (r <= 0)
        return r ? err_prefix(e, "%s", name) : err_set(e, ERR_FORMAT, "%s: is empty", name);
    r = read_head(c, name, &cols, e);
    if (r)
        return r;
    h->repeats = cols.repeats;
    while ((r = csv_next(c, e)) == 1) {
        struct hour row;
        const char *when = field(c, cols.when);
        if (h->repeats ? hour_of(when, &row.from) : time_of(when, &row.from))
            return err_set(e, ERR_FORMAT, "%s: line %lld: '%.40s' is no %s", name,
                           (long long)c->line, when,
                           h->repeats ? "hour from 0 to 23"
                                      : "full hour with its offset, as 2026-12-01T13:00Z");
        for (int b = 0; b < CARBON_BASES; b++) {
            if (grams_of(field(c, cols.mg[b]), &row.mg[b]))
                return err_set(e, ERR_FORMAT,
                               "%s: line %lld: '%.40s' is no number of grams from 0 to 10000", name,
                               (long long)c->line, field(c, cols.mg[b]));
        }
        r = add(h, &row, name, e);
        if (r)
            return r;
    }
    return r ? err_prefix(e, "%s", name) : 0;
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static const json_t *member(const json_t *o, const char *const *names)
{
    const json_t *j = NULL;

    for (; *names && !j; names++)
        j = json_object_get(o, *names);
    return j;
}

static int grams_in(const json_t *j, int32_t *ret)
{
    double g = j ? json_number_value(j) : 0;

    *ret = CARBON_UNKNOWN;
    if (!j || json_is_null(j))
        return 0;
    if (!json_is_number(j) || !(g >= 0) || g > CARBON_MG_MAX / 1000.0)
        return -1;
    *ret = (int32_t)lround(g * 1000);
    return 0;
}

static int read_object(struct carbon_hours *h, size_t i, const json_t *o, const char *name,
                       struct err *e)
{
    static const char *const times[] = {"time", "datetime", NULL};
    static const char *const grams[CARBON_BASES][3] = {{"location", "carbonIntensity", NULL},
                                                       {"market", NULL, NULL}};
    const json_t *hour = json_object_get(o, "hour");
    const char *time = json_string_value(member(o, times));
    struct hour row = {0};

    if (!i)
        h->repeats = hour != NULL;
    if (h->repeats) {
        row.from = json_is_integer(hour) ? json_integer_value(hour) : -1;
        if (row.from < 0 || row.from >= DAY_HOURS)
            return err_set(e, ERR_FORMAT, "%s: element %zu: 'hour' is no number from 0 to 23", name,
                           i);
    } else if (!time || time_of(time, &row.from)) {
        return err_set(e, ERR_FORMAT,
                       "%s: element %zu: 'time' is no full hour with its offset, as "
                       "\"2026-12-01T13:00Z\"",
                       name, i);
    }
    for (int b = 0; b < CARBON_BASES; b++) {
        if (grams_in(member(o, grams[b]), &row.mg[b]))
            return err_set(e, ERR_FORMAT,
                           "%s: element %zu: '%s' is no number of grams from 0 to 10000", name, i,
                           grams[b][0]);
    }
    return add(h, &row, name, e);
}

/* The list: the whole text, or the one list that is a member of it. */
static const json_t *find_list(const json_t *root)
{
    const json_t *found = NULL;
    const char *key;
    json_t *v;

    if (!json_is_object(root))
        return json_is_array(root) ? root : NULL;
    json_object_foreach((json_t *)(uintptr_t)root, key, v)
    {
        if (json_is_array(v) && found)
            return NULL;
        if (json_is_array(v))
            found = v;
    }
    return found;
}

static int read_json(struct carbon_hours *h, const char *name, const char *text, size_t n,
                     struct err *e)
{
    json_t *root = NULL;
    const json_t *list;
    int r = json_parse(&root, text, n, TREE_MEMORY, e);

    if (r) {
        e->code = r == ERR_NOMEM ? r : ERR_FORMAT;
        return err_prefix(e, "%s", name);
    }
    list = find_list(root);
    if (!list)
        r = err_set(e, ERR_FORMAT, "%s: wants a list of hours, or an object with one list", name);
    for (size_t i = 0; !r && i < json_array_size(list); i++)
        r = read_object(h, i, json_array_get(list, i), name, e);
    json_decref(root);
    return r;
}

/* ---- the door -------------------------------------------------------------------------------- */

int carbon_parse(struct carbon_hours **ret, const char *name, const char *text, size_t n,
                 struct err *e)
{
    struct carbon_hours *h;
    struct csv *csv = NULL;
    size_t at = 0;
    int r;

    if (n > CARBON_BYTES_MAX)
        return err_set(e, ERR_LIMIT, "%s: more than %zu bytes", name, CARBON_BYTES_MAX);
    h = calloc(1, sizeof *h);
    while (at < n && strchr(" \t\r\n", text[at]) && text[at])
        at++;
    if (at < n && (text[at] == '[' || text[at] == '{'))
        r = h ? read_json(h, name, text + at, n - at, e) : ERR_NOMEM;
    else if (h && (csv = malloc(sizeof *csv)))
        r = read_csv(h, name, text, n, csv, e);
    else
        r = ERR_NOMEM;
    free(csv);
    if (!r)
        r = put_in_order(h, name, e);
    if (r == ERR_NOMEM)
        err_set(e, r, "out of memory");
    if (r)
        carbon_free(h);
    else
        *ret = h;
    return r;
}

int64_t carbon_mg_per_kwh(const struct carbon_hours *h, enum carbon_basis b, const struct zone *z,
                          int64_t at_s)
{
    int64_t t = at_s, length = HOUR_S;
    int lo = 0, hi;

    if (!h)
        return CARBON_UNKNOWN;
    if (h->repeats) {
        int64_t local = at_s + zone_offset(z, at_s);
        t = ((local % 86400 + 86400) % 86400) / HOUR_S;
        length = 1;
    }
    for (hi = h->n; lo < hi;) { /* the first that begins after t */
        int mid = lo + (hi - lo) / 2;
        if (h->hour[mid].from <= t)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (!lo || t >= h->hour[lo - 1].from + length)
        return CARBON_UNKNOWN;
    return h->hour[lo - 1].mg[b];
}

int64_t carbon_ug(int64_t energy_uj, int64_t mg_per_kwh)
{
    wide ug;

    if (mg_per_kwh < 0 || energy_uj < 0)
        return CARBON_UNKNOWN;
    ug = ((wide)energy_uj * mg_per_kwh * 1000 + UJ_PER_KWH / 2) / UJ_PER_KWH;
    return ug > INT64_MAX ? CARBON_UNKNOWN : (int64_t)ug;
}

int64_t carbon_facility_uj(int64_t it_uj, int32_t pue_permille)
{
    wide uj = ((wide)it_uj * pue_permille + 500) / 1000;

    return it_uj < 0 || uj > INT64_MAX ? -1 : (int64_t)uj;
}
