/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The word by which a TAP is known to be ours: its alias, which renaming does not change. */
#include "config.h"
#include <errno.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "backend/net/tap.h"

struct request {
	struct nlmsghdr h;
	struct ifinfomsg link;
	char attrs[NLMSG_ALIGN(sizeof(struct rtattr)) + TAP_MARK_LEN];
};

/* One request, one answer in buf: its length, or -errno (the kernel's, if it says no). */
static ssize_t ask(const struct request *r, void *buf, size_t size)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	const struct nlmsghdr *h = buf;
	ssize_t n;
	int fd;

	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (fd < 0)
		return -errno;
	n = sendto(fd, r, r->h.nlmsg_len, 0, (struct sockaddr *)&kernel, sizeof(kernel));
	if (n >= 0)
		n = recv(fd, buf, size, 0);
	if (n < 0)
		n = -errno;
	close(fd);
	if (n < 0)
		return n;
	if (!NLMSG_OK(h, (size_t)n))
		return -EPROTO;
	if (h->nlmsg_type == NLMSG_ERROR) {
		const struct nlmsgerr *e = NLMSG_DATA(h);

		return h->nlmsg_len < NLMSG_LENGTH(sizeof(*e)) ? -EPROTO : e->error;
	}
	return n;
}

static void begin(struct request *r, uint16_t type, uint16_t flags, unsigned index)
{
	memset(r, 0, sizeof(*r));
	r->h.nlmsg_len = NLMSG_LENGTH(sizeof(r->link));
	r->h.nlmsg_type = type;
	r->h.nlmsg_flags = NLM_F_REQUEST | flags;
	r->link.ifi_index = (int)index;
}

int tap_mark(const char *ifname, const char *text)
{
	char answer[4096] __attribute__((aligned(NLMSG_ALIGNTO)));
	unsigned index = if_nametoindex(ifname);
	size_t len = strlen(text) + 1;
	struct request r;
	struct rtattr *a;

	if (!index)
		return -errno;
	if (len > TAP_MARK_LEN)
		return -ENAMETOOLONG;
	begin(&r, RTM_SETLINK, NLM_F_ACK, index);
	a = (struct rtattr *)(void *)((char *)&r + NLMSG_ALIGN(r.h.nlmsg_len));
	a->rta_type = IFLA_IFALIAS;
	a->rta_len = (unsigned short)RTA_LENGTH(len);
	memcpy(RTA_DATA(a), text, len);
	r.h.nlmsg_len = (uint32_t)(NLMSG_ALIGN(r.h.nlmsg_len) + RTA_ALIGN(a->rta_len));
	return (int)ask(&r, answer, sizeof(answer));
}

int tap_read_mark(const char *ifname, char text[TAP_MARK_LEN])
{
	char answer[32768] __attribute__((aligned(NLMSG_ALIGNTO)));
	unsigned index = if_nametoindex(ifname);
	const struct nlmsghdr *h = (const void *)answer;
	const struct rtattr *a;
	struct request r;
	ssize_t n, left;

	if (!index)
		return -errno;
	begin(&r, RTM_GETLINK, 0, index);
	n = ask(&r, answer, sizeof(answer));
	if (n < 0)
		return (int)n;
	if (h->nlmsg_type != RTM_NEWLINK || h->nlmsg_len < NLMSG_LENGTH(sizeof(struct ifinfomsg)))
		return -EPROTO;
	left = (ssize_t)(h->nlmsg_len - NLMSG_LENGTH(sizeof(struct ifinfomsg)));
	for (a = IFLA_RTA(NLMSG_DATA(h)); RTA_OK(a, left); a = RTA_NEXT(a, left))
		if (a->rta_type == IFLA_IFALIAS)
			return snprintf(text, TAP_MARK_LEN, "%.*s", (int)RTA_PAYLOAD(a), (const char *)RTA_DATA(a)) < 0 ?
				-EINVAL : 0;
	return -ENOENT;
}
