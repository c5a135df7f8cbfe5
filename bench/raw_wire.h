/* raw_wire: bodies and replies of the protocol, written and read by the
 * cheapest code there is: a body of training is a list of pieces that points
 * into the caller's arrays, results are views of the reply. Nothing is checked
 * that costs time for each token. What any client is compared with. */
#ifndef TINKER_BENCH_RAW_WIRE_H
#define TINKER_BENCH_RAW_WIRE_H

#include "contender.h"

typedef struct {
  const char *data;
  size_t len;
} piece_t;

/* A body. All zero at first; its memory is used again. */
typedef struct {
  piece_t *pieces;
  size_t count, cap;
  char *text; /* what no array holds */
  size_t text_len, text_cap;
  size_t len;  /* of the whole body */
  char *whole; /* the pieces copied into one, if they were */
  size_t whole_cap;
} body_t;

/* A forward_backward with number seq, of examples [from, to). */
void raw_forward(body_t *body, const arrays_t *a, unsigned seq, size_t from,
                 size_t to);
/* Copies the pieces of a body into one. */
void raw_join(body_t *body);
/* An asample with number seq, of prompt i. Its text is one piece. */
void raw_sample(body_t *body, const arrays_t *a, size_t i);
/* Examples of one forward_backward, by the default limit of the service. */
size_t raw_part(const arrays_t *a);

/* Checks the log-probabilities of n examples in a reply. */
void raw_read_forward(const char *reply, size_t len, size_t n, size_t length);
void raw_read_sample(const char *reply, size_t len, size_t tokens);

#endif
