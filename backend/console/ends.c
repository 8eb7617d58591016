/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ends.c: see ends.h. */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>
#include "ends.h"

static int failed(const struct con_end *e, int rc, struct pvb_error *err)
{
	return pvb_err(err, rc, "%s: %s", e->text, strerror(-rc));
}

static int open_pty(const struct con_end *e, struct con_open *o, struct pvb_error *err)
{
	int fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK), rc = 0;
	struct termios t;

	if (fd < 0)
		return failed(e, -errno, err);
	o->fd = fd;
	if (grantpt(fd) < 0 || unlockpt(fd) < 0 || ptsname_r(fd, o->tty, sizeof(o->tty)) != 0)
		rc = -errno;
	o->slave = rc < 0 ? -1 : open(o->tty, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (rc == 0 && (o->slave < 0 || tcgetattr(o->slave, &t) < 0))
		rc = -errno;
	if (rc == 0) {
		cfmakeraw(&t); /* else it answers the guest with an echo of its own words */
		rc = tcsetattr(o->slave, TCSANOW, &t) < 0 ? -errno : 0;
	}
	return rc < 0 ? failed(e, rc, err) : 0;
}

/* "127.0.0.1:4001", "[::1]:4001", ":4001" for all. */
static int resolve(const struct con_end *e, struct sockaddr_storage *sa, socklen_t *len, struct pvb_error *err)
{
	const struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE, .ai_socktype = SOCK_STREAM };
	char host[CON_PATH_MAX], *port, *name = host;
	struct addrinfo *list;
	int rc;

	snprintf(host, sizeof(host), "%s", e->where);
	port = strrchr(host, ':');
	if (!port)
		return failed(e, -EINVAL, err);
	*port++ = 0;
	if (host[0] == '[' && port - host >= 3 && port[-2] == ']') {
		name++;
		port[-2] = 0;
	}
	rc = getaddrinfo(*name ? name : NULL, port, &hints, &list);
	if (rc)
		return pvb_err(err, -EINVAL, "%s: %s (addresses are numbers here)", e->text, gai_strerror(rc));
	memcpy(sa, list->ai_addr, list->ai_addrlen);
	*len = list->ai_addrlen;
	freeaddrinfo(list);
	return 0;
}

static int address(const struct con_end *e, struct sockaddr_storage *sa, socklen_t *len, struct pvb_error *err)
{
	struct sockaddr_un *un = (struct sockaddr_un *)sa;

	memset(sa, 0, sizeof(*sa));
	if (e->kind == CON_TCP)
		return resolve(e, sa, len, err);
	un->sun_family = AF_UNIX;
	memcpy(un->sun_path, e->where, strnlen(e->where, sizeof(un->sun_path) - 1)); /* spec.c has looked at its length */
	*len = sizeof(*un);
	return 0;
}

/* A socket's file that nobody listens on is left over. */
static int clear_stale(const struct con_end *e, const struct sockaddr_storage *sa, socklen_t len, struct pvb_error *err)
{
	struct stat st;
	int fd, r, n;

	if (e->kind != CON_UNIX || lstat(e->where, &st) < 0)
		return 0;
	if (!S_ISSOCK(st.st_mode))
		return pvb_err(err, -EEXIST, "%s: there is something that is not a socket", e->text);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	r = connect(fd, (const struct sockaddr *)sa, len);
	n = errno;
	if (fd >= 0)
		close(fd);
	if (r == 0 || n != ECONNREFUSED)
		return pvb_err(err, -EADDRINUSE, "%s: somebody listens there", e->text);
	unlink(e->where);
	return 0;
}

static int open_listener(const struct con_end *e, struct con_open *o, struct pvb_error *err)
{
	struct sockaddr_storage sa;
	socklen_t len;
	int rc = address(e, &sa, &len, err), on = 1;
	mode_t old;

	if (rc == 0)
		rc = clear_stale(e, &sa, len, err);
	if (rc < 0)
		return rc;
	o->fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (o->fd < 0)
		return failed(e, -errno, err);
	if (e->kind == CON_TCP) /* connections of an earlier pvbackd may still be ending */
		setsockopt(o->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	old = umask(0177);
	rc = bind(o->fd, (const struct sockaddr *)&sa, len) < 0 || listen(o->fd, 8) < 0 ? -errno : 0;
	umask(old);
	if (rc < 0) {
		close(o->fd); /* the path is not ours */
		o->fd = -1;
		return failed(e, rc, err);
	}
	return 0;
}

int con_end_dial(const struct con_end *e, struct pvb_error *err)
{
	struct sockaddr_storage sa;
	socklen_t len;
	int rc = address(e, &sa, &len, err), fd;

	if (rc < 0)
		return rc;
	fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return failed(e, -errno, err);
	if (connect(fd, (const struct sockaddr *)&sa, len) < 0 && errno != EINPROGRESS) {
		rc = -errno;
		close(fd);
		return failed(e, rc, err);
	}
	return fd;
}

static int open_log(const struct con_end *e, struct con_open *o, struct pvb_error *err)
{
	struct stat st;

	o->fd = open(e->where, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	if (o->fd < 0)
		return failed(e, -errno, err);
	if (fstat(o->fd, &st) < 0)
		return failed(e, -errno, err);
	if (!S_ISREG(st.st_mode))
		return pvb_err(err, -EINVAL, "%s: not a regular file", e->text);
	o->size = (uint64_t)st.st_size;
	return 0;
}

int con_end_open(const struct con_end *e, struct con_open *o, struct pvb_error *err)
{
	int rc = e->kind == CON_PTY ? open_pty(e, o, err) : e->kind == CON_LOG ? open_log(e, o, err) :
		 e->dial ? 0 : open_listener(e, o, err);

	if (rc < 0 && o->fd >= 0)
		con_end_close(e, o);
	return rc;
}

void con_end_close(const struct con_end *e, struct con_open *o)
{
	if (o->fd >= 0) {
		if (e->kind == CON_UNIX && !e->dial)
			unlink(e->where);
		close(o->fd);
	}
	if (o->slave >= 0)
		close(o->slave);
	*o = CON_OPEN_NONE;
}

static void numbered(const struct con_end *e, unsigned n, char buf[CON_PATH_MAX + 16])
{
	if (n == 0)
		snprintf(buf, CON_PATH_MAX + 16, "%s", e->where);
	else
		snprintf(buf, CON_PATH_MAX + 16, "%s.%u", e->where, n);
}

int con_end_rotate(const struct con_end *e, struct con_open *o, struct pvb_error *err)
{
	char from[CON_PATH_MAX + 16], to[CON_PATH_MAX + 16];
	struct con_open fresh = CON_OPEN_NONE;
	int rc;

	if (e->keep == 0 && unlink(e->where) < 0 && errno != ENOENT)
		return failed(e, -errno, err);
	for (unsigned n = e->keep; n > 0; n--) {
		numbered(e, n - 1, from);
		numbered(e, n, to);
		if (rename(from, to) < 0 && errno != ENOENT)
			return failed(e, -errno, err);
	}
	rc = open_log(e, &fresh, err);
	if (rc < 0) {
		if (fresh.fd >= 0)
			close(fresh.fd);
		return rc;
	}
	close(o->fd);
	*o = fresh;
	return 0;
}
