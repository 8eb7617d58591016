/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVF_NBD_IMPL_H
#define PVF_NBD_IMPL_H
/* What the files of the NBD server share.
 *
 *   nbd-server.c     socket, exports, connections' life
 *   nbd-handshake.c  options, up to the choice of an export
 *   nbd-transmit.c   commands and replies
 *   slab.c           a connection's buffer, in pages
 */
#include <endian.h>
#include <string.h>
#include "nbd.h"

/* --- the protocol's numbers ------------------------------------------------------------------------- */

#define NBD_MAGIC          0x4e42444d41474943ull /* "NBDMAGIC" */
#define NBD_OPTS_MAGIC     0x49484156454f5054ull /* "IHAVEOPT" */
#define NBD_REPLY_MAGIC    0x0003e889045565a9ull /* of an option */
#define NBD_CMD_MAGIC      0x25609513u
#define NBD_SIMPLE_MAGIC   0x67446698u

enum { NBD_FLAG_FIXED_NEWSTYLE = 1, NBD_FLAG_NO_ZEROES = 2 };
enum { NBD_OPT_EXPORT_NAME = 1, NBD_OPT_ABORT = 2, NBD_OPT_LIST = 3, NBD_OPT_INFO = 6, NBD_OPT_GO = 7 };
enum { NBD_REP_ACK = 1, NBD_REP_SERVER = 2, NBD_REP_INFO = 3 };
#define NBD_REP_ERR_UNSUP    0x80000001u
#define NBD_REP_ERR_INVALID  0x80000003u
#define NBD_REP_ERR_UNKNOWN  0x80000006u
#define NBD_REP_ERR_SHUTDOWN 0x80000007u
#define NBD_REP_ERR_TOO_BIG  0x80000009u
enum { NBD_INFO_EXPORT = 0, NBD_INFO_NAME = 1, NBD_INFO_BLOCK_SIZE = 3 };
enum {
	NBD_FLAG_HAS_FLAGS = 1 << 0,
	NBD_FLAG_READ_ONLY = 1 << 1,
	NBD_FLAG_SEND_FLUSH = 1 << 2,
	NBD_FLAG_SEND_FUA = 1 << 3,
	NBD_FLAG_SEND_TRIM = 1 << 5,
	NBD_FLAG_SEND_WRITE_ZEROES = 1 << 6,
	NBD_FLAG_CAN_MULTI_CONN = 1 << 8,
	NBD_FLAG_SEND_FAST_ZERO = 1 << 11,
};
enum {
	NBD_CMD_READ = 0,
	NBD_CMD_WRITE = 1,
	NBD_CMD_DISC = 2,
	NBD_CMD_FLUSH = 3,
	NBD_CMD_TRIM = 4,
	NBD_CMD_WRITE_ZEROES = 6,
};
enum { NBD_CMD_FLAG_FUA = 1 << 0, NBD_CMD_FLAG_NO_HOLE = 1 << 1, NBD_CMD_FLAG_FAST_ZERO = 1 << 4 };
enum {
	NBD_EPERM = 1,
	NBD_EIO = 5,
	NBD_ENOMEM = 12,
	NBD_EINVAL = 22,
	NBD_ENOSPC = 28,
	NBD_ENOTSUP = 95,
	NBD_ESHUTDOWN = 108
};

#define NBD_REQ_LEN    28u   /* a command's header */
#define NBD_REPLY_LEN  16u   /* a simple reply's */
#define NBD_OPT_LEN    16u   /* an option's header */
#define NBD_OPT_MAX  8192u   /* longest option data we look at */
#define NBD_BIG_MAX   (32u << 20) /* longest read or write: what clients may send that did not ask for limits */
#define NBD_DRAIN_MAX (64u << 20) /* a refused payload longer than this is not worth reading */

static inline uint16_t get16(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, 2);
	return be16toh(v);
}
static inline uint32_t get32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, 4);
	return be32toh(v);
}
static inline uint64_t get64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, 8);
	return be64toh(v);
}
static inline void put16(uint8_t *p, uint16_t v)
{
	v = htobe16(v);
	memcpy(p, &v, 2);
}
static inline void put32(uint8_t *p, uint32_t v)
{
	v = htobe32(v);
	memcpy(p, &v, 4);
}
static inline void put64(uint8_t *p, uint64_t v)
{
	v = htobe64(v);
	memcpy(p, &v, 8);
}

/* --- slab.c: runs of whole pages -------------------------------------------------------------------- */

struct slab {
	struct slab *next;        /* in its export's list of unused ones */
	struct pvf_disk *disk;
	struct pvf_buf buf;       /* granted, or (no grants left) grant.nr == 0 and plain memory */
	uint64_t *used;           /* one bit per page */
	uint32_t pages, cursor, in_use;
};

