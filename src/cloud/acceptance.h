/* A door of the cloud room: the acceptance of a tranche, a run of its contract's basket at full
 * power for a stated time (docs/contracts.md): whether it has passed, and the signature under what
 * was found.
 *
 * The signature is Ed25519 (RFC 8032) of "gaufre acceptance 1" with a line's end, and the text of
 * the measurement. Any thread. */
#ifndef CLOUD_ACCEPTANCE_H
#define CLOUD_ACCEPTANCE_H

#include "cloud/measurement.h"

#define ACCEPTANCE_KEY_FILE       "acceptance.key" /* in gaufre's home */
#define ACCEPTANCE_FULL_PERMILLE  950 /* of its watts, from which on a tranche is at full power */
#define ACCEPTANCE_SIGNATURE_TEXT 129 /* hex with its NUL */
#define ACCEPTANCE_PUBLIC_TEXT    65

/* Judge a measurement of one load, which was held for busy_us, as that of the tranche: m->verdict.
 * It passes if every row keeps its limits, the basket's tokens/s are at least what was promised,
 * and the power that it held is that of the tranche, where that is known. */
void acceptance_judge(struct measurement *m, const struct contract *c, const struct tranche *t,
                      int64_t promised_mtps, int64_t busy_us);

/* Sign with the key of that file, which is made (mode 0600) where there is none. ERR_IO;
 * ERR_FORMAT: the file holds no key. */
int acceptance_sign(const char *key_file, const char *text,
                    char ret_signature[ACCEPTANCE_SIGNATURE_TEXT],
                    char ret_public[ACCEPTANCE_PUBLIC_TEXT], struct err *e);
/* Is the signature that key's under this text? */
int acceptance_is_signed(const char *text, const char *signature, const char *public_key);

#endif
