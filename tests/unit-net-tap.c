/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Real TAPs, in a network namespace of the test's own: what a packet socket on the host's side sends and sees. */
#include "tests/net-doubles.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
#include "backend/net/tap.h"

#define TAP "pvbtest0" /* what net-doubles.c calls its NIC */

static uint8_t buf[70000], seen[70000];
static int control = -1;

/* --- the host's side ---------------------------------------------------------------------------------- */

static struct ifreq ask(const char *ifname, unsigned long request, struct ifreq ifr)
{
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", ifname);
	if (ioctl(control, request, &ifr) < 0)
		fail_msg("%s: %s", ifname, strerror(errno));
	return ifr;
}

static void set_up(const char *ifname)
{
	struct ifreq ifr = ask(ifname, SIOCGIFFLAGS, (struct ifreq){ 0 });

	ifr.ifr_flags |= IFF_UP;
	ask(ifname, SIOCSIFFLAGS, ifr);
}

static bool carrier(const char *ifname)
{
	struct ethtool_value v = { .cmd = ETHTOOL_GLINK };

	ask(ifname, SIOCETHTOOL, (struct ifreq){ .ifr_data = (void *)&v });
	return v.data;
}

/* A packet socket with virtio_net_hdr on the interface. */
static int open_socket(const char *ifname)
{
	struct sockaddr_ll ll = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), on = 1;

	assert_true(fd >= 0);
	ll.sll_ifindex = (int)if_nametoindex(ifname);
	assert_int_equal(setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&ll, sizeof(ll)), 0);
	return fd;
}

static void host_sends(int fd, const struct frame *f)
{
	struct virtio_net_hdr_v1 h;
	struct iovec iov[2] = { { &h, sizeof(struct virtio_net_hdr) }, { f->seg[0].local, f->len } };

	packet_to_vnet(f, &h);
	if (writev(fd, iov, 2) < 0)
		fail_msg("packet socket: %s", strerror(errno));
}

/* The next frame that came from the guest; its length. */
static ssize_t host_gets(int fd, struct virtio_net_hdr *h)
{
	for (;;) {
		struct iovec iov[2] = { { h, sizeof(*h) }, { seen, sizeof(seen) } };
		struct pollfd p = { .fd = fd, .events = POLLIN };
		struct sockaddr_ll from;
		struct msghdr m = { .msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = iov, .msg_iovlen = 2 };
		ssize_t n;

		assert_int_equal(poll(&p, 1, 2000), 1);
		n = recvmsg(fd, &m, 0);
		assert_true(n > (ssize_t)sizeof(*h));
		if (from.sll_pkttype != PACKET_OUTGOING)
			return n - (ssize_t)sizeof(*h);
	}
}

static void wait_for(struct nif *nic, unsigned nr)
{
	uint64_t end = pvb_now_ms() + 3000;

	while (nic->flushed < nr && pvb_now_ms() < end)
		pvb_loop_once(nic->ctx->loop, 10);
	assert_int_equal(nic->flushed, nr);
}

static struct nif *nic_up(struct nif_ctx *ctx, const struct port_offers *offers)
{
	struct nif *n = nic_new(ctx, 1, "tap", offers);

	set_up(TAP);
	return n;
}

static void done(struct nif_ctx *ctx)
{
	ctx_free(ctx);
	assert_int_equal(tap_remove(TAP, NULL), 0);
	assert_int_equal(if_nametoindex(TAP), 0);
}

/* --- tests -------------------------------------------------------------------------------------------- */

