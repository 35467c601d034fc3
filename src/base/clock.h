/* Time. Monotonic microseconds for durations and deadlines, wall time for records only.
 *
 * The wall clock may be pretended, in a process that plays (gaufre demo): days then pass in seconds
 * by it, while durations stay what they are. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

int64_t clock_now_us(void);     /* CLOCK_MONOTONIC */
int64_t clock_wall_us(void);    /* CLOCK_REALTIME, since 1970 */
int64_t clock_thread_us(void);  /* what the calling thread has computed */
int64_t clock_process_us(void); /* what all threads of the process have computed */
void clock_sleep_us(int64_t us);

/* From now on the wall clock stands at that time, until clock_pretend_go: then it goes so many
 * times as fast as the real one. Before there are other threads, once. */
void clock_pretend(int64_t wall_us, int64_t pace);
void clock_pretend_go(void); /* [any] once */
int64_t clock_pace(void);    /* of a pretended wall clock; 1: it is the real one */

#endif
