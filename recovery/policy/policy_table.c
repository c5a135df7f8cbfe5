/* policy_table: every key of a policy file, its default, its limits, and
 * whether it is honoured. docs/recovery-policy.md is made of this table.
 *
 * What this version does not do yet is known by name and refused: a policy that
 * asks for more than it gets would be worse than none. */
#include "policy/policy.h"

#define AT(member) offsetof(tinker__rec_policy_t, member)
#define WORDS static const tinker__yaml_word_t
#define END                                                                    \
  { NULL, 0, NULL }
#define ROWS static const tinker__yaml_field_t
#define LAST                                                                   \
  { .key = NULL }

#define R6 "level R6, putting bad batches aside, is not there yet"
#define R7 "level R7, going on with a fresh optimizer, is not there yet"
#define ARCHIVES "archives of checkpoints are not there yet"
#define SCHEDULES "schedules are not there yet"
#define CLIENT_RETRY "the client decides itself what it sends again, and when"
#define AUDITS "replaying a part of a run on a fork is not there yet"
#define UNWATCHED "a run that the daemon does not start is not watched yet"
#define BEATS "the client beats every 10s, and warns after 2m without an answer"
#define HANGS "a hang is told by trainer.hang_after alone"
#define RESULTS "the program's options say how long a result is waited for"
#define PAUSES "the client waits out a pause, and the daemon does not see it"
#define ONE_LIST "the daemon always asks for many at once"
#define TOKENS "the tokens of a step are not counted yet"
#define ALONE "no event makes a save of its own yet"
#define AGE "the age of checkpoints is not watched yet"
#define LEDGERS "attempts are counted by run and lost step alone"
#define ALWAYS_V3 "a fingerprint is always proven: V3 or V4"
#define PROBATION "a resumed run is watched as any other"

/* clang-format off */

/* --- Words ---------------------------------------------------------------- */

WORDS modes[] = {{"observe", TINKER__REC_MODE_OBSERVE, UNWATCHED},
    {"advise", TINKER__REC_MODE_ADVISE, UNWATCHED},
    {"act", TINKER__REC_MODE_ACT, NULL}, END};
WORDS durabilities[] = {{"process", TINKER__REC_DURABLE_PROCESS, NULL},
    {"power", TINKER__REC_DURABLE_POWER, NULL}, END};
WORDS gates[] = {{"strict", TINKER__REC_GATE_STRICT, NULL},
    {"pipelined", TINKER__REC_GATE_PIPELINED, NULL},
    {"auto", TINKER__REC_GATE_AUTO, PROBATION}, END};
WORDS owners[] = {{"daemon", TINKER__REC_BEAT_DAEMON, NULL},
    {"trainer", TINKER__REC_BEAT_TRAINER,
     "the daemon beats whether a trainer does or not"}, END};
WORDS no_limit[] = {{"none", TINKER__REC_NO_LIMIT, NULL}, END};
WORDS nonfinites[] = {
    {"stop_step", TINKER__REC_NONFINITE_STOP_STEP, NULL}, END};
WORDS cycles[] = {{"1_cycle", 1, NULL},
    {"2_cycles", 2, "one cycle is waited for"},
    {"3_cycles", 3, "one cycle is waited for"}, END};
WORDS intervals[] = {{"young_daly", TINKER__REC_INTERVAL_YOUNG_DALY, NULL},
    {"steps", TINKER__REC_INTERVAL_STEPS, NULL}, END};
WORDS validations[] = {
    {"every", 1, "those that stay and those that are used are validated"},
    {"before_use", TINKER__REC_VALIDATE_BEFORE_USE, NULL}, END};
WORDS fingerprints[] = {
    {"checkpoint", TINKER__REC_FINGERPRINT_EACH_CHECKPOINT, NULL}, END};
WORDS finals[] = {{"forever", TINKER__REC_FINAL_FOREVER, NULL},
    {"normal", TINKER__REC_FINAL_NORMAL, "the last one stays for good"}, END};
WORDS never[] = {{"never", TINKER__REC_DELETE_NEVER_IN_INCIDENT, NULL}, END};
WORDS archives[] = {{"off", 0, NULL}, {"on", 1, ARCHIVES}, END};
WORDS choices[] = {
    {"newest_proven", TINKER__REC_CHOOSE_NEWEST_PROVEN, NULL},
    {"before_onset", TINKER__REC_CHOOSE_BEFORE_ONSET,
     "a later level goes to an older one by itself"},
    {"best", TINKER__REC_CHOOSE_BEST, "the newest proven one is taken"},
    {"specific", TINKER__REC_CHOOSE_SPECIFIC,
     "the newest proven one is taken"}, END};
