/* plan: what a run is, as JSON, and what differs between two. Pure. */
#include <math.h>
#include <string.h>

#include "base/json_table.h"
#include "base/json_write.h"
#include "base/options.h"
#include "run/run.h"

#define MAX_DATA_ID 256

static const struct {
  const char *key;
  unsigned allow; /* 0 = it can't be changed */
} fields[] = {{"base_model", 0},
              {"rank", TINKER_PLAN_RANK},
              {"freeze", TINKER_PLAN_FREEZE},
              {"seed", TINKER_PLAN_SEED},
              {"data", TINKER_PLAN_DATA},
              {"data_id", TINKER_PLAN_DATA_ID},
              {"steps", TINKER_PLAN_STEPS},
              {"adam", TINKER_PLAN_ADAM}};
#define FIELDS (sizeof fields / sizeof fields[0])

static int check(const tinker_run_plan_t *p, char *why, size_t why_len) {
  if (!p->base_model || !*p->base_model) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "plan.base_model is required");
  }
  if (!tinker__utf8_valid(p->base_model, strlen(p->base_model))) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "plan.base_model is not UTF-8");
  }
  if (p->data != TINKER_DATA_RECORDED && p->data != TINKER_DATA_FRESH) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "plan.data is %d: allowed are TINKER_DATA_RECORDED (0) "
                       "and TINKER_DATA_FRESH (1)",
                       p->data);
  }
  if (p->reserved0) {
    return tinker__why(why, why_len, TINKER_ENOTSUP,
                       "plan.reserved0 is %d: it must be 0", p->reserved0);
  }
  if (p->steps < 1 && p->steps != -1) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "plan.steps is %lld: allowed are 1 and more, and -1",
                       (long long)p->steps);
  }
  if (p->data_id && (strlen(p->data_id) > MAX_DATA_ID ||
                     !tinker__utf8_valid(p->data_id, strlen(p->data_id)))) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "plan.data_id: at most %d bytes of UTF-8", MAX_DATA_ID);
  }
  return tinker__rec_metadata_check(p->metadata, p->metadata_count, why,
                                    why_len);
}

static bool keep_metadata(tinker_run_t *run, tinker_run_plan_t *p) {
  size_t n = p->metadata_count;
  tinker_metadata_t *copy =
      tinker__arena_array(&run->strings, n + 1, sizeof *copy);
  for (size_t i = 0; copy && i < n; i++) {
    copy[i].name =
        tinker__arena_str(&run->strings, tinker__str(p->metadata[i].name));
    copy[i].value =
        tinker__arena_str(&run->strings, tinker__str(p->metadata[i].value));
    if (!copy[i].name || !copy[i].value) return false;
  }
  p->metadata = copy;
  return copy != NULL;
}

static int check_adam(const tinker_adam_params_t *a, char *why,
                      size_t why_len) {
  const struct {
    const char *name;
    double value;
  } all[] = {{"learning_rate", a->learning_rate},
             {"beta1", a->beta1},
             {"beta2", a->beta2},
             {"eps", a->eps},
             {"weight_decay", a->weight_decay},
             {"grad_clip_norm", a->grad_clip_norm}};
  for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
    if (isfinite(all[i].value)) continue;
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "plan.adam.%s is %s: it must be a finite number",
                       all[i].name,
                       isnan(all[i].value) ? "not a number" : "infinite");
  }
  return 0;
}

int tinker__rec_plan_take(tinker_run_t *run, const tinker_run_plan_t *plan,
                          char *why, size_t why_len) {
  const tinker_run_plan_t defaults = TINKER_RUN_PLAN_INIT;
  const tinker_adam_params_t adam = TINKER_ADAM_PARAMS_INIT;
  tinker_run_plan_t *p = &run->plan;
  if (!plan) {
    return tinker__why(why, why_len, TINKER_EINVAL, "options.plan is required");
  }
  int rc = tinker__options_take(p, sizeof *p, &defaults, plan, "run_plan", why,
                                why_len);
  if (rc == 0) rc = check(p, why, why_len);
  if (rc == 0) {
    rc = tinker__options_take(&run->adam, sizeof run->adam, &adam, p->adam,
                              "adam_params", why, why_len);
  }
  if (rc == 0) rc = check_adam(&run->adam, why, why_len);
  if (rc != 0) return rc;
  p->adam = &run->adam;
  p->base_model = tinker__arena_str(&run->strings, tinker__str(p->base_model));
  p->data_id = tinker__arena_str(&run->strings, tinker__str(p->data_id));
  if (p->base_model && p->data_id && keep_metadata(run, p)) return 0;
  return tinker__why(why, why_len, TINKER_ENOMEM, "out of memory");
}

