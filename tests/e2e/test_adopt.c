/* A process that trains is killed; another one goes on where it was, from what
 * the first one's journal has written: the weights are those of a run that
 * nobody disturbed, to the bit, and no answer of the first is seen again.
 * examples/run starts the service and says where it is (TINKER_BASE_URL). */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <tinker/tinker.h>
#include <unistd.h>

#include "support/why.h"

enum { LEN = 12, STEPS = 4, KILLED = 2, TIMEOUT_MS = 60000 };

/* What the first process writes for each mutation and each answer; a pipe
 * keeps it when the process is killed. */
typedef struct note_s {
  char event; /* '?' intent, '-' withdrawn, '+' accepted, 's' sampler */
  uint64_t ticket;
  int kind;
  int64_t seq_id;
  char id[200]; /* model, request, or sampler */
  char session[100];
  int64_t next_model, next_sampling;
  size_t body_len; /* of the first request; of a creation the bytes, too */
  char body[600];
} note_t;

/* Where the first process dies: by the hand of another one, or in its journal
 * when its creation was accepted, before or after that is written, or when it
 * has its result. */
typedef enum { BY_HAND, NOTED, ACCEPTED, ENDED } death_t;

typedef struct run_s {
  tinker_client_t *client;
  tinker_trainer_t *trainer;
  int notes; /* where the journal writes; -1 = nowhere */
  death_t death;
  tinker_kind_t asked; /* of the last intent */
  float weights[LEN];
  char sampler[200];
} run_t;

/* --- the journal --- */

static void put(int fd, const note_t *note) {
  if (write(fd, note, sizeof *note) != sizeof *note) _exit(90);
}

static void on_intent(void *user, const tinker_intent_t *intent) {
  run_t *r = user;
  note_t note = {.event = '?',
                 .ticket = intent->ticket,
                 .kind = (int)intent->kind,
                 .seq_id = intent->requests[0].seq_id,
                 .next_model = intent->next_model_seq_id,
                 .next_sampling = intent->next_sampling_session_seq_id};
  if (intent->model_id)
    snprintf(note.id, sizeof note.id, "%s", intent->model_id);
  const tinker_segment_t *bytes = intent->requests[0].segments;
  note.body_len = intent->requests[0].len;
  if (note.body_len == bytes->len && bytes->len <= sizeof note.body) {
    memcpy(note.body, bytes->data, bytes->len);
  }
  r->asked = intent->kind;
  tinker_client_session_id(r->client, note.session, sizeof note.session);
  put(r->notes, &note);
  tinker_admission_answer(r->client, intent->ticket, TINKER_VERDICT_GO, NULL);
}

static void on_withdrawn(void *user, uint64_t ticket) {
  put(((run_t *)user)->notes, &(note_t){.event = '-', .ticket = ticket});
}

static void on_accepted(void *user, uint64_t ticket, size_t request,
                        const char *request_id) {
  const run_t *r = user;
  note_t note = {.event = '+', .ticket = ticket};
  (void)request;
  snprintf(note.id, sizeof note.id, "%s", request_id);
  if (r->death == ACCEPTED) raise(SIGKILL);
  put(r->notes, &note);
  if (r->death == NOTED) raise(SIGKILL);
}

static void on_ended(void *user, uint64_t ticket, size_t request,
                     const tinker_outcome_t *outcome) {
  const run_t *r = user;
  (void)ticket;
  (void)request;
  (void)outcome;
  if (r->death == ENDED && r->asked) raise(SIGKILL);
}

/* --- calls --- */

static void well(int code, const tinker_future_t *f) {
  cr_assert_eq(code, 0, "%s", tinker_error_message(tinker_future_error(f)));
}

static void await(tinker_future_t *f) {
  well(tinker_future_wait(f, TIMEOUT_MS), f);
  tinker_future_release(f);
}

static void open_client(run_t *r, const tinker_adoption_t *adopt) {
  tinker_client_options_t o = TINKER_CLIENT_OPTIONS_INIT;
  tinker_seams_t seams = TINKER_SEAMS_INIT;
  char why[256] = "";
  o.api_key = "tml-local";
  o.adopt = adopt;
  seams.user = r;
  seams.intent = on_intent;
  seams.withdrawn = on_withdrawn;
  seams.accepted = on_accepted;
  seams.ended = on_ended;
  if (r->notes >= 0) o.seams = &seams;
  cr_assert_eq(why_client(&r->client, &o, why, sizeof why), 0, "%s", why);
}

