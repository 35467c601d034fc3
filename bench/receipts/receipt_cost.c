/* What receipts cost, in nanoseconds a call: on the path of a request (an entry and its hash for
 * the header, the tokens' hashes) and in the books thread (the tree, a head's signature). One
 * thread; run it on an idle machine: build/release/bench/receipts/receipt_cost */
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "books/proof.h"

static double now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static struct books_row row;
static struct tree tree;
static struct tree_key key;
static unsigned char out[TREE_HASH];
static int32_t ids[1000];
static crypto_hash_sha256_state running;

static void entry(int i)
{
    unsigned char bytes[LEAF_ENTRY_MAX];

    row.at_us = i;
    leaf_entry(&row, bytes);
}

static void leaf(int i)
{
    row.at_us = i;
    leaf_of_row(&row, out);
}

static void token(int i)
{
    crypto_hash_sha256_update(&running, (const unsigned char *)&i, sizeof i);
}

static void prompt(int i)
{
    ids[0] = i;
    tree_sha256(ids, sizeof ids, out);
}

static void append(int i)
{
    tree_append(&tree, out, NULL, NULL);
}

static void head(int i)
{
    struct tree_head h = {.size = i + 1, .at_s = i};

    tree_root(&tree, h.root);
    tree_head_sign(&h, &key);
}

static void measure(const char *what, void (*f)(int i), int n)
{
    double best = 1e18;

    for (int round = 0; round < 5; round++) {
        double from = now_ns(), took;
        for (int i = 0; i < n; i++)
            f(i);
        took = (now_ns() - from) / n;
        best = took < best ? took : best;
    }
    printf("%-52s %10.0f ns\n", what, best);
}

int main(void)
{
    if (sodium_init() < 0)
        return 1;
    crypto_sign_keypair(key.public_key, key.secret);
    crypto_hash_sha256_init(&running);
    row = (struct books_row){.prompt_tokens = 900,
                             .completion_tokens = 300,
                             .charge_nano = 123456,
                             .energy_uj = 4500000,
                             .energy_method = 1,
                             .status = 200};
    snprintf(row.request_id, sizeof row.request_id, "req_6b0dc08b8987e62571bc0ab72bb43e92");
    snprintf(row.tenant, sizeof row.tenant, "acme");
    snprintf(row.model, sizeof row.model, "smollm2-135m");
    snprintf(row.supplier, sizeof row.supplier, "local/smollm2-135m");
    snprintf(row.sampling, sizeof row.sampling, "temperature=0.7,seed=1,max_tokens=300");
    snprintf(row.engine, sizeof row.engine, "0.1.0 q8 f16");
    snprintf(row.weights, sizeof row.weights, "print:b3f96e80dd9eb062");
    memset(row.salt, '7', sizeof row.salt - 1);
    memset(row.prompt_hash, 'a', sizeof row.prompt_hash - 1);
    memset(row.output_hash, 'b', sizeof row.output_hash - 1);
    measure("request: the header's entry, written", entry, 100000);
    measure("request: the header's entry, written and hashed", leaf, 100000);
    measure("request: one more token of the answer", token, 1000000);
    measure("prep: 1,000 tokens of a prompt", prompt, 10000);
    measure("books: one more leaf in the tree", append, 100000);
    measure("books: a head, signed", head, 2000);
    return 0;
}
