/* survey: what the service has of the run's lineage, looked at once by each
 * process before it makes or takes a model, and again after an attempt of its
 * own has failed. The run's thread.
 *
 * What the journal does not know shows that it was lost, put back from an older
 * copy, or that another folder has trained the run: then nothing is done
 * without the owner's word (options.behind). What it knows to have been made
 * for an attempt of its own is an orphan: never trained, and its session is
 * finished if the session says the same of itself. */
#include <stdio.h>
#include <string.h>

#include "run/run.h"

#define PAGE 100         /* entries */
#define ATTACH_MS 10000  /* a run with a journal waits no longer for a page */
#define FINISH_MS 3000   /* nor for the end of a session */
#define MOST_FINISHED 16 /* sessions in one survey */

/* --- What there is -------------------------------------------------------- */

/* Copies what the answer owns. */
static int keep(tinker__rec_survey_t *s, tinker__rec_found_t *f,
                const char *path) {
  const char **texts[] = {&f->path, &f->nonce, &f->plan};
  f->path = path;
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
    *texts[i] = tinker__arena_str(&s->arena, tinker__str(*texts[i]));
    if (!*texts[i]) return TINKER_ENOMEM;
  }
  const char *slash = strrchr(f->path, '/');
  f->name = slash ? slash + 1 : f->path;
  void *list = tinker__arena_grow(&s->arena, s->found, s->count, &s->cap,
                                  sizeof *s->found);
  if (!list) return TINKER_ENOMEM;
  s->found = list;
  s->found[s->count++] = *f;
  return 0;
}

static int add_model(tinker__rec_survey_t *s, const tinker_training_run_t *r) {
  tinker__rec_found_t f;
  if (!tinker__rec_stamped(s->run, r->metadata, r->metadata_count, &f)) {
    return 0;
  }
  f.step = -1;
  f.is_model = true;
  return keep(s, &f, r->run_id);
}

/* A service that keeps no metadata has the name. */
static int add_ckpt(tinker__rec_survey_t *s, const tinker_checkpoint_t *c) {
  tinker__rec_found_t f;
  const tinker_run_t *run = s->run;
  const char *slash = strrchr(c->path, '/');
  bool stamped = tinker__rec_stamped(run, c->metadata, c->metadata_count, &f);
  if (c->type != TINKER_CHECKPOINT_TRAINING || !slash) return 0;
  if (!stamped || f.step < 0) {
    if (!tinker__rec_named(run, slash + 1, &f)) return 0;
  } else {
    f.same_plan8 = strncmp(f.plan, run->plan8, 8) == 0;
  }
  f.expires_ms =
      c->expires_ms == TINKER_NO_TIME ? TINKER__REC_NEVER : c->expires_ms;
  return keep(s, &f, c->path);
}

int tinker__rec_ask(tinker_run_t *run, tinker_future_t *future,
                    tinker__rec_fault_t *f) {
  pthread_mutex_lock(&run->lock);
  run->asked = future;
  bool closing = atomic_load(&run->closing);
  pthread_mutex_unlock(&run->lock);
  if (closing) tinker_future_cancel(future);
  int rc = tinker__rec_await(future, f);
  pthread_mutex_lock(&run->lock);
  run->asked = NULL;
  pthread_mutex_unlock(&run->lock);
  if (rc == TINKER_ECANCELED && atomic_load(&run->closing)) {
    *f = (tinker__rec_fault_t){.code = TINKER_ECLOSED, .unknown = true};
    rc = TINKER_ECLOSED;
  }
  return rc;
}

/* One of the two lists. */
typedef struct {
  tinker__rec_survey_t *s;
  bool models;
  tinker_page_t page;
  tinker_future_t *future; /* NULL = all of it was read */
} list_t;

static void ask_page(list_t *l) {
  tinker_call_options_t call = TINKER_CALL_OPTIONS_INIT;
  tinker_client_t *home = l->s->run->home;
  call.timeout_ms = l->s->timeout_ms;
  l->future = l->models ? tinker_client_list_runs(home, &l->page, &call)
                        : tinker_client_list_checkpoints(home, &l->page, &call);
}

/* A service may have less on a page than was asked for, and say how much there
 * is. */
static void turn_page(list_t *l, size_t count, int64_t total) {
  l->page.offset += (int64_t)count;
  tinker_future_release(l->future);
  l->future = NULL;
  if (count == 0 || (total < 0 ? count < PAGE : l->page.offset >= total)) {
    return;
  }
  ask_page(l);
}

