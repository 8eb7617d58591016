// SPDX-License-Identifier: GPL-2.0-or-later
/* pvbackd's control socket from the client's side, and its counters as Prometheus text. */
#include "config.h"
#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "loop.h"
#include "statscli.h"

#define MAX_ANSWER (16u << 20)
#define ANSWER_MS  5000

static int dial(const char *path, struct pvb_error *err)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd;

	if (strlen(path) >= sizeof(sa.sun_path))
		return pvb_err(err, -ENAMETOOLONG, "%s: %zu characters, a socket's path has at most %zu", path,
			       strlen(path), sizeof(sa.sun_path) - 1);
	strcpy(sa.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0)
		return fd;
	if (fd >= 0) {
		int e = errno;

		close(fd);
		errno = e;
	}
	return pvb_err(err, -errno, "pvbackd at %s: %s%s", path, strerror(errno),
		       errno == ENOENT || errno == ECONNREFUSED ? " (is it running?)" : "");
}

static int send_all(int fd, const char *text, size_t len)
{
	while (len) {
		ssize_t n = send(fd, text, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -errno;
		text += n;
		len -= (size_t)n;
	}
	return 0;
}

/* One line, without its newline. */
static int receive_line(int fd, char **out)
{
	uint64_t end = pvb_now_ms() + ANSWER_MS;
	size_t room = 65536, len = 0;
	char *buf = malloc(room);

	while (buf) {
		struct pollfd pfd = { .fd = fd, .events = POLLIN };
		uint64_t now = pvb_now_ms();
		ssize_t n;

		if (now >= end || poll(&pfd, 1, (int)(end - now)) == 0) {
			free(buf);
			return -ETIMEDOUT;
		}
		n = recv(fd, buf + len, room - len - 1, MSG_DONTWAIT);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n <= 0) {
			free(buf);
			return n ? -errno : -EPROTO; /* it hung up in the middle */
		}
		len += (size_t)n;
		buf[len] = '\0';
		if (buf[len - 1] == '\n') {
			buf[len - 1] = '\0';
			*out = buf;
			return 0;
		}
		if (len + 1 == room) {
			char *more = room < MAX_ANSWER ? realloc(buf, room * 2) : NULL;

			if (!more) {
				free(buf);
				return room < MAX_ANSWER ? -ENOMEM : -EPROTO;
			}
			buf = more;
			room *= 2;
		}
	}
	return -ENOMEM;
}

static int understand(const char *path, const char *line, struct json_object **reply, struct pvb_error *err)
{
	struct json_object *obj = json_tokener_parse(line), *ok, *error = NULL;
	int rc = 0;

	if (!obj || !json_object_is_type(obj, json_type_object) || !json_object_object_get_ex(obj, "ok", &ok)) {
		rc = pvb_err(err, -EPROTO, "pvbackd at %s: an answer that is not understood", path);
	} else if (!json_object_get_boolean(ok)) {
		json_object_object_get_ex(obj, "error", &error);
		rc = pvb_err(err, -EREMOTEIO, "pvbackd: %s", error ? json_object_get_string(error) : "refused");
	}
	if (rc)
		json_object_put(obj);
	else
		*reply = obj;
	return rc;
}

int statscli_call(const char *path, struct json_object *request, struct json_object **reply, struct pvb_error *err)
{
	const char *text = json_object_to_json_string_ext(request, JSON_C_TO_STRING_PLAIN);
	int fd = dial(path, err), rc;
	char *line = NULL;

	if (fd < 0) {
		json_object_put(request);
		return fd;
	}
	rc = send_all(fd, text, strlen(text));
	if (!rc)
		rc = send_all(fd, "\n", 1);
	if (!rc)
		rc = receive_line(fd, &line);
	close(fd);
	json_object_put(request);
	if (rc)
		return pvb_err(err, rc, "pvbackd at %s: %s", path, strerror(-rc));
	rc = understand(path, line, reply, err);
	free(line);
	return rc;
}

/* --- Prometheus -------------------------------------------------------------------------------------- */

static const char *const ops[] = { "read", "write", "flush", "discard" };

static int64_t number(struct json_object *obj, const char *key)
{
	struct json_object *v;

	return json_object_object_get_ex(obj, key, &v) ? json_object_get_int64(v) : 0;
}

static bool is_nic(struct json_object *dev)
{
	struct json_object *v;

	return json_object_object_get_ex(dev, "class", &v) && v && strcmp(json_object_get_string(v), "vif") == 0;
}

static void labels(struct json_object *dev, struct json_object *queue)
{
	struct json_object *vdev = NULL;

	json_object_object_get_ex(dev, "vdev", &vdev);
	printf("{domid=\"%" PRId64 "\",vdev=\"%s\",queue=\"%" PRId64 "\"", number(dev, "domid"),
	       vdev ? json_object_get_string(vdev) : "", number(queue, "id"));
}

