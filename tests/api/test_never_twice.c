/* What carries no number is not known again by a service: when the reply to it
 * is lost it may have been done, so it is never sent a second time, and the
 * caller is told that nobody knows. */
#include "faults.h"

enum { CALLS = 400, KINDS = 4 };

static const char *const paths[KINDS] = {CREATE, "api/v1/load_weights",
                                         "api/v1/create_sampling_session",
                                         "api/v1/create_sampling_session"};

static size_t sent[CALLS + 1], lost, count;

/* The service does it; of some the reply is lost on the way. */
static void lose_some(void *user, const script_request_t *q,
                      script_reply_t *reply) {
  static const script_reply_t ways[] = {
      {.error = TINKER_ETRANSPORT, .sent = true},
      {.error = TINKER_ETIMEDOUT, .sent = true},
      {.status = 502, .body = "<html>bad gateway</html>"},
      {.status = 500, .body = DETAIL("after it was done")}};
  (void)user;
  bool creates = false;
  for (int i = 0; i < KINDS; i++) creates |= !strcmp(q->path, paths[i]);
  if (!creates) return;
  sent[count]++;
  if (count % 10 != 3) return;
  *reply = ways[lost++ % 4];
}

static tinker_future_t *create(rig_t *rig, size_t i) {
  tinker_trainer_options_t o = TINKER_TRAINER_OPTIONS_INIT;
  o.base_model = "tiny";
  switch (i % KINDS) {
  case 0: return tinker_client_create_trainer(rig->client, &o, NULL);
  case 1:
    return tinker_client_create_trainer_from_state(
        rig->client, "tinker://r/weights/a", 1, NULL);
  case 2: return tinker_client_create_sampler(rig->client, "tiny", NULL);
  default:
    return tinker_client_create_sampler_from_path(
        rig->client, "tinker://r/sampler_weights/a", NULL);
  }
}

Test(never_twice, what_has_no_number) {
  rig_t rig;
  tinker_trainer_t *t;
  start(&rig, &t);
  script_meddle(rig.script, lose_some, NULL);
  for (count = 0; count < CALLS; count++) {
    size_t before = lost;
    tinker_future_t *f = create(&rig, count + count / 10);
    int rc = tinker_future_wait(f, 4000000);
    cr_assert_eq(rc != 0, lost != before, "%zu: %d", count, rc);
    cr_assert_eq(tinker_error_outcome_is_unknown(tinker_future_error(f)),
                 rc != 0);
    cr_assert_not(tinker_error_is_retriable(tinker_future_error(f)));
    fake_loop_advance(&rig.loop, 20000); /* nothing comes later either */
    cr_assert_eq(sent[count], 1u, "%zu: sent %zu times", count, sent[count]);
    tinker_future_release(f);
  }
  cr_assert_eq(lost, (size_t)CALLS / 10);
  end(&rig, t);
}
