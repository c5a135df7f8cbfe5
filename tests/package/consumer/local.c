/* Starts the service inside this program, makes a client for it, and ends both.
 *
 *   local MODEL_DIR */
#include <stdio.h>
#include <tinker/local.h>
#include <tinker/tinker.h>

int main(int argc, char **argv) {
  char why[300] = "";
  tinker_local_options_t options;
  tinker_local_t *local = NULL;
  tinker_client_options_t client_options;
  tinker_client_t *client = NULL;
  tinker_local_options_init(&options);
  if (argc == 2) {
    options.model_dirs = (const char *const *)&argv[1];
    options.model_count = 1;
  }
  int rc = tinker_local_start(&local, &options, why, sizeof why);
  if (rc == TINKER_OK) {
    printf("%s ", tinker_local_endpoint(local));
    tinker_client_options_init(&client_options);
    client_options.base_url = tinker_local_endpoint(local);
    rc = tinker_client_new(&client, &client_options, why, sizeof why);
  }
  if (rc == TINKER_OK) tinker_client_release(client);
  if (rc == TINKER_OK) rc = tinker_shutdown(10000);
  if (rc == TINKER_OK) rc = tinker_local_stop(local);
  printf("%s %s\n", tinker_code_name(rc), why);
  return rc == TINKER_OK ? 0 : 1;
}
