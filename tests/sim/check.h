/* check: the history of a run is held against the invariants I1 to I19. Each is
 * a function of its own; it names what was broken, with the evidence: entry of
 * the service's ledger, record of the journal, line of the shadow log.
 *
 * A history is plain arrays, so that the checker's tests can make one by hand;
 * sim_history_take() makes it of what a simulated run has left. Pure but for
 * that, and for I14, which reads the run's files. */
#ifndef TESTS_SIM_CHECK_H
#define TESTS_SIM_CHECK_H

#include "sim/fate.h"
#include "sim/server.h"
#include "sim/sim.h"

#define SIM_MAX_REQUESTS 8

/* One record of the journal. Strings are never NULL. */
typedef struct sim_record_s {
  int64_t epoch; /* of its file; 0 = the supervisor's */
  int64_t id, type, generation, step;
  int64_t at_ms;                                 /* virtual */
  int64_t incident, attempt, level, code, count; /* facts; -1 = it has none */
  int64_t of_epoch, from_step, to_step, slot, op, end, expires_ms;
  bool has_loss;
  double loss;
  char name[128], path[280], model[64], session[64];
  char why[512], cause[512], id_text[64];
  struct {
    int64_t seq;
    unsigned char sha256[SIM_DIGEST_LEN];
  } requests[SIM_MAX_REQUESTS]; /* of OP_INTENT */
  size_t request_count;
  unsigned char batches[SIM_MAX_REQUESTS][SIM_DIGEST_LEN]; /* of STEP_COMMIT */
  size_t batch_count;
} sim_record_t;

typedef struct sim_history_s {
  const char *lineage;
  const char *folder;         /* of the run; NULL = I14 has nothing to read */
  const char *const *secrets; /* that must stand nowhere; ends with NULL */
  sim_entry_t *entries;       /* of the ledger */
  size_t entry_count;
  sim_session_t *sessions;
  size_t session_count;
  sim_model_t *models;
  size_t model_count;
  sim_checkpoint_t *checkpoints;
  size_t checkpoint_count;
  sim_record_t *records; /* supervisor's file first, then by epoch */
  size_t record_count;
  bool journal_whole; /* the chains of all files hold, and can be folded */
  const sim_shadow_t *shadow;
  size_t shadow_count;
  int64_t end_ms;        /* when the simulation ended */
  int64_t last_fault_ms; /* when something went wrong last; -1 = never */
  int64_t faults;        /* how often something did */
  const sim_script_t *script;
  /* The same seed without faults; NULL in the undisturbed run itself. */
  const struct sim_history_s *undisturbed;
} sim_history_t;

/* Fills the arrays of a zeroed history; the rest (script, shadow ...) is the
 * caller's. The last 12 digits of a record's boot id are the virtual nanosecond
 * at which the machine was started, where boot time begins again at 0. A
 * journal that can't be read to its end has journal_whole false, and why says
 * so. */
void sim_history_take(sim_history_t *h, const sim_server_t *server,
                      const char *folder, const char *lineage, char *why,
                      size_t why_len);
/* Frees what sim_history_take() has made. */
void sim_history_free(sim_history_t *h);

/* 0 = it holds; else 1, and why says what was broken, and where. */
typedef int (*sim_invariant_fn)(const sim_history_t *h, char *why,
                                size_t why_len);

int sim_check_i1(const sim_history_t *h, char *why, size_t why_len);
int sim_check_i2(const sim_history_t *h, char *why, size_t why_len);
int sim_check_i3(const sim_history_t *h, char *why, size_t why_len);
int sim_check_i4(const sim_history_t *h, char *why, size_t why_len);
int sim_check_i5(const sim_history_t *h, char *why, size_t why_len);
int sim_check_i6(const sim_history_t *h, char *why, size_t why_len);
int sim_check_i7(const sim_history_t *h, char *why, size_t why_len);
int sim_check_i8(const sim_history_t *h, char *why, size_t why_len);
int sim_check_i9(const sim_history_t *h, char *why, size_t why_len);
int sim_check_i10(const sim_history_t *h, char *why, size_t why_len);
int sim_check_i11(const sim_history_t *h, char *why, size_t why_len);
int sim_check_i12(const sim_history_t *h, char *why, size_t why_len);
int sim_check_i13(const sim_history_t *h, char *why, size_t why_len);
int sim_check_i14(const sim_history_t *h, char *why, size_t why_len);
int sim_check_i16(const sim_history_t *h, char *why, size_t why_len);
int sim_check_i17(const sim_history_t *h, char *why, size_t why_len);
int sim_check_i19(const sim_history_t *h, char *why, size_t why_len);
/* I15 and I18 are of two runs: the same decisions, whatever the wall clock
 * shows; and the same history, byte for byte. */
int sim_check_i15(const sim_history_t *a, const sim_history_t *b, char *why,
                  size_t why_len);
int sim_check_i18(const sim_history_t *a, const sim_history_t *b, char *why,
                  size_t why_len);
/* What the script's demand says beyond the invariants. */
int sim_check_demand(const sim_history_t *h, char *why, size_t why_len);

/* All that are of one run, and the demand. why: begins with "I7: " and so on.
 */
int sim_check(const sim_history_t *h, char *why, size_t why_len);

#endif
