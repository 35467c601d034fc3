#include "books/journal.h"

#include <errno.h>
#include <sodium.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/disk.h"
#include "base/log.h"
#include "base/rand.h"
#include "books/ledger_sql.h"

#define WINDOW_BYTES (256 << 10)
#define PATH_BYTES   4096
#define LOOSE        0x80000000u
#define STEP         8 /* records begin at multiples of it */

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "records are in little endian");

/* A record: its head; the row's fields, a number in eight bytes, a text behind its length in two;
 * zeros up to a multiple of STEP. The checksum is of all that follows it. */
struct head {
    uint64_t checksum;
    char magic[3];
    uint8_t version;
    uint16_t size;     /* of the record */
    uint16_t n_fields; /* a later version may have more, behind these */
    uint64_t salt;     /* of this file since it began anew: what was here before is no part of it */
    uint32_t group;
    uint32_t left; /* of the group, after this one; LOOSE */
};
_Static_assert(sizeof(struct head) == 32, "the head has no holes");

#define VERSION 1

/* A row's fields, in the order of a record. */
enum kind { TEXT, LONG, INT };
static const struct {
    enum kind kind;
    size_t at, size;
} fields[] = {
#define FIELD(kind, name)                                                                          \
    {kind, offsetof(struct books_row, name), sizeof(((struct books_row *)0)->name)},
    LEDGER_FIELDS(FIELD)
#undef FIELD
};

/* A place in the file, and what the record before it was. */
struct place {
    int64_t at;
    uint64_t salt; /* 0: of any, at the beginning */
    uint32_t group, left;
    int is_after_hole; /* whatever comes is taken */
};

struct journal {
    int fd;
    enum journal_how how;
    int is_loose;
    int is_ours; /* it began anew in this process: up to the end all was flushed */
    char path[PATH_BYTES];
    int64_t end;             /* where the next group is written */
    struct place kept, read; /* up to here: in the database; read last */
    uint64_t salt;           /* of this file, once it is ours */
    uint32_t group;          /* written last */
    int is_cut_unsafe;       /* it was emptied, and perhaps not on the disk */
    int has_hole;
    int64_t hole_from, hole_to; /* the first that is damaged */
    int is_searched;
    int64_t proof_at; /* of what comes, the record of the highest group */
    uint32_t proof_group;
    int is_torn; /* and that was logged */
    int read_errno;
    struct buf out;
    int why_code;
    char why[200];
    int64_t window_at;
    size_t window_n;
    unsigned char window[WINDOW_BYTES];
};

/* ---- opening --------------------------------------------------------------------------------- */

static int open_error(const struct journal *j, int why, struct err *e)
{
    int code = why == EWOULDBLOCK                              ? ERR_AGAIN
               : why == ENOENT                                 ? ERR_NOTFOUND
               : why == EACCES || why == EPERM || why == EROFS ? ERR_FORBIDDEN
                                                               : ERR_IO;

    return err_set(e, code, "ledger's journal %s: %s", j->path, strerror(why));
}

/* What another version wrote is not taken for damage. */
static int check_version(struct journal *j, struct err *e)
{
    struct head h;

    if (disk_read_at(j->fd, &h, sizeof h, 0) == (int64_t)sizeof h &&
        !memcmp(h.magic, "gfr", sizeof h.magic) &&
        (h.version > VERSION || h.n_fields > ARRAY_LEN(fields)))
        return err_set(e, ERR_UNSUPPORTED,
                       "ledger's journal %s: written by a later version: start that version once, "
                       "so that its rows are put into the ledger",
                       j->path);
    return 0;
}

static void begin_anew(struct journal *j)
{
    j->end = 0;
    j->group = 0;
    j->kept = j->read = (struct place){0};
    j->window_n = 0;
    j->is_torn = 0;
}

