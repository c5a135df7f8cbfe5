/* Engines from libraries: a copy of the cpu engine gives the same bits; what is
 * not such an engine is refused with its file and the reason. */
#include <criterion/criterion.h>
#include <dlfcn.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tinker/error.h>

#include "cpu/steps.h"
#include "engine/plugin.h"
#include "support/fail_alloc.h"

static const char *path_of(const char *name) {
  static char path[600];
  snprintf(path, sizeof path, "%s/%s.so", TINKER_PLUGIN_DIR, name);
  return path;
}

/* Fifty steps and a decode round through a library. */
Test(plugin, same_bits_as_the_engine) {
  tinker__mem_t mem;
  tinker__eng_plugin_t *p = NULL;
  char dir[256], why[400] = "";
  tinker__mem_init(&mem, NULL, 0);
  int rc = tinker__eng_plugin_open(&p, &mem, path_of("engine_cpu_copy"), why,
                                   sizeof why);
  cr_assert_eq(rc, 0, "%s", why);
  const tinker__engine_api_t *api = tinker__eng_plugin_engine(p);
  cr_assert_str_eq(api->name, "cpu");
  cr_assert_neq(api->decode, tinker__cpu_engine()->decode);
  temp_dir(dir);
  write_model(dir, &tiny_shape);
  uint64_t h = many_steps(api, dir, 2, NULL);
  cr_assert_eq(h, COMMITTED, "%#llx", (unsigned long long)h);
  temp_remove(dir);
  tinker__eng_plugin_close(p);
  cr_assert_eq(mem.live_blocks, 0);
}

static void refused(const char *name, int code, const char *reason) {
  tinker__mem_t mem;
  tinker__eng_plugin_t *p = NULL;
  char why[600] = "";
  const char *path = strchr(name, '/') ? name : path_of(name);
  tinker__mem_init(&mem, NULL, 0);
  int rc = tinker__eng_plugin_open(&p, &mem, path, why, sizeof why);
  cr_assert_eq(rc, code, "%s: %d %s", name, rc, why);
  cr_assert_eq(p, NULL);
  cr_assert(!strncmp(why, path, strlen(path)), "%s", why);
  cr_assert_neq(strstr(why, reason), NULL, "%s", why);
  cr_assert_eq(mem.live_blocks, 0);
}

Test(plugin, refusals) {
  char abi[80];
  snprintf(abi, sizeof abi, "does not serve ABI %d", TINKER_ENGINE_ABI);
  refused("engine_OTHER_ABI", TINKER_EINVAL, abi);
  refused("engine_OTHER_TABLE", TINKER_EINVAL, abi);
  refused("engine_NO_ENTRY", TINKER_EINVAL,
          "it has no function tinker_engine_entry");
  refused("engine_SMALL", TINKER_EINVAL, "at least");
  refused("engine_NO_DECODE", TINKER_EINVAL,
          "has no decode, which is required");
  refused("engine_NO_OPTIM", TINKER_EINVAL,
          "has no optim_step, which is required of one that trains");
  refused("engine_RESERVED", TINKER_EINVAL, "reserved place 3");
  refused("engine_HALF", TINKER_EINVAL, "only one of train_keep");
  refused("/no/such/engine.so", TINKER_EIO, "can't be opened");
  refused(__FILE__, TINKER_EIO, "can't be opened");
}

static void set(const char *name, size_t value) {
  char text[30];
  snprintf(text, sizeof text, "%zu", value);
  cr_assert_eq(setenv(name, text, 1), 0);
}

static int open_any(char *why, size_t why_len) {
  tinker__mem_t mem;
  tinker__eng_plugin_t *p = NULL;
  tinker__mem_init(&mem, NULL, 0);
  int rc =
      tinker__eng_plugin_open(&p, &mem, path_of("engine_ANY"), why, why_len);
  cr_assert_eq(!p, rc != 0);
  tinker__eng_plugin_close(p);
  cr_assert_eq(mem.live_blocks, 0);
  return rc;
}

