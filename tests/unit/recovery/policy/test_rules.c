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
     "p.yaml:3:22: key 'defaults.checkpoint.ttl.never_below': known, but not honoured yet: half of ttl.initial is\np.yaml:6:14: key 'runs[0].attempts.incident_deadline': known, but not honoured yet: attempts are counted by run and lost step alone\n"},
    {"version: 1\ndefaults:\n  detect:\n    heartbeat: {lost: 20, warn: 30s}\n    poll: {idle: 1s}\n  mode: art\n  resume: {require: V1}\n  chekpoint: {}\n",
     "p.yaml:4:17: key 'defaults.detect.heartbeat.lost': known, but not honoured yet: the client beats every 10s, and warns after 2m without an answer\np.yaml:4:27: key 'defaults.detect.heartbeat.warn': known, but not honoured yet: the client beats every 10s, and warns after 2m without an answer\np.yaml:5:18: key 'defaults.detect.poll.idle': 1s must not be less than detect.poll.suspect, which is 2s: a run that is suspect is not looked at less often\np.yaml:6:9: key 'defaults.mode': 'art' is not allowed: act\np.yaml:7:21: key 'defaults.resume.require': 'V1' is known, but not honoured yet: a fingerprint is always proven: V3 or V4\np.yaml:8:3: key 'defaults.chekpoint': unknown key, did you mean 'checkpoint'? Known here: enabled, mode, durability, detect, gate, checkpoint, resume, attempts, poison, pause, notify, retry, state_dir, limits\n"},
    {"version: 1\ndefaults:\n\tmode: act\n",
     "p.yaml:3:1: malformed YAML: a tab where only spaces may stand\n"},
    {"version: 1\ndefaults: {mode: act\n",
     "p.yaml:3:1: malformed YAML: while parsing a flow mapping that begins on line 2: did not find expected ',' or '}'\n"},
    {"version: 1\nname: \xff\n", "p.yaml:2:7: the byte 0xff is not UTF-8\n"},
};

