#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/checked.h"
#include "vmm/partition_internal.h"

/*
 * The memory of a Generation 1 VM: where its RAM differs from a plain one's, the firmware, and what
 * the host bridge shows of both between VGA's memory and 1 MiB.
 *
 * KVM has memory that is read and written, and memory that is only read, whose writes come out as
 * MMIO.  The rest is the bus's: writes to a unit that is written only, reads where there is
 * nothing, and what a VP does while the memory of a unit is being replaced.
 */

#define FIRMWARE_ALIGN 0x10000u

static uint8_t *ram_at(const struct partition *p, uint64_t gpa, uint64_t size)
{
	return gpa_pointer(p->gpa, gpa, size, GPA_WRITE);
}

int partition_set_memory(struct partition *partition)
{
	struct partition *p = partition;
	uint64_t low = gpa_slot(p->gpa, 0)->size, above;
	int rc;

	if (low <= MACHINE_SHADOW_END)
		return -EINVAL;
	above = low - MACHINE_SHADOW_END;
	rc = kvm_show_memory(p->kvm, 0, 0, MACHINE_VGA_BASE, ram_at(p, 0, MACHINE_VGA_BASE));
	if (rc == 0)
		rc = kvm_show_memory(p->kvm, PARTITION_LOW_SLOT, MACHINE_SHADOW_END, above,
				     ram_at(p, MACHINE_SHADOW_END, above));
	for (unsigned int i = 1; rc == 0 && i < gpa_slot_count(p->gpa); i++)
		rc = kvm_set_memory_slot(p->kvm, i, gpa_slot(p->gpa, i));
	return rc;
}

/* What of the firmware is seen at gpa, or NULL. */
static uint8_t *firmware_at(const struct partition_firmware *firmware, uint64_t gpa)
{
	if (!firmware->rom || gpa < MACHINE_FIRMWARE_LOW_BASE)
		return NULL;
	return firmware->rom + firmware->size - (MACHINE_SHADOW_END - gpa);
}

static bool reads_ram(enum partition_shadow shadow)
{
	return shadow == SHADOW_READ_ONLY || shadow == SHADOW_RAM;
}

static bool writes_ram(enum partition_shadow shadow)
{
	return shadow == SHADOW_WRITE_ONLY || shadow == SHADOW_RAM;
}

/* Gives KVM what is to be seen of the unit, in place of what it has.  With the lock held. */
static int show_unit(struct partition *p, unsigned int unit, enum partition_shadow shadow)
{
	struct partition_firmware *f = &p->firmware;
	uint64_t gpa = MACHINE_SHADOW_BASE + (uint64_t)unit * MACHINE_SHADOW_UNIT;
	unsigned int slot = PARTITION_SHADOW_SLOT + unit;
	uint8_t *host =
		reads_ram(shadow) ? ram_at(p, gpa, MACHINE_SHADOW_UNIT) : firmware_at(f, gpa);
	int rc = 0;

	if (f->shown[unit])
		rc = kvm_show_memory(p->kvm, slot, gpa, 0, host);
	if (rc < 0)
		return rc;
	f->shown[unit] = false;
	f->shadows[unit] = shadow;
	if (!host)
		return 0;
	if (shadow == SHADOW_RAM)
		rc = kvm_show_memory(p->kvm, slot, gpa, MACHINE_SHADOW_UNIT, host);
	else
		rc = kvm_show_rom(p->kvm, slot, gpa, MACHINE_SHADOW_UNIT, host);
	f->shown[unit] = rc == 0;
	return rc;
}

int partition_shadow(struct partition *partition, uint64_t gpa, uint64_t size,
		     enum partition_shadow shadow)
{
	struct partition_firmware *f = &partition->firmware;
	unsigned int unit, end;
	int rc = 0;

