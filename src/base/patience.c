#include "base/patience.h"

#include <stdatomic.h>
#include <stddef.h>

#include "base/clock.h"

int patience_over(const struct patience *p, struct err *e)
{
    if (p && p->gone && atomic_load_explicit(p->gone, memory_order_relaxed))
        return err_set(e, ERR_CANCELLED, "the client left");
    if (p && p->until_us && clock_now_us() >= p->until_us)
        return err_set(e, ERR_TIMEOUT, "reading the text takes longer than a request may");
    return 0;
}
