/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVF_PVGUEST_H
#define PVF_PVGUEST_H
/* What the files of pvguest(1) share.
 *
 *   pvguest.c          beginning, work and end
 *   pvguest-options.c  the command line as a struct, checked
 *   pvguest-disks.c    which disks there are, and what becomes of them
 *   pvguest-nics.c     which NICs there are, and what becomes of them
 *   pvguest-nic-text.c the text of --nic
 *   pvguest-frames.c   frames between a NIC and its TAP, recorded if asked to
 *   pvguest-load.c     frames sent as a load, and measured
 *   pvguest-replay.c   a capture file sent, and what comes back counted
 *   pvguest-domain.c   the store as a guest uses it
 *   pvguest-child.c    signals, and the command of --exec
 */
#include <sys/types.h>
#include "bench.h"
#include "bus/local/fabric.h"
#include "nbd.h"
#include "pcap.h"
#include "pvnic.h"
#include "tap.h"

#define PVGUEST_DISKS 16
#define PVGUEST_NICS 16

/* What --nic says about one NIC. */
struct nic_choice {
	bool all;                /* "all": those not named */
	uint32_t devid;
	char ifname[16], netns[128]; /* "": pv<domid>.<devid>, our own */
	bool no_tap;
	struct pvf_nic_options nic;
};

/* What --nic-bench says. */
struct nic_load {
	bool trip;               /* one frame goes out and comes back; else as many as the ring takes */
	bool poll;
	uint32_t bs;             /* bytes of a frame */
	uint64_t time_ms;
	unsigned samples;
	char text[160];          /* as given */
};

struct pvguest_options {
	const char *hv;                   /* --hv; NULL: the default of hv.h */
	const char *disks[PVGUEST_DISKS]; /* --disk; none: all the domain has, also later ones */
	unsigned nr_disks;
	struct nic_choice nics[PVGUEST_NICS]; /* --nic; none: all the domain has */
	unsigned nr_nics;
	bool no_nics;                     /* --nic none */
	const char *record, *replay;      /* capture files */
	const char *nbd;                  /* socket path without "unix:" */
	const char *exec, *pidfile;
	bool bench_wanted, nic_bench_wanted, stats, json, shutdown;
	int ready_fd;                     /* -1: none */
	uint64_t timeout_ms;              /* for the disks to connect */
	struct bench_config bench;
	struct nic_load nic_bench;
	struct pvf_options disk;
	struct nbd_limits limits;
};

/* "0,ifname=eth0,gso=off" on top of what *choice holds.  -EINVAL: wrong, said so on stderr. */
int nic_choice_parse(struct nic_choice *choice, const char *text);

/* 0: run; 1: help or version was printed, exit 0; -EINVAL: wrong, said so on stderr, exit 2. */
int pvguest_options(struct pvguest_options *o, int argc, char **argv);

struct program;

struct disk {
	struct program *p;
	struct pvf_disk *disk;
	char name[16];
	enum pvf_phase said;      /* told on stderr last */
};

struct nic;

/* A queue of a TAP: one frame that found no room in the ring waits, and with it the rest. */
struct uplink {
	struct nic *nic;
	unsigned queue;
	struct pvb_source *src;
	struct pvf_offload off;
	uint32_t held;            /* bytes; 0: none */
	uint8_t frame[TAP_FRAME_MAX];
};

struct nic {
	struct program *p;
	struct pvf_nic *nic;
	const struct nic_choice *choice;
	char name[16];
	enum pvf_phase said;      /* told on stderr last */
	bool failed;              /* its TAP could not be made */
	uint32_t generation;      /* the TAP is of this device */
	struct tap *tap;
	struct uplink *uplinks;   /* tap_queues() */
	struct { uint64_t to_tap, tap_refused, from_tap, too_large, not_sent, not_recorded; } n;
};

struct program {
	struct pvguest_options o;
	struct pvb_loop *loop;
	struct pvb_hv *hv;
	struct pvb_store *st;
	struct pvf_guest *guest;
	struct nbd_server *nbd;
	struct nbd_stats nbd_stats; /* its last ones, when it is gone */
	struct pvb_watch *watch_devices, *watch_nics, *watch_shutdown;
	struct pvb_source *signals, *patience, *pulse;
	unsigned deaf;            /* times in a row the store did not answer */
	int signal_fd;
	struct disk disks[PVGUEST_DISKS];
	unsigned nr;
	struct nic nics[PVGUEST_NICS];
	unsigned nr_nics;
	struct pcap_writer *record;
	struct replay *replay;
	struct load *load;
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
bool disks_live(const struct program *p);      /* all that are wanted */
bool disks_hopeless(const struct program *p);  /* one will not come up however long we wait */
void disks_late(struct program *p);            /* say which are not live, and why */
/* The smallest number from `from` on among nr names. */
bool next_device(char **names, unsigned nr, uint64_t from, uint64_t *devid);
void print_stats(const struct program *p);
void print_line(const char *kind, const char *name, const struct counter *c, size_t nr, bool json);

/* pvguest-nics.c: the same */
void scan_nics(void *arg, const char *path);
bool nics_live(const struct program *p);
bool nics_hopeless(const struct program *p);
void nics_late(struct program *p);
void print_nics(const struct program *p);

/* pvguest-frames.c */
void frames_changed(struct nic *n);            /* phase, carrier or MTU: make, unmake or adjust the TAP */
void frames_received(void *arg, struct pvf_nic *nic, unsigned queue, const struct pvf_frame *frame);
void frames_room(void *arg, struct pvf_nic *nic, unsigned queue);
void frames_record(struct nic *n, const struct iovec *iov, unsigned nr);
void frames_end(struct nic *n);

/* pvguest-replay.c: until every frame was answered and nothing more comes */
struct replay;
int run_replay(struct program *p);
void replay_room(struct replay *r, struct pvf_nic *nic);
void replay_received(struct replay *r, uint32_t len);

/* pvguest-load.c: --nic-bench, on the domain's first NIC */
struct load;
/* "op=send bs=64 time=1": as bench_parse(). */
int nic_load_parse(struct nic_load *cfg, const char *text, struct pvb_error *err);
int run_nic_bench(struct program *p);
void load_received(struct load *l, const struct pvf_frame *frame);

/* pvguest-domain.c */
void announce(struct program *p);
void report_shutdown(const struct program *p);

/* pvguest-child.c */
int take_signals(struct program *p);
int start_command(struct program *p);
#endif
