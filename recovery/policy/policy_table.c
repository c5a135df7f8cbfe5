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
#define R8 "level R8, beginning again at step 0, is not there yet"
#define ARCHIVES "archives of checkpoints are not there yet"
#define SCHEDULES "schedules are not there yet"
#define CLIENT_RETRY "the client decides itself what it sends again, and when"
#define AUDITS "replaying a part of a run on a fork is not there yet"

/* clang-format off */

/* --- Words ---------------------------------------------------------------- */

WORDS modes[] = {{"observe", TINKER__REC_MODE_OBSERVE, NULL},
    {"advise", TINKER__REC_MODE_ADVISE, NULL},
    {"act", TINKER__REC_MODE_ACT, NULL}, END};
WORDS durabilities[] = {{"process", TINKER__REC_DURABLE_PROCESS, NULL},
    {"power", TINKER__REC_DURABLE_POWER, NULL}, END};
WORDS gates[] = {{"strict", TINKER__REC_GATE_STRICT, NULL},
    {"pipelined", TINKER__REC_GATE_PIPELINED, NULL},
    {"auto", TINKER__REC_GATE_AUTO, NULL}, END};
WORDS fixed_gates[] = {{"strict", TINKER__REC_GATE_STRICT, NULL},
    {"pipelined", TINKER__REC_GATE_PIPELINED, NULL}, END};
WORDS owners[] = {{"daemon", TINKER__REC_BEAT_DAEMON, NULL},
    {"trainer", TINKER__REC_BEAT_TRAINER, NULL}, END};
WORDS no_limit[] = {{"none", TINKER__REC_NO_LIMIT, NULL}, END};
WORDS nonfinites[] = {
    {"stop_step", TINKER__REC_NONFINITE_STOP_STEP, NULL}, END};
WORDS cycles[] = {{"1_cycle", 1, NULL}, {"2_cycles", 2, NULL},
    {"3_cycles", 3, NULL}, END};
WORDS intervals[] = {{"young_daly", TINKER__REC_INTERVAL_YOUNG_DALY, NULL},
    {"steps", TINKER__REC_INTERVAL_STEPS, NULL}, END};
WORDS saves[] = {{"suspect", TINKER__REC_SAVE_SUSPECT, NULL},
    {"sigterm", TINKER__REC_SAVE_SIGTERM, NULL},
    {"billing_pause", TINKER__REC_SAVE_BILLING_PAUSE, NULL},
    {"before_schedule_window", TINKER__REC_SAVE_BEFORE_SCHEDULE_WINDOW,
     SCHEDULES},
    {"bad_gradient", TINKER__REC_SAVE_BAD_GRADIENT,
     "that such a save leaves out the gradient is not proven"}, END};
WORDS validations[] = {{"every", 1, NULL},
    {"before_use", TINKER__REC_VALIDATE_BEFORE_USE, NULL}, END};
WORDS fingerprints[] = {
    {"checkpoint", TINKER__REC_FINGERPRINT_EACH_CHECKPOINT, NULL}, END};
WORDS finals[] = {{"forever", TINKER__REC_FINAL_FOREVER, NULL},
    {"normal", TINKER__REC_FINAL_NORMAL, NULL}, END};
WORDS never[] = {{"never", TINKER__REC_DELETE_NEVER_IN_INCIDENT, NULL}, END};
WORDS max_ages[] = {{"alert", TINKER__REC_MAX_AGE_ALERT, NULL},
    {"pause", TINKER__REC_MAX_AGE_PAUSE, NULL}, END};
WORDS archives[] = {{"off", 0, NULL}, {"on", 1, ARCHIVES}, END};
WORDS choices[] = {
    {"newest_proven", TINKER__REC_CHOOSE_NEWEST_PROVEN, NULL},
    {"before_onset", TINKER__REC_CHOOSE_BEFORE_ONSET,
     "a later level goes to an older one by itself"},
    {"best", TINKER__REC_CHOOSE_BEST, "the newest proven one is taken"},
    {"specific", TINKER__REC_CHOOSE_SPECIFIC,
     "the newest proven one is taken"}, END};
