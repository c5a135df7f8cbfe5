/* retired: does the service still offer the base model of the run (F89)? What
 * it refuses because it does not is no fault of a checkpoint. The run's
 * thread. */
#include <string.h>

#include "run/run.h"

#define ASK_MS 30000

/* A service that names no models, or can't be asked, has retired none. */
static bool lacks(const tinker_capabilities_t *c, const char *base_model) {
  for (size_t i = 0; i < c->model_count; i++) {
    if (strcmp(c->models[i].name, base_model) == 0) {
      return c->models[i].trainable == 0;
    }
  }
  return c->model_count > 0;
}

bool tinker__rec_retired(tinker_run_t *run) {
  const tinker_capabilities_t *c = NULL;
  tinker_call_options_t call = TINKER_CALL_OPTIONS_INIT;
  call.timeout_ms = ASK_MS;
  tinker_future_t *f = tinker_client_get_capabilities(run->home, &call);
  bool retired = tinker_future_wait(f, -1) == 0 &&
                 tinker_future_get_capabilities(f, &c) == 0 &&
                 lacks(c, run->plan.base_model);
  tinker_future_release(f);
  return retired;
}