static void made_kept_removed(void **state)
{
	struct pvb_error err = { .text = "" };
	unsigned index;
	int fds[8];

	assert_int_equal(tap_remove(TAP, &err), 0);
	assert_int_equal(tap_prepare(TAP, 4, 1400, fds, &err), 0);
	index = if_nametoindex(TAP);
	assert_int_not_equal(index, 0);
	assert_int_equal(ask(TAP, SIOCGIFMTU, (struct ifreq){ 0 }).ifr_mtu, 1400);
	assert_memory_equal(ask(TAP, SIOCGIFHWADDR, (struct ifreq){ 0 }).ifr_hwaddr.sa_data, "\xfe\xff\xff\xff\xff\xff",
			    6);
	assert_false(carrier(TAP));
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(fcntl(fds[i], F_GETFD), FD_CLOEXEC);
		assert_true(fcntl(fds[i], F_GETFL) & O_NONBLOCK);
		close(fds[i]);
	}
	ask(TAP, SIOCSIFMTU, (struct ifreq){ .ifr_mtu = 9000 }); /* by a script */
	assert_int_equal(tap_prepare(TAP, 8, 1400, fds, &err), 0);
	assert_int_equal(if_nametoindex(TAP), index); /* the same */
	assert_int_equal(ask(TAP, SIOCGIFMTU, (struct ifreq){ 0 }).ifr_mtu, 9000);
	for (unsigned i = 0; i < 8; i++)
		close(fds[i]);
	assert_int_equal(tap_remove(TAP, &err), 0);
	assert_int_equal(if_nametoindex(TAP), 0);
}

static void refused(void **state)
{
	static const struct { const char *name; uint32_t mtu; const char *why; } cases[] = {
		{ "lo", 0, "TAP lo: " }, { "", 0, "no name" }, { "a/b", 0, "no name" }, { "v%d", 0, "no name" },
		{ "more-than-fifteen", 0, "no name" }, { "pvbtest1", 70000, "MTU 70000" },
	};
	int fds[8];

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct pvb_error err = { .text = "" };

		assert_int_not_equal(tap_prepare(cases[i].name, 2, cases[i].mtu, fds, &err), 0);
		if (!strstr(err.text, cases[i].why))
			fail_msg("\"%s\" does not say \"%s\"", err.text, cases[i].why);
		assert_true(i == 0 || !if_nametoindex(cases[i].name));
	}
}

static void carrier_follows_the_guest(void **state)
{
	struct nif_ctx *ctx = ctx_new();
	struct nif *n = nic_up(ctx, NULL);

	assert_true(carrier(TAP));
	port_carrier(n->port, false);
	assert_false(carrier(TAP));
	port_carrier(n->port, true);
	assert_true(carrier(TAP));
	port_connected(n->port, NULL);
	assert_false(carrier(TAP));
	port_carrier(n->port, true);
	assert_false(carrier(TAP));
	port_connected(n->port, &all_offers);
	assert_true(carrier(TAP));
	done(ctx);
}

/* Both ways, all kinds; blank checksums and large segments go through as such. */
static void frames_both_ways(void **state)
{
	struct nif_ctx *ctx = ctx_new();
	struct nif *n = nic_up(ctx, NULL);
	int fd = open_socket(TAP);
	struct virtio_net_hdr h;
	struct frame f;

	assert_true(n->port->whole);
	for (unsigned k = 0; k < 16; k++) {
		struct build b = { .src = 1, .dst = 2, .v6 = k & 1, .udp = (k & 6) == 2, .blank = k & 6,
				   .payload = k & 4 ? 20000 : 300 + k, .gso_size = k & 4 ? 1400 : 0, .tagged = k & 8,
				   .vlan = 3 };

		build(&f, buf, &b);
		f.queue = k & 1;
		assert_int_equal(nic_send(n, &f), FRAME_SENT);
		assert_int_equal(host_gets(fd, &h), f.len - (b.tagged ? 4 : 0)); /* the kernel takes the tag aside */
		assert_int_equal(h.gso_size, b.gso_size);
		assert_int_equal(h.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM, b.blank ? 1 : 0);
		if (b.tagged)
			continue;
		assert_memory_equal(seen, buf, f.len);
		host_sends(fd, &f);
		wait_for(n, n->flushed + 1);
		assert_int_equal(n->got[n->nr - 1].len, f.len);
		assert_memory_equal(n->got[n->nr - 1].bytes, buf, f.len);
		assert_int_equal(n->got[n->nr - 1].gso_size, b.gso_size);
		assert_int_equal(n->got[n->nr - 1].csum_blank, b.blank);
	}
	nic_forget(n);
	build(&f, buf, &(struct build){ .src = 2, .dst = 1, .payload = 65490, .gso_size = 1000 });
	assert_int_equal(f.len, 65544); /* longer than the protocol's frames: the kernel cuts it */
	host_sends(fd, &f);
	wait_for(n, 66);
	assert_int_equal(n->port->stats.rx_dropped_filter, 0);
	close(fd);
	done(ctx);
}