WORDS proofs[] = {{"V0", 0, ALWAYS_V3}, {"V1", 1, ALWAYS_V3},
    {"V2", 2, ALWAYS_V3}, {"V3", 3, NULL},
    {"V4", 4, NULL}, {"V5", 5, ARCHIVES}, END};
WORDS optimizers[] = {{"required", TINKER__REC_OPTIMIZER_REQUIRED, NULL},
    {"prefer", TINKER__REC_OPTIMIZER_PREFER, R7},
    {"reset", TINKER__REC_OPTIMIZER_RESET, R7}, END};
WORDS canaries[] = {{"daily", TINKER__REC_CANARY_DAILY, NULL}, END};
WORDS matches[] = {{"base_model", TINKER__REC_MATCH_BASE_MODEL, NULL},
    {"rank", TINKER__REC_MATCH_RANK, NULL},
    {"train_mlp", TINKER__REC_MATCH_TRAIN_MLP, NULL},
    {"train_attn", TINKER__REC_MATCH_TRAIN_ATTN, NULL},
    {"train_unembed", TINKER__REC_MATCH_TRAIN_UNEMBED, NULL},
    {"plan_digest", TINKER__REC_MATCH_PLAN_DIGEST, NULL}, END};
WORDS tolerances[] = {{"auto", TINKER__REC_TOLERANCE_AUTO, NULL}, END};
WORDS jitters[] = {{"full", TINKER__REC_JITTER_FULL, NULL},
    {"none", TINKER__REC_JITTER_NONE, NULL}, END};
WORDS poisons[] = {{"false", 0, NULL}, {"true", 1, R6}, END};
WORDS notices[] = {{"incident", TINKER__REC_NOTIFY_INCIDENT, NULL},
    {"stopped", TINKER__REC_NOTIFY_STOPPED, NULL},
    {"paused", TINKER__REC_NOTIFY_PAUSED, PAUSES},
    {"quarantine", TINKER__REC_NOTIFY_QUARANTINE, R6},
    {"rollback", TINKER__REC_NOTIFY_ROLLBACK,
     "the run says it itself, in its events"},
    {"max_age", TINKER__REC_NOTIFY_MAX_AGE, AGE},
    {"held", TINKER__REC_NOTIFY_HELD, NULL}, END};
WORDS cursors[] = {{"per_step", TINKER__REC_CURSOR_PER_STEP, NULL}, END};

/* --- Rows of tinker__rec_policy_t ----------------------------------------- */

#define ROW(k, t, member, init, lo, hi, w, text) \
  {.key = k, .type = TINKER__YAML_##t, .offset = AT(member), .initial = init, \
   .least = lo, .most = hi, .words = w, .what = text}
#define YES(k, member, text) \
  ROW(k, BOOL, member, "true", NULL, NULL, NULL, text)
#define WORD(k, member, init, w, text) \
  ROW(k, CHOICE, member, init, NULL, NULL, w, text)
#define MAP(k, rows) {.key = k, .type = TINKER__YAML_MAP, .table = rows}
#define TIMED(k, t, member, init, lo, hi, text) \
  {.key = k, .type = TINKER__YAML_##t, .offset = AT(member), .initial = init, \
   .least = lo, .most = hi, .when = &when_timed, .what = text}
#define LATER(k, why) {.key = k, .type = TINKER__YAML_LATER, .what = why}

ROWS poll[] = {
    ROW("idle", DURATION, detect.poll.idle_ms, "10s", "1s", "10m", NULL,
        "Time between two looks at the run while all is well."),
    ROW("suspect", DURATION, detect.poll.suspect_ms, "2s", "500ms", "1m", NULL,
        "The same while something may be wrong."),
    LATER("jitter", "a look is up to a fifth earlier or later"),
    LATER("batch_list", ONE_LIST),
    LAST};
ROWS confirm[] = {
    LATER("reads", "two reads must agree"),
    ROW("within", DURATION, detect.confirm.within_ms, "15s", "1s", "10m", NULL,
        "Time in which two reads must agree, or one with a call that failed."),
    LAST};
