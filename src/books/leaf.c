#include "books/leaf.h"

#include <sodium.h>
#include <string.h>

#include "base/check.h"
#include "job/energy.h"
#include "job/tier.h"
#include "job/usage.h"

const struct leaf_column leaf_columns[LEAF_N] = {
#define COLUMN(kind, name) {#name, LEAF_##kind},
    LEAF_FIELDS(COLUMN)
#undef COLUMN
};

/* ---- from a row ------------------------------------------------------------------------------ */

static struct leaf_value number(int64_t v)
{
    return (struct leaf_value){.number = v};
}

static struct leaf_value maybe(int64_t v, int is_known)
{
    return (struct leaf_value){.number = is_known ? v : 0, .is_null = !is_known};
}

static struct leaf_value text(const char *s)
{
    return (struct leaf_value){.at = s, .n = strlen(s)};
}

static int digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* n bytes of what is hex digits in the row; how many: n, or none. */
static size_t from_hex(const char *hex, unsigned char *to, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int high = digit(hex[2 * i]), low = high < 0 ? -1 : digit(hex[2 * i + 1]);
        if (low < 0)
            return 0;
        to[i] = (unsigned char)(high << 4 | low);
    }
    return hex[2 * n] ? 0 : n;
}

static struct leaf_value hash(const char *hex, unsigned char to[TREE_HASH])
{
    return (struct leaf_value){.at = (const char *)to, .n = from_hex(hex, to, TREE_HASH)};
}

static const char *counted(int state)
{
    static const char *const words[] = {
        [USAGE_COUNTED] = "yes", [USAGE_ESTIMATED] = "estimated", [USAGE_DISPUTED] = "disputed"};

    return state >= 0 && (size_t)state < ARRAY_LEN(words) ? words[state] : "disputed";
}

/* Whose power it used. */
static const char *power(int lent)
{
    static const char *const words[] = {[BOOKS_LENT_OWN] = "own",
                                        [BOOKS_LENT_BORROWED] = "borrowed",
                                        [BOOKS_LENT_PAID] = "paid",
                                        [BOOKS_LENT_BACKSTOP] = "backstop"};
    _Static_assert(ARRAY_LEN(words) == BOOKS_LENT_N, "each has a name");

    return lent >= 0 && (size_t)lent < ARRAY_LEN(words) ? words[lent] : "";
}

void leaf_tenant(const unsigned char salt[BOOKS_SALT], const char *tenant,
                 unsigned char ret[TREE_HASH])
{
    unsigned char both[BOOKS_SALT + BOOKS_NAME_MAX];
    size_t n = strnlen(tenant, BOOKS_NAME_MAX);

    memcpy(both, salt, BOOKS_SALT);
    memcpy(both + BOOKS_SALT, tenant, n);
    tree_sha256(both, BOOKS_SALT + n, ret);
}

void leaf_lists(const unsigned char salt[BOOKS_SALT], const unsigned char (*list)[TREE_HASH], int n,
                unsigned char ret[TREE_HASH])
{
    crypto_hash_sha256_state h;

    crypto_hash_sha256_init(&h);
    crypto_hash_sha256_update(&h, salt, BOOKS_SALT);
    crypto_hash_sha256_update(&h, (const unsigned char *)list, (size_t)n * TREE_HASH);
    crypto_hash_sha256_final(&h, ret);
}

static void put(struct cbor *c, enum leaf_kind kind, const struct leaf_value *v)
{
    if (v->is_null)
        cbor_put_null(c);
    else if (kind == LEAF_INT || kind == LEAF_MAYBE)
        cbor_put_int(c, v->number);
    else if (kind == LEAF_TEXT)
        cbor_put_text(c, v->at, v->n);
    else
        cbor_put_bytes(c, v->at, v->n);
}

static int has_energy(const struct books_row *r)
{
    return r->energy_method > ENERGY_UNKNOWN && r->energy_method < ENERGY_METHODS &&
           r->energy_boundary >= 0 && r->energy_boundary < ENERGY_BOUNDARIES;
}

