/* exp, tanh and the activations of kern/kmath.h on sixteen lanes: the same operations in the same
 * order. Include after vec_avx2.h or vec_avx512.h. */
#ifndef KERN_VMATH_H
#define KERN_VMATH_H

INL struct vf vf_exp(struct vf x)
{
    x = vf_max(vf_set1(KMATH_EXP_LO), x);
    x = vf_min(vf_set1(KMATH_EXP_HI), x);
    struct vf n = vf_rint(vf_mul(x, vf_set1(KMATH_LOG2E)));
    struct vf r = vf_fma(n, vf_set1(-KMATH_LN2_HI), x);
    r = vf_fma(n, vf_set1(-KMATH_LN2_LO), r);
    struct vf p = vf_fma(vf_set1(KMATH_EXP_C7), r, vf_set1(KMATH_EXP_C6));
    p = vf_fma(p, r, vf_set1(KMATH_EXP_C5));
    p = vf_fma(p, r, vf_set1(KMATH_EXP_C4));
    p = vf_fma(p, r, vf_set1(KMATH_EXP_C3));
    p = vf_fma(p, r, vf_set1(KMATH_EXP_C2));
    p = vf_fma(p, r, vf_set1(1.0f));
    p = vf_fma(p, r, vf_set1(1.0f));
    return vf_ldexp(p, n);
}

INL struct vf vf_exp2(struct vf x)
{
    x = vf_max(vf_set1(KMATH_EXP2_LO), x);
    struct vf n = vf_rint(x), r = vf_sub(x, n);
    struct vf p = vf_fma(vf_set1(KMATH_EXP2_C5), r, vf_set1(KMATH_EXP2_C4));
    p = vf_fma(p, r, vf_set1(KMATH_EXP2_C3));
    p = vf_fma(p, r, vf_set1(KMATH_EXP2_C2));
    p = vf_fma(p, r, vf_set1(KMATH_EXP2_C1));
    p = vf_fma(p, r, vf_set1(1.0f));
    return vf_ldexp(p, n);
}

INL struct vf vf_tanh(struct vf x)
{
    struct vf a = vf_abs(x), z = vf_mul(x, x), one = vf_set1(1.0f);
    struct vf p = vf_fma(vf_set1(KMATH_TANH_C4), z, vf_set1(KMATH_TANH_C3));
    p = vf_fma(p, z, vf_set1(KMATH_TANH_C2));
    p = vf_fma(p, z, vf_set1(KMATH_TANH_C1));
    p = vf_fma(p, z, vf_set1(KMATH_TANH_C0));
    struct vf small = vf_fma(vf_mul(p, z), x, x);
    struct vf e = vf_exp(vf_add(a, a));
    struct vf big = vf_sub(one, vf_div(vf_set1(2.0f), vf_add(e, one)));
    return vf_select(vf_lt(a, vf_set1(KMATH_TANH_SPLIT)), small, vf_copysign(big, x));
}

INL struct vf vf_silu(struct vf x)
{
    return vf_div(x, vf_add(vf_set1(1.0f), vf_exp(vf_neg(x))));
}

INL struct vf vf_gelu(struct vf x)
{
    struct vf c = vf_fma(vf_mul(x, x), vf_set1(KMATH_GELU_B * KMATH_GELU_A), vf_set1(KMATH_GELU_B));
    struct vf t = vf_tanh(vf_mul(x, c));
    return vf_mul(vf_mul(vf_set1(0.5f), x), vf_add(vf_set1(1.0f), t));
}

INL struct vf vf_swiglu_oai(struct vf g, struct vf u)
{
    const struct vf one = vf_set1(1.0f), lim = vf_set1(KMATH_OAI_LIMIT);
    g = vf_min(lim, g);
    u = vf_min(lim, u);
    u = vf_max(vf_neg(lim), u);
    struct vf e = vf_exp(vf_mul(vf_set1(-KMATH_OAI_ALPHA), g));
    return vf_mul(vf_div(g, vf_add(one, e)), vf_add(u, one));
}

#endif
