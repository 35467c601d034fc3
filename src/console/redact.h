/* What is personal or secret in texts is replaced before they are stored: by rules that have a name
 * ("email", "card", "iban", "phone", "secret") and by regular expressions (PCRE2) of the
 * configuration. A rule is a net with holes: it finds what has the form, not what is meant.
 *
 * A struct redact is read-only once it was made; redact_text: one thread at a time. Work on a text
 * is bounded; a text on which a pattern gives up is replaced whole. */
#ifndef CONSOLE_REDACT_H
#define CONSOLE_REDACT_H

#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

#define REDACT_PATTERNS_MAX 32

struct redact;
/* Each is a rule's name or a pattern; n 0: all rules. ERR_ARG: it is neither, and why. */
int redact_new(struct redact **ret, const char *const *rules, int n, struct err *e);
void redact_free(struct redact *r); /* accepts NULL */
/* The text as it may be stored, added to `out`: what a rule found becomes "[email]", what a pattern
 * found "[redacted]". 0 or the buffer's failure. */
int redact_text(struct redact *r, const char *s, size_t n, struct buf *out);

#endif
