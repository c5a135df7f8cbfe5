/* dump: shows the state of a client. The client answers this call itself. The
 * dump is written on the loop's thread, so that it shows one moment, and the
 * call ends like every other operation. */
#include "flow/dump.h"
#include "api/call.h"
#include "base/error.h"
#include "base/json_write.h"

#define DUMP_MAX ((size_t)4 << 20)

const tinker__kind_t tinker__kind_dump = {
    .id = TINKER_KIND_DUMP, .name = "dump", .local = true};

/* What the program has not ended. */
static void dump_promises(const tinker_client_t *core, tinker__jsonw_t *w) {
  tinker__jsonw_key(w, "promises");
  tinker__jsonw_begin_array(w);
  TINKER__LIST_EACH(l, next, &core->compounds) {
    const char *name =
        tinker__promise_name(TINKER__CONTAINER(l, tinker__compound_t, link));
    if (name) tinker__jsonw_cstr(w, name);
  }
  tinker__jsonw_end_array(w);
}

static void dump_client(tinker_client_t *core, tinker__jsonw_t *w) {
  static const char *const phases[] = {"open", "draining", "closing", "closed"};
  int64_t now_ms = tinker__loop_now(core->loop);
  tinker__jsonw_begin_object(w);
  tinker__jsonw_key(w, "client");
  tinker__jsonw_cstr(w, phases[tinker__core_phase(core)]);
  tinker__jsonw_key(w, "session");
  tinker__session_dump(core->session, w, now_ms);
  tinker__flow_dump(&core->flow, w, now_ms);
  dump_promises(core, w);
  tinker__jsonw_key(w, "not_taken");
  tinker__jsonw_u64(w, atomic_load(&core->ended_count));
  tinker__jsonw_key(w, "memory_bytes");
  tinker__jsonw_u64(w, core->mem->live_bytes);
  tinker__jsonw_end_object(w);
}

static tinker_error_t *fill(tinker_future_t *f) {
  tinker__mem_t *mem = f->mem;
  tinker__buf_t text;
  tinker__jsonw_t w;
  tinker__buf_init(&text, mem, DUMP_MAX);
  tinker__jsonw_init(&w, &text);
  dump_client(tinker__job_of(f)->core, &w);
  tinker__buf_addc(&text, 0);
  int rc = tinker__buf_error(&text);
  if (!rc) f->raw[0].data = tinker__buf_take(&text, &f->raw[0].len);
  tinker__buf_free(&text);
  if (!rc) return NULL;
  return tinker__error_new(mem, &(tinker__error_spec_t){.code = rc}, "dump: %s",
                           tinker_code_text(rc));
}

void tinker__dump_run(tinker__task_t *task) {
  tinker__op_t *op = TINKER__CONTAINER(task, tinker__op_t, submit);
  tinker_future_t *f = op->future;
  tinker_client_t *core = f->owner;
  op->future = NULL; /* its reference goes to the sink */
  tinker__future_settle(f, fill(f));
  tinker__op_free(op);
  tinker__driver_sink.settled(core, f);
}

tinker_future_t *tinker_client_dump(tinker_client_t *client,
                                    const tinker_call_options_t *call) {
  if (!client) return tinker__call_no_handle();
  tinker__call_t c;
  tinker__call_begin(&c, client, NULL, &tinker__kind_dump, call);
  tinker__call_open(&c, &tinker__result_dump, 1);
  return tinker__call_end(&c);
}
