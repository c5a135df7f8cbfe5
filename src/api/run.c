/* run: the calls of a client that its program turns, see tinker/loop.h. */
#include <limits.h>

#include "api/core.h"
#include "loop/step.h"

/* 0 when this client can be stepped here. */
static int check(const tinker_client_t *client) {
  if (!client) return TINKER_EINVAL;
  if (!tinker__core_is_here(client)) return TINKER_EFORKED;
  return client->mode == TINKER_RUN_STEP ? 0 : TINKER_ESTATE;
}

int tinker_client_fd(tinker_client_t *client) {
  int rc = check(client);
  return rc ? rc : tinker__step_fd(client->loop);
}

int64_t tinker_client_timeout_ms(tinker_client_t *client) {
  if (check(client)) return -1;
  int64_t ms = tinker__step_timeout_ms(client->loop);
  return ms > INT_MAX ? INT_MAX : ms;
}

/* The client may be released inside: then this thread ends it, on leaving. */
int tinker_client_step(tinker_client_t *client) {
  int rc = check(client);
  if (rc) return rc;
  if (!tinker__core_enter(client)) return TINKER_ECLOSED;
  rc = tinker__step(client->loop);
  tinker__core_leave(client);
  return rc;
}
