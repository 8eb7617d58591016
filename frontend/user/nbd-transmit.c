// SPDX-License-Identifier: GPL-2.0-or-later
/* Commands of an NBD connection and their replies.
 *
 * Reading: bytes that are not payload go to in[].  While a payload is awaited, one readv() takes the rest of
 * it straight into its pages and what follows into in[]: just the next header if this payload is a large one,
 * so that the next is received in place, too; otherwise as much as there is, as copying a small payload costs
 * less than a read() of its own. */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include "nbd-impl.h"

#define FLUSH_IOVS 128

static struct nbd_export *exp_of(const struct nbd_cmd *cmd)
{
	return cmd->conn->exp;
}

static uint8_t *data_of(const struct nbd_cmd *cmd)
{
	return cmd->big != NULL ? cmd->big : cmd->pages > 0 ? slab_addr(cmd->conn->slab, cmd->page) : NULL;
}

/* --- commands: taken, released, answered ------------------------------------------------------------- */

static struct nbd_cmd *cmd_take(struct nbd_conn *c)
{
	struct nbd_cmd *cmd = c->free;

	c->free = cmd->next;
	cmd->next = NULL;
	cmd->error = cmd->pages = cmd->received = 0;
	cmd->flushing = false;
	c->busy++;
	return cmd;
}

static void cmd_give(struct nbd_cmd *cmd)
{
	struct nbd_conn *c = cmd->conn;

	if (cmd->pages > 0)
		slab_give(c->slab, cmd->page, cmd->pages);
	cmd->pages = 0;
	if (cmd->big != NULL) {
		free(cmd->big);
		cmd->big = NULL;
		c->big_taken = false;
	}
	cmd->next = c->free;
	c->free = cmd;
	c->busy--;
}

static void reply(struct nbd_cmd *cmd, uint32_t error)
{
	struct nbd_conn *c = cmd->conn;

	cmd->error = error;
	c->srv->stats.commands++;
	if (error != 0)
		c->srv->stats.errors++;
	conn_dirty(c);
	if (c->fd < 0) {
		cmd_give(cmd);
		return;
	}
	put32(cmd->head, NBD_SIMPLE_MAGIC);
	put32(cmd->head + 4, error);
	put64(cmd->head + 8, cmd->cookie);
	cmd->next = NULL;
	if (c->out_head != NULL)
		c->out_tail->next = cmd;
	else
		c->out_head = cmd;
	c->out_tail = cmd;
}

static uint32_t nbd_error(int rc)
{
	switch (rc) {
	case 0:
		return 0;
	case -EROFS:
		return NBD_EPERM;
	case -EINVAL:
		return NBD_EINVAL;
	case -EOPNOTSUPP:
		return NBD_ENOTSUP;
	case -ENOTCONN:
	case -ENODEV:
		return NBD_ESHUTDOWN;
	default:
		return NBD_EIO;
	}
}

static void done(struct pvf_req *req, int rc);

static void submit(struct nbd_cmd *cmd, enum pvf_op op)
{
	struct nbd_conn *c = cmd->conn;
	int rc;

	cmd->req.op = op;
	cmd->req.offset = cmd->offset;
	cmd->req.length = cmd->length;
	cmd->req.data = data_of(cmd);
	cmd->req.buf = cmd->pages > 0 && c->slab->buf.grant.nr != 0 ? &c->slab->buf : NULL;
	cmd->req.done = done;
	cmd->req.arg = cmd;
	c->in_disk++;
	rc = pvf_disk_submit(exp_of(cmd)->disk, c->queue, &cmd->req);
	if (rc < 0) {
		c->in_disk--;
		reply(cmd, nbd_error(rc));
	}
}

static void done(struct pvf_req *req, int rc)
{
	struct nbd_cmd *cmd = req->arg;

	cmd->conn->in_disk--;
	if (rc == 0 && (cmd->flags & NBD_CMD_FLAG_FUA) && !cmd->flushing && cmd->type != NBD_CMD_READ &&
	    cmd->type != NBD_CMD_FLUSH) {
		cmd->flushing = true;
		submit(cmd, PVF_FLUSH);
		return;
	}
	reply(cmd, nbd_error(rc));
}

/* --- checks ----------------------------------------------------------------------------------------- */

static uint16_t allowed_flags(uint16_t type)
{
	return NBD_CMD_FLAG_FUA | (type == NBD_CMD_WRITE_ZEROES ? NBD_CMD_FLAG_NO_HOLE | NBD_CMD_FLAG_FAST_ZERO : 0);
}

