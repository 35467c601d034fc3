#include "job/sampling.h"

struct sampling sampling_plain(void)
{
    return (struct sampling){.temperature = 1, .top_p = 1};
}

int sampling_is_valid(const struct sampling *s)
{
    return s->temperature >= 0 && s->temperature <= 2 && s->top_p > 0 && s->top_p <= 1 &&
           s->min_p >= 0 && s->min_p <= 1 && s->top_k >= 0 && s->top_k <= SAMPLING_TOP_K_MAX;
}

int sampling_put(struct buf *out, const struct sampling *s)
{
    return buf_addf(out, "{\"temperature\":%.6g,\"top_p\":%.6g,\"top_k\":%d,\"min_p\":%.6g}",
                    s->temperature, s->top_p, s->top_k, s->min_p);
}

int sampling_tell(struct buf *out, const struct sampling *s)
{
    buf_addf(out, "temperature %.6g", s->temperature);
    if (s->top_p < 1)
        buf_addf(out, ", top_p %.6g", s->top_p);
    if (s->top_k > 0)
        buf_addf(out, ", top_k %d", s->top_k);
    if (s->min_p > 0)
        buf_addf(out, ", min_p %.6g", s->min_p);
    return out->failed;
}
