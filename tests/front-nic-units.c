// SPDX-License-Identifier: GPL-2.0-or-later
/* The parts of the user-space NIC that need no back end: where a frame's checksum is, sums over pieces, capture files,
 * and the TAP (where there is the right to make one). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <net/if.h>
#include <linux/if_packet.h>
#include <arpa/inet.h>
#include <cmocka.h>
#include "frontend/user/nic-impl.h"
#include "frontend/user/pcap.h"
#include "frontend/user/tap.h"
#include "nic-frames.h"

/* --- headers ------------------------------------------------------------------------------------------- */

static void test_every_header(void **state)
{
	static uint8_t f[4096];

	for (unsigned i = 0; i < 2 * 2 * 2 * 5 * 11; i++) {
		struct shape s = { .version = i % 2 ? 6 : 4, .tcp = i / 2 % 2, .tagged = i / 4 % 2,
				   .options = i / 8 % 5, .tcp_options = i / 40 % 11, .len = 300 };
		struct made m = make_frame(f, &s);
		struct pvf_l4 l4 = pvf_find_l4(f, m.len, m.len);
		unsigned need = m.l4 + (s.tcp ? 20 : 8);

		assert_int_equal(l4.version, s.version);
		assert_int_equal(l4.tcp, s.tcp);
		assert_int_equal(l4.start, m.l4);
		assert_int_equal(l4.start + l4.offset, m.field);
		assert_int_equal(l4.payload, m.l4 + (s.tcp ? 20 + 4 * s.tcp_options : 8));
		/* cut anywhere: found only if the header is there, and nothing behind it is looked at */
		for (size_t n = 0; n < need + 4; n++) {
			uint8_t *cut = malloc(n + (n == 0));

			memcpy(cut, f, n);
			assert_int_equal(pvf_find_l4(cut, n, m.len).version, n >= need ? s.version : 0);
			free(cut);
		}
		assert_int_equal(pvf_find_l4(f, need, need).version, s.tcp && s.tcp_options > 0 ? 0 : s.version);
	}
}

static void test_not_a_header(void **state)
{
	struct shape s = { .version = 4, .tcp = true, .len = 100 }, s6 = { .version = 6, .len = 100, .options = 4 };
	uint8_t f[100], g[100];

	make_frame(f, &s);
#define CHANGED(at, value) (memcpy(g, f, 100), g[at] = (value), pvf_find_l4(g, 100, 100).version)
	assert_int_equal(CHANGED(14, 0x44), 0);  /* header of 16 bytes */
	assert_int_equal(CHANGED(14, 0x65), 0);  /* version 6 in IPv4's ethertype */
	assert_int_equal(CHANGED(20, 0x20), 0);  /* a fragment with more to come */
	assert_int_equal(CHANGED(21, 0x01), 0);  /* a fragment that is not the first */
	assert_int_equal(CHANGED(20, 0x40), 4);  /* don't fragment */
	assert_int_equal(CHANGED(23, 1), 0);     /* ICMP */
	assert_int_equal(CHANGED(46, 0x40), 0);  /* TCP header of 16 bytes */
	assert_int_equal(CHANGED(46, 0xf0), 4);  /* of 60: fits */
	assert_int_equal(CHANGED(13, 0x06), 0);  /* ARP */
	make_frame(f, &s6);
	assert_int_equal(CHANGED(0, 0), 6);
	assert_int_equal(CHANGED(54, 44), 0);    /* a fragment header */
	assert_int_equal(CHANGED(55, 0xff), 0);  /* an option header beyond the end */
	assert_int_equal(CHANGED(20, 59), 0);    /* nothing follows */
#undef CHANGED
	/* seven extension headers in a row are nobody's business */
	s6.options = 7;
	s6.len = 200;
	{
		uint8_t h[200];

		make_frame(h, &s6);
		assert_int_equal(pvf_find_l4(h, 200, 200).version, 0);
	}
}

