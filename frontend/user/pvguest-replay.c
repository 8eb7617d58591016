// SPDX-License-Identifier: GPL-2.0-or-later
/* --pcap-replay: the frames of a capture file go out through the domain's first NIC, in order and as fast as the ring
 * takes them; then whatever comes is counted until as much came back as was sent, or nothing came for a while. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "pvguest.h"

#define SILENCE_MS 1000

struct replay {
	struct program *p;
	struct nic *nic;
	struct pcap_reader *file;
	struct pvb_error err;
	uint32_t held;            /* bytes of the frame that waits for room */
	bool at_end;
	int rc;
	uint64_t sent, sent_bytes, skipped, received, received_bytes;
	uint64_t last_ms;         /* something was sent or came */
	uint8_t frame[65536];
};

/* One frame; false: no more, or no room. */
static bool send_one(struct replay *r)
{
	struct iovec iov = { r->frame, r->held };
	int rc;

	if (r->held == 0) {
		rc = pcap_next(r->file, r->frame, sizeof(r->frame), &r->err);
		if (rc == -E2BIG || rc == -EPROTO) {
			r->skipped++;
			return true;
		}
		r->at_end = rc <= 0;
		r->rc = rc < 0 ? rc : 0;
		if (rc <= 0)
			return false;
		iov.iov_len = r->held = (uint32_t)rc;
	}
	rc = pvf_nic_send(r->nic->nic, 0, &iov, 1, NULL);
	if (rc == -EAGAIN || rc == -ENOTCONN)
		return false;
	r->held = 0;
	r->last_ms = pvb_now_ms();
	if (rc < 0) {
		r->skipped++;
		return true;
	}
	frames_record(r->nic, &iov, 1);
	r->sent++;
	r->sent_bytes += iov.iov_len;
	return true;
}

static void send_some(struct replay *r)
{
	while (!r->at_end && send_one(r))
		;
	pvf_nic_kick(r->nic->nic);
}

void replay_room(struct replay *r, struct pvf_nic *nic)
{
	if (nic == r->nic->nic)
		send_some(r);
}

void replay_received(struct replay *r, uint32_t len)
{
	r->received++;
	r->received_bytes += len;
	r->last_ms = pvb_now_ms();
}

static bool over(const struct replay *r)
{
	if (!r->at_end)
		return false;
	if (pvf_nic_in_flight(r->nic->nic) == 0 && r->received >= r->sent)
		return true;
	return pvb_now_ms() >= r->last_ms + SILENCE_MS;
}

static void print(const struct replay *r)
{
	const struct counter c[] = {
		{ "sent", r->sent }, { "sent_bytes", r->sent_bytes }, { "skipped", r->skipped },
		{ "received", r->received }, { "received_bytes", r->received_bytes },
	};

	printf(r->p->o.json ? "{\"replay\": \"%s\", " : "replay %s: ", r->nic->name + 4);
	counters_print(stdout, c, sizeof(c) / sizeof(c[0]), r->p->o.json);
	printf(r->p->o.json ? "}\n" : "\n");
	fflush(stdout);
}

static int run(struct replay *r)
{
	int rc = pcap_open(&r->file, r->p->o.replay, &r->err);

	if (rc < 0)
		return rc;
	r->p->replay = r;
	r->last_ms = pvb_now_ms();
	send_some(r);
	while (!over(r) && !r->p->stop && pvf_nic_phase(r->nic->nic) == PVF_LIVE)
		if (pvb_loop_once(r->p->loop, 100) < 0)
			break;
	r->p->replay = NULL;
	print(r);
	if (r->rc == 0 && !r->at_end && !r->p->stop)
		r->rc = pvb_err(&r->err, -EIO, "%s: not live any more after %" PRIu64 " frames", r->nic->name, r->sent);
	return r->rc;
}

int run_replay(struct program *p)
{
	struct replay *r = calloc(1, sizeof(*r));
	int rc;

	if (r == NULL)
		return -ENOMEM;
	r->p = p;
	r->nic = &p->nics[0];
	rc = p->nr_nics > 0 ? run(r) : pvb_err(&r->err, -ENOENT, "there is no NIC to send from");
	if (rc < 0)
		complain(&r->err);
	pcap_close(r->file);
	free(r);
	return rc;
}
