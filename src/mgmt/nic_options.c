#include "mgmt/nic_options.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/parse.h"
#include "mgmt/rate_options.h"
#include "mgmt/words.h"

#define MAC_TEXT_LENGTH 17 /* 00:15:5d:01:02:03 */

static int hex_digit(char c)
{
	static const char digits[] = "0123456789abcdef0123456789ABCDEF";
	const char *found = c ? strchr(digits, c) : NULL;

	return found ? (int)(found - digits) % 16 : -1;
}

/* Six bytes in hexadecimal with ':' or '-' in between, of one station: -EINVAL for others. */
static int parse_mac(const char *text, uint8_t mac[NIC_MAC_BYTES])
{
	uint8_t any = 0;

	if (strlen(text) != MAC_TEXT_LENGTH)
		return -EINVAL;
	for (size_t i = 0; i < NIC_MAC_BYTES; i++) {
		int high = hex_digit(text[3 * i]);
		int low = hex_digit(text[3 * i + 1]);
		char after = text[3 * i + 2];

		if (high < 0 || low < 0 || (after && after != ':' && after != '-'))
			return -EINVAL;
		mac[i] = (uint8_t)(high << 4 | low);
		any |= mac[i];
	}
	return !any || mac[0] & 1 ? -EINVAL : 0;
}

static int set_word(struct run_nic *nic, const char *word, struct error *err)
{
	uint64_t queues;
	char what[240];

	if (!strncmp(word, "bandwidth=", 10)) {
		snprintf(what, sizeof(what), "--nic %.200s", nic->text);
		return limit_parse_bits(what, word + 10, &nic->bandwidth, err);
	}
	if (!strncmp(word, "mac=", 4)) {
		nic->has_mac = true;
		if (!parse_mac(word + 4, nic->mac))
			return 0;
		return error_set(err, EINVAL,
				 "--nic %.200s: \"%.40s\" is not the address of one station; give "
				 "six bytes like 00:15:5d:01:02:03, the first of them even",
				 nic->text, word + 4);
	}
	if (!strcmp(word, "legacy")) {
		nic->legacy = true;
		return 0;
	}
	if (strncmp(word, "queues=", 7))
		return error_set(err, EINVAL,
				 "--nic %.200s: \"%.80s\" is not mac=ADDRESS, queues=N, "
				 "bandwidth=BITS or legacy; a comma in a path is written twice",
				 nic->text, word);
	if (parse_u64(word + 7, 1, NIC_QUEUES_MAX, &queues))
		return error_set(err, EINVAL,
				 "--nic %.200s: \"%.40s\" is no number of queues; give 1 to %d",
				 nic->text, word + 7, NIC_QUEUES_MAX);
	if (nic->kind == RUN_NIC_FD)
		return error_set(err, EINVAL,
				 "--nic %.200s: it has a queue for each descriptor; leave out "
				 "queues=",
				 nic->text);
	if (nic->kind != RUN_NIC_TAP && nic->kind != RUN_NIC_SWITCH && queues > 1)
		return error_set(err, EINVAL,
				 "--nic %.200s: it is one stream, so it has one queue; leave out "
				 "queues=, or use tap=",
				 nic->text);
	nic->queues = (unsigned int)queues;
	return 0;
}

static int check_interface(const struct run_nic *nic, struct error *err)
{
	size_t length = strlen(nic->where);

	if (length && length < IFNAMSIZ && !strpbrk(nic->where, "/: \t\n") &&
	    strcmp(nic->where, ".") && strcmp(nic->where, ".."))
		return 0;
	return error_set(err, EINVAL,
			 "--nic %.200s: \"%.40s\" cannot be an interface; give the name of a tap, "
			 "1 to %d characters",
			 nic->text, nic->where, IFNAMSIZ - 1);
}

/* N[:N...] */
static int set_fds(struct run_nic *nic, char *numbers, struct error *err)
{
	const char *number;

	nic->kind = RUN_NIC_FD;
	while ((number = strsep(&numbers, ":"))) {
		uint64_t fd;

		if (nic->fd_count == NIC_QUEUES_MAX ||
		    parse_u64(number, STDERR_FILENO + 1, INT_MAX, &fd) ||
		    fcntl((int)fd, F_GETFD) < 0)
			return error_set(
				err, EINVAL,
				"--nic %.200s: \"%.20s\" is no open descriptor; give up to "
				"%d of a tap",
				nic->text, number, NIC_QUEUES_MAX);
		nic->fds[nic->fd_count++] = (int)fd;
	}
	if (nic->fd_count > 1)
		nic->queues = nic->fd_count;
	return 0;
}

