/* The machine as this process may use it: memory, and the processor's name. */
#ifndef BASE_SYSMEM_H
#define BASE_SYSMEM_H

#include <stddef.h>
#include <stdint.h>

/* Bytes that can still be taken without swapping: /proc/meminfo's MemAvailable, lowered to
 * what the control groups of this process leave. UINT64_MAX when neither can be read. */
uint64_t sysmem_available(void);
/* Resident bytes of this process; 0 when unknown. */
uint64_t sysmem_resident(void);

/* Bytes the machine has, lowered to the control groups' limit; 0 when unknown. */
uint64_t sysmem_total(void);
/* The processor's name as the kernel tells it; "" when unknown. */
void sysmem_cpu_name(char *out, size_t cap);

#endif
