/* listener: a socket with a libmicrohttpd daemon on it. Two of its rules were
 * found by trying: without a timeout idle connections starve new ones, and a
 * daemon that is stopped while a connection is suspended panics. */
#include "service/http/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <tinker/error.h>

#include "base/str.h"

#define MAX_CONNECTIONS 4096u
#define IDLE_SECONDS 60u
#define CONNECTION_MEMORY 32768u
#define BACKLOG 4096 /* a full queue is an error at once on a Unix socket */

/* Both listeners together get half of the files that the process may open. */
static unsigned connection_limit(const tinker__svc_config_t *c) {
  struct rlimit lim;
  if (getrlimit(RLIMIT_NOFILE, &lim) != 0) return 256;
  rlim_t limit = lim.rlim_cur / (c->socket_path && c->listen ? 4 : 2);
  return limit < MAX_CONNECTIONS ? (unsigned)limit : MAX_CONNECTIONS;
}

static void panic(void *user, const char *file, unsigned line,
                  const char *reason) {
  tinker__svc_t *s = user;
  (void)file;
  (void)line;
  tinker__svc_log(s, "error", "http_panic", "why", reason ? reason : "?", NULL);
  tinker__svc_fatal(s, "the HTTP library failed");
}

static int hex_digit(char c) {
  return c >= '0' && c <= '9'   ? c - '0'
         : c >= 'a' && c <= 'f' ? c - 'a' + 10
         : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                : -1;
}

/* Used instead of the library's own function, which decodes %00: the target
 * would end there, and another one would be served. */
size_t tinker__svc_http_unescape(char *s) {
  char *to = s;
  for (const char *p = s; *p;) {
    int high = *p == '%' ? hex_digit(p[1]) : -1;
    int low = high >= 0 ? hex_digit(p[2]) : -1;
    bool escape = low >= 0 && (high | low) != 0;
    *to++ = (char)(escape ? high << 4 | low : *p);
    p += escape ? 3 : 1;
  }
  *to = 0;
  return (size_t)(to - s);
}

static size_t unescape(void *user, struct MHD_Connection *c, char *s) {
  (void)user;
  (void)c;
  return tinker__svc_http_unescape(s);
}

/* --- Connections ---------------------------------------------------------- */

static int64_t now(const tinker__svc_listener_t *l) {
  const tinker__world_t *world = l->service->world;
  return world->now_ms(world->user);
}

static int fd_of(struct MHD_Connection *c) {
  const union MHD_ConnectionInfo *i =
      MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
  return i ? i->connect_fd : -1;
}

/* The library calls this before it closes a socket, so conns never shuts a
 * number that belongs to another connection by then. */
static void on_connection(void *user, struct MHD_Connection *c, void **context,
                          enum MHD_ConnectionNotificationCode code) {
  tinker__svc_listener_t *l = user;
  tinker__svc_conn_t *conn = *context;
  if (code == MHD_CONNECTION_NOTIFY_STARTED) {
    *context = conn = tinker__mem_zalloc(l->service->mem, sizeof *conn);
    if (conn) tinker__svc_conns_add(&l->conns, conn, fd_of(c), now(l));
  } else if (conn) {
    tinker__svc_conns_remove(&l->conns, conn);
    tinker__mem_free(l->service->mem, conn);
    *context = NULL;
  }
}

void tinker__svc_http_moved(tinker__svc_listener_t *l, tinker__svc_conn_t *conn,
                            tinker__svc_conn_state_t state) {
  tinker__svc_conns_move(&l->conns, conn, state, now(l));
}

void tinker__svc_listener_look(tinker__svc_listener_t *l, int64_t now_ms) {
  if (l) tinker__svc_conns_look(&l->conns, now_ms);
}

tinker__svc_conn_t *tinker__svc_http_conn(struct MHD_Connection *c) {
  const union MHD_ConnectionInfo *i =
      MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
  return i ? i->socket_context : NULL;
}

/* Called with the target as sent, before the library splits and unescapes it.
 */
static void *on_target(void *user, const char *target,
                       struct MHD_Connection *c) {
  tinker__svc_conn_t *conn = tinker__svc_http_conn(c);
  (void)user;
  if (!conn) return NULL;
  conn->target_len = strlen(target);
  conn->plain_target = tinker__svc_head_is_plain(tinker__str(target));
  return NULL; /* the request's state is made later */
}

static void set_gate(tinker__svc_listener_t *l) {
  const tinker__svc_config_t *c = &l->service->config;
  l->gate = (tinker__svc_gate_t){
      .guarded = !l->unix_socket && !c->key,
      .name = tinker__str(l->host),
      .origins = c->origins,
      .n_origins = c->n_origins,
  };
}

