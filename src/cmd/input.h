/* Text for a command: from arguments, a file, or standard input. */
#ifndef CMD_INPUT_H
#define CMD_INPUT_H

#include "base/buf.h"
#include "base/err.h"

#define INPUT_MAX ((size_t)256 << 20)

/* With `file`, its bytes ("-": standard input); else the words joined by spaces; else standard
 * input. `ret` is initialised here and the caller's to release, also on failure. */
int input_text(struct buf *ret, const char *file, int n_words, char **words, struct err *e);
/* All of standard input appended to b. */
int input_stdin(struct buf *b, struct err *e);
/* A file, or standard input where it is "-", up to the buffer's limit. */
int input_file(struct buf *b, const char *file, struct err *e);

#endif
