/* Which requests are traced. Pure.
 *
 * By their trace's id, so that all who see it and have the same ratio decide alike, and who has a
 * lower one takes a part of the others'. Source: OpenTelemetry, TraceIdRatioBased (56 bits). */
#ifndef POLICY_TRACE_KEEP_H
#define POLICY_TRACE_KEEP_H

#include <stdint.h>

#define TRACE_KEEP_ALL ((uint64_t)1 << 56)

/* 0..1 as so many of TRACE_KEEP_ALL. */
uint64_t trace_keep_part(double ratio);
/* trace: its 16 bytes. */
int trace_keep(const unsigned char trace[16], uint64_t part);

#endif