static void test_noise_in_headers(void **state)
{
	uint32_t x = 1;

	for (unsigned i = 0; i < 200000; i++) {
		size_t n = i % 120;
		uint8_t *f = malloc(n + (n == 0));
		struct pvf_l4 l4;

		for (size_t b = 0; b < n; b++) {
			x ^= x << 13;
			x ^= x >> 17;
			x ^= x << 5;
			f[b] = (uint8_t)(x >> 8);
		}
		if (n > 24) {
			put16(f + 12, i % 3 == 0 ? 0x0800 : i % 3 == 1 ? 0x86dd : 0x8100);
			f[14] = (uint8_t)(i % 3 == 0 ? 0x40 | (f[14] & 15) : 0x60);
			f[i % 3 == 0 ? 23 : 20] = (uint8_t)(i % 5 == 0 ? 6 : i % 5 == 1 ? 17 : i % 5 == 2 ? 60 : 0);
		}
		l4 = pvf_find_l4(f, n, n + i % 7);
		if (l4.version != 0) {
			assert_true((size_t)l4.start + l4.offset + 2 <= n);
			assert_true(l4.payload <= n + i % 7);
		}
		free(f);
	}
}

static void test_sums(void **state)
{
	uint8_t data[1001];
	uint32_t x = 7;

	for (unsigned i = 0; i < sizeof(data); i++) {
		x = x * 1103515245 + 12345;
		data[i] = (uint8_t)(x >> 16);
	}
	for (unsigned i = 0; i < 5000; i++) {
		size_t len = i % 1001, a = len ? (i * 7) % len : 0, b = a + (len - a ? (i * 13) % (len - a) : 0);
		size_t start = len ? (i * 3) % len : 0;
		struct iovec iov[] = { { data, a }, { data + a, b - a }, { NULL, 0 }, { data + b, len - b } };
		uint16_t want = (uint16_t)~slow_sum(data + start, len - start, 0), got;
		uint8_t bytes[2];

		got = pvf_sum_iov(iov, 4, start);
		memcpy(bytes, &got, 2);
		assert_int_equal(bytes[0] << 8 | bytes[1], want);
	}
}

/* --- capture files ------------------------------------------------------------------------------------- */

static char *scratch(void)
{
	static char path[64];
	int fd;

	strcpy(path, "/tmp/pvfront-pcap-XXXXXX");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	close(fd);
	return path;
}

static void test_pcap(void **state)
{
	static const uint32_t sizes[] = { 14, 60, 1514, 65535, 100000 };
	const char *path = scratch();
	struct pcap_writer *w;
	struct pcap_reader *r;
	struct pvb_error err;
	static uint8_t f[100000], back[100000];

	assert_int_equal(pcap_create(&w, path, &err), 0);
	for (unsigned i = 0; i < 5; i++) {
		memset(f, (int)i + 1, sizeof(f));
		struct iovec iov[] = { { f, 10 }, { f + 10, sizes[i] - 11 }, { f + sizes[i] - 1, 1 } };

		assert_int_equal(pcap_write(w, iov, 3), 0);
	}
	struct iovec huge = { f, PCAP_SNAP + 1 };

	assert_int_equal(pcap_write(w, &huge, 1), -E2BIG);
	assert_int_equal(pcap_written(w), 5);
	/* whole before it is closed */
	assert_int_equal(pcap_open(&r, path, &err), 0);
	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(pcap_next(r, back, sizeof(back), &err), (int)sizes[i]);
		for (unsigned b = 0; b < sizes[i]; b++)
			assert_int_equal(back[b], i + 1);
	}
	assert_int_equal(pcap_next(r, back, sizeof(back), &err), 0);
	pcap_close(r);
	assert_int_equal(pcap_open(&r, path, &err), 0);
	assert_int_equal(pcap_next(r, back, 50, &err), 14);
	assert_int_equal(pcap_next(r, back, 50, &err), -E2BIG);
	assert_int_equal(pcap_next(r, back, 5000, &err), 1514); /* the one that was too large was skipped */
	pcap_close(r);
	pcap_finish(w);
	unlink(path);
	assert_int_equal(pcap_create(&w, "/nonexistent/x", &err), -ENOENT);
	assert_non_null(strstr(err.text, "/nonexistent/x"));
	assert_int_equal(pcap_open(&r, "/nonexistent/x", &err), -ENOENT);
	pcap_finish(NULL);
	pcap_close(NULL);
}

static void write_file(const char *path, const void *data, size_t len)
{
	FILE *f = fopen(path, "w");

	assert_int_equal(fwrite(data, 1, len, f), len);
	fclose(f);
}

