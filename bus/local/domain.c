/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Domains of the fabric: their memory, which process may grant which of its pages, who maps it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "fabric-int.h"
#include "store.h"

int lf_memfd(const char *name, size_t bytes, size_t map_bytes, void *map, unsigned extra_seals)
{
	int fd, rc = 0;
	void *p;

	fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)bytes) < 0) {
		rc = -errno;
		goto fail;
	}
	if (map_bytes) {
		p = mmap(NULL, map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (p == MAP_FAILED) {
			rc = -errno;
			goto fail;
		}
		memcpy(map, &p, sizeof(p));
	}
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL | extra_seals) < 0) {
		rc = -errno;
		if (map_bytes)
			munmap(p, map_bytes);
		goto fail;
	}
	return fd;
fail:
	close(fd);
	return rc;
}

/* ---- pages ------------------------------------------------------------------------------------------ */

static lf_pins *pins(const struct lf_domain *dom)
{
	return (lf_pins *)(dom->map + dom->layout.pins);
}

static lf_entry *table(const struct lf_domain *dom)
{
	return (lf_entry *)(dom->map + dom->layout.table);
}

static bool pinned(const struct lf_domain *dom, uint32_t page)
{
	uint16_t any = 0;
	unsigned col;

	for (col = 0; col < LF_NR_COLUMNS; col++)
		if (dom->column[col])
			any |= __atomic_load_n(&pins(dom)[page][col], __ATOMIC_ACQUIRE);
	return any != 0;
}

uint32_t lf_pages_reap(struct lf_domain *dom)
{
	uint32_t i, n = 0;

	for (i = 0; i < dom->layout.pages && dom->nr_stuck > 0; i++)
		if (dom->page_state[i] == LF_PAGE_STUCK && !pinned(dom, i)) {
			dom->page_state[i] = LF_PAGE_FREE;
			dom->nr_stuck--;
			dom->nr_reserved--;
			n++;
		}
	return n;
}

/* nr free pages in a row from `from` up to `to`; UINT32_MAX = none. */
static uint32_t find_run(const struct lf_domain *dom, uint32_t from, uint32_t to, uint32_t nr)
{
	uint32_t i, run = 0;

	for (i = from; i < to; i++) {
		run = dom->page_state[i] == LF_PAGE_FREE ? run + 1 : 0;
		if (run == nr)
			return i + 1 - nr;
	}
	return UINT32_MAX;
}

/* Of a mapper that was killed while it looked at a reference nobody had granted. */
static void forget_pins(const struct lf_domain *dom, uint32_t first, uint32_t nr)
{
	unsigned col;
	uint32_t i;

	for (i = first; i < first + nr; i++)
		for (col = 0; col < LF_NR_COLUMNS; col++)
			if (__atomic_load_n(&pins(dom)[i][col], __ATOMIC_RELAXED))
				__atomic_store_n(&pins(dom)[i][col], 0, __ATOMIC_RELAXED);
}

int lf_pages_reserve(struct lf_client *c, uint32_t nr, uint32_t *first)
{
	struct lf_domain *dom = c->dom;
	struct lf_extent *ext;
	uint32_t at;

	if (nr == 0 || nr > dom->layout.pages - dom->nr_reserved + dom->nr_stuck)
		return nr == 0 ? -EINVAL : -ENOSPC;
	at = find_run(dom, dom->next_page, dom->layout.pages, nr);
	if (at == UINT32_MAX) {
		lf_pages_reap(dom);
		at = find_run(dom, 0, dom->layout.pages, nr);
	}
	if (at == UINT32_MAX)
		return -ENOSPC;
	ext = malloc(sizeof(*ext));
	if (!ext)
		return -ENOMEM;
	forget_pins(dom, at, nr);
	memset(dom->page_state + at, LF_PAGE_RESERVED, nr);
	dom->nr_reserved += nr;
	dom->next_page = at + nr;
	*ext = (struct lf_extent){ .next = c->extents, .first = at, .nr = nr };
	c->extents = ext;
	*first = at;
	return 0;
}

static uint32_t release(struct lf_domain *dom, uint32_t first, uint32_t nr)
{
	uint32_t i, stuck = 0;

	for (i = first; i < first + nr; i++)
		__atomic_store_n(&table(dom)[i], 0, __ATOMIC_RELAXED);
	/* pairs with pin_all(): entries before pins here, pins before entries there */
	pvb_ring_mb();
	for (i = first; i < first + nr; i++)
		if (pinned(dom, i)) {
			dom->page_state[i] = LF_PAGE_STUCK;
			dom->nr_stuck++;
			stuck++;
		} else {
			dom->page_state[i] = LF_PAGE_FREE;
			dom->nr_reserved--;
		}
	return stuck;
}

int lf_pages_return(struct lf_client *c, uint32_t first, uint32_t nr, uint32_t *stuck)
{
	struct lf_extent *ext, **p;

	for (p = &c->extents; (ext = *p); p = &ext->next)
		if (ext->first == first && ext->nr == nr)
			break;
	if (!ext)
		return -EINVAL;
	*p = ext->next;
	free(ext);
	*stuck = release(c->dom, first, nr);
	return 0;
}

