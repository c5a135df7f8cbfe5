/* calls: numbered calls of models and samplers from their acceptance to their
 * result, and the sessions to which they belong.
 *
 * The files of this folder call each other: a session that ends fails calls
 * (order.c, sampler.c), a call that is stored lets its model go on (log.c,
 * order.c), and a result answers polls (op.c, polls.c). The folders boot,
 * fault, tinker and run use them. */
#ifndef TINKER_SERVICE_CALLS_H
#define TINKER_SERVICE_CALLS_H

#include "service/core/core.h"
#include "service/http/http.h"

/* --- op.c: numbered calls and their results --- */
/* A new op, which the caller gives its model or sampler; its request id is
 * "<owner_id>:<seq>". NULL without memory. Any thread. */
tinker__svc_op_t *tinker__svc_op_new(tinker__svc_t *s, const char *owner_id,
                                     int64_t seq, tinker__svc_op_kind_t kind);
void tinker__svc_op_free(tinker__svc_op_t *op);
/* Called when the call is in the log. Its decoded body stays in memory if there
 * is room; else it is dropped, and read from the log when the call's turn has
 * come. Under the lock. */
void tinker__svc_op_hold_work(tinker__svc_op_t *op);
/* Frees the decoded body, which may be NULL. Under the lock, or before another
 * thread knows op. */
void tinker__svc_op_drop_work(tinker__svc_op_t *op);
/* Frees the body as it was read from the log, NULL allowed. Under the lock, or
 * before another thread knows op. */
void tinker__svc_op_drop_log(tinker__svc_op_t *op);
/* Takes the result of an op that was executed. The result is submitted to the
 * store, or, if the op is redone, compared with the stored one. Takes data's
 * content. extra adds statements that must become durable with the result (NULL
 * = none). When that is durable, committed(user, ...) runs on the store thread
 * under the lock. It may name a folder that is not needed any more, which is
 * then removed without the lock. user is NULL or a block of the service's
 * memory; it is taken and freed after that. Without the lock.
 *
 * TINKER_ENOMEM (or data holds an error): the op has no result, and user is
 * still the caller's. The op's model is stuck then and will go through its log
 * again; a sample fails when there is memory. */
int tinker__svc_op_complete(
    tinker__svc_op_t *op, tinker__svc_outcome_t outcome, int format,
    tinker__buf_t *data, void (*extra)(tinker__db_write_t *w, void *user),
    void (*committed)(void *user, char *useless, size_t len), void *user);
/* Fails the ops whose failure could not be stored before, for want of memory.
 * Under the lock. */
