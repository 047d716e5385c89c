#include "mgmt/client_parts.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/text.h"
#include "mgmt/client.h"
#include "mgmt/client_daemon.h"
#include "mgmt/client_vm.h"
#include "mgmt/client_vm_options.h"
#include "mgmt/columns.h"
#include "mgmt/command.h"

/* bulkhead disk list and nic list, and what all verbs about these share. */

#define CALL_MS 60000 /* the guest may be asked */

const struct parts_kind parts_disks = {"disks", "disk", "disk", {"name", "lun", "path"}};
const struct parts_kind parts_nics = {"nics", "nic", "NIC", {"name", "mac"}};

static const char *member_text(const json_t *item, const char *member, char number[24])
{
	const json_t *value = json_object_get(item, member);

	if (!json_is_integer(value))
		return guest_text(item, member);
	snprintf(number, 24, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	return number;
}

/* A path as it was given, or from the root on. */
static bool same_path(const char *word, const char *path)
{
	struct error ignored;
	json_t *whole;
	bool same;

	if (vm_options_path(word, &whole, &ignored))
		return false;
	same = !strcmp(json_string_value(whole), path);
	json_decref(whole);
	return same;
}

static bool is_meant(const json_t *item, const char *member, const char *word)
{
	char number[24];
	const char *text = member_text(item, member, number);

	if (!strcmp(text, word) || (!strcmp(member, "mac") && !strcasecmp(text, word)))
		return true;
	return !strcmp(member, "path") && *text && same_path(word, text);
}

/* A LUN is one of a controller: of the first, where none is named. */
static bool is_there(const json_t *item, const char *member, const char *controller)
{
	const char *own = guest_text(item, "controller");

	if (!controller && strcmp(member, "lun") != 0)
		return true;
	return !strcmp(*own ? own : "scsi", controller ? controller : "scsi");
}

/* By the first member that knows the word: a disk may be called by another's LUN. */
static const json_t *find(const json_t *items, const struct parts_kind *kind, const char *word,
			  const char *controller)
{
	for (size_t i = 0; i < ARRAY_LENGTH(kind->identity) && kind->identity[i]; i++) {
		size_t index;
		json_t *item;

		json_array_foreach((json_t *)items, index, item)
		{
			if (is_meant(item, kind->identity[i], word) &&
			    is_there(item, kind->identity[i], controller))
				return item;
		}
	}
	return NULL;
}

static const json_t *items_of(const json_t *reply, const char *list)
{
	const json_t *vm = json_object_get(reply, "vm");

	return json_object_get(json_object_get(vm, "settings"), list);
}

int parts_find(const char *vm, const struct parts_kind *kind, const char *word,
	       const char *controller, char **name, struct error *err)
{
	const json_t *item;
	json_t *reply;
	int r = client_call(vm, DAEMON_INTERFACE ".GetVM", NULL, CLIENT_TIMEOUT_MS, &reply, err);

	if (r)
		return r;
	item = find(items_of(reply, kind->list), kind, word, controller);
	if (!item)
		r = error_set(err, ESRCH,
			      "%s: it has no %s \"%.200s\"; `bulkhead %s list` has those it has",
			      vm, kind->title, word, kind->item);
	else if (!(*name = strdup(guest_text(item, "name"))))
		r = error_memory(err, "a name");
	json_decref(reply);
	return r;
}

static void print_reply(const char *vm, const json_t *reply)
{
	const json_t *item = json_object_get(reply, parts_disks.item);
	const char *name = json_string_value(json_object_get(reply, "controller"));

	if (!name)
		name = guest_text(item ? item : json_object_get(reply, parts_nics.item), "name");
	if (*name)
		printf("%s\n", name);
	if (json_is_true(json_object_get(reply, "waiting")))
		fprintf(stderr, "%s: %s waits for the VM's next start\n", vm, name);
}

int parts_call(const char *vm, const char *method, json_t *parameters, bool json, struct error *err)
{
	char whole[64];
	json_t *reply;
	int r;

	snprintf(whole, sizeof(whole), DAEMON_INTERFACE ".%s", method);
	r = client_call(vm, whole, parameters, CALL_MS, &reply, err);
	if (r)
		return r;
	if (json)
		client_print_json(reply);
	else
		print_reply(vm, reply);
	json_decref(reply);
	return 0;
}

/* Adds ", word" to text. */
static void add_word(char *text, size_t size, const char *word)
{
	size_t length = strlen(text);

	snprintf(text + length, size - length, "%s%s", length ? ", " : "", word);
}

/* "read-only, 500 iops": what is not as it would be by itself. */
static void describe(const json_t *item, char *text, size_t size)
{
	static const char *const numbers[] = {"iops", "bandwidth", "queues", "timeout"};
	char word[64], amount[24];

	text[0] = '\0';
	if (json_is_true(json_object_get(item, "read_only")))
		add_word(text, size, "ro");
	if (json_is_true(json_object_get(item, "direct")))
		add_word(text, size, "direct");
	if (*guest_text(item, "format")) {
		snprintf(word, sizeof(word), "format=%.20s", guest_text(item, "format"));
		add_word(text, size, word);
	}
	for (size_t i = 0; i < ARRAY_LENGTH(numbers); i++) {
		json_int_t number = json_integer_value(json_object_get(item, numbers[i]));

		if (!number)
			continue;
		client_size(number, amount, sizeof(amount));
		snprintf(word, sizeof(word), "%s=%s", numbers[i], amount);
		add_word(text, size, word);
	}
}

/* Of a Generation 1 VM, one without a LUN is on IDE, or the floppy drive's. */
static const char *place_of(const json_t *disk, char place[40])
{
	const char *controller = guest_text(disk, "controller");
	char number[24];

	if (json_object_get(disk, "lun")) {
		snprintf(place, 40, "%.15s%s%s", controller, *controller ? ":" : "",
			 member_text(disk, "lun", number));
		return place;
	}
	return !strcmp(guest_text(disk, "kind"), "floppy") ? "-" : "ide";
}

static void add_disk(json_t *rows, const json_t *disk)
{
	char lun[40], details[160];

	describe(disk, details, sizeof(details));
	json_array_append_new(rows, json_pack("[s, s, s, s, s]", guest_text(disk, "name"),
					      guest_text(disk, "kind"), place_of(disk, lun),
					      *details ? details : "-", guest_text(disk, "path")));
}

static void add_nic(json_t *rows, const json_t *nic)
{
	static const char *const places[] = {"switch", "interface", "path"};
	const char *place = "";
	char details[160];

	for (size_t i = 0; i < ARRAY_LENGTH(places); i++)
		place = *place ? place : guest_text(nic, places[i]);
	describe(nic, details, sizeof(details));
	json_array_append_new(rows, json_pack("[s, s, s, s, s]", guest_text(nic, "name"),
					      guest_text(nic, "kind"), guest_text(nic, "mac"),
					      *details ? details : "-", place));
}

static void print_disks(const json_t *reply)
{
	static const char *const titles[] = {"NAME", "KIND", "LUN", "OPTIONS", "PATH"};
	const json_t *disks = items_of(reply, "disks");
	json_t *rows = json_array();

	for (size_t i = 0; i < json_array_size(disks); i++)
		add_disk(rows, json_array_get(disks, i));
	columns_print(titles, ARRAY_LENGTH(titles), rows);
	json_decref(rows);
}

static void print_nics(const json_t *reply)
{
	static const char *const titles[] = {"NAME", "KIND", "ADDRESS", "OPTIONS", "AT"};
	const json_t *nics = items_of(reply, "nics");
	json_t *rows = json_array();

	for (size_t i = 0; i < json_array_size(nics); i++)
		add_nic(rows, json_array_get(nics, i));
	columns_print(titles, ARRAY_LENGTH(titles), rows);
	json_decref(rows);
}

/* As JSON the list alone. */
static int call_list(struct guest_command *command, const char *list)
{
	struct error err;
	json_t *reply, *items;
	int r = client_call(command->name, command->verb->method, NULL, CLIENT_TIMEOUT_MS, &reply,
			    &err);

	if (r)
		return command_fail(err.text, client_exit(r), command->json);
	if (command->json) {
		items = json_pack("{s:O}", list, items_of(reply, list));
		client_print_json(items);
		json_decref(items);
	} else {
		command->verb->print(reply);
	}
	json_decref(reply);
	return 0;
}

static int call_disks(struct guest_command *command)
{
	return call_list(command, "disks");
}

static int call_nics(struct guest_command *command)
{
	return call_list(command, "nics");
}

int command_disk_list(int argc, char **argv)
{
	static const struct guest_verb verb = {
		VM_PLAIN_VERB("GetVM"),
		.print = print_disks,
		.call = call_disks,
	};

	return guest_verb_run(argc, argv, &verb);
}

int command_nic_list(int argc, char **argv)
{
	static const struct guest_verb verb = {
		VM_PLAIN_VERB("GetVM"),
		.print = print_nics,
		.call = call_nics,
	};

	return guest_verb_run(argc, argv, &verb);
}
