// SPDX-License-Identifier: GPL-2.0-or-later
/* See hostile-stage.h.  This file sets the stage and leads from one lie to the next; hostile-look.c looks at what they
 * have done. */
#include "unit.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "bus/local/fabric.h"
#include "bus/loop.h"
#include "tests/hostile-place.h"
#include "tests/tree.h"

bool stage_on_xen;
uint32_t stage_good_domid;
struct stage_place stage = { .ctl = -1 };

static char spec[80];
static struct pvb_fabric *fabric;
static struct hfront *const *liars;
static unsigned nr_liars;

void stage_nap(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
}

/* ---- local: the honest guest, its own thread, its own handles ------------------------------------------- */

struct stage_honest stage_honest;
static pthread_t honest_thread;
static int honest_stop;

static void *do_good(void *arg)
{
	while (!__atomic_load_n(&honest_stop, __ATOMIC_RELAXED)) {
		uint64_t t = pvb_now_ns();

		if (!stage.kind->good_round(stage_honest.wrong))
			break;
		t = (pvb_now_ns() - t) / 1000;
		if (t > stage_honest.worst_us)
			stage_honest.worst_us = t;
		__atomic_store_n(&stage_honest.us[stage_honest.rounds % STAGE_TIMES], (uint32_t)t, __ATOMIC_RELAXED);
		__atomic_fetch_add(&stage_honest.rounds, 1, __ATOMIC_RELEASE);
		nanosleep(&(struct timespec){ .tv_nsec = 200000 }, NULL); /* others share the machine */
	}
	return NULL;
}

/* ---- local: the stage ----------------------------------------------------------------------------------- */

static void start_pvbackd(void)
{
	const char *top = getenv("abs_top_builddir");
	char path[300], byte;
	int ready[2];

	snprintf(path, sizeof(path), "%s/backend/pvbackd", top != NULL ? top : "..");
	snprintf(stage.log_path, sizeof(stage.log_path), "%s.log", stage.dir);
	assert_int_equal(pipe(ready), 0);
	stage.backd = fork();
	assert_true(stage.backd >= 0);
	if (stage.backd == 0) {
		int fd = open(stage.log_path, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);

		prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves nobody behind */
		close(ready[0]);
		dup2(fd, 1);
		dup2(fd, 2);
		dup2(ready[1], 3);
		if (ready[1] != 3)
			close(ready[1]);
		execl(path, path, "--hv", spec, "--ready-fd", "3", "--max-nic-queues", "4", NULL);
		_exit(127);
	}
	close(ready[1]);
	assert_true(read(ready[0], &byte, 1) >= 0); /* closed when it serves, or when it is dead */
	close(ready[0]);
	assert_int_equal(waitpid(stage.backd, NULL, WNOHANG), 0);
}

/* What a toolstack writes for a domain before its devices. */
static void make_home(uint32_t domid)
{
	char path[64], num[16];

	snprintf(path, sizeof(path), "/local/domain/%u", domid);
	assert_int_equal(pvb_store_write(stage.store, PVB_NO_TXN, path, ""), 0);
	assert_int_equal(pvb_store_perms(stage.store, PVB_NO_TXN, path, 0, domid), 0);
	snprintf(path, sizeof(path), "/local/domain/%u/domid", domid);
	snprintf(num, sizeof(num), "%u", domid);
	assert_int_equal(pvb_store_write(stage.store, PVB_NO_TXN, path, num), 0);
}

static void offer(uint32_t domid, const struct stage_device *d)
{
	struct pvb_error err = { 0 };

	if (hfront_offer(stage.store, stage.kind->class, 0, domid, d->devid, d->keys, d->nr_keys, &err) < 0)
		fail_msg("%s", err.text);
}

void stage_ask_pvbackd(const char *path)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };

	snprintf(to.sun_path, sizeof(to.sun_path), "%s", path);
	stage.ctl = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (stage.ctl >= 0 && connect(stage.ctl, (struct sockaddr *)&to, sizeof(to)) == 0)
		return;
	close(stage.ctl);
	stage.ctl = -1;
}

