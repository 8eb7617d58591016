/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A switch port's options. */
#include "config.h"
#include <errno.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include "backend/net/ports.h"
#include "backend/net/switch.h"
#include "backend/target.h"

#define MAX_VLAN 4094u

static const char *const words_off_on[] = { "off", "on", NULL };

/* A VLAN's number; the text after it, or NULL. */
static const char *parse_vlan(const char *text, uint16_t *vlan)
{
	size_t digits = strspn(text, "0123456789");
	unsigned long n;

	if (!digits || digits > 4)
		return NULL;
	n = strtoul(text, NULL, 10);
	if (n < 1 || n > MAX_VLAN)
		return NULL;
	*vlan = (uint16_t)n;
	return text + digits;
}

static void add_vlan(struct member_conf *conf, unsigned vlan)
{
	conf->vlans[vlan / 64] |= 1ULL << vlan % 64;
}

static int parse_own(const struct target *t, const char *text, struct member_conf *conf, struct pvb_error *err)
{
	const char *rest = parse_vlan(text, &conf->vlan);

	if (rest && !strcmp(rest, ",trunk")) {
		conf->trunk = true;
		for (unsigned i = 1; i <= MAX_VLAN; i++)
			add_vlan(conf, i);
		return 0;
	}
	if (!rest || *rest)
		return pvb_err(err, -EINVAL, "target \"%s\": vlan=%s: N or N,trunk with N from 1 to %u", t->text, text,
			       MAX_VLAN);
	return 0;
}

static int parse_trunk(const struct target *t, const char *list, struct member_conf *conf, struct pvb_error *err)
{
	const char *text = list;
	uint16_t vlan;

	conf->trunk = true;
	for (;;) {
		text = parse_vlan(text, &vlan);
		if (!text || (*text && *text != ','))
			return pvb_err(err, -EINVAL, "target \"%s\": trunk=%s: N,N... with N from 1 to %u", t->text,
				       list, MAX_VLAN);
		add_vlan(conf, vlan);
		if (!*text++)
			return 0;
	}
}

static int parse_vlans(const struct target *t, struct member_conf *conf, struct pvb_error *err)
{
	const char *own = target_get(t, "vlan"), *trunk = target_get(t, "trunk");
	int rc = 0;

	/* a trunk that does not say whose its untagged frames are has none */
	conf->vlan = trunk ? SWITCH_NO_VLAN : SWITCH_VLAN;
	if (own)
		rc = parse_own(t, own, conf, err);
	if (!rc && trunk && conf->trunk)
		rc = pvb_err(err, -EINVAL, "target \"%s\": vlan=%s and trunk=%s", t->text, own, trunk);
	return rc || !trunk ? rc : parse_trunk(t, trunk, conf, err);
}

int switch_conf(const struct target *t, struct member_conf *conf, struct pvb_error *err)
{
	const char *uplink = target_get(t, "uplink");
	uint64_t storm, macs;
	int rc, mirror;

	memset(conf, 0, sizeof(*conf));
	if (!t->arg[0] || strlen(t->arg) >= sizeof(((struct vswitch *)0)->name))
		return pvb_err(err, -EINVAL, "target \"%s\": a switch has a name of 1 to %zu bytes", t->text,
			       sizeof(((struct vswitch *)0)->name) - 1);
	if (uplink && (!uplink[0] || strlen(uplink) >= sizeof(conf->uplink)))
		return pvb_err(err, -EINVAL, "target \"%s\": uplink=%s is no name of an interface", t->text, uplink);
	if (uplink)
		memcpy(conf->uplink, uplink, strlen(uplink));
	rc = parse_vlans(t, conf, err);
	if (!rc)
		rc = target_number(t, "storm", 0, 10000000, SWITCH_STORM, &storm, err);
	if (!rc)
		rc = target_number(t, "macs", 1, 4096, SWITCH_MACS, &macs, err);
	if (rc)
		return rc;
	mirror = target_choice(t, "mirror", words_off_on, 0, err);
	if (mirror < 0)
		return mirror;
	conf->storm = (uint32_t)storm;
	conf->macs = (uint32_t)macs;
	conf->mirror = mirror;
	return 0;
}
