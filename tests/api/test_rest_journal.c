/* Changes of checkpoints under a journal and a fence. */
#include "rest.h"

static char heard[512];
static bool fallen; /* the fence, from the second question on */

static void hear(const char *text) {
  size_t n = strlen(heard);
  snprintf(heard + n, sizeof heard - n, "%s", text);
}

static void on_intent(void *user, const tinker_intent_t *intent) {
  char text[300];
  (void)user;
  snprintf(text, sizeof text, "%s %s %s %.*s?", intent->name, intent->method,
           intent->path, (int)intent->requests[0].len,
           (const char *)intent->requests[0].segments[0].data);
  must(intent->request_count == 1 && !intent->model_id);
  must(intent->requests[0].seq_id == TINKER_NO_SEQ_ID);
  hear(text);
  tinker_admission_answer(rig.client, intent->ticket, TINKER_VERDICT_GO, NULL);
}

static void on_ended(void *user, uint64_t ticket, size_t request,
                     const tinker_outcome_t *o) {
  static const char *const marks[] = {"=", "!", "~", "_"};
  (void)user, (void)ticket, (void)request;
  hear(marks[o->kind]);
}

static int on_fence(void *user, const char *model_id, char *why,
                    size_t why_len) {
  (void)user;
  must(!model_id);
  hear("|");
  if (!fallen || !strchr(heard, '|') || !strchr(strchr(heard, '|') + 1, '|')) {
    return 0;
  }
  snprintf(why, why_len, "the lease is lost");
  return 1;
}

static void begin_journal(void) {
  static tinker_seams_t seams = TINKER_SEAMS_INIT;
  seams.intent = on_intent;
  seams.ended = on_ended;
  seams.fence = on_fence;
  rig_init(&rig, NULL);
  rig.seams = &seams;
  heard[0] = 0;
  fallen = false;
  cr_assert_eq(rig_client(&rig), 0);
}

/* Questions are not asked about. Changes are, and the fence before each copy.
 */
Test(rest, the_journal) {
  begin_journal();
  expect_get("api/v1/sessions?*", "{\"sessions\":[]}");
  tinker_future_release(
      well(tinker_client_list_sessions(rig.client, NULL, NULL),
           TINKER_KIND_LIST_SESSIONS));
  cr_assert_str_eq(heard, "");
  expect(TINKER__HTTP_PUT, CHECKPOINT "/ttl", losses[0].reply);
  expect(TINKER__HTTP_PUT, CHECKPOINT "/ttl", (script_reply_t){.status = 204});
  tinker_future_release(
      well(tinker_client_set_checkpoint_ttl(rig.client, PATH, 7200, NULL),
           TINKER_KIND_SET_CHECKPOINT_TTL));
  cr_assert_str_eq(heard, "set_checkpoint_ttl PUT " CHECKPOINT
                          "/ttl {\"ttl_seconds\":7200}?||=");
  heard[0] = 0;
  expect(TINKER__HTTP_DELETE, CHECKPOINT, losses[0].reply);
  expect(TINKER__HTTP_DELETE, CHECKPOINT,
         (script_reply_t){.status = 404, .body = DETAIL("gone")});
  tinker_future_release(
      well(tinker_client_delete_checkpoint(rig.client, PATH, NULL),
           TINKER_KIND_DELETE_CHECKPOINT));
  cr_assert_str_eq(heard, "delete_checkpoint DELETE " CHECKPOINT " ?||=");
  end();
}

/* A program that has lost its lease sends no further copy of what it sent when
 * it had it. */
Test(rest, a_fence_that_falls) {
  for (size_t i = 0; i < LOSSES; i++) {
    begin_journal();
    fallen = true;
    expect(TINKER__HTTP_DELETE, CHECKPOINT, losses[i].reply);
    tinker_future_t *f = badly(
        tinker_client_delete_checkpoint(rig.client, PATH, NULL), TINKER_ESTATE);
    cr_assert(says(f, "the lease is lost"));
    cr_assert_eq((bool)tinker_error_outcome_is_unknown(tinker_future_error(f)),
                 losses[i].done, "%zu", i);
    cr_assert_str_eq(heard, "delete_checkpoint DELETE " CHECKPOINT " ?||!");
    cr_assert_eq(rig_count(&rig, CHECKPOINT), 1u);
    tinker_future_release(f);
    end();
  }
}

/* The journal hears the end of what was canceled, and no copy is sent. */
Test(rest, canceled_with_a_journal) {
  for (int late = 0; late < 2; late++) {
    begin_journal();
    script_reply_t reply = losses[0].reply;
    if (late) reply.delay_ms = 1000;
    expect(TINKER__HTTP_DELETE, CHECKPOINT, reply);
    tinker_future_t *f =
        tinker_client_delete_checkpoint(rig.client, PATH, NULL);
    rig_run(&rig);
    tinker_future_cancel(f);
    badly(f, TINKER_ECANCELED);
    fake_loop_advance(&rig.loop, 400000);
    cr_assert_str_eq(heard, "delete_checkpoint DELETE " CHECKPOINT " ?|!");
    cr_assert_eq(rig_count(&rig, CHECKPOINT), 1u);
    tinker_future_release(f);
    end();
  }
}
