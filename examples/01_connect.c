/* 01 connect: find the service, ask which models it offers.
 *
 * The service is found by the environment variable TINKER_BASE_URL, for
 * example unix:/tmp/tinker.sock; a remote one needs TINKER_API_KEY too. */
#include "example.h"

int main(void) {
  tinker_client_t *client = connect_service();
  const tinker_capabilities_t *have = NULL;

  printf("tinker-c %s\n", tinker_version());
  tinker_future_t *future = await(tinker_client_get_capabilities(client, NULL));
  check(tinker_future_get_capabilities(future, &have));
  for (size_t i = 0; i < have->model_count; i++) {
    unsigned long long context = have->models[i].max_context_length;
    printf("model %s, context ", have->models[i].name);
    if (context) {
      printf("%llu tokens\n", context);
    } else {
      printf("not known\n");
    }
  }
  int found = have->model_count > 0;
  tinker_future_release(future);
  tinker_client_release(client);
  check(tinker_shutdown(-1));
  return found ? 0 : 1;
}
