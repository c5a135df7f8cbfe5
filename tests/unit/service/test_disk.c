/* Disk errors while a model's state is written: the future tells the failure,
 * no part of a checkpoint is left or listed, the service goes on and the next
 * save works. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <tinker/error.h>

#include "cpu/cpu.h"
#include "rig.h"

/* What fails: the n-th of that function, with that error. */
typedef enum { WRITE, OPEN, FSYNC, RENAME, NONE } point_t;

static struct {
  point_t point;
  int countdown, error;
} fault = {.point = NONE};
static const tinker__engine_api_t *cpu_api;

static bool hit(point_t point) {
  if (fault.point != point || --fault.countdown != 0) return false;
  errno = fault.error;
  return true;
}

static int fail_open(void *user, const char *path, int flags, mode_t mode) {
  const tinker__world_t *real = tinker__world_real();
  (void)user;
  return hit(OPEN) ? -1 : real->open(real->user, path, flags, mode);
}

static int fail_fsync(void *user, int fd) {
  const tinker__world_t *real = tinker__world_real();
  (void)user;
  return hit(FSYNC) ? -1 : real->fsync(real->user, fd);
}

static int fail_rename(void *user, const char *from, const char *to) {
  const tinker__world_t *real = tinker__world_real();
  (void)user;
  return hit(RENAME) ? -1 : real->rename(real->user, from, to);
}

/* The engine's files: half of one is there when the disk is full. */
static int half_file(const char *dir, char *why, size_t why_len) {
  char path[1400];
  snprintf(path, sizeof path, "%s/state.safetensors.0123.tmp", dir);
  FILE *f = fopen(path, "w");
  cr_assert_neq(f, NULL);
  fputs("half", f);
  fclose(f);
  return tinker__why(why, why_len, TINKER_EIO, "%s: %s", path,
                     strerror(fault.error));
}

static int fail_train_save(tinker__eng_train_t *t, const char *dir, char *why,
                           size_t why_len) {
  if (hit(WRITE)) return half_file(dir, why, why_len);
  return cpu_api->train_save(t, dir, why, why_len);
}

static int fail_train_keep(tinker__eng_train_t *t, const char *dir, char *why,
                           size_t why_len) {
  if (hit(WRITE)) return half_file(dir, why, why_len);
  return cpu_api->train_keep(t, dir, why, why_len);
}

static int fail_adapter_save(tinker__eng_adapter_t *a, const char *dir,
                             char *why, size_t why_len) {
  if (hit(WRITE)) return half_file(dir, why, why_len);
  return cpu_api->adapter_save(a, dir, why, why_len);
}

/* The snapshot of a model can't be read, the first time. */
static int unreadable;

static int fail_train_resume(tinker__eng_base_t *b, const char *dir,
                             tinker__eng_train_t **out, char *why,
                             size_t why_len) {
  if (unreadable && unreadable-- > 0) {
    return tinker__why(why, why_len, TINKER_EIO, "%s: %s", dir, strerror(EIO));
  }
  return cpu_api->train_resume(b, dir, out, why, why_len);
}

typedef struct {
  rig_t rig;
  char session[80], model[120];
  int seq, saved; /* saved: checkpoints there must be */
  reply_t reply;
} disk_t;

static void save(disk_t *d, const char *route, const char *name, bool works) {
  char body[400];
  snprintf(body, sizeof body, "{\"model_id\":\"%s\",\"seq_id\":%d,%s}",
           d->model, ++d->seq, name);
  rig_do(&d->rig, route, body, &d->reply);
  bool ok = !strstr(d->reply.text, "\"error\":");
  cr_assert_eq(ok, works, "%s %s: %s", route, name, d->reply.text);
  if (!works) {
    cr_assert_neq(strstr(d->reply.text, strerror(fault.error)), NULL, "%s",
                  d->reply.text);
    cr_assert_neq(strstr(d->reply.text, "\"category\":\"server\""), NULL);
  }
  d->saved += ok;
  cr_assert_eq(rig_count(&d->rig, "checkpoints", ".tmp"), 0);
  cr_assert_eq(rig_count(&d->rig, "checkpoints", ""), d->saved);
}

static int listed(disk_t *d) {
  int n = 0;
  rig_call(&d->rig, "GET api/v1/checkpoints", NULL, NULL, "", &d->reply);
  cr_assert_eq(d->reply.status, 200);
  for (char *p = d->reply.text; (p = strstr(p, "\"tinker_path\"")); p++) n++;
  return n;
}

static const struct {
  point_t point;
  int nth, error;
} faults[] = {{WRITE, 1, ENOSPC},  {WRITE, 1, EIO},   {OPEN, 1, EMFILE},
              {OPEN, 2, EACCES},   {FSYNC, 1, EIO},   {FSYNC, 2, ENOSPC},
              {RENAME, 1, ENOSPC}, {RENAME, 1, EROFS}};

