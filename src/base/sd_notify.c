#include "base/sd_notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"

int sd_notify_send(const char *lines)
{
    const char *name = getenv("NOTIFY_SOCKET");
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    size_t n = name ? strlen(name) : 0;
    ssize_t sent;
    int fd;

    if (!n)
        return 0;
    if (*name != '/' && *name != '@')
        return ERR_ARG;
    if (n >= sizeof to.sun_path)
        return ERR_LIMIT;
    memcpy(to.sun_path, name, n);
    if (*name == '@')
        to.sun_path[0] = 0;
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return ERR_IO;
    sent = sendto(fd, lines, strlen(lines), MSG_NOSIGNAL, (struct sockaddr *)&to,
                  (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n));
    close(fd);
    return sent < 0 ? ERR_IO : 1;
}

/* A number of the environment, above 0; 0: there is none. */
static int64_t number_of(const char *name)
{
    const char *text = getenv(name);
    char *end;
    long long v;

    if (!text || *text < '0' || *text > '9')
        return 0;
    errno = 0;
    v = strtoll(text, &end, 10);
    return errno || *end ? 0 : v;
}

int64_t sd_notify_watchdog_us(void)
{
    if (getenv("WATCHDOG_PID") && number_of("WATCHDOG_PID") != getpid())
        return 0;
    return number_of("WATCHDOG_USEC");
}
