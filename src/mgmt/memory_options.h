#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

#define MEMORY_BUFFER_MIN     5 /* percent */
#define MEMORY_BUFFER_MAX     2000
#define MEMORY_BUFFER_DEFAULT 20
#define MEMORY_WEIGHT_MAX     10000
#define MEMORY_WEIGHT_DEFAULT 5000

/*
 * --memory: SIZE, which is the guest's for good, or startup=SIZE[,min=SIZE][,max=SIZE][,buffer=PCT]
 * [,weight=N][,reporting=on|off][,protocol=0.3|1.0|2.0], which the host changes while the VM runs.
 */
struct memory_options {
	bool dynamic;
	uint64_t startup; /* bytes; all there is, unless dynamic */
	uint64_t minimum;
	uint64_t maximum;
	unsigned int buffer; /* percent */
	unsigned int weight;
	bool reporting;	      /* the guest may report free pages */
	const char *protocol; /* the highest version offered; NULL: all */
};

/* So much, for good. */
struct memory_options memory_options_static(uint64_t bytes);
/* -EINVAL, with err. */
int memory_options_parse(const char *text, struct memory_options *options, struct error *err);
/* The worker's device; a new reference. */
json_t *memory_options_device(const struct memory_options *options);
