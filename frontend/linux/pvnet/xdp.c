// SPDX-License-Identifier: GPL-2.0-or-later
/* XDP: a program that sees each received frame before the stack does.  What it sends is tx.c's business.
 *
 * A program sees a copy: the back end can not change it any more, and there is room before it whatever the back end has
 * left.  A frame is one page, with its checksum: as long as there is a program, the back end is asked for such frames,
 * which takes a new connection.  Others, as may come until then, are dropped and counted. */
#include <linux/bpf_trace.h>
#include <linux/filter.h>
#include <linux/netdevice.h>
#include <linux/rtnetlink.h>
#include <linux/skbuff.h>
#include "pvnet.h"

static bool pass(struct pvnet_queue *q, struct pvnet_frame *f, const struct xdp_buff *xdp)
{
	u32 meta = xdp->data - xdp->data_meta;
	struct sk_buff *skb = napi_build_skb(xdp->data_hard_start, PAGE_SIZE);

	if (!skb) {
		q->n.rx_no_memory++;
		return false;
	}
	skb_mark_for_recycle(skb);
	skb_reserve(skb, xdp->data - xdp->data_hard_start);
	skb_put(skb, xdp->data_end - xdp->data);
	if (meta)
		skb_metadata_set(skb, meta);
	q->n.xdp_pass++;
	f->whole = NULL;
	f->skb = skb;
	f->len = skb->len;
	return true;
}

static bool send_back(struct pvnet_queue *q, struct xdp_buff *xdp)
{
	struct xdp_frame *xdpf = xdp_convert_buff_to_frame(xdp);

	if (!xdpf || !pvnet_tx_xdp(q, xdpf))
		return false;
	q->n.xdp_tx++;
	q->xdp_sent = true;
	return true;
}

static bool redirect(struct pvnet_queue *q, struct xdp_buff *xdp, struct bpf_prog *prog)
{
	if (xdp_do_redirect(q->dev->netdev, xdp, prog))
		return false;
	q->n.xdp_redirect++;
	q->xdp_redirected = true;
	return true;
}

/* The frame's page is the caller's to give back, unless somebody has got it. */
bool pvnet_xdp_run(struct pvnet_queue *q, struct pvnet_frame *f)
{
	struct bpf_prog *prog = rcu_dereference_bh(q->dev->prog);
	struct xdp_buff xdp;
	u32 action;
	bool gone = false;

	xdp_init_buff(&xdp, PAGE_SIZE, &q->xdp_rxq);
	xdp_prepare_buff(&xdp, page_address(f->whole), XDP_PACKET_HEADROOM, f->len, true);
	action = prog ? bpf_prog_run_xdp(prog, &xdp) : XDP_PASS;
	switch (action) {
	case XDP_PASS:
		return pass(q, f, &xdp);
	case XDP_DROP:
		q->n.xdp_drop++;
		return false;
	case XDP_TX:
		gone = send_back(q, &xdp);
		break;
	case XDP_REDIRECT:
		gone = redirect(q, &xdp, prog);
		break;
	default:
		bpf_warn_invalid_xdp_action(q->dev->netdev, prog, action);
		break;
	case XDP_ABORTED:
		break;
	}
	if (gone) {
		f->whole = NULL;
		return false;
	}
	trace_xdp_exception(q->dev->netdev, prog, action);
	q->n.xdp_errors++;
	return false;
}

void pvnet_xdp_flush(struct pvnet_queue *q)
{
	if (q->xdp_redirected)
		xdp_do_flush();
	if (q->xdp_sent)
		pvnet_tx_push(q);
	q->xdp_redirected = q->xdp_sent = false;
}

static int set_prog(struct net_device *netdev, struct bpf_prog *prog, struct netlink_ext_ack *extack)
{
	struct pvnet_dev *dev = netdev_priv(netdev);
	struct bpf_prog *old = rtnl_dereference(dev->prog);

	if (prog && netdev->mtu > PVNET_XDP_MTU) {
		NL_SET_ERR_MSG_MOD(extack, "a frame of this MTU does not fit a page");
		return -EINVAL;
	}
	rcu_assign_pointer(dev->prog, prog);
	netdev->max_mtu = pvnet_max_mtu(dev);
	if (old)
		bpf_prog_put(old);
	if (!old != !prog)
		pvnet_kick_work(dev);
	return 0;
}

int pvnet_xdp_setup(struct net_device *netdev, struct netdev_bpf *x)
{
	return x->command == XDP_SETUP_PROG ? set_prog(netdev, x->prog, x->extack) : -EINVAL;
}
