/* AMX: tiles of 16 rows x 64 bytes and their permission.
 *
 * Instructions are written in assembly: they name their tiles, and gcc 12's _tile_loadconfig tells
 * the compiler of 8 of the 64 bytes that it reads, so that the stores into them are dropped.
 * Tiles belong to a thread between amx_begin and amx_end; afterwards the system has nothing of them
 * to save when it switches threads. */
#ifndef KERN_AMX_H
#define KERN_AMX_H

/* CPU and system have tiles with int8 and bf16, and this process may use them (asks at the first
 * call). Any thread. */
int amx_available(void);
/* All eight tiles whole, zero. */
void amx_begin(void);
void amx_end(void);

/* A product and an attention of the kernels are what the reference says. */
int amx_is_right(void);

#endif
