// SPDX-License-Identifier: GPL-2.0-or-later
/* Lies told through the store, and deaths: a real pvbackd with one lying guest and one honest one, whose verified I/O
 * never stops.  Each lie must be named in the back end's error node, and pvbackd must be as it was afterwards. */
#include "unit.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "bus/local/fabric.h"
#include "bus/loop.h"
#include "tests/hostile-front.h"
#include <xen/xen.h>
#include <xen/io/blkif.h>

#define WAIT_MS 20000
#define DEVID 51712u

static char dir[64], spec[80];
static struct pvb_fabric *fabric;
static struct pvb_store *tool;
static pid_t backd;
static uint32_t liar_domid, good_domid;
static struct hfront liar;

/* ---- the honest guest: its own thread, its own handles -------------------------------------------------- */

static struct {
	struct hfront front;
	pthread_t thread;
	int stop;
	unsigned rounds;
	uint64_t worst_ms;
	char wrong[100];
} good;

static void *do_good(void *arg)
{
	uint8_t slot[PVF_SLOT_MAX];
	uint64_t seed = 3;

	while (!__atomic_load_n(&good.stop, __ATOMIC_RELAXED)) {
		uint64_t sector = rnd(&seed) % 256 * 8, t = pvb_now_ms();
		uint8_t *out = hfront_page(&good.front, 0), *in = hfront_page(&good.front, 2);
		int rc;

		for (unsigned i = 0; i < PVB_PAGE_SIZE; i++)
			out[i] = (uint8_t)rnd(&seed);
		hfront_rw(&good.front, slot, BLKIF_OP_WRITE, 1, sector, 0, 1);
		rc = hfront_roundtrip(&good.front, 0, slot, 1, WAIT_MS);
		hfront_rw(&good.front, slot, BLKIF_OP_READ, 2, sector, 2, 1);
		if (rc == 0)
			rc = hfront_roundtrip(&good.front, 0, slot, 2, WAIT_MS);
		if (rc != 0 || memcmp(out, in, PVB_PAGE_SIZE) != 0) {
			snprintf(good.wrong, sizeof(good.wrong), "round %u: %d", good.rounds, rc);
			break;
		}
		t = pvb_now_ms() - t;
		if (t > good.worst_ms)
			good.worst_ms = t;
		__atomic_fetch_add(&good.rounds, 1, __ATOMIC_RELAXED);
		nanosleep(&(struct timespec){ .tv_nsec = 200000 }, NULL); /* others share the machine */
	}
	return NULL;
}

/* The honest guest has done some more since the last look, and nothing of it was wrong. */
static void still_good(void)
{
	unsigned now = __atomic_load_n(&good.rounds, __ATOMIC_RELAXED);
	uint64_t until = pvb_now_ms() + WAIT_MS;

	while (__atomic_load_n(&good.rounds, __ATOMIC_RELAXED) < now + 3 && pvb_now_ms() < until)
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	assert_true(__atomic_load_n(&good.rounds, __ATOMIC_RELAXED) >= now + 3);
	assert_int_equal(kill(backd, 0), 0);
	assert_int_equal(waitpid(backd, NULL, WNOHANG), 0);
}

/* ---- the stage ------------------------------------------------------------------------------------------ */

static void start_pvbackd(void)
{
	char path[300], log[100], byte;
	int ready[2];

	snprintf(path, sizeof(path), "%s/backend/pvbackd", getenv("abs_top_builddir") != NULL ? getenv("abs_top_builddir") : "..");
	snprintf(log, sizeof(log), "%s.log", dir);
	assert_int_equal(pipe(ready), 0);
	backd = fork();
	assert_true(backd >= 0);
	if (backd == 0) {
		int fd = open(log, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);

		prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves nobody behind */
		close(ready[0]);
		dup2(fd, 1);
		dup2(fd, 2);
		dup2(ready[1], 3);
		if (ready[1] != 3)
			close(ready[1]);
		execl(path, path, "--hv", spec, "--ready-fd", "3", NULL);
		_exit(127);
	}
	close(ready[1]);
	assert_true(read(ready[0], &byte, 1) >= 0); /* closed when it serves, or when it is dead */
	close(ready[0]);
	assert_int_equal(waitpid(backd, NULL, WNOHANG), 0);
}

