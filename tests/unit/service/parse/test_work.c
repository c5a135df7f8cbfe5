/* Bodies of numbered calls: what is taken, and that a refusal names its
 * field. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <tinker/error.h>

#include "service/parse/work.h"
#include "support/fail_alloc.h"

static tinker__svc_base_model_t base = {
    .name = "m", .info = {.vocab_size = 10, .context_length = 8}};

static int parse(tinker__mem_t *mem, tinker__svc_op_kind_t kind,
                 const char *json, tinker__svc_work_t **out, char *why,
                 size_t why_len) {
  tinker__svc_t s = {.mem = mem};
  tinker__svc_work_in_t in = {
      .kind = kind,
      .base = &base,
      .body = tinker__str(json),
      .seed = 77,
  };
  int status = 0;
  int rc = tinker__svc_work_parse(out, &s, &in, &status, why, why_len);
  if (rc != 0 && rc != TINKER_ENOMEM) {
    cr_assert(status == 0 || status == 400 || status == 422);
  }
  return rc;
}

#define TENSOR(dtype, values) "{\"data\":[" values "],\"dtype\":\"" dtype "\"}"
#define FB(loss, inputs)                                                       \
  "{\"model_id\":\"a\",\"seq_id\":1,\"forward_backward_input\":{\"loss_fn\":"  \
  "\"" loss "\",\"data\":[{\"model_input\":{\"chunks\":[{\"type\":"            \
  "\"encoded_text\",\"tokens\":[1,2,3]}]},\"loss_fn_inputs\":{" inputs "}}]}}"
#define TARGET "\"target_tokens\":" TENSOR("int64", "2,3,4")
#define WEIGHTS ",\"weights\":" TENSOR("float32", "1,0.5,0")
#define RL                                                                     \
  ",\"logprobs\":" TENSOR("float32", "-1,-2,-3") ",\"advantages\":" TENSOR(    \
      "float32", "1,1,-1")
#define MASK(values) ",\"sequence_ratio_mask\":" TENSOR("float32", values)
#define SAMPLE(more)                                                           \
  "{\"sampling_session_id\":\"a\",\"seq_id\":1,\"num_samples\":2,\"prompt\":"  \
  "{\"chunks\":[{\"type\":\"encoded_text\",\"tokens\":[1,2,3]}]}," more "}"
#define MANY(n)                                                                \
  "{\"sampling_session_id\":\"a\",\"seq_id\":1,\"num_samples\":" n             \
  ",\"prompt\":"                                                               \
  "{\"chunks\":[{\"type\":\"encoded_text\",\"tokens\":[1,2,3]}]}," PARAMS(     \
      "") "}"
#define PARAMS(more) "\"sampling_params\":{" more "}"

#define LAST(n) "\"prompt_logprobs\":true,\"prompt_logprobs_last_n\":" n ","
#define SCORE(data, shape, more)                                               \
  "\"target_prompt_logprobs\":{\"data\":[" data                                \
  "],\"dtype\":\"int64\",\"shape\":[" shape "]" more "},"

Test(work, what_is_taken) {
  tinker__mem_t mem;
  tinker__svc_work_t *w;
  char why[300];
  tinker__mem_init(&mem, NULL, 0);
  cr_assert_eq(parse(&mem, TINKER__SVC_OP_FORWARD_BACKWARD,
                     FB("cross_entropy", TARGET WEIGHTS), &w, why, 300),
               0, "%s", why);
  cr_assert_eq(w->n_data, 1);
  cr_assert_eq(w->data[0].n, 3);
  cr_assert_eq(w->data[0].tokens[2], 3);
  cr_assert_eq(w->data[0].targets[2], 4);
  cr_assert_eq(w->data[0].weights[1], 0.5f);
  tinker__svc_work_free(w);
  cr_assert_eq(parse(&mem, TINKER__SVC_OP_FORWARD_BACKWARD,
                     FB("ppo", TARGET RL), &w, why, 300),
               0, "%s", why);
  cr_assert_eq(w->loss.kind, TINKER__LOSS_PPO);
  cr_assert(w->loss.clip_low == 0.8 && w->loss.clip_high == 1.2);
  cr_assert_eq(w->data[0].advantages[2], -1.0f);
  tinker__svc_work_free(w);
  cr_assert_eq(parse(&mem, TINKER__SVC_OP_FORWARD_BACKWARD,
                     FB("cispo", TARGET RL), &w, why, 300),
               0, "%s", why);
  cr_assert(w->loss.kind == TINKER__LOSS_CISPO && w->loss.clip_low == 0 &&
            w->loss.clip_high == 4);
  tinker__svc_work_free(w);
  cr_assert_eq(
      parse(&mem, TINKER__SVC_OP_FORWARD_BACKWARD,
            FB("dro\",\"loss_fn_config\":{\"beta\":0.5},\"x\":\"", TARGET RL),
            &w, why, 300),
      0, "%s", why);
  cr_assert(w->loss.kind == TINKER__LOSS_DRO && w->loss.beta == 0.5);
  tinker__svc_work_free(w);
  cr_assert_eq(parse(&mem, TINKER__SVC_OP_FORWARD_BACKWARD,
                     FB("gspo", TARGET RL MASK("0,0,2")), &w, why, 300),
               0, "%s", why);
  cr_assert(w->loss.clip_low == 0.8 && w->data[0].ratio_mask[2] == 2.0f);
  tinker__svc_work_free(w);
  cr_assert_eq(
      parse(&mem, TINKER__SVC_OP_OPTIM, "{\"adam_params\":{}}", &w, why, 300),
      0, "%s", why);
  cr_assert(w->adam.learning_rate == 1e-4 && w->adam.beta2 == 0.95 &&
            w->adam.eps == 1e-12 && w->adam.grad_clip_norm == 0);
  tinker__svc_work_free(w);
  cr_assert_eq(
      parse(&mem, TINKER__SVC_OP_SAMPLE, SAMPLE(PARAMS("")), &w, why, 300), 0,
      "%s", why);
  cr_assert_eq(w->gen->max_tokens, 5, "up to the context window");
  cr_assert_eq(w->gen->sampling.seed, 77);
  cr_assert_eq(w->num_samples, 2);
  tinker__svc_work_free(w);
  cr_assert_eq(mem.live_blocks, 0);
}

/* Dense or CSR: the engine gets rows, the reply the layout. */
/* Each value reaches the engine as it was given. */
Test(work, every_number_is_taken) {
  tinker__mem_t mem;
  tinker__svc_work_t *w;
  char why[300];
  tinker__mem_init(&mem, NULL, 0);
  cr_assert_eq(parse(&mem, TINKER__SVC_OP_OPTIM,
                     "{\"adam_params\":{\"learning_rate\":0,\"beta1\":0.5,"
                     "\"beta2\":0.25,\"eps\":0.125,\"weight_decay\":2,"
                     "\"grad_clip_norm\":3}}",
                     &w, why, 300),
               0, "%s", why);
  cr_assert_eq(w->adam.learning_rate, 0); /* not the default */
  cr_assert(w->adam.beta1 == 0.5 && w->adam.beta2 == 0.25);
  cr_assert(w->adam.eps == 0.125 && w->adam.weight_decay == 2);
  cr_assert_eq(w->adam.grad_clip_norm, 3);
  tinker__svc_work_free(w);
  cr_assert_eq(
      parse(&mem, TINKER__SVC_OP_SAMPLE,
            SAMPLE(PARAMS(
                "\"max_tokens\":2,\"seed\":0,\"temperature\":0,\"top_k\":4,"
                "\"top_p\":0.5,\"stop\":[7,3]")),
            &w, why, 300),
      0, "%s", why);
  cr_assert_eq(w->gen->max_tokens, 2u);
  cr_assert_eq(w->gen->sampling.seed, 0u); /* not one of the service's */
  cr_assert_eq(w->gen->sampling.temperature, 0);
  cr_assert_eq(w->gen->sampling.top_k, 4);
  cr_assert_eq(w->gen->sampling.top_p, 0.5);
  cr_assert(w->gen->n_stop_tokens == 2 && w->gen->stop_tokens[0] == 3 &&
            w->gen->stop_tokens[1] == 7);
  tinker__svc_work_free(w);
  cr_assert_eq(mem.live_blocks, 0);
}

