/* tell: the daemon's log. One line, one write; what can't be written is
 * lost. */
#include <unistd.h>

#include "base/json_write.h"
#include "daemon.h"

void tinker__rec_line(tinker__rec_daemon_t *d, const char *event,
                      const char *run, const tinker__rec_facts_t *facts,
                      tinker__buf_t *out) {
  const tinker__rec_facts_t none = TINKER__REC_FACTS_INIT;
  tinker__buf_t fields;
  tinker__jsonw_t w;
  tinker__buf_init(&fields, &d->mem, TINKER__REC_MAX_FIELDS);
  int rc = tinker__rec_facts_write(facts ? facts : &none, &fields);
  tinker__jsonw_init(&w, out);
  tinker__jsonw_begin_object(&w);
  tinker__jsonw_key(&w, "event");
  tinker__jsonw_cstr(&w, event);
  if (run) {
    tinker__jsonw_key(&w, "run");
    tinker__jsonw_cstr(&w, run);
  }
  tinker__jsonw_key(&w, "wall_ms");
  tinker__jsonw_i64(&w, d->world->wall_ms(d->world->user));
  tinker__jsonw_key(&w, "facts");
  tinker__jsonw_raw(&w, tinker__buf_str(&fields));
  tinker__jsonw_end_object(&w);
  if (rc != 0) tinker__buf_fail(out, rc);
  tinker__buf_free(&fields);
}

void tinker__rec_tell(tinker__rec_daemon_t *d, const char *event,
                      const char *run, const tinker__rec_facts_t *facts) {
  tinker__buf_t line;
  tinker__buf_init(&line, &d->mem, 2 * TINKER__REC_MAX_FIELDS);
  tinker__rec_line(d, event, run, facts, &line);
  tinker__buf_addc(&line, '\n');
  if (!tinker__buf_error(&line)) {
    ssize_t n = write(STDERR_FILENO, line.data, line.len);
    (void)n;
  }
  tinker__buf_free(&line);
}