/* What a toolstack writes for a domain before its devices. */
static void make_home(uint32_t domid)
{
	char path[64], num[16];

	snprintf(path, sizeof(path), "/local/domain/%u", domid);
	assert_int_equal(pvb_store_write(tool, PVB_NO_TXN, path, ""), 0);
	assert_int_equal(pvb_store_perms(tool, PVB_NO_TXN, path, 0, domid), 0);
	snprintf(path, sizeof(path), "/local/domain/%u/domid", domid);
	snprintf(num, sizeof(num), "%u", domid);
	assert_int_equal(pvb_store_write(tool, PVB_NO_TXN, path, num), 0);
}

static void make_disk(uint32_t domid, struct hfront *h)
{
	static const struct pvb_pair keys[] = { { "params", "mem:size=1M" }, { "mode", "w" }, { "online", "1" } };
	struct pvb_error err = { 0 };
	char who[90];

	make_home(domid);
	if (hfront_offer(tool, NULL, 0, domid, DEVID, keys, 3, &err) < 0)
		fail_msg("%s", err.text);
	snprintf(who, sizeof(who), "%s:%u", spec, domid);
	if (hfront_open(h, who, DEVID, &err) < 0)
		fail_msg("%s", err.text);
}

static void connect_or_fail(struct hfront *h, const struct hfront_options *opt)
{
	struct pvb_error err = { 0 };

	if (hfront_connect(h, opt, WAIT_MS, &err) < 0)
		fail_msg("%s", err.text);
}

static int set_up(void **state)
{
	struct pvb_error err = { 0 };

	snprintf(dir, sizeof(dir), "/tmp/pvb-hostile-vbd.XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(spec, sizeof(spec), "local:%s", dir);
	if (pvb_fabric_start(&fabric, dir, &err) < 0 || pvb_store_open(&tool, spec, &err) < 0 ||
	    pvb_local_domain_create(dir, "liar", 4096, &liar_domid, &err) < 0 ||
	    pvb_local_domain_create(dir, "good", 256, &good_domid, &err) < 0)
		fail_msg("%s", err.text);
	start_pvbackd();
	make_disk(good_domid, &good.front);
	connect_or_fail(&good.front, &(struct hfront_options){ .pages = 4 });
	assert_int_equal(pthread_create(&good.thread, NULL, do_good, NULL), 0);
	make_disk(liar_domid, &liar);
	assert_int_equal(hfront_wait_back(&liar, 1u << PVB_INIT_WAIT, WAIT_MS), PVB_INIT_WAIT);
	return 0;
}

static int tear_down(void **state)
{
	char log[100];
	int status;

	if (good.thread == 0)
		return -1; /* set_up() did not come so far */
	still_good();
	__atomic_store_n(&good.stop, 1, __ATOMIC_RELAXED);
	pthread_join(good.thread, NULL);
	if (good.wrong[0] != '\0')
		fail_msg("the honest guest: %s", good.wrong);
	print_message("honest guest: %u rounds, the slowest took %llu ms\n", good.rounds, (unsigned long long)good.worst_ms);
	kill(backd, SIGTERM);
	assert_int_equal(waitpid(backd, &status, 0), backd);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	hfront_close(&liar);
	hfront_close(&good.front);
	pvb_store_close(tool);
	pvb_fabric_stop(fabric);
	rmdir(dir);
	snprintf(log, sizeof(log), "%s.log", dir);
	unlink(log);
	return 0;
}

/* Keys of the last connection that the next one does not write over. */
static void tidy(void)
{
	static const char *const left[] = { "multi-queue-num-queues", "ring-page-order", "feature-persistent", "queue-0", "queue-1",
					    "queue-2", "queue-3", "ring-ref", "ring-ref0", "ring-ref1", "ring-ref2", "ring-ref3" };
	char path[200];

	for (unsigned k = 0; k < sizeof(left) / sizeof(left[0]); k++) {
		snprintf(path, sizeof(path), "%s/%s", liar.dir, left[k]);
		pvb_store_rm(liar.st, PVB_NO_TXN, path);
	}
}

/* From any state to "offered again": what a guest's driver does when it is unloaded and loaded.  A back end that was
 * about to connect when we closed and began anew has connected to nothing; closing again gets it out of that. */
static void begin_anew(void)
{
	int rc = -ETIMEDOUT;

	for (unsigned i = 0; i < 10 && rc != PVB_INIT_WAIT; i++) {
		assert_int_equal(hfront_state(&liar, PVB_CLOSED), 0);
		assert_true(hfront_wait_back(&liar, 1u << PVB_CLOSED | 1u << PVB_INIT_WAIT, WAIT_MS) > 0);
		hfront_drop(&liar);
		tidy();
		assert_int_equal(hfront_state(&liar, PVB_INITIALISING), 0);
		rc = hfront_wait_back(&liar, 1u << PVB_INIT_WAIT, 2000);
	}
	assert_int_equal(rc, PVB_INIT_WAIT);
}

static void works(void)
{
	uint8_t slot[PVF_SLOT_MAX];

	connect_or_fail(&liar, &(struct hfront_options){ 0 });
	hfront_rw(&liar, slot, BLKIF_OP_READ, 5, 0, 0, 1);
	assert_int_equal(hfront_roundtrip(&liar, 0, slot, 5, WAIT_MS), 0);
	begin_anew();
}

static void error_says(const char *part)
{
	char text[300];
	uint64_t until = pvb_now_ms() + WAIT_MS;

	do {
		hfront_error(&liar, text, sizeof(text));
	} while (text[0] == '\0' && pvb_now_ms() < until && nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL) == 0);
	if (strstr(text, part) == NULL)
		fail_msg("the error node is \"%s\", not \"%s\"", text, part);
}

