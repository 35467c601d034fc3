/* AMX: tiles of 16 rows x 64 bytes and their permission.
 *
 * Instructions are written in assembly: they name their tiles, and gcc 12's _tile_loadconfig tells
 * the compiler of 8 of the 64 bytes that it reads, so that the stores into them are dropped.
 * A thread uses tiles between amx_begin and amx_end. amx_end releases them, so that the system has
 * no tiles to save when it switches threads. */
#ifndef KERN_AMX_H
#define KERN_AMX_H

/* 1 when CPU and system have tiles with int8 and bf16 and allow this process to use them; each call
 * asks the system for that permission. Any thread. */
int amx_available(void);
/* Configure all eight tiles to their full size; they are zero. */
void amx_begin(void);
void amx_end(void);

/* 1 when one product and one attention computed by the AMX kernels equal the scalar reference. */
int amx_is_right(void);

#endif
