/* Version of the library. There is no ABI promise before 1.0; the shared
 * library's soname is libtinker.so.0 until then. */
#ifndef TINKER_VERSION_H
#define TINKER_VERSION_H

#include "export.h"

#define TINKER_VERSION_MAJOR 0
#define TINKER_VERSION_MINOR 1
#define TINKER_VERSION_PATCH 0
#define TINKER_VERSION_STRING "0.1.0"

#ifdef __cplusplus
extern "C" {
#endif

/* Version of the library that is linked, which may be newer than the header.
 * Returns a static string such as "0.1.0", never NULL. Any thread. */
TINKER_API const char *tinker_version(void);

#ifdef __cplusplus
}
#endif

#endif
