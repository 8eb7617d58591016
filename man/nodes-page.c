/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nodes-page: fills the store keys into the text of pvbus-nodes(7), from the tables the programs use.
 *   nodes-page < pvbus-nodes.7.in.md > pvbus-nodes.7.md
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "bus/nodes.h"

static const struct { const char *mark; const struct pvb_key *table; unsigned nr; } tables[] = {
	{ "@vbd-back@\n", pvb_vbd_back, VBD_B_NR },
	{ "@vbd-front@\n", pvb_vbd_front, VBD_F_NR },
	{ "@vbd-queue@\n", pvb_vbd_queue, VBD_Q_NR },
	{ "@vif-back@\n", pvb_vif_back, VIF_B_NR },
	{ "@vif-front@\n", pvb_vif_front, VIF_F_NR },
	{ "@vif-queue@\n", pvb_vif_queue, VIF_Q_NR },
	{ "@con-back@\n", pvb_con_back, CON_B_NR },
	{ "@con-front@\n", pvb_con_front, CON_F_NR },
};
#define NR_TABLES (sizeof(tables) / sizeof(tables[0]))

/* A key as a definition list's entry.  The row's columns: name, values, unit, default, writer, help. */
static void print_key(const struct pvb_key *key)
{
	char row[512], *col[6], *at = row;
	unsigned i;

	pvb_nodes_row(key, row, sizeof(row));
	for (i = 0; i < 6; i++) {
		col[i] = at ? at : "";
		at = at ? strchr(at, '\t') : NULL;
		if (at)
			*at++ = 0;
	}
	printf("**%.*s**%s\n:   %s. *By the %s*: %s", (int)strcspn(col[0], "*"), col[0], key->extension ? " \\*" : "", col[5],
	       col[4], col[1]);
	if (strcmp(col[2], "-") != 0)
		printf(" (%s)", col[2]);
	if (strcmp(col[3], "-") != 0)
		printf("; default %s", col[3]);
	printf(".\n\n");
}

int main(void)
{
	char line[1024];
	unsigned i, k, seen = 0;

	while (fgets(line, sizeof(line), stdin)) {
		for (i = 0; i < NR_TABLES && strcmp(line, tables[i].mark) != 0; i++)
			;
		if (i == NR_TABLES) {
			fputs(line, stdout);
			continue;
		}
		seen |= 1u << i;
		for (k = 0; k < tables[i].nr; k++)
			print_key(&tables[i].table[k]);
	}
	if (seen != (1u << NR_TABLES) - 1) {
		fprintf(stderr, "nodes-page: the text lacks one of the %u tables' marks\n", (unsigned)NR_TABLES);
		return 1;
	}
	return fflush(stdout) == 0 ? 0 : 1;
}
