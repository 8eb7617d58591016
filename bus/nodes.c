/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The store keys of each protocol as tables, and the one reader and writer for them. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "nodes.h"

#define DOMID_MAX   0x7fefu  /* DOMID_FIRST_RESERVED - 1 */
#define PATH_MAX_   PVB_STORE_PATH_MAX
#define SECTORS_MAX ((uint64_t)INT64_MAX >> 9) /* a disk's bytes fit off_t */

#define NUM(t, n, w, lo, hi, d, u, h) \
	{ .name = n, .type = t, .writer = w, .min = lo, .max = hi, .def = d, .unit = u, .help = h }
#define U32(n, w, lo, hi, d, u, h) NUM(PVB_KEY_U32, n, w, lo, hi, d, u, h)
#define U64(n, w, lo, hi, d, u, h) NUM(PVB_KEY_U64, n, w, lo, hi, d, u, h)
#define BOOL(n, w, d, h) NUM(PVB_KEY_BOOL, n, w, 0, 1, d, NULL, h)
#define STR(n, w, hi, h) { .name = n, .type = PVB_KEY_STR, .writer = w, .max = hi, .help = h }
#define EXT_BOOL(n, w, h) { .name = n, .type = PVB_KEY_BOOL, .writer = w, .max = 1, .help = h, .extension = true }
#define OURS(n, hi, h) \
	{ .name = n, .type = PVB_KEY_STR, .writer = PVB_BY_BACK, .max = hi, .help = h, .extension = true }

