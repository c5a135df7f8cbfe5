/* job: see job.h. */
#include "api/job.h"

#include "api/compound.h"

static void drop_owner(void *core) {
  tinker__core_unhold(core);
}

int tinker__job_new(tinker_future_t **out, tinker_client_t *core,
                    const tinker__kind_t *kind,
                    const tinker__future_ops_t *result, size_t parts) {
  tinker_future_t *f;
  tinker__job_t *job = tinker__mem_zalloc(core->mem, sizeof *job);
  if (!job) return TINKER_ENOMEM;
  if (tinker__future_new(&f, core->mem, result, parts, NULL, NULL)) {
    tinker__mem_free(core->mem, job);
    return TINKER_ENOMEM;
  }
  job->core = core;
  tinker__arena_init(&job->arena, core->mem);
  f->subject = job;
  f->kind = kind->id;
  tinker__core_hold(core);
  f->owner = core;
  f->unown = drop_owner;
  *out = f;
  return 0;
}

int tinker__job_op(tinker__op_t **out, tinker_future_t *f,
                   const tinker__kind_t *kind, size_t parts) {
  tinker_client_t *core = tinker__job_of(f)->core;
  tinker__waits_t *waits =
      kind->local ? NULL : tinker__waits_of(&core->waits, kind->id, core->mem);
  if (!waits && !kind->local) return TINKER_ENOMEM;
  int rc = tinker__op_new(out, core->mem, kind, parts, f);
  if (!rc) (*out)->waits = waits;
  return rc;
}

void tinker__job_free(tinker_future_t *f) {
  tinker__job_t *job = tinker__job_of(f);
  tinker__next_forget(job->core, f);
  tinker__compound_free(job->compound, f->mem);
  tinker_trainer_release(job->trainer);
  tinker_sampler_release(job->sampler);
  tinker__arena_free(&job->arena);
  tinker__mem_free(f->mem, job);
}

const char *tinker__job_str(tinker__job_t *job, const char *s) {
  return s ? tinker__arena_str(&job->arena, tinker__str(s)) : NULL;
}
