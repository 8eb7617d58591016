/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVL_HOST_H
#define PVL_HOST_H
/* Where domains live: a Xen host through libxl, or a local fabric.  Commands call these operations and
 * never ask which host it is.
 *
 * Contract  Each call returns 0 only when what it says has happened and was looked at afterwards.  -errno
 *           and err otherwise; what was half done has been undone, or err says what is left.
 *           -EOPNOTSUPP: this host has no such thing.  An operation pointer may be NULL: the same.
 * Trust     Host paths and back end directories come from what the toolstack itself recorded, never from
 *           a node that the guest (or a driver domain) may write.
 * Timeouts  Milliseconds; -1 waits for ever.
 * Threads   None; one handle, one thread.
 */
#include <stdbool.h>
#include <stdint.h>
#include "error.h"
#include "store.h"

struct cfg;
struct pvl;
struct host;
struct json_object;
struct pci_ops;
struct usb_ops;

struct dom_info {
	uint32_t domid;
	char *name;          /* never NULL; "" while it has none */
	char uuid[37];
	uint64_t memory_kib, max_memory_kib;
	uint32_t vcpus;
	bool running, blocked, paused, shutdown, dying;
	char reason;         /* why it shut down, as xl shows it: - r s c w S; ' ' if it did not */
	double cpu_seconds;
	int64_t uptime;      /* seconds, -1 = not known */
	const char *type;    /* "pv", "pvh", "hvm", "process", "dom0" */
	char *pool, *nodes, *label; /* processor pool, affinity to nodes, security label; NULL: this host has none */
};

struct create_opts {
	bool paused;         /* leave it so */
	bool console;        /* connect this terminal's console */
	bool foreground;     /* do the monitor's work here; create returns when the domain is gone */
	bool no_monitor;     /* nobody carries out on_poweroff= and so on */
	bool quiet;
};

struct save_opts {
	const char *file;
	struct cfg *cfg;     /* instead of the configuration the domain has, or NULL */
	bool running;        /* it goes on afterwards */
	bool paused;         /* it stays, paused */
	bool keep_domid;     /* restore it under the same id */
	bool pci_goes;       /* of a dry run: PCI devices are detached before */
	uint64_t bandwidth;  /* MiB a second; 0: no limit */
};

struct migrate_opts {
	const char *host;    /* without ssh: the receiver's command line */
	const char *ssh;     /* how to run a command there; "" = host is one */
	const char *tool;    /* what runs there: pvl or xl */
	struct cfg *cfg;
	bool cold;           /* stop it, then send; else send while it runs */
	bool paused, no_monitor, keep_domid, debug;
	bool pci_goes;       /* as of save_opts */
	uint64_t bandwidth;  /* MiB a second; 0: no limit */
};

enum end_kind { END_SHUTDOWN, END_GONE }; /* has shut down (or is gone) / is gone */

struct block_info {
	uint32_t devid, backend_domid, domid; /* domid: of the front end */
	char vdev[16];
	int front_state, back_state;      /* -1: no node */
	int event_channel, ring_ref;      /* -1: no node (also on devices with several queues) */
	char *backend_path, *target, *provider; /* any may be NULL except the path */
	bool readonly, cdrom;
};

struct nic_info {
	uint32_t devid, backend_domid, domid; /* domid: of the front end */
	char mac[18];
	int front_state, back_state;      /* -1: no node */
	int event_channel, tx_ring_ref, rx_ring_ref; /* -1: no node (several queues, or a channel for each direction) */
	char *backend_path, *port;        /* port: where frames go: a bridge, or a port of pvbackd; may be NULL */
	char *pair;                       /* PCI device with which it is one NIC, or NULL */
};

struct host_ops {
	const char *name;
	int (*open)(struct pvl *p, const char *spec, struct host **out, struct pvb_error *err);
	void (*close)(struct host *h);