static int offered(void **state)
{
	if (pvb_state_read(liar.st, PVB_NO_TXN, liar.back) != PVB_INIT_WAIT)
		begin_anew(); /* the test before has failed */
	return 0;
}

/* Entries of a directory in /proc, or lines of a file there. */
static unsigned entries(pid_t pid, const char *what)
{
	char path[64];
	struct dirent *e;
	unsigned n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, what);
	d = opendir(path);
	assert_non_null(d);
	while ((e = readdir(d)) != NULL)
		n += e->d_name[0] != '.';
	closedir(d);
	return n;
}

/* pvbackd's children; how many. */
static unsigned workers(pid_t pids[16])
{
	char path[64];
	unsigned n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", backd, backd);
	f = fopen(path, "r");
	assert_non_null(f);
	while (n < 16 && fscanf(f, "%d", &pids[n]) == 1)
		n++;
	fclose(f);
	return n;
}

static void only_one_worker(void)
{
	uint64_t until = pvb_now_ms() + WAIT_MS;
	pid_t pids[16];

	while (workers(pids) != 1 && pvb_now_ms() < until)
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	assert_int_equal(workers(pids), 1);
}

/* ---- the store ------------------------------------------------------------------------------------------ */

static const struct {
	const char *key, *value, *text;
	unsigned queues, order;
} lies[] = {
	{ "multi-queue-num-queues", "", "multi-queue-num-queues" },
	{ "multi-queue-num-queues", "0", "multi-queue-num-queues" },
	{ "multi-queue-num-queues", "-1", "multi-queue-num-queues" },
	{ "multi-queue-num-queues", " 4", "multi-queue-num-queues" },
	{ "multi-queue-num-queues", "4x", "multi-queue-num-queues" },
	{ "multi-queue-num-queues", "0x4", "multi-queue-num-queues" },
	{ "multi-queue-num-queues", "+4", "multi-queue-num-queues" },
	{ "multi-queue-num-queues", "999999999999", "multi-queue-num-queues" },
	{ "multi-queue-num-queues", "99999999999999999999999999", "multi-queue-num-queues" },
	{ "multi-queue-num-queues", "9", "multi-queue-num-queues" },
	{ "multi-queue-num-queues", "2", "queue 0: event-channel is missing" },
	{ "ring-page-order", "", "ring-page-order" },
	{ "ring-page-order", "-1", "ring-page-order" },
	{ "ring-page-order", " 1", "ring-page-order" },
	{ "ring-page-order", "1x", "ring-page-order" },
	{ "ring-page-order", "0x1", "ring-page-order" },
	{ "ring-page-order", "5", "ring-page-order" },
	{ "ring-page-order", "31", "ring-page-order" },
	{ "ring-page-order", "4294967296", "ring-page-order" },
	{ "ring-page-order", "2", "queue 0: ring-ref0 is missing, the ring has 4 pages" },
	{ "ring-ref", NULL, "ring-ref0 is missing, the ring has 1 pages" },
	{ "ring-ref", "", "ring-ref" },
	{ "ring-ref", "4294967296", "ring-ref" },
	{ "ring-ref", "-1", "ring-ref" },
	{ "ring-ref", "1073741823", "first grant 1073741823" },
	{ "ring-ref3", NULL, "ring-ref3 is missing, the ring has 4 pages", 1, 2 },
	{ "ring-ref2", "1073741823", "ring of 4 pages", 1, 2 },
	{ "event-channel", NULL, "event-channel is missing" },
	{ "event-channel", "", "event-channel" },
	{ "event-channel", "65000", "event channel 65000" },
	{ "event-channel", "4294967295", "event" },
	{ "queue-2/event-channel", NULL, "queue 2: event-channel is missing", 4 },
	{ "queue-3/ring-ref", NULL, "queue 3: ring-ref0 is missing", 4 },
	{ "queue-1/ring-ref", "77x", "ring-ref", 4 },
	{ "protocol", "foo", "protocol is \"foo\", served are x86_32-abi and x86_64-abi" },
	{ "protocol", "", "protocol is \"\"" },
	{ "protocol", "x86_64-abi\n[INFO] all is well", "protocol is \"x86_64-abi?[INFO] all is well\"" },
	{ "feature-persistent", "2", "feature-persistent" },
};

