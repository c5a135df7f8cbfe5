/* version: the version of the library that is linked. */
#include <tinker/version.h>

const char *tinker_version(void) {
  return TINKER_VERSION_STRING;
}
