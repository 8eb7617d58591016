/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_TESTS_HOSTILE_VIF_H
#define PVB_TESTS_HOSTILE_VIF_H
/* What the parts of hostile-vif have in common: the lying guest's NICs, and frames that are no lie. */
#include "tests/hostile-nic.h"
#include "tests/hostile-nics.h"
#include "tests/hostile-stage.h"

#define WAIT_MS STAGE_WAIT_MS
#define LINES_A_LIE 12u        /* in the log: a connection's coming and going, its worker's, and the error */
#define RING_START 0xfffffff0u

/* own: all it sends comes back, by a worker that serves nobody else.  The others are on a switch with honest NICs. */
extern struct hnic own, lan, lan2;

int connecting(struct hnic *n, const struct hnic_options *opt, struct pvb_error *err);
void connect_or_fail(struct hnic *n, const struct hnic_options *opt);
/* connect from RING_START */
void connect_plain(struct hnic *n);
void begin_anew(struct hnic *n);
/* The answers to nr slots that were pushed must be this; *nulls* of them, extra infos', after the first, NULL. */
void answered(struct hnic *n, unsigned nr, unsigned nulls, int status);
/* Data pages get these bytes; the frame is put as flags and GSO say, pushed, answered: with what, for all slots. */
int send_frame(struct hnic *n, const uint8_t *data, unsigned len, unsigned flags, unsigned gso_type, unsigned gso_size);
/* own: the frame that comes back must be these bytes with its addresses exchanged. */
void comes_back(struct hnic *n, const uint8_t *data, unsigned len, struct hgot *got);
/* A good frame is carried. */
void honest_frame(struct hnic *n);
/* connect, honest_frame, begin_anew */
void works(struct hnic *n);
/* The lie just pushed breaks the connection, and that is why. */
void broken(struct hnic *n, const char *why);

/* hostile-vif-tx.c */
void packets_of_odd_sizes(void **state);
void offloads_that_are_not(void **state);
void multicast_without_number(void **state);
void extras_out_of_place(void **state);
void chains_without_end(void **state);
void headers_cut_everywhere(void **state);
void tiny_and_empty_slots(void **state);
void grants_to_send_from_that_are_not(void **state);
void slots_change_while_they_are_read(void **state);
void one_lie_ten_thousand_times(void **state);
/* hostile-vif-rx.c */
void buffers_that_are_not(void **state);
void answers_that_nobody_reads(void **state);
void a_flood_for_one_slot(void **state);
void a_ring_that_never_empties(void **state);
void extremes_on_the_control_ring(void **state);
void pages_mapped_and_unmapped(void **state);
#endif
