#include "books/power_leaf.h"

#include <sodium.h>
#include <string.h>

#include "base/cbor.h"
#include "base/check.h"

#define ENTRY_MAX 128

/* Fields of the details in order, from 1 on. */
enum { VERSION, SALT, PLACE, NUMBERS, CAUSE = NUMBERS + 11, REASON, N_FIELDS };
#define N_NUMBERS (CAUSE - NUMBERS)

static void numbers_of(struct power_entry *r, int64_t *ret[N_NUMBERS])
{
    struct power_piece *p = &r->piece;
    int64_t *all[N_NUMBERS] = {&r->at_us,         &p->from_us,      &p->until_us,
                               &p->contracted_uj, &p->energised_uj, &p->encumbered_uj,
                               &p->ready_uj,      &p->lost_uj[0],   &p->lost_uj[1],
                               &p->lost_uj[2],    &p->lost_uj[3]};

    _Static_assert(POWER_MEASURED == 4, "a field of each cause");
    memcpy(ret, all, sizeof all);
}

static void put_text(struct cbor *c, int field, const char *s)
{
    cbor_put_int(c, field + 1);
    cbor_put_text(c, s, strlen(s));
}

size_t power_leaf_details(const struct power_entry *r, unsigned char ret[POWER_DETAILS_MAX])
{
    struct cbor c = {ret, ret + POWER_DETAILS_MAX, 0};
    unsigned char salt[BOOKS_SALT] = {0};
    struct power_entry row = *r;
    int64_t *number[N_NUMBERS];

    sodium_hex2bin(salt, sizeof salt, r->salt, strlen(r->salt), NULL, NULL, NULL);
    numbers_of(&row, number);
    cbor_put_map(&c, N_FIELDS);
    cbor_put_int(&c, VERSION + 1);
    cbor_put_int(&c, POWER_LEAF_VERSION);
    cbor_put_int(&c, SALT + 1);
    cbor_put_bytes(&c, salt, sizeof salt);
    put_text(&c, PLACE, r->place);
    for (int i = 0; i < N_NUMBERS; i++) {
        cbor_put_int(&c, NUMBERS + i + 1);
        cbor_put_int(&c, *number[i]);
    }
    put_text(&c, CAUSE, r->cause);
    put_text(&c, REASON, r->reason);
    CHECK(!c.failed);
    return (size_t)(c.at - ret);
}

/* ---- reading --------------------------------------------------------------------------------- */

static int is_field(struct cbor_in *in, int field)
{
    int64_t n = 0;

    return !cbor_get_int(in, &n) && n == field + 1;
}

static int read_text(struct cbor_in *in, int field, char *to, size_t cap)
{
    const char *s = NULL;
    size_t n = 0;

    if (!is_field(in, field) || cbor_get_text(in, &s, &n) || n >= cap || memchr(s, 0, n))
        return -1;
    memcpy(to, s, n);
    to[n] = 0;
    return 0;
}

static int read_all(struct cbor_in *in, struct power_entry *ret)
{
    const unsigned char *salt = NULL;
    int64_t version = 0, *number[N_NUMBERS];
    size_t n = 0;

    numbers_of(ret, number);
    if (cbor_get_map(in, &n) || n != N_FIELDS || !is_field(in, VERSION) ||
        cbor_get_int(in, &version) || version != POWER_LEAF_VERSION || !is_field(in, SALT) ||
        cbor_get_bytes(in, &salt, &n) || n != BOOKS_SALT ||
        read_text(in, PLACE, ret->place, sizeof ret->place))
        return -1;
    sodium_bin2hex(ret->salt, sizeof ret->salt, salt, n);
    for (int i = 0; i < N_NUMBERS; i++) {
        if (!is_field(in, NUMBERS + i) || cbor_get_int(in, number[i]))
            return -1;
    }
    return read_text(in, CAUSE, ret->cause, sizeof ret->cause) ||
                   read_text(in, REASON, ret->reason, sizeof ret->reason) || in->at != in->end
               ? -1
               : 0;
}

int power_leaf_read(const void *details, size_t n, struct power_entry *ret, struct err *e)
{
    struct cbor_in in = {details, (const unsigned char *)details + n};

    *ret = (struct power_entry){.seq = 0};
    if (n > POWER_DETAILS_MAX || read_all(&in, ret))
        return err_set(e, ERR_FORMAT, "it is no row of power of version %d", POWER_LEAF_VERSION);
    return power_entry_ok(ret) ? 0 : err_set(e, ERR_FORMAT, "such a row of power cannot be");
}

/* ---- leaves ---------------------------------------------------------------------------------- */

void power_leaf_place(const char *place, unsigned char ret[TREE_HASH])
{
    tree_sha256(place, strlen(place), ret);
}

void power_leaf_of(const unsigned char place[TREE_HASH], const unsigned char details[TREE_HASH],
                   unsigned char ret[TREE_HASH])
{
    unsigned char entry[ENTRY_MAX];
    struct cbor c = {entry, entry + sizeof entry, 0};

    cbor_put_map(&c, 3);
    cbor_put_int(&c, 1);
    cbor_put_int(&c, POWER_LEAF_VERSION);
    cbor_put_int(&c, 2);
    cbor_put_bytes(&c, place, TREE_HASH);
    cbor_put_int(&c, 3);
    cbor_put_bytes(&c, details, TREE_HASH);
    CHECK(!c.failed);
    tree_hash_leaf(entry, (size_t)(c.at - entry), ret);
}

void power_leaf_of_row(const struct power_entry *r, unsigned char ret[TREE_HASH])
{
    unsigned char details[POWER_DETAILS_MAX], place[TREE_HASH], hash[TREE_HASH];

    power_leaf_place(r->place, place);
    tree_sha256(details, power_leaf_details(r, details), hash);
    power_leaf_of(place, hash, ret);
}
