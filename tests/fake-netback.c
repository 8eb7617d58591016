// SPDX-License-Identifier: GPL-2.0-or-later
/* See fake-netback.h. */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include <xen/xen.h>
#include <xen/io/netif.h>
#include "event.h"
#include "fake-netback.h"
#include "hv.h"
#include "loop.h"
#include "nodes.h"
#include "offer.h"
#include "ring.h"
#include "spy.h"
#include "state.h"
#include "store.h"

#define QUEUES 8
#define TABLE 512
#define GROUPS 128
#define BIGGEST 70000
#define BACKLOG 1024
#define LIE_SLOTS 19 /* the longest lie */

/* A frame that waits for receive slots. */
struct pending {
	struct pending *next;
	uint32_t len;
	bool blank, valid;
	uint8_t gso;
	uint16_t gso_size;
	uint8_t data[];
};

struct nqueue {
	struct nback *nb;
	unsigned nr;
	struct pvb_ring tx, rx;
	struct pvb_map map;              /* TX page, RX page */
	struct pvb_map map2;
	struct pvb_event *tx_event, *rx_event;
	bool jumped;                     /* rsp_prod is a lie: do not put it right again */
	struct pending *head, **tail;
	unsigned backlog;
	int rx_all;                      /* buffers posted at first */
	struct { uint32_t ref; bool readonly; struct pvb_map map; } table[TABLE];
	uint32_t nr_table;
};

struct nback {
	struct nback_options opt;
	struct pvb_device_id id;
	char dir[128], front[128], fabric[96];
	uint32_t front_domid;
	pthread_t thread;
	sem_t ready, called;
	int pipe[2];
	struct pvb_loop *loop;
	struct pvb_hv *hv;
	struct pvb_store *st;
	struct pvb_events *events;
	struct pvb_watch *watch, *watch_mcast;
	struct pvb_source *src;
	struct pvb_error err;
	int rc;
	struct nqueue q[QUEUES];
	unsigned nr_queues;
	struct pvb_ring ctrl;
	struct pvb_map ctrl_map;
	struct pvb_event *ctrl_event;
	uint8_t group[GROUPS][6];
	unsigned state;                  /* as we wrote it */
	bool closing;
	struct spy *spy;                 /* opt.spy */
	struct pvb_map kept[4];
	unsigned nr_kept;
	uint32_t random;
	struct nback_counts counts;
};

static void complain(struct nback *nb, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(nb->counts.complaint, sizeof(nb->counts.complaint), fmt, ap);
	va_end(ap);
	nb->counts.complaints++;
}

static uint32_t next_random(struct nback *nb)
{
	nb->random ^= nb->random << 13;
	nb->random ^= nb->random >> 17;
	nb->random ^= nb->random << 5;
	return nb->random;
}

static bool lies(struct nback *nb, enum nback_lie from, enum nback_lie to)
{
	if (nb->opt.lie < from || nb->opt.lie > to)
		return false;
	if (nb->opt.honest == 0)
		return true;
	nb->opt.honest--;
	return false;
}

static void set_state(struct nback *nb, unsigned s)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/state", nb->dir);
	if (pvb_store_exists(nb->st, PVB_NO_TXN, path))
		pvb_store_printf(nb->st, PVB_NO_TXN, path, "%u", s);
	nb->state = s;
}

static void put(struct nback *nb, enum pvb_vif_back key, uint64_t v)
{
	pvb_nodes_write_u64(nb->st, PVB_NO_TXN, nb->dir, &pvb_vif_back[key], v);
}

static void publish(struct nback *nb)
{
	const struct nback_options *o = &nb->opt;
	char path[160];

	snprintf(path, sizeof(path), "%s/%s", nb->dir, pvb_vif_back[VIF_B_MAX_QUEUES].name);
	if (o->max_queues)
		put(nb, VIF_B_MAX_QUEUES, o->max_queues);
	else
		pvb_store_rm(nb->st, PVB_NO_TXN, path);
	put(nb, VIF_B_SG, o->sg);
	put(nb, VIF_B_GSO4, o->gso);
	put(nb, VIF_B_GSO6, o->gso);
	put(nb, VIF_B_CSUM6, o->csum6);
	put(nb, VIF_B_RX_COPY, !o->no_copy);
	put(nb, VIF_B_RX_FLIP, 0);
	put(nb, VIF_B_MULTICAST, o->multicast);
	put(nb, VIF_B_DYNAMIC_MULTICAST, o->dynamic);
	put(nb, VIF_B_SPLIT_EVENTS, o->split);
	put(nb, VIF_B_CTRL_RING, o->ctrl);
}

static void notify(struct nback *nb, struct pvb_event *event)
{
	nb->counts.notifies++;
	pvb_event_notify(event);
}

static void push(struct nqueue *q, struct pvb_ring *r, struct pvb_event *event)
{
	if (!q->jumped && pvb_ring_back_push(r))
		notify(q->nb, event);
}

static void jump(struct nqueue *q, struct pvb_ring *r, struct pvb_event *event, uint32_t to)
{
	q->jumped = true;
	pvb_ring_store(&r->sh->rsp_prod, to);
	pvb_ring_mb();
	notify(q->nb, event);
}

/* What a page holds beside len bytes at offset, which are for us. */
static void look(struct nback *nb, uint32_t ref, const uint8_t *page, uint32_t offset, uint32_t len)
{
	uint32_t at;

	if (nb->spy != NULL && !spy_look(nb->spy, ref, page, offset, len, &at))
		complain(nb, "grant %u: byte %u is not for us, but %u at %u are", ref, at, len, offset);
}

/* A page of the front end: from the table, or mapped for the moment. */
static uint8_t *page_get(struct nqueue *q, uint32_t ref, bool writable, struct pvb_map *map)
{
	struct nback *nb = q->nb;

	map->nr = 0;
	for (uint32_t i = 0; i < q->nr_table; i++) {
		if (q->table[i].ref != ref)
			continue;
		nb->counts.staged_hits++;
		if (writable && q->table[i].readonly)
			complain(nb, "grant %u is read-only in the table", ref);
		return q->table[i].map.addr;
	}
	nb->counts.staged_misses++;
	if (pvb_hv_map(nb->hv, nb->front_domid, &ref, 1, writable, map) < 0) {
		complain(nb, "queue %u: grant %u can not be mapped", q->nr, ref);
		return NULL;
	}
	return map->addr;
}

static void page_put(struct nback *nb, struct pvb_map *map)
{
	if (map->nr != 0 && nb->opt.keep && nb->nr_kept < 4)
		nb->kept[nb->nr_kept++] = *map;
	else
		pvb_hv_unmap(nb->hv, map);
}

/* --- to the guest ----------------------------------------------------------------------------------- */