/* What is asked for and what ends it: the model's own end of sequence unless
 * tokens, or none, are named. */
Test(work, what_stops_a_sample) {
  static const int32_t eos[2] = {8, 9};
  static const struct {
    const char *body;
    size_t tokens, strings;
  } cases[] = {{SAMPLE(PARAMS("")), 2, 0},
               {SAMPLE(PARAMS("\"stop\":[]")), 0, 0},
               {SAMPLE(PARAMS("\"stop\":[5]")), 1, 0},
               {SAMPLE(PARAMS("\"stop\":[\"a\",\"b\",\"c\"]")), 2, 3}};
  tinker__mem_t mem;
  tinker__svc_work_t *w;
  char why[300];
  tinker__svc_base_model_t bare = base;
  tinker__mem_init(&mem, NULL, 0);
  base.info.eos = eos;
  base.info.num_eos = 2;
  base.tokenizer = (struct tinker_tokenizer_s *)&mem; /* never looked into */
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    cr_assert_eq(
        parse(&mem, TINKER__SVC_OP_SAMPLE, cases[i].body, &w, why, 300), 0,
        "%s", why);
    cr_assert_eq(w->gen->n_stop_tokens, cases[i].tokens, "%zu", i);
    cr_assert_eq(w->gen->n_stop_strings, cases[i].strings, "%zu", i);
    cr_assert_eq(w->gen->text == &base.text, cases[i].strings > 0);
    tinker__svc_work_free(w);
  }
  base = bare;
  cr_assert_eq(mem.live_blocks, 0);
}

