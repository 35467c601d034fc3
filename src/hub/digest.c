#include "hub/hub_int.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CHUNK = 1 << 20 };

int digest_is_hex(const char *s)
{
    return strlen(s) == 64 && strspn(s, "0123456789abcdefABCDEF") == 64;
}

static int hash_all(int fd, EVP_MD_CTX *md, unsigned char *chunk,
                    int (*tick)(void *ctx, uint64_t done), void *ctx, struct err *e)
{
    uint64_t done = 0;

    for (;;) {
        ssize_t n = pread(fd, chunk, CHUNK, (off_t)done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set(e, ERR_IO, "cannot read the file to check it: %s", strerror(errno));
        if (n == 0)
            return 0;
        if (!EVP_DigestUpdate(md, chunk, (size_t)n))
            return err_set(e, ERR_INTERNAL, "SHA-256 failed");
        done += (uint64_t)n;
        if (tick && tick(ctx, done))
            return err_set(e, ERR_CANCELLED, "cancelled");
    }
}

int digest_file(int fd, char ret[65], int (*tick)(void *ctx, uint64_t done), void *ctx,
                struct err *e)
{
    static const char hex[] = "0123456789abcdef";
    unsigned char sum[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    unsigned char *chunk = malloc(CHUNK);
    unsigned n_sum = 0;
    int err;

    if (!md || !chunk || !EVP_DigestInit_ex(md, EVP_sha256(), NULL)) {
        err = err_set(e, ERR_NOMEM, "out of memory for SHA-256");
        goto out;
    }
    err = hash_all(fd, md, chunk, tick, ctx, e);
    if (err)
        goto out;
    if (!EVP_DigestFinal_ex(md, sum, &n_sum) || n_sum != 32) {
        err = err_set(e, ERR_INTERNAL, "SHA-256 failed");
        goto out;
    }
    for (int i = 0; i < 32; i++) {
        ret[2 * i] = hex[sum[i] >> 4];
        ret[2 * i + 1] = hex[sum[i] & 15];
    }
    ret[64] = 0;
out:
    free(chunk);
    EVP_MD_CTX_free(md);
    return err;
}