static void put_rx(struct nqueue *q, const void *rsp)
{
	pvb_ring_back_put(&q->rx, rsp, 8);
	q->nb->counts.rx_slots++;
	if (q->nb->opt.slot_by_slot)
		push(q, &q->rx, q->rx_event);
}

static uint32_t slots_of(const struct nback *nb, const struct pending *p)
{
	uint32_t piece = nb->opt.piece ? nb->opt.piece : PVB_PAGE_SIZE - nb->opt.offset;

	return (p->len + piece - 1) / piece + (p->gso != 0) + nb->opt.send_hash;
}

static void put_data(struct nqueue *q, const struct pending *p, uint32_t at, uint32_t n, uint16_t flags)
{
	struct netif_rx_response rsp = { .offset = (uint16_t)q->nb->opt.offset, .flags = flags };
	struct netif_rx_request req;
	struct pvb_map map;
	uint8_t *page;

	pvb_ring_back_take(&q->rx, &req);
	page = page_get(q, req.gref, true, &map);
	if (page != NULL) {
		look(q->nb, req.gref, page, 0, 0);
		memcpy(page + rsp.offset, p->data + at, n);
		if (q->nb->spy != NULL)
			spy_leave(q->nb->spy, req.gref, page);
	}
	page_put(q->nb, &map);
	rsp.id = req.id;
	rsp.status = page != NULL ? (int16_t)n : NETIF_RSP_ERROR;
	put_rx(q, &rsp);
}

static void put_extra(struct nqueue *q, const struct netif_extra_info *x)
{
	struct netif_rx_request req;

	pvb_ring_back_take(&q->rx, &req);
	put_rx(q, x);
}

/* One response that is said, not what it should be. */
static void put_raw(struct nqueue *q, int id_change, uint16_t offset, uint16_t flags, int16_t status)
{
	struct netif_rx_response rsp = { .offset = offset, .flags = flags, .status = status };
	struct netif_rx_request req;

	pvb_ring_back_take(&q->rx, &req);
	rsp.id = (uint16_t)(req.id + id_change);
	put_rx(q, &rsp);
}

static void put_bad_extras(struct nqueue *q, enum nback_lie lie)
{
	struct netif_extra_info x = { .type = XEN_NETIF_EXTRA_TYPE_GSO, .flags = XEN_NETIF_EXTRA_FLAG_MORE };

	x.u.gso.type = lie == NBACK_RX_GSO_TYPE ? 3 : XEN_NETIF_GSO_TYPE_TCPV4;
	x.u.gso.size = lie == NBACK_RX_GSO_SIZE ? 0 : 1448;
	if (lie == NBACK_RX_EXTRA_TYPE)
		x.type = 5;
	else if (lie == NBACK_RX_EXTRA_NONE)
		x.type = 0;
	else if (lie == NBACK_RX_EXTRA_ENDLESS)
		x.type = XEN_NETIF_EXTRA_TYPE_HASH;
	put_raw(q, 0, 0, NETRXF_extra_info | NETRXF_csum_blank, 100);
	for (unsigned i = 0; i < 6; i++)
		put_extra(q, &x);
}

/* The first slot has the most, and a whole Ethernet header: Linux' front ends want it in one. */
static void put_many(struct nqueue *q, const struct pending *p)
{
	uint32_t piece = (p->len - 14) / (XEN_NETIF_NR_SLOTS_MIN - 1), n;

	piece = piece > 0 ? piece : 1;
	n = p->len > 14 + (XEN_NETIF_NR_SLOTS_MIN - 1) * piece ? p->len - (XEN_NETIF_NR_SLOTS_MIN - 1) * piece : 14;
	for (uint32_t at = 0; at < p->len; at += n, n = piece) {
		n = n < p->len - at ? n : p->len - at;
		put_data(q, p, at, n, at + n < p->len ? NETRXF_more_data : 0);
	}
}

static void put_lie(struct nqueue *q, const struct pending *p)
{
	enum nback_lie lie = q->nb->opt.lie;

	switch (lie) {
	case NBACK_RX_ID:
		put_raw(q, 1, 0, 0, 100);
		break;
	case NBACK_RX_SIZE:
		put_raw(q, 0, 0, 0, 4097);
		break;
	case NBACK_RX_OFFSET:
		put_raw(q, 0, 4000, 0, 97);
		break;
	case NBACK_RX_STATUS:
		put_raw(q, 0, 0, 0, -3);
		break;
	case NBACK_RX_JUMP:
		jump(q, &q->rx, q->rx_event, q->rx.prod + 100000);
		break;
	case NBACK_RX_BACKWARDS:
		jump(q, &q->rx, q->rx_event, q->rx.pushed - q->rx.nr_slots - 1); /* also behind what was not read yet */
		break;
	case NBACK_RX_PREFIX:
		put_raw(q, 0, 0, NETRXF_gso_prefix, 100);
		break;
	case NBACK_RX_SLOTS:
		for (unsigned i = 0; i < 19; i++)
			put_raw(q, 0, 0, NETRXF_more_data, 100);
		break;
	case NBACK_RX_UNASKED_SG:
		put_raw(q, 0, 0, NETRXF_more_data, 100);
		break;
	case NBACK_RX_SHORT:
		put_raw(q, 0, 0, 0, (int16_t)(1 + p->len % 13));
		break;
	case NBACK_RX_SHORT_FIRST:
		put_data(q, p, 0, 1, NETRXF_more_data);
		put_data(q, p, 1, p->len - 1, 0);
		break;
	case NBACK_RX_MANY:
		put_many(q, p);
		break;
	case NBACK_RX_EMPTY:
		put_raw(q, 0, 4095, 0, 0);
		break;
	case NBACK_RX_ERROR:
		put_raw(q, 0, 0xffff, NETRXF_more_data, 100 - 100);
		put_raw(q, 0, 0xffff, NETRXF_more_data, NETIF_RSP_ERROR);
		put_raw(q, 0, 0, 0, 100);
		break;
	case NBACK_RX_BLANK:
		put_data(q, p, 0, p->len, NETRXF_csum_blank | NETRXF_data_validated);
		break;
	case NBACK_RX_GSO_UDP:
		put_data(q, p, 0, p->len, NETRXF_csum_blank | NETRXF_extra_info);
		put_extra(q, &(struct netif_extra_info){ .type = XEN_NETIF_EXTRA_TYPE_GSO,
							 .u.gso = { .size = 100, .type = 1 } });
		break;
	default:
		put_bad_extras(q, lie);
	}
}

