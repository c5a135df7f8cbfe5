/* adapter_cli: the engine's PEFT folders behind a pipe, for test_peft.py.
 *
 *   adapter_cli MODEL
 *
 * Reads lines from stdin: "write RANK SET FOLDER" trains an adapter (SET: 1
 * attention, 2 mlp, 4 unembed, added up) for two steps and saves it into the
 * empty folder; "read FOLDER" loads one. Answers either with a line of the
 * log-probabilities of TOKENS targets under it, or with "error" and why. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cpu/cpu.h"
#include "engine/backend.h"

#define TOKENS 24

typedef struct {
  const tinker__engine_api_t *api;
  tinker__engine_t *engine;
  tinker__eng_base_t *base;
  int32_t tokens[TOKENS];
  int64_t targets[TOKENS];
  char why[512];
} cli_t;

/* test_peft.py has the same. */
static void make_tokens(cli_t *c) {
  tinker__eng_base_info_t info;
  c->api->base_info(c->base, &info);
  for (size_t i = 0; i < TOKENS; i++) {
    c->tokens[i] = (int32_t)((7 * i * i + 3 * i + 5) % info.vocab_size);
    c->targets[i] = (int64_t)((11 * i + 2) % info.vocab_size);
  }
}

static void answer(void *user, size_t position, const float *row, size_t n) {
  const cli_t *c = user;
  printf("%s%.9g", position ? " " : "",
         (double)(row[c->targets[position]] -
                  c->api->log_sum_exp(c->engine, row, n)));
}

static int show(cli_t *c, tinker__eng_adapter_t *a) {
  tinker__eng_slot_t *slot = NULL;
  int rc = c->api->slot_new(c->base, a, TOKENS, &slot, c->why, sizeof c->why);
  if (rc) return rc;
  tinker__eng_decode_item_t item = {
      .slot = slot,
      .tokens = c->tokens,
      .n = TOKENS,
      .on_row = answer,
      .user = c,
  };
  rc = c->api->decode(c->engine, &item, 1, NULL, c->why, sizeof c->why);
  if (!rc) printf("\n");
  c->api->slot_free(slot);
  return rc;
}

static int step(cli_t *c, tinker__eng_train_t *t) {
  static const tinker__eng_loss_config_t loss = {
      .kind = TINKER__LOSS_CROSS_ENTROPY,
  };
  static const tinker__eng_optim_params_t adam = {
      .learning_rate = 0.01,
      .beta1 = 0.9,
      .beta2 = 0.95,
      .eps = 1e-8,
  };
  float weights[TOKENS], logprobs[TOKENS], losses[TOKENS];
  tinker__eng_optim_metrics_t m;
  tinker__eng_pass_t *p = NULL;
  for (size_t i = 0; i < TOKENS; i++) weights[i] = 1;
  tinker__eng_train_datum_t d = {
      .tokens = c->tokens,
      .n = TOKENS,
      .targets = c->targets,
      .k = 1,
      .weights = weights,
      .out_logprobs = logprobs,
      .out_loss = losses,
  };
  int rc =
      c->api->pass_begin(t, &d, 1, &loss, false, &p, c->why, sizeof c->why);
  if (rc) return rc;
  do {
    rc = c->api->pass_step(p, NULL, c->why, sizeof c->why);
  } while (rc == 1);
  c->api->pass_end(p);
  if (rc) return rc;
  do {
    rc = c->api->optim_step(t, &adam, &m, c->why, sizeof c->why);
  } while (rc == 1);
  return rc;
}

static int do_write(cli_t *c, unsigned rank, unsigned set, const char *dir) {
  tinker__eng_lora_config_t config = {
      .rank = rank,
      .seed = 10 * rank + set,
      .train_attn = set & 1,
      .train_mlp = set & 2,
      .train_unembed = set & 4,
  };
  tinker__eng_train_t *t = NULL;
  tinker__eng_adapter_t *a = NULL;
  int rc = c->api->train_new(c->base, &config, &t, c->why, sizeof c->why);
  if (rc) return rc;
  rc = step(c, t);
  if (!rc) rc = step(c, t);
  if (!rc) rc = c->api->adapter_current(t, &a, c->why, sizeof c->why);
  if (!rc) rc = c->api->adapter_save(a, dir, c->why, sizeof c->why);
  if (!rc) rc = show(c, a);
  c->api->adapter_release(a);
  c->api->train_free(t);
  return rc;
}

static int do_read(cli_t *c, const char *dir) {
  tinker__eng_adapter_t *a = NULL;
  int rc = c->api->adapter_load(c->base, dir, &a, c->why, sizeof c->why);
  if (!rc) rc = show(c, a);
  c->api->adapter_release(a);
  return rc;
}

static int do_line(cli_t *c, const char *line) {
  char dir[512];
  unsigned rank, set;
  if (sscanf(line, "write %u %u %511s", &rank, &set, dir) == 3) {
    return do_write(c, rank, set, dir);
  }
  if (sscanf(line, "read %511s", dir) == 1) return do_read(c, dir);
  snprintf(c->why, sizeof c->why, "what is this?");
  return -1;
}

int main(int argc, char **argv) {
  cli_t c = {.api = tinker__cpu_engine()};
  char line[1024];
  tinker__mem_t mem;
  tinker__mem_init(&mem, NULL, 0);
  tinker__engine_options_t options = {
      .mem = tinker__mem_allocator(&mem),
      .threads = 1,
  };
  int rc =
      argc == 2 ? c.api->open(&c.engine, &options, c.why, sizeof c.why) : -1;
  if (!rc) {
    rc = tinker__eng_backend_load(c.api, c.engine, argv[1], &c.base, c.why,
                                  sizeof c.why);
  }
  if (rc) {
    fprintf(stderr, "adapter_cli: %s\n", c.why);
    return 2;
  }
  make_tokens(&c);
  while (fgets(line, sizeof line, stdin)) {
    if (do_line(&c, line)) printf("error %s\n", c.why);
    fflush(stdout);
  }
  c.api->base_release(c.base);
  c.api->close(c.engine);
  return 0;
}
