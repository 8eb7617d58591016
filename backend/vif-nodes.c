/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vif-nodes.c: what a NIC's directories in the store say, and what we say in them.  It decides nothing about
 * states. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "backend/net/packet.h"
#include "backend/net/rate.h"
#include "supervisor.h"
#include "vif.h"

#define OUR_SCRIPT "vif-pvbus"

/* ---- the toolstack's keys ----------------------------------------------------------------------------- */

int vif_parse_rate(const char *text, struct nif_rate *rate, struct pvb_error *err)
{
	const char *comma = strchr(text, ',');
	struct nif_rate r = { .usecs = RATE_INTERVAL_US };
	char bytes[32];

	snprintf(bytes, sizeof(bytes), "%.*s", comma ? (int)(comma - text) : (int)strlen(text), text);
	if (pvb_parse_u64(bytes, 0, UINT64_MAX, &r.bytes) < 0 ||
	    (comma && pvb_parse_u64(comma + 1, 1, RATE_MAX_INTERVAL_US, &r.usecs) < 0))
		return pvb_err(err, -EINVAL, "rate is \"%.60s\", must be BYTES,USECS", text);
	*rate = r;
	return 0;
}

static int parse_ip(char *word, struct nif_ip *ip, struct pvb_error *err)
{
	char *slash = strchr(word, '/');
	uint64_t prefix;

	if (slash)
		*slash = 0;
	if (inet_pton(AF_INET, word, ip->addr) == 1)
		ip->len = 4;
	else if (inet_pton(AF_INET6, word, ip->addr) == 1)
		ip->len = 16;
	else
		return pvb_err(err, -EINVAL, "ip: \"%.60s\" is no address", word);
	prefix = ip->len * 8u;
	if (slash && pvb_parse_u64(slash + 1, 0, prefix, &prefix) < 0)
		return pvb_err(err, -EINVAL, "ip: %.60s/%.10s: a prefix has 0..%u bits", word, slash + 1, ip->len * 8u);
	ip->prefix = (uint8_t)prefix;
	return 0;
}

int vif_parse_ips(const char *text, struct nif_config *cfg, struct pvb_error *err)
{
	char copy[1024 + 1], *at = copy, *word;
	int rc;

	snprintf(copy, sizeof(copy), "%s", text);
	cfg->nr_ips = 0;
	while ((word = strsep(&at, " ,"))) {
		if (!*word)
			continue;
		if (cfg->nr_ips == NIF_MAX_IPS)
			return pvb_err(err, -E2BIG, "ip has more than %u addresses", NIF_MAX_IPS);
		rc = parse_ip(word, &cfg->ip[cfg->nr_ips], err);
		if (rc < 0)
			return rc;
		cfg->nr_ips++;
	}
	return 0;
}

static const char *port_text(const struct pvb_value *k, bool *our_script)
{
	const char *script = k[VIF_B_SCRIPT].str;

	*our_script = device_script_is(script, OUR_SCRIPT);
	if (!script || !*script)
		return k[VIF_B_PORT].str && *k[VIF_B_PORT].str ? k[VIF_B_PORT].str : "tap";
	if (!*our_script)
		return "tap";
	return k[VIF_B_BRIDGE].str ? k[VIF_B_BRIDGE].str : "";
}

