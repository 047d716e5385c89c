#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * IPv4 subnets, and the choice of one that nobody on the host uses.  Addresses are in the host's
 * byte order.  Nothing here touches the host.
 */

#define SWITCH_SUBNET_LENGTH 24

/* What the host's routes and addresses take. */
struct switch_taken {
	struct {
		uint32_t address;
		unsigned int length;
	} * list;
	size_t count;
	size_t room;
};

/* Notes a prefix; one that is shorter than 8 bits is a way to everywhere and takes nothing.
 * -ENOMEM. */
int switch_taken_add(struct switch_taken *taken, uint32_t address, unsigned int length);
void switch_taken_clear(struct switch_taken *taken);

/* Whether nothing that is taken lies in this subnet of SWITCH_SUBNET_LENGTH bits, or around it. */
bool switch_subnet_free(const struct switch_taken *taken, uint32_t subnet);

/* The preferred subnet if it is free (0: none is), or the first of our own list; -EADDRINUSE. */
int switch_subnet_choose(const struct switch_taken *taken, uint32_t preferred, uint32_t *out);

/* Whether it is one that switch_subnet_choose may have chosen. */
bool switch_subnet_possible(uint32_t subnet);

#define SWITCH_SUBNET_TEXT_SIZE 19 /* 255.255.255.255/32 */
void switch_subnet_format(uint32_t subnet, char text[SWITCH_SUBNET_TEXT_SIZE]);
/* -EINVAL for what is not written as switch_subnet_format does. */
int switch_subnet_parse(const char *text, uint32_t *out);
