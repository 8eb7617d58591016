/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_TESTS_HOSTILE_DISKS_H
#define PVB_TESTS_HOSTILE_DISKS_H
#define DISKS_DEVID 51712u     /* of the disk that is lied to, writable; HLIE_SECTORS long */
#define DISKS_RO_DEVID 51728u  /* another one, read-only */
#endif
