/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BACKEND_BLOCK_FILE_H
#define PVB_BACKEND_BLOCK_FILE_H
/* The two halves of the file provider: opening in the supervisor (file-prepare.c), I/O in the worker. */
#include <sys/stat.h>
#include "backend/provider.h"

int file_prepare(const struct target *t, bool readonly, int fds[PROVIDER_MAX_FDS], unsigned *nr_fds, char identity[64],
		 struct pvb_error *err);
/* The key cache, and whether direct I/O of guest memory is safe over a network; -errno for other words. */
enum { CACHE_AUTO, CACHE_DIRECT, CACHE_BUFFERED };
int file_cache(const struct target *t, bool *direct_io_safe, struct pvb_error *err);
/* For whoever else serves images: open t->arg, refusing what is no disk (the descriptor, or -errno); what the
 * image is known by. */
int file_open_path(const struct target *t, bool readonly, struct stat *st, struct pvb_error *err);
void file_identity(const struct stat *st, char identity[64]);
#endif
