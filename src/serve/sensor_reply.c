#include "serve/sensor_reply.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/day.h"
#include "base/json_path.h"

#define WORD_MAX   128
#define NUMBER_MAX 1e12 /* before its unit is applied */
#define WALL_MAX   4e9  /* unix seconds, or the reading is of no time that people live in */

/* ---- units ----------------------------------------------------------------------------------- */

static const struct unit {
    const char *of; /* the quantity's unit that it can be turned into */
    double times, plus;
} units[] = {
    [SENSOR_OWN] = {NULL, 1, 0},           [SENSOR_C] = {"C", 1, 0},
    [SENSOR_F] = {"C", 5. / 9, -160. / 9}, [SENSOR_K] = {"C", 1, -273.15},
    [SENSOR_PERCENT] = {"%", 1, 0},        [SENSOR_RATIO] = {"%", 100, 0},
    [SENSOR_W] = {"kW", .001, 0},          [SENSOR_KW] = {"kW", 1, 0},
    [SENSOR_MW] = {"kW", 1000, 0},         [SENSOR_WH] = {"kWh", .001, 0},
    [SENSOR_KWH] = {"kWh", 1, 0},          [SENSOR_MWH] = {"kWh", 1000, 0},
};

/* As services and tools write them. */
static const struct {
    const char *word;
    enum sensor_unit unit;
} words[] = {
    {"C", SENSOR_C},         {"Cel", SENSOR_C},       {"Celsius", SENSOR_C},
    {"degrees C", SENSOR_C}, {"\302\260C", SENSOR_C}, {"F", SENSOR_F},
    {"[degF]", SENSOR_F},    {"degrees F", SENSOR_F}, {"\302\260F", SENSOR_F},
    {"K", SENSOR_K},         {"%", SENSOR_PERCENT},   {"percent", SENSOR_PERCENT},
    {"W", SENSOR_W},         {"Watts", SENSOR_W},     {"kW", SENSOR_KW},
    {"MW", SENSOR_MW},       {"Wh", SENSOR_WH},       {"kWh", SENSOR_KWH},
    {"kW.h", SENSOR_KWH},    {"MWh", SENSOR_MWH},
};

int sensor_unit_fits(enum envelope_quantity q, enum sensor_unit u)
{
    CHECK((unsigned)u < ARRAY_LEN(units));
    return u == SENSOR_OWN || !strcmp(units[u].of, envelope_kind(q)->unit);
}

/* The unit that an answer names, where none is configured. */
static int unit_told(const struct sensor_want *w, const char *word, enum sensor_unit *ret,
                     struct err *e)
{
    *ret = w->unit;
    if (!*word || w->unit != SENSOR_OWN)
        return 0;
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (!strcmp(words[i].word, word) && sensor_unit_fits(w->quantity, words[i].unit)) {
            *ret = words[i].unit;
            return 0;
        }
    }
    return err_set(e, ERR_FORMAT, "its unit is '%.40s', which is none of %s: 'unit' can say it",
                   word, envelope_kind(w->quantity)->name);
}

static int convert(double x, enum sensor_unit u, int64_t *ret, struct err *e)
{
    if (!isfinite(x) || fabs(x) > NUMBER_MAX)
        return err_set(e, ERR_FORMAT, "%g is no reading", x);
    *ret = llround((x * units[u].times + units[u].plus) * 1000);
    return 0;
}

/* ---- switches -------------------------------------------------------------------------------- */

/* Does one of the words stand in the text, between blanks? */
static int stands_in(const char *text, const struct sensor_want *w)
{
    for (size_t n; *text; text += n) {
        text += strspn(text, " \t");
        n = strcspn(text, " \t");
        for (int i = 0; n && i < w->n_when; i++) {
            if (strlen(w->when[i]) == n && !memcmp(w->when[i], text, n))
                return 1;
        }
    }
    return 0;
}

