/* The web page's files, embedded at build time (tools/embed_web.py) and served as they are.
 *
 * Files are kept gzipped; a client that takes no gzip gets them unpacked, per request. Read-only:
 * any thread. */
#ifndef CONSOLE_PAGE_H
#define CONSOLE_PAGE_H

#include <stddef.h>

#include "net/net.h"

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

#define PAGE_HEADERS_MAX 10

/* The answer to a GET or HEAD of a file. Headers and body live as long as the program, except what
 * `unpacked` owns: free it when the answer is sent. */
struct page_answer {
    int status; /* 200 or 304 */
    struct net_header header[PAGE_HEADERS_MAX];
    int n_headers;
    const void *body;
    size_t n_body;
    void *unpacked;
};
/* By the request's fields (NULL: absent). 0 or ERR_NOMEM. */
int page_answer(const struct page_file *f, const char *accept_encoding, const char *if_none_match,
                struct page_answer *ret);

#endif
