/* check: the list of invariants, and those that need no more than a look: I13,
 * I14, I15, I18, I19, and what the script demands. */
#include "sim/check.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "journal/record.h"
#include "sim/check_in.h"

/* --- I13: nothing is destroyed where nothing is known --------------------- */

static bool destroys(const sim_record_t *r) {
  return r->type == TINKER__REC_INC_OPEN || r->type == TINKER__REC_ROLLBACK ||
         r->type == TINKER__REC_CKPT_QUARANTINED ||
         r->type == TINKER__REC_INC_STOP;
}

int sim_check_i13(const sim_history_t *h, char *why, size_t why_len) {
  const sim_record_t *made = NULL;
  bool unknown = h->script->demand.unknown_only || h->faults == 0;
  for (size_t i = 0; unknown && i < h->record_count; i++) {
    const sim_record_t *r = &h->records[i];
    if (destroys(r) || (r->type == TINKER__REC_EPOCH_ACTIVE && made)) {
      return sim_broken(why, why_len,
                        "%s (%s), and nothing that happened says anything of "
                        "the model",
                        sim_record_words(r), *r->cause ? r->cause : r->why);
    }
    if (r->type == TINKER__REC_EPOCH_ACTIVE) made = r;
  }
  return 0;
}

/* --- I14: no secret stands anywhere --------------------------------------- */

/* NULL = there is nothing in it, or it is a folder. */
static char *read_file(const char *path, size_t *len) {
  struct stat st;
  FILE *f = fopen(path, "rb");
  char *text = NULL;
  *len = 0;
  if (!f) return NULL;
  if (fstat(fileno(f), &st) != 0 || !S_ISREG(st.st_mode)) {
    fclose(f);
    return NULL;
  }
  if (fseek(f, 0, SEEK_END) == 0) {
    long end = ftell(f);
    rewind(f);
    text = end > 0 ? malloc((size_t)end) : NULL;
    if (text) *len = fread(text, 1, (size_t)end, f);
  }
  fclose(f);
  return text;
}

static bool has_bytes(const char *text, size_t len, const char *words) {
  size_t n = strlen(words);
  for (size_t i = 0; n <= len && i <= len - n; i++) {
    if (text[i] == words[0] && memcmp(text + i, words, n) == 0) return true;
  }
  return false;
}

static int file_tells(const sim_history_t *h, const char *path, char *why,
                      size_t why_len) {
  size_t len;
  int bad = 0;
  char *text = read_file(path, &len);
  for (size_t i = 0; text && h->secrets[i] && !bad; i++) {
    if (has_bytes(text, len, h->secrets[i])) {
      bad = sim_broken(why, why_len, "%s has the secret \"%s\"", path,
                       h->secrets[i]);
    }
  }
  free(text);
  return bad;
}

static int events_tell(const sim_history_t *h, char *why, size_t why_len) {
  for (size_t i = 0; i < h->shadow_count; i++) {
    const char *text = h->shadow[i].text;
    for (size_t k = 0; text && h->secrets[k]; k++) {
      if (strstr(text, h->secrets[k])) {
        return sim_broken(why, why_len,
                          "line %zu of the shadow log has the secret \"%s\"", i,
                          h->secrets[k]);
      }
    }
  }
  return 0;
}

int sim_check_i14(const sim_history_t *h, char *why, size_t why_len) {
  char path[4096];
  int bad = 0;
  struct dirent *e;
  if (!h->secrets) return 0;
  DIR *dir = h->folder ? opendir(h->folder) : NULL;
  while (dir && !bad && (e = readdir(dir)) != NULL) {
    snprintf(path, sizeof path, "%s/%s", h->folder, e->d_name);
    bad = file_tells(h, path, why, why_len);
  }
  if (dir) closedir(dir);
  return bad || events_tell(h, why, why_len);
}

/* --- I15, I18: of two runs ------------------------------------------------ */

static bool decides(const sim_record_t *r) {
  return r->epoch == 0 && r->type != TINKER__REC_CKPT_TTL;
}

static size_t next_decision(const sim_history_t *h, size_t i) {
  while (i < h->record_count && !decides(&h->records[i])) i++;
  return i;
}

