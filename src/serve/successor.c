#include "serve/successor.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "serve/handover.h"
#include "serve/manager.h"
#include "serve/server.h"

void successor_init(struct successor *u)
{
    *u = (struct successor){.ready_fd = -1};
}

int serve_upgrade_address(int pid, struct sockaddr_un *ret)
{
    int n;

    *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
    n = snprintf(ret->sun_path + 1, sizeof ret->sun_path - 1, "gaufre-upgrade-%d", pid);
    return (int)offsetof(struct sockaddr_un, sun_path) + 1 + n;
}

/* Nobody may be there to hear it. */
static void tell(const char *text)
{
    struct sockaddr_un a;
    int n = serve_upgrade_address(getpid(), &a);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return;
    (void)sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&a, (socklen_t)n);
    close(fd);
}

static void tell_failed(const char *why)
{
    char text[SERVE_UPGRADE_TEXT_MAX];

    LOG_EVENT(LOG_ERROR, "not upgraded", LOG_STR("why", why));
    snprintf(text, sizeof text, "-%s", why);
    tell(text);
}

void successor_begin(struct server *s)
{
    struct successor *u = &s->successor;
    int fd[NET_LISTEN_MAX], n;
    struct err e = {0};

    if (u->child) {
        LOG_EVENT(LOG_WARN, "an upgrade is under way", LOG_INT("pid", u->child));
        return;
    }
    if (atomic_load(&s->leaving)) {
        tell_failed("this process was upgraded before, and only finishes what runs");
        return;
    }
    n = net_server_listeners(s->net, fd); /* not before: who leaves has closed them */
    if (handover_start(fd, n, cloud_tally_fd(s->cloud), &u->child, &u->ready_fd, &e)) {
        u->child = 0;
        tell_failed(e.text);
        return;
    }
    LOG_EVENT(LOG_INFO, "upgrading", LOG_INT("pid", u->child));
}

/* The new process has closed its pipe without a word. */
static void failed(struct successor *u)
{
    char why[200];
    int status = 0;

    if (waitpid(u->child, &status, 0) == u->child && WIFSIGNALED(status))
        snprintf(why, sizeof why, "the new process (%d) was ended by signal %d before it served",
                 (int)u->child, WTERMSIG(status));
    else
        snprintf(why, sizeof why,
                 "the new process (%d) ended with %d before it served; it has said why on stderr "
                 "or in the log",
                 (int)u->child, WEXITSTATUS(status));
    u->child = 0;
    tell_failed(why);
}

int successor_look(struct server *s)
{
    struct successor *u = &s->successor;
    struct pollfd p = {.fd = u->ready_fd, .events = POLLIN};
    char byte;
    ssize_t n;

    if (!u->child || poll(&p, 1, 0) <= 0)
        return 0;
    n = read(u->ready_fd, &byte, 1);
    if (n < 0 && errno == EINTR)
        return 0;
    close(u->ready_fd);
    u->ready_fd = -1;
    if (n <= 0) {
        failed(u);
        return 0;
    }
    return 1;
}

void successor_tell(struct successor *u)
{
    char text[SERVE_UPGRADE_TEXT_MAX];

    LOG_EVENT(LOG_INFO, "upgraded", LOG_INT("pid", u->child));
    manager_upgraded(u->child);
    snprintf(text, sizeof text, "+%d", (int)u->child);
    tell(text);
    u->child = 0;
}

void successor_stop(struct successor *u)
{
    if (u->child)
        kill(u->child, SIGTERM);
    u->child = 0;
    if (u->ready_fd >= 0)
        close(u->ready_fd);
    u->ready_fd = -1;
}
