// SPDX-License-Identifier: GPL-2.0-or-later
/* Our own domain: its id and the one set of event channels all its devices share. */
#include <errno.h>
#include <stdlib.h>
#include "dev.h"

int pvf_guest_new(struct pvf_guest **out, struct pvb_hv *hv, struct pvb_store *store, struct pvb_loop *loop,
		  struct pvb_error *err)
{
	struct pvf_guest *g = calloc(1, sizeof(*g));
	int rc;

	if (g == NULL)
		return pvb_err(err, -ENOMEM, "out of memory");
	g->hv = hv;
	g->store = store;
	g->loop = loop;
	rc = pvb_store_domid(store, &g->domid);
	if (rc < 0) {
		pvb_err(err, rc, "our own domain id is not in the store");
		goto fail;
	}
	pvb_store_home(g->domid, g->home, sizeof(g->home));
	rc = pvb_store_attach(store, loop);
	if (rc < 0) {
		pvb_err(err, rc, "store events can not be had from this loop");
		goto fail;
	}
	rc = pvb_events_new(&g->events, hv, loop, NULL, NULL);
	if (rc < 0) {
		pvb_err(err, rc, "event channels can not be had from this loop");
		goto fail;
	}
	*out = g;
	return 0;
fail:
	free(g);
	return rc;
}

void pvf_guest_free(struct pvf_guest *g)
{
	if (g == NULL)
		return;
	pvb_events_free(g->events);
	free(g);
}

uint32_t pvf_guest_domid(const struct pvf_guest *g)
{
	return g->domid;
}
