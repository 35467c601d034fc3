#include "cmd/progress.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/plain.h"
#include "base/utf8.h"
#include "cmd/cmd.h"

static int terminal_width(void)
{
    struct winsize w;

    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col >= 20)
        return w.ws_col < 400 ? w.ws_col : 400;
    return 80;
}

static void amount(const struct progress *p, double n, char *out, size_t cap)
{
    if (p->unit == PROGRESS_BYTES)
        cmd_bytes(n > 0 ? (unsigned long long)n : 0, out, cap);
    else if (n < 10)
        snprintf(out, cap, "%.1f", n);
    else
        snprintf(out, cap, "%.0f", n);
}

static void duration(double s, char *out, size_t cap)
{
    if (s >= 360000)
        snprintf(out, cap, "--:--");
    else if (s >= 3600)
        snprintf(out, cap, "%d:%02d:%02d", (int)s / 3600, (int)s / 60 % 60, (int)s % 60);
    else
        snprintf(out, cap, "%02d:%02d", (int)s / 60, (int)s % 60);
}

void progress_text(const struct progress *p, int64_t elapsed_us, int width, char *out, int cap)
{
    char done[32], total[32], rate_text[32], eta[32] = "", tail[160], bar[64];
    double seconds = (double)elapsed_us / 1e6;
    double rate = seconds > 0.05 ? (double)(p->done - p->first) / seconds : 0;
    int n_bar, n_full, n_tail, n_label;
    double share = p->total ? (double)p->done / (double)p->total : 0;

    if (share > 1)
        share = 1;
    amount(p, rate, rate_text, sizeof rate_text);
    if (p->unit == PROGRESS_BYTES)
        cmd_bytes(p->done, done, sizeof done);
    else
        snprintf(done, sizeof done, "%llu", (unsigned long long)p->done);
    if (!p->total) {
        snprintf(out, (size_t)cap, "%.*s  %s  %s/s", width / 2, p->label, done, rate_text);
        return;
    }
    if (p->unit == PROGRESS_BYTES)
        cmd_bytes(p->total, total, sizeof total);
    else
        snprintf(total, sizeof total, "%llu", (unsigned long long)p->total);
    if (rate > 0 && p->done < p->total)
        duration((double)(p->total - p->done) / rate, eta, sizeof eta);
    else
        duration(seconds, eta, sizeof eta);
    n_tail = snprintf(tail, sizeof tail, "%3d%%  %s / %s  %s/s  %s", (int)(share * 100), done,
                      total, rate_text, eta);
    n_label = (int)strlen(p->label);
    n_bar = width - n_label - n_tail - 7;
    if (n_bar > 40)
        n_bar = 40;
    if (n_bar < 4) { /* narrow: no bar, and the label gives way first */
        n_label = width - n_tail - 3 > 4 ? width - n_tail - 3 : 4;
        snprintf(out, (size_t)cap, "%.*s  %s", n_label, p->label, tail);
        return;
    }
    n_full = (int)(share * n_bar);
    memset(bar, '#', (size_t)n_full);
    memset(bar + n_full, '.', (size_t)(n_bar - n_full));
    bar[n_bar] = 0;
    snprintf(out, (size_t)cap, "%s  [%s]  %s", p->label, bar, tail);
}

static void draw(struct progress *p, int64_t now)
{
    char text[512];
    int width = terminal_width(), shown;
    struct buf plain;

    progress_text(p, now - p->started_us, width - 1, text, (int)sizeof text);
    buf_init(&plain, 4096);
    plain_put(&plain, text, strlen(text), PLAIN_LINE);
    shown = (int)plain.len < width ? (int)plain.len : width - 1;
    shown -= (int)utf8_partial_tail(plain.data ? plain.data : "", (size_t)shown);
    fprintf(stderr, "\r%.*s\033[K", shown, plain.data ? plain.data : "");
    fflush(stderr);
    buf_done(&plain);
    p->drawn_us = now;
}

void progress_start(struct progress *p, const char *label, enum progress_unit unit, uint64_t total,
                    uint64_t first)
{
    *p = (struct progress){.label = label,
                           .unit = unit,
                           .total = total,
                           .first = first,
                           .done = first,
                           .started_us = clock_now_us(),
                           .quiet = !isatty(STDERR_FILENO)};
    if (!p->quiet)
        draw(p, p->started_us);
}

void progress_set(struct progress *p, uint64_t done)
{
    int64_t now;

    if (done < p->first) /* the transfer began anew */
        p->first = done;
    p->done = done;
    if (p->quiet)
        return;
    now = clock_now_us();
    if (now - p->drawn_us >= 100000)
        draw(p, now);
}

void progress_stop(struct progress *p, int clear)
{
    if (p->quiet)
        return;
    if (clear) {
        fputs("\r\033[K", stderr);
    } else {
        draw(p, clock_now_us());
        fputc('\n', stderr);
    }
    fflush(stderr);
    p->quiet = 1;
}
