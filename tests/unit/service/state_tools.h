/* state_tools: what tests do to a state folder while no service uses it. */
#ifndef TINKER_TESTS_UNIT_SERVICE_STATE_TOOLS_H
#define TINKER_TESTS_UNIT_SERVICE_STATE_TOOLS_H

#include "rig.h"

enum { STATE_TREE_MAX = 16384 }; /* bytes of its text */

/* Every file below dir with its content's digest, a line each. Valid until the
 * next call but one. */
const char *state_tree(const char *dir);
/* A shell command, which must succeed. */
void state_run(const char *command);
/* Statements on the store of a state folder. */
void state_sql(const char *dir, const char *text);
bool state_exists(const rig_t *rig, const char *name);

#endif
