/* SPDX-License-Identifier: MIT */
#ifndef PVB_BUS_LOCAL_FABRIC_H
#define PVB_BUS_LOCAL_FABRIC_H
/* The local fabric: domains, grants, event channels and a store on any Linux box, without Xen.
 *
 * A domain is a name, a number and a piece of memory (a sealed memfd); processes act for it by opening
 * the hv spec "local:DIR:DOMID".  One server per directory hands out memory and event channels and is
 * the store; it runs as pvlocald(8) or on a thread of the calling process (tests).  It takes no part in
 * I/O: mapping, copying and notifying happen between the two processes themselves.
 *
 *   DIR/lock         held by the server, contains its pid
 *   DIR/store        the store as domain 0 sees it (all rights); XENSTORED_PATH for xenstore-*
 *   DIR/ctl          control socket of domain 0: everything declared below
 *   DIR/dom/N/store  the store as domain N sees it; connecting through this socket means being domain N
 *   DIR/dom/N/ctl    control socket of domain N
 *
 * Trust    Who can open a socket is that domain: sockets are 0600, domain 0's belong to who runs the
 *          server, DIR/dom/N's to the uid given when the domain was made.  Directories are 0711.  The server trusts
 *          no client, a back end trusts no byte of a guest's memory; but this is no hypervisor: see pvlocald(8) on
 *          what a hostile process guest can do to the worker that serves it.
 * Threads  Client calls (pvb_local_*) are blocking and may be made from any thread: each opens a
 *          connection of its own.  They answer within milliseconds unless the server is stopped.
 * Errors   0 or -errno and a pvb_error: -ECONNREFUSED/-ENOENT no server there, -ESRCH no such domain,
 *          -EPERM the socket is not domain 0's.  Never logs.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "../error.h"

struct pvb_fabric;

/* Quotas of the store, per domain other than 0.  Defaults are those of C xenstored 4.17. */
struct pvb_store_quota {
	uint32_t nodes;            /* 1000   nodes owned */
	uint32_t watches;          /* 128    watches set */
	uint32_t transactions;     /* 10     transactions open */
	uint32_t outstanding;      /* 20     requests whose answers or events are not yet delivered */
	uint32_t txn_nodes;        /* 1024   nodes touched by one transaction */
	uint32_t perms;            /* 5      permission entries of a node */
	uint32_t node_size;        /* 2048   bytes of value, name, permissions and children's names of a node */
	uint32_t path_max;         /* 2048   bytes of a path, not counting /local/domain/N/ */
	uint32_t memory_soft;      /* 2 MiB  above: noted in the statistics */
	uint32_t memory_hard;      /* 2.5 MiB above: requests that need memory fail with ENOMEM */
	uint32_t event_timeout_ms; /* 20000  an event that is not read for so long closes its connection; 0 = never */
	uint32_t connections;      /* 32     store connections of one domain */
	uint32_t backlog_max;      /* 16 MiB unread output after which a client of domain 0 is disconnected */
};

struct pvb_fabric_options {
	struct pvb_store_quota quota;
	uint32_t dom0_pages;       /* 65536  pages domain 0 can grant in all (memory is used when touched) */
};

void pvb_fabric_defaults(struct pvb_fabric_options *opt);

/* Start a server for dir on a thread of its own; it listens when this returns.  dir and its parents are
 * made if missing.  opt NULL means defaults.  -EBUSY: another server has dir (err names its pid). */
int pvb_fabric_start(struct pvb_fabric **out, const char *dir, struct pvb_error *err);
int pvb_fabric_start_with(struct pvb_fabric **out, const char *dir, const struct pvb_fabric_options *opt,
			  struct pvb_error *err);
/* Stop, close every connection, remove the sockets and, if empty then, dir.  NULL is fine.  Mappings
 * that handles still have stay valid; everything else they try fails. */
void pvb_fabric_stop(struct pvb_fabric *fabric);
/* The same in the calling thread, until stop_fd becomes readable.  ready(arg) is called when it listens. */
int pvb_fabric_run(const char *dir, const struct pvb_fabric_options *opt, int stop_fd, void (*ready)(void *arg),
		   void *arg, struct pvb_error *err);