/* Of what a client sends; the log is read without a limit. */
Test(work, tokens_of_a_request_are_limited) {
  tinker__mem_t mem;
  tinker__svc_work_t *w;
  char why[300];
  int status;
  tinker__mem_init(&mem, NULL, 0);
  tinker__svc_t s = {.mem = &mem};
  tinker__svc_work_in_t in = {
      .kind = TINKER__SVC_OP_SAMPLE,
      .base = &base,
      .body = TINKER__STR(SAMPLE(PARAMS("\"max_tokens\":4"))),
  };
  for (in.max_tokens = 9; in.max_tokens <= 11; in.max_tokens++) {
    int rc = tinker__svc_work_parse(&w, &s, &in, &status, why, sizeof why);
    cr_assert_eq(rc, in.max_tokens < 11 ? TINKER_EINVAL : 0);
    if (rc == 0) tinker__svc_work_free(w);
  }
  cr_assert(strstr(why, "11 tokens are more than --max-tokens lets in: 10"));
  in.max_tokens = 2;
  in.kind = TINKER__SVC_OP_FORWARD_BACKWARD;
  in.body = TINKER__STR(FB("cross_entropy", TARGET WEIGHTS));
  cr_assert_eq(tinker__svc_work_parse(&w, &s, &in, &status, why, sizeof why),
               TINKER_EINVAL);
  cr_assert(strstr(why, "3 tokens are more"), "%s", why);
  in.max_tokens = 0;
  cr_assert_eq(tinker__svc_work_parse(&w, &s, &in, &status, why, sizeof why),
               0);
  tinker__svc_work_free(w);
  cr_assert_eq(mem.live_blocks, 0);
}

