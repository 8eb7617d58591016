// SPDX-License-Identifier: GPL-2.0-or-later
/* Fuzzes the network protocol: a front end does and says what the input wants, and a port gets and gives frames, over a
 * hypervisor made of arrays.  A model says what must come of each packet and each frame: its bytes arrive, or each of
 * its slots is answered with an error and nothing else is touched, or the device is broken.  Faults must give one
 * answer a slot.
 *
 * Input   steps, one byte each, then what the step takes (missing bytes are 0):
 *           step & 7  0,1,2  a packet: how, slots, total, then for each slot a page, an offset, a size
 *                     3      buffers are lent: how many, pages
 *                     4      a frame for the guest: how, length, pieces
 *                     5      a control request: type, three numbers; a list is in page 39
 *                     6      reconnect: what the front end has, start index
 *                     7      the world: (next byte & 15) 0,1 a grant goes and comes, 2 the hypervisor fails, 3 a
 *                            producer jumps, 4 what the port does, 5 a raw slot, 6 multicast control, 7 a rate, 8 bytes
 *                            in a page
 *
 * Built with --enable-fuzz (clang) it is a libFuzzer target: ./fuzz-net -max_len=600 DIR tests/corpus/net
 * Else fuzz-main.c runs it, which "make check" does with the corpus. */
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>
#include "backend/net/nif-impl.h"
#include "backend/net/packet.h"
#include "bus/hv-impl.h"
#include "fuzz-main.h"

#define PAGES 48u             /* grants 0..47; from 44 on read-only */
#define READONLY_FROM 44u
#define LIST_PAGE 39u
#define RING_GREF 200u        /* TX and RX of each queue, then the control ring */
#define QUEUES 2u
#define RINGS (2 * QUEUES + 1)
#define DOMID 3u
#define SLOTS NIF_RING_SLOTS
#define MAX_LEN 16384u        /* of a frame for the guest */

/* ---- a hypervisor of arrays ------------------------------------------------------------------------------------ */

static uint8_t *memory;                 /* PAGES data pages, then the rings' */
static int memory_fd = -1, event_fd = -1;
static bool revoked[PAGES];
static bool connecting;                 /* rings are no data */
static struct pvb_hv hv;

static int page_of(uint32_t gref, bool writable)
{
	if (connecting && gref >= RING_GREF && gref < RING_GREF + RINGS)
		return (int)(PAGES + gref - RING_GREF);
	if (gref >= PAGES || revoked[gref] || (writable && gref >= READONLY_FROM))
		return -1;
	return (int)gref;
}

static uint8_t *page_at(uint32_t page)
{
	return memory + (size_t)page * PVB_PAGE_SIZE;
}

static int fake_map(struct pvb_hv *h, uint32_t domid, const uint32_t *refs, uint32_t nr, bool writable,
		    struct pvb_map *map)
{
	uint8_t *area;

	MUST(nr == 1 && domid == DOMID);
	if (page_of(refs[0], writable) < 0)
		return -EINVAL;
	area = mmap(NULL, 3 * PVB_PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	MUST(area != MAP_FAILED);
	MUST(mmap(area + PVB_PAGE_SIZE, PVB_PAGE_SIZE, PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED | MAP_FIXED,
		  memory_fd, (off_t)page_of(refs[0], writable) * PVB_PAGE_SIZE) != MAP_FAILED);
	map->addr = area + PVB_PAGE_SIZE;
	return 0;
}

static void fake_unmap(struct pvb_hv *h, struct pvb_map *map)
{
	munmap((uint8_t *)map->addr - PVB_PAGE_SIZE, 3 * PVB_PAGE_SIZE);
}

static uint8_t *end_of(const struct pvb_copy_end *e, bool writable)
{
	int page = e->local != NULL ? -1 : page_of(e->ref, writable);

	MUST(e->local != NULL || e->domid == DOMID);
	return e->local != NULL ? e->local : page < 0 ? NULL : page_at((uint32_t)page) + e->offset;
}

static int fake_copy(struct pvb_hv *h, struct pvb_copy *ops, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++) {
		uint8_t *src = end_of(&ops[i].src, false), *dst = end_of(&ops[i].dst, true);

		ops[i].status = src != NULL && dst != NULL ? 0 : -3;
		if (ops[i].status == 0)
			memmove(dst, src, ops[i].len);
	}
	return 0;
}

static int fake_fd(struct pvb_hv *h) { return event_fd; }
static int fake_bind(struct pvb_hv *h, uint32_t domid, uint32_t port) { return (int)port + 1; }
static int fake_unbind(struct pvb_hv *h, uint32_t port) { return 0; }
static int fake_notify(struct pvb_hv *h, uint32_t port) { return 0; }
static int fake_take(struct pvb_hv *h, uint32_t *which, unsigned max) { return 0; }
static int fake_unmask(struct pvb_hv *h, const uint32_t *which, unsigned nr) { return 0; }
static int fake_arena(struct pvb_hv *h, size_t bytes, void **addr) { return -ENODEV; }