const struct pvb_key pvb_vbd_back[VBD_B_NR] = {
	[VBD_B_FRONTEND]      = STR("frontend", PVB_BY_TOOL, PATH_MAX_, "directory of the front end"),
	[VBD_B_FRONTEND_ID]   = U32("frontend-id", PVB_BY_TOOL, 0, DOMID_MAX, 0, "domain", "domain of the front end"),
	[VBD_B_PARAMS]        = STR("params", PVB_BY_TOOL, 4096,
				    "what to open: [format:]path, or an argument for the script"),
	[VBD_B_SCRIPT]        = STR("script", PVB_BY_TOOL, 4096, "hotplug script"),
	[VBD_B_ONLINE]        = BOOL("online", PVB_BY_TOOL, 0, "1 while the device is to stay; 0 asks for its removal"),
	[VBD_B_MODE]          = STR("mode", PVB_BY_TOOL, 8, "r or w"),
	[VBD_B_DEV]           = STR("dev", PVB_BY_TOOL, 64, "name the disk has in the guest"),
	[VBD_B_TYPE]          = STR("type", PVB_BY_TOOL, 64, "phy, file, tap or qdisk"),
	[VBD_B_DEVICE_TYPE]   = STR("device-type", PVB_BY_TOOL, 64, "disk or cdrom"),
	[VBD_B_REMOVABLE]     = BOOL("removable", PVB_BY_TOOL, 0, "the medium can be taken out"),
	[VBD_B_BOOTABLE]      = BOOL("bootable", PVB_BY_TOOL, 0, "a boot loader may use it"),
	[VBD_B_DIRECT_IO_SAFE] = BOOL("direct-io-safe", PVB_BY_TOOL, 0, "direct I/O from guest memory is allowed"),
	[VBD_B_DISCARD_ENABLE] = BOOL("discard-enable", PVB_BY_TOOL, 1, "offer discard when the image can do it"),
	[VBD_B_PHYSICAL_DEVICE] = STR("physical-device", PVB_BY_TOOL, 64,
				      "major:minor in hex, from the hotplug script"),
	[VBD_B_PHYSICAL_DEVICE_PATH] = STR("physical-device-path", PVB_BY_TOOL, 4096,
					   "path of the image, from the hotplug script"),
	[VBD_B_HOTPLUG_STATUS] = STR("hotplug-status", PVB_BY_TOOL, 64,
				     "connected, error or busy, from the hotplug script"),
	[VBD_B_HOTPLUG_ERROR] = STR("hotplug-error", PVB_BY_TOOL, 1024, "why the hotplug script failed"),
	[VBD_B_STATE]         = U32("state", PVB_BY_BACK, 0, 8, 0, NULL, "xenbus state"),
	[VBD_B_MAX_INDIRECT]  = U32("feature-max-indirect-segments", PVB_BY_BACK, 0, UINT32_MAX, 0, "segments",
				    "most segments of an indirect request; 0: no indirect requests"),
	[VBD_B_MAX_QUEUES]    = U32("multi-queue-max-queues", PVB_BY_BACK, 1, UINT32_MAX, 1, "queues", "most queues"),
	[VBD_B_MAX_RING_ORDER] = U32("max-ring-page-order", PVB_BY_BACK, 0, 31, 0, "log2 pages", "largest ring"),
	[VBD_B_FLUSH]         = BOOL("feature-flush-cache", PVB_BY_BACK, 0, "flush requests are served"),
	[VBD_B_BARRIER]       = BOOL("feature-barrier", PVB_BY_BACK, 0, "barrier writes are served"),
	[VBD_B_DISCARD]       = BOOL("feature-discard", PVB_BY_BACK, 0, "discard requests are served"),
	[VBD_B_DISCARD_GRANULARITY] = U32("discard-granularity", PVB_BY_BACK, 0, UINT32_MAX, 0, "bytes",
					  "unit of discards; 0: a sector"),
	[VBD_B_DISCARD_ALIGNMENT] = U32("discard-alignment", PVB_BY_BACK, 0, UINT32_MAX, 0, "bytes",
					"where the first unit begins"),
	[VBD_B_DISCARD_SECURE] = BOOL("discard-secure", PVB_BY_BACK, 0, "secure discards are served"),
	[VBD_B_PERSISTENT]    = BOOL("feature-persistent", PVB_BY_BACK, 0, "grants may stay mapped between requests"),
	[VBD_B_SECTORS]       = U64("sectors", PVB_BY_BACK, 0, SECTORS_MAX, 0, "sector-size", "size of the disk"),
	[VBD_B_INFO]          = U32("info", PVB_BY_BACK, 0, UINT32_MAX, 0, "bits", "1 cdrom, 2 removable, 4 read-only"),
	[VBD_B_SECTOR_SIZE]   = U32("sector-size", PVB_BY_BACK, 512, 65536, 512, "bytes", "logical sector"),
	[VBD_B_PHYSICAL_SECTOR_SIZE] = U32("physical-sector-size", PVB_BY_BACK, 512, UINT32_MAX, 512, "bytes",
					   "physical sector"),
	[VBD_B_WRITE_ZEROES]  = EXT_BOOL("feature-write-zeroes", PVB_BY_BACK,
					 "requests to write zeroes are served, if the front end says the same"),
	[VBD_B_ERROR]         = OURS("error", 1024, "why the back end gave the device up"),
	[VBD_B_ALARM]         = OURS("alarm", 1024, "what the operator must decide while requests are held"),
	[VBD_B_UUID]          = OURS("uuid", 64, "identity of the image"),
};

const struct pvb_key pvb_vbd_front[VBD_F_NR] = {
	[VBD_F_BACKEND]       = STR("backend", PVB_BY_TOOL, PATH_MAX_, "directory of the back end"),
	[VBD_F_BACKEND_ID]    = U32("backend-id", PVB_BY_TOOL, 0, DOMID_MAX, 0, "domain", "domain of the back end"),
	[VBD_F_VIRTUAL_DEVICE] = U32("virtual-device", PVB_BY_TOOL, 0, UINT32_MAX, 0, NULL,
				     "device number in the guest"),
	[VBD_F_DEVICE_TYPE]   = STR("device-type", PVB_BY_TOOL, 64, "disk or cdrom"),
	[VBD_F_TRUSTED]       = BOOL("trusted", PVB_BY_TOOL, 1, "0: the front end must bounce all data"),
	[VBD_F_STATE]         = U32("state", PVB_BY_FRONT, 0, 8, 0, NULL, "xenbus state"),
	[VBD_F_PROTOCOL]      = STR("protocol", PVB_BY_FRONT, 32, "x86_64-abi, x86_32-abi or arm-abi"),
	[VBD_F_NUM_QUEUES]    = U32("multi-queue-num-queues", PVB_BY_FRONT, 1, PVB_VBD_MAX_QUEUES, 1, "queues",
				    "queues in use"),
	[VBD_F_RING_ORDER]    = U32("ring-page-order", PVB_BY_FRONT, 0, PVB_VBD_MAX_RING_ORDER, 0, "log2 pages",
				    "size of each ring"),
	[VBD_F_PERSISTENT]    = BOOL("feature-persistent", PVB_BY_FRONT, 0, "the front end uses the same grants again"),
	[VBD_F_WRITE_ZEROES]  = EXT_BOOL("feature-write-zeroes", PVB_BY_FRONT, "the front end sends requests to write zeroes"),
};

