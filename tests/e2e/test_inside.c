/* The service inside a program, next to the client: every archive of the
 * project is linked whole into this one. The private folder is there while the
 * service runs and gone after it, whatever happens; a given state stays. */
#define _XOPEN_SOURCE 700 /* setenv, mkdtemp */
#include <criterion/criterion.h>
#include <dirent.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <tinker/local.h>
#include <tinker/tinker.h>
#include <unistd.h>

#include "support/calls.h"
#include "support/why_local.h"

static const char *const model = TINKER_TEST_DIR "/golden/models/qwen3_tied";
static char tmp[40], why[400];

static void setup(void) {
  snprintf(tmp, sizeof tmp, "/tmp/inside-XXXXXX");
  cr_assert_neq(mkdtemp(tmp), NULL);
  cr_assert_eq(setenv("TMPDIR", tmp, 1), 0);
}

/* How many entries a folder has, "." and ".." left out. */
static int entries(const char *path) {
  DIR *d = opendir(path);
  int n = -2;
  cr_assert_neq(d, NULL);
  while (readdir(d)) n++;
  closedir(d);
  return n;
}

static void teardown(void) {
  cr_expect_eq(rmdir(tmp), 0, "something was left in %s", tmp);
}

TestSuite(inside, .init = setup, .fini = teardown);

static void defaults(tinker_local_options_t *o) {
  tinker_local_options_init(o);
  o->model_dirs = &model;
  o->model_count = 1;
  o->threads = 1;
}

static tinker_local_t *start(const tinker_local_options_t *o) {
  tinker_local_t *local = NULL;
  int rc = why_local_start(&local, o, why, sizeof why);
  cr_assert_eq(rc, 0, "%d: %s", rc, why);
  return local;
}

/* The private folder of a service. */
static const char *folder(const tinker_local_t *local) {
  static char path[120];
  const char *endpoint = tinker_local_endpoint(local);
  cr_assert_eq(strncmp(endpoint, "unix:", 5), 0, "%s", endpoint);
  snprintf(path, sizeof path, "%s", endpoint + 5);
  *strrchr(path, '/') = 0;
  return path;
}

/* --- Clients -------------------------------------------------------------- */

static tinker_client_t *connect_to(const tinker_local_t *local) {
  tinker_client_options_t o;
  tinker_client_t *client = NULL;
  tinker_client_options_init(&o);
  o.base_url = tinker_local_endpoint(local);
  cr_assert_eq(why_client(&client, &o, why, sizeof why), 0, "%s", why);
  return client;
}

static tinker_future_t *done(tinker_future_t *f) {
  int rc = tinker_future_wait(f, 60000);
  cr_assert_eq(rc, 0, "%d: %s", rc,
               tinker_error_message(tinker_future_error(f)));
  return f;
}

static tinker_trainer_t *trainer_of(tinker_future_t *f) {
  tinker_trainer_t *trainer = NULL;
  cr_assert_eq(tinker_future_get_trainer(done(f), &trainer), 0);
  tinker_future_release(f);
  return trainer;
}

/* The loss of one step on a made-up sequence. */
static double step(tinker_trainer_t *trainer) {
  static const int32_t tokens[] = {3, 1, 4, 1, 5, 9, 2, 6};
  tinker_datum_t *datum = NULL;
  tinker_future_t *forward = NULL, *optim = NULL;
  const tinker_forward_result_t *result = NULL;
  tinker_adam_params_t adam;
  double loss = 0;
  tinker_adam_params_init(&adam);
  cr_assert_eq(tinker_datum_new_supervised(&datum, tokens, NULL, 8, NULL, NULL),
               0);
  tinker_datum_t *data = datum;
  cr_assert_eq(calls_begun(tinker_trainer_forward_backward(trainer, &data, 1,
                                                           NULL, NULL),
                           &forward),
               0);
  cr_assert_eq(
      calls_begun(tinker_trainer_optim_step(trainer, &adam, NULL), &optim), 0);
  cr_assert_eq(tinker_future_get_forward(done(forward), &result), 0);
  cr_assert_eq(tinker_forward_result_metric(result, "loss:sum", &loss), 0);
  tinker_future_release(forward);
  tinker_future_release(done(optim));
  tinker_datum_release(datum);
  return loss;
}