/* What the guest does not take: the kernel does it, or we. */
static void offers_are_kept(void **state)
{
	static const struct port_offers none = { .queues = 1 };
	static const struct port_offers only4 = { .queues = 1, .csum4 = true, .gso4 = true, .sg = true };
	struct nif_ctx *ctx = ctx_new();
	struct nif *n = nic_up(ctx, &none);
	int fd = open_socket(TAP);
	struct frame f;

	for (unsigned v6 = 0; v6 < 2; v6++) {
		nic_forget(n);
		build(&f, buf, &(struct build){ .src = 2, .dst = 1, .v6 = v6, .payload = 10000, .gso_size = 1000 });
		host_sends(fd, &f);
		wait_for(n, 10);
		build(&f, buf, &(struct build){ .src = 2, .dst = 1, .v6 = v6, .udp = true, .payload = 99,
			.blank = true });
		host_sends(fd, &f);
		wait_for(n, 11);
		for (unsigned i = 0; i < 11; i++) {
			assert_false(n->got[i].csum_blank || n->got[i].gso);
			assert_true(checksums_are_good(n->got[i].bytes, n->got[i].len));
		}
	}
	port_connected(n->port, NULL);
	port_connected(n->port, &only4);
	nic_forget(n);
	build(&f, buf, &(struct build){ .src = 2, .dst = 1, .payload = 3000, .gso_size = 1000 });
	host_sends(fd, &f);
	wait_for(n, 1);
	assert_int_equal(n->got[0].gso_size, 1000);
	build(&f, buf, &(struct build){ .src = 2, .dst = 1, .v6 = true, .udp = true, .payload = 99, .blank = true });
	host_sends(fd, &f);
	wait_for(n, 2);
	assert_false(n->got[1].csum_blank);
	assert_true(checksums_are_good(n->got[1].bytes, n->got[1].len));
	build(&f, buf, &(struct build){ .src = 2, .dst = 1, .v6 = true, .payload = 3000, .gso_size = 1000 });
	host_sends(fd, &f);
	wait_for(n, 5);
	close(fd);
	done(ctx);
}

/* Without room one frame waits here and the others in the kernel; in order when there is room. */
static void waits_for_room(void **state)
{
	static const struct port_offers one = { .queues = 1, .csum4 = true };
	struct nif_ctx *ctx = ctx_new();
	struct nif *n = nic_up(ctx, &one);
	int fd = open_socket(TAP);
	struct frame f;

	n->room = 2;
	for (unsigned i = 0; i < 100; i++) {
		build(&f, buf, &(struct build){ .src = 2, .dst = 1, .udp = true, .payload = 10 + i });
		host_sends(fd, &f);
	}
	wait_for(n, 2);
	for (unsigned i = 0; i < 3; i++)
		pvb_loop_once(ctx->loop, 1);
	assert_true(n->said_held);
	assert_int_equal(n->nr, 2);
	nic_make_room(n, 500);
	wait_for(n, 100);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(n->got[i].len, 14 + 28 + 10 + i);
	n->room = 0;
	host_sends(fd, &f);
	for (unsigned i = 0; i < 3; i++)
		pvb_loop_once(ctx->loop, 1);
	host_sends(fd, &f);
	port_connected(n->port, NULL); /* what waits is not for the one that comes next */
	n->room = 500;
	port_connected(n->port, &one);
	build(&f, buf, &(struct build){ .src = 2, .dst = 1, .udp = true, .payload = 999 });
	host_sends(fd, &f);
	wait_for(n, 101);
	assert_int_equal(n->got[100].len, 14 + 28 + 999);
	close(fd);
	done(ctx);
}

