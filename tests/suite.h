/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_TESTS_SUITE_H
#define PVB_TESTS_SUITE_H
/* Where a suite runs: on the bus named by $PVBUS_TEST_HV (and, for the granting side,
 * $PVBUS_TEST_HV_FRONT), or on a local fabric of its own in a temporary directory.
 *
 * On real Xen both halves are dom0, which may grant to itself.
 */
#include <stdio.h>
#include <unistd.h>
#include "local/fabric.h"
#include "store.h"
#include "unit.h"

static struct suite {
	const char *back, *front;   /* specs */
	struct pvb_fabric *fabric;
	char dir[64], back_spec[96], front_spec[96];
} suite;

/* What a toolstack puts into a guest's home before the guest runs. */
static int suite_home(uint32_t domid, struct pvb_error *err)
{
	struct pvb_store *st;
	char home[64], path[80];
	int rc;

	rc = pvb_store_open(&st, suite.back, err);
	if (rc < 0)
		return rc;
	pvb_store_home(domid, home, sizeof(home));
	snprintf(path, sizeof(path), "%s/domid", home);
	rc = pvb_store_mkdir(st, PVB_NO_TXN, home);
	rc = rc < 0 ? rc : pvb_store_perms(st, PVB_NO_TXN, home, 0, domid);
	rc = rc < 0 ? rc : pvb_store_printf(st, PVB_NO_TXN, path, "%u", domid);
	pvb_store_close(st);
	return rc;
}

/* guest: the granting side is a domain of its own.  Only where we may make one. */
static void suite_start(bool guest)
{
	struct pvb_error err = { 0 };
	uint32_t domid = 0;

	suite.back = getenv("PVBUS_TEST_HV");
	suite.front = getenv("PVBUS_TEST_HV_FRONT");
	if (suite.back) {
		suite.front = suite.front ? suite.front : suite.back;
		return;
	}
	snprintf(suite.dir, sizeof(suite.dir), "/tmp/pvbus-suite-XXXXXX");
	if (!mkdtemp(suite.dir) || pvb_fabric_start(&suite.fabric, suite.dir, &err) < 0 ||
	    (guest && pvb_local_domain_create(suite.dir, "front", 2048, &domid, &err) < 0)) {
		fprintf(stderr, "local fabric in %s: %s\n", suite.dir, err.text);
		exit(99);
	}
	snprintf(suite.back_spec, sizeof(suite.back_spec), "local:%s", suite.dir);
	snprintf(suite.front_spec, sizeof(suite.front_spec), "local:%s:%u", suite.dir, domid);
	suite.back = suite.back_spec;
	suite.front = suite.front_spec;
	if (guest && suite_home(domid, &err) < 0) {
		fprintf(stderr, "store of %s: %s\n", suite.dir, err.text);
		exit(99);
	}
}

static void suite_stop(void)
{
	if (!suite.fabric)
		return;
	pvb_fabric_stop(suite.fabric);
	rmdir(suite.dir);
	memset(&suite, 0, sizeof(suite));
}
#endif
