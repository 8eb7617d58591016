/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BACKEND_BLOCK_FILE_H
#define PVB_BACKEND_BLOCK_FILE_H
/* The two halves of the file provider: opening in the supervisor (file-prepare.c), I/O in the worker. */
#include "backend/provider.h"

int file_prepare(const struct target *t, bool readonly, int fds[PROVIDER_MAX_FDS], unsigned *nr_fds, char identity[64],
		 struct pvb_error *err);
#endif
