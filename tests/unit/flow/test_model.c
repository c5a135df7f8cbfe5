/* Random orders of everything that can happen to a flow, see model.h. The
 * number of orders and the seed are variables of the environment; what fails
 * names its order, which can then be run alone:
 *
 *   TINKER_MODEL_ORDERS=1000000 TINKER_MODEL_SEED=7 TINKER_MODEL_ORDER=1234 */
#include <criterion/criterion.h>
#include <criterion/logging.h>
#include <stdlib.h>

#include "model.h"

/* A build with sanitizers takes ten times as long. */
enum { ORDERS = TINKER_TEST_ASSERTS ? 5000 : 50000 };

static uint64_t setting(const char *name, uint64_t otherwise) {
  const char *text = getenv(name);
  return text ? strtoull(text, NULL, 10) : otherwise;
}

/* The weights of what happens next, of 100. */
static void happen(model_t *m) {
  size_t p = model_draw(m, 100);
  if (p < 30) {
    model_submit(m);
  } else if (p < 70) {
    model_answer(m);
  } else if (p < 77) {
    model_advance(m, (int64_t)model_draw(m, 4000));
  } else if (p < 82) {
    model_cancel(m);
  } else if (p < 90) {
    model_verdict(m);
  } else if (p < 97) {
    model_user(m);
  } else if (p < 99) {
    model_accept_partial(m);
  } else if (model_draw(m, 8) == 0) {
    model_close(m);
  }
}

static void run(uint64_t order, uint64_t seed) {
  static model_t m;
  model_begin(&m, order, seed);
  size_t events = 10 + model_draw(&m, 50);
  for (size_t i = 0; i < events; i++) {
    happen(&m);
    model_look(&m);
  }
  if (model_draw(&m, 4)) model_drain(&m);
  model_end(&m);
}

Test(model, random_orders, .timeout = 3600) {
  uint64_t orders = setting("TINKER_MODEL_ORDERS", ORDERS);
  uint64_t seed = setting("TINKER_MODEL_SEED", 1);
  uint64_t one = setting("TINKER_MODEL_ORDER", UINT64_MAX);
  cr_log_info("model: %llu orders, seed %llu", (unsigned long long)orders,
              (unsigned long long)seed);
  if (one != UINT64_MAX) {
    run(one, seed);
    return;
  }
  for (uint64_t i = 0; i < orders; i++) run(i, seed);
  cr_log_info("model: %zu well, %zu failed, %zu optim_steps, %zu refused, %zu "
              "withdrawn, %zu judged, %zu handed, %zu fatal, %zu unsent",
              model_met.ended_well, model_met.failed, model_met.optims,
              model_met.refused, model_met.withdrawn, model_met.judged,
              model_met.handed, model_met.fatal, model_met.unsent);
  size_t some = (size_t)orders / 100;
  cr_assert(model_met.ended_well > some && model_met.failed > some &&
            model_met.optims > some && model_met.refused > some &&
            model_met.withdrawn > some && model_met.judged > some &&
            model_met.handed > some && model_met.fatal > 0 &&
            model_met.unsent > 0);
}