int sim_check_i15(const sim_history_t *a, const sim_history_t *b, char *why,
                  size_t why_len) {
  for (size_t i = 0, k = 0;; i++, k++) {
    i = next_decision(a, i);
    k = next_decision(b, k);
    bool more_a = i < a->record_count, more_b = k < b->record_count;
    if (!more_a && !more_b) return 0;
    const sim_record_t *x = more_a ? &a->records[i] : NULL;
    const sim_record_t *y = more_b ? &b->records[k] : NULL;
    if (x && y && x->type == y->type && x->step == y->step &&
        strcmp(x->name, y->name) == 0) {
      continue;
    }
    return sim_broken(why, why_len, "%s, with the other clock %s",
                      x ? sim_record_words(x) : "nothing more",
                      y ? sim_record_words(y) : "nothing more");
  }
}

static size_t differ(const void *a, size_t n, const void *b, size_t m,
                     size_t size) {
  size_t least = n < m ? n : m;
  for (size_t i = 0; i < least; i++) {
    if (memcmp((const char *)a + i * size, (const char *)b + i * size, size)) {
      return i;
    }
  }
  return n == m ? SIZE_MAX : least;
}

static bool same_shadow(const sim_shadow_t *a, const sim_shadow_t *b) {
  return a->kind == b->kind && a->life == b->life && a->now_ms == b->now_ms &&
         a->step == b->step && a->rolled_back == b->rolled_back &&
         a->code == b->code &&
         memcmp(&a->loss, &b->loss, sizeof a->loss) == 0 &&
         strcmp(a->text ? a->text : "", b->text ? b->text : "") == 0;
}

static size_t shadow_differs(const sim_history_t *a, const sim_history_t *b) {
  size_t i = 0;
  while (i < a->shadow_count && i < b->shadow_count &&
         same_shadow(&a->shadow[i], &b->shadow[i])) {
    i++;
  }
  return i == a->shadow_count && i == b->shadow_count ? SIZE_MAX : i;
}

/* Records and entries are zeroed before they are filled, so that their bytes
 * can be compared. */
int sim_check_i18(const sim_history_t *a, const sim_history_t *b, char *why,
                  size_t why_len) {
  size_t at = differ(a->entries, a->entry_count, b->entries, b->entry_count,
                     sizeof *a->entries);
  if (at != SIZE_MAX) {
    return sim_broken(why, why_len,
                      "the same seed has another ledger from entry %zu on: %s",
                      at,
                      at < a->entry_count ? sim_entry_words(a, &a->entries[at])
                                          : "the first ends");
  }
  at = differ(a->records, a->record_count, b->records, b->record_count,
              sizeof *a->records);
  if (at != SIZE_MAX) {
    return sim_broken(why, why_len, "the same seed has another journal: %s",
                      at < a->record_count ? sim_record_words(&a->records[at])
                                           : "the first ends");
  }
  at = shadow_differs(a, b);
  if (at == SIZE_MAX) return 0;
  return sim_broken(why, why_len,
                    "the same seed has another shadow log from line %zu on",
                    at);
}

/* --- I19: it goes on when nothing goes wrong any more --------------------- */

int sim_check_i19(const sim_history_t *h, char *why, size_t why_len) {
  const sim_demand_t *d = &h->script->demand;
  const sim_shadow_t *done = sim_done_line(h);
  int64_t from = h->last_fault_ms < 0 ? 0 : h->last_fault_ms;
  if (d->end != SIM_END_DONE) return 0;
  if (!done) {
    return sim_broken(why, why_len,
                      "the run is not done at %lld ms; the last fault was at "
                      "%lld ms",
                      (long long)h->end_ms, (long long)h->last_fault_ms);
  }
  if (done->now_ms - from <= d->bound_ms) return 0;
  return sim_broken(why, why_len,
                    "the run was done at %lld ms, %lld ms after the last "
                    "fault; the bound is %lld",
                    (long long)done->now_ms, (long long)(done->now_ms - from),
                    (long long)d->bound_ms);
}

/* --- The demand ----------------------------------------------------------- */

static const sim_record_t *last_stop(const sim_history_t *h) {
  const sim_record_t *stop = NULL;
  for (size_t i = 0; i < h->record_count; i++) {
    if (h->records[i].type == TINKER__REC_INC_STOP) stop = &h->records[i];
  }
  return stop;
}

