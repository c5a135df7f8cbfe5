/* What a policy may not say, and what is said about it, to the letter: first
 * what the table refuses, then the rules. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "policy/policy.h"

typedef struct bad_s {
  const char *text;
  const char *fault;
} bad_t;

static int refused;

/* Fails the test unless the file has that report. */
static void refuse(const char *text, const char *want) {
  tinker__mem_t mem;
  tinker__buf_t out;
  tinker__rec_policy_file_t *file;
  tinker__mem_init(&mem, NULL, 0);
  tinker__buf_init(&out, &mem, 10000);
  int rc =
      tinker__rec_policy_parse(&file, &mem, tinker__str(text), "p.yaml", &out);
  cr_assert(rc, "taken:\n%s", text);
  const char *report = tinker__buf_cstr(&out);
  cr_assert_str_eq(report, want, "%s\n--- says\n%s--- not\n%s", text, report,
                   want);
  tinker__buf_free(&out);
  cr_assert_eq(mem.live_blocks, 0);
  refused++;
}

/* Files that begin in the same way, and have one fault. */
static void refuse_all(const bad_t *bad, size_t n, const char *begin,
                       const char *end) {
  char text[1000], want[1000];
  for (size_t i = 0; i < n; i++) {
    snprintf(text, sizeof text, "%s%s%s", begin, bad[i].text, end);
    snprintf(want, sizeof want, "p.yaml:%s\n", bad[i].fault);
    refuse(text, want);
  }
}

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* Whole files and whole reports. */
static const bad_t files[] = {
    {"", "p.yaml:1:1: the file is empty\n"},
    {"version: 1\n  x: 2\n",
     "p.yaml:2:4: malformed YAML: mapping values are not allowed in this context\n"},
    {"version: 2\n",
     "p.yaml:1:10: key 'version': '2' is out of range: only 1\n"},
    {"version: one\n",
     "p.yaml:1:10: key 'version': 'one' is not a whole number: only 1\n"},
    {"version: '1'\n",
     "p.yaml:1:10: key 'version': '1' stands in quotes, which make a text of it: only 1\n"},
    {"defaults: {}\n",
     "p.yaml:1:1: key 'version': is missing: it wants a whole number\n"},
    {"version: 1\nversion: 1\n",
     "p.yaml:2:1: key 'version': is there twice, first on line 1\n"},
    {"version: 1\nrun: []\n",
     "p.yaml:2:1: key 'run': unknown key, did you mean 'runs'? Known here: version, defaults, runs\n"},
    {"version: 1\ndefaults: [a]\n",
     "p.yaml:2:11: key 'defaults': is a list: it wants a map of keys\n"},
    {"version: 1\nruns: {}\n",
     "p.yaml:2:7: key 'runs': is a map of keys: it wants a list\n"},
    {"version: 1\n---\nversion: 1\n",
     "p.yaml:2:1: a second document is not allowed: one file has one\n"},
    {"version: 1\ndefaults: &d {}\n",
     "p.yaml:2:11: key 'defaults': anchors (&d) are not allowed\n"},
    {"version: 1\ndefaults: !policy {}\n",
     "p.yaml:2:11: key 'defaults': tags (!policy) are not allowed\n"},
    {"version: 1\ndefaults:\n  checkpoint: {ttl: {never_below: 3h}}\nruns:\n- match: {}\n  attempts: {incident_deadline: 4h}\n",
     "p.yaml:3:35: key 'defaults.checkpoint.ttl.never_below': 3h must not be less than attempts.incident_deadline, which is 6h: a checkpoint could expire while an incident is open\n"},
    {"version: 1\ndefaults:\n  detect:\n    heartbeat: {lost: 20, warn: 30s}\n    poll: {idle: 1s}\n  mode: art\n  resume: {require: V1}\n  chekpoint: {}\n",
     "p.yaml:4:23: key 'defaults.detect.heartbeat.lost': '20' lacks its unit: ms, s, m, h or d: from 3s to 119s\np.yaml:5:18: key 'defaults.detect.poll.idle': 1s must not be less than detect.poll.suspect, which is 2s: a run that is suspect is not looked at less often\np.yaml:6:9: key 'defaults.mode': 'art' is not allowed: observe, advise, act\np.yaml:8:3: key 'defaults.chekpoint': unknown key, did you mean 'checkpoint'? Known here: enabled, mode, durability, detect, gate, checkpoint, resume, attempts, poison, pause, notify, retry, state_dir, limits\n"},
    {"version: 1\ndefaults:\n\tmode: act\n",
     "p.yaml:3:1: malformed YAML: a tab where only spaces may stand\n"},
    {"version: 1\ndefaults: {mode: act\n",
     "p.yaml:3:1: malformed YAML: while parsing a flow mapping that begins on line 2: did not find expected ',' or '}'\n"},
    {"version: 1\nname: \xff\n", "p.yaml:2:7: the byte 0xff is not UTF-8\n"},
};

