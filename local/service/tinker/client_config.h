/* client_config: the flags that a service tells its clients (protocol 4), from
 * one table. Pure, but for the two handlers. */
#ifndef TINKER_SERVICE_CLIENT_CONFIG_H
#define TINKER_SERVICE_CLIENT_CONFIG_H

#include "base/buf.h"

typedef enum {
  TINKER__CONFIG_CLIENT, /* client/config, read once by a client */
  TINKER__CONFIG_DYNAMIC /* client/dynamic_config, read again and again */
} tinker__svc_config_kind_t;

/* Appends the reply of the call: what this service always says, and what the
 * operator set by `json`, an object of flags (NULL = none). 0, TINKER_ENOMEM,
 * or TINKER_EINVAL with a sentence that names the flag: unknown, of another
 * type, out of range, or true although the endpoint behind it isn't here. */
int tinker__svc_client_config_write(tinker__buf_t *out,
                                    tinker__svc_config_kind_t kind,
                                    const char *json, char *why,
                                    size_t why_len);

#endif
