// SPDX-License-Identifier: GPL-2.0-or-later
/* NICs on the stage of hostile-stage.h: what the liar gets, and an honest guest with two NICs on the switch that the
 * liar is on, too, so that one process serves them all. */
#include "unit.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
#include "frontend/user/pvnic.h"
#include "tests/hostile-nic.h"
#include "tests/hostile-nics.h"
#include "tests/hostile-stage.h"
#include "tests/nic-frames.h"

#define RESEND_MS 300u         /* an Ethernet may lose a frame, and the liar may see to that */
#define MAX_FRAME 1514u

static const struct pvb_pair echo[] = { { "mac", "00:16:3e:01:00:00" }, { "handle", "0" }, { "port", "null?echo=on" } };
static const struct pvb_pair lan1[] = { { "mac", "00:16:3e:01:00:01" }, { "handle", "1" }, { "port", "switch:lan" } };
static const struct pvb_pair lan2[] = { { "mac", "00:16:3e:01:00:02" }, { "handle", "2" }, { "port", "switch:lan" } };
static const struct pvb_pair good0[] = { { "mac", "00:16:3e:02:00:00" }, { "handle", "0" }, { "port", "switch:lan" } };
static const struct pvb_pair good1[] = { { "mac", "00:16:3e:02:00:01" }, { "handle", "1" }, { "port", "switch:lan" } };

/* ---- the honest guest of the local fabric ---------------------------------------------------------------- */

static struct {
	struct pvb_loop *loop;
	struct pvb_hv *hv;
	struct pvb_store *st;
	struct pvf_guest *guest;
	struct pvf_nic *nic[2];
	uint64_t seed;
	uint32_t number;
	unsigned resent;
	uint8_t out[MAX_FRAME], in[MAX_FRAME];
	uint32_t len;
	unsigned arrived, wrong;
} good;

/* Others on the switch may send anything, with any address.  What has our addresses and this round's number is ours. */
static void on_receive(void *arg, struct pvf_nic *nic, unsigned queue, const struct pvf_frame *f)
{
	uint32_t len = 0;

	for (unsigned i = 0; i < f->nr; i++) {
		if (f->iov[i].iov_len > sizeof(good.in) - len)
			return;
		memcpy(good.in + len, f->iov[i].iov_base, f->iov[i].iov_len);
		len += (uint32_t)f->iov[i].iov_len;
	}
	if (len < 18 || memcmp(good.in, good.out, 18) != 0)
		return;
	good.arrived++;
	good.wrong += len != good.len || memcmp(good.in, good.out, len) != 0;
}

static bool up(const char *spec, char *why)
{
	struct pvf_nic_options o = { .tx_pages = 64, .rx_pages = 64, .receive = on_receive };
	struct pvb_error err = { 0 };
	int rc = pvb_loop_new(&good.loop);

	good.seed = 3;
	if (rc == 0)
		rc = pvb_hv_open(&good.hv, spec, PVB_HV_FRONT, &err);
	if (rc == 0)
		rc = pvb_store_open(&good.st, spec, &err);
	if (rc == 0)
		rc = pvf_guest_new(&good.guest, good.hv, good.st, good.loop, &err);
	for (unsigned i = 0; rc == 0 && i < 2; i++)
		rc = pvf_nic_open(&good.nic[i], good.guest, i, &o, &err);
	for (unsigned i = 0; rc == 0 && i < 2; i++)
		rc = pvf_nic_wait(good.nic[i], STAGE_WAIT_MS, &err);
	if (rc < 0)
		snprintf(why, STAGE_WHY, "%d %s", rc, err.text);
	return rc == 0;
}

