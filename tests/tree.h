/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_TESTS_TREE_H
#define PVB_TESTS_TREE_H
/* A test's temporary directory goes with all that the programs it started have left in it. */
#include <ftw.h>
#include <stdio.h>

static inline int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st, (void)flag, (void)ftw;
	return remove(path);
}

/* 0, or -1 with errno. */
static inline int remove_tree(const char *dir)
{
	return nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
#endif
