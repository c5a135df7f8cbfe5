/* open: a run begins and ends. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "base/options.h"
#include "run/run.h"

#define CLOSE_MS 4000
#define FINISH_MS 2000
#define MAX_WATCH_MS 3600000
#define MAX_TAGS 64    /* of a client */
#define MAX_LIVE 2     /* epochs: the present one, and one on trial */
#define LEAST_TTL 3600 /* seconds; the service takes no other */
#define MOST_TTL 315360000

/* --- Options -------------------------------------------------------------- */

static int check_name(const char *name, char *why, size_t why_len) {
  size_t n = name ? strspn(name, "abcdefghijklmnopqrstuvwxyz"
                                 "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
                  : 0;
  if (n > 0 && n <= 64 && !name[n]) return 0;
  return tinker__why(why, why_len, TINKER_EINVAL,
                     "options.name is %s%s%s: 1 to 64 of [A-Za-z0-9_-]",
                     name ? "\"" : "", name ? name : "NULL", name ? "\"" : "");
}

static int check(const tinker_run_options_t *o, char *why, size_t why_len) {
  const struct {
    const char *field;
    long long value;
    bool fits;
    const char *allowed;
  } numbers[] = {
      {"checkpoint_every", o->checkpoint_every, o->checkpoint_every >= -1,
       "-1 and more"},
      {"attempts", o->attempts, o->attempts >= 1, "1 and more"},
      {"allow_step_zero", o->allow_step_zero,
       o->allow_step_zero == 0 || o->allow_step_zero == 1, "0 and 1"},
      {"reserved0", o->reserved0, o->reserved0 == 0, "0"},
      {"reserved1", o->reserved1, o->reserved1 == 0, "0"},
      {"gate", o->gate,
       o->gate == TINKER_RUN_GATE_PIPELINED ||
           o->gate == TINKER_RUN_GATE_STRICT,
       "TINKER_RUN_GATE_PIPELINED (0) and TINKER_RUN_GATE_STRICT (1)"},
      {"keep_last", o->keep_last, o->keep_last == 0 || o->keep_last >= 2,
       "0, and 2 and more"},
      {"delete_delay_ms", o->delete_delay_ms, o->delete_delay_ms >= 0,
       "0 and more"},
      {"ttl_seconds", o->ttl_seconds,
       o->ttl_seconds == TINKER_NO_TTL ||
           (o->ttl_seconds >= LEAST_TTL && o->ttl_seconds <= MOST_TTL),
       "TINKER_NO_TTL, and 3,600 to 315,360,000"},
      {"watch_ms", o->watch_ms, o->watch_ms >= 0 && o->watch_ms <= MAX_WATCH_MS,
       "0 to 3,600,000"},
      {"result_soft_ms", o->result_soft_ms, o->result_soft_ms >= 1,
       "1 and more"},
      {"result_hard_ms", o->result_hard_ms,
       o->result_hard_ms == 0 || o->result_hard_ms > o->result_soft_ms,
       "0, and more than result_soft_ms"},
      {"behind", o->behind,
       o->behind >= TINKER_RUN_BEHIND_REFUSE &&
           o->behind <= TINKER_RUN_BEHIND_IGNORE,
       "0 to 2, a tinker_run_behind_t"},
      {"reserved2", o->reserved2, o->reserved2 == 0, "0"},
      {"allow", o->allow, !(o->allow & ~TINKER__REC_ALLOW_ALL),
       "bits of TINKER_PLAN_*"}};
  if (!o->state_dir || !*o->state_dir) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "options.state_dir is required");
  }
  for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
    if (numbers[i].fits) continue;
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "options.%s is %lld: allowed are %s", numbers[i].field,
                       numbers[i].value, numbers[i].allowed);
  }
  return check_name(o->name, why, why_len);
}

static bool keep_text(tinker_run_t *run, const char **text) {
  *text = tinker__arena_str(&run->strings, tinker__str(*text));
  return *text != NULL;
}

/* A list that the client will refuse is left to it, as it is. */
static bool keep_tags(tinker_run_t *run, tinker_client_options_t *o) {
  const char **tags;
  if (o->tag_count > MAX_TAGS) return true;
  for (size_t i = 0; i < o->tag_count; i++) {
    if (!o->tags[i]) return true;
  }
  tags = tinker__arena_array(&run->strings, o->tag_count + 1, sizeof *tags);
  if (!tags) return false;
  for (size_t i = 0; i < o->tag_count; i++) {
    tags[i] = o->tags[i];
    if (!keep_text(run, &tags[i])) return false;
  }
  o->tags = tags;
  return true;
}

/* Every epoch makes a client of these options, so all that they point at is
 * copied. */
