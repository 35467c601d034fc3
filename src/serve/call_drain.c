/* The admin API's part of a drain: begin it, see how far it is, and take over what other servers
 * send. On prep threads. */
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "serve/server.h"

#define BODY_MAX ((size_t)16 << 10)

/* ---- how it goes ----------------------------------------------------------------------------- */

static int show(struct call *c, struct err *e)
{
    struct server *s = c->s;
    struct moves *m = &s->moves;
    struct stored_all *all = cloud_stored(s->cloud);
    const struct move_target *t = atomic_load(&m->now);
    int64_t left = 0, moving = 0;
    char why[MOVES_WHY_MAX];

    if (all)
        stored_left(all, t ? t->round : 0, t ? t->url : NULL, &left, &moving);
    pthread_mutex_lock(&m->lock);
    memcpy(why, m->why, sizeof why);
    pthread_mutex_unlock(&m->lock);
    return call_admin_answer(
        c, 200,
        json_pack("{s:s, s:s, s:s, s:s?, s:I, s:I, s:I, s:I, s:I, s:s?}", "object", "drain",
                  "process", m->process, "state",
                  atomic_load(&s->draining) || atomic_load(&s->leaving) ? "drains"
                  : t                                                   ? "moves"
                                                                        : "serves",
                  "to", t ? t->url : NULL, "moved", (json_int_t)atomic_load(&m->n_moved), "stayed",
                  (json_int_t)atomic_load(&m->n_stayed), "left", (json_int_t)(t ? left : 0),
                  "unknown", (json_int_t)moving, "requests", (json_int_t)atomic_load(&s->n_calls),
                  "why", *why ? why : NULL),
        e);
}

/* ---- asking for it --------------------------------------------------------------------------- */

static int text_of(const json_t *body, const char *name, const char **ret, struct err *e)
{
    const json_t *v = json_object_get(body, name);

    *ret = json_string_value(v);
    return v && !*ret ? err_set_param(e, ERR_SCHEMA, name, "%s: wants a text", name) : 0;
}

static int check_names(const json_t *body, struct err *e)
{
    const char *name;
    json_t *v;

    json_object_foreach((json_t *)body, name, v)
    {
        if (strcmp(name, "to") != 0 && strcmp(name, "key") != 0 && strcmp(name, "ca_file") != 0 &&
            strcmp(name, "keep") != 0)
            return err_set_param(e, ERR_SCHEMA, name, "%.60s: is not known here", name);
    }
    return 0;
}

static int begin(struct call *c, const json_t *body, struct err *e)
{
    struct stored_all *all = cloud_stored(c->s->cloud);
    const char *to, *key, *ca_file;

    if (check_names(body, e) || text_of(body, "to", &to, e) || text_of(body, "key", &key, e) ||
        text_of(body, "ca_file", &ca_file, e))
        return e->code;
    if (json_is_true(json_object_get(body, "keep"))) {
        if (to)
            return err_set_param(e, ERR_SCHEMA, "keep", "keep: goes without to");
        LOG_EVENT(LOG_INFO, "answers kept", LOG_INT("n", all ? stored_keep(all) : 0));
        return show(c, e);
    }
    if (!to) {
        serve_leave(c->s);
        return show(c, e);
    }
    if (!all)
        return err_set(e, ERR_UNSUPPORTED, "No answers are stored here.");
    return moves_begin(c->s, to, key, ca_file, e) ? e->code : show(c, e);
}

int call_admin_drain(struct call *c, struct err *e)
{
    json_t *body = NULL;
    int r;

    if (c->method != HTTP_POST)
        return show(c, e);
    if (c->body.len > BODY_MAX)
        return err_set(e, ERR_TOO_LARGE, "A body here has at most %zu bytes.", BODY_MAX);
    if (!c->body.len) {
        serve_leave(c->s);
        return show(c, e);
    }
    r = json_parse(&body, c->body.data, c->body.len, 0, e);
    if (!r && !json_is_object(body))
        r = err_set(e, ERR_SCHEMA, "The body is a JSON object.");
    if (!r)
        r = begin(c, body, e);
    json_decref(body);
    return r;
}

/* ---- taking over ----------------------------------------------------------------------------- */

static int told(struct call *c, const char *id, int was_here, struct err *e)
{
    return call_admin_answer(
        c, was_here ? 200 : 201,
        json_pack("{s:s, s:s, s:b}", "object", "stored_answer", "id", id, "was_here", was_here), e);
}

int call_admin_take(struct call *c, struct err *e)
{
    struct stored_all *all = cloud_stored(c->s->cloud);
    struct stored_head h;
    struct cloud_caller who = {.key = NULL};
    int r;

    if (!all)
        return err_set(e, ERR_UNSUPPORTED, "No answers are stored here.");
    if (c->body.len > STORED_ANSWER_MAX)
        return err_set(e, ERR_TOO_LARGE, "An answer has at most %zu bytes.", STORED_ANSWER_MAX);
    if (!stored_read_head(c->body.data, c->body.len, &h) || h.v.dialect < 0 ||
        h.v.dialect >= API_DIALECTS)
        return err_set(e, ERR_FORMAT,
                       "These are not the records of a stored answer, as this version has them.");
    if (!strcmp(c->admin.from, c->s->moves.process))
        return err_set(e, ERR_FORBIDDEN, "This server has sent the answer itself.");
    if (stored_has(all, c->body.data, c->body.len)) /* before all else: who asks may not know it */
        return told(c, h.text[STORED_ID], 1, e);
    if (server_is_closing(c->s))
        return err_set(e, ERR_DRAINING, "The server is shutting down.");
    who.again_key_id = h.text[STORED_KEY_ID];
    who.again_tenant = h.text[STORED_TENANT];
    r = cloud_may_go_on(c->s->cloud, clock_now_us(), &who, h.text[STORED_MODEL],
                        h.text[STORED_FINGERPRINT], (int64_t)h.v.n_prompt + h.v.max_tokens, e);
    if (!r)
        r = stored_take_in(all, c->body.data, c->body.len, clock_wall_us(), e);
    if (r == ERR_IO) /* nothing is left of it: who sends it may go on with it */
        e->code = r = ERR_AGAIN;
    if (r < 0)
        return r;
    LOG_EVENT(LOG_INFO, "answer taken over", LOG_STR("answer", h.text[STORED_ID]),
              LOG_STR("request", h.text[STORED_REQUEST_ID]));
    return told(c, h.text[STORED_ID], r, e);
}
