/* auth: finds and checks the credential of a client. Pure, except that it reads
 * the environment through the world. */
#ifndef TINKER_SESSION_AUTH_H
#define TINKER_SESSION_AUTH_H

#include <stdbool.h>

#include "base/mem.h"
#include "base/world.h"

/* Finds the base URL: `given`, else TINKER_BASE_URL, else the public service.
 * Empty counts as unset. The result is borrowed. */
const char *tinker__auth_base_url(const tinker__world_t *world,
                                  const char *given);

/* Finds the credential for base_url: `given`, else TINKER_API_KEY; it must
 * begin with "tml-" or "eyJ". A Unix socket needs none, but one that is set is
 * checked nevertheless. Over http:// to another machine everybody on the way
 * can read it, so that is refused unless plain_ok. *out: a copy, NULL when
 * there is none and none is needed. 0, TINKER_EINVAL (base_url), TINKER_EAUTH
 * (`why` never shows the credential), TINKER_ENOMEM. */
int tinker__auth_credential(const tinker__world_t *world, tinker__mem_t *mem,
                            const char *base_url, const char *given,
                            bool plain_ok, char **out, char *why,
                            size_t why_len);

#endif
