/* plugin: an engine from a shared library.
 *
 * The library exports tinker_engine_entry (see engine.h). It is opened with
 * RTLD_LOCAL, so that its names stay its own. Before a function of its table is
 * called, the table is checked: its ABI and size, that it has the functions of
 * its capabilities, and that its reserved places are NULL. Any thread, one at a
 * time. */
#ifndef TINKER_ENGINE_PLUGIN_H
#define TINKER_ENGINE_PLUGIN_H

#include "base/mem.h"
#include "engine/engine.h"

typedef struct tinker__eng_plugin_s tinker__eng_plugin_t;

/* Opens a library. 0; TINKER_EINVAL when it is not such an engine; TINKER_EIO
 * when it can't be opened; TINKER_ENOMEM. why names the file and the reason. */
int tinker__eng_plugin_open(tinker__eng_plugin_t **out, tinker__mem_t *mem,
                            const char *path, char *why, size_t why_len);
/* The engine's table, valid until the close. Functions that an older engine
 * does not have are NULL in it. */
const tinker__engine_api_t *
tinker__eng_plugin_engine(const tinker__eng_plugin_t *p);
/* The caller has closed all engines of this table. NULL allowed. */
void tinker__eng_plugin_close(tinker__eng_plugin_t *p);

#endif
