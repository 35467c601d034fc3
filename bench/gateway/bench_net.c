/* Sockets and the clock of the bench. */
#include "bench_net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BACKLOG 4096

int64_t bench_now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void bench_files_raise(void)
{
    struct rlimit l;

    if (!getrlimit(RLIMIT_NOFILE, &l)) {
        l.rlim_cur = l.rlim_max;
        setrlimit(RLIMIT_NOFILE, &l);
    }
}

static void set_no_delay(int fd)
{
    int one = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

int bench_listen(int port, int *ret_port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
    socklen_t n = sizeof a;

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    set_no_delay(fd); /* its connections have it too */
    if (bind(fd, (struct sockaddr *)&a, sizeof a) || listen(fd, BACKLOG) ||
        getsockname(fd, (struct sockaddr *)&a, &n)) {
        close(fd);
        return -1;
    }
    *ret_port = ntohs(a.sin_port);
    return fd;
}

int bench_connect(int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0)
        return -1;
    set_no_delay(fd);
    if (connect(fd, (struct sockaddr *)&a, sizeof a) && errno != EINPROGRESS) {
        close(fd);
        return -1;
    }
    return fd;
}

void bench_stamp(char *p, int64_t ns)
{
    int64_t v = ns / 10;

    p[0] = p[STAMP_LEN - 1] = '@';
    for (int i = STAMP_LEN - 2; i > 0; i--, v /= 10)
        p[i] = (char)('0' + v % 10);
}

int64_t bench_stamp_find(const char *p, size_t n)
{
    const char *end = p + n;

    while (end - p >= STAMP_LEN && (p = memchr(p, '@', (size_t)(end - p))) &&
           end - p >= STAMP_LEN) {
        int64_t v = 0;
        int i = 1;
        for (; i < STAMP_LEN - 1 && p[i] >= '0' && p[i] <= '9'; i++)
            v = v * 10 + (p[i] - '0');
        if (i == STAMP_LEN - 1 && p[i] == '@')
            return v * 10;
        p++;
    }
    return -1;
}

int64_t bench_number(const char *option, const char *value, int64_t max)
{
    char *end;
    long long v = strtoll(value, &end, 10);

    if (end == value || *end || v < 0 || v > max) {
        fprintf(stderr, "--%s: a whole number from 0 to %lld, not %s\n", option, (long long)max,
                value);
        exit(2);
    }
    return v;
}
