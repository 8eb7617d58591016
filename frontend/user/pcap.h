/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVF_PCAP_H
#define PVF_PCAP_H
/* Capture files of Ethernet frames, as tcpdump(1) and Wireshark know them.
 *
 * Written  The classic format with nanoseconds, in this machine's byte order, each frame by one write(): the file is
 *          whole at any moment, also when the process is killed.
 * Read     Micro- and nanoseconds, both byte orders.  Every length in the file is checked.
 * Errors   0 or -errno and a pvb_error that names the file.  Never logs.
 * Source   draft-ietf-opsawg-pcap
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/uio.h>
#include "error.h"

#define PCAP_SNAP 262144u /* as tcpdump's default */

struct pcap_writer;
int pcap_create(struct pcap_writer **out, const char *path, struct pvb_error *err);
int pcap_write(struct pcap_writer *w, const struct iovec *iov, unsigned nr); /* -errno, e.g. -ENOSPC */
uint64_t pcap_written(const struct pcap_writer *w);  /* frames */
void pcap_finish(struct pcap_writer *w);             /* NULL is fine */

struct pcap_reader;
int pcap_open(struct pcap_reader **out, const char *path, struct pvb_error *err);
/* The next frame's bytes into buf: its length; 0 at the end; -EINVAL the file is damaged, -E2BIG the frame is larger
 * than buf, -EPROTO it was cut when captured (both are skipped: go on). */
int pcap_next(struct pcap_reader *r, void *buf, size_t size, struct pvb_error *err);
void pcap_close(struct pcap_reader *r);              /* NULL is fine */
#endif
