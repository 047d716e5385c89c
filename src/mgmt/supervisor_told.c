#include "base/checked.h"
#include "base/clock.h"
#include "mgmt/supervisor_internal.h"

#define AT_ONCE	    64 /* disks that are full, NICs that are down; then one a second */
#define NS_A_SECOND 1000000000ull

bool supervisor_may_tell(struct supervisor *supervisor)
{
	uint64_t now = clock_now_ns();
	uint64_t passed = (now - supervisor->told_since) / NS_A_SECOND;

	supervisor->told -= (unsigned int)MIN(passed, (uint64_t)supervisor->told);
	supervisor->told_since =
		supervisor->told ? supervisor->told_since + passed * NS_A_SECOND : now;
	if (supervisor->told == AT_ONCE)
		return false;
	supervisor->told++;
	return true;
}
