/* Fields of a journal's record: whatever they are, facts or a refusal; facts
 * are written as fields that are read as the same facts, and any state folds
 * a record of them or refuses it. */
#include <string.h>
#include <tinker/error.h>

#include "journal/facts.h"
#include "journal/state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static tinker__mem_t mem;

static int read_facts(tinker__rec_facts_t *f, tinker__arena_t *arena,
                      tinker__str_t text) {
  char why[200] = "";
  int rc = tinker__rec_facts_read(f, arena, text, why, sizeof why);
  if (rc != 0 && rc != TINKER_EFORMAT) __builtin_trap();
  if ((rc != 0) != (why[0] != 0)) __builtin_trap();
  return rc;
}

/* Written twice: the first time may order and shorten, the second time may
 * change nothing. */
static void write_again(const tinker__rec_facts_t *f, tinker__arena_t *arena) {
  tinker__rec_facts_t back;
  tinker__buf_t one, two;
  tinker__buf_init(&one, &mem, (size_t)1 << 22);
  tinker__buf_init(&two, &mem, (size_t)1 << 22);
  if (tinker__rec_facts_write(f, &one)) __builtin_trap();
  if (read_facts(&back, arena, tinker__buf_str(&one))) __builtin_trap();
  if (back.request_count != f->request_count) __builtin_trap();
  if (f->request_count && memcmp(back.requests, f->requests,
                                 f->request_count * sizeof *f->requests) != 0) {
    __builtin_trap();
  }
  if (tinker__rec_facts_write(&back, &two)) __builtin_trap();
  if (one.len != two.len || memcmp(one.data, two.data, one.len) != 0) {
    __builtin_trap();
  }
  tinker__buf_free(&one);
  tinker__buf_free(&two);
}

static void fold(tinker__rec_state_t *s, int64_t epoch, int64_t type,
                 tinker__str_t fields) {
  char why[200];
  const tinker__rec_record_t r = {.id = 1,
                                  .type = type,
                                  .generation = 1,
                                  .step = 1,
                                  .boot = "b",
                                  .fields = fields,
                                  .bytes = {"four", 4}};
  int rc = tinker__rec_state_fold(s, epoch, &r, why, sizeof why);
  if (rc != 0 && rc != TINKER_EFORMAT) __builtin_trap();
}

/* Every type of record with these fields, one after the other. */
static void fold_all(tinker__str_t fields) {
  tinker__rec_state_t s;
  if (tinker__rec_state_init(&s, &mem) != 0) __builtin_trap();
  for (int64_t type = 1; type < 100; type++) {
    fold(&s, 0, type, fields);
    fold(&s, 1, type, fields);
  }
  if (s.next_seq_id < 1) __builtin_trap();
  tinker__rec_state_free(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
  const tinker__str_t text = {(const char *)data, len};
  tinker__arena_t arena;
  tinker__rec_facts_t f;
  tinker__mem_init(&mem, NULL, (size_t)256 << 20);
  tinker__arena_init(&arena, &mem);
  if (read_facts(&f, &arena, text) == 0) {
    write_again(&f, &arena);
    fold_all(text);
  }
  tinker__arena_free(&arena);
  if (mem.live_blocks) __builtin_trap();
  return 0;
}
