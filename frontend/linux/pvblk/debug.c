// SPDX-License-Identifier: GPL-2.0-or-later
/* What a person looks at when a disk stands still: a file a device in debugfs, which shows its rings and takes "kick".
 * It changes nothing but what a kick does: look for answers, and tell the back end once more. */
#include <linux/debugfs.h>
#include <linux/seq_file.h>
#include <linux/uaccess.h>
#include "pvblk.h"

static struct dentry *top;

/* The ring's memory is the back end's to write: what it says is shown, and used for nothing.  Relative to the next
 * response to read the numbers are small. */
static void show_indices(struct seq_file *m, const struct pvblk_ring *r)
{
	const struct pvb_ring_shared *sh = r->ring.sh;
	u32 base = r->ring.cons;

	seq_printf(m, "  base %#x: written %+d, pushed %+d; shared: ", base, (s32)(r->ring.prod - base),
		   (s32)(r->ring.pushed - base));
	seq_printf(m, "req_prod %+d, req_event %+d, rsp_prod %+d, rsp_event %+d\n",
		   (s32)(pvb_ring_load(&sh->req_prod) - base), (s32)(pvb_ring_load(&sh->req_event) - base),
		   (s32)(pvb_ring_load(&sh->rsp_prod) - base), (s32)(pvb_ring_load(&sh->rsp_event) - base));
}

static void show_slot(struct seq_file *m, const struct pvblk_shadow *sh)
{
	const struct pvblk_rq *p = pvblk_rq_of(sh->rq);

	seq_printf(m, "  id %#llx: %s, %u bytes at %llu in %u pieces%s%s, %u ms\n", sh->id, pvblk_op_name(sh->op),
		   sh->bytes, (u64)blk_rq_pos(sh->rq), sh->nr_refs, sh->indirect ? ", indirect" : "",
		   sh->bounced ? ", copied" : "", jiffies_to_msecs(jiffies - p->since));
}

static void show_ring(struct seq_file *m, struct pvblk_ring *r)
{
	u32 i;

	spin_lock_irq(&r->lock);
	seq_printf(m, "ring %u: %s%s, %u slots, %u in flight%s, %u of %u grants idle, ", r->nr,
		   r->live ? "live" : "not live", r->polled ? ", polled" : "", r->shadow ? r->ring.nr_slots : 0, r->in_flight,
		   r->starved ? ", starved" : "", r->nr_refs, r->claimed);
	seq_printf(m, "%llu answered, %llu notifies, %llu events, %llu spurious\n",
		   r->responses, r->notifies, r->events, r->spurious);
	if (r->shadow) {
		show_indices(m, r);
		for (i = 0; i < r->ring.nr_slots; i++)
			if (r->shadow[i].rq)
				show_slot(m, &r->shadow[i]);
	}
	spin_unlock_irq(&r->lock);
}

static int rings_show(struct seq_file *m, void *unused)
{
	static const char * const names[] = {
		"dead", "closing", "quiesced", "lying", "lied", "removed", "add", "close", "leaving", "late",
		"draining", "paused",
	};
	struct pvblk_dev *dev = m->private;
	unsigned int i;

	/* for the rings' memory */
	mutex_lock(&dev->lock);
	seq_printf(m, "%s:", dev->name);
	for (i = 0; i < ARRAY_SIZE(names); i++)
		if (test_bit(i, &dev->flags))
			seq_printf(m, " %s", names[i]);
	seq_putc(m, '\n');
	for (i = 0; i < dev->nr_rings; i++)
		show_ring(m, &dev->rings[i]);
	mutex_unlock(&dev->lock);
	return 0;
}

static int rings_open(struct inode *inode, struct file *file)
{
	return single_open(file, rings_show, inode->i_private);
}

static ssize_t rings_write(struct file *file, const char __user *from, size_t len, loff_t *at)
{
	struct pvblk_dev *dev = ((struct seq_file *)file->private_data)->private;
	char word[8] = {};
	unsigned int i;

	if (len >= sizeof(word) || copy_from_user(word, from, len) || strcmp(strim(word), "kick"))
		return -EINVAL;
	for (i = 0; i < dev->max_rings; i++)
		pvblk_poke(&dev->rings[i]);
	return len;
}

static const struct file_operations rings_fops = {
	.owner = THIS_MODULE,
	.open = rings_open,
	.read = seq_read,
	.write = rings_write,
	.llseek = seq_lseek,
	.release = single_release,
};

void pvblk_debug_add(struct pvblk_dev *dev)
{
	dev->debug = debugfs_create_file(dev_name(&dev->xdev->dev), 0600, top, dev, &rings_fops);
}

/* Waits for who is reading. */
void pvblk_debug_remove(struct pvblk_dev *dev)
{
	debugfs_remove(dev->debug);
	dev->debug = NULL;
}

void pvblk_debug_init(void)
{
	top = debugfs_create_dir("pvblk", NULL);
}

void pvblk_debug_exit(void)
{
	debugfs_remove(top);
}