/* What the server holds now; tests expect it to return to where it was. */
struct pvb_local_stats {
	uint32_t domains;          /* beside domain 0 */
	uint32_t handles;          /* open hv handles */
	uint32_t ports;            /* event channel ports in use, all domains */
	uint32_t pages;            /* pages reserved for granting, all domains */
	uint32_t stuck;            /* of these: given back by a process, but still in use by a peer */
	uint32_t store_conns, store_nodes, store_watches, store_txns;
	uint64_t store_requests;   /* answered, ever */
	uint64_t store_events;     /* watch events queued, ever */
	uint64_t store_merged;     /* ... not queued because the same was waiting */
	uint64_t store_conflicts;  /* transactions answered EAGAIN, ever */
	uint64_t store_bytes;      /* charged to domains other than 0 */
};
int pvb_local_stats(const char *dir, struct pvb_local_stats *st, struct pvb_error *err);

/* --- domains (for toolstacks) ---------------------------------------------------------------------- */

#define PVB_LOCAL_NAME_MAX 63
#define PVB_LOCAL_PAGES_MAX (1u << 22) /* 16 GiB */

enum pvb_local_state { PVB_LOCAL_RUNNING = 0, PVB_LOCAL_SHUTDOWN = 1, PVB_LOCAL_GONE = 2 };
/* Why a domain shut down; numbers as in xen/sched.h. */
enum pvb_local_reason { PVB_LOCAL_POWEROFF = 0, PVB_LOCAL_REBOOT = 1, PVB_LOCAL_SUSPEND = 2, PVB_LOCAL_CRASH = 3 };

struct pvb_local_domain {
	uint32_t domid;
	uint32_t pages;
	char name[PVB_LOCAL_NAME_MAX + 1];
	enum pvb_local_state state;
	enum pvb_local_reason reason;  /* once SHUTDOWN */
	uint32_t handles;              /* hv handles and owner connections open for it */
	int32_t owner_pid;             /* process whose end is the domain's end; 0 = none */
	uint64_t created_ns;           /* CLOCK_BOOTTIME */
};

struct pvb_local_new {
	const char *name;  /* [A-Za-z0-9_.-]+ ; need not be unique */
	uint32_t pages;    /* pages the domain can grant, 1..PVB_LOCAL_PAGES_MAX; used when touched */
	uint32_t domid;    /* 0 = next free one; else this one, -EEXIST when it is taken */
	uint32_t uid, gid; /* who may connect as this domain; 0, 0 = root (or whoever runs the server) */
};

/* Make a domain and introduce it to the store: from then on its sockets work and @introduceDomain has
 * fired.  Store nodes are the caller's business. */
int pvb_local_domain_create(const char *dir, const char *name, uint32_t pages, uint32_t *domid, struct pvb_error *err);
int pvb_local_domain_create_with(const char *dir, const struct pvb_local_new *spec, uint32_t *domid,
				 struct pvb_error *err);
/* End a domain: its connections and ports are closed, the nodes it owns removed (those that belong to
 * domain 0, as /local/domain/N does, stay), its rights on all others revoked, and @releaseDomain fires
 * once.  Memory stays valid for who has it mapped.  The domid may be used again. */
int pvb_local_domain_destroy(const char *dir, uint32_t domid, struct pvb_error *err);
/* All domains but 0, in order of domid; *list is malloc'ed (NULL when *nr is 0). */
int pvb_local_domain_list(const char *dir, struct pvb_local_domain **list, unsigned *nr, struct pvb_error *err);
/* One domain; -ESRCH. */
int pvb_local_domain_info(const char *dir, uint32_t domid, struct pvb_local_domain *info, struct pvb_error *err);
/* Wait until the domain has shut down or is gone.  0 with *info (state GONE: only domid is meant), or
 * -ETIMEDOUT.  timeout_ms -1 = for ever. */
int pvb_local_domain_wait(const char *dir, uint32_t domid, int timeout_ms, struct pvb_local_domain *info,
			  struct pvb_error *err);
/* Tell that the domain has shut down, and why: what a guest tells Xen.  It stays until destroyed.
 * Domain 0 may do so for anybody, a domain for itself (as_domid = domid). */
int pvb_local_domain_shutdown(const char *dir, uint32_t as_domid, uint32_t domid, enum pvb_local_reason reason,
			      struct pvb_error *err);
/* Become the domain's owner: when the last copy of the descriptor *fd is closed (the owner died), the
 * domain is destroyed (destroy true), or shut down with reason CRASH unless it had told another one
 * before.  For a toolstack that starts a guest process: call this, let the child inherit fd, close it.
 * *fd has close-on-exec set.  -EBUSY: the domain has an owner. */
int pvb_local_domain_own(const char *dir, uint32_t domid, bool destroy, int *fd, struct pvb_error *err);
#endif
