/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The one list of ports, the texts that name them, and the chain a text asks for: its port with wrappers on top. */
#include "config.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "backend/net/netif.h"
#include "backend/net/ports.h"
#include "backend/target.h"

/* Wrappers are in order from below: pcap is outside, so it shows what the guest sends and gets. */
const struct port_ops *const ports[] = {
	&tap_port,
	&switch_port,
	&null_port,
	&fault_port,
	&delay_port,
	&pcap_port,
	NULL
};

const struct port_ops *port_find(const char *name)
{
	for (const struct port_ops *const *p = ports; *p; p++)
		if (!strcmp((*p)->name, name))
			return *p;
	return NULL;
}

static bool find_port(const char *name, const char *const **keys)
{
	const struct port_ops *ops = port_find(name);

	if (!ops || ops->wrapper)
		return false;
	*keys = ops->keys;
	return true;
}

/* The keys of the wrappers, which every port takes. */
static const struct target_key common_keys[] = {
	{ .name = "fault", .repeats = true },
	{ .name = "delay" },
	{ .name = "pcap" },
	{ .name = "snaplen", .min = FRAME_MIN_LEN, .max = 262144 },
};

static const struct target_grammar grammar = {
	.noun = "port", .bare = true, .find = find_port,
	.common = common_keys, .nr_common = sizeof(common_keys) / sizeof(common_keys[0]),
};

int port_parse(const char *text, struct target **out, struct pvb_error *err)
{
	return target_parse_as(text, &grammar, out, err);
}

const char *port_switch_name(const struct target *t)
{
	return strcmp(t->provider, switch_port.name) ? "" : t->arg;
}

void port_close_fds(const int *fds, unsigned nr_fds)
{
	for (unsigned i = 0; i < nr_fds; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

/* The next wrapper the text asks for, by an option of its name. */
static const struct port_ops *next_wrapper(const struct target *t, const struct port_ops *const **pos)
{
	while (**pos) {
		const struct port_ops *ops = *(*pos)++;

		if (ops->wrapper && target_get(t, ops->name))
			return ops;
	}
	return NULL;
}

/* Descriptors: the port's, then those of the wrappers from below. */
int port_prepare(const struct target *t, const struct port_nic *nic, int fds[PORT_MAX_FDS], unsigned *nr_fds,
		 struct pvb_error *err)
{
	const struct port_ops *const *pos = ports;
	const struct port_ops *ops = port_find(t->provider);
	unsigned nr;
	int rc;

	*nr_fds = 0;
	if (target_get(t, "snaplen") && !target_get(t, "pcap"))
		return pvb_err(err, -EINVAL, "target \"%s\": snaplen without pcap", t->text);
	rc = ops->prepare ? ops->prepare(t, nic, fds, nr_fds, err) : 0;
	while (!rc && (ops = next_wrapper(t, &pos))) {
		nr = 0;
		rc = ops->prepare(t, nic, fds + *nr_fds, &nr, err);
		*nr_fds += nr;
	}
	if (rc) {
		port_close_fds(fds, *nr_fds);
		*nr_fds = 0;
	}
	return rc;
}

static unsigned wrapper_fds(const struct target *t)
{
	const struct port_ops *const *pos = ports;
	const struct port_ops *ops;
	unsigned nr = 0;

	while ((ops = next_wrapper(t, &pos)))
		nr += ops->nr_fds;
	return nr;
}

static void init(struct port *p, const struct port_ops *ops, struct nif_ctx *ctx)
{
	p->ops = ops;
	p->ctx = ctx;
	p->needs |= ops->whole;
}

int port_open(const struct target *t, const struct port_nic *nic, const int *fds, unsigned nr_fds, struct nif_ctx *ctx,
	      struct port **out, struct pvb_error *err)
{
	const struct port_ops *const *pos = ports;
	const struct port_ops *ops = port_find(t->provider);
	unsigned more = wrapper_fds(t), used;
	struct port *p, *top;
	int rc;

	if (nr_fds < more) {
		port_close_fds(fds, nr_fds);
		return pvb_err(err, -EINVAL, "target \"%s\": %u descriptors, at least %u", t->text, nr_fds, more);
	}
	used = nr_fds - more;
	rc = ops->open(t, nic, fds, used, ctx, NULL, &p, err);
	if (!rc)
		init(p, ops, ctx);
	while (!rc && (ops = next_wrapper(t, &pos))) {
		rc = ops->open(t, nic, fds + used, ops->nr_fds, ctx, p, &top, err);
		used += ops->nr_fds;
		if (rc) {
			port_close(p);
			break;
		}
		init(top, ops, ctx);
		top->below = p;
		p->above = top;
		p = top;
	}
	if (rc) {
		port_close_fds(fds + used, nr_fds - used);
		return rc;
	}
	*out = p;
	while (p->below)
		p = p->below;
	port_set_needs(p, p->needs);
	return 0;
}

void port_close(struct port *p)
{
	while (p) {
		struct port *below = p->below;

		p->ops->close(p);
		p = below;
	}
}

void port_set_needs(struct port *p, bool needs)
{
	p->needs = needs;
	for (; p; p = p->above)
		p->whole = p->needs || (p->below && p->below->whole);
}

/* Those above are ready before those below deliver, and stay so until those below have stopped. */
void port_connected(struct port *p, const struct port_offers *offers)
{
	if (p->below && !offers)
		port_connected(p->below, offers);
	if (p->ops->connected)
		p->ops->connected(p, offers);
	if (p->below && offers)
		port_connected(p->below, offers);
}

void port_xmit(struct port *p, struct frame **frames, unsigned nr)
{
	p->ops->xmit(p, frames, nr);
}

void port_room(struct port *p, unsigned queue)
{
	for (; p; p = p->below)
		if (p->ops->room)
			p->ops->room(p, queue);
}

void port_flush(struct port *p)
{
	for (; p; p = p->below)
		if (p->ops->flush)
			p->ops->flush(p);
}

void port_carrier(struct port *p, bool up)
{
	for (; p; p = p->below)
		if (p->ops->carrier)
			p->ops->carrier(p, up);
}

void port_stats_sum(const struct port *p, struct port_stats *sum)
{
	memset(sum, 0, sizeof(*sum));
	for (; p; p = p->below) {
		sum->rx_dropped_full += p->stats.rx_dropped_full;
		sum->rx_dropped_filter += p->stats.rx_dropped_filter;
		sum->tx_errors += p->stats.tx_errors;
		sum->flooded += p->stats.flooded;
		sum->tx_dropped_filter += p->stats.tx_dropped_filter;
		sum->injected += p->stats.injected;
	}
}

enum frame_verdict port_deliver(struct port *p, unsigned queue, struct frame *f)
{
	for (struct port *a = p->above; a; a = a->above)
		if (a->ops->deliver)
			return a->ops->deliver(a, queue, f);
	return nif_deliver(p->nif, queue, f);
}

void frame_copy(struct frame *to, const struct frame *f, uint8_t *buf)
{
	*to = *f;
	memcpy(buf, f->hdr, f->hdr_len);
	memcpy(buf + f->hdr_len, f->seg[0].local + f->hdr_len, f->len - f->hdr_len);
	to->hdr = buf;
	to->nr_segs = 1;
	to->seg[0].local = buf;
	to->seg[0].offset = 0;
	to->seg[0].len = f->len;
	to->verdict = FRAME_PENDING;
	to->owner = NULL;
}
