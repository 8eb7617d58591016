// SPDX-License-Identifier: GPL-2.0-or-later
/* How pvl asks a PV guest for a PCI device, against a pciback and a guest's driver made here, on the local fabric's store: a
 * guest that obeys, one that does not answer, one that stops half way; and the list that is left. */
#include "config.h"
#include "unit.h"
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include "suite.h"
#include "host-xen-pci.h"

#define BACK  "/local/domain/0/backend/pci/7/0"
#define FRONT "/local/domain/7/device/pci/0"
#define A 0x0080u /* 0000:00:10.0 */
#define B 0x0088u /* 0000:00:11.0 */

static struct pvl pvl = { .verbose = -1, .timeout_ms = -1 };
static struct host host = { .p = &pvl };

/* --- the other side ---------------------------------------------------------------------------------- */

static struct {
	struct pvb_store *st;
	bool guest, pciback;   /* which of the two are awake */
	atomic_bool stop;
	pthread_t thread;
} peer;

static unsigned number(struct pvb_store *st, const char *path)
{
	uint64_t v;

	return pvb_store_read_u64(st, PVB_NO_TXN, path, 0, 255, &v) ? 0 : (unsigned)v;
}

static void step(void *arg, const char *path)
{
	unsigned front = number(peer.st, FRONT "/state"), back = number(peer.st, BACK "/state");

	if (peer.guest && back == 7 && front == 4)
		pvb_store_write(peer.st, PVB_NO_TXN, FRONT "/state", "7");
	else if (peer.guest && back == 8 && front == 7)
		pvb_store_write(peer.st, PVB_NO_TXN, FRONT "/state", "4");
	/* as Linux has it, which does not write the device's own state */
	if (peer.pciback && front == 7 && back == 7 && number(peer.st, BACK "/state-0") == 1)
		pvb_store_write(peer.st, PVB_NO_TXN, BACK "/state-0", "3"); /* a new one is taken in */
	if (peer.pciback && front == 7 && back == 7)
		pvb_store_write(peer.st, PVB_NO_TXN, BACK "/state", "8");
	else if (peer.pciback && front == 4 && back == 8)
		pvb_store_write(peer.st, PVB_NO_TXN, BACK "/state", "4");
}

static void *live(void *arg)
{
	struct pvb_watch *w[2];

	if (pvb_store_watch(peer.st, FRONT "/state", step, NULL, &w[0]) || pvb_store_watch(peer.st, BACK "/state", step, NULL, &w[1]))
		return "no watch";
	while (!peer.stop)
		pvb_store_dispatch(peer.st, 50);
	pvb_store_unwatch(&w[0]);
	pvb_store_unwatch(&w[1]);
	return NULL;
}

static void wake(bool guest, bool pciback)
{
	peer.guest = guest;
	peer.pciback = pciback;
	peer.stop = false;
	assert_int_equal(pvb_store_open(&peer.st, suite.back, NULL), 0);
	assert_int_equal(pthread_create(&peer.thread, NULL, live, NULL), 0);
}

static void sleep_again(void)
{
	void *failed;

	peer.stop = true;
	assert_int_equal(pthread_join(peer.thread, &failed), 0);
	assert_null(failed);
	pvb_store_close(peer.st);
}

/* --- this side --------------------------------------------------------------------------------------- */

static void put(const char *path, const char *value)
{
	assert_int_equal(pvb_store_write(host.store, PVB_NO_TXN, path, value), 0);
}

static void expect(const char *path, const char *want) /* NULL: no node */
{
	char *got = NULL;
	int rc = pvb_store_read(host.store, PVB_NO_TXN, path, &got);

	if (want ? rc || strcmp(got, want) : rc != -ENOENT)
		fail_msg("%s: \"%s\" (%d), wanted \"%s\"", path, got ? got : "", rc, want ? want : "none");
	free(got);
}

/* A guest with two devices, all connected. */
static int build(void **state)
{
	static const char *const nodes[][2] = {
		{ BACK "/state", "4" }, { FRONT "/state", "4" }, { BACK "/num_devs", "2" },
		{ BACK "/dev-0", "0000:00:10.0" }, { BACK "/state-0", "3" }, { BACK "/vdev-0", "0000:00:00.00" },
		{ BACK "/key-0", "0000:00:10.0" }, { BACK "/opts-0", "permissive=0" },
		{ BACK "/dev-1", "0000:00:11.0" }, { BACK "/state-1", "3" }, { BACK "/vdev-1", "0000:00:01.00" },
		{ BACK "/key-1", "0000:00:11.0" }, { BACK "/vdevfn-1", "30" },
	};

	if (pvb_store_open(&host.store, suite.back, NULL))
		return -1;
	for (unsigned i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++)
		put(nodes[i][0], nodes[i][1]);
	return 0;
}

static int clear(void **state)
{
	pvb_store_rm(host.store, PVB_NO_TXN, BACK);
	pvb_store_rm(host.store, PVB_NO_TXN, FRONT);
	pvb_store_close(host.store);
	host.store = NULL;
	return 0;
}

static struct pci_slot slot(uint32_t sbdf)
{
	struct pci_slot s;

	assert_int_equal(xen_pci_slot(&host, 7, sbdf, &s), 0);
	return s;
}

static int ask(int timeout_ms, struct pvb_error *err)
{
	struct pci_slot s = slot(A);

	return xen_pcipv_ask(&host, 7, &s, timeout_ms, err);
}