static tinker_trainer_t *new_trainer(tinker_client_t *client) {
  tinker_trainer_options_t o;
  tinker_future_t *f = NULL;
  tinker_trainer_options_init(&o);
  o.base_model = "qwen3_tied";
  o.rank = 4;
  o.seed = 1;
  cr_assert_eq(calls_begun(tinker_client_create_trainer(client, &o, NULL), &f),
               0);
  return trainer_of(f);
}

/* --- One program ---------------------------------------------------------- */

Test(inside, trains_and_is_gone) {
  tinker_local_options_t o;
  struct stat st;
  defaults(&o);
  tinker_local_t *local = start(&o);
  cr_assert_eq(stat(folder(local), &st), 0);
  cr_assert_eq(st.st_mode & 07777, 0700);
  cr_assert_eq(entries(tmp), 1);

  tinker_client_t *client = connect_to(local);
  tinker_trainer_t *trainer = new_trainer(client);
  double first = step(trainer), second = step(trainer);
  cr_assert_lt(second, first);
  tinker_trainer_release(trainer);
  tinker_client_release(client);
  cr_assert_eq(tinker_shutdown(30000), 0);
  cr_assert_eq(tinker_local_stop(local), 0);
  cr_assert_eq(entries(tmp), 0);
  cr_assert_eq(tinker_local_stop(NULL), 0);
}

/* A name of the program's choice, and two services that do not see each other.
 */
Test(inside, two_at_once) {
  tinker_local_options_t o;
  const char *name = "mine";
  defaults(&o);
  tinker_local_t *one = start(&o);
  o.model_names = &name;
  tinker_local_t *two = start(&o);
  cr_assert_str_neq(tinker_local_endpoint(one), tinker_local_endpoint(two));
  const tinker_local_t *all[] = {one, two};
  const char *const names[] = {"qwen3_tied", "mine"};
  for (int i = 0; i < 2; i++) {
    tinker_client_t *client = connect_to(all[i]);
    tinker_future_t *f = NULL;
    const tinker_capabilities_t *have = NULL;
    cr_assert_eq(calls_begun(tinker_client_get_capabilities(client, NULL), &f),
                 0);
    cr_assert_eq(tinker_future_get_capabilities(done(f), &have), 0);
    cr_assert_eq(have->model_count, 1);
    cr_assert_str_eq(have->models[0].name, names[i]);
    tinker_future_release(f);
    tinker_client_release(client);
  }
  cr_assert_eq(tinker_shutdown(30000), 0);
  cr_assert_eq(tinker_local_stop(one), 0);
  cr_assert_eq(entries(tmp), 1);
  cr_assert_eq(tinker_local_stop(two), 0);
}

static void remove_all(const char *path) {
  char command[100];
  snprintf(command, sizeof command, "rm -r '%s'", path);
  cr_assert_eq(system(command), 0);
}

/* The checkpoint of one life is loaded in the next one, and a state has one
 * service at a time. */
Test(inside, a_given_state_stays) {
  tinker_local_options_t o;
  tinker_local_t *other = NULL;
  tinker_future_t *f = NULL;
  const char *saved = NULL;
  char state[60], path[300];
  snprintf(state, sizeof state, "%s/state", tmp);
  defaults(&o);
  o.state_dir = state;
  tinker_local_t *local = start(&o);
  cr_assert_eq(why_local_start(&other, &o, why, sizeof why), TINKER_EBUSY);
  cr_assert_neq(strstr(why, "in use"), NULL, "%s", why);
  cr_assert_eq(other, NULL);
  cr_assert_eq(entries(tmp), 2); /* nothing of the second */

  tinker_client_t *client = connect_to(local);
  tinker_trainer_t *trainer = new_trainer(client);
  step(trainer);
  cr_assert_eq(
      calls_begun(tinker_trainer_save_state(trainer, "a", NULL, NULL), &f), 0);
  cr_assert_eq(tinker_future_get_path(done(f), &saved), 0);
  snprintf(path, sizeof path, "%s", saved);
  tinker_future_release(f);
  double loss = step(trainer);
  tinker_trainer_release(trainer);
  tinker_client_release(client);
  cr_assert_eq(tinker_shutdown(30000), 0);
  cr_assert_eq(tinker_local_stop(local), 0);
  cr_assert_eq(entries(tmp), 1);

  local = start(&o);
  client = connect_to(local);
  cr_assert_eq(
      calls_begun(
          tinker_client_create_trainer_from_state(client, path, 1, NULL), &f),
      0);
  trainer = trainer_of(f);
  cr_assert_eq(step(trainer), loss);
  tinker_trainer_release(trainer);
  tinker_client_release(client);
  cr_assert_eq(tinker_shutdown(30000), 0);
  cr_assert_eq(tinker_local_stop(local), 0);
  remove_all(state);
}

