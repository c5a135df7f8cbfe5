/* dump: what the service is at, for the one who runs it and asks why nothing
 * happens. Over the Unix socket only. Everything is read in one hold of the
 * lock, so that it is one moment; models that have work are listed, at most
 * MAX_MODELS of them. HTTP thread. */
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
  int64_t live = 0, ended = 0;
  TINKER__LIST_EACH(l, tmp, &s->sessions) {
    if (TINKER__CONTAINER(l, tinker__svc_session_t, link)->ended_ms) {
      ended++;
    } else {
      live++;
    }
  }
  tinker__jsonw_key(w, "sessions");
  tinker__jsonw_begin_object(w);
  number(w, "live", live);
  number(w, "ended", ended);
  tinker__jsonw_end_object(w);
}

/* Every future that is known, by its state. */
static void dump_ops(const tinker__svc_t *s, tinker__jsonw_t *w) {
  int64_t count[4] = {0}, logging = 0;
  size_t cursor = 0;
  void *value;
  tinker__str_t id;
  while (tinker__map_next(s->op_by_id, &cursor, &id, &value)) {
    const tinker__svc_op_t *op = value;
    count[op->state]++;
    if (!op->ack.durable) logging++;
  }
  tinker__jsonw_key(w, "calls");
  tinker__jsonw_begin_object(w);
  number(w, "pending", count[TINKER__SVC_OP_PENDING]);
  number(w, "done", count[TINKER__SVC_OP_DONE]);
  number(w, "failed", count[TINKER__SVC_OP_FAILED]);
  number(w, "rejected", count[TINKER__SVC_OP_REJECTED]);
  number(w, "on_their_way_into_the_store", logging);
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

/* doing: as config.h has it. */
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
  flag(w, "with_the_engine", m->busy);
  if (m->current) text(w, "executes", m->current->request_id);
  if (m->broken) text(w, "broken", m->broken);
  tinker__jsonw_end_object(w);
}

static void dump_models(const tinker__svc_t *s, tinker__jsonw_t *w) {
  int listed = 0;
  number(w, "models", length(&s->models));
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
