#include <stdlib.h>

#include "fuzz.h"
#include "mgmt/hvsock_line.h"

/* What clients of --hvsock say first: a port that means any never comes of it. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint32_t port = UINT32_MAX;
	int r = hvsock_line_parse((const char *)data, size, &port);

	if ((r == 0) == (port == UINT32_MAX))
		abort();
	return 0;
}