/* --- The private folder --------------------------------------------------- */

static void make_file(const char *path) {
  FILE *f = fopen(path, "w");
  cr_assert_neq(f, NULL);
  fclose(f);
}

/* What a link in the folder leads to is not in it. */
Test(inside, links_are_not_followed) {
  tinker_local_options_t o;
  char outside[60], file[80], link[160];
  snprintf(outside, sizeof outside, "%s/outside", tmp);
  snprintf(file, sizeof file, "%s/file", outside);
  cr_assert_eq(mkdir(outside, 0700), 0);
  make_file(file);
  defaults(&o);
  tinker_local_t *local = start(&o);
  snprintf(link, sizeof link, "%s/link", folder(local));
  cr_assert_eq(symlink(outside, link), 0);
  cr_assert_eq(tinker_local_stop(local), 0);
  cr_assert_eq(entries(tmp), 1);
  cr_assert_eq(unlink(file), 0);
  cr_assert_eq(rmdir(outside), 0);
}

/* Another folder in its place is not the service's: it stays. */
Test(inside, only_its_own_folder_is_removed) {
  tinker_local_options_t o;
  char path[120], moved[60], file[160];
  defaults(&o);
  tinker_local_t *local = start(&o);
  snprintf(path, sizeof path, "%s", folder(local));
  snprintf(moved, sizeof moved, "%s/moved", tmp);
  snprintf(file, sizeof file, "%s/precious", path);
  cr_assert_eq(rename(path, moved), 0);
  cr_assert_eq(mkdir(path, 0700), 0);
  make_file(file);
  cr_assert_eq(tinker_local_stop(local), TINKER_EIO);
  cr_assert_eq(access(file, F_OK), 0);
  remove_all(path);
  remove_all(moved);
}

Test(inside, a_child_does_not_stop_its_parents_service) {
  tinker_local_options_t o;
  int status;
  defaults(&o);
  tinker_local_t *local = start(&o);
  pid_t child = fork();
  cr_assert_geq(child, 0);
  if (child == 0) _exit(tinker_local_stop(local) == TINKER_EFORKED ? 0 : 1);
  cr_assert_eq(waitpid(child, &status, 0), child);
  cr_assert_eq(status, 0);
  cr_assert_eq(access(tinker_local_endpoint(local) + 5, F_OK), 0);
  cr_assert_eq(tinker_local_stop(local), 0);
}

/* --- A start that fails --------------------------------------------------- */

static void refused(const tinker_local_options_t *o, int code,
                    const char *word) {
  tinker_local_t *local = NULL;
  int rc = why_local_start(&local, o, why, sizeof why);
  cr_assert_eq(rc, code, "%d: %s", rc, why);
  cr_assert_neq(strstr(why, word), NULL, "%s", why);
  cr_assert_eq(local, NULL);
  cr_assert_eq(entries(tmp), 0);
}

Test(inside, leaves_nothing_when_it_can_not_start) {
  tinker_local_options_t o;
  const char *nowhere = "/nowhere/model", *const twice[] = {model, model};
  defaults(&o);
  o.model_dirs = &nowhere;
  refused(&o, TINKER_ENOENT, nowhere);
  o.model_dirs = twice;
  o.model_count = 2;
  refused(&o, TINKER_EEXIST, "two models are named 'qwen3_tied'");
  defaults(&o);
  o.max_memory_bytes = 1;
  refused(&o, TINKER_ENOMEM, "1 are available");
  defaults(&o);
  o.state_dir = "/nowhere/state";
  refused(&o, TINKER_EIO, "/nowhere/state");
}

