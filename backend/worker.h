/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BACKEND_WORKER_H
#define PVB_BACKEND_WORKER_H
/* The worker: one process per guest, or per switch, started by the supervisor by executing pvbackd again.  It serves
 * the rings of one guest (of the NICs on a switch) from inside a sandbox and knows neither the store nor any path. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct worker_options {
	int sock;                /* to the supervisor */
	const char *hv;          /* pvb_hv_spec() */
	uint32_t domid;          /* the guest */
	const char *place;       /* "", or the switch whose NICs it serves: any domain's */
	uint32_t uid;            /* 0 = keep */
	size_t memory;           /* bytes of buffers */
	bool sandbox;
	bool nbd;                /* it will serve disks over libnbd */
	uint64_t poll_us;        /* longest look at rings before a sleep (polling.h) */
};
/* Runs until the supervisor closes the socket; the process's exit status. */
int worker_main(const struct worker_options *o);
#endif
