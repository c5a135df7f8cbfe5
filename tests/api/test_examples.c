/* What the examples make of a service that sends less than the local one. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../examples/example.h"
#include "rig.h"

#define TENSOR(name, values)                                                   \
  "\"" name "\":{\"data\":[" values "],\"dtype\":\"float32\",\"shape\":[2]}"
#define RESULT(one, two)                                                       \
  "{\"loss_fn_output_type\":\"X\",\"loss_fn_outputs\":[{" one "},{" two        \
  "}],\"metrics\":{}}"

static double loss_in(const char *body) {
  rig_t rig;
  tinker_future_t *f = NULL;
  rig_init(&rig, NULL);
  cr_assert_eq(rig_client(&rig), 0);
  tinker_trainer_t *t = rig_trainer(&rig);
  tinker_datum_t **batch = rig_batch(2, 2);
  script_expect(rig.script, TINKER__HTTP_POST, RETRIEVE,
                (script_reply_t){.body = body});
  cr_assert_eq(
      calls_begun(tinker_trainer_forward_backward(t, batch, 2, NULL, NULL), &f),
      0);
  cr_assert_eq(tinker_future_wait(f, 1000), 0);
  double loss = loss_of(f);
  tinker_future_release(f);
  rig_batch_free(batch, 2);
  tinker_trainer_release(t);
  rig_done(&rig);
  return loss;
}

Test(examples, a_loss_without_the_metric) {
  cr_assert_eq(loss_in(RESULT(TENSOR("elementwise_loss",
                                     "1,0.5") "," TENSOR("logprobs", "-7,-7"),
                              TENSOR("elementwise_loss", "2,0.25"))),
               3.75);
  cr_assert_eq(loss_in(RESULT(TENSOR("logprobs", "-1,-0.5"),
                              TENSOR("logprobs", "-2,-4"))),
               7.5);
}

/* An exit in the middle of a call leaves memory behind, which is no leak. */
static void leave(void) {
  _exit(1);
}

Test(examples, no_loss_at_all_ends_the_program) {
  int ends[2], status;
  char said[512] = "";
  cr_assert_eq(pipe(ends), 0);
  pid_t child = fork();
  cr_assert_geq(child, 0);
  if (child == 0) {
    dup2(ends[1], STDERR_FILENO);
    atexit(leave);
    loss_in(RESULT(TENSOR("logprobs", "-1,-0.5"), TENSOR("other", "-2,-4")));
    _exit(0);
  }
  close(ends[1]);
  cr_assert_eq(waitpid(child, &status, 0), child);
  cr_assert_gt(read(ends[0], said, sizeof said - 1), 0);
  close(ends[0]);
  cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 1);
  cr_assert(strstr(said, "TINKER_ENOENT"), "%s", said);
}

Test(examples, the_model_is_the_environments) {
  unsetenv("TINKER_MODEL");
  cr_assert_str_eq(example_model(), "tiny-kjv");
  setenv("TINKER_MODEL", "Qwen/Qwen3-0.6B", 1);
  cr_assert_str_eq(example_model(), "Qwen/Qwen3-0.6B");
}