static int keep_client(tinker_run_t *run, tinker_client_options_t *o, char *why,
                       size_t why_len) {
  const char **texts[] = {&o->base_url, &o->api_key, &o->project_id,
                          &o->display_name};
  bool kept = true;
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
    if (*texts[i]) kept &= keep_text(run, texts[i]);
  }
  if (o->allocator) {
    run->allocator = *o->allocator;
    o->allocator = &run->allocator;
  }
  if (kept && o->tags) kept = keep_tags(run, o);
  if (kept) return 0;
  return tinker__why(why, why_len, TINKER_ENOMEM, "out of memory");
}

static int take_client(tinker_run_t *run, const tinker_client_options_t *given,
                       char *why, size_t why_len) {
  const tinker_client_options_t defaults = TINKER_CLIENT_OPTIONS_INIT;
  tinker_client_options_t *o = &run->client_options;
  int rc = tinker__options_take(o, sizeof *o, &defaults, given,
                                "client_options", why, why_len);
  if (rc != 0) return rc;
  if (o->mode != TINKER_RUN_BACKGROUND || o->seams || o->adopt) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "options.client: mode must be background, seams and "
                       "adopt NULL: they are the run's");
  }
  if (o->metadata_count) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "options.client: metadata must be empty: what the run "
                       "attaches is in plan.metadata");
  }
  return keep_client(run, o, why, why_len);
}

static int take_options(tinker_run_t *run, const tinker_run_options_t *given,
                        char *why, size_t why_len) {
  const tinker_run_options_t defaults = TINKER_RUN_OPTIONS_INIT;
  tinker_run_options_t *o = &run->options;
  int rc = tinker__options_take(o, sizeof *o, &defaults, given, "run_options",
                                why, why_len);
  if (rc == 0) rc = check(o, why, why_len);
  if (rc == 0) rc = tinker__rec_ruled_take(run, why, why_len);
  if (rc == 0) rc = tinker__rec_plan_take(run, o->plan, why, why_len);
  if (rc == 0) rc = take_client(run, o->client, why, why_len);
  if (rc != 0) return rc;
  o->name = tinker__arena_str(&run->strings, tinker__str(o->name));
  o->state_dir = tinker__arena_str(&run->strings, tinker__str(o->state_dir));
  if (o->name && o->state_dir) return 0;
  return tinker__why(why, why_len, TINKER_ENOMEM, "out of memory");
}

/* --- The folder and its journal ------------------------------------------- */

static int make_dir(const char *path, char *why, size_t why_len) {
  if (mkdir(path, 0700) == 0 || errno == EEXIST) return 0;
  return tinker__why(why, why_len, TINKER_EIO, "%s: %s", path, strerror(errno));
}

static int make_dirs(tinker_run_t *run, char *why, size_t why_len) {
  char runs[TINKER__REC_PATH_ROOM];
  const tinker_run_options_t *o = &run->options;
  int n = snprintf(run->lock_path, sizeof run->lock_path, "%s/runs/%s/lock",
                   o->state_dir, o->name);
  if (n < 0 || (size_t)n >= sizeof run->lock_path) {
    return tinker__why(why, why_len, TINKER_EOVERFLOW,
                       "options.state_dir is too long");
  }
  snprintf(runs, sizeof runs, "%s/runs", o->state_dir);
  snprintf(run->dir, sizeof run->dir, "%s/runs/%s", o->state_dir, o->name);
  int rc = make_dir(o->state_dir, why, why_len);
  if (rc == 0) rc = make_dir(runs, why, why_len);
  if (rc == 0) rc = make_dir(run->dir, why, why_len);
  return rc;
}

static int open_supervisor(tinker_run_t *run, char *why, size_t why_len) {
  char path[TINKER__REC_PATH_ROOM];
  const tinker__rec_folder_t folder = {&run->mem, run->world, run->dir,
                                       run->options.name, true};
  tinker__rec_file_spec_t spec = {.mem = &run->mem,
                                  .world = run->world,
                                  .path = path,
                                  .failed = &run->unwritten,
                                  .full = tinker__rec_reserve_give,
                                  .room = &run->reserve,
                                  .relaxed = run->ruled.relaxed,
                                  .lineage = run->options.name,
                                  .epoch = 0};
  int rc = tinker__rec_reread_load(run, why, why_len);
  if (rc == 0) rc = tinker__rec_folder_file(&folder, 0, path, why, why_len);
  if (rc != 0) return rc;
  spec.from = tinker__rec_marks_at(&run->marks, 0);
  return tinker__rec_file_open(&run->supervisor, &spec, why, why_len);
}

