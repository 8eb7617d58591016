/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BUS_LOCAL_STORE_INT_H
#define PVB_BUS_LOCAL_STORE_INT_H
/* The store's own data, shared by its files (one noun each):
 *   store-tree.c    nodes          store-perm.c   permissions      store-domain.c  domains, accounts, quotas
 *   store-view.c    nodes as a transaction sees them, and changing them
 *   store-txn.c     transactions   store-watch.c  watches, events  store-conn.c    framing, queues, fairness
 *   store-ops.c     the requests   store-sock.c   sockets          store-check.c   invariants, for tests
 *
 * All but store-sock.c know nothing of sockets and clocks: bytes go in through lst_conn_space() and
 * lst_conn_input(), come out through lst_conn_output(), and the time is st->now_ms.  So the fuzzer
 * and the unit tests drive the very server that pvlocald runs.
 *
 * Accounts  Every byte kept for a domain is charged to it (lst_charge), every node to its owner, when it is made
 *           and until it is freed; lst_check() adds all up again.
 * Names     Functions return 0 or a positive errno here, as the protocol wants it, unless they say otherwise.
 */
#include <stddef.h>
#include "store.h"
#include "../hv.h"
#include <xen/io/xs_wire.h>

#define LST_NR_DOMIDS 0x7ff0u
#define LST_PATH_MAX  XENSTORE_ABS_PATH_MAX
#define LST_BUF       8192     /* input of one connection: a request and the beginning of the next */

struct lst_conn;
struct lst_txn;

/* ---- permissions ------------------------------------------------------------------------------------ */

#define LST_R 1u
#define LST_W 2u
#define LST_OWNER 4u
struct lst_perm {
	uint32_t domid;
	uint32_t generation;   /* of that domain when this was set; 0 = there was none */
	uint32_t mask;         /* LST_R | LST_W */
};
/* The first is the owner, with what everybody else may do. Shared copies are counted. */
struct lst_perms {
	uint32_t refs, nr;
	struct lst_perm p[];
};

/* ---- domains ---------------------------------------------------------------------------------------- */

struct lst_dom {
	struct lst_dom *next;
	uint32_t domid, generation;
	uint32_t target;               /* XS_SET_TARGET: acts for this one as well; LST_NR_DOMIDS = nobody */
	uint32_t target_generation;
	bool shutdown;
	/* accounts */
	uint32_t nodes, watches, txns, outstanding, conns;
	uint64_t memory, peak;
	/* fairness */
	uint32_t failures;             /* commits refused in a row, for what others did */
	uint64_t next_window_ms;       /* when it may be protected again */
	struct lst_conn *first;        /* connections */
	uint32_t mark;                 /* of lst_check() */
};

/* ---- nodes ------------------------------------------------------------------------------------------ */

/* Values never change: nodes and transactions share them, counted.  NULL is the empty one. */
struct lst_value {
	uint32_t refs, len;
	char bytes[];
};
static inline uint32_t lst_value_len(const struct lst_value *v)
{
	return v ? v->len : 0;
}

struct lst_node {
	struct lst_node *hash_next;
	struct lst_node *parent, *first, *last, *prev, *next; /* children in order of creation */
	uint32_t hash, nr_children, children_len;  /* children_len: names with their NULs */
	uint32_t name_len;
	uint32_t writer, children_writer;          /* domids that changed them last */
	uint64_t generation, children_generation;  /* value, permissions | list of children */
	struct lst_value *value;
	struct lst_perms *perms;
	char name[];
};

struct lst_tree {
	struct lst_node *root;
	struct lst_node **buckets;
	uint32_t nr_buckets, nr_nodes;
	uint64_t generation;           /* counts changes */
};

/* ---- transactions ----------------------------------------------------------------------------------- */

enum lst_fire { LST_QUIET, LST_EXACT, LST_BELOW }; /* nobody | watches of this very path | also of those above */

