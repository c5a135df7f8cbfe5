/* fate: what goes wrong in a simulated run, and what is demanded of recovery
 * then. A scenario has the number of its failure mode, "F12"; a seed fills its
 * script: what happens to which request, at which step, at which time. The
 * course of a script says, as the run goes on, what happens now. Pure, no
 * clock; the parent's one thread. */
#ifndef TESTS_SIM_FATE_H
#define TESTS_SIM_FATE_H

#include "sim/server.h"
#include "sim/sim.h"

/* --- What can happen ------------------------------------------------------ */

typedef enum {
  SIM_ACT_NONE = 0,
  /* To a request, when it leaves the client. */
  SIM_ACT_REFUSE, /* no connection; the service has nothing of it */
  SIM_ACT_LOSE,   /* it was sent and did not arrive; the connection broke */
  SIM_ACT_CUT,    /* it arrived; the connection broke before the reply */
  SIM_ACT_NEVER,  /* it arrived; no byte of a reply, the client gives up */
  SIM_ACT_TWICE,  /* it arrives twice; the reply is the second one's */
  SIM_ACT_LATE,   /* the reply takes arg ms more */
  SIM_ACT_STATUS, /* status arg with a JSON error, by a box before the service:
                     the service has nothing of it */
  SIM_ACT_STATUS_AFTER, /* it arrived; the reply is replaced by that */
  SIM_ACT_EMPTY_400,    /* a bare 400 without body, by a box */
  SIM_ACT_HTML,         /* 200 with HTML, by a portal */
  SIM_ACT_REDIRECT,     /* 302 to another host, by a portal */
  SIM_ACT_GARBLE,       /* the reply arrives with bytes changed: no JSON */
  SIM_ACT_TRUNCATE,     /* half of the reply arrives, and is said to be whole */
  SIM_ACT_OTHERS_REPLY, /* the reply to the request before it arrives */
  SIM_ACT_TLS,          /* the server's certificate can't be verified */
  /* To the trainer's process. */
  SIM_ACT_KILL,   /* SIGKILL; the next life begins arg ms later */
  SIM_ACT_POWER,  /* the power fails: unsynced writes may be lost, too */
  SIM_ACT_EXIT,   /* it exits with 0 */
  SIM_ACT_HANG,   /* it is stopped for arg ms, and goes on (SIGSTOP) */
  SIM_ACT_SECOND, /* a second process opens the run beside it */
  SIM_ACT_UNLOCK, /* the file `lock` is removed while it is held */
  SIM_ACT_LEAVE,  /* the program gives its run back in order, and ends */
  /* To the machine. */
  SIM_ACT_CLOCK,       /* the wall clock steps by arg ms */
  SIM_ACT_SLEEP,       /* everything sleeps arg ms: the boot clock goes on, the
                          monotonic one does not */
  SIM_ACT_DISK_FULL,   /* ENOSPC for each write for arg ms */
  SIM_ACT_SYNC_FAILS,  /* EIO of the next fsync or fdatasync, once */
  SIM_ACT_WRITE_SHORT, /* the next write writes half, then goes on */
  /* To the service, at this time: sim_server_hit(bug). */
  SIM_ACT_HIT,
  /* To the files of the run, between two lives. */
  SIM_ACT_DAMAGE, /* a bit of a journal file flips; arg: 0 = supervisor's */
  SIM_ACT_REMOVE, /* the active epoch's journal file is removed */
  SIM_ACTS
} sim_act_t;

const char *sim_act_name(sim_act_t act);

/* Requests by what they ask for. */
typedef enum {
  SIM_ASK_ANY = 0,
  SIM_ASK_MUTATION, /* each that a model counts, and loads and saves */
  SIM_ASK_FORWARD_BACKWARD,
  SIM_ASK_OPTIM,
  SIM_ASK_FORWARD,
  SIM_ASK_SAVE,
  SIM_ASK_LOAD,   /* of a checkpoint, into a new model too */
  SIM_ASK_CREATE, /* of a model without a checkpoint */
  SIM_ASK_SESSION,
  SIM_ASK_RESULT, /* retrieve_future */
  SIM_ASK_BEAT,
  SIM_ASK_READ, /* runs, lists, infos */
  SIM_ASK_DELETE,
  SIM_ASK_TTL,
  SIM_ASK_OTHER,
  SIM_ASKS
} sim_ask_t;

sim_ask_t sim_ask_of(const char *method, const char *path);

typedef enum {
  SIM_WHEN_REQUEST, /* the n-th request that is of `ask`, and times - 1 more */
  SIM_WHEN_TIME,    /* at n ms; requests: each of `ask` until n + for_ms */
  SIM_WHEN_STEP,    /* step n is handed out for the first time */
  SIM_WHEN_COMMIT,  /* step n is said to be committed for the first time */
  SIM_WHEN_POINT,   /* n-th scheduling point of life `life` */
  SIM_WHEN_SYNC,    /* before the n-th fsync of a life */
  SIM_WHEN_LIFE     /* before life n begins (from 0) */
} sim_when_t;

typedef struct sim_action_s {
  sim_act_t act;
  sim_when_t when;
  sim_ask_t ask;
  int64_t n;
  int64_t times;  /* in a row; 0 = 1 */
  int64_t for_ms; /* of WHEN_TIME: the window */
  int64_t arg;
  int64_t life;  /* -1 = of any life; else only of this one */
  sim_bug_t bug; /* of ACT_HIT */
} sim_action_t;

