/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVL_HOST_XEN_H
#define PVL_HOST_XEN_H
/* What the host-xen-*.c files share: the libxl context and the translation of a configuration.
 *
 * These files alone include libxl.  libxl logs its detail as text only; the logger here prints it and
 * keeps the first error line of an operation, so that an error of ours can carry it.
 */
#include <libxl.h>
#include <libxl_utils.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <xentoollog.h>
#include "cfg.h"
#include "cmd.h"
#include "host.h"

struct xlog {
	xentoollog_logger vtable; /* first */
	xentoollog_level min;
	struct pvl *show_to; /* whose progress it is */
	bool show;           /* progress of the present operation */
	char cause[200]; /* first error line of the present operation (the cause; what follows are effects), or "" */
};

/* What xl.conf(5) says, as far as we use it. */
struct xl_conf {
	enum { BALLOON_OFF, BALLOON_ON, BALLOON_AUTO } autoballoon;
	bool hotplug_scripts, claim;
	uint32_t max_grant_frames, max_maptrack_frames; /* LIBXL_MAX_GRANT_DEFAULT: not said */
	char *lockfile, *vif_script, *vif_bridge, *vif_backend, *vif_gatewaydev, *blkdev_start;
};

struct host {
	struct pvl *p;
	libxl_ctx *ctx;
	struct xlog log;
	struct xl_conf conf;
	struct pvb_store *store; /* opened at first use */
	uint64_t nr_ops;
};

void xlog_init(struct xlog *log, struct pvl *p);
void xl_conf_read(struct xl_conf *conf, const char *file);
void xl_conf_free(struct xl_conf *conf);

