/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_TESTS_HOSTILE_STAGE_H
#define PVB_TESTS_HOSTILE_STAGE_H
/* Where a lying guest meets a real pvbackd that also serves an honest one.  There are two such places:
 *
 *   the local fabric (default)   everything is started here; the honest guest is a thread
 *   Xen (PVBUS_TEST_HV=xen)      we are in the lying guest, and the rest is there: see tests/lab/hostile.sh.  What can
 *                                only be seen from domain 0 is asked through the store: we write data/ask,
 *                                stage_answer() there says in data/answer "N ok" or "N no: what is wrong"
 *
 * Everything asserts with cmocka.  Waits are bounded by STAGE_WAIT_MS.
 */
#include <stdbool.h>
#include "hostile-front.h"

#define STAGE_WAIT_MS (stage_on_xen ? 60000 : 20000) /* emulated CPUs share theirs with others */
#define STAGE_DEVID 51712u     /* of the disk that is lied to, writable; HLIE_SECTORS long */
#define STAGE_RO_DEVID 51728u  /* another one, read-only */

extern bool stage_on_xen;
extern uint32_t stage_good_domid;      /* the honest guest */

void stage_up(struct hfront *liar, struct hfront *readonly);
void stage_down(struct hfront *liar, struct hfront *readonly);
/* The liar's domain ends, now (local fabric only). */
void stage_destroy_liar(struct hfront *liar);

/* Remember how pvbackd is: descriptors, mappings, memory, lines of its log. */
void stage_mark(void);
/* The liar's disks are closed: no worker of its, no mapped grant, pvbackd as it was at stage_mark(). */
void stage_idle(void);
/* The honest guest has done some more since the last look and nothing of it was wrong; pvbackd lives. */
void stage_good(void);
/* Print how much the honest guest does a second. */
void stage_rate(const char *when);
/* Since stage_mark() the log has got no more than so many lines / a line with this in it. */
void stage_log_at_most(unsigned lines);
void stage_log_says(const char *part);
/* The worker that serves the liar: its mappings and memory now, and whether they still are as they were. */
void stage_worker_mark(void);
void stage_worker_same(void);
void stage_worker_kill(int sig);
/* In domain 0 of Xen: answer the liar's questions until killed.  argv: pvbackd's process, the liar's domain, the honest
 * guest's, the log.  Needs a command mapped_grants DOMID that prints what is mapped.  An exit status. */
int stage_answer(char **argv);
#endif
