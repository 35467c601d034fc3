/* One request on its way: from its head to its last byte and its row in the books.
 *
 * A call belongs to the io thread of its connection for life; only in CALL_PARSE and CALL_PREPARE,
 * until the mail that ends them, may a prep thread own the fields marked [prep]. The states:
 *
 *   CALL_HEAD     the head is being judged: endpoint, key, limits         handler.c
 *   CALL_BODY     the body is on its way, under limit and budget          handler.c
 *   CALL_PARSE    body -> neutral request                                 call_prep.c
 *   CALL_REPLAY   was it asked before, under the same key                call_replay.c
 *   CALL_ADMIN    work on accounts, on a prep thread                      call_admin.c
 *   CALL_ROUTE    which offer of its model gets it                        call_way.c
 *   CALL_PREPARE  request -> what that offer's supplier takes: tokens     call_prep.c
 *   CALL_HOLD     admitted there, and tokens put on hold                  call_way.c
 *   CALL_SUBMIT   jobs are handed over; a stream begins                   call_way.c
 *   CALL_RUN      jobs at the supplier: waiting, prefilling, generating   call_run.c, call_hedge.c
 *   CALL_BACK     the offer failed; its jobs are on their way home        call_way.c
 *   CALL_WATCH    looking at requests                                     call_watch.c
 *   CALL_TELL     a text tool's long answer, as it is read                call_tool.c
 *   CALL_FOLLOW   a stored answer is told, as far as it is                call_follow.c
 *   CALL_MOVE     it goes over to another server, and is told from there  call_move.c
 *   CALL_OVER     answered or left; jobs may still be the supplier's      call_end.c
 *
 * A request goes down the list without waiting, from CALL_PARSE to CALL_RUN, except for work on a
 * prep thread; other endpoints leave the list earlier. A request goes up in one case: its offer
 * fails in CALL_HOLD, CALL_SUBMIT or CALL_RUN, before the client got anything of the answer, the
 * request is not the cause, and another offer can take it. The call then waits in CALL_BACK for its
 * jobs, gives back what was held and goes on from CALL_ROUTE; the offer that failed is not chosen
 * again. When no other offer is left, the last error is answered.
 *
 * The client may leave in every state: jobs are cancelled at once, and the call ends when the
 * supplier has released the last of them; but a stored answer (cloud/stored.h) is made to its end,
 * for who comes back: call_store.c. One that was cut off by a restart goes on as a call that has no
 * client from the beginning: call_again.c. */
#ifndef SERVE_CALL_H
#define SERVE_CALL_H

#include <stdatomic.h>

#include "api/api.h"
#include "base/arena.h"
#include "cloud/cloud.h"
#include "cloud/replay.h"
#include "cloud/route_record.h"
#include "console/row.h"
#include "net/net.h"

enum call_state {
    CALL_HEAD,
    CALL_BODY,
    CALL_PARSE,
    CALL_REPLAY,
    CALL_ADMIN,
    CALL_BACK,
    CALL_ROUTE,
    CALL_PREPARE,
    CALL_HOLD,
    CALL_SUBMIT,
    CALL_RUN,
    CALL_WATCH,
    CALL_TELL,
    CALL_FOLLOW,
    CALL_MOVE,
    CALL_OVER
};

/* Kinds of items in an io thread's mailbox. */
enum { MAIL_PREP = 1, MAIL_JOB, MAIL_WATCH, MAIL_NOTICE, MAIL_TRACES, MAIL_STORED, MAIL_AGAIN };

#define CALL_JOBS_AT_ONCE 16 /* of one request with several prompts, at the supplier together */
#define CALL_HEADERS_MAX  64

struct call;

