/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vif.c: one synthetic NIC: what device.c asks of it.  Its port is prepared before state 2 and kept until its
 * directory is gone; the worker has it while attached. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include "log.h"
#include "net/nif-journal.h"
#include "net/nif-stats.h"
#include "net/tap.h"
#include "supervisor.h"
#include "vif.h"

static void name(const struct device *d, char *buf, size_t len)
{
	snprintf(buf, len, "%s %u/%u", d->kind, d->id.front, d->id.devid);
}

static bool is_tap(const struct vif *v)
{
	return v->port && strcmp(v->port->provider, "tap") == 0;
}

void vif_ifname(const struct vif *v, char buf[32])
{
	struct ifreq ifr = { 0 };

	buf[0] = 0;
	if (v->prepared && is_tap(v) && v->nr_fds > 0 && ioctl(v->fds[0], TUNGETIFF, &ifr) == 0)
		snprintf(buf, 32, "%.*s", IFNAMSIZ, ifr.ifr_name);
}

/* What the host has made of the interface by now: the hotplug script gives it its bridge's MTU unless the configuration has
 * one, and people may change it and switch it off.  A port without one, or one that is not there, is as it was. */
static void look_at_link(struct vif *v)
{
	const struct pvb_key *mtu = &pvb_vif_front[VIF_F_MTU];
	struct ifreq ifr = { 0 };
	char dev[32];
	int fd;

	vif_ifname(v, dev);
	fd = dev[0] ? socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0) : -1;
	if (fd < 0)
		return;
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%.*s", IFNAMSIZ - 1, dev);
	if (ioctl(fd, SIOCGIFMTU, &ifr) == 0 && (uint64_t)ifr.ifr_mtu >= mtu->min && (uint64_t)ifr.ifr_mtu <= mtu->max)
		v->cfg.mtu = (uint32_t)ifr.ifr_mtu;
	if (ioctl(fd, SIOCGIFFLAGS, &ifr) == 0)
		v->up = ifr.ifr_flags & IFF_UP;
	close(fd);
}

void vif_link_changed(struct vif *v, unsigned ifindex)
{
	uint32_t mtu = v->cfg.mtu;
	bool up = v->up;
	char dev[32];

	if (v->dev.phase != DEV_CONNECTED)
		return;
	vif_ifname(v, dev);
	if (!dev[0] || (ifindex && if_nametoindex(dev) != ifindex))
		return;
	look_at_link(v);
	if (v->cfg.mtu == mtu && v->up == up)
		return;
	device_log(&v->dev, LOG_LEVEL_INFO, "interface %s has MTU %u and is %s", dev, v->cfg.mtu, v->up ? "up" : "down");
	vif_publish_link(v);
}

/* ---- the port ------------------------------------------------------------------------------------------ */

/* A TAP of an earlier pvbackd may have the name that the script gave it. */
static bool was_renamed(const struct vif *v, const char *ifname)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/class/net/%.15s/tun_flags", v->vifname);
	return v->vifname[0] && strcmp(v->vifname, ifname) != 0 && !if_nametoindex(ifname) && access(path, F_OK) == 0;
}

static void nic_of(const struct vif *v, struct port_nic *nic, char ifname[32])
{
	snprintf(ifname, 32, "vif%u.%u", v->dev.id.front, v->dev.id.devid);
	if (was_renamed(v, ifname))
		snprintf(ifname, 32, "%s", v->vifname);
	*nic = (struct port_nic){
		.domid = v->dev.id.front, .devid = v->dev.id.devid, .ifname = ifname, .mtu = v->cfg.mtu,
		.queues = v->max_queues,
	};
	memcpy(nic->mac, v->cfg.mac, sizeof(nic->mac));
}

/* What the alias of its TAP says: whose it is, and which NIC's. */
#define MARK "pvbackd %.120s vif "

/* Without one it is only not found when it is left over. */
static void mark_tap(const struct vif *v, const char *ifname)
{
	char mark[TAP_MARK_LEN];
	int rc;

	snprintf(mark, sizeof(mark), MARK "%u/%u", v->dev.sup->hv, v->dev.id.front, v->dev.id.devid);
	rc = tap_mark(ifname, mark);
	if (rc < 0)
		device_log(&v->dev, LOG_LEVEL_DEBUG, "TAP %s has no mark: %s", ifname, strerror(-rc));
}

static int prepare(struct vif *v, struct pvb_error *err)
{
	struct port_nic nic;
	char ifname[32];
	int rc;

	if (v->prepared)
		return 0;
	if (!v->port)
		return pvb_err(err, -EINVAL, "%s", v->port_error);
	nic_of(v, &nic, ifname);
	rc = port_prepare(v->port, &nic, v->fds, &v->nr_fds, err);
	if (rc)
		return rc;
	v->prepared = true;
	if (!is_tap(v))
		return 0;
	/* one of that name, of a device that has just gone, may have been on its way out: now it stays */
	if (v->nr_fds > 0 && ioctl(v->fds[0], TUNSETPERSIST, 1) < 0)
		device_log(&v->dev, LOG_LEVEL_WARN, "its TAP will not outlive pvbackd: %s", strerror(errno));
	mark_tap(v, ifname);
	return 0;
}