static int read_runs(list_t *l) {
  const tinker_training_run_list_t *r = NULL;
  int rc = tinker_future_get_run_list(l->future, &r);
  for (size_t i = 0; rc == 0 && i < r->count; i++) {
    rc = add_model(l->s, &r->runs[i]);
  }
  if (rc == 0) turn_page(l, r->count, r->total_count);
  return rc;
}

static int read_ckpts(list_t *l) {
  const tinker_checkpoint_list_t *c = NULL;
  int rc = tinker_future_get_checkpoint_list(l->future, &c);
  for (size_t i = 0; rc == 0 && i < c->count; i++) {
    rc = add_ckpt(l->s, &c->checkpoints[i]);
  }
  if (rc == 0) turn_page(l, c->count, c->total_count);
  return rc;
}

static int read_list(list_t *l, tinker__rec_fault_t *f) {
  tinker_run_t *run = l->s->run;
  int rc = 0;
  while (l->future && rc == 0) {
    rc = tinker__rec_ask(run, l->future, f);
    if (rc != 0) break;
    rc = l->models ? read_runs(l) : read_ckpts(l);
    if (rc == 0) continue;
    *f = (tinker__rec_fault_t){.code = rc, .unknown = true};
    tinker__why(f->why, sizeof f->why, 0, "%s", tinker_code_text(rc));
  }
  return rc;
}

static void begin_list(list_t *l, tinker__rec_survey_t *s, bool models) {
  *l = (list_t){.s = s, .models = models, .page = TINKER_PAGE_INIT};
  l->page.limit = PAGE;
  ask_page(l);
}

static void end_list(list_t *l) {
  tinker_future_cancel(l->future);
  tinker_future_release(l->future);
}

/* Both lists are asked for at once. */
static int read_all(tinker__rec_survey_t *s, tinker__rec_fault_t *f) {
  list_t models, ckpts;
  begin_list(&models, s, true);
  begin_list(&ckpts, s, false);
  int rc = read_list(&models, f);
  if (rc == 0) rc = read_list(&ckpts, f);
  end_list(&models);
  end_list(&ckpts);
  return rc;
}

static int read_models(tinker__rec_survey_t *s, tinker__rec_fault_t *f) {
  list_t models;
  begin_list(&models, s, true);
  int rc = read_list(&models, f);
  end_list(&models);
  return rc;
}

static void begin_survey(tinker__rec_survey_t *s, tinker_run_t *run,
                         int64_t timeout_ms) {
  *s = (tinker__rec_survey_t){.run = run, .timeout_ms = timeout_ms};
  tinker__arena_init(&s->arena, &run->mem);
}

/* --- What of it is not known ---------------------------------------------- */

/* The journal has the save, or that it was begun. */
static bool has_save(const tinker__rec_state_t *s, const char *name) {
  if (tinker__rec_state_ckpt(s, name)) return true;
  TINKER__LIST_EACH(l, tmp, &s->ops) {
    const tinker__rec_op_t *op = TINKER__CONTAINER(l, tinker__rec_op_t, link);
    if (strcmp(op->name, name) == 0) return true;
  }
  return false;
}

bool tinker__rec_is_unknown(const tinker__rec_state_t *s,
                            const tinker__rec_found_t *f) {
  if (f->epoch <= s->disowned) return false;
  const tinker__rec_used_t *u = tinker__rec_used_find(&s->used, f->epoch);
  if (!u) return true;
  if (*f->nonce && *u->nonce && strcmp(f->nonce, u->nonce) != 0) return true;
  /* Only an active epoch saves: the journal lacks that it became that. */
  if (!f->is_model && !*u->model) return true;
  return f->epoch == s->epoch && f->step > s->committed &&
         !has_save(s, f->name);
}

bool tinker__rec_is_newer(const tinker__rec_found_t *a,
                          const tinker__rec_found_t *b) {
  return a->epoch != b->epoch ? a->epoch > b->epoch : a->step > b->step;
}

/* NULL = the journal knows all of it. */
static const tinker__rec_found_t *
newest_unknown(const tinker__rec_survey_t *s) {
  const tinker__rec_found_t *best = NULL;
  for (size_t i = 0; i < s->count; i++) {
    const tinker__rec_found_t *f = &s->found[i];
    if (!tinker__rec_is_unknown(&s->run->state, f)) continue;
    if (!best || tinker__rec_is_newer(f, best)) best = f;
  }
  return best;
}

static void describe(const tinker__rec_found_t *f, char *out, size_t room) {
  if (f->is_model) {
    snprintf(out, room, "epoch %lld (model %.80s)", (long long)f->epoch,
             f->path);
  } else {
    snprintf(out, room, "step %lld of epoch %lld (%.100s)", (long long)f->step,
             (long long)f->epoch, f->path);
  }
}

