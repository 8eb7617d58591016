/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names of virtual disks and their device numbers (declared in offer.h).  Source: docs/man/
 * xen-vbd-interface(7) of Xen. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "offer.h"

#define EXTENDED (1u << 28)

static const struct family {
	const char *prefix;
	bool letters;            /* the disk as a, b ... z, aa; otherwise decimal, then "p" and the partition */
	uint32_t max_disk, max_part;
} families[] = {
	{ "xvd", true, (1u << 20) - 1, 255 },
	{ "hd", true, 3, 63 },
	{ "sd", true, 15, 15 },
	{ "d", false, (1u << 20) - 1, 255 },
};

static uint32_t encode(const struct family *f, uint32_t disk, uint32_t part)
{
	if (f->prefix[0] == 'h')
		return (disk < 2 ? 3u : 22u) << 8 | (disk & 1) << 6 | part;
	if (f->prefix[0] == 's')
		return 8u << 8 | disk << 4 | part;
	if (disk < 16 && part < 16)
		return 202u << 8 | disk << 4 | part;
	return EXTENDED | disk << 8 | part;
}

/* Letters or digits up to limit; the end of what was read, or NULL. */
static const char *scan(const char *p, bool letters, uint32_t limit, uint32_t *out)
{
	const char *start = p;
	uint64_t v = 0;

	for (; letters ? *p >= 'a' && *p <= 'z' : *p >= '0' && *p <= '9'; p++) {
		v = letters ? (v * 26) + (uint64_t)(*p - 'a') + 1 : v * 10 + (uint64_t)(*p - '0');
		if (v > (uint64_t)limit + letters)
			return NULL;
	}
	if (p == start)
		return NULL;
	*out = (uint32_t)(v - letters);
	return p;
}

static bool match(const struct family *f, const char *vdev, uint32_t *devid)
{
	size_t len = strlen(f->prefix);
	uint32_t disk, part = 0;
	const char *p;

	if (strncmp(vdev, f->prefix, len) != 0)
		return false;
	p = scan(vdev + len, f->letters, f->max_disk, &disk);
	if (!p)
		return false;
	if (*p && !f->letters && *p++ != 'p')
		return false;
	/* partition 0 is the disk and has no number of its own */
	if (*p == '0' || (p[-1] == 'p' && !f->letters && !*p))
		return false;
	if (*p) {
		p = scan(p, false, f->max_part, &part);
		if (!p || *p)
			return false;
	}
	*devid = encode(f, disk, part);
	return true;
}

int pvb_vdev_parse(const char *vdev, uint32_t *devid, struct pvb_error *err)
{
	uint64_t number;
	unsigned i;

	for (i = 0; i < sizeof(families) / sizeof(*families); i++)
		if (match(&families[i], vdev, devid))
			return 0;
	if (pvb_parse_u64(vdev, 0, INT32_MAX, &number) == 0) {
		*devid = (uint32_t)number;
		return 0;
	}
	return pvb_err(err, -EINVAL, "virtual device \"%.60s\" is not xvda.., hda..hdd, sda..sdp, d0.. or a number",
		       vdev);
}

static void letters(uint32_t disk, char out[8])
{
	char rev[8];
	unsigned n = 0, i;

	for (disk++; disk > 0; disk = (disk - 1) / 26)
		rev[n++] = (char)('a' + (disk - 1) % 26);
	for (i = 0; i < n; i++)
		out[i] = rev[n - 1 - i];
	out[n] = '\0';
}

void pvb_vdev_name(uint32_t devid, char *buf, size_t len)
{
	uint32_t major = devid >> 8, minor = devid & 0xff, disk, part;
	const char *prefix = "xvd";
	char name[8];

	if (devid & EXTENDED && devid < 2 * EXTENDED) {
		disk = (devid & ~EXTENDED) >> 8;
		part = minor;
	} else if (major == 3 || major == 22) {
		prefix = "hd";
		disk = (major == 22 ? 2 : 0) + (minor >> 6);
		part = minor & 63;
	} else if (major == 8 || major == 202) {
		prefix = major == 8 ? "sd" : "xvd";
		disk = minor >> 4;
		part = minor & 15;
	} else {
		snprintf(buf, len, "%u", devid);
		return;
	}
	/* an encoding nobody would write (hd minor 128, extended with a small disk) has no name */
	if (prefix[0] == 'h' && minor > 127) {
		snprintf(buf, len, "%u", devid);
		return;
	}
	letters(disk, name);
	if (part)
		snprintf(buf, len, "%s%s%u", prefix, name, part);
	else
		snprintf(buf, len, "%s%s", prefix, name);
}