	/* What create would build, as JSON.  Works without a handle and without Xen. */
	int (*plan)(struct pvl *p, struct cfg *cfg, struct json_object **out, struct pvb_error *err);
	int (*create)(struct host *h, struct cfg *cfg, const struct create_opts *o, uint32_t *domid,
		      struct pvb_error *err);
	/* Wait for the domain's end, carry out its on_* action, again after a reboot.  ready_fd (or -1): a
	 * byte is written to it once the watch stands. */
	int (*monitor)(struct host *h, uint32_t domid, int ready_fd, struct pvb_error *err);

	/* A snapshot, ordered by domid; free with dom_list_free(). */
	int (*list)(struct host *h, struct dom_info **out, unsigned *nr, struct pvb_error *err);
	int (*config)(struct host *h, uint32_t domid, struct json_object **out, struct pvb_error *err);
	int (*info)(struct host *h, struct json_object **out, struct pvb_error *err);

	int (*destroy)(struct host *h, uint32_t domid, int timeout_ms, struct pvb_error *err);
	int (*shutdown)(struct host *h, uint32_t domid, bool reboot, bool fallback, int timeout_ms,
			struct pvb_error *err);
	int (*wait_end)(struct host *h, uint32_t domid, enum end_kind kind, int timeout_ms, struct pvb_error *err);
	int (*pause)(struct host *h, uint32_t domid, bool pause, struct pvb_error *err);
	int (*rename)(struct host *h, uint32_t domid, const char *name, struct pvb_error *err);
	int (*sysrq)(struct host *h, uint32_t domid, char letter, struct pvb_error *err);
	int (*trigger)(struct host *h, uint32_t domid, const char *name, uint32_t vcpu, struct pvb_error *err);
	/* The terminal of a console, malloc'ed.  type NULL and num -1: the primary one. */
	int (*console_tty)(struct host *h, uint32_t domid, const char *type, int num, char **path, struct pvb_error *err);

	/* What only a hypervisor has.  With --dry-run each checks all it can and changes nothing. */
	int (*vcpu_list)(struct host *h, uint32_t domid, struct json_object *rows, struct pvb_error *err);
	/* Succeeds when so many are on line, or the domain is paused. */
	int (*vcpu_set)(struct host *h, uint32_t domid, unsigned nr, bool ignore_host, int timeout_ms,
			struct pvb_error *err);
	/* vcpu -1: all.  hard and soft as in xl; "-" leaves one as it is. */
	int (*vcpu_pin)(struct host *h, uint32_t domid, int vcpu, const char *hard, const char *soft, bool force,
			struct json_object **out, struct pvb_error *err);
	int (*mem_set)(struct host *h, uint32_t domid, uint64_t kib, bool wait, int timeout_ms, struct pvb_error *err);
	int (*mem_max)(struct host *h, uint32_t domid, uint64_t kib, struct pvb_error *err);
	int (*dmesg)(struct host *h, bool clear, void (*line)(void *arg, const char *text), void *arg,
		     struct pvb_error *err);
	int (*debug_keys)(struct host *h, const char *keys, struct pvb_error *err);
	int (*dump_core)(struct host *h, uint32_t domid, const char *file, struct pvb_error *err);
	/* target NULL: take the medium out. */
	int (*cd_change)(struct host *h, uint32_t domid, const char *vdev, const char *target, struct pvb_error *err);
	/* What the domain is built from the next time it is. */
	int (*config_update)(struct host *h, uint32_t domid, struct cfg *cfg, struct json_object **out,
			     struct pvb_error *err);
	/* Stopped in a state in which it can be saved; and on from there. */
	int (*suspend)(struct host *h, uint32_t domid, int timeout_ms, struct pvb_error *err);
	int (*resume)(struct host *h, uint32_t domid, struct pvb_error *err);
	/* On failure the domain runs on, and err says so. */
	int (*save)(struct host *h, uint32_t domid, const struct save_opts *o, struct pvb_error *err);
	/* *plan: its configuration, also with --dry-run; NULL if that could not be read. */
	int (*restore)(struct host *h, const char *file, struct cfg *cfg, const struct create_opts *o, uint32_t *domid,
		       struct json_object **plan, struct pvb_error *err);
	int (*migrate)(struct host *h, uint32_t domid, const struct migrate_opts *o, struct pvb_error *err);
	/* The other side of it, over two descriptors. */
	int (*receive)(struct host *h, int in, int out, const struct create_opts *o, uint32_t *domid,
		       struct pvb_error *err);
	/* What became of a domain whose receiver was lost sight of: it runs, or nothing is left of it. */
	int (*settle)(struct host *h, const char *uuid, int timeout_ms, bool *runs, struct pvb_error *err);

