/* sampler: sampling sessions and their calls. Under the service's lock. */
#include <stdio.h>
#include <string.h>

#include <tinker/error.h>

#include "service/calls/calls.h"
#include "service/core/trying.h"
#include "service/parse/work.h"

int tinker__svc_sampler_add(tinker__svc_t *s, tinker__svc_sampler_t *p) {
  int rc = tinker__map_put(s->sampler_by_id, tinker__str(p->id), p, NULL);
  if (rc != 0) return rc;
  tinker__list_push_back(&s->samplers, &p->link);
  tinker__list_push_back(&p->session->samplers, &p->by_session);
  if (!tinker__svc_session_over(p->session)) {
    tinker__svc_base_hold(p->base, &p->holds);
  }
  return 0;
}

void tinker__svc_sampler_free(tinker__svc_t *s, tinker__svc_sampler_t *p) {
  tinker__link_t *l;
  if (!p) return;
  if (p->base) tinker__svc_base_drop(p->base, &p->holds);
  while ((l = tinker__list_pop_front(&p->ops)) != NULL) {
    tinker__svc_op_free(TINKER__CONTAINER(l, tinker__svc_op_t, all));
  }
  tinker__mem_free(s->mem, p->id);
  tinker__mem_free(s->mem, p->path);
  tinker__mem_free(s->mem, p);
}

int tinker__svc_sampler_new(tinker__svc_sampler_t **out, tinker__svc_t *s,
                            tinker__svc_session_t *session, int64_t seq,
                            char *why, size_t why_len) {
  char id[80];
  snprintf(id, sizeof id, "%s:sample:%lld", session->id, (long long)seq);
  if (tinker__map_get(s->sampler_by_id, tinker__str(id))) {
    return tinker__why(
        why, why_len, TINKER_EEXIST,
        "sampling_session_seq_id %lld of session %s was used before",
        (long long)seq, session->id);
  }
  tinker__svc_sampler_t *p = tinker__mem_zalloc(s->mem, sizeof *p);
  if (p) p->id = tinker__mem_strdup(s->mem, id);
  if (!p || !p->id) {
    tinker__mem_free(s->mem, p);
    return tinker__why(why, why_len, TINKER_ENOMEM, "out of memory");
  }
  tinker__list_init(&p->link);
  tinker__list_init(&p->by_session);
  tinker__list_init(&p->loaded);
  tinker__list_init(&p->ops);
  tinker__svc_ack_init(&p->ack);
  p->service = s;
  p->session = session;
  p->seq = seq;
  *out = p;
  return 0;
}

void tinker__svc_sampler_write(tinker__db_write_t *w,
                               const tinker__svc_sampler_t *p) {
  tinker__db_write_sql(w,
                       "INSERT INTO samplers(row, session, seq, digest, base,"
                       " path, checkpoint) VALUES(?, ?, ?, ?, ?, ?, ?)");
  tinker__db_write_i64(w, p->row);
  tinker__db_write_i64(w, p->session->row);
  tinker__db_write_i64(w, p->seq);
  tinker__db_write_blob(w, p->digest, sizeof p->digest);
  tinker__db_write_text(w, p->base->name);
  tinker__db_write_text(w, p->path);
  tinker__db_write_i64(w, p->checkpoint);
}

void tinker__svc_sampler_forget(tinker__svc_t *s, tinker__svc_sampler_t *p) {
  tinker__map_remove(s->sampler_by_id, tinker__str(p->id));
  tinker__list_remove(&p->link);
  tinker__list_remove(&p->by_session);
}

/* --- Calls of samplers ---------------------------------------------------- */

void tinker__svc_sampler_kick(tinker__svc_op_t *op) {
  tinker__svc_t *s = op->service;
  tinker__eng_gen_t *gen = op->work ? op->work->gen : NULL;
  bool ended = tinker__svc_session_over(op->sampler->session);
  if (op->state != TINKER__SVC_OP_WAITING || !gen || s->stopping ||
      !s->scheduler) {
    return;
  }
  if (op->paused_until_ms && !ended) return;
  op->work->gen = NULL;
  if (ended) {
    tinker__eng_gen_free(gen);
    tinker__svc_op_fail_locked(op, "user", TINKER__SAMPLE_CANCELED);
    return;
  }
  if (op->blame == TINKER__SVC_BLAME_DEATHS) {
    tinker__eng_gen_free(gen);
    tinker__svc_op_fail_locked(
        op, "server", "the service was killed %d times while it sampled",
        TINKER__MAX_SAMPLE_DEATHS);
    return;
  }
  if (op->blame == TINKER__SVC_BLAME_CRASH) {
    tinker__eng_gen_free(gen);
    tinker__svc_op_fail_locked(
        op, "server", "the engine crashed while this was sampled (signal %d)",
        s->config.crash_signal);
    return;
  }
  tinker__svc_op_move(op, TINKER__SVC_OP_RUNNING);
  s->runner->sample(op, gen);
}

void tinker__svc_sampler_end(tinker__svc_sampler_t *p) {
  tinker__svc_base_drop(p->base, &p->holds);
  TINKER__LIST_EACH(l, tmp, &p->ops) {
    tinker__svc_op_t *op = TINKER__CONTAINER(l, tinker__svc_op_t, all);
    if (op->running) {
      atomic_store(&op->running->cancel, true);
    } else {
      tinker__svc_sampler_kick(op);
    }
  }
}