Test(inside, a_temporary_folder_that_is_no_use) {
  tinker_local_options_t o;
  char deep[160];
  int n = snprintf(deep, sizeof deep, "%s/", tmp);
  memset(deep + n, 'd', 90);
  deep[n + 90] = 0;
  cr_assert_eq(mkdir(deep, 0700), 0);
  tinker_local_t *local = NULL;
  defaults(&o);
  setenv("TMPDIR", deep, 1);
  cr_assert_eq(why_local_start(&local, &o, why, sizeof why), TINKER_EINVAL);
  cr_assert_neq(strstr(why, "TMPDIR is too long"), NULL, "%s", why);
  cr_assert_eq(entries(deep), 0);
  cr_assert_eq(rmdir(deep), 0);
  cr_assert_eq(why_local_start(&local, &o, why, sizeof why), TINKER_EIO);
  cr_assert_neq(strstr(why, deep), NULL, "%s", why);
}

/* --- Memory and the log --------------------------------------------------- */

static atomic_long blocks, lines;
static atomic_long left; /* allocations that succeed before one fails */

static bool fails(void) {
  return atomic_fetch_sub(&left, 1) == 0;
}

static void *count_malloc(size_t size, void *user) {
  void *p = fails() ? NULL : malloc(size);
  (void)user;
  if (p) atomic_fetch_add(&blocks, 1);
  return p;
}

static void *count_calloc(size_t n, size_t size, void *user) {
  void *p = fails() ? NULL : calloc(n, size);
  (void)user;
  if (p) atomic_fetch_add(&blocks, 1);
  return p;
}

static void *count_realloc(void *old, size_t size, void *user) {
  void *p = fails() ? NULL : realloc(old, size);
  (void)user;
  if (p && !old) atomic_fetch_add(&blocks, 1);
  return p;
}

static void count_free(void *p, void *user) {
  (void)user;
  if (p) atomic_fetch_sub(&blocks, 1);
  free(p);
}

static const tinker_allocator_t counting = {count_malloc, count_calloc,
                                            count_realloc, count_free, NULL};

static void on_log(void *user, const char *line, size_t len) {
  cr_assert_eq(user, &lines);
  cr_assert_eq(line[0], '{');
  cr_assert_eq(line[len - 1], '}');
  atomic_fetch_add(&lines, 1);
}

/* A model whose tokenizer can't be read: the log says so. */
static void make_model(char *path, size_t size) {
  static const char *const files[] = {"config.json", "model.safetensors"};
  char from[300], to[100];
  snprintf(path, size, "%s/model", tmp);
  cr_assert_eq(mkdir(path, 0700), 0);
  for (int i = 0; i < 2; i++) {
    snprintf(from, sizeof from, "%s/%s", model, files[i]);
    snprintf(to, sizeof to, "%s/%s", path, files[i]);
    cr_assert_eq(symlink(from, to), 0);
  }
  snprintf(to, sizeof to, "%s/tokenizer.json", path);
  make_file(to);
}

Test(inside, memory_is_the_programs_and_the_log_too) {
  tinker_local_options_t o;
  char path[60];
  const char *dir = path;
  defaults(&o);
  o.allocator = &counting;
  atomic_store(&left, -1);
  o.log_cb = on_log;
  o.log_user = &lines;
  make_model(path, sizeof path);
  o.model_dirs = &dir;
  tinker_local_t *local = start(&o);
  cr_assert_gt(atomic_load(&blocks), 10);
  cr_assert_eq(tinker_local_stop(local), 0);
  cr_assert_eq(atomic_load(&blocks), 0);
  cr_assert_eq(atomic_load(&lines), 1);
  remove_all(path);
}

/* The first forty: the options' copies and the service's own. */
Test(inside, starts_whole_or_not_at_all) {
  tinker_local_options_t o;
  const char *name = "mine";
  char state[60];
  snprintf(state, sizeof state, "%s/state", tmp);
  defaults(&o);
  o.model_names = &name;
  o.state_dir = state;
  o.allocator = &counting;
  for (long n = 0; n < 40; n++) {
    tinker_local_t *local = NULL;
    atomic_store(&left, n);
    int rc = why_local_start(&local, &o, why, sizeof why);
    atomic_store(&left, -1);
    cr_assert_eq(rc, TINKER_ENOMEM, "allocation %ld: %d: %s", n, rc, why);
    cr_assert_eq(local, NULL);
    cr_assert_eq(atomic_load(&blocks), 0, "allocation %ld", n);
    cr_assert_leq(entries(tmp), 1, "allocation %ld", n);
    cr_assert_neq(why[0], 0);
  }
  if (access(state, F_OK) == 0) remove_all(state);
}
