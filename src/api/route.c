/* Routes, see <tinker/route.h>: one sample from the first of several samplers
 * that answers.
 *
 * A sample is a compound whose children, one for each source, are encoded
 * before the call returns and submitted later, each to its own client. All
 * decisions are made on the home loop, the first source's. A child that ends on
 * another loop posts a task to the home loop, but only while the sample runs:
 * `lock` guards that, since the home loop may be gone afterwards. */
#include <tinker/route.h>

#include "api/call.h"
#include "api/handles.h"
#include "base/error.h"
#include "base/options.h"

#define SOURCES_MAX 64
#define WHY_MAX 256

typedef struct source_s {
  char *name;
  tinker_sampler_t *sampler; /* a reference */
} source_t;

struct tinker_route_s {
  tinker__ref_t ref;
  tinker_client_t *home; /* a hold */
  int64_t beside_ms;
  size_t count;
  source_t sources[];
};

/* What the compound of a sample has of its own. */
typedef struct draw_s {
  tinker__compound_t *compound;
  tinker_route_t *route; /* a reference */
  tinker__timer_t beside;
  size_t started;
  size_t failed;
  pthread_mutex_t lock;
  bool over; /* under the lock: nothing is posted to the home loop any more */
} draw_t;

static const tinker__kind_t kind_draw = {.id = TINKER_KIND_ROUTE_SAMPLE,
                                         .name = "route_sample"};

/* --- the sample: home loop but where it says otherwise --- */

static bool is_pending(const tinker_future_t *f) {
  return tinker__future_state(f) == TINKER__FUTURE_PENDING;
}

static void settle(draw_t *d, tinker_error_t *error) {
  tinker__compound_t *c = d->compound;
  tinker_client_t *home = d->route->home;
  pthread_mutex_lock(&d->lock);
  d->over = true;
  pthread_mutex_unlock(&d->lock);
  tinker__timer_stop(home->loop, &d->beside);
  for (size_t i = 0; i < d->started; i++) {
    tinker_future_cancel(c->children[i].future);
  }
  tinker__compound_settle(c, error);
  tinker__ending_look(home);
}

/* The error of a source that has failed; NULL = it has not. */
static const tinker_error_t *failure_of(const draw_t *d, size_t i) {
  const tinker_future_t *f = d->compound->children[i].future;
  return i < d->started && !is_pending(f) ? tinker__future_error(f) : NULL;
}

/* A sentence with what each source says. spec: what it ends with. */
static tinker_error_t *sum_up(const draw_t *d, tinker__error_spec_t spec,
                              const char *why) {
  tinker__mem_t *mem = d->compound->future->mem;
  tinker__buf_t text;
  tinker__buf_init(&text, mem, 1 << 20);
  tinker__buf_adds(&text, why);
  for (size_t i = 0; i < d->route->count; i++) {
    const tinker_error_t *e = failure_of(d, i);
    tinker__buf_adds(&text, "; ");
    tinker__buf_adds(&text, d->route->sources[i].name);
    tinker__buf_adds(&text, ": ");
    tinker__buf_adds(&text, e                ? tinker_error_message(e)
                            : i < d->started ? "has not answered"
                                             : "was not asked");
  }
  const char *all = tinker__buf_cstr(&text);
  tinker_error_t *error =
      tinker__error_new(mem, &spec, "route_sample: %s", all ? all : why);
  tinker__buf_free(&text);
  return error;
}

static void give_up(draw_t *d) {
  unsigned common = TINKER__ADVICE_RETRIABLE;
  for (size_t i = 0; i < d->route->count; i++) {
    common &= tinker__error_advice(failure_of(d, i));
  }
  const tinker_error_t *last = failure_of(d, d->route->count - 1);
  tinker__error_spec_t spec = {
      .code = tinker_error_code(last),
      .http_status = tinker_error_http_status(last),
      .category = tinker_error_category(last),
      .advice = common,
      .retry_after_ms = tinker_error_retry_after_ms(last),
      .request_id = tinker_error_request_id(last),
  };
  settle(d, sum_up(d, spec, "no source has answered"));
}