WORDS proofs[] = {{"V0", 0, NULL}, {"V1", 1, NULL}, {"V2", 2, NULL},
    {"V3", 3, NULL}, {"V4", 4, NULL}, {"V5", 5, ARCHIVES}, END};
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
WORDS step_zero[] = {{"false", 0, NULL}, {"true", 1, R8}, END};
WORDS tolerances[] = {{"auto", TINKER__REC_TOLERANCE_AUTO, NULL}, END};
WORDS jitters[] = {{"full", TINKER__REC_JITTER_FULL, NULL},
    {"none", TINKER__REC_JITTER_NONE, NULL}, END};
WORDS poisons[] = {{"false", 0, NULL}, {"true", 1, R6}, END};
WORDS rereads[] = {{"file", TINKER__REC_REREAD_FILE, NULL},
    {"command", TINKER__REC_REREAD_COMMAND, NULL}, END};
WORDS notices[] = {{"incident", TINKER__REC_NOTIFY_INCIDENT, NULL},
    {"stopped", TINKER__REC_NOTIFY_STOPPED, NULL},
    {"paused", TINKER__REC_NOTIFY_PAUSED, NULL},
    {"quarantine", TINKER__REC_NOTIFY_QUARANTINE, R6},
    {"rollback", TINKER__REC_NOTIFY_ROLLBACK, NULL},
    {"max_age", TINKER__REC_NOTIFY_MAX_AGE, NULL},
    {"held", TINKER__REC_NOTIFY_HELD, NULL}, END};
WORDS orders[] = {{"recorded", TINKER__REC_ORDER_RECORDED, NULL},
    {"fresh", TINKER__REC_ORDER_FRESH, NULL}, END};
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
    ROW("jitter", FLOAT, detect.poll.jitter, "0.2", "0", "0.5", NULL,
        "Part of that time by which it is made longer or shorter at random."),
    YES("batch_list", detect.poll.batch_list,
        "Many runs with one list call. Of the daemon, not of a run."),
    LAST};
ROWS confirm[] = {
    ROW("reads", INT, detect.confirm.reads, "2", "2", "10", NULL,
        "Reads that must agree before an incident is opened."),
    ROW("within", DURATION, detect.confirm.within_ms, "15s", "1s", "10m", NULL,
        "Time in which they must."),
    LAST};
ROWS heartbeat[] = {
    ROW("period", DURATION, detect.heartbeat.period_ms, "10s", "1s", "30s",
        NULL, "Time between two heartbeats of a session."),
    ROW("warn", DURATION, detect.heartbeat.warn_ms, "25s", "2s", "118s", NULL,
        "Without an answer for so long, another connection is tried."),
    ROW("lost", DURATION, detect.heartbeat.lost_ms, "60s", "3s", "119s", NULL,
        "Without an answer for so long, the session is suspect. A server may "
        "drop a session after 120s."),
    WORD("owner", detect.heartbeat.owner, "daemon", owners,
         "Who beats: the daemon does while a trainer is busy or dead."),
    LAST};
ROWS trainer_health[] = {
    ROW("tick", DURATION, detect.trainer.tick_ms, "1s", "100ms", "1m", NULL,
        "Time between two signs of progress that a trainer gives."),
    ROW("section_factor", FLOAT, detect.trainer.section_factor, "3", "1.5",
        "100", NULL, "A section of a step hangs after so many times its "
        "usual time (p99)."),
    ROW("floor", DURATION, detect.trainer.floor_ms, "10s", "1s", "1h", NULL,
        "And never before this time."),
    YES("stack_dump", detect.trainer.stack_dump,
        "A trainer that hangs writes its stacks before it is ended."),
    LAST};
