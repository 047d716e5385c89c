#include "vmm/gpa.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/memfd.h"
#include "vmm/machine.h"

#define GPA_PAGE_SIZE 4096u
#define GPA_SLOTS_MAX 2u
#define STAT_BLOCK    512u /* the unit of st_blocks */

struct gpa_space {
	uint64_t bytes; /* of the slots */
	int memfd;
	uint8_t *host;
	unsigned int slot_count;
	struct gpa_slot slots[GPA_SLOTS_MAX];
	struct gpa_slot room;
	_Atomic uint64_t plugged; /* of the room */
};

static void add_slot(struct gpa_space *space, uint64_t gpa, uint64_t size, uint64_t offset)
{
	space->slots[space->slot_count++] = (struct gpa_slot){
		.gpa = gpa,
		.size = size,
		.memfd_offset = offset,
		.host = space->host + offset,
	};
}

static void lay_out(struct gpa_space *space)
{
	uint64_t low = MIN(space->bytes, (uint64_t)MACHINE_HOLE_START);

	add_slot(space, 0, low, 0);
	if (space->bytes > low)
		add_slot(space, MACHINE_HOLE_END, space->bytes - low, low);
}

/* Above the slots and the hole, so that it is in one piece. */
static void lay_out_room(struct gpa_space *space, uint64_t room)
{
	const struct gpa_slot *last = &space->slots[space->slot_count - 1];

	space->room = (struct gpa_slot){
		.gpa = align_up(MAX(last->gpa + last->size, (uint64_t)MACHINE_HOLE_END),
				GPA_ROOM_ALIGN),
		.size = room,
		.memfd_offset = space->bytes,
		.host = space->host + space->bytes,
	};
}

static bool size_possible(uint64_t bytes, uint64_t room)
{
	return bytes > 0 && range_within(bytes, room, MACHINE_MAX_RAM_BYTES) &&
	       is_aligned(bytes | room, GPA_PAGE_SIZE);
}

int gpa_space_new(uint64_t bytes, struct gpa_space **out, struct error *err)
{
	return gpa_space_new_with_room(bytes, 0, out, err);
}

int gpa_space_new_with_room(uint64_t bytes, uint64_t room, struct gpa_space **out,
			    struct error *err)
{
	struct gpa_space *space;
	uint64_t total = bytes + room;
	int rc;

	if (!size_possible(bytes, room))
		return error_set(err, EINVAL,
				 "guest memory of %" PRIu64 " bytes is not possible: give a "
				 "multiple of %u up to %llu",
				 total, GPA_PAGE_SIZE, MACHINE_MAX_RAM_BYTES);
	space = calloc(1, sizeof(*space));
	if (!space)
		return error_memory(err, "the guest's memory map");
	space->bytes = bytes;
	space->memfd = memfd_new("guest-ram", total);
	if (space->memfd < 0) {
		rc = error_host(err, -space->memfd, "cannot make %" PRIu64 " bytes of guest memory",
				total);
		goto fail_free;
	}
	space->host = mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
			   space->memfd, 0);
	if (space->host == MAP_FAILED) {
		rc = error_set(err, errno,
			       "cannot map %" PRIu64 " bytes of guest memory: %s; give the guest "
			       "less or raise the address space limit",
			       total, strerror(errno));
		goto fail_close;
	}
	/* A core dump of the worker is not to hold the guest's secrets. */
	madvise(space->host, total, MADV_DONTDUMP);
	lay_out(space);
	lay_out_room(space, room);
	*out = space;
	return 0;

fail_close:
	close(space->memfd);
fail_free:
	free(space);
	return rc;
}

void gpa_space_free(struct gpa_space *space)
{
	if (!space)
		return;
	munmap(space->host, space->bytes + space->room.size);
	close(space->memfd);
	free(space);
}

uint64_t gpa_ram_bytes(const struct gpa_space *space)
{
	return space->bytes;
}

uint64_t gpa_ram_end(const struct gpa_space *space)
{
	const struct gpa_slot *last =
		space->room.size ? &space->room : &space->slots[space->slot_count - 1];

	return last->gpa + last->size;
}

int gpa_memfd(const struct gpa_space *space)
{
	return space->memfd;
}

unsigned int gpa_slot_count(const struct gpa_space *space)
{
	return space->slot_count;
}

const struct gpa_slot *gpa_slot(const struct gpa_space *space, unsigned int index)
{
	return &space->slots[index];
}

uint64_t gpa_room_start(const struct gpa_space *space)
{
	return space->room.gpa;
}

uint64_t gpa_room_bytes(const struct gpa_space *space)
{
	return space->room.size;
}

uint64_t gpa_plugged_bytes(const struct gpa_space *space)
{
	return atomic_load_explicit(&space->plugged, memory_order_acquire);
}

uint64_t gpa_held_bytes(const struct gpa_space *space)
{
	struct stat stat;

	return fstat(space->memfd, &stat) < 0 ? 0 : (uint64_t)stat.st_blocks * STAT_BLOCK;
}

int gpa_next_plug(const struct gpa_space *space, uint64_t bytes, struct gpa_slot *plug)
{
	uint64_t plugged = gpa_plugged_bytes(space);

	if (bytes == 0 || !is_aligned(bytes, GPA_PAGE_SIZE))
		return -EINVAL;
	if (!range_within(plugged, bytes, space->room.size))
		return -ENOSPC;
	*plug = (struct gpa_slot){
		.gpa = space->room.gpa + plugged,
		.size = bytes,
		.memfd_offset = space->room.memfd_offset + plugged,
		.host = (uint8_t *)space->room.host + plugged,
	};
	return 0;
}

