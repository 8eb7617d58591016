/* SPDX-License-Identifier: GPL-2.0-or-later */
/* null - frames vanish; with echo=on each comes back with its addresses exchanged.  What is left is the cost of the
 * rings; with read=on also that of having every byte here, as a port that does something with a frame needs. */
#include "config.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "backend/net/netif.h"
#include "backend/net/ports.h"
#include "backend/target.h"

struct null {
	struct port port;
	bool echo, read, connected;
};

static const char *const null_keys[] = { "echo", "read", NULL };
static const char *const words_off_on[] = { "off", "on", NULL };

static int null_prepare(const struct target *t, const struct port_nic *nic, int *fds, unsigned *nr_fds,
			struct pvb_error *err)
{
	int rc = target_choice(t, "echo", words_off_on, 0, err);

	*nr_fds = 0;
	if (rc >= 0)
		rc = target_choice(t, "read", words_off_on, 0, err);
	if (rc >= 0 && t->arg[0])
		rc = pvb_err(err, -EINVAL, "target \"%s\": null takes nothing but options", t->text);
	return rc < 0 ? rc : 0;
}

static int null_open(const struct target *t, const struct port_nic *nic, const int *fds, unsigned nr_fds,
		     struct nif_ctx *ctx, struct port *below, struct port **out, struct pvb_error *err)
{
	int echo = target_choice(t, "echo", words_off_on, 0, err), read = target_choice(t, "read", words_off_on, 0, err);
	struct null *n;

	port_close_fds(fds, nr_fds);
	if (echo < 0 || read < 0)
		return echo < 0 ? echo : read;
	n = calloc(1, sizeof(*n));
	if (!n)
		return pvb_err(err, -ENOMEM, "null: no memory");
	n->echo = echo;
	n->read = read;
	*out = &n->port;
	return 0;
}

static void null_connected(struct port *p, const struct port_offers *offers)
{
	struct null *n = (struct null *)p;

	n->connected = offers;
	port_set_needs(p, n->read);
}

static void exchange(uint8_t *hdr)
{
	uint8_t mac[6];

	memcpy(mac, hdr, 6);
	memcpy(hdr, hdr + 6, 6);
	memcpy(hdr + 6, mac, 6);
}

static void null_xmit(struct port *p, struct frame **frames, unsigned nr)
{
	struct null *n = (struct null *)p;
	bool held = false;

	for (unsigned i = 0; i < nr; i++) {
		struct frame *f = frames[i];

		f->verdict = held ? FRAME_HELD : FRAME_SENT;
		if (held || !n->echo || !n->connected)
			continue;
		exchange(f->hdr);
		held = port_deliver(p, f->queue, f) == FRAME_HELD;
		if (held) {
			exchange(f->hdr);
			f->verdict = FRAME_HELD;
		}
	}
}

static void null_room(struct port *p, unsigned queue)
{
	nif_ctx_retry(p->ctx);
}

static void null_close(struct port *p)
{
	free(p);
}

const struct port_ops null_port = {
	.name = "null",
	.help = "frames vanish",
	.keys = null_keys,
	.prepare = null_prepare, .open = null_open, .connected = null_connected, .xmit = null_xmit, .room = null_room,
	.close = null_close,
};
