#include "cmd/opt.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static int takes_value(const struct opt *o)
{
    return o->kind != OPT_KIND_FLAG;
}

static int parse_int(const char *s, int64_t *ret)
{
    char *end;

    errno = 0;
    *ret = strtoll(s, &end, 10);
    return *s && !*end && !errno ? 0 : ERR_ARG;
}

static int parse_size(const char *s, uint64_t *ret)
{
    static const char units[] = "KMGT";
    char *end;
    const char *unit;
    unsigned long long v;
    int shift = 0;

    if (*s < '0' || *s > '9')
        return ERR_ARG;
    errno = 0;
    v = strtoull(s, &end, 10);
    if (errno)
        return ERR_ARG;
    if (*end) {
        unit = strchr(units, *end & ~0x20);
        if (!unit)
            return ERR_ARG;
        shift = 10 * (int)(unit - units + 1);
        end++;
        if (end[0] == 'i' && end[1] == 'B')
            end += 2;
        else if (end[0] == 'B')
            end++;
    }
    if (*end || (shift && v >> (64 - shift)))
        return ERR_ARG;
    *ret = (uint64_t)v << shift;
    return 0;
}

/* 1 + index of `word` among the words of "a|b|c", or 0. */
static int choice_index(const char *words, const char *word)
{
    size_t n = strlen(word);

    for (int i = 1;; i++) {
        size_t len = strcspn(words, "|");
        if (len == n && !memcmp(words, word, n))
            return i;
        if (!words[len])
            return 0;
        words += len + 1;
    }
}

static int in_bounds(const struct opt *o, double v)
{
    return (o->min == 0 && o->max == 0) || (v >= o->min && v <= o->max);
}

static int wrong_number(const struct opt *o, const char *value, struct err *e)
{
    const char *what = o->kind == OPT_KIND_INT ? "a whole number" : "a number";
    int digits = o->kind == OPT_KIND_INT ? 19 : 15;

    if (o->min == 0 && o->max == 0)
        return err_set(e, ERR_ARG, "--%s wants %s, not '%s'", o->name, what, value);
    if (o->max >= 0x1p63)
        return err_set(e, ERR_ARG, "--%s wants %s from %.*g to %lld, not '%s'", o->name, what,
                       digits, o->min, (long long)INT64_MAX, value);
    return err_set(e, ERR_ARG, "--%s wants %s from %.*g to %.*g, not '%s'", o->name, what, digits,
                   o->min, digits, o->max, value);
}

int opt_int_is_word(int64_t v)
{
    return v == INT64_MIN;
}

int opt_real_is_word(double v)
{
    return isnan(v);
}

static int is_word(const struct opt *o, const char *value)
{
    return o->def && *o->def >= 'a' && *o->def <= 'z' && !strcmp(o->def, value);
}

static int set_value(const struct opt *o, void *out, const char *value, struct err *e)
{
    char *field = (char *)out + o->offset;
    struct opt_strs *strs;
    int64_t i;
    uint64_t u;
    double d;
    char *end;
    int index;

    switch (o->kind) {
    case OPT_KIND_FLAG:
        *(int *)(void *)field = 1;
        return 0;
    case OPT_KIND_INT:
        if (is_word(o, value))
            i = INT64_MIN;
        else if (parse_int(value, &i) || !in_bounds(o, (double)i))
            return wrong_number(o, value, e);
        *(int64_t *)(void *)field = i;
        return 0;
    case OPT_KIND_REAL:
        errno = 0;
        d = strtod(value, &end);
        if (is_word(o, value))
            d = NAN;
        else if (!*value || *end || errno || !isfinite(d) || !in_bounds(o, d))
            return wrong_number(o, value, e);
        *(double *)(void *)field = d;
        return 0;
    case OPT_KIND_SIZE:
        if (parse_size(value, &u))
            return err_set(e, ERR_ARG, "--%s wants bytes such as 4096, 512M or 2G, not '%s'",
                           o->name, value);
        *(uint64_t *)(void *)field = u;
        return 0;
    case OPT_KIND_STR:
    case OPT_KIND_FILE:
        *(const char **)(void *)field = value;
        return 0;
    case OPT_KIND_CHOICE:
        index = choice_index(o->arg, value);
        if (!index)
            return err_set(e, ERR_ARG, "--%s is one of %s, not '%s'", o->name, o->arg, value);
        *(int *)(void *)field = index;
        return 0;
    case OPT_KIND_STRS:
        strs = (struct opt_strs *)(void *)field;
        if (strs->n == OPT_STRS_MAX)
            return err_set(e, ERR_ARG, "--%s may be given %d times at most", o->name, OPT_STRS_MAX);
        strs->v[strs->n++] = value;
        return 0;
    case OPT_KIND_END:
        break;
    }
    return err_set(e, ERR_INTERNAL, "option table");
}

