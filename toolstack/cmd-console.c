// SPDX-License-Identifier: GPL-2.0-or-later
/* console and monitor: commands that stay with one domain. */
#include "config.h"
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include "attach.h"
#include "cmd.h"
#include "host.h"
#include "loop.h"
#include "output.h"
#include "statscli.h"

#define BACK_MS 15000 /* how long a back end may take to come back */

/* --- where pvbackd serves it ------------------------------------------------------------------------- */

static struct json_object *request(const char *cmd, unsigned domid, const char *serve)
{
	struct json_object *o = out_obj();

	out_str(o, "cmd", cmd);
	out_int(o, "domid", domid);
	if (serve)
		out_str(o, "serve", serve);
	return o;
}

/* The one console of an answer; NULL: there is none. */
static struct json_object *one_console(struct json_object *reply)
{
	struct json_object *list;

	if (!json_object_object_get_ex(reply, "consoles", &list) || !json_object_is_type(list, json_type_array))
		return NULL;
	return json_object_array_get_idx(list, 0);
}

static void print_places(struct json_object *console)
{
	struct json_object *list, *place, *open;

	if (!json_object_object_get_ex(console, "places", &list) || !json_object_is_type(list, json_type_array))
		return;
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		struct json_object *at = json_object_array_get_idx(list, i);
		char text[400];

		if (!json_object_object_get_ex(at, "place", &place))
			continue;
		out_cell(place, text, sizeof(text));
		printf("%-23s: %s%s\n", "place", text,
		       json_object_object_get_ex(at, "open", &open) && json_object_get_boolean(open) ? "" : " (not open)");
	}
}

/* Tell pvbackd, or only ask it; then say what it says. */
static int about_console(struct pvl *p, unsigned domid, const char *serve)
{
	struct json_object *reply, *console;
	int rc;

	if (pvl_ask(p, request(serve ? "console" : "consoles", domid, serve), &reply))
		return PVL_FAIL;
	console = one_console(reply);
	if (!console)
		rc = pvl_failf(p, "pvbackd does not serve the console of domain %u", domid);
	else if (p->json) {
		p->answered = true;
		rc = out_json(console) ? PVL_FAIL : PVL_OK;
	} else {
		if (!serve || p->verbose > 0)
			out_fields(console);
		if (p->verbose >= 0)
			print_places(console);
		rc = out_flush() ? PVL_FAIL : PVL_OK;
	}
	json_object_put(reply);
	return rc;
}

/* --- joining it -------------------------------------------------------------------------------------- */

struct joined {
	struct pvl *p;
	unsigned domid;
	const char *type;
	int num;
	char *name;
};

static int tty_of(struct joined *j, char **tty, struct pvb_error *err)
{
	if (!j->p->ops->console_tty)
		return pvb_err(err, -EOPNOTSUPP, "this host has no consoles");
	return j->p->ops->console_tty(j->p->host, j->domid, j->type, j->num, tty, err);
}

static void happened(void *arg, const char *path)
{
	++*(unsigned *)arg;
}

/* The terminal that pvbackd itself names: the store's may still be its predecessor's, and then somebody else's. */
static bool served_again(struct joined *j)
{
	struct json_object *req = request("consoles", j->domid, NULL), *reply, *console, *tty, *phase;
	char buf[256];
	bool yes = false;

	if (statscli_call(pvl_ctl(j->p, buf, sizeof(buf)), req, &reply, NULL))
		return false;
	console = one_console(reply);
	if (console && json_object_object_get_ex(console, "tty", &tty) && tty &&
	    json_object_object_get_ex(console, "phase", &phase) && phase)
		yes = strcmp(json_object_get_string(phase), "serving") == 0;
	json_object_put(reply);
	return yes;
}

/* The domain of that name, which may be another one by now. */
static bool find_again(struct joined *j)
{
	struct dom_info *list;
	unsigned nr, i;
	bool found = false;

	if (j->p->ops->list(j->p->host, &list, &nr, NULL))
		return false;
	for (i = 0; i < nr && !found; i++) {
		found = strcmp(list[i].name, j->name) == 0 && !list[i].dying && !list[i].shutdown;
		if (found)
			j->domid = list[i].domid;
	}
	dom_list_free(list, nr);
	return found;
}

/* Wait until there is something to join again: news are domains that come and go, and the terminal's name in the store,
 * written again, as who serves it begins; pvbackd is asked besides.  forever: also for another domain of that name. */
