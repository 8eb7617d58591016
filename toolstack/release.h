/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVL_RELEASE_H
#define PVL_RELEASE_H
/* Making the two ends of a device let go of each other, on a host where something else (libxl) then removes
 * the nodes.  The local host has pvb_rescind() for both.
 *
 * Graceful  online=0 and the back end's state=5, wait for 6.  A guest that has not even begun to close after
 *           timeout_ms keeps the device: online and the state go back to what they were, in one transaction
 *           that looks again at the front end first.  -EBUSY and the states in err.
 * Forced    After timeout_ms the back end's state is driven to 6, so that a guest that does look sees a device
 *           that is gone, and not one that hangs.  Always 0 unless the store fails.
 * Errors    0 or -errno.  Never logs.
 */
#include <stdbool.h>
#include "store.h"

int release_device(struct pvb_store *st, const char *back, const char *front, bool force, int timeout_ms,
		   struct pvb_error *err);
#endif
