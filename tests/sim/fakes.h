/* Other implementations of base's clock, random numbers and disk. A test that links them runs the
 * production code in a world of its own: time passes when the test says so, random numbers follow a
 * seed, and files lie in memory, on a disk that fails and loses power when it is told to.
 *
 * One thread. */
#ifndef TEST_SIM_FAKES_H
#define TEST_SIM_FAKES_H

#include <stdint.h>

/* ---- clock: base/clock.h, and SQLite's --------------------------------------------------------
 */

void fake_clock_set(int64_t now_us, int64_t wall_us);
void fake_clock_pass(int64_t us); /* both clocks; what sleeps lets pass */

/* ---- random numbers: rand_system --------------------------------------------------------------
 */

void fake_rand_seed(uint64_t seed);

/* ---- disk: base/disk.h, and an SQLite file system named "fake" --------------------------------
 */

enum fake_fault {
    FAKE_FULL,        /* nothing can be written: ENOSPC */
    FAKE_READONLY,    /* nor made */
    FAKE_WRITE,       /* EIO */
    FAKE_SHORT_WRITE, /* half of it is written, then EIO */
    FAKE_SYNC,        /* EIO of fsync; what it should have kept is forgotten, as Linux does */
    FAKE_DEAD,        /* everything fails: the power is going */
    FAKE_FAULTS
};

void fake_disk_reset(void); /* empty and well */
/* From the n-th write, truncation, deletion or sync from now on (0: the next) this fails, for
 * n_times of them (-1: for ever). */
void fake_disk_fail(enum fake_fault fault, int64_t n, int64_t n_times);
void fake_disk_heal(void);
int64_t fake_disk_ops(void); /* such operations so far */
/* Power is lost and comes back: of what was not synced each sector is there or not, as the seed has
 * it. Files that were open stay dead; the disk is well. */
void fake_disk_crash(uint64_t seed);
void fake_disk_put(const char *path, const char *text); /* a file */

#endif
