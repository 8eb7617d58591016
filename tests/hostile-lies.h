/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_TESTS_HOSTILE_LIES_H
#define PVB_TESTS_HOSTILE_LIES_H
/* What a slot can say that no honest front end says, with what the back end must answer and say of it; and a thread
 * that rewrites slots while they are read.  The disk has HLIE_SECTORS sectors and offers all there is: flushes,
 * barriers, discards, 256 indirect segments. */
#include "hostile-front.h"

#define HLIE_SECTORS 2048u

struct hlie {
	uint8_t op;
	unsigned nr, first, last;      /* segments, and the sectors of each */
	uint64_t sector, count;        /* count: of a discard */
	int status;
	const char *text;              /* a part of what is said */
	uint8_t flag;                  /* of a discard */
	bool readonly, indirect;       /* readonly: a lie only to a disk that is */
};
extern const struct hlie hlies[];
extern const unsigned nr_hlies;

/* The lie as a slot.  Uses data page 0, and page 1 as the table of an indirect one. */
void hlie_slot(struct hfront *h, const struct hlie *l, uint64_t id, uint8_t slot[PVF_SLOT_MAX]);

/* Responses wipe the slots, so a thread keeps writing all of queue 0's, with one content and the other in turns. */
struct hscribble {
	struct hfront *h;
	uint8_t a[PVF_SLOT_MAX], b[PVF_SLOT_MAX];
	pthread_t thread;
	int stop;
};
int hscribble_start(struct hscribble *s);
void hscribble_stop(struct hscribble *s);
#endif
