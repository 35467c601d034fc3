/* Sessions of the console (cloud/sessions.h): in with a key of the admin API, who is in, and out.
 * The key comes in a header, never in a URL or a body, and the cookie can be read by no script. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/json_member.h"
#include "serve/server.h"

void call_cookie_name(struct server *s, char ret[CALL_COOKIE_MAX])
{
    snprintf(ret, CALL_COOKIE_MAX, "gaufre_session_%d", net_server_port(s->net));
}

/* Only over TLS where the page came so, to a proxy in front of this server at least. */
static int is_secure(struct call *c)
{
    const char *origin = http_field(net_head(c->x), "origin");

    return origin && !strncasecmp(origin, "https:", 6);
}

/* token NULL: the browser is to forget it. */
static int set_cookie(struct call *c, const char *token)
{
    char name[CALL_COOKIE_MAX], text[256];

    call_cookie_name(c->s, name);
    snprintf(text, sizeof text, "%s=%s; Path=/admin; HttpOnly; SameSite=Strict; Max-Age=%lld%s",
             name, token ? token : "",
             token ? (long long)(c->s->config->console_session / 1000) : 0,
             is_secure(c) ? "; Secure" : "");
    c->set_cookie = arena_strdup(&c->arena, text);
    return c->set_cookie ? 0 : ERR_NOMEM;
}

/* Who is in. s: of which session; NULL: it came with a key itself, or there are none. */
static void tell(struct call *c, int status, const struct cloud_admin *who, const struct session *s)
{
    struct buf *b = &c->out;

    json_open(b, NULL, '{');
    json_member_text(b, "object", "session");
    json_member_text(b, "key", *who->key_id ? who->key_id : NULL);
    json_member_text(b, "role", who->is_read_only ? "read_only" : "operator");
    json_member_bool(b, "accounts", *who->key_id != 0);
    json_member_text(b, "csrf", s ? s->csrf : NULL);
    if (s)
        json_member_int(b, "expires_in", (s->until_us - clock_now_us()) / 1000000);
    else
        json_member_null(b, "expires_in");
    buf_add_char(b, '}');
    call_reply(c, status, "application/json", b->data ? b->data : "", b->len);
}

/* ---- in -------------------------------------------------------------------------------------- */

static int begin(struct call *c, const struct cloud_caller *who, struct cloud_admin *ret,
                 struct session *ret_session, struct err *e)
{
    int64_t now_us = clock_now_us();
    struct quota_held held;
    int r;

    if (!handler_is_own_page(c))
        return err_set(e, ERR_FORBIDDEN, "A session is for this server's own page.");
    if (sessions_try(c->s->sessions, now_us, c->peer, &held, &c->ticket.retry_us))
        return err_set_param(e, ERR_RATE_REQUESTS, "api_key",
                             "Too many wrong keys from this address; please wait.");
    r = cloud_check_admin(c->s->cloud, now_us, who, ret, e);
    if (r)
        return r;
    sessions_try_ok(c->s->sessions, now_us, c->peer, held);
    r = sessions_begin(c->s->sessions, now_us, now_us + c->s->config->console_session * 1000,
                       who->key ? who->key : "", who->n_key, ret_session, e);
    if (!r && set_cookie(c, ret_session->token))
        r = err_set(e, ERR_NOMEM, "No memory for one more request.");
    return r;
}

static void log_in(struct call *c)
{
    struct cloud_caller who = handler_caller(c);
    struct session s = {.until_us = 0};
    struct cloud_admin admin;
    struct err e = {0};

    if (begin(c, &who, &admin, &s, &e))
        call_fail(c, &e);
    else
        tell(c, 201, &admin, &s);
    session_wipe(&s);
}

/* ---- out, and who is in ---------------------------------------------------------------------- */

static void log_out(struct call *c)
{
    static const char done[] = "{\"object\":\"session\",\"deleted\":true}";
    struct session s = {.until_us = 0};
    struct err e = {0};

    if (!handler_find_session(c, &s))
        err_set(&e, ERR_AUTH, "There is no session.");
    else if (!handler_is_own_page(c) ||
             !session_has_csrf(&s, http_field(net_head(c->x), "x-gaufre-csrf")))
        err_set(&e, ERR_FORBIDDEN, "To end a session needs its header x-gaufre-csrf.");
    else if (set_cookie(c, NULL))
        err_set(&e, ERR_NOMEM, "No memory for one more request.");
    if (e.code) {
        call_fail(c, &e);
    } else {
        sessions_end(c->s->sessions, s.token);
        call_reply(c, 200, "application/json", done, sizeof done - 1);
    }
    session_wipe(&s);
}

static void who_is_in(struct call *c)
{
    struct session s = {.until_us = 0};
    struct cloud_admin admin;
    struct err e = {0};
    int is_session = !handler_caller(c).key && handler_find_session(c, &s);

    if (handler_check_operator(c, &admin, &e))
        call_fail(c, &e);
    else
        tell(c, 200, &admin, is_session ? &s : NULL);
    session_wipe(&s);
}

void call_session(struct call *c)
{
    if (c->method == HTTP_POST)
        log_in(c);
    else if (c->method == HTTP_DELETE)
        log_out(c);
    else
        who_is_in(c);
}