ROWS future[] = {
    ROW("soft", DURATION, detect.future.soft_ms, "20m", "1m", "1d", NULL,
        "A result that takes longer is suspect."),
    ROW("p99_factor", FLOAT, detect.future.p99_factor, "10", "1", "1000", NULL,
        "But not before so many times the usual time (p99)."),
    ROW("hard", DURATION, detect.future.hard_ms, "2h", "2m", "7d", NULL,
        "A result that takes longer is an incident."),
    YES("pause_clock_when_queued", detect.future.pause_clock_when_queued,
        "Time in a paused queue does not count."),
    LAST};
ROWS queue_pause[] = {
    ROW("notify", DURATION, detect.queue_pause.notify_ms, "30m", "1m", "7d",
        NULL, "A queue that is paused for longer is notified."),
    ROW("limit", DURATION, detect.queue_pause.limit_ms, "none", "1m", "30d",
        no_limit, "A queue that is paused for longer stops the run."),
    LAST};
ROWS spike[] = {
    ROW("robust_z", FLOAT, detect.loss.spike.robust_z, "7", "3", "1000", NULL,
        "Distance from the median in median absolute deviations that makes a "
        "spike."),
    ROW("min_ratio", FLOAT, detect.loss.spike.min_ratio, "2", "1", "1000",
        NULL, "And at least so many times the median."),
    ROW("window", INT, detect.loss.spike.window, "256", "16", "65536", NULL,
        "Steps of the median."),
    ROW("warmup", INT, detect.loss.spike.warmup, "64", "8", "65536", NULL,
        "Steps before the first judgement."),
    YES("recheck", detect.loss.spike.recheck,
        "A forward on the same batch confirms a spike."),
    LAST};
ROWS divergence[] = {
    ROW("fast", INT, detect.loss.divergence.fast, "32", "2", "65536", NULL,
        "Steps of the fast average."),
    ROW("slow", INT, detect.loss.divergence.slow, "512", "4", "1048576", NULL,
        "Steps of the slow one."),
    ROW("ratio", FLOAT, detect.loss.divergence.ratio, "1.5", "1.01", "1000",
        NULL, "Fast over slow that is too much."),
    ROW("for_tokens", COUNT, detect.loss.divergence.for_tokens, "2M", "1",
        "1000G", NULL, "For so many tokens."),
    LAST};
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
    TIMED("max_overhead", FLOAT, checkpoint.interval.max_overhead, "0.02",
        "0.0001", "0.5",
        "Largest part of the time that `young_daly` gives to saves."),
    TIMED("fallback_steps", INT, checkpoint.interval.fallback_steps, "50",
        "1", "1000000", "Steps until `young_daly` has measured a save."),
    {.key = "steps", .type = TINKER__YAML_INT,
     .offset = AT(checkpoint.interval.steps), .initial = "50", .least = "1",
     .most = "1000000", .when = &when_steps,
     .what = "Steps of the mode `steps`."},
    LAST};
ROWS fingerprint[] = {
    ROW("probe_items", INT, checkpoint.fingerprint.probe_items, "4", "1", "64",
        NULL, "Data of the probe set that is forwarded at a save."),
    WORD("every", checkpoint.fingerprint.every, "checkpoint", fingerprints,
         "When."),
    LAST};
ROWS ttl[] = {
    ROW("initial", DURATION, checkpoint.ttl.initial_ms, "14d", "1h", "3650d",
        NULL, "Life of a new checkpoint."),
    ROW("renew_below", DURATION, checkpoint.ttl.renew_below_ms, "7d", "1m",
        "3650d", NULL, "It is renewed when less remains."),
    ROW("never_below", DURATION, checkpoint.ttl.never_below_ms, "48h", "1m",
        "3650d", NULL, "Less must never remain of one that is needed."),
    LAST};