/* A source whose client takes no call any more has failed at once. */
static void start_next(draw_t *d) {
  tinker_client_t *home = d->route->home;
  tinker__timer_stop(home->loop, &d->beside);
  while (d->started < d->route->count) {
    tinker__child_t *child = &d->compound->children[d->started++];
    int rc = tinker__compound_start(child);
    if (!rc) break;
    tinker__error_spec_t spec = {.code = rc,
                                 .advice = TINKER__ADVICE_RETRIABLE};
    tinker__future_settle(child->future,
                          tinker__error_new(child->future->mem, &spec,
                                            "it was not asked: %s",
                                            tinker_code_text(rc)));
    d->failed++;
  }
  if (d->failed == d->route->count) {
    give_up(d);
  } else if (d->route->beside_ms >= 0 && d->started < d->route->count) {
    tinker__timer_start(home->loop, &d->beside,
                        tinker__loop_after(home->loop, d->route->beside_ms));
  }
}

static void on_beside(tinker__timer_t *timer) {
  start_next(TINKER__CONTAINER(timer, draw_t, beside));
}

/* An answer that can't be read is a failure like any other. */
static void ended_run(tinker__task_t *task) {
  tinker__child_t *child = TINKER__CONTAINER(task, tinker__child_t, ended);
  tinker__compound_t *c = child->compound;
  tinker_future_t *f = c->future;
  draw_t *d = c->user;
  tinker__loop_t *loop = d->route->home->loop;
  if (is_pending(f)) {
    tinker__future_decode(child->future, true);
    if (!tinker__future_error(child->future)) {
      c->chosen = child;
      settle(d, NULL);
    } else {
      d->failed++;
      if (d->failed == d->route->count) {
        give_up(d);
      } else {
        start_next(d);
      }
    }
  }
  tinker__future_unref(f);
  tinker__loop_unhold(loop);
}

/* On the child's loop. */
static void ended(tinker__child_t *child) {
  draw_t *d = child->compound->user;
  tinker__loop_t *loop = d->route->home->loop;
  pthread_mutex_lock(&d->lock);
  if (!d->over) {
    tinker__future_ref(child->compound->future); /* until ended_run */
    tinker__loop_hold(loop);
    tinker__task_init(&child->ended, ended_run);
    tinker__loop_post(loop, &child->ended);
  }
  pthread_mutex_unlock(&d->lock);
}

static void begin(tinker__compound_t *c) {
  draw_t *d = c->user;
  tinker__list_push_back(&d->route->home->compounds, &c->link);
  start_next(d);
}

static void stop(tinker__compound_t *c, int code, const char *why) {
  tinker__error_spec_t spec = {.code = code,
                               .advice = TINKER__ADVICE_RETRIABLE};
  settle(c->user, sum_up(c->user, spec, why));
}

static void free_draw(tinker__compound_t *c) {
  draw_t *d = c->user;
  if (!d) return;
  tinker_route_release(d->route);
  pthread_mutex_destroy(&d->lock);
  tinker__mem_free(c->future->mem, d);
}

static const tinker__compound_ops_t draw_ops = {
    .begin = begin, .ended = ended, .stop = stop, .free = free_draw};

/* It was decoded when it was chosen. */
static tinker_error_t *decode_draw(tinker_future_t *f) {
  (void)f;
  return NULL;
}

static const tinker__future_ops_t result_draw = {decode_draw, tinker__job_free};

static int make_draw(tinker__compound_t *c, tinker_route_t *route) {
  draw_t *d = tinker__mem_zalloc(c->future->mem, sizeof *d);
  if (!d) return TINKER_ENOMEM;
  if (pthread_mutex_init(&d->lock, NULL)) {
    tinker__mem_free(c->future->mem, d);
    return TINKER_ENOMEM;
  }
  d->compound = c;
  d->route = tinker_route_retain(route);
  tinker__timer_init(&d->beside, on_beside);
  c->user = d;
  return 0;
}

static void add_sources(tinker__call_t *c, const tinker_route_t *route,
                        const tinker_input_t *prompt,
                        const tinker_sampling_params_t *o) {
  for (size_t i = 0; i < route->count && !c->rc; i++) {
    tinker_sampler_t *sampler = route->sources[i].sampler;
    if (!tinker__core_is_here(sampler->core)) {
      tinker__call_check(c, TINKER_EFORKED);
    }
    tinker__call_sample(c, sampler, prompt, o);
  }
}