static const struct pvb_hv_ops fake_ops = {
	.name = "fake",
	.map = fake_map,
	.unmap = fake_unmap,
	.copy = fake_copy,
	.evt_fd = fake_fd,
	.evt_bind = fake_bind,
	.evt_unbind = fake_unbind,
	.evt_notify = fake_notify,
	.evt_take = fake_take,
	.evt_unmask = fake_unmask,
	.arena = fake_arena,
};

/* ---- the port -------------------------------------------------------------------------------------------------- */

enum does { KEEPS, REFLECTS, HOLDS, DROPS, NR_DOES };

static enum does does;
static unsigned let_through;            /* HOLDS */
static struct { uint32_t len, sum; } kept[2 * SLOTS];
static unsigned nr_kept;
static struct nif *nif;

static uint32_t sum_of(uint32_t sum, const uint8_t *p, uint32_t len)
{
	for (; len > 0; len--)
		sum = (sum ^ *p++) * 0x01000193u;
	return sum;
}

/* Whoever emits a frame takes the header from the private copy and the rest from the segments. */
static uint32_t sum_frame(const struct frame *f)
{
	uint32_t sum = sum_of(1, f->hdr, f->hdr_len), skip = f->hdr_len, len = 0;

	for (unsigned i = 0; i < f->nr_segs; i++) {
		const struct frame_seg *s = &f->seg[i];
		uint32_t n = s->len > skip ? s->len - skip : 0;
		const uint8_t *p = s->local ? s->local : s->staged;

		MUST(s->local || (s->domid == DOMID && s->offset + s->len <= PVB_PAGE_SIZE));
		len += s->len;
		if (n > 0 && !p && page_of(s->ref, false) >= 0)
			p = page_at(s->ref) + s->offset;
		if (n > 0 && p)
			sum = sum_of(sum, p + skip, n);
		skip -= s->len - n;
	}
	MUST(len == f->len && skip == 0);
	return sum;
}

static void p_xmit(struct port *port, struct frame **frames, unsigned nr)
{
	bool held = false;

	for (unsigned i = 0; i < nr; i++) {
		struct frame *f = frames[i];

		MUST(f->verdict == FRAME_PENDING && f->len >= FRAME_MIN_LEN &&
		     f->hdr_len == (f->len < FRAME_HDR ? f->len : FRAME_HDR));
		MUST(!port->whole || (f->nr_segs == 1 && f->seg[0].local == f->hdr));
		f->verdict = held ? FRAME_HELD : FRAME_SENT;
		if (held)
			continue;
		if (does == REFLECTS)
			f->verdict = port_deliver(port, f->queue, f);
		else if (does == HOLDS && let_through-- == 0)
			f->verdict = FRAME_HELD;
		else if (does == DROPS)
			f->verdict = FRAME_DROPPED;
		held = f->verdict == FRAME_HELD;
		if (held)
			continue;
		MUST(nr_kept < 2 * SLOTS);
		kept[nr_kept].len = f->len;
		kept[nr_kept++].sum = sum_frame(f);
	}
}

static void p_room(struct port *port, unsigned queue) { nif_ctx_retry(port->ctx); }
static void p_close(struct port *port) { }
static const struct port_ops p_ops = { .name = "fuzz", .xmit = p_xmit, .room = p_room, .close = p_close };
static struct port port;

/* ---- the device and its front end ------------------------------------------------------------------------------ */

static struct pvb_loop *loop;
static struct pvb_events *events;
static struct nif_ctx *ctx;
static struct nif_stats stats;
static void *journals[QUEUES];
static struct nif_connect conn;
static unsigned nr_broken;
static bool loose;                      /* what comes of it is not predicted */
static bool staged;                     /* some grants are mapped: revoking them means less */

struct side {
	struct pvb_ring_shared *sh;
	uint8_t mine[SLOTS][16];        /* what was asked */
	uint32_t prod, cons, nr, size;
};
static struct side tx[QUEUES], rx[QUEUES], ctrl;

static void on_broken(void *arg, struct nif *n, const char *why) { MUST(why[0]); nr_broken++; }
static void on_refused(void *arg, struct nif *n, const char *why, uint64_t more) { MUST(why[0]); n->last_refusal = 0; }
static void on_stalled(void *arg, struct nif *n, bool stalled) { }

static uint8_t *slot_at(const struct side *s, uint32_t i)
{
	return (uint8_t *)(s->sh + 1) + (size_t)(i & (s->nr - 1)) * s->size;
}

static void put(struct side *s, const void *slot)
{
	memcpy(s->mine[s->prod & (s->nr - 1)], slot, s->size);
	memcpy(slot_at(s, s->prod++), slot, s->size);
}

