/* SPDX-License-Identifier: MIT */
#ifndef PVB_BUS_CRASH_H
#define PVB_BUS_CRASH_H
/* Places where a back end may die.
 *
 * What      PVB_CRASH_POINT(name) stands after a store that the front end or the next process can see: to a ring, to a
 *           journal, to what was lent.  It is nothing, except in the objects that tests/crash-*.c link: these are
 *           compiled with tests/crash-point.h in front, whose macro counts the passings of each place and kills the
 *           process at the one it was told.
 * List      That macro leaves a record of each place in a section of its own, so the list of points is what was compiled,
 *           and a point that no test has died at is an error there.
 * Names     One place, one name.  An inline function in two objects is two points of one name.
 */
#ifndef PVB_CRASH_POINT
#define PVB_CRASH_POINT(name) do { } while (0)
#endif
#endif
