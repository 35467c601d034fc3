#define PCRE2_CODE_UNIT_WIDTH 8
#include "console/redact.h"

#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

#define MATCH_LIMIT   100000
#define TEXT_PART_MAX ((size_t)64 << 10) /* looked at together: then work is linear in a text */

static const struct rule {
    const char *name, *pattern;
} rules_known[] = {
    {"email", "[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\\.[A-Za-z0-9-]{1,63}){1,8}"},
    {"iban", "\\b[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\\b"},
    {"phone", "(?<![0-9A-Za-z])(?:\\+|00)[1-9][0-9]{0,2}(?:[ ./()-]{0,2}[0-9]){6,12}(?![0-9])"},
    {"card", "(?<![0-9])[0-9](?:[ -]?[0-9]){12,18}(?![0-9])"},
    {"secret", "\\b(?:sk|pk|rk|gf|csk|ghp|gho|xox[abps]|whsec|AKIA|ASIA|eyJ)[-_A-Za-z0-9]{12,512}"
               "(?:\\.[-_A-Za-z0-9]{8,512}){0,2}"},
};

struct one {
    const char *name; /* NULL: a pattern of the configuration */
    pcre2_code *code;
};

struct redact {
    struct one one[REDACT_PATTERNS_MAX];
    int n;
    pcre2_match_data *data;
    pcre2_match_context *context;
};

static int add(struct redact *r, const char *name, const char *pattern, struct err *e)
{
    PCRE2_UCHAR why[120];
    PCRE2_SIZE at = 0;
    int code = 0;
    pcre2_code *c;

    if (r->n == REDACT_PATTERNS_MAX)
        return err_set(e, ERR_LIMIT, "more than %d rules of redaction", REDACT_PATTERNS_MAX);
    c = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, PCRE2_UTF, &code, &at, NULL);
    if (!c) {
        pcre2_get_error_message(code, why, sizeof why);
        return err_set(e, ERR_ARG, "'%.60s' is no rule, and no regular expression: %s at %zu",
                       pattern, (const char *)why, (size_t)at);
    }
    pcre2_jit_compile(c, PCRE2_JIT_COMPLETE); /* without, the same matches, slower */
    r->one[r->n++] = (struct one){name, c};
    return 0;
}

static int add_rule(struct redact *r, const char *rule, struct err *e)
{
    for (size_t i = 0; i < ARRAY_LEN(rules_known); i++) {
        if (!strcmp(rules_known[i].name, rule))
            return add(r, rules_known[i].name, rules_known[i].pattern, e);
    }
    return add(r, NULL, rule, e);
}

int redact_new(struct redact **ret, const char *const *rules, int n, struct err *e)
{
    struct redact *r = calloc(1, sizeof *r);
    int code = 0;

    if (!r || !(r->data = pcre2_match_data_create(1, NULL)) ||
        !(r->context = pcre2_match_context_create(NULL)))
        code = err_set(e, ERR_NOMEM, "redaction: out of memory");
    else
        pcre2_set_match_limit(r->context, MATCH_LIMIT);
    for (int i = 0; !code && i < n; i++)
        code = add_rule(r, rules[i], e);
    for (size_t i = 0; !code && !n && i < ARRAY_LEN(rules_known); i++)
        code = add(r, rules_known[i].name, rules_known[i].pattern, e);
    if (code)
        redact_free(r);
    else
        *ret = r;
    return code;
}

void redact_free(struct redact *r)
{
    if (!r)
        return;
    for (int i = 0; i < r->n; i++)
        pcre2_code_free(r->one[i].code);
    pcre2_match_data_free(r->data);
    pcre2_match_context_free(r->context);
    free(r);
}

/* One rule over a text: 0; 1: it gave up. */
static int apply(struct redact *r, const struct one *o, const char *s, size_t n, struct buf *out)
{
    const PCRE2_SIZE *at = pcre2_get_ovector_pointer(r->data);
    size_t done = 0, from = 0;

    while (from <= n) {
        int m =
            pcre2_match(o->code, (PCRE2_SPTR)s, n, from, PCRE2_NO_UTF_CHECK, r->data, r->context);
        if (m == PCRE2_ERROR_NOMATCH)
            break;
        if (m < 0)
            return 1;
        if (at[1] <= at[0]) /* it finds nothing at all, and would for ever */
            break;
        buf_add(out, s + done, at[0] - done);
        if (o->name)
            buf_addf(out, "[%s]", o->name);
        else
            buf_add_str(out, "[redacted]");
        done = from = at[1];
    }
    buf_add(out, s + done, n - done);
    return 0;
}

int redact_text(struct redact *r, const char *s, size_t n, struct buf *out)
{
    struct buf a, b, *in = &a, *to = &b, *t;
    int gave_up = n > TEXT_PART_MAX;

    buf_init(&a, 4 * TEXT_PART_MAX);
    buf_init(&b, 4 * TEXT_PART_MAX);
    if (!gave_up)
        buf_add(in, s, n);
    for (int i = 0; i < r->n && !gave_up; i++) {
        buf_clear(to);
        gave_up = apply(r, &r->one[i], in->data ? in->data : "", in->len, to);
        t = in;
        in = to;
        to = t;
    }
    if (gave_up || in->failed)
        buf_add_str(out, "[redacted]");
    else
        buf_add(out, in->data ? in->data : "", in->len);
    buf_done(&a);
    buf_done(&b);
    return out->failed;
}
