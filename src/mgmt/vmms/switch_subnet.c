#include "mgmt/vmms/switch_subnet.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SUBNET_SIZE (1u << (32 - SWITCH_SUBNET_LENGTH))

/* Where we look, in this order: private addresses (RFC 1918) that other programs of this kind do
 * not choose first. */
static const struct {
	uint32_t first;
	uint32_t last;
} pools[] = {
	{0x0ad50000, 0x0ad5ff00}, /* 10.213.0.0/16 */
	{0xac1e0000, 0xac1eff00}, /* 172.30.0.0/16 */
	{0xc0a8c800, 0xc0a8fa00}, /* 192.168.200.0 to 192.168.250.0 */
};

static uint32_t mask_of(unsigned int length)
{
	return length ? ~0u << (32 - length) : 0;
}

int switch_taken_add(struct switch_taken *taken, uint32_t address, unsigned int length)
{
	if (length < 8 || length > 32)
		return 0;
	if (taken->count == taken->room) {
		size_t room = taken->room ? 2 * taken->room : 32;
		void *list = reallocarray(taken->list, room, sizeof(*taken->list));

		if (!list)
			return -ENOMEM;
		taken->list = list;
		taken->room = room;
	}
	taken->list[taken->count].address = address;
	taken->list[taken->count++].length = length;
	return 0;
}

void switch_taken_clear(struct switch_taken *taken)
{
	free(taken->list);
	*taken = (struct switch_taken){.list = NULL};
}

bool switch_subnet_free(const struct switch_taken *taken, uint32_t subnet)
{
	for (size_t i = 0; i < taken->count; i++) {
		unsigned int length = taken->list[i].length;
		uint32_t mask =
			mask_of(length < SWITCH_SUBNET_LENGTH ? length : SWITCH_SUBNET_LENGTH);

		if (((taken->list[i].address ^ subnet) & mask) == 0)
			return false;
	}
	return true;
}

bool switch_subnet_possible(uint32_t subnet)
{
	for (size_t i = 0; i < sizeof(pools) / sizeof(pools[0]); i++)
		if (subnet >= pools[i].first && subnet <= pools[i].last &&
		    !(subnet & (SUBNET_SIZE - 1)))
			return true;
	return false;
}

int switch_subnet_choose(const struct switch_taken *taken, uint32_t preferred, uint32_t *out)
{
	if (preferred && switch_subnet_free(taken, preferred)) {
		*out = preferred;
		return 0;
	}
	for (size_t i = 0; i < sizeof(pools) / sizeof(pools[0]); i++)
		for (uint32_t subnet = pools[i].first; subnet <= pools[i].last;
		     subnet += SUBNET_SIZE)
			if (switch_subnet_free(taken, subnet)) {
				*out = subnet;
				return 0;
			}
	return -EADDRINUSE;
}

void switch_subnet_format(uint32_t subnet, char text[SWITCH_SUBNET_TEXT_SIZE])
{
	snprintf(text, SWITCH_SUBNET_TEXT_SIZE, "%u.%u.%u.%u/%u", subnet >> 24, subnet >> 16 & 255,
		 subnet >> 8 & 255, subnet & 255, SWITCH_SUBNET_LENGTH);
}

int switch_subnet_parse(const char *text, uint32_t *out)
{
	char again[SWITCH_SUBNET_TEXT_SIZE];
	char address[SWITCH_SUBNET_TEXT_SIZE];
	struct in_addr parsed;
	uint32_t subnet;

	snprintf(address, sizeof(address), "%.*s", (int)strcspn(text, "/"), text);
	if (inet_pton(AF_INET, address, &parsed) != 1)
		return -EINVAL;
	subnet = ntohl(parsed.s_addr);
	switch_subnet_format(subnet, again);
	if (strcmp(text, again) != 0 || subnet & (SUBNET_SIZE - 1))
		return -EINVAL;
	*out = subnet;
	return 0;
}
