/* Unicode's normal form C of a text, in time linear in its length whatever it holds: the library
 * sorts the marks of a character by exchanging neighbours, so a run of a hundred thousand would
 * keep it for minutes; here they are sorted by counting. The result is the library's, for every
 * text. */
#ifndef TEXT_NFC_H
#define TEXT_NFC_H

#include <stddef.h>

#include "base/buf.h"
#include "base/patience.h"

#define NFC_GROWTH 3 /* no text grows by more (UAX 15, table 11) */

/* 1 when every character is one that NFC keeps whatever stands beside it: then nothing changes. A
 * quick look over the common scripts, not the full property. */
int nfc_is_sure(const char *p, size_t n);
/* p: valid UTF-8. Appends to out; 0, out->failed, or what patience_over said. */
int nfc_add(struct buf *out, const char *p, size_t n, const struct patience *w);

#endif