static int read_keys(struct vif *v, const struct pvb_value *k, struct pvb_error *err)
{
	struct nif_config *c = &v->cfg;
	int rc = device_check_front(&v->dev, &k[VIF_B_FRONTEND], &k[VIF_B_FRONTEND_ID], err);

	if (rc < 0)
		return rc;
	memset(c, 0, sizeof(*c));
	c->domid = v->dev.id.front;
	c->devid = v->dev.id.devid;
	c->mtu = (uint32_t)k[VIF_B_MTU].num;
	c->gref_tables = true;
	snprintf(v->vifname, sizeof(v->vifname), "%.15s",
		 k[VIF_B_VIFNAME].str && !strpbrk(k[VIF_B_VIFNAME].str, "/.") ? k[VIF_B_VIFNAME].str : "");
	if (!k[VIF_B_MAC].present)
		return pvb_err(err, -ENOENT, "mac is missing");
	if (!packet_mac_parse(k[VIF_B_MAC].str, c->mac))
		return pvb_err(err, -EINVAL, "mac is \"%s\", must be the address of one station", k[VIF_B_MAC].str);
	if (k[VIF_B_RATE].present)
		rc = vif_parse_rate(k[VIF_B_RATE].str, &c->tx, err);
	if (rc == 0 && k[VIF_B_RX_RATE].present)
		rc = vif_parse_rate(k[VIF_B_RX_RATE].str, &c->rx, err);
	if (rc == 0 && k[VIF_B_IP].present)
		rc = vif_parse_ips(k[VIF_B_IP].str, c, err);
	c->spoof_mac = c->nr_ips > 0;
	return rc;
}

int vif_read_config(struct vif *v, struct pvb_error *err)
{
	struct pvb_value k[VIF_B_NR];
	struct pvb_error port = { 0 };
	struct target *t = NULL;
	/* the toolstack's; what is ours in this directory need not be read back */
	const uint64_t which = PVB_NODE(VIF_B_FRONTEND) | PVB_NODE(VIF_B_FRONTEND_ID) | PVB_NODE(VIF_B_SCRIPT) | PVB_NODE(VIF_B_MAC) |
			       PVB_NODE(VIF_B_IP) | PVB_NODE(VIF_B_BRIDGE) | PVB_NODE(VIF_B_VIFNAME) | PVB_NODE(VIF_B_RATE) |
			       PVB_NODE(VIF_B_RX_RATE) | PVB_NODE(VIF_B_MTU) | PVB_NODE(VIF_B_PORT);
	int rc = pvb_nodes_read_some(v->dev.sup->store, PVB_NO_TXN, v->dev.back, pvb_vif_back, VIF_B_NR, which, k, err);

	if (rc < 0)
		return rc;
	rc = read_keys(v, k, err);
	if (rc == 0 && !v->prepared) { /* what is there already stays: scripts have plugged it in */
		target_free(v->port);
		v->port = NULL;
		v->port_error[0] = 0;
		if (port_parse(port_text(k, &v->our_script), &t, &port) == 0)
			v->port = t;
		else
			snprintf(v->port_error, sizeof(v->port_error), "%s", port.text);
	}
	pvb_nodes_free(k, VIF_B_NR);
	return rc;
}

void vif_read_live(struct vif *v, struct nif_rate *tx, struct nif_rate *rx, bool *multicast_control)
{
	const struct { const char *dir; const struct pvb_key *key; struct nif_rate *rate; } reads[] = {
		{ v->dev.back, &pvb_vif_back[VIF_B_RATE], tx }, { v->dev.back, &pvb_vif_back[VIF_B_RX_RATE], rx },
		{ v->dev.front, &pvb_vif_front[VIF_F_REQUEST_MULTICAST], NULL },
	};

	for (unsigned i = 0; i < sizeof(reads) / sizeof(reads[0]); i++) {
		struct nif_rate none = { 0 };
		struct pvb_value value;
		int rc = pvb_nodes_read(v->dev.sup->store, PVB_NO_TXN, reads[i].dir, reads[i].key, 1, &value, NULL);

		if (rc < 0)
			continue;
		if (!reads[i].rate)
			*multicast_control = value.num;
		else if (!value.present)
			*reads[i].rate = none;
		else
			vif_parse_rate(value.str, reads[i].rate, NULL);
		pvb_nodes_free(&value, 1);
	}
}

/* ---- publishing -------------------------------------------------------------------------------------- */

