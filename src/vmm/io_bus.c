#include "vmm/io_bus.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/checked.h"
#include "vmm/kvm.h"

#define IO_REGIONS_MAX	64u
/* KVM refuses the 1,001st device on a bus (NR_IOBUS_DEVS); its own take some. */
#define IO_EVENTFDS_MAX 960u

struct io_region {
	uint64_t start;
	uint64_t length;
	io_handler handler;
	void *context;
};

struct io_eventfd {
	uint64_t address;
	uint64_t datamatch;
	uint32_t size;
	int eventfd;
};

struct io_bus {
	enum io_space space;
	struct kvm *kvm;
	unsigned int region_count;
	struct io_region regions[IO_REGIONS_MAX]; /* ordered by start */

	pthread_mutex_t lock; /* eventfds; a leaf */
	unsigned int eventfd_count;
	struct io_eventfd eventfds[IO_EVENTFDS_MAX];
};

int io_bus_new(enum io_space space, struct kvm *kvm, struct io_bus **out)
{
	struct io_bus *bus = calloc(1, sizeof(*bus));

	if (!bus)
		return -ENOMEM;
	bus->space = space;
	bus->kvm = kvm;
	pthread_mutex_init(&bus->lock, NULL);
	*out = bus;
	return 0;
}

void io_bus_free(struct io_bus *bus)
{
	if (!bus)
		return;
	pthread_mutex_destroy(&bus->lock);
	free(bus);
}

/* The index of the first region that starts above address. */
static unsigned int upper_bound(const struct io_bus *bus, uint64_t address)
{
	unsigned int low = 0, high = bus->region_count;

	while (low < high) {
		unsigned int middle = low + (high - low) / 2;

		if (bus->regions[middle].start <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool overlaps(const struct io_bus *bus, unsigned int at, uint64_t start, uint64_t length)
{
	const struct io_region *before = at > 0 ? &bus->regions[at - 1] : NULL;
	const struct io_region *after = at < bus->region_count ? &bus->regions[at] : NULL;

	return (before && start - before->start < before->length) ||
	       (after && after->start - start < length);
}

int io_bus_add(struct io_bus *bus, uint64_t start, uint64_t length, io_handler handler,
	       void *context)
{
	unsigned int at = upper_bound(bus, start);
	uint64_t limit = bus->space == IO_PORT ? UINT64_C(0x10000) : UINT64_MAX;

	if (length == 0 || !range_within(start, length, limit))
		return -EINVAL;
	if (overlaps(bus, at, start, length))
		return -EEXIST;
	if (bus->region_count == IO_REGIONS_MAX)
		return -ENOSPC;
	memmove(&bus->regions[at + 1], &bus->regions[at],
		(bus->region_count - at) * sizeof(bus->regions[0]));
	bus->regions[at] = (struct io_region){
		.start = start,
		.length = length,
		.handler = handler,
		.context = context,
	};
	bus->region_count++;
	return 0;
}

void io_bus_remove(struct io_bus *bus, uint64_t start)
{
	unsigned int at = upper_bound(bus, start);

	if (at == 0 || bus->regions[at - 1].start != start)
		return;
	memmove(&bus->regions[at - 1], &bus->regions[at],
		(bus->region_count - at) * sizeof(bus->regions[0]));
	bus->region_count--;
}

static struct io_eventfd *find_eventfd(struct io_bus *bus, uint64_t address, uint32_t size,
				       uint64_t datamatch)
{
	for (unsigned int i = 0; i < bus->eventfd_count; i++) {
		struct io_eventfd *e = &bus->eventfds[i];

		if (e->address == address && e->size == size && e->datamatch == datamatch)
			return e;
	}
	return NULL;
}

static int add_eventfd_locked(struct io_bus *bus, const struct io_eventfd *entry)
{
	int rc = 0;

	if (find_eventfd(bus, entry->address, entry->size, entry->datamatch))
		return -EEXIST;
	if (bus->eventfd_count == IO_EVENTFDS_MAX)
		return -ENOSPC;
	if (bus->kvm)
		rc = kvm_ioeventfd(bus->kvm, bus->space == IO_PORT, entry->address, entry->size,
				   entry->datamatch, entry->eventfd, true);
	if (rc == 0)
		bus->eventfds[bus->eventfd_count++] = *entry;
	return rc;
}

int io_bus_add_eventfd(struct io_bus *bus, uint64_t address, uint32_t size, uint64_t datamatch,
		       int eventfd)
{
	const struct io_eventfd entry = {
		.address = address,
		.datamatch = datamatch,
		.size = size,
		.eventfd = eventfd,
	};
	int rc;

	pthread_mutex_lock(&bus->lock);
	rc = add_eventfd_locked(bus, &entry);
	pthread_mutex_unlock(&bus->lock);
	return rc;
}

void io_bus_remove_eventfd(struct io_bus *bus, uint64_t address, uint32_t size, uint64_t datamatch,
			   int eventfd)
{
	struct io_eventfd *entry;

	pthread_mutex_lock(&bus->lock);
	entry = find_eventfd(bus, address, size, datamatch);
	if (entry && entry->eventfd == eventfd) {
		if (bus->kvm)
			kvm_ioeventfd(bus->kvm, bus->space == IO_PORT, address, size, datamatch,
				      eventfd, false);
		*entry = bus->eventfds[--bus->eventfd_count];
	}
	pthread_mutex_unlock(&bus->lock);
}

/* Without KVM the bus itself matches doorbells. */
static bool signal_eventfd(struct io_bus *bus, const struct io_access *access)
{
	const struct io_eventfd *entry;

	pthread_mutex_lock(&bus->lock);
	entry = find_eventfd(bus, access->address, access->size, access->value);
	if (entry)
		eventfd_write(entry->eventfd, 1);
	pthread_mutex_unlock(&bus->lock);
	return entry != NULL;
}

static uint64_t all_ones(uint32_t size)
{
	return size >= 8 ? UINT64_MAX : (UINT64_C(1) << (size * 8)) - 1;
}

bool io_bus_dispatch(struct io_bus *bus, struct io_access *access)
{
	unsigned int at = upper_bound(bus, access->address);
	const struct io_region *region = at > 0 ? &bus->regions[at - 1] : NULL;

	if (!access->write)
		access->value = all_ones(access->size);
	if (!bus->kvm && access->write && signal_eventfd(bus, access))
		return true;
	if (!region || !range_within(access->address - region->start, access->size, region->length))
		return false;
	access->offset = access->address - region->start;
	region->handler(region->context, access);
	access->value &= all_ones(access->size);
	return true;
}
