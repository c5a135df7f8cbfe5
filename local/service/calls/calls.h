/* calls: numbered calls of models and samplers from their acceptance to their
 * result, and the sessions they belong to.
 *
 * The files of this folder call each other: a session that ends fails calls
 * (order.c, sampler.c), a call that is stored moves its model on (log.c,
 * order.c), and a result may end one (op.c). Nothing else is above them but the
 * runner and the faces. */
#ifndef TINKER_SERVICE_CALLS_H
#define TINKER_SERVICE_CALLS_H

#include "service/core/core.h"
#include "service/http/http.h"

/* --- op.c: numbered calls and their results --- */
tinker__svc_op_t *tinker__svc_op_new(tinker__svc_t *s, const char *owner_id,
                                     int64_t seq, tinker__svc_op_kind_t kind);
void tinker__svc_op_free(tinker__svc_op_t *op);
/* The call is in the log: its decoded body stays if there is room among those
 * that wait, else it is read from there when its turn comes. Under the lock. */
void tinker__svc_op_hold_work(tinker__svc_op_t *op);
/* Its decoded body is of no use any more; NULL allowed. Under the lock, or
 * before anybody else knows it. */
void tinker__svc_op_drop_work(tinker__svc_op_t *op);
/* Its body as read from the log goes. As above. */
void tinker__svc_op_drop_log(tinker__svc_op_t *op);
/* The result of an op. Any thread; under the lock only for an op that is not
 * being replayed. Takes data's content. extra may hold statements that must
 * become durable with it (NULL = none); committed(user, ...) runs on the store
 * thread under the lock when they are, and may name a folder that is of no use
 * any more: it is removed without the lock. user is taken: NULL or a block of
 * the service's memory, which is freed after that.
 * TINKER_ENOMEM (or data holds an error): the op has no result and user is
 * still the caller's. If it is being executed its model is stuck and will go
 * through its log again, else it fails when there is memory. */
int tinker__svc_op_complete(
    tinker__svc_op_t *op, tinker__svc_op_state_t state, int format,
    tinker__buf_t *data, void (*extra)(tinker__db_write_t *w, void *user),
    void (*committed)(void *user, char *useless, size_t len), void *user);
