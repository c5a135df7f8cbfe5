/* curl_lane: one multi handle on the loop, by curl's socket interface.
 *
 * A connection's watch is kept as long as its socket. When curl loses interest
 * the watch only goes idle, which costs nothing unless an event happens, and it
 * is freed where the socket is closed. curl closes a socket that is not
 * connected yet without a call, and says REMOVE afterwards. So a watch whose
 * descriptor is not its socket any more is freed at once, since the loop must
 * never watch a closed one. Memory for a connection is taken when its socket is
 * opened, where lack of it is a failed connect. */
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <tinker/error.h>
#include <unistd.h>

#include "http/curl_internal.h"

/* Requests on one HTTP/2 connection. */
#define STREAMS_MAX 100

typedef struct limits_s {
  long connections;     /* HTTP/1.1 */
  long tls_connections; /* before the server's HTTP version is known */
} limits_t;

static const limits_t limits[TINKER__LANE_COUNT] = {
    [TINKER__LANE_CONTROL] = {2, 2},
    [TINKER__LANE_SUBMIT] = {16, 16},
    [TINKER__LANE_POLL] = {512, 16},
    [TINKER__LANE_DOWNLOAD] = {4, 4},
};

/* Ended transfers are read after every action: curl forgets to say so
 * twice. */
static void read_ended(tinker__curl_lane_t *lane) {
  int left = 0;
  CURLMsg *message;
  while ((message = curl_multi_info_read(lane->multi, &left))) {
    if (message->msg != CURLMSG_DONE) continue;
    tinker__curl_handle_t *handle = NULL;
    CURLcode code = message->data.result; /* gone after the next call */
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&handle);
    tinker__curl_done(handle->x, code);
  }
  tinker__curl_pump(lane);
}

static void act(tinker__curl_lane_t *lane, curl_socket_t fd, int what) {
  int running = 0;
  lane->actions++;
  lane->in_curl = true;
  curl_multi_socket_action(lane->multi, fd, what, &running);
  lane->in_curl = false;
  read_ended(lane);
}

/* curl calls the sink in here, which may pause again, and may refuse: then curl
 * says so to the caller alone. */
void tinker__curl_unpause(tinker__transfer_t *x) {
  tinker__curl_lane_t *lane = x->lane;
  lane->in_curl = true;
  CURLcode code = curl_easy_pause(x->handle->easy, CURLPAUSE_CONT);
  lane->in_curl = false;
  if (code) tinker__curl_done(x, code);
  act(lane, CURL_SOCKET_TIMEOUT, 0);
}

static void on_timer(tinker__timer_t *timer) {
  tinker__curl_lane_t *lane =
      TINKER__CONTAINER(timer, tinker__curl_lane_t, timer);
  act(lane, CURL_SOCKET_TIMEOUT, 0);
}

static void on_ready(void *user, int fd, unsigned ready) {
  int what = 0;
  if (ready & TINKER__READABLE) what |= CURL_CSELECT_IN;
  if (ready & TINKER__WRITABLE) what |= CURL_CSELECT_OUT;
  if (ready & TINKER__BROKEN) what |= CURL_CSELECT_ERR;
  act(user, fd, what);
}

static int timer_function(CURLM *multi, long timeout_ms, void *user) {
  tinker__curl_lane_t *lane = user;
  tinker__loop_t *loop = lane->owner->loop;
  (void)multi;
  if (timeout_ms < 0) {
    tinker__timer_stop(loop, &lane->timer);
  } else {
    tinker__timer_start(loop, &lane->timer,
                        tinker__loop_now(loop) + timeout_ms);
  }
  return 0;
}

/* ---- watches ---- */

static int grow_slots(tinker__curl_lane_t *lane, size_t fd) {
  size_t count = lane->slot_count ? lane->slot_count : 64;
  while (count <= fd) count *= 2;
  tinker__curl_slot_t *slots = tinker__mem_realloc(
      lane->owner->mem, lane->slots, count * sizeof(*slots));
  if (!slots) return TINKER_ENOMEM;
  memset(slots + lane->slot_count, 0,
         (count - lane->slot_count) * sizeof(*slots));
  lane->slots = slots;
  lane->slot_count = count;
  return 0;
}

static void drop_watch(tinker__curl_lane_t *lane, curl_socket_t fd) {
  if ((size_t)fd >= lane->slot_count || !lane->slots[fd].watch) return;
  tinker__watch_free(lane->owner->loop, lane->slots[fd].watch);
  lane->slots[fd] = (tinker__curl_slot_t){0};
}

/* 0 if there is none. */
static ino_t inode_of(curl_socket_t fd) {
  struct stat st;
  return fstat(fd, &st) ? 0 : st.st_ino;
}

/* The descriptor is new: a watch of the same number is one of a socket that
 * was closed without a word. */