Test(work, scores_of_a_prompt) {
  tinker__mem_t mem;
  tinker__svc_work_t *w;
  char why[300];
  tinker__mem_init(&mem, NULL, 0);
  cr_assert_eq(parse(&mem, TINKER__SVC_OP_SAMPLE,
                     SAMPLE(LAST("2") "\"prompt_alt_tokens_k\":4096," SCORE(
                         "-1,9,0,-1", "2,2", "") PARAMS("")),
                     &w, why, 300),
               0, "%s", why);
  const tinker__eng_gen_target_t *t = &w->gen->target;
  cr_assert(w->gen->prompt_from == 1 && w->gen->draws == 4096);
  cr_assert(t->starts[0] == 0 && t->starts[1] == 2 && t->starts[2] == 4);
  cr_assert(t->ids[1] == 9 && !w->target->crow && w->target->shape[1] == 2);
  tinker__svc_work_free(w);
  cr_assert_eq(
      parse(&mem, TINKER__SVC_OP_SAMPLE,
            SAMPLE(LAST("1") SCORE("7", "2,5",
                                   ",\"sparse_crow_indices\":[0,0,1],"
                                   "\"sparse_col_indices\":[4]") PARAMS("")),
            &w, why, 300),
      0, "%s", why);
  t = &w->gen->target;
  cr_assert(t->starts[1] == 0 && t->starts[2] == 1 && t->ids[0] == 7);
  cr_assert(w->target->col[0] == 4 && w->gen->prompt_from == 2);
  tinker__svc_work_free(w);
  cr_assert_eq(mem.live_blocks, 0);
}

/* n numbers, from `first` on by steps of `step`. */
static void add_numbers(tinker__buf_t *b, int n, int first, int step) {
  char text[24];
  for (int i = 0; i < n; i++) {
    snprintf(text, sizeof text, i ? ",%d" : "%d", first + i * step);
    tinker__buf_adds(b, text);
  }
}

static void refuse_price(tinker__buf_t *b, const char *words) {
  tinker__svc_base_model_t wide = {
      .name = "m", .info = {.vocab_size = 2000, .context_length = 10000}};
  tinker__svc_t s = {.mem = b->mem};
  tinker__svc_work_in_t in = {
      .kind = TINKER__SVC_OP_SAMPLE,
      .base = &wide,
      .body = tinker__buf_str(b),
  };
  tinker__svc_work_t *w;
  char why[300];
  int status = 0;
  cr_assert_eq(tinker__buf_error(b), 0);
  cr_assert_eq(tinker__svc_work_parse(&w, &s, &in, &status, why, 300),
               TINKER_EINVAL);
  cr_assert_not_null(strstr(why, words), "%s", why);
}

/* P times k, and P times distinct ids, are bounded. */
Test(work, scores_have_a_price) {
  enum { N = 9000, IDS = 1000 };
  tinker__mem_t mem;
  tinker__buf_t b;
  tinker__mem_init(&mem, NULL, 0);
  tinker__buf_init(&b, &mem, 1 << 20);
  tinker__buf_adds(&b, "{\"sampling_session_id\":\"a\",\"seq_id\":1,"
                       "\"sampling_params\":{\"max_tokens\":1},"
                       "\"prompt\":{\"chunks\":[{\"tokens\":[");
  add_numbers(&b, N, 1, 0);
  size_t prompt = b.len;
  tinker__buf_adds(&b, "]}]},\"prompt_alt_tokens_k\":933}");
  refuse_price(&b, "prompt_alt_tokens_k: 9000 prompt tokens times 933 draws");
  b.len = prompt;
  tinker__buf_adds(&b, "]}]},\"target_prompt_logprobs\":{\"dtype\":\"int64\","
                       "\"shape\":[8999,1000],\"data\":[");
  add_numbers(&b, IDS, 0, 1);
  tinker__buf_adds(&b, "],\"sparse_crow_indices\":[0,");
  add_numbers(&b, N - 1, IDS, 0);
  tinker__buf_adds(&b, "],\"sparse_col_indices\":[");
  add_numbers(&b, IDS, 0, 1);
  tinker__buf_adds(&b, "]}}");
  refuse_price(&b, "target_prompt_logprobs: 9000 prompt tokens times 1000");
  b.len = 0; /* 73 samples of 900 tokens, and the prompt's own */
  tinker__buf_adds(&b, "{\"sampling_session_id\":\"a\",\"seq_id\":1,"
                       "\"sampling_params\":{\"max_tokens\":900},"
                       "\"num_samples\":73,\"topk_sample_logprobs\":1024,"
                       "\"prompt\":{\"chunks\":[{\"tokens\":[1]}]}}");
  refuse_price(&b, "67276800 entries are more than 67108864");
  tinker__buf_free(&b);
  cr_assert_eq(mem.live_blocks, 0);
}

