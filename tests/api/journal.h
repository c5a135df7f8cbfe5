/* journal: a program's journal and fence that write down what they hear, a word
 * for each call, and answer as the test says. */
#ifndef TESTS_API_JOURNAL_H
#define TESTS_API_JOURNAL_H

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "rig.h"

typedef struct journal_s {
  rig_t rig;
  tinker_seams_t seams;
  bool keep;          /* intents of the next mutations are not answered */
  const char *refuse; /* name of what is refused */
  const char *fenced; /* sentence of a fence that lets nothing go */
  uint64_t kept[8];   /* tickets without an answer */
  size_t kept_count;
  char heard[4096];
  char body[4096]; /* of the last intent's first request */
  size_t body_len;
  unsigned char sha256[32];
  int64_t next_model, next_sampling;
  tinker_trainer_t *trainer;
  tinker_client_t *released;
} journal_t;

static inline void hear(journal_t *j, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static inline void hear(journal_t *j, const char *fmt, ...) {
  size_t n = strlen(j->heard);
  va_list args;
  va_start(args, fmt);
  vsnprintf(j->heard + n, sizeof j->heard - n, fmt, args);
  va_end(args);
}

/* What was heard since the last call of this. */
static inline void heard(journal_t *j, const char *words) {
  cr_assert_str_eq(j->heard[0] ? j->heard + 1 : "", words);
  j->heard[0] = 0;
}

static inline void keep_body(journal_t *j, const tinker_intent_request_t *q) {
  j->body_len = 0;
  for (size_t i = 0; i < q->segment_count; i++) {
    must(j->body_len + q->segments[i].len <= sizeof j->body);
    memcpy(j->body + j->body_len, q->segments[i].data, q->segments[i].len);
    j->body_len += q->segments[i].len;
  }
  must(j->body_len == q->len);
  memcpy(j->sha256, q->sha256, sizeof j->sha256);
}

static inline void on_intent(void *user, const tinker_intent_t *intent) {
  journal_t *j = user;
  hear(j, " %s?", intent->name);
  for (size_t i = 0; i < intent->request_count; i++) {
    int seq = (int)intent->requests[i].seq_id;
    if (seq >= 0) hear(j, "%s%d", i ? "," : "", seq);
  }
  keep_body(j, &intent->requests[0]);
  j->next_model = intent->next_model_seq_id;
  j->next_sampling = intent->next_sampling_session_seq_id;
  if (j->keep) {
    j->kept[j->kept_count++] = intent->ticket;
    return;
  }
  bool no = j->refuse && !strcmp(j->refuse, intent->name);
  must(tinker_admission_answer(j->rig.client, intent->ticket,
                               no ? TINKER_VERDICT_REFUSE : TINKER_VERDICT_GO,
                               "the disk is full") == 0);
  must(tinker_admission_answer(j->rig.client, intent->ticket, TINKER_VERDICT_GO,
                               NULL) == TINKER_ENOENT);
}

static inline void on_withdrawn(void *user, uint64_t ticket) {
  (void)ticket;
  hear(user, " -");
}

static inline void on_accepted(void *user, uint64_t ticket, size_t request,
                               const char *request_id) {
  (void)ticket;
  hear(user, " +%zu:%s", request, request_id);
}

static inline void on_ended(void *user, uint64_t ticket, size_t request,
                            const tinker_outcome_t *o) {
  static const char marks[] = "=!~_";
  (void)ticket;
  hear(user, " %c%zu", marks[o->kind], request);
  must((o->body_len > 0) == (o->kind == TINKER_OUTCOME_RESULT));
  must((o->error != NULL) == (o->kind == TINKER_OUTCOME_FAILED));
}

static inline int on_fence(void *user, const char *model_id, char *why,
                           size_t why_len) {
  journal_t *j = user;
  if (!j->fenced) return 0;
  hear(j, " |%s", model_id ? model_id : "");
  snprintf(why, why_len, "%s", j->fenced);
  return 1;
}

static inline void open_journal(journal_t *j, void (*init)(journal_t *j)) {
  *j = (journal_t){.seams = TINKER_SEAMS_INIT};
  j->seams.user = j;
  j->seams.intent = on_intent;
  j->seams.withdrawn = on_withdrawn;
  j->seams.accepted = on_accepted;
  j->seams.ended = on_ended;
  j->seams.fence = on_fence;
  init(j);
  j->rig.seams = &j->seams;
  cr_assert_eq(rig_client(&j->rig), 0);
}

static inline void on_fake_loop(journal_t *j) {
  rig_init(&j->rig, NULL);
}

static inline void on_threads(journal_t *j) {
  rig_init_threads(&j->rig);
}

static inline void begin(journal_t *j) {
  open_journal(j, on_fake_loop);
  j->trainer = rig_trainer(&j->rig);
  j->heard[0] = 0;
}

static inline void end(journal_t *j) {
  tinker_trainer_release(j->trainer);
  rig_done(&j->rig);
}

static inline int code_of(tinker_future_t *f) {
  int code = tinker_future_wait(f, 1000);
  tinker_future_release(f);
  return code;
}

static inline tinker_future_t *forward(journal_t *j, size_t n) {
  tinker_datum_t **batch = rig_batch(n, 3);
  tinker_future_t *f = tinker_trainer_forward_backward(
      j->trainer, (tinker_datum_t *const *)batch, n, NULL, NULL);
  rig_batch_free(batch, n);
  return f;
}

/* The error's sentence has these words; releases the future. */
static inline void fails(tinker_future_t *f, int code, const char *words) {
  cr_assert_eq(tinker_future_wait(f, 1000), code);
  const char *text = tinker_error_message(tinker_future_error(f));
  cr_assert(strstr(text, words), "%s", text);
  tinker_future_release(f);
}

#endif
