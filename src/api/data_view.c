/* Model inputs and training examples as the encoders see them, see data.h. Any
 * thread; what is viewed is only read. */
#include "api/data.h"

#include "base/str.h"

void tinker__input_views(const tinker_input_t *input,
                         tinker__chunk_view_t *chunks) {
  size_t at = 0;
  for (size_t i = 0; i < input->chunks; i++) {
    chunks[i] = tinker__text_chunk(input->tokens + at, input->ends[i] - at);
    chunks[i].text.owner = input->owner;
    at = input->ends[i];
  }
}

static void view_tensor(const tinker__input_tensor_t *in,
                        tinker__named_tensor_t *out) {
  *out = (tinker__named_tensor_t){
      .name = tinker__str(in->name),
      .tensor = {.dtype = in->is_float ? TINKER__DTYPE_F32 : TINKER__DTYPE_I64,
                 .ndim = in->cols ? 2 : 1,
                 .shape = {(int64_t)in->rows, (int64_t)in->cols},
                 .data = in->data,
                 .count = in->count,
                 .owner = in->owner}};
}

int tinker__datum_view(const tinker_datum_t *datum, tinker__arena_t *arena,
                       tinker__datum_view_t *out) {
  const tinker_input_t *input = datum->input;
  tinker__chunk_view_t *chunks =
      tinker__arena_array(arena, input->chunks, sizeof *chunks);
  tinker__named_tensor_t *inputs =
      tinker__arena_array(arena, datum->tensor_count, sizeof *inputs);
  if (!chunks || !inputs) return TINKER_ENOMEM;
  tinker__input_views(input, chunks);
  for (size_t i = 0; i < datum->tensor_count; i++) {
    view_tensor(&datum->tensors[i], &inputs[i]);
  }
  *out = (tinker__datum_view_t){chunks, input->chunks, inputs,
                                datum->tensor_count};
  return 0;
}