/* A line under defaults, and line:column: of its fault. */
static const bad_t defaults[] =
    {
        {"mode: kill",
         "3:9: key 'defaults.mode': 'kill' is not allowed: observe, advise, act"},
        {"mode: [act]",
         "3:9: key 'defaults.mode': is a list: it wants one word"},
        {"enabled: yes",
         "3:12: key 'defaults.enabled': 'yes' is neither true nor false"},
        {"durability: disk",
         "3:15: key 'defaults.durability': 'disk' is not allowed: process, power"},
        {"gate: none",
         "3:9: key 'defaults.gate': 'none' is not allowed: strict, pipelined, auto"},
        {"state_dir: relative/path",
         "3:14: key 'defaults.state_dir': 'relative/path' is not an absolute path, and does not begin with a variable, as ${HOME}"},
        {"state_dir: ${HOME",
         "3:14: key 'defaults.state_dir': '${HOME' is not an absolute path, and does not begin with a variable, as ${HOME}"},
        {"state_dir: ${1}/x",
         "3:14: key 'defaults.state_dir': '${1}/x' is not an absolute path, and does not begin with a variable, as ${HOME}"},
        {"state_dir: /a/${HOME}",
         "3:14: key 'defaults.state_dir': '/a/${HOME}' is not an absolute path, and does not begin with a variable, as ${HOME}"},
        {"detect: {pol: {idle: 5s}}",
         "3:12: key 'defaults.detect.pol': unknown key, did you mean 'poll'? Known here: poll, confirm, heartbeat, trainer, future, queue_pause, loss, audit, wake_grace"},
        {"detect: {poll: {idel: 5s}}",
         "3:19: key 'defaults.detect.poll.idel': unknown key, did you mean 'idle'? Known here: idle, suspect, jitter, batch_list"},
        {"detect: {poll: {idle: 5}}",
         "3:25: key 'defaults.detect.poll.idle': '5' lacks its unit: ms, s, m, h or d: from 1s to 10m"},
        {"detect: {poll: {idle: 5 s}}",
         "3:25: key 'defaults.detect.poll.idle': '5 s' is not a duration: a whole number and ms, s, m, h or d: from 1s to 10m"},
        {"detect: {poll: {idle: 1h}}",
         "3:25: key 'defaults.detect.poll.idle': '1h' is out of range: from 1s to 10m"},
        {"detect: {poll: {idle: 1s}}",
         "3:25: key 'defaults.detect.poll.idle': 1s must not be less than detect.poll.suspect, which is 2s: a run that is suspect is not looked at less often"},
        {"detect: {poll: {suspect: 20s}}",
         "3:28: key 'defaults.detect.poll.suspect': 20s must not be more than detect.poll.idle, which is 10s: a run that is suspect is not looked at less often"},
        {"detect: {poll: {jitter: 0.9}}",
         "3:27: key 'defaults.detect.poll.jitter': '0.9' is out of range: from 0 to 0.5"},
        {"detect: {poll: {jitter: 20%}}",
         "3:27: key 'defaults.detect.poll.jitter': '20%' is not a number: from 0 to 0.5"},
        {"detect: {poll: {batch_list: 1}}",
         "3:31: key 'defaults.detect.poll.batch_list': '1' is neither true nor false"},
        {"detect: {confirm: {reads: 1}}",
         "3:29: key 'defaults.detect.confirm.reads': '1' is out of range: from 2 to 10"},
        {"detect: {confirm: {reads: 9}}",
         "3:21: key 'defaults.detect.confirm.within': must not be less than 16s: 9 reads are so far apart with detect.poll.suspect"},
        {"detect: {confirm: {within: 1s}}",
         "3:30: key 'defaults.detect.confirm.within': must not be less than 2s: 2 reads are so far apart with detect.poll.suspect"},
        {"detect: {heartbeat: {lost: 120s}}",
         "3:30: key 'defaults.detect.heartbeat.lost': '120s' is out of range: from 3s to 119s"},
        {"detect: {heartbeat: {lost: 20s}}",
         "3:30: key 'defaults.detect.heartbeat.lost': 20s must be more than detect.heartbeat.warn, which is 25s: another connection is tried before the session counts as lost"},
        {"detect: {heartbeat: {warn: 5s}}",
         "3:30: key 'defaults.detect.heartbeat.warn': 5s must be more than detect.heartbeat.period, which is 10s: each beat would be late"},
        {"detect: {heartbeat: {owner: me}}",
         "3:31: key 'defaults.detect.heartbeat.owner': 'me' is not allowed: daemon, trainer"},
        {"detect: {trainer: {floor: 1s}}",
         "3:29: key 'defaults.detect.trainer.floor': 1s must be more than detect.trainer.tick, which is 1s: a trainer would hang between two of its ticks"},
        {"detect: {trainer: {section_factor: 1}}",
         "3:38: key 'defaults.detect.trainer.section_factor': '1' is out of range: from 1.5 to 100"},
        {"detect: {future: {soft: 2h}}",
         "3:27: key 'defaults.detect.future.soft': 2h must be less than detect.future.hard, which is 2h: a result is suspect before it is an incident"},
        {"detect: {future: {hard: 20m}}",
         "3:27: key 'defaults.detect.future.hard': 20m must be more than detect.future.soft, which is 20m: a result is suspect before it is an incident"},
        {"detect: {queue_pause: {limit: 10m}}",
         "3:33: key 'defaults.detect.queue_pause.limit': 10m must not be less than detect.queue_pause.notify, which is 30m: the run would be stopped before anybody is notified"},
        {"detect: {queue_pause: {limit: never}}",
         "3:33: key 'defaults.detect.queue_pause.limit': 'never' is not a duration: a whole number and ms, s, m, h or d: from 1m to 30d, or none"},
        {"detect: {loss: {nonfinite: ignore}}",
         "3:30: key 'defaults.detect.loss.nonfinite': 'ignore' is not allowed: stop_step"},
        {"detect: {loss: {spike: {warmup: 512}}}",
         "3:35: key 'defaults.detect.loss.spike.warmup': 512 must not be more than detect.loss.spike.window, which is 256: the window never holds so many steps"},
        {"detect: {loss: {divergence: {slow: 32}}}",
         "3:38: key 'defaults.detect.loss.divergence.slow': 32 must be more than detect.loss.divergence.fast, which is 32: the fast average is over fewer steps"},
        {"detect: {loss: {divergence: {for_tokens: 2m}}}",
         "3:44: key 'defaults.detect.loss.divergence.for_tokens': '2m' is not a count: a whole number, and k, M or G if need be: from 1 to 1000G"},
        {"detect: {loss: {flatline: 8}}",
         "3:29: key 'defaults.detect.loss.flatline': is a text: it wants a map of keys"},
        {"detect: {audit: {replay_fraction: 0.01}}",
         "3:20: key 'defaults.detect.audit.replay_fraction': known, but not honoured yet: replaying a part of a run on a fork is not there yet"},
        {"detect: {wake_grace: 1}",
         "3:24: key 'defaults.detect.wake_grace': '1' is not allowed: 1_cycle, 2_cycles, 3_cycles"},
        {"checkpoint: {interval: {mode: daly}}",
         "3:33: key 'defaults.checkpoint.interval.mode': 'daly' is not allowed: young_daly, steps"},
        {"checkpoint: {interval: {steps: 20}}",
         "3:27: key 'defaults.checkpoint.interval.steps': says nothing without mode: steps, leave it out"},
        {"checkpoint: {interval: {mode: steps, max: 20m}}",
         "3:40: key 'defaults.checkpoint.interval.max': says nothing without mode: young_daly, leave it out"},
        {"checkpoint: {interval: {min: 40m}}",
         "3:32: key 'defaults.checkpoint.interval.min': 40m must not be more than checkpoint.interval.max, which is 30m: no interval is between them"},
        {"checkpoint: {interval: {max: 2h}}",
         "3:32: key 'defaults.checkpoint.interval.max': 2h must not be more than checkpoint.max_age_validated, which is 1h: each checkpoint would be too old before the next one"},
        {"checkpoint: {max_age_validated: 20m}",
         "3:35: key 'defaults.checkpoint.max_age_validated': 20m must not be less than checkpoint.interval.max, which is 30m: each checkpoint would be too old before the next one"},
        {"checkpoint: {on_event: [bad_gradient]}",
         "3:27: key 'defaults.checkpoint.on_event[0]': 'bad_gradient' is known, but not honoured yet: that such a save leaves out the gradient is not proven"},
        {"checkpoint: {on_event: suspect}",
         "3:26: key 'defaults.checkpoint.on_event': is a text: it wants a list of words"},
        {"checkpoint: {on_event: [suspect, suspect]}",
         "3:36: key 'defaults.checkpoint.on_event[1]': 'suspect' is there twice"},
        {"checkpoint: {validate: 1}",
         "3:26: key 'defaults.checkpoint.validate': '1' is out of range: from 2 to 1000, or every, before_use"},
        {"checkpoint: {validate: never}",
         "3:26: key 'defaults.checkpoint.validate': 'never' is not a whole number: from 2 to 1000, or every, before_use"},
        {"checkpoint: {ttl: {never_below: 5h}}",
         "3:35: key 'defaults.checkpoint.ttl.never_below': 5h must not be less than attempts.incident_deadline, which is 6h: a checkpoint could expire while an incident is open"},
        {"checkpoint: {ttl: {renew_below: 14d}}",
         "3:35: key 'defaults.checkpoint.ttl.renew_below': 14d must be less than checkpoint.ttl.initial, which is 14d: a new checkpoint would be renewed at once, and again"},
        {"checkpoint: {ttl: {never_below: 8d}}",
         "3:35: key 'defaults.checkpoint.ttl.never_below': 8d must be less than checkpoint.ttl.renew_below, which is 7d: it is renewed before that"},
        {"checkpoint: {ttl: {initial: 2w}}",
         "3:31: key 'defaults.checkpoint.ttl.initial': '2w' is not a duration: a whole number and ms, s, m, h or d: from 1h to 3650d"},
        {"checkpoint: {retain: {min_validated: 1}}",
         "3:40: key 'defaults.checkpoint.retain.min_validated': '1' is out of range: from 2 to 1000"},
        {"checkpoint: {retain: {min_validated: 4}}",
         "3:40: key 'defaults.checkpoint.retain.min_validated': 4 must not be more than checkpoint.retain.last_validated, which is 3: more must be kept than are kept"},
        {"checkpoint: {retain: {last_validated: 1}}",
         "3:41: key 'defaults.checkpoint.retain.last_validated': 1 must not be less than checkpoint.retain.min_validated, which is 2: more must be kept than are kept"},
        {"checkpoint: {retain: {every_fraction: 2}}",
         "3:41: key 'defaults.checkpoint.retain.every_fraction': '2' is out of range: from 0 to 1"},
        {"checkpoint: {delete: {two_phase: false}}",
         "3:36: key 'defaults.checkpoint.delete.two_phase': must be true: a crash between two deletions must not lose the last good one"},
        {"checkpoint: {delete: {while_incident: always}}",
         "3:41: key 'defaults.checkpoint.delete.while_incident': 'always' is not allowed: never"},
        {"checkpoint: {archive: {mode: on}}",
         "3:32: key 'defaults.checkpoint.archive.mode': 'on' is known, but not honoured yet: archives of checkpoints are not there yet"},
        {"checkpoint: {archive: {every: 10}}",
         "3:26: key 'defaults.checkpoint.archive.every': known, but not honoured yet: archives of checkpoints are not there yet"},
        {"resume: {choose: best}", "3:20: key 'defaults.resume.choose': 'best' is known, but not honoured yet: the newest proven one is taken"},
        {"resume: {require: V1}",
         "3:21: key 'defaults.resume.require': V1 is too little with mode: act: V2, V3 or V4"},
        {"resume: {require: V5}",
         "3:21: key 'defaults.resume.require': 'V5' is known, but not honoured yet: archives of checkpoints are not there yet"},
        {"resume: {require: 3}",
         "3:21: key 'defaults.resume.require': '3' is not allowed: V0, V1, V2, V3, V4"},
        {"resume: {optimizer: reset}",
         "3:23: key 'defaults.resume.optimizer': 'reset' is known, but not honoured yet: level R7, going on with a fresh optimizer, is not there yet"},
        {"resume: {allow_step_zero: true}",
         "3:29: key 'defaults.resume.allow_step_zero': 'true' is known, but not honoured yet: level R8, beginning again at step 0, is not there yet"},
        {"resume: {match: [base_model]}",
         "3:19: key 'defaults.resume.match': only plan_digest may be left out: a checkpoint of another model, rank or train flag is another run's"},
        {"resume: {replay_check: {min_steps: 1}}",
         "3:38: key 'defaults.resume.replay_check.min_steps': '1' is out of range: from 2 to 100"},
        {"resume: {replay_check: {tolerance: 5}}",
         "3:38: key 'defaults.resume.replay_check.tolerance': '5' is out of range: from 0 to 1, or auto"},
        {"resume: {probation: {gate: auto}}",
         "3:30: key 'defaults.resume.probation.gate': 'auto' is not allowed: strict, pipelined"},
        {"attempts: {same_root: 0}",
         "3:25: key 'defaults.attempts.same_root': '0' is out of range: from 1 to 100"},
        {"attempts: {same_root_and_entity: 4}",
         "3:36: key 'defaults.attempts.same_root_and_entity': 4 must not be more than attempts.same_root, which is 3: the ledger of one batch is a part of that of one cause"},
        {"attempts: {per_day: 2}",
         "3:23: key 'defaults.attempts.per_day': 2 must not be less than attempts.same_root, which is 3: one cause may not use more attempts than there are"},
        {"attempts: {backoff: {base: 10m}}",
         "3:30: key 'defaults.attempts.backoff.base': 10m must not be more than attempts.backoff.cap, which is 5m: the first wait is the shortest"},
        {"attempts: {incident_deadline: 3d}",
         "3:33: key 'defaults.attempts.incident_deadline': 3d must not be more than checkpoint.ttl.never_below, which is 2d: a checkpoint could expire while an incident is open"},
        {"attempts: {incident_deadline: 5m}",
         "3:33: key 'defaults.attempts.incident_deadline': 5m must be more than attempts.backoff.cap, which is 5m: one wait would last longer than its incident"},
        {"attempts: {backoff: {factor: 0.5}}",
         "3:32: key 'defaults.attempts.backoff.factor': '0.5' is out of range: from 1 to 10"},
        {"poison: {enabled: true}",
         "3:21: key 'defaults.poison.enabled': 'true' is known, but not honoured yet: level R6, putting bad batches aside, is not there yet"},
        {"poison: {quarantine: {max_fraction: 0.02}}",
         "3:25: key 'defaults.poison.quarantine.max_fraction': known, but not honoured yet: level R6, putting bad batches aside, is not there yet"},
        {"pause: {billing: {poll: [5m, 5s]}}",
         "3:32: key 'defaults.pause.billing.poll[1]': '5s' is less than the one before it"},
        {"pause: {billing: {poll: 5s}}",
         "3:27: key 'defaults.pause.billing.poll': is a text: it wants a list of two durations, as [5s, 5m]"},
        {"pause: {billing: {limit: 72}}",
         "3:28: key 'defaults.pause.billing.limit': '72' lacks its unit: ms, s, m, h or d: from 1m to 365d, or none"},
        {"pause: {auth: {notify: 1s}}",
         "3:26: key 'defaults.pause.auth.notify': 1s must be more than pause.auth.verify_once_after, which is 1s: a key is tried again before anybody is notified"},
        {"pause: {schedule: []}",
         "3:11: key 'defaults.pause.schedule': known, but not honoured yet: schedules are not there yet"},
        {"limits: {api_rate: 2}",
         "3:22: key 'defaults.limits.api_rate': '2' lacks its unit: /s, /m or /h: from 0.01/s to 1000/s"},
        {"limits: {disk_reserve: 256MB}",
         "3:26: key 'defaults.limits.disk_reserve': '256MB' is not a size: a whole number and B, KiB, MiB, GiB or TiB: from 1MiB to 1TiB"},
        {"limits: {canary_first: true}",
         "3:12: key 'defaults.limits.canary_first': known, but not honoured yet: a mass failure is not told from single ones yet"},
        {"limits: {spend_per_day: {tokens: 200M}}",
         "3:28: key 'defaults.limits.spend_per_day.tokens': known, but not honoured yet: what a recovery costs is not counted yet"},
        {"retry: {attempts: 3}",
         "3:11: key 'defaults.retry.attempts': known, but not honoured yet: the client decides itself what it sends again, and when"},
        {"retry: {bucket: {capacity: 500}}",
         "3:20: key 'defaults.retry.bucket.capacity': known, but not honoured yet: the client decides itself what it sends again, and when"},
        {"notify: {on: [incident, quarantine]}", "3:27: key 'defaults.notify.on[1]': 'quarantine' is known, but not honoured yet: level R6, putting bad batches aside, is not there yet"},
        {"notify: {exec: {argv: ./notify.sh}}",
         "3:25: key 'defaults.notify.exec.argv': is a text: it wants a list of texts"},
        {"notify: {exit_codes: {exhausted: 93}}",
         "3:36: key 'defaults.notify.exit_codes.exhausted': 93 must differ from notify.exit_codes.stopped_do_not_retry"},
        {"notify: {exit_codes: {exhausted: 0}}",
         "3:36: key 'defaults.notify.exit_codes.exhausted': '0' is out of range: from 1 to 125"},
};