/* How an endpoint is answered: the row of API_ROUTE_x in endpoint_rows.c. */
struct endpoint {
    /* For endpoints without a body: answer, on the io thread; some finish the answer later. */
    void (*answer)(struct call *c);
    /* For endpoints with a body: parse reads what it asks for; prepare makes what the chosen
     * supplier takes. Both run on any thread and fill the fields marked [prep]. */
    int (*parse)(struct call *c, const struct api_options *o, struct err *e);
    int (*prepare)(struct call *c, struct err *e);
    /* Or: work that waits for a database, on a prep thread; what it makes is answered. */
    int (*administer)(struct call *c, struct err *e);
    unsigned char is_tool;    /* works on text alone: no job at the supplier */
    unsigned char in_reserve; /* also answered on reserve connections (net_is_reserve) */
};
/* endpoint_rows.c; all but API_ROUTE_UNBUILT have an answer, or the other two. */
const struct endpoint *endpoint_row(enum api_route_id id);

/* One prompt of a request, and its job. */
struct call_job {
    struct job job;
    struct call *call;
    struct job_relay relay;           /* the whole request, for a supplier that takes it so */
    char traceparent[TRACE_TEXT_MAX]; /* for its supplier */
    int i_try;                        /* in the call's trace, from 1; 0: none */
    const char *text;                 /* the prompt's text: in the request, or `rendered` */
    size_t n_text;
    struct tokens tokens, prediction;
    struct buf rendered;
    int64_t n_hold; /* tokens of the prompt; where they are not known, an upper bound */
    int32_t n_live; /* choices not yet finished */
    int32_t n_prefilled, n_cached, n_told; /* prompt tokens computed, found; tokens told */
    int32_t n_drafted, n_draft_right;
    int64_t energy_uj;    /* so far */
    struct supplier *sup; /* where it is */
    enum { JOB_NEW, JOB_OUT, JOB_DONE, JOB_HOME } state;
};

/* The second place of a request that waited long: see call_hedge.c. */
struct call_hedge {
    struct call_job job;
    struct cloud_ticket ticket; /* of the job that lost, or the second one's while that is open */
    struct call_job *loser;     /* NULL: it is open */
    struct usage usage;         /* the loser's: what it is owed */
    int64_t sent_us, queue_us;  /* as the call's, at the second place */
};

struct call {
    struct server *s;
    struct net_exchange *x; /* NULL: answered, or the client left */
    int io;
    enum call_state state;
    struct call *next, *prev; /* of its io thread */

    struct api_route_match route;
    const struct endpoint *endpoint; /* NULL until the route was looked for */
    enum http_method method;
    char peer[NET_PEER_MAX];
    char path[256]; /* without the query, as some clients put keys there */
    int64_t started_us;
    struct cloud_ticket ticket;
    int status;             /* answered; 0: not yet */
    int code;               /* what ended it: 0 or ERR_* */
    const char *cors;       /* of origin_check */
    int is_named_only;      /* only accounts that name its origin let it in */
    const char *set_cookie; /* of its answer, in the arena; NULL: none */

