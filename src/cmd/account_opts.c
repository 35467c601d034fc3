#include "cmd/account_opts.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "cloud/accounts_json.h"
#include "hub/hub.h"

int account_store(const struct account_opts *o, struct accounts **ret, struct err *e)
{
    const char *where = o->accounts ? o->accounts : getenv("GAUFRE_ACCOUNTS");
    char path[4096];
    struct hub *h = NULL;
    int r;

    if (where && *where)
        return accounts_open(ret, where, e);
    r = hub_open(&h, e);
    if (!r)
        r = hub_make_home(h, e);
    if (!r && snprintf(path, sizeof path, "%s/" ACCOUNTS_FILE, hub_home(h)) >= (int)sizeof path)
        r = err_set(e, ERR_ARG, "the store has too long a name");
    hub_close(h);
    return r ? r : accounts_open(ret, path, e);
}

struct account_who account_cli_who(void)
{
    static char actor[128];
    const struct passwd *p = getpwuid(getuid());

    if (p)
        snprintf(actor, sizeof actor, "cli:%.100s", p->pw_name);
    else
        snprintf(actor, sizeof actor, "cli:%ld", (long)getuid());
    return (struct account_who){actor, (int64_t)time(NULL)};
}

int account_changes(const struct account_opts *o, struct account_change ret[])
{
    int n = 0;

#define TAKE(name, option, type, kinds, value, help)                                               \
    if (o->name)                                                                                   \
        ret[n++] = (struct account_change){#name, strcmp(o->name, "none") ? o->name : NULL};
    ACCOUNT_FIELDS(TAKE)
#undef TAKE
    CHECK(n <= ACCOUNT_CHANGES_MAX);
    return n;
}

/* ---- showing --------------------------------------------------------------------------------- */

static void print_time(int64_t s, char ret[32])
{
    time_t t = (time_t)s;
    struct tm tm;

    gmtime_r(&t, &tm);
    strftime(ret, 32, "%Y-%m-%d %H:%M", &tm);
}

/* "requests_per_minute=60 tiers=flex" */
static void settings_text(const struct account_row *r, struct buf *out)
{
    char text[ACCOUNT_TEXT_MAX];

    for (int i = 0; i < account_n_fields; i++) {
        if (account_field_show(&r->settings, &account_fields[i], text))
            buf_addf(out, "%s%s=%s", out->len ? " " : "", account_fields[i].name, text);
    }
}

int account_print(void *arg, struct account_row *r)
{
    struct account_list *l = arg;
    struct buf text;
    char made[32];

    if (r->state == ACCOUNT_REMOVED || (l->tenant && strcmp(l->tenant, r->tenant)))
        return 0;
    if (l->o->json)
        return cmd_json(accounts_json(r), JSON_COMPACT);
    if (!l->n++)
        printf("%-28s %-20s %-8s %-16s %s\n", account_kind_name(r->kind),
               r->kind == ACCOUNT_KEY ? "tenant/team" : "tenant", "state", "made (UTC)",
               "settings");
    buf_init(&text, 1 << 16);
    settings_text(r, &text);
    print_time(r->created_s, made);
    cmd_line(stdout, "%-28s %-20s %-8s %-16s %s%s%s", r->id, *r->team ? r->team : r->tenant,
             account_state_name(r->state), made, text.len ? text.data : "-",
             *r->broken ? "  NOT USABLE: " : "", r->broken);
    buf_done(&text);
    return 0;
}

int account_show(const struct account_opts *o, struct accounts *a, enum account_kind kind,
                 const char *id, struct err *e)
{
    struct account_row row;
    char text[ACCOUNT_TEXT_MAX], made[32];
    int r = accounts_get(a, kind, id, &row, e);

    if (r)
        return r;
    if (o->json) {
        r = cmd_json(accounts_json(&row), JSON_COMPACT);
    } else {
        print_time(row.created_s, made);
        cmd_line(stdout, "%s %s", account_kind_name(kind), row.id);
        if (kind != ACCOUNT_TENANT)
            cmd_line(stdout, "  of %s", *row.team ? row.team : row.tenant);
        cmd_line(stdout, "  %s, made %s UTC", account_state_name(row.state), made);
        for (int i = 0; i < account_n_fields; i++) {
            if (account_field_show(&row.settings, &account_fields[i], text))
                cmd_line(stdout, "  %-28s %s", account_fields[i].name, text);
        }
        if (*row.broken)
            cmd_line(stdout, "  NOT USABLE: %s", row.broken);
    }
    account_done(&row.settings);
    return r;
}

/* ---- the verbs of tenants and teams ---------------------------------------------------------- */

static int list(const struct account_opts *o, struct accounts *a, enum account_kind kind,
                struct err *e)
{
    struct account_list l = {.o = o, .tenant = o->tenant};
    int r = accounts_each(a, (int)kind, -1, account_print, &l, e);

    if (!r && !l.n && !o->json)
        cmd_note("there is no %s yet: gaufre %s new NAME", account_kind_name(kind),
                 account_kind_name(kind));
    return r;
}

static int act(enum account_kind kind, const struct account_opts *o, struct accounts *a,
               const char *verb, const char *id, struct err *e)
{
    const struct account_who who = account_cli_who();
    struct account_change c[ACCOUNT_CHANGES_MAX];
    int n = account_changes(o, c);

    if (!strcmp(verb, "new"))
        return accounts_new(a, &who, kind, id, c, n, e);
    if (!strcmp(verb, "set"))
        return accounts_set(a, &who, kind, id, c, n, e);
    if (!strcmp(verb, "rm"))
        return accounts_remove(a, &who, kind, id, e);
    return account_show(o, a, kind, id, e);
}

int account_run(const struct cmd *cmd, enum account_kind kind, const struct account_opts *o,
                int argc, char **argv)
{
    static const char *const verbs[] = {"list", "new", "show", "set", "rm"};
    struct account_change c[ACCOUNT_CHANGES_MAX];
    struct accounts *a = NULL;
    struct err e = {0};
    size_t i = 0;
    int r, n = account_changes(o, c);

    while (i < ARRAY_LEN(verbs) && strcmp(argv[0], verbs[i]))
        i++;
    if (i == ARRAY_LEN(verbs))
        return cmd_usage(cmd, "wants new, list, show, set or rm, not '%s'", argv[0]);
    if ((argc > 1) != (i > 0))
        return cmd_usage(cmd, i ? "'%s' wants a name" : "'%s' wants no name", verbs[i]);
    if (n && strcmp(verbs[i], "set") && strcmp(verbs[i], "new"))
        return cmd_usage(cmd, "'%s' sets nothing, as %s; 'set' does", verbs[i], c[0].field);
    if (!strcmp(verbs[i], "set") && !n)
        return cmd_usage(cmd, "nothing to set: give a flag, as --tokens-per-day 4000");
    r = account_store(o, &a, &e);
    if (!r)
        r = i ? act(kind, o, a, verbs[i], argv[1], &e) : list(o, a, kind, &e);
    accounts_close(a);
    return r ? cmd_fail(cmd, &e) : CMD_OK;
}
