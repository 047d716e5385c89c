#include "lib/hv.h"
#include "lib/rt.h"

#define TSC_HZ_GUESS 2500000000UL

uint64_t tsc_hz(void)
{
	static uint64_t hz;

	if (!hz && (rdmsr_safe(HV_MSR_TSC_FREQUENCY, &hz) || !hz))
		hz = TSC_HZ_GUESS;
	return hz;
}

uint64_t clock_us(void)
{
	return rdtsc() / (tsc_hz() / 1000000);
}

void delay_us(uint64_t us)
{
	uint64_t end = clock_us() + us;

	while (clock_us() < end)
		cpu_relax();
}
