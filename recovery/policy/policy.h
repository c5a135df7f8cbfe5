/* policy: what a policy file says about each run.
 *
 * Plain fields: milliseconds, bytes, counts. The keys, defaults and limits are
 * in policy_table.c, which pairs are impossible in rules.c; both refuse a file
 * rather than guess. A tinker__rec_policy_file_t does not change after it was
 * read: whoever reloads makes a new one and swaps pointers. Reading is
 * blocking; all functions on any thread. */
#ifndef TINKER_RECOVERY_POLICY_H
#define TINKER_RECOVERY_POLICY_H

#include "base/buf.h"
#include "base/world.h"
#include "yaml/yaml.h"

/* Values of the words. They are kept as int64_t, as src/yaml writes them. */
enum {
  TINKER__REC_MODE_OBSERVE, /* logs what it would do */
  TINKER__REC_MODE_ADVISE,  /* and notifies */
  TINKER__REC_MODE_ACT
};
enum {
  TINKER__REC_DURABLE_PROCESS, /* survives the end of any process */
  TINKER__REC_DURABLE_POWER    /* and of the machine */
};
enum {
  TINKER__REC_GATE_STRICT,    /* judges a loss before the optimizer's step */
  TINKER__REC_GATE_PIPELINED, /* sends both at once */
  TINKER__REC_GATE_AUTO       /* pipelined, strict when there is reason */
};
enum { TINKER__REC_BEAT_DAEMON, TINKER__REC_BEAT_TRAINER };
enum { TINKER__REC_NONFINITE_STOP_STEP };
enum { TINKER__REC_INTERVAL_YOUNG_DALY, TINKER__REC_INTERVAL_STEPS };
enum { TINKER__REC_VALIDATE_BEFORE_USE = 0 };
enum { TINKER__REC_FINGERPRINT_EACH_CHECKPOINT };
enum { TINKER__REC_FINAL_FOREVER, TINKER__REC_FINAL_NORMAL };
enum { TINKER__REC_DELETE_NEVER_IN_INCIDENT };
enum {
  TINKER__REC_CHOOSE_NEWEST_PROVEN,
  TINKER__REC_CHOOSE_BEFORE_ONSET,
  TINKER__REC_CHOOSE_BEST,
  TINKER__REC_CHOOSE_SPECIFIC
};
enum {
  TINKER__REC_OPTIMIZER_REQUIRED,
  TINKER__REC_OPTIMIZER_PREFER,
  TINKER__REC_OPTIMIZER_RESET
};
enum { TINKER__REC_CANARY_DAILY };
enum { /* bits of resume.match */
       TINKER__REC_MATCH_BASE_MODEL,
       TINKER__REC_MATCH_RANK,
       TINKER__REC_MATCH_TRAIN_MLP,
       TINKER__REC_MATCH_TRAIN_ATTN,
       TINKER__REC_MATCH_TRAIN_UNEMBED,
       TINKER__REC_MATCH_PLAN_DIGEST
};
enum { TINKER__REC_JITTER_NONE, TINKER__REC_JITTER_FULL };
enum { /* bits of notify.on */
       TINKER__REC_NOTIFY_INCIDENT,
       TINKER__REC_NOTIFY_STOPPED,
       TINKER__REC_NOTIFY_PAUSED,
       TINKER__REC_NOTIFY_QUARANTINE,
       TINKER__REC_NOTIFY_ROLLBACK,
       TINKER__REC_NOTIFY_MAX_AGE,
       TINKER__REC_NOTIFY_HELD
};
enum { TINKER__REC_CURSOR_PER_STEP };

#define TINKER__REC_NO_LIMIT (-1)       /* of a duration that may be "none" */
#define TINKER__REC_TOLERANCE_AUTO (-1) /* six times the measured noise */

