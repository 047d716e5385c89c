#include "devices/chipset/cmos_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "devices/chipset/chip.h"
#include "devices/table.h"
#include "vmm/machine.h"

#define CMOS_PORTS 2u

#define A_UPDATING    0x80
#define A_DEFAULT     0x26 /* 32,768 Hz time base, periods of 1,024 Hz */
#define B_SQUARE_WAVE 0x08 /* these two keep what is written */
#define B_SUMMER_TIME 0x01
#define B_DEFAULT     CMOS_B_24_HOURS
#define B_WRITABLE    (CMOS_B_SET | CMOS_B_BINARY | CMOS_B_24_HOURS)
#define D_VALID	      0x80
#define INDEX_MASK    0x7f /* bit 7 of the port masks NMIs on a PC */
/* Further than any fields can set the clock. */
#define OFFSET_MAX_S  (1ll << 40)

static uint8_t read_data(struct cmos *cmos)
{
	unsigned int reg = cmos->index;

	if (cmos_is_clock(reg))
		return cmos_read_clock(cmos, reg);
	if (reg == CMOS_A)
		return cmos->memory[CMOS_A] | (cmos_is_updating(cmos) ? A_UPDATING : 0);
	return reg == CMOS_C ? cmos_take_flags(cmos) : cmos->memory[reg];
}

/* A clock that is being set announces no updates (MC146818A, "SET"). */
static uint8_t b_of(const struct cmos *cmos, uint8_t value)
{
	uint8_t writable = B_WRITABLE;

	if (cmos->irq)
		writable |= CMOS_INTERRUPTS | B_SQUARE_WAVE | B_SUMMER_TIME;
	if (value & CMOS_B_SET)
		writable &= (uint8_t)~CMOS_B_UPDATE;
	return value & writable;
}

/* Flags of the time before belong to the rates and forms of before. */
static void write_data(struct cmos *cmos, uint8_t value)
{
	unsigned int reg = cmos->index;

	cmos_catch_up(cmos);
	if (cmos_is_clock(reg)) {
		cmos_write_clock(cmos, reg, value);
	} else if (reg == CMOS_A) {
		cmos->memory[CMOS_A] = value & (uint8_t)~A_UPDATING;
		cmos_forget_time(cmos);
	} else if (reg == CMOS_B) {
		cmos_write_b(cmos, b_of(cmos, value));
	} else if (reg != CMOS_C && reg != CMOS_D) {
		cmos->memory[reg] = value;
	}
	cmos_drive(cmos);
}

static uint8_t cmos_read(void *chip, unsigned int offset)
{
	struct cmos *cmos = chip;
	uint8_t value;

	pthread_mutex_lock(&cmos->lock);
	value = offset == 0 ? cmos->index : read_data(cmos);
	pthread_mutex_unlock(&cmos->lock);
	return value;
}

static void cmos_write(void *chip, unsigned int offset, uint8_t value)
{
	struct cmos *cmos = chip;

	pthread_mutex_lock(&cmos->lock);
	if (offset == 0)
		cmos->index = value & INDEX_MASK;
	else
		write_data(cmos, value);
	pthread_mutex_unlock(&cmos->lock);
}

static void cmos_access(void *context, struct io_access *access)
{
	chip_access_bytes(context, access, cmos_read, cmos_write);
}

/* The battery keeps the memory and the clock over a reset, but not what is half set. */
static void cmos_reset(void *device)
{
	struct cmos *cmos = device;

	pthread_mutex_lock(&cmos->lock);
	cmos->index = 0;
	cmos->memory[CMOS_A] = A_DEFAULT;
	cmos->memory[CMOS_B] = B_DEFAULT;
	cmos->memory[CMOS_C] = 0;
	cmos->memory[CMOS_D] = D_VALID;
	cmos_forget_time(cmos);
	cmos_drive(cmos);
	pthread_mutex_unlock(&cmos->lock);
}

/* What a Generation 1 VM's has beyond that of Generation 2. */
static int add_legacy(struct cmos *cmos, const struct device_env *env, const json_t *config,
		      struct error *err)
{
	int r = cmos_fill(cmos, env, config, err);

