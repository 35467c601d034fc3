#include "cloud/account.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/check.h"
#include "base/day.h"
#include "base/money.h"
#include "base/watthour.h"
#include "base/zone.h"
#include "job/tier.h"

#define COUNT_MAX  (INT64_C(1) << 50)
#define ALL        (1u << ACCOUNT_TENANT | 1u << ACCOUNT_TEAM | 1u << ACCOUNT_KEY)
#define KEYS       (1u << ACCOUNT_KEY)
#define TENANTS    (1u << ACCOUNT_TENANT)
#define NAME_CHARS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:"

const struct account_field account_fields[] = {
#define FIELD(name, option, type, kinds, value, help)                                              \
    {#name, ACCOUNT_##type, kinds, offsetof(struct account_settings, name), value, help},
    ACCOUNT_FIELDS(FIELD)
#undef FIELD
};
const int account_n_fields = ARRAY_LEN(account_fields);

const char *account_kind_name(int kind)
{
    static const char *const names[ACCOUNT_LOG_KINDS] = {"tenant", "team",     "key",
                                                         "site",   "contract", "measurement"};

    return names[kind];
}

const char *exceed_name(enum exceed x)
{
    static const char *const names[EXCEEDS] = {"reject", "downgrade", "fallback"};

    return names[x];
}

const struct account_field *account_field_find(const char *name)
{
    for (int i = 0; i < account_n_fields; i++) {
        if (!strcmp(account_fields[i].name, name))
            return &account_fields[i];
    }
    return NULL;
}

int account_name_ok(const char *s)
{
    size_t n = strspn(s, NAME_CHARS);

    return n > 0 && !s[n] && n < ACCOUNT_NAME_MAX;
}

static int is_text(const struct account_field *f)
{
    return f->type >= ACCOUNT_ZONE;
}

static int64_t *number_of(const struct account_settings *s, const struct account_field *f)
{
    return (int64_t *)(void *)((char *)(uintptr_t)s + f->offset);
}

static char **text_of(const struct account_settings *s, const struct account_field *f)
{
    return (char **)(void *)((char *)(uintptr_t)s + f->offset);
}

struct account_settings account_unsaid(void)
{
    struct account_settings s = {0};

    for (int i = 0; i < account_n_fields; i++) {
        if (!is_text(&account_fields[i]))
            *number_of(&s, &account_fields[i]) = -1;
    }
    return s;
}

void account_field_unset(struct account_settings *s, const struct account_field *f)
{
    if (!is_text(f)) {
        *number_of(s, f) = -1;
        return;
    }
    free(*text_of(s, f));
    *text_of(s, f) = NULL;
}

void account_done(struct account_settings *s)
{
    for (int i = 0; i < account_n_fields; i++)
        account_field_unset(s, &account_fields[i]);
    s->currency[0] = 0;
}

/* ---- reading --------------------------------------------------------------------------------- */

#define BAD(f, e, ...) (err_set(e, ERR_ARG, __VA_ARGS__), err_prefix(e, "%s", (f)->name))

static int read_count(const struct account_field *f, const char *s, int64_t *ret, struct err *e)
{
    char *end;
    int64_t n;

    errno = 0;
    n = strtoll(s, &end, 10);
    if (*s < '0' || *s > '9' || *end || errno || n > COUNT_MAX)
        return BAD(f, e, "wants a count, not '%.40s'", s);
    *ret = n;
    return 0;
}

/* "50.00EUR", in one currency an account. */
static int read_money(const struct account_field *f, const char *text, struct account_settings *s,
                      int64_t *ret, struct err *e)
{
    size_t n = strlen(text);
    const char *currency = text + (n > 3 ? n - 3 : n);
    char number[MONEY_TEXT_MAX];
    struct err why;
    int64_t nano;

    snprintf(number, sizeof number, "%.*s", (int)(currency - text), text);
    if (currency - text >= MONEY_TEXT_MAX || !money_is_currency(currency) ||
        money_parse(number, &nano, &why) || nano < 0)
        return BAD(f, e, "'%.40s' is no amount of money like 50.00EUR", text);
    if (s->currency[0] && strcmp(s->currency, currency))
        return BAD(f, e, "the budgets of an account are all in one currency, here %s", s->currency);
    snprintf(s->currency, sizeof s->currency, "%s", currency);
    *ret = nano;
    return 0;
}

static int read_energy(const struct account_field *f, const char *text, int64_t *ret, struct err *e)
{
    struct err why;

    return watthour_parse(text, ret, &why) ? BAD(f, e, "%s", why.text) : 0;
}

static int read_time(const struct account_field *f, const char *text, int64_t *ret, struct err *e)
{
    int64_t s;

    if (day_read_moment(text, NULL, &s) || s <= 0)
        return BAD(f, e, "'%.40s' is no time: write 2027-01-31 or 2027-01-31T18:00:00Z (UTC)",
                   text);
    *ret = s;
    return 0;
}

static int read_flag(const struct account_field *f, const char *text, int64_t *ret, struct err *e)
{
    if (strcmp(text, "yes") && strcmp(text, "no"))
        return BAD(f, e, "wants yes or no, not '%.40s'", text);
    *ret = !strcmp(text, "yes");
    return 0;
}

static int read_exceed(const struct account_field *f, const char *text, int64_t *ret, struct err *e)
{
    for (int i = 0; i < EXCEEDS; i++) {
        if (!strcmp(text, exceed_name((enum exceed)i))) {
            *ret = i;
            return 0;
        }
    }
    return BAD(f, e, "wants reject, downgrade or fallback, not '%.40s'", text);
}

/* The next of a list that commas part, cut out of the text; NULL: there is none. */
static char *next_of(char **at)
{
    char *one = *at, *end;

    if (!one)
        return NULL;
    end = strchr(one, ',');
    *at = end ? end + 1 : NULL;
    if (end)
        *end = 0;
    return one;
}

static int read_tiers(const struct account_field *f, char *list, int64_t *ret, struct err *e)
{
    int64_t bits = 0;

    for (char *at = list, *one = next_of(&at); one; one = next_of(&at)) {
        int tier = tier_find(one);
        if (tier < 0)
            return BAD(f, e, "'%.40s' is not one of the tiers batch, flex, default and priority",
                       one);
        bits |= INT64_C(1) << tier;
    }
    *ret = bits;
    return 0;
}

static int name_of_list_ok(const char *s)
{
    size_t n = strspn(s, NAME_CHARS "/");

    n += s[n] == '*';
    return n > 0 && !s[n] && n < ACCOUNT_ID_MAX;
}

/* An address and its length of prefix, as 16 bytes; IPv4 as in ::ffff:1.2.3.4. */
struct network {
    unsigned char at[16];
    int bits;
};

static int address_of(const char *text, unsigned char ret[16], int *ret_is_4)
{
    static const unsigned char mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

    *ret_is_4 = inet_pton(AF_INET, text, ret + 12) == 1;
    if (*ret_is_4) {
        memcpy(ret, mapped, sizeof mapped);
        return 1;
    }
    return inet_pton(AF_INET6, text, ret) == 1;
}

static int network_of(const char *text, struct network *ret)
{
    const char *slash = strchrnul(text, '/');
    char address[INET6_ADDRSTRLEN], *end;
    int is_4, most;
    long bits;

    if (slash - text >= (ptrdiff_t)sizeof address)
        return 0;
    memcpy(address, text, (size_t)(slash - text));
    address[slash - text] = 0;
    if (!address_of(address, ret->at, &is_4))
        return 0;
    most = is_4 ? 32 : 128;
    bits = most;
    if (*slash) {
        bits = strtol(slash + 1, &end, 10);
        if (slash[1] < '0' || slash[1] > '9' || *end || bits > most)
            return 0;
    }
    ret->bits = (int)bits + 128 - most;
    return 1;
}

static int label_ok(const char *s)
{
    size_t n = strspn(s, NAME_CHARS), m;

    if (!n || s[n] != '=')
        return 0;
    m = strspn(s + n + 1, NAME_CHARS "/@ ");
    return m > 0 && !s[n + 1 + m];
}

/* As browsers write it in the header Origin. */
static int origin_ok(const char *s)
{
    size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyz+-.0123456789");

    if (!strcmp(s, "null"))
        return 1;
    if (!n || strncmp(s + n, "://", 3))
        return 0;
    s += n + 3;
    return *s && strlen(s) < ACCOUNT_ID_MAX && !s[strspn(s, NAME_CHARS "[]")];
}

static int text_ok(enum account_type type, const char *one)
{
    struct network n;

    return type == ACCOUNT_NAMES      ? name_of_list_ok(one)
           : type == ACCOUNT_NETWORKS ? network_of(one, &n)
           : type == ACCOUNT_ORIGINS  ? origin_ok(one)
                                      : label_ok(one);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* A list of names, networks, origins or labels in order of their text, each once. */
static int read_list(const struct account_field *f, char *list, char *ret, size_t cap,
                     struct err *e)
{
    static const char *const what[] = {[ACCOUNT_NAMES] = "a name",
                                       [ACCOUNT_NETWORKS] = "a network like 10.0.0.0/8",
                                       [ACCOUNT_ORIGINS] = "an origin like https://app.example",
                                       [ACCOUNT_LABELS] = "a label like env=prod"};
    char *all[ACCOUNT_LIST_MAX];
    size_t len = 0;
    int n = 0;

    for (char *at = list, *one = next_of(&at); one; one = next_of(&at)) {
        if (!text_ok(f->type, one))
            return BAD(f, e, "'%.80s' is not %s", one, what[f->type]);
        if (n == ACCOUNT_LIST_MAX)
            return BAD(f, e, "more than %d in the list", ACCOUNT_LIST_MAX);
        all[n++] = one;
    }
    qsort(all, (size_t)n, sizeof *all, by_text);
    for (int i = 0; i < n; i++) {
        size_t name = strcspn(all[i], "=");
        if (i && !strcmp(all[i], all[i - 1]))
            continue;
        if (i && f->type == ACCOUNT_LABELS && !strncmp(all[i], all[i - 1], name + 1))
            return BAD(f, e, "two labels have the name '%.*s'", (int)name, all[i]);
        len += (size_t)snprintf(ret + len, cap - len, "%s%s", len ? "," : "", all[i]);
    }
    if (f->type == ACCOUNT_LABELS && len >= BOOKS_LABELS_MAX)
        return BAD(f, e, "all labels together have at most %d bytes", BOOKS_LABELS_MAX - 1);
    return 0;
}

static int read_zone(const struct account_field *f, const char *name, struct err *e)
{
    struct zone *z = NULL;
    int r = zone_load(&z, ZONE_DIR, name, e);

    zone_free(z);
    if (!r)
        return 0;
    e->code = ERR_ARG;
    return err_prefix(e, "%s", f->name);
}

static int set_text(struct account_settings *s, const struct account_field *f, const char *text,
                    struct err *e)
{
    char *copy = strdup(text);

    if (!copy)
        return err_set(e, ERR_NOMEM, "out of memory");
    account_field_unset(s, f);
    *text_of(s, f) = copy;
    return 0;
}

int account_field_set(struct account_settings *s, const struct account_field *f, const char *text,
                      struct err *e)
{
    char list[ACCOUNT_TEXT_MAX], shown[ACCOUNT_TEXT_MAX];
    int r;

    if (strlen(text) >= ACCOUNT_TEXT_MAX)
        return BAD(f, e, "has at most %d bytes", ACCOUNT_TEXT_MAX - 1);
    snprintf(list, sizeof list, "%s", text);
    switch (f->type) {
    case ACCOUNT_COUNT:
        return read_count(f, text, number_of(s, f), e);
    case ACCOUNT_MONEY:
        return read_money(f, text, s, number_of(s, f), e);
    case ACCOUNT_ENERGY:
        return read_energy(f, text, number_of(s, f), e);
    case ACCOUNT_TIME:
        return read_time(f, text, number_of(s, f), e);
    case ACCOUNT_FLAG:
        return read_flag(f, text, number_of(s, f), e);
    case ACCOUNT_TIERS:
        return read_tiers(f, list, number_of(s, f), e);
    case ACCOUNT_EXCEED:
        return read_exceed(f, text, number_of(s, f), e);
    case ACCOUNT_ZONE:
        r = read_zone(f, text, e);
        return r ? r : set_text(s, f, text, e);
    case ACCOUNT_MODEL:
        if (!name_of_list_ok(text) || strchr(text, '*'))
            return BAD(f, e, "'%.40s' is no name", text);
        return set_text(s, f, text, e);
    case ACCOUNT_NAMES:
    case ACCOUNT_NETWORKS:
    case ACCOUNT_ORIGINS:
    case ACCOUNT_LABELS:
        break;
    }
    r = read_list(f, list, shown, sizeof shown, e);
    return r ? r : set_text(s, f, shown, e);
}

/* ---- showing --------------------------------------------------------------------------------- */

static void show_time(int64_t s, char *ret, size_t cap)
{
    time_t t = (time_t)s;
    struct tm tm;

    gmtime_r(&t, &tm);
    strftime(ret, cap, s % 86400 ? "%Y-%m-%dT%H:%M:%SZ" : "%Y-%m-%d", &tm);
}

static void show_tiers(int64_t bits, char *ret, size_t cap)
{
    size_t n = 0;

    for (int t = 0; t < TIER_AUTO; t++) {
        if (bits >> t & 1)
            n += (size_t)snprintf(ret + n, cap - n, "%s%s", n ? "," : "", tier_name((enum tier)t));
    }
}

int account_field_show(const struct account_settings *s, const struct account_field *f,
                       char ret[ACCOUNT_TEXT_MAX])
{
    char amount[MONEY_TEXT_MAX], energy[WATTHOUR_TEXT_MAX];
    int64_t n;

    if (is_text(f)) {
        if (*text_of(s, f))
            snprintf(ret, ACCOUNT_TEXT_MAX, "%s", *text_of(s, f));
        return *text_of(s, f) != NULL;
    }
    n = *number_of(s, f);
    if (n < 0)
        return 0;
    if (f->type == ACCOUNT_MONEY)
        snprintf(ret, ACCOUNT_TEXT_MAX, "%s%s", money_show(n, amount), s->currency);
    else if (f->type == ACCOUNT_ENERGY)
        snprintf(ret, ACCOUNT_TEXT_MAX, "%sWh", watthour_show(n, energy));
    else if (f->type == ACCOUNT_TIME)
        show_time(n, ret, ACCOUNT_TEXT_MAX);
    else if (f->type == ACCOUNT_TIERS)
        show_tiers(n, ret, ACCOUNT_TEXT_MAX);
    else if (f->type == ACCOUNT_FLAG)
        snprintf(ret, ACCOUNT_TEXT_MAX, "%s", n ? "yes" : "no");
    else if (f->type == ACCOUNT_EXCEED)
        snprintf(ret, ACCOUNT_TEXT_MAX, "%s", exceed_name((enum exceed)n));
    else
        snprintf(ret, ACCOUNT_TEXT_MAX, "%lld", (long long)n);
    return 1;
}

/* ---- looking into lists ---------------------------------------------------------------------- */

int account_names_have(const char *list, const char *name)
{
    size_t n;

    for (const char *at = list; *at; at += n + (at[n] == ',')) {
        n = strcspn(at, ",");
        if (n && at[n - 1] == '*') {
            if (!strncmp(at, name, n - 1))
                return 1;
        } else if (strlen(name) == n && !strncmp(at, name, n)) {
            return 1;
        }
    }
    return 0;
}

int account_origins_have(const char *list, const char *origin)
{
    size_t n, m = strlen(origin);

    for (const char *at = list; *at; at += n + (at[n] == ',')) {
        n = strcspn(at, ",");
        if (n == m && !strncasecmp(at, origin, n))
            return 1;
    }
    return 0;
}

static int is_inside(const struct network *net, const unsigned char at[16])
{
    int whole = net->bits / 8, rest = net->bits % 8;

    return !memcmp(net->at, at, (size_t)whole) &&
           (!rest || (net->at[whole] ^ at[whole]) >> (8 - rest) == 0);
}

int account_networks_have(const char *list, const char *address)
{
    char text[ACCOUNT_TEXT_MAX];
    unsigned char from[16];
    struct network net;
    int is_4;

    if (!address_of(address, from, &is_4))
        return 0;
    snprintf(text, sizeof text, "%s", list);
    for (char *at = text, *one = next_of(&at); one; one = next_of(&at)) {
        if (network_of(one, &net) && is_inside(&net, from))
            return 1;
    }
    return 0;
}
