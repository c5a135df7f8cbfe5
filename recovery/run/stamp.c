/* stamp: what a run attaches to all that it makes at the service, and what it
 * reads there again (survey.c). Any thread; pure, but for the nonce.
 *
 * The lineage is what of a run survives the loss of its folder: the digest of
 * its name and its base model, the two that can never change, so that whoever
 * opens the run again has it. Rank, data and the rest of the plan are no part
 * of it, since they may be changed by permission: a folder that is lost after
 * such a change would make it another run, which would begin at step 1. What
 * two folders with a run of one name and base model have made is told apart by
 * the nonce, which is drawn for each epoch and stands in the journal. */
#include <stdio.h>
#include <string.h>

#include "run/run.h"

#define OURS "tinker_" /* begins the names that are the run's */

int tinker__rec_lineage(tinker_run_t *run) {
  unsigned char digest[TINKER__SHA256_LEN];
  char hex[2 * TINKER__SHA256_LEN + 1];
  tinker__buf_t text;
  tinker__buf_init(&text, &run->mem, SIZE_MAX / 2);
  tinker__buf_addf(&text, "lineage\n%s\n%s\n", run->options.name,
                   run->plan.base_model);
  int rc = tinker__buf_error(&text);
  if (rc == 0) rc = tinker__sha256(text.data, text.len, digest);
  tinker__buf_free(&text);
  if (rc != 0) return rc;
  tinker__hex(digest, sizeof digest, hex);
  snprintf(run->lineage, sizeof run->lineage, "%.*s", TINKER__REC_ID_LEN, hex);
  return 0;
}

int tinker__rec_nonce(const tinker_run_t *run,
                      char out[TINKER__REC_ID_LEN + 1]) {
  unsigned char bytes[TINKER__REC_ID_LEN / 2];
  if (run->world->random(run->world->user, bytes, sizeof bytes) != 0) {
    return TINKER_ERANDOM;
  }
  tinker__hex(bytes, sizeof bytes, out);
  return 0;
}

/* --- Writing -------------------------------------------------------------- */

static void add(tinker__rec_stamps_t *s, const char *name, const char *value) {
  s->list[s->count++] = (tinker_metadata_t){name, value};
}

static void add_number(tinker__rec_stamps_t *s, const char *name, char *text,
                       size_t room, int64_t value) {
  snprintf(text, room, "%lld", (long long)value);
  add(s, name, text);
}

void tinker__rec_stamps(const tinker_run_t *run, const tinker__rec_epoch_t *e,
                        int64_t step, int64_t from_step,
                        tinker__rec_stamps_t *s) {
  s->count = 0;
  add(s, OURS "run", run->options.name);
  add(s, OURS "lineage", run->lineage);
  add(s, OURS "plan", run->plan_digest);
  add(s, OURS "nonce", e->nonce);
  add_number(s, OURS "epoch", s->epoch, sizeof s->epoch, e->number);
  if (step != TINKER__REC_NO_STEP) {
    add_number(s, OURS "step", s->step, sizeof s->step, step);
  }
  if (from_step != TINKER__REC_NO_STEP) {
    add_number(s, OURS "from_step", s->from, sizeof s->from, from_step);
  }
  for (size_t i = 0; i < run->plan.metadata_count; i++) {
    s->list[s->count++] = run->plan.metadata[i];
  }
}

/* --- The plan's own ------------------------------------------------------- */

static int check_entry(const tinker_metadata_t *m, size_t at, size_t *bytes,
                       char *why, size_t why_len) {
  const struct {
    const char *member, *text;
  } both[] = {{"name", m->name}, {"value", m->value}};
  for (size_t i = 0; i < 2; i++) {
    const char *text = both[i].text;
    if (!text || !tinker__utf8_valid(text, strlen(text))) {
      return tinker__why(why, why_len, TINKER_EINVAL,
                         "plan.metadata[%zu].%s is %s", at, both[i].member,
                         text ? "not UTF-8" : "NULL");
    }
    *bytes += strlen(text);
  }
  if (!*m->name || strncmp(m->name, OURS, strlen(OURS)) == 0) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "plan.metadata[%zu].name is \"%.100s\": it must not be "
                       "empty, and those that begin with \"" OURS
                       "\" are the run's",
                       at, m->name);
  }
  return 0;
}

