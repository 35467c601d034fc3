/* Rates of this machine as `gaufre bench` measured them, in one small file: the newest row for each
 * model file, class, processor and number of threads. Door: serve.h (struct serve_limit). */
#ifndef SERVE_BENCH_STORE_H
#define SERVE_BENCH_STORE_H

#include "serve/serve.h"

#define BENCH_STORE_MAX       64 /* rows; the oldest goes */
#define BENCH_STORE_BYTES_MAX ((size_t)256 << 10)

/* Are they of the same model file, class, processor and threads? */
int bench_store_same(const struct serve_limit *a, const struct serve_limit *b);

#endif
