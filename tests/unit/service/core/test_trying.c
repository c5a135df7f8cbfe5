/* What a start makes of the call that its predecessor was killed in, again and
 * again. A death is written into the file as the kernel would leave it. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <tinker/error.h>
#include <unistd.h>

#include "cpu/cpu.h"
#include "rig.h"
#include "service/core/trying.h"

static rig_t rig;
static reply_t reply;
static char session[80], model[120], body[900], id[200];
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static atomic_int steps;

static int step(tinker__eng_train_t *t, const tinker__eng_optim_params_t *p,
                tinker__eng_optim_metrics_t *out, char *why, size_t why_len) {
  atomic_fetch_add(&steps, 1);
  pthread_mutex_lock(&gate);
  pthread_mutex_unlock(&gate);
  return tinker__cpu_engine()->optim_step(t, p, out, why, why_len);
}

static void open_rig(void) {
  rig_open(&rig);
  rig_stop(&rig);
  rig.api.optim_step = step;
  rig.logs = true;
  rig_start(&rig);
  rig_session(&rig, session, sizeof session);
  rig_model(&rig, session, 0, model, sizeof model);
}

static void optim(int seq) {
  rig_optim_body(body, sizeof body, model, seq);
  rig_call(&rig, "POST api/v1/optim_step", NULL, NULL, body, &reply);
  cr_assert_eq(reply.status, 200, "%s", reply.text);
  rig_member(&reply, "request_id", id, sizeof id);
}

static void rig_path(char *path, size_t len, const char *name) {
  snprintf(path, len, "%s/%s", rig.dir, name);
}

static void read_file(char *out, size_t len) {
  char path[80];
  rig_path(path, sizeof path, "trying");
  int fd = open(path, O_RDONLY);
  cr_assert_geq(fd, 0);
  cr_assert_eq(read(fd, out, len), (ssize_t)len);
  close(fd);
}

static void write_file(const char *data, size_t len) {
  char path[80];
  rig_path(path, sizeof path, "trying");
  int fd = open(path, O_WRONLY);
  cr_assert_geq(fd, 0);
  cr_assert_eq(write(fd, data, len), (ssize_t)len);
  close(fd);
}

/* The engine thread is in the call now; then it is as if the process had been
 * killed there: nothing of the call is stored, and the file says what it was.
 */
static void die_in_call(int64_t before) {
  static char page[1064];
  while (atomic_load(&steps) == before) sched_yield();
  read_file(page, sizeof page);
  atomic_store(&rig.s->fatal, true);
  rig_refuse(&rig, "UPDATE ON requests WHEN NEW.state != 0");
  pthread_mutex_unlock(&gate);
  rig_stop(&rig);
  write_file(page, sizeof page);
  rig_allow(&rig);
}

static void start_and_die(void) {
  int before = atomic_load(&steps);
  pthread_mutex_lock(&gate);
  rig_start(&rig);
  die_in_call(before);
}

Test(trying, a_call_that_kills_fails_at_last) {
  open_rig();
  int before = atomic_load(&steps);
  pthread_mutex_lock(&gate);
  optim(1);
  die_in_call(before);
  for (int i = 1; i < TINKER__MAX_DEATHS; i++) start_and_die();
  rig_start(&rig);
  rig_result(&rig, id, &reply);
  cr_assert_neq(strstr(reply.text, "was killed 3 times"), NULL, "%s",
                reply.text);
  cr_assert_neq(strstr(reply.text, "\"category\":\"server\""), NULL);
  cr_assert_eq(atomic_load(&steps), TINKER__MAX_DEATHS);
  optim(2); /* and the model goes on */
  rig_result(&rig, id, &reply);
  cr_assert_neq(strstr(reply.text, "metrics"), NULL, "%s", reply.text);
  rig_stop(&rig); /* its log is whole then */
  cr_assert_neq(strstr(rig.log, "\"times\":\"3\""), NULL, "%s", rig.log);
  rig_close(&rig);
}

