/* Opens a run in a folder, where nothing answers, and ends it.
 *
 *   recover FOLDER */
#include <stdio.h>
#include <string.h>
#include <tinker/recovery.h>

int main(int argc, char **argv) {
  tinker_error_t *error = NULL;
  tinker_client_options_t client = TINKER_CLIENT_OPTIONS_INIT;
  tinker_run_plan_t plan = TINKER_RUN_PLAN_INIT;
  tinker_run_options_t options = TINKER_RUN_OPTIONS_INIT;
  tinker_run_t *run = NULL;
  client.base_url = "unix:/nowhere";
  plan.base_model = "m";
  options.client = &client;
  options.plan = &plan;
  options.state_dir = argc == 2 ? argv[1] : NULL;
  options.name = "a name";
  int rc = tinker_run_open(&run, &options, &error);
  const char *why = tinker_error_message(error);
  printf("%s %s\n", tinker_code_name(rc), why);
  if (rc != TINKER_EINVAL || !strstr(why, "options.name")) return 1;
  tinker_error_release(error);
  options.name = "name";
  rc = tinker_run_open(&run, &options, &error);
  if (rc != TINKER_OK) printf("%s\n", tinker_error_message(error));
  tinker_error_release(rc == TINKER_OK ? NULL : error);
  tinker_run_release(run);
  return rc == TINKER_OK ? 0 : 1;
}