    struct net_body body;             /* [prep] */
    struct net_claim claim;           /* [prep]: what reading it takes, then what stays of it */
    struct arena arena;               /* [prep] */
    struct api_request req;           /* [prep] */
    struct api_request_headers heads; /* [prep], strings in the arena */
    size_t n_body, n_read;            /* bytes of the body; memory that reading it takes */
    struct supplier *sup;             /* of its offer; NULL: none yet */
    struct call_job *jobs;            /* [prep] */
    int32_t n_jobs;                   /* [prep] */
    struct call_hedge *hedge;         /* NULL: it has one place */
    int hedged_in_vain;               /* the second supplier did not take it */
    int n_hedged;                     /* races that are over and booked */
    struct buf text;                  /* [prep]: a text tool's, to be told */
    struct {
        struct tokens tokens; /* or these */
        const char *key;      /* of the text; NULL: tokens */
        int with_pieces;
        size_t at;                    /* so much was told */
        struct api_tokenize tokenize; /* what was asked: one of these */
        struct api_detokenize detokenize;
        struct api_template template;
    } tool; /* [prep] */
    struct {
        struct cloud_admin who;
        char request[160]; /* header idempotency-key, too long ones in part; "": none */
        char from[64];     /* header x-gaufre-from: which server sends an answer; "": none */
        int status;        /* [prep]: of the answer in out */
        const char *type;  /* [prep]: likewise; NULL: JSON */
        int wants_cose;    /* header accept */
    } admin;
    struct cloud_own *own; /* in the arena: what it asks for of itself; NULL: it does not */
    struct {
        const char *key;                         /* header idempotency-key; NULL: none */
        unsigned char print[REPLAY_PRINT_BYTES]; /* [prep]: of the body */
        struct replay *claim;                    /* NULL: none, or no more */
        int is_again;                            /* the answer is another request's */
    } replay;
    struct {
        int is_wanted;               /* its client asks for it, by the header */
        struct stored *one;          /* its own, or the one it follows; NULL: none, or no more */
        struct stored_follower mail; /* of that one, while it is followed */
        int is_following;
        char why_not[120];        /* it was wanted, and is not; "": it is */
        int64_t n_frames;         /* of the stream, so far */
        struct buf raw;           /* frames that are not numbered yet */
        int is_new;               /* something was added, and not yet published */
        int is_ended;             /* it is whole */
        int outlives;             /* it is to go on in the next process, or later in this one */
        int is_booked;            /* it was, when it was cut off */
        struct stored_past *past; /* it goes on behind this; NULL: it is a new one */
        struct job_past job_past[JOB_CHOICES_MAX];
        /* Of a follower: */
        int64_t skip; /* frames that its client has */
        size_t at;    /* so far it was read */
        struct buf records;
    } store;
    struct call_move *move;     /* NULL: it does not go to another server */
    struct request_texts texts; /* [prep]: kept with its row; days 0: nothing is */
    struct call_proof *proof;   /* [prep], in the arena: of its tokens, for its receipt; or NULL */
    struct cloud_evidence evidence;
    struct buf text_answer;      /* the bytes of its answer, for that */
    struct net_claim text_claim; /* [prep]: memory of both */
    struct net_claim answer;     /* [prep]: memory of the answer, while it is gathered */
    struct api_unbuilt *unbuilt; /* [prep]: what the local engine lacks of it; NULL: not noted */
    size_t n_worked;             /* [prep]: bytes of text read and written for it */
    struct err err;              /* [prep] */
    struct mbox_item prep_item;
    struct call *prep_next;
    uint64_t prep_order;
    _Atomic int gone;         /* the client left: prep may stop early */
    struct patience patience; /* [prep]: how long the work on its texts goes on */

    struct err *refusal; /* in the arena: of its limits, before it went on by on_exceed; NULL: none
                          */
    int64_t refusal_retry_us;
    int is_exceeding;    /* it leaves its offer for that, which did not fail */
    int32_t lowered_max; /* of one answer, as its accounts have no room for more; 0: as it was */
    int32_t n_sent, n_home, n_at_once; /* jobs: how many, and together */
    enum tier tier;                    /* granted */
    char reply_id[API_ID_MAX];
    int64_t reply_created; /* unix seconds */
    struct api_reply *reply;
    struct buf out;
    const struct api_frame *frame; /* of its stream */
    int streaming, paused, cancelled;
    int wants_leaf; /* of a stream, in a comment at its end */
    struct {
        int64_t at_us; /* of the last; 0: none */
        int32_t n_before, n_prefilled;
    } progress;      /* what a comment said last */
    int is_kept;     /* without a client, while its supplier is heard to the end ... */
    int64_t kept_us; /* ... since then */
    int is_worked;   /* a prep thread has done its part */
    int is_told;     /* part of the answer was sent or gathered: no other offer can be tried */
    int64_t written_us;
    int64_t sent_us;        /* when its first job was handed over at this offer, ... */
    int64_t queue_us;       /* ... and how long it waited there; 0: not told */
    struct buf record;      /* of the choices of an offer (cloud/route_record.h) */
    struct usage usage;     /* of all jobs that came home: delivered, ... */
    struct usage owed;      /* ... and owed to the supplier */
    struct times times;     /* likewise, the longest */
    struct receipt receipt; /* of these, told or to be told; zeroed: of nothing */
    int is_whole;           /* the answer is a body, and the receipt that of all of it */
    int64_t booked_us;      /* the wall clock's time of it; 0: not yet */
    const char *finish;