static void local_up(void)
{
	char who[90], why[STAGE_WHY] = "";
	struct pvb_error err = { 0 };

	snprintf(stage.dir, sizeof(stage.dir), "/tmp/pvb-hostile.XXXXXX");
	assert_non_null(mkdtemp(stage.dir));
	snprintf(spec, sizeof(spec), "local:%s", stage.dir);
	if (pvb_fabric_start(&fabric, stage.dir, &err) < 0 || pvb_store_open(&stage.store, spec, &err) < 0 ||
	    pvb_local_domain_create(stage.dir, "liar", 4096, &stage.liar_domid, &err) < 0 ||
	    pvb_local_domain_create(stage.dir, "good", 2048, &stage_good_domid, &err) < 0)
		fail_msg("%s", err.text);
	start_pvbackd();
	snprintf(who, sizeof(who), "%s/pvbackd.sock", stage.dir);
	stage_ask_pvbackd(who);
	assert_true(stage.ctl >= 0);
	make_home(stage_good_domid);
	make_home(stage.liar_domid);
	for (unsigned i = 0; i < STAGE_DEVICES && stage.kind->good[i].nr_keys > 0; i++)
		offer(stage_good_domid, &stage.kind->good[i]);
	for (unsigned i = 0; i < nr_liars; i++)
		offer(stage.liar_domid, &stage.kind->liar[i]);
	snprintf(who, sizeof(who), "%s:%u", spec, stage_good_domid);
	if (!stage.kind->good_up(who, why))
		fail_msg("%s", why);
	assert_int_equal(pthread_create(&honest_thread, NULL, do_good, NULL), 0);
}

void stage_up(const struct stage_kind *what, struct hfront *const *devices)
{
	const char *hv = getenv("PVBUS_TEST_HV"), *domid = getenv("HOSTILE_GOOD_DOMID");
	struct pvb_error err = { 0 };
	char who[90] = "xen";

	stage.kind = what;
	liars = devices;
	for (nr_liars = 0; nr_liars < STAGE_DEVICES && stage.kind->liar[nr_liars].nr_keys > 0; nr_liars++)
		;
	stage_on_xen = hv != NULL && strcmp(hv, "xen") == 0;
	if (!stage_on_xen) {
		local_up();
		snprintf(who, sizeof(who), "%s:%u", spec, stage.liar_domid);
	} else {
		assert_non_null(domid);
		stage_good_domid = (uint32_t)strtoul(domid, NULL, 10);
		if (pvb_store_open(&stage.store, "xen", &err) < 0)
			fail_msg("%s", err.text);
	}
	for (unsigned i = 0; i < nr_liars; i++) {
		if (hfront_open(liars[i], who, stage.kind->class, stage.kind->liar[i].devid, &err) < 0)
			fail_msg("%s", err.text);
		stage.liar_domid = liars[i]->domid;
		assert_int_equal(hfront_wait_back(liars[i], 1u << PVB_INIT_WAIT, STAGE_WAIT_MS), PVB_INIT_WAIT);
	}
	stage_good(); /* its worker has all that it will ever have: a mark before that would count that against a test */
}

/* The sanitizers of pvbackd and its workers write there, too.  A SEGV is one that a test has sent. */
static bool sanitizer_spoke(void)
{
	static const char *const words[] = { "runtime error:", "AddressSanitizer: heap", "AddressSanitizer: stack",
					     "AddressSanitizer: global", "AddressSanitizer: use", "LeakSanitizer:",
					     "WARNING: ThreadSanitizer:" };
	char line[2048];
	bool found = false;
	FILE *f = fopen(stage.log_path, "r");

	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++)
			found = found || strstr(line, words[i]) != NULL;
	if (f != NULL)
		fclose(f);
	return found;
}

static void local_down(void)
{
	int status;

	stage_good();
	__atomic_store_n(&honest_stop, 1, __ATOMIC_RELAXED);
	pthread_join(honest_thread, NULL);
	if (stage_honest.wrong[0] != '\0')
		fail_msg("the honest guest: %s", stage_honest.wrong);
	print_message("honest guest: %u rounds, the slowest took %llu us\n", stage_honest.rounds,
		      (unsigned long long)stage_honest.worst_us);
	close(stage.ctl);
	kill(stage.backd, SIGTERM);
	assert_int_equal(waitpid(stage.backd, &status, 0), stage.backd);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	if (sanitizer_spoke())
		fail_msg("a sanitizer says something in %s", stage.log_path);
	stage.kind->good_down();
}

void stage_down(void)
{
	if (nr_liars == 0 || liars[0]->hv == NULL)
		fail_msg("the stage was never set");
	if (!stage_on_xen)
		local_down();
	for (unsigned i = 0; i < nr_liars; i++) {
		stage.kind->drop(liars[i]);
		hfront_close(liars[i]);
	}
	pvb_store_close(stage.store);
	if (!stage_on_xen) {
		pvb_fabric_stop(fabric);
		remove_tree(stage.dir);
		unlink(stage.log_path);
	}
}

