/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One request to the fabric's server and its reply.  Owns no state: the caller has the socket. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "../loop.h"
#include "proto.h"

int lf_socket_path(const char *dir, uint32_t domid, const char *what, char *buf, size_t len)
{
	int n = domid == 0 ? snprintf(buf, len, "%s/%s", dir, what) :
			     snprintf(buf, len, "%s/dom/%u/%s", dir, domid, what);

	return n < 0 || (size_t)n >= len ? -ENAMETOOLONG : 0;
}

int lf_connect(const char *dir, uint32_t as_domid, struct pvb_error *err)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int sock, rc;

	rc = lf_socket_path(dir, as_domid, "ctl", sa.sun_path, sizeof(sa.sun_path));
	if (rc < 0)
		return pvb_err(err, rc, "local fabric %s: path of its socket is longer than %zu bytes", dir,
			       sizeof(sa.sun_path) - 1);
	sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (sock < 0)
		return pvb_err(err, -errno, "local fabric %s: socket: %s", dir, strerror(errno));
	if (connect(sock, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
		rc = pvb_err(err, -errno, "local fabric: connect to %s: %s%s", sa.sun_path, strerror(errno),
			     errno == ENOENT && as_domid != 0 ? " (no such domain?)" :
			     errno == ENOENT || errno == ECONNREFUSED ? " (is pvlocald running?)" : "");
		close(sock);
		return rc;
	}
	return sock;
}

static int wait_readable(int sock, int timeout_ms)
{
	uint64_t end = pvb_now_ms() + (timeout_ms < 0 ? 0 : (uint64_t)timeout_ms);
	struct pollfd p = { .fd = sock, .events = POLLIN };
	int r, left = timeout_ms;

	while ((r = poll(&p, 1, left)) < 0 && errno == EINTR)
		if (timeout_ms >= 0)
			left = end > pvb_now_ms() ? (int)(end - pvb_now_ms()) : 0;
	return r < 0 ? -errno : r == 0 ? -ETIMEDOUT : 0;
}

static void take_fds(struct msghdr *msg, int *fds, unsigned nr_fds)
{
	struct cmsghdr *c;
	unsigned i, got, n = 0;
	int fd;

	for (c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		got = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		for (i = 0; i < got; i++) {
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (n < nr_fds)
				fds[n++] = fd;
			else
				close(fd);
		}
	}
}

int lf_call(int sock, const struct lf_request *req, struct lf_reply *rep, int *fds, unsigned nr_fds, int timeout_ms)
{
	union { char buf[CMSG_SPACE(LF_MAX_FDS * sizeof(int))]; struct cmsghdr align; } ctl;
	struct iovec iov = { rep, sizeof(*rep) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = ctl.buf,
			      .msg_controllen = sizeof(ctl.buf) };
	unsigned i;
	ssize_t r;
	int rc;

	for (i = 0; i < nr_fds; i++)
		fds[i] = -1;
	while ((r = send(sock, req, sizeof(*req), MSG_NOSIGNAL)) < 0 && errno == EINTR)
		;
	if (r < 0)
		return -errno;
	rc = wait_readable(sock, timeout_ms);
	if (rc < 0)
		return rc;
	while ((r = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR)
		;
	if (r < 0)
		return -errno;
	take_fds(&msg, fds, nr_fds);
	rc = r == 0 ? -ECONNRESET : (size_t)r < LF_REPLY_MIN ? -EPROTO : rep->status;
	for (i = 0; rc < 0 && i < nr_fds; i++)
		if (fds[i] >= 0) {
			close(fds[i]);
			fds[i] = -1;
		}
	if (rc < 0 && (r == 0 || (size_t)r < LF_REPLY_MIN))
		rep->text[0] = '\0';
	rep->text[sizeof(rep->text) - 1] = '\0';
	return rc;
}
