/* Time. Monotonic microseconds for durations and deadlines, wall time for records only. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

int64_t clock_now_us(void);     /* CLOCK_MONOTONIC */
int64_t clock_wall_us(void);    /* CLOCK_REALTIME, since 1970 */
int64_t clock_thread_us(void);  /* what the calling thread has computed */
int64_t clock_process_us(void); /* what all threads of the process have computed */
void clock_sleep_us(int64_t us);

#endif
