/* Receipts, heads and ranges of the logs of answers and of power: what is read can be written
 * again, and is the same bytes or the same JSON. */
#include <sodium.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "books/cose.h"
#include "books/log_export.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct proof p;

static void read_cose(const uint8_t *data, size_t size)
{
    unsigned char key[TREE_KEY] = {0};
    struct cose_place place;
    struct err e = {0};
    struct buf b;

    if (!proof_read_cose(data, size, &p, &e)) {
        buf_init(&b, PROOF_TEXT_MAX);
        CHECK(!proof_put_cose(&b, &p));
        CHECK(b.len == size && !memcmp(b.data, data, size));
        CHECK(!cose_check(data, size, p.entry, p.n_entry, p.head.key, &place, &e));
        CHECK(place.index == p.index && place.size == p.head.size);
        buf_done(&b);
    }
    CHECK(cose_check(data, size, data, size, key, &place, &e));
}

/* As a line of a range of power that has begun. */
static void read_power(const json_t *j, struct log_import *x, struct log_entry *one)
{
    unsigned char leaf[TREE_HASH];
    struct err e = {0};

    *x = (struct log_import){.log = TREE_POWER, .has_begun = 1};
    x->head.size = TREE_SIZE_MAX;
    x->tree.size = json_integer_value(json_object_get(j, "i"));
    if (x->tree.size < 0 || x->tree.size >= TREE_SIZE_MAX || log_import(x, j, one, &e))
        return;
    CHECK(one->i == x->tree.size - 1);
    if (one->n_entry) {
        power_leaf_of_row(&one->row, leaf);
        CHECK(!memcmp(leaf, one->leaf, sizeof leaf));
    }
}

/* Details of a row of power that can be read are those that it is written as. */
static void read_details(const uint8_t *data, size_t size)
{
    unsigned char again[POWER_DETAILS_MAX];
    struct power_entry row;
    struct err e = {0};

    if (power_leaf_read(data, size, &row, &e))
        return;
    CHECK(power_leaf_details(&row, again) == size && !memcmp(again, data, size));
}

static void read_json(const uint8_t *data, size_t size)
{
    static struct log_import x;
    static struct log_entry one;
    struct tree_growth g;
    struct err e = {0};
    json_t *j = NULL, *again;

    if (json_parse(&j, (const char *)data, size, 0, &e))
        return;
    if (!proof_read_json(j, &p, &e)) {
        again = proof_json(&p);
        CHECK(json_equal(j, again));
        json_decref(again);
    }
    if (!proof_read_growth(j, &g, &e))
        CHECK(tree_head_is_signed(&g.head));
    x = (struct log_import){.has_begun = 0};
    if (!log_import(&x, j, &one, &e))
        CHECK(one.i == -1 && x.tree.size <= x.head.size);
    x.has_begun = 1; /* as a line of a range that has begun */
    x.head.size = TREE_SIZE_MAX;
    x.tree.size = json_integer_value(json_object_get(j, "i"));
    if (x.tree.size >= 0 && x.tree.size < TREE_SIZE_MAX && !log_import(&x, j, &one, &e))
        CHECK(one.i == x.tree.size - 1);
    read_power(j, &x, &one);
    json_decref(j);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct leaf_value v[LEAF_N];
    struct err e = {0};

    CHECK(sodium_init() >= 0);
    read_cose(data, size);
    read_json(data, size);
    read_details(data, size);
    if (!leaf_read(data, size, v, &e))
        CHECK(v[LEAF_version].number == LEAF_VERSION && v[LEAF_tenant].n == TREE_HASH);
    return 0;
}
