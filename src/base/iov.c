#include <stdbool.h>
#include <string.h>

#include "base/checked.h"
#include "base/iov.h"

static void copy(const struct iovec *iov, uint64_t skip, uint8_t *memory, size_t length, bool take)
{
	for (; length > 0; iov++) {
		size_t part;
		uint8_t *data;

		if (skip >= iov->iov_len) {
			skip -= iov->iov_len;
			continue;
		}
		data = (uint8_t *)iov->iov_base + skip;
		part = MIN(length, iov->iov_len - (size_t)skip);
		memcpy(take ? memory : data, take ? data : memory, part);
		memory += part;
		length -= part;
		skip = 0;
	}
}

void iov_take(const struct iovec *iov, uint64_t skip, void *memory, size_t length)
{
	copy(iov, skip, memory, length, true);
}

void iov_put(const struct iovec *iov, uint64_t skip, const void *memory, size_t length)
{
	copy(iov, skip, (uint8_t *)memory, length, false);
}
