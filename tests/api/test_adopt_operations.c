/* Going on with the operations of another process. */
#include "heir.h"

/* --- operations --- */

/* Two chunks, by their ids: the result is the one of both, nothing is sent but
 * questions, and no number is taken. */
Test(adopt, operation_by_ids) {
  heir_t h;
  static const tinker_operation_request_t requests[2] = {
      {"forward_backward-5-2", NULL, 0, 5, 2},
      {"forward_backward-6-1", NULL, 0, 6, 1}};
  const tinker_forward_result_t *result;
  tinker_tensor_view_t v;
  double loss;
  begin(&h, 1);
  cr_assert_eq(rig_client(&h.rig), 0);
  adopt_trainer(&h, 7);
  tinker_future_t *f = tinker_trainer_adopt_operation(
      h.trainer, TINKER_KIND_FORWARD_BACKWARD, requests, 2, NULL);
  cr_assert_eq(tinker_future_wait(f, 1000), 0);
  cr_assert_eq(tinker_future_get_forward(f, &result), 0);
  cr_assert_eq(tinker_forward_result_count(result), 3u);
  cr_assert_eq(tinker_forward_result_tensor(result, 2, "logprobs", &v), 0);
  cr_assert_eq(v.f32[0], -600.0f);
  cr_assert_eq(tinker_future_loss(f, &loss), 0);
  cr_assert_eq(loss, 11.0);
  tinker_future_release(f);
  cr_assert_eq(rig_count(&h.rig, FB), 0u);
  cr_assert_eq(code_of(tinker_trainer_optim_step(h.trainer, NULL, NULL)), 0);
  cr_assert_eq(rig_seq(rig_request(&h.rig, OPTIM, 0)), 7);
  end(&h);
}

static void expect_poll(heir_t *h, const char *body, int64_t delay_ms) {
  script_expect(h->rig.script, TINKER__HTTP_POST, RETRIEVE,
                (script_reply_t){.body = body, .delay_ms = delay_ms});
}

/* The service waits for a number that the client before has not sent: nobody
 * does, unless its operation was adopted. */
Test(adopt, number_that_was_never_sent) {
  static const tinker_operation_request_t fifth = {
      .request_id = "optim_step-5-0", .seq_id = 5};
  for (int adopted = 0; adopted < 2; adopted++) {
    heir_t h;
    begin(&h, 1);
    cr_assert_eq(rig_client(&h.rig), 0);
    adopt_trainer(&h, 7);
    if (adopted) {
      expect_poll(&h, WAITS_FOR("0"), 60000);
      tinker_future_release(tinker_trainer_adopt_operation(
          h.trainer, TINKER_KIND_OPTIM_STEP, &fifth, 1, NULL));
    }
    for (int i = 0; i < 4; i++) expect_poll(&h, WAITS_FOR("5"), 0);
    tinker_future_t *f = tinker_trainer_optim_step(h.trainer, NULL, NULL);
    int rc = tinker_future_wait(f, 1000000);
    cr_assert_eq(rc, adopted ? 0 : TINKER_EFATAL, "%s",
                 tinker_error_message(tinker_future_error(f)));
    tinker_future_release(f);
    end(&h);
  }
}

/* Each kind ends as its own call does. */
Test(adopt, operations_of_each_kind) {
  static const struct {
    tinker_kind_t kind;
    const char *id;
  } all[] = {
      {TINKER_KIND_FORWARD, "forward_backward-1-1"},
      {TINKER_KIND_OPTIM_STEP, "optim_step-2-0"},
      {TINKER_KIND_SAVE_STATE, "save_weights-3-0"},
      {TINKER_KIND_LOAD_STATE, "load_weights-4-0"},
      {TINKER_KIND_SAVE_WEIGHTS_FOR_SAMPLER, "save_weights_for_sampler-5-0"},
      {TINKER_KIND_CREATE_SAMPLER, "save_weights_for_sampler-6-0"},
  };
  heir_t h;
  begin(&h, 1);
  cr_assert_eq(rig_client(&h.rig), 0);
  adopt_trainer(&h, 10);
  for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
    tinker_operation_request_t q = {all[i].id, NULL, 0, (int64_t)i + 1, 0};
    tinker_future_t *f =
        tinker_trainer_adopt_operation(h.trainer, all[i].kind, &q, 1, NULL);
    cr_assert_eq(tinker_future_wait(f, 1000), 0, "%zu", i);
    cr_assert_eq(tinker_future_kind(f), all[i].kind);
    if (all[i].kind == TINKER_KIND_CREATE_SAMPLER) {
      tinker_sampler_t *s;
      cr_assert_eq(tinker_future_get_sampler(f, &s), 0);
      tinker_sampler_release(s);
    }
    tinker_future_release(f);
  }
  end(&h);
}