static void until_idle(struct nif_ctx *ctx)
{
	while (pvb_loop_once(ctx->loop, 2) > 0)
		;
}

/* A frame at a time, with a look at what there is after each: what a sender on our own processor makes of us.  How many
 * passes that took. */
static unsigned one_by_one(struct nif *n, int fd, unsigned nr, const struct build *b)
{
	unsigned flushes = n->ctx->flushes;
	struct frame f;

	nic_forget(n);
	build(&f, buf, b);
	for (unsigned i = 0; i < nr; i++) {
		host_sends(fd, &f);
		pvb_loop_once(n->ctx->loop, 0);
	}
	wait_for(n, nr);
	for (unsigned i = 0; i < nr; i++)
		assert_int_equal(n->got[i].len, f.len);
	return n->ctx->flushes - flushes;
}

/* Small frames that come close upon each other make fewer passes; a single one and large ones do not wait. */
static void pauses(void **state)
{
	static const struct build small = { .src = 2, .dst = 1, .udp = true, .payload = 18 };
	static const struct build large = { .src = 2, .dst = 1, .payload = 9000, .gso_size = 1000 };
	static const struct port_offers all = { .queues = 1, .csum4 = true, .gso4 = true, .sg = true };
	struct nif_ctx *ctx = ctx_new();
	struct nif *n = nic_up(ctx, &all);
	unsigned passes = 80, tries;
	int fd = open_socket(TAP);
	struct frame f;

	/* a machine that stops us for as long as a pause now and then proves nothing */
	for (tries = 0; tries < 50 && passes >= 60; tries++)
		for (unsigned i = passes = 0; i < 20; i++)
			passes += one_by_one(n, fd, 4, &small);
	assert_true(passes < 60);
	until_idle(ctx);
	nic_forget(n);
	build(&f, buf, &small);
	host_sends(fd, &f);
	pvb_loop_once(ctx->loop, 0);
	assert_int_equal(n->flushed, 1);
	/* that one has begun a pause, which ends with the connection */
	host_sends(fd, &f);
	port_connected(n->port, NULL);
	until_idle(ctx);
	assert_int_equal(n->flushed, 1);
	port_connected(n->port, &all);
	nic_forget(n);
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(one_by_one(n, fd, 1, &large), 1);
	close(fd);
	done(ctx);
}

/* Flows spread over the queues the guest has, and over no others. */
static void queues(void **state)
{
	static const struct port_offers one = { .queues = 1, .csum4 = true };
	struct nif_ctx *ctx = ctx_new();
	struct nif *n = nic_up(ctx, NULL);
	int fd = open_socket(TAP);
	unsigned count[2] = { 0 };
	struct frame f;

	for (unsigned round = 0; round < 2; round++) {
		nic_forget(n);
		for (unsigned i = 0; i < 64; i++) {
			build(&f, buf, &(struct build){ .src = (uint8_t)(10 + i), .dst = 1, .udp = true,
				.payload = 10 });
			host_sends(fd, &f);
		}
		wait_for(n, 64);
		for (unsigned i = 0; i < 64; i++)
			count[n->got[i].queue]++;
		if (!round) {
			assert_true(count[0] && count[1]);
			port_connected(n->port, NULL);
			port_connected(n->port, &one);
			memset(count, 0, sizeof(count));
		}
	}
	assert_int_equal(count[0], 64);
	close(fd);
	done(ctx);
}

static void a_tap_that_is_down_or_gone(void **state)
{
	struct nif_ctx *ctx = ctx_new();
	struct nif *n = nic_new(ctx, 1, "tap", NULL);
	unsigned rounds = 0;
	uint64_t end;
	struct frame f;

	build(&f, buf, &(struct build){ .src = 1, .dst = 2 });
	assert_int_equal(nic_send(n, &f), FRAME_DROPPED); /* down */
	assert_int_equal(n->port->stats.tx_errors, 1);
	set_up(TAP);
	assert_int_equal(nic_send(n, &f), FRAME_SENT);
	assert_int_equal(system("ip link del " TAP " 2>/dev/null || exit 9"), 0);
	for (end = pvb_now_ms() + 50; pvb_now_ms() < end; rounds++)
		pvb_loop_once(ctx->loop, 10);
	assert_true(rounds < 50); /* does not spin */
	assert_int_equal(nic_send(n, &f), FRAME_DROPPED);
	ctx_free(ctx);
}

