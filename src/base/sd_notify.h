/* Words to the service manager that started this process: the datagrams of sd_notify(3), written
 * here because they are all that libsystemd would be linked for. Where no manager listens nothing
 * happens. Any thread, also while others read the environment. */
#ifndef BASE_SD_NOTIFY_H
#define BASE_SD_NOTIFY_H

#include <stdint.h>

/* Send lines like "READY=1\nSTATUS=loaded" to the socket that $NOTIFY_SOCKET names (a path, or '@'
 * and an abstract name). 1: sent; 0: nobody asked for it; ERR_ARG, ERR_LIMIT: that name is none;
 * ERR_IO with errno. It does not wait for the manager to read. */
int sd_notify_send(const char *lines);

/* Within how many microseconds the manager wants to hear "WATCHDOG=1" again, by $WATCHDOG_USEC;
 * 0: it does not, or it wants to hear that of another process ($WATCHDOG_PID). */
int64_t sd_notify_watchdog_us(void);

#endif
