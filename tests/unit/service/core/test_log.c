/* The queue of log lines before a callback that blocks as long as the test
 * wants it to. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <tinker/error.h>

#include "service/core/log.h"
#include "support/fail_alloc.h"

typedef struct {
  pthread_mutex_t gate; /* a write waits for it */
  pthread_mutex_t lock;
  pthread_cond_t wake;
  int begun; /* writes */
  char text[4000];
} sink_t;

static void on_line(void *user, const char *line, size_t len) {
  sink_t *k = user;
  pthread_mutex_lock(&k->lock);
  k->begun++;
  pthread_cond_signal(&k->wake);
  pthread_mutex_unlock(&k->lock);
  pthread_mutex_lock(&k->gate);
  size_t at = strlen(k->text);
  snprintf(k->text + at, sizeof k->text - at, "%.*s\n", (int)len, line);
  pthread_mutex_unlock(&k->gate);
}

static tinker__mem_t waiting_mem;

static void sink_init(sink_t *k) {
  memset(k, 0, sizeof *k);
  pthread_mutex_init(&k->gate, NULL);
  pthread_mutex_init(&k->lock, NULL);
  pthread_cond_init(&k->wake, NULL);
}

static void wait_begun(sink_t *k, int n) {
  pthread_mutex_lock(&k->lock);
  while (k->begun < n) pthread_cond_wait(&k->wake, &k->lock);
  pthread_mutex_unlock(&k->lock);
}

static void add(tinker__svc_lines_t *q, tinker__mem_t *mem, const char *text) {
  tinker__buf_t line;
  tinker__buf_init(&line, mem, 1000);
  tinker__buf_adds(&line, text);
  tinker__svc_lines_add(q, &line);
}

/* "... \"lines\":\"N\"}" of a report. */
static void cut_reports(char *text) {
  char *at;
  while ((at = strstr(text, "{\"time\"")) != NULL) {
    char *n = strstr(at, "\"lines\":");
    cr_assert_neq(strstr(at, "\"event\":\"log_dropped\""), NULL, "%s", at);
    memmove(at, n, strlen(n) + 1);
  }
}

/* Nobody waits; what had no room is counted where it is missing. */
Test(log, a_callback_that_blocks) {
  static sink_t k;
  tinker__mem_t mem;
  tinker__svc_lines_t *q;
  char line[400];
  tinker__mem_init(&mem, NULL, 0);
  sink_init(&k);
  cr_assert_eq(tinker__svc_lines_new(&q, &mem, tinker__world_real(), 1000,
                                     TINKER__LINES_DROP, on_line, &k),
               0);
  pthread_mutex_lock(&k.gate);
  add(q, &mem, "first");
  wait_begun(&k, 1);
  memset(line, 'x', 300);
  snprintf(line + 300, sizeof line - 300, "%s", "end");
  for (int i = 0; i < 9; i++) add(q, &mem, line); /* two find room */
  add(q, &mem, "small");
  add(q, &mem, line);
  pthread_mutex_unlock(&k.gate);
  wait_begun(&k, 6);
  add(q, &mem, "after");
  tinker__svc_lines_free(q);
  cut_reports(k.text);
  char want[2000];
  snprintf(want, sizeof want,
           "first\n%s\n%s\n\"lines\":\"7\"}\nsmall\n\"lines\":\"1\"}\nafter\n",
           line, line);
  cr_assert_str_eq(k.text, want);
  cr_assert_eq(mem.live_blocks, 0);
}

static void *add_last(void *user) {
  tinker__buf_t line;
  tinker__buf_init(&line, &waiting_mem, 1000);
  tinker__buf_adds(&line, "last");
  cr_assert(tinker__svc_lines_add(user, &line));
  return NULL;
}

/* A queue that loses nothing: a line without room waits for it, one that is
 * larger than all of it goes alone, and to settle is to wait for all of them.
 */
Test(log, a_queue_that_waits) {
  static sink_t k;
  tinker__svc_lines_t *q;
  pthread_t thread;
  char line[400], want[2000];
  tinker__mem_init(&waiting_mem, NULL, 0);
  sink_init(&k);
  cr_assert_eq(tinker__svc_lines_new(&q, &waiting_mem, tinker__world_real(),
                                     100, TINKER__LINES_WAIT, on_line, &k),
               0);
  memset(line, 'x', sizeof line - 1);
  line[sizeof line - 1] = 0;
  pthread_mutex_lock(&k.gate);
  add(q, &waiting_mem, "first");
  wait_begun(&k, 1);
  add(q, &waiting_mem, line);
  pthread_create(&thread, NULL, add_last, q);
  pthread_mutex_unlock(&k.gate);
  tinker__svc_lines_settle(q);
  cr_assert_eq(strncmp(k.text, "first\nxxx", 9), 0, "%s", k.text);
  pthread_join(thread, NULL);
  tinker__svc_lines_settle(q);
  snprintf(want, sizeof want, "first\n%s\nlast\n", line);
  cr_assert_str_eq(k.text, want);
  tinker__svc_lines_free(q);
  cr_assert_eq(waiting_mem.live_blocks, 0);
}

/* A line that could not be made is one that is missing. */
Test(log, a_line_without_memory) {
  static sink_t k;
  tinker__mem_t mem, none;
  tinker__svc_lines_t *q;
  tinker__mem_init(&mem, NULL, 0);
  sink_init(&k);
  cr_assert_eq(tinker__svc_lines_new(&q, &mem, tinker__world_real(), 1000,
                                     TINKER__LINES_DROP, on_line, &k),
               0);
  tinker__mem_init(&none, NULL, 1); /* byte at most */
  add(q, &none, "lost");
  wait_begun(&k, 1);
  add(q, &mem, "kept");
  tinker__svc_lines_free(q);
  cut_reports(k.text);
  cr_assert_str_eq(k.text, "\"lines\":\"1\"}\nkept\n");
  cr_assert_eq(mem.live_blocks, 0);
}

Test(log, text_of_a_line) {
  tinker__mem_t mem;
  tinker__buf_t line;
  tinker__mem_init(&mem, NULL, 0);
  tinker__buf_init(&line, &mem, 1000);
  tinker__svc_lines_begin(&line, tinker__world_real(), "info", "e");
  tinker__svc_lines_put(&line, "a", "\x1b[2J\xe2\x80\xae");
  tinker__svc_lines_put(&line, "b", "cut \xc3");
  tinker__svc_lines_end(&line);
  const char *text = tinker__buf_cstr(&line);
  const char *at = text ? strstr(text, ",\"level\"") : NULL;
  cr_assert_neq(at, NULL);
  cr_assert_str_eq(at, ",\"level\":\"info\",\"event\":\"e\",\"a\":\"\\u001b[2J"
                       "\\u202e\",\"b\":\"cut \\\\xc3\"}");
  tinker__buf_free(&line);
}

static int make(tinker__mem_t *mem, void *user) {
  tinker__svc_lines_t *q = NULL;
  int rc = tinker__svc_lines_new(&q, mem, tinker__world_real(), 1000,
                                 TINKER__LINES_DROP, on_line, user);
  tinker__svc_lines_free(q);
  return rc;
}

Test(log, without_memory) {
  static sink_t k;
  sink_init(&k);
  cr_assert_gt(tinker__fail_sweep(make, &k, TINKER_ENOMEM), 0);
}