static int start(tinker__svc_listener_t *l, char *why, size_t why_len) {
  unsigned limit = connection_limit(&l->service->config);
  /* One address of another machine gets half of the places at most. */
  unsigned of_one = l->unix_socket || l->loopback ? limit : limit / 2;
  set_gate(l);
  l->conns.max = limit;
  if (limit - limit / 4 < l->service->max_polls) {
    l->service->max_polls = limit - limit / 4;
  }
  MHD_set_panic_func(panic, l->service);
  l->daemon = MHD_start_daemon(
      MHD_USE_AUTO_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC, 0,
      NULL, NULL, tinker__svc_http_access, l, MHD_OPTION_LISTEN_SOCKET, l->fd,
      MHD_OPTION_NOTIFY_COMPLETED, tinker__svc_http_completed, l,
      MHD_OPTION_NOTIFY_CONNECTION, on_connection, l,
      MHD_OPTION_URI_LOG_CALLBACK, on_target, NULL,
      MHD_OPTION_UNESCAPE_CALLBACK, unescape, NULL, MHD_OPTION_CONNECTION_LIMIT,
      limit, MHD_OPTION_PER_IP_CONNECTION_LIMIT, of_one,
      MHD_OPTION_CONNECTION_TIMEOUT, IDLE_SECONDS,
      MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
      MHD_OPTION_END);
  if (l->daemon) return 0;
  return tinker__why(why, why_len, TINKER_ENOMEM,
                     "the HTTP server could not be started");
}

static tinker__svc_listener_t *listener_new(tinker__svc_t *s,
                                            const tinker__svc_site_t *site) {
  tinker__svc_listener_t *l = tinker__mem_zalloc(s->mem, sizeof *l);
  if (!l) return NULL;
  l->service = s;
  l->site = *site;
  l->fd = -1;
  tinker__svc_conns_init(&l->conns, MAX_CONNECTIONS, tinker__svc_conns_shut);
  return l;
}

static int start_or_free(tinker__svc_listener_t **out,
                         tinker__svc_listener_t *l, int rc, char *why,
                         size_t why_len) {
  if (rc == 0) rc = start(l, why, why_len);
  if (rc != 0) {
    tinker__svc_listener_free(l);
    return rc;
  }
  *out = l;
  return 0;
}

/* --- Unix ----------------------------------------------------------------- */

/* 0 when the path is free; a socket that nobody listens on is removed. */
static int claim_path(const struct sockaddr_un *addr, char *why,
                      size_t why_len) {
  struct stat st;
  if (lstat(addr->sun_path, &st) != 0) return 0;
  if (!S_ISSOCK(st.st_mode)) {
    return tinker__why(why, why_len, TINKER_EEXIST,
                       "%s exists and is not a socket", addr->sun_path);
  }
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  int live =
      fd >= 0 && connect(fd, (const struct sockaddr *)addr, sizeof *addr) == 0;
  if (fd >= 0) close(fd);
  if (live) {
    return tinker__why(why, why_len, TINKER_EBUSY,
                       "another process listens on %s", addr->sun_path);
  }
  unlink(addr->sun_path);
  return 0;
}

static int bind_unix(tinker__svc_listener_t *l, const char *path, char *why,
                     size_t why_len) {
  struct sockaddr_un addr = {.sun_family = AF_UNIX};
  if (strlen(path) >= sizeof addr.sun_path) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "the socket path is longer than %zu bytes: %s",
                       sizeof addr.sun_path - 1, path);
  }
  memcpy(addr.sun_path, path, strlen(path) + 1);
  int rc = claim_path(&addr, why, why_len);
  if (rc != 0) return rc;
  l->fd = socket(AF_UNIX, SOCK_STREAM, 0);
  /* The mode of the socket is set before it has a name. macOS answers EINVAL to
   * that, so the mode is set once more after bind. */
  if (l->fd < 0 || (fchmod(l->fd, 0600) != 0 && errno != EINVAL) ||
      bind(l->fd, (const struct sockaddr *)&addr, sizeof addr) != 0 ||
      chmod(path, 0600) != 0 || listen(l->fd, BACKLOG) != 0) {
    return tinker__why(why, why_len, TINKER_EIO, "cannot listen on %s: %s",
                       path, strerror(errno));
  }
  l->path = tinker__mem_strdup(l->service->mem, path);
  return l->path ? 0
                 : tinker__why(why, why_len, TINKER_ENOMEM, "out of memory");
}

int tinker__svc_listen_unix(tinker__svc_listener_t **out, tinker__svc_t *s,
                            const tinker__svc_site_t *site, const char *path,
                            char *why, size_t why_len) {
  tinker__svc_listener_t *l = listener_new(s, site);
  if (!l) return tinker__why(why, why_len, TINKER_ENOMEM, "out of memory");
  l->unix_socket = true;
  return start_or_free(out, l, bind_unix(l, path, why, why_len), why, why_len);
}