/* A node as a transaction sees it. */
struct lst_tnode {
	struct lst_tnode *hash_next, *next;        /* next: in order of first access */
	struct lst_tnode *added, *next_added;      /* children made by the transaction */
	uint32_t hash, path_len;
	/* how it was outside when first seen; checked at the end */
	bool was_there, listed;
	uint64_t generation, children_generation;
	/* how it is inside: what it was at first, so that reading it again gives the same, until changed */
	bool changed, is_there, is_added;
	int32_t children_len;                      /* by how much the transaction changed it */
	uint64_t own_children_generation;
	enum lst_fire fire;
	struct lst_value *value;
	struct lst_perms *perms, *old_perms;       /* old: while a commit tells watchers */
	char path[];
};

struct lst_txn {
	struct lst_txn *next;
	struct lst_conn *conn;
	uint32_t id;
	int failed;                    /* errno: can not be committed any more */
	struct lst_tnode **buckets;
	uint32_t nr_buckets, nr;
	struct lst_tnode *first, **tail;
	int64_t delta;                 /* nodes its domain will own more */
	uint64_t memory;               /* charged to its domain */
};

/* ---- watches, events, messages ---------------------------------------------------------------------- */

struct lst_watch {
	struct lst_watch *hash_next;
	struct lst_watch *next;        /* of the connection */
	struct lst_conn *conn;
	uint32_t hash, skip;           /* skip: bytes not shown of a path, if the watch was relative */
	const char *token;             /* behind path */
	char path[];
};

/* A request of a domain other than 0, until its reply and the events it caused are delivered. */
struct lst_req {
	uint32_t refs;
	struct lst_dom *dom;           /* NULL once the domain is gone */
	struct lst_req *next, **pprev; /* all of them */
};

struct lst_msg {
	struct lst_msg *next;
	struct lst_msg *hash_next;     /* events that wait, to find equal ones */
	struct lst_conn *conn;
	struct lst_req *req;           /* charged with it, or NULL */
	bool event, hashed;
	uint32_t hash, len, sent;      /* with the header */
	uint64_t since_ms;
	uint8_t bytes[];
};

struct lst_io; /* what the other end is: store-sock.c, or a test */

struct lst_conn {
	struct lst_conn *prev, *next;           /* of the store */
	struct lst_conn *dom_next;              /* of the domain */
	struct lst_conn *run_next, *dirty_next;
	struct lst *store;
	struct lst_dom *dom;
	const struct lst_io *io;
	void *io_arg;
	uint32_t id;
	bool runnable, dirty, dead, held;
	/* in */
	uint32_t in_len, in_off;
	uint8_t in[LST_BUF];
	/* out */
	struct lst_msg *out, **out_tail;
	uint64_t out_bytes;
	/* held state */
	struct lst_watch *watches, **watch_tail;
	struct lst_txn *txns;
	uint32_t nr_txns, next_txn;
	/* the request being carried out */
	struct lst_req *req;
	struct xsd_sockmsg hdr;
};

struct lst_io {
	/* output is waiting, or input may be put in again; called from lst_run() alone */
	void (*ready)(void *arg);
	void (*closed)(void *arg);  /* the store has done with the connection, which is freed now */
};

struct lst {
	struct pvb_loop *loop;
	struct lst_sock *sock;
	struct pvb_store_quota quota;
	bool (*exists)(void *arg, uint32_t domid);
	void *arg;
	uint64_t now_ms;
	struct lst_tree tree;
	struct lst_perms *special[2];              /* @introduceDomain, @releaseDomain */
	struct lst_dom *doms[LST_NR_DOMIDS];
	struct lst_dom *first_dom;
	uint32_t next_generation;
	struct lst_conn *conns, *runnable, **run_tail, *dirty;
	struct lst_conn *current;                  /* whose request is being carried out */
	uint32_t nr_conns, next_conn_id;
	struct lst_watch **watch_buckets;
	uint32_t nr_watch_buckets, nr_watches, nr_txns;
	struct lst_msg **event_buckets;
	uint32_t nr_event_buckets, nr_hashed;
	struct lst_req *reqs;
	/* one domain's transaction is given a chance: nobody else but domain 0 may change the tree */
	struct lst_dom *protect;
	uint64_t protect_until_ms;
	uint32_t nr_msgs;                          /* that wait in all connections */
	uint64_t requests, events, merged, conflicts, dropped;
};

