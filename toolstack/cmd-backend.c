// SPDX-License-Identifier: GPL-2.0-or-later
/* backend: what an operator does with pvbackd itself; and how any command asks it. */
#include "config.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "cmd.h"
#include "host.h"
#include "loop.h"
#include "offer.h"
#include "output.h"
#include "statscli.h"

#define UPGRADE_MS 30000 /* pvbackd waits 10 s for what is in flight */

const char *pvl_ctl(struct pvl *p, char *buf, size_t len)
{
	const char *path = pvl_opt_arg(p, "socket");

	if (!path)
		path = getenv("PVBACKD_SOCKET");
	if (path)
		return path;
	if (!pvl_host(p))
		return NULL;
	p->ops->ctl_path(p->host, buf, len);
	return buf;
}

int pvl_ask(struct pvl *p, struct json_object *request, struct json_object **reply)
{
	struct pvb_error err = { 0 };
	char buf[256];
	const char *path = pvl_ctl(p, buf, sizeof(buf));

	if (!path) {
		json_object_put(request);
		return PVL_FAIL;
	}
	return statscli_call(path, request, reply, &err) ? pvl_fail(p, &err) : PVL_OK;
}

int pvl_device(struct pvl *p, const char *domain, const char *device, struct json_object *request)
{
	struct pvb_error err = { 0 };
	unsigned domid;
	uint32_t devid;
	uint64_t id;

	if (pvb_parse_u64(domain, 0, UINT32_MAX - 1, &id) == 0)
		domid = (unsigned)id;
	else if (pvl_domain(p, domain, true, &domid))
		return PVL_FAIL;
	out_int(request, "domid", domid);
	if (!device)
		return PVL_OK;
	if (strncmp(device, "vif", 3) == 0) {
		if (pvb_parse_u64(device + 3, 0, UINT32_MAX, &id))
			return pvl_failf(p, "\"%s\" is neither a disk nor vifNUMBER", device);
		out_str(request, "class", "vif");
		out_int(request, "devid", (int64_t)id);
		return PVL_OK;
	}
	if (pvb_vdev_parse(device, &devid, &err))
		return pvl_fail(p, &err);
	out_str(request, "class", "vbd");
	out_int(request, "devid", devid);
	return PVL_OK;
}

static const char *text(struct json_object *obj, const char *key)
{
	struct json_object *v;

	return json_object_object_get_ex(obj, key, &v) && v ? json_object_get_string(v) : "";
}

static struct json_object *simple(const char *cmd)
{
	struct json_object *req = out_obj();

	out_str(req, "cmd", cmd);
	return req;
}

/* --- about it ---------------------------------------------------------------------------------------- */

/* The reply's object or list of that name. */
static struct json_object *part(struct pvl *p, struct json_object *reply, const char *key, enum json_type type)
{
	struct json_object *v;

	if (json_object_object_get_ex(reply, key, &v) && json_object_is_type(v, type))
		return v;
	pvl_failf(p, "pvbackd's answer has no %s", key);
	return NULL;
}

static int info(struct pvl *p)
{
	struct json_object *reply, *about;
	int rc = PVL_FAIL;

	if (pvl_ask(p, simple("info"), &reply))
		return PVL_FAIL;
	about = part(p, reply, "info", json_type_object);
	if (about && p->json)
		rc = out_json(reply) ? PVL_FAIL : PVL_OK;
	else if (about) {
		json_object_object_foreach(about, key, v)
			printf("%-10s: %s\n", key, v ? json_object_get_string(v) : "");
		rc = out_flush() ? PVL_FAIL : PVL_OK;
	}
	json_object_put(reply);
	return rc;
}

/* --- devices ----------------------------------------------------------------------------------------- */

static int about_device(struct pvl *p)
{
	struct json_object *req = simple(p->argv[0]), *reply;

	if (pvl_device(p, p->argv[1], p->argv[2], req)) {
		json_object_put(req);
		return PVL_FAIL;
	}
	if (p->argc > 3) {
		json_object_object_del(req, "class"); /* of errors, here */
		out_str(req, "class", p->argv[3]);
		out_str(req, "policy", p->argv[4]);
	}
	if (p->dry_run) {
		json_object_put(req);
		return pvl_done(p, NULL);
	}
	if (pvl_ask(p, req, &reply))
		return PVL_FAIL;
	json_object_put(reply);
	return pvl_done(p, NULL);
}

/* --- upgrade ----------------------------------------------------------------------------------------- */

/* How many devices have rings, and what is wrong with the first that says so. */
static int count_connected(struct pvl *p, unsigned *connected, char *wrong, size_t len)
{
	struct json_object *reply, *list;

	*connected = 0;
	*wrong = 0;
	if (pvl_ask(p, simple("devices"), &reply))
		return PVL_FAIL;
	list = part(p, reply, "devices", json_type_array);
	for (size_t i = 0; list && i < json_object_array_length(list); i++) {
		struct json_object *d = json_object_array_get_idx(list, i);

		*connected += strcmp(text(d, "phase"), "connected") == 0;
		if (!*wrong && *text(d, "error"))
			snprintf(wrong, len, "%s %s/%s: %s", text(d, "class"), text(d, "domid"), text(d, "devid"), text(d, "error"));
	}
	json_object_put(reply);
	return list ? PVL_OK : PVL_FAIL;
}