/* What is wrong with a command, as an NBD error; 0: nothing. */
static uint32_t check(const struct nbd_cmd *cmd)
{
	const struct nbd_conn *c = cmd->conn;
	uint16_t flags = export_flags(c->exp->disk);
	uint32_t sector = pvf_disk_info(c->exp->disk)->sector_size;
	bool changes = cmd->type == NBD_CMD_WRITE || cmd->type == NBD_CMD_TRIM || cmd->type == NBD_CMD_WRITE_ZEROES;

	if (cmd->type == NBD_CMD_READ || cmd->type == NBD_CMD_WRITE) {
		if (cmd->length > NBD_BIG_MAX)
			return NBD_EINVAL;
	} else if (cmd->type != NBD_CMD_FLUSH && !changes) {
		return NBD_EINVAL;
	}
	if ((cmd->flags & ~allowed_flags(cmd->type)) != 0)
		return NBD_EINVAL;
	if ((cmd->flags & NBD_CMD_FLAG_FUA) && !(flags & NBD_FLAG_SEND_FUA))
		return NBD_EINVAL;
	if (changes && (flags & NBD_FLAG_READ_ONLY))
		return NBD_EPERM;
	if (cmd->type == NBD_CMD_FLUSH)
		return !(flags & NBD_FLAG_SEND_FLUSH) || cmd->offset != 0 || cmd->length != 0 ? NBD_EINVAL : 0;
	if (cmd->type == NBD_CMD_TRIM && !(flags & NBD_FLAG_SEND_TRIM))
		return NBD_ENOTSUP;
	if (cmd->flags & NBD_CMD_FLAG_FAST_ZERO)
		return NBD_ENOTSUP; /* zeroes are written: never faster than writing */
	if (cmd->offset > c->size || cmd->length > c->size - cmd->offset)
		return cmd->type == NBD_CMD_WRITE || cmd->type == NBD_CMD_WRITE_ZEROES ? NBD_ENOSPC : NBD_EINVAL;
	if (cmd->offset % sector != 0 || cmd->length % sector != 0)
		return NBD_EINVAL;
	return 0;
}

/* --- input ------------------------------------------------------------------------------------------ */

static bool needs_buffer(const struct nbd_cmd *cmd)
{
	return (cmd->type == NBD_CMD_READ || cmd->type == NBD_CMD_WRITE) && cmd->length > 0 && data_of(cmd) == NULL;
}

static bool get_big(struct nbd_cmd *cmd)
{
	struct nbd_conn *c = cmd->conn;

	if (c->big_taken)
		return false;
	cmd->big = malloc(cmd->length);
	c->big_taken = cmd->big != NULL;
	c->no_memory = cmd->big == NULL;
	return cmd->big != NULL;
}

static bool get_buffer(struct nbd_cmd *cmd)
{
	uint32_t pages = (cmd->length + PVB_PAGE_SIZE - 1) / PVB_PAGE_SIZE;
	int64_t first;

	if (cmd->length > conn_best_payload(cmd->conn))
		return get_big(cmd);
	first = slab_take(cmd->conn->slab, pages);
	if (first < 0)
		return false;
	cmd->page = (uint32_t)first;
	cmd->pages = pages;
	return true;
}

bool transmit_stuck(struct nbd_conn *c)
{
	if (c->drain > 0)
		return false;
	if (c->cur != NULL)
		return needs_buffer(c->cur) && !get_buffer(c->cur);
	return c->free == NULL;
}

static void start(struct nbd_cmd *cmd)
{
	static const enum pvf_op op[] = { [NBD_CMD_READ] = PVF_READ,
					  [NBD_CMD_WRITE] = PVF_WRITE,
					  [NBD_CMD_FLUSH] = PVF_FLUSH,
					  [NBD_CMD_TRIM] = PVF_DISCARD,
					  [NBD_CMD_WRITE_ZEROES] = PVF_ZERO };

	if (cmd->length == 0 && cmd->type != NBD_CMD_FLUSH)
		reply(cmd, 0);
	else
		submit(cmd, op[cmd->type]);
}

/* The command at hand as far as the bytes read so far allow; true: it is on its way. */
static bool advance(struct nbd_conn *c)
{
	struct nbd_cmd *cmd = c->cur;
	uint32_t n;

	if (transmit_stuck(c))
		return false;
	if (cmd->type == NBD_CMD_WRITE && cmd->received < cmd->length) {
		n = c->in_len - c->in_pos;
		if (n > cmd->length - cmd->received)
			n = cmd->length - cmd->received;
		memcpy(data_of(cmd) + cmd->received, c->in + c->in_pos, n);
		c->in_pos += n;
		cmd->received += n;
		c->srv->stats.bytes_copied += n;
		if (cmd->received < cmd->length)
			return false;
	}
	c->cur = NULL;
	start(cmd);
	return true;
}

