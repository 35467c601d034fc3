/* The Merkle tree: roots and proofs of all small sizes against the definition of RFC 9162, and
 * every flipped bit refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "books/tree.h"

#define N 70

static unsigned char leaf[N][TREE_HASH];

/* MTH of RFC 9162 section 2.1.1, word for word. */
static void mth(int at, int n, unsigned char ret[TREE_HASH])
{
    unsigned char l[TREE_HASH], r[TREE_HASH];
    int k = 1;

    if (!n) {
        crypto_hash_sha256(ret, (const unsigned char *)"", 0);
        return;
    }
    if (n == 1) {
        memcpy(ret, leaf[at], TREE_HASH);
        return;
    }
    while (2 * k < n)
        k *= 2;
    mth(at, k, l);
    mth(at + k, n - k, r);
    tree_hash_node(l, r, ret);
}

static int node(void *arg, int level, int64_t i, unsigned char ret[TREE_HASH])
{
    assert_true((i + 1) << level <= N);
    mth((int)(i << level), 1 << level, ret);
    return 0;
}

static const struct tree_nodes nodes = {node, NULL};

static int make_leaves(void **state)
{
    assert_true(sodium_init() >= 0);
    for (int i = 0; i < N; i++) {
        char entry[20];
        tree_hash_leaf(entry, (size_t)snprintf(entry, sizeof entry, "entry %d", i), leaf[i]);
    }
    return 0;
}