/* The plan of a new run, or an allowed change of it, is journaled. */
static int settle_plan(tinker_run_t *run, char *why, size_t why_len) {
  tinker__rec_facts_t facts = TINKER__REC_FACTS_INIT;
  unsigned char digest[TINKER__SHA256_LEN];
  char hex[2 * TINKER__SHA256_LEN + 1];
  bool changed = true;
  tinker__buf_t text;
  tinker__buf_init(&text, &run->mem, TINKER__REC_MAX_FIELDS / 2);
  int rc = tinker__rec_plan_write(run, &text);
  if (rc == 0 && run->state.plan) {
    rc = tinker__rec_plan_check(run, tinker__str(run->state.plan), &changed,
                                why, why_len);
  }
  if (rc == 0) rc = tinker__sha256(text.data, text.len, digest);
  if (rc == 0) {
    tinker__hex(digest, sizeof digest, hex);
    memcpy(run->plan8, hex, 8);
    memcpy(run->plan_digest, hex, sizeof hex);
    facts.plan = tinker__buf_str(&text);
  }
  if (rc == 0 && changed) {
    rc = tinker__rec_note(run, NULL, TINKER__REC_PLAN, TINKER__REC_NO_STEP,
                          &facts, tinker__str(""));
    if (rc != 0) tinker__why(why, why_len, rc, "the journal of the run");
  }
  tinker__buf_free(&text);
  return rc;
}

static int open_home(tinker_run_t *run, char *why, size_t why_len) {
  tinker_error_t *error = NULL;
  int rc = tinker_client_new(&run->home, &run->client_options, &error);
  if (rc != 0) {
    tinker__why(why, why_len, rc, "%s", tinker_error_message(error));
    tinker_error_release(error);
  }
  return rc;
}

static int open_run(tinker_run_t *run, const tinker_run_options_t *options,
                    char *why, size_t why_len) {
  int rc = take_options(run, options, why, why_len);
  if (rc == 0) rc = make_dirs(run, why, why_len);
  if (rc == 0) {
    rc = tinker__rec_lock_take(&run->lock_file, run->lock_path, why, why_len);
  }
  if (rc == 0) {
    rc = tinker__rec_reserve_make(&run->reserve, run->world, run->dir,
                                  run->ruled.reserve_bytes, why, why_len);
  }
  if (rc == 0) rc = open_supervisor(run, why, why_len);
  if (rc == 0) rc = settle_plan(run, why, why_len);
  if (rc == 0) {
    rc = tinker__rec_lineage(run);
    if (rc != 0) tinker__why(why, why_len, rc, "%s", tinker_code_text(rc));
  }
  if (rc == 0) rc = open_home(run, why, why_len);
  if (rc == 0) {
    rc = tinker__rec_detect_new(&run->detect, &run->mem, &run->ruled.detect);
  }
  if (rc != 0) return rc;
  run->next_op = run->state.last_op;
  run->opened_wall_ms = run->world->wall_ms(run->world->user);
  run->opened_boot_ms = run->world->boot_ms(run->world->user);
  run->saved_ms = run->opened_boot_ms;
  tinker__rec_settle_phase(run);
  tinker__rec_reread(run);
  rc = tinker__rec_worker_start(run);
  if (rc == 0) rc = tinker__rec_gate_start(run);
  if (rc == 0) rc = tinker__rec_watch_start(run);
  return rc == 0 ? 0 : tinker__why(why, why_len, rc, "no thread can be made");
}

/* --- Beginning and end ---------------------------------------------------- */

void tinker__rec_run_unref(tinker_run_t *run) {
  if (!tinker__ref_release(&run->memory_users)) return;
  pthread_mutex_destroy(&run->lock);
  pthread_cond_destroy(&run->wake);
  tinker__mem_t mem = run->mem;
  tinker__mem_free(&mem, run);
}

/* Nothing is trained in it any more. One that is left costs nothing, so a
 * failure is no failure of the run. */
static void finish_session(tinker_client_t *client) {
  tinker_call_options_t call = TINKER_CALL_OPTIONS_INIT;
  call.timeout_ms = FINISH_MS;
  tinker_future_t *over = tinker_client_finish_session(client, &call);
  tinker_future_wait(over, -1);
  tinker_future_release(over);
}

/* Whatever the run's thread waits for ends by this. It may end an epoch
 * meanwhile, so the clients are retained. */
static void close_clients(tinker_run_t *run) {
  tinker_client_t *clients[MAX_LIVE], *last = NULL;
  size_t n = 0;
  pthread_mutex_lock(&run->lock);
  atomic_store(&run->closing, true);
  pthread_cond_broadcast(&run->wake);
  TINKER__LIST_EACH(l, tmp, &run->live) {
    tinker__rec_epoch_t *e = TINKER__CONTAINER(l, tinker__rec_epoch_t, link);
    if (n < MAX_LIVE) clients[n++] = tinker_client_retain(e->client);
  }
  /* An end that is not on the disk is none: the next process goes on. */
  if (run->epoch && run->state.finished && !atomic_load(&run->unwritten)) {
    atomic_store(&run->epoch->may_finish, true);
    last = run->epoch->client; /* one of those */
  }
  pthread_mutex_unlock(&run->lock);
  if (last) finish_session(last);
  for (size_t i = 0; i < n; i++) {
    tinker_future_release(tinker_client_close(clients[i], NULL));
    tinker_client_release(clients[i]);
  }
}

