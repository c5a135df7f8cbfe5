/* collect: see collect.h. */
#include "collect.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static int on_token(void *user, const tinker__eng_generated_t *t) {
  collect_t *c = user;
  pthread_mutex_lock(&c->lock);
  size_t n = c->n[t->sample]++, len = strlen(c->text);
  cr_assert(!c->over && c->end[t->sample] == TINKER__GENERATED_MORE);
  c->tokens[t->sample][n] = t->token;
  c->logprobs[t->sample][n] = t->logprob;
  c->end[t->sample] = t->end;
  snprintf(c->text + len, sizeof c->text - len, "%.*s", (int)t->text.len,
           t->text.ptr);
  c->n_top[t->sample] += t->n_top;
  for (size_t i = 0; i < t->n_top; i++) {
    cr_assert_lt(i, COLLECT_TOP);
    c->top_ids[t->sample][n][i] = t->top_ids[i];
    c->top_logprobs[t->sample][n][i] = t->top_logprobs[i];
  }
  int rc = ++c->count == c->give_up_at ? c->give_up : 0;
  pthread_cond_broadcast(&c->changed);
  while (c->shut) pthread_cond_wait(&c->changed, &c->lock);
  pthread_mutex_unlock(&c->lock);
  return rc;
}

static void done(void *user, int rc, const char *why) {
  collect_t *c = user;
  pthread_mutex_lock(&c->lock);
  cr_assert(!c->over);
  c->over = true;
  c->rc = rc;
  snprintf(c->why, sizeof c->why, "%s", why);
  pthread_cond_broadcast(&c->changed);
  pthread_mutex_unlock(&c->lock);
}

void collect_init(collect_t *c) {
  memset(c, 0, sizeof *c);
  pthread_mutex_init(&c->lock, NULL);
  pthread_cond_init(&c->changed, NULL);
}

tinker__eng_generate_cb_t collect_cb(collect_t *c) {
  return (tinker__eng_generate_cb_t){on_token, done, c};
}

void collect_open(collect_t *c) {
  pthread_mutex_lock(&c->lock);
  c->shut = false;
  pthread_cond_broadcast(&c->changed);
  pthread_mutex_unlock(&c->lock);
}

void collect_wait(collect_t *c) {
  collect_wait_for(c, SIZE_MAX);
}

void collect_wait_for(collect_t *c, size_t count) {
  pthread_mutex_lock(&c->lock);
  while (!c->over && c->count < count) pthread_cond_wait(&c->changed, &c->lock);
  pthread_mutex_unlock(&c->lock);
}

void collect_model(void *to, const char *name, size_t context) {
  size_t len = strlen(to);
  snprintf((char *)to + len, 200 - len, "%s:%zu ", name, context);
}

void collect_refused(tinker__eng_generator_t *g,
                     const tinker__eng_generate_t *spec, int code,
                     const char *reason) {
  char why[300] = "";
  uint64_t id;
  collect_t c;
  collect_init(&c);
  tinker__eng_generate_cb_t cb = collect_cb(&c);
  int rc = tinker__eng_generate(g, spec, &cb, &id, why, sizeof why);
  cr_assert_eq(rc, code, "%d %s", rc, why);
  cr_assert_neq(strstr(why, reason), NULL, "%s", why);
  cr_assert(!c.over && !c.count);
}
