/* REST: what there is at the service, whoever has made it: training runs, their
 * checkpoints, and sessions.
 *
 * None of these calls needs a session or makes one. They are operations as all
 * others (future.h), without an order among them. Which runs and sessions are
 * shown is up to the key: those that its user owns.
 *
 * Questions are asked again for up to five minutes while the service can't be
 * reached or fails. Of a run, checkpoint or session that it does not have the
 * answer is TINKER_ENOENT; a service without the call itself answers with
 * TINKER_ENOTSUP.
 *
 * Ids and paths are checked before anything is sent. A path here is
 * "tinker://RUN/KIND/NAME" with the kind "weights", "sampler_weights" or
 * "external_weights". RUN, NAME and an id have 1 to 256 bytes, no "/" and no
 * control character, and are neither "." nor ".."; they are escaped where the
 * request needs it.
 *
 * Times are milliseconds since 1970 in UTC, cut, as the service's clock has
 * them. Texts and arrays of a view belong to the future. What the service says
 * beyond these fields is ignored. */
#ifndef TINKER_REST_H
#define TINKER_REST_H

#include "future.h"
#include "options.h"
#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TINKER_NO_TIME INT64_MIN /* no such time was stated */

/* A part of a list. A list may change from one page to the next: an entry may
 * then be seen twice, or not at all. */
typedef struct tinker_page_s {
  size_t size;
  int64_t offset; /* entries that are left out, 0 or more; default 0 */
  /* Entries at most, 1 or more; default 0 = 100 checkpoints, 20 runs or
   * sessions. The service refuses more than it likes. */
  int64_t limit;
} tinker_page_t;

#define TINKER_PAGE_INIT                                                       \
  { sizeof(tinker_page_t), 0, 0 }

/* Fills in the size and the defaults.
 * o: written, not NULL. Returns nothing. Any thread. */
static inline void tinker_page_init(tinker_page_t *o) {
  const tinker_page_t init = TINKER_PAGE_INIT;
  *o = init;
}

typedef enum {
  TINKER_CHECKPOINT_OTHER = 0,    /* one that this version does not know */
  TINKER_CHECKPOINT_TRAINING = 1, /* a state: weights and optimizer */
  TINKER_CHECKPOINT_SAMPLER = 2,  /* weights for a sampler */
  TINKER_CHECKPOINT_EXTERNAL = 3  /* weights for other programs */
} tinker_checkpoint_type_t;

/* Fields may be appended in later versions, as in all views. */
typedef struct tinker_checkpoint_s {
  const char *path;          /* "tinker://RUN/weights/NAME" */
  const char *checkpoint_id; /* "weights/NAME"; of some services "NAME" */
  tinker_checkpoint_type_t type;
  int32_t is_public;  /* 1 or 0: may every user load it? */
  int64_t created_ms; /* TINKER_NO_TIME = not known */
  int64_t expires_ms; /* TINKER_NO_TIME = never */
  int64_t size_bytes; /* -1 = not known */
  /* 1: its trainer had gradients then that no optimizer step had used, and
   * they are not in it. 0: it had none. -1: not known. */
  int32_t lacks_gradients;
  int32_t reserved0;
  const tinker_metadata_t *metadata; /* metadata_count entries */
  size_t metadata_count;
} tinker_checkpoint_t;

typedef struct tinker_training_run_s {
  const char *run_id; /* that of its model, tinker_model_info_t.model_id */
  const char *base_model;
  const char *owner;  /* "" = not known */
  int32_t is_lora;    /* 1, 0, or -1 = not known */
  uint32_t lora_rank; /* 0 = not known */
  /* 1: the service says that its training can't go on. */
  int32_t corrupted;
  /* 1: the service has said which. 0: it has said nothing of it, and corrupted
   * is 0: that is no sign of health. */
  int32_t corrupted_known;
  int64_t last_request_ms;                    /* TINKER_NO_TIME = not known */
  const tinker_checkpoint_t *last_checkpoint; /* of training; NULL = none */
  const tinker_checkpoint_t *last_sampler_checkpoint; /* NULL = none */
  const tinker_metadata_t *metadata;                  /* metadata_count */
  size_t metadata_count;
} tinker_training_run_t;

