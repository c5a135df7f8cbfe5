/* Names of kinds, see <tinker/future.h>. */
#include <stdbool.h>
#include <tinker/future.h>

const char *tinker_kind_name(tinker_kind_t kind) {
  static const char *const names[] = {
      [TINKER_KIND_NONE] = "none",
      [TINKER_KIND_GET_CAPABILITIES] = "get_capabilities",
      [TINKER_KIND_CREATE_TRAINER] = "create_trainer",
      [TINKER_KIND_CREATE_TRAINER_FROM_STATE] = "create_trainer_from_state",
      [TINKER_KIND_CREATE_SAMPLER] = "create_sampler",
      [TINKER_KIND_DUMP] = "dump",
      [TINKER_KIND_DRAIN] = "drain",
      [TINKER_KIND_CLOSE] = "close",
      [TINKER_KIND_FORWARD] = "forward",
      [TINKER_KIND_FORWARD_BACKWARD] = "forward_backward",
      [TINKER_KIND_OPTIM_STEP] = "optim_step",
      [TINKER_KIND_SAVE_STATE] = "save_state",
      [TINKER_KIND_LOAD_STATE] = "load_state",
      [TINKER_KIND_SAVE_WEIGHTS_FOR_SAMPLER] = "save_weights_for_sampler",
      [TINKER_KIND_GET_INFO] = "get_info",
      [TINKER_KIND_SAMPLE] = "sample",
      [TINKER_KIND_STEP] = "step",
      [TINKER_KIND_ROUTE_SAMPLE] = "route_sample",
      [TINKER_KIND_ADOPT_SAMPLER] = "adopt_sampler",
      [TINKER_KIND_ADOPT_TRAINER] = "adopt_trainer",
      [TINKER_KIND_FINISH_SESSION] = "finish_session",
      [TINKER_KIND_GET_RUN] = "get_run",
      [TINKER_KIND_LIST_RUNS] = "list_runs",
      [TINKER_KIND_LIST_RUN_CHECKPOINTS] = "list_run_checkpoints",
      [TINKER_KIND_LIST_CHECKPOINTS] = "list_checkpoints",
      [TINKER_KIND_WEIGHTS_INFO] = "weights_info",
      [TINKER_KIND_SET_CHECKPOINT_TTL] = "set_checkpoint_ttl",
      [TINKER_KIND_DELETE_CHECKPOINT] = "delete_checkpoint",
      [TINKER_KIND_LIST_SESSIONS] = "list_sessions",
      [TINKER_KIND_GET_SESSION] = "get_session",
      [TINKER_KIND_PROMISE] = "promise",
  };
  size_t i = (size_t)kind;
  bool known = kind >= 0 && i < sizeof names / sizeof names[0] && names[i];
  return known ? names[i] : "unknown";
}
