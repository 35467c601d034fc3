#include "books/tree_head.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/disk.h"

#define SEED      crypto_sign_SEEDBYTES
#define PATH_MAX_ 4096
#define SEED_TEXT (2 * SEED + 1)

/* Names and numbers of RFC 9052, 8392 and 9942. */
enum { ALG = 1, KID = 4, CWT_CLAIMS = 15, VDS = 395 };
enum { EDDSA = -8, ISS = 1, SUB = 2, IAT = 6, RFC9162_SHA256 = 1 };

/* ---- the key --------------------------------------------------------------------------------- */

static int failed(struct err *e, const char *path)
{
    return err_set(e, ERR_IO, "key of the log of answers: %s: %s", path, strerror(errno));
}

/* A new key in a file that has its name once it is whole. Another process may be quicker: then its
 * key is the one. */
static int make_key(const char *path, struct err *e)
{
    unsigned char seed[SEED];
    char text[SEED_TEXT + 1], tmp[PATH_MAX_];
    int fd, r = 0;

    if (snprintf(tmp, sizeof tmp, "%s.%ld", path, (long)getpid()) >= (int)sizeof tmp)
        return err_set(e, ERR_ARG, "key of the log of answers: its path is too long");
    randombytes_buf(seed, sizeof seed);
    sodium_bin2hex(text, SEED_TEXT, seed, sizeof seed);
    text[SEED_TEXT - 1] = '\n';
    fd = disk_open_private(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW);
    if (fd < 0)
        return failed(e, tmp);
    if (write(fd, text, SEED_TEXT) != (ssize_t)SEED_TEXT || fsync(fd))
        r = failed(e, tmp);
    close(fd);
    if (!r && link(tmp, path) && errno != EEXIST)
        r = failed(e, path);
    unlink(tmp);
    sodium_memzero(seed, sizeof seed);
    sodium_memzero(text, sizeof text);
    return r;
}

static int read_key(struct tree_key *ret, const char *path, struct err *e)
{
    unsigned char seed[SEED];
    struct buf text;
    size_t n = 0;
    int r;

    buf_init(&text, 256);
    r = disk_read(path, &text);
    if (r == ERR_IO)
        failed(e, path);
    if (!r &&
        (sodium_hex2bin(seed, sizeof seed, text.data ? text.data : "", text.len, "\n", &n, NULL) ||
         n != sizeof seed))
        r = err_set(e, ERR_FORMAT, "key of the log of answers: %s: wants %d hex digits", path,
                    2 * (int)SEED);
    if (!r)
        crypto_sign_seed_keypair(ret->public_key, ret->secret, seed);
    if (text.data)
        sodium_memzero(text.data, text.len);
    buf_done(&text);
    sodium_memzero(seed, sizeof seed);
    return r;
}

int tree_key_open(struct tree_key *ret, const char *path, struct err *e)
{
    int fd, r;

    if (sodium_init() < 0)
        return err_set(e, ERR_IO, "no random bytes from the system");
    r = read_key(ret, path, e);
    if (r == ERR_NOTFOUND) {
        r = make_key(path, e);
        return r ? r : read_key(ret, path, e);
    }
    /* What others could read until now is tightened. */
    fd = r ? -1 : disk_open_private(path, O_RDONLY);
    if (!r && fd < 0)
        return failed(e, path);
    if (fd >= 0)
        close(fd);
    return r;
}

void tree_key_pem(const unsigned char key[TREE_KEY], char ret[TREE_PEM_MAX])
{
    /* SubjectPublicKeyInfo of Ed25519: all that comes before the key is constant. */
    unsigned char der[44] = {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03,
                             0x2b, 0x65, 0x70, 0x03, 0x21, 0x00};
    char text[sodium_base64_ENCODED_LEN(sizeof der, sodium_base64_VARIANT_ORIGINAL)];

    memcpy(der + sizeof der - TREE_KEY, key, TREE_KEY);
    sodium_bin2base64(text, sizeof text, der, sizeof der, sodium_base64_VARIANT_ORIGINAL);
    snprintf(ret, TREE_PEM_MAX, "-----BEGIN PUBLIC KEY-----\n%s\n-----END PUBLIC KEY-----\n", text);
}

static void key_id(const unsigned char key[TREE_KEY], unsigned char ret[TREE_KEY_ID])
{
    unsigned char hash[crypto_hash_sha256_BYTES];

    crypto_hash_sha256(hash, key, TREE_KEY);
    memcpy(ret, hash, TREE_KEY_ID);
}

/* ---- signing --------------------------------------------------------------------------------- */

static void put_name(struct cbor *c, const char *s)
{
    cbor_put_text(c, s, strlen(s));
}

const char *tree_log_name(enum tree_log log)
{
    static const char *const names[TREE_LOGS] = {
        [TREE_ANSWERS] = "answers", [TREE_POWER] = "power"};

    return names[log];
}

size_t tree_head_protected(const struct tree_head *h, unsigned char ret[TREE_PROTECTED_MAX])
{
    struct cbor c = {ret, ret + TREE_PROTECTED_MAX, 0};
    char issuer[8 + 2 * TREE_KEY_ID] = "gaufre:";
    unsigned char id[TREE_KEY_ID];

    key_id(h->key, id);
    sodium_bin2hex(issuer + 7, 2 * TREE_KEY_ID + 1, id, sizeof id);
    cbor_put_map(&c, 4);
    cbor_put_int(&c, ALG);
    cbor_put_int(&c, EDDSA);
    cbor_put_int(&c, KID);
    cbor_put_bytes(&c, id, sizeof id);
    cbor_put_int(&c, CWT_CLAIMS);
    cbor_put_map(&c, 4);
    cbor_put_int(&c, ISS);
    put_name(&c, issuer);
    cbor_put_int(&c, SUB);
    put_name(&c, tree_log_name(h->log));
    cbor_put_int(&c, IAT);
    cbor_put_int(&c, h->at_s);
    put_name(&c, "size");
    cbor_put_int(&c, h->size);
    cbor_put_int(&c, VDS);
    cbor_put_int(&c, RFC9162_SHA256);
    CHECK(!c.failed);
    return (size_t)(c.at - ret);
}

/* What is signed (RFC 9052 section 4.4). */
static size_t signed_bytes(const struct tree_head *h, unsigned char ret[2 * TREE_PROTECTED_MAX])
{
    unsigned char protected[TREE_PROTECTED_MAX];
    struct cbor c = {ret, ret + 2 * (size_t)TREE_PROTECTED_MAX, 0};
    size_t n = tree_head_protected(h, protected);

    cbor_put_array(&c, 4);
    put_name(&c, "Signature1");
    cbor_put_bytes(&c, protected, n);
    cbor_put_bytes(&c, "", 0);
    cbor_put_bytes(&c, h->root, TREE_HASH);
    CHECK(!c.failed);
    return (size_t)(c.at - ret);
}

void tree_head_sign(struct tree_head *h, const struct tree_key *k)
{
    unsigned char bytes[2 * TREE_PROTECTED_MAX];
    size_t n;

    memcpy(h->key, k->public_key, TREE_KEY);
    n = signed_bytes(h, bytes);
    crypto_sign_detached(h->signature, NULL, bytes, n, k->secret);
}

int tree_head_is_signed(const struct tree_head *h)
{
    unsigned char bytes[2 * TREE_PROTECTED_MAX];
    size_t n = signed_bytes(h, bytes);

    return !crypto_sign_verify_detached(h->signature, bytes, n, h->key);
}