    struct call_trace *trace; /* NULL: it has none */
    struct row_live live;     /* what the console is told of it: its id too */
    struct call_watch *watch; /* of a call that looks at requests */
    int i_viewer;             /* whose requests it sees ... */
    int keys_read;            /* ... by the keys of this reading, or of a later one */
    int cancel_asked;         /* before its jobs were sent */
};

/* handler.c: the handler of net. */
void handler_request(void *ctx, struct net_exchange *x);
void handler_body(void *ctx, struct net_exchange *x, int code);
void handler_gone(void *ctx, struct net_exchange *x, int code);
void handler_mail(void *ctx, int io);
void handler_room(void *ctx, struct net_exchange *x);
struct cloud_caller handler_caller(const struct call *c); /* until the call is answered */
/* May it see how suppliers are? A key of the admin API; or, where there are no keys, who is on this
 * machine. */
int handler_is_operator(struct call *c);
/* May it do what its method does there, by a key of the admin API or a session of one? ERR_AUTH,
 * ERR_FORBIDDEN. Until the call is answered. */
int handler_check_operator(struct call *c, struct cloud_admin *ret, struct err *e);
struct session;
int handler_find_session(struct call *c, struct session *ret); /* of its cookie; 1: there is one */
int handler_is_own_page(const struct call *c);                 /* not sent by another site's page */
void handler_tick(void *io);       /* of a timer, while there are calls */
void handler_reap(struct call *c); /* frees it when nothing of it is outside */
void handler_refuse(void *ctx, int status, const char *why, struct buf *body);
/* A call on that io thread, without an exchange; `random`: of its id. NULL: no memory. */
struct call *handler_call_new(struct server *s, int io, int64_t started_us);

/* call_prep.c: any thread. CALL_PARSE's or CALL_PREPARE's part: fills what is marked [prep];
 * c->err.code says how it went. */
void call_prep(struct call *c);
size_t call_kept_bytes(const struct call *c); /* of it stays while the call lives */

int call_parse_request(struct call *c, const struct api_options *o, struct err *e);
int call_prepare_request(struct call *c, struct err *e);

int call_reads_tokens(const struct call *c); /* does its supplier take tokens? else text */
int call_check_chat(const struct call *c, struct err *e); /* can its supplier render messages? */

/* call_admin.c: any thread but the io thread's; the answer is left in c->out, its status in
 * c->admin.status. */
/* The answer of one of these; takes the reference. 0, or ERR_NOMEM. */
int call_admin_answer(struct call *c, int status, json_t *j, struct err *e);
/* Who asks, as the log of changes has it: text is the caller's and stays. */
#define CALL_ACTOR_MAX (CLOUD_NAME_MAX + 8)
struct account_who call_admin_who(const struct call *c, char text[CALL_ACTOR_MAX]);
/* A day in the query (UTC): when it begins; *ret stays as it is where there is none. */
int call_admin_day(const struct call *c, const char *name, int64_t *ret, struct err *e);
/* A text in the query, into `text`; *ret stays as it is where there is none. ERR_ARG: it has cap
 * bytes or more. */
int call_admin_text(const struct call *c, const char *name, char *text, size_t cap,
                    const char **ret, struct err *e);
