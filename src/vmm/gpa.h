#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/error.h"

/*
 * Guest physical memory: the one place where a guest address becomes a pointer.
 * RAM is one memfd, mapped without PROT_EXEC, in slots below and above the 4 GiB hole.  Slots do
 * not change while VPs run; RAM that is plugged in later lies above them and only grows.  So every
 * look-up is lock-free and any thread may call it.
 *
 * What a pointer or iovec shows may change at any moment: the guest owns it.  Copy once with
 * gpa_read, validate, use the copy; pointers are for bulk data that is only moved, and for
 * words that are used atomically.
 */

struct gpa_space;

enum gpa_access {
	GPA_READ,  /* the host reads what the guest wrote */
	GPA_WRITE, /* the host writes */
};

/* A stretch of guest RAM that is contiguous on both sides. */
struct gpa_slot {
	uint64_t gpa;
	uint64_t size;
	uint64_t memfd_offset;
	void *host;
};

/* Makes RAM of bytes bytes (a multiple of the page size); err says why it failed. */
int gpa_space_new(uint64_t bytes, struct gpa_space **out, struct error *err);
/* The same, with address space for room bytes more (a multiple of the page size; 0: none) that
 * gpa_plug makes RAM later.  Both together are no more than MACHINE_MAX_RAM_BYTES. */
int gpa_space_new_with_room(uint64_t bytes, uint64_t room, struct gpa_space **out,
			    struct error *err);
void gpa_space_free(struct gpa_space *space);

/* The RAM that the machine starts with, which is what the slots hold. */
uint64_t gpa_ram_bytes(const struct gpa_space *space);
/* The first address above all RAM, and above the room. */
uint64_t gpa_ram_end(const struct gpa_space *space);
int gpa_memfd(const struct gpa_space *space);
unsigned int gpa_slot_count(const struct gpa_space *space);
const struct gpa_slot *gpa_slot(const struct gpa_space *space, unsigned int index);

/*
 * The room: address space above the slots, from a multiple of GPA_ROOM_ALIGN on, which becomes RAM
 * from its start.  gpa_next_plug says what the next bytes of it are, -EINVAL for no multiple of
 * the page size, -ENOSPC past the room's end; gpa_plug makes them RAM.  Main loop.
 */
#define GPA_ROOM_ALIGN (2ull << 30)
uint64_t gpa_room_start(const struct gpa_space *space);
uint64_t gpa_room_bytes(const struct gpa_space *space);
uint64_t gpa_plugged_bytes(const struct gpa_space *space);
int gpa_next_plug(const struct gpa_space *space, uint64_t bytes, struct gpa_slot *plug);
void gpa_plug(struct gpa_space *space, const struct gpa_slot *plug);
/* All of it is room again, and its pages are given back.  VPs paused, I/O quiet. */
void gpa_unplug_all(struct gpa_space *space);

/* Copy; -EFAULT, with nothing copied, if any of [gpa, gpa + length) is not RAM or wraps. */
int gpa_read(const struct gpa_space *space, uint64_t gpa, void *data, size_t length);
int gpa_write(const struct gpa_space *space, uint64_t gpa, const void *data, size_t length);
int gpa_fill(const struct gpa_space *space, uint64_t gpa, uint8_t value, size_t length);

/*
 * The range as host memory.  gpa_pointer wants it within one slot (NULL if it is not RAM).
 * gpa_resolve splits at slot borders, merges with the last entry already in iov where
 * they touch, and returns how many entries are now used; -EFAULT as above,
 * -E2BIG if more than max would be needed.  used: entries already in iov.
 */
void *gpa_pointer(const struct gpa_space *space, uint64_t gpa, size_t length,
		  enum gpa_access access);
int gpa_resolve(const struct gpa_space *space, uint64_t gpa, uint64_t length,
		enum gpa_access access, struct iovec *iov, unsigned int used, unsigned int max);

/* The bytes that the host has found for it, for the guest or others have looked at them; 0 where it
 * does not say.  Main loop. */
uint64_t gpa_held_bytes(const struct gpa_space *space);

/* Whether every byte of the range is RAM now.  Any thread. */
bool gpa_is_ram(const struct gpa_space *space, uint64_t gpa, uint64_t length);

/*
 * Gives the pages of [gpa, gpa + length) back to the host; whoever looks at them later finds
 * zeroes, in pages that the host finds anew.  Of a page that the range covers in part nothing
 * happens. -EFAULT, with nothing given back, unless all of the range is RAM; -errno of the host.
 * Any thread.
 */
int gpa_discard(struct gpa_space *space, uint64_t gpa, uint64_t length);
/* Makes all RAM read as zero again and gives its pages back to the host.  VPs paused. */
int gpa_discard_all(struct gpa_space *space);