static int switch_of(const char *text, const struct sensor_want *w, int64_t *ret, struct err *e)
{
    static const char *const off[] = {"0", "false"}, *const on[] = {"1", "true"};

    if (!text[strspn(text, " \t")])
        return err_set(e, ERR_FORMAT, "it says nothing");
    if (w->n_when) {
        *ret = stands_in(text, w) ? 1000 : 0;
        return 0;
    }
    for (int i = 0; i < 2; i++) {
        if (!strcmp(text, off[i]) || !strcmp(text, on[i])) {
            *ret = strcmp(text, on[i]) ? 0 : 1000;
            return 0;
        }
    }
    return err_set(e, ERR_FORMAT, "'%.40s' is not 0 or 1: 'when' names the words that mean 1",
                   text);
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static int parse(json_t **ret, const char *text, size_t n, struct err *e)
{
    if (n > SENSOR_REPLY_MAX)
        return err_set(e, ERR_TOO_LARGE, "an answer of more than %zu bytes", SENSOR_REPLY_MAX);
    return json_parse(ret, text, n, 0, e);
}

static int switch_json(const json_t *v, const struct sensor_want *w, int64_t *ret, struct err *e)
{
    char text[32];

    if (json_is_string(v))
        return switch_of(json_string_value(v), w, ret, e);
    if (json_is_boolean(v))
        return switch_of(json_is_true(v) ? "true" : "false", w, ret, e);
    if (!json_is_number(v))
        return err_set(e, ERR_FORMAT, "%.100s is no switch", *w->path ? w->path : "the answer");
    snprintf(text, sizeof text, "%.10g", json_number_value(v));
    return switch_of(text, w, ret, e);
}

static int value_json(const json_t *root, const struct sensor_want *w, enum sensor_unit u,
                      int64_t *ret, struct err *e)
{
    const json_t *v = json_path_find(root, w->path);
    double x;

    if (!v)
        return err_set(e, ERR_NOTFOUND, "the answer has nothing at '%.100s'", w->path);
    if (envelope_kind(w->quantity)->is_switch)
        return switch_json(v, w, ret, e);
    if (!json_path_number(v, &x))
        return err_set(e, ERR_FORMAT, "%.100s is no number", *w->path ? w->path : "the answer");
    return convert(x, u, ret, e);
}

/* Unix seconds, or 2026-12-01T18:00:00Z. */
static int time_json(const json_t *root, const struct sensor_want *w, int64_t *ret, struct err *e)
{
    const json_t *v = w->time_path ? json_path_find(root, w->time_path) : NULL;
    double x;

    *ret = -1;
    if (!w->time_path)
        return 0;
    if (json_is_string(v) && !day_read_moment(json_string_value(v), NULL, ret))
        return 0;
    if (!json_path_number(v, &x) || !(x >= 0 && x < WALL_MAX))
        return err_set(e, ERR_FORMAT, "%.100s is no time: unix seconds, or as 2026-12-01T18:00:00Z",
                       w->time_path);
    *ret = (int64_t)x;
    return 0;
}

int sensor_reply_json(const char *text, size_t n, const struct sensor_want *w,
                      struct sensor_reading *ret, struct err *e)
{
    struct sensor_reading v = {.told = ENVELOPE_FREE};
    json_t *root = NULL;
    int r = parse(&root, text, n, e);

    if (!r)
        r = value_json(root, w, w->unit, &v.value, e);
    if (!r)
        r = time_json(root, w, &v.wall_s, e);
    if (!r)
        *ret = v;
    json_decref(root);
    return r;
}

/* A limit; null or missing: there is none. */
static int threshold(const json_t *root, const char *name, enum sensor_unit u, int64_t *ret,
                     struct err *e)
{
    const json_t *v = json_object_get(json_object_get(root, "Thresholds"), name);
    double x;

    v = json_object_get(v, "Reading");
    if (!v || json_is_null(v))
        return 0;
    if (!json_path_number(v, &x))
        return err_set(e, ERR_FORMAT, "its threshold %s is no number", name);
    return convert(x, u, ret, e);
}

static int thresholds(const json_t *root, const struct sensor_want *w, enum sensor_unit u,
                      struct envelope_range *r, struct err *e)
{
    const char *fault;

    if (threshold(root, "LowerCritical", u, &r->low_allowed, e) ||
        threshold(root, "LowerCaution", u, &r->low, e) ||
        threshold(root, "UpperCaution", u, &r->high, e) ||
        threshold(root, "UpperCritical", u, &r->high_allowed, e))
        return e->code;
    fault = envelope_range_fault(w->quantity, r);
    return fault ? err_set(e, ERR_FORMAT, "its thresholds: %s", fault) : 0;
}

static int read_redfish(const json_t *root, const struct sensor_want *w, struct sensor_reading *v,
                        struct err *e)
{
    const char *state = json_string_value(json_path_find(root, "Status.State"));
    const char *told = json_string_value(json_object_get(root, "ReadingUnits"));
    int is_sensor = json_object_get(root, "Reading") != NULL, r;
    struct sensor_want want = *w;
    enum sensor_unit u;

    if (!*want.path)
        want.path = "Reading";
    if (state && strcmp(state, "Enabled"))
        return err_set(e, ERR_FORMAT, "it is not in service: its state is %.40s", state);
    r = unit_told(w, is_sensor && told ? told : "", &u, e);
    if (!r)
        r = value_json(root, &want, u, &v->value, e);
    if (!r)
        r = time_json(root, w, &v->wall_s, e);
    return !r && is_sensor ? thresholds(root, w, u, &v->told, e) : r;
}

int sensor_reply_redfish(const char *text, size_t n, const struct sensor_want *w,
                         struct sensor_reading *ret, struct err *e)
{
    struct sensor_reading v = {.told = ENVELOPE_FREE};
    json_t *root = NULL;
    int r = parse(&root, text, n, e);

    if (!r)
        r = read_redfish(root, w, &v, e);
    if (!r)
        *ret = v;
    json_decref(root);
    return r;
}

/* ---- lines ----------------------------------------------------------------------------------- */

/* Without blanks around it; 0: it does not fit. */
static int trimmed(const char *s, size_t n, char out[WORD_MAX])
{
    for (; n && isspace((unsigned char)*s); n--)
        s++;
    while (n && isspace((unsigned char)s[n - 1]))
        n--;
    if (n >= WORD_MAX || memchr(s, 0, n))
        return 0;
    memcpy(out, s, n);
    out[n] = 0;
    return 1;
}

/* What stands behind the name in this line; 0: it is another's. */
static int behind(const char *line, size_t n, const char *name, char out[WORD_MAX])
{
    char head[WORD_MAX];
    size_t k = 0;

    if (!*name)
        return trimmed(line, n, out) && *out;
    while (k < n && !strchr(":=|,", line[k]))
        k++;
    if (k == n || !line[k] || !trimmed(line, k, head) || strcmp(head, name))
        return 0;
    line += k + 1;
    n -= k + 1;
    for (k = 0; k < n && line[k] != '|' && line[k] != ','; k++)
        ;
    if (k + 1 < n && line[k] == ',') { /* its unit is in the next column: "23,degrees C,ok" */
        char unit[WORD_MAX], value[WORD_MAX];
        const char *end = memchr(line + k + 1, ',', n - k - 1);
        if (end && trimmed(line, k, value) &&
            trimmed(line + k + 1, (size_t)(end - line) - k - 1, unit))
            return snprintf(out, WORD_MAX, "%s %s", value, unit) < WORD_MAX;
    }
    return trimmed(line, k, out);
}

static int value_line(const char *text, const struct sensor_want *w, int64_t *ret, struct err *e)
{
    enum sensor_unit u;
    char *end;
    double x;

    if (envelope_kind(w->quantity)->is_switch)
        return switch_of(text, w, ret, e);
    x = strtod(text, &end);
    if (end == text || !strchr("+-.0123456789", *text))
        return err_set(e, ERR_FORMAT, "'%.40s' is no number", text);
    end += strspn(end, " \t");
    if (unit_told(w, end, &u, e))
        return e->code;
    return convert(x, u, ret, e);
}

int sensor_reply_lines(const char *text, size_t n, const struct sensor_want *w,
                       struct sensor_reading *ret, struct err *e)
{
    struct sensor_reading v = {.wall_s = -1, .told = ENVELOPE_FREE};
    char word[WORD_MAX];

    if (n > SENSOR_REPLY_MAX)
        return err_set(e, ERR_TOO_LARGE, "an answer of more than %zu bytes", SENSOR_REPLY_MAX);
    while (n) {
        const char *end = memchr(text, '\n', n);
        size_t line = end ? (size_t)(end - text) : n;
        if (behind(text, line, w->path, word)) {
            if (value_line(word, w, &v.value, e))
                return e->code;
            *ret = v;
            return 0;
        }
        line += end != NULL;
        text += line;
        n -= line;
    }
    return *w->path ? err_set(e, ERR_NOTFOUND, "no line begins with '%.100s'", w->path)
                    : err_set(e, ERR_NOTFOUND, "it says nothing");
}
