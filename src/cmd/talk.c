/* Output that all commands have in common: failures, usage errors, sizes. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json_write.h"
#include "base/plain.h"
#include "cmd/cmd.h"

#define LINE_MAX_BYTES ((size_t)1 << 20)

/* prefix, what the format says, and a newline. */
static void say(FILE *f, const char *prefix, const char *fmt, va_list ap)
{
    struct buf raw, plain;

    buf_init(&raw, LINE_MAX_BYTES);
    buf_init(&plain, 4 * LINE_MAX_BYTES);
    buf_vaddf(&raw, fmt, ap);
    plain_put(&plain, raw.data ? raw.data : "", raw.len, PLAIN_LINE);
    fprintf(f, "%s%s\n", prefix, plain.data ? plain.data : "");
    buf_done(&raw);
    buf_done(&plain);
}

void cmd_line(FILE *f, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    say(f, "", fmt, ap);
    va_end(ap);
}

void cmd_text(const char *s, size_t n)
{
    struct buf plain;

    buf_init(&plain, 4 * n + 1);
    if (!plain_put(&plain, s, n, PLAIN_TEXT) && plain.len)
        fwrite(plain.data, 1, plain.len, stdout);
    buf_done(&plain);
}

void cmd_data(const char *s, size_t n)
{
    if (isatty(STDOUT_FILENO))
        cmd_text(s, n);
    else
        fwrite(s, 1, n, stdout);
}

json_t *cmd_json_text(const char *s, size_t n)
{
    json_t *j = json_stringn(s, n);
    struct buf b;

    if (j)
        return j;
    buf_init(&b, 3 * n + 2);
    json_put_text(&b, s, n);
    j = b.failed ? NULL : json_loadb(b.data, b.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    buf_done(&b);
    return j;
}

json_t *cmd_json_str(const char *s)
{
    return cmd_json_text(s, strlen(s));
}

static int dump_part(const char *s, size_t n, void *arg)
{
    return buf_add(arg, s, n);
}

int cmd_json(json_t *j, size_t flags)
{
    struct buf raw, plain;
    int r;

    buf_init(&raw, (size_t)1 << 30);
    buf_init(&plain, (size_t)1 << 31);
    r = j && !json_dump_callback(j, dump_part, &raw, flags) &&
                !plain_put(&plain, raw.data, raw.len, PLAIN_JSON) &&
                fwrite(plain.data, 1, plain.len, stdout) == plain.len
            ? 0
            : ERR_NOMEM;
    putchar('\n');
    buf_done(&raw);
    buf_done(&plain);
    json_decref(j);
    return r;
}

int cmd_fail(const struct cmd *c, const struct err *e)
{
    cmd_line(stderr, "gaufre %s: %s", c->name, e->text[0] ? e->text : err_text(e->code));
    return CMD_FAILED;
}

int cmd_usage(const struct cmd *c, const char *fmt, ...)
{
    char prefix[64];
    va_list ap;

    snprintf(prefix, sizeof prefix, "gaufre %s: ", c->name);
    va_start(ap, fmt);
    say(stderr, prefix, fmt, ap);
    va_end(ap);
    fprintf(stderr, "Try 'gaufre %s --help'.\n", c->name);
    return CMD_USAGE;
}

void cmd_note(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    say(stderr, "", fmt, ap);
    va_end(ap);
}

char *cmd_bytes(unsigned long long n, char *out, size_t cap)
{
    static const char *const unit[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double v = (double)n;
    size_t i = 0;

    while (v >= 1023.95 && i + 1 < sizeof unit / sizeof unit[0]) {
        v /= 1024;
        i++;
    }
    snprintf(out, cap, i ? "%.1f %s" : "%.0f %s", v, unit[i]);
    return out;
}