/* --- TCP ------------------------------------------------------------------ */

static bool is_loopback(const struct sockaddr *a) {
  if (a->sa_family == AF_INET) {
    const struct sockaddr_in *v4 = (const void *)a;
    return (ntohl(v4->sin_addr.s_addr) >> 24) == 127;
  }
  const struct sockaddr_in6 *v6 = (const void *)a;
  return a->sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
}

static int bound_port(int fd) {
  struct sockaddr_storage a;
  socklen_t len = sizeof a;
  if (getsockname(fd, (struct sockaddr *)&a, &len) != 0) return 0;
  return ntohs(a.ss_family == AF_INET6
                   ? ((const struct sockaddr_in6 *)(const void *)&a)->sin6_port
                   : ((const struct sockaddr_in *)(const void *)&a)->sin_port);
}

static int bind_address(tinker__svc_listener_t *l, const struct addrinfo *ai,
                        const char *listen_on, char *why, size_t why_len) {
  int one = 1;
  l->loopback = is_loopback(ai->ai_addr);
  if (!l->loopback && !l->service->config.key) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "%s is not a loopback address: that needs --key-file",
                       listen_on);
  }
  l->fd = socket(ai->ai_family, SOCK_STREAM, 0);
  if (l->fd < 0 ||
      setsockopt(l->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 ||
      bind(l->fd, ai->ai_addr, ai->ai_addrlen) != 0 ||
      listen(l->fd, BACKLOG) != 0) {
    return tinker__why(why, why_len,
                       errno == EADDRINUSE ? TINKER_EBUSY : TINKER_EIO,
                       "cannot listen on %s: %s", listen_on, strerror(errno));
  }
  l->port = bound_port(l->fd);
  return 0;
}

/* Splits HOST:PORT, brackets around IPv6 addresses. */
static int split_host(const char *text, char *host, size_t host_len,
                      const char **port) {
  uint64_t number = 0;
  const char *colon = strrchr(text, ':');
  if (!colon || !colon[1] || colon == text) return TINKER_EINVAL;
  size_t len = (size_t)(colon - text);
  if (text[0] == '[' && text[len - 1] == ']') {
    text++;
    len -= 2;
  }
  if (len >= host_len) return TINKER_EINVAL;
  memcpy(host, text, len);
  host[len] = 0;
  *port = colon + 1;
  return tinker__parse_u64(tinker__str(*port), &number) == 0 && number < 65536
             ? 0
             : TINKER_EINVAL;
}

static int bind_tcp(tinker__svc_listener_t *l, const char *listen_on, char *why,
                    size_t why_len) {
  struct addrinfo hints = {
      .ai_family = AF_UNSPEC,
      .ai_socktype = SOCK_STREAM,
      .ai_flags = AI_PASSIVE | AI_NUMERICSERV,
  };
  struct addrinfo *found = NULL;
  const char *port;
  if (split_host(listen_on, l->host, sizeof l->host, &port) != 0) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "--listen wants HOST:PORT with a port from 0 to 65535, "
                       "not '%s'",
                       listen_on);
  }
  int rc = getaddrinfo(l->host, port, &hints, &found);
  if (rc != 0) {
    return tinker__why(why, why_len, TINKER_EINVAL, "--listen %s: %s",
                       listen_on, gai_strerror(rc));
  }
  rc = bind_address(l, found, listen_on, why, why_len);
  freeaddrinfo(found);
  return rc;
}

int tinker__svc_listen_tcp(tinker__svc_listener_t **out, tinker__svc_t *s,
                           const tinker__svc_site_t *site,
                           const char *listen_on, char *why, size_t why_len) {
  tinker__svc_listener_t *l = listener_new(s, site);
  if (!l) return tinker__why(why, why_len, TINKER_ENOMEM, "out of memory");
  return start_or_free(out, l, bind_tcp(l, listen_on, why, why_len), why,
                       why_len);
}

/* --- End ------------------------------------------------------------------ */

int tinker__svc_listener_port(const tinker__svc_listener_t *l) {
  return l->port;
}

void tinker__svc_listener_quiesce(tinker__svc_listener_t *l) {
  if (!l || l->quiesced) return;
  l->quiesced = true;
  MHD_quiesce_daemon(l->daemon);
  if (l->path) unlink(l->path);
}

void tinker__svc_listener_free(tinker__svc_listener_t *l) {
  if (!l) return;
  tinker__mem_t *mem = l->service->mem;
  if (l->daemon) {
    tinker__svc_listener_quiesce(l);
    MHD_stop_daemon(l->daemon);
  }
  if (l->fd >= 0) close(l->fd);
  tinker__svc_conns_done(&l->conns);
  tinker__mem_free(mem, l->path);
  tinker__mem_free(mem, l);
}
