/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BACKEND_CONSOLE_SETUP_H
#define PVB_BACKEND_CONSOLE_SETUP_H
/* What the supervisor tells the process that serves a console, and the counters they share. */
#include <stdbool.h>
#include <stdint.h>
#include "spec.h"

struct con_setup {
	uint32_t port;               /* the guest's event channel */
	uint32_t nr_ends;
	uint64_t rate;
	struct {
		uint32_t kind;       /* enum con_kind */
		bool dial, telnet, fd; /* fd: there is a descriptor for it */
		uint64_t rotate, size; /* of a log */
	} end[CON_MAX_ENDS];
};

/* Written by the console's process alone, with stats_add(). */
struct con_stats {
	uint64_t out_bytes, in_bytes;
	uint64_t lost_bytes;         /* that clients have missed */
	uint64_t log_bytes, log_lost_bytes;
	uint64_t rotations;
	uint64_t throttled;          /* times that the guest had to wait for the rate */
	uint64_t connections;
	uint64_t clients;            /* now */
	uint64_t events, events_spurious;
};
#endif
