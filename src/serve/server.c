/* Opening, running and draining a server. */
#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/rand.h"
#include "base/sql.h"
#include "base/sysmem.h"
#include "base/team.h"
#include "cloud/replay.h"
#include "net/tls.h"
#include "serve/energy_source.h"
#include "serve/environment.h"
#include "serve/node_lender.h"
#include "serve/local_supplier.h"
#include "serve/manager.h"
#include "serve/power_thread.h"
#include "serve/server.h"
#include "serve/site_clock.h"
#include "serve/site_watch.h"
#include "serve/suppliers.h"
#include "serve/swap.h"
#include "serve/trace_export.h"
#include "serve/webhooks.h"

#define JOBS_HOME_US INT64_C(10000000) /* after the drain: for cancelled jobs to come home */
#define LINGER_US    10000
#define LEAVE_US     5000000 /* its io thread closes the sockets in its next turn */
#define RELOAD_S     60      /* as long as who asked for a reload waits */
#define SYNC_MS      250     /* between two looks at the store of accounts */

int server_has_one_tenant(const struct server *s)
{
    return !serve_has_keys(s->config);
}

struct served *server_model(const struct call *c)
{
    return &c->s->served[c->ticket.offer->i_model];
}

static void wake(struct server *s)
{
    uint64_t one = 1;
    ssize_t r = write(s->wake_fd, &one, sizeof one);
    (void)r;
}

void serve_drain(struct server *s)
{
    atomic_store(&s->want_drain, 1);
    wake(s);
}

void serve_leave(struct server *s)
{
    atomic_store(atomic_load(&s->moves.now) ? &s->want_leave : &s->want_drain, 1);
    wake(s);
}

int server_is_closing(const struct server *s)
{
    return atomic_load(&s->draining) || atomic_load(&s->moves.now);
}

void serve_reload(struct server *s)
{
    atomic_fetch_add(&s->want_reload, 1);
    wake(s);
}

void serve_upgrade(struct server *s)
{
    atomic_store(&s->want_upgrade, 1);
    wake(s);
}

int server_reload(struct server *s, int *ret_generation, struct err *e)
{
    struct timespec until;
    int64_t wanted;
    int r = 0;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += RELOAD_S;
    pthread_mutex_lock(&s->reload_lock);
    wanted = s->reloads_begun + 1; /* one that runs already may have read the file before */
    serve_reload(s);
    while (!r && s->reloads_done < wanted)
        r = pthread_cond_timedwait(&s->reload_ended, &s->reload_lock, &until);
    if (r)
        r = err_set(e, ERR_AGAIN, "The server is not ready to read its configuration again.");
    else if ((r = s->reload_err.code))
        *e = s->reload_err;
    *ret_generation = s->generation;
    pthread_mutex_unlock(&s->reload_lock);
    return r;
}

void serve_reloaded(struct server *s, const struct err *e)
{
    manager_ready(s);
    pthread_mutex_lock(&s->reload_lock);
    s->reload_err = e ? *e : (struct err){0};
    s->reloads_done = s->reloads_begun;
    pthread_cond_broadcast(&s->reload_ended);
    pthread_mutex_unlock(&s->reload_lock);
}

int serve_port(const struct server *s)
{
    return net_server_port(s->net);
}

/* ---- opening --------------------------------------------------------------------------------- */

static const char *or_null(const char *s)
{
    return s && *s && strcmp(s, "off") ? s : NULL;
}

/* Where stored answers are: as it is set, else beside a ledger that is a file. */
static int find_stored_folder(struct server *s, struct err *e)
{
    const struct serve_config *c = s->config;
    const char *set = or_null(c->stored_answers), *ledger = or_null(c->ledger);
    int n = 0;

    if (set)
        n = snprintf(s->stored_folder, sizeof s->stored_folder, "%s", set);
    else if (ledger && !sql_is_url(ledger) && !*c->stored_answers)
        n = snprintf(s->stored_folder, sizeof s->stored_folder, "%s-answers", ledger);
    return n < (int)sizeof s->stored_folder
               ? 0
               : err_set(e, ERR_ARG, "stored_answers: the name is too long");
}

