#include "cloud/power_view.h"

#include <stdlib.h>

#include "books/power_by_hour.h"

#define SECOND_US INT64_C(1000000)
#define YEARS_S   (POWER_VIEW_YEARS * INT64_C(365) * 86400)

struct viewing {
    const char *ledger;
    int64_t from_us, until_us;
    json_t *list;
    struct err *e;
};

static int is_known(const struct power_hour *h)
{
    return h->sum.watched_us || h->n_unmetered || h->use.own || h->use.other || h->use.lent ||
           h->use.backstop;
}

static int add_site(void *arg, const char *site)
{
    struct viewing *x = arg;
    struct power_hour *hour = NULL;
    size_t n = 0;
    int r;

    if (power_is_region(site))
        return 0;
    r = power_hours(x->ledger, site, x->from_us, x->until_us, &hour, &n, x->e);
    for (size_t i = 0; !r && i < n; i++) {
        if (!is_known(&hour[i]))
            continue;
        if (json_array_size(x->list) == POWER_VIEW_MAX)
            r = err_set_param(x->e, ERR_ARG, "from",
                              "from: there are more than %d hours of all sites; ask for a site, or "
                              "a shorter time",
                              POWER_VIEW_MAX);
        else if (json_array_append_new(x->list, power_hour_json(site, &hour[i])))
            r = err_set(x->e, ERR_NOMEM, "No memory for the answer.");
    }
    free(hour);
    return r;
}

int power_view(const char *ledger, const char *site, int64_t from_s, int64_t until_s, json_t **ret,
               struct err *e)
{
    struct viewing x = {.ledger = ledger, .list = json_array(), .e = e};
    int r = 0;

    from_s = from_s < until_s - YEARS_S ? until_s - YEARS_S : from_s;
    x.from_us = (from_s > 0 ? from_s : 0) * SECOND_US;
    x.until_us = until_s * SECOND_US;
    if (x.from_us < x.until_us)
        r = site ? add_site(&x, site) : power_log_places(ledger, add_site, &x, e);
    if (r)
        json_decref(x.list);
    else
        *ret = x.list;
    return r;
}
