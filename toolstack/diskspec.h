/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVL_DISKSPEC_H
#define PVL_DISKSPEC_H
/* One disk specification of xl-disk-configuration(5): [TARGET,[FORMAT,[VDEV,[ACCESS]]]] and KEY=VALUE parts,
 * separated by commas; target= takes the rest of its string.
 *
 * On Xen libxlutil parses specifications; this parser serves the local host, and finds backendtype=pvbus:
 * "this disk is served by pvbackd", which libxl is told as backendtype=phy,script=block-pvbus,format=raw.
 *
 * Trust    The image format is what the specification says and raw if it says nothing; it is never guessed
 *          from the image.
 * Errors   -EINVAL with the offending part.  Never logs.
 */
#include <stdbool.h>
#include <stdint.h>
#include "error.h"

struct diskspec {
	char *target;        /* opaque; "" for an empty drive */
	char *format;        /* "raw", "qcow2", ... */
	char vdev[32];
	uint32_t devid;
	bool readonly, cdrom, direct_io_safe, removable, untrusted;
	int discard;         /* 1, 0, -1 = not said */
	char *backend;       /* driver domain, or NULL */
	char *backendtype;   /* or NULL */
	char *script;        /* or NULL */
};

/* specs: one or more strings, all about the same disk (as block-attach takes them). */
int diskspec_parse(struct diskspec *out, const char *const *specs, int nr, struct pvb_error *err);
void diskspec_free(struct diskspec *d);
/* Does one of the strings say backendtype=pvbus (before any target=)? */
bool diskspec_is_pvbus(const char *const *specs, int nr);
/* The same disk as one specification, after `before`; malloc'ed, NULL when out of memory.  Leaves out format,
 * backendtype and script. */
char *diskspec_text(const struct diskspec *d, const char *before);
/* The same disk in libxl's words, malloc'ed; NULL when out of memory. */
char *diskspec_for_xl(const struct diskspec *d);
#endif