static int open_cloud(struct server *s, struct err *e)
{
    const struct serve_config *c = s->config;
    struct cloud_config cc = {
        .keys_path = or_null(c->keys),
        .accounts_path = or_null(c->accounts),
        .accounts = c->named,
        .n_accounts = c->n_accounts,
        .ledger_path = or_null(c->ledger),
        .ledger_sync_normal = c->ledger_sync,
        .limits = {.requests_per_minute = c->requests_per_minute,
                   .tokens_per_minute = c->tokens_per_minute,
                   .concurrency = c->concurrency},
        .prices = &c->book,
        .rules = &c->rules,
        .sites = &c->site_table,
        .currency = or_null(c->currency),
        .waiting_max = (int32_t)c->queue,
        .borrow = c->borrow_limits,
        .hedge = {.tiers = c->hedge_tier_bits,
                  .percent = (int32_t)c->hedge_percent,
                  .after_us = c->hedge_after * 1000},
        .replay_memory = c->idempotency_memory,
        .replay_window_us = c->idempotency_window * 1000,
        .stored_memory = strcmp(c->stored_answers, "off") ? c->stored_memory : 0,
        .stored_window_us = c->stored_window * 1000,
        .stored_folder = *s->stored_folder ? s->stored_folder : NULL,
        .retry = {.percent = (int32_t)c->retry_percent, .min = (int32_t)c->retry_min},
        .notices_box = net_io_mbox(s->net, 0),
        .notices_mail = MAIL_NOTICE,
        .tally_fd = c->handover && c->handover->tally_fd > 0 ? c->handover->tally_fd : -1,
        .now_us = clock_now_us(),
        .wall_us = clock_wall_us(),
    };
    struct tree_key key;
    int r = 0;

    if (cc.ledger_path && or_null(c->receipt_key)) {
        r = tree_key_open(&key, c->receipt_key, e);
        cc.tree_key = &key;
    }
    if (!r)
        r = cloud_open(&s->cloud, &cc, e);
    sodium_memzero(&key, sizeof key);
    return r ? r : cloud_start(s->cloud, e);
}

static int open_net(struct server *s, struct err *e)
{
    const struct serve_config *c = s->config;
    struct net_handler h = {.ctx = s,
                            .on_request = handler_request,
                            .on_body = handler_body,
                            .on_gone = handler_gone,
                            .on_room = handler_room,
                            .on_mail = handler_mail,
                            .on_refuse = handler_refuse};
    struct net_config nc;
    int r;

    net_config_default(&nc);
    nc.host = c->host;
    nc.port = (int)c->port;
    nc.n_io = (int)c->io_threads;
    nc.conns_max = (int)c->connections;
    nc.conns_per_peer = (int)c->connections_per_address;
    nc.near_is_free = !c->connections_per_address;
    if (!nc.conns_per_peer)
        nc.conns_per_peer = (nc.conns_max + 1) / 2;
    nc.header_timeout_ms = (int)c->header_timeout;
    nc.body_timeout_ms = (int)c->body_timeout;
    nc.idle_timeout_ms = (int)c->idle_timeout;
    nc.stall_timeout_ms = (int)c->stall_timeout;
    nc.body_budget_bytes = c->body_budget;
    nc.h2_streams = c->http2 ? (int)c->http2_streams : 0;
    if (c->handover && c->handover->n) {
        nc.listen_fds = c->handover->fd;
        nc.n_listen_fds = c->handover->n;
        nc.is_held = c->handover->ready_fd >= 0;
    }
    r = certificates_open(&s->certificates, c, &nc.tls, e);
    if (r)
        return r;
    r = net_server_open(&s->net, &nc, &h, e);
    if (r)
        tls_context_free(nc.tls);
    return r;
}

static int open_console(struct server *s, struct err *e)
{
    struct console_setup setup = {.cloud = s->cloud,
                                  .net = s->net,
                                  .mail_kind = MAIL_WATCH,
                                  .has_one_tenant = server_has_one_tenant(s)};
    const struct request_store_config requests = {.where = or_null(s->config->request_log),
                                                  .days = s->config->request_log_days,
                                                  .rules = s->config->redact.v,
                                                  .n_rules = s->config->redact.n};
    int r = requests.where ? request_store_open(&s->requests, &requests, e) : 0;

    if (r)
        return r;
    setup.requests = s->requests;
    s->console = console_new(&setup);
    if (!s->console)
        return err_set(e, ERR_NOMEM, "out of memory");
    for (int i = 0; i < net_n_io(s->net); i++)
        s->io[i].rows = console_rows(s->console, i);
    return 0;
}

