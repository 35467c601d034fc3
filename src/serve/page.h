/* The web page's files, embedded at build time (tools/embed_web.py) and served as they are.
 *
 * Files are kept gzipped; a client that takes no gzip gets them unpacked, per request. Read-only:
 * any thread. */
#ifndef SERVE_PAGE_H
#define SERVE_PAGE_H

#include <stddef.h>

struct page_file {
    const char *path; /* as asked for: "/app.js" */
    const char *type;
    const char *tag, *gzip_tag; /* ETags of the file and of its packed form, quoted */
    const unsigned char *gzip;
    size_t n_gzip, n; /* packed, unpacked */
};
extern const struct page_file page_files[];
extern const int page_n_files;

/* NULL: none of that path. */
const struct page_file *page_find(const char *path);
/* May the answer be gzipped, by Accept-Encoding (NULL: absent)? */
int page_takes_gzip(const char *accept_encoding);
/* Does If-None-Match (NULL: absent) name this tag? Weak comparison, lists and `*`. */
int page_has_tag(const char *if_none_match, const char *tag);

struct call;
/* Answer a call with a file: 200 or 304, or 405 for anything but GET and HEAD. */
void page_answer(struct call *c, const struct page_file *f);

#endif