/* A frame in proper form whose sizes, flags and contents are anything; now and then a slot is anything, too. */
static void put_chaos(struct nqueue *q)
{
	struct nback *nb = q->nb;
	unsigned slots = 1 + next_random(nb) % 18, extras = next_random(nb) % 4 == 0;
	uint32_t w[2];

	if (pvb_ring_back_avail(&q->rx) < (int)(slots + extras))
		return;
	for (unsigned i = 0; i < slots; i++) {
		uint32_t r = next_random(nb), size = r % 3 == 0 ? r / 3 % 40 : r / 3 % 4097;
		uint16_t flags = (uint16_t)(next_random(nb) & 3);
		struct netif_extra_info x = { .type = (uint8_t)(r >> 16 & 1 ? 1 : 4) };

		if (next_random(nb) % 4 != 0)
			flags = 0;
		flags |= (uint16_t)((i + 1 < slots ? NETRXF_more_data : 0) |
				    (i == 0 && extras ? NETRXF_extra_info : 0));
		memcpy(w, (uint32_t[]){ next_random(nb), next_random(nb) }, 8);
		if (next_random(nb) % 300 == 0)
			put_raw(q, (int)w[0] & 3, (uint16_t)w[0], (uint16_t)(w[0] >> 16), (int16_t)w[1]);
		else
			put_raw(q, 0, (uint16_t)(size == 4096 ? 0 : next_random(nb) % (4096 - size)), flags,
				(int16_t)(r % 50 == 1 ? -1 : (int)size));
		x.u.gso.type = (uint8_t)(1 + (r >> 17 & 1));
		x.u.gso.size = (uint16_t)(1 + (r >> 20));
		if (i == 0 && extras)
			put_extra(q, &x);
	}
	push(q, &q->rx, q->rx_event);
}

static void put_frame(struct nqueue *q, const struct pending *p)
{
	struct nback *nb = q->nb;
	uint32_t piece = nb->opt.piece ? nb->opt.piece : PVB_PAGE_SIZE - nb->opt.offset, n;
	uint16_t flags = (uint16_t)((p->blank ? NETRXF_csum_blank : 0) | (p->valid ? NETRXF_data_validated : 0));
	struct netif_extra_info gso = { .type = XEN_NETIF_EXTRA_TYPE_GSO };
	struct netif_extra_info hash = { .type = XEN_NETIF_EXTRA_TYPE_HASH };

	gso.u.gso.type = p->gso;
	gso.u.gso.size = p->gso_size;
	gso.flags = nb->opt.send_hash ? XEN_NETIF_EXTRA_FLAG_MORE : 0;
	hash.u.hash.type = _XEN_NETIF_CTRL_HASH_TYPE_IPV4_TCP;
	hash.u.hash.algorithm = XEN_NETIF_CTRL_HASH_ALGORITHM_TOEPLITZ;
	memcpy(hash.u.hash.value, "\x78\x56\x34\x12", 4);
	if (p->gso != 0 || nb->opt.send_hash)
		flags |= NETRXF_extra_info;
	for (uint32_t at = 0; at < p->len; at += n) {
		n = p->len - at < piece ? p->len - at : piece;
		put_data(q, p, at, n, (uint16_t)((at == 0 ? flags : 0) | (at + n < p->len ? NETRXF_more_data : 0)));
		if (at == 0 && p->gso != 0)
			put_extra(q, &gso);
		if (at == 0 && nb->opt.send_hash)
			put_extra(q, &hash);
	}
	nb->counts.rx_frames++;
}

/* Slots that there must be before anything is said. */
static int wanted_of(const struct nqueue *q, const struct pending *p)
{
	int wanted = (int)slots_of(q->nb, p), most = q->rx_all < LIE_SLOTS ? q->rx_all : LIE_SLOTS;

	return q->nb->opt.lie >= NBACK_RX_ID && wanted < most ? most : wanted;
}

/* Slots there are.  If that is less than wanted, more than these cause an event. */
static int wait_rx(struct nqueue *q, int wanted)
{
	int n = pvb_ring_back_avail(&q->rx), before;

	do {
		before = n;
		if (n < 0 || n >= wanted)
			break;
		pvb_ring_store(&q->rx.sh->req_event, q->rx.cons + (uint32_t)n + 1);
		pvb_ring_mb();
		n = pvb_ring_back_avail(&q->rx);
	} while (n != before);
	return n;
}

static void feed(struct nqueue *q)
{
	struct nback *nb = q->nb;
	struct pending *p;
	int n;

	while ((p = q->head) != NULL) {
		n = wait_rx(q, wanted_of(q, p));
		if (n < 0)
			complain(nb, "queue %u: the receive ring's producer jumped", q->nr);
		if (n < wanted_of(q, p))
			break;
		if (lies(nb, NBACK_RX_ID, NBACK_RX_UNASKED_GSO) || lies(nb, NBACK_RX_SHORT, NBACK_RX_GSO_UDP))
			put_lie(q, p);
		else
			put_frame(q, p);
		q->head = p->next;
		if (q->head == NULL)
			q->tail = &q->head;
		q->backlog--;
		free(p);
	}
	push(q, &q->rx, q->rx_event);
}

static void give(struct nqueue *q, const void *data, uint32_t len, bool blank, bool valid, uint8_t gso,
		 uint16_t gso_size)
{
	struct pending *p = malloc(sizeof(*p) + len);

	if (p == NULL)
		abort();
	*p = (struct pending){ NULL, len, blank, valid, gso, gso_size };
	memcpy(p->data, data, len);
	*q->tail = p;
	q->tail = &p->next;
	q->backlog++;
}

static bool on_rx(struct nqueue *q)
{
	bool work = q->rx.cons != pvb_ring_load(&q->rx.sh->req_prod);

	feed(q);
	if (q->head == NULL)
		pvb_ring_back_rearm(&q->rx);
	return work;
}

/* --- from the guest --------------------------------------------------------------------------------- */

static void respond(struct nqueue *q, uint16_t id, int16_t status)
{
	struct netif_tx_response rsp = { id, status };
	struct nback *nb = q->nb;

	if (lies(nb, NBACK_TX_ID, NBACK_TX_SILENT)) {
		switch (nb->opt.lie) {
		case NBACK_TX_ID:
			rsp.id ^= 0x80;
			break;
		case NBACK_TX_ID_BEYOND:
			rsp.id |= 0xff;
			break;
		case NBACK_TX_STALE:
			rsp.id -= 0x100;
			break;
		case NBACK_TX_DUPLICATE:
			pvb_ring_back_put(&q->tx, &rsp, 4);
			nb->opt.lie = NBACK_TX_SILENT; /* one answer too many in all would be a producer that jumped */
			break;
		case NBACK_TX_STATUS:
			rsp.status = 7;
			break;
		case NBACK_TX_NULL:
			rsp.status = NETIF_RSP_NULL;
			break;
		case NBACK_TX_JUMP:
			jump(q, &q->tx, q->tx_event, q->tx.prod + 100000);
			return;
		case NBACK_TX_ONE:
			jump(q, &q->tx, q->tx_event, pvb_ring_load(&q->tx.sh->req_prod) + 1);
			return;
		case NBACK_TX_BACKWARDS:
			jump(q, &q->tx, q->tx_event, q->tx.pushed - q->tx.nr_slots - 1);
			return;
		default:
			return;
		}
	}
	pvb_ring_back_put(&q->tx, &rsp, 4);
	if (nb->opt.slot_by_slot)
		push(q, &q->tx, q->tx_event);
}