int server_new(struct server **ret, const struct serve_config *c, struct err *e)
{
    struct server *s = calloc(1, sizeof *s);
    int r;

    if (!s)
        return err_set(e, ERR_NOMEM, "out of memory");
    s->config = c;
    s->generation = 1;
    successor_init(&s->successor);
    pthread_mutex_init(&s->reload_lock, NULL);
    pthread_cond_init(&s->reload_ended, NULL);
    r = moves_open(&s->moves, e);
    s->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    s->io = calloc((size_t)c->io_threads, sizeof *s->io);
    if (r)
        goto fail;
    if (s->wake_fd < 0 || !s->io) {
        r = err_set(e, ERR_NOMEM, "out of memory or file descriptors");
        goto fail;
    }
    if (rand_system(&s->salt_seed, sizeof s->salt_seed)) {
        r = err_set(e, ERR_IO, "no random bytes from the system");
        goto fail;
    }
    for (int i = 0; i < (int)c->io_threads; i++) {
        s->io[i].s = s;
        s->io[i].i = i;
    }
    r = open_net(s, e); /* first, because an address that is in use is the most frequent mistake */
    if (!r)
        r = find_stored_folder(s, e);
    if (!r)
        r = open_cloud(s, e);
    if (!r)
        r = open_console(s, e);
    s->sessions = sessions_new();
    if (!r && !s->sessions)
        r = err_set(e, ERR_NOMEM, "out of memory");
    if (!r)
        r = prep_open(&s->prep, (int)c->prep_threads, e);
    if (r)
        goto fail;
    *ret = s;
    return 0;
fail:
    serve_close(s);
    return r;
}

int server_add_model(struct server *s, const char *const *names, int n_names, struct err *e)
{
    struct served *v = &s->served[s->n_served];
    int i_model, r;

    if (s->n_served >= SERVE_MODELS_MAX)
        return err_set(e, ERR_LIMIT, "more than %d models", SERVE_MODELS_MAX);
    CHECK(n_names >= 1 && n_names <= (int)ARRAY_LEN(v->names));
    for (int i = 0; i < n_names; i++)
        v->names[i] = names[i];
    r = cloud_add_model(s->cloud, v->names, n_names, &i_model, e);
    if (r)
        return r;
    CHECK(i_model == s->n_served);
    s->n_served++;
    return console_add_model(s->console, v->names[0], e);
}

int server_start(struct server *s, struct err *e)
{
    for (int i = 0; i < net_n_io(s->net); i++) {
        s->io[i].tick = net_timer_new(s->net, i, handler_tick, &s->io[i]);
        if (!s->io[i].tick)
            return err_set(e, ERR_NOMEM, "out of memory");
    }
    if (webhooks_start(s, e) || trace_export_open(&s->traces, s, e))
        return e->code;
    console_set_generation(s->console, s->generation);
    s->is_started = 1;
    return net_server_start(s->net, e);
}

static int add_locals(struct server *s, struct err *e)
{
    const struct serve_config *c = s->config;
    const char *names[1 + CONFIG_STRS_MAX];
    int r = 0;

    s->locals = calloc((size_t)c->n_models, sizeof *s->locals);
    if (!s->locals)
        return err_set(e, ERR_NOMEM, "out of memory");
    for (int i = 0; !r && i < c->n_models; i++) {
        const struct serve_model *m = &c->models[i];
        names[0] = m->id;
        for (int k = 0; k < m->aliases.n; k++)
            names[1 + k] = m->aliases.v[k];
        local_init(&s->locals[i], m, c);
        s->locals[i].meter = energy_source_meter(s->energy);
        s->n_locals++;
        r = server_add_model(s, names, 1 + m->aliases.n, e);
        if (!r)
            r = cloud_add_offer(s->cloud, i, &s->locals[i].s, e);
    }
    return r;
}

/* One model after the other, so that each sees the memory that the others left. */
static void *loader_main(void *arg)
{
    struct server *s = arg;
    uint64_t reserved = 0;

    pthread_setname_np(pthread_self(), "loader");
    for (int i = 0; i < s->n_locals && !atomic_load(&s->want_drain); i++) {
        if (local_load(&s->locals[i], s->team, reserved)) {
            atomic_store(&s->load_failed, 1 + i);
            break;
        }
        reserved += local_reserved(&s->locals[i]);
        atomic_fetch_add(&s->n_loaded, 1);
        wake(s);
    }
    wake(s);
    return NULL;
}

