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
  int rc = ++c->count == c->give_up_at ? c->give_up : 0;
  pthread_cond_signal(&c->changed);
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
  pthread_cond_signal(&c->changed);
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

void collect_wait(collect_t *c) {
  collect_wait_for(c, SIZE_MAX);
}

void collect_wait_for(collect_t *c, size_t count) {
  pthread_mutex_lock(&c->lock);
  while (!c->over && c->count < count) pthread_cond_wait(&c->changed, &c->lock);
  pthread_mutex_unlock(&c->lock);
}