static void side_new(struct side *s, unsigned page, uint32_t size, uint32_t start)
{
	s->sh = (struct pvb_ring_shared *)page_at(PAGES + page);
	s->size = size;
	s->nr = pvb_ring_slots(PVB_PAGE_SIZE, size);
	memset(s->sh, 0xa5, PVB_PAGE_SIZE);
	s->sh->req_prod = s->sh->rsp_prod = s->prod = s->cons = start;
	s->sh->req_event = s->sh->rsp_event = start + 1;
}

static void clear_faults(void)
{
	for (unsigned op = 0; op < PVB_FAULT_NR; op++)
		pvb_hv_fault(&hv, (enum pvb_fault_op)op, 0, 0, 0);
	loose = false;
}

static void connect_as(unsigned how, uint32_t start)
{
	struct pvb_error err;

	clear_faults();
	conn = (struct nif_connect){ .nr_queues = 1 + (how & 1),
				     .rx_notify = !(how & 2),
				     .sg = !(how & 4),
				     .gso4 = !(how & 8),
				     .gso6 = !(how & 8),
				     .csum4 = !(how & 16),
				     .csum6 = !(how & 16),
				     .multicast_control = how & 32,
				     .ctrl = true,
				     .ctrl_ref = RING_GREF + 2 * QUEUES };
	port.whole = how & 64;
	staged = false;
	for (unsigned q = 0; q < QUEUES; q++) {
		conn.queue[q].tx_ref = RING_GREF + 2 * q;
		conn.queue[q].rx_ref = RING_GREF + 2 * q + 1;
		conn.queue[q].tx_port = 10 + 2 * q;
		conn.queue[q].rx_port = conn.queue[q].tx_port + (how >> 7);
		if (how & 128 && q == 0) {
			conn.queue[q].tx_pool_ref = LIST_PAGE;
			conn.queue[q].tx_pool_size = start % 600;
			staged = true;
		}
		side_new(&tx[q], 2 * q, sizeof(struct netif_tx_request), start);
		side_new(&rx[q], 2 * q + 1, sizeof(struct netif_rx_request), start);
		free(journals[q]);
		MUST(journals[q] = aligned_alloc(PVB_PAGE_SIZE, nif_journal_bytes()));
		memset(journals[q], 0, nif_journal_bytes());
	}
	conn.ctrl_port = 30;
	side_new(&ctrl, 2 * QUEUES, sizeof(struct xen_netif_ctrl_request), start);
	nr_broken = 0;
	nr_kept = 0;
	connecting = true;
	MUST(nif_connect(nif, &conn, journals, &err) == 0);
	connecting = false;
}

static void disconnect(void)
{
	nif_disconnect(nif);
	MUST(hv.live.maps == 0 && hv.live.ports == 0 && stats.grefs_mapped == 0);
}

static void recover_if_broken(void)
{
	if (!nr_broken)
		return;
	MUST(nr_broken == 1);
	disconnect();
	connect_as(0, 0xfffffff0u);
}

/* One round for all that is there; who waits for a receiver has waited long enough. */
static void run(void)
{
	for (unsigned q = 0; q < nif->nr_queues; q++) {
		nif->queues[q].tx.ready = nif->queues[q].rx.ready = true;
		if (nif->queues[q].rx.need)
			nif->queues[q].rx.since -= 2 * NIF_STALL_MS;
	}
	nif->ctrl.ready = true;
	nif_run(ctx);
}

/* ---- the model: TX --------------------------------------------------------------------------------------------- */

enum fate { INCOMPLETE, BREAKS, REFUSED, GOES, MCAST };

struct ask {
	unsigned nr, extras;
	enum fate fate;
	uint32_t sum;
	bool unsure, no_sum;            /* depends on what is mapped; has bytes that can not be had */
};

static const uint8_t *asked(const struct side *s, uint32_t i)
{
	return s->mine[i & (s->nr - 1)];
}

/* The bytes of a packet; false: some of the first `wanted` can not be had. */
static bool gather(const struct side *s, uint32_t first, struct ask *a, uint8_t *buf, uint32_t first_len,
		   uint32_t wanted)
{
	uint32_t at = 0;

	for (unsigned i = 0; i < a->nr; i += i == 0 ? 1 + a->extras : 1) {
		struct netif_tx_request r;
		uint32_t len;

		memcpy(&r, asked(s, first + i), sizeof(r));
		len = i == 0 ? first_len : r.size;
		if (len == 0)
			continue;
		a->unsure = a->unsure || (staged && r.gref < PAGES && revoked[r.gref]);
		if (page_of(r.gref, false) < 0) {
			if (at < wanted)
				return false;
			a->no_sum = true;
		} else {
			memcpy(buf + at, page_at(r.gref) + r.offset, len);
		}
		at += len;
	}
	return true;
}

