// SPDX-License-Identifier: GPL-2.0-or-later
/* Apart from the rest so that tests can link the rest. */
#include "cmd.h"

int main(int argc, char **argv)
{
	return pvl_main(argc, argv);
}
