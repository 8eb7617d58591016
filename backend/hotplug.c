/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pvbus-hotplug: what Xen's hotplug script block-pvbus does.
 *
 * libxl runs the script once the back end has said "InitWait" and wants one answer: hotplug-status in the back
 * end's directory, with hotplug-error in words when it is bad news.  Whether a target can be opened is pvbackd's
 * knowledge, so this asks pvbackd over its control socket and writes the answer down.  It never opens an image.
 *
 * Trust    Caller and back end directory are the toolstack's; pvbackd answers with text, which is cut and
 *          stripped of control characters before it goes to the store.
 */
#include <errno.h>
#include <getopt.h>
#include <json-c/json.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include "config.h"
#include "bus/hv.h"
#include "bus/nodes.h"
#include "bus/offer.h"

#define ANSWER_MS 10000     /* libxl gives the script 40 s; a daemon that is busy for 10 is not well */
#define ANSWER_MAX 4096

static const char help[] =
	"Usage: pvbus-hotplug [--ctl PATH] add|remove\n"
	"Tell the toolstack whether pvbackd can open the disk, or the port of the NIC, of which $XENBUS_PATH is the\n"
	"back end directory.  Run by the hotplug scripts block-pvbus and vif-pvbus; see pvbackd(8).\n"
	"\n"
	"      --ctl PATH   pvbackd's control socket (default: /run/pvbackd/ctl; local: DIR/pvbackd.sock)\n"
	"  -h, --help       this text\n"
	"  -V, --version    version\n";

/* ---- the question -------------------------------------------------------------------------------------- */

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int dial(const char *path, int *out, struct pvb_error *err)
{
	struct timeval limit = { .tv_sec = ANSWER_MS / 1000 }; /* connect waits while the backlog is full */
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd, rc;

	if (strlen(path) >= sizeof(sa.sun_path))
		return pvb_err(err, -ENAMETOOLONG, "%.80s...: a socket's path has at most %zu bytes", path,
			       sizeof(sa.sun_path) - 1);
	strcpy(sa.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return pvb_err(err, -errno, "socket: %s", strerror(errno));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
		rc = -errno;
		close(fd);
		return pvb_err(err, rc, "pvbackd is not running: %s: %s", path, strerror(-rc));
	}
	*out = fd;
	return 0;
}

/* One line, or why not. */
static int read_line(int fd, char *buf, size_t len, struct pvb_error *err)
{
	int64_t end = now_ms() + ANSWER_MS, left;
	struct pollfd p = { .fd = fd, .events = POLLIN };
	size_t fill = 0;
	ssize_t n;

	while ((left = end - now_ms()) > 0) {
		if (poll(&p, 1, (int)left) <= 0)
			continue;
		n = read(fd, buf + fill, len - 1 - fill);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return pvb_err(err, -EPIPE, "pvbackd hung up before it answered");
		fill += (size_t)n;
		buf[fill] = 0;
		if (memchr(buf + fill - n, '\n', (size_t)n))
			return 0;
		if (fill == len - 1)
			return pvb_err(err, -EMSGSIZE, "pvbackd's answer is longer than %zu bytes", len - 1);
	}
	return pvb_err(err, -ETIMEDOUT, "pvbackd did not answer within %d s", ANSWER_MS / 1000);
}

static int read_answer(const char *line, struct pvb_error *err)
{
	struct json_object *o = json_tokener_parse(line), *v;
	int rc = 0;

	if (!json_object_is_type(o, json_type_object) || !json_object_object_get_ex(o, "ok", &v))
		rc = pvb_err(err, -EPROTO, "pvbackd's answer makes no sense: %.100s", line);
	else if (!json_object_get_boolean(v))
		rc = json_object_object_get_ex(o, "error", &v) ? pvb_err(err, -EIO, "%s", json_object_get_string(v)) :
		     pvb_err(err, -EIO, "pvbackd refuses and does not say why");
	json_object_put(o);
	return rc;
}

static int ask(const char *ctl, const char *back, struct pvb_error *err)
{
	struct json_object *o = json_object_new_object();
	char line[ANSWER_MAX];
	int fd = -1, n, rc;

	json_object_object_add(o, "cmd", json_object_new_string("check"));
	json_object_object_add(o, "path", json_object_new_string(back));
	n = snprintf(line, sizeof(line), "%s\n", json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN));
	json_object_put(o);
	rc = dial(ctl, &fd, err);
	if (rc < 0)
		return rc;
	if (send(fd, line, (size_t)n, MSG_NOSIGNAL) != n)
		rc = pvb_err(err, -EIO, "pvbackd takes no questions: %s", strerror(errno));
	else
		rc = read_line(fd, line, sizeof(line), err);
	close(fd);
	return rc < 0 ? rc : read_answer(line, err);
}

/* ---- where ---------------------------------------------------------------------------------------------- */

