#include "engine/recommend.h"

/* A number of the file; 0: the key is absent, negative: it holds something else. */
static int read_number(const struct gguf *g, const char *key, double *ret)
{
    struct err e;
    float v;
    int rc = gguf_get_f32(g, key, &v, &e);

    if (rc > 0)
        *ret = (double)v;
    return rc;
}

/* Reads the keys that llama.cpp writes, but not its repetition penalty, which counts only the last
 * tokens where ours counts all of them. */
static int read_file(const struct gguf *g, struct preset *ret)
{
    struct preset s = preset_plain();
    double top_k = 0;
    int t = read_number(g, "general.sampling.temp", &s.temperature);
    int p = read_number(g, "general.sampling.top_p", &s.top_p);
    int m = read_number(g, "general.sampling.min_p", &s.min_p);
    int k = read_number(g, "general.sampling.top_k", &top_k);

    if (t < 0 || p < 0 || m < 0 || k < 0 || top_k > PRESET_TOP_K_MAX)
        return 0;
    s.top_k = top_k > 0 ? (int32_t)top_k : 0;
    if (!preset_is_valid(&s) || (top_k > 0 && s.top_k != top_k))
        return 0;
    if (!t && !p && !m && !k)
        return 0;
    *ret = s;
    return 1;
}

const char *recommend_sampling(const struct preset *given, const struct gguf *g,
                               const struct family *f, struct preset *ret)
{
    if (given && preset_is_valid(given)) {
        *ret = *given;
        return "catalogue";
    }
    if (read_file(g, ret))
        return "file";
    *ret = f->sampling;
    return "family";
}
