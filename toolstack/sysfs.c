// SPDX-License-Identifier: GPL-2.0-or-later
/* sysfs.c: see sysfs.h. */
#include "config.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "sysfs.h"

void sysfs_line(const char *dir, const char *file, char *buf, size_t len)
{
	char path[512];
	FILE *f;

	buf[0] = '\0';
	snprintf(path, sizeof(path), "%s/%s", dir, file);
	f = fopen(path, "re");
	if (!f)
		return;
	if (!fgets(buf, (int)len, f))
		buf[0] = '\0';
	fclose(f);
	buf[strcspn(buf, "\n")] = '\0';
}

unsigned long sysfs_number(const char *dir, const char *file, int base)
{
	char buf[32];

	sysfs_line(dir, file, buf, sizeof(buf));
	return strtoul(buf, NULL, base);
}
