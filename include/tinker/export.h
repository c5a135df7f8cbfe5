/* Visibility and compiler helpers of the public headers. */
#ifndef TINKER_EXPORT_H
#define TINKER_EXPORT_H

#if defined(__GNUC__) || defined(__clang__)
#define TINKER_API __attribute__((visibility("default")))
#else
#define TINKER_API
#endif

#endif