int call_admin_accounts(struct call *c, struct err *e);
int call_admin_audit(struct call *c, struct err *e);
int call_admin_usage(struct call *c, struct err *e);
int call_admin_reload(struct call *c, struct err *e);
int call_admin_prices(struct call *c, struct err *e);
int call_admin_drain(struct call *c, struct err *e); /* call_drain.c */
int call_admin_take(struct call *c, struct err *e);
int call_admin_sites(struct call *c, struct err *e); /* call_site.c */
int call_admin_site(struct call *c, struct err *e);
int call_admin_curtailments(struct call *c, struct err *e); /* call_curtail.c */
int call_admin_curtailment(struct call *c, struct err *e);
int call_admin_contracts(struct call *c, struct err *e);   /* call_contract.c */
int call_admin_obligations(struct call *c, struct err *e); /* the same */
int call_admin_statement(struct call *c, struct err *e);   /* call_statement.c */
int call_admin_power(struct call *c, struct err *e);       /* call_power.c */
int call_account(struct call *c, struct err *e);
void call_show_openapi(struct call *c); /* io thread */

/* call_replay.c: io thread. */
void call_replay_want(struct call *c, const char *key); /* the header's, or NULL */
/* Any thread, as call_prep. ERR_ARG: the key is none. */
int call_replay_print(struct call *c, struct err *e);
/* Is it a request that was sent before? Then it is answered, or refused: an error. */
int call_replay_look(struct call *c, struct err *e);
const char *call_replay_of(const struct call *c); /* whose answer it gets; NULL: its own */
void call_replay_note(struct call *c, const void *data, size_t n); /* the next bytes of its own */
int call_replay_keep(struct call *c);  /* it ended well. 1: another may have the answer */
void call_replay_done(struct call *c); /* unless it was kept, the key is free */

/* call_store.c: io thread. A stored answer is its call's while it is made. */
void call_store_want(struct call *c, const char *header); /* its value, or NULL */
int call_store_is_wanted(const struct call *c);           /* [any], once it was parsed */
/* Before its jobs are sent: store it, or note why not; one that goes on takes up its past. An
 * error: that cannot go on here. */
int call_store_begin(struct call *c, struct err *e);
void call_store_event(struct call *c, const struct event *ev); /* it is about to be told */
void call_store_publish(struct call *c);                       /* before anything is sent */
/* Where frames are written: c->out, or before they are numbered c->store.raw. Then they go on to
 * c->out. */
struct buf *call_store_frames(struct call *c);
void call_store_number(struct call *c);
void call_store_follow(struct call *c, int is_owner); /* mail comes: of an owner when it is gone */
void call_store_walked(struct call *c); /* its jobs are sent: one without a client is kept */
/* Its client has left. 1: it goes on all the same. */
int call_store_keep(struct call *c, struct call_job *j);
void call_store_alone(struct call *c, struct call_job *j,
                      const struct event *ev); /* so, an event */
void call_store_tick(struct call *c);
void call_store_fail(struct call *c, int code); /* it ends so: it is dropped, or goes on later */
void call_store_drop(struct call *c);           /* it is stored no more; its call is not told */
void call_store_mail(struct call *c);
void call_store_moved(struct call *c); /* it is another server's now: let go of it */
/* Let go of it as its owner, and follow it. */
void call_store_hand_on(struct call *c);
void call_store_survive(struct call *c); /* the server stops: it goes on in the next one */
/* It lets go of what it has. 0: mail is on its way, ask again then. */
int call_store_is_home(struct call *c);
void call_store_done(struct call *c);         /* with its call */
int call_store_is_free(const struct call *c); /* it is not booked: it was, or will be */

/* call_again.c: io thread. Take over answers that are not finished; main thread: see to that. */
void call_again(struct server *s, int io);
void call_again_look(struct server *s);

/* call_follow.c: io thread. */
void call_follow(struct call *c);
void call_follow_pump(struct call *c);
void call_follow_tick(struct call *c, int64_t now_us);

/* Its own answer goes on in another call, which this one follows from now on. */
void call_follow_own(struct call *c);