void vif_sweep(struct supervisor *sup)
{
	struct if_nameindex *all = if_nameindex();
	char mark[TAP_MARK_LEN], ours[TAP_MARK_LEN];
	int len = snprintf(ours, sizeof(ours), MARK, sup->hv);

	for (const struct if_nameindex *i = all; i && i->if_index; i++) {
		struct pvb_device_id id = { .class = vif_ops.class };
		struct pvb_error err = { 0 };

		if (tap_read_mark(i->if_name, mark) < 0 || strncmp(mark, ours, (size_t)len) != 0 ||
		    sscanf(mark + len, "%u/%u", &id.front, &id.devid) != 2 || device_find(sup, vif_ops.class, &id))
			continue;
		if (tap_remove(i->if_name, &err) < 0)
			log_warn("TAP %s of vif %u/%u, which is gone: %s", i->if_name, id.front, id.devid, err.text);
		else
			log_info("TAP %s taken away: vif %u/%u is gone", i->if_name, id.front, id.devid);
	}
	if_freenameindex(all);
}

static void forget_port(struct vif *v)
{
	ipc_close_fds(v->fds, v->nr_fds);
	v->nr_fds = 0;
	v->prepared = false;
	target_free(v->port);
	v->port = NULL;
}

/* ---- on its way ---------------------------------------------------------------------------------------- */

static void on_multicast(void *arg, const char *path)
{
	device_step(arg);
}

static void found(struct device *d)
{
	const struct pvb_key *key = &pvb_vif_back[VIF_B_MAX_QUEUES];
	struct pvb_error err;
	char path[200];
	uint64_t offered;

	snprintf(path, sizeof(path), "%s/%s", d->back, key->name);
	vif_of(d)->max_queues = d->sup->o.max_nic_queues;
	if (pvb_store_read_u64(d->sup->store, PVB_NO_TXN, path, key->min, key->max, &offered) == 0)
		vif_of(d)->max_queues = (unsigned)offered; /* by an earlier pvbackd: its front end counts on it */
	if (vif_read_config(vif_of(d), &err) == 0)
		prepare(vif_of(d), &err);
}

static int probe(struct device *d, struct pvb_error *err)
{
	struct vif *v = vif_of(d);
	char path[200];
	int rc = vif_read_config(v, err);

	v->max_queues = d->sup->o.max_nic_queues;
	if (rc == 0 && !v->multicast) {
		snprintf(path, sizeof(path), "%s/%s", d->front, pvb_vif_front[VIF_F_REQUEST_MULTICAST].name);
		rc = pvb_store_watch(d->sup->store, path, on_multicast, v, &v->multicast);
		if (rc < 0)
			pvb_err(err, rc, "watch on %s: %s", path, strerror(-rc));
	}
	if (rc == 0) {
		rc = prepare(v, err);
		if (rc < 0 && v->our_script) { /* which tells it where the toolstack looks */
			snprintf(v->port_error, sizeof(v->port_error), "%s", err->text);
			rc = 0;
		}
	}
	if (rc < 0)
		return rc == -ENOENT && !pvb_store_exists(d->sup->store, PVB_NO_TXN, d->back) ? -ENOENT :
		       rc == -ENOENT ? -EINVAL : rc;
	rc = vif_publish_features(v);
	return rc < 0 ? pvb_err(err, rc, "features can not be published: %s", strerror(-rc)) : 0;
}

static int attach(struct device *d, struct ipc_msg *m, int *fds, unsigned *nr_fds, struct pvb_error *err)
{
	struct vif *v = vif_of(d);
	bool afresh = !d->resuming || d->adopted; /* not in the middle of a life that we have seen begin */
	int rc = afresh ? vif_read_config(v, err) : 0;

	if (rc == 0)
		rc = prepare(v, err);
	if (rc < 0)
		return rc;
	if (afresh) {
		v->up = true;
		look_at_link(v);
		v->tx = v->cfg.tx;
		v->rx = v->cfg.rx;
	}
	v->cfg.tx = v->tx; /* they may have changed */
	v->cfg.rx = v->rx;
	snprintf(d->place, sizeof(d->place), "%s", port_switch_name(v->port));
	m->u.attach_nic.cfg = v->cfg;
	m->u.attach_nic.queues = v->max_queues;
	snprintf(m->u.attach_nic.ifname, sizeof(m->u.attach_nic.ifname), "vif%u.%u", d->id.front, d->id.devid);
	snprintf(m->u.attach_nic.target, sizeof(m->u.attach_nic.target), "%s", v->port->text);
	for (*nr_fds = 0; *nr_fds < v->nr_fds; ++*nr_fds) {
		fds[*nr_fds] = fcntl(v->fds[*nr_fds], F_DUPFD_CLOEXEC, 0);
		if (fds[*nr_fds] < 0) {
			rc = -errno;
			ipc_close_fds(fds, *nr_fds);
			return pvb_err(err, rc, "its port for its worker: %s", strerror(-rc));
		}
	}
	return 0;
}

