/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ipc.c: one message in, one message out. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <sys/mman.h>
#include "ipc.h"

int ipc_send(int sock, const struct ipc_msg *m, const int *fds, unsigned nr_fds)
{
	union { char buf[CMSG_SPACE(sizeof(int) * IPC_MAX_FDS)]; struct cmsghdr align; } ctl = { 0 };
	struct iovec iov = { (void *)m, sizeof(*m) };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t r;

	if (nr_fds > IPC_MAX_FDS)
		return -E2BIG;
	if (nr_fds) {
		struct cmsghdr *c;

		h.msg_control = ctl.buf;
		h.msg_controllen = CMSG_SPACE(sizeof(int) * nr_fds);
		c = CMSG_FIRSTHDR(&h);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * nr_fds);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * nr_fds);
	}
	do
		r = sendmsg(sock, &h, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : 0;
}

void ipc_close_fds(int *fds, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++)
		close(fds[i]);
}

int ipc_recv(int sock, struct ipc_msg *m, int fds[IPC_MAX_FDS], unsigned *nr_fds)
{
	union { char buf[CMSG_SPACE(sizeof(int) * IPC_MAX_FDS)]; struct cmsghdr align; } ctl = { 0 };
	struct iovec iov = { m, sizeof(*m) };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = ctl.buf, .msg_controllen = sizeof(ctl.buf) };
	struct cmsghdr *c;
	ssize_t r;

	*nr_fds = 0;
	do
		r = recvmsg(sock, &h, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return errno == EAGAIN ? 0 : -errno;
	if (r == 0)
		return -ECONNRESET;
	for (c = CMSG_FIRSTHDR(&h); c; c = CMSG_NXTHDR(&h, c)) {
		unsigned n;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		n = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		if (*nr_fds + n <= IPC_MAX_FDS) {
			memcpy(fds + *nr_fds, CMSG_DATA(c), n * sizeof(int));
			*nr_fds += n;
		}
	}
	if (r != sizeof(*m) || (h.msg_flags & (MSG_TRUNC | MSG_CTRUNC))) {
		ipc_close_fds(fds, *nr_fds);
		*nr_fds = 0;
		return -EPROTO;
	}
	return 1;
}

void *ipc_map(int fd, size_t bytes)
{
	void *mem = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (mem == MAP_FAILED)
		return NULL;
	/* one page at a time: on a file system the first look would read, and so make, all of them */
	madvise(mem, bytes, MADV_RANDOM);
	return mem;
}
