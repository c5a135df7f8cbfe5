/* Statistics of waiting, see <tinker/stats.h>. Any thread, without a lock. */
#include <string.h>

#include "api/core.h"

/* Each histogram of all the kinds that are asked for. */
typedef struct sums_s {
  tinker__histogram_copy_t stages[TINKER_STAGE_ENDED], total;
  uint64_t failed;
} sums_t;

/* The failures first: each of them is in the counters that follow. */
static void add_kind(sums_t *sums, const tinker__waits_t *waits) {
  if (!waits) return;
  sums->failed += atomic_load_explicit(&waits->failed, memory_order_acquire);
  for (int i = 0; i < TINKER_STAGE_ENDED; i++) {
    tinker__histogram_read(&waits->stages[i], &sums->stages[i]);
  }
  tinker__histogram_read(&waits->total, &sums->total);
}

static tinker_times_t times_of(const tinker__histogram_copy_t *copy) {
  return (tinker_times_t){.p50_ms = tinker__histogram_percentile(copy, 50),
                          .p90_ms = tinker__histogram_percentile(copy, 90),
                          .p99_ms = tinker__histogram_percentile(copy, 99),
                          .max_ms = copy->max_ms};
}

int tinker_client_wait_stats(tinker_client_t *client, tinker_kind_t kind,
                             tinker_wait_stats_t *out) {
  sums_t sums = {0};
  bool known = kind == TINKER_KIND_NONE ||
               strcmp(tinker_kind_name(kind), "unknown") != 0;
  if (!client || !known || !out || out->size <= sizeof out->size ||
      out->size > sizeof *out) {
    return TINKER_EINVAL;
  }
  if (!tinker__core_is_here(client)) return TINKER_EFORKED;
  for (int k = 0; k <= TINKER_KIND_PROMISE; k++) {
    if (kind != TINKER_KIND_NONE && k != (int)kind) continue;
    add_kind(&sums, atomic_load(&client->waits.kinds[k]));
  }
  tinker_wait_stats_t stats = {
      .size = out->size,
      .count = sums.total.count,
      .failed = sums.failed,
      .queued = times_of(&sums.stages[TINKER_STAGE_QUEUED]),
      .sent = times_of(&sums.stages[TINKER_STAGE_SENT]),
      .running = times_of(&sums.stages[TINKER_STAGE_RUNNING]),
      .paused = times_of(&sums.stages[TINKER_STAGE_PAUSED]),
      .total = times_of(&sums.total),
  };
  memcpy(out, &stats, out->size);
  return 0;
}
