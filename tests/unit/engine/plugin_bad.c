/* Engines that must not be loaded, one of them at a time. The functions are
 * never called: all are one. */
#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"

#ifdef PLUGIN_NO_ENTRY
#define NAME some_other_function
#else
#define NAME tinker_engine_entry
#endif

__attribute__((visibility("default"))) const tinker__engine_api_t *
NAME(uint32_t abi);

static void nothing(void) {
}

#ifdef PLUGIN_ANY
__attribute__((destructor)) static void say_goodbye(void) {
  setenv("PLUGIN_GONE", "1", 1);
}
#endif

#define SET(member) *(void (**)(void))(void *)&api->member = nothing

const tinker__engine_api_t *NAME(uint32_t abi) {
  static struct {
    tinker__engine_api_t api;
    void (*later[1000])(void); /* of a version to come */
  } table;
  tinker__engine_api_t *const api = &table.api;
  void (**all)(void) = (void (**)(void))(void *)&api->open;
  while ((char *)all < (char *)api->reserved) *all++ = nothing;
  api->abi = abi;
  api->size = sizeof *api;
  api->name = "bad";
  api->caps = TINKER_ENGINE_TRAINS;
#ifdef PLUGIN_OTHER_ABI
  return NULL;
#endif
#ifdef PLUGIN_OTHER_TABLE /* it takes any, and its table is another's */
  api->abi = abi + 1;
#endif
#ifdef PLUGIN_ANY /* what is said by the environment */
  const char *caps = getenv("PLUGIN_CAPS"), *none = getenv("PLUGIN_NONE");
  const char *reserved = getenv("PLUGIN_RESERVED");
  if (caps) api->caps = strtoull(caps, NULL, 10);
  const char *size = getenv("PLUGIN_SIZE");
  if (size) api->size = (uint32_t)strtoull(size, NULL, 10);
  if (none) memset((char *)api + strtoull(none, NULL, 10), 0, sizeof(void *));
  if (reserved) SET(reserved[strtoull(reserved, NULL, 10)]);
#endif
#ifdef PLUGIN_SMALL
  api->size = offsetof(tinker__engine_api_t, decode);
#endif
#ifdef PLUGIN_NO_DECODE
  api->decode = NULL;
#endif
#ifdef PLUGIN_NO_OPTIM
  api->optim_step = NULL;
#endif
#ifdef PLUGIN_RESERVED
  SET(reserved[3]);
#endif
#ifdef PLUGIN_HALF
  api->train_resume = NULL;
#endif
#ifdef PLUGIN_OLD /* one that does not train, and does not know the last ones  \
                   */
  api->caps = 0;
  api->optim_step = NULL;
  api->size = offsetof(tinker__engine_api_t, train_keep);
  SET(reserved[3]); /* after its size: not its own */
#endif
  return api;
}
