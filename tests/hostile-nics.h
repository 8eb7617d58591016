/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_TESTS_HOSTILE_NICS_H
#define PVB_TESTS_HOSTILE_NICS_H
#define NICS_ECHO 0u           /* of the liar, null?echo=on: in a worker of its own, and all comes back */
#define NICS_LAN 1u            /* two more, on the switch that the honest guest is on */
#define NICS_LAN_2 2u
#define NICS_GOOD_IP "10.9.0.2" /* on Xen, where domain 0 is on the switch's uplink */
#endif