Test(work, refusals_name_the_field) {
  tinker__mem_t mem;
  tinker__svc_work_t *w = NULL;
  char why[300];
  static const struct {
    tinker__svc_op_kind_t kind;
    const char *body, *words;
  } cases[] = {
      {TINKER__SVC_OP_FORWARD_BACKWARD, FB("sft", TARGET WEIGHTS), "loss_fn"},
      {TINKER__SVC_OP_FORWARD_BACKWARD, FB("cross_entropy", TARGET),
       "data[0].loss_fn_inputs.weights: required"},
      {TINKER__SVC_OP_FORWARD_BACKWARD, FB("cross_entropy", TARGET WEIGHTS RL),
       "not an input of this loss"},
      {TINKER__SVC_OP_FORWARD_BACKWARD, FB("ppo", TARGET),
       "logprobs: required"},
      {TINKER__SVC_OP_FORWARD_BACKWARD, FB("stable_reinforce", TARGET RL),
       "loss_fn 'stable_reinforce'"},
      {TINKER__SVC_OP_FORWARD_BACKWARD, FB("dro", TARGET RL),
       "loss_fn_config.beta: required"},
      {TINKER__SVC_OP_FORWARD_BACKWARD, FB("cispo", TARGET RL MASK("1,1,1")),
       "sequence_ratio_mask: not an input"},
      {TINKER__SVC_OP_FORWARD_BACKWARD, FB("gspo", TARGET RL),
       "sequence_ratio_mask: required"},
      {TINKER__SVC_OP_FORWARD_BACKWARD, FB("gspo", TARGET RL MASK("0,0,0")),
       "sequence_ratio_mask: must be non-zero"},
      {TINKER__SVC_OP_FORWARD_BACKWARD,
       FB("cross_entropy",
          "\"target_tokens\":" TENSOR("int64", "2,3,10") WEIGHTS),
       "target_tokens: token 10 at position 2 is outside"},
      {TINKER__SVC_OP_FORWARD_BACKWARD,
       FB("cross_entropy", "\"target_tokens\":" TENSOR("int64", "2,3") WEIGHTS),
       "target_tokens: must have one row"},
      {TINKER__SVC_OP_FORWARD_BACKWARD, "{}", "model_id"},
      {TINKER__SVC_OP_OPTIM, "{}", "adam_params"},
      {TINKER__SVC_OP_OPTIM,
       "{\"adam_params\":{},\"optimizer_params\":{\"type\":"
       "\"adamw\"}}",
       "exactly one"},
      {TINKER__SVC_OP_OPTIM, "{\"optimizer_params\":{\"type\":\"lion\"}}",
       "lion"},
      {TINKER__SVC_OP_OPTIM, "{\"adam_params\":{\"beta2\":-0.1}}",
       "adam_params.beta2"},
      {TINKER__SVC_OP_SAVE, "{}", "path is required"},
      {TINKER__SVC_OP_SAVE, "{\"path\":\"../x\"}", "path must be"},
      {TINKER__SVC_OP_SAVE_SAMPLER, "{}", "sampling_session_seq_id"},
      {TINKER__SVC_OP_SAVE_SAMPLER, "{\"path\":\"a\",\"kind\":\"inflight\"}",
       "inflight"},
      {TINKER__SVC_OP_SAVE_SAMPLER, "{\"path\":\"a\",\"kind\":\"live\"}",
       "kind"},
      {TINKER__SVC_OP_LOAD, "{\"path\":\"tinker://a/weights/b\"}", "optimizer"},
      {TINKER__SVC_OP_SAMPLE, SAMPLE(PARAMS("\"max_tokens\":6")),
       "context window: 3 + 6 > 8"},
      {TINKER__SVC_OP_SAMPLE, SAMPLE(PARAMS("\"top_p\":0")), "top_p"},
      {TINKER__SVC_OP_SAMPLE, SAMPLE(PARAMS("\"stop\":[\"a\"]")),
       "sampling_params.stop: strings need a tokenizer.json"},
      {TINKER__SVC_OP_SAMPLE,
       SAMPLE(PARAMS("\"stop\":[0,1,2,3,4,5,6,7,8,9,9]")),
       "sampling_params.stop: 11 tokens are more than the vocabulary's 10"},
      {TINKER__SVC_OP_SAMPLE, SAMPLE(PARAMS("\"stop\":[9,10]")),
       "sampling_params.stop[1]: must be a token from 0 to 9, not 10"},
      {TINKER__SVC_OP_SAMPLE, SAMPLE(PARAMS("\"stop\":[999999]")),
       "sampling_params.stop[0]: must be a token from 0 to 9, not 999999"},
      {TINKER__SVC_OP_SAMPLE, SAMPLE(PARAMS("\"stop\":[-1]")),
       "sampling_params.stop: must be 0 to"},
      {TINKER__SVC_OP_SAMPLE, MANY("0"),
       "num_samples: must be 1 to 1024, not 0"},
      {TINKER__SVC_OP_SAMPLE, MANY("1025"),
       "num_samples: must be 1 to 1024, not 1025"},
      {TINKER__SVC_OP_SAMPLE, MANY("5000"),
       "num_samples: must be 1 to 1024, not 5000"},
      {TINKER__SVC_OP_SAMPLE,
       SAMPLE("\"topk_sample_logprobs\":1025," PARAMS("")),
       "topk_sample_logprobs: must be 0 to 1024, not 1025"},
      {TINKER__SVC_OP_SAMPLE, SAMPLE("\"topk_prompt_logprobs\":11," PARAMS("")),
       "topk_prompt_logprobs: must be at most 10, the size of the vocabulary"},
      {TINKER__SVC_OP_SAMPLE,
       SAMPLE("\"prompt_alt_tokens_k\":4097," PARAMS("")),
       "prompt_alt_tokens_k"},
      {TINKER__SVC_OP_SAMPLE, SAMPLE(LAST("3") PARAMS("")),
       "prompt_logprobs_last_n must be from 1 to 2"},
      {TINKER__SVC_OP_SAMPLE, SAMPLE(LAST("0") PARAMS("")),
       "prompt_logprobs_last_n"},
      {TINKER__SVC_OP_SAMPLE,
       SAMPLE("\"prompt_logprobs_last_n\":1," PARAMS("")),
       "prompt_logprobs_last_n: needs prompt_logprobs"},
      {TINKER__SVC_OP_SAMPLE, SAMPLE(SCORE("1,2,3", "3,1", "") PARAMS("")),
       "target_prompt_logprobs: must have 2 rows"},
      {TINKER__SVC_OP_SAMPLE, SAMPLE(SCORE("1,10", "2,1", "") PARAMS("")),
       "target_prompt_logprobs: token 10 (value 1) is outside"},
      {TINKER__SVC_OP_SAMPLE, SAMPLE(SCORE("-2,1", "2,1", "") PARAMS("")),
       "target_prompt_logprobs: token -2"},
      {TINKER__SVC_OP_SAMPLE, SAMPLE(SCORE("-1,-1", "2,1", "") PARAMS("")),
       "target_prompt_logprobs: names no id"},
      {TINKER__SVC_OP_SAMPLE, SAMPLE(SCORE("", "2,0", "") PARAMS("")),
       "target_prompt_logprobs: names no id"},
      {TINKER__SVC_OP_SAMPLE,
       SAMPLE("\"record_stability_info\":true," PARAMS("")),
       "record_stability_info is not supported"}};
  tinker__mem_init(&mem, NULL, 0);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    int rc = parse(&mem, cases[i].kind, cases[i].body, &w, why, sizeof why);
    cr_assert_eq(rc, TINKER_EINVAL, "%s: %d", cases[i].body, rc);
    cr_assert_neq(strstr(why, cases[i].words), NULL, "%s: %s", cases[i].body,
                  why);
  }
  cr_assert_eq(mem.live_blocks, 0);
}