/* Walk the slots: how many there are, and what can be said without looking at any page. */
static void walk(const struct side *s, uint32_t at, struct ask *a, struct frame *f, uint32_t *left)
{
	struct netif_tx_request r, first;
	struct netif_extra_info x;
	unsigned avail = s->prod - at;
	bool more, extra, group = false, bad = false, overlong = false;

	memcpy(&first, asked(s, at), sizeof(first));
	more = first.flags & NETTXF_more_data;
	extra = first.flags & NETTXF_extra_info;
	*left = first.size;
	a->fate = GOES;
	for (a->nr = 1; extra && a->nr < avail; a->nr++, a->extras++) {
		memcpy(&x, asked(s, at + a->nr), sizeof(x));
		extra = x.flags & XEN_NETIF_EXTRA_FLAG_MORE;
		if (x.type == 0 || x.type > 4) {
			a->fate = BREAKS;
			return;
		}
		if (x.type == XEN_NETIF_EXTRA_TYPE_GSO) {
			bad = bad || x.u.gso.size == 0 || x.u.gso.type == 0 || x.u.gso.type > 2;
			f->gso = x.u.gso.type == 1 ? FRAME_GSO_TCP4 : FRAME_GSO_TCP6;
			f->gso_size = x.u.gso.size;
		} else if (x.type != XEN_NETIF_EXTRA_TYPE_HASH) {
			a->fate = MCAST;
			group = x.u.mcast.addr[0] & 1;
		}
	}
	for (; more && !extra && a->nr < avail; a->nr++) {
		memcpy(&r, asked(s, at + a->nr), sizeof(r));
		if (r.flags & NETTXF_extra_info) {
			a->fate = BREAKS;
			return;
		}
		more = r.flags & NETTXF_more_data;
		overlong = overlong || r.size > *left || r.offset + r.size > (int)PVB_PAGE_SIZE;
		*left -= r.size < *left ? r.size : *left;
	}
	if (more || extra) {
		a->fate = a->nr < SLOTS ? INCOMPLETE : BREAKS;
		return;
	}
	if (bad || a->extras > 4)
		a->fate = REFUSED;
	else if (a->fate == MCAST && (a->nr > a->extras + 1 || !group))
		a->fate = REFUSED;
	else if (a->fate == GOES &&
		 (first.size < 14 || a->nr - a->extras > 18 || overlong || first.offset + *left > PVB_PAGE_SIZE))
		a->fate = REFUSED;
	f->len = first.size;
	f->csum_blank = first.flags & NETTXF_csum_blank;
}

static void judge(const struct side *s, uint32_t at, struct ask *a)
{
	static uint8_t buf[65536];
	struct frame f = { 0 };
	uint32_t left, sum;
	const char *why;

	memset(a, 0, sizeof(*a));
	walk(s, at, a, &f, &left);
	if (a->fate != GOES)
		return;
	if (!gather(s, at, a, buf, left, port.whole ? 65536 : FRAME_HDR)) {
		a->fate = REFUSED;
		return;
	}
	sum = sum_of(1, buf, f.len);
	frame_local(&f, buf, f.len);
	if (packet_parse(&f, &why) < 0)
		a->fate = REFUSED;
	a->sum = sum;
}

/* The answers to one packet. */
static void check_packet(struct side *s, const struct ask *a)
{
	bool ok = false;

	for (unsigned i = 0; i < a->nr; i++) {
		const uint8_t *p = slot_at(s, s->cons + i);
		struct netif_tx_response rsp;
		struct netif_tx_request req;

		memcpy(&rsp, p, sizeof(rsp));
		memcpy(&req, asked(s, s->cons + i), sizeof(req));
		for (unsigned b = sizeof(rsp); b < s->size; b++)
			MUST(p[b] == 0);
		if (i > 0 && i <= a->extras) {
			MUST(rsp.status == NETIF_RSP_NULL && rsp.id == 0);
			continue;
		}
		MUST(rsp.id == req.id);
		MUST(rsp.status == NETIF_RSP_OKAY || rsp.status == NETIF_RSP_ERROR);
		MUST(i == 0 || ok == (rsp.status == NETIF_RSP_OKAY));
		ok = rsp.status == NETIF_RSP_OKAY;
	}
	s->cons += a->nr;
	if (a->fate == MCAST || loose || a->unsure || does == REFLECTS)
		return;
	MUST(ok == (a->fate == GOES));
}

static void check_rx(unsigned q);