#define RING_REF(n, h) U32("ring-ref" n, PVB_BY_FRONT, 0, UINT32_MAX - 1, 0, "grant", h)
#define RING_PAGE(n)   [VBD_Q_RING_REF0 + n] = RING_REF(#n, "page " #n " of a ring of several pages")

const struct pvb_key pvb_vbd_queue[VBD_Q_NR] = {
	[VBD_Q_EVENT_CHANNEL] =
		U32("event-channel", PVB_BY_FRONT, 1, INT32_MAX, 0, "port", "event channel of the queue"),
	[VBD_Q_RING_REF] = RING_REF("", "the page of a ring of one page"),
	RING_PAGE(0), RING_PAGE(1), RING_PAGE(2), RING_PAGE(3), RING_PAGE(4), RING_PAGE(5), RING_PAGE(6),
	RING_PAGE(7), RING_PAGE(8), RING_PAGE(9), RING_PAGE(10), RING_PAGE(11), RING_PAGE(12), RING_PAGE(13),
	RING_PAGE(14), RING_PAGE(15),
};

#define TOOL_OURS(n, hi, h) \
	{ .name = n, .type = PVB_KEY_STR, .writer = PVB_BY_TOOL, .max = hi, .help = h, .extension = true }
#define MTU_MIN 68
#define MTU_MAX 65535