ROWS heartbeat[] = {
    LATER("period", BEATS), LATER("warn", BEATS), LATER("lost", BEATS),
    WORD("owner", detect.heartbeat.owner, "daemon", owners,
         "Who beats: the daemon does while a trainer is busy or dead."),
    LAST};
ROWS trainer_health[] = {LATER("tick", HANGS), LATER("section_factor", HANGS),
    LATER("floor", HANGS), LATER("stack_dump", HANGS), LAST};
ROWS future[] = {LATER("soft", RESULTS), LATER("p99_factor", RESULTS),
    LATER("hard", RESULTS), LATER("pause_clock_when_queued", RESULTS), LAST};
ROWS queue_pause[] = {LATER("notify", PAUSES), LATER("limit", PAUSES), LAST};
ROWS spike[] = {
    ROW("robust_z", FLOAT, detect.loss.spike.robust_z, "7", "3", "1000", NULL,
        "Distance from the median in median absolute deviations that makes a "
        "spike."),
    ROW("min_ratio", FLOAT, detect.loss.spike.min_ratio, "2", "1", "1000",
        NULL, "And at least so many times the median."),
    ROW("window", INT, detect.loss.spike.window, "256", "16", "4096", NULL,
        "Steps of the median."),
    ROW("warmup", INT, detect.loss.spike.warmup, "64", "8", "4096", NULL,
        "Steps before the first judgement."),
    LATER("recheck", "a spike is reported, and not confirmed by a forward"),
    LAST};
ROWS divergence[] = {LATER("fast", TOKENS), LATER("slow", TOKENS),
    LATER("ratio", TOKENS), LATER("for_tokens", TOKENS), LAST};
ROWS flatline[] = {
    ROW("repeats", INT, detect.loss.flatline_repeats, "8", "2", "100000", NULL,
        "The same loss on so many different batches is suspect."),
    LAST};
ROWS loss[] = {
    WORD("nonfinite", detect.loss.nonfinite, "stop_step", nonfinites,
         "A loss that is not finite: the optimizer's step is not sent."),
    MAP("spike", spike),
    MAP("divergence", divergence),
    MAP("flatline", flatline),
    LAST};
ROWS audit[] = {
    LATER("replay_fraction", AUDITS), LATER("steps", AUDITS), LAST};
ROWS detect[] = {
    MAP("poll", poll),
    MAP("confirm", confirm),
    MAP("heartbeat", heartbeat),
    MAP("trainer", trainer_health),
    MAP("future", future),
    MAP("queue_pause", queue_pause),
    MAP("loss", loss),
    MAP("audit", audit),
    WORD("wake_grace", detect.wake_grace_cycles, "1_cycle", cycles,
         "Rounds of observation without a judgement after the machine slept."),
    LAST};

static const tinker__yaml_when_t when_timed = {"mode",
    AT(checkpoint.interval.mode), TINKER__REC_INTERVAL_YOUNG_DALY,
    "young_daly"};
static const tinker__yaml_when_t when_steps = {"mode",
    AT(checkpoint.interval.mode), TINKER__REC_INTERVAL_STEPS, "steps"};
ROWS interval[] = {
    WORD("mode", checkpoint.interval.mode, "young_daly", intervals,
         "By the square root of twice the cost times the time between "
         "failures, or a number of steps."),
    TIMED("min", DURATION, checkpoint.interval.min_ms, "2m", "1s", "7d",
        "Shortest interval of `young_daly`."),
    TIMED("max", DURATION, checkpoint.interval.max_ms, "30m", "1s", "30d",
        "Longest interval of `young_daly`."),
    LATER("max_overhead", "min is what bounds it"),
    LATER("fallback_steps", "min counts until a save was measured"),
    {.key = "steps", .type = TINKER__YAML_INT,
     .offset = AT(checkpoint.interval.steps), .initial = "50", .least = "1",
     .most = "1000000", .when = &when_steps,
     .what = "Steps of the mode `steps`."},
    LAST};
ROWS fingerprint[] = {
    LATER("probe_items", "the probe set has four"),
    WORD("every", checkpoint.fingerprint.every, "checkpoint", fingerprints,
         "When."),
    LAST};
ROWS ttl[] = {
    ROW("initial", DURATION, checkpoint.ttl.initial_ms, "14d", "1h", "3650d",
        NULL, "Life of a new checkpoint; it is renewed before half of it is "
        "over."),
    LATER("renew_below", "half of ttl.initial is"),
    LATER("never_below", "half of ttl.initial is"),
    LAST};
