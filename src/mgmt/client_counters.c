#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "mgmt/client.h"
#include "mgmt/command.h"

/* bulkhead counters: tables of what a VM's channels, disks and NICs have done. */

#define LABEL_SIZE 64

struct column {
	const char *title;
	const char *key;
	int width;
};

static const struct column channel_columns[] = {
	{"VP", "target-vp", 3},	    {"IN", "packets-in", 12},	    {"OUT", "packets-out", 12},
	{"IRQS", "interrupts", 12}, {"DOORBELLS", "doorbells", 12}, {"FULL", "ring-full", 8},
};

static const struct column disk_columns[] = {
	{"READS", "reads", 10},		  {"READ", "bytes-read", 14}, {"WRITES", "writes", 10},
	{"WRITTEN", "bytes-written", 14}, {"FLUSHES", "flushes", 8},  {"ERRORS", "errors", 7},
	{"WAITED", "limit-waits", 9},
};

static const struct column nic_columns[] = {
	{"SENT", "frames-sent", 11},	   {"BYTES", "bytes-sent", 14},
	{"DROPPED", "frames-not-sent", 8}, {"RECEIVED", "frames-received", 11},
	{"BYTES", "bytes-received", 14},
};

static const struct column queue_columns[] = {
	{"FILTERED", "frames-filtered", 10},
	{"MALFORMED", "frames-malformed", 10},
	{"NO BUFFER", "no-buffer", 10},
	{"WAITED", "limit-waits", 9},
};

static const struct column hvsock_columns[] = {
	{"OPEN", "open", 6},
	{"OPENED", "opened", 8},
	{"REFUSED", "refused", 8},
	{"TO GUEST", "bytes-to-guest", 16},
	{"TO HOST", "bytes-to-host", 16},
};

/* A table of the children of nodes whose names begin alike. */
struct table {
	const char *title;
	const struct column *columns;
	size_t count;
	bool begun;
};

static void print_row(struct table *table, const char *label, const json_t *node)
{
	if (!table->begun) {
		printf("%-18s", table->title);
		for (size_t i = 0; i < table->count; i++)
			printf(" %*s", table->columns[i].width, table->columns[i].title);
		putchar('\n');
		table->begun = true;
	}
	printf("%-18.40s", label);
	for (size_t i = 0; i < table->count; i++)
		printf(" %*" JSON_INTEGER_FORMAT, table->columns[i].width,
		       json_integer_value(json_object_get(node, table->columns[i].key)));
	putchar('\n');
}

static void end_table(const struct table *table)
{
	if (table->begun)
		putchar('\n');
}

static bool is_kind(const char *key, const char *kind)
{
	size_t length = strlen(kind);

	return strncmp(key, kind, length) == 0 && (key[length] == '@' || key[length] == '\0');
}

static void print_channels(const json_t *tree)
{
	struct table table = {"CHANNEL", channel_columns, ARRAY_LENGTH(channel_columns)};
	const json_t *channels = json_object_get(tree, "channels");
	const char *key;
	json_t *node;

	json_object_foreach((json_t *)channels, key, node)
	{
		const char *device = json_string_value(json_object_get(node, "device"));
		int index = (int)json_integer_value(json_object_get(node, "index"));
		char label[LABEL_SIZE];

		if (!is_kind(key, "channel"))
			continue;
		snprintf(label, sizeof(label), index ? "%s %s.%d" : "%s %s", strchr(key, '@') + 1,
			 device ? device : "-", index);
		print_row(&table, label, node);
	}
	end_table(&table);
}

/* The part of a node's name that tells it from others of its kind. */
static const char *own_name(const char *key)
{
	const char *at = strchr(key, '@');

	return at ? at + 1 : key;
}

/* The children of one kind of all devices of a kind. */
static void print_parts(const json_t *tree, const char *kind, const char *part, struct table *table)
{
	const char *key, *part_key;
	json_t *device, *node;

	json_object_foreach(json_object_get(tree, "devices"), key, device)
	{
		if (!is_kind(key, kind))
			continue;
		json_object_foreach(device, part_key, node)
		{
			char label[LABEL_SIZE];

			if (!is_kind(part_key, part) || !json_is_object(node))
				continue;
			snprintf(label, sizeof(label), "%.30s %s %.16s", own_name(key), part,
				 own_name(part_key));
			print_row(table, label, node);
		}
	}
	end_table(table);
}

/* Disks on IDE: each by its emulated controller, and as the guest's own driver has it. */
static void print_ide(const json_t *tree, struct table *table)
{
	const json_t *ide = json_object_get(json_object_get(tree, "devices"), "ide");
	const char *key, *offered_key;
	json_t *unit, *node;

	json_object_foreach((json_t *)ide, key, unit)
	{
		char label[LABEL_SIZE];

		if (!is_kind(key, "lun"))
			continue;
		snprintf(label, sizeof(label), "ide %.16s", own_name(key));
		print_row(table, label, unit);
		snprintf(label, sizeof(label), "ide %.16s vmbus", own_name(key));
		json_object_foreach(json_object_get(unit, "offered"), offered_key, node)
		{
			if (is_kind(offered_key, "lun"))
				print_row(table, label, node);
		}
	}
}

static void print_sockets(const json_t *tree)
{
	struct table table = {"HV_SOCK", hvsock_columns, ARRAY_LENGTH(hvsock_columns)};
	const json_t *hvsock = json_object_get(json_object_get(tree, "devices"), "hvsock");

	if (hvsock)
		print_row(&table, "all", hvsock);
	end_table(&table);
}

static void print_counters(const json_t *reply, bool json)
{
	struct table disks = {"DISK", disk_columns, ARRAY_LENGTH(disk_columns)};
	struct table nics = {"NIC", nic_columns, ARRAY_LENGTH(nic_columns)};
	struct table queues = {"NIC QUEUE", queue_columns, ARRAY_LENGTH(queue_columns)};
	const json_t *tree = json_object_get(reply, "tree");

	if (json) {
		client_print_json(tree);
		return;
	}
	print_channels(tree);
	print_ide(tree, &disks);
	print_parts(tree, "scsi", "lun", &disks);
	print_parts(tree, "netvsp", "channel", &nics);
	print_parts(tree, "netvsp", "queue", &queues);
	print_sockets(tree);
}

int command_vm_counters(int argc, char **argv)
{
	return client_verb(argc, argv, "io.bulkhead.VMMS.Counters", print_counters);
}

int command_counters(int argc, char **argv)
{
	return client_verb(argc, argv, "io.bulkhead.VM.Counters", print_counters);
}
