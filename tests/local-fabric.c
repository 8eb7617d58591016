/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The fabric as a toolstack sees it: the directory, domains coming and going, owners, waiting. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xenstore.h>
#include "unit.h"
#include "bus/local/fabric.h"
#include "bus/local/proto.h"
#include "bus/hv.h"
#include "bus/loop.h"
#include "bus/store.h"

static struct pvb_fabric *fabric;
static char dir[64];
static struct pvb_error err;

#define ok(call) do { if ((call) < 0) fail_msg("%s: %s", #call, err.text); } while (0)

static int up(void **state)
{
	snprintf(dir, sizeof(dir), "/tmp/pvbus-fabric-XXXXXX");
	assert_non_null(mkdtemp(dir));
	ok(pvb_fabric_start(&fabric, dir, &err));
	return 0;
}

static int down(void **state)
{
	pvb_fabric_stop(fabric);
	assert_int_equal(access(dir, F_OK), -1);
	return 0;
}

static void directory(void **state)
{
	struct pvb_fabric *second = NULL, *deep = NULL;
	char path[128], pid[128];
	struct stat st;

	assert_int_equal(pvb_fabric_start(&second, dir, &err), -EBUSY);
	assert_null(second);
	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	assert_non_null(strstr(err.text, pid));
	assert_non_null(strstr(err.text, dir));
	snprintf(path, sizeof(path), "%s/store", dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	snprintf(path, sizeof(path), "%s/a/b/c", dir);
	ok(pvb_fabric_start(&deep, path, &err));
	pvb_fabric_stop(deep);
	assert_int_equal(access(path, F_OK), -1);
	snprintf(path, sizeof(path), "%s/a/b", dir);
	assert_int_equal(rmdir(path), 0);
	snprintf(path, sizeof(path), "%s/a", dir);
	assert_int_equal(rmdir(path), 0);
	assert_true(pvb_fabric_start(&second, "/proc/nothing", &err) < 0);
	assert_int_equal(pvb_local_stats("/nowhere", &(struct pvb_local_stats){ 0 }, &err), -ENOENT);
	snprintf(path, sizeof(path), "%s/open", dir);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(chmod(path, 0777), 0);
	assert_int_equal(pvb_fabric_start(&second, path, &err), -EPERM);
	assert_int_equal(chmod(path, 0700), 0);
	if (geteuid() == 0) {
		assert_int_equal(chown(path, 12345, 0), 0);
		assert_int_equal(pvb_fabric_start(&second, path, &err), -EPERM);
		assert_non_null(strstr(err.text, "12345"));
	}
	snprintf(pid, sizeof(pid), "%s/open/dom", dir);
	rmdir(pid);
	assert_int_equal(rmdir(path), 0);
	char longer[300];
	memset(longer, 'x', sizeof(longer) - 1);
	longer[0] = '/';
	longer[sizeof(longer) - 1] = '\0';
	assert_int_equal(pvb_local_stats(longer, &(struct pvb_local_stats){ 0 }, &err), -ENAMETOOLONG);
}

static void say_ready(void *arg)
{
	if (write(*(int *)arg, "x", 1) != 1)
		_exit(1);
}

/* A server that was killed leaves sockets and directories: the next one clears them away. */
static void after_a_crash(void **state)
{
	char other[] = "/tmp/pvbus-crash-XXXXXX", path[64];
	struct pvb_fabric *f;
	uint32_t domid;
	char c;
	int p[2], never[2];
	pid_t pid;

	assert_non_null(mkdtemp(other));
	assert_int_equal(pipe(p), 0);
	assert_int_equal(pipe(never), 0);
	pid = fork();
	if (pid == 0) {
		close(never[1]); /* readable once the parent is gone */
		pvb_fabric_run(other, NULL, never[0], say_ready, &p[1], NULL);
		_exit(1);
	}
	assert_int_equal(read(p[0], &c, 1), 1);
	ok(pvb_local_domain_create(other, "x", 1, &domid, &err));
	assert_int_equal(pvb_fabric_start(&f, other, &err), -EBUSY);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	assert_int_equal(pvb_local_domain_create(other, "x", 1, &domid, &err), -ECONNREFUSED);
	snprintf(path, sizeof(path), "%s/dom/1/ctl", other);
	assert_int_equal(access(path, F_OK), 0);
	ok(pvb_fabric_start(&f, other, &err));
	assert_int_equal(access(path, F_OK), -1);
	pvb_fabric_stop(f);
	assert_int_equal(access(other, F_OK), -1);
	close(p[0]);
	close(p[1]);
	close(never[0]);
	close(never[1]);
}

static uint64_t cpu_ms(pid_t pid)
{
	struct timespec ts;
	clockid_t clock;

	assert_int_equal(clock_getcpuclockid(pid, &clock), 0);
	assert_int_equal(clock_gettime(clock, &ts), 0);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* A server that has no descriptors left waits; it does not spin, and it goes on when there are some. */
static void out_of_descriptors(void **state)
{
	char other[] = "/tmp/pvbus-fds-XXXXXX";
	struct rlimit lim = { 40, 40 };
	int p[2], never[2], sock[60];
	unsigned i, nr;
	uint64_t cpu;
	pid_t pid;
	char c;

	assert_non_null(mkdtemp(other));
	assert_int_equal(pipe(p), 0);
	assert_int_equal(pipe(never), 0);
	pid = fork();
	if (pid == 0) {
		for (i = 3; i < 1000; i++)
			if ((int)i != p[1] && (int)i != never[0])
				close((int)i);
		setrlimit(RLIMIT_NOFILE, &lim);
		pvb_fabric_run(other, NULL, never[0], say_ready, &p[1], NULL);
		_exit(0);
	}
	assert_int_equal(read(p[0], &c, 1), 1);
	for (nr = 0; nr < 60; nr++) {
		sock[nr] = lf_connect(other, 0, &err);
		assert_true(sock[nr] >= 0); /* it waits to be accepted */
	}
	usleep(50000);
	cpu = cpu_ms(pid);
	usleep(400000);
	assert_true(cpu_ms(pid) - cpu < 100);
	for (i = 0; i < nr; i++)
		close(sock[i]);
	struct pvb_local_stats st;
	ok(pvb_local_stats(other, &st, &err));
	close(never[1]);
	waitpid(pid, NULL, 0);
	assert_int_equal(access(other, F_OK), -1);
	close(p[0]);
	close(p[1]);
	close(never[0]);
}

static void domains(void **state)
{
	struct pvb_local_domain *list, info;
	uint32_t domid, i;
	unsigned nr;

	ok(pvb_local_domain_list(dir, &list, &nr, &err));
	assert_int_equal(nr, 0);
	assert_null(list);
	for (i = 1; i <= 100; i++) {
		char name[16];

		snprintf(name, sizeof(name), "d%u", i);
		ok(pvb_local_domain_create(dir, name, i, &domid, &err));
		assert_int_equal(domid, i);
	}
	ok(pvb_local_domain_destroy(dir, 50, &err));
	assert_int_equal(pvb_local_domain_destroy(dir, 50, &err), -ESRCH);
	assert_int_equal(pvb_local_domain_destroy(dir, 0, &err), -EINVAL);
	ok(pvb_local_domain_list(dir, &list, &nr, &err));
	assert_int_equal(nr, 99);
	assert_int_equal(list[0].domid, 1);
	assert_int_equal(list[98].domid, 100);
	assert_int_equal(list[98].pages, 100);
	assert_string_equal(list[98].name, "d100");
	free(list);
	assert_int_equal(pvb_local_domain_info(dir, 50, &info, &err), -ESRCH);
	ok(pvb_local_domain_info(dir, 51, &info, &err));
	assert_string_equal(info.name, "d51");
	assert_int_equal(info.state, PVB_LOCAL_RUNNING);
	assert_int_equal(info.owner_pid, 0);
	/* a number is not used again at once */
	ok(pvb_local_domain_create(dir, "next", 1, &domid, &err));
	assert_int_equal(domid, 101);
	for (i = 0; i < 6; i++) {
		static const struct pvb_local_new bad[] = {
			{ .name = "", .pages = 1 }, { .name = "a b", .pages = 1 }, { .name = "a/b", .pages = 1 },
			{ .name = "x", .pages = 0 }, { .name = "x", .pages = PVB_LOCAL_PAGES_MAX + 1 },
			{ .name = "x", .pages = 1, .domid = 0x7ff0 },
		};

		assert_int_equal(pvb_local_domain_create_with(dir, &bad[i], &domid, &err), -EINVAL);
		assert_true(err.text[0] != '\0');
	}
	char longer[100];
	memset(longer, 'n', sizeof(longer) - 1);
	longer[99] = '\0';
	assert_int_equal(pvb_local_domain_create(dir, longer, 1, &domid, &err), -EINVAL);
	longer[63] = '\0';
	ok(pvb_local_domain_create(dir, longer, 1, &domid, &err));
	ok(pvb_local_domain_info(dir, domid, &info, &err));
	assert_string_equal(info.name, longer);
}

static void socket_owner(void **state)
{
	struct pvb_local_new spec = { .name = "other", .pages = 1, .uid = 12345, .gid = 54321 };
	uint32_t domid;
	char path[128];
	struct stat st;

	if (geteuid() != 0)
		skip();
	assert_int_equal(chmod(dir, 0711), 0); /* mkdtemp() made it, not the server */
	ok(pvb_local_domain_create_with(dir, &spec, &domid, &err));
	snprintf(path, sizeof(path), "%s/dom/%u", dir, domid);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0711);
	assert_int_equal(st.st_uid, 0);
	strcat(path, "/ctl");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(st.st_uid, 12345);
	assert_int_equal(st.st_gid, 54321);
	/* somebody else: not domain 0, not another domain */
	pid_t pid = fork();
	if (pid == 0) {
		struct pvb_local_stats stats;
		struct pvb_hv *hv;
		char own[128];

		snprintf(own, sizeof(own), "local:%s:%u", dir, domid);
		if (setgid(54321) < 0 || setuid(12345) < 0)
			_exit(1);
		if (pvb_local_stats(dir, &stats, NULL) != -EACCES)
			_exit(2);
		if (pvb_hv_open(&hv, own, PVB_HV_FRONT, NULL) < 0)
			_exit(3);
		snprintf(own, sizeof(own), "local:%s", dir);
		if (pvb_hv_open(&hv, own, PVB_HV_BACK, NULL) != -EACCES)
			_exit(4);
		_exit(0);
	}
	int status;
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
}

struct waiter { uint32_t domid; struct pvb_local_domain info; int rc; };

static void *waiting(void *arg)
{
	struct waiter *w = arg;

	w->rc = pvb_local_domain_wait(dir, w->domid, 10000, &w->info, NULL);
	return NULL;
}

static void shutdown_and_wait(void **state)
{
	struct waiter w = { 0 };
	struct pvb_local_domain info;
	uint32_t domid, other;
	pthread_t t;

	ok(pvb_local_domain_create(dir, "a", 1, &domid, &err));
	ok(pvb_local_domain_create(dir, "b", 1, &other, &err));
	assert_int_equal(pvb_local_domain_wait(dir, domid, 10, &info, &err), -ETIMEDOUT);
	assert_int_equal(pvb_local_domain_wait(dir, 77, 10, &info, &err), -ESRCH);
	w.domid = domid;
	assert_int_equal(pthread_create(&t, NULL, waiting, &w), 0);
	/* another domain may not say so for it; itself it may */
	assert_int_equal(pvb_local_domain_shutdown(dir, other, domid, PVB_LOCAL_REBOOT, &err), -EPERM);
	ok(pvb_local_domain_shutdown(dir, domid, domid, PVB_LOCAL_REBOOT, &err));
	ok(pvb_local_domain_shutdown(dir, 0, domid, PVB_LOCAL_CRASH, &err)); /* the first counts */
	pthread_join(t, NULL);
	assert_int_equal(w.rc, 0);
	assert_int_equal(w.info.state, PVB_LOCAL_SHUTDOWN);
	assert_int_equal(w.info.reason, PVB_LOCAL_REBOOT);
	ok(pvb_local_domain_wait(dir, domid, 0, &info, &err));
	assert_int_equal(info.reason, PVB_LOCAL_REBOOT);
	assert_int_equal(pvb_local_domain_shutdown(dir, 0, other, 9, &err), -EINVAL);
	w.domid = other;
	assert_int_equal(pthread_create(&t, NULL, waiting, &w), 0);
	usleep(20000);
	ok(pvb_local_domain_destroy(dir, other, &err));
	pthread_join(t, NULL);
	/* gone before it asked, or while it waited */
	assert_true(w.rc == -ESRCH || (w.rc == 0 && w.info.state == PVB_LOCAL_GONE && w.info.domid == other));
}

static void owners(void **state)
{
	struct pvb_local_domain info;
	uint32_t a, b;
	int fd, fd2;

	ok(pvb_local_domain_create(dir, "a", 1, &a, &err));
	ok(pvb_local_domain_create(dir, "b", 1, &b, &err));
	ok(pvb_local_domain_own(dir, a, false, &fd, &err));
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(pvb_local_domain_own(dir, a, false, &fd2, &err), -EBUSY);
	ok(pvb_local_domain_info(dir, a, &info, &err));
	assert_int_equal(info.owner_pid, getpid());
	assert_int_equal(info.handles, 1);
	/* the child has it now: ours closed means nothing */
	pid_t pid = fork();
	if (pid == 0) {
		pause();
		_exit(0);
	}
	close(fd);
	assert_int_equal(pvb_local_domain_wait(dir, a, 20, &info, &err), -ETIMEDOUT);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	ok(pvb_local_domain_wait(dir, a, 10000, &info, &err));
	assert_int_equal(info.state, PVB_LOCAL_SHUTDOWN);
	assert_int_equal(info.reason, PVB_LOCAL_CRASH);
	/* with destroy it is gone */
	ok(pvb_local_domain_own(dir, b, true, &fd, &err));
	close(fd);
	int rc = pvb_local_domain_wait(dir, b, 10000, &info, &err);
	assert_true(rc == -ESRCH || (rc == 0 && info.state == PVB_LOCAL_GONE));
	/* a domain that said why it ends has not crashed */
	ok(pvb_local_domain_create(dir, "c", 1, &b, &err));
	ok(pvb_local_domain_own(dir, b, false, &fd, &err));
	ok(pvb_local_domain_shutdown(dir, b, b, PVB_LOCAL_POWEROFF, &err));
	close(fd);
	usleep(10000);
	ok(pvb_local_domain_info(dir, b, &info, &err));
	assert_int_equal(info.reason, PVB_LOCAL_POWEROFF);
	/* destroyed while owned; then the owner goes */
	ok(pvb_local_domain_create(dir, "d", 1, &b, &err));
	ok(pvb_local_domain_own(dir, b, true, &fd, &err));
	ok(pvb_local_domain_destroy(dir, b, &err));
	close(fd);
	ok(pvb_local_domain_create(dir, "e", 1, &b, &err));
}

struct seen { unsigned introduced, released; };

static void on_introduce(void *arg, const char *path)
{
	((struct seen *)arg)->introduced++;
}

static void on_release(void *arg, const char *path)
{
	((struct seen *)arg)->released++;
}

/* What back ends learn: @introduceDomain at birth, @releaseDomain once at shutdown and once at the end. */
static void told(void **state)
{
	struct pvb_watch *w1, *w2;
	struct seen seen = { 0 };
	struct pvb_store *st;
	uint32_t domid;
	char spec[100];

	snprintf(spec, sizeof(spec), "local:%s", dir);
	ok(pvb_store_open(&st, spec, &err));
	assert_int_equal(pvb_store_watch(st, "@introduceDomain", on_introduce, &seen, &w1), 0);
	assert_int_equal(pvb_store_watch(st, "@releaseDomain", on_release, &seen, &w2), 0);
	while (pvb_store_dispatch(st, 100) > 0)
		;
	seen = (struct seen){ 0 };
	ok(pvb_local_domain_create(dir, "a", 1, &domid, &err));
	assert_true(pvb_store_domain_alive(st, domid));
	while (seen.introduced < 1)
		assert_true(pvb_store_dispatch(st, 5000) > 0);
	ok(pvb_local_domain_shutdown(dir, 0, domid, PVB_LOCAL_POWEROFF, &err));
	while (seen.released < 1)
		assert_true(pvb_store_dispatch(st, 5000) > 0);
	assert_true(pvb_store_domain_alive(st, domid));
	ok(pvb_local_domain_destroy(dir, domid, &err));
	while (seen.released < 2)
		assert_true(pvb_store_dispatch(st, 5000) > 0);
	assert_false(pvb_store_domain_alive(st, domid));
	assert_int_equal(pvb_store_dispatch(st, 50), 0);
	assert_int_equal(seen.introduced, 1);
	assert_int_equal(seen.released, 2);
	pvb_store_unwatch(&w1);
	pvb_store_unwatch(&w2);
	pvb_store_close(st);
}

/* Born and ended ten thousand times over every kind of client: nothing is left. */
static void soak(void **state)
{
	struct pvb_local_stats before, after;
	uint32_t domid, i;
	char spec[128];

	ok(pvb_local_stats(dir, &before, &err));
	for (i = 0; i < 1000; i++) {
		struct pvb_hv *f = NULL, *b = NULL;
		struct pvb_grant g = { 0 };
		struct pvb_map m;
		int fd = -1;

		ok(pvb_local_domain_create(dir, "soak", 128, &domid, &err));
		snprintf(spec, sizeof(spec), "local:%s:%u", dir, domid);
		ok(pvb_hv_open(&f, spec, PVB_HV_FRONT, &err));
		if (i % 2)
			ok(pvb_local_domain_own(dir, domid, true, &fd, &err));
		if (i % 3 == 0) {
			snprintf(spec, sizeof(spec), "local:%s", dir);
			ok(pvb_hv_open(&b, spec, PVB_HV_BACK, &err));
			assert_int_equal(pvb_hv_grant(f, 0, 2, true, &g), 0);
			assert_int_equal(pvb_hv_map(b, domid, g.refs, 2, true, &m), 0);
			assert_true(pvb_hv_evt_bind(b, domid, (uint32_t)pvb_hv_evt_alloc(f, 0)) > 0);
		}
		if (i % 5 == 0)
			pvb_hv_close(b), b = NULL;
		if (i % 7 == 0 && fd < 0)
			ok(pvb_local_domain_destroy(dir, domid, &err));
		pvb_hv_ungrant(f, &g);
		pvb_hv_close(f);
		pvb_hv_close(b);
		if (fd >= 0) {
			struct pvb_local_domain info;

			close(fd);
			pvb_local_domain_wait(dir, domid, 10000, &info, NULL);
		} else if (i % 7) {
			ok(pvb_local_domain_destroy(dir, domid, &err));
		}
	}
	ok(pvb_local_stats(dir, &after, &err));
	assert_int_equal(after.domains, before.domains);
	assert_int_equal(after.handles, before.handles);
	assert_int_equal(after.ports, before.ports);
	assert_int_equal(after.pages, before.pages);
	assert_int_equal(after.store_conns, before.store_conns);
	assert_int_equal(after.store_nodes, before.store_nodes);
	assert_int_equal(after.store_bytes, before.store_bytes);
}

/* The server goes while everything is in use: calls fail, nothing hangs or crashes, memory stays. */
static void server_stops(void **state)
{
	struct pvb_hv *f, *b;
	struct pvb_store *st;
	struct pvb_grant g, g2;
	struct pvb_map m;
	uint32_t domid, ports[4];
	char spec[128];
	char *value;
	int p, q;

	ok(pvb_local_domain_create(dir, "a", 256, &domid, &err));
	snprintf(spec, sizeof(spec), "local:%s:%u", dir, domid);
	ok(pvb_hv_open(&f, spec, PVB_HV_FRONT, &err));
	snprintf(spec, sizeof(spec), "local:%s", dir);
	ok(pvb_hv_open(&b, spec, PVB_HV_BACK, &err));
	ok(pvb_store_open(&st, spec, &err));
	assert_int_equal(pvb_hv_grant(f, 0, 2, true, &g), 0);
	assert_int_equal(pvb_hv_map(b, domid, g.refs, 2, true, &m), 0);
	p = pvb_hv_evt_alloc(f, 0);
	q = pvb_hv_evt_bind(b, domid, (uint32_t)p);
	assert_int_equal(pvb_hv_evt_take(b, ports, 4), 1);
	pvb_hv_evt_unmask(b, ports, 1);
	pvb_fabric_stop(fabric);
	strcpy(g.addr, "still there");
	assert_string_equal(m.addr, "still there");
	assert_true(pvb_hv_evt_alloc(f, 0) < 0);
	assert_true(pvb_hv_evt_bind(b, domid, 3) < 0);
	assert_true(pvb_hv_grant(f, 0, 200, true, &g2) < 0);
	assert_true(pvb_store_read(st, PVB_NO_TXN, "/tool", &value) < 0);
	pvb_hv_evt_notify(b, (uint32_t)q);
	pvb_hv_evt_notify(f, (uint32_t)p);
	pvb_hv_unmap(b, &m);
	pvb_hv_ungrant(f, &g);
	pvb_hv_close(f);
	pvb_hv_close(b);
	pvb_store_close(st);
	assert_int_equal(mkdir(dir, 0700), 0);
	ok(pvb_fabric_start(&fabric, dir, &err));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(directory, up, down),
		cmocka_unit_test_setup_teardown(after_a_crash, up, down),
		cmocka_unit_test_setup_teardown(out_of_descriptors, up, down),
		cmocka_unit_test_setup_teardown(domains, up, down),
		cmocka_unit_test_setup_teardown(socket_owner, up, down),
		cmocka_unit_test_setup_teardown(shutdown_and_wait, up, down),
		cmocka_unit_test_setup_teardown(owners, up, down),
		cmocka_unit_test_setup_teardown(told, up, down),
		cmocka_unit_test_setup_teardown(soak, up, down),
		cmocka_unit_test_setup_teardown(server_stops, up, down),
	};

	signal(SIGPIPE, SIG_IGN); /* libxenstore writes to a socket whose server is gone */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
