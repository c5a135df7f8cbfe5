/* Which checkpoint a path means. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <tinker/error.h>

#include "rig.h"

static int look(rig_t *rig, const char *path, int64_t *row) {
  char why[300];
  tinker__svc_checkpoint_t *c = NULL;
  int rc = tinker__svc_checkpoint_lookup(rig->s, tinker__str(path), &c, why,
                                         sizeof why);
  if (rc == 0) *row = c->row;
  return rc;
}

/* One whose row is not committed yet does not exist for anybody, nor does it
 * hide the older one of its name. */
Test(checkpoint, nobody_sees_what_is_not_durable) {
  static rig_t rig;
  static reply_t reply;
  char session[80], model[120], body[300], path[200];
  int64_t row = 0, first = 0;
  rig_open(&rig);
  rig_session(&rig, session, sizeof session);
  rig_model(&rig, session, 0, model, sizeof model);
  snprintf(body, sizeof body,
           "{\"model_id\":\"%s\",\"seq_id\":1,\"path\":\"a\"}", model);
  rig_do(&rig, "POST api/v1/save_weights", body, &reply);
  rig_member(&reply, "path", path, sizeof path);
  pthread_mutex_lock(&rig.s->lock);
  cr_assert_eq(look(&rig, path, &first), 0);
  tinker__svc_model_t *m = tinker__svc_model_find(rig.s, tinker__str(model));
  tinker__svc_checkpoint_t *c =
      TINKER__CONTAINER(m->checkpoints.next, tinker__svc_checkpoint_t, link);
  tinker__svc_checkpoint_t next = *c;
  next.row = first + 1000;
  next.durable = false;
  tinker__list_insert_before(&c->link, &next.link);
  cr_assert_eq(look(&rig, path, &row), 0);
  cr_assert_eq(row, first);
  c->durable = false;
  cr_assert_eq(look(&rig, path, &row), TINKER_ENOENT);
  c->durable = true;
  tinker__list_remove(&next.link);
  pthread_mutex_unlock(&rig.s->lock);
  rig_close(&rig);
}
