/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_TESTS_HOSTILE_PLACE_H
#define PVB_TESTS_HOSTILE_PLACE_H
/* What hostile-stage.c, which sets the stage, and hostile-look.c, which looks at it, have in common. */
#include <sys/types.h>
#include "tests/hostile-stage.h"

#define STAGE_TIMES 8192u

extern struct stage_place {
	const struct stage_kind *kind;
	char dir[64], log_path[100];
	struct pvb_store *store;       /* local: as domain 0; Xen: as the liar, or as domain 0 */
	pid_t backd;
	uint32_t liar_domid;
	int ctl;                       /* pvbackd's control socket, where pvbackd is; or -1 */
	bool is_dom0;                  /* we are in domain 0 of Xen */
} stage;

/* The honest guest of the local fabric, which is a thread. */
extern struct stage_honest {
	unsigned rounds;
	uint32_t us[STAGE_TIMES];      /* of the last rounds */
	uint64_t worst_us;
	char wrong[STAGE_WHY];
} stage_honest;

void stage_nap(void);
void stage_ask_pvbackd(const char *path);
#endif
