#include "serve/energy_store.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/json.h"

#define VERSION  1
#define BUSY_MAX 4096000 /* permille */
#define UW_MAX   INT64_C(1000000000000)

static int get_int(const json_t *v, int64_t max, int64_t *ret)
{
    *ret = json_integer_value(v);
    return json_is_integer(v) && *ret >= 0 && *ret <= max;
}

/* [[busy_permille, microwatts], ...], growing. */
static int get_curve(const json_t *points, struct energy_curve *ret)
{
    size_t n = json_array_size(points);

    ret->n = 0;
    if (n < 1 || n > ENERGY_CURVE_MAX)
        return 0;
    for (size_t i = 0; i < n; i++) {
        const json_t *pair = json_array_get(points, i);
        struct energy_point *p = &ret->point[i];
        int64_t busy;
        if (json_array_size(pair) != 2 || !get_int(json_array_get(pair, 0), BUSY_MAX, &busy) ||
            !get_int(json_array_get(pair, 1), UW_MAX, &p->uw))
            return 0;
        p->busy_permille = (int32_t)busy;
        if (i && (p->busy_permille <= p[-1].busy_permille || p->uw < p[-1].uw))
            return 0;
        ret->n++;
    }
    return 1;
}

static int get_all(const json_t *root, struct energy_calibration *ret)
{
    const char *cpu = json_string_value(json_object_get(root, "cpu"));
    const char *boundary = json_string_value(json_object_get(root, "boundary"));
    const char *method = json_string_value(json_object_get(root, "method"));
    int b = boundary ? energy_boundary_find(boundary) : -1;
    int m = method ? energy_method_find(method) : -1;
    int64_t version, uncertainty, error;

    *ret = (struct energy_calibration){0};
    if (!get_int(json_object_get(root, "version"), VERSION, &version) || version != VERSION ||
        !cpu || strlen(cpu) >= sizeof ret->cpu || b < 0 || m < 0 ||
        !get_int(json_object_get(root, "measured"), INT64_C(1) << 40, &ret->measured) ||
        !get_int(json_object_get(root, "uncertainty_permille"), 1000, &uncertainty) ||
        !get_int(json_object_get(root, "error_permille"), 1000, &error) ||
        !get_curve(json_object_get(root, "curve"), &ret->curve))
        return 0;
    snprintf(ret->cpu, sizeof ret->cpu, "%s", cpu);
    ret->by.boundary = (enum energy_boundary)b;
    ret->by.method = (enum energy_method)m;
    ret->by.uncertainty_permille = (int32_t)uncertainty;
    ret->error_permille = (int32_t)error;
    return 1;
}

int energy_store_get(const char *path, const char *cpu, struct energy_calibration *ret)
{
    struct energy_calibration c;
    char chunk[4096];
    json_t *root = NULL;
    FILE *f = fopen(path, "re");
    struct buf b;
    size_t n;
    int r;

    if (!f)
        return ERR_NOTFOUND;
    buf_init(&b, ENERGY_STORE_BYTES_MAX);
    while (!b.failed && (n = fread(chunk, 1, sizeof chunk, f)) > 0)
        buf_add(&b, chunk, n);
    r = ferror(f) ? ERR_IO : b.failed;
    fclose(f);
    if (!r && (json_parse(&root, b.data ? b.data : "", b.len, 0, NULL) || !get_all(root, &c)))
        r = ERR_FORMAT;
    if (!r && strcmp(c.cpu, cpu))
        r = ERR_NOTFOUND;
    if (!r)
        *ret = c;
    json_decref(root);
    buf_done(&b);
    return r;
}

int energy_store_put(const char *path, const struct energy_calibration *c, struct err *e)
{
    json_t *points = json_array(), *root;
    char text[4200];
    FILE *f = NULL;
    int bad;

    for (int i = 0; i < c->curve.n; i++)
        json_array_append_new(points, json_pack("[i, I]", c->curve.point[i].busy_permille,
                                                (json_int_t)c->curve.point[i].uw));
    root = json_pack(
        "{s:i, s:s, s:I, s:s, s:s, s:i, s:i, s:o}", "version", VERSION, "cpu", c->cpu, "measured",
        (json_int_t)c->measured, "boundary", energy_boundary_name(c->by.boundary), "method",
        energy_method_name(c->by.method), "uncertainty_permille", c->by.uncertainty_permille,
        "error_permille", c->error_permille, "curve", points);
    if (!root)
        return err_set(e, ERR_NOMEM, "out of memory");
    bad = snprintf(text, sizeof text, "%s.%ld", path, (long)getpid()) >= (int)sizeof text;
    if (!bad)
        f = fopen(text, "we");
    bad |= !f || json_dumpf(root, f, JSON_INDENT(1));
    if (f)
        bad |= fflush(f) || fsync(fileno(f));
    if (f)
        bad |= fclose(f);
    bad = bad || rename(text, path);
    if (bad && f)
        unlink(text);
    json_decref(root);
    return bad ? err_set(e, ERR_IO, "cannot write %.300s", path) : 0;
}