/* call_move.c: io thread. */
struct move_target;
void call_move_tick(struct call *c, int64_t now_us);
/* Its job has ended with that code. 1: because it was stopped to be moved. */
int call_move_stopped(struct call *c, int code);
void call_move_go(struct call *c);                           /* of CALL_MOVE: its job is at home */
void call_move_take(struct call *c, struct move_target *to); /* one that nobody goes on with here */
/* What it follows has gone. 1: to another server, and is followed there. */
int call_move_follow(struct call *c);
void call_move_room(struct call *c);
void call_move_gone(struct call *c, int code); /* of CALL_MOVE: its client has left */
void call_move_free(struct call *c);           /* with its call */

/* call_text.c: io thread; call_text_request: any thread, as call_prep. */
void call_text_want(struct call *c);                             /* its key is known */
void call_text_request(struct call *c);                          /* its body is there */
void call_text_note(struct call *c, const void *data, size_t n); /* the next bytes of its answer */
int call_text_is_wanted(const struct call *c);                   /* of its answer */
void call_text_drop(struct call *c);                             /* its answer is not kept */
/* NULL: there are none, or they are not wanted (goes_on); else the caller's. */
const struct request_texts *call_text_end(struct call *c, int goes_on);

/* call_proof.c: what its receipt says of how it was made. Of tokens that go through this process;
 * of what another service answers nothing is known. */
void call_proof_prompt(struct call *c); /* any thread, as call_prep: it is prepared */
void call_proof_begin(struct call *c);  /* io thread: its jobs are about to be sent */
void call_proof_token(struct call *c, const struct call_job *j, const struct event *ev);
const struct cloud_evidence *call_proof_end(struct call *c); /* so far */
int call_show_growth(struct call *c, struct err *e);
int call_show_receipt(struct call *c, struct err *e); /* any thread, as call_admin.c */

/* call_tool.c: any thread, as call_prep; call_tell: io thread. */
int call_parse_tokenize(struct call *c, const struct api_options *o, struct err *e);
int call_parse_detokenize(struct call *c, const struct api_options *o, struct err *e);
int call_parse_template(struct call *c, const struct api_options *o, struct err *e);
int call_prepare_tokenize(struct call *c, struct err *e);
int call_prepare_detokenize(struct call *c, struct err *e);
int call_prepare_template(struct call *c, struct err *e);
size_t call_tool_bytes(const struct call *c);
void call_tell(struct call *c); /* its answer, or the next piece of it */
void call_tool_done(struct call *c);

/* call_way.c: io thread. */
void call_walk(struct call *c);   /* continue from its state, as far as possible without waiting */
void call_worked(struct call *c); /* a prep thread has finished its part: continue */
void call_want(const struct call *c, const char *model, struct cloud_want *ret);
const char *call_model(const struct call *c); /* that was asked for; NULL: none, of several */
void call_open_stream(struct call *c);        /* of a supplier whose events are written here */
int call_submit_more(struct call *c, struct err *e); /* as many jobs as may be there together */
/* Its offer failed with that error. 1: another offer will be tried; the call is in CALL_BACK until
 * its jobs have come back. 0: none can be tried. */
int call_turn_back(struct call *c, const struct err *e);

/* call_run.c: io thread. */
void call_flush(struct call *c); /* what is in c->out, to the wire */
/* Something of the answer is sent or gathered: no other offer can be tried from here on, and the
 * messages are not needed any more. */
void call_told(struct call *c);
/* Tell the cloud and the metrics how it goes at the ticket's offer: as cloud_note_result. */
void call_note_result(struct call *c, struct cloud_ticket *t, int code, int64_t first_us,
                      int64_t retry_us);
void call_pump(struct call *c, struct call_job *j); /* something new from a job */
void call_tick(struct call *c, int64_t now_us);     /* heartbeat */
void call_room(struct call *c);                     /* its reader has caught up */
void call_cancel_jobs(struct call *c);
void call_leave_jobs(struct call *c);    /* its client has left: the same, or they are heard out */
void call_cancel(struct call *c);        /* by its owner's wish: it ends with ERR_CANCELLED ... */
void call_end_cancelled(struct call *c); /* ... now */