static void create(run_t *r) {
  tinker_trainer_options_t o = TINKER_TRAINER_OPTIONS_INIT;
  o.base_model = "qwen3_tied";
  o.rank = 8;
  o.seed = 5;
  tinker_future_t *f = tinker_client_create_trainer(r->client, &o, NULL);
  well(tinker_future_wait(f, TIMEOUT_MS), f);
  cr_assert_eq(tinker_future_get_trainer(f, &r->trainer), 0);
  tinker_future_release(f);
}

static tinker_datum_t *example(int step) {
  int32_t text[LEN + 1];
  tinker_datum_t *datum;
  for (int k = 0; k <= LEN; k++) text[k] = (7 * step + 3 * k + k * k) % 60;
  cr_assert_eq(
      tinker_datum_new_supervised(&datum, text, NULL, LEN + 1, NULL, NULL), 0);
  return datum;
}

static tinker_future_t *forward_backward(run_t *r, int step) {
  tinker_datum_t *datum = example(step);
  tinker_future_t *f =
      tinker_trainer_forward_backward(r->trainer, &datum, 1, NULL, NULL);
  tinker_datum_release(datum);
  return f;
}

static void optim(run_t *r) {
  tinker_adam_params_t adam = TINKER_ADAM_PARAMS_INIT;
  adam.learning_rate = 0.02;
  await(tinker_trainer_optim_step(r->trainer, &adam, NULL));
}

static void step(run_t *r, int i) {
  await(forward_backward(r, i));
  optim(r);
}

static void look(run_t *r) {
  const tinker_forward_result_t *result;
  tinker_tensor_view_t v;
  tinker_datum_t *datum = example(0);
  tinker_future_t *f =
      tinker_trainer_forward(r->trainer, &datum, 1, NULL, NULL);
  tinker_datum_release(datum);
  well(tinker_future_wait(f, TIMEOUT_MS), f);
  cr_assert_eq(tinker_future_get_forward(f, &result), 0);
  cr_assert_eq(tinker_forward_result_tensor(result, 0, "logprobs", &v), 0);
  cr_assert_eq(v.count, (size_t)LEN);
  memcpy(r->weights, v.f32, sizeof r->weights);
  tinker_future_release(f);
}

static void sample(run_t *r) {
  tinker_sampler_t *sampler;
  tinker_input_t *prompt;
  tinker_sampling_params_t params = TINKER_SAMPLING_PARAMS_INIT;
  int32_t tokens[3] = {1, 2, 3};
  params.max_tokens = 4;
  tinker_future_t *f = tinker_trainer_create_sampler(r->trainer, NULL);
  well(tinker_future_wait(f, TIMEOUT_MS), f);
  cr_assert_eq(tinker_future_get_sampler(f, &sampler), 0);
  tinker_future_release(f);
  cr_assert_eq(tinker_input_from_tokens(&prompt, tokens, 3, NULL, NULL), 0);
  await(tinker_sampler_sample(sampler, prompt, &params, NULL));
  snprintf(r->sampler, sizeof r->sampler, "%s", tinker_sampler_id(sampler));
  tinker_input_release(prompt);
  tinker_sampler_release(sampler);
}

static void end(run_t *r) {
  tinker_trainer_release(r->trainer);
  tinker_client_release(r->client);
}

/* --- the first process --- */

/* Two steps and a sample; the forward_backward of the third is under way when
 * it waits for its end. */
static void first_process(int notes) {
  run_t r = {.notes = notes};
  open_client(&r, NULL);
  create(&r);
  for (int i = 0; i < KILLED; i++) step(&r, i);
  sample(&r);
  note_t note = {.event = 's'};
  snprintf(note.id, sizeof note.id, "%s", r.sampler);
  put(notes, &note);
  tinker_future_t *f = forward_backward(&r, KILLED);
  (void)f;
  for (;;) pause();
}

/* What is known of it in the end. */
typedef struct legacy_s {
  char session[100], model[200], request[200], sampler[200];
  int64_t next_seq, next_model, next_sampling;
  uint64_t ticket; /* of the last intent */
} legacy_t;

