#include "cloud/acceptance.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/disk.h"
#include "base/rand.h"

#define DOMAIN    "gaufre acceptance 1\n"
#define PATH_MOST 4096
#define HEX_MAX   (2 * crypto_sign_SEEDBYTES + 1)
#define MILLE     1000

/* ---- the verdict ----------------------------------------------------------------------------- */

static void add(struct measurement_verdict *v, const char *reason)
{
    if (v->n_reasons < MEASUREMENT_REASONS_MAX)
        v->reason[v->n_reasons++] = reason;
}

/* The power that all requests together used, in the contract's watts; -1: not known, and why. */
static int64_t held(const struct measurement *m, const struct contract *c, int64_t busy_us,
                    const char **ret_why)
{
    contract_nano uj = 0, watts;

    *ret_why = "the power that it held is not known";
    for (int k = 0; k < m->n_rows; k++)
        uj += m->point[0][k].energy_uj > 0 ? m->point[0][k].energy_uj : 0;
    if (!m->method || busy_us <= 0)
        return -1;
    watts = m->stated_w ? m->stated_w : uj / busy_us;
    if (watts > CONTRACT_WATTS_MAX)
        watts = CONTRACT_WATTS_MAX;
    *ret_why = "its energy is that of accelerators alone, so the power that it held is not known";
    if (m->boundary == ENERGY_ACCELERATOR)
        return -1;
    if ((m->boundary == ENERGY_FACILITY) == (c->basis == CONTRACT_FACILITY))
        return (int64_t)watts;
    *ret_why = "its energy and the contract's power are not of the same boundary, and no PUE was "
               "said, so the power that it held is not known";
    if (!m->pue_permille)
        return -1;
    return (int64_t)(m->boundary == ENERGY_FACILITY ? watts * MILLE / m->pue_permille
                                                    : watts * m->pue_permille / MILLE);
}

void acceptance_judge(struct measurement *m, const struct contract *c, const struct tranche *t,
                      int64_t promised_mtps, int64_t busy_us)
{
    struct measurement_verdict *v = &m->verdict;
    struct basket_measured b;
    struct basket_level l = {.i_broken = 0};
    const char *why = measurement_match(m, c, &b), *no_power;

    *v = (struct measurement_verdict){.is_there = 1, .promised_mtps = promised_mtps};
    if (why)
        add(v, why);
    else
        basket_level(c, &b, 0, &l);
    v->made_mtps = l.rate_mtps;
    v->held_w = held(m, c, busy_us, &no_power);
    if (!why && l.i_broken >= 0)
        add(v, "a row of the basket does not keep its limits at p99");
    if (l.rate_mtps < promised_mtps)
        add(v, "it made fewer tokens/s than were promised");
    if (v->held_w >= 0 &&
        (contract_nano)v->held_w * MILLE < (contract_nano)t->watts * ACCEPTANCE_FULL_PERMILLE)
        add(v, "it did not hold the tranche's power");
    v->has_passed = !v->n_reasons;
    if (v->held_w < 0)
        add(v, no_power); /* which is told, and does not fail it */
}

/* ---- the signature --------------------------------------------------------------------------- */

