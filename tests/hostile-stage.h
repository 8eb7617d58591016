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
 * It knows nothing of a class of devices but what struct stage_kind tells.
 * Everything asserts with cmocka.  Waits are bounded by STAGE_WAIT_MS.
 */
#include <stdbool.h>
#include "hostile-front.h"

#define STAGE_WAIT_MS (stage_on_xen ? 60000 : 20000) /* emulated CPUs share theirs with others */
#define STAGE_DEVICES 3u
#define STAGE_WHY 300u                 /* bytes of what is wrong */

extern bool stage_on_xen;
extern uint32_t stage_good_domid;      /* the honest guest */

struct stage_device {
	uint32_t devid;
	const struct pvb_pair *keys;   /* of its back end's directory; on Xen xl has written what is equal to that */
	unsigned nr_keys;              /* 0: there is no such device */
};

/* What is lied to. */
struct stage_kind {
	const char *class;             /* "vbd", "vif" */
	struct stage_device liar[STAGE_DEVICES], good[STAGE_DEVICES];
	const char *works;             /* the member of pvbackd's statistics that grows while a guest works */
	unsigned closed;               /* 1u << state: a back end's when a front end that closed may begin anew */
	void (*drop)(struct hfront *h);        /* give up rings and pages in any state */
	/* The honest guest of the local fabric.  A round is some verified work; false: *why says what was wrong. */
	bool (*good_up)(const char *spec, char why[STAGE_WHY]);
	bool (*good_round)(char why[STAGE_WHY]);
	void (*good_down)(void);
	/* In domain 0 of Xen: a verified round trip to the honest guest.  NULL: there is none. */
	bool (*ping)(char why[STAGE_WHY]);
};
extern const struct stage_kind stage_disks; /* hostile-disks.c */
extern const struct stage_kind stage_nics;  /* hostile-nics.c */

/* Rows { key, value, what the error says } of a table of lies: a number of queues that is none or too high for any device.
 * (A macro, as tables have more columns than that.) */
#define STAGE_LIE(value) { "multi-queue-num-queues", value, "multi-queue-num-queues" }
#define STAGE_QUEUE_LIES                                                                                               \
	STAGE_LIE(""), STAGE_LIE("0"), STAGE_LIE("-1"), STAGE_LIE(" 4"), STAGE_LIE("4x"), STAGE_LIE("0x4"),            \
		STAGE_LIE("+4"), STAGE_LIE("999999999999"), STAGE_LIE("99999999999999999999999999"), STAGE_LIE("9")

/* liars: as many as kind has of the liar's. */
void stage_up(const struct stage_kind *kind, struct hfront *const *liars);
void stage_down(void);
/* The liar's domain ends, now, and with it this device's back end (local fabric only). */
void stage_destroy_liar(struct hfront *in_use);

/* From any state to "offered again": what a guest's driver does when it is unloaded and loaded. */
void stage_begin_anew(struct hfront *h);
/* Walk through states at random, `ready` (what a back end connects on) most often, and write nonsense into these keys,
 * a thousand a second if the store can. */
void stage_walk(struct hfront *h, unsigned ready, const char *const *keys, unsigned nr_keys, unsigned seconds);
/* The error node of this device's back end has or gets this in it. */
void stage_error_says(struct hfront *h, const char *part);
/* Before a test: all of the liar's devices are offered and nobody serves it.  After: nothing is left of it, and the
 * honest guest goes on. */
int stage_offered(void **state);
int stage_as_before(void **state);

/* Remember how pvbackd is: descriptors, mappings, memory, of its workers for others, too; lines of its log. */
void stage_mark(void);
/* The liar's devices are closed: no worker of its, no mapped grant, pvbackd as it was at stage_mark(). */
void stage_idle(void);
/* The honest guest has done some more since the last look and nothing of it was wrong; pvbackd lives. */
void stage_good(void);
/* Print how much the honest guest does a second. */
void stage_rate(const char *when);
/* Measure the honest guest's round trips for a while; troubled: with the liar at work, else it only computes.  Then print both kinds' median
 * and 99th percentile side by side, and forget them; only medians that are worlds apart are wrong, as other load of the
 * machine is in the figures, too. */
void stage_lap(bool troubled);
void stage_compare(const char *what);
/* Since stage_mark() the log has got no more than so many lines / a line with this in it. */
void stage_log_at_most(unsigned lines);
void stage_log_says(const char *part);
/* A member of pvbackd's statistics, summed up over the liar's devices, is in this range; it is printed. */
void stage_counter(const char *name, uint64_t least, uint64_t most);
/* The worker that serves the liar: its mappings and memory now, and whether they still are as they were. */
void stage_worker_mark(void);
void stage_worker_same(void);
void stage_worker_kill(int sig);
/* In domain 0 of Xen: answer the liar's questions until killed.  argv: pvbackd's process, the liar's domain, the honest
 * guest's, the log.  Needs a command mapped_grants DOMID that prints what is mapped.  An exit status. */
int stage_answer(const struct stage_kind *kind, char **argv);
#endif