ROWS retain[] = {
    ROW("last_validated", INT, checkpoint.retain.last_validated, "3", "1",
        "1000", NULL, "So many of the newest that are validated."),
    ROW("every_fraction", FLOAT, checkpoint.retain.every_fraction, "0.125",
        "0", "1", NULL, "One in each such part of the run; 0 = none."),
    ROW("best", INT, checkpoint.retain.best, "1", "0", "100", NULL,
        "So many of the best."),
    ROW("best_by", TEXT, checkpoint.retain.best_by, "loss", NULL, NULL, NULL,
        "By this metric, of which less is better."),
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
    ROW("on_event", FLAGS, checkpoint.on_event,
        "suspect, sigterm, billing_pause", NULL, NULL, saves,
        "Events that make a save of their own."),
    ROW("validate", INT, checkpoint.validate, "every", "2", "1000", validations,
        "Which saves are loaded into a scratch model and compared: every one, "
        "every n-th, or those that are about to be used."),
    MAP("fingerprint", fingerprint),
    MAP("ttl", ttl),
    MAP("retain", retain),
    MAP("delete", delete),
    ROW("max_age_validated", DURATION, checkpoint.max_age_validated_ms, "1h",
        "1m", "30d", NULL, "Age of the newest validated one that is too much."),
    WORD("on_max_age", checkpoint.on_max_age, "alert", max_ages,
         "What is done then."),
    MAP("archive", archive),
    LAST};

ROWS replay_check[] = {
    ROW("min_steps", INT, resume.replay_check.min_steps, "3", "2", "100", NULL,
        "Steps that are done again and compared, where there are so many. The "
        "second is the first that shows the optimizer."),
    ROW("tolerance", FLOAT, resume.replay_check.tolerance, "auto", "0", "1",
        tolerances, "Relative difference of two losses that count as equal; "
        "`auto`: to the bit where the service repeats itself, else six times "
        "its noise."),
    LAST};
ROWS probation[] = {
    ROW("steps", INT, resume.probation.steps, "50", "1", "100000", NULL,
        "Steps of a resumed run that are watched more closely."),
    WORD("gate", resume.probation.gate, "strict", fixed_gates,
         "The gate in these steps."),
    ROW("spike_z", FLOAT, resume.probation.spike_z, "5", "2", "1000", NULL,
        "What counts as a spike in them."),
    LAST};
ROWS resume[] = {
    WORD("choose", resume.choose, "newest_proven", choices,
         "Which checkpoint is tried first."),
    WORD("require", resume.require, "V3", proofs,
         "What must be proven of it: V0 a path, V1 listed and whole, V2 of the "
         "same plan, V3 its fingerprint, V4 its optimizer."),
    WORD("optimizer", resume.optimizer, "required", optimizers,
         "Whether its optimizer must be restored."),
    WORD("optimizer_canary", resume.optimizer_canary, "daily", canaries,
         "How often loads with and without optimizer are compared."),
    ROW("max_rollback_steps", INT, resume.max_rollback_steps, "500", "1",
        "1000000000", NULL, "Steps that a resume may lose at most."),
    ROW("allow_step_zero", BOOL, resume.allow_step_zero, "false", NULL, NULL,
        step_zero, "Whether a run may begin again."),
    ROW("match", FLAGS, resume.match, "base_model, rank, train_mlp, "
        "train_attn, train_unembed, plan_digest", NULL, NULL, matches,
        "What must be equal in plan and checkpoint."),
    MAP("replay_check", replay_check),
    MAP("probation", probation),
    LAST};

ROWS reset[] = {
    ROW("progress_steps", INT, attempts.reset.progress_steps, "20", "1",
        "1000000", NULL, "Validated steps after which attempts are forgotten,"),
    ROW("healthy_for", DURATION, attempts.reset.healthy_for_ms, "10m", "1s",
        "7d", NULL, "if all was well for so long."),
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
        "Attempts for one cause, then the run is stopped."),
    ROW("same_root_and_entity", INT, attempts.same_root_and_entity, "1", "1",
        "100", NULL, "Attempts for one cause with the same batch."),
    ROW("no_progress_cycles", INT, attempts.no_progress_cycles, "3", "1",
        "100", NULL, "Recoveries in a row without a step in between."),
    ROW("per_day", INT, attempts.per_day, "24", "1", "10000", NULL,
        "Attempts a day, of all causes."),
    MAP("reset", reset),
    MAP("backoff", backoff),
    ROW("incident_deadline", DURATION, attempts.incident_deadline_ms, "6h",
        "1m", "30d", NULL, "An incident ends after this time at the latest."),
    ROW("daemon_deaths_per_hour", INT, attempts.daemon_deaths_per_hour, "20",
        "1", "1000", NULL, "Of the daemon, not of a run."),
    LAST};

