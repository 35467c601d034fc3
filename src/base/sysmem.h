/* Memory of the machine, as this process may use it. */
#ifndef BASE_SYSMEM_H
#define BASE_SYSMEM_H

#include <stdint.h>

/* Bytes that can still be taken without swapping: /proc/meminfo's MemAvailable, lowered by the
 * control group's limit where there is one. UINT64_MAX when neither can be read. */
uint64_t sysmem_available(void);
/* Resident bytes of this process; 0 when unknown. */
uint64_t sysmem_resident(void);

#endif
