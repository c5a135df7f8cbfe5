/* Engines from libraries: a copy of the cpu engine gives the same bits; what is
 * not such an engine is refused with its file and the reason. */
#include <criterion/criterion.h>
#include <stdio.h>
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