/* --- the switch's uplink ------------------------------------------------------------------------------ */

static void uplink(void **state)
{
	static const struct port_offers none = { .queues = 1 };
	struct nif_ctx *ctx = ctx_new();
	struct nif *a = nic_new(ctx, 1, "switch:lan?uplink=pvbup0", NULL);
	struct nif *b = nic_new(ctx, 2, "switch:lan?uplink=pvbup0&vlan=5", &none);
	struct nif *c = nic_new(ctx, 3, "switch:lan", &none);
	struct pvb_error err = { .text = "" };
	struct virtio_net_hdr h;
	uint8_t hdr[FRAME_HDR];
	struct port *p;
	struct frame f;
	int fd;

	set_up("pvbup0");
	assert_true(carrier("pvbup0"));
	fd = open_socket("pvbup0");
	assert_int_equal(chain_open(ctx, 4, "switch:lan?uplink=pvbup1", &p, &err), -EBUSY);
	assert_non_null(strstr(err.text, "has uplink pvbup0"));
	assert_int_equal(tap_remove("pvbup1", NULL), 0);
	assert_false(a->port->whole);
	build(&f, buf, &(struct build){ .src = 1, .dst = 77, .payload = 500 });
	grant(&f, hdr, 0);
	assert_int_equal(nic_send(a, &f), FRAME_SENT); /* unknown: to all of VLAN 1 */
	assert_int_equal(ctx->fetches, 1);
	assert_int_equal(host_gets(fd, &h), f.len);
	assert_memory_equal(seen, buf, f.len);
	assert_int_equal(b->nr, 0);
	assert_int_equal(c->nr, 1);
	build(&f, buf, &(struct build){ .src = 77, .dst = 1, .payload = 20000, .gso_size = 1400 });
	host_sends(fd, &f);
	wait_for(a, 1);
	assert_int_equal(a->got[0].gso_size, 1400);
	build(&f, buf, &(struct build){ .src = 1, .dst = 77, .payload = 20000, .gso_size = 1400 });
	assert_int_equal(nic_send(a, &f), FRAME_SENT); /* known now */
	assert_int_equal(host_gets(fd, &h), f.len);
	assert_int_equal(h.gso_size, 1400);
	assert_int_equal(c->nr, 1);
	build(&f, buf, &(struct build){ .src = 77, .dst = 2, .payload = 5000, .gso_size = 1000, .tagged = true,
		.vlan = 5 });
	host_sends(fd, &f);
	wait_for(b, 5); /* without offloads, without the tag */
	for (unsigned i = 0; i < 5; i++)
		assert_true(checksums_are_good(b->got[i].bytes, b->got[i].len) && b->got[i].bytes[12] == 8);
	a->room = 0;
	build(&f, buf, &(struct build){ .src = 77, .dst = 1, .payload = 5 });
	for (unsigned i = 0; i < 20; i++)
		host_sends(fd, &f);
	for (unsigned i = 0; i < 5; i++)
		pvb_loop_once(ctx->loop, 2);
	assert_true(a->said_held);
	nic_make_room(a, 100);
	nif_ctx_flush(ctx);
	wait_for(a, 21);
	nic_free(a);
	nic_free(b);
	assert_true(carrier("pvbup0")); /* not with those who named it, with the last */
	nic_free(c);
	assert_false(carrier("pvbup0"));
	close(fd);
	assert_int_equal(tap_remove("pvbup0", NULL), 0);
	ctx_free(ctx);
}

/* Descriptors that somebody else holds, too, must not get frames: after a crash of the worker its successor may take
 * another NIC's. */
