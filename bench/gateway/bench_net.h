/* What both ends of the bench need of sockets and the clock. IPv4 loopback, one thread. */
#ifndef GATEWAY_BENCH_NET_H
#define GATEWAY_BENCH_NET_H

#include <stddef.h>
#include <stdint.h>

#define STAMP_LEN 18 /* '@', 16 digits of CLOCK_MONOTONIC in ns / 10, '@' */

int64_t bench_now_ns(void); /* CLOCK_MONOTONIC: the same for all processes of a machine */
void bench_files_raise(void);
int bench_listen(int port, int *ret_port); /* -1: errno tells */
int bench_connect(int port);               /* nonblocking, perhaps under way; -1: errno tells */
/* When a piece of a stream was sent stands in its text, so that it passes any gateway. */
void bench_stamp(char *p, int64_t ns);
/* The time in the text, or -1. */
int64_t bench_stamp_find(const char *p, size_t n);
/* A whole number of the command line between 0 and max, or the program ends. */
int64_t bench_number(const char *option, const char *value, int64_t max);

#endif
