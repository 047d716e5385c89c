#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/parse.h"
#include "base/text.h"
#include "mgmt/client.h"
#include "mgmt/client_daemon.h"
#include "mgmt/client_parts.h"
#include "mgmt/command.h"
#include "mgmt/options.h"
#include "mgmt/rate_options.h"
#include "mgmt/run_options.h"

/* bulkhead disk set, nic set: what changes while a VM runs. */

struct set_command {
	const char *name; /* of the VM */
	const char *part; /* disk or NIC */
	bool json;
	bool nic;
	json_t *parameters;
};

static int put(struct set_command *command, const char *key, uint64_t limit)
{
	return json_object_set_new(command->parameters, key, json_integer((json_int_t)limit));
}

static int set_iops(void *target, const char *value, struct error *err)
{
	uint64_t iops;
	int r = limit_parse_iops("--iops", value, &iops, err);

	return r ? r : put(target, "iops", iops);
}

static int set_bandwidth(void *target, const char *value, struct error *err)
{
	struct set_command *command = target;
	uint64_t bandwidth;
	int r = command->nic ? limit_parse_bits("--bandwidth", value, &bandwidth, err)
			     : limit_parse_bytes("--bandwidth", value, &bandwidth, err);

	return r ? r : put(target, "bandwidth", bandwidth);
}

static int set_controller(void *target, const char *value, struct error *err)
{
	return json_object_set_new(((struct set_command *)target)->parameters, "controller",
				   text_json(value));
}

static int set_json(void *target, const char *value, struct error *err)
{
	((struct set_command *)target)->json = true;
	return 0;
}

static const struct option disk_options[] = {
	{"--iops", "N|none", "operations a second; one of more than 8 KiB counts as several",
	 set_iops},
	{"--bandwidth", "SIZE|none", "bytes a second, like 50M", set_bandwidth},
	{"--controller", "ID", "the controller: scsi (default), scsi1 ... or ide", set_controller},
	{"--json", NULL, "print JSON", set_json},
};

static const struct option nic_options[] = {
	{"--bandwidth", "BITS|none", "bits a second each way, like 100M", set_bandwidth},
	{"--json", NULL, "print JSON", set_json},
};

const struct option_set command_disk_set_options = OPTION_SET(disk_options);
const struct option_set command_nic_set_options = OPTION_SET(nic_options);

static int set_word(void *target, const char *word, struct error *err)
{
	struct set_command *command = target;

	if (command->part)
		return error_set(err, EINVAL, "unexpected word \"%.80s\"", word);
	if (command->name)
		command->part = word;
	else if (run_name_valid(word))
		command->name = word;
	else
		return error_set(err, EINVAL, "\"%.80s\" cannot be the name of a VM", word);
	return 0;
}

static int check(const struct set_command *command, struct error *err)
{
	bool change = json_object_get(command->parameters, "iops") ||
		      json_object_get(command->parameters, "bandwidth");

	if (!command->part)
		return error_set(err, EINVAL, "give the NAME of a VM and %s",
				 command->nic ? "one of its NICs, like nic0"
					      : "the name, LUN or PATH of one of its disks");
	if (!change)
		return error_set(err, EINVAL, "give %s--bandwidth",
				 command->nic ? "" : "--iops or ");
	return 0;
}

/* Of a disk, a number is a LUN. */
static int put_part(struct set_command *command, struct error *err)
{
	uint64_t lun;

	if (command->nic && strncmp(command->part, "nic", 3) != 0)
		return error_set(err, EINVAL, "\"%.80s\" is not a NIC's name; give one like nic0",
				 command->part);
	if (command->nic)
		json_object_set_new(command->parameters, "nic", text_json(command->part));
	else if (parse_u64(command->part, 0, PROTOCOL_DISKS_MAX - 1, &lun))
		json_object_set_new(command->parameters, "name", text_json(command->part));
	else
		json_object_set_new(command->parameters, "lun", json_integer((json_int_t)lun));
	return 0;
}

static int call_run(struct set_command *command, struct error *err)
{
	const char *method = command->nic ? "io.bulkhead.VM.SetNic" : "io.bulkhead.VM.SetDisk";
	json_t *reply;
	int r = put_part(command, err);

	if (!r)
		r = client_call(command->name, method, command->parameters, CLIENT_TIMEOUT_MS,
				&reply, err);
	if (r)
		return r;
	if (command->json)
		client_print_json(reply);
	json_decref(reply);
	return 0;
}

static int call_kept(struct set_command *command, struct error *err)
{
	const struct parts_kind *kind = command->nic ? &parts_nics : &parts_disks;
	CLEANUP_FREE char *name = NULL;
	int r;

	r = parts_find(command->name, kind, command->part,
		       json_string_value(json_object_get(command->parameters, "controller")), &name,
		       err);
	if (r)
		return r;
	json_object_del(command->parameters, "controller");
	json_object_set_new(command->parameters, kind->item, text_json(name));
	return parts_call(command->name, command->nic ? "SetNic" : "SetDisk", command->parameters,
			  command->json, err);
}

static int run(struct set_command *command, int argc, char **argv, const struct option *options,
	       size_t count)
{
	enum client_owner owner;
	struct error err;
	int r = options_parse(options, count, argc, argv, set_word, command, &err);

	if (!r)
		r = check(command, &err);
	if (!r)
		r = client_find(command->name, &owner, &err);
	if (!r)
		r = owner == CLIENT_DAEMON ? call_kept(command, &err) : call_run(command, &err);
	return r ? command_fail(err.text, client_exit(r), command->json) : 0;
}

int command_disk_set(int argc, char **argv)
{
	struct set_command command = {.parameters = json_object()};
	int code = run(&command, argc, argv, disk_options, ARRAY_LENGTH(disk_options));

	json_decref(command.parameters);
	return code;
}

int command_nic_set(int argc, char **argv)
{
	struct set_command command = {.parameters = json_object(), .nic = true};
	int code = run(&command, argc, argv, nic_options, ARRAY_LENGTH(nic_options));

	json_decref(command.parameters);
	return code;
}
