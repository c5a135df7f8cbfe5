/* loops/epoll: a client without threads in a loop around epoll_wait(), beside
 * a descriptor of the program's own. The client's descriptor stays in the set
 * as it is: it is level-triggered, and never added or removed again.
 *
 * usage: loop_epoll TOKENIZER_JSON
 * (TINKER_BASE_URL says where, TINKER_MODEL which model) */
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "train.h"

static void add(int epoll, int fd) {
  struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0) return;
  perror("epoll_ctl");
  exit(1);
}

/* The program's own business: a clock that ticks. */
static int new_clock(void) {
  struct itimerspec each = {{0, 50000000}, {0, 50000000}};
  int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
  timerfd_settime(fd, 0, &each, NULL);
  return fd;
}

static uint64_t read_clock(int fd) {
  uint64_t ticks = 0;
  return read(fd, &ticks, sizeof ticks) == sizeof ticks ? ticks : 0;
}

int main(int argc, char **argv) {
  run_t run = {0};
  uint64_t ticks = 0;
  if (argc != 2) {
    return fprintf(stderr, "usage: loop_epoll TOKENIZER_JSON\n"), 2;
  }
  run.client = stepped_client();
  train(&run, argv[1]);

  int epoll = epoll_create1(EPOLL_CLOEXEC), tick_fd = new_clock();
  add(epoll, tinker_client_fd(run.client));
  add(epoll, tick_fd);
  while (!run.over) {
    struct epoll_event events[2];
    int timeout = (int)tinker_client_timeout_ms(run.client);
    int n = epoll_wait(epoll, events, 2, timeout);
    for (int i = 0; i < n; i++) {
      if (events[i].data.fd == tick_fd) ticks += read_clock(tick_fd);
    }
    /* Also when its time has passed; without work a step costs little. */
    check(tinker_client_step(run.client));
  }
  printf("%llu ticks meanwhile\n", (unsigned long long)ticks);
  close(tick_fd);
  close(epoll);
  return finish_run(&run);
}