/* In front of a number and behind it. */
static const struct {
  const char *route, *key, *end;
} saves[] = {{"POST api/v1/save_weights", "\"path\":\"c", "\""},
             {"POST api/v1/save_weights_for_sampler", "\"path\":\"s", "\""},
             {"POST api/v1/save_weights_for_sampler",
              "\"sampling_session_seq_id\":", ""}};

static void arm(size_t i) {
  fault.countdown = faults[i].nth;
  fault.error = faults[i].error;
  fault.point = faults[i].point;
}

static void open_disk(disk_t *d) {
  memset(d, 0, sizeof *d);
  rig_open(&d->rig);
  cpu_api = tinker__cpu_engine();
  rig_session(&d->rig, d->session, sizeof d->session);
  rig_model(&d->rig, d->session, 0, d->model, sizeof d->model);
  d->rig.api.train_save = fail_train_save;
  d->rig.api.train_keep = fail_train_keep;
  d->rig.api.adapter_save = fail_adapter_save;
  d->rig.world.open = fail_open;
  d->rig.world.fsync = fail_fsync;
  d->rig.world.rename = fail_rename;
}

Test(disk, saves_fail_whole) {
  static disk_t d;
  char name[80];
  open_disk(&d);
  for (size_t k = 0; k < sizeof saves / sizeof *saves; k++) {
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
      snprintf(name, sizeof name, "%s%zu%s", saves[k].key, i, saves[k].end);
      arm(i);
      save(&d, saves[k].route, name, false);
      fault.point = NONE;
      save(&d, saves[k].route, name, true); /* the name was not taken */
    }
  }
  int n = listed(&d);
  cr_assert_eq(n, 16, "%d", n); /* ephemeral ones have no name */
  rig_stop(&d.rig);
  rig_start(&d.rig);
  cr_assert_eq(listed(&d), n);
  rig_close(&d.rig);
}

/* A load keeps the model as it was when its own state can't be written. */
Test(disk, a_load_that_cannot_be_kept) {
  static disk_t d;
  char body[500], path[200];
  open_disk(&d);
  save(&d, "POST api/v1/save_weights", "\"path\":\"a\"", true);
  rig_member(&d.reply, "path", path, sizeof path);
  for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
    rig_model(&d.rig, d.session, 1 + (int)i, d.model, sizeof d.model);
    snprintf(body, sizeof body,
             "{\"model_id\":\"%s\",\"seq_id\":1,\"path\":\"%s\","
             "\"optimizer\":true}",
             d.model, path);
    arm(i);
    rig_do(&d.rig, "POST api/v1/load_weights", body, &d.reply);
    fault.point = NONE;
    cr_assert_neq(strstr(d.reply.text, strerror(faults[i].error)), NULL, "%s",
                  d.reply.text);
    cr_assert_eq(rig_count(&d.rig, "snapshots", ""), 0);
    rig_fb_body(body, sizeof body, d.model, 2);
    rig_do(&d.rig, "POST api/v1/forward_backward", body, &d.reply);
    cr_assert_neq(strstr(d.reply.text, "\"logprobs\""), NULL, "%s",
                  d.reply.text);
  }
  rig_stop(&d.rig);
  rig_start(&d.rig); /* and the log says the same */
  rig_fb_body(body, sizeof body, d.model, 3);
  rig_do(&d.rig, "POST api/v1/forward_backward", body, &d.reply);
  cr_assert_neq(strstr(d.reply.text, "\"logprobs\""), NULL, "%s", d.reply.text);
  rig_close(&d.rig);
}

/* A read error while a model is restored: the model waits and is tried again,
 * and is as it was. */
Test(disk, a_restore_that_cannot_read) {
  static disk_t d;
  char body[500], path[200], id[200];
  open_disk(&d);
  save(&d, "POST api/v1/save_weights", "\"path\":\"a\"", true);
  rig_member(&d.reply, "path", path, sizeof path);
  rig_model(&d.rig, d.session, 1, d.model, sizeof d.model);
  snprintf(body, sizeof body,
           "{\"model_id\":\"%s\",\"seq_id\":1,\"path\":\"%s\","
           "\"optimizer\":true}",
           d.model, path);
  rig_do(&d.rig, "POST api/v1/load_weights", body, &d.reply);
  rig_fb_body(body, sizeof body, d.model, 2);
  rig_do(&d.rig, "POST api/v1/forward_backward", body, &d.reply);
  d.rig.api.train_resume = fail_train_resume;
  rig_stop(&d.rig);
  unreadable = 1;
  rig_start(&d.rig);
  rig_optim_body(body, sizeof body, d.model, 3);
  rig_call(&d.rig, "POST api/v1/optim_step", NULL, NULL, body, &d.reply);
  cr_assert_eq(d.reply.status, 200, "%s", d.reply.text);
  rig_member(&d.reply, "request_id", id, sizeof id);
  rig_result(&d.rig, id, &d.reply);
  cr_assert_eq(d.rig.restarts, 0);
  cr_assert_neq(strstr(d.reply.text, "unclipped_grad_l2"), NULL, "%s",
                d.reply.text);
  rig_close(&d.rig);
}
