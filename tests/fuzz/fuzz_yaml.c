/* YAML by a table: whatever the file holds, a policy or faults with places. A
 * policy is printed as one that reads back to the same. */
#include <string.h>

#include "base/show.h"
#include "policy/policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static tinker__mem_t mem;

static tinker__rec_policy_file_t *parse(tinker__str_t text) {
  tinker__rec_policy_file_t *file = NULL;
  tinker__buf_t report;
  tinker__buf_init(&report, &mem, (size_t)1 << 20);
  int rc = tinker__rec_policy_parse(&file, &mem, text, "f", &report);
  tinker__str_t said = tinker__buf_str(&report);
  if ((rc == 0) != (said.len == 0)) __builtin_trap();
  /* A report goes to a terminal, a line for each fault. */
  for (size_t i = 0; i < said.len; i++) {
    if (said.ptr[i] == '\n') continue;
    if (tinker__hidden_step(said.ptr + i, said.ptr + said.len, NULL)) {
      __builtin_trap();
    }
  }
  if (!tinker__utf8_valid(said.ptr, said.len)) __builtin_trap();
  tinker__buf_free(&report);
  return file;
}

static void print(const tinker__rec_policy_file_t *file, tinker__buf_t *out) {
  tinker__buf_init(out, &mem, (size_t)16 << 20);
  tinker__rec_policy_print(file, out);
  if (tinker__buf_error(out)) __builtin_trap();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
  tinker__buf_t one, two;
  tinker__mem_init(&mem, NULL, (size_t)256 << 20);
  tinker__rec_policy_file_t *file =
      parse((tinker__str_t){(const char *)data, len});
  if (file) {
    print(file, &one);
    tinker__rec_policy_free(file);
    /* The print of a file near the limits may be beyond them. */
    if (len < 10000) {
      file = parse(tinker__buf_str(&one));
      if (!file) __builtin_trap();
      print(file, &two);
      if (one.len != two.len || memcmp(one.data, two.data, one.len) != 0) {
        __builtin_trap();
      }
      tinker__rec_policy_free(file);
      tinker__buf_free(&two);
    }
    tinker__buf_free(&one);
  }
  if (mem.live_blocks) __builtin_trap();
  return 0;
}
