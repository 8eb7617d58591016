// SPDX-License-Identifier: GPL-2.0-or-later
/* The head of a saved domain's file, and bytes in and out of a pipe. */
#include "config.h"
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "loop.h"
#include "savefile.h"

static const char magic[32] = { "Xen saved domain, xl format\n \0 \r" };

#define BYTE_ORDER_MARK 0x01020304u
#define FLAG_JSON   0x1u /* the configuration is libxl's JSON, not an xl.cfg */
#define FLAG_STREAM 0x2u /* libxl's stream is of version 2 */
#define MAX_CONFIG  (4u << 20)

struct header {
	char magic[32];
	uint32_t order, must, may, len;
};
_Static_assert(sizeof(struct header) == 48, "xl's header has 48 bytes");

/* --- bytes ------------------------------------------------------------------------------------------- */

int savefile_put(int fd, const void *data, size_t len)
{
	const char *p = data;

	while (len) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int savefile_get(int fd, void *data, size_t len, int timeout_ms, const volatile sig_atomic_t *stop)
{
	uint64_t end = pvb_now_ms() + (timeout_ms < 0 ? 0 : (uint64_t)timeout_ms);
	char *p = data;

	while (len) {
		struct pollfd pfd = { .fd = fd, .events = POLLIN };
		uint64_t now = pvb_now_ms();
		ssize_t n;
		int r = poll(&pfd, 1, timeout_ms < 0 ? -1 : now < end ? (int)(end - now) : 0);

		if (stop && *stop)
			return -EINTR;
		if (r < 0 && errno == EINTR)
			continue; /* a child of libxl's has ended */
		if (r <= 0)
			return r < 0 ? -errno : -ETIMEDOUT;
		n = read(fd, p, len);
		if (n <= 0)
			return n < 0 ? -errno : -EPIPE;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

/* --- header ------------------------------------------------------------------------------------------ */

int savefile_put_header(int fd, const char *config, struct pvb_error *err)
{
	struct header hd = { .order = BYTE_ORDER_MARK, .must = FLAG_JSON | FLAG_STREAM };
	uint32_t len = (uint32_t)strlen(config) + 1;
	int rc;

	memcpy(hd.magic, magic, sizeof(magic));
	hd.len = len + (uint32_t)sizeof(len);
	rc = savefile_put(fd, &hd, sizeof(hd));
	if (!rc)
		rc = savefile_put(fd, &len, sizeof(len));
	if (!rc)
		rc = savefile_put(fd, config, len);
	return rc ? pvb_err(err, rc, "writing the header: %s", strerror(-rc)) : 0;
}

int savefile_get_header(int fd, struct savefile *out, struct pvb_error *err)
{
	struct header hd;
	uint32_t len;
	int rc = savefile_get(fd, &hd, sizeof(hd), -1, NULL);
	char *buf;

	if (rc == -EPIPE || (!rc && memcmp(hd.magic, magic, sizeof(magic))))
		return pvb_err(err, -EINVAL, "this is not a saved domain of xl or pvl");
	if (rc)
		return pvb_err(err, rc, "reading the header: %s", strerror(-rc));
	if (hd.order != BYTE_ORDER_MARK)
		return pvb_err(err, -EINVAL, "saved on a machine of another byte order");
	if (hd.must & ~(FLAG_JSON | FLAG_STREAM))
		return pvb_err(err, -EOPNOTSUPP, "it has flags 0x%x that this pvl does not know", hd.must);
	if (hd.len > MAX_CONFIG || (hd.len && hd.len < sizeof(len)))
		return pvb_err(err, -EINVAL, "a configuration of %u bytes can not be", hd.len);
	*out = (struct savefile){ .json = hd.must & FLAG_JSON, .stream_version = hd.must & FLAG_STREAM ? 2 : 1 };
	if (!hd.len)
		return 0;
	buf = calloc(1, (size_t)hd.len + 1);
	if (!buf)
		return pvb_err(err, -ENOMEM, "the configuration: out of memory");
	rc = savefile_get(fd, buf, hd.len, -1, NULL);
	memcpy(&len, buf, sizeof(len));
	if (rc)
		rc = pvb_err(err, rc, "reading the configuration: %s", rc == -EPIPE ? "the file ends in it" : strerror(-rc));
	else if (len > hd.len - sizeof(len))
		rc = pvb_err(err, -EINVAL, "a configuration of %u bytes in %u bytes can not be", len, hd.len);
	if (rc) {
		free(buf);
		return rc;
	}
	memmove(buf, buf + sizeof(len), len);
	buf[len] = '\0';
	out->config = buf;
	return 0;
}