/* A new key beside the file, which then gets its name unless another was quicker. */
static int make(const char *path, struct err *e)
{
    unsigned char seed[crypto_sign_SEEDBYTES];
    char hex[HEX_MAX], beside[PATH_MOST];
    int fd, r = 0;

    if (rand_system(seed, sizeof seed))
        return err_set(e, ERR_IO, "no random bytes from the system");
    if (snprintf(beside, sizeof beside, "%s.%ld", path, (long)getpid()) >= (int)sizeof beside)
        return err_set(e, ERR_ARG, "the path of the key is too long");
    sodium_bin2hex(hex, sizeof hex, seed, sizeof seed);
    hex[HEX_MAX - 1] = '\n';
    fd = disk_open_private(beside, O_WRONLY | O_CREAT | O_TRUNC);
    if (fd < 0 || write(fd, hex, sizeof hex) != (ssize_t)sizeof hex || fsync(fd) ||
        (link(beside, path) && errno != EEXIST))
        r = err_set(e, ERR_IO, "cannot make the key %s: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    unlink(beside);
    sodium_memzero(seed, sizeof seed);
    sodium_memzero(hex, sizeof hex);
    return r;
}

static int read_seed(const char *path, unsigned char seed[crypto_sign_SEEDBYTES], struct err *e)
{
    int fd = disk_open_private(path, O_RDONLY), is_key;
    char hex[HEX_MAX + 1];
    const char *end = NULL;
    ssize_t got;
    size_t n = 0;

    if (fd < 0 && errno == ENOENT) {
        if (make(path, e))
            return e->code;
        fd = disk_open_private(path, O_RDONLY);
    }
    if (fd < 0)
        return err_set(e, ERR_IO, "cannot read the key %s: %s", path, strerror(errno));
    got = read(fd, hex, sizeof hex);
    close(fd);
    is_key = got == HEX_MAX && hex[HEX_MAX - 1] == '\n' &&
             !sodium_hex2bin(seed, crypto_sign_SEEDBYTES, hex, HEX_MAX - 1, NULL, &n, &end) &&
             n == crypto_sign_SEEDBYTES;
    sodium_memzero(hex, sizeof hex);
    return is_key ? 0
                  : err_set(e, ERR_FORMAT, "%s holds no key: 64 hex digits and a line's end", path);
}

/* What is signed. */
static int put_message(struct buf *b, const char *text)
{
    buf_init(b, MEASUREMENT_TEXT_MAX + sizeof DOMAIN);
    buf_add_str(b, DOMAIN);
    return buf_add_str(b, text);
}

int acceptance_sign(const char *key_file, const char *text,
                    char ret_signature[ACCEPTANCE_SIGNATURE_TEXT],
                    char ret_public[ACCEPTANCE_PUBLIC_TEXT], struct err *e)
{
    unsigned char seed[crypto_sign_SEEDBYTES], public_key[crypto_sign_PUBLICKEYBYTES];
    unsigned char secret[crypto_sign_SECRETKEYBYTES], signature[crypto_sign_BYTES];
    struct buf b;
    int r = read_seed(key_file, seed, e);

    if (r)
        return r;
    if (put_message(&b, text)) {
        r = err_set(e, ERR_TOO_LARGE, "the acceptance is too long to be signed");
    } else {
        crypto_sign_seed_keypair(public_key, secret, seed);
        crypto_sign_detached(signature, NULL, (const unsigned char *)b.data, b.len, secret);
        sodium_bin2hex(ret_signature, ACCEPTANCE_SIGNATURE_TEXT, signature, sizeof signature);
        sodium_bin2hex(ret_public, ACCEPTANCE_PUBLIC_TEXT, public_key, sizeof public_key);
    }
    sodium_memzero(seed, sizeof seed);
    sodium_memzero(secret, sizeof secret);
    buf_done(&b);
    return r;
}

int acceptance_is_signed(const char *text, const char *signature, const char *public_key)
{
    unsigned char key[crypto_sign_PUBLICKEYBYTES], sig[crypto_sign_BYTES];
    size_t n_key = 0, n_sig = 0;
    struct buf b;
    int is = 0;

    if (sodium_hex2bin(key, sizeof key, public_key, strlen(public_key), NULL, &n_key, NULL) ||
        sodium_hex2bin(sig, sizeof sig, signature, strlen(signature), NULL, &n_sig, NULL) ||
        n_key != sizeof key || n_sig != sizeof sig)
        return 0;
    if (!put_message(&b, text))
        is = !crypto_sign_verify_detached(sig, (const unsigned char *)b.data, b.len, key);
    buf_done(&b);
    return is;
}
