/* chunk: where a batch is cut into requests (protocol 6.4). Pure. */
#ifndef TINKER_FLOW_CHUNK_H
#define TINKER_FLOW_CHUNK_H

#include <stddef.h>
#include <stdint.h>

typedef struct tinker__chunk_limits_s {
  size_t max_len;     /* datums per request, at least 1 */
  uint64_t max_bytes; /* estimated bytes per request */
} tinker__chunk_limits_t;

/* End (exclusive) of the chunk that starts at datum `first` of n. A chunk
 * ends before a datum that would make it too large or too long; one that is
 * too large by itself is a chunk of its own. first < n. */
size_t tinker__chunk_end(const tinker__chunk_limits_t *limits,
                         const uint64_t *estimates, size_t n, size_t first);
/* Number of chunks of the whole batch. */
size_t tinker__chunk_count(const tinker__chunk_limits_t *limits,
                           const uint64_t *estimates, size_t n);

#endif
