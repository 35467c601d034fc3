#include "cmd/contract_source.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/account_opts.h"

int contract_source_store(struct contract_source *s, struct err *e)
{
    const struct account_opts where = {.accounts = s->accounts};

    return s->store ? 0 : account_store(&where, &s->store, e);
}

void contract_source_done(struct contract_source *s)
{
    accounts_close(s->store);
}

struct taking {
    const char *arg;
    int64_t version;
    struct contract_file *file;
    struct err *e;
};

static int take(void *arg, const struct contract_version *v)
{
    struct taking *x = arg;

    x->version = v->version;
    return contract_file_parse(&x->file, x->arg, v->text, strlen(v->text), x->e);
}

static int is_file(const char *arg)
{
    const char *end = strrchr(arg, '.');

    return !access(arg, F_OK) || strchr(arg, '/') ||
           (end && (!strcmp(end, ".yaml") || !strcmp(end, ".yml") || !strcmp(end, ".json")));
}

int contract_source_stored(struct contract_source *s, const char *arg, struct contract_file **ret,
                           struct err *e)
{
    struct taking x = {.arg = arg, .e = e};
    const char *at = strchr(arg, '@');
    char name[ACCOUNT_ID_MAX], *end = NULL;
    int64_t version = 0;
    int r;

    if (at)
        version = strtoll(at + 1, &end, 10);
    if (at && (version < 1 || *end || end == at + 1))
        return err_set(e, ERR_ARG, "%.80s: wants NAME@VERSION: acme@2", arg);
    if (strlen(arg) >= sizeof name)
        return err_set(e, ERR_NOTFOUND, "the store has no contract '%.64s...'", arg);
    memcpy(name, arg, strlen(arg) + 1);
    if (at)
        name[at - arg] = 0;
    r = contract_source_store(s, e);
    if (!r)
        r = accounts_contract(s->store, name, version, s->as_of_s, s->known_s, take, &x, e);
    if (!r)
        *ret = x.file;
    s->version = x.version;
    return r;
}

int contract_source_open(struct contract_source *s, const char *arg, struct contract_file **ret,
                         struct err *e)
{
    s->version = 0;
    return is_file(arg) ? contract_file_open(ret, arg, e) : contract_source_stored(s, arg, ret, e);
}