/* store-perm.c */
struct lst_perms *lst_perms_new(uint32_t nr);
struct lst_perms *lst_perms_get(struct lst_perms *p);
void lst_perms_put(struct lst_perms *p);
unsigned lst_perms_for(const struct lst *st, const struct lst_dom *dom, const struct lst_perms *p);
/* The domain that owns it; NULL = domain 0, as it belongs to nobody who is there. */
struct lst_dom *lst_perms_owner(const struct lst *st, const struct lst_perms *p);
/* Strings "r5" ... of `bytes` bytes to permissions, and back (-1 = does not fit). */
int lst_perms_parse(const struct lst *st, const char *text, uint32_t bytes, struct lst_perms **out);
int lst_perms_print(const struct lst *st, const struct lst_perms *p, char *buf, uint32_t size);
size_t lst_perms_bytes(const struct lst_perms *p);

/* store-domain.c */
static inline bool lst_privileged(const struct lst_dom *dom)
{
	return dom->domid == 0;
}
struct lst_dom *lst_dom(const struct lst *st, uint32_t domid);          /* NULL: not introduced */
void lst_charge(struct lst_dom *dom, int64_t bytes);                    /* dom NULL: nobody */
bool lst_over_memory(const struct lst *st, const struct lst_dom *dom, uint64_t more);
int lst_dom_release(struct lst *st, struct lst_dom *dom);               /* XS_RELEASE, and at the end */
struct lst_req *lst_req_new(struct lst *st, struct lst_dom *dom);
void lst_req_put(struct lst *st, struct lst_req *req);

/* store-tree.c */
int lst_tree_init(struct lst *st);
void lst_tree_free(struct lst *st);
struct lst_node *lst_tree_child(const struct lst_tree *t, const struct lst_node *parent, const char *name, size_t len);
struct lst_node *lst_tree_find(const struct lst_tree *t, const char *path);
/* The node or, if it is not there, the nearest one above it. */
struct lst_node *lst_tree_nearest(const struct lst_tree *t, const char *path, bool *found);
struct lst_node *lst_node_new(const char *name, size_t name_len, struct lst_perms *perms);
void lst_node_free(struct lst_node *n);                                  /* one that is not linked */
void lst_tree_link(struct lst *st, struct lst_node *parent, struct lst_node *n, uint32_t writer);
void lst_tree_remove(struct lst *st, struct lst_node *top, uint32_t writer); /* with all below */
/* These two take a reference over. */
void lst_node_set_value(struct lst *st, struct lst_node *n, struct lst_value *value, uint32_t writer);
void lst_node_set_perms(struct lst *st, struct lst_node *n, struct lst_perms *perms, uint32_t writer);
int lst_value_new(const char *bytes, uint32_t len, struct lst_value **out);
struct lst_value *lst_value_get(struct lst_value *v);
void lst_value_put(struct lst_value *v);
size_t lst_node_bytes(const struct lst_node *n);
struct lst_node *lst_node_next(const struct lst_node *n, const struct lst_node *top); /* preorder; NULL at the end */
size_t lst_node_path(const struct lst_node *n, char *buf);               /* buf: LST_PATH_MAX + 1 */
uint32_t lst_hash(const void *data, size_t len, uint32_t seed);

/* store-view.c: the tree as a transaction (or, with NULL, everybody) sees it, and changes to it */
struct lst_seen {
	bool is_there;
	struct lst_value *value;
	uint32_t children_len;
	uint64_t children_generation;
	struct lst_perms *perms;
	struct lst_node *node;         /* outside any transaction */
	struct lst_tnode *tnode;       /* inside one */
};
int lst_see(struct lst *st, struct lst_txn *t, const char *path, struct lst_seen *seen);
int lst_create(struct lst_conn *c, struct lst_txn *t, const char *path, const char *value, uint32_t len);
int lst_write(struct lst_conn *c, struct lst_txn *t, const char *path, const struct lst_seen *seen, const char *value,
	      uint32_t len);
/* Takes a reference over, also on failure. */
int lst_set_perms(struct lst_conn *c, struct lst_txn *t, const char *path, const struct lst_seen *seen,
		  struct lst_perms *perms);
int lst_remove(struct lst_conn *c, struct lst_txn *t, const char *path, const struct lst_seen *seen);
/* Names of the children, each with its NUL, in order of creation; malloc'ed. */
int lst_list(struct lst *st, struct lst_txn *t, const char *path, const struct lst_seen *seen, char **names,
	     uint32_t *len);