static void the_store_lies(void **state)
{
	unsigned fds;

	works();
	only_one_worker();
	fds = entries(backd, "fd");
	for (unsigned i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		struct pvb_pair lie = { lies[i].key, lies[i].value };
		struct hfront_options opt = { .queues = lies[i].queues, .ring_order = lies[i].order, .keys = &lie, .nr_keys = 1 };
		struct pvb_error err;

		if (hfront_connect(&liar, &opt, WAIT_MS, &err) == 0)
			fail_msg("%s = \"%s\" was taken", lie.key, lie.value != NULL ? lie.value : "(none)");
		error_says(lies[i].text);
		begin_anew();
	}
	works();
	still_good();
	only_one_worker();
	assert_int_equal(entries(backd, "fd"), fds);
}

static void the_backend_key_points_elsewhere(void **state)
{
	struct pvb_error err;
	char path[100];
	uint8_t slot[PVF_SLOT_MAX];

	connect_or_fail(&liar, &(struct hfront_options){ 0 });
	snprintf(path, sizeof(path), "/local/domain/0/backend/vbd/%u/%u", good_domid, DEVID);
	assert_int_equal(hfront_write(&liar, "backend", path), 0);
	hfront_write(&liar, "virtual-device", "999");
	hfront_rw(&liar, slot, BLKIF_OP_READ, 5, 0, 0, 1);
	assert_int_equal(hfront_roundtrip(&liar, 0, slot, 5, WAIT_MS), 0);
	still_good();
	begin_anew();
	assert_true(hfront_connect(&liar, &(struct hfront_options){ 0 }, WAIT_MS, &err) < 0);
	error_says("the front end's backend key says /local/domain/0/backend/vbd/");
	assert_int_equal(hfront_write(&liar, "backend", liar.back), 0);
	begin_anew();
	works();
	still_good();
}

static void states_in_any_order(void **state)
{
	uint64_t seed = 5, until = pvb_now_ms() + 2000;
	struct pvb_error err;
	unsigned fds = entries(backd, "fd"), n = 0;

	connect_or_fail(&liar, &(struct hfront_options){ 0 });
	for (; pvb_now_ms() < until; n++) {
		static const char *const odd[] = { "", "-1", "4x", "99999999999", "0x4" };

		if (n % 16 == 0)
			hfront_write(&liar, "state", odd[n / 16 % 5]);
		else
			hfront_state(&liar, n % 3 == 0 ? PVB_INITIALISED : rnd(&seed) % 10);
		nanosleep(&(struct timespec){ .tv_nsec = 800000 }, NULL);
	}
	print_message("%u states\n", n);
	still_good();
	begin_anew();
	/* the back end may still be busy with what it saw in the middle of that, and say so; not for long */
	for (unsigned i = 0; hfront_connect(&liar, &(struct hfront_options){ 0 }, WAIT_MS, &err) < 0; i++) {
		if (i == 3)
			fail_msg("%s", err.text);
		begin_anew();
	}
	begin_anew();
	works();
	only_one_worker();
	assert_int_equal(entries(backd, "fd"), fds);
}