/* A line under defaults, and line:column: of its fault. */
static const bad_t defaults[] =
    {
        {"mode: kill", "3:9: key 'defaults.mode': 'kill' is not allowed: act"},
        {"mode: [act]",
         "3:9: key 'defaults.mode': is a list: it wants one word"},
        {"enabled: yes",
         "3:12: key 'defaults.enabled': 'yes' is neither true nor false"},
        {"durability: disk",
         "3:15: key 'defaults.durability': 'disk' is not allowed: process, power"},
        {"gate: none",
         "3:9: key 'defaults.gate': 'none' is not allowed: strict, pipelined"},
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
         "3:19: key 'defaults.detect.poll.idel': unknown key, did you mean 'idle'? Known here: idle, suspect"},
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
         "3:19: key 'defaults.detect.poll.jitter': known, but not honoured yet: a look is up to a fifth earlier or later"},
        {"detect: {poll: {jitter: 20%}}",
         "3:19: key 'defaults.detect.poll.jitter': known, but not honoured yet: a look is up to a fifth earlier or later"},
        {"detect: {poll: {batch_list: 1}}",
         "3:19: key 'defaults.detect.poll.batch_list': known, but not honoured yet: the daemon always asks for many at once"},
        {"detect: {confirm: {reads: 1}}",
         "3:22: key 'defaults.detect.confirm.reads': known, but not honoured yet: two reads must agree"},
        {"detect: {confirm: {reads: 9}}",
         "3:22: key 'defaults.detect.confirm.reads': known, but not honoured yet: two reads must agree"},
        {"detect: {confirm: {within: 1s}}",
         "3:30: key 'defaults.detect.confirm.within': 1s must not be less than detect.poll.suspect, which is 2s: two reads are so far apart"},
        {"detect: {heartbeat: {lost: 120s}}",
         "3:24: key 'defaults.detect.heartbeat.lost': known, but not honoured yet: the client beats every 10s, and warns after 2m without an answer"},
        {"detect: {heartbeat: {lost: 20s}}",
         "3:24: key 'defaults.detect.heartbeat.lost': known, but not honoured yet: the client beats every 10s, and warns after 2m without an answer"},
        {"detect: {heartbeat: {warn: 5s}}",
         "3:24: key 'defaults.detect.heartbeat.warn': known, but not honoured yet: the client beats every 10s, and warns after 2m without an answer"},
        {"detect: {heartbeat: {owner: me}}",
         "3:31: key 'defaults.detect.heartbeat.owner': 'me' is not allowed: daemon"},
        {"detect: {trainer: {floor: 1s}}",
         "3:22: key 'defaults.detect.trainer.floor': known, but not honoured yet: a hang is told by trainer.hang_after alone"},
        {"detect: {trainer: {section_factor: 1}}",
         "3:22: key 'defaults.detect.trainer.section_factor': known, but not honoured yet: a hang is told by trainer.hang_after alone"},
        {"detect: {future: {soft: 2h}}",
         "3:21: key 'defaults.detect.future.soft': known, but not honoured yet: the program's options say how long a result is waited for"},
        {"detect: {future: {hard: 20m}}",
         "3:21: key 'defaults.detect.future.hard': known, but not honoured yet: the program's options say how long a result is waited for"},
        {"detect: {queue_pause: {limit: 10m}}",
         "3:26: key 'defaults.detect.queue_pause.limit': known, but not honoured yet: the client waits out a pause, and the daemon does not see it"},
        {"detect: {queue_pause: {limit: never}}",
         "3:26: key 'defaults.detect.queue_pause.limit': known, but not honoured yet: the client waits out a pause, and the daemon does not see it"},
        {"detect: {loss: {nonfinite: ignore}}",
         "3:30: key 'defaults.detect.loss.nonfinite': 'ignore' is not allowed: stop_step"},
        {"detect: {loss: {spike: {warmup: 512}}}", "3:35: key 'defaults.detect.loss.spike.warmup': 512 must not be more than detect.loss.spike.window, which is 256: the window never holds so many steps"},
        {"detect: {loss: {divergence: {slow: 32}}}",
         "3:32: key 'defaults.detect.loss.divergence.slow': known, but not honoured yet: the tokens of a step are not counted yet"},
        {"detect: {loss: {divergence: {for_tokens: 2m}}}",
         "3:32: key 'defaults.detect.loss.divergence.for_tokens': known, but not honoured yet: the tokens of a step are not counted yet"},
        {"detect: {loss: {flatline: 8}}",
         "3:29: key 'defaults.detect.loss.flatline': is a text: it wants a map of keys"},
        {"detect: {audit: {replay_fraction: 0.01}}",
         "3:20: key 'defaults.detect.audit.replay_fraction': known, but not honoured yet: replaying a part of a run on a fork is not there yet"},
        {"detect: {wake_grace: 1}",
         "3:24: key 'defaults.detect.wake_grace': '1' is not allowed: 1_cycle"},
        {"checkpoint: {interval: {mode: daly}}",
         "3:33: key 'defaults.checkpoint.interval.mode': 'daly' is not allowed: young_daly, steps"},
        {"checkpoint: {interval: {steps: 20}}",
         "3:27: key 'defaults.checkpoint.interval.steps': says nothing without mode: steps, leave it out"},
        {"checkpoint: {interval: {mode: steps, max: 20m}}",
         "3:40: key 'defaults.checkpoint.interval.max': says nothing without mode: young_daly, leave it out"},
        {"checkpoint: {interval: {min: 40m}}",
         "3:32: key 'defaults.checkpoint.interval.min': 40m must not be more than checkpoint.interval.max, which is 30m: no interval is between them"},
        {"checkpoint: {max_age_validated: 20m}",
         "3:16: key 'defaults.checkpoint.max_age_validated': known, but not honoured yet: the age of checkpoints is not watched yet"},
        {"checkpoint: {on_event: [bad_gradient]}",
         "3:16: key 'defaults.checkpoint.on_event': known, but not honoured yet: no event makes a save of its own yet"},
        {"checkpoint: {on_event: suspect}",
         "3:16: key 'defaults.checkpoint.on_event': known, but not honoured yet: no event makes a save of its own yet"},
        {"checkpoint: {on_event: [suspect, suspect]}",
         "3:16: key 'defaults.checkpoint.on_event': known, but not honoured yet: no event makes a save of its own yet"},
        {"checkpoint: {validate: 1}",
         "3:26: key 'defaults.checkpoint.validate': '1' is not allowed: before_use"},
        {"checkpoint: {validate: never}",
         "3:26: key 'defaults.checkpoint.validate': 'never' is not allowed: before_use"},
        {"checkpoint: {ttl: {never_below: 5h}}",
         "3:22: key 'defaults.checkpoint.ttl.never_below': known, but not honoured yet: half of ttl.initial is"},
        {"checkpoint: {ttl: {renew_below: 14d}}",
         "3:22: key 'defaults.checkpoint.ttl.renew_below': known, but not honoured yet: half of ttl.initial is"},
        {"checkpoint: {ttl: {never_below: 8d}}",
         "3:22: key 'defaults.checkpoint.ttl.never_below': known, but not honoured yet: half of ttl.initial is"},
        {"checkpoint: {ttl: {initial: 2w}}",
         "3:31: key 'defaults.checkpoint.ttl.initial': '2w' is not a duration: a whole number and ms, s, m, h or d: from 1h to 3650d"},
        {"checkpoint: {retain: {min_validated: 1}}",
         "3:40: key 'defaults.checkpoint.retain.min_validated': '1' is out of range: from 2 to 1000"},
        {"checkpoint: {retain: {min_validated: 4}}",
         "3:40: key 'defaults.checkpoint.retain.min_validated': 4 must not be more than checkpoint.retain.last_validated, which is 3: more must be kept than are kept"},
        {"checkpoint: {retain: {last_validated: 1}}",
         "3:41: key 'defaults.checkpoint.retain.last_validated': '1' is out of range: from 2 to 1000"},
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
        {"resume: {choose: best}",
         "3:20: key 'defaults.resume.choose': 'best' is known, but not honoured yet: the newest proven one is taken"},
        {"resume: {require: V1}",
         "3:21: key 'defaults.resume.require': 'V1' is known, but not honoured yet: a fingerprint is always proven: V3 or V4"},
        {"resume: {require: V5}",
         "3:21: key 'defaults.resume.require': 'V5' is known, but not honoured yet: archives of checkpoints are not there yet"},
        {"resume: {require: 3}",
         "3:21: key 'defaults.resume.require': '3' is not allowed: V3, V4"},
        {"resume: {optimizer: reset}",
         "3:23: key 'defaults.resume.optimizer': 'reset' is known, but not honoured yet: level R7, going on with a fresh optimizer, is not there yet"},
        {"resume: {match: [base_model]}",
         "3:19: key 'defaults.resume.match': none may be left out: a checkpoint of another model, rank, train flag or plan is another run's; options.allow lets a plan change"},
        {"resume: {replay_check: {min_steps: 1}}",
         "3:27: key 'defaults.resume.replay_check.min_steps': known, but not honoured yet: each step that is done again is compared"},
        {"resume: {replay_check: {tolerance: 5}}",
         "3:38: key 'defaults.resume.replay_check.tolerance': '5' is out of range: from 0 to 1, or auto"},
        {"resume: {probation: {gate: auto}}", "3:24: key 'defaults.resume.probation.gate': known, but not honoured yet: a resumed run is watched as any other"},
        {"attempts: {same_root: 0}",
         "3:25: key 'defaults.attempts.same_root': '0' is out of range: from 1 to 100"},
        {"attempts: {same_root_and_entity: 4}",
         "3:14: key 'defaults.attempts.same_root_and_entity': known, but not honoured yet: attempts are counted by run and lost step alone"},
        {"attempts: {per_day: 2}",
         "3:14: key 'defaults.attempts.per_day': known, but not honoured yet: attempts are counted by run and lost step alone"},
        {"attempts: {backoff: {base: 10m}}",
         "3:30: key 'defaults.attempts.backoff.base': 10m must not be more than attempts.backoff.cap, which is 5m: the first wait is the shortest"},
        {"attempts: {incident_deadline: 3d}",
         "3:14: key 'defaults.attempts.incident_deadline': known, but not honoured yet: attempts are counted by run and lost step alone"},
        {"attempts: {incident_deadline: 5m}",
         "3:14: key 'defaults.attempts.incident_deadline': known, but not honoured yet: attempts are counted by run and lost step alone"},
        {"attempts: {backoff: {factor: 0.5}}",
         "3:32: key 'defaults.attempts.backoff.factor': '0.5' is out of range: from 1 to 10"},
        {"poison: {enabled: true}",
         "3:21: key 'defaults.poison.enabled': 'true' is known, but not honoured yet: level R6, putting bad batches aside, is not there yet"},
        {"poison: {quarantine: {max_fraction: 0.02}}",
         "3:25: key 'defaults.poison.quarantine.max_fraction': known, but not honoured yet: level R6, putting bad batches aside, is not there yet"},
        {"pause: {billing: {poll: [5m, 5s]}}",
         "3:21: key 'defaults.pause.billing.poll': known, but not honoured yet: the client waits out a pause, and the daemon does not see it"},
        {"pause: {billing: {poll: 5s}}",
         "3:21: key 'defaults.pause.billing.poll': known, but not honoured yet: the client waits out a pause, and the daemon does not see it"},
        {"pause: {billing: {limit: 72}}",
         "3:21: key 'defaults.pause.billing.limit': known, but not honoured yet: the client waits out a pause, and the daemon does not see it"},
        {"pause: {auth: {notify: 1s}}",
         "3:18: key 'defaults.pause.auth.notify': known, but not honoured yet: the client waits out a pause, and the daemon does not see it"},
        {"pause: {schedule: []}",
         "3:11: key 'defaults.pause.schedule': known, but not honoured yet: schedules are not there yet"},
        {"limits: {api_rate: 2}",
         "3:12: key 'defaults.limits.api_rate': known, but not honoured yet: the daemon asks for a page of runs a second at most"},
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
        {"notify: {on: [incident, quarantine]}",
         "3:27: key 'defaults.notify.on[1]': 'quarantine' is known, but not honoured yet: level R6, putting bad batches aside, is not there yet"},
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
     "4:24: key 'runs[0].detect.heartbeat.warn': known, but not honoured yet: the client beats every 10s, and warns after 2m without an answer"},
    {"- match: {}\n  detect: {poll: {suspect: 20s}}\n",
     "4:28: key 'runs[0].detect.poll.suspect': 20s must not be more than detect.poll.idle, which is 10s: a run that is suspect is not looked at less often"},
    {"- match: {}\n  state_dir: /x\n",
     "4:3: key 'runs[0].state_dir': unknown key, did you mean 'defaults.state_dir'? Known here: match, enabled, mode, durability, detect, gate, checkpoint, resume, attempts, poison, pause, notify, retry, data, trainer"},
    {"- match: {}\n  detect: {poll: {batch_list: false}}\n",
     "4:19: key 'runs[0].detect.poll.batch_list': known, but not honoured yet: the daemon always asks for many at once"},
    {"- match: {}\n  attempts: {daemon_deaths_per_hour: 3}\n",
     "4:14: key 'runs[0].attempts.daemon_deaths_per_hour': known, but not honoured yet: attempts are counted by run and lost step alone"},
    {"- match: {}\n  trainer: {env_allow: [HOME, A-B]}\n",
     "4:31: key 'runs[0].trainer.env_allow[1]': 'A-B' is not the name of a variable: letters, digits and _"},
    {"- match: {}\n  trainer: {argv: [\"\"]}\n",
     "4:20: key 'runs[0].trainer.argv[0]': is empty: it wants a program"},
    {"- match: {}\n  trainer: {argv: [./a], kill_after: 15}\n",
     "4:38: key 'runs[0].trainer.kill_after': '15' lacks its unit: ms, s, m, h or d: from 100ms to 10m"},
    {"- match: {}\n  data: {order: shuffled}\n",
     "4:10: key 'runs[0].data.order': known, but not honoured yet: the program's plan says it"},
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
      "checkpoint: {interval: {max: 2m}}",
      "checkpoint: {interval: {mode: steps}}",
      "checkpoint: {retain: {min_validated: 3}}",
      "checkpoint: {validate: before_use}",
      "resume: {require: V4}",
      "attempts: {backoff: {base: 5m}}",
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
