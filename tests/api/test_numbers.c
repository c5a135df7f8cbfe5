/* Numbers leave no hole, whatever runs out while they are taken. */
#include "faults.h"

#define SAVE_SAMPLER "api/v1/save_weights_for_sampler"

/* The numbers that the trainer's requests carried, each once, in order. */
static size_t numbers(const rig_t *rig, long *out, size_t max) {
  size_t n = 0;
  for (size_t i = 0; i < script_count(rig->script); i++) {
    const script_request_t *q = script_request(rig->script, i);
    long seq = q->numbered && q->lane == TINKER__LANE_SUBMIT ? rig_seq(q) : -1;
    bool known = seq < 0;
    for (size_t k = 0; k < n && !known; k++) known = out[k] == seq;
    if (known) continue;
    cr_assert_lt(n, max);
    out[n++] = seq;
  }
  return n;
}

static void check_no_hole(const rig_t *rig, uint64_t round) {
  long seen[16];
  size_t n = numbers(rig, seen, 16);
  for (size_t i = 0; i < n; i++) {
    bool there = false;
    for (size_t k = 0; k < n; k++) there |= seen[k] == (long)i + 1;
    cr_assert(there, "round %llu: %zu numbers, not %zu",
              (unsigned long long)round, n, i + 1);
  }
}

/* Three kinds of operations while one allocation of the loop's thread fails:
 * what follows gets the next number, or the trainer says that it is fatal. */
Test(numbers, no_hole_without_memory, .timeout = 60) {
  bool more = true, gave_up = false;
  for (uint64_t n = 1; more; n++) {
    rig_t rig;
    seen_t seen[4] = {{0}};
    tinker_future_t *f = NULL;
    rig_init(&rig, "{\"fwdbwd_max_chunk_len\":1}");
    cr_assert_eq(rig_client(&rig), 0);
    tinker_trainer_t *t = rig_trainer(&rig);
    tinker_datum_t **batch = rig_batch(3, 3);
    calls_begun(tinker_trainer_forward_backward(
                    t, batch, 3, NULL, CALLS_WITH(NULL, rig_seen, &seen[0])),
                NULL);
    calls_begun(
        tinker_trainer_create_sampler(t, CALLS_WITH(NULL, rig_seen, &seen[1])),
        NULL);
    calls_begun(tinker_trainer_optim_step(t, NULL,
                                          CALLS_WITH(NULL, rig_seen, &seen[2])),
                NULL);
    rig.mem.fail_at = atomic_load(&rig.mem.count) + n;
    fake_loop_advance(&rig.loop, 400000);
    more = atomic_load(&rig.mem.count) >= rig.mem.fail_at;
    rig.mem.fail_at = 0;
    for (int i = 0; i < 3; i++) {
      cr_assert_eq(seen[i].calls, 1, "round %llu", (unsigned long long)n);
      gave_up |= seen[i].status == TINKER_ENOMEM && i < 2 &&
                 !rig_count(&rig, i ? SAVE_SAMPLER : FB);
    }
    int rc = calls_begun(tinker_trainer_create_sampler(t, NULL), &f);
    if (!rc) cr_assert_eq(tinker_future_wait(f, 600000), 0);
    cr_assert(!rc || rc == TINKER_EFATAL);
    if (!rc) check_no_hole(&rig, n);
    tinker_future_release(f);
    rig_batch_free(batch, 3);
    end(&rig, t);
  }
  cr_assert(gave_up); /* one of the rounds hit the numbering itself */
}

/* The transport takes no request: the number is kept for the next try. */
Test(numbers, no_hole_when_the_transport_refuses) {
  for (size_t n = 1; n <= 4; n++) {
    rig_t rig;
    tinker_trainer_t *t;
    tinker_future_t *f;
    start(&rig, &t);
    script_fail_submit(rig.script, n);
    for (int i = 0; i < 2; i++) {
      cr_assert_eq(step(&rig, t, &f), 0, "%zu", n);
      tinker_future_release(f);
    }
    check_no_hole(&rig, n);
    end(&rig, t);
  }
}
