/*
 * The ways a guest ends, one a run, by the word on the command line. The plan comes first, for
 * what follows does not return; the host judges by the exit code of the run.
 */
#include "lib/acpi.h"
#include "lib/bootinfo.h"
#include "lib/hv.h"
#include "lib/rt.h"

#define RESET_NOW     1
#define CRASH_NOTIFY  (1UL << 63)
#define CRASH_MESSAGE (1UL << 62)

static void triple_fault(void)
{
	struct __attribute__((packed)) {
		uint16_t limit;
		uint64_t base;
	} none = {0, 0};

	__asm__ volatile("lidt %0; ud2" ::"m"(none));
}

static void crash(void)
{
	static const char message[] = "a payload's last words\n";

	wrmsr(HV_MSR_GUEST_OS_ID, HV_OS_ID);
	wrmsr(HV_MSR_CRASH_P0, 0xdead);
	wrmsr(HV_MSR_CRASH_P0 + 1, 0);
	wrmsr(HV_MSR_CRASH_P0 + 2, 0);
	wrmsr(HV_MSR_CRASH_P0 + 3, (uint64_t)message);
	wrmsr(HV_MSR_CRASH_P0 + 4, sizeof(message) - 1);
	wrmsr(HV_MSR_CRASH_CTL, CRASH_NOTIFY | CRASH_MESSAGE);
}

void payload_main(void)
{
	const struct acpi_header *fadt = acpi_find("FACP");

	print("ok 1 - about to end: %s\n1..1\n", boot_info()->cmdline);
	if (cmdline_has("power-off"))
		acpi_power_off();
	else if (cmdline_has("reset-msr"))
		wrmsr(HV_MSR_RESET, RESET_NOW);
	else if (cmdline_has("reset-register") && fadt)
		acpi_write_fadt_register(FADT_RESET_REG, read8((uint64_t)fadt + FADT_RESET_VALUE));
	else if (cmdline_has("triple-fault"))
		triple_fault();
	else if (cmdline_has("crash"))
		crash();
	/* One that never stops to report, and one that falls silent, are done for. */
	while (cmdline_has("loop"))
		crash();
	if (cmdline_has("spin"))
		for (;;)
			__asm__ volatile("cli; pause");
	/* After a report of a crash every end of the run is that crash. */
	if (cmdline_has("crash"))
		payload_exit(77);
	delay_us(5000000);
	print("# still running\n");
	payload_exit(77);
}
