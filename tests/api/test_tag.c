/* The number that a program gives to a call: its journal and its gate see it
 * with all that the call changes. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "rig.h"

#define LOAD "api/v1/load_weights"
#define STATE "tinker://s1:train:0/weights/a"

typedef struct book_s {
  rig_t rig;
  tinker_seams_t seams;
  char heard[1024]; /* "name:tag" of each intent and question */
} book_t;

static void hear(book_t *b, const char *name, uint64_t tag) {
  size_t n = strlen(b->heard);
  snprintf(b->heard + n, sizeof b->heard - n, " %s:%llu", name,
           (unsigned long long)tag);
}

static void on_intent(void *user, const tinker_intent_t *intent) {
  book_t *b = user;
  hear(b, intent->name, intent->tag);
  must(tinker_admission_answer(b->rig.client, intent->ticket, TINKER_VERDICT_GO,
                               NULL) == 0);
}

static void on_gate(void *user, const tinker_gate_question_t *question) {
  book_t *b = user;
  hear(b, "gate", question->tag);
  must(tinker_gate_answer(b->rig.client, question->ticket, TINKER_GATE_GO,
                          NULL) == 0);
}

static void begin(book_t *b) {
  *b = (book_t){.seams = TINKER_SEAMS_INIT};
  rig_init(&b->rig, NULL);
  b->seams.user = b;
  b->seams.intent = on_intent;
  b->seams.gate = on_gate;
  b->rig.seams = &b->seams;
  cr_assert_eq(rig_client(&b->rig), 0);
}

static void heard(book_t *b, const char *words) {
  cr_assert_str_eq(b->heard[0] ? b->heard + 1 : "", words);
  b->heard[0] = 0;
}

static void ends_well(tinker_future_t *f) {
  cr_assert_eq(tinker_future_wait(f, 100000), 0, "%s",
               tinker_error_message(tinker_future_error(f)));
  tinker_future_release(f);
}

static tinker_call_options_t tagged(uint64_t tag) {
  tinker_call_options_t o = TINKER_CALL_OPTIONS_INIT;
  cr_assert_eq(o.tag, 0u);
  o.tag = tag;
  return o;
}

static tinker_trainer_t *make_trainer(book_t *b, uint64_t tag) {
  tinker_trainer_options_t o = TINKER_TRAINER_OPTIONS_INIT;
  tinker_call_options_t call = tagged(tag);
  tinker_trainer_t *t = NULL;
  o.base_model = "tiny";
  tinker_future_t *f = tinker_client_create_trainer(b->rig.client, &o, &call);
  cr_assert_eq(tinker_future_wait(f, 100000), 0);
  cr_assert_eq(tinker_future_get_trainer(f, &t), 0);
  tinker_future_release(f);
  return t;
}

/* What the client does of itself has none. */
Test(tag, of_each_call) {
  book_t b;
  begin(&b);
  tinker_trainer_t *t = make_trainer(&b, UINT64_MAX);
  heard(&b, "create_session:0 create_trainer:18446744073709551615");
  tinker_call_options_t call = tagged(8);
  ends_well(tinker_trainer_save_state(t, "a", NULL, &call));
  ends_well(tinker_trainer_save_state(t, "b", NULL, NULL));
  call.tag = 9;
  ends_well(tinker_trainer_optim_step(t, NULL, &call));
  heard(&b, "save_state:8 save_state:0 gate:9 optim_step:9");
  ends_well(tinker_client_close(b.rig.client, &call));
  heard(&b, "finish_session:0");
  tinker_trainer_release(t);
  rig_done(&b.rig);
}

Test(tag, of_an_end_that_is_called) {
  book_t b;
  begin(&b);
  tinker_call_options_t call = tagged(5);
  ends_well(tinker_client_finish_session(b.rig.client, &call));
  heard(&b, "create_session:0 finish_session:5");
  rig_done(&b.rig);
}

Test(tag, of_both_halves_of_a_step) {
  book_t b;
  begin(&b);
  tinker_trainer_t *t = make_trainer(&b, 0);
  tinker_datum_t **batch = rig_batch(2, 3);
  tinker_call_options_t call = tagged(11);
  b.heard[0] = 0;
  ends_well(tinker_trainer_step(t, (tinker_datum_t *const *)batch, 2, NULL,
                                NULL, &call));
  heard(&b, "forward_backward:11 gate:11 optim_step:11");
  rig_batch_free(batch, 2);
  tinker_trainer_release(t);
  rig_done(&b.rig);
}

/* A service that makes no model by load_weights gets three requests, two of
 * which change something. */
Test(tag, of_a_trainer_made_in_steps) {
  book_t b;
  begin(&b);
  tinker_call_options_t call = tagged(12);
  script_expect(b.rig.script, TINKER__HTTP_POST, LOAD,
                (script_reply_t){
                    .status = 422,
                    .body =
                        "{\"detail\":[{\"type\":\"missing\",\"loc\":[\"body\","
                        "\"model_id\"],\"msg\":\"Field required\"}]}"});
  script_expect(
      b.rig.script, TINKER__HTTP_POST, "api/v1/weights_info",
      (script_reply_t){.body = "{\"base_model\":\"tiny\",\"is_lora\":true,"
                               "\"lora_rank\":4}"});
  ends_well(
      tinker_client_create_trainer_from_state(b.rig.client, STATE, 1, &call));
  heard(&b, "create_session:0 create_trainer_from_state:12 create_trainer:12 "
            "load_state:12");
  rig_done(&b.rig);
}

Test(tag, of_an_adopted_operation) {
  static const char body[] = "{\"model_id\":\"s1:train:0\",\"seq_id\":1}";
  book_t b;
  tinker_trainer_t *t = NULL;
  begin(&b);
  tinker_call_options_t call = tagged(13);
  tinker_future_t *f =
      tinker_client_adopt_trainer(b.rig.client, "s1:train:0", 2, NULL);
  cr_assert_eq(tinker_future_wait(f, 100000), 0);
  cr_assert_eq(tinker_future_get_trainer(f, &t), 0);
  tinker_future_release(f);
  b.heard[0] = 0;
  tinker_operation_request_t again = {
      .body = body, .body_len = sizeof body - 1, .seq_id = 1};
  ends_well(tinker_trainer_adopt_operation(t, TINKER_KIND_OPTIM_STEP, &again, 1,
                                           &call));
  cr_assert(strstr(b.heard, " optim_step:13"), "%s", b.heard);
  tinker_trainer_release(t);
  rig_done(&b.rig);
}

/* A program of an older version has none. */
Test(tag, a_shorter_struct_has_none) {
  book_t b;
  begin(&b);
  tinker_trainer_t *t = make_trainer(&b, 0);
  tinker_call_options_t call = tagged(14);
  call.size = offsetof(tinker_call_options_t, tag);
  b.heard[0] = 0;
  ends_well(tinker_trainer_save_state(t, "a", NULL, &call));
  heard(&b, "save_state:0");
  tinker_trainer_release(t);
  rig_done(&b.rig);
}
