/* Pages of HTML that commands write, fit to print: nothing in them is fetched or run. */
#ifndef CMD_PAGE_FORM_H
#define CMD_PAGE_FORM_H

#include "base/buf.h"

/* From the beginning to within the body; the title is of two parts. */
void page_head(struct buf *out, const char *title, const char *title_end);
void page_text(struct buf *out, const char *s); /* a text of others, escaped */

#endif
