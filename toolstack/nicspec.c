// SPDX-License-Identifier: GPL-2.0-or-later
/* NIC specifications: text to struct. */
#include "config.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include "nicspec.h"
#include "store.h"

#define INTERVAL_US 50000u /* as libxl's */

int nicspec_mac(const char *text, uint8_t mac[6], struct pvb_error *err)
{
	unsigned b[6];
	int end = 0;

	if (strlen(text) != 17 ||
	    sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5], &end) != 6 || end != 17)
		return pvb_err(err, -EINVAL, "mac=%s is not a MAC address", text);
	if (b[0] & 1)
		return pvb_err(err, -EINVAL, "mac=%s is the address of a group", text);
	for (unsigned i = 0; i < 6; i++)
		mac[i] = (uint8_t)b[i];
	return 0;
}

void nicspec_mac_text(const uint8_t mac[6], char buf[18])
{
	snprintf(buf, 18, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
}

static int interval(const char *text, uint64_t *usecs)
{
	char number[16];
	size_t n = strspn(text, "0123456789");
	uint64_t v, scale = strcmp(text + n, "us") == 0 ? 1 : strcmp(text + n, "ms") == 0 ? 1000 :
			    strcmp(text + n, "s") == 0 ? 1000000 : 0;

	snprintf(number, sizeof(number), "%.*s", (int)n, text);
	if (!scale || n > 9 || pvb_parse_u64(number, 1, 3600000000u, &v) || v * scale > 3600000000u)
		return -EINVAL;
	*usecs = v * scale;
	return 0;
}

int nicspec_rate(const char *text, uint64_t *bytes, uint64_t *usecs, struct pvb_error *err)
{
	const char *at = strchr(text, '@');
	char what[32], number[16];
	uint64_t v, scale = 1, us = INTERVAL_US;
	size_t n;

	snprintf(what, sizeof(what), "%.*s", at ? (int)(at - text) : (int)strlen(text), text);
	n = strspn(what, "0123456789");
	snprintf(number, sizeof(number), "%.*s", (int)n, what);
	if (n && n < 12 && strchr("KMG", what[n]) && what[n])
		scale = what[n] == 'K' ? 1000 : what[n] == 'M' ? 1000000 : 1000000000;
	if (n == 0 || n >= 12 || pvb_parse_u64(number, 1, 999999999999u, &v) ||
	    (strcmp(what + n + (scale > 1), "b/s") && strcmp(what + n + (scale > 1), "B/s")) || (at && interval(at + 1, &us)))
		return pvb_err(err, -EINVAL, "rate=%.60s is not a rate such as 10Mb/s or 10MB/s@20ms", text);
	if (v > UINT64_MAX / scale / us)
		return pvb_err(err, -ERANGE, "rate=%.60s is too much", text);
	v = v * scale * us / 1000000;
	*bytes = what[n + (scale > 1)] == 'b' ? v / 8 : v;
	*usecs = us;
	return *bytes ? 0 : pvb_err(err, -ERANGE, "rate=%.60s is less than a byte in an interval", text);
}

static int set(char **to, const char *v, const char *what, struct pvb_error *err)
{
	if (*to)
		return pvb_err(err, -EINVAL, "%s is given twice (\"%s\", \"%s\")", what, *to, v);
	*to = strdup(v);
	return *to ? 0 : pvb_err(err, -ENOMEM, "out of memory");
}

static int set_number(const char *key, const char *v, uint64_t min, uint64_t max, uint64_t *to, struct pvb_error *err)
{
	return pvb_parse_u64(v, min, max, to) ? pvb_err(err, -EINVAL, "%s=%s is not a number from %llu to %llu", key, v,
							(unsigned long long)min, (unsigned long long)max) : 0;
}

struct words { char *bridge, *script; bool mac; };

static int take(struct nicspec *n, struct words *w, const char *key, const char *v, struct pvb_error *err)
{
	uint64_t number;
	int rc = 0;

	if (!v && (strcmp(key, "trusted") == 0 || strcmp(key, "untrusted") == 0)) {
		n->untrusted = *key == 'u';
	} else if (!v) {
		rc = pvb_err(err, -EINVAL, "unknown part \"%s\"", key);
	} else if (strcmp(key, "mac") == 0) {
		w->mac = true;
		rc = nicspec_mac(v, n->mac, err);
	} else if (strcmp(key, "port") == 0) {
		rc = set(&n->port, v, key, err);
	} else if (strcmp(key, "ip") == 0) {
		rc = set(&n->ip, v, key, err);
	} else if (strcmp(key, "bridge") == 0) {
		rc = set(&w->bridge, v, key, err);
	} else if (strcmp(key, "script") == 0) {
		rc = set(&w->script, v, key, err);
	} else if (strcmp(key, "rate") == 0) {
		rc = nicspec_rate(v, &n->rate_bytes, &n->rate_usecs, err);
	} else if (strcmp(key, "mtu") == 0) {
		rc = set_number(key, v, 68, 65535, &number, err);
		n->mtu = rc ? 0 : (uint32_t)number;
	} else if (strcmp(key, "devid") == 0) {
		rc = set_number(key, v, 0, 65535, &number, err);
		n->devid = rc ? -1 : (int)number;
	} else if (strcmp(key, "type") == 0 && strcmp(v, "vif") == 0) {
		rc = 0;
	} else {
		rc = pvb_err(err, -EINVAL, "\"%s\" is nothing the local host can do", key);
	}
	return rc;
}

static int take_spec(struct nicspec *n, struct words *w, const char *spec, struct pvb_error *err)
{
	char *copy = strdup(spec), *next = copy, *part;
	int rc = copy ? 0 : pvb_err(err, -ENOMEM, "out of memory");

	while (!rc && (part = strsep(&next, ","))) {
		char *value;

		part += strspn(part, " \t");
		if (!*part)
			continue;
		value = strchr(part, '=');
		if (value)
			*value++ = '\0';
		rc = take(n, w, part, value, err);
	}
	free(copy);
	return rc ? pvb_err_prefix(err, rc, "vif \"%s\"", spec) : 0;
}

/* xl's way of naming a port: bridge=PORT,script=vif-pvbus. */
static int resolve(struct nicspec *n, struct words *w, struct pvb_error *err)
{
	const char *base = w->script ? strrchr(w->script, '/') : NULL;

	base = base ? base + 1 : w->script;
	if (base && strcmp(base, NICSPEC_SCRIPT) != 0)
		return pvb_err(err, -EINVAL, "vif: script=%s: --host local runs no hotplug scripts", w->script);
	if (w->bridge && !base)
		return pvb_err(err, -EINVAL, "vif: bridge=%s: --host local has no bridges; port=PORT says where frames go",
			       w->bridge);
	if (w->bridge && n->port)
		return pvb_err(err, -EINVAL, "vif: both port=%s and bridge=%s", n->port, w->bridge);
	if (w->bridge) {
		n->port = w->bridge;
		w->bridge = NULL;
	}
	if (!w->mac) {
		memcpy(n->mac, "\x00\x16\x3e", 3);
		if (getrandom(n->mac + 3, 3, 0) != 3)
			return pvb_err(err, -EIO, "no random numbers for a MAC address");
		n->mac[3] &= 0x7f;
	}
	return 0;
}

int nicspec_parse(struct nicspec *out, const char *const *specs, int nr, struct pvb_error *err)
{
	struct nicspec n = { .devid = -1, .mtu = 1500 };
	struct words w = { 0 };
	int rc = 0;

	for (int i = 0; i < nr && !rc; i++)
		rc = take_spec(&n, &w, specs[i], err);
	if (!rc)
		rc = resolve(&n, &w, err);
	free(w.bridge);
	free(w.script);
	if (rc)
		nicspec_free(&n);
	else
		*out = n;
	return rc;
}

void nicspec_free(struct nicspec *n)
{
	free(n->port);
	free(n->ip);
	n->port = n->ip = NULL;
}

char *nicspec_text(const struct nicspec *n)
{
	char mac[18], rate[80] = "", *text;

	nicspec_mac_text(n->mac, mac);
	/* rounded up, so that reading it gives the same bytes in an interval */
	if (n->rate_bytes)
		snprintf(rate, sizeof(rate), ",rate=%lluB/s@%lluus",
			 (unsigned long long)((n->rate_bytes * 1000000 + n->rate_usecs - 1) / n->rate_usecs),
			 (unsigned long long)n->rate_usecs);
	if (asprintf(&text, "mac=%s,mtu=%u,devid=%d%s%s%s%s%s%s", mac, n->mtu, n->devid, n->port ? ",port=" : "",
		     n->port ? n->port : "", n->ip ? ",ip=" : "", n->ip ? n->ip : "", rate,
		     n->untrusted ? ",untrusted" : "") < 0)
		return NULL;
	return text;
}