/* Would the program go on with what lies in the journal's directory?  Its own words if not. */
static int try_program(struct pvl *p, const char *program, const char *journal)
{
	char words[512] = "";
	size_t have = 0;
	int fds[2], status;
	ssize_t n;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return pvl_failf(p, "%s: %s", program, strerror(errno));
	pid = fork();
	if (pid == 0) {
		dup2(fds[1], 2);
		execl(program, program, "--check-journal", journal, (char *)NULL);
		dprintf(2, "%s\n", strerror(errno));
		_exit(127);
	}
	close(fds[1]);
	while (pid > 0 && have < sizeof(words) - 1 && (n = read(fds[0], words + have, sizeof(words) - 1 - have)) > 0)
		have += (size_t)n;
	close(fds[0]);
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return pvl_failf(p, "%s: %s", program, strerror(errno));
	words[strcspn(words, "\n")] = 0;
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		return pvl_failf(p, "%s can not take over: %s", program, *words ? words : "it does not say why");
	return PVL_OK;
}

/* What we ask may not be there for a moment: nothing is reported. */
static bool is_another(const char *path, const char *started, char *version, size_t len)
{
	struct json_object *reply, *about;
	struct pvb_error err;
	bool yes = false;

	if (statscli_call(path, simple("info"), &reply, &err))
		return false;
	if (json_object_object_get_ex(reply, "info", &about) && strcmp(text(about, "started_ns"), started) != 0) {
		snprintf(version, len, "%s", text(about, "version"));
		yes = true;
	}
	json_object_put(reply);
	return yes;
}

static int wait_for_it(struct pvl *p, const char *started, unsigned before)
{
	uint64_t begin = pvb_now_ms(), limit = begin + (uint64_t)pvl_timeout(p, UPGRADE_MS);
	char buf[256], version[64] = "", wrong[300];
	const char *path = pvl_ctl(p, buf, sizeof(buf));
	struct json_object *said;
	unsigned now = 0;

	while (!is_another(path, started, version, sizeof(version))) {
		if (pvb_now_ms() >= limit)
			return pvl_failf(p, "no other pvbackd answers at %s after %" PRIu64 " ms", path, pvb_now_ms() - begin);
		poll(NULL, 0, 5);
	}
	do {
		if (count_connected(p, &now, wrong, sizeof(wrong)))
			return PVL_FAIL;
		if (now >= before)
			break;
		poll(NULL, 0, 5);
	} while (pvb_now_ms() < limit);
	if (now < before)
		return pvl_failf(p, "%u devices were connected, %u are after %" PRIu64 " ms%s%s", before, now, pvb_now_ms() - begin,
				 *wrong ? "; " : "", wrong);
	pvl_note(p, "pvbackd %s has taken over %u devices after %" PRIu64 " ms", version, now, pvb_now_ms() - begin);
	said = out_obj();
	out_str(said, "version", version);
	out_int(said, "devices", now);
	return pvl_done(p, said);
}

static int upgrade(struct pvl *p)
{
	struct json_object *reply, *about, *req, *done;
	char wrong[300], *program, *started;
	unsigned before;
	int rc;

	if (pvl_ask(p, simple("info"), &reply))
		return PVL_FAIL;
	about = part(p, reply, "info", json_type_object);
	rc = about ? PVL_OK : PVL_FAIL;
	program = realpath(p->argc > 1 ? p->argv[1] : text(about, "program"), NULL);
	if (!rc && !program)
		rc = pvl_failf(p, "%s: %s", p->argc > 1 ? p->argv[1] : text(about, "program"), strerror(errno));
	if (!rc && *text(about, "journal"))
		rc = try_program(p, program, text(about, "journal"));
	if (!rc)
		rc = count_connected(p, &before, wrong, sizeof(wrong));
	started = strdup(text(about, "started_ns"));
	json_object_put(reply);
	if (!rc && p->dry_run) {
		rc = pvl_done(p, NULL);
	} else if (!rc) {
		req = simple("upgrade");
		out_str(req, "path", program);
		out_bool(req, "force", p->force);
		rc = pvl_ask(p, req, &done);
		if (!rc) {
			json_object_put(done);
			rc = wait_for_it(p, started, before);
		}
	}
	free(program);
	free(started);
	return rc;
}

int cmd_backend(struct pvl *p)
{
	static const struct {
		const char *name;
		int min, max;
		int (*fn)(struct pvl *p);
	} words[] = {
		{ "info", 1, 1, info },		   { "upgrade", 1, 2, upgrade },     { "resume", 3, 3, about_device },
		{ "refresh", 3, 3, about_device }, { "policy", 5, 5, about_device },
	};

	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(p->argv[0], words[i].name) == 0)
			return p->argc < words[i].min || p->argc > words[i].max ?
				       pvl_usage(p, "%s with %d arguments", words[i].name, p->argc - 1) :
				       words[i].fn(p);
	return pvl_usage(p, "\"%s\" is not info, upgrade, resume, refresh or policy", p->argv[0]);
}
