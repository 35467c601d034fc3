/* What `gaufre top` shows: an overview of the admin API as lines of text. Pure. */
#ifndef CMD_TOP_FRAME_H
#define CMD_TOP_FRAME_H

#include <jansson.h>

#include "base/buf.h"

#define TOP_FRAME_MAX ((size_t)1 << 20)

/* A frame of at most n_lines lines of n_columns characters, each with its newline; 0: any number.
 * Texts of others are made plain (base/plain.h). Missing members are shown as "-". */
int top_frame(const json_t *overview, int n_columns, int n_lines, struct buf *out);

#endif