ROWS retain[] = {
    ROW("last_validated", INT, checkpoint.retain.last_validated, "3", "2",
        "1000", NULL, "So many of the newest that are validated."),
    ROW("every_fraction", FLOAT, checkpoint.retain.every_fraction, "0.125",
        "0", "1", NULL, "One in each such part of the run; 0 = none."),
    LATER("best", "no metric is kept with a checkpoint yet"),
    LATER("best_by", "no metric is kept with a checkpoint yet"),
    YES("first", checkpoint.retain.first, "The first one."),
    WORD("final", checkpoint.retain.final, "forever", finals,
         "The last one of a finished run."),
    ROW("min_validated", INT, checkpoint.retain.min_validated, "2", "2",
        "1000", NULL, "Nothing is deleted that leaves fewer validated ones."),
    LAST};
ROWS delete[] = {
    YES("two_phase", checkpoint.del.two_phase,
        "Marked first, deleted later; there is no other way."),
    ROW("delay", DURATION, checkpoint.del.delay_ms, "15m", "1m", "7d", NULL,
        "Time between the two."),
    WORD("while_incident", checkpoint.del.while_incident, "never", never,
         "Whether one is deleted while an incident is open."),
    LAST};
ROWS archive[] = {
    WORD("mode", checkpoint.archive_mode, "off", archives,
         "Whether checkpoints are downloaded."),
    LATER("every", ARCHIVES), LATER("verify", ARCHIVES), LAST};
ROWS checkpoint[] = {
    MAP("interval", interval),
    LATER("on_event", ALONE),
    WORD("validate", checkpoint.validate, "before_use", validations,
         "Which saves are loaded into a scratch model and compared: those that "
         "are about to be used, or to stand for older ones."),
    MAP("fingerprint", fingerprint),
    MAP("ttl", ttl),
    MAP("retain", retain),
    MAP("delete", delete),
    LATER("max_age_validated", AGE),
    LATER("on_max_age", AGE),
    MAP("archive", archive),
    LAST};

ROWS replay_check[] = {
    LATER("min_steps", "each step that is done again is compared"),
    ROW("tolerance", FLOAT, resume.replay_check.tolerance, "auto", "0", "1",
        tolerances, "Relative difference of two losses that count as equal; "
        "`auto`: to the bit where the service repeats itself, else six times "
        "its noise."),
    LAST};
ROWS probation[] = {LATER("steps", PROBATION), LATER("gate", PROBATION),
    LATER("spike_z", PROBATION), LAST};
ROWS resume[] = {
    WORD("choose", resume.choose, "newest_proven", choices,
         "Which checkpoint is tried first."),
    WORD("require", resume.require, "V3", proofs,
         "What must be proven of it, each time: V3 its fingerprint, V4 its "
         "optimizer too."),
    WORD("optimizer", resume.optimizer, "required", optimizers,
         "Whether its optimizer must be restored."),
    WORD("optimizer_canary", resume.optimizer_canary, "daily", canaries,
         "How often loads with and without optimizer are compared at least."),
    ROW("max_rollback_steps", INT, resume.max_rollback_steps, "500", "1",
        "1000000000", NULL, "Steps that a resume may lose at most."),
    ROW("allow_step_zero", BOOL, resume.allow_step_zero, "false", NULL, NULL,
        NULL, "Whether a run that is lost before its first checkpoint may "
        "begin again."),
    ROW("match", FLAGS, resume.match, "base_model, rank, train_mlp, "
        "train_attn, train_unembed, plan_digest", NULL, NULL, matches,
        "What must be equal in plan and checkpoint."),
    MAP("replay_check", replay_check),
    MAP("probation", probation),
    LAST};

ROWS reset[] = {LATER("progress_steps", LEDGERS), LATER("healthy_for", LEDGERS),
    LAST};
ROWS backoff[] = {
    ROW("base", DURATION, attempts.backoff.base_ms, "1s", "10ms", "1h", NULL,
        "Wait before the second attempt."),
    ROW("factor", FLOAT, attempts.backoff.factor, "2", "1", "10", NULL,
        "Each further wait is so many times the one before."),
    ROW("cap", DURATION, attempts.backoff.cap_ms, "5m", "10ms", "1d", NULL,
        "The longest wait."),
    WORD("jitter", attempts.backoff.jitter, "full", jitters,
         "`full`: a random part of it."),
    LAST};