void gpa_plug(struct gpa_space *space, const struct gpa_slot *plug)
{
	assert(plug->gpa == space->room.gpa + gpa_plugged_bytes(space));
	atomic_store_explicit(&space->plugged, plug->gpa + plug->size - space->room.gpa,
			      memory_order_release);
}

void gpa_unplug_all(struct gpa_space *space)
{
	uint64_t plugged = gpa_plugged_bytes(space);

	/* What the host does not take back now it has back when the space is freed. */
	if (plugged)
		madvise(space->room.host, plugged, MADV_REMOVE);
	atomic_store_explicit(&space->plugged, 0, memory_order_release);
}

/* The host address of gpa, and how much of length lies in the same slot; NULL if not RAM. */
static uint8_t *locate_in(const struct gpa_slot *slot, uint64_t size, uint64_t gpa, uint64_t length,
			  uint64_t *in_slot)
{
	uint64_t offset;

	if (!checked_sub(gpa, slot->gpa, &offset) || offset >= size)
		return NULL;
	*in_slot = MIN(length, size - offset);
	return (uint8_t *)slot->host + offset;
}

static uint8_t *locate(const struct gpa_space *space, uint64_t gpa, uint64_t length,
		       uint64_t *in_slot)
{
	for (unsigned int i = 0; i < space->slot_count; i++) {
		const struct gpa_slot *slot = &space->slots[i];
		uint8_t *host = locate_in(slot, slot->size, gpa, length, in_slot);

		if (host)
			return host;
	}
	return locate_in(&space->room, gpa_plugged_bytes(space), gpa, length, in_slot);
}

bool gpa_is_ram(const struct gpa_space *space, uint64_t gpa, uint64_t length)
{
	uint64_t end;

	if (!checked_add(gpa, length, &end))
		return false;
	while (length > 0) {
		uint64_t here;

		if (!locate(space, gpa, length, &here))
			return false;
		gpa += here;
		length -= here;
	}
	return true;
}

int gpa_read(const struct gpa_space *space, uint64_t gpa, void *data, size_t length)
{
	uint8_t *to = data;

	if (!gpa_is_ram(space, gpa, length))
		return -EFAULT;
	while (length > 0) {
		uint64_t here;
		const uint8_t *host = locate(space, gpa, length, &here);

		memcpy(to, host, here);
		to += here;
		gpa += here;
		length -= here;
	}
	return 0;
}

int gpa_write(const struct gpa_space *space, uint64_t gpa, const void *data, size_t length)
{
	const uint8_t *from = data;

	if (!gpa_is_ram(space, gpa, length))
		return -EFAULT;
	while (length > 0) {
		uint64_t here;
		uint8_t *host = locate(space, gpa, length, &here);

		memcpy(host, from, here);
		from += here;
		gpa += here;
		length -= here;
	}
	return 0;
}

int gpa_fill(const struct gpa_space *space, uint64_t gpa, uint8_t value, size_t length)
{
	if (!gpa_is_ram(space, gpa, length))
		return -EFAULT;
	while (length > 0) {
		uint64_t here;
		uint8_t *host = locate(space, gpa, length, &here);

		memset(host, value, here);
		gpa += here;
		length -= here;
	}
	return 0;
}

void *gpa_pointer(const struct gpa_space *space, uint64_t gpa, size_t length,
		  enum gpa_access access)
{
	uint64_t here;
	uint8_t *host = locate(space, gpa, length, &here);

	return host && here == length ? host : NULL;
}

int gpa_resolve(const struct gpa_space *space, uint64_t gpa, uint64_t length,
		enum gpa_access access, struct iovec *iov, unsigned int used, unsigned int max)
{
	struct iovec pieces[GPA_SLOTS_MAX + 1]; /* and the room */
	unsigned int count = 0;
	bool merge;

	if (used > max || max > INT_MAX)
		return -E2BIG;
	if (!gpa_is_ram(space, gpa, length))
		return -EFAULT;
	for (; length > 0; count++) {
		uint64_t here;

		pieces[count].iov_base = locate(space, gpa, length, &here);
		pieces[count].iov_len = here;
		gpa += here;
		length -= here;
	}
	if (count == 0)
		return (int)used;
	merge = used > 0 &&
		(uint8_t *)iov[used - 1].iov_base + iov[used - 1].iov_len == pieces[0].iov_base;
	if (count - merge > max - used)
		return -E2BIG;
	if (merge)
		iov[used - 1].iov_len += pieces[0].iov_len;
	for (unsigned int i = merge; i < count; i++)
		iov[used++] = pieces[i];
	return (int)used;
}

int gpa_discard(struct gpa_space *space, uint64_t gpa, uint64_t length)
{
	uint64_t end;

	if (!gpa_is_ram(space, gpa, length))
		return -EFAULT;
	end = align_down(gpa + length, GPA_PAGE_SIZE);
	gpa = align_up(gpa, GPA_PAGE_SIZE);
	while (gpa < end) {
		uint64_t here;
		uint8_t *host = locate(space, gpa, end - gpa, &here);

		/* A hole in the memfd, as fallocate punches it, and KVM's mappings go with it. */
		if (madvise(host, here, MADV_REMOVE) < 0)
			return -errno;
		gpa += here;
	}
	return 0;
}

int gpa_discard_all(struct gpa_space *space)
{
	/* Holes read as zero, and KVM's mappings of the pages go with them. */
	if (fallocate(space->memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
		      (off_t)(space->bytes + space->room.size)) < 0)
		return -errno;
	return 0;
}
