/* The simulated service when all is well: it trains, repeats itself bit for
 * bit, and keeps numbers, sessions and checkpoints as the protocol says. */
#include "unit/sim/server_rig.h"

#include <math.h>

#include "api/data.h"
#include "base/digest.h"
#include "wire/fb_request.h"

#include <tinker/data.h>

Test(server, losses_fall) {
  rig_t r = rig_new(1);
  rig_model(&r, 0);
  double first = rig_step(&r, 0, 1, 3), last = first;
  for (int i = 1; i < 20; i++) {
    double loss = rig_step(&r, 0, 1 + 2 * i, 3);
    cr_assert_lt(loss, last);
    last = loss;
  }
  cr_assert_lt(last, first / 2);
  cr_assert_eq(sim_server_model(r.server, 0)->steps, 20);
  rig_free(&r);
}

/* The same calls give the same bytes and the same ledger; another seed other
 * ids. */
Test(server, same_seed_same_history) {
  char line[2][300], session[40];
  rig_t a = rig_new(7), b = rig_new(7), c = rig_new(8);
  rig_t *both[] = {&a, &b};
  for (int i = 0; i < 2; i++) {
    rig_model(both[i], 0);
    rig_step(both[i], 0, 1, 1);
    rig_step(both[i], 0, 3, 2);
    rig_get(both[i], "training_runs");
  }
  cr_assert_str_eq(a.text, b.text);
  cr_assert_eq(a.now, b.now);
  cr_assert_eq(sim_server_entries(a.server), sim_server_entries(b.server));
  for (size_t i = 0; i < sim_server_entries(a.server); i++) {
    sim_server_line(a.server, i, line[0], sizeof line[0]);
    sim_server_line(b.server, i, line[1], sizeof line[1]);
    cr_assert_str_eq(line[0], line[1]);
  }
  snprintf(session, sizeof session, "%s", a.session);
  cr_assert_str_neq(session, c.session);
  rig_free(&a), rig_free(&b), rig_free(&c);
}

/* Save, load with the optimizer: what follows has the same bits. Without it,
 * other bits. */
Test(server, load_goes_on_bit_for_bit) {
  rig_t r = rig_new(1);
  rig_model(&r, 0);
  for (int i = 0; i < 3; i++) rig_step(&r, 0, 1 + 2 * i, i);
  rig_save(&r, 0, 7, "a");
  cr_assert(rig_done(&r));
  const sim_checkpoint_t *c = sim_server_checkpoint(r.server, 0);
  cr_assert_eq(c->steps, 3);
  cr_assert(same(c->weights, sim_server_model(r.server, 0)->weights));
  rig_load(&r, 1, "a", true);
  cr_assert(rig_done(&r));
  rig_load(&r, 2, "a", false);
  cr_assert(rig_done(&r));
  double loss[3][2];
  for (int m = 0; m < 3; m++) {
    for (int i = 0; i < 2; i++) {
      loss[m][i] = rig_step(&r, m, (m ? 1 : 8) + 2 * i, 5 + i);
    }
  }
  const sim_model_t *m[3];
  for (size_t i = 0; i < 3; i++) m[i] = sim_server_model(r.server, i);
  cr_assert_eq(loss[0][0], loss[1][0]);
  cr_assert_eq(loss[0][1], loss[1][1]);
  cr_assert(same(m[0]->weights, m[1]->weights));
  cr_assert(same(m[0]->optimizer, m[1]->optimizer));
  cr_assert_eq(loss[0][0], loss[2][0]);
  cr_assert_neq(loss[0][1], loss[2][1]);
  cr_assert_not(same(m[0]->weights, m[2]->weights));
  cr_assert_not(same(m[0]->optimizer, m[2]->optimizer));
  cr_assert_eq(m[1]->steps, 5);
  cr_assert_eq(m[1]->loaded, 0);
  rig_free(&r);
}

/* A copy of a number is the same call; with another content it is refused. */
Test(server, a_number_is_used_once) {
  char id[2][300];
  rig_t r = rig_new(1);
  rig_model(&r, 0);
  rig_pass_of(&r, "forward_backward", 0, 1, 1);
  size_t first = (size_t)r.reply.entry;
  rig_field(&r, "request_id", id[0]);
  rig_done(&r);
  rig_pass_of(&r, "forward_backward", 0, 1, 1);
  cr_assert_str_eq(rig_field(&r, "request_id", id[1]), id[0]);
  const sim_entry_t *e = rig_last(&r);
  cr_assert_eq(e->fate, SIM_REPEATED);
  cr_assert_eq(e->first, (int32_t)first);
  cr_assert(e->same_bytes);
  cr_assert_eq(rig_pass_of(&r, "forward_backward", 0, 1, 2), 409);
  cr_assert_eq(rig_optim(&r, 0, 1), 409);
  e = rig_last(&r);
  cr_assert_eq(e->fate, SIM_REFUSED);
  cr_assert_not(e->same_bytes);
  cr_assert_eq(sim_server_entry(r.server, first)->times, 1);
  cr_assert_eq(sim_server_model(r.server, 0)->next_seq, 2);
  rig_free(&r);
}