ROWS attempts[] = {
    ROW("same_root", INT, attempts.same_root, "3", "1", "100", NULL,
        "Attempts to get beyond the step where a run was lost, then it is "
        "stopped."),
    LATER("same_root_and_entity", LEDGERS),
    ROW("no_progress_cycles", INT, attempts.no_progress_cycles, "3", "1",
        "100", NULL, "Restarts of a trainer in a row without a step in "
        "between."),
    LATER("per_day", LEDGERS),
    MAP("reset", reset),
    MAP("backoff", backoff),
    LATER("incident_deadline", LEDGERS),
    LATER("daemon_deaths_per_hour", LEDGERS),
    LAST};

ROWS spike_skip[] = {LATER("batches", R6), LATER("max", R6), LAST};
ROWS quarantine[] = {LATER("max_fraction", R6), LATER("max_per_day", R6),
    LATER("reoffer", R6), LAST};
ROWS poison[] = {
    ROW("enabled", BOOL, poison_enabled, "false", NULL, NULL, poisons,
        "Whether batches that do harm are put aside."),
    LATER("bisect", R6), LATER("spike_rollback", R6),
    MAP("spike_skip", spike_skip), MAP("quarantine", quarantine), LAST};

ROWS billing[] = {LATER("poll", PAUSES), LATER("limit", PAUSES),
    LATER("keep_session", PAUSES), LAST};
ROWS auth[] = {LATER("reread", PAUSES), LATER("verify_once_after", PAUSES),
    LATER("notify", PAUSES), LAST};
ROWS pause[] = {MAP("billing", billing), MAP("auth", auth),
    LATER("schedule", SCHEDULES), LAST};

ROWS exec[] = {
    {.key = "argv", .type = TINKER__YAML_TEXTS, .offset = AT(notify.argv),
     .what = "A program and its arguments; none = no program."},
    ROW("timeout", DURATION, notify.timeout_ms, "10s", "100ms", "10m", NULL,
        "It is ended after this time."),
    LAST};
ROWS exit_codes[] = {
    ROW("stopped_do_not_retry", INT, notify.stopped_code, "93", "1", "125",
        NULL, "Exit code of a run that must not be started again."),
    ROW("exhausted", INT, notify.exhausted_code, "75", "1", "125", NULL,
        "Exit code when no attempt is left."),
    LAST};
ROWS notify[] = {
    ROW("on", FLAGS, notify.on, "incident, stopped, held", NULL, NULL,
        notices, "What is notified."),
    MAP("exec", exec),
    MAP("exit_codes", exit_codes),
    LAST};

ROWS bucket[] = {LATER("capacity", CLIENT_RETRY),
    LATER("transient", CLIENT_RETRY), LATER("throttle", CLIENT_RETRY),
    LATER("refill_on_success", CLIENT_RETRY), LAST};
ROWS retry_base[] = {LATER("transient", CLIENT_RETRY),
    LATER("throttle", CLIENT_RETRY), LAST};
ROWS hedge[] = {LATER("only", CLIENT_RETRY), LATER("after", CLIENT_RETRY),
    LATER("max_fraction", CLIENT_RETRY), LAST};
ROWS breaker[] = {LATER("window", CLIENT_RETRY),
    LATER("min_calls", CLIENT_RETRY), LATER("open_at", CLIENT_RETRY),
    LATER("probe_after", CLIENT_RETRY), LATER("exempt", CLIENT_RETRY), LAST};
ROWS retry[] = {LATER("attempts", CLIENT_RETRY), MAP("bucket", bucket),
    MAP("base", retry_base), LATER("cap", CLIENT_RETRY),
    LATER("jitter", CLIENT_RETRY), LATER("retry_after_max", CLIENT_RETRY),
    MAP("hedge", hedge), MAP("breaker", breaker), LAST};

ROWS policy[] = {
    YES("enabled", enabled, "Whether its trainer is started at all."),
    WORD("mode", mode, "act", modes, "What is done."),
    WORD("durability", durability, "power", durabilities,
         "What the journal survives: the end of a process, or of the machine."),
    MAP("detect", detect),
    WORD("gate", gate, "pipelined", gates,
         "Whether a loss is judged before the optimizer's step is sent."),
    MAP("checkpoint", checkpoint),
    MAP("resume", resume),
    MAP("attempts", attempts),
    MAP("poison", poison),
    MAP("pause", pause),
    MAP("notify", notify),
    MAP("retry", retry),
    LAST};

