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
#include "unit.h"

static struct suite {
	const char *back, *front;   /* specs */
	struct pvb_fabric *fabric;
	char dir[64], back_spec[96], front_spec[96];
} suite;

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