/* Calls that came in another order are executed by their numbers, and wait for
 * what is missing. */
Test(server, order_is_by_number) {
  char id[300];
  rig_t a = rig_new(1), b = rig_new(1);
  rig_model(&a, 0);
  rig_model(&b, 0);
  rig_step(&a, 0, 1, 1);
  rig_optim(&b, 0, 2);
  rig_field(&b, "request_id", id);
  rig_result(&b, id);
  cr_assert(strstr(b.text, "waiting for seq_id 1"), "%s", b.text);
  cr_assert(strstr(b.text, "paused_capacity"));
  rig_pass_of(&b, "forward_backward", 0, 1, 1);
  cr_assert_eq(rig_result(&b, id), 200);
  cr_assert(strstr(b.text, "metrics"), "%s", b.text);
  cr_assert(same(sim_server_model(a.server, 0)->weights,
                 sim_server_model(b.server, 0)->weights));
  rig_free(&a), rig_free(&b);
}

/* A refused call uses its number up. */
Test(server, refused_numbers_are_used) {
  rig_t r = rig_new(1);
  rig_model(&r, 0);
  cr_assert_eq(rig_save(&r, 0, 1, "a/b"), 400);
  cr_assert_eq(rig_save(&r, 0, 1, "ab"), 409);
  cr_assert_eq(rig_save(&r, 0, 2, "ab"), 200);
  cr_assert(rig_done(&r));
  cr_assert_eq(rig_save(&r, 0, 3, "ab"), 200);
  cr_assert_not(rig_done(&r));
  cr_assert(strstr(r.text, "ResourceAlreadyExists"));
  cr_assert_eq(rig_save(&r, 0, 0, "c"), 400);
  cr_assert_eq(rig_save(&r, 3, 1, "c"), 404);
  rig_free(&r);
}

/* A load is a model's first call or refused. */
Test(server, load_is_first) {
  rig_t r = rig_new(1);
  for (int i = 0; i < 3; i++) rig_model(&r, i);
  rig_save(&r, 0, 1, "a");
  rig_done(&r);
  for (int m = 1; m < 3; m++) {
    int status =
        rig_post(&r, "load_weights",
                 "{\"model_id\":\"%s:train:%d\",\"seq_id\":%d,\"optimizer\":"
                 "true,\"path\":\"tinker://%s:train:0/weights/a\"}",
                 r.session, m, m, r.session);
    cr_assert_eq(status, m == 1 ? 200 : 400, "%s", r.text);
  }
  rig_free(&r);
}

Test(server, sessions) {
  char id[300];
  rig_t r = rig_new(1);
  snprintf(id, sizeof id, "%s", r.session);
  rig_session(&r, "first");
  cr_assert_str_eq(r.session, id);
  cr_assert_eq(rig_send(&r, "POST", "create_session",
                        "{\"tags\":[\"x\"],\"user_metadata\":{},"
                        "\"sdk_version\":\"1\"}",
                        "first"),
               409);
  rig_model(&r, 0);
  /* Signs of life keep it; without them it ends. */
  for (int i = 0; i < 3; i++) {
    r.now += 599000;
    cr_assert_eq(
        rig_post(&r, "session_heartbeat", "{\"session_id\":\"%s\"}", r.session),
        200);
  }
  r.now += 600001;
  cr_assert_eq(
      rig_post(&r, "session_heartbeat", "{\"session_id\":\"%s\"}", r.session),
      410);
  cr_assert_eq(rig_optim(&r, 0, 1), 410);
  cr_assert_eq(sim_server_session(r.server, 0)->ended_ms,
               sim_server_session(r.server, 0)->seen_ms + 600000);
  cr_assert_eq(rig_post(&r, "session_heartbeat", "{\"session_id\":\"no\"}"),
               404);
  rig_session(&r, "second");
  snprintf(id, sizeof id, "sessions/%.40s/finish", r.session);
  cr_assert_eq(rig_post(&r, id, "{\"reason\":{\"type\":\"success\"}}"), 200);
  cr_assert_eq(
      rig_post(&r, "session_heartbeat", "{\"session_id\":\"%s\"}", r.session),
      410);
  rig_free(&r);
}