static void each_queue(struct json_object *devices,
		       void (*fn)(struct json_object *dev, struct json_object *q, const void *arg), const void *arg)
{
	for (size_t d = 0; d < json_object_array_length(devices); d++) {
		struct json_object *dev = json_object_array_get_idx(devices, d), *queues;

		if (is_nic(dev) || !json_object_object_get_ex(dev, "queues", &queues) || !json_object_is_type(queues, json_type_array))
			continue;
		for (size_t i = 0; i < json_object_array_length(queues); i++)
			fn(dev, json_object_array_get_idx(queues, i), arg);
	}
}

struct metric {
	const char *name, *type, *key, *help;
};

static void one(struct json_object *dev, struct json_object *q, const void *arg)
{
	const struct metric *m = arg;

	fputs(m->name, stdout);
	labels(dev, q);
	printf("} %" PRId64 "\n", number(q, m->key));
}

static void one_per_op(struct json_object *dev, struct json_object *q, const void *arg)
{
	const struct metric *m = arg;
	struct json_object *op;

	for (unsigned i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		if (!json_object_object_get_ex(q, ops[i], &op))
			continue;
		fputs(m->name, stdout);
		labels(dev, q);
		printf(",op=\"%s\"} %" PRId64 "\n", ops[i], number(op, m->key));
	}
}

/* One counter of all NICs' queues.  pvbackd names them. */
static void nic_metric(struct json_object *devices, const char *key)
{
	printf("# TYPE pvbus_vif_%s_total counter\n", key);
	for (size_t d = 0; d < json_object_array_length(devices); d++) {
		struct json_object *dev = json_object_array_get_idx(devices, d), *queues;

		if (!is_nic(dev) || !json_object_object_get_ex(dev, "queues", &queues))
			continue;
		for (size_t i = 0; i < json_object_array_length(queues); i++) {
			struct json_object *q = json_object_array_get_idx(queues, i);

			printf("pvbus_vif_%s_total{domid=\"%" PRId64 "\",devid=\"%" PRId64 "\",queue=\"%" PRId64 "\"} %" PRId64 "\n",
			       key, number(dev, "domid"), number(dev, "devid"), number(q, "id"), number(q, key));
		}
	}
}

static void nic_metrics(struct json_object *devices)
{
	struct json_object *queues;

	for (size_t d = 0; d < json_object_array_length(devices); d++) {
		struct json_object *dev = json_object_array_get_idx(devices, d);

		if (!is_nic(dev) || !json_object_object_get_ex(dev, "queues", &queues) || !json_object_array_length(queues))
			continue;
		json_object_object_foreach(json_object_array_get_idx(queues, 0), key, value) {
			if (strcmp(key, "id") != 0 && value)
				nic_metric(devices, key);
		}
		return;
	}
}

void statscli_prometheus(struct json_object *devices)
{
	static const struct metric per_op[] = {
		{ "pvbus_vbd_requests_total", "counter", "count", "Requests answered" },
		{ "pvbus_vbd_bytes_total", "counter", "bytes", "Bytes moved" },
		{ "pvbus_vbd_errors_total", "counter", "errors", "Requests answered with an error" },
	}, per_queue[] = {
		{ "pvbus_vbd_in_flight", "gauge", "in_flight", "Requests taken and not yet answered" },
		{ "pvbus_vbd_rejected_total", "counter", "rejected", "Requests refused as illegal" },
		{ "pvbus_vbd_notify_sent_total", "counter", "notify_sent", "Events sent to the front end" },
		{ "pvbus_vbd_notify_suppressed_total", "counter", "notify_suppressed",
		  "Pushes for which the front end wanted no event" },
		{ "pvbus_vbd_events_received_total", "counter", "event_received", "Events from the front end" },
		{ "pvbus_vbd_events_spurious_total", "counter", "event_spurious", "Events that brought no request" },
		{ "pvbus_vbd_grant_copies_total", "counter", "copy_ops", "Grant copy operations" },
		{ "pvbus_vbd_grant_maps_total", "counter", "maps", "Grants mapped" },
		{ "pvbus_vbd_persistent_hits_total", "counter", "persistent_hits",
		  "Segments served from persistent mappings" },
	};

	for (unsigned i = 0; i < sizeof(per_op) / sizeof(per_op[0]); i++) {
		printf("# HELP %s %s\n# TYPE %s %s\n", per_op[i].name, per_op[i].help, per_op[i].name, per_op[i].type);
		each_queue(devices, one_per_op, &per_op[i]);
	}
	for (unsigned i = 0; i < sizeof(per_queue) / sizeof(per_queue[0]); i++) {
		printf("# HELP %s %s\n# TYPE %s %s\n", per_queue[i].name, per_queue[i].help, per_queue[i].name,
		       per_queue[i].type);
		each_queue(devices, one, &per_queue[i]);
	}
	nic_metrics(devices);
}
