/* next: the operations without a callback that have ended, for
 * tinker_client_next. The list is under the client's lock and holds no
 * reference, except to futures that are kept for it: what nobody else holds
 * can't be asked for. Any thread. */
#include "api/core.h"
#include "base/beacon.h"

void tinker__next_put(tinker_client_t *core, tinker_future_t *f) {
  pthread_mutex_lock(&core->lock);
  if (f->kept || tinker__future_has_user(f)) {
    tinker__list_push_back(&core->ended, &f->link);
    atomic_fetch_add(&core->ended_count, 1);
    tinker__beacon_raise(&core->next_fd);
  }
  atomic_fetch_sub(&core->quiet, 1);
  tinker__waiting_wake(&core->waiting);
  pthread_mutex_unlock(&core->lock);
  tinker__future_unref(f);
}

/* Under the lock. */
static void taken(tinker_client_t *core) {
  if (atomic_fetch_sub(&core->ended_count, 1) == 1) {
    tinker__beacon_lower(&core->next_fd);
  }
}

/* In a forked child nobody looks at the list. */
void tinker__next_forget(tinker_client_t *core, tinker_future_t *f) {
  if (!tinker__core_is_here(core)) return;
  pthread_mutex_lock(&core->lock);
  if (!tinker__list_empty(&f->link)) {
    tinker__list_remove(&f->link);
    taken(core);
  }
  pthread_mutex_unlock(&core->lock);
}

/* One that the program holds no more stays out. What is kept was held by the
 * list, and becomes the program's. */
static tinker_future_t *take(tinker_client_t *core) {
  tinker_future_t *f = NULL;
  pthread_mutex_lock(&core->lock);
  tinker__link_t *l;
  while (!f && (l = tinker__list_pop_front(&core->ended))) {
    taken(core);
    f = TINKER__CONTAINER(l, tinker_future_t, link);
    if (f->kept) {
      f->kept = false;
      tinker__future_to_user(f);
    } else if (!tinker__future_try_user_ref(f)) {
      f = NULL;
    }
  }
  pthread_mutex_unlock(&core->lock);
  return f;
}

void tinker__next_drop(tinker_client_t *core) {
  tinker_future_t *f;
  while ((f = take(core))) tinker__future_user_unref(f);
}

static bool something_ended(void *user) {
  tinker_client_t *client = user;
  return atomic_load(&client->ended_count) > 0 ||
         atomic_load(&client->quiet) == 0;
}

int tinker_client_next(tinker_client_t *client, int64_t timeout_ms,
                       tinker_future_t **out) {
  if (!client || !out || timeout_ms < -1) return TINKER_EINVAL;
  if (!tinker__core_is_here(client)) return TINKER_EFORKED;
  bool limited = timeout_ms >= 0;
  int64_t until = tinker__loop_after(client->loop, limited ? timeout_ms : 0);
  for (;;) {
    tinker_future_t *f = take(client);
    if (f) {
      /* Another thread may be decoding it. A future that is handed out must
       * have ended for every caller. */
      tinker__future_decode(f, true);
      *out = f;
      return 0;
    }
    if (atomic_load(&client->quiet) == 0 &&
        atomic_load(&client->ended_count) == 0) {
      return TINKER_ENOENT;
    }
    /* Another thread may take the future that has ended, so this one waits on
     * for the rest of its time. */
    int64_t left = limited ? until - tinker__loop_now(client->loop) : -1;
    if (limited && left < 0) left = 0;
    int rc = tinker__core_sleep(client, something_ended, left);
    if (rc) return rc == TINKER_ETIMEDOUT ? TINKER_EAGAIN : rc;
  }
}

int tinker_client_next_fd(tinker_client_t *client, int *fd) {
  if (!client || !fd) return TINKER_EINVAL;
  if (!tinker__core_is_here(client)) return TINKER_EFORKED;
  pthread_mutex_lock(&client->lock);
  int rc = tinker__beacon_open(&client->next_fd);
  if (!rc && atomic_load(&client->ended_count) > 0) {
    tinker__beacon_raise(&client->next_fd);
  }
  if (!rc) *fd = tinker__beacon_fd(&client->next_fd);
  pthread_mutex_unlock(&client->lock);
  return rc;
}