int opt_distance(const char *a, const char *b)
{
    enum { MAX = 64 };
    int row[3][MAX + 1]; /* two rows back, for swaps; one back; this one */
    size_t na = strlen(a), nb = strlen(b);
    int *two = row[0], *one = row[1], *cur = row[2], *t;

    if (na > MAX || nb > MAX)
        return MAX;
    for (size_t j = 0; j <= nb; j++)
        one[j] = (int)j;
    for (size_t i = 1; i <= na; i++) {
        cur[0] = (int)i;
        for (size_t j = 1; j <= nb; j++) {
            int best = one[j - 1] + (a[i - 1] != b[j - 1]);
            if (one[j] + 1 < best)
                best = one[j] + 1;
            if (cur[j - 1] + 1 < best)
                best = cur[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                two[j - 2] + 1 < best)
                best = two[j - 2] + 1;
            cur[j] = best;
        }
        t = two;
        two = one;
        one = cur;
        cur = t;
    }
    return one[nb];
}

static int unknown_long(const struct opt *table, const char *name, size_t n, struct err *e)
{
    char word[65];
    const char *near = NULL;
    int best = 3, d;

    snprintf(word, sizeof word, "%.*s", (int)(n < 64 ? n : 64), name);
    for (const struct opt *o = table; o && o->kind; o++) {
        d = opt_distance(word, o->name);
        if (d < best) {
            best = d;
            near = o->name;
        }
    }
    if (opt_distance(word, "help") < best)
        near = "help";
    if (near)
        return err_set(e, ERR_ARG, "unknown option --%s; did you mean --%s?", word, near);
    return err_set(e, ERR_ARG, "unknown option --%s", word);
}

static const struct opt *find_long(const struct opt *table, const char *name, size_t n)
{
    for (const struct opt *o = table; o && o->kind; o++) {
        if (strlen(o->name) == n && !memcmp(o->name, name, n))
            return o;
    }
    return NULL;
}

static const struct opt *find_letter(const struct opt *table, char letter)
{
    for (const struct opt *o = table; o && o->kind; o++) {
        if (o->letter && o->letter == letter)
            return o;
    }
    return NULL;
}

struct cursor {
    const struct opt *table;
    void *out;
    int argc, i; /* i: the argument at hand */
    char **argv;
};

static int parse_long(struct cursor *c, int *ret_help, struct err *e)
{
    const char *name = c->argv[c->i] + 2, *eq = strchr(name, '=');
    size_t n = eq ? (size_t)(eq - name) : strlen(name);
    const struct opt *o = find_long(c->table, name, n);

    if (!o && n == 4 && !memcmp(name, "help", 4)) {
        *ret_help = 1;
        return 0;
    }
    if (!o)
        return unknown_long(c->table, name, n, e);
    if (!takes_value(o)) {
        if (eq)
            return err_set(e, ERR_ARG, "--%s takes no value", o->name);
        return set_value(o, c->out, NULL, e);
    }
    if (eq)
        return set_value(o, c->out, eq + 1, e);
    if (c->i + 1 >= c->argc)
        return err_set(e, ERR_ARG, "--%s wants a value (%s)", o->name, o->arg);
    return set_value(o, c->out, c->argv[++c->i], e);
}