int serve_open(struct server **ret, const struct serve_config *c, struct err *e)
{
    struct server *s = NULL;
    int r = server_new(&s, c, e);

    if (r)
        return r;
    r = team_open(&s->team, (int)c->threads, e);
    if (!r) {
        team_set_part_time(s->team, c->part_time);
        console_set_threads(s->console, team_size(s->team));
        r = energy_source_open(&s->energy, &c->energy, team_size(s->team), e);
    }
    if (!r)
        r = add_locals(s, e);
    if (!r && c->n_suppliers)
        r = suppliers_add(s, c, e);
    if (!r)
        r = site_watch_start(s, e);
    if (!r)
        r = site_clock_start(s, e);
    if (!r)
        r = environment_start(s, e);
    if (!r)
        r = server_start(s, e);
    if (!r)
        r = node_lender_start(s, e);
    if (!r)
        r = power_thread_start(s, e);
    if (!r && pthread_create(&s->loader, NULL, loader_main, s))
        r = err_set(e, ERR_NOMEM, "cannot start the loader");
    if (r) {
        serve_close(s);
        return r;
    }
    s->loader_started = 1;
    LOG_EVENT(LOG_INFO, "listening", LOG_STR("host", c->host), LOG_INT("port", serve_port(s)),
              LOG_INT("models", c->n_models), LOG_INT("keys", cloud_n_keys(s->cloud)),
              LOG_STR("ledger", or_null(c->ledger) ? sql_name(c->ledger) : "off"));
    *ret = s;
    return 0;
}

/* ---- running --------------------------------------------------------------------------------- */

static void wait_wake(struct server *s, int timeout_ms)
{
    struct pollfd p[] = {{.fd = s->wake_fd, .events = POLLIN},
                         {.fd = s->successor.ready_fd, .events = POLLIN}};
    uint64_t n;
    ssize_t r;

    if (poll(p, 2, timeout_ms) > 0 && p[0].revents) {
        r = read(s->wake_fd, &n, sizeof n);
        (void)r;
    }
}

/* SIGHUP also tells that the log was renamed. */
static void reopen_log(void)
{
    struct err e;

    if (log_reopen(&e))
        LOG_EVENT(LOG_ERROR, "log not opened anew", LOG_STR("why", e.text));
}

static int reload_keys(struct server *s, struct err *e)
{
    if (cloud_reload_keys(s->cloud, clock_now_us(), e)) {
        LOG_EVENT(LOG_ERROR, "keys not reloaded", LOG_STR("why", e->text));
        return e->code;
    }
    atomic_fetch_add(&s->keys_read, 1); /* streams of /v1/engine/events check their key again */
    LOG_EVENT(LOG_INFO, "keys reloaded", LOG_INT("keys", cloud_n_keys(s->cloud)));
    return 0;
}

static void use_certificate(struct server *s, struct tls_context *t)
{
    certificates_used(&s->certificates, t);
    net_server_set_tls(s->net, t);
    LOG_EVENT(LOG_INFO, "certificate in use", LOG_INT("expires", s->certificates.expiry_s));
}

static void look_at_certificate(struct server *s)
{
    struct tls_context *t = NULL;
    struct err e = {0};

    if (!certificates_have_changed(&s->certificates, s->config))
        return;
    if (certificates_read(&s->certificates, s->config, &t, &e))
        LOG_EVENT(LOG_ERROR, "certificate not reloaded, the one before stays in use",
                  LOG_STR("why", e.text));
    else
        use_certificate(s, t);
}

/* What comes before a configuration can be used: the parts that may fail. */
static int swap_parts(struct server *s, const struct serve_config *c, struct webhooks **ret_w,
                      struct err *e)
{
    const struct serve_config *old = s->config;
    struct err none;
    int r = 0;