struct packet {
	struct netif_tx_request slot[32];
	unsigned nr, extras;
	struct netif_extra_info extra[4];
};

static bool take_packet(struct nqueue *q, struct packet *p, int avail)
{
	struct nback *nb = q->nb;
	uint8_t raw[12];
	bool more;

	memset(p, 0, sizeof(*p));
	do {
		if (avail-- == 0 || p->nr == 32) {
			complain(nb, "queue %u: half a packet", q->nr);
			return false;
		}
		pvb_ring_back_take(&q->tx, &p->slot[p->nr]);
		more = p->nr == 0 && (p->slot[0].flags & NETTXF_extra_info);
		while (more) {
			if (avail-- == 0 || p->extras == 4) {
				complain(nb, "queue %u: half a packet, extras", q->nr);
				return false;
			}
			pvb_ring_back_take(&q->tx, raw);
			memcpy(&p->extra[p->extras], raw, 8);
			more = p->extra[p->extras++].flags & XEN_NETIF_EXTRA_FLAG_MORE;
		}
	} while (p->slot[p->nr++].flags & NETTXF_more_data);
	if (p->nr > nb->counts.most_slots)
		nb->counts.most_slots = p->nr;
	return true;
}

static int16_t group(struct nback *nb, const struct netif_extra_info *x)
{
	bool add = x->type == XEN_NETIF_EXTRA_TYPE_MCAST_ADD;
	unsigned max = nb->opt.mcast_max ? nb->opt.mcast_max : 64, i;

	nb->counts.adds += add;
	nb->counts.dels += !add;
	for (i = 0; i < nb->counts.groups && memcmp(nb->group[i], x->u.mcast.addr, 6) != 0; i++)
		;
	if (add && i < nb->counts.groups)
		complain(nb, "a group twice");
	if (!add && i == nb->counts.groups)
		complain(nb, "a group that is not on the list");
	if (add && i == nb->counts.groups) {
		if (nb->counts.groups >= max)
			return NETIF_RSP_ERROR;
		memcpy(nb->group[nb->counts.groups++], x->u.mcast.addr, 6);
	} else if (!add && i < nb->counts.groups) {
		memcpy(nb->group[i], nb->group[--nb->counts.groups], 6);
	}
	return NETIF_RSP_OKAY;
}

static int16_t fetch(struct nqueue *q, const struct packet *p, uint8_t *data)
{
	struct nback *nb = q->nb;
	uint32_t total = p->slot[0].size, first = total, at = 0, n;
	struct pvb_map map;
	uint8_t *page;

	for (unsigned i = 1; i < p->nr; i++) {
		if (p->slot[i].size >= first) {
			complain(nb, "fragments of more than the frame's %u bytes", total);
			return NETIF_RSP_ERROR;
		}
		first -= p->slot[i].size;
	}
	for (unsigned i = 0; i < p->nr; i++, at += n) {
		n = i == 0 ? first : p->slot[i].size;
		if (p->slot[i].offset + n > PVB_PAGE_SIZE) {
			complain(nb, "%u bytes at %u of a page", n, p->slot[i].offset);
			return NETIF_RSP_ERROR;
		}
		page = page_get(q, p->slot[i].gref, false, &map);
		if (page == NULL)
			return NETIF_RSP_ERROR;
		look(nb, p->slot[i].gref, page, p->slot[i].offset, n);
		memcpy(data + at, page + p->slot[i].offset, n);
		page_put(nb, &map);
	}
	return NETIF_RSP_OKAY;
}

static void check_packet(struct nqueue *q, const struct packet *p)
{
	struct nback *nb = q->nb;
	const struct netif_extra_info *x = &p->extra[0];

	if (p->nr > 18 || (p->nr > 1 && !nb->opt.sg))
		complain(nb, "a frame of %u slots", p->nr);
	if (p->slot[0].size < 14)
		complain(nb, "a frame of %u bytes", p->slot[0].size);
	if (p->extras == 0)
		return;
	if (p->extras != 1 || x->type != XEN_NETIF_EXTRA_TYPE_GSO || x->u.gso.size == 0 || x->u.gso.type < 1 ||
	    x->u.gso.type > 2 || x->flags != 0 || !nb->opt.gso || !(p->slot[0].flags & NETTXF_csum_blank))
		complain(nb, "extra info of type %u, GSO type %u size %u", x->type, x->u.gso.type, x->u.gso.size);
	nb->counts.tx_gso++;
	nb->counts.tx_bytes_of_gso_size = x->u.gso.size;
}

static int16_t serve_packet(struct nqueue *q, const struct packet *p)
{
	static __thread uint8_t data[BIGGEST];
	struct nback *nb = q->nb;
	uint16_t flags = p->slot[0].flags;
	int16_t rc;

	if (p->extras == 1 && (p->extra[0].type == XEN_NETIF_EXTRA_TYPE_MCAST_ADD ||
			       p->extra[0].type == XEN_NETIF_EXTRA_TYPE_MCAST_DEL))
		return group(nb, &p->extra[0]);
	check_packet(q, p);
	nb->counts.tx_frames++;
	nb->counts.tx_slots += p->nr;
	nb->counts.tx_bytes += p->slot[0].size;
	nb->counts.tx_blank += flags & NETTXF_csum_blank ? 1 : 0;
	nb->counts.tx_valid += flags & NETTXF_data_validated ? 1 : 0;
	rc = fetch(q, p, data);
	if (rc != NETIF_RSP_OKAY)
		return rc;
	if (nb->opt.tx_status != 0 && nb->counts.tx_frames % 2 == 0)
		return nb->opt.tx_status;
	if (nb->opt.sink) {
		memcpy(nb->counts.last, data, p->slot[0].size);
		nb->counts.last_len = p->slot[0].size;
	} else if (q->backlog < BACKLOG) {
		give(q, data, p->slot[0].size, flags & NETTXF_csum_blank, flags & NETTXF_data_validated,
		     p->extras ? p->extra[0].u.gso.type : 0, p->extra[0].u.gso.size);
	}
	return NETIF_RSP_OKAY;
}

