/* What every command says the same way: failures, usage, sizes. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cmd/cmd.h"

int cmd_fail(const struct cmd *c, const struct err *e)
{
    fprintf(stderr, "gaufre %s: %s\n", c->name, e->text[0] ? e->text : err_text(e->code));
    return CMD_FAILED;
}

int cmd_usage(const struct cmd *c, const char *fmt, ...)
{
    va_list ap;

    fprintf(stderr, "gaufre %s: ", c->name);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fprintf(stderr, "\nTry 'gaufre %s --help'.\n", c->name);
    return CMD_USAGE;
}

void cmd_note(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
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
