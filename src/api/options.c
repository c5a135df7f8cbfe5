/* Option structs, see <tinker/options.h>. */
#include <tinker/options.h>

#include <string.h>

void tinker_options_init_sized(void *options, size_t size) {
  if (!options || size < sizeof size) return;
  memset(options, 0, size);
  memcpy(options, &size, sizeof size);
}
