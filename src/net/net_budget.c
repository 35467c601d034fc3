/* Memory that requests and answers cost, under one budget of the process.
 *
 * No owner can take all of it: an owner may have no more than what is left free. So a single owner
 * gets half of the budget, two get a third each, and as much always stays free. Owners are counted
 * in a table of fixed size by a hash that clients cannot know; two owners with the same slot count
 * as one. */
#include "net/net_int.h"

static _Atomic int64_t *share_of(const struct net_claim *c)
{
    return &c->server->shares[c->owner % NET_SHARES];
}

static int64_t all_claimed(const struct net_server *s)
{
    int64_t n = 0;

    for (int k = 0; k < NET_CLAIM_KINDS; k++)
        n += atomic_load(&s->claimed[k]);
    return n;
}

void net_claim_init(struct net_claim *c, const struct net_exchange *x, enum net_claim_kind kind)
{
    *c = (struct net_claim){.server = x->conn->io->server, .owner = x->owner, .kind = kind};
}

int net_claim_set(struct net_claim *c, size_t bytes)
{
    int64_t more = (int64_t)bytes - (int64_t)c->bytes, own;

    if (!c->server || !more)
        return 0;
    own = atomic_fetch_add(share_of(c), more) + more;
    atomic_fetch_add(&c->server->claimed[c->kind], more);
    if (more > 0 && own + all_claimed(c->server) > (int64_t)c->server->config.body_budget_bytes) {
        atomic_fetch_sub(share_of(c), more);
        atomic_fetch_sub(&c->server->claimed[c->kind], more);
        return ERR_NOMEM;
    }
    c->bytes = bytes;
    return 0;
}

void budget_note(struct net_claim *c, size_t bytes)
{
    int64_t more = (int64_t)bytes - (int64_t)c->bytes;

    if (!more)
        return;
    atomic_fetch_add(share_of(c), more);
    atomic_fetch_add(&c->server->claimed[c->kind], more);
    c->bytes = bytes;
}

int budget_is_over(const struct net_claim *c)
{
    return atomic_load(share_of(c)) + all_claimed(c->server) >
           (int64_t)c->server->config.body_budget_bytes;
}

size_t net_claim_most(const struct net_server *s)
{
    return s->config.body_budget_bytes / 2;
}
