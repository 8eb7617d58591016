/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fault=[tx:|rx:]KIND:N - every Nth frame is dropped, doubled, corrupted, or changes places with the next.
 *
 * By counting, so a test can be repeated; each rule counts the frames of its direction (both, each for itself, if
 * none is named) that were taken.  The first rule whose turn it is decides.
 * corrupt flips a bit of the data, after finishing a blank checksum, so that the receiver can tell.  A GSO frame's
 * checksums are made later, so it waits for one that is none. */
#include "config.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "backend/net/netif.h"
#include "backend/net/packet.h"
#include "backend/net/ports.h"
#include "backend/target.h"

#define BYTES (1024u * 1024)         /* of frames kept back: more than is between two flushes */
#define KEEP_MS 10                   /* if no other frame comes to change places with */
#define MAX_RULES 16u

enum kind { DROP, DUP, CORRUPT, REORDER, NR_KINDS };
enum { TX, RX, NR_DIRS };
static const char *const kinds[NR_KINDS] = { "drop", "dup", "corrupt", "reorder" };

struct rule { enum kind kind; bool dir[NR_DIRS]; uint64_t every, count[NR_DIRS]; };

/* A frame kept back. */
struct kept { bool is; struct frame f; };

struct fault {
	struct port port;
	unsigned nr;
	struct rule rules[MAX_RULES];
	struct kept kept[NR_DIRS];
	size_t used;                 /* a ring: begins anew at its end */
	uint8_t *bytes;
	struct pvb_source *timer;
};

/* --- the text ----------------------------------------------------------------------------------------- */

static int parse_rule(const char *text, struct rule *r, struct pvb_error *err)
{
	const char *p = text;
	size_t len;

	*r = (struct rule){ .dir = { true, true } };
	if (!strncmp(p, "tx:", 3) || !strncmp(p, "rx:", 3)) {
		r->dir[p[0] == 't' ? RX : TX] = false;
		p += 3;
	}
	len = strcspn(p, ":");
	while (r->kind < NR_KINDS && (strlen(kinds[r->kind]) != len || strncmp(kinds[r->kind], p, len)))
		r->kind++;
	if (r->kind < NR_KINDS && p[len] == ':') {
		p += len + 1;
		len = strspn(p, "0123456789");
		if (len && len < 10 && !p[len])
			r->every = strtoull(p, NULL, 10);
	}
	if (!r->every || (r->kind == REORDER && r->every < 2))
		return pvb_err(err, -EINVAL, "fault=%s: [tx:|rx:]KIND:N with KIND drop, dup, corrupt or reorder and N "
			       "from 1 (reorder: 2)", text);
	return 0;
}

static int parse_rules(const struct target *t, struct rule *rules, unsigned *nr, struct pvb_error *err)
{
	int rc = 0;

	*nr = 0;
	for (unsigned i = 0; i < t->nr_options && !rc; i++) {
		if (strcmp(t->options[i].key, "fault"))
			continue;
		if (*nr == MAX_RULES)
			return pvb_err(err, -E2BIG, "target \"%s\": at most %u faults", t->text, MAX_RULES);
		rc = parse_rule(t->options[i].value, &rules[(*nr)++], err);
	}
	return rc;
}

static int fault_prepare(const struct target *t, const struct port_nic *nic, int *fds, unsigned *nr_fds,
			 struct pvb_error *err)
{
	struct rule rules[MAX_RULES];
	unsigned nr;

	*nr_fds = 0;
	return parse_rules(t, rules, &nr, err);
}

/* --- frames ------------------------------------------------------------------------------------------- */

static enum frame_verdict pass(struct fault *w, int dir, struct frame *f)
{
	if (dir == RX)
		return port_deliver(&w->port, f->queue, f);
	port_xmit(w->port.below, &f, 1);
	return f->verdict;
}

/* Let what was kept back go; it stays if there is no room. */
static void release(struct fault *w, int dir)
{
	struct kept *k = &w->kept[dir];

	if (k->is && pass(w, dir, &k->f) != FRAME_HELD)
		k->is = false;
}

static void expired(void *arg)
{
	struct fault *w = arg;

	release(w, TX);
	release(w, RX);
	port_flush(w->port.below);
	nif_ctx_flush(w->port.ctx);
	if (w->kept[TX].is || w->kept[RX].is)
		pvb_loop_timer(nif_ctx_loop(w->port.ctx), KEEP_MS, expired, w, &w->timer);
}

static bool keep(struct fault *w, int dir, const struct frame *f)
{
	if (!frame_is_local(f))
		return false;
	if (!w->timer && pvb_loop_timer(nif_ctx_loop(w->port.ctx), KEEP_MS, expired, w, &w->timer))
		return false;
	if (f->len > BYTES - w->used)
		w->used = 0;
	frame_copy(&w->kept[dir].f, f, w->bytes + w->used);
	w->used += f->len;
	w->kept[dir].is = true;
	return true;
}

