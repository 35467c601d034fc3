/* Shared by the kernel checker's files. Single thread but for the bench; exits on lack of memory.
 */
#ifndef TESTS_KC_H
#define TESTS_KC_H

#include <stddef.h>
#include <stdint.h>

#include "kern/kern.h"

/* ---- memory that ends at an unreadable page, filled with bytes that are NaN in every format -- */

void *kc_alloc(size_t n, size_t align); /* zero bytes past n rounded up to align */
void kc_free_all(void);

/* ---- random numbers, the same in every run --------------------------------------------------- */

extern uint64_t kc_seed;
uint32_t kc_rand(void);
int kc_range(int lo, int hi); /* lo .. hi */
float kc_uniform(float lo, float hi);

/* ---- verdicts -------------------------------------------------------------------------------- */

/* The tables under test: all but scalar; NULL where this CPU lacks it. */
extern const struct kern_table *kc_table[KERN_N_ISA];
extern const struct kern_table *kc_ref;
extern int kc_whole; /* check all cases, not only a share of them */

void kc_begin(void);
/* A difference found by the current test on an ISA; the first few are printed. */
void kc_fail(int isa, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* n floats equal bit for bit (any NaN equals any NaN)? Tells kc_fail of the first that does not. */
int kc_same(int isa, const float *got, const float *want, size_t n, const char *what);
/* One TAP line per ISA for what ran since kc_begin. */
void kc_end(const char *name);

/* ---- inputs ---------------------------------------------------------------------------------- */

enum kc_mode { KC_NORMAL, KC_EXTREME, KC_TINY, KC_N_MODE, KC_STRANGE = KC_N_MODE };

/* rows x cols of GGUF blocks. */
uint8_t *kc_weights(enum kern_fmt fmt, int rows, int cols, enum kc_mode mode);
struct kern_mat kc_repack(enum kern_fmt fmt, const uint8_t *src, int rows, int cols);
/* n rows of floats, quantised by the reference. */
struct kern_act kc_act(int n, int cols, enum kc_mode mode);

void kc_test_mat(void);
void kc_test_vec(void);
void kc_test_attn(void);
int kc_bench(int argc, char **argv);

#endif
