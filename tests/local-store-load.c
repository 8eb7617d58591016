/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The store under load, over its real sockets: guests that write, watch and run transactions all at once, one
 * that floods, one that never reads, domains that come and go, and a toolstack that has work to do.
 * At the end every account is added up again.  LOAD_MS=5000 runs longer; SEED repeats. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <xenstore.h>
#include "unit.h"
#include "bus/local/fabric.h"
#include "bus/loop.h"

#define GUESTS 4

static struct pvb_fabric *fabric;
static char dir[64];
static uint32_t guest[GUESTS + 2];
static bool stop_now;
#define stop __atomic_load_n(&stop_now, __ATOMIC_RELAXED)
static uint64_t seed0;
static unsigned load_ms = 1500;

static struct {
	unsigned long ops, events, commits, retries, worst_retries, lifecycles;
} done;

static const char *socket_of(uint32_t domid, char *buf, size_t len)
{
	if (domid)
		snprintf(buf, len, "%s/dom/%u/store", dir, domid);
	else
		snprintf(buf, len, "%s/store", dir);
	return buf;
}

/* libxenstore takes the path from the environment only: one at a time. */
static struct xs_handle *open_as(uint32_t domid)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	struct xs_handle *xs;
	char path[128];

	pthread_mutex_lock(&lock);
	setenv("XENSTORED_PATH", socket_of(domid, path, sizeof(path)), 1);
	xs = xs_open(0);
	pthread_mutex_unlock(&lock);
	return xs;
}

static int raw(uint32_t domid)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	socket_of(domid, sa.sun_path, sizeof(sa.sun_path));
	return connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ? -1 : fd;
}

static void *reader(void *arg)
{
	struct xs_handle *xs = arg;
	struct pollfd p = { .fd = xs_fileno(xs), .events = POLLIN };
	char **ev;

	while (!stop) {
		poll(&p, 1, 100);
		while ((ev = xs_check_watch(xs))) {
			done.events++;
			free(ev);
		}
	}
	return NULL;
}

/* One guest: random ops in its own tree and in one all may write. */
static void *work(void *arg)
{
	uint32_t domid = *(uint32_t *)arg;
	uint64_t seed = seed0 + domid;
	struct xs_handle *xs = open_as(domid);
	char path[64], tok[16], value[16];
	unsigned long ops = 0;
	xs_transaction_t t = 0;
	unsigned len, i;
	char **names;

	assert_non_null(xs);
	while (!stop) {
		uint32_t r = rnd(&seed);

		snprintf(path, sizeof(path), r & 1 ? "/shared/k%u" : "data/k%u/v%u", (r >> 8) % 8, (r >> 12) % 4);
		snprintf(value, sizeof(value), "%u", r);
		snprintf(tok, sizeof(tok), "t%u", (r >> 16) % 4);
		switch ((r >> 20) % 10) {
		case 0: case 1: case 2:
			xs_write(xs, t, path, value, (unsigned)strlen(value));
			break;
		case 3: case 4:
			free(xs_read(xs, t, path, &len));
			break;
		case 5:
			names = xs_directory(xs, t, r & 1 ? "/shared" : "data", &i);
			free(names);
			break;
		case 6:
			xs_rm(xs, t, path);
			break;
		case 7:
			xs_watch(xs, path, tok);
			while ((names = xs_check_watch(xs)))
				free(names);
			break;
		case 8:
			xs_unwatch(xs, path, tok);
			break;
		case 9:
			if (t)
				xs_transaction_end(xs, t, r & 2), t = 0;
			else
				t = xs_transaction_start(xs);
		}
		ops++;
	}
	xs_close(xs);
	__atomic_fetch_add(&done.ops, ops, __ATOMIC_RELAXED);
	return NULL;
}