/* The test vectors of the first certificate-transparency logs: eight entries. */
static void known_roots(void **state)
{
    static const char *const entries[] = {"",
                                          "00",
                                          "10",
                                          "2021",
                                          "3031",
                                          "40414243",
                                          "5051525354555657",
                                          "606162636465666768696a6b6c6d6e6f"};
    static const char *const roots[] = {
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"};
    struct tree t = {0};

    for (size_t i = 0; i < 8; i++) {
        unsigned char entry[16], h[TREE_HASH];
        char hex[2 * TREE_HASH + 1];
        size_t n = 0;
        sodium_hex2bin(entry, sizeof entry, entries[i], strlen(entries[i]), NULL, &n, NULL);
        tree_hash_leaf(entry, n, h);
        tree_append(&t, h, NULL, NULL);
        tree_root(&t, h);
        assert_string_equal(sodium_bin2hex(hex, sizeof hex, h, sizeof h), roots[i]);
    }
}

static int n_made;

static void made(void *arg, int level, int64_t i, const unsigned char *hash)
{
    unsigned char h[TREE_HASH];

    n_made++;
    node(NULL, level, i, h);
    assert_memory_equal(h, hash, TREE_HASH);
}

static void roots_grow(void **state)
{
    unsigned char is[TREE_HASH], should[TREE_HASH];
    struct tree t = {0};

    n_made = 0;
    for (int n = 0; n <= N; n++) {
        tree_root(&t, is);
        mth(0, n, should);
        assert_memory_equal(is, should, TREE_HASH);
        if (n < N)
            tree_append(&t, leaf[n], made, NULL);
    }
    assert_int_equal(n_made, 35 + 17 + 8 + 4 + 2 + 1); /* of levels 1 to 6 */
}

static void flip(unsigned char *p, int bit)
{
    p[bit / 8] ^= (unsigned char)(1 << bit % 8);
}

static void inclusion_is_proven(void **state)
{
    unsigned char root[TREE_HASH], other[TREE_HASH];
    struct tree_path p, longer;

    for (int n = 1; n <= N; n++) {
        mth(0, n, root);
        for (int i = 0; i < n; i++) {
            assert_int_equal(tree_prove_inclusion(&nodes, i, n, &p), 0);
            assert_true(tree_check_inclusion(leaf[i], i, n, &p, root));
            for (int k = 0; k < n + 3; k++) { /* at no other place */
                if (k != i)
                    assert_false(tree_check_inclusion(leaf[i], k, n, &p, root));
            }
            for (int bit = 0; bit < 8 * TREE_HASH * p.n; bit += n < 10 ? 1 : 37) {
                flip(p.hash[0], bit);
                assert_false(tree_check_inclusion(leaf[i], i, n, &p, root));
                flip(p.hash[0], bit);
            }
            memcpy(other, root, TREE_HASH);
            flip(other, i);
            assert_false(tree_check_inclusion(leaf[i], i, n, &p, other));
            longer = p;
            longer.n++;
            memset(longer.hash[p.n], 0, TREE_HASH);
            assert_false(tree_check_inclusion(leaf[i], i, n, &longer, root));
            if (!p.n)
                continue;
            longer.n = p.n - 1;
            assert_false(tree_check_inclusion(leaf[i], i, n, &longer, root));
        }
    }
    p.n = 0;
    assert_false(tree_check_inclusion(leaf[0], 0, 0, &p, leaf[0]));
    assert_false(tree_check_inclusion(leaf[0], -1, 1, &p, leaf[0]));
    assert_false(tree_check_inclusion(leaf[0], 0, INT64_MAX, &p, leaf[0]));
    p.n = -1;
    assert_false(tree_check_inclusion(leaf[0], 0, 1, &p, leaf[0]));
}

static void consistency_is_proven(void **state)
{
    unsigned char from[TREE_HASH], root[TREE_HASH], other[TREE_HASH];
    struct tree_path p;

    for (int n = 1; n <= N; n++) {
        mth(0, n, root);
        for (int m = 1; m <= n; m++) {
            mth(0, m, from);
            assert_int_equal(tree_prove_consistency(&nodes, m, n, &p), 0);
            assert_true(tree_check_consistency(m, from, n, root, &p));
            for (int bit = 0; bit < 8 * TREE_HASH * p.n; bit += n < 10 ? 1 : 41) {
                flip(p.hash[0], bit);
                assert_false(tree_check_consistency(m, from, n, root, &p));
                flip(p.hash[0], bit);
            }
            memcpy(other, from, TREE_HASH);
            flip(other, m);
            assert_false(tree_check_consistency(m, other, n, root, &p));
            memcpy(other, root, TREE_HASH);
            flip(other, m);
            assert_false(tree_check_consistency(m, from, n, other, &p));
            if (m < n) /* the same root is not that of another size */
                assert_false(tree_check_consistency(m, root, n, root, &p));
        }
    }
    p.n = 0;
    assert_false(tree_check_consistency(0, root, N, root, &p));
    assert_false(tree_check_consistency(N + 1, root, N, root, &p));
}

/* A log in which two entries have changed their places, one is gone or one is there twice has
 * another root, and no path makes it one that goes on from the first. */
static void what_was_signed_stays(void **state)
{
    unsigned char from[TREE_HASH], root[TREE_HASH], keep[TREE_HASH];
    struct tree_path p;

    mth(0, 40, from);
    for (int how = 0; how < 3; how++) {
        memcpy(keep, leaf[10], TREE_HASH);
        if (how == 0) { /* reordered */
            memcpy(leaf[10], leaf[30], TREE_HASH);
            memcpy(leaf[30], keep, TREE_HASH);
        } else if (how == 1) { /* dropped */
            memmove(leaf[10], leaf[11], (size_t)(N - 11) * TREE_HASH);
        } else { /* doubled */
            memcpy(leaf[11], leaf[10], TREE_HASH);
        }
        mth(0, N - 1, root);
        assert_int_equal(tree_prove_consistency(&nodes, 40, N - 1, &p), 0);
        assert_false(tree_check_consistency(40, from, N - 1, root, &p));
        make_leaves(NULL);
    }
}

static int failing(void *arg, int level, int64_t i, unsigned char ret[TREE_HASH])
{
    return level == 2 ? -7 : node(arg, level, i, ret);
}

static void failures_are_told(void **state)
{
    const struct tree_nodes f = {failing, NULL};
    struct tree_path p;

    assert_int_equal(tree_prove_inclusion(&f, 1, 13, &p), -7);
    assert_int_equal(tree_prove_consistency(&f, 6, 13, &p), -7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_roots),           cmocka_unit_test(roots_grow),
        cmocka_unit_test(inclusion_is_proven),   cmocka_unit_test(consistency_is_proven),
        cmocka_unit_test(what_was_signed_stays), cmocka_unit_test(failures_are_told),
    };

    return cmocka_run_group_tests(tests, make_leaves, NULL);
}
