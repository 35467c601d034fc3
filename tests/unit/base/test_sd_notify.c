/* What a service manager hears, and that nothing happens without one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"
#include "base/sd_notify.h"

/* A socket under `name` as $NOTIFY_SOCKET has it. */
static int listen_at(const char *name)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

    assert_true(fd >= 0);
    memcpy(at.sun_path, name, strlen(name));
    if (*name == '@')
        at.sun_path[0] = 0;
    assert_int_equal(bind(fd, (struct sockaddr *)&at,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name))),
                     0);
    return fd;
}

static void hears(const char *name)
{
    static const char said[] = "READY=1\nSTATUS=caf\xc3\xa9";
    int fd = listen_at(name);
    char heard[64];

    setenv("NOTIFY_SOCKET", name, 1);
    assert_int_equal(sd_notify_send(said), 1);
    assert_int_equal(recv(fd, heard, sizeof heard, 0), sizeof said - 1);
    assert_memory_equal(heard, said, sizeof said - 1);
    close(fd);
    assert_int_equal(sd_notify_send(said), ERR_IO); /* it went away */
}

static void test_both_kinds_of_names(void **state)
{
    char path[] = "/tmp/sd_notify.XXXXXX", name[64];

    assert_non_null(mkdtemp(path));
    snprintf(name, sizeof name, "%s/s", path);
    hears(name);
    unlink(name);
    rmdir(path);
    snprintf(name, sizeof name, "@gaufre-sd-notify-%d", (int)getpid());
    hears(name);
}

static void test_no_manager(void **state)
{
    char name[300];

    unsetenv("NOTIFY_SOCKET");
    assert_int_equal(sd_notify_send("READY=1"), 0);
    setenv("NOTIFY_SOCKET", "", 1);
    assert_int_equal(sd_notify_send("READY=1"), 0);
    setenv("NOTIFY_SOCKET", "relative/path", 1);
    assert_int_equal(sd_notify_send("READY=1"), ERR_ARG);
    memset(name, 'x', sizeof name - 1);
    name[0] = '/';
    name[sizeof name - 1] = 0;
    setenv("NOTIFY_SOCKET", name, 1);
    assert_int_equal(sd_notify_send("READY=1"), ERR_LIMIT);
}

static void test_watchdog(void **state)
{
    static const struct {
        const char *usec, *pid;
        int64_t want;
    } rows[] = {
        {NULL, NULL, 0},      {"60000000", NULL, 60000000},
        {"60000000", "1", 0}, {"60000000", "me", 60000000},
        {"", NULL, 0},        {"-5", NULL, 0},
        {"12x", NULL, 0},     {"99999999999999999999", NULL, 0},
        {"60000000", "", 0},  {"60000000", "one", 0},
    };
    char me[20];

    snprintf(me, sizeof me, "%d", (int)getpid());
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *pid = rows[i].pid && !strcmp(rows[i].pid, "me") ? me : rows[i].pid;

        unsetenv("WATCHDOG_USEC");
        unsetenv("WATCHDOG_PID");
        if (rows[i].usec)
            setenv("WATCHDOG_USEC", rows[i].usec, 1);
        if (pid)
            setenv("WATCHDOG_PID", pid, 1);
        assert_int_equal(sd_notify_watchdog_us(), rows[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_kinds_of_names),
        cmocka_unit_test(test_no_manager),
        cmocka_unit_test(test_watchdog),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
