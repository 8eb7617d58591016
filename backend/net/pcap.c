/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pcap=FILE - writes what the guest sends and gets into a file that tcpdump and wireshark open.
 *
 * Times are in nanoseconds.  A frame is there once, when it was taken: not each time it was offered.  Of a frame
 * that goes from guest to guest only the header is here; unless snaplen says that this is enough, whole frames are
 * asked for. When the file can not be written (disk full) the capture ends, the traffic does not. */
#include "config.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "backend/net/netif.h"
#include "backend/net/ports.h"
#include "backend/target.h"

#define BUFFER (256u * 1024)
#define FLUSH_MS 1000
#define SNAPLEN 65535u

struct file_header {
	uint32_t magic;
	uint16_t major, minor;
	uint32_t zone, sigfigs, snaplen, linktype;
};
struct record { uint32_t sec, nsec, caplen, len; };

#define MAGIC_NS 0xa1b23c4du
#define LINKTYPE_ETHERNET 1u

struct pcap {
	struct port port;
	int fd;                      /* -1: could not be written to */
	uint32_t snaplen;
	struct pvb_source *timer;
	size_t used;
	uint8_t *buf;
};

static int conf(const struct target *t, uint32_t *snaplen, struct pvb_error *err)
{
	uint64_t n;
	int rc = target_number(t, "snaplen", FRAME_MIN_LEN, 262144, SNAPLEN, &n, err);

	if (!rc)
		*snaplen = (uint32_t)n;
	return rc;
}

/* A capture that is there is continued: a worker that begins anew must not wipe out what led to it. */
static int check_file(int fd, const char *path, struct pvb_error *err)
{
	struct file_header h;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return pvb_err(err, -errno, "pcap=%s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return pvb_err(err, -EINVAL, "pcap=%s: not a regular file", path);
	if (!st.st_size)
		return 0;
	if (pread(fd, &h, sizeof(h), 0) != sizeof(h) || h.magic != MAGIC_NS || h.linktype != LINKTYPE_ETHERNET)
		return pvb_err(err, -EEXIST, "pcap=%s: is there, and is no capture of ours", path);
	return 0;
}

static int pcap_prepare(const struct target *t, const struct port_nic *nic, int *fds, unsigned *nr_fds,
			struct pvb_error *err)
{
	const char *path = target_get(t, "pcap");
	uint32_t snaplen;
	int fd, rc = conf(t, &snaplen, err);

	if (rc)
		return rc;
	if (path[0] != '/')
		return pvb_err(err, -EINVAL, "pcap=%s: not an absolute path", path);
	fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600);
	if (fd < 0)
		return pvb_err(err, -errno, "pcap=%s: %s", path, strerror(errno));
	rc = check_file(fd, path, err);
	if (rc) {
		close(fd);
		return rc;
	}
	fds[0] = fd;
	*nr_fds = 1;
	return 0;
}

static void write_out(struct pcap *p)
{
	size_t at = 0;

	while (p->fd >= 0 && at < p->used) {
		ssize_t n = write(p->fd, p->buf + at, p->used - at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) { /* half a record at the end is all that is lost */
			close(p->fd);
			p->fd = -1;
			break;
		}
		at += (size_t)n;
	}
	p->used = 0;
}

static void expired(void *arg)
{
	write_out(arg);
}

/* Returns the size of what stands in the buffer for it. */
static size_t append(struct pcap *p, const struct frame *f)
{
	uint32_t there = frame_is_local(f) ? f->len : f->hdr_len, len = there < p->snaplen ? there : p->snaplen;
	uint32_t head = len < f->hdr_len ? len : f->hdr_len;
	struct record r = { .caplen = len, .len = f->len };
	struct timespec now;

	if (p->fd < 0)
		return 0;
	if (p->used + sizeof(r) + len > BUFFER)
		write_out(p);
	if (!p->timer && pvb_loop_timer(nif_ctx_loop(p->port.ctx), FLUSH_MS, expired, p, &p->timer))
		p->timer = NULL; /* then when it is full */
	clock_gettime(CLOCK_REALTIME, &now);
	r.sec = (uint32_t)now.tv_sec;
	r.nsec = (uint32_t)now.tv_nsec;
	memcpy(p->buf + p->used, &r, sizeof(r));
	memcpy(p->buf + p->used + sizeof(r), f->hdr, head);
	if (len > head)
		memcpy(p->buf + p->used + sizeof(r) + head, f->seg[0].local + head, len - head);
	p->used += sizeof(r) + len;
	return sizeof(r) + len;
}

/* One at a time, written down before the port below may change its header, and taken back if that did not take it.
 * An echo that came up meanwhile stands behind it; then it was taken. */
static void pcap_xmit(struct port *port, struct frame **frames, unsigned nr)
{
	struct pcap *p = (struct pcap *)port;
	bool held = false;

	for (unsigned i = 0; i < nr; i++) {
		size_t size;

		if (held) {
			frames[i]->verdict = FRAME_HELD;
			continue;
		}
		size = append(p, frames[i]);
		port_xmit(port->below, &frames[i], 1);
		held = frames[i]->verdict == FRAME_HELD;
		if (held)
			p->used -= size;
	}
}

static enum frame_verdict pcap_deliver(struct port *port, unsigned queue, struct frame *f)
{
	enum frame_verdict v = port_deliver(port, queue, f);

	if (v == FRAME_SENT)
		append((struct pcap *)port, f);
	return v;
}

static void pcap_close(struct port *port)
{
	struct pcap *p = (struct pcap *)port;

	pvb_source_free(&p->timer);
	write_out(p);
	port_close_fds(&p->fd, 1);
	free(p->buf);
	free(p);
}

static int begin(struct pcap *p, struct pvb_error *err)
{
	struct file_header h = { MAGIC_NS, 2, 4, 0, 0, p->snaplen, LINKTYPE_ETHERNET };
	struct stat st;

	if (fstat(p->fd, &st) < 0)
		return pvb_err(err, -errno, "pcap: %s", strerror(errno));
	if (st.st_size)
		return 0;
	if (write(p->fd, &h, sizeof(h)) != sizeof(h))
		return pvb_err(err, -EIO, "pcap: the file can not be written");
	return 0;
}

static int pcap_open(const struct target *t, const struct port_nic *nic, const int *fds, unsigned nr_fds,
		     struct nif_ctx *ctx, struct port *below, struct port **out, struct pvb_error *err)
{
	struct pcap *p = calloc(1, sizeof(*p));
	int rc = 0;

	if (p)
		p->buf = malloc(BUFFER);
	if (!p || !p->buf) {
		free(p);
		port_close_fds(fds, nr_fds);
		return pvb_err(err, -ENOMEM, "pcap: no memory");
	}
	p->fd = fds[0];
	rc = conf(t, &p->snaplen, err);
	if (!rc)
		rc = begin(p, err);
	if (rc) {
		pcap_close(&p->port);
		return rc;
	}
	p->port.needs = p->snaplen > FRAME_HDR;
	*out = &p->port;
	return 0;
}

static const char *const pcap_keys[] = { "pcap", "snaplen", NULL };

const struct port_ops pcap_port = {
	.name = "pcap",
	.help = "FILE   write what is sent and received into a file",
	.keys = pcap_keys,
	.wrapper = true,
	.nr_fds = 1,
	.prepare = pcap_prepare, .open = pcap_open, .xmit = pcap_xmit, .deliver = pcap_deliver, .close = pcap_close,
};