	if (!partition->generation1 || gpa < MACHINE_SHADOW_BASE ||
	    !range_within(gpa, size, MACHINE_SHADOW_END) ||
	    !is_aligned(gpa | size, MACHINE_SHADOW_UNIT))
		return -EINVAL;
	unit = (unsigned int)((gpa - MACHINE_SHADOW_BASE) / MACHINE_SHADOW_UNIT);
	end = unit + (unsigned int)(size / MACHINE_SHADOW_UNIT);
	pthread_mutex_lock(&f->lock);
	for (; rc == 0 && unit < end; unit++) {
		if (f->shadows[unit] != shadow)
			rc = show_unit(partition, unit, shadow);
	}
	pthread_mutex_unlock(&f->lock);
	return rc;
}

static void shadow_read(struct partition *p, enum partition_shadow shadow, uint64_t gpa,
			struct io_access *access)
{
	const uint8_t *host =
		reads_ram(shadow) ? ram_at(p, gpa, access->size) : firmware_at(&p->firmware, gpa);

	if (!host)
		return;
	access->value = 0;
	memcpy(&access->value, host, access->size);
}

/* An access that KVM has no memory for. */
static void shadow_access(void *context, struct io_access *access)
{
	struct partition *p = context;
	struct partition_firmware *f = &p->firmware;
	enum partition_shadow shadow;

	/* One that crosses units would be two; KVM has cut it at the page. */
	pthread_mutex_lock(&f->lock);
	shadow = f->shadows[access->offset / MACHINE_SHADOW_UNIT];
	if (!access->write)
		shadow_read(p, shadow, access->address, access);
	else if (writes_ram(shadow))
		gpa_write(p->gpa, access->address, &access->value, access->size);
	pthread_mutex_unlock(&f->lock);
}

int partition_place_shadow(struct partition *partition)
{
	return io_bus_add(partition->mmio, MACHINE_SHADOW_BASE,
			  MACHINE_SHADOW_END - MACHINE_SHADOW_BASE, shadow_access, partition);
}

int partition_reset_shadow(struct partition *partition)
{
	if (!partition->generation1)
		return 0;
	return partition_shadow(partition, MACHINE_SHADOW_BASE,
				MACHINE_SHADOW_END - MACHINE_SHADOW_BASE, SHADOW_FIRMWARE);
}

static int show_firmware(struct partition *p)
{
	struct partition_firmware *f = &p->firmware;
	int rc = kvm_show_rom(p->kvm, PARTITION_FIRMWARE_SLOT, MACHINE_HOLE_END - f->size, f->size,
			      f->rom);

	for (unsigned int i = 0; rc == 0 && i < PARTITION_SHADOW_UNITS; i++)
		rc = show_unit(p, i, f->shadows[i]);
	return rc;
}

int partition_set_firmware(struct partition *partition, const void *image, size_t bytes,
			   struct error *err)
{
	struct partition *p = partition;
	struct partition_firmware *f = &p->firmware;
	int rc;

	assert(p->generation1 && !f->rom);
	if (bytes < MACHINE_FIRMWARE_LOW_SIZE || bytes > MACHINE_FIRMWARE_MAX ||
	    !is_aligned(bytes, FIRMWARE_ALIGN))
		return error_set(err, EINVAL,
				 "it has %zu bytes, and firmware has 128, 192 or 256 KiB; give "
				 "SeaBIOS's bios-256k.bin",
				 bytes);
	f->rom = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (f->rom == MAP_FAILED) {
		f->rom = NULL;
		return error_memory(err, "the firmware");
	}
	f->size = bytes;
	memcpy(f->rom, image, bytes);
	pthread_mutex_lock(&f->lock);
	rc = show_firmware(p);
	pthread_mutex_unlock(&f->lock);
	return rc < 0 ? error_host(err, -rc, "KVM does not take the firmware") : 0;
}

void partition_free_firmware(struct partition *partition)
{
	struct partition_firmware *f = &partition->firmware;

	if (f->rom)
		munmap(f->rom, f->size);
	pthread_mutex_destroy(&f->lock);
}