#define PLACE(name) #name, offsetof(tinker__engine_api_t, name)
/* Whether a function is every engine's, one's that trains, or nobody's duty. */
static const struct {
  const char *name;
  size_t at;
  enum { ALL, TRAINS, NONE } whose;
} places[] = {
    {PLACE(name), ALL},
    {PLACE(open), ALL},
    {PLACE(close), ALL},
    {PLACE(estimate), ALL},
    {PLACE(load_begin), ALL},
    {PLACE(load_step), ALL},
    {PLACE(load_end), ALL},
    {PLACE(base_release), ALL},
    {PLACE(base_info), ALL},
    {PLACE(train_new), TRAINS},
    {PLACE(train_free), TRAINS},
    {PLACE(train_config), TRAINS},
    {PLACE(train_has_grad), TRAINS},
    {PLACE(pass_begin), TRAINS},
    {PLACE(pass_step), TRAINS},
    {PLACE(pass_loss), TRAINS},
    {PLACE(pass_end), TRAINS},
    {PLACE(optim_step), TRAINS},
    {PLACE(train_save), TRAINS},
    {PLACE(train_load), TRAINS},
    {PLACE(train_peek), TRAINS},
    {PLACE(adapter_current), TRAINS},
    {PLACE(adapter_save), TRAINS},
    {PLACE(adapter_load), ALL},
    {PLACE(adapter_retain), ALL},
    {PLACE(adapter_release), ALL},
    {PLACE(slot_new), ALL},
    {PLACE(slot_bytes), ALL},
    {PLACE(slot_limit), ALL},
    {PLACE(slot_free), ALL},
    {PLACE(slot_len), ALL},
    {PLACE(slot_fork), ALL},
    {PLACE(slot_grow), ALL},
    {PLACE(decode), ALL},
    {PLACE(log_sum_exp), ALL},
    {PLACE(pick), NONE},
    {PLACE(train_bytes), NONE},
    {PLACE(pass_bytes), NONE},
};
#undef PLACE

/* Before a function can be called, it is there: each in turn is absent. */
Test(plugin, functions_that_are_required) {
  size_t next = offsetof(tinker__engine_api_t, name);
  for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
    char why[700] = "", want[100];
    cr_assert_eq(places[i].at, next, "%s is in no row", places[i].name);
    next += sizeof(void *);
    set("PLUGIN_NONE", places[i].at);
    for (uint64_t caps = 0; caps <= TINKER_ENGINE_TRAINS; caps++) {
      bool needed =
          places[i].whose == ALL || (caps && places[i].whose == TRAINS);
      set("PLUGIN_CAPS", (size_t)caps);
      cr_assert_eq(open_any(why, sizeof why), needed ? TINKER_EINVAL : 0,
                   "%s, caps %d", places[i].name, (int)caps);
      snprintf(want, sizeof want, "has no %s, which is required",
               places[i].name);
      if (needed) cr_assert_not_null(strstr(why, want), "%s", why);
    }
  }
  cr_assert_eq(next, offsetof(tinker__engine_api_t, train_keep));
}

/* A table has all of this ABI's first version; a later one may have more. */
Test(plugin, sizes_of_tables) {
  const size_t least = offsetof(tinker__engine_api_t, train_keep);
  const size_t now = sizeof(tinker__engine_api_t);
  const struct {
    size_t size;
    int rc;
  } rows[] = {{0, TINKER_EINVAL},
              {least - sizeof(void *), TINKER_EINVAL},
              {least - 1, TINKER_EINVAL},
              {least, 0},
              {now, 0},
              {now + 8, 0},
              {now + 8000, 0}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    char why[700] = "";
    set("PLUGIN_SIZE", rows[i].size);
    cr_assert_eq(open_any(why, sizeof why), rows[i].rc, "%zu: %s", rows[i].size,
                 why);
    if (rows[i].rc) cr_assert_not_null(strstr(why, "at least"), "%s", why);
  }
}

