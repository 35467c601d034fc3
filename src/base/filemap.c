#include "base/filemap.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define GUARDS_MAX 1024

/* One row for each open mapping. The signal handler reads it, on the thread that touched the page.
 */
static struct guard {
    _Atomic uintptr_t begin; /* 0: free */
    _Atomic size_t size;
    _Atomic int lost;
} guards[GUARDS_MAX];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* who takes and gives guards; a leaf */
static struct sigaction before;
static uintptr_t page;

static struct guard *guard_of(uintptr_t at)
{
    for (int i = 0; i < GUARDS_MAX; i++) {
        uintptr_t begin = atomic_load(&guards[i].begin);
        if (begin && at >= begin && at - begin < atomic_load(&guards[i].size))
            return &guards[i];
    }
    return NULL;
}

/* The handler of SIGBUS: uses only system calls and atomics. When it returns, the read is repeated.
 */
static void on_bus(int sig, siginfo_t *info, void *context)
{
    uintptr_t at = (uintptr_t)info->si_addr;
    struct guard *g = guard_of(at);
    uintptr_t from = at & ~(page - 1);
    int saved = errno;
    size_t n;

    if (g) {
        n = atomic_load(&g->begin) + atomic_load(&g->size) - from;
        if (mmap((void *)from, n, PROT_READ,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) != MAP_FAILED) {
            atomic_store(&g->lost, 1);
            errno = saved;
            return;
        }
    }
    sigaction(SIGBUS, &before, NULL); /* not in our mappings: repeated, with the handler before */
}

/* Called at each open, because other code may have set its own handler since the last one. */
static void install(void)
{
    struct sigaction a = {.sa_sigaction = on_bus, .sa_flags = SA_SIGINFO | SA_NODEFER}, now;

    if (!page)
        page = (uintptr_t)sysconf(_SC_PAGESIZE);
    if (sigaction(SIGBUS, NULL, &now) || now.sa_sigaction == on_bus)
        return;
    before = now;
    sigemptyset(&a.sa_mask);
    sigaction(SIGBUS, &a, NULL);
}

static int take_guard(const void *data, size_t size)
{
    int i;

    pthread_mutex_lock(&lock);
    install();
    for (i = 0; i < GUARDS_MAX && atomic_load(&guards[i].begin); i++)
        ;
    if (i < GUARDS_MAX) {
        atomic_store(&guards[i].lost, 0);
        atomic_store(&guards[i].size, size);
        atomic_store(&guards[i].begin, (uintptr_t)data);
    }
    pthread_mutex_unlock(&lock);
    return i;
}

static int map(struct filemap *f, int fd, const char *path, size_t size_min, const char *too_short,
               struct err *e)
{
    struct stat st;
    void *p;
    int i;

    if (fstat(fd, &st))
        return err_set(e, ERR_IO, "%s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return err_set(e, ERR_FORMAT, "%s: not a file", path);
    if (st.st_size < 1 || (size_t)st.st_size < size_min)
        return err_set(e, ERR_FORMAT, "%s: %s", path, too_short);
    p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED)
        return err_set(e, ERR_IO, "%s: mmap: %s", path, strerror(errno));
    i = take_guard(p, (size_t)st.st_size);
    if (i == GUARDS_MAX) {
        munmap(p, (size_t)st.st_size);
        return err_set(e, ERR_LIMIT, "%s: more than %d files are open", path, GUARDS_MAX);
    }
    *f = (struct filemap){p, (size_t)st.st_size, i};
    return 0;
}

int filemap_open(struct filemap *f, const char *path, size_t size_min, const char *too_short,
                 struct err *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC), r;

    *f = (struct filemap){0};
    if (fd < 0)
        return err_set(e, errno == ENOENT ? ERR_NOTFOUND : ERR_IO, "%s: %s", path, strerror(errno));
    r = map(f, fd, path, size_min, too_short, e);
    close(fd);
    return r;
}

void filemap_close(struct filemap *f)
{
    if (!f->data)
        return;
    atomic_store(&guards[f->i_guard].begin, 0);
    munmap(f->data, f->size);
    *f = (struct filemap){0};
}

int filemap_is_lost(const struct filemap *f)
{
    return f->data && atomic_load(&guards[f->i_guard].lost);
}

int filemap_check(const struct filemap *f, const char *path, int rc, struct err *e)
{
    if (!filemap_is_lost(f))
        return rc;
    return err_set(e, ERR_IO,
                   "%s: became shorter, or could not be read any more, while it was read", path);
}
