// SPDX-License-Identifier: GPL-2.0-or-later
/* The NBD server's socket, its exports, and the life of a connection. */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "nbd-impl.h"

#define HANDSHAKE_MS 10000  /* who has not chosen an export by then is disconnected */
#define TURN_READS       4  /* reads of one connection before the others have theirs */

/* --- exports and buffers ---------------------------------------------------------------------------- */

struct nbd_export *export_find(struct nbd_server *srv, const char *name, size_t len)
{
	struct nbd_export *e = srv->exports;

	if (len == 0)
		return e;
	while (e != NULL && (strlen(e->name) != len || memcmp(e->name, name, len) != 0))
		e = e->next;
	return e;
}

int conn_attach(struct nbd_conn *c, struct nbd_export *exp)
{
	struct slab *slab;
	int rc;

	if (c->exp == exp)
		return 0;
	conn_detach(c);
	slab = exp->slabs;
	if (slab != NULL) {
		exp->slabs = slab->next;
	} else {
		rc = slab_new(&slab, exp->disk, c->srv->limits.buffer);
		if (rc < 0)
			return rc;
	}
	c->slab = slab;
	c->exp = exp;
	return 0;
}

void conn_detach(struct nbd_conn *c)
{
	if (c->exp == NULL)
		return;
	slab_reset(c->slab); /* of replies that were not sent any more */
	c->slab->next = c->exp->slabs;
	c->exp->slabs = c->slab;
	c->slab = NULL;
	c->exp = NULL;
}

uint32_t conn_best_payload(const struct nbd_conn *c)
{
	size_t half = c->slab->buf.size / 2;

	return half > NBD_BIG_MAX ? NBD_BIG_MAX : (uint32_t)half;
}

/* --- a connection's life ---------------------------------------------------------------------------- */

void conn_maybe_free(struct nbd_conn *c)
{
	if (c->fd >= 0 || c->in_disk > 0 || c->dirty)
		return;
	for (unsigned i = 0; i < CONN_CMDS; i++)
		free(c->cmds[i].big);
	conn_detach(c);
	if (c->prev != NULL)
		c->prev->next = c->next;
	else
		c->srv->conns = c->next;
	if (c->next != NULL)
		c->next->prev = c->prev;
	c->srv->stats.connections--;
	free(c);
}

void conn_close(struct nbd_conn *c)
{
	if (c->fd < 0)
		return;
	pvb_source_free(&c->src);
	pvb_source_free(&c->timer);
	close(c->fd);
	c->fd = -1;
}

void conn_update(struct nbd_conn *c)
{
	uint32_t events = 0;

	if (c->out_head != NULL || c->text_pos < c->text_len)
		events = EPOLLOUT;
	if (!c->eof && !c->srv->stopping && (c->state != CONN_COMMANDS || !transmit_stuck(c)))
		events |= EPOLLIN;
	pvb_source_events(c->src, events);
}

static int send_text(struct nbd_conn *c)
{
	ssize_t n;

	while (c->text_pos < c->text_len) {
		n = send(c->fd, c->text + c->text_pos, c->text_len - c->text_pos, MSG_NOSIGNAL);
		if (n < 0)
			return errno == EAGAIN ? -EAGAIN : -errno;
		c->text_pos += (uint32_t)n;
	}
	c->text_pos = c->text_len = 0;
	return 0;
}

/* Send what there is; false: the client is gone. */
static bool output(struct nbd_conn *c)
{
	int rc = send_text(c);

	if (rc == 0)
		rc = transmit_flush(c);
	return rc == 0 || rc == -EAGAIN;
}

static bool consume(struct nbd_conn *c)
{
	enum conn_state before;

	do {
		before = c->state;
		if (!(c->state == CONN_COMMANDS ? transmit_input(c) : handshake_input(c)))
			return false;
	} while (c->state != before);
	if (c->state == CONN_COMMANDS)
		pvb_source_free(&c->timer);
	return true;
}

static int receive(struct nbd_conn *c)
{
	ssize_t n;

	if (c->state == CONN_COMMANDS)
		return transmit_receive(c);
	if (c->in_pos > 0) {
		memmove(c->in, c->in + c->in_pos, c->in_len - c->in_pos);
		c->in_len -= c->in_pos;
		c->in_pos = 0;
	}
	n = read(c->fd, c->in + c->in_len, sizeof(c->in) - c->in_len);
	if (n < 0)
		return errno == EINTR ? -EAGAIN : -errno;
	c->in_len += (uint32_t)n;
	return (int)n;
}

