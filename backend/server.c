/* SPDX-License-Identifier: GPL-2.0-or-later */
/* server.c: sockets, lines and buffers; it does not know what is asked. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "server.h"

#define MAX_CLIENTS 32
#define MAX_LINE 4096

struct client {
	struct client *next;
	struct server *server;
	int fd;
	struct pvb_source *src;
	char line[MAX_LINE];
	size_t fill;
	char request[256];           /* once: the first line, until the empty one ends the request */
	char *out;
	size_t out_len, out_at;
};

struct server {
	struct pvb_loop *loop;
	const struct server_ops *ops;
	void *arg;
	int fd;
	char *path;
	struct pvb_source *src;
	struct client *clients;
	unsigned nr_clients;
};

static void drop(struct client *c)
{
	struct client **at;

	for (at = &c->server->clients; *at != c; at = &(*at)->next)
		;
	*at = c->next;
	c->server->nr_clients--;
	pvb_source_free(&c->src);
	close(c->fd);
	free(c->out);
	free(c);
}

/* Send what is there. False: the client is gone. */
static bool flush_out(struct client *c)
{
	while (c->out) {
		ssize_t n = send(c->fd, c->out + c->out_at, c->out_len - c->out_at, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
			pvb_source_events(c->src, EPOLLOUT); /* and do not read more before it is out */
			return true;
		}
		if (n <= 0) {
			drop(c);
			return false;
		}
		c->out_at += (size_t)n;
		if (c->out_at == c->out_len) {
			free(c->out);
			c->out = NULL;
			if (c->server->ops->once) {
				drop(c);
				return false;
			}
			pvb_source_events(c->src, EPOLLIN);
		}
	}
	return true;
}

/* False: the client is gone. */
static bool answer(struct client *c, const char *line)
{
	c->out = c->server->ops->answer(c->server->arg, line);
	if (!c->out) {
		drop(c);
		return false;
	}
	c->out_len = strlen(c->out);
	c->out_at = 0;
	return flush_out(c);
}

static void serve_lines(struct client *c)
{
	char *nl;

	while (!c->out && (nl = memchr(c->line, '\n', c->fill))) {
		size_t used = (size_t)(nl - c->line) + 1;
		char line[MAX_LINE];

		*nl = 0;
		if (nl > c->line && nl[-1] == '\r')
			nl[-1] = 0;
		memcpy(line, c->line, used);
		memmove(c->line, c->line + used, c->fill - used);
		c->fill -= used;
		if (c->server->ops->once && line[0]) {
			/* closing with unread headers would reset the connection under the answer */
			if (!c->request[0])
				snprintf(c->request, sizeof(c->request), "%.255s", line);
			continue;
		}
		if (!answer(c, c->server->ops->once ? c->request : line))
			return;
	}
	if (c->fill == sizeof(c->line))
		drop(c);
}

static void on_client(void *arg, uint32_t events)
{
	struct client *c = arg;
	ssize_t n;

	if (c->out) {
		if (flush_out(c))
			serve_lines(c);
		return;
	}
	n = recv(c->fd, c->line + c->fill, sizeof(c->line) - c->fill, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		drop(c);
		return;
	}
	c->fill += (size_t)n;
	serve_lines(c);
}

static void on_accept(void *arg, uint32_t events)
{
	struct server *s = arg;
	int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct client *c;

	if (fd < 0)
		return;
	c = s->nr_clients < MAX_CLIENTS ? calloc(1, sizeof(*c)) : NULL;
	if (!c || pvb_loop_fd(s->loop, fd, EPOLLIN, on_client, c, &c->src) < 0) {
		free(c);
		close(fd);
		return;
	}
	c->server = s;
	c->fd = fd;
	c->next = s->clients;
	s->clients = c;
	s->nr_clients++;
}

/* A socket file nobody listens on is left over from a crash and may be replaced. */
static int clear_stale(const struct sockaddr_un *sa, struct pvb_error *err)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int r = connect(fd, (const struct sockaddr *)sa, sizeof(*sa));
	int e = errno;

	close(fd);
	if (r == 0)
		return pvb_err(err, -EADDRINUSE, "%s: another pvbackd serves it", sa->sun_path);
	if (e == ECONNREFUSED)
		unlink(sa->sun_path);
	return 0;
}

int server_open(struct server **out, struct pvb_loop *loop, const char *path, const struct server_ops *ops, void *arg,
		struct pvb_error *err)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct server *s;
	mode_t old;
	int rc;

	if (strlen(path) >= sizeof(sa.sun_path))
		return pvb_err(err, -ENAMETOOLONG, "%s: %zu bytes, a socket's path has at most %zu", path, strlen(path),
			       sizeof(sa.sun_path) - 1);
	strcpy(sa.sun_path, path);
	rc = clear_stale(&sa, err);
	if (rc < 0)
		return rc;
	s = calloc(1, sizeof(*s));
	if (!s)
		return pvb_err(err, -ENOMEM, "%s: out of memory", path);
	s->loop = loop;
	s->ops = ops;
	s->arg = arg;
	s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	old = umask(0177);
	rc = bind(s->fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(s->fd, 16) < 0 ? -errno : 0;
	umask(old);
	if (rc == 0) {
		s->path = strdup(path);
		rc = pvb_loop_fd(loop, s->fd, EPOLLIN, on_accept, s, &s->src);
	}
	if (rc < 0) {
		server_close(s);
		return pvb_err(err, rc, "%s: %s", path, strerror(-rc));
	}
	*out = s;
	return 0;
}

void server_close(struct server *s)
{
	if (!s)
		return;
	while (s->clients)
		drop(s->clients);
	pvb_source_free(&s->src);
	if (s->fd >= 0)
		close(s->fd);
	if (s->path)
		unlink(s->path);
	free(s->path);
	free(s);
}