static int right_end(const sim_history_t *h, char *why, size_t why_len) {
  const sim_demand_t *d = &h->script->demand;
  const sim_record_t *stop = last_stop(h);
  if (d->end == SIM_END_STOPPED) {
    if (!stop) return sim_broken(why, why_len, "the run has not stopped");
    if (d->reason && !strstr(stop->why, d->reason) &&
        !strstr(stop->cause, d->reason)) {
      return sim_broken(why, why_len, "%s says \"%s\", and not \"%s\"",
                        sim_record_words(stop), stop->why, d->reason);
    }
  } else if (d->end == SIM_END_REFUSED) {
    if (d->may_be_done && sim_done_line(h)) return 0;
    for (size_t i = h->shadow_count; i-- > 0;) {
      const sim_shadow_t *s = &h->shadow[i];
      if (s->kind == SIM_SHADOW_FAILED) {
        if (s->code == d->code) return 0;
        return sim_broken(why, why_len, "line %zu: code %d, expected is %d", i,
                          s->code, d->code);
      }
    }
    return sim_broken(why, why_len, "nothing was refused");
  } else if (stop && h->script->trainer.resumes == 0) {
    return sim_broken(why, why_len, "%s: %s", sim_record_words(stop),
                      stop->why);
  }
  return 0;
}

int sim_check_demand(const sim_history_t *h, char *why, size_t why_len) {
  const sim_demand_t *d = &h->script->demand;
  int64_t incidents = sim_count(h, TINKER__REC_INC_OPEN);
  if (right_end(h, why, why_len)) return 1;
  if (incidents < d->least_incidents || incidents > d->most_incidents) {
    return sim_broken(why, why_len, "%lld incidents, expected are %lld to %lld",
                      (long long)incidents, (long long)d->least_incidents,
                      (long long)d->most_incidents);
  }
  for (size_t i = 0; d->event && i < h->shadow_count; i++) {
    const sim_shadow_t *s = &h->shadow[i];
    if (s->kind == SIM_SHADOW_EVENT && s->text && strstr(s->text, d->event)) {
      return 0;
    }
  }
  return d->event ? sim_broken(why, why_len, "nothing says \"%s\"", d->event)
                  : 0;
}

/* --- All ------------------------------------------------------------------ */

static const struct {
  const char *name;
  sim_invariant_fn holds;
} invariants[] = {{"I1", sim_check_i1},   {"I2", sim_check_i2},
                  {"I3", sim_check_i3},   {"I4", sim_check_i4},
                  {"I5", sim_check_i5},   {"I6", sim_check_i6},
                  {"I7", sim_check_i7},   {"I8", sim_check_i8},
                  {"I9", sim_check_i9},   {"I10", sim_check_i10},
                  {"I11", sim_check_i11}, {"I12", sim_check_i12},
                  {"I13", sim_check_i13}, {"I14", sim_check_i14},
                  {"I19", sim_check_i19}, {"I16", sim_check_i16},
                  {"I17", sim_check_i17}, {"demand", sim_check_demand}};

/* A run may be lost before a checkpoint of it is whole, its
 * fingerprint included: then it stops, and says so. */
static bool lost_at_first(const sim_history_t *h) {
  const sim_record_t *stop = last_stop(h);
  bool expected = h->script->demand.end == SIM_END_DONE;
  if (!stop || !expected || sim_done_line(h)) return false;
  for (size_t i = 0; i < h->record_count; i++) {
    if (h->records[i].type == TINKER__REC_CKPT_FINGERPRINT) return false;
  }
  return strstr(stop->why, "checkpoint") != NULL;
}

/* Does it speak of a run that has got to its end? */
static bool is_of_end(const char *name) {
  return strcmp(name, "I16") == 0 || strcmp(name, "I17") == 0 ||
         strcmp(name, "I19") == 0 || strcmp(name, "demand") == 0;
}

/* The undisturbed run is the one without steps of the clock. */
static bool only_clock(const sim_history_t *h) {
  const sim_script_t *s = h->script;
  for (size_t i = 0; i < s->action_count; i++) {
    if (s->actions[i].act != SIM_ACT_CLOCK) return false;
  }
  return s->action_count > 0 && s->fault_count == 0 && h->undisturbed;
}

int sim_check(const sim_history_t *h, char *why, size_t why_len) {
  int at = snprintf(why, why_len, "I15: ");
  if (only_clock(h) &&
      sim_check_i15(h->undisturbed, h, why + at, why_len - (size_t)at)) {
    return 1;
  }
  bool lost = lost_at_first(h);
  for (size_t i = 0; i < sizeof invariants / sizeof invariants[0]; i++) {
    if (lost && is_of_end(invariants[i].name)) continue;
    int n = snprintf(why, why_len, "%s: ", invariants[i].name);
    if (invariants[i].holds(h, why + n, why_len - (size_t)n)) return 1;
  }
  if (why_len) why[0] = '\0';
  return 0;
}
