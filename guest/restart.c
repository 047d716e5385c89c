/*
 * Starts again by each kind of reset, and must find a machine as new each time but for its disk,
 * on which it counts. The host restarts it (--on-reset restart) and gives an empty disk.
 */
#include "lib/acpi.h"
#include "lib/bootinfo.h"
#include "lib/rt.h"
#include "lib/storvsc.h"

#define MAGIC 0x626f6f7473UL
#define BLOCK 512
#define STAMP 0x5741524dUL

struct record {
	uint64_t magic, boots;
	uint32_t dirty_memory, dirty_msrs, dirty_lapic, padding;
};

static uint32_t stamp_in_bss;

static bool transfer(struct vmbus_channel *ch, bool write, void *buf)
{
	uint8_t cdb[10] = {write ? 0x2a : 0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0};
	struct stor_packet p;

	for (unsigned i = 0; i < 3; i++) {
		stor_fill(&p, 0, cdb, sizeof(cdb), write ? 0 : 1, BLOCK);
		if (!stor_scsi(ch, &p, buf, BLOCK))
			return false;
		if (p.srb.srb_status == SRB_SUCCESS)
			return true;
	}
	return false;
}

/* What must be as at power-on, looked at before anything is set up. */
static void look_around(struct record *now)
{
	uint64_t v = 0;

	now->dirty_memory = stamp_in_bss == STAMP || read64(0x700000) == STAMP;
	now->dirty_msrs = rdmsr(HV_MSR_GUEST_OS_ID) || rdmsr(HV_MSR_HYPERCALL) ||
			  rdmsr(HV_MSR_SCONTROL) || rdmsr(HV_MSR_SIMP) ||
			  rdmsr(HV_MSR_SINT0 + VMBUS_SINT) != HV_SINT_MASKED ||
			  (!rdmsr_safe(HV_MSR_STIMER0_CONFIG, &v) && v);
	now->dirty_lapic = apic_read(APIC_LVT_TIMER) != 0x10000;
}

static void leave_traces(void)
{
	stamp_in_bss = STAMP;
	write64(0x700000, STAMP);
	wrmsr_safe(HV_MSR_STIMER0_CONFIG, HV_STIMER_SINT(3) | HV_STIMER_PERIODIC);
	apic_write(APIC_LVT_TIMER, 0x20031);
}

static void reset_by(uint64_t boot)
{
	static const struct __attribute__((packed)) {
		uint16_t limit;
		uint64_t base;
	} none = {0, 0};
	const struct acpi_header *fadt = acpi_find("FACP");

	if (boot == 1)
		wrmsr(HV_MSR_RESET, 1);
	else if (boot == 2 && fadt)
		acpi_write_fadt_register(FADT_RESET_REG, read8((uint64_t)fadt + FADT_RESET_VALUE));
	else
		__asm__ volatile("lidt %0; ud2" ::"m"(none));
	delay_us(5000000);
	tap_bail("boot %lu: no reset", boot);
}

void payload_main(void)
{
	struct record *r = page_alloc(1), now = {0};
	struct vmbus_channel ch;
	struct vmbus *bus;

	look_around(&now);
	bus = vmbus_init();
	if (!vmbus_contact(bus, VMBUS_VERSION(5, 2)) || !vmbus_request_offers(bus) ||
	    !stor_open(bus, &ch, 8) || !transfer(&ch, false, r))
		tap_bail("the disk cannot be read");
	if (r->magic != MAGIC)
		*r = (struct record){.magic = MAGIC};
	r->boots++;
	r->dirty_memory += now.dirty_memory;
	r->dirty_msrs += now.dirty_msrs;
	r->dirty_lapic += now.dirty_lapic;
	if (!transfer(&ch, true, r))
		tap_bail("the disk cannot be written");
	print("# boot %lu\n", r->boots);
	if (r->boots < 4) {
		leave_traces();
		reset_by(r->boots);
	}
	tap_is(r->boots, 4, "three resets, by MSR, by register, by triple fault");
	tap_is(r->dirty_memory, 0, "memory was new each time");
	tap_is(r->dirty_msrs, 0, "the Hyper-V MSRs were as at power-on each time");
	tap_is(r->dirty_lapic, 0, "so was the local APIC");
}
