/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BACKEND_KEEP_H
#define PVB_BACKEND_KEEP_H
/* What outlives pvbackd: for each connected device three files in a directory of the supervisor's.
 *
 *   KIND-DOMID-DEVID.journal   the journals of its queues, one after the other; the worker maps it
 *   KIND-DOMID-DEVID           how it is connected, and whose it is; the worker never has it
 *   KIND-DOMID-DEVID.stats     its counters, which are there as long as it is attached; the worker maps them
 *
 * Where    /run/pvbackd/journal, or pvbackd-journal in the local fabric's directory: memory, gone when the host starts
 *          again, and so are the guests.
 * When     Made before the rings are connected, taken away when they are let go, but not when the daemon ends: the guest is
 *          still connected then, and the next pvbackd goes on.
 * Trust    Only root writes here.  What a worker has done to the journal is for pvb_journal_open() to judge.  A record
 *          counts only if it says what the front end's keys still say, for the same VM; anything else is
 *          the state of another connection, and nothing is resumed with it.
 * Version  A record of another version or layout is refused with words, and left alone.  keep_check() asks beforehand.
 * Fence    Whoever maps a journal holds a lock on its file until its memory is gone (fence.h).
 */
#include <stdbool.h>
#include "bus/error.h"

struct device;
struct supervisor;

/* The directory, made if need be.  Without one devices live as long as the daemon; said once, in the log. */
void keep_open(struct supervisor *sup, const char *dir);
void keep_close(struct supervisor *sup);
/* A new journal of so many bytes, all zero, in d->journal_fd, and the record of d->connect. */
int keep_new(struct device *d, size_t bytes, struct pvb_error *err);
/* What an earlier pvbackd left for this device: 0 with d->journal_fd and d->connect, -ENOENT: nothing, or another error
 * with words.  now: what the front end's keys say. */
int keep_find(struct device *d, const void *now, struct pvb_error *err);
/* Nobody will go on with it. */
void keep_drop(const struct device *d);
/* Could we go on with all that is in this directory?  Changes nothing; err names the first thing that we could not. */
int keep_check(const char *dir, struct pvb_error *err);
/* The device's counters, of so many bytes: those that an earlier pvbackd left, if fresh is false and they are there; else
 * new ones, all zero.  A descriptor, or -errno. */
int keep_stats(struct device *d, size_t bytes, bool fresh);
void keep_stats_drop(const struct device *d);
/* Take away what no device has any more. */
void keep_sweep(struct supervisor *sup);

/* The journal for a worker, to be sent and closed: a description of its own, with the fence's lock.  Or -errno. */
int keep_fd_for_worker(const struct device *d);
/* Is no process left that has it mapped? */
bool keep_fenced(const struct device *d);
#endif