void stage_destroy_liar(struct hfront *in_use)
{
	uint64_t until = pvb_now_ms() + STAGE_WAIT_MS;
	struct pvb_error err;

	assert_int_equal(pvb_local_domain_destroy(stage.dir, stage.liar_domid, &err), 0);
	while (pvb_state_read(stage.store, PVB_NO_TXN, in_use->back) != PVB_CLOSED && pvb_now_ms() < until)
		stage_nap();
	assert_int_equal(pvb_state_read(stage.store, PVB_NO_TXN, in_use->back), PVB_CLOSED);
}

/* ---- from one lie to the next ----------------------------------------------------------------------------- */

/* Keys of the last connection. */
static void tidy(struct hfront *h)
{
	static const char *const kept[] = { "backend", "backend-id", "state", "virtual-device", "device-type", "handle" };
	char path[200], **names;
	unsigned nr, k;

	assert_int_equal(pvb_store_list(h->st, PVB_NO_TXN, h->dir, &names, &nr), 0);
	for (unsigned i = 0; i < nr; i++) {
		for (k = 0; k < sizeof(kept) / sizeof(kept[0]) && strcmp(names[i], kept[k]) != 0; k++)
			;
		if (k < sizeof(kept) / sizeof(kept[0]))
			continue;
		snprintf(path, sizeof(path), "%s/%s", h->dir, names[i]);
		pvb_store_rm(h->st, PVB_NO_TXN, path);
	}
	pvb_store_list_free(names, nr);
}

/* A back end that was about to connect when we closed and began anew has connected to nothing; closing again gets it
 * out of that. */
void stage_begin_anew(struct hfront *h)
{
	int rc = -ETIMEDOUT;

	for (unsigned i = 0; i < 10 && rc != PVB_INIT_WAIT; i++) {
		assert_int_equal(hfront_state(h, PVB_CLOSED), 0);
		assert_true(hfront_wait_back(h, stage.kind->closed, STAGE_WAIT_MS) > 0);
		stage.kind->drop(h);
		tidy(h);
		assert_int_equal(hfront_state(h, PVB_INITIALISING), 0);
		rc = hfront_wait_back(h, 1u << PVB_INIT_WAIT, STAGE_WAIT_MS / 5);
	}
	assert_int_equal(rc, PVB_INIT_WAIT);
}

void stage_error_says(struct hfront *h, const char *part)
{
	uint64_t until = pvb_now_ms() + STAGE_WAIT_MS;
	char text[300];

	do {
		hfront_error(h, text, sizeof(text));
	} while (text[0] == '\0' && pvb_now_ms() < until && (stage_nap(), true));
	if (strstr(text, part) == NULL)
		fail_msg("the error node is \"%s\", not \"%s\"", text, part);
}

int stage_offered(void **state)
{
	for (unsigned i = 0; i < nr_liars; i++)
		if (pvb_state_read(liars[i]->st, PVB_NO_TXN, liars[i]->back) != PVB_INIT_WAIT)
			stage_begin_anew(liars[i]); /* the test before has failed */
	stage_mark();
	return 0;
}

int stage_as_before(void **state)
{
	stage_good();
	stage_idle();
	return 0;
}

/* What a key of the ring may say; never 0 or 1, which are grants of a real guest's console and store. */
static void odd_text(uint64_t *seed, char text[24])
{
	static const char *const odd[] = { "", "-1", "4x", "99999999999", "0x4", " 8", "8 ", "\n", "%s%n", "\xff\xfe" };
	unsigned k = rnd(seed) % 16;

	if (k < sizeof(odd) / sizeof(odd[0]))
		snprintf(text, 24, "%s", odd[k]);
	else
		snprintf(text, 24, "%u", 8 + rnd(seed) % (k % 2 != 0 ? 64 : 0x7ffffff0u));
}

void stage_walk(struct hfront *h, unsigned ready, const char *const *keys, unsigned nr_keys, unsigned seconds)
{
	uint64_t seed = 5, began = pvb_now_ms(), until = began + seconds * 1000, next = began + seconds * 250;
	char text[24];
	unsigned n = 0;

	for (; pvb_now_ms() < until; n++) {
		uint64_t due = began + n; /* a thousand a second, if the store can */

		odd_text(&seed, text);
		if (n % 4 == 3)
			hfront_write(h, keys[rnd(&seed) % nr_keys], text);
		else if (n % 16 == 0)
			hfront_write(h, "state", text);
		else
			hfront_state(h, n % 3 == 0 ? ready : 1 + rnd(&seed) % 6);
		if (pvb_now_ms() > next) {
			stage_good();
			next += seconds * 250;
		}
		while (pvb_now_ms() < due)
			nanosleep(&(struct timespec){ .tv_nsec = 200000 }, NULL);
	}
	print_message("%u states and keys in %u s\n", n, seconds);
	stage_good();
}