/* All that the run has, in the order in which one part uses the other. A forked
 * child has none of its threads, and its files are the parent's. */
static void end_run(tinker_run_t *run) {
  if (run->pid != getpid()) return;
  close_clients(run);
  tinker__rec_worker_end(run);
  tinker__rec_gate_end(run);
  tinker__rec_watch_end(run);
  tinker__rec_reread_end(run);
  if (run->epoch) tinker__rec_epoch_end(run->epoch);
  tinker__rec_retain_end(run);
  tinker__rec_cookbook_end(run);
  tinker_client_release(run->home);
  tinker__rec_steps_drop(run);
  if (run->clean) tinker__rec_step_free(run, run->clean);
  if (tinker_shutdown(CLOSE_MS) != 0) return; /* a client still uses it */
  TINKER__LIST_EACH(l, tmp, &run->old) {
    tinker__rec_epoch_free(TINKER__CONTAINER(l, tinker__rec_epoch_t, link));
  }
  tinker__rec_file_close(run->supervisor);
  tinker__rec_lock_release(&run->lock_file);
  tinker__rec_state_free(&run->state);
  tinker__rec_marks_free(&run->marks);
  tinker__rec_detect_free(run->detect);
  tinker__arena_free(&run->strings);
  tinker__rec_run_unref(run);
}

/* The watch waits on it for a time, which no step of the clock may change. */
static void init_wake(tinker_run_t *run) {
  pthread_condattr_t attr;
  pthread_condattr_init(&attr);
#ifndef __APPLE__
  pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
#endif
  pthread_cond_init(&run->wake, &attr);
  pthread_condattr_destroy(&attr);
}

/* That of the client's options; NULL = the C library's. Options that can't be
 * read are refused later. */
static const tinker_allocator_t *
allocator_of(const tinker_run_options_t *given) {
  tinker_run_options_t o;
  tinker_client_options_t c;
  const tinker_run_options_t run_defaults = TINKER_RUN_OPTIONS_INIT;
  const tinker_client_options_t client_defaults = TINKER_CLIENT_OPTIONS_INIT;
  if (tinker__options_take(&o, sizeof o, &run_defaults, given, "", NULL, 0) ||
      tinker__options_take(&c, sizeof c, &client_defaults, o.client, "", NULL,
                           0)) {
    return NULL;
  }
  const tinker_allocator_t *a = c.allocator;
  bool whole = a && a->malloc_fn && a->calloc_fn && a->realloc_fn && a->free_fn;
  return whole ? a : NULL;
}

static tinker_run_t *make_run(const tinker_allocator_t *allocator) {
  tinker__mem_t mem;
  tinker__mem_init(&mem, allocator, 0);
  tinker_run_t *run = tinker__mem_zalloc(&mem, sizeof *run);
  if (!run) return NULL;
  run->mem = mem;
  tinker__ref_init(&run->ref);
  tinker__ref_init(&run->memory_users);
  run->world = tinker__world_real();
  run->pid = getpid();
  run->lock_file.fd = -1;
  tinker__arena_init(&run->strings, &run->mem);
  pthread_mutex_init(&run->lock, NULL);
  init_wake(run);
  tinker__list_init(&run->live);
  tinker__list_init(&run->old);
  tinker__list_init(&run->jobs);
  tinker__list_init(&run->questions);
  tinker__list_init(&run->steps);
  return run;
}

int tinker_run_open(tinker_run_t **out, const tinker_run_options_t *options,
                    tinker_error_t **error) {
  char why[TINKER__REC_WHY] = "";
  if (!out || !options) {
    return tinker__error_give(error, TINKER_EINVAL, "%s is NULL",
                              out ? "options" : "out");
  }
  tinker_run_t *run = make_run(allocator_of(options));
  if (!run) return tinker__error_give(error, TINKER_ENOMEM, "%s", "");
  int rc = open_run(run, options, why, sizeof why);
  if (rc != 0) {
    end_run(run);
    return tinker__error_give(error, rc, "%s", why);
  }
  *out = run;
  return 0;
}

tinker_run_t *tinker_run_retain(tinker_run_t *run) {
  if (run) tinker__ref_retain(&run->ref);
  return run;
}

tinker_run_t *tinker_run_release(tinker_run_t *run) {
  if (run && tinker__ref_release(&run->ref)) end_run(run);
  return NULL;
}
