/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BACKEND_LINKS_H
#define PVB_BACKEND_LINKS_H
/* links.h: news of the host's network interfaces, from rtnetlink: their name, MTU or flags changed, they came or went.
 *
 * Trust    The kernel is believed; nobody else can send to the socket.  No right is needed.
 * Units    What is told is an interface's index only.  What has become of it is for the callee to ask: news may be old, and
 *          the kernel drops them when they are many (then 0 is told: any interface may have changed).
 * Threads  One, the loop's.  Logs nothing.
 * Errors   -errno and *err.  Without it NICs work, and do not follow.
 */
struct links;
struct pvb_error;
struct pvb_loop;

int links_open(struct links **out, struct pvb_loop *loop, void (*changed)(void *arg, unsigned ifindex), void *arg,
	       struct pvb_error *err);
void links_close(struct links **links); /* fine on a NULL one */
#endif