static bool resumes(const struct device *d)
{
	return true;
}

static void nothing(struct device *d)
{
}

static int before_connect(struct device *d, struct pvb_error *err)
{
	struct vif *v = vif_of(d);
	int rc;

	look_at_link(v); /* nobody has followed it while there was no guest */
	rc = vif_publish_link(v);
	v->multicast_control = d->connect.nif.multicast_control;
	v->stalled = false;
	return rc < 0 ? pvb_err(err, rc, "carrier and MTU can not be published: %s", strerror(-rc)) : 0;
}

static size_t journal_bytes(const union ipc_connect *c)
{
	return nif_journal_bytes() * c->nif.nr_queues;
}

static const char *info(struct device *d, const struct ipc_msg *m)
{
	return m->type == IPC_RESIZED ? "told a NIC's size" : NULL;
}

static bool same_rate(const struct nif_rate *a, const struct nif_rate *b)
{
	return a->bytes == b->bytes && a->usecs == b->usecs;
}

static void look(struct device *d)
{
	struct vif *v = vif_of(d);
	struct nif_rate tx = v->tx, rx = v->rx;
	bool multicast = v->multicast_control;
	struct ipc_msg m;

	vif_read_live(v, &tx, &rx, &multicast);
	if (same_rate(&tx, &v->tx) && same_rate(&rx, &v->rx) && multicast == v->multicast_control)
		return;
	if (!same_rate(&tx, &v->tx) || !same_rate(&rx, &v->rx))
		device_log(d, LOG_LEVEL_INFO, "rate is now %llu bytes in %llu us out, %llu in %llu us in (0: unlimited)",
			 (unsigned long long)tx.bytes, (unsigned long long)tx.usecs, (unsigned long long)rx.bytes,
			 (unsigned long long)rx.usecs);
	v->tx = tx;
	v->rx = rx;
	v->multicast_control = multicast;
	d->connect.nif.multicast_control = multicast; /* for the next worker */
	device_ipc(d, &m, IPC_NIC);
	m.u.nic.tx = tx;
	m.u.nic.rx = rx;
	m.u.nic.multicast = multicast;
	guest_send(d->guest, &m, NULL, 0);
}

static void message(struct device *d, const struct ipc_msg *m, const char *text)
{
	struct vif *v = vif_of(d);

	if (m->type != IPC_STALLED || d->phase != DEV_CONNECTED)
		return;
	v->stalled = m->num != 0;
	device_log(d, LOG_LEVEL_WARN, "the guest %s", v->stalled ? "takes no frames" : "takes frames again");
}

/* Its directory is gone for good: so is the interface, with the worker's descriptors. */
static void gone(struct device *d)
{
	struct vif *v = vif_of(d);

	if (is_tap(v) && v->prepared && v->nr_fds > 0 && ioctl(v->fds[0], TUNSETPERSIST, 0) < 0)
		device_log(d, LOG_LEVEL_WARN, "its TAP can not be taken away: %s", strerror(errno));
	forget_port(v);
}

static void free_vif(struct device *d)
{
	pvb_store_unwatch(&vif_of(d)->multicast);
	forget_port(vif_of(d));
}

/* The port was prepared, or was not, when the NIC was offered. */
static int check(struct supervisor *sup, const char *back, struct pvb_error *err)
{
	struct pvb_device_id id;
	struct device *d;
	char kind[16];

	if (pvb_device_parse(back, &id, kind) < 0)
		return pvb_err(err, -EINVAL, "%.100s is not a back end's directory", back);
	id.kind = NULL;
	d = device_find(sup, vif_ops.class, &id);
	if (!d)
		return pvb_err(err, -ENODEV, "pvbackd does not serve this NIC");
	if (!vif_of(d)->prepared)
		return pvb_err(err, -EINVAL, "%s", vif_of(d)->port_error[0] ? vif_of(d)->port_error : "not offered yet");
	return 0;
}

const struct device_ops vif_ops = {
	.class = "vif",
	.ipc = IPC_VIF,
	.bytes = sizeof(struct vif),
	.stats_bytes = sizeof(struct nif_stats),
	.stats_version = NIF_STATS_VERSION,
	.error = &pvb_vif_back[VIF_B_ERROR],
	.online = &pvb_vif_back[VIF_B_ONLINE],
	.script = &pvb_vif_back[VIF_B_SCRIPT],
	.hotplug_status = &pvb_vif_back[VIF_B_HOTPLUG_STATUS],
	/* an event before that is a BUG in netfront */
	.ready = 1u << PVB_CONNECTED,
	.restarts = true,
	.name = name,
	.found = found,
	.probe = probe,
	.attach = attach,
	.outlives = resumes,
	.resumes = resumes,
	.info = info,
	.read_front = vif_read_front,
	.before_connect = before_connect,
	.journal_version = NIFJ_VERSION,
	.journal_bytes = journal_bytes,
	.look = look,
	.message = message,
	.let_go = nothing,
	.detach = nothing,
	.gone = gone,
	.free = free_vif,
	.check = check,
};