static int refuse(tinker_run_t *run, const char *what, tinker__rec_fault_t *f) {
  *f = (tinker__rec_fault_t){.code = TINKER_ESTATE};
  return tinker__why(
      f->why, sizeof f->why, TINKER_ESTATE,
      "the service has %s of this run, which the journal in %.100s does not "
      "know: the folder was lost, or is an older copy, or another one trains "
      "it. Put the newest back, or open it with options.behind: REBUILD (goes "
      "on from the service's newest checkpoint) or IGNORE (with this folder, "
      "from step 1 if it is empty)",
      what, run->dir);
}

static int64_t highest_epoch(const tinker__rec_survey_t *s) {
  int64_t most = 0;
  for (size_t i = 0; i < s->count; i++) {
    if (s->found[i].epoch > most) most = s->found[i].epoch;
  }
  return most;
}

/* Epochs up to the highest are another journal's from now on. A model that this
 * journal has may be further than it knows, so it is not gone on with. */
static int ignore(tinker__rec_survey_t *s, const char *what,
                  tinker__rec_fault_t *f) {
  tinker_run_t *run = s->run;
  tinker__rec_facts_t facts = TINKER__REC_FACTS_INIT;
  char evidence[TINKER__REC_WHY];
  int64_t most = highest_epoch(s);
  tinker__why(evidence, sizeof evidence, 0,
              "the service has %s of this run, which this journal does not "
              "know: left alone, as options.behind says",
              what);
  facts.disowned = most > run->state.last_epoch ? most : run->state.last_epoch;
  facts.evidence = tinker__str(evidence);
  int rc = tinker__rec_note(run, NULL, TINKER__REC_LINEAGE_OPEN,
                            TINKER__REC_NO_STEP, &facts, tinker__str(""));
  if (rc == 0) {
    tinker__rec_say(run, "behind", TINKER__REC_NO_STEP, &facts);
    return 0;
  }
  *f = (tinker__rec_fault_t){.code = rc, .unknown = true};
  return tinker__why(f->why, sizeof f->why, rc,
                     "the run's journal can't be written");
}

/* --- Orphans -------------------------------------------------------------- */

/* A model of an epoch of this journal, and not the one that became active. */
static bool is_orphan(const tinker__rec_state_t *s,
                      const tinker__rec_found_t *f) {
  if (!f->is_model || !*f->nonce || f->epoch <= s->disowned) return false;
  const tinker__rec_used_t *u = tinker__rec_used_find(&s->used, f->epoch);
  return u && strcmp(u->nonce, f->nonce) == 0 && strcmp(u->model, f->path) != 0;
}

/* The session of a model, by the form of its id: what follows from it has to be
 * confirmed by the session. */
static void session_of(const char *model, char *out, size_t room) {
  const char *end = strstr(model, ":train:");
  snprintf(out, room, "%.*s", end ? (int)(end - model) : 0, model);
}

static int note_orphan(tinker_run_t *run, tinker__rec_type_t type,
                       const tinker__rec_found_t *f, const char *session) {
  tinker__rec_facts_t facts = TINKER__REC_FACTS_INIT;
  facts.epoch = f->epoch;
  facts.model = tinker__str(f->path);
  facts.session = tinker__str(session);
  facts.nonce = tinker__str(f->nonce);
  int rc = tinker__rec_note(run, NULL, type, TINKER__REC_NO_STEP, &facts,
                            tinker__str(""));
  if (rc == 0) {
    tinker__rec_say(run,
                    type == TINKER__REC_ORPHAN_FOUND ? "orphan_found"
                                                     : "orphan_cleared",
                    TINKER__REC_NO_STEP, &facts);
  }
  return rc;
}

/* Does the session say that it was made for this very epoch, and has the model?
 */
static bool is_proven(tinker__rec_survey_t *s, const tinker__rec_found_t *f,
                      const char *session) {
  tinker_call_options_t call = TINKER_CALL_OPTIONS_INIT;
  const tinker_session_info_t *info = NULL;
  tinker__rec_found_t said;
  tinker__rec_fault_t unknown;
  bool ours = false;
  call.timeout_ms = FINISH_MS;
  tinker_future_t *future =
      tinker_client_get_session(s->run->home, session, &call);
  if (tinker__rec_ask(s->run, future, &unknown) == 0 &&
      tinker_future_get_session(future, &info) == 0 &&
      tinker__rec_stamped(s->run, info->metadata, info->metadata_count,
                          &said) &&
      said.epoch == f->epoch && strcmp(said.nonce, f->nonce) == 0) {
    for (size_t i = 0; i < info->run_count; i++) {
      ours |= strcmp(info->run_ids[i], f->path) == 0;
    }
  }
  tinker_future_release(future);
  return ours;
}

