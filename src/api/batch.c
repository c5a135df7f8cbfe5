/* The calls of a trainer that carry examples: forward and forward_backward. */
#include <math.h>
#include <string.h>

#include "api/call.h"
#include "api/data.h"
#include "api/handles.h"
#include "wire/fb_request.h"

#define LOSS_INPUTS 4

/* The inputs that a loss reads (protocol 7.1). */
typedef struct loss_s {
  const char *name;
  const char *inputs[LOSS_INPUTS];
  bool clips; /* it has the two thresholds */
} loss_t;

static const loss_t losses[] = {
    [TINKER_LOSS_CROSS_ENTROPY] = {.name = "cross_entropy",
                                   .inputs = {"target_tokens", "weights"}},
    [TINKER_LOSS_IMPORTANCE_SAMPLING] = {.name = "importance_sampling",
                                         .inputs = {"target_tokens", "logprobs",
                                                    "advantages"}},
    [TINKER_LOSS_PPO] = {.name = "ppo",
                         .inputs = {"target_tokens", "logprobs", "advantages"},
                         .clips = true},
    [TINKER_LOSS_CISPO] = {.name = "cispo",
                           .inputs = {"target_tokens", "logprobs",
                                      "advantages"},
                           .clips = true},
    [TINKER_LOSS_DRO] = {.name = "dro",
                         .inputs = {"target_tokens", "logprobs", "advantages"}},
    [TINKER_LOSS_GSPO] = {.name = "gspo",
                          .inputs = {"target_tokens", "logprobs", "advantages",
                                     "sequence_ratio_mask"},
                          .clips = true},
};

/* A batch on its way into requests. */
typedef struct batch_s {
  tinker_datum_t *const *data;
  size_t n;
  const loss_t *loss;
  tinker__config_entry_t config[3];
  size_t config_count;
  const tinker__kind_t *kind;
  tinker__arena_t arena; /* views, for the time of the call */
  tinker__datum_view_t *views;
  uint64_t *estimates;
} batch_t;

/* --- what the service would refuse is refused before it takes a number --- */

static void check_input(tinker__call_t *c, const batch_t *b, size_t index,
                        size_t input) {
  const char *name = b->loss->inputs[input];
  const tinker_datum_t *d = b->data[index];
  const tinker__input_tensor_t *t = tinker__datum_tensor(d, name);
  const tinker__input_tensor_t *targets =
      tinker__datum_tensor(d, b->loss->inputs[0]);
  bool is_target = input == 0;
  if (!t) {
    tinker__call_refuse(c, TINKER_EINVAL,
                        "data[%zu] has no \"%s\", which %s needs", index, name,
                        b->loss->name);
  } else if (t->is_float == is_target) {
    tinker__call_refuse(c, TINKER_EINVAL, "data[%zu]: \"%s\" has %s: want %s",
                        index, name, is_target ? "floats" : "integers",
                        is_target ? "integers" : "floats");
  } else if (t->rows != d->input->len) {
    tinker__call_refuse(c, TINKER_EINVAL,
                        "data[%zu]: \"%s\" has %zu rows: want %zu, one for "
                        "each token of its input",
                        index, name, t->rows, d->input->len);
  } else if (t->cols && b->loss != &losses[TINKER_LOSS_CROSS_ENTROPY]) {
    tinker__call_refuse(c, TINKER_EINVAL,
                        "data[%zu]: \"%s\" has columns, which only "
                        "cross_entropy takes",
                        index, name);
  } else if (t->cols != targets->cols) {
    tinker__call_refuse(c, TINKER_EINVAL,
                        "data[%zu]: \"%s\" has %zu columns: want %zu, as "
                        "\"%s\" has",
                        index, name, t->cols, targets->cols,
                        b->loss->inputs[0]);
  }
}

static void check_data(tinker__call_t *c, const batch_t *b) {
  if (!b->data) tinker__call_refuse(c, TINKER_EINVAL, "data is NULL");
  if (b->n == 0) tinker__call_refuse(c, TINKER_EINVAL, "n is 0: want examples");
  for (size_t i = 0; i < b->n && !c->rc; i++) {
    if (!b->data[i]) {
      tinker__call_refuse(c, TINKER_EINVAL, "data[%zu] is NULL", i);
    }
    for (size_t k = 0; k < LOSS_INPUTS && b->loss->inputs[k] && !c->rc; k++) {
      check_input(c, b, i, k);
    }
  }
}

/* A number that the loss does not have is not ignored. */
static void put_number(tinker__call_t *c, batch_t *b, const char *name,
                       double value, bool taken) {
  if (value == TINKER_LOSS_UNSET) return;
  if (!taken) {
    tinker__call_refuse(c, TINKER_EINVAL, "loss: %s is set, which %s has not",
                        name, b->loss->name);
  }
  tinker__call_want(c, value >= 0 && isfinite(value), name, value,
                    "0 or more, or TINKER_LOSS_UNSET");
  if (c->rc) return;
  b->config[b->config_count++] = (tinker__config_entry_t){
      .name = tinker__str(name),
      .number = value,
  };
}