static void uplink_of_a_successor(void **state)
{
	struct port_nic nic = { .domid = 1, .ifname = "", .mtu = 1500, .queues = 1, .mac = { 2, 0, 0, 0, 0, 1 } };
	struct nif_ctx *ctx = ctx_new();
	struct port *first, *second;
	int a[PORT_MAX_FDS], b[PORT_MAX_FDS], fd, copies[2], again[2];
	unsigned nr;
	struct target *t;
	struct frame f;
	struct nif *n;

	assert_int_equal(port_parse("switch:lan?uplink=pvbup0&storm=0", &t, NULL), 0);
	assert_int_equal(port_prepare(t, &nic, a, &nr, NULL), 0);
	assert_int_equal(port_prepare(t, &nic, b, &nr, NULL), 0);
	copies[0] = dup(a[0]);
	copies[1] = dup(b[0]);
	assert_int_equal(port_open(t, &nic, a, 1, ctx, &first, NULL), 0);
	port_close(first);
	tap_attach(copies[0], true); /* as a worker leaves it that dies */
	again[0] = dup(copies[1]);
	again[1] = dup(copies[0]);
	assert_int_equal(port_open(t, &nic, &again[0], 1, ctx, &first, NULL), 0);
	assert_int_equal(port_open(t, &nic, &again[1], 1, ctx, &second, NULL), 0);
	n = nic_new(ctx, 2, "switch:lan", NULL);
	set_up("pvbup0");
	fd = open_socket("pvbup0");
	for (unsigned i = 0; i < 64; i++) {
		build(&f, buf, &(struct build){ .src = (uint8_t)(10 + i), .dst = 2, .udp = true });
		host_sends(fd, &f);
	}
	wait_for(n, 64);
	port_close(first);
	port_close(second);
	close(fd);
	close(b[0]);
	close(copies[0]);
	close(copies[1]);
	target_free(t);
	ctx_free(ctx);
	assert_int_equal(tap_remove("pvbup0", NULL), 0);
}

static void speed(void **state)
{
	struct nif_ctx *ctx = ctx_new();
	struct nif *n = nic_up(ctx, NULL);
	struct frame f, *one = &f;
	unsigned nr = 100000;
	uint64_t start, ns;

	build(&f, buf, &(struct build){ .src = 1, .dst = 2, .udp = true, .payload = 18 });
	start = pvb_now_ns();
	for (unsigned i = 0; i < nr; i++)
		port_xmit(n->port, &one, 1);
	ns = pvb_now_ns() - start;
	print_message("%u frames of 60 bytes to a TAP: %.0f ns each\n", nr, (double)ns / nr);
	assert_int_equal(n->port->stats.tx_errors, 0);
	done(ctx);
}

/* --- a place of our own ------------------------------------------------------------------------------- */

static void say_to(const char *file, const char *text)
{
	int fd = open(file, O_WRONLY | O_CLOEXEC);

	if (fd >= 0 && write(fd, text, strlen(text)) < 0)
		perror(file);
	if (fd >= 0)
		close(fd);
}

static const char *move_out(void)
{
	int fd;

	if (unshare(CLONE_NEWNET) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
		return "no network namespace of its own";
	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return "/dev/net/tun can not be opened";
	close(fd);
	/* nothing but the test's own frames */
	say_to("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
	say_to("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1");
	control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	return control < 0 ? "no sockets" : NULL;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(made_kept_removed), cmocka_unit_test(refused),
		cmocka_unit_test(carrier_follows_the_guest),
		cmocka_unit_test(frames_both_ways), cmocka_unit_test(offers_are_kept), cmocka_unit_test(waits_for_room),
		cmocka_unit_test(pauses),
		cmocka_unit_test(queues), cmocka_unit_test(a_tap_that_is_down_or_gone), cmocka_unit_test(uplink),
		cmocka_unit_test(uplink_of_a_successor),
		cmocka_unit_test(speed),
	};
	const char *why = move_out();
	int fds[1];

	if (!why && tap_prepare(TAP, 1, 0, fds, NULL))
		why = "TAPs can not be made here";
	if (why) {
		printf("SKIP: %s\n", why);
		return 77;
	}
	close(fds[0]);
	tap_remove(TAP, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
