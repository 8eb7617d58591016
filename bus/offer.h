/* SPDX-License-Identifier: MIT */
#ifndef PVB_BUS_OFFER_H
#define PVB_BUS_OFFER_H
/* Make and rescind a device: both directories in one transaction, permissions on a directory before
 * anything is put in it (children inherit them), state last.  For toolstacks without libxl (the local
 * fabric); on Xen libxl does this so that xl and virsh see the device.
 *
 * Layout as libxl writes it:
 *   /local/domain/BE/backend/KIND/FE/DEVID    owner BE, FE may read
 *   /local/domain/FE/device/CLASS/DEVID       owner FE, BE may read
 * Errors   0 or -errno; never logs.
 */
#include "store.h"
#include "state.h"

#ifdef __cplusplus
extern "C" {
#endif

struct pvb_device_id {
	const char *kind;       /* back end's directory: "vbd", "vif", ... */
#ifdef __cplusplus
	const char *front_class;
#else
	const char *class;      /* front end's: "vbd", "vif" */
#endif
	uint32_t back, front;   /* domains */
	uint32_t devid;
};
struct pvb_pair { const char *key, *value; };

void pvb_device_back_path(const struct pvb_device_id *id, char *buf, size_t len);
void pvb_device_front_path(const struct pvb_device_id *id, char *buf, size_t len);
/* Parse a back end path; -EINVAL when it is not one (anything below the device directory is ignored).
 * id->kind becomes `kind`; id->class is what front ends of that kind call it ("vbd" for vbd3 and qdisk). */
int pvb_device_parse(const char *back_path, struct pvb_device_id *id, char kind[16]);

/* frontend, frontend-id, online=1, state=1 and backend, backend-id, state=1 are written by offer itself.
 * A front end's directory without a back end's is a leftover, or the guest's invention: removed first.
 * -EEXIST: a device with this devid is there (named with its states in err). */
int pvb_offer(struct pvb_store *st, const struct pvb_device_id *id, const struct pvb_pair *back, unsigned nr_back,
	      const struct pvb_pair *front, unsigned nr_front, struct pvb_error *err);

/* Graceful: online=0 and state=5, wait for the back end to reach 6 (or to vanish), then remove both
 * directories.  -EBUSY after timeout_ms: online is 1 and the state the old one again, the device whole. */
int pvb_rescind(struct pvb_store *st, const struct pvb_device_id *id, int timeout_ms, struct pvb_error *err);
/* By force: online=0, state=5, wait up to timeout_ms for 6, remove both directories whatever happened. */
int pvb_rescind_force(struct pvb_store *st, const struct pvb_device_id *id, int timeout_ms, struct pvb_error *err);
/* Virtual device text ("xvda", "xvdb3", "hda", "sdc", "d5p2", "51712") to devid and back; a number that
 * is none of these is shown as a number. */
int pvb_vdev_parse(const char *vdev, uint32_t *devid, struct pvb_error *err);
void pvb_vdev_name(uint32_t devid, char *buf, size_t len);

#ifdef __cplusplus
}
#endif
#endif
