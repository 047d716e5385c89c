#pragma once

/*
 * The IDE controller on a bus of its own, with a backend in memory that does what each test says,
 * and what a driver does with registers, by name.
 */

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/wire.h"
#include "devices/block/backends.h"
#include "devices/chipset/ide_internal.h"
#include "devices/table.h"
#include "machine_fixture.h"
#include "suite.h"
#include "vmm/gpa.h"

#define DISK_SECTORS 20000u
#define DISK_BYTES   (DISK_SECTORS * IDE_SECTOR)
#define RAM_BYTES    (16u << 20)
#define NO_SECTOR    UINT64_MAX

/* The backend: one disk's bytes, whatever disk it is. */

static struct {
	pthread_mutex_t lock;
	uint8_t bytes[DISK_BYTES];
	uint64_t bad; /* a sector that fails */
	int full;     /* what writes fail with, if not 0 */
	bool hold;    /* requests wait for release_held */
	struct block_request *held;
	unsigned int requests, flushes, discards, forced;
	bool flush_fails;
	bool discard;
	bool read_only;
} store = {.lock = PTHREAD_MUTEX_INITIALIZER};

static inline int store_open(int fd, const json_t *config, struct block_disk **out,
			     struct error *err)
{
	int r = block_null.open(fd, config, out, err);

	if (r < 0)
		return r;
	(*out)->backend = block_backend_find("store");
	(*out)->geometry.discard = store.discard;
	(*out)->geometry.read_only = store.read_only;
	return 0;
}

static inline void store_close(struct block_disk *disk)
{
	block_null.close(disk);
}

static inline int store_attach(struct block_disk *disk, struct io_thread *thread,
			       struct block_queue **out)
{
	return block_null.attach(disk, thread, out);
}

static inline void store_detach(struct block_queue *queue)
{
	block_null.detach(queue);
}

static inline void store_move(const struct block_request *request)
{
	uint8_t *at = store.bytes + request->offset;

	for (unsigned int i = 0; i < request->iov_count; i++) {
		const struct iovec *iov = &request->iov[i];

		if (request->operation == BLOCK_READ)
			memcpy(iov->iov_base, at, iov->iov_len);
		else
			memcpy(at, iov->iov_base, iov->iov_len);
		at += iov->iov_len;
	}
}

static inline int store_run(const struct block_request *request)
{
	uint64_t bad = store.bad * IDE_SECTOR;

	ck_assert(range_within(request->offset, request->length, DISK_BYTES));
	store.requests++;
	store.forced += request->force_unit_access;
	switch (request->operation) {
	case BLOCK_FLUSH:
		store.flushes++;
		return store.flush_fails ? -EIO : 0;
	case BLOCK_DISCARD:
		store.discards++;
		memset(store.bytes + request->offset, 0, request->length);
		return 0;
	default:
		if (store.full && request->operation == BLOCK_WRITE)
			return store.full;
		if (store.bad != NO_SECTOR && bad >= request->offset &&
		    bad < request->offset + request->length)
			return -EIO;
		store_move(request);
		return 0;
	}
}

static inline void store_submit(struct block_queue *queue, struct block_request *request)
{
	int result = 0;
	bool hold;

	(void)queue;
	pthread_mutex_lock(&store.lock);
	hold = store.hold;
	if (hold)
		store.held = request;
	else
		result = store_run(request);
	pthread_mutex_unlock(&store.lock);
	if (!hold)
		request->done(request, result);
}

static const struct block_backend store_backend = {
	.name = "store",
	.open = store_open,
	.close = store_close,
	.attach = store_attach,
	.detach = store_detach,
	.submit = store_submit,
};

const struct block_backend *block_backend_find(const char *name)
{
	if (strcmp(name, "store") == 0)
		return &store_backend;
	return strcmp(name, "null") == 0 ? &block_null : NULL;
}

static struct machine machine;
static const struct device_events *events = &machine_events;
static struct io_thread *thread;
static struct ide *ide;

#define PRIMARY	  0x1f0
#define SECONDARY 0x170
#define MASTER	  0xc000
/* Where a test has its table and data. */
#define TABLE	  0x10000u
#define DATA	  0x100000u

/* A disk as primary master, a drive as secondary master, and on request a second drive. */
static const char *configuration =
	"{\"disks\": [{\"backend\": \"store\", \"bytes\": 10240000},"
	" {\"lun\": 2, \"type\": \"cdrom\", \"backend\": \"store\", \"bytes\": 10240000}]}";

static inline void make_ide(struct machine *to, struct ide **out)
{
	machine_init(to);
	machine_add_pci(to);
	ck_assert_int_eq(gpa_space_new(RAM_BYTES, &to->env.gpa, NULL), 0);
	to->env.events = events;
	to->env.io_threads = &thread;
	to->env.io_thread_count = 1;
	*out = machine_add(to, "ide", configuration);
	machine_pci_write(to, 7, 1, 0x40, 4, 0x80008000);
	machine_pci_write(to, 7, 1, 0x20, 4, MASTER);
	machine_pci_write(to, 7, 1, 0x04, 2, 5);
}

static inline void free_ide(struct machine *from, struct ide *device)
{
	ide_device.destroy(device);
	gpa_space_free(from->env.gpa);
	machine_fini(from);
}

static inline void setup(void)
{
	for (uint32_t i = 0; i < DISK_BYTES; i++)
		store.bytes[i] = (uint8_t)(i / IDE_SECTOR * 7 + i);
	store.bad = NO_SECTOR;
	store.full = 0;
	store.hold = store.flush_fails = store.discard = store.read_only = false;
	store.requests = store.flushes = store.discards = store.forced = 0;
	store.held = NULL;
	ck_assert_int_eq(io_thread_new("disk", 8, &thread), 0);
	ck_assert_int_eq(io_thread_start(thread, NULL, NULL), 0);
	make_ide(&machine, &ide);
}

