/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_FUZZ_MAIN_H
#define PVB_FUZZ_MAIN_H
/* What a fuzz-*.c gives: one run with an input, and how inputs are made at random where there is no fuzzer. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

struct fuzz_target {
	const char *name;                  /* fuzz-NAME, its inputs are tests/corpus/NAME */
	unsigned nr_random;                /* inputs */
	size_t least, most;                /* bytes each; most itself only if least is the same */
	/* Byte i of an input: b, any of 256, or one that is rather understood, as the odds of 0 to 15 have it. */
	uint8_t (*byte)(uint8_t b, unsigned odds, size_t i);
	uint64_t seed;                     /* goes into the process's own, which is used unless SEED says another */
};
extern const struct fuzz_target fuzz;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(cond) \
	do { \
		if (!(cond)) { \
			fprintf(stderr, "fuzz-%s: line %d: %s\n", fuzz.name, __LINE__, #cond); \
			abort(); \
		} \
	} while (0)
#endif
