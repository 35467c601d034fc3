/* A file that becomes shorter while it is mapped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/filemap.h"

#define PAGES 64

static char path[] = "/tmp/gaufre-filemap-XXXXXX";
static size_t page;

static void make(size_t n)
{
    int fd;
    char *text = malloc(n + 1);

    memset(text, 'x', n);
    strcpy(path, "/tmp/gaufre-filemap-XXXXXX");
    fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, n), (ssize_t)n);
    close(fd);
    free(text);
}

static void cut_short(void **state)
{
    struct filemap f, other;
    struct err e = {0};

    make(PAGES * page - 100);
    assert_int_equal(filemap_open(&f, path, 1, "short", &e), 0);
    assert_int_equal(filemap_open(&other, path, 1, "short", &e), 0);
    assert_int_equal(f.size, PAGES * page - 100);
    assert_int_equal(f.data[f.size - 1], 'x');
    assert_int_equal(filemap_is_lost(&f), 0);
    assert_int_equal(truncate(path, 3 * (off_t)page), 0);
    assert_int_equal(f.data[2 * page], 'x'); /* what is there stays */
    assert_int_equal(filemap_is_lost(&f), 0);
    assert_int_equal(filemap_check(&f, path, ERR_FORMAT, &e), ERR_FORMAT);
    assert_int_equal(f.data[5 * page + 7], 0);
    assert_int_equal(filemap_is_lost(&f), 1);
    assert_int_equal(filemap_check(&f, path, 0, &e), ERR_IO);
    assert_non_null(strstr(e.text, path));
    assert_int_equal(f.data[f.size - 1], 0);
    assert_int_equal(f.data[2 * page], 'x');
    assert_int_equal(filemap_is_lost(&other), 0); /* each for itself: this one was not looked at */
    filemap_close(&f);
    filemap_close(&other);
    unlink(path);
}

static void *look(void *arg)
{
    const struct filemap *f = arg;
    const volatile unsigned char *data =
        (const volatile unsigned char *)f->data; /* is really read */
    uint64_t sum = 0;

    for (int round = 0; round < 4; round++) {
        for (size_t i = 0; i < f->size; i += page / 2)
            sum += data[f->size - 1 - i];
    }
    return (void *)(uintptr_t)(sum > 0);
}

static void many_threads(void **state)
{
    struct filemap f;
    struct err e = {0};
    pthread_t t[4];

    make(PAGES * page);
    assert_int_equal(filemap_open(&f, path, 1, "short", &e), 0);
    for (int i = 0; i < 4; i++)
        pthread_create(&t[i], NULL, look, &f);
    assert_int_equal(truncate(path, (off_t)page), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    look(&f);
    assert_int_equal(filemap_is_lost(&f), 1);
    filemap_close(&f);
    unlink(path);
}

/* What is not ours ends the process, as it would have. */
static void others_fault(void **state)
{
    struct rlimit none = {0};
    struct filemap f;
    struct err e = {0};
    int status;
    pid_t child;

    make(2 * page);
    signal(SIGBUS, SIG_DFL);
    assert_int_equal(filemap_open(&f, path, 1, "short", &e), 0);
    child = fork();
    if (!child) {
        int fd = open(path, O_RDWR);
        volatile char *p = mmap(NULL, 2 * page, PROT_READ, MAP_SHARED, fd, 0);
        setrlimit(RLIMIT_CORE, &none);
        close(2);
        if (ftruncate(fd, 0))
            _exit(1);
        _exit(p[page] ? 2 : 3);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
    filemap_close(&f);
    unlink(path);
}

static void refuses(void **state)
{
    struct filemap f;
    struct err e = {0};

    assert_int_equal(filemap_open(&f, "/tmp", 1, "short", &e), ERR_FORMAT);
    assert_int_equal(filemap_open(&f, "/nowhere/at/all", 1, "short", &e), ERR_NOTFOUND);
    make(10);
    assert_int_equal(filemap_open(&f, path, 11, "too short to be a cake", &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, ": too short to be a cake"));
    assert_null(f.data);
    filemap_close(&f);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cut_short),
        cmocka_unit_test(many_threads),
        cmocka_unit_test(others_fault),
        cmocka_unit_test(refuses),
    };

    page = (size_t)sysconf(_SC_PAGESIZE);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