static void the_list(void **state)
{
	struct pci_slot *list;
	unsigned nr;

	put(BACK "/num_devs", "4");
	put(BACK "/dev-2", "nonsense");
	assert_int_equal(xen_pci_slots(&host, 7, &list, &nr, NULL), 0);
	assert_int_equal(nr, 2); /* dev-2 is no device, dev-3 is not there */
	assert_int_equal(list[0].sbdf, A);
	assert_int_equal(list[1].vdevfn, 0x30);
	free(list);
	assert_int_equal(xen_pci_slots(&host, 9, &list, &nr, NULL), 0);
	assert_int_equal(nr, 0);
	free(list);
}

static void a_guest_obeys(void **state)
{
	struct pvb_error err = { 0 };

	wake(true, true);
	if (ask(10000, &err))
		fail_msg("%s", err.text);
	sleep_again();
	expect(BACK "/state-0", "5");
	expect(BACK "/state-1", "3");
	expect(BACK "/state", "4");
	assert_int_equal(xen_pcipv_forget(&host, 7, A), 0);
	expect(BACK "/num_devs", "1");
	expect(BACK "/dev-0", "0000:00:11.0");
	expect(BACK "/state-0", "3");
	expect(BACK "/vdevfn-0", "30");
	expect(BACK "/opts-0", NULL); /* the other had none */
	expect(BACK "/dev-1", NULL);
	expect(BACK "/key-1", NULL);
	assert_int_equal(xen_pcipv_forget(&host, 7, A), 0); /* twice is no harm */
	expect(BACK "/num_devs", "1");
	assert_int_equal(xen_pcipv_forget(&host, 7, B), 0);
	expect(BACK "/num_devs", "0");
	expect(BACK "/dev-0", NULL);
}

/* It keeps the device, and what it sees when it wakes up is as it was. */
static void a_guest_does_not_answer(void **state)
{
	struct pvb_error err = { 0 };

	wake(false, true);
	assert_int_equal(ask(200, &err), -ETIMEDOUT);
	sleep_again();
	assert_non_null(strstr(err.text, "0000:00:10.0: domain 7 did not let go of it within 200 ms; it has it as before"));
	expect(BACK "/state-0", "3");
	expect(BACK "/state", "4");
	expect(FRONT "/state", "4");
}

static void a_guest_stops_half_way(void **state)
{
	struct pvb_error err = { 0 };

	wake(true, false);
	assert_int_equal(ask(200, &err), -ETIMEDOUT);
	sleep_again();
	assert_non_null(strstr(err.text, "began to let go of it and did not end"));
	expect(BACK "/state-0", "5"); /* nothing is taken back from under its feet */
	expect(FRONT "/state", "7");
}

static void a_guest_never_connected(void **state)
{
	struct pvb_error err = { 0 };

	put(FRONT "/state", "1");
	assert_int_equal(ask(10000, &err), -EBUSY);
	assert_non_null(strstr(err.text, "its driver is Initialising, pciback Connected; --force"));
	expect(BACK "/state-0", "3");
}

static void drive(void)
{
	struct pci_slot s = slot(A);

	wake(false, true);
	xen_pcipv_drive(&host, 7, &s, 10000);
	sleep_again();
	expect(BACK "/state-0", "5");
	expect(BACK "/state", "4");
	expect(FRONT "/state", "4");
}

static void by_force(void **state)
{
	drive();
}

/* ... from one that stopped half way. */
static void by_force_the_rest(void **state)
{
	put(FRONT "/state", "7");
	put(BACK "/state", "7");
	put(BACK "/state-0", "5");
	drive();
}

static void connected(void **state)
{
	struct pvb_error err = { 0 };

	assert_int_equal(xen_pcipv_connected(&host, 7, A, 100, &err), 0);
	put(BACK "/state-0", "1");
	assert_true(xen_pcipv_connected(&host, 7, A, 100, &err) < 0);
	assert_non_null(strstr(err.text, "(its driver: Connected, pciback: Connected, the device: Initialising)"));
	put(BACK "/state-0", "3");
	put(FRONT "/state", "1");
	assert_true(xen_pcipv_connected(&host, 7, A, 100, &err) < 0);
	assert_true(xen_pcipv_connected(&host, 7, 0x1234, 100, &err) < 0);
}

/* The only device, on a bus that is connected already; and one that needs no kick gets none. */
static void a_new_device(void **state)
{
	struct pvb_error err = { 0 };

	put(BACK "/num_devs", "1");
	put(BACK "/state-0", "1");
	wake(true, true);
	xen_pcipv_kick(&host, 7, A);
	if (xen_pcipv_connected(&host, 7, A, 10000, &err))
		fail_msg("%s", err.text);
	sleep_again();
	expect(BACK "/state-0", "3");
	xen_pcipv_kick(&host, 7, A);
	xen_pcipv_kick(&host, 7, 0x1234);
	expect(BACK "/state", "4");
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, build, clear)
int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_list), TEST(a_guest_obeys), TEST(a_guest_does_not_answer), TEST(a_guest_stops_half_way),
		TEST(a_guest_never_connected), TEST(by_force), TEST(by_force_the_rest), TEST(connected), TEST(a_new_device),
	};
	int rc;

	unsetenv("PVBUS_TEST_HV"); /* the paths are those of a real dom0 */
	suite_start(false);
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	suite_stop();
	return rc;
}
