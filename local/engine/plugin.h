/* plugin: an engine from a shared library.
 *
 * The library exports tinker_engine_entry (see engine.h). It is opened with its
 * names kept to itself, and its table is checked before anything of it is
 * called: the ABI, the size, the functions that its capabilities ask for, and
 * that places of functions to come are empty. Any thread, one at a time. */
#ifndef TINKER_ENGINE_PLUGIN_H
#define TINKER_ENGINE_PLUGIN_H

#include "base/mem.h"
#include "engine/engine.h"

typedef struct tinker__eng_plugin_s tinker__eng_plugin_t;

/* An error names the file and the reason: TINKER_EINVAL for a library that is
 * not such an engine, TINKER_EIO for one that can't be opened. */
int tinker__eng_plugin_open(tinker__eng_plugin_t **out, tinker__mem_t *mem,
                            const char *path, char *why, size_t why_len);
/* What an older engine does not know is NULL in it. Valid until the close. */
const tinker__engine_api_t *
tinker__eng_plugin_engine(const tinker__eng_plugin_t *p);
/* Every engine of it has been closed before. NULL allowed. */
void tinker__eng_plugin_close(tinker__eng_plugin_t *p);

#endif