/* store-txn.c */
int lst_txn_new(struct lst_conn *c, struct lst_txn **out);
struct lst_txn *lst_txn_find(const struct lst_conn *c, uint32_t id);
void lst_txn_free(struct lst_txn *t);
int lst_txn_commit(struct lst_txn *t);      /* EAGAIN: conflict.  Does not free. */
struct lst_tnode *lst_tnode_find(const struct lst_txn *t, const char *path, size_t len);
/* The transaction's own record of a path; made, with what is outside now, when there is none. */
int lst_tnode_get(struct lst_txn *t, const char *path, size_t len, struct lst_tnode **out);
/* Give it another state.  Takes value and perms over (NULL and NULL: not there). */
void lst_tnode_set(struct lst_txn *t, struct lst_tnode *n, struct lst_value *value, struct lst_perms *perms);
static inline void lst_tnode_fire(struct lst_tnode *n, enum lst_fire how)
{
	if (how > n->fire)
		n->fire = how;
}

/* store-watch.c */
int lst_watch_add(struct lst_conn *c, const char *path, bool relative, const char *token);
int lst_watch_del(struct lst_conn *c, const char *path, const char *token);
void lst_watch_drop_all(struct lst_conn *c);
/* Something happened to n, at path; old: permissions it had before, if others.  Call it before n is removed. */
void lst_fire_node(struct lst *st, struct lst_req *cause, const struct lst_node *n, const char *path, enum lst_fire how,
		   const struct lst_perms *old);
void lst_fire_special(struct lst *st, const char *name);

/* store-conn.c */
int lst_conn_new(struct lst *st, uint32_t domid, const struct lst_io *io, void *io_arg,
		 struct lst_conn **out); /* -errno */
void lst_conn_kill(struct lst_conn *c);      /* freed at once; if it is the current one, after its request */
uint8_t *lst_conn_space(struct lst_conn *c, uint32_t *len); /* where to put input; *len 0: none is wanted now */
void lst_conn_input(struct lst_conn *c, uint32_t len);
void lst_make_runnable(struct lst_conn *c);  /* it gets a turn */
void lst_make_dirty(struct lst_conn *c);     /* it is told that it has output, or room for input */
void lst_run(struct lst *st);                /* everything that can be done now */
bool lst_has_work(const struct lst *st);
void lst_tick(struct lst *st);               /* timeouts; st->now_ms has been set */
uint64_t lst_deadline(const struct lst *st); /* when to call it next; UINT64_MAX = no need */
void lst_wake_dom(struct lst_dom *dom);      /* its connections may be served again */
void lst_commit_failed(struct lst_conn *c);  /* by a conflict: give it a better chance next time */
void lst_commit_done(struct lst_conn *c);
void lst_end_window(struct lst *st);

/* store-msg.c */
#define LST_UNREAD_MAX (256u << 10) /* output of a client of domain 0 above which it is not served */
int lst_reply(struct lst_conn *c, uint32_t type, const void *data, uint32_t len);
void lst_event(struct lst_conn *c, struct lst_req *cause, const char *path, const char *token);
/* What to send next: up to nr pieces; how many.  Then say how much of it went out. */
struct iovec;
unsigned lst_conn_output(struct lst_conn *c, struct iovec *iov, unsigned nr);
void lst_conn_sent(struct lst_conn *c, size_t len);
void lst_msg_free(struct lst_conn *c, struct lst_msg *m); /* one that is not queued any more */

/* store-ops.c: carry out the request in c->hdr with this payload; an errno to be answered, or 0 */
int lst_op(struct lst_conn *c, const char *in, uint32_t len);
bool lst_op_changes(uint32_t type, uint32_t tx_id);
bool lst_path_valid(const struct lst *st, const char *path);
const char *lst_error_name(int e);

/* store-core.c */
int lst_core_new(struct lst **out, const struct pvb_store_quota *quota, bool (*exists)(void *arg, uint32_t domid),
		 void *arg);
void lst_core_free(struct lst *st);

/* store-check.c: NULL, or what is wrong */
const char *lst_check(struct lst *st);
#endif
