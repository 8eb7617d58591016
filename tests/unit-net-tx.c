// SPDX-License-Identifier: GPL-2.0-or-later
/* Packets out of the TX ring: from the guest's slots to a port, whole or in part, and the answers. */
#include "unit.h"
#include <stdio.h>
#include "net-rig.h"

static struct rig rig;
static struct rnic nic, peer;
static uint8_t out[65536];
static struct rgot got;

static int set_up(void **state)
{
	rig_new(&rig);
	return 0;
}

static int tear_down(void **state)
{
	rig_free(&rig);
	return 0;
}

static void guest_to_port_to_guest(void **state)
{
	static const unsigned lens[] = { 60, 192, 193, 1514, 4096, 4097, 9014, 65535 };
	uint64_t seed = 7;

	for (unsigned whole = 0; whole < 2; whole++) {
		rnic_connect(&rig, &peer, &(struct rnic_options){ .shared_event = whole });
		rnic_connect(&rig, &nic, &(struct rnic_options){ .whole = whole });
		nic.port.does = RPORT_FORWARDS;
		nic.port.to = &peer;
		for (unsigned i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
			rig_udp4(out, lens[i], &seed);
			assert_int_equal(rnic_send(&nic, 0, out, lens[i], NULL, 0, 0, 0), NETIF_RSP_OKAY);
			rnic_await(&peer, 0, &got);
			assert_int_equal(got.status, 0);
			assert_int_equal(got.len, lens[i]);
			assert_int_equal(got.slots, (lens[i] + 4095) / 4096);
			assert_memory_equal(got.data, out, lens[i]);
			rnic_post(&peer, 0, got.slots);
		}
		rnic_free(&nic);
		rnic_free(&peer);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(guest_to_port_to_guest),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