const struct pvb_key pvb_vif_back[VIF_B_NR] = {
	[VIF_B_FRONTEND]      = STR("frontend", PVB_BY_TOOL, PATH_MAX_, "directory of the front end"),
	[VIF_B_FRONTEND_ID]   = U32("frontend-id", PVB_BY_TOOL, 0, DOMID_MAX, 0, "domain", "domain of the front end"),
	[VIF_B_ONLINE]        = BOOL("online", PVB_BY_TOOL, 0, "1 while the device is to stay; 0 asks for its removal"),
	[VIF_B_SCRIPT]        = STR("script", PVB_BY_TOOL, 4096, "hotplug script"),
	[VIF_B_MAC]           = STR("mac", PVB_BY_TOOL, 17, "address of the NIC in the guest"),
	[VIF_B_IP]            = STR("ip", PVB_BY_TOOL, 1024, "the only addresses the guest may send from"),
	[VIF_B_BRIDGE]        = STR("bridge", PVB_BY_TOOL, 1024,
				    "bridge for the hotplug script; with the script vif-pvbus the port"),
	[VIF_B_VIFNAME]       = STR("vifname", PVB_BY_TOOL, 64, "name the hotplug script gives the host's interface"),
	[VIF_B_GATEWAYDEV]    = STR("gatewaydev", PVB_BY_TOOL, 64, "interface for the hotplug script vif-route"),
	[VIF_B_RATE]          = STR("rate", PVB_BY_TOOL, 64,
				    "BYTES,USECS: what the guest may send in each such interval; may change at any time"),
	[VIF_B_RX_RATE]       = TOOL_OURS("rx-rate", 64, "the same for what it receives"),
	[VIF_B_MTU]           = U32("mtu", PVB_BY_TOOL, MTU_MIN, MTU_MAX, 1500, "bytes",
				    "largest packet without its Ethernet header"),
	[VIF_B_VLAN]          = STR("vlan", PVB_BY_TOOL, 256, "VLAN of a port of a switch"),
	[VIF_B_HANDLE]        = U32("handle", PVB_BY_TOOL, 0, UINT32_MAX, 0, NULL, "number of the NIC, as DEVID"),
	[VIF_B_TYPE]          = STR("type", PVB_BY_TOOL, 64, "vif or vif_ioemu"),
	[VIF_B_PORT]          = TOOL_OURS("port", 1024, "where frames go when there is no hotplug script"),
	[VIF_B_PAIR]          = TOOL_OURS("pair", 16, "PCI device that is one NIC together with this one"),
	[VIF_B_HOTPLUG_STATUS] = STR("hotplug-status", PVB_BY_TOOL, 64,
				     "connected or error, from the hotplug script; it stays when the guest reconnects"),
	[VIF_B_HOTPLUG_ERROR] = STR("hotplug-error", PVB_BY_TOOL, 1024, "why the hotplug script failed"),
	[VIF_B_STATE]         = U32("state", PVB_BY_BACK, 0, 8, 0, NULL, "xenbus state"),
	[VIF_B_SG]            = BOOL("feature-sg", PVB_BY_BACK, 0, "packets may have several slots"),
	[VIF_B_GSO4]          = BOOL("feature-gso-tcpv4", PVB_BY_BACK, 0, "large TCP packets over IPv4 are taken"),
	[VIF_B_GSO6]          = BOOL("feature-gso-tcpv6", PVB_BY_BACK, 0, "large TCP packets over IPv6 are taken"),
	[VIF_B_CSUM6]         = BOOL("feature-ipv6-csum-offload", PVB_BY_BACK, 0,
				     "packets over IPv6 may lack their TCP or UDP checksum"),
	[VIF_B_RX_COPY]       = BOOL("feature-rx-copy", PVB_BY_BACK, 0, "received data is copied into the guest's pages"),
	[VIF_B_RX_FLIP]       = BOOL("feature-rx-flip", PVB_BY_BACK, 0, "received data is given as pages: never"),
	[VIF_B_MULTICAST]     = BOOL("feature-multicast-control", PVB_BY_BACK, 0, "the guest may list its multicast groups"),
	[VIF_B_DYNAMIC_MULTICAST] = BOOL("feature-dynamic-multicast-control", PVB_BY_BACK, 0,
					 "request-multicast-control may change while connected"),
	[VIF_B_SPLIT_EVENTS]  = BOOL("feature-split-event-channels", PVB_BY_BACK, 0,
				     "sending and receiving may have an event channel each"),
	[VIF_B_MAX_QUEUES]    = U32("multi-queue-max-queues", PVB_BY_BACK, 1, UINT32_MAX, 1, "queues", "most queues"),
	[VIF_B_CTRL_RING]     = BOOL("feature-ctrl-ring", PVB_BY_BACK, 0, "there may be a control ring"),
	[VIF_B_CARRIER]       = BOOL("carrier", PVB_BY_BACK, 1, "the link is up: the host's interface is"),
	[VIF_B_ERROR]         = OURS("error", 1024, "why the back end gave the device up"),
};

