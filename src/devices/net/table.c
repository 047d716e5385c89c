#include <string.h>

#include "base/checked.h"
#include "devices/net/backends.h"

static const struct net_backend *const backends[] = {
	&net_null,
	&net_stream,
	&net_tap,
};

const struct net_backend *net_backend_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_LENGTH(backends); i++)
		if (strcmp(backends[i]->name, name) == 0)
			return backends[i];
	return NULL;
}
