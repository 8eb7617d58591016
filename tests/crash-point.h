/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_TESTS_CRASH_POINT_H
#define PVB_TESTS_CRASH_POINT_H
/* The macro of bus/crash.h as the crash tests want it.  Comes before everything else in the objects of libcrash
 * (-include), so it includes nothing.
 *
 * Each place leaves a record in a section: the linker makes the list, and a record's place in it is its number. */
struct crash_point {
	const char *name, *file, *object;   /* file: of the line; object: the source that was compiled */
	unsigned long line;
};

void crash_pass(struct crash_point *p);     /* may not return */

#ifdef LIBCRASH
#define PVB_CRASH_POINT(what) do { \
	static struct crash_point point_ __attribute__((section("pvb_crash_points"), aligned(8))) = { \
		#what, __FILE__, __BASE_FILE__, __LINE__ }; \
	crash_pass(&point_); \
} while (0)
#endif
#endif