static int features_txn(struct pvb_store *st, pvb_txn t, void *arg)
{
	struct vif *v = arg;
	const struct { enum pvb_vif_back key; uint64_t value; } keys[] = {
		{ VIF_B_SG, 1 }, { VIF_B_GSO4, 1 }, { VIF_B_GSO6, 1 }, { VIF_B_CSUM6, 1 }, { VIF_B_RX_COPY, 1 },
		{ VIF_B_RX_FLIP, 0 }, { VIF_B_MULTICAST, 1 }, { VIF_B_DYNAMIC_MULTICAST, 1 }, { VIF_B_SPLIT_EVENTS, 1 },
		{ VIF_B_MAX_QUEUES, v->max_queues }, { VIF_B_CTRL_RING, 1 }, { VIF_B_CARRIER, 0 },
	};
	int rc = 0;

	if (!pvb_store_exists(st, t, v->dev.back))
		return -ENOENT;
	for (unsigned i = 0; rc == 0 && i < sizeof(keys) / sizeof(keys[0]); i++)
		rc = pvb_nodes_write_u64(st, t, v->dev.back, &pvb_vif_back[keys[i].key], keys[i].value);
	return rc;
}

int vif_publish_features(struct vif *v)
{
	return pvb_store_txn(v->dev.sup->store, features_txn, v);
}

/* The front end's mtu is there already, and right, unless the host's interface has another one.  (Xen's script writes it, but
 * for an interface with a name of its own it writes it elsewhere.) */
static int link_txn(struct pvb_store *st, pvb_txn t, void *arg)
{
	const struct vif *v = arg;
	const struct pvb_key *key = &pvb_vif_front[VIF_F_MTU];
	struct pvb_value mtu = { 0 };
	int rc;

	if (!pvb_store_exists(st, t, v->dev.back))
		return -ENOENT;
	rc = pvb_nodes_write_u64(st, t, v->dev.back, &pvb_vif_back[VIF_B_CARRIER], v->up);
	if (rc == 0 && (pvb_nodes_read(st, t, v->dev.front, key, 1, &mtu, NULL) < 0 || mtu.num != v->cfg.mtu))
		rc = pvb_nodes_write_u64(st, t, v->dev.front, key, v->cfg.mtu);
	pvb_nodes_free(&mtu, 1);
	return rc;
}

int vif_publish_link(struct vif *v)
{
	return pvb_store_txn(v->dev.sup->store, link_txn, v);
}

/* ---- the front end's keys ------------------------------------------------------------------------------ */

struct front_read {
	struct vif *v;
	struct nif_connect *c;
	struct pvb_error *err;
};

static int take_queue(struct front_read *f, const struct pvb_value *k, unsigned i)
{
	static const unsigned must[] = { VIF_Q_TX_RING_REF, VIF_Q_RX_RING_REF };
	struct nif_connect *c = f->c;
	bool split = k[VIF_Q_EVENT_CHANNEL_TX].present && k[VIF_Q_EVENT_CHANNEL_RX].present;

	for (unsigned n = 0; n < sizeof(must) / sizeof(must[0]); n++)
		if (!k[must[n]].present)
			return pvb_err(f->err, -ENOENT, "queue %u: %s is missing", i, pvb_vif_queue[must[n]].name);
	if (!split && !k[VIF_Q_EVENT_CHANNEL].present)
		return pvb_err(f->err, -ENOENT, "queue %u: neither event-channel nor event-channel-tx and -rx", i);
	c->queue[i].tx_ref = (uint32_t)k[VIF_Q_TX_RING_REF].num;
	c->queue[i].rx_ref = (uint32_t)k[VIF_Q_RX_RING_REF].num;
	c->queue[i].tx_port = (uint32_t)k[split ? VIF_Q_EVENT_CHANNEL_TX : VIF_Q_EVENT_CHANNEL].num;
	c->queue[i].rx_port = (uint32_t)k[split ? VIF_Q_EVENT_CHANNEL_RX : VIF_Q_EVENT_CHANNEL].num;
	if (split && c->queue[i].tx_port == c->queue[i].rx_port)
		return pvb_err(f->err, -EINVAL, "queue %u: event-channel-tx and -rx are both %u", i, c->queue[i].tx_port);
	if (k[VIF_Q_TX_POOL_REF].present) {
		c->queue[i].tx_pool_ref = (uint32_t)k[VIF_Q_TX_POOL_REF].num;
		c->queue[i].tx_pool_size = (uint32_t)k[VIF_Q_TX_POOL_SIZE].num;
	}
	if (k[VIF_Q_RX_POOL_REF].present) {
		c->queue[i].rx_pool_ref = (uint32_t)k[VIF_Q_RX_POOL_REF].num;
		c->queue[i].rx_pool_size = (uint32_t)k[VIF_Q_RX_POOL_SIZE].num;
	}
	return 0;
}