/* The same bytes under the same number; what is new comes afterwards. */
Test(adopt, operation_sent_again) {
  static const char body[] =
      "{\"model_id\":\"s7:train:0\",\"seq_id\":6,\"x\":1}";
  heir_t h;
  begin(&h, 1);
  cr_assert_eq(rig_client(&h.rig), 0);
  adopt_trainer(&h, 7);
  tinker_operation_request_t q = {NULL, body, sizeof body - 1, 6, 0};
  tinker_future_t *f = tinker_trainer_adopt_operation(
      h.trainer, TINKER_KIND_OPTIM_STEP, &q, 1, NULL);
  tinker_future_t *g = tinker_trainer_optim_step(h.trainer, NULL, NULL);
  cr_assert_eq(code_of(f), 0);
  cr_assert_eq(code_of(g), 0);
  const script_request_t *sent = rig_request(&h.rig, OPTIM, 0);
  cr_assert(sent->body_len == q.body_len &&
            !memcmp(sent->body, body, q.body_len));
  cr_assert(sent->numbered);
  cr_assert_eq(rig_seq(rig_request(&h.rig, OPTIM, 1)), 7);
  end(&h);
}

static void fails(heir_t *h, tinker_kind_t kind, tinker_operation_request_t q,
                  size_t n, const char *words) {
  tinker_operation_request_t both[2] = {q, {"a", NULL, 0, 1, 0}};
  tinker_future_t *f =
      tinker_trainer_adopt_operation(h->trainer, kind, both, n, NULL);
  cr_assert_eq(tinker_future_wait(f, 1000), TINKER_EINVAL);
  const char *text = tinker_error_message(tinker_future_error(f));
  cr_assert(strstr(text, words), "%s", text);
  tinker_future_release(f);
}

Test(adopt, operation_codes) {
  const tinker_kind_t fb = TINKER_KIND_FORWARD_BACKWARD;
  heir_t h;
  begin(&h, 1);
  cr_assert_eq(rig_client(&h.rig), 0);
  adopt_trainer(&h, 7);
  tinker_operation_request_t good = {"a", NULL, 0, 6, 0}, q = good;
  fails(&h, TINKER_KIND_SAMPLE, good, 1, "kind is 15, which can't be adopted");
  fails(&h, TINKER_KIND_OPTIM_STEP, good, 2, "n is 2: want 1 for optim_step");
  fails(&h, fb, good, 0, "requests: there are none");
  q.seq_id = 0;
  fails(&h, fb, q, 1, "requests[0].seq_id is 0: want 1 to 2147483647");
  q.seq_id = 7;
  fails(&h, fb, q, 1, "its number is not below its trainer's next one");
  q = good;
  q.request_id = NULL;
  fails(&h, fb, q, 1, "requests[0] has neither: want request_id or body");
  q.body = "x";
  q.body_len = 1;
  fails(&h, fb, q, 2, "requests[1] has a request_id, requests[0] has not");
  q.request_id = "a";
  fails(&h, fb, q, 1, "requests[0] has both");
  end(&h);
}

/* --- without memory --- */

static void play(heir_t *h) {
  tinker_operation_request_t q = {"forward_backward-6-1", NULL, 0, 6, 1};
  tinker_operation_request_t r = {NULL, "x", 1, 6, 0};
  code_of(tinker_trainer_adopt_operation(
      h->trainer, TINKER_KIND_FORWARD_BACKWARD, &q, 1, NULL));
  code_of(tinker_trainer_adopt_operation(h->trainer, TINKER_KIND_OPTIM_STEP, &r,
                                         1, NULL));
  code_of(tinker_client_adopt_trainer(h->rig.client, "s7:train:1", 1, NULL));
  code_of(tinker_client_adopt_sampler(h->rig.client, "x", 7, NULL));
  for (int i = 0; i < 2; i++) {
    tinker_operation_request_t made = {i ? NULL : "create_model-0-0",
                                       i ? "{}" : NULL, i ? 2 : 0, 0, 0};
    code_of(tinker_client_adopt_creation(
        h->rig.client, TINKER_KIND_CREATE_TRAINER, &made, NULL));
  }
  code_of(tinker_client_finish_session(h->rig.client, NULL));
}

Test(adopt, fail_each_allocation) {
  for (uint64_t n = 1;; n++) {
    heir_t h;
    begin(&h, 1);
    cr_assert_eq(rig_client(&h.rig), 0);
    adopt_trainer(&h, 7);
    uint64_t before = atomic_load(&h.rig.mem.count);
    atomic_store(&h.rig.mem.fail_at, before + n);
    play(&h);
    bool all = atomic_load(&h.rig.mem.count) < before + n;
    atomic_store(&h.rig.mem.fail_at, 0);
    end(&h);
    if (all) break;
  }
}
