/* Starts the service inside this program, makes a client for it, and ends both.
 *
 *   local MODEL_DIR */
#include <stdio.h>
#include <tinker/local.h>
#include <tinker/tinker.h>

int main(int argc, char **argv) {
  tinker_error_t *error = NULL;
  tinker_local_options_t options = TINKER_LOCAL_OPTIONS_INIT;
  tinker_local_t *local = NULL;
  tinker_client_options_t client_options = TINKER_CLIENT_OPTIONS_INIT;
  tinker_client_t *client = NULL;
  if (argc == 2) {
    options.model_dirs = (const char *const *)&argv[1];
    options.model_count = 1;
  }
  int rc = tinker_local_start(&local, &options, &error);
  if (rc == TINKER_OK) {
    printf("%s ", tinker_local_endpoint(local));
    client_options.base_url = tinker_local_endpoint(local);
    rc = tinker_client_new(&client, &client_options, &error);
  }
  if (rc == TINKER_OK) tinker_client_release(client);
  if (rc == TINKER_OK) rc = tinker_shutdown(10000);
  if (rc == TINKER_OK) rc = tinker_local_stop(local);
  printf("%s %s\n", tinker_code_name(rc), tinker_error_message(error));
  tinker_error_release(error);
  return rc == TINKER_OK ? 0 : 1;
}