/* A frame from one of its NICs to the other. */
static bool do_round(char *why)
{
	unsigned from = good.number & 1;
	uint64_t until = pvb_now_ms() + (uint64_t)STAGE_WAIT_MS, resend = 0, now;
	struct iovec iov = { good.out, 0 };

	good.len = 60 + rnd(&good.seed) % (MAX_FRAME - 59);
	for (unsigned i = 18; i < good.len; i++)
		good.out[i] = (uint8_t)rnd(&good.seed);
	memcpy(good.out, pvf_nic_info(good.nic[!from])->mac, 6);
	memcpy(good.out + 6, pvf_nic_info(good.nic[from])->mac, 6);
	put16(good.out + 12, 0x88b5);
	memcpy(good.out + 14, &good.number, 4);
	good.number++;
	good.arrived = 0;
	iov.iov_len = good.len;
	while (good.arrived == 0 && (now = pvb_now_ms()) < until) {
		if (now >= resend && pvf_nic_send(good.nic[from], 0, &iov, 1, NULL) == 0) {
			good.resent += resend != 0;
			resend = now + RESEND_MS;
		}
		pvf_nic_kick(good.nic[from]);
		pvb_loop_once(good.loop, 10);
	}
	if (good.arrived != 0 && good.wrong == 0)
		return true;
	snprintf(why, STAGE_WHY, "frame %u of %u bytes %s", good.number - 1, good.len,
		 good.wrong != 0 ? "has other bytes" : "did not arrive");
	return false;
}

static void down(void)
{
	print_message("honest guest: %u frames, %u times sent again\n", good.number, good.resent);
	for (unsigned i = 0; i < 2; i++)
		pvf_nic_close(&good.nic[i], 0); /* pvbackd has ended */
	pvf_guest_free(good.guest);
	pvb_store_close(good.st);
	pvb_hv_close(good.hv);
	pvb_loop_free(good.loop);
}

/* ---- the honest guest of Xen: a stock kernel answers pings that come over the switch's uplink ------------------ */

static bool echoed(const uint8_t *packet, ssize_t len, const uint8_t *sent, size_t sent_len)
{
	size_t head = len > 0 ? (size_t)(packet[0] & 15) * 4 : 0;

	return len >= 0 && (size_t)len == head + sent_len && packet[head] == ICMP_ECHOREPLY &&
	       memcmp(packet + head + 4, sent + 4, sent_len - 4) == 0;
}

static bool ping(char *why)
{
	static int fd = -1;
	static uint16_t number;
	static uint64_t seed = 7;
	struct sockaddr_in to = { .sin_family = AF_INET };
	uint64_t until = pvb_now_ms() + (uint64_t)STAGE_WAIT_MS, resend = 0, now;
	size_t len = 64 + rnd(&seed) % 1337;
	uint8_t out[1472] = { ICMP_ECHO }, in[2048];

	inet_pton(AF_INET, NICS_GOOD_IP, &to.sin_addr);
	if (fd < 0)
		fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_ICMP);
	put16(out + 4, (unsigned)getpid() & 0xffff);
	put16(out + 6, number++);
	for (size_t i = 8; i < len; i++)
		out[i] = (uint8_t)rnd(&seed);
	put16(out + 2, ~slow_sum(out, len, 0) & 0xffff);
	while ((now = pvb_now_ms()) < until) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		ssize_t n;

		if (now >= resend) {
			if (sendto(fd, out, len, 0, (struct sockaddr *)&to, sizeof(to)) < 0 && errno != ENOBUFS)
				break;
			resend = now + 3 * RESEND_MS;
		}
		poll(&p, 1, RESEND_MS);
		while ((n = recv(fd, in, sizeof(in), 0)) >= 0)
			if (echoed(in, n, out, len))
				return true;
	}
	snprintf(why, STAGE_WHY, "ping %u of %zu bytes to %s: no equal answer: %s", number - 1u, len, NICS_GOOD_IP,
		 strerror(errno));
	return false;
}

const struct stage_kind stage_nics = {
	.class = "vif",
	.liar = { { NICS_ECHO, echo, 3 }, { NICS_LAN, lan1, 3 }, { NICS_LAN_2, lan2, 3 } },
	.good = { { 0, good0, 3 }, { 1, good1, 3 } },
	.works = "tx_packets",
	/* also one that never connected closes, and is offered again */
	.closed = 1u << PVB_CLOSED,
	.drop = hnic_drop,
	.good_up = up,
	.good_round = do_round,
	.good_down = down,
	.ping = ping,
};
