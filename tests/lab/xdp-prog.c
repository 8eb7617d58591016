// SPDX-License-Identifier: GPL-2.0-or-later
/* The XDP programs of pvnet.sh, a section each; they use no maps, so that a section is all there is to a program:
 *   clang -O2 -target bpf -c -o xdp.o xdp-prog.c; llvm-objcopy -O binary -j NAME xdp.o xdp-NAME
 * xdp-load puts the other NIC's number where TO_NIC2 stands. */
#include <linux/bpf.h>

#define PROGRAM(name) __attribute__((section(#name), used)) int xdp_##name(struct xdp_md *md)
#define TO_NIC2 0x7ffffff1
#define ETH_LEN 14
#define ICMP_AT 34 /* behind an IPv4 header without options */

static long (*redirect_to)(__u32 nic, __u64 flags) = (void *)BPF_FUNC_redirect;

PROGRAM(pass)
{
	return XDP_PASS;
}

PROGRAM(drop)
{
	return XDP_DROP;
}

static int swap(__u8 *a, __u8 *b, int n)
{
	__u8 x;
	int i;

#pragma unroll
	for (i = 0; i < n; i++) {
		x = a[i];
		a[i] = b[i];
		b[i] = x;
	}
	return n;
}

/* Is it an echo request?  Whoever says yes may touch the frame up to the ICMP header's end. */
static int is_ping(const __u8 *p, const __u8 *end)
{
	return p + ICMP_AT + 8 <= end && p[12] == 8 && p[13] == 0 && p[ETH_LEN] == 0x45 && p[ETH_LEN + 9] == 1 &&
	       p[ICMP_AT] == 8;
}

/* Pings are answered before anybody else sees them. */
PROGRAM(reflect)
{
	__u8 *p = (void *)(long)md->data, *end = (void *)(long)md->data_end;
	__u32 sum;

	if (!is_ping(p, end))
		return XDP_PASS;
	swap(p, p + 6, 6);
	swap(p + ETH_LEN + 12, p + ETH_LEN + 16, 4);
	p[ICMP_AT] = 0;
	/* the type was the upper half of a word of the sum: 8 less in it is 8 more here */
	sum = (p[ICMP_AT + 2] << 8 | p[ICMP_AT + 3]) + 0x800;
	sum = (sum & 0xffff) + (sum >> 16);
	p[ICMP_AT + 2] = sum >> 8;
	p[ICMP_AT + 3] = sum;
	return XDP_TX;
}

/* Pings leave by the other NIC as they came. */
PROGRAM(redirect)
{
	__u8 *p = (void *)(long)md->data, *end = (void *)(long)md->data_end;

	return is_ping(p, end) ? redirect_to(TO_NIC2, 0) : XDP_PASS;
}