/* call_progress.c: io thread. Tell the client of a stream, now and then, how far its request is. */
void call_progress(struct call *c, int64_t now_us);

/* call_hedge.c: io thread. */
void call_hedge_tick(struct call *c, int64_t now_us); /* take a second place where it waits long */
int call_hedge_is_open(const struct call *c);         /* two are at work, none has begun */
/* That one of the two is given up: cancelled. */
void call_hedge_drop(struct call *c, struct call_job *loser);
/* An event of one of the two. 1: it was the loser's, and only to be popped. */
int call_hedge_takes(struct call *c, struct call_job *j, const struct event *ev);
struct call_job *call_hedge_answering(const struct call *c); /* of its first job */
void call_hedge_cancel(struct call *c);
int call_hedge_is_home(const struct call *c);
void call_hedge_done(struct call *c); /* book the loser; both are home */

/* call_show.c: io thread. Answers of the console. */
struct page_file;
void call_show_page(struct call *c, const struct page_file *f); /* 405: neither GET nor HEAD */
void call_show_models(struct call *c);
void call_show_model(struct call *c);
void call_show_public_models(struct call *c);
void call_show_public_model(struct call *c);
void call_show_warming(struct call *c);
void call_show_schema(struct call *c);
void call_show_health(struct call *c);
void call_show_ready(struct call *c);
void call_show_metrics(struct call *c);

/* call_session.c: io thread. The console's login, who is in, and out. */
#define CALL_COOKIE_MAX 32
/* The name of its cookie here: browsers share cookies among all ports of a host. Its length. */
void call_cookie_name(struct server *s, char ret[CALL_COOKIE_MAX]);
void call_session(struct call *c);

/* call_watch.c: io thread. Whose requests are seen: c->i_viewer. */
struct watch;
void call_overview(struct call *c);        /* one of all tenants, for operators ... */
void call_overview_events(struct call *c); /* ... again and again */
void call_watch_events(struct call *c);
void call_watch_request(struct call *c);
void call_watch_route(struct call *c);
void call_watch_cancel(struct call *c);
void call_watch_tick(struct call *c, int64_t now_us); /* the next state, or the end */
/* A watch came by mail to this io thread. Its call when it is home, else NULL. */
struct call *call_watch_arrive(struct server *s, struct watch *w, int io);
int call_watch_is_out(const struct call *c); /* its watch is under way: the call must not go */
void call_watch_free(struct call *c);        /* with its call */

/* call_end.c: io thread. */
/* What its client is told of what was used so far; NULL: nothing. Until the next call. */
const struct receipt *call_receipt(struct call *c, const struct usage *u);
/* Behind the last event of a stream whose client asked for it: a comment with its leaf in the log
 * of answers, no part of the answer. */
void call_tell_leaf(struct call *c);
void call_fail(struct call *c, const struct err *e); /* answer an error, wherever the call is */
void call_reply(struct call *c, int status, const char *type, const void *body, size_t n);
const char *call_site(const struct call *c); /* where it is served; "": no site */
void call_reply_buf(struct call *c, int status, const char *type, struct buf *body); /* taken */
void call_reply_stream(struct call *c, const void *body, size_t n); /* all of an event stream */
void call_begin(struct call *c, int status, const char *type);      /* a body in pieces follows */
void call_stream_begin(struct call *c); /* 200 and the headers of an event stream */
int call_send(struct call *c, int status, const struct api_header *h, int n, const void *body,
              size_t n_body);
int64_t call_tool_tokens(size_t n_bytes); /* what a text tool's work costs of the tenant's */
void call_job_done(struct call_job *j);   /* frees its memory */
void call_close(struct call *c);          /* nothing of it is outside any more: settle, log, free */

#endif
