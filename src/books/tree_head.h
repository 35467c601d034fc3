/* Heads of the logs of answers and of power: a tree's size and root, signed with Ed25519 (RFC
 * 8032).
 *
 * What is signed is the Sig_structure of a COSE_Sign1 (RFC 9052) whose payload is the root, as
 * COSE receipts (RFC 9942) have it: so one signature of a head is that of the receipts of all
 * entries below it. Its protected header says the algorithm (EdDSA, -8), the key's id, the time and
 * the size and whose log it is, so these are signed too. */
#ifndef BOOKS_TREE_HEAD_H
#define BOOKS_TREE_HEAD_H

#include "base/cbor.h"
#include "base/err.h"
#include "books/tree.h"

#define TREE_KEY       32
#define TREE_SIGNATURE 64
#define TREE_KEY_ID    8 /* bytes: the first of the key's SHA-256 */

struct tree_key {
    unsigned char public_key[TREE_KEY];
    unsigned char secret[64]; /* as libsodium has it */
};

/* Which of the ledger's logs a head is of: one of each says nothing of the other. */
enum tree_log { TREE_ANSWERS, TREE_POWER, TREE_LOGS };
const char *tree_log_name(enum tree_log log); /* "answers" */

struct tree_head {
    enum tree_log log;
    int64_t size, at_s; /* unix seconds: when the newest entry's request ended */
    unsigned char root[TREE_HASH], key[TREE_KEY], signature[TREE_SIGNATURE];
};

/* The key of that file: 64 hex digits, its owner's alone. Made where there is none. ERR_IO,
 * ERR_FORMAT. */
int tree_key_open(struct tree_key *ret, const char *path, struct err *e);
/* The public key as a PEM file has it (RFC 8410). */
#define TREE_PEM_MAX 160
void tree_key_pem(const unsigned char key[TREE_KEY], char ret[TREE_PEM_MAX]);

/* Fill in the key and the signature. */
void tree_head_sign(struct tree_head *h, const struct tree_key *k);
int tree_head_is_signed(const struct tree_head *h); /* by its key: 1 */
/* The protected header, which the members of the head decide; its length. */
#define TREE_PROTECTED_MAX 128
size_t tree_head_protected(const struct tree_head *h, unsigned char ret[TREE_PROTECTED_MAX]);

#endif
