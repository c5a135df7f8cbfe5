/* phase: where a proof is, and what comes next. Pure: one table. */
#ifndef TINKER_RECOVERY_PROVE_PHASE_H
#define TINKER_RECOVERY_PROVE_PHASE_H

typedef enum {
  TINKER__REC_PHASE_MADE,
  TINKER__REC_PHASE_LOADING, /* models are made of the checkpoint */
  TINKER__REC_PHASE_ASKING,  /* they answer, take a step, answer again */
  TINKER__REC_PHASE_OVER
} tinker__rec_proof_phase_t;

typedef enum {
  TINKER__REC_EVENT_BEGIN,
  TINKER__REC_EVENT_WELL,  /* all calls of the phase have ended well */
  TINKER__REC_EVENT_BADLY, /* all have ended, one at least has failed */
  TINKER__REC_EVENT_GONE   /* nobody waits for the proof any more */
} tinker__rec_proof_event_t;

typedef enum {
  TINKER__REC_ACTION_NONE,
  TINKER__REC_ACTION_LOAD,
  TINKER__REC_ACTION_ASK,
  TINKER__REC_ACTION_JUDGE,
  TINKER__REC_ACTION_FAIL,
  TINKER__REC_ACTION_CANCEL
} tinker__rec_proof_action_t;

/* Changes *phase, and returns what is to be done. */
tinker__rec_proof_action_t
tinker__rec_proof_move(tinker__rec_proof_phase_t *phase,
                       tinker__rec_proof_event_t event);

#endif
