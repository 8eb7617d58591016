/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BUS_LOCAL_FABRIC_INT_H
#define PVB_BUS_LOCAL_FABRIC_INT_H
/* The server's own data, shared by its files: fabric.c (directory, start, stop), ctl.c (control
 * connections), ctl-ops.c (their requests), domain.c (domains and their pages), port.c (event channels).
 *
 * Trust    A client is a domain or domain 0; requests are checked like any peer's.  Of a domain's memory
 *          the server reads pins and clears table entries; it bases nothing else on it.
 * Threads  One, that of the loop.
 */
#include <fcntl.h>
#include "../loop.h"
#include "proto.h"

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010 /* who gets it from us can only read */
#endif

struct lf_fabric;
struct lf_client;
struct lst; /* the store, store.h */

/* An event page: where `client` receives what `peer_domid` sends. */
struct lf_page {
	struct lf_page *next;          /* of the client */
	struct lf_client *client;
	struct lf_evtpage *mem;
	uint32_t id, peer_domid, nr_ports, first_free;
	int fd;
	uint64_t used[LF_NR_SLOTS / 64];
};

struct lf_port {
	struct lf_port *next;          /* of the client */
	struct lf_domain *dom;
	struct lf_client *client;
	struct lf_page *page;
	struct lf_port *peer;          /* NULL: unbound, waiting for remote_domid */
	uint32_t number, slot;
	uint32_t remote_domid;         /* LF_NR_DOMIDS: that domain is gone, nobody can bind */
	uint32_t generation;           /* of the binding */
};

/* Pages of its domain that a client may grant. */
struct lf_extent {
	struct lf_extent *next;
	uint32_t first, nr;
};

struct lf_domain {
	struct lf_fabric *fabric;
	uint32_t domid, generation;
	uint32_t uid, gid;
	char name[PVB_LOCAL_NAME_MAX + 1];
	uint64_t created_ns;
	enum pvb_local_state state;
	enum pvb_local_reason reason;
	/* memory */
	struct lf_layout layout;
	int memfd;
	uint8_t *map;                  /* table and pins only */
	uint8_t *page_state;           /* enum lf_page_state of each page */
	uint32_t nr_reserved, nr_stuck, next_page;
	struct lf_client *column[LF_NR_COLUMNS];
	/* event channels */
	struct lf_port *ports[LF_NR_PORTS];
	uint32_t nr_ports;
	/* connections */
	int ctl_fd, store_fd;
	struct pvb_source *ctl_src, *store_src;
	uint32_t nr_clients, nr_handles;
	struct lf_client *owner;
	bool destroy_with_owner;
};

enum lf_page_state { LF_PAGE_FREE, LF_PAGE_RESERVED, LF_PAGE_STUCK };

/* A control connection. */
struct lf_client {
	struct lf_client *prev, *next;
	struct lf_fabric *fabric;
	struct lf_domain *dom;
	struct pvb_source *src;
	int fd;
	int32_t pid;
	bool handle;                   /* said HELLO */
	bool dead;                     /* to be freed when its request is done */
	uint32_t restricted;           /* LF_NR_DOMIDS: not */
	uint32_t wait_domid;           /* a LF_DOM_WAIT to be answered; LF_NR_DOMIDS: none */
	struct lf_domain *owns;
	int efd, link_fd;
	uint32_t *links;
	struct lf_page *pages;
	struct lf_port *ports;
	struct lf_extent *extents;
	uint32_t nr_columns;           /* in all domains */
};

struct lf_fabric {
	char *dir;
	int lock_fd;
	struct pvb_fabric_options opt;
	struct pvb_loop *loop;
	struct lst *store;
	int info_fd;
	uint32_t *info;
	uint32_t next_generation, next_page_id, next_domid, nr_domains, nr_handles;
	struct lf_domain *domains[LF_NR_DOMIDS];
	struct lf_client *clients;
	struct pvb_source *deaf;       /* not accepting until this fires: out of descriptors */
};

/* A sealed memfd of this size, mapped at *map if asked for; -errno. */
int lf_memfd(const char *name, size_t bytes, size_t map_bytes, void *map, unsigned extra_seals);

/* ctl.c */
int lf_ctl_listen(struct lf_domain *dom, struct pvb_error *err);
void lf_ctl_domain_gone(struct lf_domain *dom);      /* closes its clients */
void lf_ctl_tell_waiters(struct lf_fabric *f, uint32_t domid);
void lf_client_free(struct lf_client *c);
void lf_handle_end(struct lf_client *c, bool crashed); /* undo what an hv handle holds */
void lf_answer_waiter(struct lf_client *c);

/* ctl-ops.c: carry out a request; number of descriptors in fds (owned by the server), or -errno */
int lf_op(struct lf_client *c, const struct lf_request *req, struct lf_reply *rep, int *fds);

/* domain.c */
int lf_domain_new(struct lf_fabric *f, const struct pvb_local_new *spec, uint32_t *domid, struct pvb_error *err);
void lf_domain_free(struct lf_domain *dom);          /* quietly: at the end of the server */
int lf_domain_destroy(struct lf_fabric *f, uint32_t domid);
int lf_domain_shutdown(struct lf_domain *dom, enum pvb_local_reason reason);
void lf_domain_info(const struct lf_domain *dom, struct pvb_local_domain *info);
int lf_pages_reserve(struct lf_client *c, uint32_t nr, uint32_t *first);
int lf_pages_return(struct lf_client *c, uint32_t first, uint32_t nr, uint32_t *stuck);
void lf_pages_drop_all(struct lf_client *c);
uint32_t lf_pages_reap(struct lf_domain *dom);       /* stuck pages that became free */
int lf_column_get(struct lf_client *c, struct lf_domain *of, uint32_t *column);
void lf_column_put(struct lf_client *c, struct lf_domain *of);
void lf_columns_put_all(struct lf_client *c);
static inline struct lf_domain *lf_domain(const struct lf_fabric *f, uint32_t domid)
{
	return domid < LF_NR_DOMIDS ? f->domains[domid] : NULL;
}

/* port.c */
int lf_port_alloc(struct lf_client *c, uint32_t remote_domid, struct lf_port **out);
int lf_port_bind(struct lf_client *c, uint32_t remote_domid, uint32_t remote_port, struct lf_port **out);
struct lf_port *lf_port_find(const struct lf_client *c, uint32_t number);
void lf_port_close(struct lf_port *p);
void lf_ports_close_all(struct lf_client *c, bool crashed);
void lf_ports_forget_domid(struct lf_fabric *f, uint32_t domid); /* nobody waits for it any more */
#endif