/* Under runs. */
static const bad_t runs[] = {
    {"- match: {}\n  <<: *d\n",
     "4:3: key 'runs[0]': merge keys (<<) are not allowed"},
    {"- {}\n", "3:3: key 'runs[0].match': is missing: it wants a map of keys"},
    {"- match: {project: demo}\n",
     "3:10: key 'runs[0].match': 'project' is not matched: name, base_model or user_metadata.KEY"},
    {"- match: {user_metadata.: x}\n",
     "3:10: key 'runs[0].match': 'user_metadata.' is not matched: name, base_model or user_metadata.KEY"},
    {"- match: {}\n- match: {name: a}\n",
     "4:10: key 'runs[1].match': never used: what fits it fits runs[0] before it"},
    {"- match: {name: a}\n- match: {name: a, base_model: b}\n",
     "4:10: key 'runs[1].match': never used: what fits it fits runs[0] before it"},
    {"- match: {}\n  detect: {heartbeat: {warn: 70s}}\n",
     "4:30: key 'runs[0].detect.heartbeat.warn': 70s must be less than detect.heartbeat.lost, which is 1m: another connection is tried before the session counts as lost"},
    {"- match: {}\n  state_dir: /x\n",
     "4:3: key 'runs[0].state_dir': unknown key, did you mean 'defaults.state_dir'? Known here: match, enabled, mode, durability, detect, gate, checkpoint, resume, attempts, poison, pause, notify, retry, data, trainer"},
    {"- match: {}\n  detect: {poll: {batch_list: false}}\n",
     "4:31: key 'runs[0].detect.poll.batch_list': is of the daemon: set it under defaults"},
    {"- match: {}\n  attempts: {daemon_deaths_per_hour: 3}\n",
     "4:38: key 'runs[0].attempts.daemon_deaths_per_hour': is of the daemon: set it under defaults"},
    {"- match: {}\n  trainer: {env_allow: [HOME, A-B]}\n",
     "4:31: key 'runs[0].trainer.env_allow[1]': 'A-B' is not the name of a variable: letters, digits and _"},
    {"- match: {}\n  trainer: {argv: [\"\"]}\n",
     "4:20: key 'runs[0].trainer.argv[0]': is empty: it wants a program"},
    {"- match: {}\n  trainer: {argv: [./a], kill_after: 15}\n",
     "4:38: key 'runs[0].trainer.kill_after': '15' lacks its unit: ms, s, m, h or d: from 100ms to 10m"},
    {"- match: {}\n  data: {order: shuffled}\n",
     "4:17: key 'runs[0].data.order': 'shuffled' is not allowed: recorded, fresh"},
    {"- match: {}\n  data: fresh\n",
     "4:9: key 'runs[0].data': is a text: it wants a map of keys"},
};

