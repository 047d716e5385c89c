#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/utf16.h"
#include "devices/net/net.h"
#include "devices/vsp/ic_kvp.h"
#include "devices/vsp/netvsp_instance.h"

/*
 * The configuration of the guest's network adapters.  The guest is told one by the instance of its
 * offer, and asked for one by its MAC address: so Linux has them (tools/hv/hv_kvp_daemon.c), which
 * sets it by a script of the distribution's.
 */

static const struct ic_version since = {4, 0};

/* A list on the wire, addresses with ';' between them. */
struct addresses {
	char text[512];
	size_t length;
};

static int append(struct addresses *list, const char *text, struct error *err)
{
	int length = snprintf(list->text + list->length, sizeof(list->text) - list->length, "%s%s",
			      list->length ? ";" : "", text);

	if ((size_t)length >= sizeof(list->text) - list->length)
		return error_set(err, E2BIG, "there are too many addresses");
	list->length += (size_t)length;
	return 0;
}

/* The family of an address (an IC_IP_ bit), 0 if it is none. */
static uint8_t family_of(const char *text)
{
	uint8_t binary[16];

	if (inet_pton(AF_INET, text, binary) == 1)
		return IC_IP_IPV4;
	return inet_pton(AF_INET6, text, binary) == 1 ? IC_IP_IPV6 : 0;
}

/* The subnet of an address with a prefix of so many bits: IPv4 has a mask, IPv6 the number. */
static void format_subnet(uint8_t family, unsigned long bits, char *text, size_t size)
{
	struct in_addr mask;

	if (family != IC_IP_IPV4) {
		snprintf(text, size, "%lu", bits);
		return;
	}
	mask.s_addr = htonl(bits ? (uint32_t)(0xffffffffull << (32 - bits)) : 0);
	inet_ntop(AF_INET, &mask, text, (socklen_t)size);
}

/* "ADDRESS/BITS", which goes into two lists. */
static int add_address(const char *text, struct addresses *addresses, struct addresses *subnets,
		       uint8_t *families, struct error *err)
{
	char address[INET6_ADDRSTRLEN + 1] = "", subnet[INET_ADDRSTRLEN], *end = NULL;
	const char *slash = text ? strchr(text, '/') : NULL;
	unsigned long bits;
	uint8_t family;
	int r;

	if (slash && (size_t)(slash - text) < sizeof(address))
		memcpy(address, text, (size_t)(slash - text));
	family = family_of(address);
	bits = slash && isdigit((unsigned char)slash[1]) ? strtoul(slash + 1, &end, 10) : 0;
	if (!family || !end || *end || bits > (family == IC_IP_IPV4 ? 32 : 128))
		return error_set(err, EINVAL,
				 "\"%.60s\" is no address with a prefix length, as "
				 "192.0.2.5/24",
				 text ? text : "");
	*families |= family;
	format_subnet(family, bits, subnet, sizeof(subnet));
	r = append(addresses, address, err);
	return r ? r : append(subnets, subnet, err);
}

static int add_plain(const char *text, const char *what, struct addresses *list, struct error *err)
{
	if (!text || !family_of(text))
		return error_set(err, EINVAL, "%s \"%.60s\" is no IP address", what,
				 text ? text : "");
	return append(list, text, err);
}

static int read_plain(const json_t *parameters, const char *name, const char *what, void *out,
		      size_t size, struct error *err)
{
	struct addresses list = {0};
	const json_t *text;
	size_t index;

	json_array_foreach(json_object_get(parameters, name), index, text)
	{
		int r = add_plain(json_string_value(text), what, &list, err);

		if (r < 0)
			return r;
	}
	utf16_encode(list.text, out, size);
	return 0;
}

static int read_addresses(const json_t *parameters, struct ic_kvp_ip *message, struct error *err)
{
	struct addresses addresses = {0}, subnets = {0};
	const json_t *text;
	size_t index;

	json_array_foreach(json_object_get(parameters, "addresses"), index, text)
	{
		int r = add_address(json_string_value(text), &addresses, &subnets, &message->family,
				    err);

		if (r < 0)
			return r;
	}
	utf16_encode(addresses.text, message->addresses, sizeof(message->addresses));
	utf16_encode(subnets.text, message->subnets, sizeof(message->subnets));
	message->dhcp = json_is_true(json_object_get(parameters, "dhcp"));
	if (!message->dhcp && !message->family)
		return error_set(err, EINVAL, "give an address, or say that it shall use DHCP");
	if (message->dhcp)
		message->family |= IC_IP_IPV4;
	return 0;
}