static int read_queue(struct pvb_store *st, pvb_txn t, struct front_read *f, unsigned i)
{
	struct pvb_value k[VIF_Q_NR];
	char dir[200];
	int rc;

	snprintf(dir, sizeof(dir), f->c->nr_queues > 1 ? "%s/queue-%u" : "%s", f->v->dev.front, i);
	rc = pvb_nodes_read(st, t, dir, pvb_vif_queue, VIF_Q_NR, k, f->err);
	if (rc < 0)
		return rc;
	rc = take_queue(f, k, i);
	pvb_nodes_free(k, VIF_Q_NR);
	return rc;
}

static int take_front(struct front_read *f, const struct pvb_value *k)
{
	struct nif_connect *c = f->c;

	c->nr_queues = (uint32_t)k[VIF_F_NUM_QUEUES].num;
	c->rx_notify = k[VIF_F_RX_NOTIFY].num;
	c->sg = k[VIF_F_SG].num;
	c->gso4 = k[VIF_F_GSO4].num;
	c->gso6 = k[VIF_F_GSO6].num;
	c->csum4 = !k[VIF_F_NO_CSUM4].num;
	c->csum6 = k[VIF_F_CSUM6].num;
	c->multicast_control = k[VIF_F_REQUEST_MULTICAST].num;
	c->ctrl = k[VIF_F_CTRL_RING_REF].present;
	c->ctrl_ref = (uint32_t)k[VIF_F_CTRL_RING_REF].num;
	c->ctrl_port = (uint32_t)k[VIF_F_EVENT_CHANNEL_CTRL].num;
	if (c->nr_queues > f->v->max_queues)
		return pvb_err(f->err, -ERANGE, "multi-queue-num-queues is %u, offered are %u", c->nr_queues, f->v->max_queues);
	if (!k[VIF_F_RX_COPY].num)
		return pvb_err(f->err, -EPROTONOSUPPORT, "request-rx-copy is not 1, and flipping pages is not served");
	if (c->ctrl && !k[VIF_F_EVENT_CHANNEL_CTRL].present)
		return pvb_err(f->err, -ENOENT, "ctrl-ring-ref without event-channel-ctrl");
	if (k[VIF_F_BACKEND].present && strcmp(k[VIF_F_BACKEND].str, f->v->dev.back) != 0)
		return pvb_err(f->err, -EINVAL, "the front end's backend key says %.80s", k[VIF_F_BACKEND].str);
	return 0;
}

int vif_read_front(struct device *d, struct pvb_store *st, pvb_txn t, union ipc_connect *c, struct pvb_error *err)
{
	struct front_read f = { .v = vif_of(d), .c = &c->nif, .err = err };
	struct pvb_value k[VIF_F_NR];
	int rc = pvb_nodes_read(st, t, d->front, pvb_vif_front, VIF_F_NR, k, err);

	if (rc < 0)
		return rc;
	rc = take_front(&f, k);
	for (unsigned i = 0; rc == 0 && i < f.c->nr_queues; i++)
		rc = read_queue(st, t, &f, i);
	pvb_nodes_free(k, VIF_F_NR);
	return rc;
}