/* Model and number are found in a message that can't be unpacked. */
Test(work, head_of_a_broken_message) {
  tinker__mem_t mem;
  tinker__svc_call_t c;
  tinker__mem_init(&mem, NULL, 0);
  const char good[] = "\x0a\x03"
                      "abc"
                      "\x10\xac\x02"
                      "\x1a\x02zz";
  for (size_t n = 0; n <= 12; n++) { /* cut anywhere: no crash */
    tinker__svc_call_read(&c, &mem, TINKER__SVC_OP_FORWARD_BACKWARD,
                          TINKER__FORMAT_PROTO, (tinker__str_t){good, n});
    cr_assert_neq(c.rc, 0);
    if (n == 12) {
      cr_assert_eq(c.head, TINKER__HEAD_READ, "%s", c.why);
      cr_assert_str_eq(c.model_id, "abc");
      cr_assert_eq(c.seq_id, 300);
    }
    tinker__svc_call_free(&c);
  }
  const char huge[] = "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f";
  tinker__svc_call_read(&c, &mem, TINKER__SVC_OP_FORWARD_BACKWARD,
                        TINKER__FORMAT_PROTO, (tinker__str_t){huge, 10});
  cr_assert_neq(c.head, TINKER__HEAD_READ);
  tinker__svc_call_free(&c);
  cr_assert_eq(mem.live_blocks, 0);
}

