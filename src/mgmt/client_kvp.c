#include <stdio.h>

#include "mgmt/command.h"
#include "mgmt/guest_verb.h"

/* The verbs of a guest's items and addresses. */

static int set_pool(void *target, const char *value, struct error *err)
{
	return guest_set_text(target, "pool", value, err);
}

static int set_type(void *target, const char *value, struct error *err)
{
	return guest_set_text(target, "type", value, err);
}

static int set_dhcp(void *target, const char *value, struct error *err)
{
	return guest_set_true(target, "dhcp");
}

static int add_address(void *target, const char *value, struct error *err)
{
	return guest_append_text(target, "addresses", value, err);
}

static int add_gateway(void *target, const char *value, struct error *err)
{
	return guest_append_text(target, "gateways", value, err);
}

static int add_dns(void *target, const char *value, struct error *err)
{
	return guest_append_text(target, "dns", value, err);
}

static const struct option kvp_options[] = {
	{"--pool", "external|guest|auto|auto-external|auto-internal", "which items", set_pool},
	{"--json", NULL, "print JSON", guest_set_json},
};

static const struct option kvp_set_options[] = {
	{"--pool", "external|guest|auto|auto-external|auto-internal", "which items", set_pool},
	{"--type", "string|u32|u64", "what it is (default: string)", set_type},
	{"--json", NULL, "print JSON", guest_set_json},
};

static const struct option set_ip_options[] = {
	{"--address", "ADDRESS/BITS", "an address of the adapter's", add_address},
	{"--gateway", "ADDRESS", "a gateway", add_gateway},
	{"--dns", "ADDRESS", "a name server", add_dns},
	{"--dhcp", NULL, "have it ask for an IPv4 address", set_dhcp},
	{"--json", NULL, "print JSON", guest_set_json},
};

const struct option_set command_kvp_options = OPTION_SET(kvp_options);
const struct option_set command_kvp_set_options = OPTION_SET(kvp_set_options);
const struct option_set command_kvp_set_ip_options = OPTION_SET(set_ip_options);

/* The guest's intrinsic items are what is asked for most, its own pool what is written to. */
static int default_pool(struct guest_command *command, const char *pool)
{
	if (!json_object_get(command->parameters, "pool"))
		json_object_set_new(command->parameters, "pool", json_string(pool));
	return 0;
}

static int read_auto(struct guest_command *command, struct error *err)
{
	return default_pool(command, "auto");
}

static int write_external(struct guest_command *command, struct error *err)
{
	return default_pool(command, "external");
}

static void print_value(const json_t *reply)
{
	printf("%s\n", guest_text(reply, "value"));
}

static void print_items(const json_t *reply)
{
	json_t *item;
	size_t index;

	json_array_foreach(json_object_get(reply, "items"), index, item)
		printf("%s=%s\n", guest_text(item, "key"), guest_text(item, "value"));
}

static void print_list(const json_t *reply, const char *key)
{
	json_t *item;
	size_t index;

	json_array_foreach(json_object_get(reply, key), index, item)
		printf("%s %s\n", key, json_string_value(item));
}

static void print_ip(const json_t *reply)
{
	printf("dhcp %s\n", json_is_true(json_object_get(reply, "dhcp")) ? "yes" : "no");
	print_list(reply, "addresses");
	print_list(reply, "subnets");
	print_list(reply, "gateways");
	print_list(reply, "dns");
}

int command_kvp_get(int argc, char **argv)
{
	static const struct guest_verb verb = {
		.method = "io.bulkhead.VM.GetKvp",
		.words = {"key"},
		.missing = "give the NAME of a running VM and a KEY",
		GUEST_OPTIONS(kvp_options),
		.timeout_ms = GUEST_TIMEOUT_MS,
		.print = print_value,
		.complete = read_auto,
	};

	return guest_verb_run(argc, argv, &verb);
}

int command_kvp_set(int argc, char **argv)
{
	static const struct guest_verb verb = {
		.method = "io.bulkhead.VM.SetKvp",
		.words = {"key", "value"},
		.missing = "give the NAME of a running VM, a KEY and a VALUE",
		GUEST_OPTIONS(kvp_set_options),
		.timeout_ms = GUEST_TIMEOUT_MS,
		.print = guest_print_nothing,
		.complete = write_external,
	};

	return guest_verb_run(argc, argv, &verb);
}

int command_kvp_remove(int argc, char **argv)
{
	static const struct guest_verb verb = {
		.method = "io.bulkhead.VM.RemoveKvp",
		.words = {"key"},
		.missing = "give the NAME of a running VM and a KEY",
		GUEST_OPTIONS(kvp_options),
		.timeout_ms = GUEST_TIMEOUT_MS,
		.print = guest_print_nothing,
		.complete = write_external,
	};

	return guest_verb_run(argc, argv, &verb);
}

int command_kvp_list(int argc, char **argv)
{
	static const struct guest_verb verb = {
		.method = "io.bulkhead.VM.ListKvp",
		.missing = "give the NAME of a running VM",
		GUEST_OPTIONS(kvp_options),
		.timeout_ms = GUEST_TIMEOUT_MS,
		.print = print_items,
		.complete = read_auto,
	};

	return guest_verb_run(argc, argv, &verb);
}

void command_kvp_text(FILE *stream)
{
	fprintf(stream, "What is read is by default the guest's own account of itself (auto), what "
			"is written the items\nthat the host gives the guest (external).\n");
}

int command_kvp_get_ip(int argc, char **argv)
{
	static const struct guest_verb verb = {
		.method = "io.bulkhead.VM.GetIp",
		.words = {"mac"},
		.missing = "give the NAME of a running VM and a NIC's MAC address",
		GUEST_OPTIONS(guest_plain_options),
		.timeout_ms = GUEST_TIMEOUT_MS,
		.print = print_ip,
	};

	return guest_verb_run(argc, argv, &verb);
}

int command_kvp_set_ip(int argc, char **argv)
{
	static const struct guest_verb verb = {
		.method = "io.bulkhead.VM.SetIp",
		.words = {"adapter"},
		.missing = "give the NAME of a running VM and a NIC's MAC address",
		GUEST_OPTIONS(set_ip_options),
		.timeout_ms = GUEST_TIMEOUT_MS,
		.print = guest_print_nothing,
	};

	return guest_verb_run(argc, argv, &verb);
}
