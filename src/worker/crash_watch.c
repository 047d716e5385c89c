#include "worker/crash_watch.h"

#include "base/checked.h"

#define NS_A_SECOND 1000000000ull

bool crash_watch_report(struct crash_watch *watch, const struct crash_signs *signs)
{
	if (watch->reported && !watch->taken_over)
		return false;
	*watch = (struct crash_watch){.reported = true, .signs = *signs};
	return true;
}

bool crash_watch_tick(struct crash_watch *watch, const struct crash_signs *signs)
{
	unsigned int patience;

	if (!watch->reported || watch->taken_over)
		return false;
	if (signs->farewells != watch->signs.farewells)
		watch->handed_over = true;
	if (!signs->bus_connected)
		watch->bus_was_down = true;
	watch->taken_over = signs->bus_connected && watch->bus_was_down;
	watch->quiet_seconds =
		signs->activity == watch->signs.activity ? watch->quiet_seconds + 1 : 0;
	watch->signs = *signs;
	patience = watch->handed_over ? CRASH_KERNEL_QUIET_SECONDS : CRASH_QUIET_SECONDS;
	return !watch->taken_over && watch->quiet_seconds >= patience;
}

bool crash_reports_tell(struct crash_reports *reports, uint64_t now_ns)
{
	uint64_t passed = (now_ns - reports->since_ns) / NS_A_SECOND;

	reports->told -= (unsigned int)MIN(passed, (uint64_t)reports->told);
	reports->since_ns = reports->told ? reports->since_ns + passed * NS_A_SECOND : now_ns;
	if (reports->told == CRASH_REPORTS_AT_ONCE)
		return false;
	reports->told++;
	return true;
}