static bool wait_again(struct joined *j, bool forever)
{
	struct pvb_store *st = j->p->ops->store(j->p->host);
	struct pvb_watch *domains = NULL, *tty = NULL;
	uint64_t until = forever ? UINT64_MAX : pvb_now_ms() + BACK_MS;
	unsigned nr_domains = 0, nr_tty = 0, domid = j->domid;
	bool again = false;
	char path[64];

	snprintf(path, sizeof(path), "/local/domain/%u/console/tty", domid);
	if (!st || pvb_store_watch(st, "@introduceDomain", happened, &nr_domains, &domains) ||
	    pvb_store_watch(st, path, happened, &nr_tty, &tty))
		until = 0;
	while (!again && pvb_now_ms() < until) {
		bool alive = find_again(j);

		if (alive && j->domid == domid)
			again = nr_tty > 1 || served_again(j); /* a watch tells once when it is set */
		else if (alive && forever)
			again = true;
		else if (!forever)
			break;
		if (!again)
			pvb_store_dispatch(st, 500);
	}
	pvb_store_unwatch(&domains);
	pvb_store_unwatch(&tty);
	return again;
}

static bool has_value(const char *value, void *arg)
{
	return value && *value;
}

static int join(struct joined *j, bool reconnect, struct pvb_error *err)
{
	for (bool first = true;; first = false) {
		struct pvb_store *st = j->p->ops->store(j->p->host);
		char *tty = NULL, path[64];
		int rc;

		snprintf(path, sizeof(path), "/local/domain/%u/console/tty", j->domid);
		if (!j->type && !first && st)
			pvb_store_wait(st, path, has_value, NULL, BACK_MS);
		rc = tty_of(j, &tty, err);
		if (rc == 0)
			rc = attach_tty(tty, err);
		free(tty);
		if (rc < 0 && (first || !reconnect))
			return rc;
		if (rc == ATTACH_LEFT)
			return 0;
		pvl_note(j->p, "the console is gone%s", reconnect ? "; waiting for it" : "");
		if (!wait_again(j, reconnect))
			return 0;
	}
}

static char *name_of(struct pvl *p, unsigned domid)
{
	struct dom_info *list;
	char *name = NULL;
	unsigned nr;

	if (p->ops->list(p->host, &list, &nr, NULL))
		return NULL;
	for (unsigned i = 0; i < nr; i++)
		if (list[i].domid == domid)
			name = strdup(list[i].name);
	dom_list_free(list, nr);
	return name;
}

int cmd_console(struct pvl *p)
{
	const char *num = pvl_opt_arg(p, "num"), *serve = pvl_opt_arg(p, "serve");
	struct joined j = { .p = p, .type = pvl_opt_arg(p, "type"), .num = -1 };
	struct pvb_error err = { 0 };
	uint64_t n = 0;
	int rc;

	if (num && pvb_parse_u64(num, 0, 255, &n))
		return pvl_usage(p, "--num \"%s\" is not a console number", num);
	if (num)
		j.num = (int)n;
	if (serve && pvl_opt(p, "show"))
		return pvl_usage(p, "--serve shows what --show does; give one of them");
	if (pvl_domain(p, p->argv[0], true, &j.domid))
		return PVL_FAIL;
	if (p->dry_run && !pvl_opt(p, "show")) {
		pvl_note(p, serve ? "would have the console of domain %u served at: %s" : "would connect to the console of domain %u",
			 j.domid, serve);
		return pvl_done(p, NULL);
	}
	if (serve || pvl_opt(p, "show"))
		return about_console(p, j.domid, serve);
	j.name = name_of(p, j.domid);
	rc = j.name ? join(&j, pvl_opt(p, "reconnect"), &err) : pvb_err(&err, -ESRCH, "domain %u is gone", j.domid);
	free(j.name);
	return rc ? pvl_fail(p, &err) : pvl_done(p, NULL);
}

int cmd_monitor(struct pvl *p)
{
	struct pvb_error err = { .text = "this host needs no monitor" };
	const char *fd = pvl_opt_arg(p, "ready-fd");
	uint64_t n = 0;
	unsigned domid;

	if (fd && pvb_parse_u64(fd, 0, INT_MAX, &n))
		return pvl_usage(p, "--ready-fd \"%s\" is not a descriptor", fd);
	if (pvl_domain(p, p->argv[0], false, &domid))
		return PVL_FAIL;
	prctl(PR_SET_NAME, "pvl-monitor"); /* started as /proc/self/exe it would show as "exe" */
	if (p->dry_run)
		pvl_note(p, "would watch domain %u", domid);
	else if (!p->ops->monitor || p->ops->monitor(p->host, domid, fd ? (int)n : -1, &err))
		return pvl_fail(p, &err);
	return pvl_done(p, NULL);
}