static void test_pcap_of_others(void **state)
{
	static const uint8_t be[] = { 0xa1, 0xb2, 0xc3, 0xd4, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0,
				      0, 0, 0xff, 0xff, 0, 0, 0, 1,
				      0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 3, 'a', 'b', 'c',
				      0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 9, 'd', 'e',
				      0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1, 'f' };
	static const struct { size_t len; int at; uint8_t value; const char *text; } bad[] = {
		{ 20, -1, 0, "shorter than the header" },
		{ sizeof(be), 0, 0x0a, "not a pcap file" },
		{ sizeof(be), 23, 113, "link type 113" },
	};
	static const struct { size_t len; int at; uint8_t value; const char *text; } bad_frame[] = {
		{ 30, -1, 0, "ends in its header" },
		{ 41, -1, 0, "ends in its data" },
		{ sizeof(be), 32, 0x7f, "makes no sense" },
		{ sizeof(be), 35, 0, "makes no sense" },
	};
	const char *path = scratch();
	struct pcap_reader *r;
	struct pvb_error err;
	uint8_t copy[sizeof(be)], f[16];

	write_file(path, be, sizeof(be));
	assert_int_equal(pcap_open(&r, path, &err), 0);
	assert_int_equal(pcap_next(r, f, 16, &err), 3);
	assert_memory_equal(f, "abc", 3);
	assert_int_equal(pcap_next(r, f, 16, &err), -EPROTO); /* cut when captured */
	assert_int_equal(pcap_next(r, f, 16, &err), 1);
	assert_int_equal(f[0], 'f');
	assert_int_equal(pcap_next(r, f, 16, &err), 0);
	pcap_close(r);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		memcpy(copy, be, sizeof(be));
		if (bad[i].at >= 0)
			copy[bad[i].at] = bad[i].value;
		write_file(path, copy, bad[i].len);
		assert_int_equal(pcap_open(&r, path, &err), -EINVAL);
		assert_non_null(strstr(err.text, bad[i].text));
	}
	for (size_t i = 0; i < sizeof(bad_frame) / sizeof(bad_frame[0]); i++) {
		memcpy(copy, be, sizeof(be));
		if (bad_frame[i].at >= 0)
			copy[bad_frame[i].at] = bad_frame[i].value;
		write_file(path, copy, bad_frame[i].len);
		assert_int_equal(pcap_open(&r, path, &err), 0);
		assert_int_equal(pcap_next(r, f, 16, &err), -EINVAL);
		assert_non_null(strstr(err.text, bad_frame[i].text));
		pcap_close(r);
	}
	unlink(path);
}

/* --- the TAP -------------------------------------------------------------------------------------------- */

static struct ifreq request(int sock, const char *name, unsigned long what)
{
	struct ifreq ifr = { 0 };

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	assert_int_equal(ioctl(sock, what, &ifr), 0);
	return ifr;
}

/* Read what the kernel sends until it is ours: it has things of its own to say. */
static int read_ours(struct tap *tap, uint8_t *f, size_t size, struct pvf_offload *off)
{
	for (unsigned i = 0; i < 200; i++) {
		for (unsigned q = 0; q < tap_queues(tap); q++) {
			int rc = tap_read(tap, q, f, size, off);

			if (rc != -EAGAIN && (rc < 0 || (f[12] == 0x88 && f[13] == 0xb5)))
				return rc;
		}
		poll(NULL, 0, 5);
	}
	return -ETIMEDOUT;
}

