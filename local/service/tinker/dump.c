/* dump: shows what the service is doing, for an operator who wonders why
 * nothing happens. Over the Unix socket only. All of it is read under one hold
 * of the lock, so the numbers belong together. At most MAX_MODELS models that
 * have work are listed. HTTP thread. */
#include "service/tinker/handlers.h"

#define MAX_MODELS 256

static void number(tinker__jsonw_t *w, const char *key, int64_t value) {
  tinker__jsonw_key(w, key);
  tinker__jsonw_i64(w, value);
}

static void flag(tinker__jsonw_t *w, const char *key, bool value) {
  tinker__jsonw_key(w, key);
  tinker__jsonw_bool(w, value);
}

static void text(tinker__jsonw_t *w, const char *key, const char *value) {
  tinker__jsonw_key(w, key);
  tinker__jsonw_cstr(w, value);
}

static int64_t length(const tinker__link_t *list) {
  int64_t n = 0;
  TINKER__LIST_EACH(l, tmp, list) n++;
  return n;
}

static void dump_sessions(const tinker__svc_t *s, tinker__jsonw_t *w) {
  int64_t count[TINKER__SVC_SESSION_STATES] = {0};
  TINKER__LIST_EACH(l, tmp, &s->sessions) {
    count[TINKER__CONTAINER(l, tinker__svc_session_t, link)->state]++;
  }
  tinker__jsonw_key(w, "sessions");
  tinker__jsonw_begin_object(w);
  for (int i = 0; i < TINKER__SVC_SESSION_STATES; i++) {
    number(w, tinker__svc_session_state_name((tinker__svc_session_state_t)i),
           count[i]);
  }
  tinker__jsonw_end_object(w);
}

/* Counts all known futures by state. */
static void dump_ops(const tinker__svc_t *s, tinker__jsonw_t *w) {
  int64_t count[TINKER__SVC_OP_STATES] = {0};
  size_t cursor = 0;
  void *value;
  tinker__str_t id;
  while (tinker__map_next(s->op_by_id, &cursor, &id, &value)) {
    const tinker__svc_op_t *op = value;
    count[op->state]++;
  }
  tinker__jsonw_key(w, "calls");
  tinker__jsonw_begin_object(w);
  for (int i = TINKER__SVC_OP_LOGGING; i < TINKER__SVC_OP_STATES; i++) {
    number(w, tinker__svc_op_state_name((tinker__svc_op_state_t)i), count[i]);
  }
  number(w, "samples", s->samples);
  tinker__jsonw_end_object(w);
}

static void dump_store(const tinker__svc_t *s, tinker__jsonw_t *w) {
  tinker__jsonw_key(w, "store");
  tinker__jsonw_begin_object(w);
  number(w, "queued", (int64_t)tinker__db_queued(s->store));
  number(w, "commits", tinker__db_commits(s->store));
  number(w, "locked_ms", atomic_load(&s->locked_ms));
  tinker__jsonw_end_object(w);
}

/* The numbers of "doing" are explained in config.h. */
static void dump_engine(const tinker__svc_t *s, tinker__jsonw_t *w) {
  size_t tasks, samples;
  uint64_t beat = tinker__eng_scheduler_beat(s->scheduler);
  tinker__eng_scheduler_queued(s->scheduler, &tasks, &samples);
  tinker__jsonw_key(w, "engine");
  tinker__jsonw_begin_object(w);
  flag(w, "busy", beat % 2);
  number(w, "turns", (int64_t)(beat / 2));
  number(w, "rounds", (int64_t)tinker__eng_scheduler_rounds(s->scheduler));
  number(w, "doing", atomic_load(s->doing));
  number(w, "models_queued", (int64_t)tasks);
  number(w, "samples_queued", (int64_t)samples);
  tinker__jsonw_end_object(w);
}

static void dump_model(const tinker__svc_model_t *m, tinker__jsonw_t *w) {
  const tinker__link_t *first = tinker__list_first(&m->pending);
  tinker__jsonw_begin_object(w);
  text(w, "model_id", m->id);
  text(w, "base_model", m->base->name);
  number(w, "queued", length(&m->pending));
  number(w, "next_seq_id", m->next_seq);
  if (first) {
    number(w, "first_seq_id",
           TINKER__CONTAINER(first, tinker__svc_op_t, link)->seq);
  }
  text(w, "state", tinker__svc_model_state_name(m->state));
  if (m->current) text(w, "executes", m->current->request_id);
  if (m->broken) text(w, "broken", m->broken);
  tinker__jsonw_end_object(w);
}

static void dump_models(const tinker__svc_t *s, tinker__jsonw_t *w) {
  int listed = 0;
  int64_t count[TINKER__SVC_MODEL_STATES] = {0};
  TINKER__LIST_EACH(k, next, &s->models) {
    count[TINKER__CONTAINER(k, tinker__svc_model_t, link)->state]++;
  }
  tinker__jsonw_key(w, "models");
  tinker__jsonw_begin_object(w);
  for (int i = 0; i < TINKER__SVC_MODEL_STATES; i++) {
    number(w, tinker__svc_model_state_name((tinker__svc_model_state_t)i),
           count[i]);
  }
  tinker__jsonw_end_object(w);
  tinker__jsonw_key(w, "models_with_work");
  tinker__jsonw_begin_array(w);
  TINKER__LIST_EACH(l, tmp, &s->models) {
    const tinker__svc_model_t *m =
        TINKER__CONTAINER(l, tinker__svc_model_t, link);
    if (!m->current && tinker__list_empty(&m->pending)) continue;
    if (listed++ == MAX_MODELS) break;
    dump_model(m, w);
  }
  tinker__jsonw_end_array(w);
}

tinker__svc_handled_t tinker__svc_handle_dump(tinker__svc_t *s,
                                              tinker__svc_req_t *r) {
  tinker__jsonw_t w;
  if (!r->unix_socket) {
    return tinker__svc_reply_error(
        r, 403, "for the service's operator only, over its Unix socket");
  }
  tinker__svc_reply_json(r, &w);
  tinker__svc_lock(s);
  tinker__jsonw_begin_object(&w);
  flag(&w, "ends", tinker__svc_ends(s));
  number(&w, "requests", (int64_t)s->live_requests);
  number(&w, "polls_parked", length(&s->polls));
  dump_sessions(s, &w);
  dump_ops(s, &w);
  dump_models(s, &w);
  dump_store(s, &w);
  dump_engine(s, &w);
  tinker__jsonw_end_object(&w);
  tinker__svc_unlock(s);
  return TINKER__ANSWERED;
}
