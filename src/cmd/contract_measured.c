/* gaufre contract record and measurements: what was measured of a contract's basket, kept in the
 * store and shown. */
#include <string.h>

#include "cmd/account_opts.h"
#include "cmd/cmd.h"
#include "cmd/contract_basket.h"
#include "cmd/contract_opts.h"
#include "cmd/input.h"

/* What measure has printed, or the record in it, or a record alone. */
static int read_record(const char *path, struct measurement **ret, struct err *e)
{
    struct buf file, text;
    json_t *all = NULL, *record;
    int r;

    buf_init(&file, 2 * MEASUREMENT_TEXT_MAX);
    buf_init(&text, MEASUREMENT_TEXT_MAX);
    r = input_file(&file, path, e);
    if (!r && (r = json_parse(&all, file.len ? file.data : "", file.len, 0, e)))
        err_prefix(e, "%s", path);
    record = json_object_get(all, "record");
    if (!r && json_put_tree(&text, record ? record : all))
        r = err_set(e, ERR_TOO_LARGE, "%s: it is too large for a measurement", path);
    if (!r && (r = measurement_parse(ret, text.data, text.len, e)))
        err_prefix(e, "%s", path);
    json_decref(all);
    buf_done(&file);
    buf_done(&text);
    return r;
}

int contract_record(struct contract_opts *o, int n, char **argv, struct err *e)
{
    const struct account_who who = account_cli_who();
    struct measured_row row = {.signature = "", .public_key = ""};
    struct measurement *m = NULL;
    struct contract_file *f = NULL;
    int r = read_record(argv[0], &m, e);

    if (!r && m->verdict.is_there)
        r = err_set(e, ERR_ARG, "%s: it is an acceptance, which only 'accept' records", argv[0]);
    if (!r)
        r = contract_source_store(&o->source, e);
    if (!r)
        r = contract_source_stored(&o->source, m->contract, &f, e);
    if (!r)
        r = accounts_measure(o->source.store, &who, m, &row, e);
    if (!r)
        cmd_note("measurement %lld of contract %s is recorded", (long long)row.id, m->contract);
    contract_file_close(f);
    measurement_free(m);
    return r;
}

struct showing {
    const struct contract_opts *o;
    const struct contract_file *file;
    int n;
    struct err *e;
};

static int show_one(void *arg, const struct measured_row *row)
{
    struct showing *x = arg;
    const struct basket_shown s = {row->id, row->recorded_s, row->actor, x->o->engine};
    struct measurement *m = NULL;
    int r = measurement_parse(&m, row->text, strlen(row->text), x->e);

    if (r) {
        err_prefix(x->e, "measurement %lld", (long long)row->id);
        return r;
    }
    if (x->o->json) {
        r = cmd_json(contract_basket_json(x->file, m, &s), JSON_COMPACT | CONTRACT_JSON_FLAGS);
    } else {
        if (x->n++)
            printf("\n");
        contract_basket_print(x->file, m, &s);
    }
    measurement_free(m);
    return r;
}

int contract_measurements(struct contract_opts *o, int n, char **argv, struct err *e)
{
    struct showing x = {.o = o, .e = e};
    struct contract_file *f = NULL;
    int r = contract_source_store(&o->source, e);

    if (!r)
        r = contract_source_stored(&o->source, argv[0], &f, e);
    x.file = f;
    if (!r)
        r = accounts_measurements(o->source.store, contract_file_contract(f)->name, show_one, &x,
                                  e);
    contract_file_close(f);
    return r;
}