/* Everything in a TX ring is carried out, and answered, and what was sent is what was asked for. */
static void settle_tx(unsigned q)
{
	static struct ask asks[SLOTS + 1];
	struct side *s = &tx[q];
	unsigned nr = 0, at = 0;
	uint32_t end = s->cons;
	bool sums = (does == KEEPS || does == HOLDS) && !loose;

	for (; end != s->prod; end += asks[nr++].nr) {
		judge(s, end, &asks[nr]);
		if (asks[nr].fate <= BREAKS)
			break;
		sums = sums && !asks[nr].unsure;
	}
	nr_kept = 0;
	s->sh->req_prod = s->prod;
	run();
	for (unsigned i = 0; i < 600 && !nr_broken && s->sh->rsp_prod != end; i++) {
		let_through = 1 + i % 7;
		if (i == 3)
			nif_set_rate(nif, &(struct nif_rate){ 0 }, &(struct nif_rate){ 0 });
		nif_ctx_retry(ctx);
		run();
	}
	if (end != s->prod && asks[nr].fate == BREAKS) {
		MUST(nr_broken == 1);
		return;
	}
	MUST(!nr_broken && s->sh->rsp_prod == end);
	for (unsigned i = 0; i < nr; i++) {
		if (sums && asks[i].fate == GOES) {
			MUST(at < nr_kept);
			MUST(asks[i].no_sum || kept[at].sum == asks[i].sum);
			at++;
		}
		check_packet(s, &asks[i]);
	}
	MUST(!sums || at == nr_kept);
	for (unsigned k = 0; k < nif->nr_queues; k++)
		check_rx(k);
}

/* ---- the model: RX --------------------------------------------------------------------------------------------- */

/* What arrived: whole frames, slot by slot.  The last one's bytes; its length, or -1 for errors. */
static uint8_t arrived[65536];
static int arrived_len;
static bool arrived_torn;               /* two slots in one page: its bytes say nothing */
static bool from_guest;                 /* some bytes are from pages that may not be there */

static void check_frame(struct side *s, uint32_t end)
{
	struct netif_rx_response rsp;
	struct netif_rx_request req;
	uint64_t seen = 0;
	bool more = true, extra, first = true, bad = false, error = false;

	arrived_len = 0;
	arrived_torn = false;
	for (; more; first = false) {
		MUST(s->cons != end);
		memcpy(&rsp, slot_at(s, s->cons), sizeof(rsp));
		memcpy(&req, asked(s, s->cons++), sizeof(req));
		MUST(rsp.id == req.id && rsp.offset == 0);
		more = rsp.flags & NETRXF_more_data;
		extra = rsp.flags & NETRXF_extra_info;
		MUST(first || (rsp.flags & ~NETRXF_more_data) == 0);
		while (extra) {
			struct netif_extra_info x;

			MUST(s->cons != end);
			memcpy(&x, slot_at(s, s->cons++), sizeof(x));
			MUST(x.type == XEN_NETIF_EXTRA_TYPE_GSO || x.type == XEN_NETIF_EXTRA_TYPE_HASH);
			extra = x.flags & XEN_NETIF_EXTRA_FLAG_MORE;
		}
		MUST(first || error == (rsp.status < 0));
		error = rsp.status < 0;
		bad = bad || page_of(req.gref, true) < 0;
		if (error || page_of(req.gref, true) < 0)
			continue;
		MUST(rsp.status > 0 && rsp.status <= (int)PVB_PAGE_SIZE && arrived_len + rsp.status <= 65535);
		arrived_torn = arrived_torn || (seen & 1ull << req.gref);
		seen |= 1ull << req.gref;
		memcpy(arrived + arrived_len, page_at(req.gref), (size_t)rsp.status);
		arrived_len += rsp.status;
	}
	if (error)
		arrived_len = -1;
	if (!loose && !staged && does != REFLECTS)
		MUST(error == bad || (error && from_guest));
}

static void check_rx(unsigned q)
{
	struct side *s = &rx[q];
	uint32_t end = s->sh->rsp_prod;

	MUST(end - s->cons <= s->prod - s->cons);
	while (s->cons != end)
		check_frame(s, end);
}

/* ---- programs -------------------------------------------------------------------------------------------------- */

static const uint8_t *in, *in_end;

static uint8_t next(void)
{
	return in < in_end ? *in++ : 0;
}

static uint32_t next_gref(void)
{
	uint8_t b = next();

	return b < 192 ? b % PAGES : b < 250 ? b % 64 : b == 250 ? UINT32_MAX : RING_GREF + b % 4;
}

static uint32_t next_number(void)
{
	uint8_t b = next();

	return b < 0xc0 ? b : b < 0xe0 ? 0u - (b - 0xc0u) : 1u << (b - 0xe0u);
}

/* Mostly of use; from 0xf0 on the extremes. */
static unsigned next_size(void)
{
	static const uint16_t odd[] = {
		0, 1, 2, 13, 14, 15, 4095, 4096, 4097, 8192, 32767, 32768, 65534, 65535, 54, 66
	};
	uint8_t b = next();

	return b >= 0xf0 ? odd[b & 15] : b >= 0xa0 ? (b - 0xa0u) * 51u : b;
}

