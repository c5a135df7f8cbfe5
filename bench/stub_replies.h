/* stub_replies: the answers of the stub server (see stub.c), prebuilt. One
 * thread. A request id names the answer to its polls, so that nothing has to be
 * kept for a request. */
#ifndef TINKER_BENCH_STUB_REPLIES_H
#define TINKER_BENCH_STUB_REPLIES_H

#include <stddef.h>
#include <stdint.h>

/* A whole answer: head and body. */
typedef struct {
  char *data;
  size_t len;
} stub_reply_t;

/* What a forward_backward said of itself. */
typedef struct {
  uint64_t seq; /* its number in the trainer */
  size_t shape; /* names the answer to its polls */
  size_t examples;
} stub_forward_t;

#define STUB_SAMPLED 64 /* tokens of an answer to asample */

/* An answer with a JSON body, in memory of its own. */
stub_reply_t stub_json(const char *body);
/* The answer to the poll for a sample. */
stub_reply_t stub_sample(void);
/* Reads a forward_backward in protobuf form. Answers to its shape are built
 * when it is seen first. Returns 0, or -1 if the body is not one. */
int stub_forward_read(const uint8_t *body, size_t len, stub_forward_t *out);
/* The answer to the poll for a forward_backward of that shape; NULL if there is
 * none. Its log-probability at position i is -(i % 997) / 997. */
const stub_reply_t *stub_forward(size_t shape);

#endif