/* The log was told already: its model waits, in every second start. */
Test(trying, a_log_that_kills_is_left_alone_every_second_time) {
  open_rig();
  optim(1);
  rig_result(&rig, id, &reply);
  rig_kill(&rig);
  for (int i = 0; i < TINKER__MAX_DEATHS; i++) {
    int before = atomic_load(&steps);
    pthread_mutex_lock(&gate);
    rig_start(&rig);
    if (i == 0) optim(2); /* somebody waits for it from now on */
    die_in_call(before);
  }
  for (int i = 0; i < 2; i++) {
    int before = atomic_load(&steps);
    rig.log_len = 0;
    rig_start(&rig);
    snprintf(body, sizeof body, "{\"request_id\":\"%s\"}", id);
    rig_call(&rig, "POST api/v1/retrieve_future", NULL, NULL, body, &reply);
    cr_assert_neq(strstr(reply.text, "try_again"), NULL, "%s", reply.text);
    cr_assert_neq(strstr(reply.text, "was killed each time"), NULL, "%s",
                  reply.text);
    cr_assert_eq(atomic_load(&steps), before);
    rig_stop(&rig);
    if (i == 0) start_and_die();
  }
  rig_start(&rig); /* there is more memory now */
  rig_result(&rig, id, &reply);
  cr_assert_neq(strstr(reply.text, "metrics"), NULL, "%s", reply.text);
  rig_close(&rig);
}

/* A round that never ends by itself. */
static atomic_bool rounds_end;
static int endless(tinker__engine_t *e, const tinker__eng_decode_item_t *items,
                   size_t n, const atomic_bool *cancel, char *why,
                   size_t why_len) {
  while (!atomic_load(&rounds_end)) {
    if (atomic_load(cancel)) return TINKER_ECANCELED;
    sched_yield();
  }
  return tinker__cpu_engine()->decode(e, items, n, cancel, why, why_len);
}

static void sample(const char *sampler, int seq, char *request, size_t len) {
  snprintf(body, sizeof body,
           "{\"sampling_session_id\":\"%s\",\"seq_id\":%d,\"num_samples\":1,"
           "\"prompt\":{\"chunks\":[{\"type\":\"encoded_text\",\"tokens\":"
           "[1,2]}]},\"sampling_params\":{\"max_tokens\":2,\"stop\":[]}}",
           sampler, seq);
  rig_call(&rig, "POST api/v1/asample", NULL, NULL, body, &reply);
  cr_assert_eq(reply.status, 200, "%s", reply.text);
  rig_member(&reply, "request_id", request, len);
}

/* The process is killed in a decode round, and started again. */
static void die_in_round(void) {
  static char page[1064];
  int64_t round = -1;
  read_file(page, sizeof page);
  memcpy(page + 24, &round, sizeof round);
  rig_kill(&rig);
  write_file(page, sizeof page);
  rig_start(&rig);
}

/* Only those that were under way each time, and only if some still are: in
 * which sample it was is not known. */
Test(trying, samples_that_were_there_each_time_fail_at_last) {
  char sampler[120], old[200], young[200];
  atomic_store(&rounds_end, false);
  open_rig();
  rig_stop(&rig);
  rig.api.decode = endless;
  rig.api.pick = NULL; /* every round calls decode */
  rig_start(&rig);
  rig_sampler(&rig, session, sampler, sizeof sampler);
  sample(sampler, 0, old, sizeof old);
  for (int i = 0; i < 4; i++) die_in_round();
  atomic_store(&rounds_end, true);
  rig_result(&rig, old, &reply); /* it was not the culprit */
  cr_assert_neq(strstr(reply.text, "sequences"), NULL, "%s", reply.text);
  atomic_store(&rounds_end, false);
  sample(sampler, 1, old, sizeof old);
  die_in_round();
  sample(sampler, 2, young, sizeof young);
  for (int i = 1; i < TINKER__MAX_SAMPLE_DEATHS; i++) die_in_round();
  rig_result(&rig, old, &reply);
  cr_assert_neq(strstr(reply.text, "was killed 12 times"), NULL, "%s",
                reply.text);
  atomic_store(&rounds_end, true);
  rig_result(&rig, young, &reply);
  cr_assert_neq(strstr(reply.text, "sequences"), NULL, "%s", reply.text);
  rig_close(&rig);
}

/* What is no such file is made anew, and a start without one goes on. */
Test(trying, a_file_of_something_else) {
  static const char other[] = "something else";
  open_rig();
  rig_stop(&rig);
  write_file(other, sizeof other);
  rig_start(&rig);
  optim(1);
  rig_result(&rig, id, &reply);
  cr_assert_neq(strstr(reply.text, "metrics"), NULL, "%s", reply.text);
  rig_close(&rig);
}