    if (!swap_has_same_webhooks(old, c))
        r = webhooks_make(s, c, ret_w, e);
    if (!r)
        r = cloud_set_accounts(s->cloud, clock_now_us(), c->named, c->n_accounts, e);
    if (r)
        return r;
    r = cloud_set_sites(s->cloud, &c->site_table, e);
    if (!r && !swap_has_same_suppliers(old, c))
        r = suppliers_add(s, c, e);
    if (!r)
        r = reload_keys(s, e);
    if (r) {
        cloud_set_accounts(s->cloud, clock_now_us(), old->named, old->n_accounts, &none);
        cloud_set_sites(s->cloud, &old->site_table, &none);
    }
    return r;
}

int serve_swap(struct server *s, const struct serve_config *c, struct err *e)
{
    struct webhooks *w = NULL;
    struct tls_context *tls = NULL;
    struct err none;
    int r = swap_may(s->config, c, e);

    if (!r)
        r = certificates_read(&s->certificates, c, &tls, e);
    if (!r && (r = swap_parts(s, c, &w, e)) && tls) {
        tls_context_free(tls);
        s->certificates.stamp = 0; /* to be read again */
    }
    if (r)
        return r;
    if (tls)
        use_certificate(s, tls);
    cloud_set_prices(s->cloud, &c->book);
    cloud_set_rules(s->cloud, &c->rules);
    if (w)
        webhooks_use(s, w);
    s->config = c;
    if (s->site_watch && site_watch_swap(s, &none))
        LOG_EVENT(LOG_ERROR, "sites not watched", LOG_STR("why", none.text));
    if (site_clock_start(s, &none))
        LOG_EVENT(LOG_ERROR, "sites have no clock", LOG_STR("why", none.text));
    if (environment_swap(s, &none))
        LOG_EVENT(LOG_ERROR, "sites not watched", LOG_STR("why", none.text));
    if (node_lender_swap(s, &none))
        LOG_EVENT(LOG_ERROR, "nodes of sites not lent", LOG_STR("why", none.text));
    if (power_thread_start(s, &none))
        LOG_EVENT(LOG_ERROR, "power of sites not written", LOG_STR("why", none.text));
    s->generation++;
    console_set_generation(s->console, s->generation);
    LOG_EVENT(LOG_INFO, "configuration in force", LOG_INT("generation", s->generation),
              LOG_INT("suppliers", c->n_suppliers), LOG_INT("prices", c->n_prices));
    return 0;
}

/* Take over what was changed outside: the certificate, the store of accounts. */
static void look_around(struct server *s)
{
    look_at_certificate(s);
    cloud_tell_wall(s->cloud, clock_now_us(), clock_wall_us());
    cloud_tidy(s->cloud);
    if (cloud_replays(s->cloud))
        replays_expire(cloud_replays(s->cloud), clock_now_us());
    if (!cloud_sync_accounts(s->cloud, clock_now_us()))
        return;
    atomic_fetch_add(&s->keys_read, 1);
    LOG_EVENT(LOG_INFO, "accounts in force", LOG_INT("keys", cloud_n_keys(s->cloud)));
}

int serve_wait_ready(struct server *s, struct err *e)
{
    int failed, keys_at = 0;
    struct err none;

    while (atomic_load(&s->n_loaded) < s->n_locals) {
        failed = atomic_load(&s->load_failed);
        if (failed) {
            *e = s->locals[failed - 1].err;
            return e->code;
        }
        if (atomic_load(&s->want_drain))
            return err_set(e, ERR_DRAINING, "stopped while loading");
        wait_wake(s, SYNC_MS);
        look_around(s);
        if (atomic_load(&s->want_reload) > keys_at) { /* the rest when it runs */
            keys_at = atomic_load(&s->want_reload);
            reopen_log();
            reload_keys(s, &none);
        }
    }
    net_server_accept(s->net);
    manager_ready(s);
    return 0;
}

/* The io threads have ended; what they left behind are calls without a client, whose jobs come
 * home into mailboxes that this thread may now read. */
static int wait_jobs(struct server *s, struct err *e)
{
    int64_t deadline = clock_now_us() + JOBS_HOME_US;
    long long n;

    while ((n = (long long)atomic_load(&s->n_calls)) > 0) {
        for (int i = 0; i < net_n_io(s->net); i++)
            handler_mail(s, i);
        if (clock_now_us() > deadline)
            return err_set(e, ERR_FROZEN, "%lld request%s did not end: the engine does not answer",
                           n, plural(n));
        clock_sleep_us(LINGER_US);
    }
    return 0;
}