int journal_open(struct journal **ret, const char *ledger, int slot, enum journal_how how,
                 int is_loose, struct err *e)
{
    static const enum disk_mode modes[] = {DISK_LOOK, DISK_HAVE, DISK_MAKE};
    struct journal *j = calloc(1, sizeof *j);
    char number[12] = "";
    int r = 0;

    if (!j)
        return err_set(e, ERR_NOMEM, "ledger's journal: out of memory");
    buf_init(&j->out, (size_t)JOURNAL_GROUP_ROWS * JOURNAL_RECORD_MAX);
    j->how = how;
    j->is_loose = is_loose;
    j->fd = -1;
    if (slot)
        snprintf(number, sizeof number, "%d", slot + 1);
    if (snprintf(j->path, sizeof j->path, "%s-rows%s", ledger, number) >= (int)sizeof j->path)
        r = open_error(j, ENAMETOOLONG, e);
    if (!r && rand_system(&j->salt, sizeof j->salt))
        r = err_set(e, ERR_IO, "no random bytes from the system");
    if (!r && (j->fd = disk_open(j->path, modes[how])) < 0)
        r = open_error(j, errno, e);
    if (!r && (j->end = disk_size(j->fd)) < 0)
        r = open_error(j, errno, e);
    if (!r)
        r = check_version(j, e);
    if (r)
        journal_close(j);
    else
        *ret = j;
    return r;
}

void journal_close(struct journal *j)
{
    if (!j)
        return;
    if (j->fd >= 0)
        disk_close(j->fd);
    buf_done(&j->out);
    free(j);
}

int64_t journal_bytes(const struct journal *j)
{
    return j->end;
}

/* ---- writing --------------------------------------------------------------------------------- */

static uint64_t checksum(const unsigned char *record, size_t size)
{
    static const unsigned char key[crypto_shorthash_KEYBYTES];
    unsigned char sum[crypto_shorthash_BYTES];
    uint64_t v;

    crypto_shorthash(sum, record + sizeof v, size - sizeof v, key);
    memcpy(&v, sum, sizeof v);
    return v;
}

static void put_field(struct buf *out, const struct books_row *r, size_t i)
{
    const char *at = (const char *)r + fields[i].at;
    int64_t v = fields[i].kind == INT ? *(const int *)at : 0;
    uint16_t n;

    if (fields[i].kind == TEXT) {
        n = (uint16_t)strnlen(at, fields[i].size - 1);
        buf_add(out, &n, sizeof n);
        buf_add(out, at, n);
    } else {
        buf_add(out, fields[i].kind == INT ? (const char *)&v : at, sizeof v);
    }
}

static int put_row(struct journal *j, const struct books_row *r, uint32_t left)
{
    static const char zeros[STEP];
    size_t from = j->out.len, size;
    struct head h = {.magic = "gfr",
                     .version = VERSION,
                     .n_fields = ARRAY_LEN(fields),
                     .salt = j->salt,
                     .group = j->group + 1,
                     .left = left | (j->is_loose ? LOOSE : 0)};

    buf_add(&j->out, &h, sizeof h);
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        put_field(&j->out, r, i);
    buf_add(&j->out, zeros, -(j->out.len - from) % STEP);
    if (j->out.failed)
        return -1;
    size = j->out.len - from;
    CHECK(size <= JOURNAL_RECORD_MAX);
    h.size = (uint16_t)size;
    memcpy(j->out.data + from, &h, sizeof h);
    h.checksum = checksum((unsigned char *)j->out.data + from, size);
    memcpy(j->out.data + from, &h, sizeof h);
    return 0;
}

static int fail(struct journal *j, int code, const char *text)
{
    j->why_code = code;
    snprintf(j->why, sizeof j->why, "its journal: %s", text);
    return -1;
}

int journal_append(struct journal *j, struct books_row *const *rows, int n)
{
    CHECK(j->how != JOURNAL_LOOK && (j->is_ours || !j->end) && n > 0 && n <= JOURNAL_GROUP_ROWS);
    j->is_ours = 1;
    buf_clear(&j->out);
    for (int i = 0; i < n; i++) {
        if (put_row(j, rows[i], (uint32_t)(n - 1 - i)))
            return fail(j, ENOMEM, "out of memory");
    }
    if (j->end + (int64_t)j->out.len > JOURNAL_BYTES_MAX)
        return fail(j, EFBIG, "it is full, because the database takes no rows");
    if (disk_write_at(j->fd, j->out.data, j->out.len, j->end) || (!j->is_loose && disk_sync(j->fd)))
        return fail(j, errno, strerror(errno));
    j->end += (int64_t)j->out.len;
    j->group++;
    return 0;
}