const struct pvb_key pvb_vif_front[VIF_F_NR] = {
	[VIF_F_BACKEND]       = STR("backend", PVB_BY_TOOL, PATH_MAX_, "directory of the back end"),
	[VIF_F_BACKEND_ID]    = U32("backend-id", PVB_BY_TOOL, 0, DOMID_MAX, 0, "domain", "domain of the back end"),
	[VIF_F_HANDLE]        = U32("handle", PVB_BY_TOOL, 0, UINT32_MAX, 0, NULL, "number of the NIC, as DEVID"),
	[VIF_F_MAC]           = STR("mac", PVB_BY_TOOL, 17, "address of the NIC"),
	[VIF_F_MTU]           = U32("mtu", PVB_BY_TOOL, MTU_MIN, MTU_MAX, 1500, "bytes",
				    "largest packet without its Ethernet header; the back end writes what the host's "
				    "interface has, and may have later"),
	[VIF_F_TRUSTED]       = BOOL("trusted", PVB_BY_TOOL, 1, "0: the front end must bounce all data"),
	[VIF_F_PAIR]          = EXT_BOOL("pair", PVB_BY_TOOL,
					 "1: with the passed-through NIC of the same address it is one NIC of the guest"),
	[VIF_F_STATE]         = U32("state", PVB_BY_FRONT, 0, 8, 0, NULL, "xenbus state"),
	[VIF_F_NUM_QUEUES]    = U32("multi-queue-num-queues", PVB_BY_FRONT, 1, PVB_VIF_MAX_QUEUES, 1, "queues",
				    "queues in use"),
	[VIF_F_RX_COPY]       = BOOL("request-rx-copy", PVB_BY_FRONT, 0, "copy received data: must be 1"),
	[VIF_F_RX_NOTIFY]     = BOOL("feature-rx-notify", PVB_BY_FRONT, 0, "new receive buffers are notified"),
	[VIF_F_SG]            = BOOL("feature-sg", PVB_BY_FRONT, 0, "received packets may have several slots"),
	[VIF_F_GSO4]          = BOOL("feature-gso-tcpv4", PVB_BY_FRONT, 0, "large TCP packets over IPv4 are taken"),
	[VIF_F_GSO6]          = BOOL("feature-gso-tcpv6", PVB_BY_FRONT, 0, "large TCP packets over IPv6 are taken"),
	[VIF_F_NO_CSUM4]      = BOOL("feature-no-csum-offload", PVB_BY_FRONT, 0,
				     "1: packets over IPv4 must have their TCP or UDP checksum"),
	[VIF_F_CSUM6]         = BOOL("feature-ipv6-csum-offload", PVB_BY_FRONT, 0,
				     "packets over IPv6 may lack their TCP or UDP checksum"),
	[VIF_F_REQUEST_MULTICAST] = BOOL("request-multicast-control", PVB_BY_FRONT, 0,
					 "only multicast groups that the guest listed are wanted"),
	[VIF_F_CTRL_RING_REF] = U32("ctrl-ring-ref", PVB_BY_FRONT, 0, UINT32_MAX - 1, 0, "grant", "page of the control ring"),
	[VIF_F_EVENT_CHANNEL_CTRL] = U32("event-channel-ctrl", PVB_BY_FRONT, 1, INT32_MAX, 0, "port",
					 "event channel of the control ring"),
};

#define GRANT(n, h) U32(n, PVB_BY_FRONT, 0, UINT32_MAX - 1, 0, "grant", h)
#define CHANNEL(n, h) U32(n, PVB_BY_FRONT, 1, INT32_MAX, 0, "port", h)
#define POOL(n, h) U32(n, PVB_BY_FRONT, 0, PVB_VIF_MAX_POOL, 0, "entries", h)

const struct pvb_key pvb_vif_queue[VIF_Q_NR] = {
	[VIF_Q_TX_RING_REF]   = GRANT("tx-ring-ref", "page of the ring on which the guest sends"),
	[VIF_Q_RX_RING_REF]   = GRANT("rx-ring-ref", "page of the ring on which the guest receives"),
	[VIF_Q_EVENT_CHANNEL] = CHANNEL("event-channel", "event channel of both rings"),
	[VIF_Q_EVENT_CHANNEL_TX] = CHANNEL("event-channel-tx", "event channel of the sending ring"),
	[VIF_Q_EVENT_CHANNEL_RX] = CHANNEL("event-channel-rx", "event channel of the receiving ring"),
	[VIF_Q_TX_POOL_REF]   = GRANT("tx-pool-ref", "page that lists pages the guest sends from (Oracle's kernels)"),
	[VIF_Q_TX_POOL_SIZE]  = POOL("tx-pool-size", "pages in that list"),
	[VIF_Q_RX_POOL_REF]   = GRANT("rx-pool-ref", "page that lists pages the guest receives into (Oracle's kernels)"),
	[VIF_Q_RX_POOL_SIZE]  = POOL("rx-pool-size", "pages in that list"),
};

const struct pvb_key pvb_con_back[CON_B_NR] = {
	[CON_B_FRONTEND]      = STR("frontend", PVB_BY_TOOL, PATH_MAX_, "directory of the console in the guest's"),
	[CON_B_FRONTEND_ID]   = U32("frontend-id", PVB_BY_TOOL, 0, DOMID_MAX, 0, "domain", "domain of the console"),
	[CON_B_ONLINE]        = BOOL("online", PVB_BY_TOOL, 0, "1"),
	[CON_B_STATE]         = U32("state", PVB_BY_TOOL, 0, 8, 0, NULL, "1, and stays so: this console has no states"),
	[CON_B_PROTOCOL]      = STR("protocol", PVB_BY_TOOL, 64, "vt100"),
	[CON_B_SERVE]         = TOOL_OURS("serve", 1023, "where the console is served, see pvbus-console(7); may change at any time"),
	[CON_B_ERROR]         = OURS("error", 1024, "why the console is not served, or not everywhere"),
};

