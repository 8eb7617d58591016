/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nbd-lib.c: see nbd-lib.h. */
#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include "backend/block/nbd-lib.h"

#define SONAME "libnbd.so.0"         /* the ABI of the header */

struct nbd_lib nbd_lib;

int nbd_lib_load(struct pvb_error *err)
{
	static bool loaded;
	void *lib;

	if (loaded)
		return 0;
	/* all at once: what is looked up later would be looked up in the sandbox */
	lib = dlopen(SONAME, RTLD_NOW | RTLD_LOCAL);
	if (!lib)
		return pvb_err(err, -ENOENT, "%s", dlerror());
#define LOOK_UP(name) \
	nbd_lib.name = (__typeof__(nbd_##name) *)dlsym(lib, "nbd_" #name); \
	if (!nbd_lib.name) \
		return pvb_err(err, -ENOENT, "%s", dlerror());
	NBD_LIB_CALLS(LOOK_UP)
#undef LOOK_UP
	loaded = true;
	return 0;
}
