/* gaufre upgrade PID: have a server replaced by the program that is installed now. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "serve/serve.h"

/* Would the signal be understood? A program that does not catch it would be ended by it. */
static int catches(pid_t pid, int sig, struct err *e)
{
    char path[64], line[256];
    unsigned long long caught = 0;
    FILE *f;

    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    f = fopen(path, "re");
    if (!f)
        return err_set(e, ERR_NOTFOUND, "there is no process %d", (int)pid);
    while (fgets(line, sizeof line, f)) {
        if (!strncmp(line, "SigCgt:", 7))
            caught = strtoull(line + 7, NULL, 16);
    }
    fclose(f);
    if (!(caught >> (sig - 1) & 1))
        return err_set(e, ERR_ARG, "process %d is no gaufre server that can be upgraded", (int)pid);
    return 0;
}

/* Where the server says how it went. */
static int open_ear(pid_t pid, struct err *e)
{
    struct sockaddr_un a;
    int n = serve_upgrade_address(pid, &a);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd >= 0 && !bind(fd, (struct sockaddr *)&a, (socklen_t)n))
        return fd;
    err_set(e, ERR_IO, "%s",
            errno == EADDRINUSE ? "an upgrade of it is waited for already" : strerror(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

/* Until the server has said how it went, or has ended: what it said, or "". */
static int hear(int fd, int process, char *text, size_t cap, struct err *e)
{
    struct pollfd p[] = {{.fd = fd, .events = POLLIN}, {.fd = process, .events = POLLIN}};
    ssize_t n;

    while (poll(p, 2, -1) < 0) {
        if (errno != EINTR)
            return err_set(e, ERR_IO, "%s", strerror(errno));
    }
    n = recv(fd, text, cap - 1, MSG_DONTWAIT);
    text[n > 0 ? n : 0] = 0;
    return 0;
}

static int ask(pid_t pid, int process, int fd, struct err *e)
{
    char text[SERVE_UPGRADE_TEXT_MAX];

    if (syscall(SYS_pidfd_send_signal, process, SIGUSR2, NULL, 0))
        return err_set(e, ERR_IO, "process %d cannot be asked: %s", (int)pid, strerror(errno));
    if (hear(fd, process, text, sizeof text, e))
        return e->code;
    if (*text == '+') {
        cmd_note("process %s serves, %d finishes what runs", text + 1, (int)pid);
        cmd_line(stdout, "%s", text + 1);
        return 0;
    }
    return err_set(e, ERR_IO, "%s", *text == '-' ? text + 1 : "the server has ended");
}

static int run(const struct cmd *cmd, void *opts, int argc, char **argv)
{
    char *end;
    long pid = strtol(argv[0], &end, 10);
    struct err e = {0};
    int fd, process;

    if (*end || pid < 1 || pid > 1 << 30)
        return cmd_usage(cmd, "'%s' is no number of a process", argv[0]);
    process = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
    if (process < 0) {
        err_set(&e, ERR_NOTFOUND, "process %ld: %s", pid, strerror(errno));
        return cmd_fail(cmd, &e);
    }
    fd = catches((pid_t)pid, SIGUSR2, &e) ? -1 : open_ear((pid_t)pid, &e);
    if (fd >= 0) {
        ask((pid_t)pid, process, fd, &e);
        close(fd);
    }
    close(process);
    return e.code ? cmd_fail(cmd, &e) : CMD_OK;
}

const struct cmd cmd_upgrade = {
    .name = "upgrade",
    .help = "Replace a running server by the program that is installed now",
    .args = "PID",
    .about =
        "The server starts its program anew, with the same arguments, and hands over its\n"
        "sockets. When the new process has loaded its models it serves, and the old one\n"
        "finishes what runs and ends: no connection is refused, no answer cut. Until then the\n"
        "old one serves; if the new one cannot, it stays. Prints the new process's number.\n"
        "SIGUSR2 does the same without waiting.",
    .n_args_min = 1,
    .n_args_max = 1,
    .run = run,
};
