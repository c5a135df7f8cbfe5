# Every library comes through pkg-config: all of them have a .pc file, only
# two have a CMake package.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
foreach(dep libcurl>=7.88 libuv>=1.44 openssl>=3.0
    libprotobuf-c>=1.4 libzstd>=1.5 libpcre2-8>=10.42 libutf8proc>=2.6
    sqlite3>=3.40 yaml-0.1>=0.2.5 libmicrohttpd>=0.9.75)
  string(REGEX REPLACE ">=.*" "" name "${dep}")
  pkg_check_modules(${name} REQUIRED IMPORTED_TARGET ${dep})
endforeach()
find_program(TINKER_PROTOC_C protoc-c REQUIRED)
