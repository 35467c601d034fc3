#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/disk.h"
#include "base/err.h"
#include "base/rand.h"
#include "fakes.h"

#define FILES_MAX  512
#define SHM_MAX    16
#define SECTOR     512
#define FILE_BYTES ((size_t)64 << 20)

/* A file's bytes as a reader sees them, and as they will be when the power comes back. */
struct file {
    char name[256]; /* "": a free slot */
    unsigned char *data, *kept;
    size_t size, kept_size;
    unsigned char *dirty; /* a byte each sector: not kept as it is */
    size_t n_sectors;
    int n_open, is_deleted, is_dead;
    int n_shared;                 /* SQLite's locks of a database ... */
    const void *reserved, *alone; /* ... and who has them */
    void *shm[SHM_MAX];           /* the index of a WAL, in memory */
    int n_shm;                    /* handles that have it */
    int n_shm_shared[SQLITE_SHM_NLOCK];
    const void *shm_alone[SQLITE_SHM_NLOCK];
    const void *locked; /* by a descriptor of disk_open */
    int64_t written_us, read_us;
};

struct handle {
    sqlite3_file base;
    struct file *f;
    int level;
    int has_shm;
    unsigned shm_shared; /* bits: locks of the index */
};

static struct file files[FILES_MAX];
static struct file *opened[FILES_MAX]; /* descriptors of disk_open */
static enum fake_fault fault;
static int64_t fault_from = -1, fault_to, n_ops;

/* ---- faults ---------------------------------------------------------------------------------- */

void fake_disk_fail(enum fake_fault f, int64_t n, int64_t n_times)
{
    fault = f;
    fault_from = n_ops + n;
    fault_to = n_times < 0 ? INT64_MAX : fault_from + n_times;
}

void fake_disk_heal(void)
{
    fault_from = -1;
}

int64_t fake_disk_ops(void)
{
    return n_ops;
}

static int fails_now(enum fake_fault f)
{
    return fault_from >= 0 && n_ops >= fault_from && n_ops < fault_to && fault == f;
}

/* An operation that changes the disk: 0, or SQLite's code where none of these can be done. */
static int change(const struct file *f)
{
    int code = f && f->is_dead            ? SQLITE_IOERR
               : fails_now(FAKE_DEAD)     ? SQLITE_IOERR
               : fails_now(FAKE_READONLY) ? SQLITE_READONLY
                                          : SQLITE_OK;

    n_ops++;
    return code;
}

/* ---- files ----------------------------------------------------------------------------------- */

static void free_shm(struct file *f)
{
    for (int i = 0; i < SHM_MAX; i++) {
        free(f->shm[i]);
        f->shm[i] = NULL;
    }
}

static void forget(struct file *f)
{
    free(f->data);
    free(f->kept);
    free(f->dirty);
    free_shm(f);
    *f = (struct file){0};
}

static struct file *find(const char *name)
{
    for (int i = 0; i < FILES_MAX; i++) {
        if (!strcmp(files[i].name, name) && !files[i].is_deleted && !files[i].is_dead)
            return &files[i];
    }
    return NULL;
}

static struct file *make(const char *name)
{
    size_t n = strlen(name) + 1;

    CHECK(n <= sizeof files[0].name);
    for (int i = 0; i < FILES_MAX; i++) {
        if (!files[i].name[0]) {
            memcpy(files[i].name, name, n);
            return &files[i];
        }
    }
    CHECK(0);
    return NULL;
}

static void put_away(struct file *f)
{
    if (!f->n_open && (f->is_deleted || f->is_dead))
        forget(f);
}

static void resize(struct file *f, size_t size)
{
    size_t n = size / SECTOR + 1;

    CHECK(size < FILE_BYTES);
    if (n > f->n_sectors) {
        n += n / 2;
        f->data = realloc(f->data, n * SECTOR);
        f->kept = realloc(f->kept, n * SECTOR);
        f->dirty = realloc(f->dirty, n);
        CHECK(f->data && f->kept && f->dirty);
        memset(f->data + f->n_sectors * SECTOR, 0, (n - f->n_sectors) * SECTOR);
        memset(f->kept + f->n_sectors * SECTOR, 0, (n - f->n_sectors) * SECTOR);
        memset(f->dirty + f->n_sectors, 0, n - f->n_sectors);
        f->n_sectors = n;
    }
    if (size < f->size)
        memset(f->data + size, 0, f->size - size);
    f->size = size;
}