static inline void teardown(void)
{
	free_ide(&machine, ide);
	io_thread_free(thread);
}

static inline uint8_t in(unsigned int port)
{
	return (uint8_t)machine_in(&machine, (uint16_t)port, 1);
}

static inline void out(unsigned int port, unsigned int value)
{
	machine_out(&machine, (uint16_t)port, 1, value);
}

static inline uint8_t alternate(unsigned int base)
{
	return in(base + 0x206);
}

/* The status once the device is not busy, which ends its interrupt. */
static inline uint8_t settle(unsigned int base)
{
	while (alternate(base) & ATA_BSY)
		usleep(50);
	return in(base + ATA_REG_STATUS);
}

static inline bool asserted(unsigned int base)
{
	return irq_gsi_asserted(machine.env.irq, base == PRIMARY ? 14 : 15);
}

static inline void await_interrupt(unsigned int base)
{
	while (!asserted(base))
		usleep(50);
}

struct taskfile {
	uint8_t code;
	uint16_t features;
	uint16_t count;
	uint64_t sector;
	uint8_t device;
};

static inline void command(unsigned int base, const struct taskfile *file)
{
	out(base + ATA_REG_DEVICE, file->device);
	out(base + ATA_REG_ERROR, file->features >> 8);
	out(base + ATA_REG_COUNT, file->count >> 8);
	out(base + ATA_REG_LOW, (uint8_t)(file->sector >> 24));
	out(base + ATA_REG_MID, (uint8_t)(file->sector >> 32));
	out(base + ATA_REG_HIGH, (uint8_t)(file->sector >> 40));
	out(base + ATA_REG_ERROR, (uint8_t)file->features);
	out(base + ATA_REG_COUNT, (uint8_t)file->count);
	out(base + ATA_REG_LOW, (uint8_t)file->sector);
	out(base + ATA_REG_MID, (uint8_t)(file->sector >> 8));
	out(base + ATA_REG_HIGH, (uint8_t)(file->sector >> 16));
	out(base + ATA_REG_STATUS, file->code);
}

static inline void lba28(uint8_t code, uint32_t sector, uint8_t count)
{
	command(PRIMARY, &(struct taskfile){.code = code,
					    .count = count,
					    .sector = sector & 0xffffff,
					    .device = (uint8_t)(0xe0 | sector >> 24)});
}

static inline void lba48(uint8_t code, uint64_t sector, uint16_t count)
{
	command(PRIMARY,
		&(struct taskfile){.code = code, .count = count, .sector = sector, .device = 0xe0});
}

static inline void take_words(unsigned int base, uint8_t *data, unsigned int bytes)
{
	for (unsigned int i = 0; i < bytes; i += 2)
		put_le16(data + i, (uint16_t)machine_in(&machine, (uint16_t)base, 2));
}

static inline void give_words(unsigned int base, const uint8_t *data, unsigned int bytes)
{
	for (unsigned int i = 0; i < bytes; i += 2)
		machine_out(&machine, (uint16_t)base, 2, get_le16(data + i));
}

/* What a host reads back of the sector that a command ended at. */
static inline uint64_t sector_of(unsigned int base, bool ext)
{
	uint64_t sector;

	out(base + 0x206, 0);
	sector = in(base + ATA_REG_LOW) | in(base + ATA_REG_MID) << 8 |
		 in(base + ATA_REG_HIGH) << 16;
	if (!ext)
		return sector | (uint64_t)(in(base + ATA_REG_DEVICE) & 0xf) << 24;
	out(base + 0x206, ATA_CONTROL_HOB);
	sector |= (uint64_t)in(base + ATA_REG_LOW) << 24 | (uint64_t)in(base + ATA_REG_MID) << 32 |
		  (uint64_t)in(base + ATA_REG_HIGH) << 40;
	out(base + 0x206, 0);
	return sector;
}

/* The n'th descriptor of a table. */
static inline void descriptor(unsigned int n, uint32_t address, uint16_t bytes, bool last)
{
	uint8_t entry[8];

	put_le32(entry, address);
	put_le32(entry + 4, bytes | (last ? 0x80000000u : 0));
	ck_assert_int_eq(gpa_write(machine.env.gpa, TABLE + 8 * n, entry, 8), 0);
}

static inline unsigned int master_of(unsigned int base)
{
	return base == PRIMARY ? MASTER : MASTER + 8;
}

static inline void start_master(unsigned int base, bool to_memory)
{
	machine_out(&machine, (uint16_t)(master_of(base) + 4), 4, TABLE);
	out(master_of(base) + 2, 6);
	out(master_of(base), to_memory ? 9 : 1);
}

static inline void stop_master(unsigned int base)
{
	out(master_of(base), 0);
}

/* Lets go of the request that the backend holds, once it has it. */
static inline void release_here(void *context)
{
	struct block_request *request;
	int result;

	(void)context;
	pthread_mutex_lock(&store.lock);
	request = store.held;
	store.held = NULL;
	store.hold = false;
	result = store_run(request);
	pthread_mutex_unlock(&store.lock);
	request->done(request, result);
}

static inline void await_held(void)
{
	bool there = false;

	while (!there) {
		pthread_mutex_lock(&store.lock);
		there = store.held != NULL;
		pthread_mutex_unlock(&store.lock);
		usleep(50);
	}
}

static inline void release_held(void)
{
	await_held();
	io_thread_call(thread, release_here, NULL);
}