static void connecting_without_end(void **state)
{
	unsigned fds = entries(backd, "fd");

	for (unsigned i = 0; i < 150; i++) {
		bool lie = i % 3 == 2;
		struct pvb_pair key = { "ring-ref", "1073741823" };
		struct hfront_options opt = { .queues = 1 + i % 2, .keys = &key, .nr_keys = lie && i % 2 == 0 };
		struct pvb_error err = { 0 };
		int rc = hfront_connect(&liar, &opt, WAIT_MS, &err);

		if ((rc < 0) != (opt.nr_keys == 1))
			fail_msg("round %u: %s", i, err.text);
		begin_anew();
	}
	for (unsigned i = 0; i < 300; i++) { /* without waiting for anything */
		hfront_state(&liar, PVB_INITIALISED);
		hfront_state(&liar, PVB_CLOSED);
		hfront_state(&liar, PVB_INITIALISING);
	}
	begin_anew();
	works();
	still_good();
	only_one_worker();
	assert_int_equal(entries(backd, "fd"), fds);
}

/* ---- the ring ------------------------------------------------------------------------------------------- */

static void events_without_work(void **state)
{
	uint8_t slot[PVF_SLOT_MAX];

	connect_or_fail(&liar, &(struct hfront_options){ 0 });
	for (unsigned i = 0; i < 100000; i++)
		hfront_notify(&liar, 0);
	still_good();
	hfront_rw(&liar, slot, BLKIF_OP_READ, 5, 0, 0, 1);
	assert_int_equal(hfront_roundtrip(&liar, 0, slot, 5, WAIT_MS), 0);
	begin_anew();
}

static void a_ring_that_lies(void **state)
{
	connect_or_fail(&liar, &(struct hfront_options){ 0 });
	hfront_push_to(&liar, 0, liar.q[0].prod + 33);
	assert_true(hfront_wait_back(&liar, 1u << PVB_CLOSING | 1u << PVB_CLOSED, WAIT_MS) > 0);
	error_says("claims 33 requests at index 0, the ring has 32 slots");
	begin_anew();
	works();
	still_good();
}

/* ---- deaths ---------------------------------------------------------------------------------------------- */

static void the_worker_dies(void **state)
{
	static const int signals[] = { SIGKILL, SIGSEGV };
	unsigned fds = entries(backd, "fd");
	pid_t before[16], after[16];

	for (unsigned i = 0; i < 2; i++) {
		only_one_worker();
		assert_int_equal(workers(before), 1);
		connect_or_fail(&liar, &(struct hfront_options){ 0 });
		assert_int_equal(workers(after), 2);
		kill(after[0] == before[0] ? after[1] : after[0], signals[i]);
		assert_true(hfront_wait_back(&liar, 1u << PVB_CLOSING | 1u << PVB_CLOSED, WAIT_MS) > 0);
		error_says("worker");
		still_good();
		begin_anew();
		works();
	}
	only_one_worker();
	assert_int_equal(entries(backd, "fd"), fds);
}

static void the_guest_dies(void **state)
{
	char path[100];
	struct pvb_error err;
	uint64_t until = pvb_now_ms() + WAIT_MS;

	connect_or_fail(&liar, &(struct hfront_options){ 0 });
	assert_int_equal(pvb_local_domain_destroy(dir, liar_domid, &err), 0);
	still_good();
	snprintf(path, sizeof(path), "/local/domain/0/backend/vbd/%u/%u", liar_domid, DEVID);
	while (pvb_state_read(tool, PVB_NO_TXN, path) != PVB_CLOSED && pvb_now_ms() < until)
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	assert_int_equal(pvb_state_read(tool, PVB_NO_TXN, path), PVB_CLOSED);
	only_one_worker();
	still_good();
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup(fn, offered)
	const struct CMUnitTest tests[] = {
		T(the_store_lies), T(the_backend_key_points_elsewhere),
		T(states_in_any_order), T(connecting_without_end),
		T(events_without_work), T(a_ring_that_lies), T(the_worker_dies),
		T(the_guest_dies),
	};

	alarm(120); /* whatever happens, an end */
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