typedef struct tinker_training_run_list_s {
  const tinker_training_run_t *runs; /* count entries */
  size_t count;
  int64_t offset;      /* of the first of them in the whole list */
  int64_t total_count; /* of the whole list; -1 = not known */
} tinker_training_run_list_t;

typedef struct tinker_checkpoint_list_s {
  const tinker_checkpoint_t *checkpoints; /* count entries */
  size_t count;
  int64_t offset;      /* of the first of them in the whole list */
  int64_t total_count; /* of the whole list; -1 = not known */
} tinker_checkpoint_list_t;

/* What was trained into saved weights. */
typedef struct tinker_weights_info_s {
  const char *base_model;
  const char *optimizer_config; /* JSON; "" = not known, which means AdamW */
  int32_t is_lora;              /* 1 or 0 */
  uint32_t lora_rank;           /* 0 = not known */
  int32_t train_attention;      /* 1, 0, or -1 = not known, as the next two */
  int32_t train_mlp;
  int32_t train_unembed;
  int32_t reserved0;
} tinker_weights_info_t;

typedef struct tinker_session_list_s {
  const char *const *session_ids; /* count entries */
  size_t count;
} tinker_session_list_t;

typedef struct tinker_session_info_s {
  const char *const *run_ids; /* run_count entries: of its trainers */
  size_t run_count;
  const char *const *sampler_ids; /* sampler_count entries */
  size_t sampler_count;
  const char *display_name;          /* "" = none */
  const tinker_metadata_t *metadata; /* metadata_count entries */
  size_t metadata_count;
} tinker_session_info_t;

/* --- questions --- */

/* Asks for one training run: whether it is corrupted, for example.
 * client, call: see future.h. run_id: of the run, "RUN" of a path. Returns a
 * future owned by the caller; result: tinker_future_get_run(). Any thread. */
TINKER_API TINKER_NODISCARD tinker_future_t *
tinker_client_get_run(tinker_client_t *client, const char *run_id,
                      const tinker_call_options_t *call);

/* Lists training runs, in the order of the service.
 * client, call: see future.h. page: which part, borrowed; NULL = its defaults.
 * Returns a future owned by the caller; result: tinker_future_get_run_list().
 * Any thread. */
TINKER_API TINKER_NODISCARD tinker_future_t *
tinker_client_list_runs(tinker_client_t *client, const tinker_page_t *page,
                        const tinker_call_options_t *call);

/* Lists all checkpoints of one run; the service has no pages here. A list of
 * more than 16 MiB ends with TINKER_EOVERFLOW.
 * client, call: see future.h. run_id: of the run. Returns a future owned by the
 * caller; result: tinker_future_get_checkpoint_list(). Any thread. */
TINKER_API TINKER_NODISCARD tinker_future_t *
tinker_client_list_run_checkpoints(tinker_client_t *client, const char *run_id,
                                   const tinker_call_options_t *call);

/* Lists the checkpoints of all runs, the newest first.
 * client, call: see future.h. page: which part, borrowed; NULL = its defaults.
 * Returns a future owned by the caller; result:
 * tinker_future_get_checkpoint_list(). Any thread. */
TINKER_API TINKER_NODISCARD tinker_future_t *
tinker_client_list_checkpoints(tinker_client_t *client,
                               const tinker_page_t *page,
                               const tinker_call_options_t *call);

/* Asks what saved weights are of; a public checkpoint of another user, too.
 * client, call: see future.h. path: "tinker://...", as a save has returned it;
 * what follows is the service's to judge. Returns a future owned by the caller;
 * result: tinker_future_get_weights_info(). Any thread. */
TINKER_API TINKER_NODISCARD tinker_future_t *
tinker_client_weights_info(tinker_client_t *client, const char *path,
                           const tinker_call_options_t *call);

/* Lists the ids of sessions, in the order of the service, which does not say
 * how many there are: a page that is not full is the last one.
 * client, call: see future.h. page: which part, borrowed; NULL = its defaults.
 * Returns a future owned by the caller; result:
 * tinker_future_get_session_list(). Any thread. */
