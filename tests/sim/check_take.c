/* check_take: a history, of what a simulated run has left: the service's ledger
 * and the journal. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/world.h"
#include "journal/facts.h"
#include "journal/load.h"
#include "sim/check_in.h"
#include "tinker/error.h"

#define COPY(h, s, field, count, type)                                         \
  do {                                                                         \
    (h)->count = sim_server_##field(s);                                        \
    (h)->field = calloc((h)->count + 1, sizeof(type));                         \
  } while (0)

static void take_server(sim_history_t *h, const sim_server_t *s) {
  COPY(h, s, entries, entry_count, sim_entry_t);
  COPY(h, s, sessions, session_count, sim_session_t);
  COPY(h, s, models, model_count, sim_model_t);
  COPY(h, s, checkpoints, checkpoint_count, sim_checkpoint_t);
  for (size_t i = 0; i < h->entry_count; i++) {
    memcpy(&h->entries[i], sim_server_entry(s, i), sizeof *h->entries);
  }
  for (size_t i = 0; i < h->session_count; i++) {
    memcpy(&h->sessions[i], sim_server_session(s, i), sizeof *h->sessions);
  }
  for (size_t i = 0; i < h->model_count; i++) {
    memcpy(&h->models[i], sim_server_model(s, i), sizeof *h->models);
  }
  for (size_t i = 0; i < h->checkpoint_count; i++) {
    memcpy(&h->checkpoints[i], sim_server_checkpoint(s, i),
           sizeof *h->checkpoints);
  }
}

/* --- The journal ---------------------------------------------------------- */

typedef struct {
  sim_history_t *h;
  size_t room;
  tinker__mem_t mem;
} taking_t;

static void text(char *out, size_t len, tinker__str_t s) {
  size_t n = s.ptr ? s.len : 0;
  if (n >= len) n = len - 1;
  if (n) memcpy(out, s.ptr, n);
  out[n] = '\0';
}

static int64_t number(int64_t v) {
  return v == TINKER__REC_UNSET ? -1 : v;
}

static void take_facts(sim_record_t *r, const tinker__rec_facts_t *f) {
  r->incident = number(f->incident);
  r->attempt = number(f->attempt);
  r->level = number(f->level);
  r->code = number(f->code);
  r->count = number(f->count);
  r->of_epoch = number(f->epoch);
  r->from_step = number(f->from_step);
  r->to_step = number(f->to_step);
  r->slot = number(f->slot);
  r->op = number(f->op);
  r->end = number(f->end);
  r->expires_ms = number(f->expires_ms);
  r->has_loss = f->has_loss;
  r->loss = f->has_loss ? f->loss : 0;
  text(r->name, sizeof r->name, f->name);
  text(r->path, sizeof r->path, f->path);
  text(r->model, sizeof r->model, f->model);
  text(r->session, sizeof r->session, f->session);
  text(r->why, sizeof r->why, f->why.len ? f->why : f->evidence);
  text(r->cause, sizeof r->cause, f->cause);
  text(r->id_text, sizeof r->id_text, f->id);
  for (size_t i = 0; i < f->request_count && i < SIM_MAX_REQUESTS; i++) {
    r->requests[i].seq = f->requests[i].seq_id;
    memcpy(r->requests[i].sha256, f->requests[i].sha256, SIM_DIGEST_LEN);
    r->request_count = i + 1;
  }
}

static void take_batches(sim_record_t *out, tinker__str_t bytes) {
  if (out->type != TINKER__REC_STEP_COMMIT) return;
  size_t n = bytes.len / SIM_DIGEST_LEN;
  if (n > SIM_MAX_REQUESTS) n = SIM_MAX_REQUESTS;
  if (n) memcpy(out->batches, bytes.ptr, n * SIM_DIGEST_LEN);
  out->batch_count = n;
}

static sim_record_t *next_record(taking_t *t) {
  sim_history_t *h = t->h;
  if (h->record_count == t->room) {
    t->room = t->room ? 2 * t->room : 256;
    h->records = realloc(h->records, t->room * sizeof *h->records);
  }
  sim_record_t *r = &h->records[h->record_count++];
  memset(r, 0, sizeof *r);
  return r;
}

static int on_record(void *user, int64_t epoch, const tinker__rec_record_t *r) {
  taking_t *t = user;
  tinker__rec_facts_t f;
  tinker__arena_t arena;
  char why[256];
  tinker__arena_init(&arena, &t->mem);
  int rc = tinker__rec_facts_read(&f, &arena, r->fields, why, sizeof why);
  if (rc == 0) {
    sim_record_t *out = next_record(t);
    out->epoch = epoch;
    out->id = r->id;
    out->type = r->type;
    out->generation = r->generation;
    out->step = r->step;
    out->at_ms = r->boot_ms;
    take_facts(out, &f);
    take_batches(out, r->bytes);
  }
  tinker__arena_free(&arena);
  return rc;
}

/* The chains, and all that the fold refuses. */
static bool is_whole(const tinker__rec_folder_t *folder, char *why,
                     size_t why_len) {
  tinker__rec_state_t state;
  if (tinker__rec_load(folder, &state, why, why_len) != 0) return false;
  tinker__rec_state_free(&state);
  return true;
}

void sim_history_take(sim_history_t *h, const sim_server_t *server,
                      const char *folder, const char *lineage, char *why,
                      size_t why_len) {
  taking_t t = {.h = h};
  h->folder = folder;
  h->lineage = lineage;
  take_server(h, server);
  tinker__mem_init(&t.mem, NULL, 0);
  const tinker__rec_folder_t where = {&t.mem, tinker__world_real(), folder,
                                      lineage, true};
  h->journal_whole =
      tinker__rec_show(&where, on_record, &t, why, why_len) == 0 &&
      is_whole(&where, why, why_len);
}

void sim_history_free(sim_history_t *h) {
  free(h->entries);
  free(h->sessions);
  free(h->models);
  free(h->checkpoints);
  free(h->records);
  memset(h, 0, sizeof *h);
}
