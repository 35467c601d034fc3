#include "cloud/tally.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/map.h"

#define BUCKETS (2 * TALLY_ROWS)
#define LAYOUT  UINT64_C(0x67617566726501) /* another number when rows change their meaning */

/* What processes share. */
struct shared {
    uint64_t layout, size;
    pthread_mutex_t lock; /* of slots and of new rows; rank: before the rows' */
    int is_used[TALLY_PROCESSES];
    uint32_t n_rows;
    uint32_t at[BUCKETS]; /* 1 + the place of a row, by the hash of its name; 0: none */
    struct tally_row row[TALLY_ROWS];
};

struct tally {
    struct shared *s;
    int fd;      /* of the memory, as it is handed over */
    int lock_fd; /* the same file, opened for this process alone: its locks end with it */
    int slot;
};

/* ---- locks that outlive who has them --------------------------------------------------------- */

static void make_lock(pthread_mutex_t *m)
{
    pthread_mutexattr_t a;

    pthread_mutexattr_init(&a);
    pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(m, &a);
    pthread_mutexattr_destroy(&a);
}

/* What a process left half done is numbers, each of which is right by itself. */
static void take_lock(pthread_mutex_t *m)
{
    int r = pthread_mutex_lock(m);

    if (r == EOWNERDEAD)
        r = pthread_mutex_consistent(m);
    CHECK(!r);
}

void tally_lock(struct tally_row *r)
{
    take_lock(&r->lock);
}

void tally_unlock(struct tally_row *r)
{
    pthread_mutex_unlock(&r->lock);
}

/* ---- slots ----------------------------------------------------------------------------------- */

/* A process has a lock on the byte of its slot. */
static int try_slot(const struct tally *t, int slot, int command)
{
    struct flock f = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = slot, .l_len = 1};
    int r = fcntl(t->lock_fd, command, &f);

    return r || (command == F_OFD_GETLK && f.l_type != F_UNLCK) ? -1 : 0;
}

static void clear_slot(struct shared *s, int slot)
{
    for (uint32_t i = 0; i < s->n_rows; i++) {
        tally_lock(&s->row[i]);
        for (int b = 0; b < TALLY_BUDGETS; b++) {
            s->row[i].budget[b].held[slot] = 0;
            s->row[i].budget[b].counted &= ~(1u << slot);
        }
        tally_unlock(&s->row[i]);
    }
    s->is_used[slot] = 0;
}

static int take_slot(struct tally *t)
{
    take_lock(&t->s->lock);
    for (int i = 0; i < TALLY_PROCESSES && t->slot < 0; i++) {
        if (try_slot(t, i, F_OFD_SETLK))
            continue;
        clear_slot(t->s, i);
        t->s->is_used[i] = 1;
        t->slot = i;
    }
    pthread_mutex_unlock(&t->s->lock);
    return t->slot < 0 ? -1 : 0;
}

void tally_tidy(struct tally *t)
{
    take_lock(&t->s->lock);
    for (int i = 0; i < TALLY_PROCESSES; i++) {
        if (i != t->slot && t->s->is_used[i] && !try_slot(t, i, F_OFD_GETLK))
            clear_slot(t->s, i);
    }
    pthread_mutex_unlock(&t->s->lock);
}

/* ---- the memory ------------------------------------------------------------------------------ */

static struct shared *map(int fd)
{
    void *p = mmap(NULL, sizeof(struct shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    return p == MAP_FAILED ? NULL : p;
}

/* Nothing of it is touched before its size is known. */
static struct shared *take(int fd)
{
    struct stat st;
    struct shared *s;

    if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode) ||
        st.st_size != (off_t)sizeof(struct shared) || !(s = map(fd)))
        return NULL;
    if (s->layout == LAYOUT && s->size == sizeof *s)
        return s;
    munmap(s, sizeof *s);
    return NULL;
}

static struct shared *make(int *ret_fd)
{
    struct shared *s = NULL;

    *ret_fd = memfd_create("gaufre-tally", MFD_CLOEXEC);
    if (*ret_fd < 0 || ftruncate(*ret_fd, sizeof *s) || !(s = map(*ret_fd)))
        return NULL;
    make_lock(&s->lock);
    s->size = sizeof *s;
    s->layout = LAYOUT;
    return s;
}

int tally_open(struct tally **ret, int fd, struct err *e)
{
    struct tally *t = calloc(1, sizeof *t);
    char path[40];

    if (!t)
        return err_set(e, ERR_NOMEM, "out of memory");
    *t = (struct tally){.fd = fd, .lock_fd = -1, .slot = -1, .s = take(fd)};
    if (!t->s) {
        if (fd >= 0)
            close(fd);
        t->s = make(&t->fd);
    }
    snprintf(path, sizeof path, "/proc/self/fd/%d", t->fd);
    if (t->s)
        t->lock_fd = open(path, O_RDWR | O_CLOEXEC);
    if (t->lock_fd >= 0 && !take_slot(t)) {
        *ret = t;
        return 0;
    }
    err_set(e, t->lock_fd < 0 ? ERR_IO : ERR_AGAIN,
            "limits cannot be shared with the next process: %s",
            t->lock_fd < 0 ? strerror(errno) : "too many have been started");
    tally_close(t);
    return e->code;
}

void tally_close(struct tally *t)
{
    if (!t)
        return;
    if (t->s)
        munmap(t->s, sizeof *t->s);
    if (t->lock_fd >= 0)
        close(t->lock_fd);
    if (t->fd >= 0)
        close(t->fd);
    free(t);
}

int tally_fd(const struct tally *t)
{
    return t->fd;
}

int tally_slot(const struct tally *t)
{
    return t->slot;
}

/* ---- rows ------------------------------------------------------------------------------------ */

static struct tally_row *add_row(struct shared *s, uint32_t *at, const char *name, size_t n)
{
    struct tally_row *r;

    if (s->n_rows == TALLY_ROWS)
        return NULL;
    r = &s->row[s->n_rows++];
    memcpy(r->name, name, n);
    make_lock(&r->lock);
    *at = s->n_rows;
    return r;
}

struct tally_row *tally_row(struct tally *t, char kind, const char *name)
{
    struct shared *s = t->s;
    struct tally_row *r = NULL;
    char key[TALLY_NAME_MAX];
    int n = snprintf(key, sizeof key, "%c:%s", kind, name);
    uint64_t i;

    if (n >= (int)sizeof key)
        return NULL;
    take_lock(&s->lock);
    for (i = map_hash(key, (size_t)n, 0) % BUCKETS; s->at[i] && !r; i = (i + 1) % BUCKETS) {
        if (s->at[i] <= s->n_rows && !strcmp(s->row[s->at[i] - 1].name, key))
            r = &s->row[s->at[i] - 1];
    }
    if (!r)
        r = add_row(s, &s->at[i], key, (size_t)n + 1);
    pthread_mutex_unlock(&s->lock);
    return r;
}