/* Until its last forward_backward was accepted. */
static void read_notes(int fd, legacy_t *l) {
  note_t n;
  while (!l->sampler[0] || !l->request[0]) {
    cr_assert_eq(read(fd, &n, sizeof n), (ssize_t)sizeof n);
    cr_assert_neq(n.event, '-');
    if (n.event == 's') strcpy(l->sampler, n.id);
    if (n.event == '+' && n.ticket == l->ticket && l->sampler[0]) {
      strcpy(l->request, n.id);
    }
    if (n.event != '?') continue;
    l->ticket = n.ticket;
    if (n.session[0]) strcpy(l->session, n.session);
    if (n.id[0]) strcpy(l->model, n.id);
    if (n.seq_id >= 0) l->next_seq = n.seq_id + 1;
    l->next_model = n.next_model;
    l->next_sampling = n.next_sampling;
  }
}

static void train_and_die(legacy_t *l) {
  int fds[2], status;
  cr_assert_eq(pipe(fds), 0);
  pid_t pid = fork();
  cr_assert_geq(pid, 0);
  if (pid == 0) {
    close(fds[0]);
    first_process(fds[1]);
  }
  close(fds[1]);
  read_notes(fds[0], l);
  cr_assert_eq(kill(pid, SIGKILL), 0);
  cr_assert_eq(waitpid(pid, &status, 0), pid);
  cr_assert(WIFSIGNALED(status));
  close(fds[0]);
}

/* --- the second one --- */

static void adopt_trainer(run_t *r, const legacy_t *l) {
  tinker_future_t *f =
      tinker_client_adopt_trainer(r->client, l->model, l->next_seq, NULL);
  well(tinker_future_wait(f, TIMEOUT_MS), f);
  cr_assert_eq(tinker_future_get_trainer(f, &r->trainer), 0);
  tinker_future_release(f);
}

static void adopt_step(run_t *r, const legacy_t *l) {
  tinker_operation_request_t q = {l->request, NULL, 0, l->next_seq - 1, 1};
  double loss;
  tinker_future_t *f = tinker_trainer_adopt_operation(
      r->trainer, TINKER_KIND_FORWARD_BACKWARD, &q, 1, NULL);
  well(tinker_future_wait(f, TIMEOUT_MS), f);
  cr_assert_eq(tinker_future_loss(f, &loss), 0, "%s",
               tinker_code_name(tinker_future_loss(f, &loss)));
  cr_assert(loss > 0);
  tinker_future_release(f);
}

static void undisturbed(run_t *r) {
  open_client(r, NULL);
  create(r);
  for (int i = 0; i < STEPS; i++) step(r, i);
  look(r);
  end(r);
}

static void go_on(run_t *r, const legacy_t *l, tinker_adoption_t adopt) {
  open_client(r, &adopt);
  adopt_trainer(r, l);
  adopt_step(r, l);
  optim(r);
  for (int i = KILLED + 1; i < STEPS; i++) step(r, i);
  look(r);
  sample(r);
  cr_assert_str_neq(r->sampler, l->sampler);
}

/* --- between a creation and its result --- */

static void create_and_die(run_t *r) {
  open_client(r, NULL);
  if (r->death != ENDED) create(r);
  await(tinker_client_create_sampler(r->client, "qwen3_tied", NULL));
  sleep(TIMEOUT_MS / 1000); /* the journal's thread hears of it later */
  _exit(91);
}

/* The last intent, and the request id if that was written. */
static void kill_while_creating(death_t death, note_t *intent, char *id) {
  int fds[2], status;
  note_t n;
  *id = 0;
  cr_assert_eq(pipe(fds), 0);
  pid_t pid = fork();
  cr_assert_geq(pid, 0);
  if (pid == 0) {
    run_t r = {.notes = fds[1], .death = death};
    create_and_die(&r);
  }
  close(fds[1]);
  while (read(fds[0], &n, sizeof n) == (ssize_t)sizeof n) {
    if (n.event == '?') *intent = n;
    if (n.event == '+') strcpy(id, n.id);
  }
  close(fds[0]);
  cr_assert_eq(waitpid(pid, &status, 0), pid);
  cr_assert(WIFSIGNALED(status));
  cr_assert_eq(!id[0], death != NOTED);
}

static void is_of(const note_t *intent, const char *id, const char *rest) {
  char want[200];
  snprintf(want, sizeof want, "%s%s", intent->session, rest);
  cr_assert_str_eq(id, want);
}

