/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The xenbus states: one table of legal moves per half; everything else follows from the tables. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "state.h"

#define B(s) (1u << PVB_##s)

/* A back end that finds no usable state of its own can only close and start anew.  4 -> 4 is the resize
 * signal: the state is written again together with `sectors`.  A live device never jumps to 6: the
 * guest must see 5 first. */
static const unsigned legal_back[PVB_NR_STATES] = {
	[PVB_UNKNOWN]      = B(CLOSING),
	[PVB_INITIALISING] = B(INIT_WAIT) | B(CLOSING),
	[PVB_INIT_WAIT]    = B(CONNECTED) | B(CLOSING),
	[PVB_INITIALISED]  = B(CONNECTED) | B(CLOSING),
	[PVB_CONNECTED]    = B(CONNECTED) | B(CLOSING),
	[PVB_CLOSING]      = B(CLOSED),
	[PVB_CLOSED]       = B(INIT_WAIT),
};

/* blkfront goes 1 -> 3 -> 4, netfront 1 -> 4; a driver loaded again starts from 6. */
static const unsigned legal_front[PVB_NR_STATES] = {
	[PVB_UNKNOWN]      = B(INITIALISING) | B(CLOSING),
	[PVB_INITIALISING] = B(INITIALISED) | B(CONNECTED) | B(CLOSING),
	[PVB_INIT_WAIT]    = B(INITIALISED) | B(CONNECTED) | B(CLOSING),
	[PVB_INITIALISED]  = B(CONNECTED) | B(CLOSING),
	[PVB_CONNECTED]    = B(CLOSING),
	[PVB_CLOSING]      = B(CLOSED),
	[PVB_CLOSED]       = B(INITIALISING),
};

static const char *const names[PVB_NR_STATES] = {
	"Unknown", "Initialising", "InitWait", "Initialised", "Connected", "Closing", "Closed",
	"Reconfiguring", "Reconfigured",
};

const char *pvb_state_name(enum pvb_state s)
{
	return (unsigned)s < PVB_NR_STATES ? names[s] : names[PVB_UNKNOWN];
}

static enum pvb_state plain(enum pvb_state s)
{
	return s == PVB_RECONFIGURING || s == PVB_RECONFIGURED ? PVB_CONNECTED : s;
}

static bool legal(const unsigned *table, enum pvb_state from, enum pvb_state to)
{
	from = plain(from);
	return (unsigned)from < PVB_NR_STATES && (unsigned)to < PVB_NR_STATES && (table[from] >> to & 1);
}

bool pvb_state_legal_back(enum pvb_state from, enum pvb_state to)
{
	return legal(legal_back, from, to);
}

bool pvb_state_legal_front(enum pvb_state from, enum pvb_state to)
{
	return legal(legal_front, from, to);
}

/* Search backwards from the target: the first ring of states that reaches it and includes a neighbour
 * of `from` names the next step on a shortest way. */
enum pvb_state pvb_state_step_back(enum pvb_state from, enum pvb_state target)
{
	unsigned reach, grown, s;

	from = plain(from);
	if ((unsigned)from >= PVB_NR_STATES || (unsigned)target >= PVB_NR_STATES || from == plain(target))
		return from;
	for (reach = 1u << plain(target);; reach = grown) {
		if (legal_back[from] & reach) {
			for (s = 0; !(legal_back[from] & reach & 1u << s); s++)
				;
			return (enum pvb_state)s;
		}
		for (grown = reach, s = 0; s < PVB_NR_STATES; s++)
			if (legal_back[s] & reach)
				grown |= 1u << s;
		if (grown == reach)
			return from;
	}
}

enum pvb_state pvb_state_read(struct pvb_store *st, pvb_txn t, const char *dir)
{
	char path[PVB_STORE_PATH_MAX + 1];
	uint64_t v;

	if (snprintf(path, sizeof(path), "%s/state", dir) >= (int)sizeof(path) ||
	    pvb_store_read_u64(st, t, path, PVB_INITIALISING, PVB_RECONFIGURED, &v) < 0)
		return PVB_UNKNOWN;
	return (enum pvb_state)v;
}

struct move_arg {
	const char *dir;
	enum pvb_state from, to;
};

int pvb_state_move_in(struct pvb_store *st, pvb_txn t, const char *dir, enum pvb_state from, enum pvb_state to)
{
	char path[PVB_STORE_PATH_MAX + 1], *old = NULL;
	uint64_t now = PVB_UNKNOWN;
	int rc;

	if (snprintf(path, sizeof(path), "%s/state", dir) >= (int)sizeof(path))
		return -EINVAL;
	rc = pvb_store_read(st, t, path, &old);
	if (rc == 0)
		pvb_parse_u64(old, PVB_INITIALISING, PVB_RECONFIGURED, &now);
	free(old);
	if (rc == -ENOENT)
		return rc;
	if (from != PVB_UNKNOWN && now != from)
		return -ECANCELED;
	return pvb_store_printf(st, t, path, "%u", (unsigned)to);
}

static int move_txn(struct pvb_store *st, pvb_txn t, void *arg)
{
	const struct move_arg *a = arg;

	return pvb_state_move_in(st, t, a->dir, a->from, a->to);
}

int pvb_state_write(struct pvb_store *st, const char *dir, enum pvb_state s)
{
	return pvb_state_move(st, dir, PVB_UNKNOWN, s);
}

int pvb_state_move(struct pvb_store *st, const char *dir, enum pvb_state from, enum pvb_state to)
{
	struct move_arg a = { dir, from, to };

	return pvb_store_txn(st, move_txn, &a);
}
