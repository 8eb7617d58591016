/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BACKEND_NET_PORTS_H
#define PVB_BACKEND_NET_PORTS_H
/* What the ports share and only they and ports.c need. */
#include <stdbool.h>
#include "backend/net/port.h"

extern const struct port_ops tap_port, switch_port, null_port;
extern const struct port_ops fault_port, delay_port, pcap_port;

#define PORT_MAX_WRAPPERS 3u

/* Close what prepare() left; -1 is skipped. */
void port_close_fds(const int *fds, unsigned nr_fds);

/* Are all bytes of the frame in one local piece? */
static inline bool frame_is_local(const struct frame *f)
{
	return f->nr_segs == 1 && f->seg[0].local && f->seg[0].len >= f->len;
}

/* Copy a local frame with all that is known of it into buf (f->len bytes), in one piece that is its hdr, too. */
void frame_copy(struct frame *to, const struct frame *f, uint8_t *buf);
#endif
