/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVF_PVGUEST_H
#define PVF_PVGUEST_H
/* What pvguest(1) was asked to do: the command line as a struct, checked. */
#include "bench.h"
#include "nbd.h"

#define PVGUEST_DISKS 16

struct pvguest_options {
	const char *hv;                   /* --hv; NULL: the default of hv.h */
	const char *disks[PVGUEST_DISKS]; /* --disk; none: all the domain has, also later ones */
	unsigned nr_disks;
	const char *nbd;                  /* socket path without "unix:" */
	const char *exec, *pidfile;
	bool bench_wanted, stats, json, shutdown;
	int ready_fd;                     /* -1: none */
	uint64_t timeout_ms;              /* for the disks to connect */
	struct bench_config bench;
	struct pvf_options disk;
	struct nbd_limits limits;
};

/* 0: run; 1: help or version was printed, exit 0; -EINVAL: wrong, said so on stderr, exit 2. */
int pvguest_options(struct pvguest_options *o, int argc, char **argv);
#endif
