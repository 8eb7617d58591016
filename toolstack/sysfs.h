/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVL_SYSFS_H
#define PVL_SYSFS_H
/* sysfs.h: the files of a device's directory in /sys.
 *
 * Trust    The kernel's; but some of the texts are the device's own.   Errors  none: what is not there is "" or 0.
 * Threads  none.   Logs  nothing.
 */
#include <stddef.h>

/* The first line of dir/file, without its end, cut to len - 1 bytes. */
void sysfs_line(const char *dir, const char *file, char *buf, size_t len);
/* base as for strtoul(). */
unsigned long sysfs_number(const char *dir, const char *file, int base);
#endif