void lf_pages_drop_all(struct lf_client *c)
{
	struct lf_extent *ext;

	while ((ext = c->extents)) {
		c->extents = ext->next;
		release(c->dom, ext->first, ext->nr);
		free(ext);
	}
}

/* ---- columns ---------------------------------------------------------------------------------------- */

int lf_column_get(struct lf_client *c, struct lf_domain *of, uint32_t *column)
{
	unsigned col, found = LF_NR_COLUMNS;

	for (col = 0; col < LF_NR_COLUMNS; col++) {
		if (of->column[col] == c)
			break; /* asks again: the same */
		if (!of->column[col] && found == LF_NR_COLUMNS)
			found = col;
	}
	if (col == LF_NR_COLUMNS)
		col = found;
	if (col == LF_NR_COLUMNS)
		return -ENOSPC;
	if (!of->column[col])
		c->nr_columns++;
	of->column[col] = c;
	*column = col;
	return 0;
}

void lf_column_put(struct lf_client *c, struct lf_domain *of)
{
	unsigned col;
	uint32_t i;

	for (col = 0; col < LF_NR_COLUMNS && of->column[col] != c; col++)
		;
	if (col == LF_NR_COLUMNS)
		return;
	/* only of pages in use: looking at the others would fill the table of a large domain with memory */
	for (i = 0; i < of->layout.pages; i++)
		if (of->page_state[i] != LF_PAGE_FREE && __atomic_load_n(&pins(of)[i][col], __ATOMIC_RELAXED))
			__atomic_store_n(&pins(of)[i][col], 0, __ATOMIC_RELEASE);
	of->column[col] = NULL;
	c->nr_columns--;
	lf_pages_reap(of);
}

void lf_columns_put_all(struct lf_client *c)
{
	uint32_t domid;

	for (domid = 0; domid < LF_NR_DOMIDS && c->nr_columns > 0; domid++)
		if (c->fabric->domains[domid])
			lf_column_put(c, c->fabric->domains[domid]);
}

/* ---- domains ---------------------------------------------------------------------------------------- */

static int make_memory(struct lf_domain *dom)
{
	dom->page_state = calloc(dom->layout.pages, 1);
	if (!dom->page_state)
		return -ENOMEM;
	dom->memfd = lf_memfd("pvbus-domain", dom->layout.total, dom->layout.data, &dom->map, 0);
	return dom->memfd < 0 ? dom->memfd : 0;
}

static void dir_path(const struct lf_domain *dom, char *buf, size_t len)
{
	snprintf(buf, len, "%s/dom/%u", dom->fabric->dir, dom->domid);
}

static int make_dir(const struct lf_domain *dom, struct pvb_error *err)
{
	char path[4096];

	if (dom->domid == 0)
		return 0;
	/* ours, not the guest's: it could put another socket in the place of the one a tool connects to */
	dir_path(dom, path, sizeof(path));
	if (mkdir(path, 0711) < 0 && errno != EEXIST)
		return pvb_err(err, -errno, "domain %u: can not make %s: %s", dom->domid, path, strerror(errno));
	return 0;
}

static void remove_dir(const struct lf_domain *dom)
{
	char path[4096];

	lf_socket_path(dom->fabric->dir, dom->domid, "ctl", path, sizeof(path));
	unlink(path);
	lf_socket_path(dom->fabric->dir, dom->domid, "store", path, sizeof(path));
	unlink(path);
	if (dom->domid != 0) {
		dir_path(dom, path, sizeof(path));
		rmdir(path);
	}
}

void lf_domain_free(struct lf_domain *dom)
{
	struct lf_fabric *f = dom->fabric;

	unsigned col;

	for (col = 0; col < LF_NR_COLUMNS; col++)
		if (dom->column[col])
			dom->column[col]->nr_columns--;
	memset(dom->column, 0, sizeof(dom->column));
	f->domains[dom->domid] = NULL;
	__atomic_store_n(&f->info[dom->domid], 0, __ATOMIC_SEQ_CST);
	lf_ctl_domain_gone(dom);
	pvb_source_free(&dom->ctl_src);
	pvb_source_free(&dom->store_src);
	if (dom->ctl_fd >= 0)
		close(dom->ctl_fd);
	if (dom->store_fd >= 0)
		close(dom->store_fd);
	remove_dir(dom);
	if (dom->map)
		munmap(dom->map, dom->layout.data);
	if (dom->memfd >= 0)
		close(dom->memfd);
	free(dom->page_state);
	free(dom);
}

/* The next free domid after the last one given, as Xen does: a number is reused late. */
static uint32_t next_domid(struct lf_fabric *f)
{
	uint32_t i, domid;

	for (i = 0; i < LF_NR_DOMIDS - 1; i++) {
		domid = 1 + (f->next_domid - 1 + i) % (LF_NR_DOMIDS - 1);
		if (!f->domains[domid]) {
			f->next_domid = domid + 1;
			return domid;
		}
	}
	return LF_NR_DOMIDS;
}