/* A header that makes sense, written through the slots of the packet. */
static void write_header(const struct netif_tx_request *r, unsigned nr, unsigned first_len, unsigned kind,
			 unsigned total)
{
	uint8_t h[74] = { 2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1 };
	bool v6 = kind & 1;
	unsigned at = 0, l4 = v6 ? 54 : 34;

	h[12] = v6 ? 0x86 : 8;
	h[13] = v6 ? 0xdd : 0;
	h[14] = v6 ? 0x60 : 0x45;
	h[16 + 2 * v6] = (uint8_t)((total - (v6 ? 54 : 14)) >> 8);
	h[17 + 2 * v6] = (uint8_t)(total - (v6 ? 54 : 14));
	h[v6 ? 20 : 23] = kind & 2 ? 17 : 6;
	h[22] = 64;
	if (kind & 2)
		h[l4 + 5] = (uint8_t)(total - l4);
	else
		h[l4 + 12] = 0x50;
	for (unsigned i = 0; i < nr && at < sizeof(h); i++) {
		unsigned len = i == 0 ? first_len : r[i].size;

		if (r[i].offset + len > PVB_PAGE_SIZE || page_of(r[i].gref, true) < 0)
			return;
		for (unsigned b = 0; b < len && at < sizeof(h); b++)
			page_at(r[i].gref)[r[i].offset + b] = h[at++];
	}
}

/* how: 1 TCP or IPv6, 2 UDP, 4 checksum blank, 8 GSO, 16 hash, 32 the total is what the input says, 64 twice and
 * more */
static void packet(unsigned q)
{
	unsigned how = next(), nr = next(), total = next_size(), sum = 0, copies = how & 64 ? 1 + next() % 24 : 1;
	struct netif_tx_request r[24] = { { 0 } };
	uint8_t x[2][12] = { { 0 } };
	struct netif_extra_info gso = { .type = XEN_NETIF_EXTRA_TYPE_GSO },
				hash = { .type = XEN_NETIF_EXTRA_TYPE_HASH };
	unsigned nr_x = 0;

	nr = 1 + (nr < 0xc0 ? nr % 4 : nr % 24);
	for (unsigned i = 0; i < nr; i++) {
		r[i].gref = next_gref();
		r[i].offset = (uint16_t)next_size();
		r[i].size = (uint16_t)next_size();
		r[i].id = (uint16_t)(i * 257u + how);
		r[i].flags = i + 1 < nr ? NETTXF_more_data : 0;
		if (r[i].size <= PVB_PAGE_SIZE && r[i].offset + r[i].size > (int)PVB_PAGE_SIZE && !(how & 32))
			r[i].offset = (uint16_t)(PVB_PAGE_SIZE - r[i].size);
		sum += r[i].size;
	}
	if (!(how & 32) && sum <= 65535 && sum >= 74) {
		total = sum;
		write_header(r, nr, r[0].size, how & 3, total);
	}
	r[0].size = (uint16_t)total;
	r[0].flags |= how & 4 ? NETTXF_csum_blank : 0;
	if (how & 8) {
		gso.u.gso.type = (uint8_t)(how & 32 ? next() % 4 : 1 + (how & 1));
		gso.u.gso.size = (uint16_t)next_size();
		gso.flags = how & 16 ? XEN_NETIF_EXTRA_FLAG_MORE : 0;
		memcpy(x[nr_x++], &gso, sizeof(gso));
	}
	if (how & 16)
		memcpy(x[nr_x++], &hash, sizeof(hash));
	if (nr_x)
		r[0].flags |= NETTXF_extra_info;
	for (; copies > 0 && tx[q].prod - tx[q].cons + nr + nr_x <= SLOTS; copies--) {
		put(&tx[q], &r[0]);
		for (unsigned i = 0; i < nr_x; i++)
			put(&tx[q], x[i]);
		for (unsigned i = 1; i < nr; i++)
			put(&tx[q], &r[i]);
	}
	settle_tx(q);
}

static void raw_slot(unsigned q)
{
	uint8_t slot[12];

	for (unsigned i = 0; i < sizeof(slot); i++)
		slot[i] = next();
	if (tx[q].prod - tx[q].cons < SLOTS)
		put(&tx[q], slot);
	settle_tx(q);
}

static void lend(unsigned q)
{
	unsigned nr = next(), page = next();

	for (unsigned i = 0; i < nr && rx[q].prod - rx[q].cons < SLOTS; i++) {
		struct netif_rx_request r = { .id = (uint16_t)(rx[q].prod * 3),
					      .gref = page < 0xc0 ? (page + i) % 44 : next_gref() };

		put(&rx[q], &r);
	}
	rx[q].sh->req_prod = rx[q].prod;
	run();
	check_rx(q);
}