const struct pvb_key pvb_con_front[CON_F_NR] = {
	[CON_F_BACKEND]       = STR("backend", PVB_BY_TOOL, PATH_MAX_, "directory of the back end"),
	[CON_F_LIMIT]         = U64("limit", PVB_BY_TOOL, 0, UINT32_MAX, 0, "bytes", "what xenconsoled keeps; pvbackd keeps 256 KiB"),
	[CON_F_TYPE]          = STR("type", PVB_BY_TOOL, 64, "xenconsoled for the consoles that xenconsoled or pvbackd serve, ioemu for QEMU's"),
	[CON_F_OUTPUT]        = STR("output", PVB_BY_TOOL, PATH_MAX_, "pty"),
	[CON_F_TTY]           = STR("tty", PVB_BY_BACK, PATH_MAX_, "the pseudo-terminal; empty while there is none"),
	[CON_F_PORT]          = U32("port", PVB_BY_TOOL, 1, INT32_MAX, 0, "port", "the guest's event channel"),
	[CON_F_RING_REF]      = U64("ring-ref", PVB_BY_TOOL, 0, INT64_MAX, 0, "frame",
				    "the guest's page by its number in the machine; pvbackd maps grant 0, which Xen keeps for it"),
};

/* What a value must look like, for error texts and the man page. */
static void describe(const struct pvb_key *key, char *buf, size_t len)
{
	switch (key->type) {
	case PVB_KEY_BOOL:
		snprintf(buf, len, "0 or 1");
		break;
	case PVB_KEY_STR:
		snprintf(buf, len, "text, at most %" PRIu64 " bytes", key->max);
		break;
	default:
		snprintf(buf, len, "%" PRIu64 "..%" PRIu64, key->min, key->max);
	}
}

static int refuse(const struct pvb_key *key, const char *text, int code, struct pvb_error *err)
{
	char want[64];

	describe(key, want, sizeof(want));
	return pvb_err(err, code, "%s is \"%.60s\", must be %s", key->name, text, want);
}

static int parse_text(const struct pvb_key *key, const char *text, struct pvb_value *value, struct pvb_error *err)
{
	size_t len = strlen(text);
	const char *p;

	if (len > key->max)
		return refuse(key, text, -E2BIG, err);
	for (p = text; *p; p++)
		if ((unsigned char)*p < 0x20 || (unsigned char)*p == 0x7f)
			return refuse(key, text, -EINVAL, err);
	value->str = strdup(text);
	if (!value->str)
		return pvb_err(err, -ENOMEM, "%s: out of memory", key->name);
	value->present = true;
	return 0;
}

int pvb_nodes_parse(const struct pvb_key *key, const char *text, struct pvb_value *value, struct pvb_error *err)
{
	struct pvb_value v = { .present = true };
	int rc;

	if (key->type == PVB_KEY_STR) {
		rc = parse_text(key, text, &v, err);
	} else {
		rc = pvb_parse_u64(text, key->min, key->max, &v.num);
		/* "01" is a number but not a boolean */
		if (rc == 0 && key->type == PVB_KEY_BOOL && text[1] != '\0')
			rc = -EINVAL;
		if (rc < 0)
			rc = refuse(key, text, rc, err);
	}
	if (rc == 0)
		*value = v;
	return rc;
}

static int read_key(struct pvb_store *st, pvb_txn t, const char *dir, const struct pvb_key *key,
		    struct pvb_value *value, struct pvb_error *err)
{
	char path[PVB_STORE_PATH_MAX + 1];
	char *text = NULL;
	int rc;

	*value = (struct pvb_value){ .num = key->def };
	if (snprintf(path, sizeof(path), "%s/%s", dir, key->name) >= (int)sizeof(path))
		return pvb_err(err, -EINVAL, "%s: path is longer than %u bytes", key->name, PVB_STORE_PATH_MAX);
	rc = pvb_store_read(st, t, path, &text);
	if (rc == -ENOENT)
		return 0;
	if (rc < 0)
		return pvb_err(err, rc, "%s: %s", path, strerror(-rc));
	rc = pvb_nodes_parse(key, text, value, err);
	free(text);
	if (rc < 0) {
		*value = (struct pvb_value){ 0 };
		return pvb_err_prefix(err, rc, "%s", dir);
	}
	return 0;
}