	if (r < 0)
		return r;
	r = chip_timer_init(&cmos->timer, env->loop, cmos_timer_expired, cmos);
	if (r == 0)
		r = irq_level_new(env->irq, MACHINE_GSI_RTC, &cmos->irq);
	return r < 0 ? error_host(err, -r, "cannot make the clock's interrupt") : 0;
}

static void free_cmos(struct cmos *cmos)
{
	chip_timer_cleanup(&cmos->timer);
	irq_level_free(cmos->irq);
	pthread_mutex_destroy(&cmos->lock);
	free(cmos);
}

static int cmos_create(const struct device_env *env, const json_t *config, void **device,
		       struct error *err)
{
	struct cmos *cmos = calloc(1, sizeof(*cmos));
	int r = 0;

	if (!cmos)
		return error_memory(err, "the CMOS clock");
	cmos->ports = env->ports;
	cmos->timer.fd = -1;
	pthread_mutex_init(&cmos->lock, NULL);
	if (env->pci)
		r = add_legacy(cmos, env, config, err);
	if (r == 0) {
		cmos_reset(cmos);
		r = io_bus_add(env->ports, MACHINE_PORT_CMOS_INDEX, CMOS_PORTS, cmos_access, cmos);
		if (r < 0)
			error_host(err, -r, "cannot place the CMOS clock");
	}
	if (r < 0) {
		free_cmos(cmos);
		return r;
	}
	*device = cmos;
	return 0;
}

static void cmos_destroy(void *device)
{
	struct cmos *cmos = device;

	io_bus_remove(cmos->ports, MACHINE_PORT_CMOS_INDEX);
	free_cmos(cmos);
}

static void hold(struct cmos *cmos, bool held)
{
	pthread_mutex_lock(&cmos->lock);
	chip_clock_hold(&cmos->clock, held);
	cmos_drive(cmos);
	pthread_mutex_unlock(&cmos->lock);
}

/* Periods stand still while the VM does; its clock goes on with the host's. */
static void cmos_quiesce(void *device)
{
	hold(device, true);
}

static void cmos_unquiesce(void *device)
{
	hold(device, false);
}

static void cmos_save(void *device, struct state_writer *writer)
{
	struct cmos *cmos = device;

	state_put_u32(writer, "index", cmos->index);
	state_put_u64(writer, "offset-s", (uint64_t)cmos->offset_s);
	state_put_bytes(writer, "set", &cmos->set, sizeof(cmos->set));
	state_put_bytes(writer, "memory", cmos->memory, sizeof(cmos->memory));
}

static int cmos_restore(void *device, const struct state_node *node)
{
	struct cmos *cmos = device;
	struct cmos saved;
	uint64_t offset;
	uint32_t index;
	int rc = state_get_u32(node, "index", &index);

	if (rc == 0)
		rc = state_get_u64(node, "offset-s", &offset);
	if (rc == 0)
		rc = state_get_bytes(node, "set", &saved.set, sizeof(saved.set));
	if (rc == 0)
		rc = state_get_bytes(node, "memory", saved.memory, sizeof(saved.memory));
	if (rc < 0)
		return rc;
	if (index > INDEX_MASK || (int64_t)offset > OFFSET_MAX_S || (int64_t)offset < -OFFSET_MAX_S)
		return -EINVAL;
	pthread_mutex_lock(&cmos->lock);
	cmos->index = (uint8_t)index;
	cmos->offset_s = (int64_t)offset;
	cmos->set = saved.set;
	memcpy(cmos->memory, saved.memory, sizeof(cmos->memory));
	cmos->memory[CMOS_B] = b_of(cmos, saved.memory[CMOS_B]);
	cmos_forget_time(cmos);
	cmos_drive(cmos);
	pthread_mutex_unlock(&cmos->lock);
	return 0;
}

const struct device_ops cmos_device = {
	.name = "cmos",
	.state_version = 1,
	.create = cmos_create,
	.destroy = cmos_destroy,
	.reset = cmos_reset,
	.save = cmos_save,
	.restore = cmos_restore,
	.quiesce = cmos_quiesce,
	.unquiesce = cmos_unquiesce,
};
