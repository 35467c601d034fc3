#include "serve/handover.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "net/net.h"

_Static_assert(SERVE_SOCKETS_MAX == NET_LISTEN_MAX, "as many as net takes");

#define FIRST_FD  3 /* as with systemd */
#define ARGS_MAX  (2 << 20)
#define HIGH_FD   64 /* above all that a new process is given */
#define WORD      "GAUFRE_HANDOVER"
#define TALLY     "GAUFRE_TALLY" /* the number of that descriptor */
#define MORE_FDS  2              /* beside sockets: the pipe, and what limits count */
#define PATH_SIZE 4096

extern char **environ;

/* ---- taking ---------------------------------------------------------------------------------- */

/* A number of sockets, 0 where the variable is none. */
static int number_in(const char *name)
{
    const char *text = getenv(name);
    char *end;
    long n = text ? strtol(text, &end, 10) : 0;

    return text && *text && !*end && n > 0 && n <= 1 << 30 ? (int)n : 0;
}

int handover_take(struct handover *h, struct err *e)
{
    int before = number_in(WORD), tally = number_in(TALLY);
    int manager = number_in("LISTEN_PID") == getpid() ? number_in("LISTEN_FDS") : 0;

    *h = (struct handover){.n = before ? before : manager, .ready_fd = -1};
    unsetenv(WORD);
    unsetenv(TALLY);
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    for (int i = 0; i < h->n && i < NET_LISTEN_MAX; i++)
        h->fd[i] = FIRST_FD + i;
    if (h->n && net_listeners_check(h->fd, h->n, e))
        return e->code;
    if (!before)
        return 0;
    h->ready_fd = FIRST_FD + before;
    if (fcntl(h->ready_fd, F_SETFD, FD_CLOEXEC))
        return err_set(e, ERR_ARG, "The upgrade handed over no pipe");
    if (tally == h->ready_fd + 1 && !fcntl(tally, F_SETFD, FD_CLOEXEC))
        h->tally_fd = tally;
    return 0;
}

void handover_ready(struct handover *h)
{
    ssize_t r;

    if (h->ready_fd < 0)
        return;
    r = write(h->ready_fd, "", 1);
    (void)r; /* it has ended meanwhile: then nobody waits */
    close(h->ready_fd);
    h->ready_fd = -1;
}

/* ---- starting -------------------------------------------------------------------------------- */

/* The program by its path: where it was replaced, the new one. */
static int find_program(char path[PATH_SIZE], struct err *e)
{
    static const char gone[] = " (deleted)";
    ssize_t n = readlink("/proc/self/exe", path, PATH_SIZE - 1);

    if (n < 0)
        return err_set(e, ERR_IO, "Cannot find the program: %s", strerror(errno));
    path[n] = 0;
    n -= (ssize_t)sizeof gone - 1;
    if (n > 0 && !strcmp(path + n, gone))
        path[n] = 0;
    return 0;
}

/* The arguments of this process, one after the other, each with its NUL. */
static int read_args(struct buf *ret)
{
    FILE *f = fopen("/proc/self/cmdline", "re");
    char part[4096];
    size_t n;

    if (!f)
        return ERR_IO;
    while ((n = fread(part, 1, sizeof part, f)) > 0)
        buf_add(ret, part, n);
    fclose(f);
    return ret->failed || !ret->len ? ERR_IO : 0;
}

static char **list_args(struct buf *text, struct arena *a)
{
    size_t n = 0, i = 0;
    char **list;

    for (size_t at = 0; at < text->len; at++)
        n += !text->data[at];
    list = arena_alloc(a, (n + 1) * sizeof *list);
    for (size_t at = 0; list && i < n; at += strlen(text->data + at) + 1)
        list[i++] = text->data + at;
    if (list)
        list[n] = NULL;
    return list;
}

/* The environment without what is said of this process alone. */
static char **list_environment(int n_fds, int has_tally, struct arena *a)
{
    static const char other[] = "WATCHDOG_PID=";
    char word[sizeof WORD + 16], tally[sizeof TALLY + 16];
    size_t n = 0;
    char **list;

    while (environ[n])
        n++;
    list = arena_alloc(a, (n + 1 + MORE_FDS) * sizeof *list);
    if (!list)
        return NULL;
    n = 0;
    for (char **v = environ; *v; v++) {
        if (strncmp(*v, other, sizeof other - 1))
            list[n++] = *v;
    }
    snprintf(word, sizeof word, WORD "=%d", n_fds);
    snprintf(tally, sizeof tally, TALLY "=%d", FIRST_FD + n_fds + 1);
    list[n++] = arena_strdup(a, word);
    if (has_tally && list[n - 1])
        list[n++] = arena_strdup(a, tally);
    list[n] = NULL;
    return list[n - 1] ? list : NULL;
}

/* Descriptors 3 and on, in order, and no others beside 0 to 2. They are copied out of the way
 * first, because one may have the number that another shall get. */
static int give(posix_spawn_file_actions_t *actions, const int *fd, int n, int *high)
{
    int r = 0;

    for (int i = 0; i < n && !r; i++) {
        high[i] = fcntl(fd[i], F_DUPFD_CLOEXEC, HIGH_FD);
        r = high[i] < 0 ? errno : posix_spawn_file_actions_adddup2(actions, high[i], FIRST_FD + i);
    }
    return r ? r : posix_spawn_file_actions_addclosefrom_np(actions, FIRST_FD + n);
}

static int spawn(const char *path, char **args, char **environment, const int *fd, int n,
                 pid_t *ret_pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    int high[NET_LISTEN_MAX + MORE_FDS], r;
    sigset_t none;

    for (int i = 0; i < n; i++)
        high[i] = -1;
    sigemptyset(&none);
    r = posix_spawn_file_actions_init(&actions);
    if (r)
        return r;
    r = posix_spawnattr_init(&attr);
    if (!r) {
        posix_spawnattr_setsigmask(&attr, &none);
        posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
        r = give(&actions, fd, n, high);
        if (!r)
            r = posix_spawn(ret_pid, path, &actions, &attr, args, environment);
        posix_spawnattr_destroy(&attr);
    }
    posix_spawn_file_actions_destroy(&actions);
    for (int i = 0; i < n; i++) {
        if (high[i] >= 0)
            close(high[i]);
    }
    return r;
}

int handover_start(const int *fd, int n, int tally_fd, pid_t *ret_pid, int *ret_ready_fd,
                   struct err *e)
{
    int all[NET_LISTEN_MAX + MORE_FDS], ready[2], why = 0, has_tally = tally_fd >= 0;
    char path[PATH_SIZE], **args, **environment;
    struct arena a;
    struct buf text;

    if (find_program(path, e))
        return e->code;
    if (pipe2(ready, O_CLOEXEC))
        return err_set(e, ERR_IO, "Cannot make a pipe: %s", strerror(errno));
    memcpy(all, fd, (size_t)n * sizeof *fd);
    all[n] = ready[1];
    all[n + 1] = tally_fd;
    arena_init(&a, 4096, ARGS_MAX);
    buf_init(&text, ARGS_MAX);
    args = read_args(&text) ? NULL : list_args(&text, &a);
    environment = list_environment(n, has_tally, &a);
    if (!args || !environment)
        why = ENOMEM;
    else
        why = spawn(path, args, environment, all, n + 1 + has_tally, ret_pid);
    buf_done(&text);
    arena_done(&a);
    close(ready[1]);
    if (why) {
        close(ready[0]);
        return err_set(e, ERR_IO, "Cannot start %.300s: %s", path, strerror(why));
    }
    *ret_ready_fd = ready[0];
    return 0;
}
