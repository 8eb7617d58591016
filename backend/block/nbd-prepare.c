/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nbd:unix:PATH and nbd:ADDRESS:PORT - a socket on its way to the server.  Never waits: names are not looked
 * up, and a TCP connection is left to come about in the worker. */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>
#include "backend/block/nbd.h"
#include "backend/target.h"

#define UNIX_PREFIX "unix:"

/* FNV-1a: an identity has no room for long names, and need not be read by people */
static unsigned long long hash(const char *text)
{
	unsigned long long h = 14695981039346656037ULL;

	for (; *text; text++)
		h = (h ^ (unsigned char)*text) * 1099511628211ULL;
	return h;
}

static int connect_to(const struct target *t, const struct sockaddr *addr, socklen_t len, struct pvb_error *err)
{
	int fd = socket(addr->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1, rc;

	if (fd < 0)
		return pvb_err(err, -errno, "%s: socket: %s", t->text, strerror(errno));
	if (addr->sa_family != AF_UNIX)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(fd, addr, len) && errno != EINPROGRESS) {
		rc = pvb_err(err, -errno, "%s: no connection to the NBD server: %s", t->text, strerror(errno));
		close(fd);
		return rc;
	}
	return fd;
}

static int connect_unix(const struct target *t, const char *path, char identity[64], struct pvb_error *err)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	const char *export = target_get(t, "export");
	struct stat st;

	if (path[0] != '/')
		return pvb_err(err, -EINVAL, "%s: \"%s\" is not an absolute path", t->text, path);
	if (strlen(path) >= sizeof(addr.sun_path))
		return pvb_err(err, -ENAMETOOLONG, "%s: the socket's path has %zu bytes, at most %zu", t->text,
			       strlen(path), sizeof(addr.sun_path) - 1);
	strcpy(addr.sun_path, path);
	if (!stat(path, &st))
		snprintf(identity, 64, "nbd %u:%u %ju %016llx", major(st.st_dev), minor(st.st_dev),
			 (uintmax_t)st.st_ino, hash(export ? export : ""));
	return connect_to(t, (struct sockaddr *)&addr, sizeof(addr), err);
}

/* "1.2.3.4:10809", "[::1]:10809", "localhost:10809" */
static int connect_tcp(const struct target *t, char identity[64], struct pvb_error *err)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV }, *ai;
	const char *colon = strrchr(t->arg, ':'), *export = target_get(t, "export");
	char host[64], whole[128];
	size_t len;
	int rc;

	if (!colon || !colon[1] || (size_t)(colon - t->arg) >= sizeof(host))
		return pvb_err(err, -EINVAL, "%s: unix:PATH or ADDRESS:PORT is what this provider wants", t->text);
	len = (size_t)(colon - t->arg);
	memcpy(host, t->arg, len);
	host[len] = 0;
	if (host[0] == '[' && host[len - 1] == ']') {
		host[len - 1] = 0;
		memmove(host, host + 1, len - 1);
	}
	rc = getaddrinfo(strcmp(host, "localhost") ? host : "127.0.0.1", colon + 1, &hints, &ai);
	if (rc)
		return pvb_err(err, -EINVAL, "%s: \"%s\" is no numeric address with a port (names are not looked up)",
			       t->text, t->arg);
	snprintf(whole, sizeof(whole), "%s %s", t->arg, export ? export : "");
	snprintf(identity, 64, "nbd %016llx", hash(whole));
	rc = connect_to(t, ai->ai_addr, ai->ai_addrlen, err);
	freeaddrinfo(ai);
	return rc;
}

int nbd_prepare(const struct target *t, bool readonly, int fds[PROVIDER_MAX_FDS], unsigned *nr_fds, char identity[64],
		struct pvb_error *err)
{
	int fd;

	if (!strncmp(t->arg, UNIX_PREFIX, strlen(UNIX_PREFIX)))
		fd = connect_unix(t, t->arg + strlen(UNIX_PREFIX), identity, err);
	else
		fd = connect_tcp(t, identity, err);
	if (fd < 0)
		return fd;
	fds[0] = fd;
	*nr_fds = 1;
	return 0;
}