/* Sends and never reads. */
static void *deaf(void *arg)
{
	uint32_t domid = *(uint32_t *)arg;
	struct { struct { uint32_t type, id, tx, len; } h; char path[5]; } __attribute__((packed)) m = {
		{ 2, 1, 0, 5 }, "data" };
	int fd = raw(domid);

	assert_true(fd >= 0);
	while (!stop)
		if (send(fd, &m, sizeof(m), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
			usleep(1000);
	close(fd);
	return NULL;
}

/* Writes one key as fast as it can, many requests in flight, throwing the replies away. */
static void *flood(void *arg)
{
	uint32_t domid = *(uint32_t *)arg;
	struct { struct { uint32_t type, id, tx, len; } h; char body[13]; } __attribute__((packed)) m = {
		{ 11, 1, 0, 13 }, "/shared/x\0vv" };
	int fd = raw(domid);
	char sink[4096];

	assert_true(fd >= 0);
	while (!stop) {
		if (send(fd, &m, sizeof(m), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
			usleep(100);
		while (recv(fd, sink, sizeof(sink), MSG_DONTWAIT) > 0)
			;
	}
	close(fd);
	return NULL;
}

/* Domains that are made, do a little and go, some in the middle of it. */
static void *lifecycle(void *arg)
{
	uint64_t seed = seed0 + 77;
	unsigned long n = 0;

	while (!stop) {
		struct xs_handle *xs;
		uint32_t domid;
		char path[64], perm[16];

		assert_int_equal(pvb_local_domain_create(dir, "short", 16, &domid, NULL), 0);
		xs = open_as(domid);
		assert_non_null(xs);
		snprintf(path, sizeof(path), "/shared/of-%u", domid);
		xs_write(xs, 0, path, "x", 1);
		xs_watch(xs, "/shared", "t");
		snprintf(perm, sizeof(perm), "n%u", domid);
		if (rnd(&seed) & 1)
			xs_transaction_start(xs);
		if (rnd(&seed) & 1)
			xs_close(xs), xs = NULL;
		assert_int_equal(pvb_local_domain_destroy(dir, domid, NULL), 0);
		if (xs)
			xs_close(xs);
		n++;
	}
	done.lifecycles = n;
	return NULL;
}

/* The toolstack: a transaction over what everybody writes, and it must get through. */
static void *toolstack(void *arg)
{
	struct xs_handle *xs = open_as(0);
	char path[64];
	unsigned i;

	assert_non_null(xs);
	while (!stop) {
		unsigned tries = 0;

		for (;;) {
			xs_transaction_t t = xs_transaction_start(xs);
			unsigned len;

			assert_true(t != 0);
			for (i = 0; i < 8; i++) {
				snprintf(path, sizeof(path), "/shared/k%u", i);
				free(xs_read(xs, t, path, &len));
				xs_write(xs, t, path, "tool", 4);
			}
			xs_write(xs, t, "/shared/x", "tool", 4);
			if (xs_transaction_end(xs, t, false))
				break;
			assert_int_equal(errno, EAGAIN);
			tries++;
			assert_true(tries < 10);
		}
		done.commits++;
		done.retries += tries;
		if (tries > done.worst_retries)
			done.worst_retries = tries;
		usleep(500);
	}
	xs_close(xs);
	return NULL;
}

static void check_store(struct xs_handle *xs)
{
	char *answer = xs_debug_command(xs, "check", NULL, 0);

	assert_non_null(answer);
	assert_string_equal(answer, "OK");
	free(answer);
}

static void under_load(void **state)
{
	struct pvb_local_stats before, after;
	struct xs_handle *tool, *watcher;
	struct xs_permissions all = { 0, XS_PERM_READ | XS_PERM_WRITE };
	pthread_t t[GUESTS + 6];
	unsigned i, n = 0;
	uint64_t end;

	tool = open_as(0);
	assert_non_null(tool);
	assert_true(xs_mkdir(tool, 0, "/shared"));
	assert_true(xs_set_permissions(tool, 0, "/shared", &all, 1));
	assert_true(xs_write(tool, 0, "/shared/x", "", 0));
	for (i = 0; i < GUESTS + 2; i++) {
		struct xs_permissions own = { 0 };
		char path[64];

		assert_int_equal(pvb_local_domain_create(dir, "guest", 16, &guest[i], NULL), 0);
		own.id = guest[i];
		snprintf(path, sizeof(path), "/local/domain/%u/data", guest[i]);
		assert_true(xs_mkdir(tool, 0, path));
		assert_true(xs_set_permissions(tool, 0, path, &own, 1));
	}
	assert_int_equal(pvb_local_stats(dir, &before, NULL), 0);
	watcher = open_as(0);
	assert_true(xs_watch(watcher, "/", "all"));
	pthread_create(&t[n++], NULL, reader, watcher);
	for (i = 0; i < GUESTS; i++)
		pthread_create(&t[n++], NULL, work, &guest[i]);
	pthread_create(&t[n++], NULL, deaf, &guest[GUESTS]);
	pthread_create(&t[n++], NULL, flood, &guest[GUESTS + 1]);
	pthread_create(&t[n++], NULL, lifecycle, NULL);
	pthread_create(&t[n++], NULL, toolstack, NULL);
	end = pvb_now_ms() + load_ms;
	while (pvb_now_ms() < end) {
		usleep(50000);
		check_store(tool);
	}
	__atomic_store_n(&stop_now, true, __ATOMIC_RELAXED);
	for (i = 0; i < n; i++)
		pthread_join(t[i], NULL);
	check_store(tool);
	xs_close(watcher);
	for (i = 0; i < GUESTS + 2; i++)
		assert_int_equal(pvb_local_domain_destroy(dir, guest[i], NULL), 0);
	check_store(tool);
	assert_int_equal(pvb_local_stats(dir, &after, NULL), 0);
	assert_int_equal(after.domains, 0);
	assert_int_equal(after.store_bytes, 0);
	assert_int_equal(after.store_txns, 0);
	assert_int_equal(after.store_watches, 0);
	print_message("%lu ops, %lu events, %lu domains; toolstack: %lu commits, %lu retries, at most %lu for one\n",
		      done.ops, done.events, done.lifecycles, done.commits, done.retries, done.worst_retries);
	print_message("server: %llu requests, %llu events, %llu merged, %llu conflicts\n",
		      (unsigned long long)after.store_requests, (unsigned long long)after.store_events,
		      (unsigned long long)after.store_merged, (unsigned long long)after.store_conflicts);
	assert_true(done.commits > 5);
	xs_close(tool);
}

static int up(void **state)
{
	struct pvb_error err = { 0 };

	snprintf(dir, sizeof(dir), "/tmp/pvbus-load-XXXXXX");
	assert_non_null(mkdtemp(dir));
	if (pvb_fabric_start(&fabric, dir, &err) < 0)
		fail_msg("%s", err.text);
	seed0 = getenv("SEED") ? strtoull(getenv("SEED"), NULL, 0) : (uint64_t)pvb_now_ns();
	if (getenv("LOAD_MS"))
		load_ms = (unsigned)atoi(getenv("LOAD_MS"));
	print_message("SEED=%llu\n", (unsigned long long)seed0);
	return 0;
}

static int down(void **state)
{
	pvb_fabric_stop(fabric);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test_setup_teardown(under_load, up, down) };

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