/* how: 1 GSO, 2 checksum blank, 4 group address, 8 a piece from the guest itself, 16 in pieces, 32 to queue 1 */
static void from_outside(void)
{
	static uint8_t bytes[MAX_LEN + 64];
	unsigned how = next(), high = next(), len = 14 + (high << 8 | next()) % (MAX_LEN - 14);
	unsigned q = (how >> 5 & 1) % nif->nr_queues, at;
	uint32_t cons[QUEUES];
	struct frame f = { 0 };
	enum frame_verdict v;
	bool hashed = nif->hash.on, self = false;

	for (unsigned i = 0; i < len; i++)
		bytes[i] = (uint8_t)(i * 7 + how);
	bytes[0] = how & 4;
	bytes[0] |= how >> 2 & 1;
	bytes[12] = 8;
	bytes[13] = 0;
	bytes[14] = 0x45;
	frame_local(&f, bytes, len);
	if (how & 16) {
		for (f.nr_segs = 0, at = 0; at < len && f.nr_segs < 10; f.nr_segs++) {
			unsigned n = f.nr_segs == 9 ? len - at : next() * 17u;

			n = n < len - at ? n : len - at;
			f.seg[f.nr_segs] = (struct frame_seg){ .local = bytes + at, .len = n };
			if (how & 8 && n <= PVB_PAGE_SIZE && at >= f.hdr_len) {
				f.seg[f.nr_segs] = (struct frame_seg){ .ref = next_gref(), .domid = DOMID, .len = n };
				self = true;
			}
			at += n;
		}
		if (at < len)
			f.seg[f.nr_segs - 1].len += self ? 0 : len - at;
		if (at < len && self)
			return;
	}
	f.gso = how & 1 ? FRAME_GSO_TCP4 : FRAME_GSO_NONE;
	f.gso_size = 1448;
	f.csum_blank = how & 2;
	for (unsigned i = 0; i < nif->nr_queues; i++)
		cons[i] = rx[i].cons;
	from_guest = self;
	v = port_deliver(&port, q, &f);
	MUST(v == FRAME_SENT || v == FRAME_DROPPED || v == FRAME_HELD);
	nif_ctx_flush(ctx);
	if (nr_broken)
		return;
	arrived_len = -2;
	for (unsigned i = 0; i < nif->nr_queues; i++)
		check_rx(i);
	from_guest = false;
	MUST((v == FRAME_SENT) == (arrived_len != -2));
	if (v == FRAME_SENT && !hashed)
		MUST(rx[q].cons - cons[q] == (len + PVB_PAGE_SIZE - 1) / PVB_PAGE_SIZE + f.gso);
	if (arrived_len >= 0 && !self && !loose && !(staged && arrived_len != (int)len)) {
		MUST(arrived_len == (int)len);
		MUST(arrived_torn || memcmp(arrived, bytes, len) == 0);
	}
}

static void control(void)
{
	struct xen_netif_ctrl_request r = { .id = 7, .type = next() % 13 };
	struct xen_netif_ctrl_response rsp;
	const struct nifj_state *s;

	r.id = next();
	if (r.type == XEN_NETIF_CTRL_TYPE_SET_HASH_KEY || r.type == XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING) {
		r.data[0] = next_gref();
	} else {
		r.data[0] = next_number();
	}
	r.data[1] = r.type > 8 ? (next() & 0x80 ? next_gref() : LIST_PAGE) : next_number();
	r.data[2] = next_number();
	staged = staged || r.type == XEN_NETIF_CTRL_TYPE_ADD_GREF_MAPPING;
	put(&ctrl, &r);
	ctrl.sh->req_prod = ctrl.prod;
	run();
	if (nr_broken)
		return;
	MUST(ctrl.sh->rsp_prod == ctrl.prod);
	memcpy(&rsp, slot_at(&ctrl, ctrl.cons++), sizeof(rsp));
	MUST(rsp.id == r.id && rsp.type == r.type && rsp.status <= XEN_NETIF_CTRL_STATUS_BUFFER_OVERFLOW);
	s = nif_state(nif);
	MUST(s->mapping_size <= NIFJ_MAPPING && s->nr_mcast <= NIFJ_MCAST && s->key_len <= NIFJ_KEY);
	for (unsigned i = 0; i < s->mapping_size; i++)
		MUST(s->mapping[i] < nif->nr_queues);
	for (unsigned i = 0; i < nif->nr_queues; i++)
		MUST(gref_count(nif->queues[i].grefs) <= NIFJ_GREFS);
	MUST(hv.live.maps == 2 * nif->nr_queues + 1 + stats.grefs_mapped);
}

static void jump(unsigned which, uint32_t by)
{
	struct side *s = which < 2 ? &tx[which % nif->nr_queues] : &ctrl;

	by += s->nr + 1 - (s->prod - s->cons);
	if (by + (s->prod - s->cons) <= s->nr)
		return;
	s->sh->req_prod = s->prod + by;
	run();
	MUST(nr_broken == 1 && s->sh->rsp_prod == s->cons);
}