	int (*block_list)(struct host *h, uint32_t domid, struct block_info **out, unsigned *nr, struct pvb_error *err);
	/* specs: parts of one disk specification.  wait: for both ends to be connected, else undone.  timeout_ms
	 * -1: as long as a hotplug script and a driver may reasonably take. */
	int (*block_attach)(struct host *h, uint32_t domid, const char *const *specs, int nr_specs, bool wait,
			    int timeout_ms, struct json_object **out, struct pvb_error *err);
	/* Graceful, or by force: see block-detach in pvl(1). */
	int (*block_detach)(struct host *h, uint32_t domid, const char *vdev, bool force, int timeout_ms,
			    struct pvb_error *err);
	/* Check one specification without touching anything (h may be NULL). */
	int (*block_plan)(struct pvl *p, const char *const *specs, int nr_specs, struct json_object **out,
			  struct pvb_error *err);

	/* The same for NICs.  which: devid or MAC address. */
	int (*nic_list)(struct host *h, uint32_t domid, struct nic_info **out, unsigned *nr, struct pvb_error *err);
	int (*nic_attach)(struct host *h, uint32_t domid, const char *const *specs, int nr_specs, bool wait,
			  int timeout_ms, struct json_object **out, struct pvb_error *err);
	int (*nic_detach)(struct host *h, uint32_t domid, const char *which, bool force, int timeout_ms,
			  struct pvb_error *err);
	int (*nic_plan)(struct pvl *p, const char *const *specs, int nr_specs, struct json_object **out,
			struct pvb_error *err);

	const struct pci_ops *pci;                           /* pci.h; NULL: no PCI devices here */
	const struct usb_ops *usb;                           /* usb.h; NULL: no USB devices here */
	const char *(*store_spec)(struct host *h);           /* for pvb_store_open() */
	struct pvb_store *(*store)(struct host *h);          /* open; NULL if it could not be */
	void (*ctl_path)(struct host *h, char *buf, size_t len); /* pvbackd's control socket */
};
extern const struct host_ops host_xen, host_local;

/* Which ops a --host text asks for; NULL text: xen where /dev/xen exists, else local.  *rest is what follows
 * "local:".  NULL and err for anything else. */
const struct host_ops *host_choose(const char *spec, const char **rest, struct pvb_error *err);

void dom_list_free(struct dom_info *list, unsigned nr);
/* What a name ends with while the domain is moved: where it comes in, and where it has been sent from.  As xl has it. */
#define DOM_INCOMING "--incoming"
#define DOM_AWAY     "--migratedaway"
bool dom_name_ends(const char *name, const char *end);
void block_list_free(struct block_info *list, unsigned nr);
/* The disk that a text (xvda, 51712, hda) means: its index, or nr. */
unsigned block_find(const struct block_info *list, unsigned nr, const char *vdev);
/* The six places of xl's State column. */
void dom_flags(const struct dom_info *d, char flags[7]);
struct json_object *dom_json(const struct dom_info *d);
struct json_object *block_json(const struct block_info *b);
void nic_list_free(struct nic_info *list, unsigned nr);
/* The NIC that a text (0, 00:16:3e:...) means: its index, or nr. */
/* The number in dir/key (0 to INT32_MAX), or def when it is not there or none. */
int host_number_or(struct pvb_store *st, const char *dir, const char *key, int def);
unsigned nic_find(const struct nic_info *list, unsigned nr, const char *which);
struct json_object *nic_json(const struct nic_info *n);
#endif