static void put(struct file *f, const void *p, size_t n, size_t at)
{
    if (!n)
        return;
    if (at + n > f->size)
        resize(f, at + n);
    f->written_us = clock_wall_us();
    memcpy(f->data + at, p, n);
    memset(f->dirty + at / SECTOR, 1, (at + n - 1) / SECTOR - at / SECTOR + 1);
}

/* What is dirty is kept: all of it, or the sectors that the seed has. Nothing is dirty any more. */
static void keep(struct file *f, int all, uint64_t seed)
{
    for (size_t i = 0; i < f->n_sectors; i++) {
        if (f->dirty[i] && (all || rand_uniform(seed, 2, i) < 0.5f))
            memcpy(f->kept + i * SECTOR, f->data + i * SECTOR, SECTOR);
        f->dirty[i] = 0;
    }
}

/* The three that change a file: SQLite's code. */
static int write_file(struct file *f, const void *p, size_t n, size_t at)
{
    int full = fails_now(FAKE_FULL), eio = fails_now(FAKE_WRITE),
        half = fails_now(FAKE_SHORT_WRITE);
    int code = change(f);

    if (code)
        return code;
    if (full)
        return SQLITE_FULL;
    if (eio)
        return SQLITE_IOERR_WRITE;
    put(f, p, half ? n / 2 : n, at);
    return half ? SQLITE_IOERR_WRITE : SQLITE_OK;
}

static int cut_file(struct file *f, size_t size)
{
    int eio = fails_now(FAKE_WRITE), code = change(f);

    if (code)
        return code;
    if (eio)
        return SQLITE_IOERR_TRUNCATE;
    resize(f, size);
    f->written_us = clock_wall_us();
    memset(f->kept + size, 0, f->n_sectors * SECTOR - size); /* those blocks are free */
    f->kept_size = f->kept_size < f->size ? f->kept_size : f->size;
    return SQLITE_OK;
}

static int sync_file(struct file *f)
{
    int eio = fails_now(FAKE_SYNC), code = change(f);

    if (code == SQLITE_READONLY) /* what was written before it became so cannot be kept any more */
        return f->n_sectors && memchr(f->dirty, 1, f->n_sectors) ? SQLITE_IOERR_FSYNC : SQLITE_OK;
    if (code)
        return code;
    if (eio) {
        memset(f->dirty, 0, f->n_sectors); /* nobody will write them again for us */
        return SQLITE_IOERR_FSYNC;
    }
    keep(f, 1, 0);
    f->kept_size = f->size;
    return SQLITE_OK;
}

void fake_disk_reset(void)
{
    memset(opened, 0, sizeof opened); /* who has one still does not use it */
    for (int i = 0; i < FILES_MAX; i++)
        forget(&files[i]);
    fake_disk_heal();
    n_ops = 0;
    disk_vfs();
    sqlite3_randomness(0, NULL); /* SQLite's own begin anew, from those of this world */
}

void fake_disk_put(const char *path, const char *text)
{
    struct file *f = find(path);

    if (!f)
        f = make(path);
    resize(f, 0);
    put(f, text, strlen(text), 0);
    keep(f, 1, 0);
    f->kept_size = f->size;
}

void fake_disk_crash(uint64_t seed)
{
    struct file *living[FILES_MAX];
    int n_living = 0;

    fake_disk_heal();
    for (int i = 0; i < FILES_MAX; i++) {
        if (files[i].name[0] && !files[i].is_deleted && !files[i].is_dead)
            living[n_living++] = &files[i];
    }
    for (int i = 0; i < n_living; i++) {
        struct file *f = living[i], *again;
        keep(f, 0, seed + (uint64_t)i);
        /* The tail: all of it, none, or torn somewhere. */
        if (f->size > f->kept_size)
            f->kept_size += (size_t)((float)(f->size - f->kept_size) * 1.2f *
                                     rand_uniform(seed, 3, (uint64_t)i));
        if (f->kept_size > f->size)
            f->kept_size = f->size;
        f->is_dead = 1;
        again = make(f->name);
        resize(again, f->kept_size);
        put(again, f->kept, f->kept_size, 0);
        again->written_us = f->written_us;
        keep(again, 1, 0);
        again->kept_size = again->size;
        put_away(f);
    }
}

/* ---- base/disk.h ----------------------------------------------------------------------------- */

int disk_make_private(const char *path)
{
    return 0; /* the file system makes it */
}

int disk_read(const char *path, struct buf *out)
{
    const struct file *f = find(path);

    errno = f ? 0 : ENOENT;
    if (!f)
        return ERR_NOTFOUND;
    return buf_add(out, f->data, f->size) ? ERR_LIMIT : 0;
}

