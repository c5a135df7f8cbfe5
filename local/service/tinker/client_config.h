/* client_config: the flags that a service sends to its clients (protocol 4),
 * from one table. Pure, except for the two handlers. */
#ifndef TINKER_SERVICE_CLIENT_CONFIG_H
#define TINKER_SERVICE_CLIENT_CONFIG_H

#include "base/buf.h"

typedef enum {
  TINKER__CONFIG_CLIENT, /* client/config, read once by a client */
  TINKER__CONFIG_DYNAMIC /* client/dynamic_config, read again and again */
} tinker__svc_config_kind_t;

/* Appends the reply of the call: the flags that this service always sends, and
 * those of `json`, the operator's object of flags (NULL = none). 0,
 * TINKER_ENOMEM, or TINKER_EINVAL with a sentence that names the flag. A flag
 * is refused when it is unknown, has another type, is out of range, or turns on
 * an endpoint that this service does not have. */
int tinker__svc_client_config_write(tinker__buf_t *out,
                                    tinker__svc_config_kind_t kind,
                                    const char *json, char *why,
                                    size_t why_len);

#endif