/* --- The trainer ---------------------------------------------------------- */

/* How the loop of a life is; the fields of tinker_run_options_t and of its
 * plan that a scenario sets, and what the program does. */
typedef struct sim_trainer_s {
  int64_t steps, every, attempts, keep, delay_ms, ttl_seconds, watch_ms;
  bool strict, zero, fresh;
  int64_t ahead;    /* steps that are begun before the first is waited for */
  int64_t parts;    /* batches of a step */
  int64_t pause_ms; /* before each step */
  int64_t big;      /* examples of a batch; more than 16 KiB from about 40 on */
  /* From life `changes_life` on (-1 = never) the program is another. */
  int64_t changes_life;
  bool other_plan; /* another rate of learning */
  bool other_data; /* its steps have other data after a rollback */
  /* The operator lets a stopped run go on, so often. */
  int64_t resumes;
  int64_t patience; /* times that it asks again after next has failed */
  int64_t again_ms; /* time until then, and until a dead program is started */
  int64_t lives;    /* most of them; the last one's end is the run's */
} sim_trainer_t;

/* --- What is demanded ----------------------------------------------------- */

typedef enum {
  SIM_END_DONE,    /* all steps are committed, the run is finished */
  SIM_END_STOPPED, /* it has stopped, `reason` is in its words */
  SIM_END_REFUSED  /* the last life could not open it, or next failed: `code` */
} sim_end_t;

typedef struct sim_demand_s {
  sim_end_t end;
  const char
      *reason; /* of STOPPED: a part of its sentence or its cause; NULL = any */
  int code;    /* of REFUSED */
  bool may_be_done; /* instead of REFUSED, with all that DONE demands */
  int64_t least_incidents, most_incidents;
  int64_t most_lost;     /* committed steps that one rollback may undo */
  int64_t most_lost_all; /* that all of them may */
  bool unknown_only; /* nothing that happens says anything of the model (I13):
                        no incident, no rollback, no new model */
  bool same_bits;    /* the end is that of the undisturbed run (I17) */
  int64_t most_attempts; /* within one incident (I11) */
  bool unseen;  /* the service does other arithmetic than it says, and nothing
                   shows it: its steps are not held against the plan */
  bool damaged; /* the journal itself is (I7 has nothing to hold) */
  const char *event; /* that must have been said; NULL = none */
  int64_t bound_ms;  /* from the last fault to the end (I19, I11) */
} sim_demand_t;

#define SIM_MAX_ACTIONS 32
#define SIM_MAX_FAULTS 16

typedef struct sim_script_s {
  const char *name; /* "F12" */
  sim_trainer_t trainer;
  sim_action_t actions[SIM_MAX_ACTIONS];
  size_t action_count;
  sim_fault_t faults[SIM_MAX_FAULTS]; /* for sim_server_add_fault() */
  size_t fault_count;
  int64_t session_ms; /* sim_server_set_session_ms(); 0 = as it is */
  int64_t heal_ms;    /* sim_server_heal() then, and no action from then on;
                         0 = never */
  sim_demand_t demand;
} sim_script_t;

/* --- Scenarios ------------------------------------------------------------ */

/* All that are simulated, in the order of their numbers. */
size_t sim_fates(void);
const char *sim_fate_name(size_t i);
const char *sim_fate_title(size_t i);
/* name: one of those, "none" (nothing goes wrong) or "random" (several at once,
 * healed). False: there is no such scenario. */
bool sim_fate_script(const char *name, uint64_t seed, sim_script_t *out);

/* The same run, and nothing goes wrong: what the other one is compared with. */
void sim_fate_undisturbed(const sim_script_t *script, sim_script_t *out);

/* --- As the run goes on --------------------------------------------------- */

typedef struct sim_course_s {
  const sim_script_t *script;
  int64_t asked[SIM_ASKS];    /* requests so far, by kind */
  bool done[SIM_MAX_ACTIONS]; /* it has happened, and does not again */
  int64_t last_ms;            /* when something went wrong last; -1 = never */
  int64_t happened;           /* how often */
} sim_course_t;

void sim_course_init(sim_course_t *c, const sim_script_t *script);

/* The first action that hits, NULL = none. Each call but that of due is an
 * occurrence, to be asked once. */
const sim_action_t *sim_course_request(sim_course_t *c, int64_t now_ms,
                                       int64_t life, const char *method,
                                       const char *path);
const sim_action_t *sim_course_step(sim_course_t *c, int64_t now_ms,
                                    int64_t life, int64_t step);
const sim_action_t *sim_course_commit(sim_course_t *c, int64_t now_ms,
                                      int64_t life, int64_t step);
const sim_action_t *sim_course_point(sim_course_t *c, int64_t now_ms,
                                     int64_t life, int64_t point);
const sim_action_t *sim_course_sync(sim_course_t *c, int64_t now_ms,
                                    int64_t life, int64_t sync);
const sim_action_t *sim_course_life(sim_course_t *c, int64_t now_ms,
                                    int64_t life);
/* What is due by time; call it until it returns NULL. */
const sim_action_t *sim_course_due(sim_course_t *c, int64_t now_ms,
                                   int64_t life);
/* When due will have something next; INT64_MAX = never. */
int64_t sim_course_next_ms(const sim_course_t *c);

#endif