/* A failing operation as disk.h tells it. */
static int fail_with(int code)
{
    errno = code == SQLITE_FULL ? ENOSPC : code == SQLITE_READONLY ? EROFS : EIO;
    return -1;
}

static int not_there(void)
{
    errno = ENOENT;
    return -1;
}

static int have(struct file *f)
{
    int fd = 0;

    while (opened[fd])
        CHECK(++fd < FILES_MAX);
    opened[fd] = f;
    f->n_open++;
    return fd;
}

int disk_open(const char *path, enum disk_mode mode)
{
    struct file *f = find(path);
    int fd;

    if (fails_now(FAKE_DEAD))
        return fail_with(SQLITE_IOERR);
    if (!f && mode != DISK_MAKE)
        return not_there();
    if (!f && change(NULL))
        return fail_with(fails_now(FAKE_READONLY) ? SQLITE_READONLY : SQLITE_IOERR);
    if (f && mode >= DISK_HAVE && f->locked) {
        errno = EWOULDBLOCK;
        return -1;
    }
    fd = have(f ? f : make(path));
    if (mode >= DISK_HAVE)
        opened[fd]->locked = &opened[fd];
    return fd;
}

/* A new file, or one that is there; others are put by the simulation. */
int disk_open_private(const char *path, int flags)
{
    struct file *f = find(path);

    if (!(flags & O_CREAT))
        return f ? have(f) : not_there();
    if (f || !(flags & O_EXCL)) {
        errno = f ? EEXIST : EROFS;
        return -1;
    }
    return change(NULL) || fails_now(FAKE_FULL) ? fail_with(SQLITE_FULL) : have(make(path));
}

void disk_close(int fd)
{
    struct file *f = opened[fd];

    if (!f)
        return;
    if (f->locked == &opened[fd])
        f->locked = NULL;
    opened[fd] = NULL;
    f->n_open--;
    put_away(f);
}

int64_t disk_size(int fd)
{
    return (int64_t)opened[fd]->size;
}

int64_t disk_read_at(int fd, void *p, size_t n, int64_t at)
{
    const struct file *f = opened[fd];
    size_t have = (size_t)at < f->size ? f->size - (size_t)at : 0;

    if (f->is_dead || fails_now(FAKE_DEAD))
        return fail_with(SQLITE_IOERR);
    have = have < n ? have : n;
    if (have)
        memcpy(p, f->data + at, have);
    return (int64_t)have;
}

int disk_write_at(int fd, const void *p, size_t n, int64_t at)
{
    int code = write_file(opened[fd], p, n, (size_t)at);

    return code ? fail_with(code) : 0;
}

int disk_cut(int fd, int64_t size)
{
    int code = cut_file(opened[fd], (size_t)size);

    return code ? fail_with(code) : 0;
}

int disk_sync(int fd)
{
    int code = sync_file(opened[fd]);

    return code ? fail_with(code) : 0;
}

int disk_is_removed(int fd)
{
    return opened[fd]->is_deleted;
}

int64_t disk_written_us(int fd)
{
    return opened[fd]->written_us;
}

int64_t disk_read_us(int fd)
{
    return opened[fd]->read_us;
}

void disk_touch(int fd, int64_t wall_us)
{
    opened[fd]->read_us = wall_us;
}

/* Folders are there; what is in them is what begins with their name. Their changes are on the disk
 * at once. */
int disk_make_folder(const char *path)
{
    return 0;
}

int disk_list(const char *folder, int (*take)(void *arg, const char *name), void *arg)
{
    size_t n = strlen(folder);
    int r = 0;

    for (int i = 0; i < FILES_MAX && !r; i++) {
        const struct file *f = &files[i];
        if (!strncmp(f->name, folder, n) && f->name[n] == '/' && !f->is_deleted && !f->is_dead) {
            char name[sizeof f->name]; /* it may be renamed meanwhile */
            strcpy(name, f->name + n + 1);
            r = take(arg, name);
        }
    }
    return r;
}

int disk_exists(const char *path)
{
    return find(path) != NULL;
}

int disk_remove(const char *path)
{
    struct file *f = find(path);

    if (!f)
        return not_there();
    if (change(f))
        return fail_with(SQLITE_IOERR);
    f->is_deleted = 1;
    put_away(f);
    return 0;
}

