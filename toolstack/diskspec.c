// SPDX-License-Identifier: GPL-2.0-or-later
/* Disk specifications: text to struct. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "diskspec.h"
#include "offer.h"

static int set(char **to, const char *v, const char *what, struct pvb_error *err)
{
	if (*to)
		return pvb_err(err, -EINVAL, "disk: %s given twice (\"%s\", \"%s\")", what, *to, v);
	*to = strdup(v);
	return *to ? 0 : pvb_err(err, -ENOMEM, "disk: out of memory");
}

static int one_of(const char *v, const char *const *list)
{
	for (int i = 0; list[i]; i++)
		if (strcmp(v, list[i]) == 0)
			return i;
	return -1;
}

static int set_format(struct diskspec *d, const char *v, struct pvb_error *err)
{
	static const char *const known[] = { "raw", "qcow", "qcow2", "vhd", "qed", NULL };

	if (strcmp(v, "aio") == 0) /* xl's old word */
		v = "raw";
	if (one_of(v, known) < 0)
		return pvb_err(err, -EINVAL, "disk: format \"%s\": not raw, qcow, qcow2, vhd or qed", v);
	return set(&d->format, v, "format", err);
}

static int set_access(struct diskspec *d, const char *v, struct pvb_error *err)
{
	if (strcmp(v, "r") == 0 || strcmp(v, "ro") == 0)
		d->readonly = true;
	else if (strcmp(v, "w") == 0 || strcmp(v, "rw") == 0)
		d->readonly = false;
	else
		return pvb_err(err, -EINVAL, "disk: access \"%s\": not r, ro, w or rw", v);
	return 0;
}

static int set_vdev(struct diskspec *d, const char *v, struct pvb_error *err)
{
	size_t n = strcspn(v, ":");

	if (*d->vdev)
		return pvb_err(err, -EINVAL, "disk: device given twice (\"%s\", \"%s\")", d->vdev, v);
	if (v[n] && strcmp(v + n, ":cdrom") != 0 && strcmp(v + n, ":disk") != 0)
		return pvb_err(err, -EINVAL, "disk: device \"%s\": \"%s\" is not a kind of device", v, v + n + 1);
	if (!n || n >= sizeof(d->vdev))
		return pvb_err(err, -EINVAL, "disk: device \"%s\": not a device name", v);
	if (strcmp(v + n, ":cdrom") == 0)
		d->cdrom = true;
	memcpy(d->vdev, v, n);
	d->vdev[n] = '\0';
	return pvb_vdev_parse(d->vdev, &d->devid, err);
}

static int set_devtype(struct diskspec *d, const char *v, struct pvb_error *err)
{
	if (strcmp(v, "cdrom") == 0)
		d->cdrom = true;
	else if (strcmp(v, "disk") != 0)
		return pvb_err(err, -EINVAL, "disk: devtype \"%s\": not disk or cdrom", v);
	return 0;
}

static int set_backendtype(struct diskspec *d, const char *v, struct pvb_error *err)
{
	static const char *const known[] = { "pvbus", "phy", "qdisk", "tap", "standalone", NULL };

	if (one_of(v, known) < 0)
		return pvb_err(err, -EINVAL, "disk: backendtype \"%s\": not pvbus, phy, qdisk, tap or standalone", v);
	return set(&d->backendtype, v, "backendtype", err);
}

/* A part that is a known word or KEY=VALUE: 1, 0 when it is neither (then it is positional), or -EINVAL. */
static int take_word(struct diskspec *d, const char *part, struct pvb_error *err)
{
	static const struct {
		const char *key;
		int (*fn)(struct diskspec *d, const char *v, struct pvb_error *err);
	} keys[] = {
		{ "format=", set_format },   { "access=", set_access },		  { "vdev=", set_vdev },
		{ "devtype=", set_devtype }, { "backendtype=", set_backendtype },
	};
	int rc;

	for (unsigned i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		size_t n = strlen(keys[i].key);

		if (strncmp(part, keys[i].key, n) == 0) {
			rc = keys[i].fn(d, part + n, err);
			return rc ? rc : 1;
		}
	}
	if (strncmp(part, "script=", 7) == 0)
		rc = set(&d->script, part + 7, "script", err);
	else if (strncmp(part, "backend=", 8) == 0)
		rc = set(&d->backend, part + 8, "backend", err);
	else if (strcmp(part, "cdrom") == 0 || strcmp(part, "devtype=cdrom") == 0)
		rc = (d->cdrom = true, 0);
	else if (strcmp(part, "direct-io-safe") == 0)
		rc = (d->direct_io_safe = true, 0);
	else if (strcmp(part, "discard") == 0 || strcmp(part, "no-discard") == 0)
		rc = (d->discard = *part == 'd', 0);
	else if (strcmp(part, "removable") == 0 || strncmp(part, "removable=", 10) == 0)
		rc = (d->removable = part[9] != '=' || strcmp(part + 10, "0") != 0, 0);
	else if (strcmp(part, "trusted") == 0 || strcmp(part, "untrusted") == 0)
		rc = (d->untrusted = *part == 'u', 0);
	else
		return 0;
	return rc ? rc : 1;
}