void tinker__svc_ops_retry(tinker__svc_t *s);
/* Completes op as failed, with a sentence. Without the lock. */
void tinker__svc_op_fail(tinker__svc_op_t *op, const char *category,
                         const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Completes an op that has never been executed as failed. Under the lock. */
void tinker__svc_op_fail_locked(tinker__svc_op_t *op, const char *category,
                                const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* --- polls.c: polls that wait for a result --- */
/* A copy of what a poll's answer needs of an op that has its result, since the
 * op may be freed before the answer is made. */
typedef struct tinker__svc_told_s {
  int64_t row;
  tinker__svc_op_kind_t kind;
  tinker__svc_op_state_t state;
  int format;
  const void *data; /* NULL = it is read from the store */
  size_t len;
} tinker__svc_told_t;
/* Copies op, with data = NULL. Under the lock. */
tinker__svc_told_t tinker__svc_op_told(const tinker__svc_op_t *op);
/* Answers r with the result, or parks r until the result was read from the
 * store. Without the lock. */
tinker__svc_handled_t tinker__svc_poll_tell(tinker__svc_req_t *r,
                                            const tinker__svc_told_t *o);
/* Moves all polls of an op from the service's lists to the list out. Under the
 * lock. */
void tinker__svc_polls_take(tinker__svc_op_t *op, tinker__link_t *out);
/* Answers the polls of a list with a result and resumes them. Without the lock.
 */
void tinker__svc_polls_tell(tinker__link_t *polls, const tinker__svc_told_t *o);
/* Parks r until op has a result or the hold of a poll is over. Under the lock.
 */
tinker__svc_handled_t tinker__svc_poll_park(tinker__svc_t *s,
                                            tinker__svc_req_t *r,
                                            tinker__svc_op_t *op);
/* Answers r that op has no result yet, with the reason. Under the lock. */
void tinker__svc_poll_try_again(tinker__svc_req_t *r,
                                const tinker__svc_op_t *op);
/* Answers polls whose time is over with try_again, a bounded number at once.
 * True = the time of more polls is over; the caller lets other threads take the
 * lock before the next call. Under the lock. */
bool tinker__svc_polls_expire(tinker__svc_t *s, int64_t now_ms);
/* Answers all polls with try_again. Under the lock. */
void tinker__svc_polls_release(tinker__svc_t *s);
/* Looks at a part of all polls and drops those whose clients are gone. True =
 * another look is worth it at once, since there are more parts, or such clients
 * were found. Under the lock. */
bool tinker__svc_polls_look(tinker__svc_t *s);

/* --- log.c: the way into the store --- */
/* Makes a new op known and submits it with its body to the store; r, whose
 * reply is set, is parked until it is stored. w is from
 * tinker__svc_op_write_begin and may have more statements; NULL = there was no
 * memory for it. On failure r is answered and op freed. Under the lock. */
tinker__svc_handled_t tinker__svc_op_accept(tinker__svc_t *s,
                                            tinker__svc_req_t *r,
                                            tinker__svc_op_t *op,
                                            tinker__db_write_t *w);
/* Begins the write for tinker__svc_op_accept. NULL without memory. */
tinker__db_write_t *tinker__svc_op_write_begin(tinker__svc_op_t *op);

/* --- order.c: a model's calls and their order --- */
/* A new model, which the caller gives its base, configuration and row. NULL
 * without memory. */
tinker__svc_model_t *tinker__svc_model_new(tinker__svc_t *s,
                                           tinker__svc_session_t *session,
                                           int64_t seq);
/* Makes m known and holds its base model. 0 or TINKER_ENOMEM. Under the lock,
 * or while the service starts. */
int tinker__svc_model_add(tinker__svc_t *s, tinker__svc_model_t *m);
/* The model with that id whose row is stored, or NULL. Under the lock. */
tinker__svc_model_t *tinker__svc_model_find(tinker__svc_t *s, tinker__str_t id);
/* Takes a model that could not be stored out of the lists and frees it. Under
 * the lock. */
void tinker__svc_model_forget(tinker__svc_t *s, tinker__svc_model_t *m);
void tinker__svc_model_free(tinker__svc_t *s, tinker__svc_model_t *m);
/* Puts an op into model.pending, which is ordered by number. Under the lock. */
void tinker__svc_model_enqueue(tinker__svc_model_t *m, tinker__svc_op_t *op);
/* Gives the model to the scheduler if the call with its next number is in the
 * log. Under the lock. */
void tinker__svc_model_kick(tinker__svc_model_t *m);
/* True, and r is answered with 429, when there are --max-models models. Under
 * the lock. */
bool tinker__svc_model_refused(tinker__svc_t *s, tinker__svc_req_t *r);
/* Takes the op to execute now and makes it m->current; NULL = there is none.
 * Under the lock. */
tinker__svc_op_t *tinker__svc_model_begin(tinker__svc_model_t *m);
/* Called when the model's task has done its work. Pushes the task again if
 * there is a call to execute. Under the lock. */
void tinker__svc_model_done(tinker__svc_model_t *m);
/* True when the session has ended and no call is left to be executed. Under the
 * lock. */
bool tinker__svc_model_is_over(const tinker__svc_model_t *m);
/* Makes a model OVER whose training state is not in memory. Under the lock. */
void tinker__svc_model_retire(tinker__svc_model_t *m);

/* --- price.c: bytes of memory that training takes --- */
uint64_t tinker__svc_price_add(uint64_t a, uint64_t b); /* UINT64_MAX = more */
/* The bytes of a model's training state, and of a pass besides it; 0 when they
 * can't be known. */
uint64_t tinker__svc_price_state(const tinker__svc_model_t *m);
uint64_t tinker__svc_price_pass(const tinker__svc_model_t *m,
                                const tinker__svc_work_t *w);
/* The bytes of the result of a pass. */
uint64_t tinker__svc_price_result(const tinker__svc_work_t *w);
/* True, and r is answered with 400, when a call or a model can never fit. Under
 * the lock. */
bool tinker__svc_price_refuses_call(const tinker__svc_model_t *m,
                                    const tinker__svc_work_t *w,
                                    tinker__svc_req_t *r);
bool tinker__svc_price_refuses_model(const tinker__svc_model_t *m,
                                     tinker__svc_req_t *r);

/* --- trouble.c: a model that can't be restored now --- */
/* Notes why the model's call can't be executed now: a code, or a sentence if
 * why is not empty. Engine thread while it executes the model, else under the
 * lock.
 */
void tinker__svc_trouble(tinker__svc_model_t *m, int rc, const char *why);
/* Puts the present call back into its place, to be tried again after a pause;
 * the pauses grow. Under the lock. */
void tinker__svc_model_park(tinker__svc_model_t *m);
/* Ends the pause. Under the lock. */
void tinker__svc_model_unpark(tinker__svc_model_t *m);
/* Tries the models whose pause is over. Under the lock. */
void tinker__svc_models_retry(tinker__svc_t *s, int64_t now_ms);
/* True, and r is answered with 503, when the model is parked by trouble. Under
 * the lock. */
bool tinker__svc_model_is_parked(tinker__svc_model_t *m, tinker__svc_req_t *r);

/* --- order.c: models that rest, end or break --- */
/* True when the model has a call without a result. Under the lock. */
bool tinker__svc_model_awaited(const tinker__svc_model_t *m);
/* Lets the models leave memory that had no call for long. Under the lock. */
void tinker__svc_models_rest(tinker__svc_t *s, int64_t now_ms);
/* Does both, for the timer. */
void tinker__svc_models_look(tinker__svc_t *s, int64_t now_ms);
/* Called when the session has ended. Calls after a gap fail. Under the lock. */
void tinker__svc_model_end(tinker__svc_model_t *m);
/* Makes all later calls fail with that reason, after a restart too. The first
 * reason stays. Under the lock.
 * TINKER_ENOMEM: nothing has changed. */
int tinker__svc_model_break(tinker__svc_model_t *m, const char *why);

/* --- sampler.c --- */
/* A new sampler, which the caller gives its base and row. 0, TINKER_EEXIST when
 * its number in the session is taken, or TINKER_ENOMEM. Under the lock, or
 * while the service starts, as add. */
int tinker__svc_sampler_new(tinker__svc_sampler_t **out, tinker__svc_t *s,
                            tinker__svc_session_t *session, int64_t seq,
                            char *why, size_t why_len);
/* Makes p known and, if its session is live, holds its base model. 0 or
 * TINKER_ENOMEM. */
int tinker__svc_sampler_add(tinker__svc_t *s, tinker__svc_sampler_t *p);
/* Adds the statement that stores p's row. */
void tinker__svc_sampler_write(tinker__db_write_t *w,
                               const tinker__svc_sampler_t *p);
void tinker__svc_sampler_free(tinker__svc_t *s, tinker__svc_sampler_t *p);
/* Takes a sampler that could not be stored out of the lists; the caller frees
 * it. Under the lock. */
void tinker__svc_sampler_forget(tinker__svc_t *s, tinker__svc_sampler_t *p);
/* The error of a sample whose session has ended. */
#define TINKER__SAMPLE_CANCELED "canceled: the session has ended"
/* Hands a sample that is in the log to the runner, or fails it when its session
 * has ended. Under the lock. */
void tinker__svc_sampler_kick(tinker__svc_op_t *op);
/* Called when the session has ended. Its samples stop. Under the lock. */
void tinker__svc_sampler_end(tinker__svc_sampler_t *p);

/* --- session.c, session_end.c, session_drop.c --- */
/* The live session with that id; the call counts as its sign of life. NULL = r
 * is answered (404, 410, or 503 when the service ends). Under the lock. */
tinker__svc_session_t *tinker__svc_session_find(tinker__svc_t *s,
                                                tinker__svc_req_t *r,
                                                tinker__str_t id);
/* Finds the session for a call that must be stored. Answers 503 also while
 * another process has locked the store. */
tinker__svc_session_t *tinker__svc_session_live(tinker__svc_t *s,
                                                tinker__svc_req_t *r,
                                                tinker__str_t id);
/* Takes a call back that was counted in n->arriving while its body was checked
 * without the lock. False = the session or the service has ended meanwhile, or
 * nothing can be stored; r is answered. Under the lock. */
bool tinker__svc_session_arrive(tinker__svc_t *s, tinker__svc_req_t *r,
                                tinker__svc_session_t *n);
/* Makes n known. 0 or TINKER_ENOMEM. Under the lock, or while the service
 * starts. */
int tinker__svc_session_add(tinker__svc_t *s, tinker__svc_session_t *n);
/* Copies the fields of create_session to n. 0 or TINKER_ENOMEM. */
int tinker__svc_session_describe(tinker__svc_t *s, tinker__svc_session_t *n,
                                 const tinker__create_session_t *m);
/* Drops the results of sessions that ended long ago, and then all of those that
 * left no checkpoint. It begins with a few sessions only; true when others may
 * be left. Under the lock. */
bool tinker__svc_session_purge(tinker__svc_t *s);
/* session_drop.c: lets a purged session go if no checkpoint of it is left. True
 * when that has begun. Under the lock. */
bool tinker__svc_session_drop(tinker__svc_session_t *n, int64_t now_ms);
/* Deletes the rows of a session that is LEAVING, and then frees it.
 * TINKER_ENOMEM: nothing was done. Engine thread. */
int tinker__svc_session_delete(tinker__svc_session_t *n);
/* Ends the sessions that showed no sign of life for long. Under the lock. */
void tinker__svc_session_expire(tinker__svc_t *s, int64_t now_ms);
/* Expires sessions. It is called once a second; if it was not called for
 * longer, the service was stopped, and that time does not count. Under the
 * lock. */
void tinker__svc_session_look(tinker__svc_t *s, int64_t now_ms);
/* Ends a session and its calls after gaps. 0, or TINKER_ENOMEM and nothing has
 * happened. A reason that can't be copied is stored but not kept in memory.
 * Under the lock. */
int tinker__svc_session_end(tinker__svc_t *s, tinker__svc_session_t *n,
                            const char *reason);
void tinker__svc_session_free(tinker__svc_t *s, tinker__svc_session_t *n);

/* --- checkpoint_change.c --- */
typedef enum {
  TINKER__CKPT_DELETED,
  TINKER__CKPT_PUBLISHED,
  TINKER__CKPT_UNPUBLISHED,
  TINKER__CKPT_EXPIRES, /* it gets another time to expire */
  TINKER__CKPT_EXPIRED  /* its time is over: it is deleted */
} tinker__svc_ckpt_change_t;
/* Stores a change and answers r when it is stored; NULL = a change by the
 * sweep. False without memory. Under the lock. */
bool tinker__svc_checkpoint_change(tinker__svc_t *s, tinker__svc_req_t *r,
                                   const tinker__svc_checkpoint_t *c,
                                   tinker__svc_ckpt_change_t kind,
                                   int64_t expires_ms);
/* Deletes the checkpoints that have expired. Under the lock. */
void tinker__svc_checkpoints_expire(tinker__svc_t *s);

#endif
