/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVL_HOST_LOCAL_H
#define PVL_HOST_LOCAL_H
/* What the host-local-*.c files share: a fabric's directory, its store, and the record of each domain.
 *
 * Record   /pvl/DOMID in the fabric's store, which only domain 0 may see:
 *            name uuid memory vcpus guest on_poweroff on_reboot on_crash
 *            pid            "PID STARTTIME" of the guest's process
 *            device/DEVID   the disk's specification, in our words; the authority for list, detach, destroy
 *            nic/DEVID      the NIC's
 *          The guest's console output goes to DIR/log/NAME.log.
 * Life     The domain is made with its devices first and the process started last.  A monitor (this program
 *          again) is the process's parent: it sees how it ended, tells the fabric, and carries out on_*.
 * Trust    The guest's uid is ours: it is a process guest, see pvlocald(8).
 */
#include <stdbool.h>
#include <sys/types.h>
#include "cfg.h"
#include "cmd.h"
#include "diskspec.h"
#include "host.h"
#include "nicspec.h"
#include "offer.h"

struct host {
	struct pvl *p;
	char *dir;               /* of the fabric */
	char spec[200];          /* "local:DIR" */
	struct pvb_store *store;
};

/* A domain's configuration, free of where it came from (file or record). */
struct local_cfg {
	char *name, *guest;
	char uuid[37];
	long memory_mib, vcpus;
	enum local_action { LOCAL_DESTROY, LOCAL_RESTART, LOCAL_PRESERVE } on_poweroff, on_reboot, on_crash;
	struct diskspec *disks;
	unsigned nr_disks;
	struct nicspec *nics;
	unsigned nr_nics;
};
extern const char *const local_action_word[3];
int local_cfg_read(struct cfg *cfg, struct local_cfg *out, struct pvb_error *err);
int local_cfg_recorded(struct host *h, uint32_t domid, struct local_cfg *out, struct pvb_error *err);
void local_cfg_free(struct local_cfg *lc);
struct json_object *local_cfg_json(const struct local_cfg *lc, int64_t domid);
/* Refuse what a specification asks for and this host does not have. */
int local_disk_check(const struct diskspec *d, struct pvb_error *err);
struct json_object *local_disk_json(const struct diskspec *d);

/* Write KEY below /pvl/DOMID; read it (malloc'ed, NULL when missing). */
int local_record(struct host *h, uint32_t domid, const char *key, const char *value);
char *local_recorded(struct host *h, uint32_t domid, const char *key);

/* --- the guest's process (host-local-guest.c) --- */
struct local_proc {
	pid_t pid;               /* 0: none recorded, or it has ended */
	char state;              /* as in /proc/PID/stat */
	double cpu_seconds;
};
void local_proc_look(struct host *h, uint32_t domid, struct local_proc *p);
/* own_fd is left open in the child.  The child is stopped first when paused.  terminal: keep ours. */
int local_proc_start(struct host *h, uint32_t domid, const struct local_cfg *lc, int own_fd, bool paused, bool terminal,
		     pid_t *pid, struct pvb_error *err);
int local_proc_signal(struct host *h, uint32_t domid, int sig);
/* Split a command line at blanks; quotes and backslash as in a shell.  NULL-terminated, free with
 * local_argv_free(). */
int local_argv_split(const char *text, char ***argv, struct pvb_error *err);
void local_argv_free(char **argv);

/* --- devices (host-local-disk.c) --- */
int local_disk_offer(struct host *h, uint32_t domid, const struct diskspec *d, struct pvb_error *err);
int local_block_list(struct host *h, uint32_t domid, struct block_info **out, unsigned *nr, struct pvb_error *err);
int local_block_attach(struct host *h, uint32_t domid, const char *const *specs, int nr_specs, bool wait,
		       int timeout_ms, struct json_object **out, struct pvb_error *err);
int local_block_detach(struct host *h, uint32_t domid, const char *vdev, bool force, int timeout_ms,
		       struct pvb_error *err);
int local_block_plan(struct pvl *p, const char *const *specs, int nr_specs, struct json_object **out,
		     struct pvb_error *err);
/* Take all disks away: for a domain whose process has ended. */
int local_disks_drop(struct host *h, uint32_t domid, int timeout_ms, struct pvb_error *err);

/* --- NICs (host-local-nic.c) --- */
int local_nic_offer(struct host *h, uint32_t domid, const struct nicspec *n, struct pvb_error *err);
/* pvbackd has seen it and has its port, or says why not. */
int local_nic_wait_back(struct host *h, uint32_t domid, const struct nicspec *n, int timeout_ms, struct pvb_error *err);
/* Give it a number that none of the others has; -EEXIST when it asks for one of theirs. */
int local_nic_number(struct nicspec *n, const struct nicspec *others, unsigned nr);
int local_nic_list(struct host *h, uint32_t domid, struct nic_info **out, unsigned *nr, struct pvb_error *err);
int local_nic_attach(struct host *h, uint32_t domid, const char *const *specs, int nr_specs, bool wait, int timeout_ms,
		     struct json_object **out, struct pvb_error *err);
int local_nic_detach(struct host *h, uint32_t domid, const char *which, bool force, int timeout_ms,
		     struct pvb_error *err);
int local_nic_plan(struct pvl *p, const char *const *specs, int nr_specs, struct json_object **out,
		   struct pvb_error *err);
int local_nics_drop(struct host *h, uint32_t domid, int timeout_ms, struct pvb_error *err);
struct json_object *local_nic_json(const struct nicspec *n);

/* --- creating and ending (host-local-create.c) --- */
int local_plan(struct pvl *p, struct cfg *cfg, struct json_object **out, struct pvb_error *err);
int local_create(struct host *h, struct cfg *cfg, const struct create_opts *o, uint32_t *domid, struct pvb_error *err);
int local_monitor(struct host *h, uint32_t domid, int ready_fd, struct pvb_error *err);
int local_destroy(struct host *h, uint32_t domid, int timeout_ms, struct pvb_error *err);
int local_name_taken(struct host *h, const char *name, uint32_t *domid);
#endif
