/* SPDX-License-Identifier: MIT */
#ifndef PVB_BUS_STORE_H
#define PVB_BUS_STORE_H
/* xenstore, over libxenstore, for real Xen and the local fabric alike.
 *
 * Trust    Every value is text a guest may have written.  It is limited in length, must not contain a
 *          NUL, and numbers are decimal digits only, the whole value, in the range asked for.
 * Paths    Absolute, at most 3072 bytes and 64 levels, no empty level: otherwise -EINVAL.
 * Txn      Transactions are retried inside pvb_store_txn() and nowhere else.
 * Threads  One thread per handle.  (libxenstore reads events on a thread of its own.)
 * Signals  libxenstore changes the disposition of SIGPIPE around every request, which is safe only in a
 *          program that ignores SIGPIPE or has one thread: ignore it.
 * Fork     Does not survive fork().
 * Errors   0 or -errno: -ENOENT no such node, -EACCES not ours, -EAGAIN never leaves this file,
 *          -EINVAL/-ERANGE/-E2BIG a value that is not what was asked for.  Never logs.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "error.h"

#ifdef __cplusplus
extern "C" {
#endif

struct pvb_store;
struct pvb_loop;

#define PVB_STORE_VALUE_MAX 4096
#define PVB_STORE_PATH_MAX 3072
#define PVB_STORE_DEPTH_MAX 64

/* spec as for pvb_hv_open(). */
int pvb_store_open(struct pvb_store **out, const char *spec, struct pvb_error *err);
void pvb_store_close(struct pvb_store *st);
/* Our domain id: the node "domid" of our own domain (dom0 may lack it: 0). */
int pvb_store_domid(struct pvb_store *st, uint32_t *domid);
/* The home directory "/local/domain/N" of a domain, into buf. */
void pvb_store_home(uint32_t domid, char *buf, size_t len);

/* A transaction, or PVB_NO_TXN for single operations. */
typedef uint32_t pvb_txn;
#define PVB_NO_TXN 0u

/* Value as a malloc'ed string.  -EILSEQ when it contains a NUL, -E2BIG above PVB_STORE_VALUE_MAX. */
int pvb_store_read(struct pvb_store *st, pvb_txn t, const char *path, char **value);
/* Decimal number, nothing else in the value, min <= v <= max: otherwise -EINVAL (no number) or -ERANGE. */
int pvb_store_read_u64(struct pvb_store *st, pvb_txn t, const char *path, uint64_t min, uint64_t max, uint64_t *value);
int pvb_store_write(struct pvb_store *st, pvb_txn t, const char *path, const char *value);
int pvb_store_printf(struct pvb_store *st, pvb_txn t, const char *path, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
int pvb_store_mkdir(struct pvb_store *st, pvb_txn t, const char *path);
int pvb_store_rm(struct pvb_store *st, pvb_txn t, const char *path); /* 0 also when it was not there */
/* Children's names, malloc'ed array of *nr; free with pvb_store_list_free(). */
int pvb_store_list(struct pvb_store *st, pvb_txn t, const char *path, char ***names, unsigned *nr);
void pvb_store_list_free(char **names, unsigned nr);
bool pvb_store_exists(struct pvb_store *st, pvb_txn t, const char *path);
/* Owner with all rights and, unless reader is UINT32_MAX, one other domain that may read. */
int pvb_store_perms(struct pvb_store *st, pvb_txn t, const char *path, uint32_t owner, uint32_t reader);
/* Who owns a node, as the store says. */
int pvb_store_owner(struct pvb_store *st, pvb_txn t, const char *path, uint32_t *owner);
bool pvb_store_domain_alive(struct pvb_store *st, uint32_t domid);

/* Run fn in a transaction; begun again as often as the store reports a conflict (bounded: -EBUSY after
 * 200 tries).  fn returns 0 to commit or -errno to abort; it may run several times and must not have
 * effects outside the store. */
int pvb_store_txn(struct pvb_store *st, int (*fn)(struct pvb_store *st, pvb_txn t, void *arg), void *arg);

/* Watches.  fn(arg, path) runs from the loop, path is what changed (at or below the watched path), once
 * right after the watch was set, as xenstore does it.  Identical events waiting together are delivered
 * once, and what one round may deliver is bounded: a guest that rewrites a key in a loop costs one call
 * per round.  When more than 32 different paths of one watch wait (see pvb_watch_room()), they become one event with the watched
 * path itself, which thus always means "anything at or below may have changed". */
struct pvb_watch;
int pvb_store_watch(struct pvb_store *st, const char *path, void (*fn)(void *arg, const char *path), void *arg,
		    struct pvb_watch **out);
/* Another number than 32: for a watch on what no guest can write to, and where a look at everything is long. */
void pvb_watch_room(struct pvb_watch *w, unsigned paths);
void pvb_store_unwatch(struct pvb_watch **w); /* NULL is fine; fn is not called afterwards */
/* Deliver watch events from this loop. */
int pvb_store_attach(struct pvb_store *st, struct pvb_loop *loop);
/* Without a loop: wait up to timeout_ms for events and deliver them; number delivered. */
int pvb_store_dispatch(struct pvb_store *st, int timeout_ms);
/* Wait, delivering events, until *path* holds what done(value, arg) accepts (value NULL: no node), or
 * -ETIMEDOUT.  Event-driven: a watch on the path. For tools, which have nothing else to do. */
int pvb_store_wait(struct pvb_store *st, const char *path, bool (*done)(const char *value, void *arg), void *arg,
		   int timeout_ms);

/* Decimal text to number, strictly: digits only, no sign, no blanks, no overflow, no leading "0x". */
int pvb_parse_u64(const char *text, uint64_t min, uint64_t max, uint64_t *value);

#ifdef __cplusplus
}
#endif
#endif
