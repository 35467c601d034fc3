#include "serve/command.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

#define LOOK_MS  100
#define HOME_MAX 4096
#define SAID_MAX 160 /* of what it complains about */

struct running {
    pid_t pid;
    int out, err; /* what it writes; -1: it has closed that */
    char said[SAID_MAX];
    size_t n_said;
};

static void shut(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* ---- begin ----------------------------------------------------------------------------------- */

static int spawn(const struct command *c, int out, int err, pid_t *ret)
{
    char path[HOME_MAX], home[HOME_MAX], more[HOME_MAX], locale[] = "LC_ALL=C";
    char *const environment[] = {path, home, locale, c->variable ? more : NULL, NULL};
    posix_spawn_file_actions_t a;
    posix_spawnattr_t attr;
    sigset_t none;
    int r;

    snprintf(path, sizeof path, "PATH=%s", getenv("PATH") ? getenv("PATH") : "/usr/bin:/bin");
    snprintf(more, sizeof more, "%s", c->variable ? c->variable : "");
    snprintf(home, sizeof home, "HOME=%s", getenv("HOME") ? getenv("HOME") : "/");
    if (posix_spawn_file_actions_init(&a))
        return ENOMEM;
    if (posix_spawnattr_init(&attr)) {
        posix_spawn_file_actions_destroy(&a);
        return ENOMEM;
    }
    sigemptyset(&none);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setpgroup(&attr, 0);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
    r = posix_spawn_file_actions_addopen(&a, 0, "/dev/null", O_RDONLY, 0);
    if (!r)
        r = posix_spawn_file_actions_adddup2(&a, out, 1);
    if (!r)
        r = posix_spawn_file_actions_adddup2(&a, err, 2);
    if (!r)
        r = posix_spawn_file_actions_addclosefrom_np(&a, 3);
    if (!r)
        r = posix_spawnp(ret, c->argv[0], &a, &attr, (char *const *)c->argv, environment);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&a);
    return r;
}

static int begin(struct running *p, const struct command *c, struct err *e)
{
    int out[2] = {-1, -1}, err[2] = {-1, -1}, r = 0;

    if (pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC))
        r = errno;
    if (!r)
        r = spawn(c, out[1], err[1], &p->pid);
    shut(&out[1]);
    shut(&err[1]);
    if (r) {
        shut(&out[0]);
        shut(&err[0]);
        return err_set(e, ERR_IO, "%.100s: %s", c->argv[0], strerror(r));
    }
    p->out = out[0];
    p->err = err[0];
    return 0;
}

/* ---- listen ---------------------------------------------------------------------------------- */

static int take_output(struct running *p, struct buf *out, struct err *e)
{
    char piece[4096];
    ssize_t n = read(p->out, piece, sizeof piece);

    if (n <= 0)
        shut(&p->out);
    else if (buf_add(out, piece, (size_t)n))
        return err_set(e, ERR_TOO_LARGE, "it says more than %zu bytes", out->max);
    return 0;
}

/* The first that it complains about; what is more is dropped. */
static void take_complaint(struct running *p)
{
    char piece[SAID_MAX];
    ssize_t n = read(p->err, piece, sizeof piece);
    size_t room = SAID_MAX - 1 - p->n_said;

    if (n <= 0) {
        shut(&p->err);
        return;
    }
    if ((size_t)n < room)
        room = (size_t)n;
    memcpy(p->said + p->n_said, piece, room);
    p->n_said += room;
}

/* Until it has closed its output. */
static int listen_to(struct running *p, const struct command *c, int64_t until_us, struct buf *out,
                     struct err *e)
{
    while (p->out >= 0 || p->err >= 0) {
        struct pollfd fd[2] = {{p->out, POLLIN, 0}, {p->err, POLLIN, 0}};
        if (c->is_over(c->ctx))
            return err_set(e, ERR_CANCELLED, "cancelled");
        if (clock_now_us() >= until_us)
            return err_set(e, ERR_TIMEOUT, "it has not ended in time");
        if (poll(fd, 2, LOOK_MS) <= 0)
            continue;
        if (fd[0].revents && take_output(p, out, e))
            return e->code;
        if (fd[1].revents)
            take_complaint(p);
    }
    return 0;
}

/* ---- its end --------------------------------------------------------------------------------- */

static int wait_for_end(struct running *p, int64_t until_us, int *ret_status, struct err *e)
{
    for (;;) {
        pid_t r = waitpid(p->pid, ret_status, WNOHANG);
        if (r == p->pid)
            return 0;
        if (r < 0 && errno != EINTR)
            return err_set(e, ERR_IO, "its end is not known: %s", strerror(errno));
        if (clock_now_us() >= until_us)
            return err_set(e, ERR_TIMEOUT, "it has not ended in time");
        clock_sleep_us(2000);
    }
}

static int judge(const struct running *p, int status, struct err *e)
{
    int n = (int)strcspn(p->said, "\r\n");

    if (WIFEXITED(status) && !WEXITSTATUS(status))
        return 0;
    if (WIFEXITED(status))
        return err_set(e, ERR_IO, "it ended with status %d%s%.*s", WEXITSTATUS(status),
                       n ? ": " : "", n, p->said);
    return err_set(e, ERR_IO, "it was ended by signal %d", WTERMSIG(status));
}

int command_run(const struct command *c, struct buf *out, struct err *e)
{
    int64_t until_us = clock_now_us() + c->timeout_ms * 1000;
    struct running p = {.out = -1, .err = -1};
    int r = begin(&p, c, e), status = 0;

    if (r)
        return r;
    r = listen_to(&p, c, until_us, out, e);
    if (!r)
        r = wait_for_end(&p, until_us, &status, e);
    if (!r)
        r = judge(&p, status, e);
    shut(&p.out);
    shut(&p.err);
    if (r == ERR_TIMEOUT || r == ERR_CANCELLED || r == ERR_TOO_LARGE) {
        kill(-p.pid, SIGKILL); /* it was not waited for: the number is its own still */
        waitpid(p.pid, &status, 0);
    }
    return r;
}
