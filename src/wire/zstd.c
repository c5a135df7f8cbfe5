/* zstd: see zstd.h. The whole content goes to one buffer, so the library needs
 * no window, however large a frame says its own is. */
#include "wire/zstd.h"

#include <tinker/error.h>
#include <zstd.h>

int tinker__zstd_length(tinker__str_t body, size_t max, size_t *len, char *why,
                        size_t why_len) {
  unsigned long long size = ZSTD_getFrameContentSize(body.ptr, body.len);
  if (size == ZSTD_CONTENTSIZE_ERROR) {
    return tinker__why(why, why_len, TINKER_EPROTO,
                       "body: no zstd frame, or one cut off in its header");
  }
  if (size == ZSTD_CONTENTSIZE_UNKNOWN) {
    return tinker__why(why, why_len, TINKER_EPROTO,
                       "body: a zstd frame without a content size");
  }
  if (size > max) {
    return tinker__why(why, why_len, TINKER_EOVERFLOW,
                       "body: larger than %zu bytes when decompressed", max);
  }
  size_t frame = ZSTD_findFrameCompressedSize(body.ptr, body.len);
  if (ZSTD_isError(frame)) {
    return tinker__why(why, why_len, TINKER_EPROTO,
                       "body: the zstd frame is damaged or cut off");
  }
  if (frame != body.len) {
    return tinker__why(why, why_len, TINKER_EPROTO,
                       "body: %zu bytes behind the zstd frame",
                       body.len - frame);
  }
  *len = (size_t)size;
  return 0;
}

int tinker__zstd_unpack(tinker__str_t body, char *out, size_t len, char *why,
                        size_t why_len) {
  size_t got = ZSTD_decompress(out, len, body.ptr, body.len);
  if (!ZSTD_isError(got) && got == len) return 0;
  return tinker__why(
      why, why_len, TINKER_EPROTO,
      "body: the zstd frame is damaged or not as long as it says");
}