#define DATUM "{\"forward_backward_input\":{\"data\":[{\"model_input\":"
#define HEAD_AFTER ",\"model_id\":\"m\",\"other\":[{}],\"seq_id\":7}"

/* One reading finds whose call it is and its number, before or after what is
 * refused; a text that is no JSON, or a wrong head, has none. */
Test(work, head_of_a_refused_body) {
  static const struct {
    tinker__svc_op_kind_t kind;
    const char *body;
    int head;
  } cases[] = {
      {TINKER__SVC_OP_OPTIM,
       "{\"adam_params\":{\"beta1\":\"x\",\"a\":[1,{}]}" HEAD_AFTER,
       TINKER__HEAD_READ},
      {TINKER__SVC_OP_OPTIM,
       "{\"adam_params\":{},\"adam_params\":[{}]" HEAD_AFTER,
       TINKER__HEAD_READ},
      {TINKER__SVC_OP_SAVE, "{\"path\":[1,2]" HEAD_AFTER, TINKER__HEAD_READ},
      {TINKER__SVC_OP_SAVE, "{\"ttl_seconds\":1e99" HEAD_AFTER,
       TINKER__HEAD_READ},
      {TINKER__SVC_OP_SAVE, "{\"path\":\"a\\u0000\"" HEAD_AFTER,
       TINKER__HEAD_READ},
      {TINKER__SVC_OP_SAVE,
       "{\"path\":1,\"model_id\":\"m\",\"model_id\":\"m\",\"seq_id\":7}",
       TINKER__HEAD_WRONG},
      {TINKER__SVC_OP_SAVE, "{\"path\":1,\"model_id\":{},\"seq_id\":7}",
       TINKER__HEAD_WRONG},
      {TINKER__SVC_OP_SAVE, "{\"path\":1" HEAD_AFTER "]", TINKER__HEAD_UNREAD},
      {TINKER__SVC_OP_SAVE, "{\"path\":1,\"a\":[1 2]" HEAD_AFTER,
       TINKER__HEAD_UNREAD},
      {TINKER__SVC_OP_SAVE, "{\"path\":[1,]" HEAD_AFTER, TINKER__HEAD_UNREAD},
      {TINKER__SVC_OP_OPTIM, "{\"adam_params\":{\"beta1\":0,9}" HEAD_AFTER,
       TINKER__HEAD_UNREAD},
      {TINKER__SVC_OP_SAVE, "[]", TINKER__HEAD_UNREAD},
      {TINKER__SVC_OP_LOAD, "{\"optimizer\":0" HEAD_AFTER, TINKER__HEAD_READ},
      {TINKER__SVC_OP_FORWARD_BACKWARD, DATUM "5}]}" HEAD_AFTER,
       TINKER__HEAD_READ},
      {TINKER__SVC_OP_FORWARD_BACKWARD,
       DATUM
       "{\"chunks\":[{\"tokens\":[1,2,3.5,{\"a\":[]}],\"b\":[1]}]}},{}]}" HEAD_AFTER,
       TINKER__HEAD_READ},
      {TINKER__SVC_OP_FORWARD_BACKWARD,
       DATUM "{\"chunks\":[{\"tokens\":[1,2147483648,3]}]}}]}" HEAD_AFTER,
       TINKER__HEAD_READ},
      {TINKER__SVC_OP_FORWARD_BACKWARD,
       DATUM "{\"chunks\":[{\"tokens\":[1,2 3]}]}}]}" HEAD_AFTER,
       TINKER__HEAD_UNREAD},
      {TINKER__SVC_OP_FORWARD_BACKWARD,
       "{\"forward_backward_input\":{}"
       ",\"forward_input\":{\"data\":[[]]}" HEAD_AFTER,
       TINKER__HEAD_READ},
      {TINKER__SVC_OP_SAMPLE,
       "{\"sampling_params\":{\"top_p\":7,\"stop\":[1]},"
       "\"prompt\":[[\"x\"]],\"sampling_session_id\":\"m\",\"seq_id\":7}",
       TINKER__HEAD_READ},
      {TINKER__SVC_OP_SAMPLE,
       "{\"prompt\":1,\"base_model\":1,"
       "\"sampling_session_id\":\"m\",\"seq_id\":7}",
       TINKER__HEAD_WRONG}};
  tinker__mem_t mem;
  tinker__svc_call_t c;
  tinker__mem_init(&mem, NULL, 0);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const char *body = cases[i].body;
    tinker__svc_call_read(&c, &mem, cases[i].kind, TINKER__FORMAT_JSON,
                          tinker__str(body));
    cr_assert_neq(c.rc, 0, "%s", body);
    cr_assert_neq(c.why[0], 0, "%s", body);
    cr_assert_eq((int)c.head, cases[i].head, "%s: %s", body, c.why);
    if (cases[i].head == TINKER__HEAD_READ) {
      if (cases[i].kind != TINKER__SVC_OP_SAMPLE) {
        cr_assert_str_eq(c.model_id, "m", "%s", body);
      }
      cr_assert(c.has_seq_id && c.seq_id == 7, "%s", body);
    }
    tinker__svc_call_free(&c);
  }
  cr_assert_eq(mem.live_blocks, 0);
}

