#pragma once

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/*
 * What a VM may have of the host beside others.  Names, units and ranges are those of the settings
 * (type Resources of io.bulkhead.VMMS) and of cgroup v2 (Linux, admin-guide/cgroup-v2.rst).  Pure
 * functions: any thread.
 */

#define RESOURCE_WEIGHT_MAX	10000u
#define RESOURCE_WEIGHT_DEFAULT 100u

/* 0 in a member: not set. */
struct resource_limits {
	unsigned int cpu_weight;  /* 1 to 10000; 100 where it is not set */
	unsigned int cpu_cap;	  /* percent of one processor */
	unsigned int cpu_reserve; /* percent of one processor */
	uint64_t memory_max;	  /* bytes, of the whole VM */
	unsigned int io_weight;	  /* 1 to 10000; 100 where it is not set */
};

/*
 * Reads the object "resources" of settings, which may be NULL, of a VM with ram bytes at most and
 * so many processors.  -EINVAL with a sentence: a range, a reserve above the cap or above what the
 * VM's processors can use, a memory_max that leaves its processes no room beside the RAM.
 */
int resource_limits_parse(const json_t *resources, uint64_t ram, unsigned int processors,
			  struct resource_limits *limits, struct error *err);

/* What the processes of such a VM need beyond its RAM, in bytes: the least memory_max is the sum.
 */
uint64_t resource_overhead(uint64_t ram, unsigned int processors);

/* One VM among those that share the host's processors. */
struct resource_share {
	unsigned int weight;  /* wanted, 1 to 10000 */
	unsigned int reserve; /* percent of one processor */
	unsigned int given;   /* result: the weight in cgroup v2, 1 to 10000 */
};

/*
 * cgroup v2 has weights, and no reserve.  So the weights that are given make, while every VM wants
 * all it can get, each have its reserve at least, and the rest be divided by the weights wanted.
 * Without any reserve, weights are given as they are wanted.  processors: of the host.
 */
void resource_shares(struct resource_share *shares, size_t count, unsigned int processors);