/* --- The file ------------------------------------------------------------- */

#undef AT
#define AT(member) offsetof(tinker__rec_policy_host_t, member)
ROWS spend_per_day[] = {
    LATER("tokens", "what a recovery costs is not counted yet"), LAST};
ROWS limits[] = {
    ROW("concurrent_recoveries", INT, concurrent_recoveries, "4", "1", "1000",
        NULL, "Runs of the folder that go back to a checkpoint at the same "
        "time; the others wait."),
    LATER("canary_first", "a mass failure is not told from single ones yet"),
    LATER("api_rate", "the daemon asks for a page of runs a second at most"),
    MAP("spend_per_day", spend_per_day),
    ROW("disk_reserve", SIZE, disk_reserve, "1MiB", "1MiB", "1TiB", NULL,
        "Space that each run keeps for the end of an open incident on a full "
        "disk."),
    LAST};
ROWS host[] = {
    ROW("state_dir", TEXT, state_dir, "${XDG_STATE_HOME}/tinker-recovery",
        NULL, NULL, NULL, "Folder of all journals: an absolute path, which may "
        "begin with a variable of the environment."),
    MAP("limits", limits),
    LAST};

#undef AT
#define AT(member) offsetof(tinker__rec_policy_run_t, member)
ROWS data[] = {
    LATER("manifest", "the program's plan names its data"),
    LATER("order", "the program's plan says it"),
    WORD("cursor", cursor, "per_step", cursors,
         "When the place in the data is stored."),
    LAST};
ROWS trainer[] = {
    {.key = "argv", .type = TINKER__YAML_TEXTS, .offset = AT(argv),
     .what = "The trainer's program and arguments; {lineage} is its run. None "
             "= it is started by others."},
    {.key = "env_allow", .type = TINKER__YAML_TEXTS, .offset = AT(env_allow),
     .what = "Variables of the environment that it gets, and no others: those "
             "that name the service and its key are to be among them. None = "
             "PATH, HOME, LANG and all that begin with TINKER_."},
    ROW("kill_after", DURATION, kill_after_ms, "15s", "100ms", "10m", NULL,
        "Time that it has to end before it is killed."),
    ROW("hang_after", DURATION, hang_after_ms, "none", "1s", "7d", no_limit,
        "It is ended and started again when its run's journal has no new "
        "record for so long, longer than any wait for the service."),
    LAST};
ROWS run[] = {
    {.key = "match", .type = TINKER__YAML_NAMED, .offset = AT(match),
     .required = true, .what = "Which runs: `name`, `base_model` or "
     "`user_metadata.KEY` and the value they have. The first entry that fits "
     "is a run's; {} fits every one."},
    {.key = "", .type = TINKER__YAML_HERE, .offset = AT(policy),
     .table = policy},
    MAP("data", data),
    MAP("trainer", trainer),
    LAST};

static void start_run(void *item, const void *root) {
  tinker__rec_policy_run_t *r = item;
  const tinker__rec_policy_file_t *file = root;
  tinker__yaml_start(run, r);
  r->policy = file->defaults;
}

#undef AT
#define AT(member) offsetof(tinker__rec_policy_file_t, member)
ROWS defaults[] = {
    {.key = "", .type = TINKER__YAML_HERE, .offset = AT(defaults),
     .table = policy},
    {.key = "", .type = TINKER__YAML_HERE, .offset = AT(host), .table = host},
    LAST};

const tinker__yaml_field_t tinker__rec_policy_table[] = {
    {.key = "version", .type = TINKER__YAML_INT, .offset = AT(version),
     .initial = "1", .least = "1", .most = "1", .required = true,
     .what = "Of this notation."},
    MAP("defaults", defaults),
    {.key = "runs", .type = TINKER__YAML_LIST, .offset = AT(runs),
     .table = run, .size = sizeof(tinker__rec_policy_run_t),
     .start = start_run, .what = "Runs, with what differs from the defaults."},
    LAST};
/* clang-format on */

void tinker__rec_policy_default(tinker__rec_policy_t *out) {
  tinker__yaml_start(policy, out);
}
