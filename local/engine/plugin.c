/* plugin: see plugin.h. */
#include "engine/plugin.h"

#include <dlfcn.h>
#include <string.h>
#include <tinker/error.h>

#include "base/str.h"

struct tinker__eng_plugin_s {
  tinker__mem_t *mem;
  void *library;
  tinker__engine_api_t api; /* a copy, zero after the library's size */
};

typedef struct {
  const char *name;
  size_t offset;
  uint64_t caps; /* required of an engine with these; 0 = of every engine */
} function_t;

#define NEED(name)                                                             \
  { #name, offsetof(tinker__engine_api_t, name), 0 }
#define TRAINS(name)                                                           \
  { #name, offsetof(tinker__engine_api_t, name), TINKER_ENGINE_TRAINS }
static const function_t functions[] = {NEED(name),
                                       NEED(open),
                                       NEED(close),
                                       NEED(estimate),
                                       NEED(load_begin),
                                       NEED(load_step),
                                       NEED(load_end),
                                       NEED(base_release),
                                       NEED(base_info),
                                       TRAINS(train_new),
                                       TRAINS(train_free),
                                       TRAINS(train_config),
                                       TRAINS(pass_begin),
                                       TRAINS(pass_step),
                                       TRAINS(train_has_grad),
                                       TRAINS(pass_loss),
                                       TRAINS(pass_end),
                                       TRAINS(optim_step),
                                       TRAINS(train_save),
                                       TRAINS(train_load),
                                       TRAINS(train_peek),
                                       NEED(adapter_load),
                                       TRAINS(adapter_save),
                                       TRAINS(adapter_current),
                                       NEED(slot_new),
                                       NEED(adapter_release),
                                       NEED(slot_bytes),
                                       NEED(slot_limit),
                                       NEED(slot_free),
                                       NEED(slot_len),
                                       NEED(slot_fork),
                                       NEED(decode),
                                       NEED(log_sum_exp),
                                       NEED(slot_grow),
                                       NEED(adapter_retain)};
#undef NEED
#undef TRAINS

/* True when the place at this offset is NULL. Every place is a pointer to a
 * function, except the name. */
static bool empty(const tinker__engine_api_t *api, size_t offset) {
  static const char zero[sizeof(void (*)(void))];
  return !memcmp((const char *)api + offset, zero, sizeof zero);
}

static int check(tinker__eng_plugin_t *p, const char *path, char *why,
                 size_t why_len) {
  for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
    const function_t *f = &functions[i];
    if ((f->caps & p->api.caps) != f->caps || !empty(&p->api, f->offset)) {
      continue;
    }
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "%s: the engine has no %s, which is required%s", path,
                       f->name, f->caps ? " of one that trains" : "");
  }
  for (size_t i = 0; i < sizeof p->api.reserved / sizeof *p->api.reserved;
       i++) {
    if (!p->api.reserved[i]) continue;
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "%s: the engine has a function in reserved place %zu, "
                       "which must be NULL",
                       path, i);
  }
  return 0;
}

/* All that lies before it was in the first version of this ABI. */
#define MIN_SIZE offsetof(tinker__engine_api_t, reserved)

static int take(tinker__eng_plugin_t *p, const tinker__engine_api_t *api,
                const char *path, char *why, size_t why_len) {
  if (!api || api->abi != TINKER_ENGINE_ABI) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "%s: the engine does not serve ABI %d (it says %lld)",
                       path, TINKER_ENGINE_ABI,
                       api ? (long long)api->abi : -1LL);
  }
  if (api->size < MIN_SIZE) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "%s: the engine's table has %lu bytes, at least %zu are "
                       "required",
                       path, (unsigned long)api->size, MIN_SIZE);
  }
  size_t size = api->size < sizeof p->api ? api->size : sizeof p->api;
  memcpy(&p->api, api, size);
  return check(p, path, why, why_len);
}

static int open_library(tinker__eng_plugin_t *p, const char *path, char *why,
                        size_t why_len) {
  tinker_engine_entry_fn entry;
  if (!strchr(path, '/')) { /* dlopen would look for it in the system */
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "%s: the engine's file is not a path with a '/'", path);
  }
  p->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!p->library) {
    return tinker__why(why, why_len, TINKER_EIO, "%s: can't be opened: %s",
                       path, dlerror());
  }
  void *symbol = dlsym(p->library, TINKER_ENGINE_ENTRY);
  if (!symbol) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "%s: not an engine: it has no function %s", path,
                       TINKER_ENGINE_ENTRY);
  }
  memcpy(&entry, &symbol, sizeof entry);
  return take(p, entry(TINKER_ENGINE_ABI), path, why, why_len);
}

int tinker__eng_plugin_open(tinker__eng_plugin_t **out, tinker__mem_t *mem,
                            const char *path, char *why, size_t why_len) {
  tinker__eng_plugin_t *p = tinker__mem_zalloc(mem, sizeof *p);
  if (!p) return tinker__why(why, why_len, TINKER_ENOMEM, "out of memory");
  p->mem = mem;
  int rc = open_library(p, path, why, why_len);
  if (rc) {
    tinker__eng_plugin_close(p);
    return rc;
  }
  *out = p;
  return 0;
}

const tinker__engine_api_t *
tinker__eng_plugin_engine(const tinker__eng_plugin_t *p) {
  return &p->api;
}

void tinker__eng_plugin_close(tinker__eng_plugin_t *p) {
  if (!p) return;
  if (p->library) dlclose(p->library);
  tinker__mem_free(p->mem, p);
}