/* "word=": a misspelt key, and not the name of a file */
static bool looks_like_key(const char *part)
{
	size_t n = strspn(part, "abcdefghijklmnopqrstuvwxyz-_");

	return n && part[n] == '=';
}

static int take_positional(struct diskspec *d, const char *part, int *place, struct pvb_error *err)
{
	static const char *const old[] = { "phy:", "file:", "aio:", "tap:", "tap2:", NULL };
	const char *t = part;

	switch ((*place)++) {
	case 0:
		if (!*part)
			return 0;
		for (int i = 0; old[i]; i++)
			if (strncmp(t, old[i], strlen(old[i])) == 0) {
				t += strlen(old[i]);
				i = -1; /* they stack: tap:aio:FILE */
			}
		return set(&d->target, t, "target", err);
	case 1: return *part ? set_format(d, part, err) : 0;
	case 2: return *part ? set_vdev(d, part, err) : 0;
	case 3: return *part ? set_access(d, part, err) : 0;
	default:
		return pvb_err(err, -EINVAL, "disk: \"%s\": unknown part", part);
	}
}

static int parse_one(struct diskspec *d, const char *spec, int *place, struct pvb_error *err)
{
	char *copy, *next, *part;
	int rc = 0;

	for (const char *c = spec; *c; c++) /* it goes on into store nodes and scripts */
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			return pvb_err(err, -EINVAL, "disk: control character 0x%02x in \"%s\"", (unsigned char)*c,
				       spec);
	copy = next = strdup(spec);
	if (!copy)
		return pvb_err(err, -ENOMEM, "disk: out of memory");
	while (next && !rc) {
		next += strspn(next, " \t");
		if (strncmp(next, "target=", 7) == 0) { /* takes the rest, commas and all */
			rc = set(&d->target, next + 7, "target", err);
			break;
		}
		part = strsep(&next, ",");
		rc = take_word(d, part, err);
		if (rc == 0 && looks_like_key(part))
			rc = pvb_err(err, -EINVAL, "disk: \"%s\": unknown key", part);
		else if (rc == 0)
			rc = take_positional(d, part, place, err);
		else if (rc == 1)
			rc = 0;
	}
	free(copy);
	return rc;
}

int diskspec_parse(struct diskspec *out, const char *const *specs, int nr, struct pvb_error *err)
{
	struct diskspec d = { .discard = -1 };
	int place = 0, rc = 0;

	for (int i = 0; i < nr && !rc; i++)
		rc = parse_one(&d, specs[i], &place, err);
	if (!rc && !*d.vdev)
		rc = pvb_err(err, -EINVAL, "disk: no device name (vdev=xvda)");
	if (!rc && !d.target && !d.cdrom)
		rc = pvb_err(err, -EINVAL, "disk %s: no target", d.vdev);
	if (!rc && !d.target)
		rc = set(&d.target, "", "target", err);
	if (!rc && *d.target && d.target[strlen(d.target) - 1] == ',')
		rc = pvb_err(err, -EINVAL, "disk %s: target \"%s\" ends with a comma, which libxl would drop", d.vdev,
			     d.target);
	if (!rc && !d.format)
		rc = set(&d.format, "raw", "format", err);
	if (d.cdrom)
		d.readonly = d.removable = true;
	if (rc)
		diskspec_free(&d);
	else
		*out = d;
	return rc;
}

void diskspec_free(struct diskspec *d)
{
	free(d->target);
	free(d->format);
	free(d->backend);
	free(d->backendtype);
	free(d->script);
	memset(d, 0, sizeof(*d));
}

bool diskspec_is_pvbus(const char *const *specs, int nr)
{
	for (int i = 0; i < nr; i++) {
		const char *p = specs[i];

		while (p) {
			p += strspn(p, " \t");
			if (strncmp(p, "target=", 7) == 0)
				break;
			if (strncmp(p, "backendtype=pvbus", 17) == 0 && (p[17] == ',' || !p[17]))
				return true;
			p = strchr(p, ',');
			if (p)
				p++;
		}
	}
	return false;
}

char *diskspec_text(const struct diskspec *d, const char *before)
{
	static const char *const discard[] = { "", ",no-discard", ",discard" };
	char *text;

	if (asprintf(&text, "%svdev=%s,access=%s%s%s%s%s%s%s%s,target=%s", before, d->vdev, d->readonly ? "ro" : "rw",
		     d->cdrom ? ",cdrom" : "", d->removable && !d->cdrom ? ",removable" : "",
		     d->direct_io_safe ? ",direct-io-safe" : "", discard[d->discard + 1],
		     d->untrusted ? ",untrusted" : "", d->backend ? ",backend=" : "", d->backend ? d->backend : "",
		     d->target) < 0)
		return NULL;
	return text;
}

char *diskspec_for_xl(const struct diskspec *d)
{
	char *before, *text = NULL;

	if (asprintf(&before, "backendtype=phy,script=%s,format=raw,", d->script ? d->script : "block-pvbus") < 0)
		return NULL;
	text = diskspec_text(d, before);
	free(before);
	return text;
}
