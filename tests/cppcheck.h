/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What cppcheck, which does not read the libraries' headers, must know of them. Nothing else includes this. */
#define json_object_object_foreach(obj, key, val) \
	struct json_object *val = obj; \
	for (const char *key = json_object_get_string(val); key; key = 0)
