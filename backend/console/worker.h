/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BACKEND_CONSOLE_WORKER_H
#define PVB_BACKEND_CONSOLE_WORKER_H
/* The process that serves one console, started by the supervisor by executing pvbackd again; in the same sandbox, under the
 * same uid as the worker that serves the guest's disks, and not that worker itself: a console that is flooded, or whose
 * log's file system hangs, takes nothing from the guest's disks and NICs, and either may die without the other.
 * It knows neither the store nor any path. */
#include <stdbool.h>
#include <stdint.h>

struct con_worker_options {
	int sock;                /* to the supervisor */
	const char *hv;          /* pvb_hv_spec() */
	uint32_t domid;
	uint32_t uid;            /* 0 = keep */
	bool sandbox;
};
/* Runs until the supervisor closes the socket; the process's exit status. */
int con_worker_main(const struct con_worker_options *o);
#endif
