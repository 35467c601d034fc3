#include "net/curl_lib.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define SONAME "libcurl.so.4"

static struct curl_lib lib;
static char why[256]; /* it could not be opened; "" where it could */

/* Symbols are all resolved at once: nothing is to fail in mid-download. */
static void open_once(void)
{
    void *so = dlopen(SONAME, RTLD_NOW | RTLD_LOCAL);
    void *p = so;

    /* A function's address is kept by copying it: C converts no void * to one. */
#define X(name)                                                                                    \
    if (p && (p = dlsym(so, "curl_" #name)))                                                       \
        memcpy(&lib.name, &p, sizeof p);
    CURL_FUNCTIONS(X)
#undef X
    if (p)
        lib.global_init(CURL_GLOBAL_DEFAULT);
    else
        snprintf(why, sizeof why, "%s", dlerror());
}

int curl_lib_get(const struct curl_lib **ret, struct err *e)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, open_once);
    if (*why)
        return err_set(e, ERR_UNSUPPORTED, "Downloads need libcurl, which cannot be opened: %s",
                       why);
    *ret = &lib;
    return 0;
}