static bool input(struct nbd_conn *c)
{
	int n = 1;

	for (unsigned turn = 0; turn < TURN_READS && n > 0; turn++) {
		if (c->eof || (c->state == CONN_COMMANDS && transmit_stuck(c)))
			break;
		n = receive(c);
		if (n == 0)
			return false; /* without DISC: nobody is there to read replies */
		if (n < 0 && n != -EAGAIN)
			return false;
		if (n > 0 && !consume(c))
			return false;
		if (c->state == CONN_COMMANDS && c->dry)
			break;
	}
	if (c->exp != NULL)
		pvf_disk_kick(c->exp->disk);
	return true;
}

static void ready(void *arg, uint32_t events)
{
	struct nbd_conn *c = arg;
	bool ok = true;

	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		ok = input(c);
	if (ok)
		ok = output(c);
	/* what was sent freed what input waited for; the socket need not become readable again */
	if (ok && c->paused && !c->srv->stopping && !transmit_stuck(c))
		ok = input(c);
	/* after DISC: leave once everything asked for before was answered */
	if (!ok || (c->eof && c->busy == 0)) {
		conn_close(c);
		conn_maybe_free(c);
		return;
	}
	conn_update(c);
}

/* Completions of a round are sent together: one system call for many replies. */
static void flush_dirty(void *arg)
{
	struct nbd_server *srv = arg;
	struct nbd_conn *c;

	while ((c = srv->dirty) != NULL) {
		srv->dirty = c->next_dirty;
		c->dirty = false;
		if (c->fd >= 0)
			ready(c, EPOLLOUT);
		else
			conn_maybe_free(c);
	}
}

void conn_dirty(struct nbd_conn *c)
{
	struct nbd_server *srv = c->srv;

	if (c->dirty)
		return;
	c->dirty = true;
	c->next_dirty = srv->dirty;
	srv->dirty = c;
	if (srv->flush == NULL)
		pvb_loop_timer(srv->loop, 0, flush_dirty, srv, &srv->flush);
}

static void too_slow(void *arg)
{
	struct nbd_conn *c = arg;

	conn_close(c);
	conn_maybe_free(c);
}

static void conn_new(struct nbd_server *srv, int fd)
{
	struct nbd_conn *c = calloc(1, sizeof(*c));

	if (c == NULL || pvb_loop_fd(srv->loop, fd, EPOLLIN, ready, c, &c->src) < 0) {
		free(c);
		close(fd);
		srv->stats.refused++;
		return;
	}
	c->srv = srv;
	c->fd = fd;
	c->queue = srv->next_queue++;
	for (unsigned i = 0; i < CONN_CMDS; i++) {
		c->cmds[i].conn = c;
		c->cmds[i].next = c->free;
		c->free = &c->cmds[i];
	}
	c->next = srv->conns;
	if (c->next != NULL)
		c->next->prev = c;
	srv->conns = c;
	srv->stats.accepted++;
	srv->stats.connections++;
	pvb_loop_timer(srv->loop, HANDSHAKE_MS, too_slow, c, &c->timer);
	handshake_greet(c);
	ready(c, EPOLLOUT);
}

static void incoming(void *arg, uint32_t events)
{
	struct nbd_server *srv = arg;
	int fd = accept4(srv->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	if (srv->stats.connections >= srv->limits.connections) {
		close(fd);
		srv->stats.refused++;
		return;
	}
	conn_new(srv, fd);
}

/* --- the server ------------------------------------------------------------------------------------- */

/* A socket left by a process that is gone can be replaced; one that answers, or a file, can not. */
static int clear_path(const struct sockaddr_un *sa, int fd, struct pvb_error *err)
{
	struct stat st;

	if (lstat(sa->sun_path, &st) < 0)
		return 0;
	if (!S_ISSOCK(st.st_mode))
		return pvb_err(err, -EEXIST, "%s is there and is not a socket", sa->sun_path);
	if (connect(fd, (const struct sockaddr *)sa, sizeof(*sa)) == 0 || errno != ECONNREFUSED)
		return pvb_err(err, -EADDRINUSE, "%s: another server listens there", sa->sun_path);
	unlink(sa->sun_path);
	return 0;
}

static int listen_at(const char *path, struct pvb_error *err)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	mode_t old;
	int fd, probe, rc;

	if (strlen(path) >= sizeof(sa.sun_path))
		return pvb_err(err, -ENAMETOOLONG, "%.100s...: %zu bytes, a socket's path has at most %zu", path,
			       strlen(path), sizeof(sa.sun_path) - 1);
	memcpy(sa.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	rc = fd < 0 || probe < 0 ? pvb_err(err, -errno, "socket: %s", strerror(errno)) : clear_path(&sa, probe, err);
	if (probe >= 0)
		close(probe);
	if (rc == 0) {
		old = umask(0177);
		if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(fd, 64) < 0)
			rc = pvb_err(err, -errno, "%s: %s", path, strerror(errno));
		umask(old);
	}
	if (rc < 0 && fd >= 0)
		close(fd);
	return rc < 0 ? rc : fd;
}

