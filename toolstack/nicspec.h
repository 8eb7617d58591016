/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVL_NICSPEC_H
#define PVL_NICSPEC_H
/* One NIC specification of xl-network-configuration(5) as the local host reads it: KEY=VALUE parts between commas.
 *
 *   mac=ADDRESS    port=PORT    rate=10Mb/s[@20ms]    ip=ADDRESS[ ADDRESS]...    mtu=BYTES    devid=NUMBER
 *   untrusted | trusted    bridge=PORT,script=vif-pvbus (the same as port=PORT, as it is said under xl)
 *
 * On Xen libxl's own structure is filled (host-xen-devs.c); there port=PORT becomes bridge=PORT,script=vif-pvbus.
 *
 * Trust    The port's text is pvbackd's to judge.
 * Errors   -EINVAL with the offending part.  Never logs.
 */
#include <stdbool.h>
#include <stdint.h>
#include "error.h"

#define NICSPEC_SCRIPT "vif-pvbus"

struct nicspec {
	int devid;                  /* -1: the first free one */
	uint8_t mac[6];             /* as said, or a new one of Xen's range */
	char *port;                 /* NULL: pvbackd's default, a TAP */
	char *ip;                   /* or NULL */
	uint64_t rate_bytes, rate_usecs; /* 0, 0: unlimited */
	uint32_t mtu;
	bool untrusted;
};

/* specs: one or more strings, all about the same NIC (as network-attach takes them). */
int nicspec_parse(struct nicspec *out, const char *const *specs, int nr, struct pvb_error *err);
void nicspec_free(struct nicspec *n);
/* The same NIC as one specification, malloc'ed; NULL when out of memory. */
char *nicspec_text(const struct nicspec *n);
/* "10Mb/s", "1GB/s@20ms": bytes in each interval (50 ms unless it says). */
int nicspec_rate(const char *text, uint64_t *bytes, uint64_t *usecs, struct pvb_error *err);
int nicspec_mac(const char *text, uint8_t mac[6], struct pvb_error *err);
void nicspec_mac_text(const uint8_t mac[6], char buf[18]);
#endif