static void test_tap(void **state)
{
	struct tap_config cfg = { .ifname = "pvtest0", .netns = "/proc/self/fd/X", .queues = 2,
				  .mac = { 0, 0x16, 0x3e, 1, 2, 3 }, .mtu = 9000 };
	struct shape s = { .len = 5000 };
	struct sockaddr_ll to = { .sll_family = AF_PACKET };
	static uint8_t f[TAP_FRAME_MAX], back[TAP_FRAME_MAX];
	struct made m = make_frame(f, &s);
	struct pvf_offload off;
	char path[32];
	struct pvb_error err;
	struct ifreq ifr;
	struct tap *tap, *again;
	int own, other, sock, rc;

	own = open("/proc/self/ns/net", O_RDONLY);
	if (unshare(CLONE_NEWNET) < 0 || access("/dev/net/tun", R_OK | W_OK) < 0) {
		print_message("no right to make network namespaces or TAPs\n");
		close(own);
		skip();
	}
	/* the interface is to be in the new one, we in the old one */
	other = open("/proc/self/ns/net", O_RDONLY);
	assert_int_equal(setns(own, CLONE_NEWNET), 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", other);
	cfg.netns = path;
	rc = tap_new(&tap, &cfg, &err);
	if (rc < 0)
		fail_msg("%s", err.text);
	assert_int_equal(if_nametoindex("pvtest0"), 0);
	assert_int_equal(setns(other, CLONE_NEWNET), 0);
	to.sll_ifindex = (int)if_nametoindex("pvtest0");
	assert_int_not_equal(to.sll_ifindex, 0);
	sock = socket(AF_PACKET, SOCK_RAW, htons(0x88b5));
	assert_int_equal(request(sock, "pvtest0", SIOCGIFMTU).ifr_mtu, 9000);
	ifr = request(sock, "pvtest0", SIOCGIFHWADDR);
	assert_memory_equal(ifr.ifr_hwaddr.sa_data, cfg.mac, 6);
	ifr = request(sock, "pvtest0", SIOCGIFFLAGS);
	ifr.ifr_flags |= IFF_UP;
	assert_int_equal(ioctl(sock, SIOCSIFFLAGS, &ifr), 0);
	/* the kernel carries that on by a work queue */
	for (unsigned i = 0; i < 4000 && request(sock, "pvtest0", SIOCGIFFLAGS).ifr_flags & IFF_RUNNING; i++)
		poll(NULL, 0, 5);
	assert_false(request(sock, "pvtest0", SIOCGIFFLAGS).ifr_flags & IFF_RUNNING);
	assert_int_equal(tap_carrier(tap, true), 0);
	assert_int_equal(tap_offload(tap, true, true, true), 0);
	assert_int_equal(tap_mtu(tap, 8000), 0);
	for (unsigned i = 0; i < 4000 && !(request(sock, "pvtest0", SIOCGIFFLAGS).ifr_flags & IFF_RUNNING); i++)
		poll(NULL, 0, 5);
	assert_int_equal(bind(sock, (struct sockaddr *)&(struct sockaddr_ll){ .sll_family = AF_PACKET,
			      .sll_protocol = htons(0x88b5), .sll_ifindex = to.sll_ifindex }, sizeof(to)), 0);
	assert_int_equal(send(sock, f, m.len, 0), (int)m.len);
	assert_int_equal(read_ours(tap, back, sizeof(back), &off), (int)m.len);
	assert_memory_equal(back, f, m.len);
	assert_false(off.csum_blank);
	assert_int_equal(send(sock, f, m.len, 0), (int)m.len);
	assert_int_equal(read_ours(tap, back, 4000, &off), -EMSGSIZE);
	/* and the other way */
	struct iovec iov[] = { { f, 192 }, { f + 192, m.len - 192 } };
	struct pvf_frame frame = { .iov = iov, .nr = 2, .len = m.len };

	memcpy(f, cfg.mac, 6);
	assert_int_equal(tap_write(tap, 1, &frame), 0);
	assert_int_equal(recv(sock, back, sizeof(back), 0), (int)m.len);
	assert_memory_equal(back, f, m.len);
	ifr = request(sock, "pvtest0", SIOCGIFFLAGS);
	ifr.ifr_flags &= ~IFF_UP;
	assert_int_equal(ioctl(sock, SIOCSIFFLAGS, &ifr), 0);
	assert_int_equal(tap_write(tap, 0, &frame), -EIO);
	/* a second of the same name */
	cfg = (struct tap_config){ .ifname = "pvtest0", .queues = 1, .mtu = 1500 };
	assert_true(tap_new(&again, &cfg, &err) < 0);
	assert_non_null(strstr(err.text, "pvtest0"));
	tap_free(tap);
	assert_int_equal(if_nametoindex("pvtest0"), 0);
	cfg.netns = "no-such-one";
	assert_int_equal(tap_new(&again, &cfg, &err), -ENOENT);
	assert_int_equal(setns(own, CLONE_NEWNET), 0);
	close(sock);
	close(own);
	close(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_header), cmocka_unit_test(test_not_a_header),
		cmocka_unit_test(test_noise_in_headers), cmocka_unit_test(test_sums), cmocka_unit_test(test_pcap),
		cmocka_unit_test(test_pcap_of_others), cmocka_unit_test(test_tap),
	};

	return cmocka_run_group_tests_name("front-nic-units", tests, NULL, NULL);
}
