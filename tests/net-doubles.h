/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_TESTS_NET_DOUBLES_H
#define PVB_TESTS_NET_DOUBLES_H
/* The protocol's side of a port, for tests of ports: NICs that keep what they are given.
 *
 * As the real one, it reads a frame's bytes at the flush and not before, so a port that lets go of them too early is
 * found out.  Granted pages are looked up in a table of the test's. */
#include "tests/net-frames.h"
#include "backend/net/netif.h"
#include "backend/net/nif-fetch.h"
#include "backend/net/port.h"
#include "backend/target.h"

#define NIC_MAX_FRAMES 512u
#define NR_PAGES 64u

struct got {
	uint8_t *bytes;
	uint32_t len;
	unsigned queue, granted;     /* bytes that came from granted pages */
	bool csum_blank, csum_valid;
	uint8_t gso;
	uint16_t gso_size;
	struct frame f;              /* until the flush */
};

struct nif {
	struct nif_ctx *ctx;
	struct port *port;
	unsigned room;               /* frames it takes before it says HELD */
	bool said_held;
	struct got got[NIC_MAX_FRAMES];
	unsigned nr, flushed;
	struct nif *next;
};

struct nif_ctx {
	struct pvb_loop *loop;
	struct nif *nifs;
	unsigned flushes, retries, fetches;
	enum frame_verdict fetch_says;   /* FRAME_PENDING: it can be done */
	uint8_t *fetched[NIC_MAX_FRAMES];
	unsigned nr_fetched;
};

extern uint8_t granted_page[NR_PAGES][4096]; /* ref is the index */

struct nif_ctx *ctx_new(void);
void ctx_free(struct nif_ctx *ctx);  /* with its NICs and their ports */
/* A NIC on the port that the text names; connected with all offers unless `offers` says else. MAC 02:00:00:00:00:id. */
struct nif *nic_new(struct nif_ctx *ctx, uint8_t id, const char *text, const struct port_offers *offers);
/* As it is opened only, with the supervisor's part; 0 or what failed, *err says why. */
int chain_open(struct nif_ctx *ctx, uint8_t id, const char *text, struct port **out, struct pvb_error *err);
void nic_free(struct nif *nic);
void nic_forget(struct nif *nic);    /* what it got */
void nic_make_room(struct nif *nic, unsigned frames);
extern const struct port_offers all_offers;

/* xmit() of one frame and the end of the pass; its verdict. */
enum frame_verdict nic_send(struct nif *nic, struct frame *f);

/* As a guest sends it: the header in hdr (FRAME_HDR bytes), all in granted pages from `page` on. */
void grant(struct frame *f, uint8_t *hdr, unsigned page);
#endif
