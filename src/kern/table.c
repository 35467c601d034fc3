/* The tables of kernels: the scalar reference, overridden by the instruction sets of this CPU. */
#include <pthread.h>
#include <string.h>

#include "base/check.h"
#include "kern/isa.h"
#include "kern/kern.h"
#include "kern/scalar.h"

static const struct kern_table scalar = {
    .quantize = scalar_quantize,
    .matmul_q8 = scalar_matmul_q8,
    .matmul_f32 = scalar_matmul_f32,
    .matmul_bf16 = scalar_matmul_bf16,
    .to_bf16 = scalar_to_bf16,
    .rmsnorm = scalar_rmsnorm,
    .add = scalar_add,
    .scale = scalar_scale,
    .axpy = scalar_axpy,
    .glu = scalar_glu,
    .rope = scalar_rope,
    .kv_store = scalar_kv_store,
    .attn = scalar_attn,
    .attn_bf16 = scalar_attn_bf16,
    .attn_join = scalar_attn_join,
    .argmax = scalar_argmax,
    .sum_exp = scalar_sum_exp,
    .chunk_groups = 8,
};

#define WORD(isa, name) [isa] = (name),
static const char *const isa_names[KERN_N_ISA] = {KERN_ISAS(WORD)};
#undef WORD

const char *kern_isa_name(enum kern_isa isa)
{
    CHECK((unsigned)isa < KERN_N_ISA);
    return isa_names[isa];
}

int kern_isa_available(enum kern_isa isa)
{
    CHECK((unsigned)isa < KERN_N_ISA);
    const struct isa_row *r = &isa_rows[isa];
    if (isa == KERN_ISA_SCALAR)
        return 1;
    return r->override && !(r->needs & ~isa_cpu_flags()) && (!r->is_right || r->is_right());
}

const struct kern_table *kern_open(enum kern_isa max_isa)
{
    CHECK((unsigned)max_isa < KERN_N_ISA);
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static struct kern_table tables[KERN_N_ISA]; /* filled when first asked for */
    const struct kern_table *best = &scalar;
    pthread_mutex_lock(&lock);
    for (int i = KERN_ISA_SCALAR; i <= (int)max_isa; i++) {
        if (!kern_isa_available((enum kern_isa)i))
            continue;
        if (!tables[i].name) {
            tables[i] = *best;
            tables[i].name = isa_names[i];
            if (isa_rows[i].override)
                isa_rows[i].override(&tables[i]);
        }
        best = &tables[i];
    }
    pthread_mutex_unlock(&lock);
    return best;
}

int kern_isa_parse(const char *name, enum kern_isa *ret_isa, struct err *e)
{
    int best = KERN_N_ISA - 1, i = 0;
    while (!kern_isa_available((enum kern_isa)best))
        best--;
    if (strcmp(name, "auto") == 0) {
        *ret_isa = (enum kern_isa)best;
        return 0;
    }
    while (i < KERN_N_ISA && strcmp(name, isa_names[i]) != 0)
        i++;
    if (i == KERN_N_ISA)
        return err_set_param(e, ERR_ARG, "cpu",
                             "unknown CPU level \"%s\"; known: auto" KERN_ISA_LIST, name);
    if (!kern_isa_available((enum kern_isa)i))
        return err_set_param(e, ERR_UNSUPPORTED, "cpu",
                             "this CPU has no %s; the best it can run is %s", name,
                             isa_names[best]);
    *ret_isa = (enum kern_isa)i;
    return 0;
}