TINKER_API TINKER_NODISCARD tinker_future_t *
tinker_client_list_sessions(tinker_client_t *client, const tinker_page_t *page,
                            const tinker_call_options_t *call);

/* Asks what a session has.
 * client, call: see future.h. session_id: of any session that the key may see.
 * Returns a future owned by the caller; result: tinker_future_get_session().
 * Any thread. */
TINKER_API TINKER_NODISCARD tinker_future_t *
tinker_client_get_session(tinker_client_t *client, const char *session_id,
                          const tinker_call_options_t *call);

/* --- changes ---
 *
 * Both are mutations (seams.h): the journal is asked first, and the fence
 * before each copy that is sent. Doing one of them twice does no more than
 * doing it once, so a request whose reply is lost, or that the service fails to
 * answer, is sent again for up to five minutes, as long as somebody waits for
 * it. The outcome of one that ends without an answer is unknown
 * (tinker_error_outcome_is_unknown()): a copy may still arrive. */

/* Gives a checkpoint another time to live.
 * client, call: see future.h. path: of the checkpoint. ttl_seconds: seconds
 * from now, by the service's clock, until it expires, 3,600 to 315,360,000 (ten
 * years); TINKER_NO_TTL = it does not expire. Of a request that is sent again
 * the last one to arrive counts, some seconds later. Returns a future owned by
 * the caller, without a result. Any thread. */
TINKER_API TINKER_NODISCARD tinker_future_t *
tinker_client_set_checkpoint_ttl(tinker_client_t *client, const char *path,
                                 int64_t ttl_seconds,
                                 const tinker_call_options_t *call);

/* Deletes a checkpoint for good.
 *
 * If the service does not have it, the call ends with TINKER_ENOENT, unless a
 * request of the same call may have reached the service before: then this one
 * has deleted it, or somebody else has, and the call ends with 0, since the
 * checkpoint is gone. A name that is saved again while its deletion is under
 * way may be deleted anew, so wait for the end before you use it again.
 * client, call: see future.h. path: of the checkpoint. Returns a future owned
 * by the caller, without a result. Any thread. */
TINKER_API TINKER_NODISCARD tinker_future_t *
tinker_client_delete_checkpoint(tinker_client_t *client, const char *path,
                                const tinker_call_options_t *call);

/* --- results --- */

/* Result of tinker_client_get_run().
 * future: not NULL. out: receives a view owned by the future; untouched on
 * failure. Returns as tinker_future_get_trainer(). Any thread. */
TINKER_API int tinker_future_get_run(tinker_future_t *future,
                                     const tinker_training_run_t **out);

/* Result of tinker_client_list_runs().
 * future: not NULL. out: receives a view owned by the future; untouched on
 * failure. Returns as tinker_future_get_trainer(). Any thread. */
TINKER_API int
tinker_future_get_run_list(tinker_future_t *future,
                           const tinker_training_run_list_t **out);

/* Result of tinker_client_list_run_checkpoints() and
 * tinker_client_list_checkpoints().
 * future: not NULL. out: receives a view owned by the future; untouched on
 * failure. Returns as tinker_future_get_trainer(). Any thread. */
TINKER_API int
tinker_future_get_checkpoint_list(tinker_future_t *future,
                                  const tinker_checkpoint_list_t **out);

/* Result of tinker_client_weights_info().
 * future: not NULL. out: receives a view owned by the future; untouched on
 * failure. Returns as tinker_future_get_trainer(). Any thread. */
TINKER_API int
tinker_future_get_weights_info(tinker_future_t *future,
                               const tinker_weights_info_t **out);

/* Result of tinker_client_list_sessions().
 * future: not NULL. out: receives a view owned by the future; untouched on
 * failure. Returns as tinker_future_get_trainer(). Any thread. */
TINKER_API int
tinker_future_get_session_list(tinker_future_t *future,
                               const tinker_session_list_t **out);

/* Result of tinker_client_get_session().
 * future: not NULL. out: receives a view owned by the future; untouched on
 * failure. Returns as tinker_future_get_trainer(). Any thread. */
TINKER_API int tinker_future_get_session(tinker_future_t *future,
                                         const tinker_session_info_t **out);

#ifdef __cplusplus
}
#endif

#endif
