#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/plain.h"

#define LINE_MAX_BYTES 8192

static struct {
    enum log_level min;
    int json;
    int fd;              /* where lines go; of log_open on, one number for good */
    char path[PATH_MAX]; /* "": stderr */
} setup = {LOG_INFO, 0, STDERR_FILENO, ""};

static const char *const level_names[] = {"debug", "info", "warn", "error"};

struct line {
    char data[LINE_MAX_BYTES];
    size_t len;
    int full; /* something did not fit: later fields are left out */
};
#define LINE_RESERVE 8 /* closing quote, brace, newline */

/* Append n bytes, or nothing where they do not fit whole. */
static void put(struct line *l, const char *s, size_t n)
{
    if (l->full || n > sizeof l->data - LINE_RESERVE - l->len) {
        l->full = 1;
        return;
    }
    memcpy(l->data + l->len, s, n);
    l->len += n;
}

static void putf(struct line *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void putf(struct line *l, const char *fmt, ...)
{
    char tmp[128];
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(tmp, sizeof tmp, fmt, ap);
    va_end(ap);
    if (n > 0)
        put(l, tmp, (size_t)n < sizeof tmp ? (size_t)n : sizeof tmp - 1);
}

/* Append foreign text made plain (plain.h); with `quotes`, escaped so that it can stand between
 * quotes. In JSON every escape is one of JSON's, and a byte that is not text becomes U+FFFD. */
static void put_plain(struct line *l, const char *s, int quotes)
{
    size_t n = strlen(s), len;
    char out[PLAIN_UNIT];

    for (size_t i = 0; i < n && !l->full; i += len) {
        len = setup.json ? plain_json_unit(s + i, n - i, out) : plain_unit(s + i, n - i, out);
        if (quotes && (s[i] == '"' || s[i] == '\\'))
            putf(l, "\\%c", s[i]);
        else if (!out[0])
            put(l, s + i, len);
        else
            put(l, out, strlen(out));
    }
}

static void put_quoted(struct line *l, const char *s)
{
    put(l, "\"", 1);
    if (l->full)
        return;
    put_plain(l, s, 1);
    l->data[l->len++] = '"'; /* of the reserve, also where the value was cut */
}

static int is_plain(const char *s)
{
    if (!*s)
        return 0;
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (c <= ' ' || c == '"' || c == '=' || c == '\\' || c >= 0x7f)
            return 0;
    }
    return 1;
}

static void put_field(struct line *l, const struct log_field *f)
{
    size_t start = l->len, value;

    if (l->full)
        return;
    if (setup.json)
        putf(l, ",\"%s\":", f->key);
    else
        putf(l, " %s=", f->key);
    value = l->len;
    switch (f->kind) {
    case LOG_F_STR: {
        const char *s = f->s ? f->s : "";
        if (!setup.json && is_plain(s))
            put_plain(l, s, 0);
        else
            put_quoted(l, s);
        if (l->len > value)
            return; /* the line was written, whole or in part */
        break;
    }
    case LOG_F_INT:
        putf(l, "%lld", f->i);
        break;
    case LOG_F_REAL:
        if (isfinite(f->d))
            putf(l, "%.6g", f->d);
        else
            put(l, setup.json ? "null" : "nan", setup.json ? 4 : 3);
        break;
    }
    if (l->full)
        l->len = start;
}

void log_setup(enum log_level min, int json)
{
    setup.min = min;
    setup.json = json;
}

/* ---- where lines go -------------------------------------------------------------------------- */

/* A descriptor for writing to the end of the file, or a negative code. Nobody is waited for: a pipe
 * without a reader is refused. */
static int open_end(const char *path, struct err *e)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);
    struct stat st;

    if (fd < 0)
        return err_set(e, ERR_IO, "log file %s: %s", path, strerror(errno));
    if (!fstat(fd, &st) && (S_ISREG(st.st_mode) || S_ISCHR(st.st_mode)))
        return fd;
    close(fd);
    return err_set(e, ERR_ARG, "log file %s: is not a file", path);
}

/* The end is where the file ends at each write, also after others cut it. */
static void append_to_stderr(void)
{
    struct stat st;
    int flags = fcntl(STDERR_FILENO, F_GETFL);

    if (flags >= 0 && !fstat(STDERR_FILENO, &st) && S_ISREG(st.st_mode))
        fcntl(STDERR_FILENO, F_SETFL, flags | O_APPEND);
}

int log_open(const char *path, struct err *e)
{
    int fd;

    if (strlen(path) >= sizeof setup.path)
        return err_set(e, ERR_LIMIT, "log file: its path is too long");
    append_to_stderr(); /* talk still goes there */
    if (!*path)
        return 0;
    fd = open_end(path, e);
    if (fd < 0)
        return fd;
    memcpy(setup.path, path, strlen(path) + 1);
    setup.fd = fd;
    return 0;
}

int log_reopen(struct err *e)
{
    int fd = *setup.path ? open_end(setup.path, e) : 0, r = 0;

    if (fd < 0 || !*setup.path)
        return fd;
    /* The number stays, so a line on its way needs no lock. */
    if (dup3(fd, setup.fd, O_CLOEXEC) < 0)
        r = err_set(e, ERR_IO, "log file %s: %s", setup.path, strerror(errno));
    close(fd);
    return r;
}

int log_enabled(enum log_level level)
{
    return level >= setup.min && setup.min != LOG_OFF;
}

void log_fields(enum log_level level, const char *event, const struct log_field *f, int n)
{
    struct line l = {.len = 0};
    int64_t now = clock_wall_us();
    time_t sec = (time_t)(now / 1000000);
    struct tm tm;
    char stamp[40];
    ssize_t r;

    if (!log_enabled(level))
        return;
    gmtime_r(&sec, &tm);
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &tm);
    if (setup.json) {
        putf(&l, "{\"time\":\"%s.%03dZ\",\"level\":\"%s\",\"event\":", stamp,
             (int)(now / 1000 % 1000), level_names[level]);
        put_quoted(&l, event);
    } else {
        putf(&l, "%s.%03dZ %-5s ", stamp, (int)(now / 1000 % 1000), level_names[level]);
        put_plain(&l, event, 0);
    }
    for (int i = 0; i < n; i++)
        put_field(&l, &f[i]);
    if (setup.json)
        l.data[l.len++] = '}';
    l.data[l.len++] = '\n';
    r = write(setup.fd, l.data, l.len);
    (void)r;
}

void log_line(enum log_level level, const char *fmt, ...)
{
    char text[1024];
    va_list ap;

    if (!log_enabled(level))
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    log_fields(level, text, NULL, 0);
}
