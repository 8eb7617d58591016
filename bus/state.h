/* SPDX-License-Identifier: MIT */
#ifndef PVB_BUS_STATE_H
#define PVB_BUS_STATE_H
/* The xenbus state machine: names, legal moves, and the next step towards a target.
 *
 *   1 Initialising -> 2 InitWait -> 3 Initialised -> 4 Connected -> 5 Closing -> 6 Closed
 *
 * A back end waits in 2 for the front end's keys and goes 2 -> 4 when its rings are mapped; from 6 it
 * goes back to 2 when the front end starts anew (reboot, kexec, module reload).  A front end goes
 * 1 -> 3 -> 4 (blkfront) .  Any state may be seen from a peer at any moment; only our own moves are
 * checked.  7 and 8 (reconfiguring) are treated as 4.
 * Source   xen/include/public/io/xenbus.h; xen/io/blkif.h, section "STATE DIAGRAMS".
 */
#include <stdbool.h>
#include "store.h"

#ifdef __cplusplus
extern "C" {
#endif

enum pvb_state {
	PVB_UNKNOWN = 0, PVB_INITIALISING = 1, PVB_INIT_WAIT = 2, PVB_INITIALISED = 3,
	PVB_CONNECTED = 4, PVB_CLOSING = 5, PVB_CLOSED = 6, PVB_RECONFIGURING = 7, PVB_RECONFIGURED = 8,
	PVB_NR_STATES = 9,
};

const char *pvb_state_name(enum pvb_state s);
/* May a back end (front end) itself go from one state to the other? */
bool pvb_state_legal_back(enum pvb_state from, enum pvb_state to);
bool pvb_state_legal_front(enum pvb_state from, enum pvb_state to);
/* The next legal state of a back end on the way to `target`, or `from` when it is there or no way leads on. */
enum pvb_state pvb_state_step_back(enum pvb_state from, enum pvb_state target);
/* The node's value; PVB_UNKNOWN for a missing node, an unreadable one, or anything that is not 1..8. */
enum pvb_state pvb_state_read(struct pvb_store *st, pvb_txn t, const char *dir);
/* Write dir/state, but only if it exists already (a switch must not recreate a device that was removed). */
int pvb_state_write(struct pvb_store *st, const char *dir, enum pvb_state s);
/* The same, but only if it is `from` now (PVB_UNKNOWN: whatever it is); -ECANCELED: it is another one.  A toolstack that
 * has asked for Closing must not have its word overwritten by the step that was just being taken: the front end has seen
 * it and would see the device come back. */
int pvb_state_move(struct pvb_store *st, const char *dir, enum pvb_state from, enum pvb_state to);
/* Within a transaction that does more. */
int pvb_state_move_in(struct pvb_store *st, pvb_txn t, const char *dir, enum pvb_state from, enum pvb_state to);

#ifdef __cplusplus
}
#endif
#endif
