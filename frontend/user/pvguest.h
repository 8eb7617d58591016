/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVF_PVGUEST_H
#define PVF_PVGUEST_H
/* What the files of pvguest(1) share.
 *
 *   pvguest.c          beginning, work and end
 *   pvguest-options.c  the command line as a struct, checked
 *   pvguest-disks.c    which disks there are, and what becomes of them
 *   pvguest-domain.c   the store as a guest uses it
 *   pvguest-child.c    signals, and the command of --exec
 */
#include <sys/types.h>
#include "bench.h"
#include "bus/local/fabric.h"
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

struct program;

struct disk {
	struct program *p;
	struct pvf_disk *disk;
	char name[16];
	enum pvf_phase said;      /* told on stderr last */
};

struct program {
	struct pvguest_options o;
	struct pvb_loop *loop;
	struct pvb_hv *hv;
	struct pvb_store *st;
	struct pvf_guest *guest;
	struct nbd_server *nbd;
	struct nbd_stats nbd_stats; /* its last ones, when it is gone */
	struct pvb_watch *watch_devices, *watch_shutdown;
	struct pvb_source *signals, *patience, *pulse;
	unsigned deaf;            /* times in a row the store did not answer */
	int signal_fd;
	struct disk disks[PVGUEST_DISKS];
	unsigned nr;
	char home[64], tmp_dir[128], socket[160];
	pid_t child;
	bool stop, quiet, pid_written;
	int status;               /* of the command */
	enum pvb_local_reason reason;
};

/* Print an error, once. */
void complain(const struct pvb_error *err);

/* pvguest-disks.c: a watch's function, too.  Open what is there and not open yet. */
void scan_disks(void *arg, const char *path);
int connect_disks(struct program *p);  /* wait until all are live; says what fails */
void print_stats(const struct program *p);

/* pvguest-domain.c */
void announce(struct program *p);
void report_shutdown(const struct program *p);

/* pvguest-child.c */
int take_signals(struct program *p);
int start_command(struct program *p);
#endif