tinker_future_t *tinker_route_sample(tinker_route_t *route,
                                     const tinker_input_t *prompt,
                                     const tinker_sampling_params_t *params,
                                     const tinker_call_options_t *call) {
  if (!route) return tinker__call_no_handle();
  tinker__call_t c;
  tinker_sampling_params_t o;
  tinker__call_begin(&c, route->home, NULL, &kind_draw, call);
  tinker__call_take_sample(&c, &o, prompt, params);
  if (tinker__call_open_compound(&c, &result_draw, &draw_ops, route->count)) {
    tinker__call_check(&c, make_draw(c.compound, route));
    add_sources(&c, route, prompt, &o);
  }
  return tinker__call_end(&c);
}

int tinker_future_get_source(tinker_future_t *future, size_t *index,
                             const char **name) {
  int status = future ? tinker_future_status(future) : TINKER_EINVAL;
  if (status) return status;
  if (future->ops != &result_draw) return TINKER_EINVAL;
  const tinker__compound_t *c = tinker__compound_of(future);
  const draw_t *d = c->user;
  size_t i = (size_t)(c->chosen - c->children);
  if (index) *index = i;
  if (name) *name = d->route->sources[i].name;
  return 0;
}

/* --- routes --- */

static int check(const tinker_route_source_t *sources, size_t n,
                 const tinker_route_options_t *o, char *why) {
  if (!sources || n == 0 || n > SOURCES_MAX) {
    return tinker__why(why, WHY_MAX, TINKER_EINVAL,
                       "sources: there are %zu: want 1 to %d", sources ? n : 0,
                       SOURCES_MAX);
  }
  for (size_t i = 0; i < n; i++) {
    if (sources[i].name && sources[i].sampler) continue;
    return tinker__why(why, WHY_MAX, TINKER_EINVAL, "sources[%zu]: %s is NULL",
                       i, sources[i].name ? "sampler" : "name");
  }
  if (o->beside_ms >= -1) return 0;
  return tinker__why(why, WHY_MAX, TINKER_EINVAL,
                     "beside_ms is %lld: want milliseconds, or -1",
                     (long long)o->beside_ms);
}

static int fill(tinker_route_t *r, const tinker_route_source_t *sources,
                size_t n) {
  for (size_t i = 0; i < n; i++) {
    r->sources[i].name = tinker__mem_strdup(r->home->mem, sources[i].name);
    if (!r->sources[i].name) return TINKER_ENOMEM;
    r->sources[i].sampler = tinker_sampler_retain(sources[i].sampler);
    r->count++;
  }
  return 0;
}

static int make(tinker_route_t **out, const tinker_route_source_t *sources,
                size_t n, int64_t beside_ms) {
  tinker_client_t *home = sources[0].sampler->core;
  tinker_route_t *r =
      tinker__mem_zalloc(home->mem, sizeof *r + n * sizeof r->sources[0]);
  if (!r) return TINKER_ENOMEM;
  tinker__ref_init(&r->ref);
  tinker__core_hold(home);
  r->home = home;
  r->beside_ms = beside_ms;
  int rc = fill(r, sources, n);
  if (rc) {
    tinker_route_release(r);
  } else {
    *out = r;
  }
  return rc;
}

int tinker_route_new(tinker_route_t **out, const tinker_route_source_t *sources,
                     size_t n, const tinker_route_options_t *options,
                     tinker_error_t **error) {
  static const tinker_route_options_t defaults = TINKER_ROUTE_OPTIONS_INIT;
  tinker_route_options_t o;
  char why[WHY_MAX] = "";
  int rc = out ? 0 : tinker__why(why, sizeof why, TINKER_EINVAL, "out is NULL");
  if (!rc) {
    rc = tinker__options_take(&o, sizeof o, &defaults, options, "route_options",
                              why, sizeof why);
  }
  if (!rc) rc = check(sources, n, &o, why);
  if (!rc) rc = make(out, sources, n, o.beside_ms);
  return tinker__error_give(error, rc, "%s", why);
}

tinker_route_t *tinker_route_retain(tinker_route_t *route) {
  if (route) tinker__ref_retain(&route->ref);
  return route;
}

tinker_route_t *tinker_route_release(tinker_route_t *route) {
  if (!route || !tinker__ref_release(&route->ref)) return NULL;
  tinker_client_t *home = route->home;
  for (size_t i = 0; i < route->count; i++) {
    tinker_sampler_release(route->sources[i].sampler);
    tinker__mem_free(home->mem, route->sources[i].name);
  }
  tinker__mem_free(home->mem, route);
  tinker__core_unhold(home);
  return NULL;
}
