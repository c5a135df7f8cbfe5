/* Visibility and compiler helpers of the public headers. */
#ifndef TINKER_EXPORT_H
#define TINKER_EXPORT_H

#if defined(__GNUC__) || defined(__clang__)
#define TINKER_API __attribute__((visibility("default")))
/* The caller has to do something with what is returned. */
#define TINKER_NODISCARD __attribute__((warn_unused_result))
#else
#define TINKER_API
#define TINKER_NODISCARD
#endif

#endif