static bool on_tx(struct nqueue *q)
{
	struct nback *nb = q->nb;
	struct packet p;
	int16_t status;
	bool work = false;
	int n;

	if (nb->opt.hold)
		return false;
	while ((n = pvb_ring_back_avail(&q->tx)) > 0 || (n = pvb_ring_back_rearm(&q->tx)) > 0) {
		work = true;
		if (!take_packet(q, &p, n))
			return true;
		status = serve_packet(q, &p);
		for (unsigned i = 0; i < p.nr; i++) {
			respond(q, p.slot[i].id, status);
			for (unsigned x = 0; i == 0 && x < p.extras; x++) {
				/* the id is whatever lay there */
				struct netif_tx_response rsp = { 0xabcd, NETIF_RSP_NULL };

				pvb_ring_back_put(&q->tx, &rsp, 4);
			}
		}
		push(q, &q->tx, q->tx_event);
	}
	if (n < 0)
		complain(nb, "queue %u: the transmit ring's producer jumped", q->nr);
	feed(q);
	return work;
}

static bool on_event(void *arg)
{
	struct nqueue *q = arg;
	bool work;

	q->nb->counts.events++;
	work = on_tx(q);
	for (unsigned i = 0; i < 8 && q->nb->opt.lie == NBACK_CHAOS; i++)
		put_chaos(q);
	return on_rx(q) || work;
}

/* --- the control ring ------------------------------------------------------------------------------- */

static void forget_table(struct nqueue *q)
{
	for (uint32_t i = 0; i < q->nr_table; i++)
		pvb_hv_unmap(q->nb->hv, &q->table[i].map);
	q->nr_table = 0;
}

static uint32_t add_grefs(struct nback *nb, const uint32_t data[3])
{
	struct nqueue *q = &nb->q[data[0]];
	struct xen_netif_gref e;
	struct pvb_map map;
	uint32_t ref = data[1], rc = 0;

	if (data[0] >= nb->nr_queues || data[2] + q->nr_table > nb->opt.greft || data[2] > TABLE || data[2] == 0 ||
	    pvb_hv_map(nb->hv, nb->front_domid, &ref, 1, true, &map) < 0) {
		complain(nb, "%u entries for queue %u", data[2], data[0]);
		return XEN_NETIF_CTRL_STATUS_INVALID_PARAMETER;
	}
	look(nb, ref, map.addr, 0, data[2] * (uint32_t)sizeof(e));
	for (uint32_t i = 0; i < data[2] && rc == 0; i++) {
		memcpy(&e, (uint8_t *)map.addr + i * sizeof(e), sizeof(e));
		q->table[q->nr_table].ref = e.ref;
		q->table[q->nr_table].readonly = e.flags & XEN_NETIF_CTRLF_GREF_readonly;
		if (pvb_hv_map(nb->hv, nb->front_domid, &e.ref, 1, !(e.flags & XEN_NETIF_CTRLF_GREF_readonly),
			       &q->table[q->nr_table].map) < 0) {
			complain(nb, "entry %u: grant %u can not be mapped", i, e.ref);
			rc = XEN_NETIF_CTRL_STATUS_INVALID_PARAMETER;
			break;
		}
		look(nb, e.ref, q->table[q->nr_table].map.addr, 0, 0);
		q->nr_table++;
	}
	pvb_hv_unmap(nb->hv, &map);
	nb->counts.staged += rc == 0 ? data[2] : 0;
	return rc;
}

static uint32_t take_key(struct nback *nb, const uint32_t data[3])
{
	struct pvb_map map;
	uint32_t ref = data[0];

	if (data[1] > 40 || pvb_hv_map(nb->hv, nb->front_domid, &ref, 1, false, &map) < 0)
		return XEN_NETIF_CTRL_STATUS_INVALID_PARAMETER;
	nb->counts.hash_key_sum = 0;
	for (uint32_t i = 0; i < data[1]; i++)
		nb->counts.hash_key_sum += ((uint8_t *)map.addr)[i];
	pvb_hv_unmap(nb->hv, &map);
	return 0;
}

static uint32_t take_map(struct nback *nb, const uint32_t data[3])
{
	struct pvb_map map;
	uint32_t ref = data[0];

	if (data[1] + data[2] > nb->counts.nr_hash_map ||
	    pvb_hv_map(nb->hv, nb->front_domid, &ref, 1, false, &map) < 0)
		return XEN_NETIF_CTRL_STATUS_BUFFER_OVERFLOW;
	memcpy(nb->counts.hash_map + data[2], map.addr, data[1] * 4);
	pvb_hv_unmap(nb->hv, &map);
	for (uint32_t i = 0; i < nb->counts.nr_hash_map; i++)
		if (nb->counts.hash_map[i] >= nb->nr_queues)
			return XEN_NETIF_CTRL_STATUS_INVALID_PARAMETER;
	return 0;
}

static uint32_t control(struct nback *nb, const struct xen_netif_ctrl_request *r, uint32_t *data)
{
	if (r->type <= XEN_NETIF_CTRL_TYPE_SET_HASH_ALGORITHM && nb->opt.hash_types == 0)
		return XEN_NETIF_CTRL_STATUS_NOT_SUPPORTED;
	if (r->type > XEN_NETIF_CTRL_TYPE_SET_HASH_ALGORITHM && nb->opt.greft == 0)
		return XEN_NETIF_CTRL_STATUS_NOT_SUPPORTED;
	switch (r->type) {
	case XEN_NETIF_CTRL_TYPE_SET_HASH_ALGORITHM:
		return r->data[0] == 1 ? 0 : XEN_NETIF_CTRL_STATUS_INVALID_PARAMETER;
	case XEN_NETIF_CTRL_TYPE_GET_HASH_FLAGS:
		*data = nb->opt.hash_types;
		return 0;
	case XEN_NETIF_CTRL_TYPE_SET_HASH_FLAGS:
		if (r->data[0] & ~nb->opt.hash_types)
			return XEN_NETIF_CTRL_STATUS_INVALID_PARAMETER;
		nb->counts.hash_types = r->data[0];
		return 0;
	case XEN_NETIF_CTRL_TYPE_SET_HASH_KEY:
		return take_key(nb, r->data);
	case XEN_NETIF_CTRL_TYPE_GET_HASH_MAPPING_SIZE:
		*data = nb->opt.hash_map;
		return 0;
	case XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING_SIZE:
		if (r->data[0] > nb->opt.hash_map)
			return XEN_NETIF_CTRL_STATUS_INVALID_PARAMETER;
		nb->counts.nr_hash_map = r->data[0];
		return 0;
	case XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING:
		return take_map(nb, r->data);
	case XEN_NETIF_CTRL_TYPE_GET_GREF_MAPPING_SIZE:
		*data = nb->opt.greft;
		return r->data[0] < nb->nr_queues ? 0 : XEN_NETIF_CTRL_STATUS_INVALID_PARAMETER;
	case XEN_NETIF_CTRL_TYPE_ADD_GREF_MAPPING:
		return add_grefs(nb, r->data);
	default:
		complain(nb, "control message of type %u", r->type);
		return XEN_NETIF_CTRL_STATUS_NOT_SUPPORTED;
	}
}