/* One that is over already is as good. */
static bool finish(tinker_run_t *run, const char *session) {
  tinker_client_options_t o = run->client_options;
  tinker_adoption_t adopt = TINKER_ADOPTION_INIT;
  tinker_call_options_t call = TINKER_CALL_OPTIONS_INIT;
  tinker_client_t *client = NULL;
  tinker__rec_fault_t f;
  adopt.session_id = session;
  adopt.model_seq_id = adopt.sampling_session_seq_id = 0; /* none is taken */
  adopt.no_heartbeat = 1;
  o.adopt = &adopt;
  call.timeout_ms = FINISH_MS;
  if (tinker_client_new(&client, &o, NULL) != 0) return false;
  tinker_future_t *over = tinker_client_finish_session(client, &call);
  int rc = tinker__rec_await(over, &f);
  tinker_future_release(over);
  tinker_client_release(client);
  return rc == 0 || rc == TINKER_ESESSION || rc == TINKER_ENOENT;
}

static void clear(tinker__rec_survey_t *s, const tinker__rec_found_t *f) {
  tinker_run_t *run = s->run;
  const char *used = run->state.session ? run->state.session : "";
  char session[TINKER__REC_MAX_NAME];
  session_of(f->path, session, sizeof session);
  const tinker__rec_orphan_t *o =
      tinker__rec_orphan_find(&run->state.orphans, tinker__str(f->path));
  if (o && o->cleared) return;
  if (!o && note_orphan(run, TINKER__REC_ORPHAN_FOUND, f, session) != 0) return;
  if (!*session || strcmp(session, used) == 0) return;
  if (s->finished++ >= MOST_FINISHED || !is_proven(s, f, session)) return;
  if (finish(run, session)) {
    note_orphan(run, TINKER__REC_ORPHAN_CLEARED, f, session);
  }
}

static void clear_orphans(tinker__rec_survey_t *s) {
  for (size_t i = 0; i < s->count && !atomic_load(&s->run->closing); i++) {
    if (is_orphan(&s->run->state, &s->found[i])) clear(s, &s->found[i]);
  }
}

void tinker__rec_orphans(tinker_run_t *run) {
  tinker__rec_survey_t s;
  tinker__rec_fault_t f;
  if (!run->orphans_due) return;
  run->orphans_due = false;
  begin_survey(&s, run, FINISH_MS);
  if (read_models(&s, &f) == 0) clear_orphans(&s);
  tinker__arena_free(&s.arena);
}

/* --- The survey ----------------------------------------------------------- */

/* A service that has no such lists, or none that can be read, is trained on all
 * the same; so is one that does not answer now, if there is a journal. */
static bool goes_without(const tinker_run_t *run, int code) {
  return code == TINKER_ENOTSUP || code == TINKER_ENOENT ||
         code == TINKER_EREJECTED ||
         (run->state.epoch > 0 && code != TINKER_ECLOSED &&
          code != TINKER_ENOMEM);
}

static int go_without(tinker_run_t *run, const tinker__rec_fault_t *f) {
  tinker__rec_facts_t facts = TINKER__REC_FACTS_INIT;
  facts.code = f->code;
  facts.why = tinker__str(f->why);
  tinker__rec_say(run, "unchecked", TINKER__REC_NO_STEP, &facts);
  return 0;
}

static int decide(tinker__rec_survey_t *s, tinker__rec_fault_t *f) {
  char what[200];
  const tinker__rec_found_t *unknown = newest_unknown(s);
  if (!unknown) {
    clear_orphans(s);
    return 0;
  }
  describe(unknown, what, sizeof what);
  switch (s->run->options.behind) {
  case TINKER_RUN_BEHIND_REBUILD:
    s->run->seen_epoch = highest_epoch(s);
    return tinker__rec_rebuild(s, f);
  case TINKER_RUN_BEHIND_IGNORE: return ignore(s, what, f);
  default: return refuse(s->run, what, f);
  }
}

int tinker__rec_survey(tinker_run_t *run, tinker__rec_fault_t *f) {
  tinker__rec_survey_t s;
  begin_survey(&s, run, run->state.epoch ? ATTACH_MS : TINKER_NO_TIMEOUT);
  int rc = read_all(&s, f);
  if (rc == 0) {
    rc = decide(&s, f);
  } else if (goes_without(run, rc) && !atomic_load(&run->closing)) {
    rc = go_without(run, f);
  }
  if (rc == 0) run->surveyed = true;
  tinker__arena_free(&s.arena);
  return rc;
}