/* A header is complete; false: the client does not speak the protocol. */
static bool command(struct nbd_conn *c)
{
	const uint8_t *p = c->in + c->in_pos;
	struct nbd_cmd *cmd;
	uint32_t error;

	if (get32(p) != NBD_CMD_MAGIC)
		return false;
	c->in_pos += NBD_REQ_LEN;
	if (get16(p + 6) == NBD_CMD_DISC) {
		c->eof = true;
		return true;
	}
	cmd = cmd_take(c);
	cmd->flags = get16(p + 4);
	cmd->type = get16(p + 6);
	cmd->cookie = get64(p + 8);
	cmd->offset = get64(p + 16);
	cmd->length = get32(p + 24);
	c->large = cmd->type == NBD_CMD_WRITE && cmd->length >= CONN_LARGE;
	error = check(cmd);
	if (error == 0) {
		c->cur = cmd;
		return true;
	}
	if (cmd->type == NBD_CMD_WRITE) {
		if (cmd->length > NBD_DRAIN_MAX)
			return false;
		c->drain = cmd->length;
	}
	reply(cmd, error);
	return true;
}

static void throw_away(struct nbd_conn *c)
{
	uint32_t n = c->in_len - c->in_pos;

	if (n > c->drain)
		n = (uint32_t)c->drain;
	c->in_pos += n;
	c->drain -= n;
}

/* Everything in in[] that can be dealt with now; false: not the protocol. */
static bool consume(struct nbd_conn *c)
{
	for (;;) {
		throw_away(c);
		if (c->drain > 0)
			return true;
		if (c->cur != NULL) {
			if (!advance(c))
				return true;
			continue;
		}
		if (c->eof || c->free == NULL || c->in_len - c->in_pos < NBD_REQ_LEN)
			return true;
		if (!command(c))
			return false;
	}
}

bool transmit_input(struct nbd_conn *c)
{
	bool ok = consume(c);

	c->paused = transmit_stuck(c);
	return ok && !c->no_memory;
}

int transmit_receive(struct nbd_conn *c)
{
	struct nbd_cmd *cmd;
	struct iovec iov[2];
	uint32_t rest = 0;
	unsigned nr = 0;
	ssize_t n;

	/* after a pause: what was read ahead comes first */
	if (c->paused && !transmit_input(c))
		return -EPROTO;
	if (c->eof || transmit_stuck(c))
		return -EAGAIN;
	cmd = c->cur;
	memmove(c->in, c->in + c->in_pos, c->in_len - c->in_pos);
	c->in_len -= c->in_pos;
	c->in_pos = 0;
	if (cmd != NULL) {
		rest = cmd->length - cmd->received;
		iov[nr].iov_base = data_of(cmd) + cmd->received;
		iov[nr++].iov_len = rest;
	}
	iov[nr].iov_base = c->in + c->in_len;
	iov[nr++].iov_len = (c->drain == 0 && c->large ? NBD_REQ_LEN : CONN_IN) - c->in_len;
	n = readv(c->fd, iov, (int)nr);
	if (n < 0)
		return errno == EINTR ? -EAGAIN : -errno;
	c->dry = (size_t)n < rest + iov[nr - 1].iov_len;
	c->srv->stats.bytes_in += (uint64_t)n;
	if (rest > 0) {
		uint32_t got = (size_t)n < rest ? (uint32_t)n : rest;

		cmd->received += got;
		c->in_len += (uint32_t)n - got;
	} else {
		c->in_len += (uint32_t)n;
	}
	return n > INT32_MAX ? INT32_MAX : (int)n;
}

/* --- output ----------------------------------------------------------------------------------------- */

static size_t reply_len(const struct nbd_cmd *cmd)
{
	return NBD_REPLY_LEN + (cmd->type == NBD_CMD_READ && cmd->error == 0 ? cmd->length : 0);
}

/* The unsent part of the queue, as far as FLUSH_IOVS go. */
static int gather(struct nbd_conn *c, struct iovec *iov)
{
	size_t skip = c->out_sent;
	int nr = 0;

	for (struct nbd_cmd *cmd = c->out_head; cmd != NULL && nr + 2 <= FLUSH_IOVS; cmd = cmd->next, skip = 0) {
		size_t head = skip < NBD_REPLY_LEN ? skip : NBD_REPLY_LEN, body = reply_len(cmd) - NBD_REPLY_LEN;

		if (head < NBD_REPLY_LEN)
			iov[nr++] = (struct iovec){ cmd->head + head, NBD_REPLY_LEN - head };
		if (body > skip - head)
			iov[nr++] = (struct iovec){ data_of(cmd) + (skip - head), body - (skip - head) };
	}
	return nr;
}

int transmit_flush(struct nbd_conn *c)
{
	struct iovec iov[FLUSH_IOVS];
	struct msghdr msg = { .msg_iov = iov };
	struct nbd_cmd *cmd;
	ssize_t n;

	while (c->out_head != NULL) {
		msg.msg_iovlen = (size_t)gather(c, iov);
		n = sendmsg(c->fd, &msg, MSG_NOSIGNAL);
		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? -EAGAIN : -errno;
		c->srv->stats.bytes_out += (uint64_t)n;
		c->out_sent += (size_t)n;
		while ((cmd = c->out_head) != NULL && c->out_sent >= reply_len(cmd)) {
			c->out_sent -= reply_len(cmd);
			c->out_head = cmd->next;
			cmd_give(cmd);
		}
	}
	return 0;
}