static enum frame_verdict corrupt(struct fault *w, int dir, struct frame *f)
{
	unsigned at = f->payload && f->payload < f->hdr_len ? f->payload : f->hdr_len - 1u;
	enum frame_verdict v;

	if (frame_is_local(f))
		packet_checksum(f);
	f->csum_valid = false;
	f->hdr[at] ^= 1;
	v = pass(w, dir, f);
	if (v == FRAME_HELD)
		f->hdr[at] ^= 1;
	return v;
}

static bool applies(const struct fault *w, const struct rule *r, int dir, const struct frame *f)
{
	if (!r->dir[dir] || r->count[dir] + 1 < r->every)
		return false;
	return !(r->kind == CORRUPT && (f->gso || (f->csum_blank && !frame_is_local(f)))) &&
	       !(r->kind == REORDER && w->kept[dir].is);
}

static enum frame_verdict act(struct fault *w, int dir, struct frame *f, enum kind kind)
{
	enum frame_verdict v;

	switch (kind) {
	case DROP:
		return FRAME_DROPPED;
	case DUP:
		v = pass(w, dir, f);
		if (v == FRAME_SENT)
			pass(w, dir, f);
		return v;
	case CORRUPT:
		return corrupt(w, dir, f);
	case REORDER:
		return keep(w, dir, f) ? FRAME_SENT : pass(w, dir, f);
	default:
		return pass(w, dir, f);
	}
}

/* A frame that is held is offered again, so it counts only when it is not. */
static enum frame_verdict one(struct fault *w, int dir, struct frame *f)
{
	bool kept = w->kept[dir].is;
	struct rule *r = NULL;
	enum frame_verdict v;

	for (unsigned i = 0; i < w->nr && !r; i++)
		if (applies(w, &w->rules[i], dir, f))
			r = &w->rules[i];
	v = act(w, dir, f, r ? r->kind : NR_KINDS);
	if (v == FRAME_HELD)
		return v;
	for (unsigned i = 0; i < w->nr; i++)
		w->rules[i].count[dir]++;
	if (r) {
		r->count[dir] = 0;
		w->port.stats.injected++;
	}
	if (kept)
		release(w, dir);
	return v;
}

static void fault_xmit(struct port *p, struct frame **frames, unsigned nr)
{
	unsigned i;

	for (i = 0; i < nr; i++) {
		frames[i]->verdict = one((struct fault *)p, TX, frames[i]);
		if (frames[i]->verdict == FRAME_HELD)
			break;
	}
	for (; i < nr; i++)
		frames[i]->verdict = FRAME_HELD;
}

static enum frame_verdict fault_deliver(struct port *p, unsigned queue, struct frame *f)
{
	f->queue = queue;
	return one((struct fault *)p, RX, f);
}

static void fault_connected(struct port *p, const struct port_offers *offers)
{
	struct fault *w = (struct fault *)p;

	if (offers)
		return;
	w->kept[TX].is = w->kept[RX].is = false;
	pvb_source_free(&w->timer);
}

static void fault_close(struct port *p)
{
	struct fault *w = (struct fault *)p;

	pvb_source_free(&w->timer);
	free(w->bytes);
	free(w);
}

static int fault_open(const struct target *t, const struct port_nic *nic, const int *fds, unsigned nr_fds,
		      struct nif_ctx *ctx, struct port *below, struct port **out, struct pvb_error *err)
{
	struct fault *w = calloc(1, sizeof(*w));
	int rc;

	if (!w)
		return pvb_err(err, -ENOMEM, "fault: no memory");
	rc = parse_rules(t, w->rules, &w->nr, err);
	for (unsigned i = 0; i < w->nr; i++)
		w->port.needs |= w->rules[i].kind == CORRUPT || w->rules[i].kind == REORDER;
	if (!rc && w->port.needs && !(w->bytes = malloc(BYTES)))
		rc = pvb_err(err, -ENOMEM, "fault: no memory");
	if (rc) {
		fault_close(&w->port);
		return rc;
	}
	*out = &w->port;
	return 0;
}

static const char *const fault_keys[] = { "fault", NULL };

const struct port_ops fault_port = {
	.name = "fault",
	.help = "[tx:|rx:]KIND:N   drop, dup, corrupt or reorder every Nth frame",
	.keys = fault_keys,
	.wrapper = true,
	.prepare = fault_prepare, .open = fault_open, .connected = fault_connected, .xmit = fault_xmit,
	.deliver = fault_deliver, .close = fault_close,
};
