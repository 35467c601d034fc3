#include "books/tree.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <sodium.h>
#include <string.h>

#include "base/check.h"

#define SHORT 2048 /* bytes of an entry that is hashed at once */

/* What a thread hashes with: looked for once, with its name that would be done at each call. */
static pthread_key_t contexts;
static EVP_MD *sha256;

static void free_context(void *md)
{
    EVP_MD_CTX_free(md);
}

static void find_sha256(void)
{
    if (!pthread_key_create(&contexts, free_context))
        sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
}

static EVP_MD_CTX *context(void)
{
    EVP_MD_CTX *md = sha256 ? pthread_getspecific(contexts) : NULL;

    if (!md && sha256 && (md = EVP_MD_CTX_new()) && pthread_setspecific(contexts, md)) {
        EVP_MD_CTX_free(md);
        md = NULL;
    }
    return md;
}

void tree_sha256(const void *p, size_t n, unsigned char ret[TREE_HASH])
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    EVP_MD_CTX *md;

    pthread_once(&once, find_sha256);
    md = context();
    if (!md || !EVP_DigestInit_ex2(md, sha256, NULL) || !EVP_DigestUpdate(md, p, n) ||
        !EVP_DigestFinal_ex(md, ret, NULL))
        crypto_hash_sha256(ret, p, n);
}

void tree_hash_leaf(const void *entry, size_t n, unsigned char ret[TREE_HASH])
{
    unsigned char both[1 + SHORT];
    crypto_hash_sha256_state h;

    if (n <= SHORT) {
        both[0] = 0;
        memcpy(both + 1, entry, n);
        tree_sha256(both, 1 + n, ret);
        return;
    }
    crypto_hash_sha256_init(&h);
    crypto_hash_sha256_update(&h, (const unsigned char *)"\0", 1);
    crypto_hash_sha256_update(&h, entry, n);
    crypto_hash_sha256_final(&h, ret);
}

void tree_hash_node(const unsigned char left[TREE_HASH], const unsigned char right[TREE_HASH],
                    unsigned char ret[TREE_HASH])
{
    unsigned char both[1 + 2 * TREE_HASH] = {1};

    memcpy(both + 1, left, TREE_HASH);
    memcpy(both + 1 + TREE_HASH, right, TREE_HASH);
    tree_sha256(both, sizeof both, ret);
}

/* ---- growing --------------------------------------------------------------------------------- */

void tree_append(struct tree *t, const unsigned char leaf[TREE_HASH],
                 void (*made)(void *arg, int level, int64_t i, const unsigned char *hash),
                 void *arg)
{
    unsigned char h[TREE_HASH];
    int level = 0;

    CHECK(t->size >= 0 && t->size < TREE_SIZE_MAX);
    memcpy(h, leaf, TREE_HASH);
    for (; t->size >> level & 1; level++) {
        tree_hash_node(t->node[level], h, h);
        if (made)
            made(arg, level + 1, t->size >> (level + 1), h);
    }
    memcpy(t->node[level], h, TREE_HASH);
    t->size++;
}

void tree_root(const struct tree *t, unsigned char ret[TREE_HASH])
{
    int level = 0;

    if (!t->size) {
        crypto_hash_sha256(ret, (const unsigned char *)"", 0);
        return;
    }
    while (!(t->size >> level & 1))
        level++;
    memcpy(ret, t->node[level], TREE_HASH);
    for (level++; t->size >> level; level++) {
        if (t->size >> level & 1)
            tree_hash_node(t->node[level], ret, ret);
    }
}

/* ---- making proofs --------------------------------------------------------------------------- */

/* The largest power of two below n, which is above 1. */
static int64_t split(int64_t n)
{
    return INT64_C(1) << (63 - __builtin_clzll((unsigned long long)n - 1));
}

/* The hash of n entries from `at` on; at is a multiple of the smallest power of two that holds n.
 */
static int hash_of(const struct tree_nodes *of, int64_t at, int64_t n, unsigned char ret[TREE_HASH])
{
    unsigned char right[TREE_HASH];
    int level = __builtin_ctzll((unsigned long long)n), r;
    int64_t k;

    if (n == INT64_C(1) << level)
        return of->node(of->arg, level, at >> level, ret);
    k = split(n);
    r = hash_of(of, at, k, ret);
    if (!r)
        r = hash_of(of, at + k, n - k, right);
    if (!r)
        tree_hash_node(ret, right, ret);
    return r;
}

static int add(const struct tree_nodes *of, int64_t at, int64_t n, struct tree_path *ret)
{
    CHECK(ret->n < TREE_PATH_MAX);
    return hash_of(of, at, n, ret->hash[ret->n++]);
}