int journal_failure(const struct journal *j, const char **ret_text)
{
    *ret_text = j->why;
    return j->why_code;
}

void journal_keep(struct journal *j)
{
    j->kept = j->read;
}

int journal_restart(struct journal *j)
{
    CHECK(j->how != JOURNAL_LOOK);
    if (j->end && disk_cut(j->fd, 0))
        return fail(j, errno, strerror(errno));
    if (j->end) {
        begin_anew(j);
        j->salt++;
        j->is_cut_unsafe = 1;
    }
    j->is_ours = 1;
    if (j->is_cut_unsafe && disk_sync(j->fd))
        return fail(j, errno, strerror(errno));
    j->is_cut_unsafe = 0;
    return 0;
}

/* ---- reading --------------------------------------------------------------------------------- */

/* n bytes of the file, or NULL where there are not so many. They stay until the next look. */
static const unsigned char *look(struct journal *j, int64_t at, size_t n)
{
    int64_t got;

    if (at + (int64_t)n > j->end)
        return NULL;
    if (at < j->window_at || at + (int64_t)n > j->window_at + (int64_t)j->window_n) {
        got = disk_read_at(j->fd, j->window, sizeof j->window, at);
        if (got < 0)
            j->read_errno = errno;
        j->window_at = at;
        j->window_n = got < 0 ? 0 : (size_t)got;
    }
    return n <= j->window_n - (size_t)(at - j->window_at) ? j->window + (at - j->window_at) : NULL;
}

/* The record at a place, or NULL where there is none that is whole. */
static const unsigned char *record_at(struct journal *j, int64_t at, struct head *ret)
{
    const unsigned char *p = look(j, at, sizeof *ret);

    if (!p)
        return NULL;
    memcpy(ret, p, sizeof *ret);
    if (memcmp(ret->magic, "gfr", sizeof ret->magic) || ret->version != VERSION ||
        ret->size < sizeof *ret || ret->size > JOURNAL_RECORD_MAX || ret->size % STEP)
        return NULL;
    p = look(j, at, ret->size);
    return p && checksum(p, ret->size) == ret->checksum ? p : NULL;
}

/* A field from what is left of a record; how many bytes it had there, or -1. */
static int read_field(const unsigned char *p, size_t n_left, size_t i, struct books_row *ret)
{
    char *to = (char *)ret + fields[i].at;
    int64_t v;
    uint16_t n;

    if (n_left < (fields[i].kind == TEXT ? sizeof n : sizeof v))
        return -1;
    if (fields[i].kind == TEXT) {
        memcpy(&n, p, sizeof n);
        if (n >= fields[i].size || n > n_left - sizeof n || memchr(p + sizeof n, 0, n))
            return -1;
        memcpy(to, p + sizeof n, n);
        return (int)(sizeof n + n);
    }
    memcpy(&v, p, sizeof v);
    if (fields[i].kind == LONG)
        memcpy(to, &v, sizeof v);
    else if (v == (int)v)
        *(int *)to = (int)v;
    else
        return -1;
    return (int)sizeof v;
}

static int read_row(const struct head *h, const unsigned char *p, struct books_row *ret)
{
    size_t left = h->size - sizeof *h;

    *ret = (struct books_row){0};
    ledger_row_unmeasured(ret); /* an earlier version's record has no such fields */
    p += sizeof *h;
    if (h->n_fields > ARRAY_LEN(fields))
        return -1;
    for (size_t i = 0; i < h->n_fields; i++) {
        int n = read_field(p, left, i, ret);
        if (n < 0)
            return -1;
        p += n;
        left -= (size_t)n;
    }
    return left < STEP && *ret->request_id ? 0 : -1;
}

