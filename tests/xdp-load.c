// SPDX-License-Identifier: GPL-2.0-or-later
/* Gives a NIC an XDP program, or takes it away, in a guest of the lab, which has nothing else that can:
 *   xdp-load NIC FILE [NIC2]    FILE: instructions and nothing else, see lab/xdp-prog.c; frames go to NIC2
 *   xdp-load NIC off
 * What the kernel has to say to a refusal is printed. */
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MAX_INSNS 512
#define TO_NIC2 0x7ffffff1 /* what the programs call the other NIC */

static int load(const char *file, unsigned to)
{
	static struct bpf_insn insns[MAX_INSNS];
	static char log[16384];
	union bpf_attr attr = { .prog_type = BPF_PROG_TYPE_XDP };
	size_t n, i;
	int fd;
	FILE *f = fopen(file, "r");

	if (!f) {
		perror(file);
		return -1;
	}
	n = fread(insns, sizeof(insns[0]), MAX_INSNS, f);
	fclose(f);
	for (i = 0; i < n; i++)
		if (insns[i].imm == TO_NIC2)
			insns[i].imm = (int)to;
	attr.insns = (uintptr_t)insns;
	attr.insn_cnt = (unsigned)n;
	attr.license = (uintptr_t)"GPL";
	attr.log_buf = (uintptr_t)log;
	attr.log_size = sizeof(log);
	attr.log_level = 1;
	fd = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr));
	if (fd < 0)
		fprintf(stderr, "%s: %s\n%s", file, strerror(errno), log);
	return fd;
}

static void put(struct nlmsghdr *h, struct nlattr *nest, unsigned short type, int value)
{
	struct nlattr *a = (struct nlattr *)((char *)h + h->nlmsg_len);

	a->nla_type = type;
	a->nla_len = NLA_HDRLEN + sizeof(value);
	memcpy((char *)a + NLA_HDRLEN, &value, sizeof(value));
	h->nlmsg_len += a->nla_len;
	nest->nla_len = (unsigned short)(nest->nla_len + a->nla_len);
}

/* The kernel's own words are an attribute behind what we had asked, which it leaves out. */
static void explain(const struct nlmsghdr *h, const struct nlmsgerr *e)
{
	size_t at = NLMSG_LENGTH(sizeof(*e));
	const struct nlattr *a;

	fprintf(stderr, "refused: %s", strerror(-e->error));
	for (; (h->nlmsg_flags & NLM_F_ACK_TLVS) && at + NLA_HDRLEN < h->nlmsg_len; at += NLA_ALIGN(a->nla_len)) {
		a = (const struct nlattr *)((const char *)h + at);
		if (a->nla_len < NLA_HDRLEN)
			break;
		if (a->nla_type == NLMSGERR_ATTR_MSG)
			fprintf(stderr, ": %.*s", (int)a->nla_len - NLA_HDRLEN, (const char *)a + NLA_HDRLEN);
	}
	fprintf(stderr, "\n");
}

static int attach(unsigned nic, int prog)
{
	struct {
		struct nlmsghdr h;
		struct ifinfomsg i;
		struct nlattr xdp;
		char room[64];
	} msg = {
		.h = { .nlmsg_type = RTM_SETLINK, .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK },
		.i = { .ifi_index = (int)nic },
		.xdp = { .nla_type = IFLA_XDP | NLA_F_NESTED, .nla_len = NLA_HDRLEN },
	};
	union {
		struct nlmsghdr h;
		char room[4096];
	} answer;
	int one = 1, s = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	struct nlmsgerr *e = NLMSG_DATA(&answer.h);
	ssize_t n;

	msg.h.nlmsg_len = NLMSG_LENGTH(sizeof(msg.i)) + NLA_HDRLEN;
	put(&msg.h, &msg.xdp, IFLA_XDP_FD, prog);
	put(&msg.h, &msg.xdp, IFLA_XDP_FLAGS, XDP_FLAGS_DRV_MODE);
	setsockopt(s, SOL_NETLINK, NETLINK_EXT_ACK, &one, sizeof(one));
	setsockopt(s, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof(one));
	n = s < 0 || send(s, &msg, msg.h.nlmsg_len, 0) < 0 ? -1 : recv(s, &answer, sizeof(answer), 0);
	if (n < (ssize_t)NLMSG_LENGTH(sizeof(*e)) || answer.h.nlmsg_type != NLMSG_ERROR) {
		perror("netlink");
		return 1;
	}
	if (e->error == 0)
		return 0;
	explain(&answer.h, e);
	return 1;
}

int main(int argc, char **argv)
{
	unsigned nic, to = 0;
	int prog = -1;

	if (argc < 3) {
		fprintf(stderr, "for the lab: xdp-load NIC FILE|off [NIC2]\n");
		return 77;
	}
	nic = if_nametoindex(argv[1]);
	if (argc > 3)
		to = if_nametoindex(argv[3]);
	if (nic == 0 || (argc > 3 && to == 0)) {
		fprintf(stderr, "%s: no such NIC\n", nic ? argv[3] : argv[1]);
		return 2;
	}
	if (strcmp(argv[2], "off")) {
		prog = load(argv[2], to);
		if (prog < 0)
			return 2;
	}
	return attach(nic, prog);
}