/* Where a successor serves: leave the sockets to it, and finish what runs. */
static void look_at_successor(struct server *s)
{
    int64_t deadline = clock_now_us() + LEAVE_US;

    if (atomic_exchange(&s->want_upgrade, 0))
        successor_begin(s);
    if (!successor_look(s))
        return;
    LOG_EVENT(LOG_INFO, "leaving", LOG_INT("requests", atomic_load(&s->n_calls)));
    atomic_store(&s->leaving, 1);
    net_server_leave(s->net, (int)s->config->upgrade_timeout);
    while (net_server_accepts(s->net) && clock_now_us() < deadline)
        clock_sleep_us(LINGER_US);
    successor_tell(&s->successor);
}

/* As an operator asks for it. A signal still makes it hurry. */
static void look_at_leave(struct server *s)
{
    if (!atomic_exchange(&s->want_leave, 0) || atomic_load(&s->leaving))
        return;
    LOG_EVENT(LOG_INFO, "leaving", LOG_INT("requests", atomic_load(&s->n_calls)));
    manager_stopping();
    atomic_store(&s->leaving, 1);
    net_server_drain(s->net, (int)s->config->upgrade_timeout);
}

static int has_left(struct server *s)
{
    return atomic_load(&s->leaving) && net_server_has_ended(s->net);
}

int serve_run(struct server *s, struct err *e)
{
    int r;

    while (!atomic_load(&s->want_drain) && !has_left(s)) {
        wait_wake(s, SYNC_MS);
        look_around(s);
        manager_beat(s);
        call_again_look(s);
        look_at_successor(s);
        look_at_leave(s);
        if (atomic_exchange(&s->want_reload, 0)) {
            manager_reloading();
            reopen_log();
            pthread_mutex_lock(&s->reload_lock);
            s->reloads_begun++;
            pthread_mutex_unlock(&s->reload_lock);
            return SERVE_RELOAD;
        }
    }
    successor_stop(&s->successor);
    if (!atomic_load(&s->leaving))
        manager_stopping();
    atomic_store(&s->draining, 1);
    LOG_EVENT(LOG_INFO, "draining", LOG_INT("requests", atomic_load(&s->n_calls)));
    net_server_drain(s->net, (int)s->config->drain_timeout);
    trace_export_drain(s->traces);
    net_server_join(s->net);
    webhooks_stop(s);
    trace_export_stop(s->traces);
    r = wait_jobs(s, e);
    LOG_EVENT(LOG_INFO, "drained", LOG_INT("left", atomic_load(&s->n_calls)));
    return r;
}

int64_t serve_close(struct server *s)
{
    int64_t n_lost;
    struct err e;

    if (!s)
        return 0;
    atomic_store(&s->draining, 1);
    atomic_store(&s->want_drain, 1);
    if (s->net) {
        net_server_drain(s->net, 0);
        trace_export_drain(s->traces);
        net_server_join(s->net);
        webhooks_stop(s);
        trace_export_stop(s->traces);
        for (int i = 0; i < net_n_io(s->net); i++) {
            net_timer_free(s->io[i].tick);
            s->io[i].tick = NULL;
        }
        if (wait_jobs(s, &e))
            return 0; /* the engine still uses this memory: leaking it is better than freeing it */
    }
    if (s->loader_started)
        pthread_join(s->loader, NULL);
    power_thread_stop(s);
    node_lender_stop(s);
    environment_stop(s);
    site_clock_stop(s);
    site_watch_stop(s);
    prep_close(s->prep);
    moves_close(&s->moves);
    for (int i = 0; i < s->n_locals; i++)
        local_done(&s->locals[i]);
    energy_source_close(s->energy);
    team_close(s->team);
    webhooks_close(s);
    trace_export_close(s->traces);
    n_lost = cloud_close(s->cloud);
    suppliers_close(atomic_load(&s->suppliers));
    net_server_close(s->net);
    console_free(s->console);
    sessions_free(s->sessions);
    request_store_close(s->requests);
    if (s->wake_fd >= 0)
        close(s->wake_fd);
    pthread_cond_destroy(&s->reload_ended);
    pthread_mutex_destroy(&s->reload_lock);
    free(s->locals);
    free(s->io);
    free(s);
    return n_lost;
}
