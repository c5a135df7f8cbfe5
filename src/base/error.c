/* error: see error.h. */
#include "base/error.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/show.h"

/* Message and request id share one block after the struct. */
struct tinker_error_s {
  tinker__mem_t *mem; /* NULL: a static instance, never counted or freed */
  tinker__mem_t own;  /* what mem is for one that belongs to nothing else */
  atomic_uint refs;
  tinker__error_spec_t spec;
  const char *message;
};

#define CONSTANT(code_, text)                                                  \
  { .spec = {.code = (code_), .request_id = ""}, .message = (text) }

static const tinker_error_t constants[] = {
    CONSTANT(TINKER_ENOMEM, "out of memory, or memory_limit_bytes is reached"),
    CONSTANT(TINKER_EINVAL, "the handle that the call is for is NULL"),
    CONSTANT(TINKER_ECLOSED, "the client has ended"),
    CONSTANT(TINKER_EFORKED, "the client belongs to the process before fork(): "
                             "release it, and make one in this process"),
};
#define NO_MEMORY (&constants[0])

const tinker_error_t *tinker__error_constant(int code) {
  size_t i = sizeof constants / sizeof constants[0] - 1;
  while (i > 0 && constants[i].spec.code != code) i--;
  return &constants[i];
}

static tinker_error_t *unconst(const tinker_error_t *e) {
  return (tinker_error_t *)(uintptr_t)e;
}

#define MAX_MESSAGE 4096

/* A sentence that is too long loses its end for it. */
static void add_where(char *text, size_t text_len, const char *where) {
  char tail[400];
  if (!where || strstr(text, where)) return;
  int n = snprintf(tail, sizeof(tail), " (base URL %.300s)", where);
  size_t used = strlen(text);
  if (n < 0) return;
  if (used + (size_t)n >= text_len) used = text_len - (size_t)n - 1;
  memcpy(text + used, tail, (size_t)n + 1);
}

static tinker_error_t *vnew(tinker__mem_t *mem,
                            const tinker__error_spec_t *spec, const char *fmt,
                            va_list ap) {
  char raw[MAX_MESSAGE], message[MAX_MESSAGE];
  int n = vsnprintf(raw, sizeof(raw), fmt, ap);
  if (n <= 0) snprintf(raw, sizeof raw, "%s", tinker_code_text(spec->code));
  add_where(raw, sizeof(raw), spec->where);
  tinker__show(message, sizeof(message), tinker__str(raw));
  const char *id = spec->request_id ? spec->request_id : "";
  size_t message_len = strlen(message) + 1, id_len = strlen(id) + 1;
  tinker_error_t *e = tinker__mem_alloc(mem, sizeof(*e) + message_len + id_len);
  if (!e) return unconst(NO_MEMORY);
  char *text = (char *)(e + 1);
  e->mem = mem;
  atomic_init(&e->refs, 1);
  e->spec = *spec;
  e->message = memcpy(text, message, message_len);
  e->spec.where = NULL; /* in the message */
  e->spec.request_id = memcpy(text + message_len, id, id_len);
  return e;
}

tinker_error_t *tinker__error_new(tinker__mem_t *mem,
                                  const tinker__error_spec_t *spec,
                                  const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  tinker_error_t *e = vnew(mem, spec, fmt, ap);
  va_end(ap);
  return e;
}

static tinker_error_t *vown(const tinker__error_spec_t *spec, const char *fmt,
                            va_list ap) {
  tinker__mem_t mem;
  tinker__mem_init(&mem, NULL, 0);
  tinker_error_t *e = vnew(&mem, spec, fmt, ap);
  if (e->mem) {
    tinker__mem_init(&e->own, NULL, 0);
    e->mem = &e->own;
  }
  return e;
}

tinker_error_t *tinker__error_own(const tinker__error_spec_t *spec,
                                  const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  tinker_error_t *e = vown(spec, fmt, ap);
  va_end(ap);
  return e;
}

int tinker__error_give(tinker_error_t **out, int code, const char *fmt, ...) {
  va_list ap;
  if (!out || !code) return code;
  va_start(ap, fmt);
  *out = vown(&(tinker__error_spec_t){.code = code}, fmt, ap);
  va_end(ap);
  return code;
}

tinker_error_t *tinker__error_retain(const tinker_error_t *e) {
  tinker_error_t *m = unconst(e);
  if (m->mem) atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);
  return m;
}

void tinker__error_release(tinker_error_t *e) {
  if (!e || !e->mem) return;
  if (atomic_fetch_sub_explicit(&e->refs, 1, memory_order_acq_rel) != 1) return;
  tinker__mem_t copy; /* of the memory that lies in the block itself */
  tinker__mem_t *mem = e->mem;
  if (mem == &e->own) {
    tinker__mem_init(&copy, &mem->alloc, 0);
    mem = &copy;
  }
  tinker__mem_free(mem, e);
}

tinker_error_t *tinker_error_release(tinker_error_t *error) {
  tinker__error_release(error);
  return NULL;
}

unsigned tinker__error_advice(const tinker_error_t *e) {
  return e ? e->spec.advice : 0;
}

const char *tinker_code_name(int code) {
  switch (code) {
  case TINKER_OK: return "TINKER_OK";
#define NAME(name, number, text)                                               \
  case number: return "TINKER_" #name;
    TINKER_ERROR_MAP(NAME)
#undef NAME
  default: return "TINKER_UNKNOWN";
  }
}

const char *tinker_code_text(int code) {
  switch (code) {
  case TINKER_OK: return "success";
#define TEXT(name, number, text)                                               \
  case number: return text;
    TINKER_ERROR_MAP(TEXT)
#undef TEXT
  default: return "unknown code";
  }
}

int tinker_error_code(const tinker_error_t *error) {
  return error ? error->spec.code : TINKER_OK;
}

const char *tinker_error_message(const tinker_error_t *error) {
  return error ? error->message : "";
}

int tinker_error_http_status(const tinker_error_t *error) {
  return error ? error->spec.http_status : 0;
}

tinker_category_t tinker_error_category(const tinker_error_t *error) {
  return error ? error->spec.category : TINKER_CATEGORY_UNKNOWN;
}

const char *tinker_error_request_id(const tinker_error_t *error) {
  return error ? error->spec.request_id : "";
}

int64_t tinker_error_retry_after_ms(const tinker_error_t *error) {
  return error ? error->spec.retry_after_ms : 0;
}

static int advises(const tinker_error_t *error, unsigned bit) {
  return (tinker__error_advice(error) & bit) != 0;
}

int tinker_error_is_retriable(const tinker_error_t *error) {
  return advises(error, TINKER__ADVICE_RETRIABLE);
}

int tinker_error_is_fatal(const tinker_error_t *error) {
  return advises(error, TINKER__ADVICE_FATAL);
}

int tinker_error_outcome_is_unknown(const tinker_error_t *error) {
  return advises(error, TINKER__ADVICE_UNKNOWN);
}

int tinker_error_needs_recovery(const tinker_error_t *error) {
  return advises(error, TINKER__ADVICE_RECOVER);
}
