#include <string.h>

#include "base/checked.h"
#include "devices/block/backends.h"

static const struct block_backend *const backends[] = {
	&block_raw, &block_null, &block_remote, &block_vhd, &block_vhdx,
};

const struct block_backend *block_backend_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_LENGTH(backends); i++)
		if (strcmp(backends[i]->name, name) == 0)
			return backends[i];
	return NULL;
}