/* Results are kept for an hour after the session's end. */
Test(server, results_are_dropped) {
  char id[300];
  rig_t r = rig_new(1);
  rig_model(&r, 0);
  snprintf(id, sizeof id, "%.40s:train:0:0", r.session);
  r.now += 600000 + 3599000;
  cr_assert_eq(rig_result(&r, id), 200);
  r.now += 3601000;
  cr_assert_eq(rig_result(&r, id), 410);
  rig_free(&r);
}

Test(server, checkpoints_live_and_go) {
  char path[400];
  rig_t r = rig_new(1);
  rig_model(&r, 0);
  for (int i = 0; i < 2; i++) {
    rig_save(&r, 0, 1 + i, i ? "b" : "a");
    rig_done(&r);
  }
  snprintf(path, sizeof path, "training_runs/%s:train:0/checkpoints/weights/a",
           r.session);
  cr_assert_eq(rig_send(&r, "DELETE", path, "", NULL), 204);
  cr_assert_eq(rig_send(&r, "DELETE", path, "", NULL), 404);
  cr_assert_eq(rig_last(&r)->fate, SIM_REFUSED);
  cr_assert_eq(rig_last(&r)->checkpoint, 0);
  path[strlen(path) - 1] = 0;
  strcat(path, "b/ttl");
  cr_assert_eq(rig_send(&r, "PUT", path, "{\"ttl_seconds\":60}", NULL), 400);
  cr_assert_eq(rig_send(&r, "PUT", path, "{\"ttl_seconds\":3600}", NULL), 204);
  rig_get(&r, "checkpoints");
  cr_assert(strstr(r.text, "\"total_count\":1"), "%s", r.text);
  r.now += 3600000;
  rig_get(&r, "checkpoints");
  cr_assert(strstr(r.text, "\"total_count\":0"), "%s", r.text);
  const sim_checkpoint_t *a = sim_server_checkpoint(r.server, 0);
  const sim_checkpoint_t *b = sim_server_checkpoint(r.server, 1);
  cr_assert(a->by_request && !b->by_request);
  cr_assert_eq(b->deleted_ms, b->expires_ms);
  rig_free(&r);
}

/* The ledger has the digests that the client's own functions give. */
Test(server, batches_have_the_clients_digest) {
  unsigned char one[32], want[32];
  static const int32_t tokens[] = {1, 2, 3, 4};
  static const float weights[] = {0.5f, 1, 1, 1};
  tinker__mem_t mem;
  tinker__arena_t arena;
  tinker__datum_view_t view;
  tinker__wire_body_t body;
  tinker_datum_t *datum = NULL;
  char why[200];
  rig_t r = rig_new(1);
  rig_model(&r, 0);
  cr_assert_eq(
      tinker_datum_new_supervised(&datum, tokens, weights, 4, NULL, NULL), 0);
  tinker__mem_init(&mem, NULL, 0);
  tinker__arena_init(&arena, &mem);
  cr_assert_eq(tinker__datum_view(datum, &arena, &view), 0);
  tinker__fb_view_t fb = {.model_id = tinker__str(r.session),
                          .datums = &view,
                          .datum_count = 1,
                          .loss_fn = TINKER__STR("cross_entropy")};
  snprintf(why, sizeof why, "%s:train:0", r.session);
  fb.model_id = tinker__str(why);
  cr_assert_eq(tinker__fb_request_encode(&body, &mem, &fb, NULL, 0), 0);
  cr_assert_eq(tinker__wire_body_stamp(&body, fb.model_id, 1), 0);
  tinker__str_t bytes = tinker__wire_body_str(&body);
  sim_request_t request = {.method = "POST",
                           .path = "api/v1/forward_backward",
                           .content_type = "application/x-protobuf",
                           .body = bytes.ptr,
                           .len = bytes.len,
                           .arrived_ms = r.now};
  sim_server_call(r.server, r.now, &request, &r.reply);
  cr_assert_eq(r.reply.status, 200);
  cr_assert_eq(tinker_datum_sha256(datum, one), 0);
  cr_assert_eq(tinker__sha256(one, sizeof one, want), 0);
  cr_assert(same(rig_last(&r)->batch, want));
  cr_assert_eq(tinker__sha256(bytes.ptr, bytes.len, want), 0);
  cr_assert(same(rig_last(&r)->body, want));
  tinker__wire_body_free(&body);
  tinker__arena_free(&arena);
  tinker_datum_release(datum);
  rig_free(&r);
}