ROWS spike_skip[] = {LATER("batches", R6), LATER("max", R6), LAST};
ROWS quarantine[] = {LATER("max_fraction", R6), LATER("max_per_day", R6),
    LATER("reoffer", R6), LAST};
ROWS poison[] = {
    ROW("enabled", BOOL, poison_enabled, "false", NULL, NULL, poisons,
        "Whether batches that do harm are put aside."),
    LATER("bisect", R6), LATER("spike_rollback", R6),
    MAP("spike_skip", spike_skip), MAP("quarantine", quarantine), LAST};

ROWS billing[] = {
    ROW("poll", SPAN, pause.billing.poll_ms, "5s, 5m", "1s", "1h", NULL,
        "First and longest wait between two tries while the account is "
        "blocked."),
    ROW("limit", DURATION, pause.billing.limit_ms, "72h", "1m", "365d",
        no_limit, "A run that is blocked for longer is stopped."),
    YES("keep_session", pause.billing.keep_session,
        "Heartbeats go on meanwhile."),
    LAST};
ROWS auth[] = {
    ROW("reread", FLAGS, pause.auth.reread, "file, command", NULL, NULL,
        rereads, "Where a key is read again after it was refused."),
    ROW("verify_once_after", DURATION, pause.auth.verify_once_after_ms, "1s",
        "100ms", "1m", NULL, "A fresh key that is refused is tried once more "
        "after this time."),
    ROW("notify", DURATION, pause.auth.notify_ms, "2m", "1s", "1d", NULL,
        "A key that is refused for longer is notified."),
    LAST};
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
    ROW("on", FLAGS, notify.on, "incident, stopped, paused, rollback, max_age, "
        "held", NULL, NULL, notices, "What is notified."),
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
    YES("enabled", enabled, "Whether the run is watched at all."),
    WORD("mode", mode, "act", modes,
         "`observe` logs what it would do, `advise` also notifies."),
    WORD("durability", durability, "power", durabilities,
         "What the journal survives: the end of a process, or of the machine."),
    MAP("detect", detect),
    WORD("gate", gate, "auto", gates,
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
        NULL, "Runs that are recovered at the same time."),
    LATER("canary_first", "a mass failure is not told from single ones yet"),
    ROW("api_rate", RATE, api_rate, "2/s", "0.01/s", "1000/s", NULL,
        "Calls of the daemon itself."),
    MAP("spend_per_day", spend_per_day),
    ROW("disk_reserve", SIZE, disk_reserve, "256MiB", "1MiB", "1TiB", NULL,
        "Space that is kept for the end of an open incident on a full disk."),
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
    ROW("manifest", TEXT, manifest, NULL, NULL, NULL, NULL,
        "A file that says which data they are."),
    WORD("order", order, "recorded", orders,
         "`recorded`: a step that is done again has the same batch. `fresh`: "
         "it may have another one after a rollback."),
    WORD("cursor", cursor, "per_step", cursors,
         "When the place in the data is stored."),
    LAST};
ROWS trainer[] = {
    {.key = "argv", .type = TINKER__YAML_TEXTS, .offset = AT(argv),
     .what = "The trainer's program and arguments; {lineage} is its run. None "
             "= it is started by others."},
    {.key = "env_allow", .type = TINKER__YAML_TEXTS, .offset = AT(env_allow),
     .what = "Variables of the environment that it gets."},
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
