# tinker_flags: what every target of the project is compiled with.
# -ffp-contract=off is part of the contract of local/cpu (the same bits on
# every machine): a fused multiply-add happens only where the source says so.
# Warnings are errors in the presets alone (CMAKE_COMPILE_WARNING_AS_ERROR): who
# builds with another compiler, or other options, has other warnings.
add_library(tinker_flags INTERFACE)
target_compile_options(tinker_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion
  -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wvla -Wundef
  -Wwrite-strings -fno-strict-aliasing -ffp-contract=off)
target_compile_definitions(tinker_flags INTERFACE _POSIX_C_SOURCE=200809L
  $<$<PLATFORM_ID:Darwin>:_DARWIN_C_SOURCE>)

# RelWithDebInfo defines NDEBUG. src/base/check.h says what a broken assertion
# does in a build without this.
if(TINKER_ASSERTS)
  target_compile_options(tinker_flags INTERFACE -UNDEBUG)
endif()

# Under a sanitizer half the optimization and line numbers alone: what it finds
# and where it says it is are the same, for half of the compiler's time.
if(TINKER_SANITIZE AND NOT CMAKE_BUILD_TYPE STREQUAL "Debug")
  add_compile_options(-O1 -g1)
endif()
if(TINKER_SANITIZE STREQUAL "address")
  set(_tinker_san -fsanitize=address,undefined -fno-sanitize-recover=all
    -fno-omit-frame-pointer)
elseif(TINKER_SANITIZE STREQUAL "thread")
  set(_tinker_san -fsanitize=thread -fno-omit-frame-pointer)
elseif(NOT TINKER_SANITIZE STREQUAL "")
  message(FATAL_ERROR "TINKER_SANITIZE is '${TINKER_SANITIZE}': want empty, "
    "address or thread")
endif()
if(TINKER_FUZZ)
  if(NOT TINKER_SANITIZE STREQUAL "address")
    message(FATAL_ERROR "TINKER_FUZZ wants TINKER_SANITIZE=address")
  endif()
  list(APPEND _tinker_san -fsanitize=fuzzer-no-link)
endif()
if(TINKER_COVERAGE)
  list(APPEND _tinker_san --coverage)
endif()
target_compile_options(tinker_flags INTERFACE ${_tinker_san})
target_link_options(tinker_flags INTERFACE ${_tinker_san})