static int parse_short(struct cursor *c, int *ret_help, struct err *e)
{
    const char *s = c->argv[c->i] + 1;
    const struct opt *o;
    int r;

    for (; *s; s++) {
        o = find_letter(c->table, *s);
        if (!o && *s == 'h') {
            *ret_help = 1;
            return 0;
        }
        if (!o)
            return err_set(e, ERR_ARG, "unknown option -%c", *s);
        if (takes_value(o)) {
            if (s[1])
                return set_value(o, c->out, s + 1, e);
            if (c->i + 1 >= c->argc)
                return err_set(e, ERR_ARG, "-%c wants a value (%s)", o->letter, o->arg);
            return set_value(o, c->out, c->argv[++c->i], e);
        }
        r = set_value(o, c->out, NULL, e);
        if (r)
            return r;
    }
    return 0;
}

int opt_parse(const struct opt *table, void *out, int argc, char **argv, int *ret_n, int *ret_help,
              struct err *e)
{
    struct cursor c = {.table = table, .out = out, .argc = argc, .i = 1, .argv = argv};
    int n = 0, help = 0, ended = 0, r;

    for (const struct opt *o = table; o && o->kind; o++) {
        if (o->def) {
            r = set_value(o, out, o->def, e);
            if (r)
                return r;
        }
    }
    for (; c.i < argc && !help; c.i++) {
        const char *arg = argv[c.i];
        r = 0;
        if (ended || arg[0] != '-' || !arg[1])
            argv[n++] = argv[c.i];
        else if (arg[1] != '-')
            r = parse_short(&c, &help, e);
        else if (!arg[2])
            ended = 1;
        else
            r = parse_long(&c, &help, e);
        if (r)
            return r;
    }
    *ret_n = n;
    *ret_help = help;
    return 0;
}

int opt_int_list(const char *text, const char *what, int64_t min, int64_t max, int64_t *out,
                 int cap, int *ret_n, struct err *e)
{
    int n = 0;
    const char *s = text;
    char *end;

    for (;;) {
        errno = 0;
        long long v = strtoll(s, &end, 10);
        if (end == s || errno || v < min || v > max || (*end && *end != ','))
            return err_set(e, ERR_ARG,
                           "%s wants whole numbers from %lld to %lld with commas between, not '%s'",
                           what, (long long)min, (long long)max, text);
        if (n == cap)
            return err_set(e, ERR_ARG, "%s takes %d numbers at most", what, cap);
        out[n++] = v;
        if (!*end)
            break;
        s = end + 1;
    }
    *ret_n = n;
    return 0;
}

enum { HELP_COLUMN = 30, HELP_WIDTH = 80 };

/* Words from HELP_COLUMN on, the cursor being there. */
static void print_wrapped(FILE *f, const char *text)
{
    int at = HELP_COLUMN;

    while (*text) {
        int n = (int)strcspn(text, " ");
        if (at > HELP_COLUMN && at + 1 + n > HELP_WIDTH) {
            fprintf(f, "\n%*s", HELP_COLUMN, "");
            at = HELP_COLUMN;
        } else if (at > HELP_COLUMN) {
            fputc(' ', f);
            at++;
        }
        fprintf(f, "%.*s", n, text);
        at += n;
        text += n;
        text += strspn(text, " ");
    }
    fputc('\n', f);
}

static void help_line(FILE *f, char letter, const char *name, const char *arg, const char *help,
                      const char *def)
{
    char left[128], text[512];
    int n;

    n = snprintf(left, sizeof left, "  %c%c%c --%s%s%s", letter ? '-' : ' ', letter ? letter : ' ',
                 letter ? ',' : ' ', name, arg ? " " : "", arg ? arg : "");
    if (n < HELP_COLUMN - 1)
        fprintf(f, "%-*s", HELP_COLUMN, left);
    else
        fprintf(f, "%s\n%*s", left, HELP_COLUMN, "");
    if (def)
        snprintf(text, sizeof text, "%s (default: %s)", help, def);
    else
        snprintf(text, sizeof text, "%s", help);
    print_wrapped(f, text);
}

void opt_help(const struct opt *table, FILE *f)
{
    for (const struct opt *o = table; o && o->kind; o++)
        help_line(f, o->letter, o->name, o->arg, o->help, o->def);
    help_line(f, find_letter(table, 'h') ? 0 : 'h', "help", NULL, "print this help", NULL);
}
