/* libcurl, opened by the first download.
 *
 * Owns the library's handle for the life of the process. Any thread. libcurl is opened at run time
 * and not linked, because it brings thirty libraries: loading them at every start took longer than
 * anything else before main (docs/performance.md), and few runs need it. */
#ifndef NET_CURL_LIB_H
#define NET_CURL_LIB_H

#include <curl/curl.h>

#include "base/err.h"

#define CURL_FUNCTIONS(X)                                                                          \
    X(easy_cleanup)                                                                                \
    X(easy_getinfo)                                                                                \
    X(easy_init)                                                                                   \
    X(easy_perform)                                                                                \
    X(easy_setopt)                                                                                 \
    X(easy_strerror)                                                                               \
    X(free)                                                                                        \
    X(global_init)                                                                                 \
    X(slist_append)                                                                                \
    X(slist_free_all)                                                                              \
    X(url)                                                                                         \
    X(url_cleanup)                                                                                 \
    X(url_get)                                                                                     \
    X(url_set)

/* curl_NAME as NAME. */
struct curl_lib {
#define X(name) __typeof__(curl_##name) *name;
    CURL_FUNCTIONS(X)
#undef X
};

/* 0, or ERR_UNSUPPORTED with a sentence where the library is not installed. */
int curl_lib_get(const struct curl_lib **ret, struct err *e);

#endif
