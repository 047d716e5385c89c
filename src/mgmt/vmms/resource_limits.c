#include "mgmt/vmms/resource_limits.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include "base/checked.h"

#define MIB (UINT64_C(1) << 20)
#define OVERHEAD_PROCESS                                                                           \
	(64 * MIB) /* supervisor, worker, helpers, and what the kernel has for them */
#define OVERHEAD_VP MIB
#define OVERHEAD_RAM_PART                                                                          \
	128 /* page tables: a 512th for the host's view, the same for the guest's */
#define CPU_PERCENT 100u
#define CPU_CAP_MAX 1000000u

uint64_t resource_overhead(uint64_t ram, unsigned int processors)
{
	return OVERHEAD_PROCESS + processors * OVERHEAD_VP + ram / OVERHEAD_RAM_PART;
}

/* A member that is an integer of that range, or absent or null, for 0. */
static int read_number(const json_t *resources, const char *key, uint64_t max, uint64_t *value,
		       struct error *err)
{
	const json_t *member = json_object_get(resources, key);
	json_int_t number = json_integer_value(member);

	*value = 0;
	if (!member || json_is_null(member))
		return 0;
	if (!json_is_integer(member) || number < 1 || (uint64_t)number > max)
		return error_set(err, EINVAL,
				 "resources.%s is to be a whole number from 1 to %" PRIu64, key,
				 max);
	*value = (uint64_t)number;
	return 0;
}

static int check_reserve(const struct resource_limits *limits, unsigned int processors,
			 struct error *err)
{
	if (limits->cpu_cap && limits->cpu_reserve > limits->cpu_cap)
		return error_set(err, EINVAL,
				 "resources.cpu_reserve (%u%%) is more than resources.cpu_cap "
				 "(%u%%); lower the one or raise the other",
				 limits->cpu_reserve, limits->cpu_cap);
	if (limits->cpu_reserve > processors * CPU_PERCENT)
		return error_set(err, EINVAL,
				 "resources.cpu_reserve (%u%%) is more than %u processors can use; "
				 "reserve %u%% at most",
				 limits->cpu_reserve, processors, processors * CPU_PERCENT);
	return 0;
}

static int check_memory(const struct resource_limits *limits, uint64_t ram, unsigned int processors,
			struct error *err)
{
	uint64_t least = ram + resource_overhead(ram, processors);

	if (!limits->memory_max || limits->memory_max >= least)
		return 0;
	return error_set(err, EINVAL,
			 "resources.memory_max is for the whole VM, which needs %" PRIu64
			 " MiB beside its %" PRIu64 " MiB of memory; give it %" PRIu64
			 " bytes at least, or none",
			 resource_overhead(ram, processors) / MIB, ram / MIB, least);
}

int resource_limits_parse(const json_t *resources, uint64_t ram, unsigned int processors,
			  struct resource_limits *limits, struct error *err)
{
	uint64_t weight, cap, reserve, memory, io;
	struct resource_limits read;
	int r = read_number(resources, "cpu_weight", RESOURCE_WEIGHT_MAX, &weight, err);

	if (!r)
		r = read_number(resources, "cpu_cap", CPU_CAP_MAX, &cap, err);
	if (!r)
		r = read_number(resources, "cpu_reserve", CPU_CAP_MAX, &reserve, err);
	if (!r)
		r = read_number(resources, "memory_max", INT64_MAX, &memory, err);
	if (!r)
		r = read_number(resources, "io_weight", RESOURCE_WEIGHT_MAX, &io, err);
	if (r)
		return r;
	read = (struct resource_limits){.cpu_weight = (unsigned int)weight,
					.cpu_cap = (unsigned int)cap,
					.cpu_reserve = (unsigned int)reserve,
					.memory_max = memory,
					.io_weight = (unsigned int)io};
	r = check_reserve(&read, processors, err);
	if (!r)
		r = check_memory(&read, ram, processors, err);
	if (!r)
		*limits = read;
	return r;
}

/* What is divided by weight: the parts that remain, and the weights of those who get no more. */
struct rest {
	double part;
	double weights;
};

static struct rest rest_of(const struct resource_share *shares, size_t count, double host)
{
	struct rest rest = {.part = 1};

	for (size_t i = 0; i < count; i++) {
		if (shares[i].given) /* it has just its reserve */
			rest.part -= shares[i].reserve / host;
		else
			rest.weights += shares[i].weight;
	}
	return rest;
}

static double part_of(const struct resource_share *share, const struct rest *rest, double host)
{
	if (share->given)
		return share->reserve / host;
	return rest->part > 0 ? rest->part * share->weight / rest->weights : 0;
}

/* Marks, in given, one more VM that its weight gives less than its reserve; false: there is none.
 */
static bool mark_next(struct resource_share *shares, size_t count, double host)
{
	struct rest rest = rest_of(shares, count, host);

	for (size_t i = 0; i < count; i++) {
		if (!shares[i].given && shares[i].reserve &&
		    part_of(&shares[i], &rest, host) < shares[i].reserve / host) {
			shares[i].given = 1;
			return true;
		}
	}
	return false;
}

/* The parts as weights, of which the largest is the largest there is. */
static void scale(struct resource_share *shares, size_t count, double host)
{
	struct rest rest = rest_of(shares, count, host);
	double largest = 0;

	for (size_t i = 0; i < count; i++)
		largest = MAX(largest, part_of(&shares[i], &rest, host));
	for (size_t i = 0; i < count; i++) {
		double weight = part_of(&shares[i], &rest, host) / largest * RESOURCE_WEIGHT_MAX;

		/* Reserves are rounded up, what is shared out beside them is rounded down. */
		if (shares[i].given)
			weight += 1;
		shares[i].given = MIN(MAX((unsigned int)weight, 1u), RESOURCE_WEIGHT_MAX);
	}
}

void resource_shares(struct resource_share *shares, size_t count, unsigned int processors)
{
	double host = (double)processors * CPU_PERCENT;
	bool reserves = false;

	for (size_t i = 0; i < count; i++) {
		shares[i].given = 0;
		reserves |= shares[i].reserve > 0;
	}
	if (reserves) {
		while (mark_next(shares, count, host))
			;
		scale(shares, count, host);
		return;
	}
	for (size_t i = 0; i < count; i++)
		shares[i].given = shares[i].weight;
}