/* libxl says "backend/vbd/3/51712", relative to our domain; others say it in full. */
static int back_path(struct pvb_store *st, char *buf, size_t len, struct pvb_error *err)
{
	const char *path = getenv("XENBUS_PATH"), *base = getenv("XENBUS_BASE_PATH");
	struct pvb_device_id id;
	char home[64] = "", kind[16];
	uint32_t domid;
	int rc;

	if (!path || !*path)
		return pvb_err(err, -EINVAL, "XENBUS_PATH is not set: this is run by the toolstack");
	if (*path != '/') {
		rc = pvb_store_domid(st, &domid);
		if (rc < 0)
			return pvb_err(err, rc, "own domain id: %s", strerror(-rc));
		pvb_store_home(domid, home, sizeof(home));
	}
	if (*path == '/')
		rc = snprintf(buf, len, "%s", path);
	else if (base && *base && strncmp(path, base, strlen(base)) != 0)
		rc = snprintf(buf, len, "%s/%s/%s", *base == '/' ? "" : home, base + (*base == '/'), path);
	else
		rc = snprintf(buf, len, "%s/%s", home, path);
	if (rc >= (int)len || pvb_device_parse(buf, &id, kind) < 0)
		return pvb_err(err, -EINVAL, "XENBUS_PATH \"%.100s\" is not a back end's directory", path);
	return 0;
}

/* As pvbackd has it. */
static int ctl_path(const char *hv, char *buf, size_t len)
{
	const char *dir = hv && strncmp(hv, "local:", 6) == 0 ? hv + 6 : NULL;
	int n;

	if (dir)
		n = snprintf(buf, len, "%.*s/pvbackd.sock", (int)strcspn(dir, ":"), dir);
	else
		n = snprintf(buf, len, "/run/pvbackd/ctl");
	return n < (int)len ? 0 : -ENAMETOOLONG;
}

/* ---- the answer ----------------------------------------------------------------------------------------- */

struct verdict {
	const char *back;
	const char *status;    /* NULL: take both keys away */
	const char *error;     /* or NULL */
};

static int write_verdict(struct pvb_store *st, pvb_txn t, void *arg)
{
	const struct verdict *v = arg;
	char path[256];
	int rc;

	if (!pvb_store_exists(st, t, v->back))
		return -ENOENT; /* the device went meanwhile: do not bring a piece of it back */
	snprintf(path, sizeof(path), "%s/%s", v->back, pvb_vbd_back[VBD_B_HOTPLUG_ERROR].name);
	rc = v->error ? pvb_store_write(st, t, path, v->error) : pvb_store_rm(st, t, path);
	if (rc < 0)
		return rc;
	snprintf(path, sizeof(path), "%s/%s", v->back, pvb_vbd_back[VBD_B_HOTPLUG_STATUS].name);
	return v->status ? pvb_store_write(st, t, path, v->status) : pvb_store_rm(st, t, path);
}

static int add(struct pvb_store *st, const char *ctl, const char *back)
{
	struct verdict v = { .back = back, .status = "connected" };
	struct pvb_error err = { 0 };
	int rc = ask(ctl, back, &err), wrc;

	if (rc < 0) {
		fprintf(stderr, "pvbus-hotplug: %s: %s\n", back, err.text);
		v.status = "error";
		v.error = err.text;
	}
	wrc = pvb_store_txn(st, write_verdict, &v);
	if (wrc < 0)
		fprintf(stderr, "pvbus-hotplug: %s: hotplug-status: %s\n", back, strerror(-wrc));
	return rc < 0 || wrc < 0 ? 1 : 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "ctl", required_argument, NULL, 'c' }, { "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' }, { 0 },
	};
	const char *ctl = NULL, *hv = getenv("PVBUS_HV");
	char path[200], def[256];
	struct verdict none = { .back = path };
	struct pvb_store *st = NULL;
	struct pvb_error err;
	bool is_add;
	int c, rc;

	while ((c = getopt_long(argc, argv, "hV", options, NULL)) != -1) {
		if (c == 'c') {
			ctl = optarg;
		} else if (c == 'h') {
			fputs(help, stdout);
			return 0;
		} else if (c == 'V') {
			puts("pvbus-hotplug " PACKAGE_VERSION);
			return 0;
		} else {
			return 2;
		}
	}
	if (optind + 1 != argc || (strcmp(argv[optind], "add") != 0 && strcmp(argv[optind], "remove") != 0)) {
		fputs(help, stderr);
		return 2;
	}
	is_add = strcmp(argv[optind], "add") == 0;
	rc = pvb_store_open(&st, hv, &err);
	if (rc == 0)
		rc = back_path(st, path, sizeof(path), &err);
	if (rc == 0 && !ctl) {
		rc = ctl_path(hv, def, sizeof(def));
		ctl = def;
		if (rc < 0)
			pvb_err(&err, rc, "PVBUS_HV %.60s is too long", hv);
	}
	if (rc < 0)
		fprintf(stderr, "pvbus-hotplug: %s\n", err.text);
	else if (is_add)
		rc = add(st, ctl, path);
	else
		pvb_store_txn(st, write_verdict, &none); /* the toolstack takes the rest away itself */
	pvb_store_close(st);
	return is_add && rc ? 1 : 0;
}