static void write_adam(tinker__jsonw_t *w, const tinker_adam_params_t *a) {
  const double values[] = {a->learning_rate, a->beta1,         a->beta2, a->eps,
                           a->weight_decay,  a->grad_clip_norm};
  tinker__jsonw_key(w, "adam");
  tinker__jsonw_begin_array(w);
  for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
    tinker__jsonw_f64(w, values[i]);
  }
  tinker__jsonw_end_array(w);
}

int tinker__rec_plan_write(const tinker_run_t *run, tinker__buf_t *out) {
  const tinker_run_plan_t *p = &run->plan;
  tinker__jsonw_t w;
  tinker__buf_clear(out);
  tinker__jsonw_init(&w, out);
  tinker__jsonw_begin_object(&w);
  tinker__jsonw_key(&w, "base_model");
  tinker__jsonw_cstr(&w, p->base_model);
  tinker__jsonw_key(&w, "rank");
  tinker__jsonw_i64(&w, p->rank);
  tinker__jsonw_key(&w, "freeze");
  tinker__jsonw_i64(&w, p->freeze);
  tinker__jsonw_key(&w, "seed");
  tinker__jsonw_i64(&w, p->seed);
  tinker__jsonw_key(&w, "data");
  tinker__jsonw_i64(&w, p->data);
  tinker__jsonw_key(&w, "data_id");
  tinker__jsonw_cstr(&w, p->data_id);
  tinker__jsonw_key(&w, "steps");
  tinker__jsonw_i64(&w, p->steps);
  write_adam(&w, p->adam);
  tinker__jsonw_end_object(&w);
  return tinker__buf_error(out);
}

static int read(const tinker_run_t *run, tinker__str_t text,
                tinker__str_t raw[FIELDS], char *why, size_t why_len) {
  const char *keys[FIELDS];
  for (size_t i = 0; i < FIELDS; i++) keys[i] = fields[i].key;
  return tinker__json_table((tinker__mem_t *)&run->mem, text, "the plan", keys,
                            raw, FIELDS, false, why, why_len);
}

static int compare(const tinker_run_t *run, const tinker__str_t *before,
                   const tinker__str_t *now, bool *changed, char *why,
                   size_t why_len) {
  for (size_t i = 0; i < FIELDS; i++) {
    if (tinker__str_eq(before[i], now[i])) continue;
    *changed = true;
    if (run->options.allow & fields[i].allow) continue;
    return tinker__why(why, why_len, TINKER_ESTATE,
                       "plan.%s is %.*s; the run was begun with %.*s%s",
                       fields[i].key, tinker__json_shown(now[i]), now[i].ptr,
                       tinker__json_shown(before[i]), before[i].ptr,
                       fields[i].allow ? " (options.allow can permit it)" : "");
  }
  return 0;
}

int tinker__rec_plan_check(const tinker_run_t *run, tinker__str_t before,
                           bool *changed, char *why, size_t why_len) {
  tinker__str_t old[FIELDS], now[FIELDS];
  tinker__buf_t text;
  tinker__buf_init(&text, (tinker__mem_t *)&run->mem, TINKER__REC_MAX_FIELDS);
  *changed = false;
  int rc = tinker__rec_plan_write(run, &text);
  if (rc == 0) rc = read(run, tinker__buf_str(&text), now, why, why_len);
  if (rc == 0) rc = read(run, before, old, why, why_len);
  if (rc == 0) rc = compare(run, old, now, changed, why, why_len);
  tinker__buf_free(&text);
  return rc;
}
