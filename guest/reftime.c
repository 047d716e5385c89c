/* The partition's reference time: the counter, the TSC page and RDTSC must tell the same. */
#include "lib/hv.h"
#include "lib/rt.h"

#define SAMPLES 200

static struct hv_tsc_page *page;

static bool counter_is_monotonic(void)
{
	uint64_t last = hv_time();

	for (unsigned i = 0; i < SAMPLES; i++) {
		uint64_t now = hv_time();

		if (now < last)
			return false;
		last = now;
	}
	return true;
}

/* A counter reading lies between two readings of the TSC page, made before and after it. */
static unsigned outside_of_page(void)
{
	unsigned outside = 0;

	for (unsigned i = 0; i < SAMPLES; i++) {
		uint64_t before = hv_tsc_page_time(page, rdtsc());
		uint64_t counter = hv_time();
		uint64_t after = hv_tsc_page_time(page, rdtsc());

		/* One unit of rounding on either side. */
		if (counter + 1 < before || counter > after + 1) {
			if (!outside)
				tap_diag("page %lu, counter %lu, page %lu", before, counter, after);
			outside++;
		}
	}
	return outside;
}

static bool page_is_monotonic(void)
{
	uint64_t last = 0;

	for (unsigned i = 0; i < SAMPLES * 10; i++) {
		uint64_t now = hv_tsc_page_time(page, rdtsc());

		if (now < last)
			return false;
		last = now;
	}
	return true;
}

/* The same stretch of time by the counter and by the TSC at its stated frequency, to 2%. */
static void check_rate(void)
{
	uint64_t tsc0 = rdtsc(), t0 = hv_time(), by_tsc, by_counter;

	delay_us(100000);
	by_counter = hv_time() - t0;
	by_tsc = (rdtsc() - tsc0) * 1000 / (tsc_hz() / 10000);
	tap_diag("counter %lu, TSC %lu", by_counter, by_tsc);
	tap_ok(by_counter > by_tsc - by_tsc / 50 && by_counter < by_tsc + by_tsc / 50,
	       "the counter and the TSC at its stated frequency run alike");
}

static void check_page(void)
{
	uint64_t back;

	page = page_alloc(1);
	if (wrmsr_safe(HV_MSR_REFERENCE_TSC, (uint64_t)page | HV_PAGE_ENABLE)) {
		tap_skip("no reference TSC page on this host", "the reference TSC page");
		return;
	}
	back = rdmsr(HV_MSR_REFERENCE_TSC);
	tap_is(back, (uint64_t)page | HV_PAGE_ENABLE, "REFERENCE_TSC keeps the page");
	tap_diag("sequence %u scale 0x%lx offset %ld", page->sequence, page->scale, page->offset);
	if (!page->sequence) {
		tap_skip("the TSC of this host is not stable", "the reference TSC page");
		return;
	}
	tap_ok(page->sequence != 0, "its sequence is not 0");
	tap_ok(page_is_monotonic(), "its time never goes back");
	tap_is(outside_of_page(), 0, "the counter agrees with it");
}

void payload_main(void)
{
	hv_enable();
	tap_ok(counter_is_monotonic(), "TIME_REF_COUNT never goes back");
	tap_ok(hv_time() < 600UL * 10000000, "it counts from the partition's start");
	check_rate();
	check_page();
}