int disk_rename(const char *from, const char *to)
{
    struct file *f = find(from);

    if (!f)
        return not_there();
    if (change(f))
        return fail_with(SQLITE_IOERR);
    CHECK(!find(to) && strlen(to) < sizeof f->name);
    strcpy(f->name, to);
    return 0;
}

/* ---- an open file of SQLite ------------------------------------------------------------------ */

static int x_unlock(sqlite3_file *h, int level)
{
    struct handle *o = (struct handle *)h;

    if (level < SQLITE_LOCK_EXCLUSIVE && o->f->alone == o)
        o->f->alone = NULL;
    if (level < SQLITE_LOCK_RESERVED && o->f->reserved == o)
        o->f->reserved = NULL;
    if (level < SQLITE_LOCK_SHARED && o->level >= SQLITE_LOCK_SHARED)
        o->f->n_shared--;
    o->level = level < o->level ? level : o->level;
    return SQLITE_OK;
}

static int x_lock(sqlite3_file *h, int level)
{
    struct handle *o = (struct handle *)h;
    struct file *f = o->f;

    if (level <= o->level)
        return SQLITE_OK;
    if (f->alone && f->alone != o)
        return SQLITE_BUSY;
    if (level >= SQLITE_LOCK_RESERVED && f->reserved && f->reserved != o)
        return SQLITE_BUSY;
    if (level == SQLITE_LOCK_EXCLUSIVE && f->n_shared > (o->level >= SQLITE_LOCK_SHARED))
        return SQLITE_BUSY;
    if (o->level < SQLITE_LOCK_SHARED)
        f->n_shared++;
    if (level >= SQLITE_LOCK_RESERVED)
        f->reserved = o;
    if (level == SQLITE_LOCK_EXCLUSIVE)
        f->alone = o;
    o->level = level;
    return SQLITE_OK;
}

static int x_is_reserved(sqlite3_file *h, int *ret)
{
    *ret = ((struct handle *)h)->f->reserved != NULL;
    return SQLITE_OK;
}

static int x_close(sqlite3_file *h)
{
    struct handle *o = (struct handle *)h;

    x_unlock(h, SQLITE_LOCK_NONE);
    o->f->n_open--;
    put_away(o->f);
    return SQLITE_OK;
}

static int x_read(sqlite3_file *h, void *p, int n, sqlite3_int64 at)
{
    const struct file *f = ((struct handle *)h)->f;
    size_t have = (size_t)at < f->size ? f->size - (size_t)at : 0;

    if (f->is_dead || fails_now(FAKE_DEAD))
        return SQLITE_IOERR_READ;
    have = have < (size_t)n ? have : (size_t)n;
    if (have)
        memcpy(p, f->data + at, have);
    memset((char *)p + have, 0, (size_t)n - have);
    return have < (size_t)n ? SQLITE_IOERR_SHORT_READ : SQLITE_OK;
}

static int x_write(sqlite3_file *h, const void *p, int n, sqlite3_int64 at)
{
    return write_file(((struct handle *)h)->f, p, (size_t)n, (size_t)at);
}

static int x_truncate(sqlite3_file *h, sqlite3_int64 size)
{
    return cut_file(((struct handle *)h)->f, (size_t)size);
}

static int x_sync(sqlite3_file *h, int flags)
{
    return sync_file(((struct handle *)h)->f);
}

static int x_size(sqlite3_file *h, sqlite3_int64 *ret)
{
    *ret = (sqlite3_int64)((struct handle *)h)->f->size;
    return SQLITE_OK;
}

static int x_control(sqlite3_file *h, int op, void *arg)
{
    return SQLITE_NOTFOUND;
}

static int x_sector(sqlite3_file *h)
{
    return 4096; /* as SQLite's own says for Linux, and the same trait */
}

