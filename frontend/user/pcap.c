// SPDX-License-Identifier: GPL-2.0-or-later
/* See pcap.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "pcap.h"

#define MAGIC_US 0xa1b2c3d4u
#define MAGIC_NS 0xa1b23c4du
#define ETHERNET 1u
#define MAX_IOV  24

struct file_header {
	uint32_t magic;
	uint16_t major, minor;
	uint32_t zone, accuracy, snap, link;
};
struct frame_header {
	uint32_t seconds, fraction, len, whole_len;
};
_Static_assert(sizeof(struct file_header) == 24 && sizeof(struct frame_header) == 16, "pcap headers");

/* --- writing ---------------------------------------------------------------------------------------- */

struct pcap_writer {
	int fd;
	uint64_t nr;
};

int pcap_create(struct pcap_writer **out, const char *path, struct pvb_error *err)
{
	const struct file_header h = { MAGIC_NS, 2, 4, 0, 0, PCAP_SNAP, ETHERNET };
	struct pcap_writer *w = calloc(1, sizeof(*w));
	int rc = 0;

	if (w == NULL)
		return pvb_err(err, -ENOMEM, "%.150s: out of memory", path);
	w->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0666);
	if (w->fd < 0 || write(w->fd, &h, sizeof(h)) != sizeof(h))
		rc = -errno;
	if (rc < 0) {
		pvb_err(err, rc, "%.150s: %s", path, strerror(-rc));
		pcap_finish(w);
		return rc;
	}
	*out = w;
	return 0;
}

int pcap_write(struct pcap_writer *w, const struct iovec *iov, unsigned nr)
{
	struct iovec all[MAX_IOV];
	struct frame_header h;
	struct timespec now;
	size_t len = 0;
	ssize_t n;

	if (nr >= MAX_IOV)
		return -E2BIG;
	for (unsigned i = 0; i < nr; i++) {
		len += iov[i].iov_len;
		all[i + 1] = iov[i];
	}
	if (len > PCAP_SNAP)
		return -E2BIG;
	clock_gettime(CLOCK_REALTIME, &now);
	h = (struct frame_header){ (uint32_t)now.tv_sec, (uint32_t)now.tv_nsec, (uint32_t)len, (uint32_t)len };
	all[0] = (struct iovec){ &h, sizeof(h) };
	n = writev(w->fd, all, (int)nr + 1);
	if (n < 0)
		return -errno;
	if ((size_t)n != len + sizeof(h))
		return -ENOSPC;
	w->nr++;
	return 0;
}

uint64_t pcap_written(const struct pcap_writer *w)
{
	return w->nr;
}

void pcap_finish(struct pcap_writer *w)
{
	if (w == NULL)
		return;
	if (w->fd >= 0)
		close(w->fd);
	free(w);
}

/* --- reading ---------------------------------------------------------------------------------------- */

struct pcap_reader {
	FILE *f;
	bool swapped;
	uint64_t nr;
	char path[160];
};

static uint32_t order(const struct pcap_reader *r, uint32_t v)
{
	return r->swapped ? __builtin_bswap32(v) : v;
}

int pcap_open(struct pcap_reader **out, const char *path, struct pvb_error *err)
{
	struct pcap_reader *r = calloc(1, sizeof(*r));
	struct file_header h;
	int rc = -EINVAL;

	if (r == NULL)
		return pvb_err(err, -ENOMEM, "%.150s: out of memory", path);
	snprintf(r->path, sizeof(r->path), "%s", path);
	r->f = fopen(path, "re");
	if (r->f == NULL) {
		rc = pvb_err(err, -errno, "%.150s: %s", path, strerror(errno));
	} else if (fread(&h, sizeof(h), 1, r->f) != 1) {
		pvb_err(err, rc, "%.150s: shorter than the header of a pcap file", path);
	} else {
		r->swapped = h.magic == __builtin_bswap32(MAGIC_US) || h.magic == __builtin_bswap32(MAGIC_NS);
		if (order(r, h.magic) != MAGIC_US && order(r, h.magic) != MAGIC_NS)
			pvb_err(err, rc, "%.150s: begins with %#x: not a pcap file (pcapng is not read)", path,
				h.magic);
		else if ((order(r, h.link) & 0xffff) != ETHERNET)
			pvb_err(err, rc, "%.150s: link type %u, must be 1 (Ethernet)", path, order(r, h.link) & 0xffff);
		else
			rc = 0;
	}
	if (rc < 0) {
		pcap_close(r);
		return rc;
	}
	*out = r;
	return 0;
}

static int damaged(struct pcap_reader *r, const char *what, struct pvb_error *err)
{
	return pvb_err(err, -EINVAL, "%.150s: frame %llu: %s", r->path, (unsigned long long)r->nr, what);
}

int pcap_next(struct pcap_reader *r, void *buf, size_t size, struct pvb_error *err)
{
	struct frame_header h;
	uint32_t len;
	size_t n = fread(&h, 1, sizeof(h), r->f);

	if (n == 0)
		return ferror(r->f) ? damaged(r, "can not be read", err) : 0;
	r->nr++;
	if (n != sizeof(h))
		return damaged(r, "the file ends in its header", err);
	len = order(r, h.len);
	if (len > PCAP_SNAP || len == 0)
		return damaged(r, "its length makes no sense", err);
	if (len > size || len != order(r, h.whole_len)) {
		if (fseeko(r->f, (off_t)len, SEEK_CUR) < 0)
			return damaged(r, "can not be skipped", err);
		return len > size ? -E2BIG : -EPROTO;
	}
	if (fread(buf, 1, len, r->f) != len)
		return damaged(r, "the file ends in its data", err);
	return (int)len;
}

void pcap_close(struct pcap_reader *r)
{
	if (r == NULL)
		return;
	if (r->f != NULL)
		fclose(r->f);
	free(r);
}