/* How one run is watched and recovered. */
typedef struct tinker__rec_policy_s {
  bool enabled;
  int64_t mode, durability, gate;
  struct {
    struct {
      int64_t idle_ms, suspect_ms;
    } poll;
    struct {
      int64_t within_ms;
    } confirm;
    struct {
      int64_t owner;
    } heartbeat;
    struct {
      int64_t nonfinite;
      struct {
        double robust_z, min_ratio;
        int64_t window, warmup; /* steps */
      } spike;
      int64_t flatline_repeats;
    } loss;
    int64_t wake_grace_cycles;
  } detect;
  struct {
    struct {
      int64_t mode, min_ms, max_ms, steps;
    } interval;
    int64_t validate;
    struct {
      int64_t every;
    } fingerprint;
    struct {
      int64_t initial_ms;
    } ttl;
    struct {
      int64_t last_validated, final, min_validated;
      double every_fraction; /* of the run's steps; 0 = none */
      bool first;
    } retain;
    struct {
      bool two_phase;
      int64_t delay_ms, while_incident;
    } del;
    int64_t archive_mode;
  } checkpoint;
  struct {
    int64_t choose, require, optimizer, optimizer_canary, max_rollback_steps;
    bool allow_step_zero;
    int64_t match; /* bits */
    struct {
      double tolerance; /* relative, or TINKER__REC_TOLERANCE_AUTO */
    } replay_check;
  } resume;
  struct {
    int64_t same_root, no_progress_cycles;
    struct {
      int64_t base_ms, cap_ms, jitter;
      double factor;
    } backoff;
  } attempts;
  bool poison_enabled;
  struct {
    int64_t on; /* bits */
    tinker__yaml_texts_t argv;
    int64_t timeout_ms, stopped_code, exhausted_code;
  } notify;
} tinker__rec_policy_t;

/* Settings of the daemon, not of a run. */
typedef struct tinker__rec_policy_host_s {
  const char *state_dir; /* may begin with "${NAME}", of the environment */
  int64_t concurrent_recoveries, disk_reserve;
} tinker__rec_policy_host_t;

/* Which runs it is for, and their trainer. */
typedef struct tinker__rec_policy_run_s {
  tinker__yaml_named_t match; /* all of them fit; none = every run */
  tinker__rec_policy_t policy;
  int64_t cursor;
  tinker__yaml_texts_t argv, env_allow;
  int64_t kill_after_ms;
  int64_t hang_after_ms; /* or TINKER__REC_NO_LIMIT */
} tinker__rec_policy_run_t;

typedef struct tinker__rec_policy_file_s {
  int64_t version;
  tinker__rec_policy_t defaults;
  tinker__rec_policy_host_t host;
  tinker__yaml_list_t runs; /* tinker__rec_policy_run_t, the first that fits */
  tinker__mem_t *mem;
  tinker__yaml_t *yaml; /* owns the texts */
} tinker__rec_policy_file_t;

extern const tinker__yaml_field_t tinker__rec_policy_table[];

/* What an empty file would say. The texts are static. */
void tinker__rec_policy_default(tinker__rec_policy_t *out);

/* Reads a policy; file is what the faults call it. 0; or TINKER_EFORMAT,
 * TINKER_ENOENT, TINKER_EIO, TINKER_EOVERFLOW, TINKER_ENOMEM: then there is no
 * *out, and report has a line for each reason. report: may be NULL. */
int tinker__rec_policy_parse(tinker__rec_policy_file_t **out,
                             tinker__mem_t *mem, tinker__str_t text,
                             const char *file, tinker__buf_t *report);
int tinker__rec_policy_read(tinker__rec_policy_file_t **out, tinker__mem_t *mem,
                            const tinker__world_t *world, const char *path,
                            tinker__buf_t *report);
/* The same while `old` is in use, which stays as it is. Another state_dir is a
 * fault: a running daemon can't move its journals. */
int tinker__rec_policy_reload(tinker__rec_policy_file_t **out,
                              const tinker__rec_policy_file_t *old,
                              const tinker__world_t *world, const char *path,
                              tinker__buf_t *report);
/* file may be NULL. */
void tinker__rec_policy_free(tinker__rec_policy_file_t *file);

/* The effective policy as YAML that reads back to the same; of a run what
 * differs from the defaults. */
void tinker__rec_policy_print(const tinker__rec_policy_file_t *file,
                              tinker__buf_t *out);

/* Of the i-th run what its process has to know, as a policy file on one line:
 * the defaults in it are the run's. A key that a program's options say too is
 * in it only if the file sets it. */
void tinker__rec_policy_pass(const tinker__rec_policy_file_t *file, size_t i,
                             tinker__buf_t *out);

/* Finds what the table alone can't: pairs that are impossible or unsafe. Adds
 * the faults to file->yaml. */
void tinker__rec_policy_rules(const tinker__rec_policy_file_t *file);

#endif