static int x_traits(sqlite3_file *h)
{
    return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

/* ---- the index of a WAL ---------------------------------------------------------------------- */

static int x_shm_map(sqlite3_file *h, int i, int size, int extend, void volatile **ret)
{
    struct handle *o = (struct handle *)h;
    struct file *f = o->f;

    CHECK(i < SHM_MAX);
    if (!o->has_shm && !f->n_shm++)
        free_shm(f); /* who comes first trusts nothing that others left */
    o->has_shm = 1;
    if (!f->shm[i] && extend)
        f->shm[i] = calloc(1, (size_t)size);
    *ret = f->shm[i];
    return SQLITE_OK;
}

static int x_shm_lock(sqlite3_file *h, int from, int n, int flags)
{
    struct handle *o = (struct handle *)h;
    struct file *f = o->f;

    for (int i = from; i < from + n; i++) {
        int others = f->n_shm_shared[i] - (int)(o->shm_shared >> i & 1);
        if (flags & SQLITE_SHM_LOCK &&
            ((f->shm_alone[i] && f->shm_alone[i] != o) || (flags & SQLITE_SHM_EXCLUSIVE && others)))
            return SQLITE_BUSY;
    }
    for (int i = from; i < from + n; i++) {
        int had = (int)(o->shm_shared >> i & 1), has = flags & SQLITE_SHM_LOCK ? 1 : 0;
        if (flags & SQLITE_SHM_EXCLUSIVE) {
            f->shm_alone[i] = has ? o : NULL;
        } else {
            f->n_shm_shared[i] += has - had;
            o->shm_shared = (o->shm_shared & ~(1u << i)) | (unsigned)has << i;
        }
    }
    return SQLITE_OK;
}

static void x_shm_barrier(sqlite3_file *h)
{
}

static int x_shm_unmap(sqlite3_file *h, int delete_it)
{
    struct handle *o = (struct handle *)h;

    if (o->has_shm && !--o->f->n_shm)
        free_shm(o->f);
    o->has_shm = 0;
    return SQLITE_OK;
}

static const sqlite3_io_methods methods = {
    2,          x_close,       x_read,        x_write,   x_truncate, x_sync,   x_size,
    x_lock,     x_unlock,      x_is_reserved, x_control, x_sector,   x_traits, x_shm_map,
    x_shm_lock, x_shm_barrier, x_shm_unmap,   NULL,      NULL,
};

/* ---- the file system ------------------------------------------------------------------------- */

static int v_open(sqlite3_vfs *v, const char *name, sqlite3_file *h, int flags, int *ret_flags)
{
    struct handle *o = (struct handle *)h;
    struct file *f = find(name ? name : "temporary");

    *o = (struct handle){0};
    if (fails_now(FAKE_DEAD) || (!f && fails_now(FAKE_READONLY)))
        return SQLITE_CANTOPEN;
    if (!f && !(flags & SQLITE_OPEN_CREATE))
        return SQLITE_CANTOPEN;
    o->f = f ? f : make(name ? name : "temporary");
    o->f->n_open++;
    o->base.pMethods = &methods;
    if (ret_flags)
        *ret_flags = flags;
    return SQLITE_OK;
}

static int v_delete(sqlite3_vfs *v, const char *name, int sync_dir)
{
    struct file *f = find(name);
    int code = change(f);

    if (code)
        return SQLITE_IOERR_DELETE;
    if (!f)
        return SQLITE_IOERR_DELETE_NOENT;
    f->is_deleted = 1;
    put_away(f);
    return SQLITE_OK;
}

static int v_access(sqlite3_vfs *v, const char *name, int flags, int *ret)
{
    *ret = find(name) != NULL;
    return SQLITE_OK;
}

static int v_full_name(sqlite3_vfs *v, const char *name, int n, char *out)
{
    snprintf(out, (size_t)n, "%s", name);
    return SQLITE_OK;
}

static int v_random(sqlite3_vfs *v, int n, char *out)
{
    return rand_system(out, (size_t)n) ? 0 : n;
}

static int v_sleep(sqlite3_vfs *v, int us)
{
    clock_sleep_us(us);
    return us;
}

static int v_time(sqlite3_vfs *v, sqlite3_int64 *ret)
{
    *ret = INT64_C(210866760000000) + clock_wall_us() / 1000; /* Julian day, ms */
    return SQLITE_OK;
}

static int v_time_day(sqlite3_vfs *v, double *ret)
{
    sqlite3_int64 ms;

    v_time(v, &ms);
    *ret = (double)ms / 86400000.0;
    return SQLITE_OK;
}

static int v_error(sqlite3_vfs *v, int n, char *out)
{
    return 0;
}

const char *disk_vfs(void)
{
    static sqlite3_vfs vfs = {
        .iVersion = 2,
        .szOsFile = sizeof(struct handle),
        .mxPathname = 255,
        .zName = "fake",
        .xOpen = v_open,
        .xDelete = v_delete,
        .xAccess = v_access,
        .xFullPathname = v_full_name,
        .xRandomness = v_random,
        .xSleep = v_sleep,
        .xCurrentTime = v_time_day,
        .xGetLastError = v_error,
        .xCurrentTimeInt64 = v_time,
    };

    sqlite3_vfs_register(&vfs, 1); /* the default: SQLite draws its own random numbers there */
    return "fake";
}