static const struct {
  tinker__svc_op_kind_t kind;
  const char *body;
} good[] = {
    {TINKER__SVC_OP_FORWARD_BACKWARD, FB("cross_entropy", TARGET WEIGHTS)},
    {TINKER__SVC_OP_OPTIM, "{\"adam_params\":{\"eps\":1e-8}}"},
    {TINKER__SVC_OP_SAVE, "{\"path\":\"a\",\"user_metadata\":{\"k\":\"v\"}}"},
    {TINKER__SVC_OP_SAVE_SAMPLER, "{\"sampling_session_seq_id\":1}"},
    {TINKER__SVC_OP_LOAD,
     "{\"path\":\"tinker://a/weights/b\",\"optimizer\":true}"},
    {TINKER__SVC_OP_SAMPLE, SAMPLE(PARAMS("\"stop\":[9,1,2]"))},
    {TINKER__SVC_OP_SAMPLE,
     SAMPLE(SCORE("1,2", "2,1", "") "\"prompt_alt_tokens_k\":2," PARAMS(""))}};

static int parse_one(tinker__mem_t *mem, void *user) {
  size_t i = *(size_t *)user;
  tinker__svc_work_t *w;
  int rc = parse(mem, good[i].kind, good[i].body, &w, NULL, 0);
  if (rc == 0) tinker__svc_work_free(w);
  return rc;
}

Test(work, every_allocation_may_fail) {
  for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
    cr_assert_geq(tinker__fail_sweep(parse_one, &i, TINKER_ENOMEM), 1,
                  "body %zu", i);
  }
}
