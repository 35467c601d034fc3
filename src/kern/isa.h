/* Instruction sets: what each one asks of the CPU, and the functions that it brings.
 *
 * One row a set. table.c starts from the scalar reference and lets every set that the CPU has put
 * its functions in place of what is there, in the order of enum kern_isa. So a set states only its
 * own functions. The rows of one processor family are one file (isa_x86.c); another family brings
 * its words in KERN_ISAS, a file of rows and the kernels that they name. */
#ifndef KERN_ISA_H
#define KERN_ISA_H

#include "kern/kern.h"
#include "kern/peak_isa.h"

struct isa_row {
    unsigned needs;                         /* flags of isa_cpu_flags, all of them */
    int (*is_right)(void);                  /* one more question, asked last; NULL: none */
    void (*override)(struct kern_table *t); /* NULL: this build has no such set */
    const struct peak_isa *peak;            /* loops that measure it; NULL: those before it */
};

/* The row of KERN_ISA_SCALAR is empty. */
extern const struct isa_row isa_rows[KERN_N_ISA];

/* What this CPU and the system have of the flags that the rows need. Any thread. */
unsigned isa_cpu_flags(void);

#endif