/* May this record stand here? */
static int follows(const struct place *here, const struct head *h)
{
    uint32_t left = h->left & ~LOOSE;

    if (here->salt && h->salt != here->salt)
        return 0;
    if (here->is_after_hole)
        return 1;
    return here->left ? h->group == here->group && left == here->left - 1
                      : h->group == here->group + 1;
}

/* The first whole record from `at` on that a hole may end with; -1: none. */
static int64_t find_record(struct journal *j, const struct place *here, int64_t at,
                           struct head *ret)
{
    for (; at < j->end; at += STEP) {
        if (record_at(j, at, ret) && (!here->salt || ret->salt == here->salt) &&
            ret->group >= here->group)
            return at;
    }
    return -1;
}

/* Was the group that has no whole record here on the disk? A later one shows it. Of all that come
 * the highest is looked for once: they are taken in order, so behind it none is higher. */
static int was_flushed(struct journal *j, const struct place *here)
{
    uint32_t group = here->left ? here->group : here->group + 1;
    int64_t at = here->at;
    struct head h;

    if (j->is_ours)
        return 1;
    while (!j->is_searched && (at = find_record(j, here, at, &h)) >= 0) {
        if (!(h.left & LOOSE) && h.group >= j->proof_group) {
            j->proof_at = at;
            j->proof_group = h.group;
        }
        at += h.size;
    }
    j->is_searched = 1;
    return j->proof_at > here->at && j->proof_group > group;
}

/* Nothing whole is at this place, which is not the end: 0, and the place is where it goes on; -1:
 * nothing comes any more. */
static int pass_hole(struct journal *j, struct place *here)
{
    struct head h;
    int64_t to;

    if (!was_flushed(j, here)) {
        if (j->how != JOURNAL_LOOK && !j->is_torn)
            log_line(LOG_WARN,
                     "ledger: the journal %s was cut short while its last group was being written: "
                     "%lld bytes from byte %lld on are no whole rows, and were never told to be "
                     "on the disk",
                     j->path, (long long)(j->end - here->at), (long long)here->at);
        j->is_torn = 1;
        return -1;
    }
    /* What stands here may be whole, and something before it gone; but not where a hole led. */
    to = find_record(j, here, here->at + (here->is_after_hole ? STEP : 0), &h);
    if (to < 0)
        to = j->end;
    if (!j->has_hole) {
        j->has_hole = 1;
        j->hole_from = here->at;
        j->hole_to = to;
    }
    here->at = to;
    here->is_after_hole = 1;
    return to < j->end ? 0 : -1;
}

static int tell_hole(const struct journal *j, struct err *e)
{
    return err_set(e, ERR_FORMAT,
                   "ledger's journal %s is damaged: bytes %lld to %lld are not as they were "
                   "written. All other rows of it are in the ledger. Those of the damage are in "
                   "no other place: restore the file from a copy of the disk, or move it away, "
                   "and what it had there is not booked",
                   j->path, (long long)j->hole_from, (long long)j->hole_to);
}

int journal_read(struct journal *j, struct books_row *rows, int n_max, struct err *e)
{
    struct place here = j->kept;
    int n = 0;

    j->read_errno = 0;
    j->window_n = 0; /* what was appended meanwhile is not in it */
    while (n < n_max && here.at < j->end) {
        struct head h;
        const unsigned char *p = record_at(j, here.at, &h);
        if (p && follows(&here, &h) && !read_row(&h, p, &rows[n])) {
            n++;
            here = (struct place){here.at + h.size, h.salt, h.group, h.left & ~LOOSE, 0};
        } else if (j->read_errno || pass_hole(j, &here)) {
            break;
        }
    }
    if (j->read_errno)
        return err_set(e, ERR_IO, "ledger's journal %s: %s", j->path, strerror(j->read_errno));
    j->read = here;
    return !n && j->has_hole ? tell_hole(j, e) : n;
}

uint64_t journal_salt(struct journal *j)
{
    struct head h;

    return disk_read_at(j->fd, &h, sizeof h, 0) == (int64_t)sizeof h ? h.salt : 0;
}
