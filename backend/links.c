/* SPDX-License-Identifier: GPL-2.0-or-later */
/* links.c: see links.h. */
#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include "bus/hv.h"
#include "bus/loop.h"
#include "links.h"

struct links {
	void (*changed)(void *arg, unsigned ifindex);
	void *arg;
	struct pvb_source *src;
	int fd;
};

static void take(const struct links *l, const struct nlmsghdr *n, size_t len)
{
	for (; NLMSG_OK(n, len); n = NLMSG_NEXT(n, len)) {
		const struct ifinfomsg *i = NLMSG_DATA(n);

		if ((n->nlmsg_type == RTM_NEWLINK || n->nlmsg_type == RTM_DELLINK) &&
		    n->nlmsg_len >= NLMSG_LENGTH(sizeof(*i)) && i->ifi_index > 0)
			l->changed(l->arg, (unsigned)i->ifi_index);
	}
}

/* A few at a time: the loop comes back for more. */
static void readable(void *arg, uint32_t events)
{
	struct links *l = arg;
	union {
		struct nlmsghdr n;
		char bytes[16384];
	} buf;
	ssize_t len;

	for (unsigned i = 0; i < 16; i++) {
		len = recv(l->fd, &buf, sizeof(buf), 0);
		if (len < 0 && errno == ENOBUFS)
			l->changed(l->arg, 0);
		else if (len <= 0)
			return;
		else
			take(l, &buf.n, (size_t)len);
	}
}

int links_open(struct links **out, struct pvb_loop *loop, void (*changed)(void *arg, unsigned ifindex), void *arg,
	       struct pvb_error *err)
{
	const struct sockaddr_nl to = { .nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK };
	struct links *l = calloc(1, sizeof(*l));
	int rc;

	*out = NULL;
	if (!l)
		return pvb_err(err, -ENOMEM, "no memory for news of interfaces");
	l->changed = changed;
	l->arg = arg;
	l->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
	rc = l->fd < 0 || bind(l->fd, (const struct sockaddr *)&to, sizeof(to)) < 0 ? -errno : 0;
	if (rc == 0)
		rc = pvb_loop_fd(loop, l->fd, EPOLLIN, readable, l, &l->src);
	if (rc < 0) {
		links_close(&l);
		return pvb_err(err, rc, "rtnetlink: %s", strerror(-rc));
	}
	*out = l;
	return 0;
}

void links_close(struct links **links)
{
	struct links *l = *links;

	if (!l)
		return;
	pvb_source_free(&l->src);
	if (l->fd >= 0)
		close(l->fd);
	free(l);
	*links = NULL;
}