static bool on_ctrl(void *arg)
{
	struct nback *nb = arg;
	struct xen_netif_ctrl_request req;
	bool work = false;
	int n;

	while ((n = pvb_ring_back_rearm(&nb->ctrl)) > 0) {
		struct xen_netif_ctrl_response rsp = { 0 };
		bool jumped = false;

		work = true;
		pvb_ring_back_take(&nb->ctrl, &req);
		rsp.id = req.id;
		rsp.type = req.type;
		rsp.status = control(nb, &req, &rsp.data);
		if (lies(nb, NBACK_CTRL_ID, NBACK_CTRL_JUMP)) {
			rsp.id = (uint16_t)(rsp.id + (nb->opt.lie == NBACK_CTRL_ID));
			rsp.type = (uint16_t)(rsp.type + (nb->opt.lie == NBACK_CTRL_TYPE));
			if (nb->opt.lie == NBACK_CTRL_STATUS)
				rsp.status = 4;
			jumped = nb->opt.lie == NBACK_CTRL_JUMP;
			if (jumped)
				pvb_ring_store(&nb->ctrl.sh->rsp_prod, nb->ctrl.prod + 1000);
		}
		pvb_ring_back_put(&nb->ctrl, &rsp, sizeof(rsp));
		if (jumped || pvb_ring_back_push(&nb->ctrl))
			notify(nb, nb->ctrl_event);
	}
	return work;
}

/* --- connecting ------------------------------------------------------------------------------------- */

static void disconnect(struct nback *nb)
{
	for (unsigned i = 0; i < nb->nr_queues; i++) {
		struct nqueue *q = &nb->q[i];
		struct pending *p;

		if (q->tx_event == q->rx_event)
			q->tx_event = NULL;
		pvb_event_free(&q->tx_event);
		pvb_event_free(&q->rx_event);
		forget_table(q);
		pvb_hv_unmap(nb->hv, &q->map);
		pvb_hv_unmap(nb->hv, &q->map2);
		while ((p = q->head) != NULL) {
			q->head = p->next;
			free(p);
		}
		memset(q, 0, sizeof(*q));
	}
	nb->nr_queues = 0;
	pvb_event_free(&nb->ctrl_event);
	pvb_hv_unmap(nb->hv, &nb->ctrl_map);
	nb->counts.groups = 0;
	if (nb->spy != NULL)
		spy_forget(nb->spy);
}

static void attach(struct pvb_ring *r, void *page, uint32_t slot_size)
{
	uint32_t at = ((struct pvb_ring_shared *)page)->rsp_prod; /* as stock back ends do */

	pvb_ring_attach(r, page, PVB_PAGE_SIZE, slot_size, at, at);
}

static int bind(struct nback *nb, uint64_t port, struct nqueue *q, struct pvb_event **out)
{
	return pvb_event_bind(nb->events, nb->front_domid, (uint32_t)port, on_event, q, out);
}

static int connect_queue(struct nback *nb, unsigned i, const char *dir)
{
	struct nqueue *q = &nb->q[i];
	struct pvb_value v[VIF_Q_NR];
	uint32_t tx, rx;
	bool split;
	int rc = pvb_nodes_read(nb->st, PVB_NO_TXN, dir, pvb_vif_queue, VIF_Q_NR, v, &nb->err);

	if (rc < 0)
		return rc;
	q->nb = nb;
	q->nr = i;
	q->tail = &q->head;
	nb->nr_queues = i + 1;
	split = v[VIF_Q_EVENT_CHANNEL_TX].present;
	nb->counts.split = split;
	tx = (uint32_t)v[VIF_Q_TX_RING_REF].num;
	rx = (uint32_t)v[VIF_Q_RX_RING_REF].num;
	if (!v[VIF_Q_TX_RING_REF].present || !v[VIF_Q_RX_RING_REF].present ||
	    split != v[VIF_Q_EVENT_CHANNEL_RX].present || split == v[VIF_Q_EVENT_CHANNEL].present ||
	    (split && !nb->opt.split))
		complain(nb, "%s: rings or event channels", dir);
	rc = pvb_hv_map(nb->hv, nb->front_domid, &tx, 1, true, &q->map);
	if (rc == 0)
		rc = pvb_hv_map(nb->hv, nb->front_domid, &rx, 1, true, &q->map2);
	if (rc < 0)
		complain(nb, "%s: rings can not be mapped: %d", dir, rc);
	if (rc == 0) {
		attach(&q->tx, q->map.addr, 12);
		attach(&q->rx, q->map2.addr, 8);
		rc = bind(nb, v[split ? VIF_Q_EVENT_CHANNEL_TX : VIF_Q_EVENT_CHANNEL].num, q, &q->tx_event);
		q->rx_event = q->tx_event;
	}
	if (rc == 0 && split) {
		q->rx_event = NULL;
		rc = bind(nb, v[VIF_Q_EVENT_CHANNEL_RX].num, q, &q->rx_event);
	}
	if (rc < 0)
		complain(nb, "%s: %d", dir, rc);
	else
		nb->counts.rx_posted = pvb_ring_load(&q->rx.sh->req_prod) - q->rx.cons;
	q->rx_all = (int)nb->counts.rx_posted;
	pvb_nodes_free(v, VIF_Q_NR);
	return rc;
}

static int connect_ctrl(struct nback *nb, const struct pvb_value *v)
{
	uint32_t ref = (uint32_t)v[VIF_F_CTRL_RING_REF].num;
	int rc;

	nb->counts.ctrl = v[VIF_F_CTRL_RING_REF].present;
	if (!nb->counts.ctrl)
		return 0;
	if (!nb->opt.ctrl || !v[VIF_F_EVENT_CHANNEL_CTRL].present)
		complain(nb, "a control ring that was not offered");
	rc = pvb_hv_map(nb->hv, nb->front_domid, &ref, 1, true, &nb->ctrl_map);
	if (rc < 0)
		return rc;
	attach(&nb->ctrl, nb->ctrl_map.addr, 16);
	return pvb_event_bind(nb->events, nb->front_domid, (uint32_t)v[VIF_F_EVENT_CHANNEL_CTRL].num, on_ctrl, nb,
			      &nb->ctrl_event);
}