size_t leaf_entry(const struct books_row *r, unsigned char ret[LEAF_ENTRY_MAX])
{
    unsigned char whose[TREE_HASH], prompt[TREE_HASH], output[TREE_HASH], salt[BOOKS_SALT] = {0};
    struct cbor c = {ret, ret + LEAF_ENTRY_MAX, 0};
    int is_tier = r->tier >= 0 && r->tier < TIER_AUTO, is_energy = has_energy(r);
    struct leaf_value v[LEAF_N];

    if (!from_hex(r->salt, salt, sizeof salt)) /* of before there was one */
        memset(salt, 0, sizeof salt);
    leaf_tenant(salt, r->tenant, whose);
    v[LEAF_version] = number(LEAF_VERSION);
    v[LEAF_request_id] = text(r->request_id);
    v[LEAF_tenant] = (struct leaf_value){.at = (const char *)whose, .n = sizeof whose};
    v[LEAF_at_us] = number(r->at_us);
    v[LEAF_model] = text(r->model);
    v[LEAF_supplier] = text(r->supplier);
    v[LEAF_site] = text(r->site);
    v[LEAF_tier] = text(is_tier ? tier_name((enum tier)r->tier) : "");
    v[LEAF_weights] = text(r->weights);
    v[LEAF_engine] = text(r->engine);
    v[LEAF_sampling] = text(r->sampling);
    v[LEAF_prompt] = hash(r->prompt_hash, prompt);
    v[LEAF_output] = hash(r->output_hash, output);
    v[LEAF_status] = number(r->status);
    v[LEAF_counted] = text(counted(r->usage_state));
    v[LEAF_prompt_tokens] = number(r->prompt_tokens);
    v[LEAF_cached_tokens] = number(r->cached_tokens);
    v[LEAF_cache_write_tokens] = number(r->cache_write_tokens);
    v[LEAF_completion_tokens] = number(r->completion_tokens);
    v[LEAF_reasoning_tokens] = number(r->reasoning_tokens);
    v[LEAF_charge_nano] = maybe(r->charge_nano, *r->corrects || r->charge_nano >= 0);
    v[LEAF_currency] = text(r->currency);
    v[LEAF_price_book] = text(r->price_book);
    v[LEAF_energy_uj] = maybe(r->energy_uj, is_energy);
    v[LEAF_energy_boundary] =
        text(is_energy ? energy_boundary_name((enum energy_boundary)r->energy_boundary) : "");
    v[LEAF_energy_method] =
        text(is_energy ? energy_method_name((enum energy_method)r->energy_method) : "");
    v[LEAF_energy_uncertainty] = number(r->energy_uncertainty);
    v[LEAF_contract] = text(r->contract);
    v[LEAF_tranche] = text(r->tranche);
    v[LEAF_power] = text(power(r->lent));
    v[LEAF_corrects] = text(r->corrects);
    cbor_put_map(&c, LEAF_N);
    for (int i = 0; i < LEAF_N; i++) {
        cbor_put_int(&c, i + 1);
        put(&c, leaf_columns[i].kind, &v[i]);
    }
    CHECK(!c.failed);
    return (size_t)(c.at - ret);
}

void leaf_of_row(const struct books_row *r, unsigned char ret[TREE_HASH])
{
    unsigned char entry[LEAF_ENTRY_MAX];

    tree_hash_leaf(entry, leaf_entry(r, entry), ret);
}

/* ---- reading --------------------------------------------------------------------------------- */

static int read_value(struct cbor_in *in, enum leaf_kind kind, struct leaf_value *ret)
{
    const unsigned char *p = NULL;

    *ret = (struct leaf_value){0};
    if (kind == LEAF_MAYBE && !cbor_get_null(in)) {
        ret->is_null = 1;
        return 0;
    }
    if (kind == LEAF_INT || kind == LEAF_MAYBE)
        return cbor_get_int(in, &ret->number);
    if (kind == LEAF_TEXT)
        return cbor_get_text(in, &ret->at, &ret->n);
    if (cbor_get_bytes(in, &p, &ret->n))
        return -1;
    ret->at = (const char *)p;
    return !ret->n || ret->n == TREE_HASH ? 0 : -1;
}

int leaf_read(const void *entry, size_t n, struct leaf_value ret[LEAF_N], struct err *e)
{
    struct cbor_in in = {entry, (const unsigned char *)entry + n};
    int64_t number_of = 0;
    size_t n_fields = 0;

    if (n > LEAF_ENTRY_MAX || cbor_get_map(&in, &n_fields) || n_fields != LEAF_N)
        return err_set(e, ERR_FORMAT, "the entry is not one of version %d of the log's entries",
                       LEAF_VERSION);
    for (int i = 0; i < LEAF_N; i++) {
        if (cbor_get_int(&in, &number_of) || number_of != i + 1 ||
            read_value(&in, leaf_columns[i].kind, &ret[i]))
            return err_set(e, ERR_FORMAT, "the entry's field %d (%s) is not as an entry has it",
                           i + 1, leaf_columns[i].name);
    }
    if (in.at != in.end)
        return err_set(e, ERR_FORMAT, "behind the entry there are other bytes");
    if (ret[LEAF_version].number != LEAF_VERSION)
        return err_set(e, ERR_UNSUPPORTED, "the entry is of version %lld, not %d",
                       (long long)ret[LEAF_version].number, LEAF_VERSION);
    return ret[LEAF_tenant].n ? 0 : err_set(e, ERR_FORMAT, "the entry says not whose it is");
}