static int set_kind(struct run_nic *nic, const char *word, struct error *err)
{
	if (!strcmp(word, "user")) {
		nic->kind = RUN_NIC_USER;
		return 0;
	}
	if (!strncmp(word, "tap=", 4)) {
		nic->kind = RUN_NIC_TAP;
		nic->where = word + 4;
		return check_interface(nic, err);
	}
	if (!strncmp(word, "stream=", 7) && word[7]) {
		nic->kind = RUN_NIC_STREAM;
		nic->where = word + 7;
		return 0;
	}
	if (!strcmp(word, "switch") || (!strncmp(word, "switch=", 7) && word[7])) {
		nic->kind = RUN_NIC_SWITCH;
		nic->where = word[6] ? word + 7 : "default";
		return 0;
	}
	return error_set(err, EINVAL,
			 "--nic %.200s: give tap=INTERFACE, user, stream=PATH of a Unix socket, or "
			 "switch for a VM of the daemon",
			 nic->text);
}

static int parse(const char *value, bool given, struct run_nic *nic, struct error *err)
{
	char *rest;
	char *word;
	int r;

	*nic = (struct run_nic){.text = strdup(value), .words = strdup(value)};
	rest = nic->words;
	if (!nic->text || !nic->words)
		r = error_memory(err, "the options");
	else if (given && !strncmp(rest, "fd=", 3))
		r = set_fds(nic, words_next(&rest) + 3, err);
	else
		r = set_kind(nic, words_next(&rest), err);
	while (!r && (word = words_next(&rest)))
		r = set_word(nic, word, err);
	if (!r && nic->legacy && (nic->queues > 1 || nic->bandwidth))
		r = error_set(
			err, EINVAL,
			"--nic %.200s: a legacy adapter has one queue and no limit; leave out "
			"queues= and bandwidth=",
			nic->text);
	if (r)
		nic_options_clear(nic);
	return r;
}

int nic_options_parse(const char *value, struct run_nic *nic, struct error *err)
{
	return parse(value, false, nic, err);
}

int nic_options_parse_given(const char *value, struct run_nic *nic, struct error *err)
{
	return parse(value, true, nic, err);
}

void nic_options_clear(struct run_nic *nic)
{
	free(nic->text);
	free(nic->words);
	*nic = (struct run_nic){.kind = RUN_NIC_TAP};
}

/* FNV-1a: spreads well, and is the same for ever. */
static uint64_t hash(const char *name, unsigned int index)
{
	uint64_t value = 0xcbf29ce484222325u;

	for (; *name; name++)
		value = (value ^ (uint8_t)*name) * 0x100000001b3u;
	return (value ^ index) * 0x100000001b3u;
}

static bool is_taken(const struct run_nic *nics, unsigned int count, const struct run_nic *nic)
{
	for (unsigned int i = 0; i < count; i++) {
		if (&nics[i] != nic && nics[i].has_mac &&
		    !memcmp(nics[i].mac, nic->mac, NIC_MAC_BYTES))
			return true;
	}
	return false;
}

static void choose_address(struct run_nic *nics, unsigned int count, unsigned int index,
			   const char *vm_name)
{
	struct run_nic *nic = &nics[index];
	uint64_t value = hash(vm_name, index);

	value ^= value >> 24 ^ value >> 48;
	do {
		const uint8_t mac[NIC_MAC_BYTES] = {
			0x00,	       0x15, 0x5d, (uint8_t)(value >> 16), (uint8_t)(value >> 8),
			(uint8_t)value};

		memcpy(nic->mac, mac, sizeof(mac));
		value++;
	} while (is_taken(nics, count, nic));
	nic->has_mac = true;
}

int nic_options_addresses(struct run_nic *nics, unsigned int count, const char *vm_name,
			  struct error *err)
{
	for (unsigned int i = 0; i < count; i++) {
		if (nics[i].has_mac && is_taken(nics, count, &nics[i]))
			return error_set(err, EINVAL,
					 "--nic %.200s: another NIC has the same address; give "
					 "each its own, or leave out mac=",
					 nics[i].text);
	}
	for (unsigned int i = 0; i < count; i++) {
		if (!nics[i].has_mac)
			choose_address(nics, count, i, vm_name);
	}
	return 0;
}
