/* Each allocation fails in turn, over all that a program does from making a
 * client to ending it, data included: no crash, no leak, each callback once,
 * each future an end, and no code but that of the lack of memory and of what
 * follows from it. */
#include <criterion/criterion.h>
#include <poll.h>

#include "rig.h"

enum { CALLS = 21, DATA = 2 };

typedef struct scene_s {
  rig_t *rig;
  tinker_allocator_t memory; /* for data: counts and fails as the client's */
  tinker_trainer_t *trainer;
  tinker_sampler_t *sampler;
  tinker_input_t *prompt;
  tinker_datum_t *data[DATA];
  tinker_future_t *futures[CALLS];
  seen_t seen[CALLS]; /* of calls with a callback */
  bool calls_back[CALLS];
  size_t count, kept, taken;
  uint64_t n;
} scene_t;

/* What may come of a lack of memory. */
static void check_code(const scene_t *s, int code) {
  cr_assert(code == 0 || code == TINKER_ENOMEM || code == TINKER_EFATAL ||
                code == TINKER_ESTATE || code == TINKER_ECLOSED,
            "allocation %llu: %s", (unsigned long long)s->n,
            tinker_code_name(code));
}

static int made(scene_t *s, int rc, tinker_error_t *e) {
  cr_assert(rc == 0 || rc == TINKER_ENOMEM, "allocation %llu: %d",
            (unsigned long long)s->n, rc);
  cr_assert_eq(tinker_error_code(e), rc);
  tinker_error_release(e);
  return rc;
}

static bool make_data(scene_t *s) {
  static const int32_t tokens[4] = {1, 2, 3, 4};
  static const float logprobs[2] = {-1, -2};
  tinker_error_t *e = NULL;
  int rc = tinker_input_from_tokens(&s->prompt, tokens, 2, &s->memory, &e);
  if (made(s, rc, e)) return false;
  e = NULL;
  rc = tinker_datum_new_rl(&s->data[0], tokens, 2, tokens + 2, logprobs, 2, 1,
                           &s->memory, &e);
  if (made(s, rc, e)) return false;
  e = NULL;
  rc = tinker_datum_new_rl(&s->data[1], tokens, 1, tokens + 2, logprobs, 2, -1,
                           &s->memory, &e);
  return made(s, rc, e) == 0;
}

/* Options of the next call: every second one has a callback. */
static tinker_call_options_t options(scene_t *s) {
  tinker_call_options_t o = TINKER_CALL_OPTIONS_INIT;
  cr_assert_lt(s->count, (size_t)CALLS);
  s->calls_back[s->count] = s->count % 2;
  if (s->count % 2) o.cb = rig_seen;
  o.user = &s->seen[s->count];
  return o;
}

static tinker_future_t *add(scene_t *s, tinker_future_t *f) {
  s->calls_back[s->count] &= tinker_future_runs_callback(f) != 0;
  s->futures[s->count++] = f;
  return f;
}

static const tinker_metadata_t metadata[] = {{"run", "a"}};

static void create(scene_t *s) {
  tinker_trainer_options_t t = TINKER_TRAINER_OPTIONS_INIT;
  tinker_call_options_t o = options(s);
  t.base_model = "tiny";
  t.metadata = metadata;
  t.metadata_count = 1;
  tinker_future_t *f =
      add(s, tinker_client_create_trainer(s->rig->client, &t, &o));
  check_code(s, tinker_future_wait(f, 400000));
  tinker_future_get_trainer(f, &s->trainer);
}

static void train(scene_t *s) {
  tinker_loss_t loss = TINKER_LOSS_INIT;
  tinker_save_options_t save = TINKER_SAVE_OPTIONS_INIT;
  save.metadata = metadata;
  save.metadata_count = 1;
  loss.kind = TINKER_LOSS_IMPORTANCE_SAMPLING;
  size_t first = s->count, at;
  tinker_call_options_t o = options(s);
  add(s, tinker_trainer_forward_backward(s->trainer, s->data, DATA, &loss, &o));
  o = options(s);
  add(s, tinker_trainer_optim_step(s->trainer, NULL, &o));
  o = options(s);
  add(s, tinker_trainer_save_state(s->trainer, "a", &save, &o));
  int rc = tinker_future_wait_any(&s->futures[first], 3, 400000, &at);
  check_code(s, rc);
  rc = tinker_future_wait_all(&s->futures[first], 3, 400000);
  check_code(s, rc);
  for (int i = 0; i < 2;
       i++) { /* nobody holds them: next and the callback do */
    tinker_call_options_t alone = TINKER_CALL_OPTIONS_INIT;
    alone.detached = 1;
    if (i) alone.cb = rig_seen;
    alone.user = &s->seen[s->count];
    tinker_future_t *f = tinker_trainer_get_info(s->trainer, &alone);
    bool kept = tinker_future_status(f) == TINKER_EAGAIN;
    cr_assert(kept || tinker_future_status(f) == TINKER_ENOMEM);
    if (kept && !i) s->kept++;
    s->calls_back[s->count] = kept && i;
    s->futures[s->count++] = NULL;
  }
}

