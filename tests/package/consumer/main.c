/* Prints the version of the library and what an unusable option says. */
#include <stdio.h>
#include <string.h>
#include <tinker/tinker.h>

int main(void) {
  tinker_error_t *error = NULL;
  tinker_client_options_t options = TINKER_CLIENT_OPTIONS_INIT;
  options.base_url = "unix:";
  tinker_client_t *client = NULL;
  int rc = tinker_client_new(&client, &options, &error);
  const char *why = tinker_error_message(error);
  printf("%s %s %s\n", tinker_version(), tinker_code_name(rc), why);
  return rc == TINKER_EINVAL && strstr(why, "base_url") &&
                 !strcmp(tinker_version(), TINKER_VERSION_STRING)
             ? 0
             : 1;
}
