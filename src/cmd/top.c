/* gaufre top: a server at work, in a terminal, by its admin API. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/plain.h"
#include "cmd/admin_ask.h"
#include "cmd/cmd.h"
#include "cmd/top_frame.h"

#define SCREEN_MAX 4096 /* characters and lines of it that are used */

struct top_opts {
    struct admin_server at;
    double every;
    int once, json;
};

static const struct opt opts[] = {
    ADMIN_OPTS(top_opts, at, ""),
    OPT_REAL('d', "delay", "SECONDS", "1", 0.1, 3600, top_opts, every, "between two looks"),
    OPT_FLAG(0, "once", top_opts, once, "look once, and end"),
    OPT_FLAG(0, "json", top_opts, json, "the overview as JSON, a line each"),
    OPT_END,
};

static int ask(const struct top_opts *o, json_t **ret, struct err *e)
{
    return admin_ask(&o->at, NULL, "/admin/v1/overview", NULL, ret, e);
}

/* ---- the terminal ---------------------------------------------------------------------------- */

static volatile sig_atomic_t is_stopped, is_resized;
static struct termios before;
static int is_raw;

static void on_stop(int sig)
{
    is_stopped = 1;
}

static void on_resize(int sig)
{
    is_resized = 1;
}

static int write_all(const char *s, size_t n)
{
    while (n) {
        ssize_t k = write(STDOUT_FILENO, s, n);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return -1;
        s += k;
        n -= (size_t)k;
    }
    return 0;
}

/* A screen of its own, without a cursor; keys come at once and are not shown. */
static void terminal_begin(void)
{
    static const char begin[] = "\x1b[?1049h\x1b[?25l\x1b[2J";
    struct sigaction stop = {.sa_handler = on_stop}, resize = {.sa_handler = on_resize};
    struct termios t;

    sigaction(SIGINT, &stop, NULL);
    sigaction(SIGTERM, &stop, NULL);
    sigaction(SIGHUP, &stop, NULL);
    sigaction(SIGWINCH, &resize, NULL);
    is_raw = !tcgetattr(STDIN_FILENO, &before);
    if (is_raw) {
        t = before;
        t.c_lflag &= (tcflag_t) ~(ICANON | ECHO);
        tcsetattr(STDIN_FILENO, TCSANOW, &t);
    }
    write_all(begin, sizeof begin - 1);
}

static void terminal_end(void)
{
    static const char end[] = "\x1b[?25h\x1b[?1049l";

    write_all(end, sizeof end - 1);
    if (is_raw)
        tcsetattr(STDIN_FILENO, TCSANOW, &before);
}

static void terminal_size(int *ret_columns, int *ret_lines)
{
    struct winsize w = {0};

    ioctl(STDOUT_FILENO, TIOCGWINSZ, &w);
    *ret_columns = w.ws_col > 0 && w.ws_col < SCREEN_MAX ? w.ws_col : 80;
    *ret_lines = w.ws_row > 1 && w.ws_row < SCREEN_MAX ? w.ws_row : 24;
}

/* The frame over the one before, in one write: each line ends by clearing its rest, so nothing
 * flickers. `trouble`: why there is nothing newer. */
static int draw(const json_t *overview, const char *trouble)
{
    struct buf frame, screen;
    const char *at, *end;
    int n_columns, n_lines, r;

    terminal_size(&n_columns, &n_lines);
    buf_init(&frame, TOP_FRAME_MAX);
    buf_init(&screen, 2 * TOP_FRAME_MAX);
    if (overview)
        top_frame(overview, n_columns, n_lines - 1, &frame);
    buf_add_str(&screen, "\x1b[H");
    for (at = frame.data; at && *at; at = end + 1) {
        end = strchr(at, '\n');
        buf_add(&screen, at, (size_t)(end - at));
        buf_add_str(&screen, "\x1b[K\r\n");
    }
    buf_add_str(&screen, "\x1b[J\x1b[7m");
    if (trouble)
        plain_put(&screen, trouble, strnlen(trouble, (size_t)n_columns - 1), PLAIN_LINE);
    else
        buf_add_str(&screen, "q: end   r: look now");
    buf_add_str(&screen, "\x1b[0m\x1b[K");
    r = screen.failed || write_all(screen.data, screen.len) ? -1 : 0;
    buf_done(&frame);
    buf_done(&screen);
    return r;
}

/* Wait for so long, for a key, or until the window has another size. 'q', 'r', or 0. */
static int wait_key(int64_t us)
{
    struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
    char c = 0;

    if (!is_raw) {
        clock_sleep_us(us);
        return 0;
    }
    if (poll(&p, 1, (int)(us / 1000)) <= 0)
        return 0;
    if (read(STDIN_FILENO, &c, 1) <= 0)
        return 'q';
    return c == 'q' || c == 'Q' || c == 3 ? 'q' : 'r';
}

static int watch(const struct top_opts *o, struct err *e)
{
    json_t *now = NULL, *next;
    char trouble[sizeof e->text + 16];
    int r = ask(o, &now, e), key = 0;

    if (r) /* before there is a screen, so that it stays to be read */
        return r;
    terminal_begin();
    while (!is_stopped && key != 'q') {
        snprintf(trouble, sizeof trouble, "NOT LIVE: %s", e->text);
        if (draw(now, r ? trouble : NULL))
            break;
        is_resized = 0;
        key = wait_key((int64_t)(o->every * 1e6));
        if (is_stopped || key == 'q' || is_resized)
            continue;
        next = NULL;
        r = ask(o, &next, e);
        if (!r) {
            json_decref(now);
            now = next;
        }
    }
    terminal_end();
    json_decref(now);
    return 0;
}

/* Without a terminal: frames or JSON, one after the other. */
static int print(const struct top_opts *o, struct err *e)
{
    int r;

    do {
        json_t *j = NULL;
        struct buf frame;
        r = ask(o, &j, e);
        if (r)
            return r;
        if (o->json) {
            r = cmd_json(j, JSON_COMPACT | JSON_REAL_PRECISION(12));
        } else {
            buf_init(&frame, TOP_FRAME_MAX);
            r = top_frame(j, 0, 0, &frame);
            fwrite(frame.data, 1, frame.len, stdout);
            buf_done(&frame);
            json_decref(j);
        }
        if (r || fflush(stdout))
            return r ? r : err_set(e, ERR_IO, "cannot write: %s", strerror(errno));
        if (!o->once)
            clock_sleep_us((int64_t)(o->every * 1e6));
    } while (!o->once);
    return 0;
}

static int run(const struct cmd *cmd, void *opts_, int argc, char **argv)
{
    const struct top_opts *o = opts_;
    struct err e = {0};
    int is_plain = o->once || o->json || !isatty(STDOUT_FILENO);
    int r = is_plain ? print(o, &e) : watch(o, &e);

    return r ? cmd_fail(cmd, &e) : CMD_OK;
}

const struct cmd cmd_top = {
    .name = "top",
    .help = "Watch a server at work, in a terminal",
    .about =
        "What operators see: tokens a second, the queue by tier, models, suppliers with their\n"
        "breakers, tenants with their spending, requests. The key is one for the admin API; one\n"
        "that may only look does:\n\n"
        "  export GAUFRE_ADMIN_KEY=$(gaufre key new top --admin yes --read-only yes)\n"
        "  gaufre top",
    .opts = opts,
    .opts_size = sizeof(struct top_opts),
    .n_args_min = 0,
    .n_args_max = 0,
    .run = run,
};