/* Fails those that had no memory to. Under the lock. */
void tinker__svc_ops_retry(tinker__svc_t *s);
/* Failure with a sentence, now or later. */
void tinker__svc_op_fail(tinker__svc_op_t *op, const char *category,
                         const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* --- polls.c: who waits for a result. All under the lock --- */
/* Parks r until op has a result or the hold of a poll is over. */
tinker__svc_handled_t tinker__svc_poll_park(tinker__svc_t *s,
                                            tinker__svc_req_t *r,
                                            tinker__svc_op_t *op);
void tinker__svc_poll_try_again(tinker__svc_req_t *r,
                                const tinker__svc_op_t *op);
void tinker__svc_poll_result(tinker__svc_req_t *r, tinker__svc_op_kind_t kind,
                             int format, const void *data, size_t len);
bool tinker__svc_poll_announces(const tinker__svc_req_t *r,
                                const tinker__svc_op_t *op);
void tinker__svc_poll_metadata(tinker__svc_req_t *r,
                               const tinker__svc_op_t *op);
/* Reads the result of op for r; TINKER__PARKED until that is done. */
tinker__svc_handled_t tinker__svc_poll_read(tinker__svc_req_t *r,
                                            const tinker__svc_op_t *op);
/* Answers all polls of an op that has its result. */
void tinker__svc_polls_answer(tinker__svc_op_t *op, int format,
                              const void *data, size_t len);
/* Answers the polls whose time is over with try_again. Under the lock. */
void tinker__svc_polls_expire(tinker__svc_t *s, int64_t now_ms);
/* All of them. */
void tinker__svc_polls_release(tinker__svc_t *s);
/* Drops polls whose clients are gone, of a part of all: true when there were
 * such, and the next part is worth a look at once. */
bool tinker__svc_polls_look(tinker__svc_t *s);

/* --- log.c: the way into the store --- */
/* A new op becomes known and goes to the store with its body; r
 * (whose reply is set) is parked on it. w is from tinker__svc_op_write_begin,
 * with statements that go along or none; NULL = that had no memory. Under the
 * lock. On failure r is answered and the op freed. */
tinker__svc_handled_t tinker__svc_op_accept(tinker__svc_t *s,
                                            tinker__svc_req_t *r,
                                            tinker__svc_op_t *op,
                                            tinker__db_write_t *w);
/* Begins the write that tinker__svc_op_accept ends. NULL without memory. */
tinker__db_write_t *tinker__svc_op_write_begin(tinker__svc_op_t *op);

/* --- order.c: a model's calls and their order --- */
/* Without base, configuration and row. NULL without memory. */
tinker__svc_model_t *tinker__svc_model_new(tinker__svc_t *s,
                                           tinker__svc_session_t *session,
                                           int64_t seq);
int tinker__svc_model_add(tinker__svc_t *s, tinker__svc_model_t *m);
/* The durable one of that id or NULL. Under the lock. */
tinker__svc_model_t *tinker__svc_model_find(tinker__svc_t *s, tinker__str_t id);
/* One that is not in the store (any more): takes it out and frees it. Under the
 * lock. */
void tinker__svc_model_forget(tinker__svc_t *s, tinker__svc_model_t *m);
void tinker__svc_model_free(tinker__svc_t *s, tinker__svc_model_t *m);
/* Puts an op in its place of the model's order. Under the lock. */
void tinker__svc_model_enqueue(tinker__svc_model_t *m, tinker__svc_op_t *op);
/* Gives the model to the scheduler if its next number is there. Under the
 * lock. */
void tinker__svc_model_kick(tinker__svc_model_t *m);
/* True when there is no room for one more; r is answered then. Under the
 * lock. */
bool tinker__svc_model_refused(tinker__svc_t *s, tinker__svc_req_t *r);
/* Takes the op to execute now, NULL = none. Under the lock. */
tinker__svc_op_t *tinker__svc_model_begin(tinker__svc_model_t *m);
/* Its execution is over; again = look for the next. Under the lock. */
void tinker__svc_model_done(tinker__svc_model_t *m, bool again);
/* --- price.c: bytes of memory --- */
uint64_t tinker__svc_price_add(uint64_t a, uint64_t b); /* UINT64_MAX = more */
/* A model in memory, and a pass of it besides; 0 where it can't be known. */
uint64_t tinker__svc_price_state(const tinker__svc_model_t *m);
uint64_t tinker__svc_price_pass(const tinker__svc_model_t *m,
                                const tinker__svc_work_t *w);
/* The result of such a pass. */
uint64_t tinker__svc_price_result(const tinker__svc_work_t *w);
/* True when it can never be executed; r is answered then. Under the lock. */
bool tinker__svc_price_refuses_call(const tinker__svc_model_t *m,
                                    const tinker__svc_work_t *w,
                                    tinker__svc_req_t *r);
bool tinker__svc_price_refuses_model(const tinker__svc_model_t *m,
                                     tinker__svc_req_t *r);

/* --- trouble.c: a model that can't be restored now --- */
/* What its trouble is: a code, and a sentence if there is one. Engine thread
 * while it executes the model, else under the lock. */
void tinker__svc_trouble(tinker__svc_model_t *m, int rc, const char *why);
/* Its present call goes back into its place and waits for another try, after
 * pauses that grow. Under the lock. */
void tinker__svc_model_park(tinker__svc_model_t *m);
/* Tries those whose pause is over. Under the lock. */
void tinker__svc_models_retry(tinker__svc_t *s, int64_t now_ms);
/* True when it is parked; r is answered 503 then. Under the lock. */
bool tinker__svc_model_is_parked(tinker__svc_model_t *m, tinker__svc_req_t *r);

/* True when somebody waits for a result of it. Under the lock. */
bool tinker__svc_model_awaited(const tinker__svc_model_t *m);
/* Lets those that had no call for long leave memory. Under the lock. */
void tinker__svc_models_rest(tinker__svc_t *s, int64_t now_ms);
/* The session has ended: calls behind a gap fail. Under the lock. */
void tinker__svc_model_end(tinker__svc_model_t *m);
/* Later calls fail with that reason, after a restart too. The first reason
 * stays. TINKER_ENOMEM: nothing has changed. Under the lock. */
int tinker__svc_model_break(tinker__svc_model_t *m, const char *why);

/* --- sampler.c --- */
/* Without base and row. TINKER_EEXIST when the session's number is taken. */
int tinker__svc_sampler_new(tinker__svc_sampler_t **out, tinker__svc_t *s,
                            tinker__svc_session_t *session, int64_t seq,
                            char *why, size_t why_len);
int tinker__svc_sampler_add(tinker__svc_t *s, tinker__svc_sampler_t *p);
void tinker__svc_sampler_write(tinker__db_write_t *w,
                               const tinker__svc_sampler_t *p);
void tinker__svc_sampler_free(tinker__svc_t *s, tinker__svc_sampler_t *p);
/* Takes one that could not be stored out; the caller frees it. Under the lock.
 */
void tinker__svc_sampler_forget(tinker__svc_t *s, tinker__svc_sampler_t *p);
/* The result of a sample whose session has ended. */
void tinker__svc_sampler_fail_ended(tinker__svc_op_t *op);
/* Hands a logged sample to the scheduler, or fails it when its session has
 * ended. Under the lock. */
void tinker__svc_sampler_kick(tinker__svc_op_t *op);
/* The session has ended: what is being sampled stops. Under the lock. */
void tinker__svc_sampler_end(tinker__svc_sampler_t *p);

/* --- session.c, session_end.c, session_drop.c --- */
/* The live session of that id, which has shown a sign of life; NULL and a reply
 * in r (404, 410, or 503 when the service ends). Under the lock. */
tinker__svc_session_t *tinker__svc_session_find(tinker__svc_t *s,
                                                tinker__svc_req_t *r,
                                                tinker__str_t id);
/* The same for a call that must be stored: 503 while the store can't write. */
tinker__svc_session_t *tinker__svc_session_live(tinker__svc_t *s,
                                                tinker__svc_req_t *r,
                                                tinker__str_t id);
int tinker__svc_session_add(tinker__svc_t *s, tinker__svc_session_t *n);
/* Copies what create_session says about n. 0 or TINKER_ENOMEM. */
int tinker__svc_session_describe(tinker__svc_t *s, tinker__svc_session_t *n,
                                 const tinker__create_session_t *m);
/* Drops the results of sessions that ended long ago, and then all of those that
 * left no checkpoint. Not more than some at once: true when others may be left.
 * Under the lock. */
bool tinker__svc_session_purge(tinker__svc_t *s);
/* session_drop.c: true when the session is on its way out now. Under the
 * lock. */
bool tinker__svc_session_drop(tinker__svc_session_t *n);
/* Takes its rows away, and then itself. TINKER_ENOMEM: nothing was done. Engine
 * thread. */
int tinker__svc_session_delete(tinker__svc_session_t *n);
/* Ends the sessions that showed no sign of life for long. Under the lock. */
void tinker__svc_session_expire(tinker__svc_t *s, int64_t now_ms);
/* The same, once a second: that it was not called for longer is time in which
 * the service was stopped, and does not count. */
void tinker__svc_session_look(tinker__svc_t *s, int64_t now_ms);
/* Ends a session and what waits behind gaps, if that can be stored. A reason
 * that can't be copied is not kept in memory. Under the lock. */
int tinker__svc_session_end(tinker__svc_t *s, tinker__svc_session_t *n,
                            const char *reason);
void tinker__svc_session_free(tinker__svc_t *s, tinker__svc_session_t *n);

/* --- checkpoint_change.c --- */
typedef enum {
  TINKER__CKPT_DELETED,
  TINKER__CKPT_PUBLISHED,
  TINKER__CKPT_UNPUBLISHED,
  TINKER__CKPT_EXPIRES, /* at another time */
  TINKER__CKPT_EXPIRED
} tinker__svc_ckpt_change_t;
/* Stores a change, and tells r when it is stored (NULL = of the sweep). False
 * without memory. Under the lock. */
bool tinker__svc_checkpoint_change(tinker__svc_t *s, tinker__svc_req_t *r,
                                   const tinker__svc_checkpoint_t *c,
                                   tinker__svc_ckpt_change_t kind,
                                   int64_t expires_ms);
/* Takes away what has expired. Under the lock. */
void tinker__svc_checkpoints_expire(tinker__svc_t *s);

#endif
