#include "vmbus/gpa_range.h"

#include <errno.h>

#include "base/checked.h"
#include "base/wire.h"
#include "vmbus/wire.h"

#define FRAME_SIZE 8u
#define FRAME_MAX  ((UINT64_MAX / VMBUS_PAGE_SIZE) - 1)

int gpa_range_parse(const uint8_t *data, uint32_t size, uint32_t *offset, struct gpa_range *range)
{
	struct gpa_range new;
	uint64_t frames;

	if (!range_within(*offset, sizeof(struct vmbus_gpa_range), size))
		return -EINVAL;
	new.byte_count = get_le32(data + *offset);
	new.byte_offset = get_le32(data + *offset + 4);
	if (new.byte_count == 0 || new.byte_offset >= VMBUS_PAGE_SIZE)
		return -EINVAL;
	frames = ((uint64_t) new.byte_offset + new.byte_count + VMBUS_PAGE_SIZE - 1) /
		 VMBUS_PAGE_SIZE;
	if (frames * FRAME_SIZE > size - *offset - sizeof(struct vmbus_gpa_range))
		return -EINVAL;
	new.frames = data + *offset + sizeof(struct vmbus_gpa_range);
	new.frame_count = (uint32_t)frames;
	*offset += sizeof(struct vmbus_gpa_range) + new.frame_count *FRAME_SIZE;
	*range = new;
	return 0;
}

/* How many frames from index on follow one another in guest memory. */
static uint32_t contiguous_frames(const struct gpa_range *range, uint32_t index)
{
	uint64_t first = get_le64(range->frames + index * FRAME_SIZE);
	uint32_t count = 1;

	while (index + count < range->frame_count &&
	       get_le64(range->frames + (index + count) * FRAME_SIZE) == first + count)
		count++;
	return count;
}

/* Guest memory on its way to an iovec: what follows it directly is resolved with it. */
struct gpa_run {
	const struct gpa_space *gpa;
	enum gpa_access access;
	struct iovec *iov;
	unsigned int used;
	unsigned int max;
	uint64_t start;
	uint64_t bytes;
};

static int run_end(struct gpa_run *run)
{
	int r;

	if (run->bytes == 0)
		return 0;
	r = gpa_resolve(run->gpa, run->start, run->bytes, run->access, run->iov, run->used,
			run->max);
	if (r < 0)
		return r;
	run->used = (unsigned int)r;
	run->bytes = 0;
	return 0;
}

/* Both are below FRAME_MAX and a range's length: nothing wraps. */
static int run_add(struct gpa_run *run, uint64_t start, uint64_t bytes)
{
	int r;

	if (run->bytes > 0 && run->start + run->bytes == start) {
		run->bytes += bytes;
		return 0;
	}
	r = run_end(run);
	run->start = start;
	run->bytes = bytes;
	return r;
}

static int run_add_range(struct gpa_run *run, const struct gpa_range *range)
{
	uint64_t left = range->byte_count;
	uint64_t offset = range->byte_offset;
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < range->frame_count;) {
		uint64_t frame = get_le64(range->frames + i * FRAME_SIZE);
		uint32_t count = contiguous_frames(range, i);
		uint64_t bytes = MIN(left, (uint64_t)count * VMBUS_PAGE_SIZE - offset);

		if (frame > FRAME_MAX)
			return -EFAULT;
		r = run_add(run, frame * VMBUS_PAGE_SIZE + offset, bytes);
		left -= bytes;
		offset = 0;
		i += count;
	}
	return r;
}

int gpa_range_resolve(const struct gpa_space *gpa, const struct gpa_range *range,
		      enum gpa_access access, struct iovec *iov, unsigned int used,
		      unsigned int max)
{
	struct gpa_run run = {gpa, access, iov, used, max, 0, 0};
	int r = run_add_range(&run, range);

	if (r == 0)
		r = run_end(&run);
	return r < 0 ? r : (int)run.used;
}

int gpa_ranges_resolve(const struct gpa_space *gpa, const uint8_t *data, uint32_t size,
		       uint32_t count, enum gpa_access access, struct iovec *iov, unsigned int used,
		       unsigned int max, uint32_t *bytes)
{
	struct gpa_run run = {gpa, access, iov, used, max, 0, 0};
	uint32_t offset = 0, sum = 0;
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < count; i++) {
		struct gpa_range range;

		r = gpa_range_parse(data, size, &offset, &range);
		if (r == 0 && __builtin_add_overflow(sum, range.byte_count, &sum))
			r = -EINVAL;
		if (r == 0)
			r = run_add_range(&run, &range);
	}
	if (r == 0)
		r = run_end(&run);
	if (r < 0)
		return r;
	*bytes = sum;
	return (int)run.used;
}