Test(rules, refused) {
  refused = 0;
  for (size_t i = 0; i < COUNT(files); i++) {
    refuse(files[i].text, files[i].fault);
  }
  refuse_all(defaults, COUNT(defaults), "version: 1\ndefaults:\n  ", "\n");
  refuse_all(runs, COUNT(runs), "version: 1\nruns:\n", "");
  cr_assert_geq(refused, 120);
}

/* What is at the edge of a rule is taken. */
Test(rules, allowed) {
  static const char *const texts[] = {
      "detect: {poll: {idle: 2s}}",
      "detect: {confirm: {within: 2s}}",
      "detect: {heartbeat: {period: 24s}}",
      "detect: {heartbeat: {lost: 119s}}",
      "detect: {queue_pause: {limit: 30m}}",
      "detect: {future: {hard: 21m}}",
      "checkpoint: {interval: {max: 1h}}",
      "checkpoint: {interval: {mode: steps}, max_age_validated: 1m}",
      "checkpoint: {ttl: {never_below: 6h}}",
      "checkpoint: {retain: {min_validated: 3}}",
      "checkpoint: {validate: 2}",
      "resume: {require: V2}",
      ("resume: {match: [base_model, rank, train_mlp, train_attn, "
       "train_unembed]}"),
      "{mode: observe, resume: {require: V0}}",
      "attempts: {same_root_and_entity: 3}",
      "attempts: {per_day: 3}",
      "pause: {billing: {poll: [5s, 5s], limit: none}}",
      "poison: {enabled: false}",
      "checkpoint: {archive: {mode: off}}",
      "state_dir: ${HOME}"};
  for (size_t i = 0; i < COUNT(texts); i++) {
    tinker__mem_t mem;
    tinker__buf_t out;
    tinker__rec_policy_file_t *file;
    char text[1000];
    tinker__mem_init(&mem, NULL, 0);
    tinker__buf_init(&out, &mem, 10000);
    snprintf(text, sizeof text, "version: 1\ndefaults:\n  %s\n", texts[i]);
    int rc = tinker__rec_policy_parse(&file, &mem, tinker__str(text), "p.yaml",
                                      &out);
    cr_assert_eq(rc, 0, "%s", tinker__buf_cstr(&out));
    tinker__rec_policy_free(file);
    tinker__buf_free(&out);
    cr_assert_eq(mem.live_blocks, 0);
  }
}