static int add_watch(tinker__curl_lane_t *lane, curl_socket_t fd, bool lazy) {
  size_t i = (size_t)fd;
  if (i >= lane->slot_count && grow_slots(lane, i)) return TINKER_ENOMEM;
  for (int k = 0; k < TINKER__LANE_COUNT; k++) {
    drop_watch(&lane->owner->lanes[k], fd);
  }
  tinker__curl_slot_t *slot = &lane->slots[i];
  slot->lazy = lazy;
  slot->inode = lazy ? inode_of(fd) : 0;
  return tinker__watch_new(lane->owner->loop, &slot->watch, fd, on_ready, lane);
}

curl_socket_t tinker__curl_open(void *user, curlsocktype purpose,
                                struct curl_sockaddr *address) {
  tinker__curl_lane_t *lane = user;
  (void)purpose;
  curl_socket_t fd =
      socket(address->family, address->socktype, address->protocol);
  if (fd < 0) return CURL_SOCKET_BAD;
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  int rc = add_watch(lane, fd, true);
  lane->no_memory = rc == TINKER_ENOMEM;
  if (rc) {
    close(fd);
    return CURL_SOCKET_BAD;
  }
  return fd;
}

int tinker__curl_close(void *user, curl_socket_t fd) {
  drop_watch(user, fd);
  return close(fd);
}

/* Nothing here may fail: curl would give up the whole lane. A descriptor that
 * can't be watched leaves its transfer to its deadline. */
static int socket_function(CURL *easy, curl_socket_t fd, int what, void *user,
                           void *per_socket) {
  tinker__curl_lane_t *lane = user;
  (void)easy;
  (void)per_socket;
  bool known = (size_t)fd < lane->slot_count && lane->slots[fd].watch;
  if (what == CURL_POLL_REMOVE) {
    if (known && lane->slots[fd].lazy &&
        lane->slots[fd].inode == inode_of(fd)) {
      tinker__watch_set(lane->owner->loop, lane->slots[fd].watch, 0);
    } else if (known) {
      drop_watch(lane, fd);
    }
    return 0;
  }
  if (!known && add_watch(lane, fd, false)) return 0;
  unsigned ready = 0;
  if (what & CURL_POLL_IN) ready |= TINKER__READABLE;
  if (what & CURL_POLL_OUT) ready |= TINKER__WRITABLE;
  tinker__watch_set(lane->owner->loop, lane->slots[fd].watch, ready);
  return 0;
}

/* ---- life ---- */

static bool size_lane(tinker__curl_lane_t *lane, long connections,
                      size_t streams) {
  lane->busy_max = (size_t)connections * streams;
  return curl_multi_setopt(lane->multi, CURLMOPT_MAX_HOST_CONNECTIONS,
                           connections) == CURLM_OK &&
         curl_multi_setopt(lane->multi, CURLMOPT_MAXCONNECTS, connections) ==
             CURLM_OK;
}

int tinker__curl_lane_init(tinker__curl_lane_t *lane, tinker__curl_t *owner,
                           tinker__lane_t id) {
  *lane = (tinker__curl_lane_t){.owner = owner, .id = id};
  tinker__list_init(&lane->waiting);
  tinker__list_init(&lane->busy);
  tinker__list_init(&lane->handles);
  tinker__timer_init(&lane->timer, on_timer);
  lane->multi = curl_multi_init();
  if (!lane->multi) return TINKER_ENOMEM;
  bool tls = owner->target.tls && id != TINKER__LANE_DOWNLOAD;
  bool ok =
      size_lane(lane, tls ? limits[id].tls_connections : limits[id].connections,
                tls ? STREAMS_MAX : 1) &&
      !curl_multi_setopt(lane->multi, CURLMOPT_MAX_CONCURRENT_STREAMS,
                         (long)STREAMS_MAX) &&
      !curl_multi_setopt(lane->multi, CURLMOPT_SOCKETFUNCTION,
                         socket_function) &&
      !curl_multi_setopt(lane->multi, CURLMOPT_SOCKETDATA, lane) &&
      !curl_multi_setopt(lane->multi, CURLMOPT_TIMERFUNCTION, timer_function) &&
      !curl_multi_setopt(lane->multi, CURLMOPT_TIMERDATA, lane);
  return ok ? 0 : TINKER_ENOMEM;
}

void tinker__curl_lane_free(tinker__curl_lane_t *lane) {
  tinker__link_t *link;
  while ((link = tinker__list_pop_front(&lane->handles))) {
    tinker__curl_handle_free(
        TINKER__CONTAINER(link, tinker__curl_handle_t, link));
  }
  if (lane->multi) curl_multi_cleanup(lane->multi);
  for (size_t i = 0; i < lane->slot_count; i++) {
    drop_watch(lane, (curl_socket_t)i);
  }
  if (tinker__timer_active(&lane->timer)) {
    tinker__timer_stop(lane->owner->loop, &lane->timer);
  }
  tinker__mem_free(lane->owner->mem, lane->slots);
  lane->slots = NULL;
}

void tinker__curl_widen(tinker__curl_t *owner) {
  if (owner->widened || !owner->target.tls) return;
  owner->widened = true;
  for (int i = 0; i < TINKER__LANE_COUNT; i++) {
    size_lane(&owner->lanes[i], limits[i].connections, 1);
  }
}
