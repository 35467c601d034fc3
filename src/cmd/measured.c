#include "cmd/measured.h"

#include "base/put.h"
#include "base/watthour.h"
#include "job/energy.h"

_Static_assert(MEASURED_TEXT_MAX >= WATTHOUR_TEXT_MAX && MEASURED_TEXT_MAX >= PUT_MAX, "room");

const char *measured_wh(int64_t uj, char out[MEASURED_TEXT_MAX])
{
    return uj < 0 ? NULL : watthour_show(uj, out);
}

const char *measured_grams(int64_t ug, char out[MEASURED_TEXT_MAX])
{
    if (ug < 0)
        return NULL;
    put_decimal(ug, 6, out);
    return out;
}

struct measured measured_of(const struct books_sum *s)
{
    int is_boundary = s->energy_boundary >= 0 && s->energy_boundary < ENERGY_BOUNDARIES;

    return (struct measured){
        .energy_uj = s->n_energy ? s->energy_uj : -1,
        .location_ug = s->n_location ? s->carbon_location_ug : -1,
        .market_ug = s->n_market ? s->carbon_market_ug : -1,
        .boundary = s->n_energy && is_boundary
                        ? energy_boundary_name((enum energy_boundary)s->energy_boundary)
                        : NULL,
        .n_no_energy = s->n_used - s->n_energy,
        .n_no_location = s->n_used - s->n_location,
        .n_no_market = s->n_used - s->n_market};
}

static json_t *text_or_null(const char *s)
{
    return s ? json_string(s) : json_null();
}

void measured_json(json_t *j, const struct books_sum *s)
{
    struct measured m = measured_of(s);
    char text[MEASURED_TEXT_MAX];

    json_object_set_new(j, "energy_wh", text_or_null(measured_wh(m.energy_uj, text)));
    json_object_set_new(j, "energy_boundary", text_or_null(m.boundary));
    json_object_set_new(j, "carbon_location_g", text_or_null(measured_grams(m.location_ug, text)));
    json_object_set_new(j, "carbon_market_g", text_or_null(measured_grams(m.market_ug, text)));
    json_object_set_new(j, "without_energy", json_integer(m.n_no_energy));
    json_object_set_new(j, "without_carbon_location", json_integer(m.n_no_location));
    json_object_set_new(j, "without_carbon_market", json_integer(m.n_no_market));
}

static const char *or_nothing(const char *s)
{
    return s ? s : "";
}

int measured_csv(struct buf *out, const struct books_sum *s)
{
    char wh[MEASURED_TEXT_MAX], location[MEASURED_TEXT_MAX], market[MEASURED_TEXT_MAX];
    struct measured m;

    if (!s)
        return buf_add_str(out, ",energy_wh,energy_boundary,carbon_location_g,carbon_market_g,"
                                "without_energy,without_carbon_location,without_carbon_market");
    m = measured_of(s);
    return buf_addf(out, ",%s,%s,%s,%s,%lld,%lld,%lld", or_nothing(measured_wh(m.energy_uj, wh)),
                    or_nothing(m.boundary), or_nothing(measured_grams(m.location_ug, location)),
                    or_nothing(measured_grams(m.market_ug, market)), (long long)m.n_no_energy,
                    (long long)m.n_no_location, (long long)m.n_no_market);
}