/* A MAC address, as 00:15:5d:01:02:03: its bytes; false for any other text. */
static bool parse_mac(const char *text, uint8_t mac[NET_MAC_BYTES])
{
	unsigned int byte;
	int used;

	for (size_t i = 0; text && i < NET_MAC_BYTES; i++, text += used) {
		if (!isxdigit((unsigned char)*text) || sscanf(text, "%2x%n", &byte, &used) != 1 ||
		    used != 2 || text[2] != (i == NET_MAC_BYTES - 1 ? '\0' : ':'))
			return false;
		mac[i] = (uint8_t)byte;
		used = 3;
	}
	return text;
}

/* By its instance, or by its MAC address, if it has the instance that follows from that. */
static int read_adapter(const char *given, struct guid *guid, struct error *err)
{
	static const struct guid instance = NETVSP_INSTANCE;
	uint8_t mac[NET_MAC_BYTES];

	if (parse_mac(given, mac)) {
		*guid = instance;
		memcpy(guid->bytes + sizeof(guid->bytes) - NET_MAC_BYTES, mac, NET_MAC_BYTES);
		return 0;
	}
	if (given && guid_parse(given, guid) == 0)
		return 0;
	return error_set(err, EINVAL,
			 "the adapter is named neither by its MAC address nor by its "
			 "instance, a GUID");
}

static int fill_set(struct ic_kvp_ip *message, const json_t *parameters, struct error *err)
{
	const char *adapter = json_string_value(json_object_get(parameters, "adapter"));
	char id[GUID_TEXT_SIZE + 2], text[GUID_TEXT_SIZE];
	struct guid guid;
	int r = read_adapter(adapter, &guid, err);

	if (r < 0)
		return r;
	message->operation = IC_KVP_SET_IP;
	guid_format(&guid, text);
	snprintf(id, sizeof(id), "{%s}", text);
	utf16_encode(id, message->adapter, sizeof(message->adapter));
	r = read_addresses(parameters, message, err);
	if (r == 0)
		r = read_plain(parameters, "gateways", "the gateway", message->gateways,
			       sizeof(message->gateways), err);
	if (r == 0)
		r = read_plain(parameters, "dns", "the name server", message->dns,
			       sizeof(message->dns), err);
	return r;
}

void ic_kvp_set_ip_verb(void *device, const json_t *parameters, struct device_call *call)
{
	struct kvp_call *made =
		kvp_call_new(call, "the adapter's configuration", sizeof(struct ic_kvp_ip));
	struct error err;

	if (!made)
		return;
	if (fill_set(made->body, parameters, &err) < 0)
		kvp_call_refuse(made, &err);
	else
		kvp_submit(device, made, &since);
}

/* The guest knows it in upper case. */
static int fill_get(struct ic_kvp_ip *message, const json_t *parameters, struct error *err)
{
	uint8_t mac[NET_MAC_BYTES];
	char text[3 * NET_MAC_BYTES];

	message->operation = IC_KVP_GET_IP;
	if (!parse_mac(json_string_value(json_object_get(parameters, "mac")), mac))
		return error_set(err, EINVAL,
				 "the adapter is not named by its MAC address, as "
				 "00:15:5d:01:02:03");
	snprintf(text, sizeof(text), "%02X:%02X:%02X:%02X:%02X:%02X", mac[0], mac[1], mac[2],
		 mac[3], mac[4], mac[5]);
	utf16_encode(text, message->adapter, sizeof(message->adapter));
	return 0;
}

/* A list of the guest's, item by item. */
static json_t *split(const uint8_t *data, size_t size)
{
	char text[UTF16_DECODED_MAX(2048)], *next = text, *item;
	json_t *list = json_array();

	utf16_decode(data, size, text, sizeof(text));
	while ((item = strsep(&next, ";"))) {
		if (*item)
			json_array_append_new(list, json_string(item));
	}
	return list;
}

static bool reply_ip(struct kvp_call *call, const struct ic_answer *answer)
{
	struct ic_kvp_ip ip;

	if (answer->size < sizeof(ip)) {
		call->call->refuse(call->call, "the guest's answer is too short to hold an "
					       "adapter's configuration");
		return true;
	}
	memcpy(&ip, answer->body, sizeof(ip));
	call->call->reply(call->call,
			  json_pack("{s:b,s:o,s:o,s:o,s:o}", "dhcp", ip.dhcp != 0, "addresses",
				    split(ip.addresses, sizeof(ip.addresses)), "subnets",
				    split(ip.subnets, sizeof(ip.subnets)), "gateways",
				    split(ip.gateways, sizeof(ip.gateways)), "dns",
				    split(ip.dns, sizeof(ip.dns))));
	return true;
}

void ic_kvp_get_ip_verb(void *device, const json_t *parameters, struct device_call *call)
{
	struct kvp_call *made =
		kvp_call_new(call, "the adapter's configuration", sizeof(struct ic_kvp_ip));
	struct error err;

	if (!made)
		return;
	made->answered = reply_ip;
	if (fill_get(made->body, parameters, &err) < 0)
		kvp_call_refuse(made, &err);
	else
		kvp_submit(device, made, &since);
}
