/* corpus: the text as training examples. Every tenth entry is held out. The
 * order of the others is a fixed shuffle and a batch depends on the step's
 * number alone, so that a resumed run sees the data it would have seen. */
#include <stdlib.h>
#include <string.h>

#include "quick.h"

enum { LINE_MAX_BYTES = 4096, ENTRIES_MAX = 4096, TOKENS_MAX = 512 };

static void shuffle(quick_corpus_t *corpus) {
  uint64_t state = 20240601;
  for (size_t i = corpus->num_train; i > 1; i--) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    size_t j = (size_t)((state >> 33) % i);
    tinker_datum_t *datum = corpus->train[i - 1];
    size_t tokens = corpus->train_tokens[i - 1];
    corpus->train[i - 1] = corpus->train[j];
    corpus->train_tokens[i - 1] = corpus->train_tokens[j];
    corpus->train[j] = datum;
    corpus->train_tokens[j] = tokens;
  }
}

static void add(quick_corpus_t *corpus, const int32_t *tokens, size_t n,
                bool held) {
  tinker_datum_t *datum = NULL;
  quick_check(tinker_datum_new_supervised(&datum, tokens, NULL, n, NULL, NULL),
              "datum");
  if (held) {
    corpus->heldout[corpus->num_heldout++] = datum;
    corpus->heldout_tokens += n - 1;
    return;
  }
  corpus->train_tokens[corpus->num_train] = n - 1;
  corpus->train[corpus->num_train++] = datum;
}

void quick_corpus_load(quick_corpus_t *corpus, const quick_paths_t *paths,
                       const tinker_tokenizer_t *tokenizer) {
  char line[LINE_MAX_BYTES];
  FILE *file = fopen(paths->data, "r");
  if (file == NULL) quick_die("%s can't be read", paths->data);
  memset(corpus, 0, sizeof *corpus);
  corpus->train = quick_alloc(ENTRIES_MAX, sizeof *corpus->train);
  corpus->heldout = quick_alloc(ENTRIES_MAX, sizeof *corpus->heldout);
  corpus->train_tokens = quick_alloc(ENTRIES_MAX, sizeof(size_t));
  for (size_t i = 0; i < ENTRIES_MAX && fgets(line, sizeof line, file); i++) {
    int32_t tokens[TOKENS_MAX];
    line[strcspn(line, "\n")] = '\0';
    size_t n = quick_encode(tokenizer, line, true, tokens, TOKENS_MAX);
    add(corpus, tokens, n, i % 10 == 9);
  }
  fclose(file);
  if (corpus->num_train < 64 || corpus->num_heldout == 0) {
    quick_die("%s has too few entries", paths->data);
  }
  shuffle(corpus);
}

void quick_corpus_free(quick_corpus_t *corpus) {
  for (size_t i = 0; i < corpus->num_train; i++) {
    tinker_datum_release(corpus->train[i]);
  }
  for (size_t i = 0; i < corpus->num_heldout; i++) {
    tinker_datum_release(corpus->heldout[i]);
  }
  free(corpus->train);
  free(corpus->heldout);
  free(corpus->train_tokens);
}

void quick_batch_fill(quick_batch_t *batch, const quick_corpus_t *corpus,
                      int step, size_t size) {
  batch->size = size;
  batch->tokens = 0;
  for (size_t i = 0; i < size; i++) {
    size_t at = ((size_t)(step - 1) * size + i) % corpus->num_train;
    batch->data[i] = corpus->train[at];
    batch->tokens += corpus->train_tokens[at];
  }
}
