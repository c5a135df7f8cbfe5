/* Cutting of batches, see chunk.h. */
#include "flow/chunk.h"

size_t tinker__chunk_end(const tinker__chunk_limits_t *limits,
                         const uint64_t *estimates, size_t n, size_t first) {
  uint64_t sum = estimates[first];
  size_t end = first + 1;
  while (end < n && end - first < limits->max_len) {
    if (sum > limits->max_bytes || estimates[end] > limits->max_bytes - sum) {
      break;
    }
    sum += estimates[end++];
  }
  return end;
}

size_t tinker__chunk_count(const tinker__chunk_limits_t *limits,
                           const uint64_t *estimates, size_t n) {
  size_t count = 0;
  for (size_t at = 0; at < n; count++) {
    at = tinker__chunk_end(limits, estimates, n, at);
  }
  return count;
}