static void sample(scene_t *s) {
  tinker_call_options_t o = options(s);
  tinker_future_t *f = add(s, tinker_trainer_create_sampler(s->trainer, &o));
  check_code(s, tinker_future_wait(f, 400000));
  tinker_future_get_sampler(f, &s->sampler);
  o = options(s);
  add(s, tinker_client_get_capabilities(s->rig->client, &o));
  if (!s->sampler) return;
  o = options(s);
  add(s, tinker_sampler_sample(s->sampler, s->prompt, NULL, &o));
  o = options(s);
  add(s, tinker_client_dump(s->rig->client, &o));
}

#define PATH "tinker://s1:train:0/weights/a"

static void rest(scene_t *s) {
  tinker_client_t *c = s->rig->client;
  tinker_page_t page = TINKER_PAGE_INIT;
  size_t first = s->count;
  tinker_call_options_t o = options(s);
  add(s, tinker_client_get_run(c, "s1:train:0", &o));
  o = options(s);
  add(s, tinker_client_list_runs(c, &page, &o));
  o = options(s);
  add(s, tinker_client_list_run_checkpoints(c, "s1:train:0", &o));
  o = options(s);
  add(s, tinker_client_list_checkpoints(c, NULL, &o));
  o = options(s);
  add(s, tinker_client_weights_info(c, PATH, &o));
  o = options(s);
  add(s, tinker_client_list_sessions(c, NULL, &o));
  o = options(s);
  add(s, tinker_client_get_session(c, "s1", &o));
  o = options(s);
  add(s, tinker_client_set_checkpoint_ttl(c, PATH, TINKER_NO_TTL, &o));
  o = options(s);
  add(s, tinker_client_delete_checkpoint(c, PATH, &o));
  check_code(
      s, tinker_future_wait_all(&s->futures[first], s->count - first, 400000));
}

static void take(scene_t *s) {
  tinker_future_t *f;
  while (tinker_client_next(s->rig->client, 0, &f) == 0) {
    s->taken += tinker_future_kind(f) == TINKER_KIND_GET_INFO;
    check_code(s, tinker_future_status(f));
    tinker_future_release(f);
  }
}

static void play(scene_t *s) {
  int fd = -1;
  int rc = tinker_client_next_fd(s->rig->client, &fd);
  cr_assert(rc == 0 || rc == TINKER_EIO);
  if (!make_data(s)) return;
  create(s);
  if (!s->trainer) return;
  train(s);
  sample(s);
  rest(s);
  tinker_call_options_t o = options(s);
  add(s, tinker_client_drain(s->rig->client, &o));
  o = options(s);
  add(s, tinker_client_close(s->rig->client, &o));
  fake_loop_advance(&s->rig->loop, 800000);
  take(s);
}

static void check_ends(const scene_t *s, bool failed) {
  for (size_t i = 0; i < s->count; i++) {
    cr_assert_eq(s->seen[i].calls, s->calls_back[i],
                 "allocation %llu, call "
                 "%zu",
                 (unsigned long long)s->n, i);
    int code =
        s->futures[i] ? tinker_future_status(s->futures[i]) : s->seen[i].status;
    cr_assert_neq(code, TINKER_EAGAIN);
    check_code(s, code);
    bool cut = i + 1 == s->count; /* close cuts the drain short */
    if (!failed && !cut) {
      cr_assert(code == 0 || code == TINKER_ECLOSED, "call %zu: %d", i, code);
    }
  }
  cr_assert_eq(s->taken, s->kept, "allocation %llu", (unsigned long long)s->n);
}

static void drop(scene_t *s) {
  for (size_t i = 0; i < s->count; i++) tinker_future_release(s->futures[i]);
  for (size_t i = 0; i < DATA; i++) tinker_datum_release(s->data[i]);
  tinker_input_release(s->prompt);
  tinker_sampler_release(s->sampler);
  tinker_trainer_release(s->trainer);
}

Test(sweep, every_allocation_of_a_run, .timeout = 120) {
  uint64_t made_count = 0;
  for (uint64_t n = 1; n == 1 || n - 1 <= made_count; n++) {
    rig_t rig;
    scene_t s = {.rig = &rig, .n = n};
    rig_init(&rig, "{\"fwdbwd_max_chunk_len\":1}");
    rig.metadata = metadata;
    rig.metadata_count = 1;
    s.memory = tinker__mem_allocator(&rig.mem);
    rig.mem.fail_at = n;
    int rc = rig_client(&rig);
    cr_assert(rc == 0 || rc == TINKER_ENOMEM, "%llu: %d", (unsigned long long)n,
              rc);
    if (rc == 0) {
      play(&s);
      made_count = atomic_load(&rig.mem.count);
      rig.client = tinker_client_release(rig.client);
      rig_run(&rig);
      check_ends(&s, n <= made_count);
      drop(&s);
      rig_done(&rig);
    } else {
      made_count = n;
      rig_drop(&rig);
    }
  }
  cr_assert_gt(made_count, 100u, "%llu", (unsigned long long)made_count);
}
