/* Numbers of a datum that are none: JSON has no text for them, protobuf has. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <tinker/error.h>

#include "service/parse/work.h"
#include "wire/fb_request.h"

static tinker__svc_base_model_t base = {
    .name = "m", .info = {.vocab_size = 10, .context_length = 8}};

/* A batch of two, whose second has this value as the last of its weights. */
static int parse(tinker__mem_t *mem, float value, char *why, size_t why_len) {
  static const int32_t tokens[3] = {1, 2, 3};
  static const int64_t targets[3] = {2, 3, 4};
  const float good[3] = {1, 1, 1}, bad[3] = {1, 1, value};
  const tinker__chunk_view_t chunk = tinker__text_chunk(tokens, 3);
  tinker__named_tensor_t inputs[2][2];
  tinker__datum_view_t datums[2];
  tinker__wire_body_t body;
  tinker__svc_work_t *w = NULL;
  int status = 0;
  for (int i = 0; i < 2; i++) {
    inputs[i][0] = (tinker__named_tensor_t){
        TINKER__STR("target_tokens"),
        {TINKER__DTYPE_I64, 1, {3}, targets, 3, NULL, NULL, NULL}};
    inputs[i][1] = (tinker__named_tensor_t){
        TINKER__STR("weights"),
        {TINKER__DTYPE_F32, 1, {3}, i ? bad : good, 3, NULL, NULL, NULL}};
    datums[i] = (tinker__datum_view_t){&chunk, 1, inputs[i], 2};
  }
  tinker__fb_view_t view = {
      .model_id = TINKER__STR("a"),
      .datums = datums,
      .datum_count = 2,
      .loss_fn = TINKER__STR("cross_entropy"),
  };
  cr_assert_eq(tinker__fb_request_encode(&body, mem, &view, why, why_len), 0);
  cr_assert_eq(tinker__wire_body_stamp(&body, TINKER__STR("a"), 1), 0);
  tinker__svc_t s = {.mem = mem};
  tinker__svc_work_in_t in = {
      .kind = TINKER__SVC_OP_FORWARD_BACKWARD,
      .base = &base,
      .format = TINKER__FORMAT_PROTO,
      .body = tinker__wire_body_str(&body),
  };
  int rc = tinker__svc_work_parse(&w, &s, &in, &status, why, why_len);
  tinker__svc_work_free(w);
  tinker__wire_body_free(&body);
  return rc;
}

Test(work_fb, a_value_that_is_not_finite) {
  static const struct {
    float value;
    const char *text;
  } rows[] = {{NAN, "NaN"}, {HUGE_VALF, "infinity"}, {-HUGE_VALF, "-infinity"}};
  tinker__mem_t mem;
  char why[300] = "", want[300];
  tinker__mem_init(&mem, NULL, 0);
  cr_assert_eq(parse(&mem, -1e38f, why, sizeof why), 0, "%s", why);
  for (size_t i = 0; i < 3; i++) {
    cr_assert_eq(parse(&mem, rows[i].value, why, sizeof why), TINKER_EINVAL);
    snprintf(want, sizeof want,
             "data[1].loss_fn_inputs.weights: %s at position 2 is not finite",
             rows[i].text);
    cr_assert_str_eq(why, want);
  }
  cr_assert_eq(atomic_load(&mem.live_blocks), 0);
}