/* Gradients are stored by two functions, or by none. */
Test(plugin, half_of_a_pair) {
  char why[700] = "";
  set("PLUGIN_NONE", offsetof(tinker__engine_api_t, train_keep));
  cr_assert_eq(open_any(why, sizeof why), TINKER_EINVAL);
  cr_assert_not_null(strstr(why, "only one of train_keep"), "%s", why);
  set("PLUGIN_NONE", offsetof(tinker__engine_api_t, train_resume));
  cr_assert_eq(open_any(why, sizeof why), TINKER_EINVAL);
}

Test(plugin, every_reserved_place_is_null) {
  const tinker__engine_api_t *api = NULL;
  cr_assert_eq(open_any(NULL, 0), 0);
  for (size_t i = 0; i < sizeof api->reserved / sizeof *api->reserved; i++) {
    char why[700] = "", want[40];
    set("PLUGIN_RESERVED", i);
    snprintf(want, sizeof want, "reserved place %zu", i);
    cr_assert_eq(open_any(why, sizeof why), TINKER_EINVAL);
    cr_assert_not_null(strstr(why, want), "%s", why);
  }
}

/* The library is gone with the last that holds it, refused or not. */
Test(plugin, close_lets_the_library_go) {
  for (int bad = 0; bad < 2; bad++) {
    cr_assert_eq(unsetenv("PLUGIN_GONE"), 0);
    if (bad) set("PLUGIN_RESERVED", 0);
    cr_assert_eq(open_any(NULL, 0), bad ? TINKER_EINVAL : 0);
    cr_assert_not_null(getenv("PLUGIN_GONE"));
  }
}

/* Its names stay its own: nothing else finds them. */
Test(plugin, names_stay_its_own) {
  tinker__mem_t mem;
  tinker__eng_plugin_t *p = NULL;
  void *program = dlopen(NULL, RTLD_NOW);
  tinker__mem_init(&mem, NULL, 0);
  cr_assert_not_null(program);
  cr_assert_eq(
      tinker__eng_plugin_open(&p, &mem, path_of("engine_OLD"), NULL, 0), 0);
  cr_assert_null(dlsym(program, TINKER_ENGINE_ENTRY));
  tinker__eng_plugin_close(p);
  dlclose(program);
}

/* What an engine may lack, and what it does not know of, is NULL. */
Test(plugin, older_and_smaller) {
  tinker__mem_t mem;
  tinker__eng_plugin_t *p = NULL;
  char why[600] = "";
  tinker__mem_init(&mem, NULL, 0);
  int rc =
      tinker__eng_plugin_open(&p, &mem, path_of("engine_OLD"), why, sizeof why);
  cr_assert_eq(rc, 0, "%s", why);
  cr_assert_eq(tinker__eng_plugin_engine(p)->optim_step, NULL);
  cr_assert_eq(tinker__eng_plugin_engine(p)->reserved[3], NULL);
  cr_assert_eq(tinker__eng_plugin_engine(p)->train_keep, NULL);
  tinker__eng_plugin_close(p);
  rc = tinker__eng_plugin_open(&p, &mem, "engine.so", why, sizeof why);
  cr_assert_eq(rc, TINKER_EINVAL);
  cr_assert_str_eq(why,
                   "engine.so: the engine's file is not a path with a '/'");
}

static int open_one(tinker__mem_t *mem, void *user) {
  tinker__eng_plugin_t *p = NULL;
  (void)user;
  int rc = tinker__eng_plugin_open(&p, mem, path_of("engine_OLD"), NULL, 0);
  tinker__eng_plugin_close(rc ? NULL : p);
  return rc;
}

Test(plugin, every_allocation) {
  cr_assert_eq(tinker__fail_sweep(open_one, NULL, TINKER_ENOMEM), 1);
}
