/* host_calls: clocks, sleeps, polls and chance of the simulated machine. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "sim/host_in.h"
#include "sim/machine.h"
#include "sim/server.h"

static sim_shared_t *shared;
static int life;
static bool tells_syncs;

void sim_machine_enter(const sim_host_options_t *o) {
  shared = o->shared;
  life = o->life;
  tells_syncs = o->tells_syncs;
}

void sim_machine_tell_sync(void) {
  sim_message_t m = {.what = SIM_SAY_SYNC};
  char *bytes;
  if (tells_syncs) sim_host_ask(&m, NULL, &bytes);
}

/* --- Clocks --------------------------------------------------------------- */

static int64_t clock_ns(clockid_t clock) {
  if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) {
    return shared->now_ns + (SIM_EPOCH_MS + shared->wall_offset_ms) * 1000000;
  }
  return clock == CLOCK_BOOTTIME ? shared->now_ns : sim_now_ns();
}

int clock_gettime(clockid_t clock, struct timespec *out) {
  bool cpu =
      clock == CLOCK_PROCESS_CPUTIME_ID || clock == CLOCK_THREAD_CPUTIME_ID;
  if (!sim_host_inside() || cpu) {
    return (int)syscall(SYS_clock_gettime, clock, out);
  }
  int64_t ns = clock_ns(clock);
  out->tv_sec = ns / 1000000000;
  out->tv_nsec = ns % 1000000000;
  return 0;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone) {
  struct timespec t;
  (void)zone;
  clock_gettime(CLOCK_REALTIME, &t);
  out->tv_sec = t.tv_sec;
  out->tv_usec = t.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *out) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  if (out) *out = t.tv_sec;
  return t.tv_sec;
}

/* --- Sleeps --------------------------------------------------------------- */

static int64_t after(int64_t ns) {
  return ns > SIM_NEVER - sim_now_ns() ? SIM_NEVER : sim_now_ns() + ns;
}

static void sleep_ns(int64_t ns) {
  sim_host_point();
  sim_block(SIM_ON_SLEEP, NULL, after(ns));
}

int nanosleep(const struct timespec *t, struct timespec *left) {
  if (!sim_host_inside()) return (int)syscall(SYS_nanosleep, t, left);
  sleep_ns(t->tv_sec * INT64_C(1000000000) + t->tv_nsec);
  return 0;
}

int usleep(useconds_t us) {
  struct timespec t = {us / 1000000, (long)(us % 1000000) * 1000};
  return nanosleep(&t, NULL);
}

unsigned sleep(unsigned s) {
  struct timespec t = {s, 0};
  nanosleep(&t, NULL);
  return 0;
}

int sched_yield(void) {
  if (!sim_host_inside()) return (int)syscall(SYS_sched_yield);
  sleep_ns(0);
  return 0;
}

/* --- Polls ---------------------------------------------------------------- */

/* Each time it is asked without waiting. */
#define ASK_UNTIL_READY(asked)                                                 \
  int64_t until = ms < 0 ? SIM_NEVER : after(ms * INT64_C(1000000));           \
  for (;;) {                                                                   \
    sim_host_point();                                                          \
    int n = (int)(asked);                                                      \
    if (n != 0 || sim_now_ns() >= until) return n;                             \
    sim_block(SIM_ON_POLL, NULL, until);                                       \
  }

int epoll_pwait(int fd, struct epoll_event *events, int most, int ms,
                const sigset_t *mask) {
  if (!sim_host_inside()) {
    return (int)syscall(SYS_epoll_pwait, fd, events, most, ms, mask, 8);
  }
  ASK_UNTIL_READY(syscall(SYS_epoll_pwait, fd, events, most, 0, NULL, 8))
}

int epoll_wait(int fd, struct epoll_event *events, int most, int ms) {
  return epoll_pwait(fd, events, most, ms, NULL);
}

/* The system call that all machines have. */
static int ask(struct pollfd *fds, nfds_t n, int ms) {
  struct timespec t = {ms / 1000, ms % 1000 * 1000000};
  return (int)syscall(SYS_ppoll, fds, n, ms < 0 ? NULL : &t, NULL, 0);
}

int poll(struct pollfd *fds, nfds_t n_fds, int ms) {
  if (!sim_host_inside()) return ask(fds, n_fds, ms);
  ASK_UNTIL_READY(ask(fds, n_fds, 0))
}

/* --- Chance and names ----------------------------------------------------- */

static void fill(void *out, size_t len) {
  unsigned char *at = out;
  while (len > 0) {
    uint64_t v = sim_draw();
    size_t n = len < sizeof v ? len : sizeof v;
    memcpy(at, &v, n);
    at += n;
    len -= n;
  }
}

ssize_t getrandom(void *out, size_t len, unsigned flags) {
  if (!sim_host_inside()) return syscall(SYS_getrandom, out, len, flags);
  fill(out, len);
  return (ssize_t)len;
}

int getentropy(void *out, size_t len) {
  return getrandom(out, len, 0) == (ssize_t)len ? 0 : -1;
}

pid_t getpid(void) {
  if (!sim_host_inside()) return (pid_t)syscall(SYS_getpid);
  return 2000 + life;
}

/* A descriptor with these bytes. */
static int memory_file(const void *bytes, size_t len) {
  int fd = (int)syscall(SYS_memfd_create, "sim", 1u);
  if (fd >= 0) syscall(SYS_pwrite64, fd, bytes, len, (off_t)0);
  return fd;
}

int sim_machine_open(const char *path) {
  char bytes[512];
  if (strcmp(path, "/dev/urandom") == 0) {
    fill(bytes, sizeof bytes);
    return memory_file(bytes, sizeof bytes);
  }
  if (strcmp(path, "/proc/sys/kernel/random/boot_id") != 0) return -1;
  int len = snprintf(bytes, sizeof bytes, "00000000-0000-4000-8000-%012llx\n",
                     (unsigned long long)shared->boots);
  return memory_file(bytes, (size_t)len);
}