/* As many of the wanted bytes as there are grants for, at least 128 KiB of plain memory. */
int slab_new(struct slab **out, struct pvf_disk *disk, size_t bytes);
void slab_free(struct slab *slab); /* NULL is fine */
/* nr neighbouring pages; the first one's number, or -1: not now. */
int64_t slab_take(struct slab *slab, uint32_t nr);
void slab_give(struct slab *slab, uint32_t first, uint32_t nr);
void slab_reset(struct slab *slab); /* all pages free */
static inline void *slab_addr(const struct slab *slab, uint32_t page)
{
	return (uint8_t *)slab->buf.addr + (size_t)page * PVB_PAGE_SIZE;
}

/* --- connections ------------------------------------------------------------------------------------ */

#define CONN_CMDS  256u       /* commands of a connection at a time */
#define CONN_IN  65536u       /* bytes read ahead */
#define CONN_LARGE 32768u     /* payloads from here on are worth a read() of their own to be received in place */

struct nbd_export {
	struct nbd_export *next;
	char *name;
	struct pvf_disk *disk;
	struct slab *slabs;       /* unused: grants are kept, a back end may have them mapped */
};

struct nbd_conn;

struct nbd_cmd {
	struct nbd_conn *conn;
	struct nbd_cmd *next;     /* free list, or replies to be sent */
	struct pvf_req req;
	uint64_t cookie, offset;
	uint32_t length;
	uint16_t type, flags;
	uint32_t error;           /* NBD_E*, 0 */
	uint32_t page, pages;     /* of the slab; pages 0: none */
	uint8_t *big;             /* instead: memory of its own, for more than the slab may give */
	uint32_t received;        /* of the payload */
	bool flushing;            /* the second half of a FUA write */
	uint8_t head[NBD_REPLY_LEN];
};

enum conn_state { CONN_GREETING, CONN_OPTIONS, CONN_COMMANDS };

struct nbd_conn {
	struct nbd_conn *prev, *next;
	struct nbd_server *srv;
	struct nbd_conn *next_dirty;
	bool dirty;               /* has replies to send in this round */
	int fd;                   /* -1: closed, only waiting for its commands */
	struct pvb_source *src, *timer;
	enum conn_state state;
	bool no_zeroes, large, eof; /* large: the last command was a large write, likely so is the next */
	bool dry;                 /* the last read() got less than it could have */
	bool paused;              /* input waits for a command or for buffer to be freed */
	struct nbd_export *exp;
	uint32_t generation;      /* of the disk when chosen */
	uint64_t size;
	struct slab *slab;
	unsigned queue;           /* of the disk: connections are spread */
	/* input */
	uint8_t in[CONN_IN + NBD_OPT_MAX];
	uint32_t in_pos, in_len;
	struct nbd_cmd *cur;      /* its payload is being received, or it waits for buffer */
	uint64_t drain;           /* payload bytes to throw away */
	/* output */
	uint8_t text[16384];      /* handshake only */
	uint32_t text_pos, text_len;
	struct nbd_cmd *out_head, *out_tail;
	size_t out_sent;          /* of the first reply */
	/* commands */
	struct nbd_cmd *free;
	unsigned busy;            /* commands not free */
	unsigned in_disk;         /* of these: the disk has them */
	bool big_taken;           /* one command at a time has memory of its own */
	bool no_memory;           /* ... and there was none: hang up */
	struct nbd_cmd cmds[CONN_CMDS];
};

struct nbd_server {
	struct pvb_loop *loop;
	struct nbd_limits limits;
	char *path;
	int fd;
	struct pvb_source *src, *flush;
	struct nbd_export *exports;
	struct nbd_conn *conns;
	struct nbd_conn *dirty;   /* to be flushed at the end of the round */
	unsigned next_queue;
	bool stopping;
	struct nbd_stats stats;
};

/* nbd-server.c */
void conn_close(struct nbd_conn *c);              /* now; freed when its commands are done */
void conn_update(struct nbd_conn *c);             /* which events are of interest */
struct nbd_export *export_find(struct nbd_server *srv, const char *name, size_t len);
int conn_attach(struct nbd_conn *c, struct nbd_export *exp); /* a slab for it */
void conn_detach(struct nbd_conn *c);
uint32_t conn_best_payload(const struct nbd_conn *c); /* longest that needs no copy */
void conn_dirty(struct nbd_conn *c);              /* flush it soon */
void conn_maybe_free(struct nbd_conn *c);

/* nbd-handshake.c: consume what is in in[]; false: the connection must be closed. */
bool handshake_input(struct nbd_conn *c);
void handshake_greet(struct nbd_conn *c);
uint16_t export_flags(const struct pvf_disk *disk);

/* nbd-transmit.c */
bool transmit_input(struct nbd_conn *c);          /* consume in[]; false: close */
bool transmit_stuck(struct nbd_conn *c);          /* after a try: nothing can be read before something is freed */
int transmit_receive(struct nbd_conn *c);         /* read() in the best place: > 0, 0 end, -EAGAIN, -errno */
int transmit_flush(struct nbd_conn *c);           /* send replies: 0, -EAGAIN, -errno */
#endif