static void go_on_with_model(run_t *r, const note_t *intent,
                             tinker_future_t *f) {
  well(tinker_future_wait(f, TIMEOUT_MS), f);
  cr_assert_eq(tinker_future_get_trainer(f, &r->trainer), 0);
  tinker_future_release(f);
  is_of(intent, tinker_trainer_model_id(r->trainer), ":train:0");
  step(r, 0);
  tinker_trainer_release(r->trainer);
  create(r);
  is_of(intent, tinker_trainer_model_id(r->trainer), ":train:1");
}

static void draw(tinker_future_t *f, const note_t *intent) {
  tinker_sampling_params_t params = TINKER_SAMPLING_PARAMS_INIT;
  tinker_sampler_t *sampler;
  tinker_input_t *prompt;
  int32_t tokens[3] = {1, 2, 3};
  params.max_tokens = 4;
  well(tinker_future_wait(f, TIMEOUT_MS), f);
  cr_assert_eq(tinker_future_get_sampler(f, &sampler), 0);
  tinker_future_release(f);
  is_of(intent, tinker_sampler_id(sampler), ":sample:0");
  cr_assert_eq(tinker_input_from_tokens(&prompt, tokens, 3, NULL, NULL), 0);
  await(tinker_sampler_sample(sampler, prompt, &params, NULL));
  tinker_input_release(prompt);
  tinker_sampler_release(sampler);
}

static void go_on_with_sampler(run_t *r, const note_t *intent,
                               tinker_future_t *f) {
  char id[200];
  draw(f, intent);
  snprintf(id, sizeof id, "%s:sample:0", intent->session);
  draw(tinker_client_adopt_sampler(r->client, id, 2000000000, NULL), intent);
  f = tinker_client_adopt_sampler(r->client, "nobody", 0, NULL);
  cr_assert_eq(tinker_future_wait(f, TIMEOUT_MS), TINKER_ENOENT);
  tinker_future_release(f);
}

/* What was made is there once, and what is new is another one. */
Test(adopt, killed_while_creating) {
  for (death_t death = NOTED; death <= ENDED; death++) {
    run_t r = {.notes = -1};
    note_t intent = {.event = 0};
    char id[200];
    kill_while_creating(death, &intent, id);
    tinker_adoption_t adopt = TINKER_ADOPTION_INIT;
    adopt.session_id = intent.session;
    adopt.model_seq_id = intent.next_model;
    adopt.sampling_session_seq_id = intent.next_sampling;
    open_client(&r, &adopt);
    bool model = death != ENDED;
    tinker_operation_request_t q = {.body = intent.body,
                                    .body_len = intent.body_len};
    if (id[0]) q = (tinker_operation_request_t){.request_id = id};
    q.seq_id = (model ? intent.next_model : intent.next_sampling) - 1;
    tinker_future_t *f = tinker_client_adopt_creation(
        r.client, (tinker_kind_t)intent.kind, &q, NULL);
    if (model) {
      go_on_with_model(&r, &intent, f);
    } else {
      go_on_with_sampler(&r, &intent, f);
    }
    await(tinker_client_finish_session(r.client, NULL));
    end(&r);
  }
}

/* The child is forked first: a client's threads do not survive a fork. */
Test(adopt, killed_with_kill_9) {
  legacy_t l = {.next_seq = 0};
  run_t r = {.notes = -1}, whole = {.notes = -1}, third = {.notes = -1};
  tinker_adoption_t adopt = TINKER_ADOPTION_INIT;
  train_and_die(&l);
  adopt.session_id = l.session;
  adopt.model_seq_id = l.next_model;
  adopt.sampling_session_seq_id = l.next_sampling;
  go_on(&r, &l, adopt);
  end(&r); /* the session lives on: it is not this client's to finish */
  undisturbed(&whole);
  cr_assert(!memcmp(r.weights, whole.weights, sizeof r.weights));
  adopt.incarnation = 2;
  adopt.model_seq_id = adopt.sampling_session_seq_id = -1;
  l.next_seq += 5; /* optim, forward_backward, optim, forward, sampler */
  open_client(&third, &adopt);
  adopt_trainer(&third, &l);
  look(&third);
  cr_assert(!memcmp(third.weights, whole.weights, sizeof third.weights));
  sample(&third);
  cr_assert_str_neq(third.sampler, r.sampler);
  await(tinker_client_finish_session(third.client, NULL));
  end(&third);
}