int nbd_server_new(struct nbd_server **out, struct pvb_loop *loop, const char *path, const struct nbd_limits *limits,
		   struct pvb_error *err)
{
	struct nbd_server *srv = calloc(1, sizeof(*srv));
	int rc;

	if (srv == NULL || (srv->path = strdup(path)) == NULL) {
		free(srv);
		return pvb_err(err, -ENOMEM, "out of memory");
	}
	srv->loop = loop;
	srv->limits = *limits;
	if (srv->limits.connections == 0)
		srv->limits.connections = 16;
	if (srv->limits.buffer == 0)
		srv->limits.buffer = 4u << 20;
	srv->fd = listen_at(path, err);
	rc = srv->fd;
	if (rc >= 0) {
		rc = pvb_loop_fd(loop, srv->fd, EPOLLIN, incoming, srv, &srv->src);
		if (rc < 0)
			pvb_err(err, rc, "%s: the event loop does not take it", path);
	}
	if (rc < 0) {
		nbd_server_free(srv);
		return rc;
	}
	*out = srv;
	return 0;
}

int nbd_server_export(struct nbd_server *srv, const char *name, struct pvf_disk *disk)
{
	struct nbd_export *e = calloc(1, sizeof(*e)), **end = &srv->exports;

	if (e == NULL || (e->name = strdup(name)) == NULL) {
		free(e);
		return -ENOMEM;
	}
	e->disk = disk;
	while (*end != NULL)
		end = &(*end)->next;
	*end = e;
	return 0;
}

void nbd_server_changed(struct nbd_server *srv, struct pvf_disk *disk)
{
	const struct pvf_info *info = pvf_disk_info(disk);
	struct nbd_conn *c, *next;

	for (c = srv->conns; c != NULL; c = next) {
		next = c->next;
		if (c->exp == NULL || c->exp->disk != disk || c->state != CONN_COMMANDS)
			continue;
		/* growing is harmless: the client uses what it knew */
		if (c->generation == info->generation && c->size <= info->size)
			continue;
		conn_close(c);
		conn_maybe_free(c);
	}
}

void nbd_server_stop(struct nbd_server *srv)
{
	srv->stopping = true;
	pvb_source_free(&srv->src);
	for (struct nbd_conn *c = srv->conns; c != NULL; c = c->next)
		if (c->fd >= 0)
			conn_update(c);
}

bool nbd_server_idle(const struct nbd_server *srv)
{
	for (const struct nbd_conn *c = srv->conns; c != NULL; c = c->next)
		if (c->in_disk > 0 || (c->fd >= 0 && c->out_head != NULL))
			return false;
	return true;
}

void nbd_server_stats(const struct nbd_server *srv, struct nbd_stats *stats)
{
	*stats = srv->stats;
}

void nbd_server_free(struct nbd_server *srv)
{
	struct nbd_export *e;
	struct nbd_conn *c;
	struct slab *slab;

	if (srv == NULL)
		return;
	pvb_source_free(&srv->src);
	pvb_source_free(&srv->flush);
	while ((c = srv->conns) != NULL) {
		conn_close(c);
		c->dirty = false;
		c->in_disk = 0;
		conn_maybe_free(c);
	}
	while ((e = srv->exports) != NULL) {
		srv->exports = e->next;
		while ((slab = e->slabs) != NULL) {
			e->slabs = slab->next;
			slab_free(slab);
		}
		free(e->name);
		free(e);
	}
	if (srv->fd >= 0) {
		close(srv->fd);
		unlink(srv->path);
	}
	free(srv->path);
	free(srv);
}