/* RFC 9162 PATH(m, D[at : at + n]). */
static int prove_inclusion(const struct tree_nodes *of, int64_t m, int64_t at, int64_t n,
                           struct tree_path *ret)
{
    int64_t k;
    int r;

    if (n == 1)
        return 0;
    k = split(n);
    if (m < k) {
        r = prove_inclusion(of, m, at, k, ret);
        return r ? r : add(of, at + k, n - k, ret);
    }
    r = prove_inclusion(of, m - k, at + k, n - k, ret);
    return r ? r : add(of, at, k, ret);
}

/* RFC 9162 SUBPROOF(m, D[at : at + n], is_whole). */
static int prove_consistency(const struct tree_nodes *of, int64_t m, int64_t at, int64_t n,
                             int is_whole, struct tree_path *ret)
{
    int64_t k;
    int r;

    if (m == n)
        return is_whole ? 0 : add(of, at, n, ret);
    k = split(n);
    if (m <= k) {
        r = prove_consistency(of, m, at, k, is_whole, ret);
        return r ? r : add(of, at + k, n - k, ret);
    }
    r = prove_consistency(of, m - k, at + k, n - k, 0, ret);
    return r ? r : add(of, at, k, ret);
}

int tree_prove_inclusion(const struct tree_nodes *of, int64_t index, int64_t size,
                         struct tree_path *ret)
{
    CHECK(index >= 0 && index < size && size <= TREE_SIZE_MAX);
    ret->n = 0;
    return prove_inclusion(of, index, 0, size, ret);
}

int tree_prove_consistency(const struct tree_nodes *of, int64_t from, int64_t size,
                           struct tree_path *ret)
{
    CHECK(from > 0 && from <= size && size <= TREE_SIZE_MAX);
    ret->n = 0;
    return prove_consistency(of, from, 0, size, 1, ret);
}

/* ---- checking -------------------------------------------------------------------------------- */

static int same(const unsigned char *a, const unsigned char *b)
{
    return !memcmp(a, b, TREE_HASH);
}

static int is_sane(const struct tree_path *path, int64_t size)
{
    return path->n >= 0 && path->n <= TREE_PATH_MAX && size > 0 && size <= TREE_SIZE_MAX;
}

/* Up to the next level at which the node is a right child. */
static void climb(int64_t *fn, int64_t *sn)
{
    while (!(*fn & 1) && *fn) {
        *fn >>= 1;
        *sn >>= 1;
    }
}

int tree_root_by(const unsigned char leaf[TREE_HASH], int64_t index, int64_t size,
                 const struct tree_path *path, unsigned char ret[TREE_HASH])
{
    int64_t fn = index, sn = size - 1;

    if (!is_sane(path, size) || index < 0 || index >= size)
        return 0;
    memcpy(ret, leaf, TREE_HASH);
    for (int i = 0; i < path->n; i++) {
        if (!sn)
            return 0;
        if (fn & 1 || fn == sn) {
            tree_hash_node(path->hash[i], ret, ret);
            climb(&fn, &sn);
        } else {
            tree_hash_node(ret, path->hash[i], ret);
        }
        fn >>= 1;
        sn >>= 1;
    }
    return !sn;
}

int tree_check_inclusion(const unsigned char leaf[TREE_HASH], int64_t index, int64_t size,
                         const struct tree_path *path, const unsigned char root[TREE_HASH])
{
    unsigned char r[TREE_HASH];

    return tree_root_by(leaf, index, size, path, r) && same(r, root);
}

int tree_check_consistency(int64_t from, const unsigned char from_root[TREE_HASH], int64_t size,
                           const unsigned char root[TREE_HASH], const struct tree_path *path)
{
    unsigned char fr[TREE_HASH], sr[TREE_HASH];
    int64_t fn = from - 1, sn = size - 1;
    int i = 0;

    if (!is_sane(path, size) || from <= 0 || from > size)
        return 0;
    if (from == size)
        return !path->n && same(from_root, root);
    if (!path->n)
        return 0;
    for (; fn & 1; fn >>= 1)
        sn >>= 1;
    /* Where the earlier tree is one complete node, its root is that node, and not in the path. */
    memcpy(fr, from & (from - 1) ? path->hash[i++] : from_root, TREE_HASH);
    memcpy(sr, fr, TREE_HASH);
    for (; i < path->n; i++) {
        if (!sn)
            return 0;
        if (fn & 1 || fn == sn) {
            tree_hash_node(path->hash[i], fr, fr);
            tree_hash_node(path->hash[i], sr, sr);
            climb(&fn, &sn);
        } else {
            tree_hash_node(sr, path->hash[i], sr);
        }
        fn >>= 1;
        sn >>= 1;
    }
    return !sn && same(fr, from_root) && same(sr, root);
}