static void connect_front(struct nback *nb)
{
	struct nback_counts *c = &nb->counts;
	struct pvb_value v[VIF_F_NR];
	char dir[160];
	unsigned nr;
	int rc = pvb_nodes_read(nb->st, PVB_NO_TXN, nb->front, pvb_vif_front, VIF_F_NR, v, &nb->err);

	if (rc < 0) {
		complain(nb, "%s", nb->err.text);
		return;
	}
	nr = v[VIF_F_NUM_QUEUES].present ? (unsigned)v[VIF_F_NUM_QUEUES].num : 1;
	c->queues = nr;
	c->sg = v[VIF_F_SG].num;
	c->gso = v[VIF_F_GSO4].num && v[VIF_F_GSO6].num;
	c->csum6 = v[VIF_F_CSUM6].num;
	c->no_csum4 = v[VIF_F_NO_CSUM4].num;
	c->multicast = v[VIF_F_REQUEST_MULTICAST].num;
	if (nr > (nb->opt.max_queues ? nb->opt.max_queues : 1) || (v[VIF_F_NUM_QUEUES].present && nr < 2))
		complain(nb, "%u queues", nr);
	if (!v[VIF_F_RX_COPY].num || !v[VIF_F_RX_NOTIFY].num)
		complain(nb, "request-rx-copy and feature-rx-notify");
	if (c->multicast && !nb->opt.multicast)
		complain(nb, "multicast control was not offered");
	rc = connect_ctrl(nb, v);
	for (unsigned i = 0; i < nr && rc == 0; i++) {
		snprintf(dir, sizeof(dir), nr > 1 ? "%s/queue-%u" : "%s", nb->front, i);
		rc = connect_queue(nb, i, dir);
	}
	pvb_nodes_free(v, VIF_F_NR);
	if (rc < 0) {
		disconnect(nb);
		set_state(nb, 5);
		return;
	}
	c->connects++;
	set_state(nb, 4);
}

static void on_front(void *arg, const char *path)
{
	struct nback *nb = arg;
	unsigned front = pvb_state_read(nb->st, PVB_NO_TXN, nb->front);

	switch (front) {
	case 1:
		if (nb->state == 6 && !nb->closing)
			set_state(nb, 2);
		break;
	case 4:
		if (nb->state == 2)
			connect_front(nb);
		break;
	case 5:
		if (nb->state < 5)
			set_state(nb, 5);
		break;
	case 6:
		disconnect(nb);
		if (nb->state >= 2 && nb->state < 6) /* 2: its 5 and 6 may come as one event */
			set_state(nb, 6);
		break;
	}
}

static void on_mcast(void *arg, const char *path)
{
	struct nback *nb = arg;
	char text[192];
	uint64_t v;

	snprintf(text, sizeof(text), "%s/request-multicast-control", nb->front);
	if (pvb_store_read_u64(nb->st, PVB_NO_TXN, text, 0, 1, &v) == 0)
		nb->counts.multicast = v;
}

/* --- the thread ------------------------------------------------------------------------------------- */

struct call {
	void (*fn)(struct nback *nb, void *arg);
	void *arg;
};

static void on_call(void *arg, uint32_t events)
{
	struct nback *nb = arg;
	struct call c;

	if (read(nb->pipe[0], &c, sizeof(c)) != sizeof(c))
		return;
	c.fn(nb, c.arg);
	sem_post(&nb->called);
}

static void call(struct nback *nb, void (*fn)(struct nback *nb, void *arg), void *arg)
{
	struct call c = { fn, arg };

	if (write(nb->pipe[1], &c, sizeof(c)) != sizeof(c))
		abort();
	while (sem_wait(&nb->called) < 0)
		;
}

static void bus_of(const struct nback *nb, char *spec, size_t size)
{
	if (strcmp(nb->fabric, "xen") == 0)
		snprintf(spec, size, "xen");
	else
		snprintf(spec, size, "local:%s:0", nb->fabric);
}

static int make_device(struct nback *nb)
{
	struct pvb_pair back[] = { { "mac", "00:16:3e:12:34:56" }, { "handle", "0" }, { "port", "null" } };
	struct pvb_pair front[4] = { { "mac", "00:16:3E:12:34:56" }, { "handle", "0" } };
	unsigned nr = 2;
	char mtu[16];

	snprintf(mtu, sizeof(mtu), "%u", nb->opt.mtu);
	if (nb->opt.mtu != 0)
		front[nr++] = (struct pvb_pair){ "mtu", mtu };
	if (nb->opt.untrusted)
		front[nr++] = (struct pvb_pair){ "trusted", "0" };
	return pvb_offer(nb->st, &nb->id, back, 3, front, nr, &nb->err);
}

static void start_states(struct nback *nb)
{
	publish(nb);
	if (!nb->opt.wait)
		set_state(nb, 2);
	else
		nb->state = 1;
}

static int open_all(struct nback *nb)
{
	char spec[128], path[192];
	int rc;

	bus_of(nb, spec, sizeof(spec));
	rc = pvb_loop_new(&nb->loop);
	if (rc == 0)
		rc = pvb_hv_open(&nb->hv, spec, PVB_HV_BACK | PVB_HV_GUARD, &nb->err);
	if (rc == 0)
		rc = pvb_store_open(&nb->st, spec, &nb->err);
	if (rc == 0)
		rc = pvb_store_attach(nb->st, nb->loop);
	if (rc == 0)
		rc = pvb_events_new(&nb->events, nb->hv, nb->loop, NULL, NULL);
	if (rc == 0)
		rc = pvb_loop_fd(nb->loop, nb->pipe[0], EPOLLIN, on_call, nb, &nb->src);
	if (rc == 0)
		rc = make_device(nb);
	if (rc < 0)
		return rc;
	start_states(nb);
	snprintf(path, sizeof(path), "%s/state", nb->front);
	rc = pvb_store_watch(nb->st, path, on_front, nb, &nb->watch);
	snprintf(path, sizeof(path), "%s/request-multicast-control", nb->front);
	return rc < 0 ? rc : pvb_store_watch(nb->st, path, on_mcast, nb, &nb->watch_mcast);
}

static void *serve(void *arg)
{
	struct nback *nb = arg;

	nb->rc = open_all(nb);
	sem_post(&nb->ready);
	if (nb->rc == 0)
		pvb_loop_run(nb->loop);
	pvb_store_unwatch(&nb->watch);
	pvb_store_unwatch(&nb->watch_mcast);
	disconnect(nb);
	while (nb->nr_kept > 0)
		pvb_hv_unmap(nb->hv, &nb->kept[--nb->nr_kept]);
	pvb_source_free(&nb->src);
	pvb_events_free(nb->events);
	pvb_store_close(nb->st);
	pvb_hv_close(nb->hv);
	pvb_loop_free(nb->loop);
	return NULL;
}

