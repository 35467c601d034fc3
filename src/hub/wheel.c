/* A wheel is a zip; its member goes to the disk in pieces, never whole into memory. */
#include "hub/hub_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zip.h>

enum { CHUNK = 256 << 10 };

static int write_at(int fd, const char *p, size_t n, uint64_t at, struct err *e)
{
    while (n) {
        ssize_t done = pwrite(fd, p, n, (off_t)at);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return err_set(
                e, errno == ENOSPC || errno == EDQUOT || errno == EFBIG ? ERR_LIMIT : ERR_IO,
                "cannot write the file: %s", strerror(errno));
        p += done;
        n -= (size_t)done;
        at += (uint64_t)done;
    }
    return 0;
}

/* The checksum of the member is checked by libzip when its end is read. */
static int copy_member(zip_file_t *f, const char *member, uint64_t bytes, int fd, uint64_t at,
                       int (*tick)(void *ctx, uint64_t done), void *ctx, struct err *e)
{
    char *chunk = malloc(CHUNK);
    uint64_t done = 0;
    int err = 0;

    if (!chunk)
        return err_set(e, ERR_NOMEM, "out of memory");
    for (;;) {
        zip_int64_t n = zip_fread(f, chunk, CHUNK);
        if (n < 0) {
            err = err_set(e, ERR_FORMAT, "%s in the package is damaged: %s", member,
                          zip_file_strerror(f));
            break;
        }
        if (n == 0)
            break;
        if ((uint64_t)n > bytes - done) {
            err = err_set(e, ERR_FORMAT, "%s in the package is longer than it says", member);
            break;
        }
        err = write_at(fd, chunk, (size_t)n, at + done, e);
        if (err)
            break;
        done += (uint64_t)n;
        if (tick && tick(ctx, done)) {
            err = err_set(e, ERR_CANCELLED, "cancelled");
            break;
        }
    }
    if (!err && done != bytes)
        err = err_set(e, ERR_FORMAT, "%s in the package is shorter than it says", member);
    free(chunk);
    return err;
}

int wheel_unpack(const char *zip_path, const char *member, uint64_t bytes, int fd, uint64_t at,
                 int (*tick)(void *ctx, uint64_t done), void *ctx, struct err *e)
{
    zip_stat_t st;
    zip_file_t *f = NULL;
    int code = 0, err;
    zip_t *zip = zip_open(zip_path, ZIP_RDONLY, &code);

    if (!zip)
        return err_set(e, ERR_FORMAT, "%s is not a package (a zip file)", zip_path);
    zip_stat_init(&st);
    if (zip_stat(zip, member, 0, &st) || !(st.valid & ZIP_STAT_SIZE)) {
        err = err_set(e, ERR_FORMAT, "%s has no %s in it", zip_path, member);
        goto out;
    }
    if (st.size != bytes) {
        err = err_set(e, ERR_FORMAT, "%s in the package has %llu bytes, expected %llu", member,
                      (unsigned long long)st.size, (unsigned long long)bytes);
        goto out;
    }
    f = zip_fopen(zip, member, 0);
    if (!f) {
        err =
            err_set(e, ERR_FORMAT, "cannot read %s in the package: %s", member, zip_strerror(zip));
        goto out;
    }
    err = copy_member(f, member, bytes, fd, at, tick, ctx, e);
out:
    if (f)
        zip_fclose(f);
    zip_discard(zip);
    return err;
}