#define FEW_KEYS 4 /* not worth a look at what is there */

static unsigned wanted(unsigned nr, uint64_t which)
{
	unsigned n = nr > 64 ? nr - 64 : 0;

	for (unsigned i = 0; i < nr && i < 64; i++)
		n += which >> i & 1;
	return n;
}

static bool is_listed(char **names, unsigned nr, const char *name)
{
	for (unsigned i = 0; i < nr; i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}

/* Of most tables few keys are there, and each is a round trip: one more tells which. */
int pvb_nodes_read_some(struct pvb_store *st, pvb_txn t, const char *dir, const struct pvb_key *table, unsigned nr,
			uint64_t which, struct pvb_value *values, struct pvb_error *err)
{
	char **names = NULL;
	unsigned i, nr_names = 0;
	bool all = wanted(nr, which) <= FEW_KEYS;
	int rc = all ? 0 : pvb_store_list(st, t, dir, &names, &nr_names);

	all = all || (rc < 0 && rc != -ENOENT); /* a directory that may not be read can have keys that may */
	memset(values, 0, nr * sizeof(*values));
	for (i = 0, rc = 0; i < nr && rc == 0; i++) {
		if (i < 64 && !(which & PVB_NODE(i)))
			values[i].num = table[i].def;
		else if (all || is_listed(names, nr_names, table[i].name))
			rc = read_key(st, t, dir, &table[i], &values[i], err);
		else
			values[i].num = table[i].def;
	}
	if (names)
		pvb_store_list_free(names, nr_names);
	if (rc < 0)
		pvb_nodes_free(values, nr);
	return rc;
}

int pvb_nodes_read(struct pvb_store *st, pvb_txn t, const char *dir, const struct pvb_key *table, unsigned nr,
		   struct pvb_value *values, struct pvb_error *err)
{
	return pvb_nodes_read_some(st, t, dir, table, nr, UINT64_MAX, values, err);
}

void pvb_nodes_free(struct pvb_value *values, unsigned nr)
{
	unsigned i;

	for (i = 0; values && i < nr; i++) {
		free(values[i].str);
		values[i] = (struct pvb_value){ 0 };
	}
}

int pvb_nodes_write_u64(struct pvb_store *st, pvb_txn t, const char *dir, const struct pvb_key *key, uint64_t v)
{
	char path[PVB_STORE_PATH_MAX + 1];

	if (key->type == PVB_KEY_STR)
		return -EINVAL;
	if (v < key->min || v > key->max)
		return -ERANGE;
	if (snprintf(path, sizeof(path), "%s/%s", dir, key->name) >= (int)sizeof(path))
		return -EINVAL;
	return pvb_store_printf(st, t, path, "%" PRIu64, v);
}

int pvb_nodes_write_str(struct pvb_store *st, pvb_txn t, const char *dir, const struct pvb_key *key, const char *v)
{
	char path[PVB_STORE_PATH_MAX + 1];
	struct pvb_value checked;
	int rc;

	if (key->type != PVB_KEY_STR)
		return -EINVAL;
	rc = parse_text(key, v, &checked, NULL);
	if (rc < 0)
		return rc == -E2BIG ? -ERANGE : rc;
	free(checked.str);
	if (snprintf(path, sizeof(path), "%s/%s", dir, key->name) >= (int)sizeof(path))
		return -EINVAL;
	return pvb_store_write(st, t, path, v);
}

void pvb_nodes_row(const struct pvb_key *key, char *buf, size_t len)
{
	static const char *const writer[] = {
		[PVB_BY_TOOL] = "toolstack", [PVB_BY_BACK] = "back end", [PVB_BY_FRONT] = "front end"
	};
	char want[64], def[32] = "-";

	describe(key, want, sizeof(want));
	if (key->type != PVB_KEY_STR)
		snprintf(def, sizeof(def), "%" PRIu64, key->def);
	snprintf(buf, len, "%s%s\t%s\t%s\t%s\t%s\t%s", key->name, key->extension ? "*" : "", want,
		 key->unit ? key->unit : "-", def, writer[key->writer], key->help);
}
