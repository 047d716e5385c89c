#pragma once

#include <stdbool.h>
#include <stdint.h>

/*
 * Port I/O and MMIO: who answers which address.  One bus of each kind a partition; look-ups
 * run on VP threads without a lock, so regions are added and removed only while VPs are paused
 * or before they start.
 */

struct io_bus;
struct kvm;
struct vp;

/*
 * One access by a VP.  size is 1, 2, 4 or 8; value holds the datum, zero-extended.
 *
 * Of a string instruction (REP INS, REP OUTS) string holds the data of count accesses to the same
 * address, of which this is the first.  A handler may do several of them at once, from and to
 * string instead of value, and says in done how many; one that knows nothing of it does this one.
 */
struct io_access {
	struct vp *vp;
	uint64_t address;
	uint64_t offset; /* from the region's start */
	uint32_t size;
	bool write;
	uint64_t value;
	uint8_t *string; /* NULL: there is but one */
	uint32_t count;
	uint32_t done;
};

/* On a VP thread; a read stores its answer in access->value.  Must not block. */
typedef void (*io_handler)(void *context, struct io_access *access);

enum io_space {
	IO_PORT,
	IO_MMIO,
};

/* kvm may be NULL (tests): ioeventfds are then matched by io_bus_dispatch itself. */
int io_bus_new(enum io_space space, struct kvm *kvm, struct io_bus **out);
void io_bus_free(struct io_bus *bus);

/* -EEXIST if the range overlaps a region, -ENOSPC when there are too many, -EINVAL if it wraps. */
int io_bus_add(struct io_bus *bus, uint64_t start, uint64_t length, io_handler handler,
	       void *context);
void io_bus_remove(struct io_bus *bus, uint64_t start);

/*
 * Has KVM signal eventfd, without an exit, on writes of size bytes at address (of exactly
 * datamatch).  -ENOSPC when KVM takes no more: the write then reaches the handler.
 * Any thread, VPs running.
 */
int io_bus_add_eventfd(struct io_bus *bus, uint64_t address, uint32_t size, uint64_t datamatch,
		       int eventfd);
void io_bus_remove_eventfd(struct io_bus *bus, uint64_t address, uint32_t size, uint64_t datamatch,
			   int eventfd);

/* Answers an access; with nobody there, reads give all ones and writes are dropped.
 * Returns whether a region was found.  VP thread. */
bool io_bus_dispatch(struct io_bus *bus, struct io_access *access);