static void fill(uint8_t *at)
{
	uint8_t where = next();

	at[where * 8u] = next();
}

static void world(unsigned q)
{
	uint8_t what = next(), arg = next();

	switch (what & 15) {
	case 0:
	case 1:
		revoked[arg % PAGES] ^= true;
		break;
	case 2:
		pvb_hv_fault(&hv,
			     arg & 1 ? PVB_FAULT_COPY_OP :
			     arg & 2 ? PVB_FAULT_COPY_BATCH :
				       PVB_FAULT_MAP,
			     arg >> 5, 1 + (arg >> 3 & 3), arg & 1 ? (int8_t)next() | 1 : -ENOMEM);
		loose = true;
		return;
	case 3:
		jump(arg % 3, next_number());
		break;
	case 4:
		does = (enum does)(arg % NR_DOES);
		let_through = arg >> 4;
		break;
	case 5:
		raw_slot(q);
		break;
	case 6:
		nif_set_multicast_control(nif, arg & 1);
		break;
	case 7:
		nif_set_rate(nif, &(struct nif_rate){ arg, 1000000 }, &(struct nif_rate){ 0 });
		break;
	default:
		for (unsigned i = 0; i < (what >> 4) * 4u; i++)
			fill(page_at(arg % READONLY_FROM) + i % 8);
	}
}

static void set_up(void)
{
	static const struct nif_callbacks cb = { on_broken, on_refused, on_stalled };
	static const struct nif_config cfg = { .domid = DOMID, .mtu = 1500, .gref_tables = true };
	static uint8_t fresh[PAGES * PVB_PAGE_SIZE];
	struct xen_netif_gref *list;

	if (memory_fd < 0) {
		memory_fd = memfd_create("fuzz-net", MFD_CLOEXEC);
		event_fd = eventfd(0, EFD_CLOEXEC);
		MUST(ftruncate(memory_fd, (PAGES + RINGS) * PVB_PAGE_SIZE) == 0);
		memory = mmap(NULL, (PAGES + RINGS) * PVB_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, memory_fd, 0);
		MUST(memory != MAP_FAILED);
		for (unsigned i = 0; i < sizeof(fresh); i++)
			fresh[i] = (uint8_t)(i * 13 + i / 4096);
		hv = (struct pvb_hv){ .ops = &fake_ops, .only = UINT32_MAX, .flags = PVB_HV_BACK };
		MUST(pvb_loop_new(&loop) == 0);
		MUST(pvb_events_new(&events, &hv, loop, NULL, NULL) == 0);
		MUST(nif_ctx_new(&ctx, &hv, events, loop, 1 << 20, &cb, NULL) == 0); /* once: it is large */
	}
	memset(&hv.live, 0, sizeof(hv.live));
	memcpy(memory, fresh, sizeof(fresh));
	list = (struct xen_netif_gref *)page_at(LIST_PAGE);
	for (unsigned i = 0; i < NIF_MAX_GREFS; i++)
		list[i] = (struct xen_netif_gref){ .ref = i % PAGES, .flags = i % PAGES >= READONLY_FROM };
	memset(revoked, 0, sizeof(revoked));
	memset(&stats, 0, sizeof(stats));
	port = (struct port){ .ops = &p_ops };
	does = KEEPS;
	ctx->retry = false;
	MUST(nif_new(&nif, ctx, &cfg, &port, &stats, NULL) == 0);
	connect_as(0, 0xfffffff0u);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned step, q;

	set_up();
	in = data;
	in_end = data + size;
	while (in < in_end) {
		bool fault_is_new = false;

		step = next();
		q = (step >> 7) % nif->nr_queues;
		switch (step & 7) {
		case 3:
			lend(q);
			break;
		case 4:
			from_outside();
			break;
		case 5:
			control();
			break;
		case 6:
			disconnect();
			q = next();
			connect_as(q, next() * 0x01010101u);
			break;
		case 7:
			fault_is_new = in < in_end && (*in & 15) == 2;
			world(q);
			break;
		default:
			packet(q);
		}
		if (!fault_is_new)
			clear_faults(); /* it was for one step */
		recover_if_broken();
	}
	disconnect();
	nif_free(nif);
	for (unsigned i = 0; i < QUEUES; i++) {
		free(journals[i]);
		journals[i] = NULL;
	}
	while (pvb_loop_once(loop, 0) > 0)
		; /* timers */
	return 0;
}

static uint8_t small(uint8_t b, unsigned odds, size_t i)
{
	return odds < 8 ? b : b & 15;
}

const struct fuzz_target fuzz = { .name = "net", .nr_random = 200, .least = 300, .most = 300, .byte = small, .seed = 20261121 };