/* "what: <word for rc> (<what libxl said first>)"; an -errno. */
int xen_err(struct host *h, struct pvb_error *err, int rc, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
const char *xen_rc_word(int rc);

/* What libxl knows of a domain.  i is to be disposed of after 0, and may be after a failure. */
int xen_look(struct host *h, uint32_t domid, libxl_dominfo *i, struct pvb_error *err);

/* An asynchronous operation: xen_op() gives the how, xen_wait() waits for its end, aborting it after
 * timeout_ms (-1: never).  rc: what the initiating call returned.  Returns a libxl code. */
libxl_asyncop_how xen_op(struct host *h);
int xen_wait(struct host *h, const libxl_asyncop_how *how, int rc, int timeout_ms);
/* Let libxl work and wait for one event of these types and this domain: 0, or ERROR_TIMEDOUT. */
int xen_event(struct host *h, uint64_t types, uint32_t domid, libxl_event **ev, int timeout_ms);

/* Configuration to libxl's.  h may be NULL (dry run without Xen); dc must have been initialised. */
int xen_config_fill(struct pvl *p, struct host *h, const struct xl_conf *conf, struct cfg *cfg, libxl_domain_config *dc,
		    struct pvb_error *err);
int xen_config_devices(struct pvl *p, struct host *h, const struct xl_conf *conf, struct cfg *cfg,
		       libxl_domain_config *dc, struct pvb_error *err);
/* A set of processors, "0-3,^2,node:1", into an allocated map. */
int xen_cpus_parse(struct host *h, const char *text, libxl_bitmap *map);
int xen_disk_parse(const char *const *specs, int nr, libxl_device_disk *disk, struct pvb_error *err);
int xen_plan(struct pvl *p, struct cfg *cfg, struct json_object **out, struct pvb_error *err);
struct json_object *xen_config_json(struct host *h, const libxl_domain_config *dc, int64_t domid);

int xen_create(struct host *h, struct cfg *cfg, const struct create_opts *o, uint32_t *domid, struct pvb_error *err);
/* The steps of it, for domains that come from elsewhere: from NULL boots, else the domain goes on as it was saved. */
struct xen_stream {
	int fd;
	uint32_t version; /* of libxl's stream */
};
int xen_build_from(struct host *h, libxl_domain_config *dc, const struct xen_stream *from, uint32_t *domid,
		   struct pvb_error *err);
struct xen_kept;
/* kept: of the configuration it was made from */
int xen_bring_up(struct host *h, libxl_domain_config *dc, const struct xen_stream *from, const struct xen_kept *kept,
		 const struct create_opts *o, uint32_t *domid, struct pvb_error *err);
/* From paused to what was asked for.  On failure the caller destroys the domain. */
int xen_let_go(struct host *h, uint32_t domid, const char *name, const struct create_opts *o, struct pvb_error *err);
int xen_monitor(struct host *h, uint32_t domid, int ready_fd, struct pvb_error *err);
int xen_destroy(struct host *h, uint32_t domid, int timeout_ms, struct pvb_error *err);

/* --- host-xen-vcpu.c, host-xen-tell.c: see the operations of host.h --- */
/* A set of processors or nodes as xl writes it: all, none, or ranges; malloc'ed. */
char *xen_map_text(const libxl_bitmap *map, int nr);
int xen_vcpu_list(struct host *h, uint32_t domid, struct json_object *rows, struct pvb_error *err);
int xen_vcpu_set(struct host *h, uint32_t domid, unsigned nr, bool ignore_host, int timeout_ms, struct pvb_error *err);
int xen_vcpu_pin(struct host *h, uint32_t domid, int vcpu, const char *hard, const char *soft, bool force,
		 struct json_object **out, struct pvb_error *err);
int xen_mem_set(struct host *h, uint32_t domid, uint64_t kib, bool wait, int timeout_ms, struct pvb_error *err);
int xen_mem_max(struct host *h, uint32_t domid, uint64_t kib, struct pvb_error *err);
int xen_dmesg(struct host *h, bool clear, void (*line)(void *arg, const char *text), void *arg, struct pvb_error *err);
int xen_debug_keys(struct host *h, const char *keys, struct pvb_error *err);
int xen_dump_core(struct host *h, uint32_t domid, const char *file, struct pvb_error *err);
int xen_cd_change(struct host *h, uint32_t domid, const char *vdev, const char *target, struct pvb_error *err);
int xen_config_update(struct host *h, uint32_t domid, struct cfg *cfg, struct json_object **out, struct pvb_error *err);

/* --- host-xen-stream.c --- */
int xen_suspend(struct host *h, uint32_t domid, int timeout_ms, struct pvb_error *err);
int xen_resume(struct host *h, uint32_t domid, struct pvb_error *err);
int xen_save(struct host *h, uint32_t domid, const struct save_opts *o, struct pvb_error *err);
int xen_restore(struct host *h, const char *file, struct cfg *cfg, const struct create_opts *o, uint32_t *domid,
		struct json_object **plan, struct pvb_error *err);
int xen_migrate(struct host *h, uint32_t domid, const struct migrate_opts *o, struct pvb_error *err);
int xen_receive(struct host *h, int in, int out, const struct create_opts *o, uint32_t *domid, struct pvb_error *err);
int xen_settle(struct host *h, const char *uuid, int timeout_ms, bool *runs, struct pvb_error *err);
/* For a monitor, while its domain is suspended: what is to be done when the process of ours that suspended it is dead.
 * 0: nothing, or not yet (*next_ms, 0 at first, says when the other host is asked again); 1: it was done, *what tells; -errno: ask again. */
int xen_stream_orphan(struct host *h, uint32_t domid, uint64_t *next_ms, const char **what, struct pvb_error *err);
/* Set by a signal handler: the operation xen_wait() waits for is aborted. */
extern volatile sig_atomic_t xen_stop;

/* --- host-xen-console.c --- */
int xen_console_tty(struct host *h, uint32_t domid, const char *type, int num, char **path, struct pvb_error *err);
/* pvconsole= of a configuration as one text, "" if it says nothing of it. */
#define XEN_CONSOLE_TEXT 1024
int xen_console_places(const struct cfg *cfg, char text[XEN_CONSOLE_TEXT], struct pvb_error *err);
/* Have pvbackd serve the domain's console there, and remember it with the domain.  "": nothing. */
int xen_console_serve(struct host *h, const char *text, uint32_t domid, struct pvb_error *err);
/* What is remembered, or "". */
void xen_console_kept(struct host *h, uint32_t domid, char text[XEN_CONSOLE_TEXT]);

/* --- host-xen-kept.c --- */
struct xen_kept {
	char console[XEN_CONSOLE_TEXT]; /* where it is served: pvconsole= */
	long pci_max;                   /* devices that it may have */
};
/* What a configuration (NULL: none) says. */
int xen_kept_read(const struct cfg *cfg, struct xen_kept *k, struct pvb_error *err);
/* Remember it with a domain that has just been built, and act on it. */
int xen_kept_begin(struct host *h, uint32_t domid, const struct xen_kept *k, struct pvb_error *err);
/* What is remembered, or the defaults. */
void xen_kept_get(struct host *h, uint32_t domid, struct xen_kept *k);
long xen_kept_pci_max(struct host *h, uint32_t domid);

/* --- host-xen-usb.c --- */
extern const struct usb_ops xen_usb_ops;
/* What speaks against the devices of a configuration. */
int xen_usb_check_create(struct host *h, const libxl_domain_config *dc, struct pvb_error *err);
/* The new domain's devices are remembered, so that they come back when they are plugged in again. */
int xen_usb_created(struct host *h, uint32_t domid, const libxl_domain_config *dc, struct pvb_error *err);

/* --- host-xen-pci.c --- */
/* One device of pci=[]; what speaks against a configuration's devices (seizes those that are to be seized);
 * whether the new domain has them; and the devices that a domain had before it was destroyed. */
extern const struct pci_ops xen_pci_ops;
struct pci_slot;
int xen_pci_parse(const char *spec, libxl_device_pci *pci, struct pvb_error *err);
int xen_pci_check_create(struct host *h, const char *who, long max, libxl_domain_config *dc, struct pvb_error *err);
int xen_pci_check_created(struct host *h, uint32_t domid, const libxl_domain_config *dc, struct pvb_error *err);
int xen_pci_slots(struct host *h, uint32_t domid, struct pci_slot **out, unsigned *nr, struct pvb_error *err);
int xen_pci_released(struct host *h, uint32_t domid, const struct pci_slot *slots, unsigned nr, struct pvb_error *err);

struct pvb_store *xen_store(struct host *h);
/* Append to err what the back end or its hotplug script had to say; returns rc. */
int xen_add_reason(struct host *h, const char *back, struct pvb_error *err, int rc);
/* Does pvbackd answer on its control socket?  0, or why it does not. */
int xen_ask_pvbackd(struct host *h, struct pvb_error *why);
/* A disk meant for pvbackd while pvbackd does not answer would fail after libxl's 10 s, without saying why:
 * refuse it at once.  0 for any other disk, and with --force. */
int xen_disk_served(struct host *h, const libxl_device_disk *disk, struct pvb_error *err);
int xen_block_list(struct host *h, uint32_t domid, struct block_info **out, unsigned *nr, struct pvb_error *err);
int xen_block_attach(struct host *h, uint32_t domid, const char *const *specs, int nr_specs, bool wait, int timeout_ms,
		     struct json_object **out, struct pvb_error *err);
int xen_block_detach(struct host *h, uint32_t domid, const char *vdev, bool force, int timeout_ms,
		     struct pvb_error *err);
/* One NIC, from parts of a specification, with xl.conf's defaults.  devid stays -1 unless said. */
int xen_nic_parse(const struct xl_conf *conf, const char *const *specs, int nr, libxl_device_nic *nic,
		  struct pvb_error *err);
/* A pair with a passed-through NIC (pair=BDF), host-xen-pair.c; of another NIC 0. */
int xen_pair_set(libxl_device_nic *nic, const char *bdf, struct pvb_error *err);
bool xen_pair_of(const libxl_device_nic *nic, uint32_t *sbdf);
bool xen_pair_lacks_mac(const libxl_device_nic *nic);
/* Both have one address: it becomes the NIC's unless that has one, which must be the same if it is known. */
int xen_pair_check(struct host *h, libxl_device_nic *nic, struct pvb_error *err);
/* Write the keys, into a domain that does not run yet or is paused: a driver looks for them once. */
int xen_pair_tell(struct host *h, uint32_t domid, const libxl_device_nic *nic, struct pvb_error *err);
int xen_nic_served(struct host *h, const libxl_device_nic *nic, struct pvb_error *err); /* as of a disk */
int xen_nic_list(struct host *h, uint32_t domid, struct nic_info **out, unsigned *nr, struct pvb_error *err);
int xen_nic_attach(struct host *h, uint32_t domid, const char *const *specs, int nr_specs, bool wait, int timeout_ms,
		   struct json_object **out, struct pvb_error *err);
int xen_nic_detach(struct host *h, uint32_t domid, const char *which, bool force, int timeout_ms,
		   struct pvb_error *err);
int xen_nic_plan(struct pvl *p, const char *const *specs, int nr_specs, struct json_object **out,
		 struct pvb_error *err);
int xen_block_plan(struct pvl *p, const char *const *specs, int nr_specs, struct json_object **out,
		   struct pvb_error *err);
#endif