static void check_loss(tinker__call_t *c, batch_t *b,
                       const tinker_loss_t *given) {
  static const tinker_loss_t defaults = TINKER_LOSS_INIT;
  const int32_t n = sizeof losses / sizeof losses[0];
  tinker_loss_t o;
  tinker__call_take(c, &o, sizeof o, &defaults, given, "loss");
  if (c->rc) return;
  tinker__call_want(c, o.kind >= 0 && o.kind < n, "loss.kind", o.kind,
                    "a tinker_loss_kind_t");
  tinker__call_reserved(c, "loss", o.reserved0);
  if (c->rc) return;
  const bool dro = o.kind == TINKER_LOSS_DRO;
  b->loss = &losses[o.kind];
  put_number(c, b, "clip_low_threshold", o.clip_low_threshold, b->loss->clips);
  put_number(c, b, "clip_high_threshold", o.clip_high_threshold,
             b->loss->clips);
  put_number(c, b, "beta", o.beta, dro);
  if (dro) {
    tinker__call_want(c, o.beta > 0, "loss.beta", o.beta, "above 0 for dro");
  }
}

/* --- requests --- */

static int view_batch(batch_t *b) {
  b->views = tinker__arena_array(&b->arena, b->n, sizeof *b->views);
  b->estimates = tinker__arena_array(&b->arena, b->n, sizeof *b->estimates);
  if (!b->views || !b->estimates) return TINKER_ENOMEM;
  for (size_t i = 0; i < b->n; i++) {
    int rc = tinker__datum_view(b->data[i], &b->arena, &b->views[i]);
    if (rc) return rc;
    b->estimates[i] = tinker__datum_estimate(&b->views[i]);
  }
  return 0;
}

static int encode_chunks(const batch_t *b, tinker__op_t *op,
                         const tinker__chunk_limits_t *limits) {
  tinker__fb_view_t view = {
      .model_id = tinker__str(op->turn->id),
      .loss_fn = tinker__str(b->loss->name),
      .config = b->config,
      .config_count = b->config_count,
      .forward_only = b->kind == &tinker__kind_forward,
  };
  size_t at = 0;
  for (size_t i = 0; i < op->count; i++) {
    size_t end = tinker__chunk_end(limits, b->estimates, b->n, at);
    op->parts[i].first = at;
    op->parts[i].datums = end - at;
    view.datums = b->views + at;
    view.datum_count = end - at;
    int rc =
        tinker__fb_request_encode(&op->parts[i].body, op->mem, &view, NULL, 0);
    if (rc) return rc;
    at = end;
  }
  return 0;
}

static void open_batch(tinker__call_t *c, batch_t *b) {
  tinker__chunk_limits_t limits;
  bool parallel;
  tinker__core_limits(c->core, &limits, &parallel);
  tinker__call_check(c, view_batch(b));
  if (c->rc) return;
  size_t parts = tinker__chunk_count(&limits, b->estimates, b->n);
  tinker__op_t *op =
      tinker__call_op(c, b->kind, &tinker__result_forward, parts);
  if (!op) return;
  tinker__call_check(c, encode_chunks(b, op, &limits));
  op->parallel = parallel;
}

void tinker__call_batch(tinker__call_t *call, const tinker__kind_t *kind,
                        tinker_datum_t *const *data, size_t n,
                        const tinker_loss_t *loss) {
  batch_t b = {.data = data, .n = n, .kind = kind};
  check_loss(call, &b, loss);
  check_data(call, &b);
  if (call->rc) return;
  tinker__arena_init(&b.arena, call->core->mem);
  open_batch(call, &b);
  tinker__arena_free(&b.arena);
}

static tinker_future_t *batch_call(tinker_trainer_t *trainer,
                                   const tinker__kind_t *kind,
                                   tinker_datum_t *const *data, size_t n,
                                   const tinker_loss_t *loss,
                                   const tinker_call_options_t *options) {
  if (!trainer) return tinker__call_no_handle();
  tinker__call_t c;
  tinker__call_begin(&c, trainer->core, trainer->turn, kind, options);
  tinker__call_batch(&c, kind, data, n, loss);
  return tinker__call_end(&c);
}

tinker_future_t *tinker_trainer_forward(tinker_trainer_t *trainer,
                                        tinker_datum_t *const *data, size_t n,
                                        const tinker_loss_t *loss,
                                        const tinker_call_options_t *call) {
  return batch_call(trainer, &tinker__kind_forward, data, n, loss, call);
}

tinker_future_t *tinker_trainer_forward_backward(
    tinker_trainer_t *trainer, tinker_datum_t *const *data, size_t n,
    const tinker_loss_t *loss, const tinker_call_options_t *call) {
  return batch_call(trainer, &tinker__kind_forward_backward, data, n, loss,
                    call);
}
