// SPDX-License-Identifier: GPL-2.0-or-later
/* What a guest's kernel does in the store, and tells the hypervisor, beside its devices. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "pvguest.h"

#define PULSE_MS 5000

/* libxenstore tells nobody when its connection ends, as it does when the domain is destroyed. */
static void pulse(void *arg)
{
	struct program *p = arg;
	char *value = NULL;
	int rc = pvb_store_read(p->st, PVB_NO_TXN, p->home, &value);

	free(value);
	p->deaf = rc == 0 || rc == -ENOENT || rc == -EACCES ? 0 : p->deaf + 1;
	if (p->deaf >= 2) {
		fprintf(stderr, "pvguest: the store does not answer any more (%s): the domain has ended\n",
			strerror(-rc));
		p->status = 1;
		p->stop = true;
		return;
	}
	pvb_loop_timer(p->loop, PULSE_MS, pulse, p, &p->pulse);
}

static int take_request(struct pvb_store *st, pvb_txn t, void *arg)
{
	char *path = arg, *value;
	int rc = pvb_store_read(st, t, path, &value);

	free(value);
	return rc < 0 ? rc : pvb_store_write(st, t, path, "");
}

static void on_shutdown(void *arg, const char *unused)
{
	static const struct { const char *word; enum pvb_local_reason reason; } words[] = {
		{ "poweroff", PVB_LOCAL_POWEROFF }, { "halt", PVB_LOCAL_POWEROFF }, { "reboot", PVB_LOCAL_REBOOT },
	};
	struct program *p = arg;
	char path[96], *value;

	snprintf(path, sizeof(path), "%s/control/shutdown", p->home);
	if (pvb_store_read(p->st, PVB_NO_TXN, path, &value) < 0)
		return;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcmp(value, words[i].word) != 0)
			continue;
		pvb_store_txn(p->st, take_request, path); /* writing "" acknowledges */
		fprintf(stderr, "pvguest: %s was asked for\n", words[i].word);
		p->reason = words[i].reason;
		p->o.shutdown = true;
		p->stop = true;
	}
	free(value);
}

void announce(struct program *p)
{
	static const char *const features[] = { "feature-poweroff", "feature-reboot" };
	char path[96];

	for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++) {
		snprintf(path, sizeof(path), "%s/control/%s", p->home, features[i]);
		pvb_store_write(p->st, PVB_NO_TXN, path,
				"1"); /* a toolstack that keeps us out of control/ need not care */
	}
	snprintf(path, sizeof(path), "%s/control/shutdown", p->home);
	pvb_store_watch(p->st, path, on_shutdown, p, &p->watch_shutdown);
	pvb_loop_timer(p->loop, PULSE_MS, pulse, p, &p->pulse);
}

/* What a kernel tells the hypervisor when it is done; only the local fabric's domains end with a process. */
void report_shutdown(const struct program *p)
{
	const char *spec = pvb_hv_spec(p->hv), *dir = spec + 6, *colon = strrchr(spec, ':');
	struct pvb_error err;
	char *copy;

	if (!p->o.shutdown || strncmp(spec, "local:", 6) != 0 || colon < dir || pvf_guest_domid(p->guest) == 0)
		return;
	copy = strndup(dir, (size_t)(colon - dir));
	if (copy != NULL &&
	    pvb_local_domain_shutdown(copy, pvf_guest_domid(p->guest), pvf_guest_domid(p->guest), p->reason, &err) < 0)
		complain(&err);
	free(copy);
}
