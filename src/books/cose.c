#include "books/cose.h"

#include <sodium.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"

#define SIGNED_MAX ((size_t)64 << 10)
#define PROOFS_MAX 16

/* Names and numbers of RFC 9052 and 9942. */
enum { COSE_SIGN1 = 18, ALG = 1, CRIT = 2, EDDSA = -8, VDS = 395, RFC9162_SHA256 = 1, VDP = 396 };
enum { INCLUSION = -1 };

struct parts {
    struct cbor_in protected, proofs; /* proofs: behind the head of their array */
    size_t n_proofs;
    const unsigned char *signature;
};

static int bad(struct err *e, const char *what)
{
    return err_set(e, ERR_FORMAT, "the receipt %s", what);
}

/* What is signed must say how: that, and nothing that one has to understand and does not. */
static int check_protected(struct cbor_in in, struct err *e)
{
    int64_t label, v, alg = 0, vds = 0;
    size_t n;

    if (cbor_get_map(&in, &n))
        return bad(e, "has no protected header");
    for (size_t i = 0; i < n; i++) {
        int is_number = !cbor_get_int(&in, &label);
        if (is_number && label == CRIT)
            return bad(e, "has a header that must be understood, and is not");
        if (is_number && (label == ALG || label == VDS)) {
            if (cbor_get_int(&in, &v))
                return bad(e, "does not say how it is signed");
            alg = label == ALG ? v : alg;
            vds = label == VDS ? v : vds;
        } else if ((!is_number && cbor_skip(&in)) || cbor_skip(&in)) {
            return bad(e, "has a protected header that cannot be read");
        }
    }
    if (in.at != in.end)
        return bad(e, "has more behind its protected header");
    return alg == EDDSA && vds == RFC9162_SHA256
               ? 0
               : bad(e, "is of another kind: wants EdDSA (-8) and RFC9162_SHA256 (1)");
}

/* Find the proofs of inclusion among what is not signed. */
static int find_proofs(struct cbor_in *in, struct parts *p)
{
    int64_t label;
    size_t n, n_kinds;
    int found = 0;

    if (cbor_get_map(in, &n))
        return -1;
    for (size_t i = 0; i < n; i++) {
        int is_number = !cbor_get_int(in, &label);
        if (!is_number || label != VDP) {
            if ((!is_number && cbor_skip(in)) || cbor_skip(in))
                return -1;
            continue;
        }
        if (cbor_get_map(in, &n_kinds))
            return -1;
        for (size_t k = 0; k < n_kinds; k++) {
            int is_inclusion = !cbor_get_int(in, &label) && label == INCLUSION;
            struct cbor_in list = *in;
            if (cbor_skip(in))
                return -1;
            if (!is_inclusion)
                continue;
            if (found++ || cbor_get_array(&list, &p->n_proofs))
                return -1;
            p->proofs = (struct cbor_in){list.at, in->at};
        }
    }
    return found == 1 && p->n_proofs && p->n_proofs <= PROOFS_MAX ? 0 : -1;
}

static int split(const void *receipt, size_t n, struct parts *ret)
{
    struct cbor_in in = {receipt, (const unsigned char *)receipt + n};
    const unsigned char *bytes;
    size_t k;
    uint64_t tag;

    if (cbor_get_tag(&in, &tag) || tag != COSE_SIGN1 || cbor_get_array(&in, &k) || k != 4 ||
        cbor_get_bytes(&in, &bytes, &k))
        return -1;
    ret->protected = (struct cbor_in){bytes, bytes + k};
    return find_proofs(&in, ret) || cbor_get_null(&in) ||
                   cbor_get_bytes(&in, &ret->signature, &k) || k != TREE_SIGNATURE ||
                   in.at != in.end
               ? -1
               : 0;
}

static int read_proof(struct cbor_in *list, struct cose_place *ret, struct tree_path *path)
{
    const unsigned char *bytes;
    struct cbor_in in;
    size_t n, size;

    if (cbor_get_bytes(list, &bytes, &n))
        return -1;
    in = (struct cbor_in){bytes, bytes + n};
    if (cbor_get_array(&in, &n) || n != 3 || cbor_get_int(&in, &ret->size) ||
        cbor_get_int(&in, &ret->index) || cbor_get_array(&in, &n) || n > TREE_PATH_MAX)
        return -1;
    path->n = (int)n;
    for (size_t i = 0; i < n; i++) {
        if (cbor_get_bytes(&in, &bytes, &size) || size != TREE_HASH)
            return -1;
        memcpy(path->hash[i], bytes, TREE_HASH);
    }
    return in.at == in.end ? 0 : -1;
}

static int is_signed(const struct parts *p, const unsigned char root[TREE_HASH],
                     const unsigned char key[TREE_KEY])
{
    static const char what[] = "Signature1";
    size_t n = (size_t)(p->protected.end - p->protected.at);
    unsigned char head[64];
    struct cbor c = {head, head + sizeof head, 0};
    struct buf b;
    int r;

    /* An array of: what it is, the protected header, nothing, the root. */
    buf_init(&b, SIGNED_MAX);
    cbor_put_array(&c, 4);
    cbor_put_text(&c, what, sizeof what - 1);
    buf_add(&b, head, (size_t)(c.at - head));
    buf_reserve(&b, n + 256);
    if (!b.failed) {
        c = (struct cbor){(unsigned char *)b.data + b.len, (unsigned char *)b.data + b.cap, 0};
        cbor_put_bytes(&c, p->protected.at, n);
        cbor_put_bytes(&c, "", 0);
        cbor_put_bytes(&c, root, TREE_HASH);
        b.len = (size_t)(c.at - (unsigned char *)b.data);
    }
    r = !b.failed && !c.failed &&
        !crypto_sign_verify_detached(p->signature, (unsigned char *)b.data, b.len, key);
    buf_done(&b);
    return r;
}

int cose_check(const void *receipt, size_t n, const void *entry, size_t n_entry,
               const unsigned char key[TREE_KEY], struct cose_place *ret, struct err *e)
{
    unsigned char leaf[TREE_HASH];
    struct cose_place place = {0};
    struct tree_path path;
    struct parts p = {.n_proofs = 0};
    int r;

    if (split(receipt, n, &p))
        return bad(e, "is no COSE_Sign1 with a proof of inclusion and a detached payload");
    r = check_protected(p.protected, e);
    if (r)
        return r;
    tree_hash_leaf(entry, n_entry, leaf);
    for (size_t i = 0; i < p.n_proofs; i++) {
        if (read_proof(&p.proofs, &place, &path) ||
            !tree_root_by(leaf, place.index, place.size, &path, place.root))
            return bad(e, "has a proof of inclusion that is none");
        if (!is_signed(&p, place.root, key))
            return bad(e, "is of another entry, or signed by another key");
    }
    if (p.proofs.at != p.proofs.end)
        return bad(e, "has more behind its proofs");
    *ret = place;
    return 0;
}