/* No two of one name. */
static int check_names(const tinker_metadata_t *list, size_t count, char *why,
                       size_t why_len) {
  for (size_t i = 1; i < count; i++) {
    for (size_t k = 0; k < i; k++) {
      if (strcmp(list[i].name, list[k].name) != 0) continue;
      return tinker__why(why, why_len, TINKER_EINVAL,
                         "plan.metadata[%zu].name is that of "
                         "plan.metadata[%zu], too",
                         i, k);
    }
  }
  return 0;
}

int tinker__rec_metadata_check(const tinker_metadata_t *list, size_t count,
                               char *why, size_t why_len) {
  size_t bytes = 0;
  int rc = 0;
  if (count > TINKER__REC_PLAN_METADATA || (count && !list)) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "plan.metadata: metadata_count is %zu: allowed are up "
                       "to %d, and an array of them",
                       count, TINKER__REC_PLAN_METADATA);
  }
  for (size_t i = 0; i < count && rc == 0; i++) {
    rc = check_entry(&list[i], i, &bytes, why, why_len);
  }
  if (rc == 0) rc = check_names(list, count, why, why_len);
  if (rc != 0 || bytes <= TINKER__REC_PLAN_METADATA_BYTES) return rc;
  return tinker__why(why, why_len, TINKER_EINVAL,
                     "plan.metadata has %zu bytes of names and values: allowed "
                     "are up to %d",
                     bytes, TINKER__REC_PLAN_METADATA_BYTES);
}

/* --- Reading -------------------------------------------------------------- */

static const char *value_of(const tinker_metadata_t *list, size_t count,
                            const char *name) {
  for (size_t i = 0; i < count; i++) {
    if (strcmp(list[i].name, name) == 0) return list[i].value;
  }
  return NULL;
}

static int64_t number_of(const tinker_metadata_t *list, size_t count,
                         const char *name, int64_t least, int64_t end) {
  const char *text = value_of(list, count, name);
  int64_t n = -1;
  if (!text || tinker__parse_i64(tinker__str(text), &n) != 0) return -1;
  return n >= least && n < end ? n : -1;
}

static const char *text_of(const tinker_metadata_t *list, size_t count,
                           const char *name) {
  const char *text = value_of(list, count, name);
  return text ? text : "";
}

bool tinker__rec_stamped(const tinker_run_t *run, const tinker_metadata_t *list,
                         size_t count, tinker__rec_found_t *out) {
  if (strcmp(text_of(list, count, OURS "lineage"), run->lineage) != 0) {
    return false;
  }
  *out = (tinker__rec_found_t){
      .epoch = number_of(list, count, OURS "epoch", 1, TINKER__REC_MOST_EPOCHS),
      .step = number_of(list, count, OURS "step", 0, TINKER__REC_MOST_STEPS),
      .from_step =
          number_of(list, count, OURS "from_step", 0, TINKER__REC_MOST_STEPS),
      .nonce = text_of(list, count, OURS "nonce"),
      .plan = text_of(list, count, OURS "plan")};
  return out->epoch > 0;
}

bool tinker__rec_named(const tinker_run_t *run, const char *name,
                       tinker__rec_found_t *out) {
  char lineage[9] = "", plan[9] = "";
  long long epoch = 0, step = 0;
  int end = 0;
  if (sscanf(name, "L%8[0-9a-f]-e%15lld-s%15lld-%8[0-9a-f]%n", lineage, &epoch,
             &step, plan, &end) != 4 ||
      (name[end] && name[end] != '-')) {
    return false;
  }
  if (strncmp(lineage, run->lineage, 8) != 0 || epoch < 1 || step < 0 ||
      epoch >= TINKER__REC_MOST_EPOCHS) {
    return false;
  }
  *out = (tinker__rec_found_t){
      .epoch = epoch, .step = step, .from_step = -1, .nonce = "", .plan = ""};
  out->same_plan8 = strcmp(plan, run->plan8) == 0;
  return true;
}