static int check_spec(const struct lf_fabric *f, const struct pvb_local_new *spec, struct pvb_error *err)
{
	size_t len = strnlen(spec->name, PVB_LOCAL_NAME_MAX + 1);

	if (len == 0 || len > PVB_LOCAL_NAME_MAX ||
	    strspn(spec->name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-") != len)
		return pvb_err(err, -EINVAL, "domain name \"%.*s\": 1 to %u of A-Z a-z 0-9 _ . -", PVB_LOCAL_NAME_MAX,
			       spec->name, PVB_LOCAL_NAME_MAX);
	if (spec->pages == 0 || spec->pages > PVB_LOCAL_PAGES_MAX)
		return pvb_err(err, -EINVAL, "domain %s: %u pages, at least 1 and at most %u", spec->name, spec->pages,
			       PVB_LOCAL_PAGES_MAX);
	if (spec->domid >= LF_NR_DOMIDS)
		return pvb_err(err, -EINVAL, "domain %s: domid %u, at most %u", spec->name, spec->domid,
			       LF_NR_DOMIDS - 1);
	if (f->domains[spec->domid])
		return spec->domid == 0 ? 0 : pvb_err(err, -EEXIST, "domain %s: domid %u is taken by %s", spec->name,
						      spec->domid, f->domains[spec->domid]->name);
	return 0;
}

int lf_domain_new(struct lf_fabric *f, const struct pvb_local_new *spec, uint32_t *domid, struct pvb_error *err)
{
	struct lf_domain *dom;
	struct timespec ts;
	uint32_t id;
	int rc;

	rc = check_spec(f, spec, err);
	if (rc < 0)
		return rc;
	id = spec->domid == 0 && f->domains[0] ? next_domid(f) : spec->domid;
	if (id == LF_NR_DOMIDS)
		return pvb_err(err, -ENOSPC, "domain %s: all %u domids are in use", spec->name, LF_NR_DOMIDS - 1);
	dom = calloc(1, sizeof(*dom));
	if (!dom)
		return pvb_err(err, -ENOMEM, "domain %s: out of memory", spec->name);
	dom->fabric = f;
	dom->domid = id;
	dom->memfd = dom->ctl_fd = dom->store_fd = -1;
	dom->uid = spec->uid;
	dom->gid = spec->gid;
	snprintf(dom->name, sizeof(dom->name), "%s", spec->name);
	clock_gettime(CLOCK_BOOTTIME, &ts);
	dom->created_ns = (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
	dom->layout = lf_layout(spec->pages);
	f->domains[id] = dom;
	rc = make_memory(dom);
	if (rc < 0)
		pvb_err(err, rc, "domain %s: no memory for %u pages: %s", spec->name, spec->pages, strerror(-rc));
	dom->generation = ++f->next_generation ? f->next_generation : ++f->next_generation;
	__atomic_store_n(&f->info[id], dom->generation, __ATOMIC_SEQ_CST);
	if (rc == 0)
		rc = make_dir(dom, err);
	if (rc == 0)
		rc = lf_ctl_listen(dom, err);
	if (rc == 0 && id != 0) {
		rc = lst_domain_introduce(f->store, id);
		if (rc < 0)
			pvb_err(err, rc, "domain %s: the store refuses it: %s", spec->name, strerror(-rc));
	}
	if (rc < 0) {
		lf_domain_free(dom);
		return rc;
	}
	f->nr_domains += id != 0;
	*domid = id;
	return 0;
}

int lf_domain_destroy(struct lf_fabric *f, uint32_t domid)
{
	struct lf_domain *dom = lf_domain(f, domid);

	if (!dom)
		return -ESRCH;
	if (domid == 0)
		return -EINVAL;
	f->nr_domains--;
	lf_domain_free(dom);
	lf_ports_forget_domid(f, domid);
	lst_domain_gone(f->store, domid);
	lf_ctl_tell_waiters(f, domid);
	return 0;
}

int lf_domain_shutdown(struct lf_domain *dom, enum pvb_local_reason reason)
{
	if (dom->domid == 0 || reason > PVB_LOCAL_CRASH)
		return -EINVAL;
	if (dom->state == PVB_LOCAL_SHUTDOWN)
		return 0; /* the first reason counts */
	dom->state = PVB_LOCAL_SHUTDOWN;
	dom->reason = reason;
	lst_domain_shutdown(dom->fabric->store, dom->domid);
	lf_ctl_tell_waiters(dom->fabric, dom->domid);
	return 0;
}

void lf_domain_info(const struct lf_domain *dom, struct pvb_local_domain *info)
{
	memset(info, 0, sizeof(*info));
	info->domid = dom->domid;
	info->pages = dom->layout.pages;
	memcpy(info->name, dom->name, sizeof(info->name));
	info->state = dom->state;
	info->reason = dom->reason;
	info->handles = dom->nr_handles + (dom->owner != NULL);
	info->owner_pid = dom->owner ? dom->owner->pid : 0;
	info->created_ns = dom->created_ns;
}