int nback_start(struct nback **out, const char *dir, uint32_t front, uint32_t devid, const struct nback_options *opt,
		struct pvb_error *err)
{
	struct nback *nb = calloc(1, sizeof(*nb));
	int rc;

	if (nb == NULL || pipe(nb->pipe) < 0)
		abort();
	nb->opt = *opt;
	nb->random = opt->seed | 1;
	if (opt->spy)
		nb->spy = spy_new();
	nb->front_domid = front;
	nb->id = (struct pvb_device_id){ .kind = "vif", .class = "vif", .back = 0, .front = front, .devid = devid };
	snprintf(nb->fabric, sizeof(nb->fabric), "%s", dir);
	pvb_device_back_path(&nb->id, nb->dir, sizeof(nb->dir));
	pvb_device_front_path(&nb->id, nb->front, sizeof(nb->front));
	sem_init(&nb->ready, 0, 0);
	sem_init(&nb->called, 0, 0);
	if (pthread_create(&nb->thread, NULL, serve, nb) != 0)
		abort();
	while (sem_wait(&nb->ready) < 0)
		;
	rc = nb->rc;
	if (rc < 0) {
		if (err != NULL)
			*err = nb->err;
		pthread_join(nb->thread, NULL);
		spy_free(nb->spy);
		free(nb);
		return rc;
	}
	*out = nb;
	return 0;
}

static void do_stop(struct nback *nb, void *arg)
{
	pvb_loop_stop(nb->loop, 0);
}

void nback_kill(struct nback *nb)
{
	if (nb == NULL)
		return;
	call(nb, do_stop, NULL);
	pthread_join(nb->thread, NULL);
	close(nb->pipe[0]);
	close(nb->pipe[1]);
	sem_destroy(&nb->ready);
	sem_destroy(&nb->called);
	spy_free(nb->spy);
	free(nb);
}

static void do_remove(struct nback *nb, void *arg)
{
	pvb_store_rm(nb->st, PVB_NO_TXN, nb->dir);
	pvb_store_rm(nb->st, PVB_NO_TXN, nb->front);
}

void nback_remove(struct nback *nb, bool graceful)
{
	char spec[128];
	struct pvb_store *tool;

	bus_of(nb, spec, sizeof(spec));
	if (graceful && pvb_store_open(&tool, spec, NULL) == 0) {
		pvb_rescind(tool, &nb->id, 30000, NULL);
		pvb_store_close(tool);
	} else {
		call(nb, do_remove, NULL);
	}
	nback_kill(nb);
}

static void do_remake(struct nback *nb, void *arg)
{
	do_remove(nb, NULL);
	disconnect(nb);
	nb->closing = false;
	if (make_device(nb) < 0)
		complain(nb, "%s", nb->err.text);
	start_states(nb);
}

void nback_remake(struct nback *nb)
{
	call(nb, do_remake, NULL);
}

static void do_go(struct nback *nb, void *arg)
{
	nb->opt.wait = false;
	set_state(nb, 2);
	on_front(nb, NULL);
}

void nback_go(struct nback *nb)
{
	call(nb, do_go, NULL);
}

static void do_release(struct nback *nb, void *arg)
{
	nb->opt.hold = false;
	for (unsigned i = 0; i < nb->nr_queues; i++)
		on_tx(&nb->q[i]);
}

void nback_release(struct nback *nb)
{
	call(nb, do_release, NULL);
}

static void do_state(struct nback *nb, void *arg)
{
	set_state(nb, *(unsigned *)arg);
}

void nback_state(struct nback *nb, unsigned state)
{
	call(nb, do_state, &state);
}

static void do_close(struct nback *nb, void *arg)
{
	nb->closing = true;
	set_state(nb, 5);
}

void nback_close(struct nback *nb)
{
	call(nb, do_close, NULL);
}

static void do_reopen(struct nback *nb, void *arg)
{
	nb->closing = false;
	disconnect(nb);
	if (arg != NULL)
		nb->opt = *(const struct nback_options *)arg;
	publish(nb);
	set_state(nb, 2);
	on_front(nb, NULL);
}

void nback_reopen(struct nback *nb, const struct nback_options *opt)
{
	call(nb, do_reopen, (void *)(uintptr_t)opt);
}

static void do_key(struct nback *nb, void *arg)
{
	const char *const *kv = arg;
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", kv[2] != NULL ? nb->front : nb->dir, kv[0]);
	if (kv[1] != NULL)
		pvb_store_write(nb->st, PVB_NO_TXN, path, kv[1]);
	else
		pvb_store_rm(nb->st, PVB_NO_TXN, path);
}

void nback_key(struct nback *nb, const char *key, const char *value)
{
	const char *kv[] = { key, value, NULL };

	call(nb, do_key, kv);
}

void nback_front_key(struct nback *nb, const char *key, const char *value)
{
	const char *kv[] = { key, value, "front" };

	call(nb, do_key, kv);
}

static void do_lie(struct nback *nb, void *arg)
{
	nb->opt.lie = *(enum nback_lie *)arg;
	if (nb->opt.lie != NBACK_CTRL_UNASKED)
		return;
	pvb_ring_store(&nb->ctrl.sh->rsp_prod, nb->ctrl.prod + 1);
	pvb_ring_mb();
	notify(nb, nb->ctrl_event);
}

void nback_lie(struct nback *nb, enum nback_lie lie)
{
	call(nb, do_lie, &lie);
}

static void do_storm(struct nback *nb, void *arg)
{
	for (unsigned n = *(unsigned *)arg; n > 0; n--)
		for (unsigned i = 0; i < nb->nr_queues; i++)
			pvb_event_notify(nb->q[i].rx_event);
}

void nback_storm(struct nback *nb, unsigned events)
{
	call(nb, do_storm, &events);
}

struct injection {
	unsigned queue;
	const void *frame;
	size_t len;
	bool blank;
	unsigned gso;
	uint16_t gso_size;
};

static void do_inject(struct nback *nb, void *arg)
{
	const struct injection *in = arg;
	struct nqueue *q = &nb->q[in->queue];

	if (in->queue >= nb->nr_queues)
		return;
	give(q, in->frame, (uint32_t)in->len, in->blank, in->blank, (uint8_t)in->gso, in->gso_size);
	feed(q);
}

void nback_inject(struct nback *nb, unsigned queue, const void *frame, size_t len, bool blank, unsigned gso,
		  uint16_t gso_size)
{
	struct injection in = { queue, frame, len, blank, gso, gso_size };

	call(nb, do_inject, &in);
}

static void do_counts(struct nback *nb, void *arg)
{
	*(struct nback_counts *)arg = nb->counts;
}

void nback_counts(struct nback *nb, struct nback_counts *c)
{
	call(nb, do_counts, c);
}
